"""A request body on its way: fed by the client's connection, drained by an upstream connection.

The first 64 KiB are kept, so that a failed attempt can be repeated (S14.1). A stage that must read the body whole has
it gathered first.
"""

from __future__ import annotations

from typing import Final

from tidegate.engine.sides import Side
from tidegate.engine.steps import Steps, Wait
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Fields

KEEP: Final = 64 * 1024
"""Bytes kept for a retry, and held while nobody takes them (S14.1, S3.8)."""


class RequestBody:
    """State: ``pieces`` are all bytes so far while ``keeping``; ``sink`` gets every byte, kept ones first."""

    __slots__ = ("complete", "fault", "forward_trailers", "gathering", "keeping", "length", "limit", "paused", "pieces",
                 "received", "sink", "source", "steps", "trailers", "wait")  # fmt: skip

    def __init__(self, steps: Steps, source: Side, length: int, limit: int) -> None:
        self.steps = steps
        self.source = source
        self.length = length
        """Announced bytes, or ``CHUNKED``."""
        self.limit = limit
        self.received = 0
        self.pieces: list[bytes] = []
        self.keeping = True
        self.complete = False
        self.gathering = False
        self.paused = False
        self.sink: Side | None = None
        self.wait: Wait | None = None
        self.fault: Fault | None = None
        self.trailers: Fields = []
        self.forward_trailers = False
        """The route sends request trailers on (S2.7)."""

    def feed(self, piece: bytes) -> None:
        """Bytes from the client. Raises Fault ``body_too_large`` past the limit."""
        self.received += len(piece)
        if self.received > self.limit:
            raise too_large()
        sink = self.sink
        if self.keeping:
            self.pieces.append(piece)
            if self.received > KEEP and not self.gathering:
                if sink is not None:
                    self.keeping = False
                    self.pieces = []
                elif not self.paused:
                    self.paused = True
                    self.source.pause_source()
        if sink is not None:
            sink.take_request_chunk(piece)

    def finish(self, trailers: Fields) -> None:
        """The client has sent all of it."""
        self.complete = True
        self.trailers = trailers
        if self.wait is not None:
            self.wait.complete(None)
            self.wait = None
        if self.sink is not None:
            self.sink.take_request_end(trailers if self.forward_trailers else [])

    def fail(self, fault: Fault) -> None:
        """It will never be complete."""
        self.fault = fault
        if self.wait is not None:
            self.wait.fail(fault)
            self.wait = None

    def attach(self, sink: Side) -> None:
        """Send it to *sink*, what has been kept first. Only while ``keeping``."""
        self.sink = sink
        for piece in self.pieces:
            sink.take_request_chunk(piece)
        if self.received > KEEP and not self.gathering:
            self.keeping = False
            self.pieces = []
        if self.complete:
            sink.take_request_end(self.trailers if self.forward_trailers else [])
        elif self.paused:
            self.paused = False
            self.source.resume_source()

    def detach(self) -> None:
        """The sink is gone (a failed attempt); bytes are kept again as far as they still can be."""
        self.sink = None

    def gather(self) -> Wait:
        """Wait for the whole of it; ``whole()`` has it then."""
        self.gathering = True
        wait = Wait(self.steps)
        if self.fault is not None:
            wait.fail(self.fault)
        elif self.complete:
            wait.complete(None)
        else:
            self.wait = wait
            if self.paused:
                self.paused = False
                self.source.resume_source()
        return wait

    def whole(self) -> bytes:
        """All bytes, once gathered."""
        pieces = self.pieces
        if len(pieces) == 1:
            return pieces[0]
        body = b"".join(pieces)
        self.pieces = [body] if body else []
        return body

    def replace(self, body: bytes) -> None:
        """A stage has rewritten the gathered body."""
        self.pieces = [body] if body else []
        self.received = len(body)
        self.length = len(body)


def too_large() -> Fault:
    """413, and the connection cannot be used any more (S2.11)."""
    return Fault("body_too_large", "The body is larger than this route allows.", side=CLIENT, close=True)
