"""How a client's SDK hears of our limits: ``RateLimit`` for everybody, and the fields its own vendor would send (LLM
10, 15). Of several limits of a kind the tightest is told; none of another vendor's ever is."""

from __future__ import annotations

from typing import Final, NamedTuple

from tidegate.exchange.head import Fields
from tidegate.rules.rate_headers import limit_member, limit_prefix, policy_member

ANTHROPIC: Final = "anthropic_messages"
OPENAI: Final = frozenset({"openai_chat", "openai_responses", "openai_completions", "openai_embeddings"})


class Seen(NamedTuple):
    """What one limit said to one call. ``kind``: ``requests`` or ``tokens``; ``limit`` in ``window`` seconds;
    ``remaining`` now; ``reset``: seconds until more is there."""

    kind: str
    limit: int
    window: float
    remaining: int
    reset: float


def limit_fields(dialect: str, seen: list[Seen], wall: float) -> Fields:
    """The fields for a client that speaks *dialect*; *wall*: seconds since the epoch."""
    told = [min(of, key=_left) for of in (_of("requests", seen), _of("tokens", seen)) if of]
    if not told:
        return []
    fields: Fields = [
        ("ratelimit-policy", ", ".join([policy_member(s.kind, s.limit, s.window, _unit(s)) for s in told])),
        ("ratelimit", ", ".join([limit_member(limit_prefix(s.kind), s.remaining, s.reset) for s in told])),
    ]
    for one in told:
        left = str(max(0, one.remaining))
        if dialect in OPENAI:
            fields.append((f"x-ratelimit-limit-{one.kind}", str(one.limit)))
            fields.append((f"x-ratelimit-remaining-{one.kind}", left))
            fields.append((f"x-ratelimit-reset-{one.kind}", span(one.reset)))
        elif dialect == ANTHROPIC:
            fields.append((f"anthropic-ratelimit-{one.kind}-limit", str(one.limit)))
            fields.append((f"anthropic-ratelimit-{one.kind}-remaining", left))
            fields.append((f"anthropic-ratelimit-{one.kind}-reset", moment(wall + one.reset)))
    return fields


def _of(kind: str, seen: list[Seen]) -> list[Seen]:
    return [one for one in seen if one.kind == kind]


def _left(one: Seen) -> float:
    return one.remaining / one.limit if one.limit else 0.0


def _unit(one: Seen) -> str:
    return "" if one.kind == "requests" else one.kind


def span(seconds: float) -> str:
    """``6m0s``, ``1.5s``, ``20ms``: rounded up to a millisecond."""
    milliseconds = int(seconds * 1000)
    if milliseconds < seconds * 1000:
        milliseconds += 1
    if milliseconds < 1000:
        return f"{max(0, milliseconds)}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def moment(seconds: float) -> str:
    """RFC 3339 in UTC, rounded up to a second."""
    whole = int(seconds)
    if whole < seconds:
        whole += 1
    days, rest = divmod(max(0, whole), 86_400)
    year, month, day = civil(days)
    return f"{year:04d}-{month:02d}-{day:02d}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}Z"


def civil(days: int) -> tuple[int, int, int]:
    """(year, month, day) of a day since 1970, proleptic Gregorian. March is the first month, so a leap day ends its
    year."""
    days += 719_468
    era, of_era = divmod(days, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return year + era * 400 + (1 if month <= 2 else 0), month, day
