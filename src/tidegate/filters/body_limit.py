"""The size of a request body on this route (S3.3)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.ports.settings import Size
from tidegate.ports.tools import Tools


class Config(BaseModel):
    """Settings of ``body_limit``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size = Field(description="Largest request body, e.g. 1MiB; the decoded one too where a filter reads it.")


class BodyLimit:
    """An announced length is refused here, in its place among the filters. The engine holds bodies of unknown length
    to the same limit, which the builder reads from ``body_limit``."""

    stage = "body"

    def __init__(self, config: Config, tools: Tools) -> None:
        self.body_limit: int = config.size

    def on_request_head(self, x: Exchange) -> None:
        if x.head.body_length > self.body_limit:
            raise Fault("body_too_large", f"At most {self.body_limit} bytes.", side=CLIENT, close=True)
