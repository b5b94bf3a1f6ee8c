"""By chance in proportion to weights, or in turn, or the same unit always the same arm: A/B and canaries of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from tidegate.ports.strategy import Ask, Standing
from tidegate.rules.traffic_split import bucket, choose
from tidegate.rules.weighted_order import weighted_order


class Config(BaseModel):
    """Each call draws a target by weight; the rest follow by weight too, for when it fails."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sticky: str = Field(
        default="",
        pattern=r"^(?:|consumer|user|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$",
        description="Hash this instead of drawing, so that the same unit meets the same arm: `consumer`, `user` or "
        "`header:NAME`. A call without it draws.",
    )
    round_robin: bool = Field(default=False, description="Take the targets in turn; weights then say nothing.")


class Weighted:
    """Mutable state: ``_turn``, how many calls have been ordered (``round_robin``)."""

    def __init__(self, config: Config) -> None:
        self._sticky = config.sticky
        self._round_robin = config.round_robin
        self._turn = 0

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        count = len(standings)
        if self._round_robin:
            first = self._turn % count if count else 0
            self._turn += 1
            return [(first + step) % count for step in range(count)]
        unit = ask.keys.get(self._sticky, "") if self._sticky else ""
        weights = [standing.weight for standing in standings]
        if not unit or not any(weight > 0 for weight in weights):
            return weighted_order(weights, random)
        # The arm is judged by the target's place in the config, so one that cools down moves only its own units.
        arms = [0.0] * (max(standing.index for standing in standings) + 1)
        for standing in standings:
            arms[standing.index] = standing.weight
        chosen = choose(arms, bucket(ask.model, unit))
        first = next(place for place, standing in enumerate(standings) if standing.index == chosen)
        return [first, *[place for place in weighted_order(weights, random) if place != first]]

    def served(self, standing: Standing, ask: Ask) -> None:
        pass
