"""What a provider's rate-limit fields say of the next call: how long to leave it alone before it would refuse (LLM 9).

Two families: OpenAI's ``x-ratelimit-{remaining,limit,reset}-<kind>`` with a span, Anthropic's
``anthropic-ratelimit-<kind>-{remaining,limit,reset}`` with a moment.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from tidegate.exchange.head import Fields

NEAR: Final = 0.01
"""With less than this share of its tokens left the next call would be refused."""

LONGEST: Final = 60.0
"""Seconds; what a provider says beyond that is asked again."""

UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def rest_after(style: str, fields: Fields, wall: float) -> float:
    """Seconds to leave the credential's model alone after an answer with *fields*, 0.0 when there is room. *style*:
    ``openai`` or ``anthropic``; *wall*: seconds since the epoch."""
    told: dict[str, dict[str, str]] = {}
    for name, value in fields:
        if style == "openai" and name.startswith("x-ratelimit-"):
            what, _, kind = name[12:].partition("-")
        elif style == "anthropic" and name.startswith("anthropic-ratelimit-"):
            kind, _, what = name[20:].rpartition("-")
        else:
            continue
        told.setdefault(kind, {})[what] = value
    rest = 0.0
    for kind, words in told.items():
        left = _number(words.get("remaining", ""))
        if left < 0.0 or left > _least(kind, words):
            continue
        reset = words.get("reset", "")
        rest = max(rest, span_of(reset) if style == "openai" else until(reset, wall))
    return min(rest, LONGEST)


def _least(kind: str, words: dict[str, str]) -> float:
    """What is as good as nothing: of requests none, of tokens a hundredth."""
    return 0.0 if kind == "requests" else max(0.0, _number(words.get("limit", ""))) * NEAR


def _number(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 15 else -1.0


def span_of(text: str) -> float:
    """Seconds of ``6m0s``, ``1.5s``, ``20ms``, ``12``; 0.0 for what cannot be read."""
    if len(text) > 32 or not text.isascii():
        return 0.0
    total = 0.0
    number = unit = ""
    for character in text + " ":
        if character.isdigit() or character == ".":
            if unit:
                seconds = _part(number, unit)
                if seconds < 0.0:
                    return 0.0
                total += seconds
                number = unit = ""
            number += character
        elif character != " ":
            unit += character
    last = _part(number, unit or "s")
    return total + last if last >= 0.0 else 0.0


def _part(number: str, unit: str) -> float:
    """Seconds, -1.0 for none."""
    if unit not in UNITS or not number or number.count(".") > 1 or number == ".":
        return -1.0
    return float(number) * UNITS[unit]


def until(text: str, wall: float) -> float:
    """Seconds until the RFC 3339 moment *text*; 0.0 for what cannot be read."""
    try:
        moment = datetime.fromisoformat(text[:64])
        return max(0.0, moment.timestamp() - wall) if moment.tzinfo is not None else 0.0
    except (ValueError, OverflowError):
        return 0.0
