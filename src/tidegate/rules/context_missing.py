"""What a client lacks whose parent is no longer the head: versions with their ops, bounded (CRP 3.7, 5.5, 14)."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.exchange.context import Change
from tidegate.exchange.context_log import MISSING, MISSING_BYTES
from tidegate.rules.context_diff import ops_of
from tidegate.rules.context_fold import History
from tidegate.wire.context_json import op_object

_encode = msgspec.json.Encoder().encode


def missing_of(history: History, parent: str, head: str) -> dict[str, Any]:
    """Members for the ``context`` of a 409: ``missing``, the versions behind *parent* up to *head* with the ops that
    made them, and ``missing_truncated`` where that is more than is told, or *parent* is no ancestor of *head*: then the
    log has to be read."""
    line = history.line(head)
    if parent and parent not in line:
        return {"missing": [], "missing_truncated": True}
    found: list[dict[str, Any]] = []
    size = 0
    before = parent
    for version in line[line.index(parent) + 1 if parent else 0 :]:
        changes: list[Change] = []
        for entry in history.entries(version):
            changes += entry.changes
        told = {"version": version, "ops": [op_object(op) for op in ops_of(changes, history.view(before))]}
        size += len(_encode(told))
        if len(found) == MISSING or size > MISSING_BYTES:
            return {"missing": found, "missing_truncated": True}
        found.append(told)
        before = version
    return {"missing": found}
