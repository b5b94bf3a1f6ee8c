"""The model that a realtime session is asked for with, in the body that orders a client's secret (LLM 7)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.wire.json_splice import replaced, spans

SPOKEN: Final = ("session", "model")
WRITTEN: Final = ("session", "audio", "input", "transcription", "model")
"""Where a session names its model: one that talks, and one that only writes down what it hears."""


def session_model(members: dict[str, Any]) -> Any:
    """What stands where the model should be named; None when nothing does."""
    found: Any = members
    for name in _place(members):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def with_session_model(body: bytes, members: dict[str, Any], model: str) -> bytes:
    """*body*, whose top level is *members* and which names a model, with *model* in its place."""
    offset = 0
    inner = body
    start = end = 0
    for name in _place(members):
        start, end = spans(inner, (name,))[name]
        offset += start
        inner = inner[start:end]
    return replaced(body, [(offset, offset + end - start, msgspec.json.encode(model))])


def _place(members: dict[str, Any]) -> tuple[str, ...]:
    session = members.get("session")
    written = isinstance(session, dict) and session.get("type") == "transcription"
    return WRITTEN if written else SPOKEN
