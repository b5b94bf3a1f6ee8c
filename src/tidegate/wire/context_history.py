"""Versions and entries of a context's log as a client reads them (CRP 2.2)."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.exchange.context import (
    Added,
    Change,
    Ended,
    Entry,
    EpochBegun,
    Marked,
    PolicyChanged,
    Removed,
    Revised,
    SettingsChanged,
    StateChanged,
    Summed,
    TemplateChanged,
    TokenUse,
    Version,
)
from tidegate.wire.context_json import item_object, write_digest, write_time


def use_object(use: TokenUse) -> dict[str, int]:
    return {"sent": use.sent, "cached": use.cached, "cached_expected": use.cached_expected, "written": use.written,
            "saved": use.saved, "output": use.output}  # fmt: skip


def version_object(version: Version) -> dict[str, Any]:
    """One node of the history, without what it changed."""
    made: dict[str, Any] = {
        "id": version.id, "object": "context.version", "parents": version.parents, "branch": version.branch,
        "status": version.status, "at": write_time(version.ts),
    }  # fmt: skip
    if version.author:
        made["author"] = version.author
    if version.use is not None:
        made["usage"] = use_object(version.use)
    if version.digest:
        made["digest"] = write_digest(version.digest)
    return made


def entry_object(entry: Entry) -> dict[str, Any]:
    """One record of the log, as ``/log`` tells it."""
    made: dict[str, Any] = {"seq": entry.seq, "kind": entry.kind, "at": write_time(entry.ts), "branch": entry.branch}
    if entry.version:
        made["version"] = entry.version
        made["parents"] = entry.parents
    if entry.kind == "commit":
        made["status"] = entry.status
    if entry.author:
        made["author"] = entry.author
    if entry.changes:
        made["changes"] = [change_object(change) for change in entry.changes]
    if entry.use is not None:
        made["usage"] = use_object(entry.use)
    note = entry.note
    if note is not None:
        made["note"] = {name: told for name, told in msgspec.structs.asdict(note).items() if told}
    return made


def change_object(change: Change) -> dict[str, Any]:
    """What an op came to."""
    if isinstance(change, Added):
        return {"change": "added", "items": [item_object(item) for item in change.items]}
    if isinstance(change, Revised):
        return {"change": "revised", "item": item_object(change.item)}
    if isinstance(change, Ended):
        return {"change": "ended", "id": change.id, "valid_to": write_time(change.valid_to)}
    if isinstance(change, Removed):
        return {"change": "removed", "ids": change.ids}
    if isinstance(change, Marked):
        return {"change": "marked", "id": change.id, "pinned": change.pinned, "priority": change.priority,
                "elide": change.elide, "privacy": change.privacy}  # fmt: skip
    if isinstance(change, Summed):
        return {"change": "summed", "ids": change.ids, "summary": item_object(change.summary)}
    if isinstance(change, StateChanged):
        return {"change": "state", "how": change.how, "value": _raw(change.value)}
    if isinstance(change, SettingsChanged):
        return {"change": "settings", "value": _raw(change.value)}
    if isinstance(change, PolicyChanged):
        return {"change": "policy", "policy": _raw(change.policy)}
    if isinstance(change, TemplateChanged):
        return {"change": "template", "ref": change.ref}
    assert isinstance(change, EpochBegun)
    return {"change": "epoch", "reason": change.reason, "renderer": change.renderer}


def _raw(value: bytes) -> msgspec.Raw | None:
    return msgspec.Raw(value) if value else None
