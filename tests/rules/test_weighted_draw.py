from collections import Counter

import pytest

from balancer_fakes import PoolTools, pool
from tidegate.ports.balancer import Endpoint
from tidegate.rules.weighted_draw import WeightedDraw


def drawer(tools: PoolTools) -> WeightedDraw[Endpoint]:
    return WeightedDraw(tools.random, tools.weights_version)


@pytest.mark.parametrize("weights", [(1, 2), (1, 2, 3), (5, 1, 1, 3)])
def test_two_are_different_and_each_is_drawn_by_weight_among_those_left(weights: tuple[int, ...]) -> None:
    endpoints, draw, count = pool(*weights), drawer(PoolTools()), 60_000
    pairs = Counter(draw.two(endpoints) for _ in range(count))
    total = sum(weights)
    for (first, second), seen in pairs.items():
        assert first is not second
        assert abs(seen / count - first.weight / total * second.weight / (total - first.weight)) < 0.012


def test_one_is_drawn_by_weight() -> None:
    endpoints, draw = pool(1, 3), drawer(PoolTools())
    assert abs(sum(draw.one(endpoints).host == "b" for _ in range(20_000)) / 20_000 - 0.75) < 0.012


def test_weight_zero_is_never_drawn_unless_all_have_it() -> None:
    endpoints, draw = pool(0, 1, 0), drawer(PoolTools())
    assert draw.two(endpoints) == (endpoints[1], endpoints[1])
    assert draw.one(endpoints) is endpoints[1]
    nothing = pool(0, 0)
    assert {draw.one(nothing).host for _ in range(50)} == {"a", "b"}


def test_a_changed_weight_is_seen_when_the_version_changes() -> None:
    tools = PoolTools()
    endpoints, draw = pool(1, 1), drawer(tools)
    draw.two(endpoints)
    endpoints[0].weight = 0.0
    tools.version += 1
    assert {draw.one(endpoints).host for _ in range(50)} == {"b"}


def test_the_edges_of_chance_stay_inside() -> None:
    top = 1 - 2**-53
    for chance in [(0.0, 0.0), (top, top), (0.0, top), (top, 0.0), (0.5, 0.5)]:
        first, second = drawer(PoolTools(*chance)).two(pool(0.1, 0.2, 0.3))
        assert first is not second
