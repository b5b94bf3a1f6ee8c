"""A whole order by weight: each place is drawn in proportion among those that are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def weighted_order(weights: Sequence[float], random: Callable[[], float]) -> list[int]:
    """Positions of *weights*, drawn without putting back; those of weight 0 come last, as written. *random* is uniform
    in [0, 1) and asked once a drawn place but the last."""
    left = [place for place, weight in enumerate(weights) if weight > 0]
    drawn: list[int] = []
    while len(left) > 1:
        at = random() * sum(weights[place] for place in left)
        for place in left:
            at -= weights[place]
            if at < 0:
                break
        left.remove(place)
        drawn.append(place)
    return [*drawn, *left, *[place for place, weight in enumerate(weights) if weight <= 0]]
