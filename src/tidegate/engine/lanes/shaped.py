"""Answers held back on purpose: so many bytes a second, or broken off after so many (S25.1)."""

from __future__ import annotations

from typing import Any, Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide, Side
from tidegate.engine.steps import Wait
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.exchange.exchange import Exchange, Shape
from tidegate.exchange.fault import GATEWAY, Fault
from tidegate.exchange.head import Fields, ResponseHead

EACH: Final = 0.1
"""Seconds between two helpings, and those the last bytes before a cut have to get out."""

HOLD: Final = 64 * 1024
"""Bytes held from which the upstream has to wait."""


async def send_shaped(
    runtime: Runtime, client: ClientSide, x: Exchange, head: ResponseHead, connection: Http1Client, transform: Any,
    body: bytes | None = None,
) -> None:  # fmt: skip
    """Send *head*, then *body*, or what *connection* brings, as ``x.shape`` says."""
    assert x.shape is not None
    shaped = Shaped(runtime, client, connection, x.shape)
    try:
        client.send_head(x, head, shaped, transform)
        if body is None:
            await connection.relay(shaped)
        else:
            if body:
                shaped.take_chunk(body)
            shaped.take_end([])
        await shaped.over
    finally:
        shaped.stop()


class Shaped(Side):
    """Stands between an upstream's connection and the client. Mutable state: ``pieces``, ``held`` bytes in all, the
    fraction of a byte that is ``owed``, ``left`` bytes until the cut (below 0: none), ``trailers`` once the body has
    come whole, ``stuck`` while the client takes nothing. ``over`` is completed when everything is out, and fails with
    the cut; from then on it has ``stopped``."""

    def __init__(self, runtime: Runtime, client: ClientSide, connection: Http1Client, shape: Shape) -> None:
        self.runtime = runtime
        self.client = client
        self.connection = connection
        self.rate = shape.rate
        self.left = shape.cut_after
        self.pieces: list[bytes] = []
        self.held = 0
        self.owed = 0.0
        self.trailers: Fields | None = None
        self.stuck = False
        self.cutting = False
        self.stopped = False
        self.timer = Timer(self._on_timer)
        self.over = Wait(runtime.steps)

    def take_chunk(self, chunk: bytes) -> None:
        self.pieces.append(chunk)
        self.held += len(chunk)
        if self.held > HOLD:
            self.connection.pause_source()
        self._flow()

    def take_end(self, trailers: Fields) -> None:
        self.trailers = trailers
        self._flow()

    def pause_source(self) -> None:
        """The client takes no more."""
        self.stuck = True
        self.connection.pause_source()

    def resume_source(self) -> None:
        self.stuck = False
        self._flow()

    def stop(self) -> None:
        """Nothing more goes out."""
        self.stopped = True
        self.timer.when = NEVER

    def _flow(self) -> None:
        if self.stopped or self.cutting or self.stuck:
            return
        if not self.rate:
            self._pass(self.held)
        elif self.timer.when == NEVER:
            self._helping()

    def _on_timer(self) -> None:
        try:
            if self.cutting:
                raise Fault("bad_upstream", "The answer was cut on purpose.", reason="reset", side=GATEWAY)
            if not self.stuck and (self.held or self.trailers is not None):
                self._helping()
        except Exception as error:
            self.stop()
            self.connection.fail(error)
            self.over.fail(error)

    def _helping(self) -> None:
        """What the rate allows until the next look."""
        self.owed += self.rate * EACH
        size = int(self.owed)
        self.owed -= size
        self.runtime.wheel.set(self.timer, self.runtime.clock() + EACH)
        self._pass(min(size, self.held))

    def _pass(self, size: int) -> None:
        """Let *size* bytes out, or what is left before the cut."""
        if 0 <= self.left <= size:
            size = self.left
            self.cutting = True
            self.runtime.wheel.set(self.timer, self.runtime.clock() + EACH)
        if self.left >= 0:
            self.left -= size
        self.held -= size
        self.client.heard(size)
        while size > 0:
            piece = self.pieces.pop(0)
            if len(piece) > size:
                self.pieces.insert(0, piece[size:])
                piece = piece[:size]
            size -= len(piece)
            self.client.take_chunk(piece)
        if self.cutting:
            return
        if self.held <= HOLD and not self.stuck:
            self.connection.resume_source()
        if not self.held and self.trailers is not None:
            self.client.take_end(self.trailers)
            self.stop()
            self.over.complete()
