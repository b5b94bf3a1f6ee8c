"""Who waits and who is served first while an upstream is full (S22.2)."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tidegate.exchange.exchange import Exchange
from tidegate.ports.tools import Tools
from tidegate.rules.client_priority import lowered

LEVELS: Final = ("critical", "high", "normal", "low")


def _level(value: object) -> int:
    if isinstance(value, str) and value in LEVELS:
        return LEVELS.index(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(LEVELS):
        return value
    raise ValueError("a priority is one of critical, high, normal, low, or 0 to 3")


Level = Annotated[
    int,
    BeforeValidator(_level),
    WithJsonSchema({"anyOf": [{"enum": list(LEVELS)}, {"type": "integer", "minimum": 0, "maximum": 3}]}),
]


class Config(BaseModel):
    """Settings of ``priority``. The most particular one that fits wins: consumer, then the caller's own (its key's),
    then tenant, then ``level``, then the route's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level | None = Field(None, description="Level of everyone else: critical, high, normal or low.")
    consumers: dict[str, Level] = Field({}, description="Consumer to level.")
    tenants: dict[str, Level] = Field({}, description="Tenant to level.")
    client: bool = Field(True, description="Let the client's Priority field lower its own level (RFC 9218).")


class Priority:
    """Sets ``x.priority``."""

    stage = "other"
    reads_identity = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self._level = config.level
        self._consumers = dict(config.consumers)
        self._tenants = dict(config.tenants)
        self._client = config.client

    def on_request_head(self, x: Exchange) -> None:
        level = self._level if self._level is not None else x.priority
        identity = x.identity
        if identity is not None:
            level = self._tenants.get(identity.tenant, level)
            if identity.priority >= 0:
                level = identity.priority
            level = self._consumers.get(identity.consumer, level)
        if self._client:
            said = x.head.index.get("priority")
            if said is not None:
                level = lowered(level, said)
        x.priority = level
