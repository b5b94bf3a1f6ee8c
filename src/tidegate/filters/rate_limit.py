"""Rate limits: so many requests a time, so many at once, by caller, tenant, address or header (S9.1-S9.9, S9.11).

The counting is the authority's and the deciding ``rules/charging``'s; this file turns settings into policies.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Literal

from pydantic import Field, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.settings import Counting, Rate
from tidegate.ports.tools import Tools
from tidegate.rules.charging import Bucket, Charging
from tidegate.rules.partition import partition_by, reads_identity
from tidegate.rules.rate_headers import policy_member


class Limit(Counting):
    """One limit. Several measures in it are several policies decided together."""

    rate: Rate | None = Field(None, description="Steady rate with bursts (GCRA, S9.1), e.g. 100/s.")
    burst: int = Field(0, ge=0, le=10**9, description="Units that may come at once under `rate`; 0: as many as its N.")
    window: Rate | None = Field(None, description="At most N in any window of that length (S9.2), e.g. 600/m.")
    fixed: Rate | None = Field(None, description="At most N a fixed window (S9.3); only to match another gateway.")
    concurrent: int = Field(0, ge=0, le=10**9, description="At most this many requests in flight; 0: no such limit.")

    @model_validator(mode="after")
    def _possible(self) -> Limit:
        if self.burst and self.rate is None:
            raise ValueError("burst needs a rate")
        for measure, most in (
            ("rate", (self.burst or self.rate.amount) if self.rate else 0),
            ("window", self.window.amount if self.window else 0),
            ("fixed", self.fixed.amount if self.fixed else 0),
            ("concurrent", self.concurrent),
        ):
            if most and self.cost > most:
                raise ValueError(f"a cost of {self.cost} can never pass: {measure} holds {most} at most")
        return self

    @property
    def empty(self) -> bool:
        """True when nothing is measured."""
        return self.rate is None and self.window is None and self.fixed is None and not self.concurrent

    def specs(self, name: str) -> list[LimitSpec]:
        """The policies of this limit. One keeps the plain *name*; more are told apart by what they measure."""
        store = self.on_store_error
        specs = []
        if self.rate is not None:
            specs.append(LimitSpec(name, "rate", *self.rate, burst=self.burst, on_store_error=store))
        if self.window is not None:
            specs.append(LimitSpec(name, "window", *self.window, on_store_error=store))
        if self.fixed is not None:
            specs.append(LimitSpec(name, "fixed", *self.fixed, on_store_error=store))
        if self.concurrent:
            specs.append(LimitSpec(name, "concurrent", self.concurrent, on_store_error=store))
        if len(specs) == 1:
            return specs
        return [
            LimitSpec(f"{name}:{s.kind}", s.kind, s.amount, s.per, s.burst, on_store_error=store) for s in specs
        ]  # fmt: skip


class Config(Limit):
    """Settings of ``rate_limit``: one limit, or several under ``policies`` that are decided together (S9.7)."""

    policies: tuple[Limit, ...] = Field((), max_length=16, description="Limits decided together: all charged or none.")
    stage: Literal["limit", "pre_auth"] = Field(
        "limit", description="pre_auth lets a limit by address or header stand before authentication (S9.11)."
    )
    compat: Literal["", "x-ratelimit"] = Field("", description="x-ratelimit also sends the X-RateLimit-* fields.")

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit that measures something; ``policies`` come after the one written on the filter itself."""
        return self.policies if self.empty else (self, *self.policies)

    @model_validator(mode="after")
    def _something(self) -> Config:
        if not self.limits or any(limit.empty for limit in self.policies):
            raise ValueError("a limit needs at least one of rate, window, fixed and concurrent")
        if self.stage == "pre_auth" and any(reads_identity(limit.by) for limit in self.limits):
            raise ValueError("stage: pre_auth knows no caller yet; use by: ip or by: header:NAME")
        names = [limit.name for limit in self.limits if limit.name]
        if len(set(names)) < len(names):
            raise ValueError("two limits of one filter have the same name: one request would pay twice")
        return self


class RateLimit:
    """See ``Config``. On the way out it adds ``RateLimit-Policy`` and ``RateLimit`` (S9.9)."""

    stage = "limit"
    reads_identity = True
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self.stage = config.stage
        self.reads_identity = any(reads_identity(limit.by) for limit in config.limits)
        buckets: list[Bucket] = []
        for number, limit in enumerate(config.limits):
            name = limit.name or config.name or tools.scope
            if number and not limit.name:
                name = f"{name}:{number}"
            buckets.extend(_bucket(limit, spec, tools) for spec in limit.specs(name))
        self._charge = Charging(buckets, "rate_limited", Verdict, config.compat == "x-ratelimit").charge

    def on_request_head(self, x: Exchange) -> Coroutine[Any, Any, None] | None:
        return self._charge(x)


def _bucket(limit: Limit, spec: LimitSpec, tools: Tools) -> Bucket:
    policy = tools.limits.policy(spec)
    concurrent = spec.kind == "concurrent"
    return Bucket(
        spec.name,
        policy.take,
        policy.give_back,
        partition_by(limit.by, limit.missing),
        lambda decision: tools.counter("limit_decisions_total", policy=spec.name, decision=decision),
        quota=spec.amount,
        policy=policy_member(
            spec.name, spec.amount, 0.0 if concurrent else spec.per, "concurrent-requests" if concurrent else ""
        ),
        cost=limit.cost,
        concurrent=concurrent,
        dry_run=limit.dry_run,
    )
