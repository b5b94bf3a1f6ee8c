"""Usage and stop reasons in Converse's words, both ways (LLM 5.8, 5.9): ``inputTokens`` leaves out what caches read and
wrote."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import Extra, Stop, Usage
from tidegate.rules.converse_blocks import NAME, TTLS
from tidegate.wire.json_object import WrongShape, count, encode, is_object, is_string, items, members, string

STOPS: Final[dict[str, Stop]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "malformed_model_output": "broken",
    "malformed_tool_use": "broken",
}
STOP_WORDS: Final[dict[Stop, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_length": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "refusal": "content_filtered",
    "pause": "end_turn",
    "broken": "malformed_model_output",
}
TIERS: Final = frozenset(("flex", "priority", "reserved"))
_NAMES: Final = {seconds: name for name, seconds in TTLS.items()}


def read_stop(word: str, calls: bool) -> tuple[Stop, Extra | None]:
    """The stop reason *word*, and the word itself where the neutral one does not lead back to it. *calls*: the answer
    holds calls, which decide whatever a plain end says."""
    stop = STOPS.get(word, "stop")
    extra = None
    if word and STOP_WORDS[stop] != word:
        extra = Extra(NAME, (("stopReason", encode(word)),))
    if calls and stop == "stop":
        stop = "tool_calls"
    elif stop == "tool_calls" and not calls:
        stop = "stop"
    return stop, extra


def read_usage(raw: bytes, renamed: dict[str, str], tier: str = "") -> Usage | None:
    """*raw* as a ``Usage``; None for what is no object. What is missing, negative or no number counts as 0 (rule 8)."""
    if not is_object(raw):
        return None
    try:
        found = members(raw)
        details = [members(one) for one in items(found.get("cacheDetails", b"[]"))]
    except WrongShape:
        return None
    read = count(found.get("cacheReadInputTokens"))
    written = count(found.get("cacheWriteInputTokens"))
    by_ttl = {one.get("ttl", b"")[1:-1].decode("latin-1"): count(one.get("inputTokens")) for one in details}
    usage = Usage(
        input=count(found.get("inputTokens")) + read + written,
        output=count(found.get("outputTokens")),
        cache_read=read,
        cache_write=written,
        cache_write_by_ttl=tuple([(seconds, by_ttl[name]) for name, seconds in TTLS.items() if by_ttl.get(name)]),
        tier=tier,
    )
    if renamed:
        told: dict[str, int] = {field: count(found[name]) for name, field in renamed.items() if name in found}
        usage = replace(usage, **told)
    return usage


def usage_object(usage: Usage) -> dict[str, object]:
    """*usage* as a client of this dialect reads it."""
    written: dict[str, object] = {
        "inputTokens": max(0, usage.input - usage.cache_read - usage.cache_write),
        "outputTokens": usage.output,
        "totalTokens": usage.input + usage.output,
    }
    if usage.cache_read or usage.cache_write:
        written["cacheReadInputTokens"] = usage.cache_read
        written["cacheWriteInputTokens"] = usage.cache_write
    if usage.cache_write_by_ttl:
        told = [(_NAMES[ttl], tokens) for ttl, tokens in usage.cache_write_by_ttl if ttl in _NAMES]
        written["cacheDetails"] = [{"ttl": ttl, "inputTokens": tokens} for ttl, tokens in told]
    return written


def read_tier(raw: bytes | None) -> str:
    """The tier in a ``serviceTier``; "" when there is none."""
    if raw is None or not is_object(raw):
        return ""
    try:
        word = members(raw).get("type", b"")
        tier = string(word) if is_string(word) else ""
    except WrongShape:
        return ""
    return "standard" if tier == "default" else tier


def tier_object(tier: str) -> dict[str, str] | None:
    """The ``serviceTier`` that says *tier*; None when the vendor has no such one."""
    if tier == "standard":
        return {"type": "default"}
    return {"type": tier} if tier in TIERS else None
