"""Faults on purpose: delays, aborts, resets, answers slowed down or cut short, for a few and not for long (S25)."""

from __future__ import annotations

import json
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from tidegate.exchange.exchange import Exchange, Shape
from tidegate.exchange.head import Answer
from tidegate.ports.settings import Duration, Share, Size
from tidegate.ports.tools import Tools
from tidegate.rules.field_names import editable

LONGEST: Final = 24 * 3600.0
"""A fault somebody forgot ends within a day."""
AT_ONCE: Final = 100
"""Faults under way in one filter and worker."""
USUAL_SHARE: Final = 10.0


class Delay(BaseModel):
    """Time added before anything else happens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: Duration = Field(gt=0, le=600, description="Shortest delay, or the delay itself.")
    most: Duration | None = Field(None, le=600, description="Longest delay; each is drawn evenly between the two.")

    @model_validator(mode="after")
    def _in_order(self) -> Delay:
        if self.most is not None and self.most < self.least:
            raise ValueError("most is shorter than least")
        return self


class Trigger(BaseModel):
    """A request field that asks for the fault; only callers with the scope are heard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Name of the request field; any value asks.")
    scope: str = Field(min_length=1, description="Scope that the caller must have been granted.")


class Config(BaseModel):
    """Settings of ``fault_injection``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expires: AwareDatetime = Field(
        description="When it ends, e.g. 2030-01-01T12:00:00Z: within 24 hours of the load. Afterwards it does nothing."
    )
    percent: Share = Field(1.0, description="Share of requests hit. Above 10 only with raise_share.")
    raise_share: bool = Field(False, description="Allow a share above 10 percent.")
    consumers: tuple[str, ...] = Field((), description="Only these consumers. Empty: everyone.")
    header: Trigger | None = Field(None, description="Only requests that ask for it and may.")
    delay: Delay | None = Field(None, description="Wait before going on, or before the abort.")
    abort: int | None = Field(None, ge=400, le=599, description="Answer with this status instead of the upstream.")
    reset: bool = Field(False, description="Break the client's connection off instead of answering.")
    rate: Size | None = Field(
        None, description="Send the answer's body at so many bytes a second; a few make a trickle."
    )
    cut_after: Size | None = Field(None, description="Break the answer off after so many bytes of its body.")

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it does, in the order it happens."""
        wanted = {
            "delay": self.delay is not None,
            "abort": self.abort is not None,
            "reset": self.reset,
            "rate": self.rate is not None,
            "cut_after": self.cut_after is not None,
        }
        return tuple(kind for kind, asked in wanted.items() if asked)

    @model_validator(mode="after")
    def _bounded(self) -> Config:
        if self.percent > USUAL_SHARE and not self.raise_share:
            raise ValueError("more than 10 percent of traffic needs raise_share: true")
        kinds = set(self.kinds)
        if not kinds:
            raise ValueError("write at least one of delay, abort, reset, rate and cut_after")
        if not kinds.isdisjoint(("abort", "reset")) and not kinds.isdisjoint(("rate", "cut_after")):
            raise ValueError("an aborted request has no answer to slow down or to cut")
        if self.rate == 0:
            raise ValueError("a rate of 0 would send nothing, and never end: use reset or cut_after")
        if self.abort is not None and self.reset:
            raise ValueError("a request is aborted or reset, not both")
        if self.header is not None:
            editable(self.header.name)
        return self


class FaultInjection:
    """Nothing reaches breaker or outlier data: the faults happen between the client and the attempts (S25.2)."""

    stage = "fault"
    reads_identity = False
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self.reads_identity = bool(config.consumers) or config.header is not None
        self._expires = config.expires.astimezone(UTC).timestamp()
        if self._expires > tools.wall() + LONGEST:
            latest = datetime.fromtimestamp(tools.wall() + LONGEST, UTC)
            raise ValueError(f"expires is more than 24 hours away; the latest now is {latest:%Y-%m-%dT%H:%M:%SZ}")
        self._config = config
        self._tools = tools
        self._share = config.percent / 100.0
        self._consumers = frozenset(config.consumers)
        self._header = config.header.name.lower() if config.header else ""
        self._running = 0
        self._name = "+".join(config.kinds)
        self._injected = tools.counter("faults_injected_total", kind=self._name)
        self._answer = b"" if config.abort is None else _problem(config.abort)
        self._shape: Shape | None = None
        if config.rate is not None or config.cut_after is not None:
            self._shape = Shape(config.rate or 0, -1 if config.cut_after is None else config.cut_after)

    def on_request_head(self, x: Exchange) -> Answer | Coroutine[Any, Any, Answer | None] | None:
        if not self._hits(x):
            return None
        self._running += 1
        x.on_end(self._ended)
        config = self._config
        x.fault = self._name
        self._injected(1)
        if self._shape is not None:
            x.shape = self._shape
        if config.delay is not None:
            return self._after(config.delay)
        return self._abort()

    def _hits(self, x: Exchange) -> bool:
        if x.wall >= self._expires or self._running >= AT_ONCE or not self._tools.faults_allowed():
            return False
        identity = x.identity
        if self._consumers and (identity is None or identity.consumer not in self._consumers):
            return False
        trigger = self._config.header
        if trigger is not None and (
            self._header not in x.head.index or identity is None or trigger.scope not in identity.scopes
        ):
            return False
        return self._tools.random() < self._share

    async def _after(self, delay: Delay) -> Answer | None:
        seconds = delay.least
        if delay.most is not None:
            seconds += (delay.most - delay.least) * self._tools.random()
        await self._tools.sleep(seconds)
        return self._abort()

    def _abort(self) -> Answer | None:
        if self._config.reset:
            return Answer(0, reset=True)
        if self._config.abort is None:
            return None
        status = self._config.abort
        fields = [("content-type", "application/problem+json")]
        if status in (429, 503):
            fields.append(("retry-after", "1"))  # Every one of these says when to come back (S6.6).
        return Answer(status, fields, self._answer)

    def _ended(self) -> None:
        self._running -= 1


def _problem(status: int) -> bytes:
    return json.dumps({"type": "about:blank", "title": "A fault injected on purpose", "status": status}).encode()
