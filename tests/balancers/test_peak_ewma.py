from math import exp

import pytest

from balancer_fakes import PoolTools, pool, tally
from fakes import exchange
from tidegate.balancers.peak_ewma import Config, PeakEwma


def test_samples_follow_the_vectors_of_s11_6() -> None:
    tools = PoolTools()
    balancer, (endpoint,) = PeakEwma(Config(), tools), pool(1)
    balancer.observe(endpoint, 0.100, False, None)
    assert (endpoint.average, endpoint.average_at) == (0.100, 1000.0)
    tools.clock = 1005.0
    balancer.observe(endpoint, 0.050, False, None)
    assert endpoint.average == pytest.approx(0.1 * exp(-0.5) + 0.05 * (1 - exp(-0.5)))
    balancer.observe(endpoint, 0.200, False, None)
    assert endpoint.average == 0.200
    balancer.observe(endpoint, 0.001, True, None)
    assert endpoint.average == 1.0
    balancer.observe(endpoint, 3.0, True, None)
    assert endpoint.average == 3.0


def test_one_of_ten_endpoints_ten_times_slower_gets_under_5_percent_s11_6() -> None:
    tools = PoolTools()
    balancer, endpoints = PeakEwma(Config(), tools), pool(*[1.0] * 10)
    slow = 0
    for _ in range(20_000):
        tools.clock += 0.005
        endpoint = balancer.pick(exchange(), endpoints)
        is_slow = endpoint.index == 3
        slow += is_slow
        balancer.observe(endpoint, (0.100 if is_slow else 0.010) * (0.9 + 0.2 * tools.random()), False, None)
    assert slow / 20_000 < 0.05


def test_idle_endpoints_of_weights_1_and_2_share_1_to_2() -> None:
    counts = tally(PeakEwma(Config(), PoolTools()), pool(1, 2), 30_000)
    assert abs(counts["b"] / 30_000 - 2 / 3) < 0.01


def test_the_default_stands_in_until_something_was_measured() -> None:
    assert Config().default == 0.030
    assert Config.model_validate({"decay": "5s", "default": "10ms"}).model_dump() == {"decay": 5.0, "default": 0.010}
