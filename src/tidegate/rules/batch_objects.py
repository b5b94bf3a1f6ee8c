"""Batches as their provider tells of them: which are over, and what they used (LLM 7). Nothing else lives here.

What they used comes from a provider: nothing is believed that is not a whole number above zero (rule 8).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tidegate.exchange.chat import Usage
from tidegate.rules.plain_usage import count

OVER: Final = ("completed", "failed", "expired", "cancelled")
MOST: Final = 100
"""Batches of one list."""
LONGEST: Final = 128
"""Characters of an id or a model's name."""
MARK: Final = "batch:"
"""How the ids of records begin that book a batch: the rest is its name among all."""
OLDEST: Final = 30 * 86_400.0
"""Seconds since its end for which that is when a batch is booked."""


class EndedBatch(NamedTuple):
    """A batch that is over. ``model`` "" where its provider does not tell."""

    id: str
    model: str
    ended: float
    usage: Usage


def ended_batches(answer: Any) -> list[EndedBatch]:
    """Those of *answer*, a batch or a list of batches, that are over and used something."""
    if not isinstance(answer, dict):
        return []
    listed = answer.get("data")
    found = listed[:MOST] if isinstance(listed, list) else [answer]
    return [batch for batch in map(_ended, found) if batch is not None]


def batch_id(answer: Any) -> str:
    """The id of the one batch that *answer* is, "" when it is none."""
    return "" if not isinstance(answer, dict) or isinstance(answer.get("data"), list) else _name(answer.get("id"))


def batch_name(provider: str, id: str) -> str:
    """The batch *id* of *provider* among all batches."""
    return f"{provider}/{id}"


def booked_at(ended: float, now: float) -> float:
    """When a batch is booked, the same however often it is asked for: at its end, if that can be."""
    return ended if now - OLDEST < ended <= now else now


def _ended(batch: Any) -> EndedBatch | None:
    if not isinstance(batch, dict) or batch.get("status") not in OVER:
        return None
    id = _name(batch.get("id"))
    usage = _usage(batch.get("usage"))
    if not id or usage is None:
        return None
    ended = batch.get(f"{batch['status']}_at")
    return EndedBatch(id, _name(batch.get("model")), float(count(ended)), usage)


def _usage(told: Any) -> Usage | None:
    if not isinstance(told, dict):
        return None
    read = count(told.get("input_tokens")) or count(told.get("prompt_tokens"))
    written = count(told.get("output_tokens")) or count(told.get("completion_tokens"))
    if not read and not written:
        return None
    cached = _detail(told, ("input_tokens_details", "prompt_tokens_details"), "cached_tokens")
    thinking = _detail(told, ("output_tokens_details", "completion_tokens_details"), "reasoning_tokens")
    return Usage(
        input=read, output=written, cache_read=min(cached, read), thinking=min(thinking, written), tier="batch"
    )


def _detail(told: dict[str, Any], places: tuple[str, ...], name: str) -> int:
    for place in places:
        found = told.get(place)
        if isinstance(found, dict):
            return count(found.get(name))
    return 0


def _name(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= LONGEST and value.isprintable() else ""
