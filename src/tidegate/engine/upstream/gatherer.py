"""Holding an answer body that a stage must see whole (S3.12)."""

from __future__ import annotations

from tidegate.engine.sides import Side
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.exchange.fault import NEVER, UPSTREAM, Fault


class Gatherer(Side):
    """Collects pieces up to *limit* bytes; what passes it breaks *connection* off with ``upstream_too_large``."""

    def __init__(self, connection: Http1Client, limit: int) -> None:
        self.connection = connection
        self.limit = limit
        self.size = 0
        self.pieces: list[bytes] = []

    def take_chunk(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self.limit:
            self.pieces = []
            self.connection.fail(too_large_answer())
        else:
            self.pieces.append(chunk)

    def body(self) -> bytes:
        """All of it. Raises Fault ``upstream_too_large`` when it came whole with the head and was too large."""
        if self.size > self.limit:
            raise too_large_answer()
        return b"".join(self.pieces)


def too_large_answer() -> Fault:
    return Fault(
        "upstream_too_large", "The upstream's answer is larger than the gateway may hold.", side=UPSTREAM, retry=NEVER
    )
