"""Smooth weighted round robin (S11.2): the exact share in every period, without bursts on the heavy one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Final, Generic, Protocol, TypeVar

_LONGEST_START: Final = 256
_SLACK: Final = 64


class Keyed(Protocol):
    """As much of an endpoint as this rule looks at."""

    key: str
    weight: float


E = TypeVar("E", bound=Keyed)


class SmoothWeighted(Generic[E]):
    """Scores of one upstream. They belong to endpoints, not to places in a list, so they outlive changes of the
    list: a retry over fewer endpoints, an ejection, a reload.

    chance   uniform in [0, 1): where in the period this worker starts, or all workers would send their first request
             to the same endpoint
    """

    __slots__ = ("_chance", "_scores", "_started")

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._scores: dict[str, float] = {}
        self._started = False

    def pick(self, endpoints: Sequence[E], weight_of: Callable[[E], float] | None = None) -> E:
        """Add each one's weight to its score, take the highest (of equals the first), subtract the sum from it.
        *weight_of* replaces the endpoints' own weights. When none has a weight all count alike."""
        if not self._started:
            self._started = True
            period = min(_LONGEST_START, max(len(endpoints), ceil(sum(e.weight for e in endpoints))))
            for _ in range(int(self._chance() * period)):
                self._step(endpoints, weight_of)
        return self._step(endpoints, weight_of)

    def _step(self, endpoints: Sequence[E], weight_of: Callable[[E], float] | None) -> E:
        scores = self._scores
        best: E | None = None
        highest = 0.0
        total = 0.0
        for endpoint in endpoints:
            weight = endpoint.weight if weight_of is None else weight_of(endpoint)
            if weight <= 0.0:
                continue
            total += weight
            score = scores.get(endpoint.key, 0.0) + weight
            scores[endpoint.key] = score
            if best is None or score > highest:
                best = endpoint
                highest = score
        if best is None:
            return self._step(endpoints, _alike)
        scores[best.key] = highest - total
        if len(scores) > 2 * len(endpoints) + _SLACK:
            self._forget(endpoints)
        return best

    def _forget(self, endpoints: Sequence[E]) -> None:
        """Scores of endpoints that are gone (discovery may bring new addresses for ever)."""
        self._scores = {endpoint.key: self._scores.get(endpoint.key, 0.0) for endpoint in endpoints}


def _alike(endpoint: object) -> float:
    return 1.0
