"""How much of a budget is lent at once (LLM 10.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.grants import Spending, grant_of


@pytest.mark.parametrize(
    ("asked", "free", "workers", "recent", "granted"),
    [
        (10, 1000, 4, 0, 10),
        (10, 1000, 4, 500, 125),
        (10, 1000, 4, 60, 60),
        (10, 1000, 1, 10_000, 500),
        (1000, 1000, 4, 0, 1000),
        (1001, 1000, 4, 0, 0),
        (200, 1000, 4, 9999, 200),
        (1, 0, 4, 9999, 0),
    ],
)
def test_a_grant_covers_the_ask_and_leaves_shares_for_others(
    asked: int, free: int, workers: int, recent: int, granted: int
) -> None:
    assert grant_of(asked, free, workers, recent) == granted


@given(st.integers(0, 10**12), st.integers(-(10**9), 10**12), st.integers(0, 64), st.integers(0, 10**12))
def test_a_grant_is_never_more_than_there_is(asked: int, free: int, workers: int, recent: int) -> None:
    granted = grant_of(asked, free, workers, recent)
    assert granted <= max(0, free)
    assert granted == 0 or granted >= asked


def test_spending_is_what_the_last_five_seconds_saw() -> None:
    spending = Spending()
    spending.add(100, 50.0)
    spending.add(50, 54.9)
    assert spending.recent(54.9) == 150
    assert spending.recent(55.0) == 150
    spending.add(20, 55.5)
    assert spending.recent(56.0) == 150
    assert spending.recent(60.1) == 20
    assert spending.recent(80.0) == 0
