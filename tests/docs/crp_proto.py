"""Prints the published protobuf file of CRP/1: ``python tests/docs/crp_proto.py > docs/crp/crp.proto``."""

from __future__ import annotations

import sys

from tidegate.wire.context_protobuf import proto_text

if __name__ == "__main__":
    sys.stdout.write(proto_text())
