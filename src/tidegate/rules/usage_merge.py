"""Usage that comes in pieces (LLM 3): field by field the largest value wins, so a zero later never erases."""

from __future__ import annotations

from msgspec.structs import replace

from tidegate.exchange.chat import Usage

_COUNTS = (
    "input", "output", "cache_read", "cache_write", "thinking", "audio_in", "audio_out", "image_in", "image_out",
    "video_in", "prediction_accepted", "prediction_rejected", "ms_in", "ms_out", "characters", "images", "searches",
    "requests", "cost",
)  # fmt: skip


def largest(known: Usage | None, told: Usage) -> Usage:
    """What is known once *told* has come."""
    if known is None or known == told:
        return told
    changed: dict[str, object] = {}
    for name in _COUNTS:
        before = getattr(known, name)
        if before > getattr(told, name):
            changed[name] = before
    if known.tier and not told.tier:
        changed["tier"] = known.tier
    for name in ("cache_write_by_ttl", "tool_calls"):
        before = getattr(known, name)
        if before:
            after = dict(getattr(told, name))
            for key, count in before:
                after[key] = max(count, after.get(key, 0))
            changed[name] = tuple(after.items())
    return replace(told, **changed) if changed else told
