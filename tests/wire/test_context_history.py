"""Twin of wire/context_history.py: the log as a client reads it."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.exchange.context import Added, Entry, Item, Note, StateChanged, TokenUse, Version
from tidegate.wire.context_history import entry_object, version_object


def text_of(value: object) -> Any:
    """*value* as a client would read it: written to JSON and decoded."""
    return msgspec.json.decode(msgspec.json.encode(value))


def test_an_entry_is_told_with_its_changes() -> None:
    entry = Entry(
        kind="commit", version="cv_2", ts=0, author="ada", status="incomplete", seq=4, parents=("cv_1",), branch="main",
        changes=(Added((Item(id="a", type="message", content=b'"hi"'),)), StateChanged("merge", 0, b'{"n":1.0}')),
        use=TokenUse(sent=3), note=Note("revert", to="cv_1"),
    )  # fmt: skip
    assert text_of(entry_object(entry)) == {
        "seq": 4, "kind": "commit", "at": "1970-01-01T00:00:00.000Z", "branch": "main", "version": "cv_2",
        "parents": ["cv_1"], "status": "incomplete", "author": "ada",
        "changes": [{"change": "added", "items": [{"id": "a", "type": "message", "content": "hi"}]},
                    {"change": "state", "how": "merge", "value": {"n": 1.0}}],
        "usage": {"sent": 3, "cached": 0, "cached_expected": 0, "written": 0, "saved": 0, "output": 0},
        "note": {"what": "revert", "to": "cv_1"},
    }  # fmt: skip


def test_a_version_is_told_without_what_it_changed() -> None:
    version = Version(id="cv_1", parents=("cv_0",), branch="main", ts=1000, digest=b"\xff" * 32)
    assert text_of(version_object(version)) == {
        "id": "cv_1", "object": "context.version", "parents": ["cv_0"], "branch": "main", "status": "completed",
        "at": "1970-01-01T00:00:01.000Z", "digest": "sha256:" + "ff" * 32,
    }  # fmt: skip
