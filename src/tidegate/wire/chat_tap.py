"""Chat bytes that pass untouched: the model's name put in their place, and their usage seen in passing (LLM 4).

Of the many frames of a stream only those that hold a usage object are decoded; the others cost a few searches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tidegate.exchange.chat import Usage
from tidegate.wire.json_object import NULL, WrongShape, encode, is_object, members, raw_of
from tidegate.wire.json_splice import replaced, spans, with_member
from tidegate.wire.openai_frames import decode_counted
from tidegate.wire.token_usage import dug, read_usage

_NO_RENAMES: Final[dict[str, str]] = {}
_INCLUDE: Final = b'{"include_usage":true}'
_QUOTE: Final = 0x22
_BRACE: Final = 0x7B
_OBJECT: Final = frozenset({b" {", b"\n{"})


def event_usage(event: str, data: bytes, renames: Mapping[str, str]) -> tuple[Usage | None, bool, bool]:
    """(usage, this frame shows content, this frame ends the stream) of one frame."""
    usage = None
    at = data.find(b'"usage":')
    if at >= 0:
        if data[at + 8 : at + 10] in _OBJECT or data[at + 8] == _BRACE:
            usage = _usage(data, renames)
    elif data == b"[DONE]":
        return None, False, True
    at = data.find(b'"content":"')
    if at >= 0 and data[at + 11] != _QUOTE:
        return usage, True, False
    return usage, shows_content(data), event == "error"


def shows_content(data: bytes) -> bool:
    """The frame holds text, a thought or a call: searched for, not decoded, so a vendor's spelling may hide it until
    the next frame."""
    at = data.find(b'"content":"')
    if at >= 0:
        if data[at + 11] != _QUOTE:
            return True
    elif (at := data.find(b'"content": "')) >= 0 and data[at + 12] != _QUOTE:
        return True
    if b'"tool_calls":[' in data or b'"reasoning' in data or b'"tool_calls": [' in data:
        return b'"reasoning_content":null' not in data or b'"tool_calls":[' in data
    at = data.find(b'"text":"')
    if at >= 0 and data[at + 8] != _QUOTE:
        return True
    return b'"refusal":"' in data or b'"audio":{' in data


def _usage(data: bytes, renames: Mapping[str, str]) -> Usage | None:
    try:
        found = decode_counted(data)
        usage = bytes(found.usage)
        if not usage or usage == NULL:
            told = members(data)
            for path, field in renames.items():
                if field == "usage":
                    usage = dug(told, path) or usage
    except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
        return None
    if not usage or usage == NULL:
        return None
    tier = found.service_tier or ""
    return read_usage(usage, renames, "standard" if tier == "default" else tier)


def spliced(body: bytes, model: str, ask_usage: bool) -> bytes:
    """*body* with *model* in the place of its model and, with *ask_usage*, the wish for the usage chunk; nothing else
    moves."""
    names = ("model", "stream_options") if ask_usage else ("model",)
    found = spans(body, names)
    edits: list[tuple[int, int, bytes]] = []
    named = encode(model)
    if "model" in found:
        edits.append((*found["model"], named))
    if ask_usage and "stream_options" in found:
        start, end = found["stream_options"]
        edits.append((start, end, _asking(body[start:end])))
    body = replaced(body, edits)
    if "model" not in found:
        body = with_member(body, "model", named)
    if ask_usage and "stream_options" not in found:
        body = with_member(body, "stream_options", _INCLUDE)
    return body


def _asking(options: bytes) -> bytes:
    if not is_object(options):
        return _INCLUDE
    told = members(options)
    told["include_usage"] = b"true"
    return encode({name: raw_of(value) for name, value in told.items()})
