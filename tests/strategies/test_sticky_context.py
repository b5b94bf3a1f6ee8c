from __future__ import annotations

from tidegate.ports.strategy import Ask, Standing
from tidegate.strategies.sticky_context import REMEMBERED, Config, StickyContext

A, B = Standing(0, "a", "m"), Standing(1, "b", "m")


def test_a_conversation_stays_while_it_is_warm() -> None:
    strategy = StickyContext(Config(warm="300s"))
    strategy.served(B, Ask(now=0.0, context="c1"))
    assert strategy.order([A, B], Ask(now=299.0, context="c1"), lambda: 0.0) == [1, 0]
    assert strategy.order([A, B], Ask(now=300.0, context="c1"), lambda: 0.0) == [0, 1]
    assert strategy.order([A, B], Ask(now=1.0, context="c2"), lambda: 0.0) == [0, 1]
    assert strategy.order([A, B], Ask(now=1.0), lambda: 0.0) == [0, 1]


def test_a_home_that_may_not_be_tried_is_no_home() -> None:
    strategy = StickyContext(Config())
    strategy.served(B, Ask(now=0.0, context="c1"))
    assert strategy.order([A], Ask(now=1.0, context="c1"), lambda: 0.0) == [0]


def test_tenants_never_share_a_conversation() -> None:
    strategy = StickyContext(Config())
    strategy.served(B, Ask(now=0.0, context="c1", tenant="one"))
    assert strategy.order([A, B], Ask(now=1.0, context="c1", tenant="two"), lambda: 0.0) == [0, 1]


def test_a_call_without_a_conversation_takes_the_inner_order() -> None:
    strategy = StickyContext(Config(inner="weighted"))
    assert strategy.order([A, B], Ask(now=0.0), lambda: 0.9) == [1, 0]
    assert strategy.order([A, B], Ask(now=0.0), lambda: 0.1) == [0, 1]


def test_workers_that_know_nothing_of_each_other_draw_the_same_first_target() -> None:
    one, other = StickyContext(Config(inner="weighted")), StickyContext(Config(inner="weighted"))
    first = [0, 0]
    for number in range(1000):
        ask = Ask(now=0.0, model="m", context=f"c{number}")
        order = one.order([A, B], ask, lambda: 0.1)
        assert order == other.order([A, B], ask, lambda: 0.9)
        first[order[0]] += 1
    assert 450 < first[0] < 550


def test_a_home_is_known_by_its_name_when_the_config_changes_places() -> None:
    strategy = StickyContext(Config())
    strategy.served(B, Ask(now=0.0, context="c"))
    moved = [Standing(0, "b", "m"), Standing(1, "new", "m"), Standing(2, "a", "m")]
    assert strategy.order(moved[::-1], Ask(now=1.0, context="c"), lambda: 0.0) == [2, 0, 1]


def test_the_engine_is_asked_for_conversations() -> None:
    assert StickyContext.by_conversation is True


def test_memory_is_bounded() -> None:
    strategy = StickyContext(Config())
    for number in range(REMEMBERED + 1):
        strategy.served(B, Ask(now=0.0, context=str(number)))
    assert strategy.order([A, B], Ask(now=1.0, context="0"), lambda: 0.0) == [0, 1]
    assert strategy.order([A, B], Ask(now=1.0, context=str(REMEMBERED)), lambda: 0.0) == [1, 0]
