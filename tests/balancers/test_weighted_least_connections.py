from balancer_fakes import PoolTools, pool, sequence, tally
from tidegate.balancers.weighted_least_connections import Config, WeightedLeastConnections


def test_the_lowest_count_per_weight_wins_s11_3() -> None:
    endpoints = pool(1, 10, 1)
    for endpoint, active in zip(endpoints, (3, 9, 1), strict=True):
        endpoint.active = active
    assert sequence(WeightedLeastConnections(Config(), PoolTools()), endpoints, 2) == "b b"


def test_idle_endpoints_of_weights_1_and_2_share_1_to_2() -> None:
    assert tally(WeightedLeastConnections(Config(), PoolTools()), pool(1, 2), 300) == {"a": 100, "b": 200}


def test_idle_endpoints_take_turns_in_the_order_nginx_1_22_showed_s11_3() -> None:
    balancer = WeightedLeastConnections(Config(), PoolTools(0.0))
    assert sequence(balancer, pool(1, 2, 4), 14) == "c b c a c b c c b c a c b c"
