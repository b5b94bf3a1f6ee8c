"""Weights that endpoints report themselves (ORCA, S11.7): who has capacity left gets more."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import ResponseHead
from tidegate.ports.balancer import Endpoint
from tidegate.ports.settings import Duration
from tidegate.ports.tools import BalancerTools
from tidegate.rules.load_report import BLACKOUT, EXPIRY, FIELD, FIELD_BINARY, parse, parse_binary, weight
from tidegate.rules.smooth_weighted import SmoothWeighted


class Config(BaseModel):
    """Reads `endpoint-load-metrics` (also `-bin`) from answers and takes it off before the client."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blackout: Duration = Field(
        default=BLACKOUT, description="Time from an endpoint's first report in which its reports are not believed."
    )
    expiry: Duration = Field(default=EXPIRY, gt=0.0, description="Time after which a report no longer counts.")
    update: Duration = Field(default=1.0, ge=0.1, description="How often weights are made from the reports.")


class Utilization:
    def __init__(self, config: Config, tools: BalancerTools) -> None:
        self._config = config
        self._now = tools.now
        self._turns: SmoothWeighted[Endpoint] = SmoothWeighted(tools.random)
        self._since: dict[str, float] = {}
        """Endpoint → when its present series of reports began."""
        self._weights: dict[str, float] = {}
        self._made_at = 0.0
        self._seen: Sequence[Endpoint] | None = None

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        now = self._now()
        if endpoints is not self._seen or now - self._made_at >= self._config.update:
            self._weigh(endpoints, now)
        return self._turns.pick(endpoints, self._weight_of if self._weights else None)

    def observe(self, endpoint: Endpoint, seconds: float, failed: bool, head: ResponseHead | None) -> None:
        if head is None:
            return
        text, binary = head.get(FIELD), head.get(FIELD_BINARY)
        if text is None and binary is None:
            return
        head.remove(FIELD)
        head.remove(FIELD_BINARY)
        report = parse(text) if text is not None else parse_binary(binary or "")
        reported = weight(report) if report is not None else 0.0
        if reported <= 0.0:
            return
        now = self._now()
        if endpoint.key not in self._since or now - endpoint.load_at > self._config.expiry:
            self._since[endpoint.key] = now
        endpoint.load = reported
        endpoint.load_at = now

    def _weigh(self, endpoints: Sequence[Endpoint], now: float) -> None:
        believed = {e.key: e.load for e in endpoints if self._believes(e, now)}
        if len(believed) < 2:
            # One report says nothing about the others: configured weights.
            self._weights = {}
        else:
            middle = median(believed.values())
            self._weights = {endpoint.key: believed.get(endpoint.key, middle) for endpoint in endpoints}
        if len(self._since) > 2 * len(endpoints) + 64:
            self._since = {e.key: self._since[e.key] for e in endpoints if e.key in self._since}
        self._made_at = now
        self._seen = endpoints

    def _believes(self, endpoint: Endpoint, now: float) -> bool:
        since = self._since.get(endpoint.key)
        return (
            since is not None and now - since >= self._config.blackout and now - endpoint.load_at <= self._config.expiry
        )

    def _weight_of(self, endpoint: Endpoint) -> float:
        """The reported weight already tells how big the endpoint is; of the configured one only slow start is left."""
        if endpoint.base_weight <= 0.0:
            return 0.0
        return self._weights[endpoint.key] * endpoint.weight / endpoint.base_weight
