"""Effort and budget of thinking, one from the other (LLM 5.6)."""

from __future__ import annotations

from typing import Final

STEPS: Final = (("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 16384), ("xhigh", 32768))
"""Effort -> tokens; ``max`` is all the room there is."""

LEAST: Final = 1024
"""Vendors refuse a smaller budget."""


def budget_of(effort: str, max_output: int) -> int:
    """Tokens to think for *effort*, below *max_output* as vendors want it; 0 without room, or for no such effort."""
    room = max_output - 1
    if room < LEAST:
        return 0
    if effort == "max":
        return room
    return min(dict(STEPS).get(effort, 0), room)


def fit_budget(budget: int, max_output: int) -> int:
    """*budget* within what vendors take: at least 1,024 and below *max_output*; 0 when there is no room."""
    return min(max(budget, LEAST), max_output - 1) if max_output > LEAST else 0


def effort_of(budget: int) -> str:
    """The nearest effort below *budget*; ``minimal`` for less than any."""
    found = STEPS[0][0]
    for effort, tokens in STEPS:
        if tokens <= budget:
            found = effort
    return found
