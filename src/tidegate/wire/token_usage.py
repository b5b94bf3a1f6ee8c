"""Usage objects in the two shapes of the OpenAI family (``prompt_tokens`` and ``input_tokens``), both ways (LLM 5.9).

What an upstream says is hostile input: counts are bounded and never negative (rule 8). What a vendor counts elsewhere
is told by *renames*: dotted member -> neutral field; ``"usage"`` as the field says that a whole usage object stands
there, ``"output+"`` that the count comes on top. Seconds become milliseconds and dollars become nano-dollars by their
field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import Usage
from tidegate.wire.json_object import NULL, WrongShape, count, is_object, members
from tidegate.wire.openai_frames import ReadDetails, WrittenDetails, decode_chat_usage

_MINUTES: Final = {"ttl_30m_tokens": 1800, "ttl_12h_tokens": 43200}
_NONE: Final[dict[str, bytes]] = {}
_NOTHING_READ: Final = ReadDetails()
_NOTHING_WRITTEN: Final = WrittenDetails()

_DETAILS_IN: Final = (
    ("cached_tokens", "cache_read"),
    ("cache_write_tokens", "cache_write"),
    ("audio_tokens", "audio_in"),
    ("image_tokens", "image_in"),
)
_DETAILS_OUT: Final = (
    ("reasoning_tokens", "thinking"),
    ("audio_tokens", "audio_out"),
    ("image_tokens", "image_out"),
    ("accepted_prediction_tokens", "prediction_accepted"),
    ("rejected_prediction_tokens", "prediction_rejected"),
)


def read_usage(raw: bytes, renames: Mapping[str, str], tier: str = "") -> Usage | None:
    """The usage in *raw*; None when it holds no believable count of what was read or written."""
    if not renames:
        usage = _usual(raw, tier)
        if usage is not None:
            return usage
    try:
        told = members(raw)
    except WrongShape:
        return None
    read = told.get("prompt_tokens", told.get("input_tokens"))
    written = told.get("completion_tokens", told.get("output_tokens"))
    if not (_is_count(read) or _is_count(written)) or _is_wrong(read) or _is_wrong(written):
        return None
    found: dict[str, Any] = {"input": count(read), "output": count(written), "tier": tier}
    details = _object(told, "prompt_tokens_details", "input_tokens_details")
    for member, field in _DETAILS_IN:
        if member in details:
            found[field] = count(details[member])
    if "cache_write_tokens_details" in details:
        by_ttl = _object(details, "cache_write_tokens_details", "")
        found["cache_write_by_ttl"] = tuple([(_MINUTES[ttl], count(by_ttl[ttl])) for ttl in _MINUTES if ttl in by_ttl])
    details = _object(told, "completion_tokens_details", "output_tokens_details")
    for member, field in _DETAILS_OUT:
        if member in details:
            found[field] = count(details[member])
    for path, field in renames.items():
        if field != "usage":
            _rename(told, path, field, found)
    return Usage(**found)


def _usual(raw: bytes, tier: str) -> Usage | None:
    """The usage in *raw* where all of it is as it should be; None to look closer."""
    try:
        told = decode_chat_usage(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    read = told.prompt_tokens_details or _NOTHING_READ
    written = told.completion_tokens_details or _NOTHING_WRITTEN
    if read.cache_write_tokens_details or told.input_tokens_details or told.output_tokens_details:
        return None
    return Usage(
        input=told.prompt_tokens,
        output=told.completion_tokens,
        cache_read=read.cached_tokens,
        cache_write=read.cache_write_tokens,
        audio_in=read.audio_tokens,
        image_in=read.image_tokens,
        thinking=written.reasoning_tokens,
        audio_out=written.audio_tokens,
        image_out=written.image_tokens,
        prediction_accepted=written.accepted_prediction_tokens,
        prediction_rejected=written.rejected_prediction_tokens,
        tier=tier,
    )


def _rename(told: dict[str, bytes], path: str, field: str, found: dict[str, Any]) -> None:
    value = dug(told, path)
    if not value or value == NULL:
        return
    if field == "cost" or field.startswith("ms_"):
        try:
            amount = msgspec.json.decode(value, type=float)
        except msgspec.DecodeError:
            return
        if amount >= 0:
            found[field] = min(round(amount * (1e9 if field == "cost" else 1e3)), 1 << 53)
    elif field.endswith("+"):
        found[field[:-1]] = found.get(field[:-1], 0) + count(value)
    else:
        found[field] = count(value)


def dug(told: dict[str, bytes], path: str) -> bytes:
    """The value at the dotted *path*, b"" when there is none."""
    head, _, rest = path.partition(".")
    value = told.get(head, b"")
    if not rest or not is_object(value):
        return b"" if rest else value
    try:
        return dug(members(value), rest)
    except WrongShape:
        return b""


def chat_usage(usage: Usage) -> dict[str, Any]:
    """The object in the ``prompt_tokens`` shape."""
    before: dict[str, int] = {"cached_tokens": usage.cache_read}
    after: dict[str, int] = {"reasoning_tokens": usage.thinking}
    _more(usage, _DETAILS_IN, before)
    _more(usage, _DETAILS_OUT, after)
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": before,
        "completion_tokens_details": after,
    }


def input_usage(usage: Usage) -> dict[str, Any]:
    """The object in the ``input_tokens`` shape."""
    before: dict[str, Any] = {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write}
    names = {seconds: name for name, seconds in _MINUTES.items()}
    by_ttl = {names[ttl]: tokens for ttl, tokens in usage.cache_write_by_ttl if ttl in names}
    if by_ttl:
        before["cache_write_tokens_details"] = dict.fromkeys(names.values(), 0) | by_ttl
    return {
        "input_tokens": usage.input,
        "input_tokens_details": before,
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.thinking},
        "total_tokens": usage.input + usage.output,
    }


def _more(usage: Usage, table: tuple[tuple[str, str], ...], into: dict[str, int]) -> None:
    for member, field in table:
        value: int = getattr(usage, field)
        if value:
            into[member] = value


def _object(told: dict[str, bytes], name: str, other: str) -> dict[str, bytes]:
    value = told.get(name) or told.get(other) or b""
    if not is_object(value):
        return _NONE
    try:
        return members(value)
    except WrongShape:
        return _NONE


def _is_count(value: bytes | None) -> bool:
    return value is not None and (value[:1].isdigit())


def _is_wrong(value: bytes | None) -> bool:
    """Said, but no count: a text, a negative number."""
    return value is not None and value != NULL and not value[:1].isdigit()
