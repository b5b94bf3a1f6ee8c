"""As written: the first target that may be tried, the others behind it; the default."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.ports.strategy import Ask, Standing


class Config(BaseModel):
    """Targets in the order of the config. No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fallback:
    def __init__(self, config: Config) -> None:
        pass

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        return list(range(len(standings)))

    def served(self, standing: Standing, ask: Ask) -> None:
        pass
