"""Chance by weight: one endpoint, or two different ones, in proportion to their weights (S11.1, S11.6)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar


class Weighted(Protocol):
    """As much of an endpoint as this rule looks at."""

    weight: float


E = TypeVar("E", bound=Weighted)


class WeightedDraw(Generic[E]):
    """A table over one sequence of endpoints, made again when the sequence or a weight changes.

    chance    uniform in [0, 1)
    version   changes whenever a weight changes (``tools.weights_version``)

    Endpoints of weight 0 are never drawn, unless all are: then all count alike.
    """

    __slots__ = ("_chance", "_ends", "_first", "_members", "_seen", "_total", "_version", "_version_seen")

    def __init__(self, chance: Callable[[], float], version: Callable[[], int]) -> None:
        self._chance = chance
        self._version = version
        self._seen: Sequence[E] | None = None
        self._version_seen = -1
        self._members: list[E] = []
        self._ends: list[float] = []
        """Sums of the weights up to and including each member."""
        self._first = 0.0
        self._total = 0.0

    def one(self, endpoints: Sequence[E]) -> E:
        """One of *endpoints* (not empty)."""
        if endpoints is not self._seen or self._version() != self._version_seen:
            self._look_at(endpoints)
        if len(self._members) == 1:
            return self._members[0]
        return self._members[self._at(self._chance() * self._total)]

    def two(self, endpoints: Sequence[E]) -> tuple[E, E]:
        """Two different ones, each by weight among those left; the same one twice when there is only one."""
        if endpoints is not self._seen or self._version() != self._version_seen:
            self._look_at(endpoints)
        members = self._members
        count = len(members)
        if count == 2:
            if self._chance() * self._total < self._first:
                return members[0], members[1]
            return members[1], members[0]
        if count == 1:
            return members[0], members[0]
        ends = self._ends
        first = self._at(self._chance() * self._total)
        start = ends[first - 1] if first else 0.0
        width = ends[first] - start
        # The second draw runs over the line with the first one's piece cut out.
        place = self._chance() * (self._total - width)
        if place >= start:
            place += width
        second = self._at(place)
        if second == first:  # a rounding error at the seam
            second = (first + 1) % count
        return members[first], members[second]

    def _at(self, place: float) -> int:
        return min(bisect_right(self._ends, place), len(self._ends) - 1)

    def _look_at(self, endpoints: Sequence[E]) -> None:
        members = [endpoint for endpoint in endpoints if endpoint.weight > 0.0]
        weights = [endpoint.weight for endpoint in members]
        if not members:
            members = list(endpoints)
            weights = [1.0] * len(members)
        ends: list[float] = []
        total = 0.0
        for weight in weights:
            total += weight
            ends.append(total)
        self._seen = endpoints
        self._version_seen = self._version()
        self._members = members
        self._ends = ends
        self._first = weights[0]
        self._total = total
