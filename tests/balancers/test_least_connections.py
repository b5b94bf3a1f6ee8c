from balancer_fakes import PoolTools, pool, sequence, tally
from tidegate.balancers.least_connections import Config, LeastConnections


def test_the_lowest_count_wins_whatever_the_weight_s11_3() -> None:
    endpoints = pool(1, 10, 1)
    for endpoint, active in zip(endpoints, (3, 2, 1), strict=True):
        endpoint.active = active
    assert sequence(LeastConnections(Config(), PoolTools()), endpoints, 2) == "c c"


def test_idle_endpoints_of_weights_1_and_2_share_1_to_2() -> None:
    assert tally(LeastConnections(Config(), PoolTools()), pool(1, 2), 300) == {"a": 100, "b": 200}
