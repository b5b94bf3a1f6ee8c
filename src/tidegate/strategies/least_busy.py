"""Fewest calls in flight per weight, of two drawn at random: near the best spread, and no herd on one target."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.ports.strategy import Ask, Standing


class Config(BaseModel):
    """Two targets at random, the less busy of them first; the rest follow by how busy they are. No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LeastBusy:
    def __init__(self, config: Config) -> None:
        pass

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        count = len(standings)
        by_load = sorted(range(count), key=lambda place: _load(standings[place]))
        if count < 3:
            return by_load
        one = int(random() * count)
        other = (one + 1 + int(random() * (count - 1))) % count
        first = one if _load(standings[one]) <= _load(standings[other]) else other
        return [first, *[place for place in by_load if place != first]]

    def served(self, standing: Standing, ask: Ask) -> None:
        pass


def _load(standing: Standing) -> float:
    return standing.in_flight / standing.weight if standing.weight > 0 else float("inf")
