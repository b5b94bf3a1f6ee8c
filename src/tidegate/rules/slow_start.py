"""Slow start (S12.9): how much of its weight an endpoint gets while its caches are cold."""

from __future__ import annotations

import math


def factor(elapsed: float, window: float = 10.0, aggression: float = 1.0, floor: float = 0.10) -> float:
    """Share of the weight, ``floor`` to 1.0, *elapsed* seconds after the endpoint came (back) into use.

    *window* seconds until it gets all, 0 for no slow start; *aggression* 1 rises in a straight line, more rises
    faster at first.
    """
    if window <= 0.0 or elapsed >= window:
        return 1.0
    if elapsed <= 0.0:
        return floor
    return max(floor, math.pow(elapsed / window, 1.0 / aggression))
