"""One HTTP/1.1 connection to an upstream, one exchange at a time.

What is sent: a head in one write, the body as it comes. What is received: interim heads, one head, a body that goes
to the sink piece by piece. How it ends: back to the pool when both messages ended cleanly, closed otherwise (S16.4).
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.engine.post import Writer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.sides import ClientSide, Side
from tidegate.engine.steps import Steps, Wait
from tidegate.exchange.fault import IF_IDEMPOTENT, NEVER, UPSTREAM, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Fields, ResponseHead
from tidegate.wire.http1 import (
    LAST_CHUNK,
    ChunkedDecoder,
    HeadLimits,
    encode_chunk,
    encode_trailers,
    parse_response,
    scan_partial_answer,
)

IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
ENDED: Final = 3
TUNNEL: Final = 4
CLOSED: Final = 5

STATES: Final = ("IDLE", "HEAD", "BODY", "ENDED", "TUNNEL", "CLOSED")

HOLD: Final = 256 * 1024
"""Bytes of an answer body held while nobody takes them yet (S3.8)."""

NEVER_IDLE: Final = float("inf")

INTERIM_HEADS: Final = 8
"""Interim answers one request may get (S2.15)."""


class Tunnel:
    """Who takes the bytes of an upgraded connection."""

    def from_upstream(self, data: bytes) -> None: ...

    def upstream_gone(self) -> None: ...

    def upstream_full(self) -> None: ...

    def upstream_drained(self) -> None: ...


class Http1Client(Side):
    """Mutable state: ``state`` as named above; ``buffer`` an unfinished head; ``pieces`` body bytes nobody has taken
    yet; ``remaining`` or ``decoder`` what of the body is to come; ``ended`` the answer is complete."""

    def __init__(self, pool: Any, steps: Steps, limits: HeadLimits) -> None:
        # process
        self.pool = pool
        self.steps = steps
        self.limits = limits
        # connection
        self.transport: Any = None
        self.state = IDLE
        self.created = 0.0
        self.retires = NEVER_IDLE
        """When it is too old to be kept (S16.3)."""
        self.idle_since = 0.0
        self.requests = 0
        self.life = NEVER_IDLE
        """Seconds it may stay idle by the upstream's ``Keep-Alive`` (S16.3); the pool has a cap of its own."""
        # exchange
        self.method = ""
        self.buffer = b""
        self.heard = False
        self.ended = False
        self.reusable = True
        self.interims = 0
        self.remaining = 0
        self.decoder: ChunkedDecoder | None = None
        self.pieces: list[bytes] = []
        self.held = 0
        self.paused = False
        self.trailers: Fields = []
        self.head_wait: Wait | None = None
        self.end_wait: Wait | None = None
        self.fault: Exception | None = None
        self.sink: Side | None = None
        self.client: ClientSide | None = None
        self.body: RequestBody | None = None
        self.body_chunked = False
        self.tunnel: Tunnel | None = None

    # -- connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        post = self.steps.post
        self.transport = transport if post is None else Writer(transport, post)

    # -- what is sent ------------------------------------------------------------------------------------------------

    def send(self, head: bytes, method: str, body: RequestBody | None, client: ClientSide | None) -> Wait:
        """Send one request; the wait brings its :class:`ResponseHead`, or a Fault. *client* hears interim heads."""
        self.state = HEAD
        self.requests += 1
        self.method = method
        self.heard = False
        self.ended = False
        self.interims = 0
        self.fault = None
        self.client = client
        wait = Wait(self.steps)
        wait.withdraw = self.close
        self.head_wait = wait
        if body is None:
            self.transport.write(head)
        elif body.complete and body.length >= 0 and len(body.pieces) <= 1:
            self.transport.write(head + body.whole())
        else:
            self.transport.write(head)
            self.body = body
            self.body_chunked = body.length == CHUNKED
            body.attach(self)
        return wait

    def take_request_chunk(self, chunk: bytes) -> None:
        if self.state == CLOSED:
            return
        if self.body_chunked:
            chunk = encode_chunk(chunk)
        self.transport.write(chunk)

    def take_request_end(self, trailers: Fields) -> None:
        self.body = None
        if self.state != CLOSED and self.body_chunked:
            self.transport.write(encode_trailers(trailers) if trailers else LAST_CHUNK)

    def pause_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.upstream_full()
        elif self.body is not None:
            self.body.source.pause_source()

    def resume_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.upstream_drained()
        elif self.body is not None:
            self.body.source.resume_source()

    # -- what is received --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state == HEAD:
            self._take_head(data)
        elif state == BODY:
            client = self.client
            if client is not None:
                client.heard(len(data))
            self._take_body(data)
        elif state == TUNNEL:
            assert self.tunnel is not None
            self.tunnel.from_upstream(data)
        elif state == ENDED:
            self.reusable = False  # bytes past the end: they must never answer the next request (S16.4)
        elif state == IDLE:
            self.close()

    def _take_head(self, data: bytes) -> None:
        self.heard = True
        buffer = self.buffer + data if self.buffer else data
        while True:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(buffer) > self.limits.head_size + self.limits.request_line:
                    self.fail(_bad("The upstream's head is too large."))
                    return
                self.buffer = buffer
                if buffer:
                    try:
                        scan_partial_answer(buffer, self.limits)
                    except Fault as fault:
                        self.fail(fault)
                return
            try:
                head = parse_response(buffer[: end + 4], self.method, self.limits)
            except Fault as fault:
                self.fail(fault)
                return
            buffer = buffer[end + 4 :]
            status = head.status
            if status >= 200 or (status == 101 and self.tunnel is not None):
                break
            self.interims += 1
            if self.interims > INTERIM_HEADS or status == 101:
                self.fail(_bad("The upstream sent an interim answer that was not asked for."))
                return
            client = self.client
            if client is not None:
                client.send_interim(head)
        self.buffer = b""
        self._begin_body(head, buffer)
        wait = self.head_wait
        self.head_wait = None
        if wait is not None:
            wait.complete(head)

    def _begin_body(self, head: ResponseHead, rest: bytes) -> None:
        length = head.body_length
        self.reusable = head.keep_alive
        if self.requests == 1:
            self.life = idle_life(head.get("keep-alive"))
        if head.status == 101:
            self.state = TUNNEL
            self.pieces = [rest] if rest else []
            return
        self.state = BODY
        if length == NO_BODY:
            if rest:
                self.reusable = False
            self._finish([])
        elif length > 0:
            self.remaining = length
            if rest:
                self._take_body(rest)
        elif length == CHUNKED:
            self.decoder = ChunkedDecoder(code="bad_upstream", strict_trailers=False)
            if rest:
                self._take_body(rest)
        else:
            self.remaining = UNTIL_CLOSE
            self.reusable = False
            if rest:
                self._take_body(rest)

    def _take_body(self, data: bytes) -> None:
        decoder = self.decoder
        if decoder is not None:
            try:
                pieces = decoder.feed(data)
            except Fault as fault:
                self.fail(fault)
                return
            for piece in pieces:
                self._piece(piece)
            if decoder.done and self.state == BODY:
                if decoder.rest:
                    self.reusable = False
                self._finish(decoder.trailers)
            return
        remaining = self.remaining
        if remaining == UNTIL_CLOSE:
            self._piece(data)
            return
        size = len(data)
        if size > remaining:
            data = data[:remaining]
            size = remaining
            self.reusable = False
        self.remaining = remaining - size
        self._piece(data)
        if size == remaining and self.state == BODY:
            self._finish([])

    def _piece(self, piece: bytes) -> None:
        sink = self.sink
        if sink is not None:
            try:
                sink.take_chunk(piece)
            except Exception as error:  # a hook on the answer's way refused, or broke: the journey has to hear of it
                self.fail(error)
            return
        self.pieces.append(piece)
        self.held += len(piece)
        if self.held > HOLD and not self.paused:
            self.pause_source()

    def _finish(self, trailers: Fields) -> None:
        self.ended = True
        self.state = ENDED
        self.decoder = None
        self.trailers = trailers
        sink = self.sink
        if sink is not None:
            self.sink = None
            try:
                sink.take_end(trailers)
            except Exception as error:
                self.fail(error)
                return
        wait = self.end_wait
        if wait is not None:
            self.end_wait = None
            wait.complete(None)

    def relay(self, sink: Side) -> Wait:
        """Send the answer body to *sink*, what has come already first; the wait ends with the body, or fails."""
        wait = Wait(self.steps)
        wait.withdraw = self.close
        if self.paused:
            self.resume_source()  # first, for the sink may pause it again
        for piece in self.pieces:
            sink.take_chunk(piece)
        self.pieces = []
        self.held = 0
        if self.ended:
            sink.take_end(self.trailers)
            wait.complete(None)
        elif self.fault is not None:
            wait.fail(self.fault)
        else:
            self.sink = sink
            self.end_wait = wait
        return wait

    def taken(self) -> bytes:
        """The whole answer body, when it had ended with the head already."""
        pieces = self.pieces
        if not pieces:
            return b""
        self.pieces = []
        self.held = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pause_source(self) -> None:
        if not self.paused and self.state != CLOSED:
            self.paused = True
            self.transport.pause_reading()

    def resume_source(self) -> None:
        if self.paused and self.state != CLOSED:
            self.paused = False
            self.transport.resume_reading()

    # -- how it ends -------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """The exchange is over: back to the pool if the connection is clean, closed otherwise."""
        self.client = None
        if self.body is not None:
            self.body.detach()
            self.body = None
            self.reusable = False  # the answer came before the request was sent whole
        if self.state == ENDED and self.reusable and not self.paused:
            self.state = IDLE
            if self.pieces:  # an answer that nobody took must not open the next one
                self.pieces = []
                self.held = 0
            self.pool.give_back(self)
        else:
            self.close()

    def close(self) -> None:
        """Break the connection off; whoever waits is not told."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self._let_go()
        if self.transport is not None:
            self.transport.abort()
        self.pool.forget(self)

    def finish_and_close(self) -> None:
        """Close after what has been written is out (tunnels)."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self._let_go()
        self.transport.close()
        self.pool.forget(self)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        state = self.state
        if state == CLOSED:
            return
        if state == BODY and self.remaining == UNTIL_CLOSE and self.decoder is None and error is None:
            self._finish([])
            self.state = CLOSED
            self.pool.forget(self)
            return
        self.state = CLOSED
        self.pool.forget(self)
        if state == TUNNEL and self.tunnel is not None:
            self.tunnel.upstream_gone()
        elif state == HEAD:
            stale = self.requests > 1 and not self.heard
            if stale:
                self.pool.went_stale(self)
            self._tell(
                Fault(
                    "bad_upstream",
                    "The upstream closed the connection before it answered.",
                    reason="stale_connection" if stale else "reset",
                    side=UPSTREAM,
                    retry=IF_IDEMPOTENT,
                )
            )
        elif state == BODY:
            self._tell(
                Fault("bad_upstream", "The upstream broke off inside its answer.", reason="reset", side=UPSTREAM,
                      retry=IF_IDEMPOTENT)
            )  # fmt: skip
        self._let_go()

    def fail(self, fault: Exception) -> None:
        """The upstream broke a rule, its time is over or its answer cannot be used: nobody uses this connection again
        (S2.15). Whoever waits for it gets *fault*."""
        if self.state == CLOSED:
            return
        self.state = CLOSED
        self.transport.abort()
        self.pool.forget(self)
        self._tell(fault)
        self._let_go()

    def _tell(self, fault: Exception) -> None:
        self.fault = fault
        head_wait, end_wait = self.head_wait, self.end_wait
        self.head_wait = None
        self.end_wait = None
        self.sink = None
        if head_wait is not None:
            head_wait.fail(fault)
        if end_wait is not None:
            end_wait.fail(fault)

    def _let_go(self) -> None:
        if self.body is not None:
            self.body.detach()
            self.body = None
        self.sink = None
        self.client = None
        self.head_wait = None
        self.end_wait = None

    def __repr__(self) -> str:
        return f"<Http1Client {STATES[self.state]} {self.requests} requests>"


def idle_life(keep_alive: str | None) -> float:
    """A second under what the upstream's ``Keep-Alive: timeout=N`` promises (S16.3); no bound when it says nothing."""
    if keep_alive is None:
        return NEVER_IDLE
    for parameter in keep_alive.split(","):
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "timeout" and value.isascii() and value.isdigit() and len(value) < 9:
            return max(0.1, float(value) - 1.0)
    return NEVER_IDLE


def _bad(detail: str) -> Fault:
    return Fault("bad_upstream", detail, reason="protocol", side=UPSTREAM, retry=NEVER)


__all__ = ["BODY", "CLOSED", "ENDED", "HEAD", "IDLE", "TUNNEL", "Http1Client", "Tunnel"]
