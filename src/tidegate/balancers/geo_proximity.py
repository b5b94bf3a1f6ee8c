"""The nearest endpoints first (S11.8), by place on the map or by measured time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import ResponseHead
from tidegate.ports.balancer import Endpoint
from tidegate.ports.tools import BalancerTools
from tidegate.rules.distance import CUTS, FARTHEST, LATENCY_CUTS, Place, band, great_circle, read_place, valid
from tidegate.rules.network_table import NetworkTable
from tidegate.rules.priority_tiers import choose_tier, shares
from tidegate.rules.response_time import note
from tidegate.rules.roster import Roster
from tidegate.rules.two_choices import TwoChoices

_KEPT: Final = 1024
"""Client places whose tiers are remembered; all are forgotten together when there are more."""
_LATENCY_LIFE: Final = 1.0
"""Seconds for which bands by latency stand."""

Tiers = tuple[list[tuple[int, float]], dict[int, tuple[tuple[Endpoint, ...], TwoChoices[Endpoint]]]]


class Config(BaseModel):
    """Endpoints (targets with a `location`) within 500, 2,000 and 6,000 km of the client form tiers; the nearest serves
    until it is short of usable endpoints."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Literal["distance", "latency"] = Field(
        default="distance",
        description="`distance` on the map, or `latency`: tiers of 5, 20 and 60 ms over the best measured average, the "
        "same for every client.",
    )
    field: str = Field(
        default="",
        max_length=64,
        description="Request field with the client's `latitude,longitude`, believed from trusted proxies only.",
    )
    clients: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        description="Client networks (CIDR) with their `[latitude, longitude]`; the longest match counts.",
    )

    @field_validator("clients")
    @classmethod
    def _check(cls, clients: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for text, place in clients.items():
            NetworkTable([(text, place)])
            if not valid(place):
                raise ValueError(f"{place} is no latitude and longitude")
        return clients


class GeoProximity:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._by_latency = config.by == "latency"
        self._field = config.field.lower()
        self._networks: NetworkTable[Place] | None = NetworkTable(config.clients.items()) if config.clients else None
        self._random = tools.random
        self._now = tools.now
        self._weights_version = tools.weights_version
        self._everywhere: TwoChoices[Endpoint] = TwoChoices(tools.random, tools.weights_version)
        self._roster: Roster[Endpoint] = Roster()
        self._tiers: dict[Place | None, Tiers] = {}
        self._made_at = 0.0

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        if self._roster.look(endpoints):
            self._tiers.clear()
        place: Place | None = None
        if self._by_latency:
            now = self._now()
            if now - self._made_at > _LATENCY_LIFE:
                self._tiers.clear()
                self._made_at = now
        else:
            place = self._place_of(x)
            if place is None:
                return self._everywhere.pick(endpoints)
        tiers = self._tiers.get(place)
        if tiers is None:
            if len(self._tiers) >= _KEPT:
                self._tiers.clear()
            tiers = self._tiers[place] = self._make_tiers(place)
        loads, pools = tiers
        members, rule = pools[loads[0][0] if len(loads) == 1 else choose_tier(loads, self._random())]
        return rule.pick(members)

    def observe(self, endpoint: Endpoint, seconds: float, failed: bool, head: ResponseHead | None) -> None:
        note(endpoint, self._now(), seconds, failed)

    def _place_of(self, x: Exchange) -> Place | None:
        if self._field and x.peer.trusted:
            place = read_place(x.get(self._field))
            if place is not None:
                return place
        return self._networks.find(x.client_ip) if self._networks is not None else None

    def _make_tiers(self, place: Place | None) -> Tiers:
        roster = self._roster
        best = min((e.average for e in roster.members if e.key in roster.usable and e.average > 0.0), default=0.0)
        everyone: dict[int, int] = {}
        usable: dict[int, list[Endpoint]] = {}
        for endpoint in roster.members:
            if place is None:
                # Not measured counts as near, or it never would be measured.
                number = band(endpoint.average - best, LATENCY_CUTS)
            elif endpoint.location is None:
                number = FARTHEST
            else:
                number = band(great_circle(place, endpoint.location), CUTS)
            everyone[number] = everyone.get(number, 0) + 1
            if endpoint.key in roster.usable:
                usable.setdefault(number, []).append(endpoint)
        loads = shares([(number, count, len(usable.get(number, ()))) for number, count in everyone.items()])
        return loads, {
            number: (tuple(members), TwoChoices(self._random, self._weights_version))
            for number, members in usable.items()
        }
