"""Consistent hashing with bounded load (S11.5): a key keeps its endpoint, and no endpoint is buried by its keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint
from tidegate.ports.tools import BalancerTools
from tidegate.rules.hash_ring import BOUND, HashRing, key_hash, most, next_probe
from tidegate.rules.roster import Roster
from tidegate.rules.traffic_split import unit_of

_PROBES: Final = 32
"""After so many full ones the least loaded is taken: some endpoint is always under the bound."""


class Config(BaseModel):
    """Keys are spread over a ring of 160 points per weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str = Field(
        default="ip",
        pattern=r"^(?:consumer|path|ip|(?:header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$",
        description="What is hashed: `consumer`, `path`, `ip`, `header:NAME` or `cookie:NAME`. A request without it "
        "goes to a random endpoint.",
    )
    bound: float = Field(
        default=BOUND,
        ge=1.0,
        le=100.0,
        description="How much more than its fair share of the requests in flight an endpoint may hold before keys "
        "overflow to others.",
    )


class RingHash:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._by = config.by
        self._bound = config.bound
        self._random = tools.random
        self._roster: Roster[Endpoint] = Roster()
        self._version = 0
        self._ring = HashRing(())
        self._by_key: dict[str, Endpoint] = {}

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        roster = self._roster
        if roster.look(endpoints):
            self._by_key = {endpoint.key: endpoint for endpoint in endpoints}
            if roster.version != self._version:
                # Configured weights: slow start works through the bound, not by moving keys away and back.
                self._ring = HashRing([(endpoint.key, endpoint.base_weight) for endpoint in roster.members])
                self._version = roster.version
        unit = unit_of(x, self._by)
        number = int(self._random() * 2.0**64) if unit is None else key_hash(unit)
        active = 0
        weights = 0.0
        for endpoint in endpoints:
            active += endpoint.active
            weights += endpoint.weight
        for _ in range(_PROBES):
            name = self._ring.at(number, roster.usable)
            if name is None:
                break
            endpoint = self._by_key[name]
            if weights <= 0.0 or endpoint.active < most(active, endpoint.weight, weights, self._bound):
                return endpoint
            number = next_probe(number)
        return min(endpoints, key=_load)


def _load(endpoint: Endpoint) -> float:
    return endpoint.active / endpoint.weight if endpoint.weight > 0.0 else float("inf")
