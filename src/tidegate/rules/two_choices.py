"""The power of two choices (S11.1): of two endpoints drawn by weight the one with less to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from tidegate.rules.weighted_draw import WeightedDraw


class Loaded(Protocol):
    """As much of an endpoint as this rule looks at."""

    weight: float
    active: int


E = TypeVar("E", bound=Loaded)


class TwoChoices(Generic[E]):
    """Near-best spread without a scan, and tolerant of counts that are some milliseconds old. *chance* and *version*
    as in ``weighted_draw``."""

    __slots__ = ("_draw",)

    def __init__(self, chance: Callable[[], float], version: Callable[[], int]) -> None:
        self._draw: WeightedDraw[E] = WeightedDraw(chance, version)

    def pick(self, endpoints: Sequence[E]) -> E:
        """The lower ``active / weight``; of equals the first drawn, so idle endpoints share by weight."""
        first, second = self._draw.two(endpoints)
        return second if second.active * first.weight < first.active * second.weight else first
