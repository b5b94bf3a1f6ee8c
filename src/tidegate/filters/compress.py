"""Answers compressed by zstd, br or gzip (S20)."""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import CHUNKED, NO_BODY, ResponseHead
from tidegate.ports.settings import Size
from tidegate.ports.tools import Tools
from tidegate.rules.accept_encoding import best_coding
from tidegate.rules.changed_body import coded_fields
from tidegate.wire.content_coding import Encoder

_TYPES: Final = re.compile(
    r"(?:text/(?!event-stream)[^;,\s]+|(?:application|image|model)/[^;,\s]+\+(?:json|xml)"
    r"|application/(?:json|xml|javascript|ecmascript|x-javascript|wasm|manifest\+json|graphql))[ \t]*(?:;|\Z)",
    re.IGNORECASE,
)
"""Text, JSON, XML, JS, SVG, wasm (S20.1). Event streams and gRPC are not among them (S20.2)."""

_NO_TRANSFORM: Final = re.compile(r"(?:^|,)[ \t]*no-transform[ \t]*(?:,|\Z)", re.IGNORECASE)
_INTERACTIVE: Final = 4096
"""A piece below this of a body of unknown length is flushed: somebody may be waiting for just these bytes."""


class Config(BaseModel):
    """Settings of ``compress``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    codings: tuple[Literal["zstd", "br", "gzip"], ...] = Field(
        ("zstd", "br", "gzip"), min_length=1, description="Codings offered, best first; the client's q values decide."
    )
    min_size: Size = Field(1024, description="Answers known to be shorter are sent as they are.")
    secret: bool = Field(
        False, description="This route mixes secrets with what a client sends: never compress it (BREACH, S20.2)."
    )


class _Coded:
    """One answer under way."""

    __slots__ = ("encoder", "flush", "head")

    def __init__(self, encoder: Encoder, head: ResponseHead, flush: bool) -> None:
        self.encoder = encoder
        self.head = head
        self.flush = flush


class Compress:
    """Only answers of an upstream are compressed; the gateway's own are small."""

    stage = "other"

    def __init__(self, config: Config, tools: Tools) -> None:
        self._codings: tuple[str, ...] = () if config.secret else config.codings
        self._min_size = config.min_size

    def on_response_head(self, x: Exchange, head: ResponseHead) -> None:
        if x.upstream_status == 0 or not self._codings:
            return
        status = head.status
        if status == 304:
            # It must vary as the 200 would have (RFC 9110 15.4.5); which type that had is not known here.
            _vary(head)
            return
        if status < 200 or status in (204, 205, 206) or not _may_be_coded(head):
            return
        _vary(head)
        length = head.body_length
        if x.method == "HEAD" or length == NO_BODY or 0 < length < self._min_size:
            return
        coding = best_coding(x.head.index.get("accept-encoding", ""), self._codings)
        if coding:
            x.note(self, _Coded(Encoder(coding), head, length < 0))

    def wants_chunks(self, x: Exchange) -> bool:
        """Asked once, just before the head goes out. Only now is it known that it will (another filter may have put an
        answer of its own in place) and how long an answer is that another filter held, so only now the head says so."""
        coded: _Coded | None = x.noted(self)
        if coded is None:
            return False
        head = coded.head
        if NO_BODY <= head.body_length < self._min_size:
            return False
        head.fields = coded_fields(head.fields)
        head.fields.append(("content-encoding", coded.encoder.coding))
        head.body_length = CHUNKED
        return True

    def on_response_chunk(self, x: Exchange, chunk: bytes, last: bool) -> bytes:
        coded: _Coded = x.noted(self)
        return coded.encoder.feed(chunk, last, coded.flush and len(chunk) < _INTERACTIVE)


def _may_be_coded(head: ResponseHead) -> bool:
    compressible = False
    for name, value in head.fields:
        if name == "content-type":
            compressible = _TYPES.match(value) is not None
        elif name == "content-encoding":
            if value.strip(" \t").lower() != "identity":
                return False
        elif name == "content-range" or (name == "cache-control" and _NO_TRANSFORM.search(value) is not None):
            return False
    return compressible


def _vary(head: ResponseHead) -> None:
    for name, value in head.fields:
        if name == "vary" and (value == "*" or "accept-encoding" in value.lower()):
            return
    head.fields.append(("vary", "Accept-Encoding"))
