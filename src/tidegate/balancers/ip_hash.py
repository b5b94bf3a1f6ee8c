"""The same client address, the same endpoint, by nginx's formula (S11.4)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint
from tidegate.ports.tools import BalancerTools
from tidegate.rules.address_hash import START, TRIES, place, rehash, shares, significant
from tidegate.rules.roster import Roster
from tidegate.rules.smooth_weighted import SmoothWeighted


class Config(BaseModel):
    """The first three octets of an IPv4 address, or the first 64 bits of an IPv6 one, choose the endpoint. No
    settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IpHash:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._roster: Roster[Endpoint] = Roster()
        self._version = 0
        self._weights: list[int] = []
        self._total = 0
        self._turns: SmoothWeighted[Endpoint] = SmoothWeighted(tools.random)

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        roster = self._roster
        if roster.look(endpoints) and roster.version != self._version:
            # Configured weights: slow start must not send clients to another endpoint for ten seconds.
            self._weights = shares([endpoint.base_weight for endpoint in roster.members])
            self._total = sum(self._weights)
            self._version = roster.version
        part = significant(x.client_ip)
        if part and self._total > 0:
            number = START
            for _ in range(TRIES):
                number = rehash(number, part)
                endpoint = roster.members[place(number, self._weights, self._total)]
                if endpoint.key in roster.usable:
                    return endpoint
        return self._turns.pick(endpoints)
