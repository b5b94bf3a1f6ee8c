"""Sizes and lives of leases (S9.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.lease import grant_size, lease_life

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("free", "need", "workers", "amount", "per", "size"),
    [
        (200, 1, 1, 100, SECOND, 100),
        (200, 1, 4, 100, SECOND, 10),
        (40, 1, 4, 100, SECOND, 5),
        (3, 1, 4, 100, SECOND, 1),
        (1000, 1, 4, 1, 60 * SECOND, 1),
        (200, 50, 4, 100, SECOND, 50),
        (20, 50, 4, 100, SECOND, 20),
        (100, 1, 2, 100, 0, 25),
        (0, 1, 1, 100, SECOND, 0),
    ],
)
def test_s9_4_a_grant_is_a_share_of_what_is_free(
    free: int, need: int, workers: int, amount: int, per: int, size: int
) -> None:
    assert grant_size(free, need, workers, amount, per) == size


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 64), st.integers(1, 10**6), st.integers(0, 10**12))
def test_s9_4_never_more_than_is_free_is_granted(free: int, need: int, workers: int, amount: int, per: int) -> None:
    size = grant_size(free, need, workers, amount, per)
    assert min(free, 1) <= size <= free
    assert size >= min(free, need)


@pytest.mark.parametrize(
    ("free", "workers", "per", "life"),
    [
        (1, 1, SECOND, 5 * SECOND),
        (51, 4, SECOND, 5 * SECOND),
        (50, 4, SECOND, 16_666_666),
        (50, 4, 60 * SECOND, SECOND // 10),
        (50, 4, 60, SECOND // 100),
    ],
)
def test_s9_4_a_lease_is_short_when_less_than_half_is_free(free: int, workers: int, per: int, life: int) -> None:
    assert lease_life(free, 100, workers, per) == life
