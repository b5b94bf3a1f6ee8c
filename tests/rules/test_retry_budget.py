"""The bound on what retries add (S14.4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.retry_budget import RetryBudget


def test_at_a_thousand_a_second_a_total_failure_adds_a_tenth_s14_4() -> None:
    budget = RetryBudget(10.0, 3.0)
    retries = 0
    for number in range(20_000):
        now = 100.0 + number / 1000
        budget.count(now)
        retries += budget.take(now)
    assert 1900 <= retries <= 2000
    assert budget.refused == 20_000 - retries


def test_three_a_second_are_always_there() -> None:
    budget = RetryBudget(10.0, 3.0)
    assert sum(budget.take(5.0) for _ in range(100)) == 30
    assert budget.left(5.0) == 0
    assert budget.left(14.9) == 0
    assert budget.left(15.0) == 30


def test_first_attempts_leave_the_window_after_ten_seconds() -> None:
    budget = RetryBudget(10.0, 0.0)
    for _ in range(100):
        budget.count(1.0)
    assert budget.left(10.9) == 10
    assert budget.left(11.0) == 0


def test_new_settings_keep_what_was_counted() -> None:
    budget = RetryBudget(10.0, 0.0)
    for _ in range(100):
        budget.count(1.0)
    budget.configure(50.0, 0.0)
    assert budget.left(2.0) == 50


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200))
def test_in_no_ten_seconds_are_there_more_retries_than_allowed(steps: list[tuple[float, bool]]) -> None:
    budget = RetryBudget(10.0, 0.5)
    now, firsts, extras = 0.0, [], []
    for step, first in steps:
        now += step
        second = int(now)
        if first:
            budget.count(now)
            firsts.append(second)
        elif budget.take(now):
            extras.append(second)
            recent = [one for one in extras if one > second - 10]
            base = [one for one in firsts if one > second - 10]
            assert len(recent) <= max(len(base) * 0.1, 5.0)
