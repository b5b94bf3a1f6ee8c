"""Usage in Anthropic's words, both ways (LLM 5.9): its ``input_tokens`` leaves out what caches read and wrote."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import Usage
from tidegate.wire.json_object import WrongShape, count, is_object, is_string, members, string

_TOOLS: Final = 32
"""Server tools of one call, and characters of a name: what an upstream tells is written down."""
_NAME: Final = 64
_TTLS: Final = ((300, "ephemeral_5m_input_tokens"), (3600, "ephemeral_1h_input_tokens"))
_TIERS: Final = frozenset(("standard", "priority", "batch"))
_REQUESTS: Final = "_requests"
_NO_REQUESTS: Final = {"web_search_requests": 0, "web_fetch_requests": 0}
"""Counts that the official SDK wants to find when there are any."""


def read_usage(raw: bytes, renamed: dict[str, str]) -> Usage | None:
    """*raw* as a ``Usage``; None for what is no object. *renamed*: member of this vendor -> neutral field. What is
    missing, negative or no number counts as 0 (rule 8)."""
    if not is_object(raw):
        return None
    try:
        found = members(raw)
    except WrongShape:
        return None
    cache_read = count(found.get("cache_read_input_tokens"))
    cache_write = count(found.get("cache_creation_input_tokens"))
    by_ttl = _counts(found.get("cache_creation"))
    details = _counts(found.get("output_tokens_details"))
    written = tuple([(ttl, by_ttl[name]) for ttl, name in _TTLS if by_ttl.get(name)])
    usage = Usage(
        input=count(found.get("input_tokens")) + cache_read + cache_write,
        output=count(found.get("output_tokens")),
        cache_read=cache_read,
        cache_write=cache_write,
        cache_write_by_ttl=written,
        thinking=details.get("thinking_tokens", 0),
        tool_calls=tuple([
            (name.removesuffix(_REQUESTS), calls)
            for name, calls in list(_counts(found.get("server_tool_use")).items())[:_TOOLS]
            if calls and name.endswith(_REQUESTS) and len(name) <= _NAME
        ]),
        tier=_tier(found),
    )  # fmt: skip
    if renamed:
        told: dict[str, int] = {field: count(found[name]) for name, field in renamed.items() if name in found}
        usage = replace(usage, **told)
    return usage


def _counts(raw: bytes | None) -> dict[str, int]:
    if raw is None or not is_object(raw):
        return {}
    try:
        return {name: count(value) for name, value in members(raw).items()}
    except WrongShape:
        return {}


def _tier(found: dict[str, bytes]) -> str:
    if found.get("speed") == b'"fast"':
        return "fast"
    tier = found.get("service_tier", b"")
    try:
        return string(tier) if is_string(tier) else ""
    except WrongShape:
        return ""


def usage_object(usage: Usage) -> dict[str, object]:
    """*usage* as a client of this dialect reads it."""
    written: dict[str, object] = {
        "input_tokens": max(0, usage.input - usage.cache_read - usage.cache_write),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.cache_write_by_ttl:
        by_ttl = dict(usage.cache_write_by_ttl)
        written["cache_creation"] = {name: by_ttl.get(ttl, 0) for ttl, name in _TTLS}
    if usage.thinking:
        written["output_tokens_details"] = {"thinking_tokens": usage.thinking}
    if usage.tool_calls:
        written["server_tool_use"] = {**_NO_REQUESTS, **{name + _REQUESTS: calls for name, calls in usage.tool_calls}}
    if usage.tier in _TIERS:
        written["service_tier"] = usage.tier
    elif usage.tier == "fast":
        written["speed"] = "fast"
    return written
