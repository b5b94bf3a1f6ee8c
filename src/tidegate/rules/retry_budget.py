"""The retry budget of one upstream: what may be added to the load that came by itself (S14.4)."""

from __future__ import annotations

from typing import Final

SECONDS: Final = 10


class RetryBudget:
    """Retries and hedges of the last 10 s are at most max(*percent* of the first attempts, *floor* a second).

    Buckets of one second; the running second is one of the ten. Each worker counts its own attempts: give each its part
    of *floor*.
    """

    __slots__ = ("extra", "extras", "first", "firsts", "floor", "refused", "second", "share")

    def __init__(self, percent: float = 10.0, floor: float = 3.0) -> None:
        self.share = percent / 100.0
        self.floor = floor * SECONDS
        self.firsts = [0] * SECONDS
        self.extras = [0] * SECONDS
        self.first = 0
        self.extra = 0
        self.second = 0
        self.refused = 0
        """Retries refused, for the metric."""

    def configure(self, percent: float, floor: float) -> None:
        """New settings on a reload; what was counted stays."""
        self.share = percent / 100.0
        self.floor = floor * SECONDS

    def count(self, now: float) -> None:
        """A first attempt is made."""
        second = int(now)
        if second != self.second:
            self._advance(second)
        self.firsts[second % SECONDS] += 1
        self.first += 1

    def take(self, now: float) -> bool:
        """May one more attempt be made? Then it is counted."""
        second = int(now)
        if second != self.second:
            self._advance(second)
        if self.extra + 1 > max(self.first * self.share, self.floor):
            self.refused += 1
            return False
        self.extras[second % SECONDS] += 1
        self.extra += 1
        return True

    def left(self, now: float) -> int:
        """Further attempts that could be made now."""
        second = int(now)
        if second != self.second:
            self._advance(second)
        return max(0, int(max(self.first * self.share, self.floor)) - self.extra)

    def _advance(self, second: int) -> None:
        if second < self.second:
            return
        for step in range(1, min(second - self.second, SECONDS) + 1):
            place = (self.second + step) % SECONDS
            self.first -= self.firsts[place]
            self.extra -= self.extras[place]
            self.firsts[place] = 0
            self.extras[place] = 0
        self.second = second
