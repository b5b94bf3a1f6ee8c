"""Least connections (S11.3): the endpoint with the fewest requests in flight, over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from tidegate.rules.smooth_weighted import SmoothWeighted
from tidegate.rules.weighted_draw import WeightedDraw

SCAN_LIMIT: Final = 64
"""Above it a scan costs more than it gains over the best of ``DRAWS``."""
DRAWS: Final = 4


class Busy(Protocol):
    """As much of an endpoint as this rule looks at."""

    key: str
    weight: float
    active: int


E = TypeVar("E", bound=Busy)


class LeastLoaded(Generic[E]):
    """*weighted* compares ``active / weight`` instead of ``active``. Equals take turns by weight (nginx)."""

    __slots__ = ("_draw", "_turns", "_weighted")

    def __init__(self, chance: Callable[[], float], version: Callable[[], int], *, weighted: bool) -> None:
        self._weighted = weighted
        self._turns: SmoothWeighted[E] = SmoothWeighted(chance)
        self._draw: WeightedDraw[E] = WeightedDraw(chance, version)

    def pick(self, endpoints: Sequence[E]) -> E:
        if len(endpoints) > SCAN_LIMIT:
            # The draw has weighed them already: of equals the first one stands.
            return self._least([self._draw.one(endpoints) for _ in range(DRAWS)])[0]
        least = self._least(endpoints)
        return least[0] if len(least) == 1 else self._turns.pick(least)

    def _least(self, endpoints: Sequence[E]) -> list[E]:
        """Those that share the lowest load. Weight 0 gets nothing, unless all have it."""
        least: list[E] = []
        lowest = 0.0
        for endpoint in endpoints:
            if endpoint.weight <= 0.0:
                continue
            load = endpoint.active / endpoint.weight if self._weighted else endpoint.active
            if not least or load < lowest:
                least = [endpoint]
                lowest = load
            elif load == lowest:
                least.append(endpoint)
        return least or list(endpoints)
