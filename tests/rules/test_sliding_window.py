"""The sliding window: at most N in any window, by any path (S9.2)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.sliding_window import SlidingWindow

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


def most_in_any(times: list[int], per: int) -> int:
    most = first = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - per:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_s9_2_ten_thousand_at_once_and_for_three_minutes_are_never_over_n_in_any_minute() -> None:
    window = SlidingWindow(600, MINUTE)
    admitted = [0 for _ in range(10_000) if window.take(1, 0)]
    assert len(admitted) == 600
    for step in range(1, 180 * 50):
        now = step * SECOND // 50
        if window.take(1, now):
            admitted.append(now)
    assert most_in_any(admitted, MINUTE) == 600
    assert len(admitted) >= 600 * 3 * 0.96


@given(
    st.integers(1, 40),
    st.sampled_from([7, 1000, MINUTE]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9)), max_size=120),
)
def test_s9_2_never_over_n_in_any_window(amount: int, per: int, steps: list[tuple[int, int]]) -> None:
    window = SlidingWindow(amount, per)
    admitted: list[int] = []
    now = 0
    for pause, cost in steps:
        now += pause * per // 100
        free = window.free(now)
        assert window.take(cost, now) is (cost <= free)
        admitted.extend([now] * (cost if cost <= free else 0))
    assert most_in_any(admitted, per) <= amount


@given(st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 9)), max_size=80), st.integers(1, 20))
def test_after_the_wait_it_names_the_cost_passes_and_not_a_nanosecond_earlier(
    steps: list[tuple[int, int]], cost: int
) -> None:
    window = SlidingWindow(20, 10 * SECOND)
    now = 0
    for pause, units in steps:
        now += pause
        window.take(units, now)
    wait = window.wait(cost, now)
    if wait:
        assert not window.take(cost, now + wait - 1)
    assert window.take(cost, now + wait)


@given(
    st.lists(
        st.tuples(st.integers(0, SECOND), st.integers(0, 30), st.floats(0, 1), st.integers(0, 3), st.booleans()),
        max_size=60,
    )
)
def test_s9_4_whatever_is_lent_spent_and_returned_the_promise_holds(
    steps: list[tuple[int, int, float, int, bool]],
) -> None:
    """A lease is spent within its life, in the worst case at its very end; the answer may come much later."""
    window = SlidingWindow(25, 10 * SECOND)
    leases: list[tuple[int, int, int]] = []
    admitted: list[int] = []
    now = 0
    for pause, count, part, settled, at_end in steps:
        now += pause
        for _ in range(min(settled, len(leases))):
            lent, tag, until = leases.pop(0)
            spent = round(lent * part)
            admitted.extend([min(now, until - 1) if at_end else now if now < until else until - 1] * spent)
            window.settle(lent, lent - spent, tag, now)
        count = min(count, window.free(now))
        if count:
            until = now + SECOND // 6
            leases.append((count, window.lend(count, now, until), until))
    assert most_in_any(sorted(admitted), 10 * SECOND) <= 25


def test_more_says_when_the_oldest_units_come_free() -> None:
    window = SlidingWindow(10, MINUTE)
    assert window.more(5 * SECOND) == 5 * SECOND
    window.take(1, 5 * SECOND)
    window.take(1, 9 * SECOND)
    assert window.more(10 * SECOND) == 66 * SECOND
    assert window.free(66 * SECOND - 1) == 8
    assert window.free(66 * SECOND) == 9


def test_s9_7_a_refund_takes_the_oldest_units_and_never_those_on_lease() -> None:
    window = SlidingWindow(10, MINUTE)
    window.take(2, 0)
    window.take(2, 30 * SECOND)
    window.lend(3, 30 * SECOND, 35 * SECOND)
    window.refund(3, 40 * SECOND)
    assert window.spent == {30: 1}
    window.refund(9, 40 * SECOND)
    assert window.free(40 * SECOND) == 7
    assert window.lent == {34: 3}


def test_s23_2_new_figures_keep_what_is_used() -> None:
    window = SlidingWindow(10, MINUTE)
    window.take(4, 0)
    window.lend(3, 0, SECOND)
    window.resize(20, MINUTE, 0)
    assert window.free(0) == 13
    window.resize(20, 2 * MINUTE, 0)
    assert window.free(0) == 13
    assert window.free(100 * SECOND) == 13


def test_the_state_survives_a_journal_and_an_empty_window_is_idle() -> None:
    window = SlidingWindow(10, MINUTE)
    window.take(4, 0)
    window.lend(1, 0, SECOND)
    other = SlidingWindow(10, MINUTE)
    other.restore(window.state())
    assert other.free(0) == 5
    assert not other.idle(0)
    assert other.idle(62 * SECOND)
