"""Take turns by weight, evenly spread (S11.2)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint
from tidegate.ports.tools import BalancerTools
from tidegate.rules.smooth_weighted import SmoothWeighted


class Config(BaseModel):
    """Smooth weighted round robin: weights 5, 1, 1 give a a b a c a a. No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RoundRobin:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._rule: SmoothWeighted[Endpoint] = SmoothWeighted(tools.random)

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        return self._rule.pick(endpoints)
