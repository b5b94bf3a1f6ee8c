"""The target that served the conversation before, while it is warm: its prompt cache and its signatures are there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tidegate.ports.settings import Duration
from tidegate.ports.strategy import Ask, Standing
from tidegate.rules.traffic_split import BUCKETS, bucket
from tidegate.rules.weighted_order import weighted_order

REMEMBERED = 65_536
"""Conversations remembered in a worker; the one longest unused goes first."""


class Config(BaseModel):
    """By conversation: its context id, or the digest of its first turns. A new one takes the inner order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warm: Annotated[Duration, Field(gt=0, le=86_400)] = Field(
        default=300.0, description="How long a conversation stays with its target after its last answer."
    )
    inner: Literal["fallback", "weighted"] = Field(
        default="fallback", description="Order for conversations without a target: as written, or by weight."
    )


class StickyContext:
    """Mutable state: ``_homes``, (tenant, conversation) to (provider, model, until when it is warm)."""

    by_conversation = True

    def __init__(self, config: Config) -> None:
        self._warm = config.warm
        self._weighted = config.inner == "weighted"
        self._homes: OrderedDict[tuple[str, str], tuple[str, str, float]] = OrderedDict()

    def order(self, standings: Sequence[Standing], ask: Ask, random: Callable[[], float]) -> list[int]:
        if self._weighted:
            draw = draws(ask) if ask.context else random
            places = weighted_order([standing.weight for standing in standings], draw)
        else:
            places = list(range(len(standings)))
        home = self._homes.get((ask.tenant, ask.context)) if ask.context else None
        if home is not None and ask.now < home[2]:
            for place, standing in enumerate(standings):
                if standing.provider == home[0] and standing.model == home[1]:
                    places.remove(place)
                    places.insert(0, place)
                    break
        return places

    def served(self, standing: Standing, ask: Ask) -> None:
        if not ask.context:
            return
        key = (ask.tenant, ask.context)
        self._homes[key] = (standing.provider, standing.model, ask.now + self._warm)
        self._homes.move_to_end(key)
        if len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)


def draws(ask: Ask) -> Callable[[], float]:
    """Chance that is the same for every call of the conversation: workers do not tell each other of homes, but all of
    them draw the same one."""
    turns = count()
    return lambda: bucket(ask.model, f"{ask.context}{next(turns)}") / BUCKETS
