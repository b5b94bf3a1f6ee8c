from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer_fakes import PoolTools, pool
from tidegate.ports.balancer import Endpoint
from tidegate.rules.response_time import PeakEwmaChoice, note, sample


def choice(*chance: float) -> PeakEwmaChoice[Endpoint]:
    tools = PoolTools(*chance)
    return PeakEwmaChoice(tools.random, tools.weights_version)


def measured(*averages: float, at: float = 1000.0) -> tuple[Endpoint, ...]:
    endpoints = pool(*[1.0] * len(averages))
    for endpoint, average in zip(endpoints, averages, strict=True):
        endpoint.average, endpoint.average_at = average, at
    return endpoints


def test_a_slower_sample_counts_at_once_and_a_faster_one_slowly_s11_6() -> None:
    assert sample(0.0, 99.0, 0.2) == 0.2
    assert sample(0.1, 0.0, 0.3) == 0.3
    assert sample(0.1, 0.0, 0.01) == 0.1
    assert sample(0.1, 10.0, 0.01) == pytest.approx(0.1 / 2.718281828 + 0.01 * (1 - 1 / 2.718281828))


@given(st.floats(0, 10), st.floats(-1, 1000), st.floats(0, 10))
def test_an_average_lies_between_what_it_is_made_of(average: float, elapsed: float, seconds: float) -> None:
    assert min(average, seconds) * 0.999 <= sample(average, elapsed, seconds) <= max(average, seconds, 1e-6) * 1.001


def test_a_failed_attempt_counts_as_a_second_at_least_s11_6() -> None:
    (endpoint,) = pool(1)
    note(endpoint, 5.0, 0.001, True)
    assert (endpoint.average, endpoint.average_at) == (1.0, 5.0)


def test_the_second_wins_only_under_80_percent_of_the_first_s11_6() -> None:
    assert choice(0.1).pick(measured(0.100, 0.079), 1000.0).host == "b"
    assert choice(0.1).pick(measured(0.100, 0.081), 1000.0).host == "a"


def test_requests_in_flight_cost_by_weight_s11_6() -> None:
    endpoints = measured(0.010, 0.010)
    endpoints[0].active = 1
    assert choice(0.1).pick(endpoints, 1000.0).host == "b"
    endpoints[0].weight = 5.0  # 1 + 1/5 against 1: not under 0.8
    assert choice(0.1).pick(endpoints, 1000.0).host == "a"


def test_reading_decays_but_never_below_the_best_of_the_pool_s11_6() -> None:
    # After 10 s 0.1 reads as 0.0368: with the best at 0.030 the second stays above 0.8 of the first, at 0.010 not.
    endpoints = measured(0.1, 0.030)
    endpoints[1].average_at = 1010.0
    assert choice(0.1).pick(endpoints, 1010.0).host == "a"
    assert choice(0.1).pick(endpoints, 1000.0).host == "b"
    assert choice(0.1).pick(endpoints, 2000.0).host == "a"
    assert 0.1 * exp(-1) == pytest.approx(0.0368, abs=1e-4)


def test_without_a_sample_the_mean_of_the_pool_stands_in_s11_6() -> None:
    assert choice(0.1).pick(measured(0.0, 0.020), 1000.0).host == "a"  # mean 0.020 against 0.020
    assert choice(0.1, 0.0).pick(measured(0.0, 0.010, 0.090), 1000.0).host == "b"  # mean 0.050 against 0.010


def test_one_endpoint_is_taken_as_it_is() -> None:
    endpoints = pool(1)
    assert choice().pick(endpoints, 1000.0) is endpoints[0]
