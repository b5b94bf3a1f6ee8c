"""Copies of some requests for another upstream, whose answers nobody waits for (S23.9)."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import NO_BODY, Fields
from tidegate.ports.settings import Duration, Share
from tidegate.ports.tools import Tools
from tidegate.rules.field_names import CREDENTIALS, UNTOUCHABLE

MOST: Final = 64 * 1024
"""Largest body copied (S23.9): it has to be held, which stops streaming for the request itself."""

_NOT_COPIED: Final = CREDENTIALS | UNTOUCHABLE | {"forwarded", "via", "x-tenant-id"}
_PREFIXES: Final = ("x-consumer-", "x-forwarded-", "x-tidegate-", "x-user-")
"""What says who is calling: a copy is nobody's, and a client may have written these itself (S4.6)."""


class Config(BaseModel):
    """Settings of ``mirror``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstream: str = Field(min_length=1, description="Name of the upstream that gets the copies.")
    percent: Share = Field(100.0, description="Share of requests copied.")
    timeout: Duration = Field(1.0, gt=0, description="How long one copy may take.")


class Mirror:
    """The copy leaves with the first attempt: by then every filter has let the request pass, and its body is here."""

    stage = "other"

    def __init__(self, config: Config, tools: Tools) -> None:
        self._upstream = config.upstream
        self._share = config.percent / 100.0
        self._timeout = config.timeout
        self._random = tools.random
        self._send = tools.send_copy
        self._sent = tools.counter("mirrored_total", upstream=config.upstream, result="sent")
        self._not_sent = tools.counter("mirrored_total", upstream=config.upstream, result="not_sent")

    def on_request_head(self, x: Exchange) -> None:
        if self._random() >= self._share or x.head.upgrade:
            return
        if NO_BODY <= x.head.body_length <= MOST:
            x.note(self, True)
        else:
            self._not_sent(1)

    def wants_request_body(self, x: Exchange) -> bool:
        """Only a body that will be copied is held."""
        return x.head.body_length != NO_BODY and x.noted(self) is not None

    def on_request_body(self, x: Exchange, body: bytes) -> None:
        """The engine keeps it in ``x.body``, with what later filters make of it."""

    def on_attempt(self, x: Exchange, number: int) -> None:
        if number != 1 or x.noted(self) is None:
            return
        path = f"{x.upstream_path}?{x.upstream_query}" if x.upstream_query else x.upstream_path
        if self._send(self._upstream, x.method, path, _copied(x), x.body or b"", self._timeout):
            self._sent(1)
        else:
            self._not_sent(1)


def _copied(x: Exchange) -> Fields:
    """The fields of the copy: no credentials, nothing of this hop, nothing about the caller. What is in ``x.body`` is
    decoded, so no coding either."""
    dropped = x.dropped or ()
    decoded = x.body is not None
    fields = [
        (name, value)
        for name, value in x.head.fields
        if name not in _NOT_COPIED
        and name not in dropped
        and not name.startswith(_PREFIXES)
        and not (decoded and name == "content-encoding")
    ]
    fields += [(name, value) for name, value in x.added or () if name not in CREDENTIALS]
    fields.append(("x-tidegate-mirror", "1"))
    return fields
