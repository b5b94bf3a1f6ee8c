"""Who stands out by its answers, and for how long it goes (S12.6, S12.7)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.ports.plan import OutlierPlan
from tidegate.rules.outlier import (
    BREAKER,
    CONNECT,
    GATEWAY,
    RATE,
    SERVER_ERROR,
    SHARE,
    SLOW,
    Observed,
    Outlier,
)


def pool(count: int, **settings: Any) -> tuple[Outlier, list[Observed]]:
    return Outlier(OutlierPlan(**settings)), [Observed(f"e{number}") for number in range(count)]


def found(outlier: Outlier, observed: list[Observed], now: float = 1.0) -> list[tuple[str, int]]:
    return [(ejection.key, ejection.reason) for ejection in outlier.sweep(now, observed, 0.0)]


@pytest.mark.parametrize(("connect", "reason"), [(True, CONNECT), (False, GATEWAY)])
def test_five_gateway_failures_in_a_row_eject_and_four_do_not_s12_6(connect: bool, reason: int) -> None:
    outlier, observed = pool(3)
    for _ in range(4):
        outlier.gateway_failure(observed[1], connect)
    assert found(outlier, observed) == []
    outlier.gateway_failure(observed[1], connect)
    assert found(outlier, observed, 2.0) == [("e1", reason)]


def test_a_mixed_run_is_no_connection_fault() -> None:
    outlier, observed = pool(3)
    outlier.gateway_failure(observed[0], False)
    for _ in range(4):
        outlier.gateway_failure(observed[0], True)
    assert found(outlier, observed) == [("e0", GATEWAY)]


def test_a_good_answer_ends_every_run() -> None:
    outlier, observed = pool(3)
    for _ in range(10):
        for _ in range(4):
            outlier.gateway_failure(observed[0], True)
        outlier.good(observed[0], 0.01)
    assert found(outlier, observed) == []


def test_five_server_errors_in_a_row_eject_gateway_failures_among_them_s12_6() -> None:
    outlier, observed = pool(3)
    for _ in range(2):
        outlier.server_error(observed[0], 0.01)
    outlier.gateway_failure(observed[0], False)
    for _ in range(2):
        outlier.server_error(observed[0], 0.01)
    assert found(outlier, observed) == [("e0", SERVER_ERROR)]


@pytest.mark.parametrize(("bad", "good", "out"), [(43, 7, True), (42, 8, False), (42, 7, False)])
def test_85_percent_failures_of_50_eject_s12_6(bad: int, good: int, out: bool) -> None:
    outlier, observed = pool(3, consecutive_gateway=1000, consecutive_5xx=1000)
    for _ in range(bad):
        outlier.gateway_failure(observed[2], False)
    for _ in range(good):
        outlier.good(observed[2], 0.01)
    assert found(outlier, observed) == ([("e2", SHARE)] if out else [])


def test_failures_older_than_ten_seconds_are_forgotten_s12_6() -> None:
    outlier, observed = pool(3, consecutive_gateway=1000, consecutive_5xx=1000)
    for _ in range(43):
        outlier.gateway_failure(observed[2], False)
    for second in range(10):
        assert found(outlier, observed, float(second)) == []
    for _ in range(49):
        outlier.good(observed[2], 0.01)
    assert found(outlier, observed, 10.0) == []
    assert sum(observed[2].bads) == 0


def fill(outlier: Outlier, seen: Observed, good: int, bad: int = 0, seconds: float = 0.01) -> None:
    for _ in range(bad):
        outlier.server_error(seen, seconds)
    for _ in range(good):
        outlier.good(seen, seconds)


def test_a_success_rate_far_under_the_others_ejects_s12_6() -> None:
    outlier, observed = pool(6, consecutive_5xx=1000)
    for seen in observed[:5]:
        fill(outlier, seen, 100)
    fill(outlier, observed[5], 80, 20)
    assert found(outlier, observed) == [("e5", RATE)]


@pytest.mark.parametrize(("count", "good"), [(4, 100), (6, 99)])
def test_success_rates_need_five_endpoints_of_a_hundred_answers(count: int, good: int) -> None:
    outlier, observed = pool(count, consecutive_5xx=1000)
    for seen in observed[:-1]:
        fill(outlier, seen, good)
    fill(outlier, observed[-1], 50, 49)
    assert found(outlier, observed) == []


@pytest.mark.parametrize(("seconds", "out"), [(0.100, True), (0.069, False), (0.0601, False)])
def test_slow_is_over_three_medians_and_over_50_ms_more_s12_6(seconds: float, out: bool) -> None:
    outlier, observed = pool(5)
    for seen in observed[:4]:
        fill(outlier, seen, 20, seconds=0.020)
    fill(outlier, observed[4], 20, seconds=seconds)
    assert found(outlier, observed) == ([("e4", SLOW)] if out else [])


def test_three_times_a_tiny_median_is_not_yet_slow() -> None:
    outlier, observed = pool(5)
    for seen in observed[:4]:
        fill(outlier, seen, 20, seconds=0.001)
    fill(outlier, observed[4], 20, seconds=0.040)
    assert found(outlier, observed) == []


def eject(outlier: Outlier, observed: list[Observed], number: int, now: float) -> list[float]:
    outlier.sweep(now, observed, 0.0)
    for _ in range(5):
        outlier.gateway_failure(observed[number], True)
    return [ejection.seconds for ejection in outlier.sweep(now, observed, 0.0)]


def test_ejections_grow_by_30_s_up_to_the_cap_and_fall_by_one_each_good_30_s_s12_7() -> None:
    outlier, observed = pool(3)
    now, lengths = 0.0, []
    for _ in range(12):
        lengths += [int(seconds) for seconds in eject(outlier, observed, 0, now)]
        now = observed[0].until
    assert lengths == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
    outlier.sweep(now, observed, 0.0)
    assert observed[0].times == 12 and observed[0].until == 0.0
    outlier.sweep(now + 60.0, observed, 0.0)
    assert observed[0].times == 10


def test_jitter_is_under_a_second_and_differs_within_a_sweep() -> None:
    outlier, observed = pool(20)
    for seen in observed[:2]:
        for _ in range(5):
            outlier.gateway_failure(seen, True)
    first, second = outlier.sweep(1.0, observed, 0.3)
    assert 30.0 <= first.seconds < 31.0 and 30.0 <= second.seconds < 31.0
    assert first.seconds != second.seconds


@pytest.mark.parametrize(("size", "allowed"), [(2, 1), (5, 1), (10, 1), (20, 2), (35, 3)])
def test_at_most_one_or_ten_percent_of_a_tier_go_s12_7(size: int, allowed: int) -> None:
    outlier, observed = pool(size)
    for seen in observed:
        for _ in range(5):
            outlier.gateway_failure(seen, True)
    assert len(found(outlier, observed)) == allowed


def test_the_last_usable_endpoint_never_goes_s12_7() -> None:
    outlier, observed = pool(3)
    observed[0].usable = observed[1].usable = False
    for _ in range(5):
        outlier.gateway_failure(observed[2], True)
    assert found(outlier, observed) == []


def test_each_tier_has_its_own_cap() -> None:
    outlier, observed = pool(4)
    observed[2].tier = observed[3].tier = 1
    for seen in (observed[0], observed[2]):
        for _ in range(5):
            outlier.gateway_failure(seen, True)
    assert found(outlier, observed) == [("e0", CONNECT), ("e2", CONNECT)]


@pytest.mark.parametrize(("connect", "passes", "back"), [(True, 2, True), (True, 1, False), (False, 2, False)])
def test_passing_probes_end_only_ejections_for_connection_faults_s12_7(connect: bool, passes: int, back: bool) -> None:
    outlier, observed = pool(3)
    for _ in range(5):
        outlier.gateway_failure(observed[0], connect)
    outlier.sweep(1.0, observed, 0.0)
    assert outlier.probed_well(observed[0], passes, 2, 5.0) is back
    assert (observed[0].until == 0.0) is back


def test_a_disabled_detector_ejects_nobody() -> None:
    outlier, observed = pool(3, enabled=False)
    assert eject(outlier, observed, 0, 1.0) == []


def test_after_an_ejection_observation_begins_anew() -> None:
    outlier, observed = pool(3)
    eject(outlier, observed, 0, 0.0)
    outlier.sweep(31.0, observed, 0.0)
    assert observed[0].until == 0.0
    for _ in range(4):
        outlier.gateway_failure(observed[0], True)
    assert found(outlier, observed, 32.0) == []


def test_the_owner_can_eject_for_a_reason_of_its_own() -> None:
    outlier, observed = pool(3)
    assert outlier.room(observed, observed[0])
    ejection = outlier.eject(observed[0], BREAKER, 5.0, 0.0)
    assert (ejection.reason, ejection.times, observed[0].until) == (BREAKER, 1, 35.0)
    assert not outlier.room(observed, observed[1])
