from __future__ import annotations

from tidegate.ports.strategy import Ask, Standing
from tidegate.strategies.fallback import Config, Fallback


def test_targets_come_as_written() -> None:
    standings = [Standing(2, "b", "m", in_flight=9), Standing(0, "a", "m")]
    assert Fallback(Config()).order(standings, Ask(now=0.0), lambda: 0.5) == [0, 1]
