"""The smallest model that fits: a target made for the task, just enough context, then the lower rank of quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.ports.strategy import Ask, Standing


class Config(BaseModel):
    """Targets whose `tasks` name the call's task first, then by context class, quality rank and price. No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Capable:
    def __init__(self, config: Config) -> None:
        pass

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        return sorted(range(len(standings)), key=lambda place: _size(standings[place], ask))

    def served(self, standing: Standing, ask: Ask) -> None:
        pass


def _size(standing: Standing, ask: Ask) -> tuple[bool, bool, int, int, int]:
    """Smaller is better: not for this task, too little context, class of context, quality, price."""
    wanted = ask.input_tokens + ask.output_tokens
    apart = bool(ask.task) and ask.task not in standing.tasks
    short = 0 < standing.window < wanted
    # A class of context is a power of two; an unknown window may be any, so it comes after all that are known.
    size = standing.window.bit_length() if standing.window else 64
    return apart, short, size, standing.quality, standing.price_output
