"""Quotas: so many requests a calendar minute, hour, day, week or month (S9.10).

The counting is the authority's and the deciding ``rules/charging``'s; this file turns settings into policies.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from tidegate.exchange.exchange import Exchange
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.settings import Counting
from tidegate.ports.tools import Tools
from tidegate.rules.charging import Bucket, Charging
from tidegate.rules.partition import partition_by, reads_identity
from tidegate.rules.quota_window import LONGEST
from tidegate.rules.rate_headers import policy_member


class Allowance(Counting):
    """One quota."""

    amount: int = Field(0, ge=0, le=10**15, description="Units a window. Nothing is carried over.")
    every: Literal["minute", "hour", "day", "week", "month"] = Field(
        "day", description="The calendar window; a week begins on Monday."
    )
    zone: str = Field("UTC", max_length=64, description="Time zone of the calendar, e.g. Europe/Berlin.")

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (LookupError, ValueError, OSError):
            raise ValueError(f"{zone!r} is no time zone known here") from None
        return zone

    @model_validator(mode="after")
    def _possible(self) -> Allowance:
        if self.amount and self.cost > self.amount:
            raise ValueError(f"a cost of {self.cost} can never pass: a window holds {self.amount}")
        return self


class Config(Allowance):
    """Settings of ``quota``: one quota, or several under ``policies`` (tenant, team, consumer, key), of which the
    tightest wins in one step."""

    policies: tuple[Allowance, ...] = Field(
        (), max_length=16, description="Quotas decided together: all charged or none."
    )

    @property
    def quotas(self) -> tuple[Allowance, ...]:
        """Every quota; ``policies`` come after the one written on the filter itself."""
        return (self, *self.policies) if self.amount else self.policies

    @model_validator(mode="after")
    def _something(self) -> Config:
        if not self.quotas or not all(quota.amount for quota in self.quotas):
            raise ValueError("a quota needs an amount of at least 1")
        names = [quota.name for quota in self.quotas if quota.name]
        if len(set(names)) < len(names):
            raise ValueError("two quotas of one filter have the same name: one request would pay twice")
        return self


class Quota:
    """See ``Config``. A refusal is ``quota_exceeded`` and waits for the window's end."""

    stage = "limit"
    reads_identity = True
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self.reads_identity = any(reads_identity(quota.by) for quota in config.quotas)
        buckets: list[Bucket] = []
        for number, quota in enumerate(config.quotas):
            name = quota.name or config.name or tools.scope
            buckets.append(_bucket(quota, f"{name}:{number}" if number and not quota.name else name, tools))
        self._charge = Charging(buckets, "quota_exceeded", Verdict).charge

    def on_request_head(self, x: Exchange) -> Coroutine[Any, Any, None] | None:
        return self._charge(x)


def _bucket(quota: Allowance, name: str, tools: Tools) -> Bucket:
    spec = LimitSpec(
        name, "quota", quota.amount, calendar=quota.every, zone=quota.zone, on_store_error=quota.on_store_error
    )
    policy = tools.limits.policy(spec)
    return Bucket(
        name,
        policy.take,
        policy.give_back,
        partition_by(quota.by, quota.missing),
        lambda decision: tools.counter("limit_decisions_total", policy=name, decision=decision),
        quota=quota.amount,
        policy=policy_member(name, quota.amount, LONGEST[quota.every]),
        cost=quota.cost,
        dry_run=quota.dry_run,
    )
