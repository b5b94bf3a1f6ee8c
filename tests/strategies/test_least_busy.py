from __future__ import annotations

from tidegate.ports.strategy import Ask, Standing
from tidegate.strategies.least_busy import Config, LeastBusy


def order(standings: list[Standing], *random: float) -> list[int]:
    numbers = iter(random)
    return LeastBusy(Config()).order(standings, Ask(now=0.0), lambda: next(numbers))


def test_two_targets_are_compared() -> None:
    assert order([Standing(0, "a", "m", in_flight=3), Standing(1, "b", "m", in_flight=2)]) == [1, 0]


def test_in_flight_counts_per_weight() -> None:
    standings = [Standing(0, "a", "m", in_flight=4, weight=4), Standing(1, "b", "m", in_flight=2)]
    assert order(standings) == [0, 1]


def test_of_many_two_are_drawn_and_the_rest_follow_by_load() -> None:
    standings = [Standing(n, "p", "m", in_flight=load) for n, load in enumerate((9, 1, 5, 0))]
    assert order(standings, 0.0, 0.0) == [1, 3, 2, 0]
    assert order(standings, 0.5, 0.9) == [1, 3, 2, 0]
    assert order(standings, 0.0, 0.4) == [2, 3, 1, 0]


def test_weight_zero_comes_last() -> None:
    assert order([Standing(0, "a", "m", weight=0), Standing(1, "b", "m", in_flight=9)]) == [1, 0]
