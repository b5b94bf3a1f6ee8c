"""The breaker's states, result by result, on a clock that only the test moves (S13.1-S13.5)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.ports.plan import BreakerPlan
from tidegate.rules.circuit_window import (
    CLOSED,
    DISABLED,
    FORCED_OPEN,
    HALF_OPEN,
    HALF_OPEN_WAIT,
    METRICS_ONLY,
    OPEN,
    PERMITTED,
    CircuitWindow,
    CountResults,
    TimeResults,
)


def make(**settings: Any) -> CircuitWindow:
    return CircuitWindow(BreakerPlan(**settings), 0.0)


def call(window: CircuitWindow, now: float, failed: bool = False, seconds: float = 0.01) -> float:
    """One call from permit to result; the wait when it is not permitted."""
    wait = window.permit(now, 0.0)
    if wait == PERMITTED:
        window.record(window.generation, now, seconds, failed)
    return wait


def opened(**settings: Any) -> CircuitWindow:
    """A breaker that has just opened at second 1."""
    window = make(**settings)
    for _ in range(20):
        call(window, 1.0, failed=True)
    assert window.state == OPEN
    return window


def test_19_failures_stay_closed_and_the_20th_opens_s13_3() -> None:
    window = make()
    for _ in range(19):
        call(window, 1.0, failed=True)
    assert window.state == CLOSED
    assert window.rates(1.0) == (-1.0, -1.0)
    call(window, 1.0, failed=True)
    assert window.state == OPEN
    assert window.rates(1.0) == (100.0, 0.0)


def test_a_rate_at_its_threshold_trips_and_one_below_does_not_s13_2() -> None:
    window = make()
    for _ in range(11):
        call(window, 1.0)
    for _ in range(9):
        call(window, 1.0, failed=True)
    assert window.state == CLOSED and window.rates(1.0) == (45.0, 0.0)
    window = make()
    for _ in range(10):
        call(window, 1.0)
    for _ in range(10):
        call(window, 1.0, failed=True)
    assert window.state == OPEN


def test_a_good_call_that_completes_the_minimum_trips_too() -> None:
    window = make()
    for _ in range(19):
        call(window, 1.0, failed=True)
    call(window, 1.0)
    assert window.state == OPEN


@pytest.mark.parametrize(("seconds", "state"), [(2.0, CLOSED), (2.0001, OPEN)])
def test_slow_is_longer_than_slow_after_not_as_long_s13_2(seconds: float, state: int) -> None:
    window = make()
    for _ in range(20):
        call(window, 1.0, seconds=seconds)
    assert window.state == state


def test_a_slow_failure_counts_in_both_rates_s13_2() -> None:
    window = make(failure_rate=60.0, slow_rate=60.0)
    for _ in range(10):
        call(window, 1.0, failed=True, seconds=3.0)
    for _ in range(10):
        call(window, 1.0)
    assert window.rates(1.0) == (50.0, 50.0)


def test_a_minimum_above_the_window_is_cut_to_it_s13_3() -> None:
    window = make(window=5, min_calls=20)
    for _ in range(5):
        call(window, 1.0, failed=True)
    assert window.state == OPEN


def test_old_results_leave_a_count_window() -> None:
    window = make(window=20)
    for _ in range(9):
        call(window, 1.0, failed=True)
    for _ in range(20):
        call(window, 1.0)
    assert window.rates(1.0) == (0.0, 0.0)


def test_open_rejects_with_the_remaining_wait_and_then_lets_probes_pass_s13_4() -> None:
    window = opened()
    assert window.permit(2.0, 0.0) == pytest.approx(3.0)
    assert window.permit(4.9999, 0.0) > 0.0
    assert window.permit(5.0, 0.0) == PERMITTED
    assert window.state == HALF_OPEN


def test_the_first_to_ask_draws_up_to_a_tenth_of_jitter_s13_4() -> None:
    window = opened()
    assert window.permit(1.0, 0.5) == pytest.approx(4.2)
    assert window.permit(1.0, 0.0) == pytest.approx(4.2)
    assert window.permit(5.1, 0.0) > 0.0
    assert window.permit(5.3, 0.0) == PERMITTED


def test_half_open_lets_four_pass_and_judges_when_all_are_back_s13_4() -> None:
    window = opened()
    assert [window.permit(5.0, 0.0) for _ in range(5)] == [PERMITTED] * 4 + [HALF_OPEN_WAIT]
    for _ in range(3):
        window.record(window.generation, 5.1, 0.1, False)
    assert window.state == HALF_OPEN
    window.record(window.generation, 5.1, 0.1, False)
    assert window.state == CLOSED
    assert window.results.totals(5.1) == (0, 0, 0)


@pytest.mark.parametrize(("failures", "state"), [(1, CLOSED), (2, OPEN), (4, OPEN)])
def test_half_open_is_judged_by_the_same_thresholds(failures: int, state: int) -> None:
    window = opened()
    for number in range(4):
        call(window, 5.0, failed=number < failures)
    assert window.state == state


def test_no_result_within_ten_seconds_opens_again_s13_4() -> None:
    window = opened()
    for _ in range(4):
        assert window.permit(5.0, 0.0) == PERMITTED
    assert window.permit(14.9, 0.0) == HALF_OPEN_WAIT
    assert window.permit(15.0, 0.0) == pytest.approx(4.0)
    assert window.state == OPEN


def test_half_open_without_calls_under_way_waits_for_the_next_one() -> None:
    window = opened()
    assert call(window, 5.0) == PERMITTED
    assert call(window, 60.0) == PERMITTED
    assert window.state == HALF_OPEN


def test_results_after_a_change_of_state_do_not_move_the_new_one_s13_5() -> None:
    window = make()
    window.permit(0.5, 0.0)
    late = window.generation
    for _ in range(20):
        call(window, 1.0, failed=True)
    for _ in range(10):
        window.record(late, 2.0, 0.1, True)
    assert window.state == OPEN and window.results.totals(2.0) == (20, 20, 0)
    assert window.permit(5.0, 0.0) == PERMITTED
    for _ in range(10):
        window.record(late, 5.0, 0.1, False)
    assert window.state == HALF_OPEN and window.returned == 0


def test_a_cancelled_call_hands_its_permit_back_s13_5() -> None:
    window = opened()
    for _ in range(4):
        window.permit(5.0, 0.0)
    window.release(window.generation, 5.1)
    assert window.permit(5.2, 0.0) == PERMITTED
    assert window.permit(5.2, 0.0) == HALF_OPEN_WAIT
    assert window.probes.totals(5.2) == (0, 0, 0)


def test_a_late_release_frees_no_permit() -> None:
    window = opened()
    for _ in range(4):
        window.permit(5.0, 0.0)
    window.release(window.generation - 1, 5.1)
    assert window.permit(5.2, 0.0) == HALF_OPEN_WAIT


def test_a_dead_upstream_gets_at_most_one_call_a_second_s13_4() -> None:
    window = make()
    calls = 0
    for tick in range(6000):
        now = tick / 100
        if window.permit(now, 0.0) == PERMITTED:
            calls += 1
            window.record(window.generation, now, 0.001, True)
    assert calls <= 20 + 60


def test_disabled_metrics_only_and_forced_open_s13_1() -> None:
    disabled, metrics, forced = make(mode="disabled"), make(mode="metrics_only"), make(mode="forced_open")
    for _ in range(100):
        assert call(disabled, 1.0, failed=True) == PERMITTED
        assert call(metrics, 1.0, failed=True) == PERMITTED
        assert call(forced, 1.0) == 4.0
    assert (disabled.state, metrics.state, forced.state) == (DISABLED, METRICS_ONLY, FORCED_OPEN)
    assert disabled.rates(1.0) == (-1.0, -1.0)
    assert metrics.rates(1.0) == (100.0, 0.0)


def test_a_time_window_forgets_by_the_second_s13_2() -> None:
    window = make(window=10, window_type="time")
    for _ in range(19):
        call(window, 1.5, failed=True)
    call(window, 10.9)
    assert window.state == OPEN
    window = make(window=10, window_type="time")
    for _ in range(19):
        call(window, 1.5, failed=True)
    call(window, 11.0, failed=True)
    assert window.state == CLOSED
    assert window.results.totals(11.0) == (1, 1, 0)


def test_changed_thresholds_judge_the_kept_window_anew_s13_7() -> None:
    window = make()
    for number in range(20):
        call(window, 1.0, failed=number < 8)
    assert window.state == CLOSED
    window.configure(BreakerPlan(failure_rate=40.0), 2.0)
    assert window.state == OPEN and window.since == 2.0


def test_a_smaller_window_keeps_the_newest_results() -> None:
    window = make(window=100)
    for number in range(30):
        call(window, 1.0, failed=number < 9)
    window.configure(BreakerPlan(window=20), 2.0)
    assert window.results.totals(2.0) == (20, 0, 0)
    assert window.state == CLOSED


def test_a_changed_mode_takes_effect_at_once() -> None:
    window = make()
    window.configure(BreakerPlan(mode="forced_open"), 2.0)
    assert window.state == FORCED_OPEN
    window.configure(BreakerPlan(), 3.0)
    assert window.state == CLOSED and window.generation == 2


@given(st.integers(1, 12), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_the_running_sums_of_a_count_window_are_those_of_its_last_results(
    size: int, results: list[tuple[bool, bool]]
) -> None:
    window = CountResults(size)
    for failed, slow in results:
        window.add(0.0, failed, slow)
    last = results[-size:]
    assert window.totals(0.0) == (len(last), sum(f for f, _ in last), sum(s for _, s in last))


@given(st.integers(1, 8), st.lists(st.tuples(st.floats(0, 6), st.booleans()), max_size=60))
def test_the_running_sums_of_a_time_window_are_those_of_its_last_seconds(
    size: int, results: list[tuple[float, bool]]
) -> None:
    window = TimeResults(size)
    now, seen = 0.0, []
    for step, failed in results:
        now += step
        window.add(now, failed, not failed)
        seen.append((int(now), failed))
    kept = [failed for second, failed in seen if second > int(now) - size]
    assert window.totals(now) == (len(kept), sum(kept), len(kept) - sum(kept))
