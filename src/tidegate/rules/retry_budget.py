"""The retry budget of one upstream: what may be added to the load that came by itself (S14.4)."""

from __future__ import annotations

from typing import Final

SECONDS: Final = 10


class RetryBudget:
    """Retries and hedges of the last 10 s are at most max(*percent* of the first attempts, *floor* a second).

    Buckets of one second; the running second is one of the ten. What is counted elsewhere can be added (see
    :meth:`elsewhere`); without that each worker counts for itself and gets its part of *floor*.
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
        if self._room(second) < 1:
            self.refused += 1
            return False
        self.extras[second % SECONDS] += 1
        self.extra += 1
        self.tell()
        return True

    def left(self, now: float) -> int:
        """Further attempts that could be made now."""
        second = int(now)
        if second != self.second:
            self._advance(second)
        return max(0, self._room(second))

    def _room(self, second: int) -> int:
        firsts, extras = self.elsewhere(second)
        return int(max((self.first + firsts) * self.share, self.floor)) - self.extra - extras

    def elsewhere(self, second: int) -> tuple[int, int]:
        """First and further attempts of the last 10 s that others have made. Nobody, unless a subclass knows some."""
        return 0, 0

    def tell(self) -> None:
        """The sums have changed: those of the first attempts are told each second, the others at once."""

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
        self.tell()
