"""``tidegate keys show``: ask the running gateway for the pairs that sign for a consumer's keys, and print them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from tidegate.control.reload import DONE, REFUSED, UNREACHABLE, Unreachable, ask


def show(config: Path | None, data: Path | None, consumer: str, as_json: bool) -> int:
    """Print the pairs; the exit code: 0 done, 1 refused, 3 not reachable."""
    try:
        status, answer = ask(config, data, os.environ, "GET", f"/api/v1/keys?{urlencode({'consumer': consumer})}")
    except Unreachable as error:
        sys.stderr.write(f"tidegate: {error}\n")
        return UNREACHABLE
    if status != 200:
        detail = answer.get("detail") or answer.get("title") or f"the gateway answered {status}"
        sys.stderr.write(f"tidegate: {detail}\n")
        return REFUSED
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")
        return DONE
    if not answer["items"]:
        sys.stdout.write(f"{consumer} has no keys.\n")
    for item in answer["items"]:
        sys.stdout.write(
            f"key {item['key']}\n"
            f"  AWS_ACCESS_KEY_ID={item['access_key_id']}\n"
            f"  AWS_SECRET_ACCESS_KEY={item['secret_access_key']}\n"
        )
    return DONE
