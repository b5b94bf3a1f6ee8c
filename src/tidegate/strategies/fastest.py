"""Shortest expected time: to the first token, and for all the tokens that are expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from tidegate.ports.strategy import Ask, Standing

TYPICAL_OUTPUT = 256
"""Tokens assumed when nothing tells."""


class Config(BaseModel):
    """By moving averages of time to first token and of tokens a second; a target nobody has called comes first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    explore: float = Field(
        default=5.0,
        ge=0.0,
        le=50.0,
        description="Percent of calls that try another target first, so that one that has become fast is noticed.",
    )


class Fastest:
    def __init__(self, config: Config) -> None:
        self._explore = config.explore / 100.0

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        tokens = ask.output_tokens or TYPICAL_OUTPUT
        places = sorted(range(len(standings)), key=lambda place: expected(standings[place], tokens))
        if len(places) > 1 and random() < self._explore:
            places.insert(0, places.pop(1 + int(random() * (len(places) - 1))))
        return places

    def served(self, standing: Standing, ask: Ask) -> None:
        pass


def expected(standing: Standing, tokens: int) -> float:
    """Seconds until *tokens* are there; 0.0 when nothing is known, so that a new target is tried."""
    if standing.ttft <= 0.0:
        return 0.0
    return standing.ttft + (tokens / standing.rate if standing.rate > 0.0 else 0.0)
