from __future__ import annotations

from tidegate.ports.strategy import Ask, Standing
from tidegate.strategies.fastest import Config, Fastest

QUICK_START = Standing(0, "a", "m", ttft=0.1, rate=20)
QUICK_FLOW = Standing(1, "b", "m", ttft=0.5, rate=200)


def test_the_expected_output_decides() -> None:
    strategy = Fastest(Config())
    standings = [QUICK_START, QUICK_FLOW]
    assert strategy.order(standings, Ask(now=0.0, output_tokens=5), lambda: 0.9) == [0, 1]
    assert strategy.order(standings, Ask(now=0.0, output_tokens=500), lambda: 0.9) == [1, 0]


def test_a_target_nobody_has_called_is_tried() -> None:
    assert Fastest(Config()).order([QUICK_START, Standing(1, "c", "m")], Ask(now=0.0), lambda: 0.9) == [1, 0]


def test_a_few_calls_explore() -> None:
    numbers = iter([0.04, 0.99])
    standings = [QUICK_START, QUICK_FLOW, Standing(2, "c", "m", ttft=9.0)]
    assert Fastest(Config()).order(standings, Ask(now=0.0, output_tokens=5), lambda: next(numbers)) == [2, 0, 1]
    assert Fastest(Config(explore=0)).order(standings, Ask(now=0.0, output_tokens=5), lambda: 0.0) == [0, 1, 2]
