"""How much of a budget a worker gets at once (LLM 10.1), and how fast a budget is being spent."""

from __future__ import annotations

from typing import Final

SPAN: Final = 5.0
"""Seconds of spending that a lease should last."""


def grant_of(asked: int, free: int, workers: int, recent: int) -> int:
    """n$ to lend to a worker that lacks *asked*, of *free*: enough for what is asked, else a share that leaves as much
    again for each of the *workers*, but no more than *recent*, what the budget spent in the last :data:`SPAN`. 0 when
    *asked* is more than there is."""
    if asked > free:
        return 0
    return max(asked, min(free // (2 * max(1, workers)), recent))


class Spending:
    """What was spent lately: the fuller of this span of five seconds and the one before."""

    __slots__ = ("before", "begun", "since")

    def __init__(self) -> None:
        self.begun: float = 0.0
        self.since: int = 0
        self.before: int = 0

    def add(self, amount: int, now: float) -> None:
        """*amount* n$ more at *now* (monotonic seconds)."""
        self._turn(now)
        self.since += amount

    def recent(self, now: float) -> int:
        """n$ in about :data:`SPAN` seconds."""
        self._turn(now)
        return max(self.since, self.before)

    def _turn(self, now: float) -> None:
        gone = now - self.begun
        if gone >= SPAN:
            self.before = self.since if gone < 2 * SPAN else 0
            self.since = 0
            self.begun = now
