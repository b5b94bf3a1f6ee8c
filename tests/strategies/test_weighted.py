from __future__ import annotations

from tidegate.ports.strategy import Ask, Standing
from tidegate.strategies.weighted import Config, Weighted

THREE = [Standing(0, "a", "m", weight=1), Standing(1, "b", "m", weight=8), Standing(2, "c", "m", weight=1)]


def first_of(strategy: Weighted, user: str, standings: list[Standing] = THREE) -> int:
    ask = Ask(now=0.0, model="fast", keys={"user": user})
    return standings[strategy.order(standings, ask, lambda: 0.0)[0]].index


def test_a_call_draws_by_weight() -> None:
    strategy = Weighted(Config())
    assert strategy.order(THREE, Ask(now=0.0), lambda: 0.05) == [0, 1, 2]
    assert strategy.order(THREE, Ask(now=0.0), lambda: 0.5) == [1, 2, 0]


def test_round_robin_takes_them_in_turn() -> None:
    strategy = Weighted(Config(round_robin=True))
    orders = [strategy.order(THREE, Ask(now=0.0), lambda: 0.0) for _ in range(4)]
    assert orders == [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]


def test_a_sticky_unit_stays_put_and_shares_follow_the_weights() -> None:
    strategy = Weighted(Config(sticky="user"))
    homes = {f"u{n}": first_of(strategy, f"u{n}") for n in range(1000)}
    assert homes == {user: first_of(strategy, user) for user in homes}
    assert 760 < list(homes.values()).count(1) < 840


def test_a_target_that_is_away_moves_only_its_own_units() -> None:
    strategy = Weighted(Config(sticky="user"))
    for n in range(300):
        before = first_of(strategy, f"u{n}")
        if before != 2:
            assert first_of(strategy, f"u{n}", THREE[:2]) == before


def test_a_call_without_the_unit_draws() -> None:
    strategy = Weighted(Config(sticky="header:x-arm"))
    assert strategy.order(THREE, Ask(now=0.0), lambda: 0.999)[0] == 2
