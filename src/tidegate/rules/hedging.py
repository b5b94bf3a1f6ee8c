"""When a second attempt at another endpoint pays: after the upstream's own p95, for few requests (S14.7)."""

from __future__ import annotations

from math import log
from typing import Final

SAMPLES: Final = 100
"""Below this many nobody knows a p95."""
MEMORY: Final = 2000
"""At this many all counts are halved: the figure follows the upstream within about as many requests."""
SHORTEST: Final = 0.0001
GROWTH: Final = 1.15
BUCKETS: Final = 96
"""0.1 ms · 1.15^96 is 67 s; a bucket's upper bound is at most 15 % over the truth."""
SCALE: Final = 1.0 / log(GROWTH)
QUANTILE: Final = 0.95
RECKON_EACH: Final = 50


class Hedging:
    """The wait before a hedge, and the cap on hedges, of one upstream in one worker. *after* seconds, 0.0: the p95.
    *share*: hedges in percent of requests."""

    __slots__ = ("after", "counts", "fresh", "hedged", "p95", "requests", "share", "total")

    def __init__(self, after: float = 0.0, share: float = 5.0) -> None:
        self.after = after
        self.share = share / 100.0
        self.counts = [0] * BUCKETS
        self.total = 0
        self.fresh = 0
        self.p95 = -1.0
        self.requests = 0.0
        self.hedged = 0.0

    def observe(self, seconds: float) -> None:
        """The answer head of a first attempt came after *seconds*."""
        place = 0 if seconds <= SHORTEST else min(int(log(seconds / SHORTEST) * SCALE) + 1, BUCKETS - 1)
        self.counts[place] += 1
        self.total += 1
        self.fresh += 1
        if self.fresh >= RECKON_EACH and self.total >= SAMPLES:
            self._reckon()

    def _reckon(self) -> None:
        self.fresh = 0
        rank = self.total * QUANTILE
        below = 0
        for place in range(BUCKETS):
            below += self.counts[place]
            if below >= rank:
                self.p95 = SHORTEST * GROWTH**place
                break
        if self.total >= MEMORY:
            self.counts = [count // 2 for count in self.counts]
            self.total = sum(self.counts)

    def delay(self) -> float:
        """Seconds after which to hedge, -1.0 while no p95 is known."""
        return self.after if self.after > 0.0 else self.p95

    def count(self) -> None:
        """A request that could be hedged begins."""
        self.requests += 1.0
        if self.requests >= MEMORY:
            self.requests /= 2.0
            self.hedged /= 2.0

    def take(self) -> bool:
        """May this request be hedged? Then it is counted."""
        if self.hedged + 1.0 > self.requests * self.share:
            return False
        self.hedged += 1.0
        return True
