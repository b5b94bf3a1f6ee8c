"""What the gateway must know of Ollama's JSON that passes untouched: counts, first content, the end (LLM 4)."""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.exchange.chat import Usage
from tidegate.rules.ollama_messages import read_usage
from tidegate.wire.json_object import WrongShape, encode, members
from tidegate.wire.json_splice import replaced, spans, with_member


class _Counts(msgspec.Struct):
    done: bool = False
    error: str | None = None
    prompt_eval_count: msgspec.Raw = msgspec.Raw(b"")
    eval_count: msgspec.Raw = msgspec.Raw(b"")


_counts: Final = msgspec.json.Decoder(_Counts).decode


def answer_usage(body: bytes, renamed: dict[str, str]) -> Usage | None:
    """The counts of a whole answer; the rest is skipped, not built."""
    try:
        return _usage_of(body, _counts(body), renamed)
    except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
        return None


def event_usage(data: bytes, renamed: dict[str, str]) -> tuple[Usage | None, bool, bool]:
    """(counts, shows content, ends the stream) of one object of a stream. Only those that may be the last are read."""
    if b'"done":true' not in data and b'"done": true' not in data and b'"error"' not in data:
        return None, True, False
    try:
        found = _counts(data)
        if not found.done:
            return None, True, found.error is not None
        return _usage_of(data, found, renamed), False, True
    except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
        return None, False, False


def spliced(body: bytes, model: str) -> bytes:
    """*body* with the model's name replaced in place."""
    span = spans(body, ("model",)).get("model")
    if span is None:
        return with_member(body, "model", encode(model))
    return replaced(body, [(span[0], span[1], encode(model))])


def _usage_of(body: bytes, found: _Counts, renamed: dict[str, str]) -> Usage | None:
    """The counts in *found*; only what a vendor counts elsewhere wants the whole *body*."""
    if renamed:
        return read_usage(members(body), renamed)
    told = {"prompt_eval_count": bytes(found.prompt_eval_count), "eval_count": bytes(found.eval_count)}
    return read_usage({name: value for name, value in told.items() if value}, {})
