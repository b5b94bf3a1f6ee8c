from __future__ import annotations

from tidegate.ports.strategy import Ask, Standing
from tidegate.strategies.capable import Capable, Config


def order(ask: Ask, *standings: Standing) -> list[int]:
    return Capable(Config()).order(standings, ask, lambda: 0.0)


def test_just_enough_context_comes_first() -> None:
    standings = [Standing(n, "p", "m", window=window) for n, window in enumerate((1_000_000, 8_000, 128_000, 0))]
    assert order(Ask(now=0.0, input_tokens=20_000, output_tokens=1_000), *standings) == [2, 0, 3, 1]


def test_a_target_made_for_the_task_comes_before_size() -> None:
    big = Standing(0, "p", "big", window=1_000_000, tasks=("code",))
    small = Standing(1, "p", "small", window=8_000)
    assert order(Ask(now=0.0, task="code"), small, big) == [1, 0]
    assert order(Ask(now=0.0), small, big) == [0, 1]


def test_within_a_class_the_lower_rank_then_the_price() -> None:
    best = Standing(0, "p", "best", window=128_000, quality=9)
    plain = Standing(1, "p", "plain", window=130_000, quality=5, price_output=9)
    cheap = Standing(2, "p", "cheap", window=129_000, quality=5, price_output=1)
    assert order(Ask(now=0.0), best, plain, cheap) == [2, 1, 0]
