"""Consistent hashing on a ring with bounded load (S11.5)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence, Set
from math import ceil
from typing import Final

import xxhash

POINTS: Final = 160
"""Points of an endpoint of weight 1 (ketama's figure): shares differ by some 8 % from ideal."""
LEAST_POINTS: Final = 1024
MOST_POINTS: Final = 1 << 17
"""Weights in thousands make the ring no bigger than this."""
BOUND: Final = 1.25


def key_hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))


class HashRing:
    """A ring over all members of a pool. Who cannot be used is stepped over, which is the same as not being on the
    ring: only its own keys move."""

    __slots__ = ("_names", "_owners", "_places")

    def __init__(self, members: Sequence[tuple[str, float]]) -> None:
        """*members*: (key, weight). Weight 0 gets no point, unless all have weight 0."""
        total = sum(weight for _, weight in members)
        if total <= 0.0:
            members = [(key, 1.0) for key, _ in members]
            total = float(len(members))
        per_weight = min(max(float(POINTS), LEAST_POINTS / total), MOST_POINTS / total) if total else 0.0
        points: list[tuple[int, int]] = []
        for owner, (key, weight) in enumerate(members):
            points += [(key_hash(f"{key}#{number}"), owner) for number in range(ceil(weight * per_weight))]
        points.sort()
        self._names = [key for key, _ in members]
        self._places = [place for place, _ in points]
        self._owners = [owner for _, owner in points]

    def __len__(self) -> int:
        return len(self._places)

    def at(self, number: int, usable: Set[str]) -> str | None:
        """The key of the first usable owner at or after *number*; None when there is none."""
        count = len(self._owners)
        start = bisect_left(self._places, number)
        for step in range(count):
            name = self._names[self._owners[(start + step) % count]]
            if name in usable:
                return name
        return None


def next_probe(number: int) -> int:
    """Where to look after the owner of *number* is full: seeded by the key, so each key has its own second choice and
    one full endpoint does not fill its neighbour."""
    return xxhash.xxh3_64_intdigest(number.to_bytes(8, "big"))


def most(active: int, weight: float, weights: float, bound: float = BOUND) -> int:
    """How many requests an endpoint of *weight* may hold, the new one included, when *active* are in flight on
    endpoints of *weights* in all."""
    return ceil(bound * (active + 1) * weight / weights)
