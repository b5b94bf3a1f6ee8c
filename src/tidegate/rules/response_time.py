"""Averages that believe bad news at once and good news slowly, and the choice by them (S11.6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
from typing import Final, Generic, TypeVar

from tidegate.rules.weighted_draw import WeightedDraw

DECAY: Final = 10.0
"""Seconds in which an old average loses all but 1/e of its say."""
DEFAULT: Final = 0.030
"""Seconds assumed where nothing was measured yet (Linkerd's)."""
FAILED_AT_LEAST: Final = 1.0
"""Seconds a failed attempt counts at least: a refusal within a millisecond must not look fast."""
MARGIN: Final = 0.8
"""The second of two must cost under this share of the first to win: small differences are noise."""
SHORTEST: Final = 1e-6
"""Seconds; 0.0 would mean that nothing was measured."""
_SURVEY_LIFE: Final = 0.010
"""Seconds for which best and mean of the pool stand: both only bound and stand in."""


class Timed:
    """As much of an endpoint as this rule looks at; ``ports/balancer.Endpoint`` has the meaning of each. A class and no
    protocol: compiled, its attributes are then read from their places and not looked for by name."""

    __slots__ = ("active", "average", "average_at", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.active = 0
        self.average = 0.0
        self.average_at = 0.0


E = TypeVar("E", bound=Timed)


def sample(average: float, elapsed: float, seconds: float, decay: float = DECAY) -> float:
    """The average after *seconds* were measured, *elapsed* seconds after the last sample; *average* 0.0: none yet."""
    if seconds > average:
        return max(seconds, SHORTEST)
    keep = exp(-max(elapsed, 0.0) / decay)
    return max(average * keep + seconds * (1.0 - keep), SHORTEST)


def reading(average: float, elapsed: float, best: float, decay: float = DECAY) -> float:
    """The average as it counts *elapsed* seconds after its last sample: it decays too, so that a slow endpoint is
    tried again one day, but at lowest to *best*, the pool's lowest average."""
    if elapsed <= 0.0 or average <= best:
        return average
    return max(best, average * exp(-elapsed / decay))


def note(endpoint: Timed, now: float, seconds: float, failed: bool, decay: float = DECAY) -> None:
    """One attempt on *endpoint* ended its first-byte phase."""
    if failed:
        seconds = max(seconds, FAILED_AT_LEAST)
    endpoint.average = sample(endpoint.average, now - endpoint.average_at, seconds, decay)
    endpoint.average_at = now


class PeakEwmaChoice(Generic[E]):
    """The cheaper of two drawn by weight; *chance* and *version* as in ``weighted_draw``."""

    __slots__ = ("_best", "_decay", "_default", "_draw", "_mean", "_seen", "_surveyed")

    def __init__(
        self, chance: Callable[[], float], version: Callable[[], int], decay: float = DECAY, default: float = DEFAULT
    ) -> None:
        self._draw: WeightedDraw[E] = WeightedDraw(chance, version)
        self._decay = decay
        self._default = default
        self._seen: Sequence[E] | None = None
        self._surveyed = 0.0
        self._best = 0.0
        self._mean = default

    def pick(self, endpoints: Sequence[E], now: float) -> E:
        first, second = self._draw.two(endpoints)
        if first is second:
            return first
        if endpoints is not self._seen or now - self._surveyed > _SURVEY_LIFE:
            self._survey(endpoints, now)
        if self._cost(second, now) < MARGIN * self._cost(first, now):
            return second
        return first

    def _cost(self, endpoint: E, now: float) -> float:
        average = endpoint.average
        if average <= 0.0:
            average = self._mean
        elif average > self._best:
            elapsed = now - endpoint.average_at
            if elapsed > 0.0:
                average = max(self._best, average * exp(-elapsed / self._decay))
        active = endpoint.active
        return average * (1.0 + active / endpoint.weight) if active and endpoint.weight > 0.0 else average

    def _survey(self, endpoints: Sequence[E], now: float) -> None:
        measured = [endpoint.average for endpoint in endpoints if endpoint.average > 0.0]
        self._best = min(measured, default=0.0)
        self._mean = sum(measured) / len(measured) if measured else self._default
        self._seen = endpoints
        self._surveyed = now
