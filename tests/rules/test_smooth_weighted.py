from hypothesis import given
from hypothesis import strategies as st

from balancer_fakes import pool
from tidegate.ports.balancer import Endpoint
from tidegate.rules.smooth_weighted import SmoothWeighted


def turns() -> SmoothWeighted[Endpoint]:
    return SmoothWeighted(lambda: 0.0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any))
def test_every_period_gives_each_its_exact_share_s11_2(weights: list[int]) -> None:
    rule, endpoints = turns(), pool(*weights)
    for _ in range(2):
        picked = [rule.pick(endpoints).index for _ in range(sum(weights))]
        assert [picked.count(n) for n in range(len(weights))] == weights


def test_scores_survive_a_retry_over_fewer_endpoints() -> None:
    rule, endpoints = turns(), pool(1, 1, 1)
    assert rule.pick(endpoints).host == "a"
    assert rule.pick(endpoints[1:]).host == "b"
    assert "".join(rule.pick(endpoints).host for _ in range(3)) == "cbc"


def test_without_any_weight_all_count_alike() -> None:
    rule, endpoints = turns(), pool(0, 0)
    assert "".join(rule.pick(endpoints).host for _ in range(4)) == "abab"


def test_other_weights_may_stand_in() -> None:
    rule, endpoints = turns(), pool(1, 1)
    assert "".join(rule.pick(endpoints, lambda e: 3.0 - 2 * e.index).host for _ in range(8)) == "aabaaaba"


def test_endpoints_long_gone_are_forgotten() -> None:
    rule = turns()
    for n in range(500):
        rule.pick((Endpoint("p", "http", f"h{n}", 80),))
    assert len(rule._scores) <= 2 + 64
