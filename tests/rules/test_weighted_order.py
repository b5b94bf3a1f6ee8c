from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.weighted_order import weighted_order


@given(st.lists(st.floats(0, 1000), max_size=12), st.integers(0, 999))
def test_every_place_comes_once(weights: list[float], seed: int) -> None:
    assert sorted(weighted_order(weights, Random(seed).random)) == list(range(len(weights)))


def test_weight_zero_comes_last_as_written() -> None:
    assert weighted_order([0, 1, 0, 2], lambda: 0.0) == [1, 3, 0, 2]
    assert weighted_order([0, 1, 0, 2], lambda: 0.999) == [3, 1, 0, 2]


def test_the_first_place_follows_the_weights() -> None:
    random = Random(7).random
    counts = [0, 0, 0]
    for _ in range(9000):
        counts[weighted_order([1, 2, 6], random)[0]] += 1
    shares = [1000, 2000, 6000]
    # chi-square with two degrees of freedom: 13.8 is one in a thousand, and the seed is fixed
    assert sum((count - share) ** 2 / share for count, share in zip(counts, shares, strict=True)) < 13.8
