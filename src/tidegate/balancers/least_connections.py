"""The fewest requests in flight; equals take turns by weight (S11.3)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint
from tidegate.ports.tools import BalancerTools
from tidegate.rules.least_loaded import LeastLoaded


class Config(BaseModel):
    """The endpoint with the fewest requests in flight. No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LeastConnections:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._rule: LeastLoaded[Endpoint] = LeastLoaded(tools.random, tools.weights_version, weighted=False)

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        return self._rule.pick(endpoints)
