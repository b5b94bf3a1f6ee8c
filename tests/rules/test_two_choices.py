import pytest

from balancer_fakes import PoolTools, pool
from tidegate.ports.balancer import Endpoint
from tidegate.rules.two_choices import TwoChoices


@pytest.mark.parametrize(
    ("weights", "active", "draw", "winner"),
    [
        ((1, 1), (0, 0), 0.1, "a"), ((1, 1), (0, 0), 0.9, "b"), ((1, 1), (1, 0), 0.1, "b"), ((1, 1), (2, 3), 0.9, "a"),
        ((1, 2), (1, 2), 0.1, "a"), ((1, 2), (1, 2), 0.9, "b"), ((1, 2), (1, 3), 0.9, "a"), ((3, 1), (2, 1), 0.9, "a"),
    ],
)  # fmt: skip
def test_the_lower_load_wins_and_the_first_drawn_among_equals_s11_1(
    weights: tuple[int, int], active: tuple[int, int], draw: float, winner: str
) -> None:
    tools = PoolTools(draw)
    rule: TwoChoices[Endpoint] = TwoChoices(tools.random, tools.weights_version)
    endpoints = pool(*weights)
    endpoints[0].active, endpoints[1].active = active
    assert rule.pick(endpoints).host == winner
