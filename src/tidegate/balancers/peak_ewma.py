"""Response time (S11.6): the cheaper of two endpoints by peak-sensitive averages of the time to the first byte."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import ResponseHead
from tidegate.ports.balancer import Endpoint
from tidegate.ports.settings import Duration
from tidegate.ports.tools import BalancerTools
from tidegate.rules.response_time import DECAY, DEFAULT, PeakEwmaChoice, note


class Config(BaseModel):
    """A slower answer counts at once, a faster one bit by bit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decay: Duration = Field(default=DECAY, ge=0.1, description="Time in which an old average loses 63 % of its say.")
    default: Duration = Field(
        default=DEFAULT, gt=0.0, description="Response time assumed while no endpoint has been measured."
    )


class PeakEwma:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._now = tools.now
        self._decay = config.decay
        self._rule: PeakEwmaChoice[Endpoint] = PeakEwmaChoice(
            tools.random, tools.weights_version, config.decay, config.default
        )

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        return self._rule.pick(endpoints, self._now())

    def observe(self, endpoint: Endpoint, seconds: float, failed: bool, head: ResponseHead | None) -> None:
        note(endpoint, self._now(), seconds, failed, self._decay)
