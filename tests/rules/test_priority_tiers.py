import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer_fakes import pool
from tidegate.rules.priority_tiers import candidates, choose_tier, panics, shares, tiers


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(0, 10, 10), (1, 10, 10)], [(0, 1.0)]),
        ([(0, 10, 8), (1, 10, 10)], [(0, 1.0)]),
        ([(0, 10, 5), (1, 10, 10)], [(0, 0.7), (1, 0.3)]),
        ([(1, 10, 10), (0, 10, 5)], [(0, 0.7), (1, 0.3)]),
        ([(0, 10, 0), (1, 10, 10)], [(1, 1.0)]),
        ([(0, 10, 5)], [(0, 1.0)]),
        ([(0, 10, 1), (1, 10, 1)], [(0, 0.5), (1, 0.5)]),
        ([(0, 10, 0)], []),
        ([], []),
    ],
)  # fmt: skip
def test_a_tier_bears_1_4_times_its_usable_share_and_the_rest_spills_s11_10(
    counts: list[tuple[int, int, int]], expected: list[tuple[int, float]]
) -> None:
    result = shares(counts)
    assert [tier for tier, _ in result] == [tier for tier, _ in expected]
    assert [share for _, share in result] == pytest.approx([share for _, share in expected])


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), max_size=5))
def test_shares_sum_to_one_whenever_anything_is_usable(raw: list[tuple[int, int]]) -> None:
    counts = [(tier, total, min(total, usable)) for tier, (total, usable) in enumerate(raw)]
    total = sum(share for _, share in shares(counts))
    assert total == pytest.approx(1.0 if any(usable for _, _, usable in counts) else 0.0)


def test_a_draw_falls_into_its_tier() -> None:
    loads = [(0, 0.7), (2, 0.3)]
    assert [choose_tier(loads, draw) for draw in (0.0, 0.69, 0.71, 0.9999999999999999)] == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("total", "usable", "expected"),
    [(10, 6, False), (10, 5, False), (10, 4, True), (10, 0, False), (5, 2, True), (4, 1, False), (2, 1, False)],
)
def test_panic_needs_a_tier_of_five_and_under_half_of_it_s12_8(total: int, usable: int, expected: bool) -> None:
    assert panics(total, usable) is expected


def test_ten_endpoints_with_six_down_are_all_candidates_s12_8() -> None:
    endpoints = pool(*[1.0] * 10)
    assert candidates(endpoints, endpoints[6:], 50.0, 0.3) == (endpoints, True)
    assert candidates(endpoints, endpoints[5:], 50.0, 0.3) == (endpoints[5:], False)
    assert candidates(endpoints, (), 50.0, 0.3) == ((), False)


def test_half_of_the_first_tier_down_sends_30_percent_to_the_second_s11_10() -> None:
    endpoints = pool(1, 1, 1, 1, priority=[0, 0, 1, 1])
    usable = (endpoints[0], *endpoints[2:])
    assert [(round(share, 9), members, panicked) for share, members, panicked in tiers(endpoints, usable)] == [
        (0.7, endpoints[:1], False),
        (0.3, endpoints[2:], False),
    ]
    assert candidates(endpoints, usable, 50.0, 0.69) == (endpoints[:1], False)
    assert candidates(endpoints, usable, 50.0, 0.71) == (endpoints[2:], False)
