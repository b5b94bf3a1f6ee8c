from balancer_fakes import PoolTools, pool
from tidegate.ports.balancer import Endpoint
from tidegate.rules.least_loaded import LeastLoaded


def rule(*, weighted: bool) -> LeastLoaded[Endpoint]:
    tools = PoolTools(0.0)
    return LeastLoaded(tools.random, tools.weights_version, weighted=weighted)


def test_equals_take_turns_and_the_busier_stay_out_s11_3() -> None:
    endpoints = pool(1, 1, 1, 1)
    for endpoint, active in zip(endpoints, (2, 1, 5, 1), strict=True):
        endpoint.active = active
    least = rule(weighted=False)
    assert "".join(least.pick(endpoints).host for _ in range(4)) == "bdbd"


def test_weight_zero_gets_nothing_unless_all_have_it() -> None:
    endpoints = pool(0, 1)
    endpoints[1].active = 50
    for weighted in (False, True):
        least = rule(weighted=weighted)
        assert least.pick(endpoints).host == "b"
        assert {least.pick(pool(0, 0)).host} <= {"a", "b"}


def test_over_64_endpoints_the_best_of_four_drawn_is_taken_s11_3() -> None:
    endpoints = pool(*[1.0] * 100)
    for endpoint in endpoints:
        endpoint.active = endpoint.index
    tools = PoolTools(0.905, 0.305, 0.505, 0.705)
    least: LeastLoaded[Endpoint] = LeastLoaded(tools.random, tools.weights_version, weighted=False)
    assert least.pick(endpoints).index == 30


def test_over_64_idle_endpoints_weights_1_and_2_share_1_to_2() -> None:
    endpoints = pool(*[1.0, 2.0] * 50)
    least = rule(weighted=True)
    heavy = sum(least.pick(endpoints).weight == 2.0 for _ in range(10_000))
    assert abs(heavy / 10_000 - 2 / 3) < 0.02
