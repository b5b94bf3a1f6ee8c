"""How many requests an upstream can have in flight before more of them only wait longer (S22.6).

A gradient limit: while the latest latency stays near its long average the limit grows by about the square root of
itself, and it shrinks in proportion as latency rises. There is no probing phase: probing makes its own refusals.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

EACH: Final = 0.1
SAMPLES: Final = 25
"""A judgement needs this many; until they are there its span goes on."""
KEPT: Final = 512
"""Samples kept of one span. More would not move a median and would cost a longer sort."""
LONG: Final = 600
WARM: Final = 10
"""Judgements over which the long average is a plain mean, so that it starts from more than one figure."""
TOLERANCE: Final = 1.5
LEAST_G: Final = 0.5
KEEP: Final = 0.8
TIMEOUT_FACTOR: Final = 0.9
START: Final = 50.0
LOWEST: Final = 20.0
HIGHEST: Final = 1024.0
LEAST: Final = 4.0
"""The lowest bound in any worker, however many share the upstream."""


class AdaptiveLimit:
    """The limit of one upstream in one of *workers* workers, from this worker's own samples.

    ``limit`` is what counts. ``long`` is the average of span medians (the last 600 weigh), ``most`` the most requests
    in flight in this span. A limit grows only if at least half of it was used. A span with timeouts multiplies it by
    0.9 once, however many there were: a burst that dies together is one piece of news.
    """

    __slots__ = ("exact", "highest", "judged", "limit", "long", "lowest", "most", "samples", "span_end", "timeouts")

    def __init__(self, workers: int = 1, now: float = 0.0) -> None:
        parts = float(max(1, workers))
        self.lowest = max(LEAST, LOWEST / parts)
        self.highest = max(LEAST, HIGHEST / parts)
        self.exact = max(LEAST, START / parts)
        self.limit = int(self.exact)
        self.long = 0.0
        self.judged = 0
        self.samples: list[float] = []
        self.most = 0
        self.timeouts = 0
        self.span_end = now + EACH

    def sample(self, now: float, seconds: float, in_flight: int, timed_out: bool) -> None:
        """A unary request ended after *seconds*, while *in_flight* were out (itself included)."""
        if in_flight > self.most:
            self.most = in_flight
        if timed_out:
            self.timeouts += 1
        elif len(self.samples) < KEPT:
            self.samples.append(seconds)
        if now >= self.span_end:
            self._judge(now)

    def _judge(self, now: float) -> None:
        if self.timeouts:
            self._set(self.exact * TIMEOUT_FACTOR)
            self.timeouts = 0
            self._next(now)
            return
        samples = self.samples
        if len(samples) < SAMPLES:
            return
        samples.sort()
        short = max(samples[len(samples) // 2], 1e-6)
        self.judged += 1
        if self.judged <= WARM:
            self.long += (short - self.long) / self.judged
        else:
            self.long += (short - self.long) * (2.0 / (LONG + 1))
        g = min(1.0, max(LEAST_G, TOLERANCE * self.long / short))
        limit = self.exact
        target = KEEP * limit + (1.0 - KEEP) * (g * limit + sqrt(limit))
        if target <= limit or self.most * 2 >= limit:
            self._set(target)
        self._next(now)

    def _set(self, limit: float) -> None:
        self.exact = min(self.highest, max(self.lowest, limit))
        self.limit = int(self.exact)

    def _next(self, now: float) -> None:
        self.samples.clear()
        self.most = 0
        self.span_end = now + EACH
