"""Responses over WebSocket (LLM 2): the client sends ``response.create`` messages, each is a call like any other, and
its events come back as messages. One call at a time; what comes meanwhile waits in line.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Callable, Coroutine
from hashlib import sha1
from typing import Any, Final

import msgspec

from tidegate.engine.lanes.tunnel import IDLE, WebSocketTunnel
from tidegate.engine.models.accounting import note_refusal
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.request_body import RequestBody
from tidegate.engine.sides import ClientSide, Side
from tidegate.engine.steps import Stepper
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import NO_BODY, Fields, ResponseHead
from tidegate.rules.surfaces import Surface
from tidegate.wire.sse import SseDecoder
from tidegate.wire.websocket import MAX_MESSAGE, POLICY, close_frame
from tidegate.wire.websocket_text import TextWatch

GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""

WAITING: Final = 8
"""Calls that may wait for the one that runs."""

LONGEST: Final = 600.0
"""Seconds of one call where the route names none."""

PING, PONG, CLOSE = 9, 10, 8

Serve = Callable[[ModelCall, RequestBody | None], Coroutine[Any, Any, None]]


async def serve_socket(call: ModelCall, serve: Serve) -> None:
    """Keep the socket until either side ends it; *serve* serves one call. Raises the Fault of what keeps it from
    beginning."""
    x = call.x
    key = x.head.index.get("sec-websocket-key", "")
    if x.head.upgrade != "websocket" or len(key) > 64 or not key:
        raise Fault("upgrade_required", "Responses come over a WebSocket here.", side=CLIENT,
                    fields=[("upgrade", "websocket")])  # fmt: skip
    runtime = call.runtime
    accept = b64encode(sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()
    fields: Fields = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", accept)]
    fields.append(("x-request-id", x.request_id))
    x.status = 101
    x.first_byte_at = runtime.clock()
    tunnel = ResponsesSocket(call, serve)
    runtime.tunnels.add(tunnel)
    try:
        tunnel.begin(ResponseHead(101, "Switching Protocols", fields, NO_BODY))
        await tunnel.over
    finally:
        runtime.tunnels.discard(tunnel)
        x.bytes_in = tunnel.bytes_up
        x.bytes_out += tunnel.bytes_down
        tunnel.shut()


class ResponsesSocket(WebSocketTunnel):
    """A tunnel whose other end is the lane. Mutable state: ``runner`` of the call under way, ``waiting`` messages."""

    def __init__(self, call: ModelCall, serve: Serve) -> None:
        super().__init__(call.runtime, call.client)
        self.call = call
        self.serve = serve
        self.told_upstream = True
        self.said = TextWatch(MAX_MESSAGE, controls=True)
        self.waiting: deque[bytes] = deque()
        self.runner: Stepper | None = None
        self.answer: FrameClient | None = None

    def begin(self, head: ResponseHead) -> None:
        """Say 101 and hear what the client has said already."""
        early = self.client.start_tunnel(head, self)
        self.runtime.wheel.set(self.timer, self.runtime.clock() + IDLE)
        if early:
            self.from_client(early)

    def from_client(self, data: bytes) -> None:
        self.heard_at = self.runtime.clock()
        code = self.up.feed(data)
        if code:
            self._refuse(code, False, True)
            return
        self.bytes_up += len(data)
        self.waiting.extend(self.said.feed(data))
        for opcode, payload in self.said.taken_controls():
            if opcode == PING:
                self.write(PONG, payload)
            elif opcode == CLOSE:
                self._refuse(int.from_bytes(payload[:2], "big") or 1000, False, True)
                return
        if len(self.waiting) > WAITING:
            self._refuse(POLICY, False, True)
        elif self.waiting and self.runner is None:
            steps = self.runtime.steps
            self.runner = Stepper(steps, self._work())
            steps.go(self.runner)

    async def _work(self) -> None:
        """One waiting message after the other."""
        while self.waiting:
            await self._one(self.waiting.popleft())
        self.runner = None

    async def _one(self, text: bytes) -> None:
        runtime = self.runtime
        x = exchange_of(self.call, runtime.clock(), runtime.wall())
        part: ModelCall | None = None
        self.answer = client = FrameClient(self)
        try:
            x.body = body_of(text)
            part = ModelCall(runtime, client, self.call.route, x, Surface("chat", self.call.surface.dialect),
                             self.call.dialect)  # fmt: skip
            await self.serve(part, None)
        except Fault as fault:
            for undo in reversed(x.refunds or []):
                undo()
            if part is not None:
                note_refusal(part, fault)
            if not client.head_sent:
                self.tell(fault)
        finally:
            self.answer = None
            for release in x.releases or []:
                release()

    def tell(self, fault: Fault) -> None:
        """*fault* as an event of its own."""
        written = self.call.dialect.write_fault(fault, self.call.x.request_id)
        error = msgspec.json.decode(written.body)
        self.write(1, msgspec.json.encode({"type": "error", "status": written.status, **error}))

    def write(self, opcode: int, payload: bytes) -> None:
        """One whole frame for the client."""
        if self.client.gone or self.told_client:
            return
        size = len(payload)
        length = bytes([size]) if size < 126 else (
            b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big"))  # fmt: skip
        self.bytes_down += size + 1 + len(length)
        self.client.transport.write(bytes([0x80 | opcode]) + length + payload)

    def client_full(self) -> None:
        if self.answer is not None and self.answer.source is not None:
            self.answer.source.pause_source()

    def client_drained(self) -> None:
        if self.answer is not None and self.answer.source is not None:
            self.answer.source.resume_source()

    def shut(self) -> None:
        runner = self.runner
        self.runner = None
        self.waiting.clear()
        if runner is not None:
            runner.cancel()
        super().shut()

    def _tell_client(self, code: int) -> None:
        if not self.told_client and not self.client.gone:
            self.client.transport.write(close_frame(code, False))
        self.told_client = True


class FrameClient(ClientSide):
    """The client of one call, as the lane knows clients: events go out as messages."""

    def __init__(self, tunnel: ResponsesSocket) -> None:
        self.tunnel = tunnel
        self.head_sent = False
        self.shortened = False
        self.finish_on_disconnect = False
        self.source: Side | None = None
        self.events = SseDecoder()

    @property
    def gone(self) -> bool:  # type: ignore[override]
        return bool(self.tunnel.client.gone)

    def send_head(self, x: Exchange, head: ResponseHead, source: Side, transform: Any) -> None:
        self.head_sent = True
        self.source = source

    def take_chunk(self, chunk: bytes) -> None:
        for _, data in self.events.feed(chunk):
            self.tunnel.write(1, data)

    def take_end(self, trailers: Fields) -> None:
        for _, data in self.events.close():
            self.tunnel.write(1, data)

    def send_whole(self, x: Exchange, head: ResponseHead, body: bytes) -> None:
        self.head_sent = True
        self.tunnel.write(1, body)

    def cut(self) -> None:
        self.tunnel.shut()


def exchange_of(call: ModelCall, now: float, wall: float) -> Exchange:
    """One call's own exchange: whose it is and where it came from are the socket's."""
    x = call.x
    own = Exchange(x.peer, x.head, now, wall)
    own.method = "POST"
    own.identity, own.client_ip, own.route = x.identity, x.client_ip, x.route
    own.host, own.path, own.query = x.host, x.path, x.query
    own.request_id, own.trace_id, own.span_id, own.sampled = x.request_id, x.trace_id, x.span_id, x.sampled
    timeouts = call.route.timeouts
    own.deadline = now + (timeouts.request if timeouts is not None and timeouts.request > 0.0 else LONGEST)
    return own


def body_of(text: bytes) -> bytes:
    """The body that a POST with the same call would have. Raises ``invalid_request``."""
    try:
        event = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Fault("invalid_request", "A message must be a JSON object.", side=CLIENT) from None
    if bytes(event.pop("type", b"")) != b'"response.create"':
        raise Fault("invalid_request", "Only response.create is understood here.", reason="type", side=CLIENT)
    event["stream"] = msgspec.Raw(b"true")
    return msgspec.json.encode(event)
