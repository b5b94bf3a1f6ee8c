"""Periods of budgets (LLM 10): day, ISO week, month or everything, in UTC. Which one is now, and when it ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from tidegate.rules.quota_window import window_of

ENDLESS: Final = 253_402_300_800.0
"""The year 10,000: when ``total`` ends."""


class Period(NamedTuple):
    """``id`` names it in the books (``2026-11-21``, ``2026-W47``, ``2026-11``, ``total``); seconds since the epoch."""

    id: str
    starts: float
    ends: float


TOTAL: Final = Period("total", 0.0, ENDLESS)


def period_at(per: str, wall: float) -> Period:
    """The period of kind *per* that holds *wall* (seconds since the epoch). ``ValueError`` for an unknown kind."""
    if per == "total":
        return TOTAL
    if per not in ("day", "week", "month"):
        raise ValueError("a budget is per day, week, month or total")
    starts, ends = window_of(wall, per, UTC)
    day = datetime.fromtimestamp(starts, UTC)
    if per == "day":
        name = f"{day:%Y-%m-%d}"
    elif per == "week":
        year, week, _ = day.isocalendar()
        name = f"{year:04d}-W{week:02d}"
    else:
        name = f"{day:%Y-%m}"
    return Period(name, float(starts), float(ends))


class Calendar:
    """The periods that are now. Never goes back: a clock that is set back gives no second allowance."""

    def __init__(self, latest: float = 0.0) -> None:
        self.latest: float = latest
        """The latest wall time seen."""
        self.known: dict[str, Period] = {}

    def learn(self, wall: float) -> None:
        """Somebody else has seen *wall*."""
        if wall > self.latest:
            self.latest = wall

    def now(self, per: str, wall: float) -> Period:
        """The period of kind *per* at *wall*, or at the latest time seen if that is later."""
        if wall > self.latest:
            self.latest = wall
        known = self.known.get(per)
        if known is not None and self.latest < known.ends:
            return known
        period = period_at(per, self.latest)
        self.known[per] = period
        return period
