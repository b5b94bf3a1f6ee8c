from balancer_fakes import PoolTools, pool, sequence, tally
from fakes import exchange
from tidegate.balancers.power_of_two import Config, PowerOfTwo


def test_load_on_ten_equal_endpoints_stays_even_s11_1() -> None:
    tools = PoolTools()
    balancer, endpoints = PowerOfTwo(Config(), tools), pool(*[1.0] * 10)
    x = exchange()
    for number in range(5000):  # 1,000 in flight: each arrival ends a request picked at random
        balancer.pick(x, endpoints).active += 1
        if number >= 1000:
            busy = [e for e in endpoints for _ in range(e.active)]
            busy[int(tools.random() * len(busy))].active -= 1
    assert max(e.active for e in endpoints) / (sum(e.active for e in endpoints) / 10) <= 1.3


def test_idle_endpoints_of_weights_1_and_2_share_1_to_2() -> None:
    counts = tally(PowerOfTwo(Config(), PoolTools()), pool(1, 2), 30_000)
    assert abs(counts["b"] / 30_000 - 2 / 3) < 0.01


def test_the_lower_load_per_weight_wins_and_a_tie_goes_to_the_first_drawn_s11_1() -> None:
    endpoints = pool(1, 2)
    endpoints[0].active, endpoints[1].active = 1, 2
    balancer = PowerOfTwo(Config(), PoolTools(0.1, 0.9))
    assert sequence(balancer, endpoints, 2) == "a b"
    endpoints[1].active = 3
    assert tally(balancer, endpoints, 50) == {"a": 50}
