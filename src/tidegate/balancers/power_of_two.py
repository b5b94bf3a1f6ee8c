"""Of two endpoints drawn by weight the one with less to do (S11.1); the default."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint
from tidegate.ports.tools import BalancerTools
from tidegate.rules.two_choices import TwoChoices


class Config(BaseModel):
    """Two different endpoints drawn by weight, the one with fewer requests in flight per weight. No settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PowerOfTwo:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._rule: TwoChoices[Endpoint] = TwoChoices(tools.random, tools.weights_version)

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        return self._rule.pick(endpoints)
