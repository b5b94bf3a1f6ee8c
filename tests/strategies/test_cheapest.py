from __future__ import annotations

from tidegate.ports.strategy import Ask, Standing
from tidegate.strategies.cheapest import Cheapest, Config

DEAR_INPUT = Standing(0, "a", "m", price_input=3_000, price_cached=300, price_output=1_000)
DEAR_OUTPUT = Standing(1, "b", "m", price_input=1_000, price_output=4_000)


def order(ask: Ask, *standings: Standing) -> list[int]:
    return Cheapest(Config()).order(standings, ask, lambda: 0.0)


def test_the_price_is_that_of_this_call() -> None:
    assert order(Ask(now=0.0, input_tokens=100, output_tokens=10), DEAR_INPUT, DEAR_OUTPUT) == [1, 0]
    assert order(Ask(now=0.0, input_tokens=10, output_tokens=100), DEAR_INPUT, DEAR_OUTPUT) == [0, 1]


def test_what_is_cached_there_is_cheaper() -> None:
    warm = Standing(0, "a", "m", price_input=3_000, price_cached=300, price_output=1_000, cached_share=0.9)
    assert order(Ask(now=0.0, input_tokens=100, output_tokens=1), warm, DEAR_OUTPUT) == [0, 1]


def test_equal_prices_stay_as_written() -> None:
    assert order(Ask(now=0.0, input_tokens=5), Standing(0, "a", "m"), Standing(1, "b", "m")) == [0, 1]
