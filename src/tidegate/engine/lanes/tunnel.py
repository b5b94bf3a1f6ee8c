"""WebSocket tunnels: an upgrade goes through, then bytes pass both ways and only frame heads are read (S18.15)."""

from __future__ import annotations

from typing import Any, Final

from tidegate.engine.clock import Timer
from tidegate.engine.lanes.http import answer, choose_upstream, upstream_lines
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.engine.steps import Wait
from tidegate.engine.upstream.attempts import Reached, reach
from tidegate.engine.upstream.http1_client import Http1Client, Tunnel
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import ResponseHead
from tidegate.ports.plan import RoutePlan
from tidegate.rules.hop_headers import response_fields
from tidegate.wire.websocket import FrameWatch, close_frame

IDLE: Final = 300.0
FLUSH: Final = 5.0
"""Seconds an upstream has to take the last bytes of a tunnel."""

GOING_AWAY: Final = 1001


class WebSocketTunnel(Tunnel):
    """Two transports joined. Mutable state: one ``FrameWatch`` a direction, ``heard_at``, ``leaving`` the close code of
    a gateway that stops and which sides have been ``told``, and ``over`` once ended."""

    def __init__(self, runtime: Runtime, client: Any) -> None:
        self.runtime = runtime
        self.client = client
        self.connection: Http1Client | None = None
        self.up = FrameWatch()
        self.down = FrameWatch()
        self.heard_at = self.runtime.clock()
        self.over = Wait(runtime.steps)
        self.over.withdraw = self.shut
        self.timer = Timer(self._on_idle)
        self.bytes_up = 0
        self.bytes_down = 0
        self.leaving = 0
        self.told_client = False
        self.told_upstream = False

    def join(self, x: Exchange, connection: Http1Client, head: ResponseHead) -> None:
        """The upstream has said 101: pass it on, then everything that waited on either side."""
        self.connection = connection
        early = connection.taken()
        waiting = self.client.start_tunnel(head, self)
        self.runtime.wheel.set(self.timer, self.runtime.clock() + IDLE)
        if early:
            self.from_upstream(early)
        if waiting:
            self.from_client(waiting)

    def from_client(self, data: bytes) -> None:
        self.heard_at = self.runtime.clock()
        if self.told_upstream:
            return
        between = self.up.at_boundary
        code = self.up.feed(data)
        if code:
            self._refuse(code, between, self.down.at_boundary)
            return
        self.bytes_up += len(data)
        if self.connection is not None:
            self.connection.transport.write(data)
        if self.leaving:
            self._say_goodbye()

    def from_upstream(self, data: bytes) -> None:
        self.heard_at = self.runtime.clock()
        if self.told_client:
            return
        between = self.down.at_boundary
        code = self.down.feed(data)
        if code:
            self._refuse(code, self.up.at_boundary, between)
            return
        self.bytes_down += len(data)
        self.client.transport.write(data)
        if self.leaving:
            self._say_goodbye()

    def client_full(self) -> None:
        if self.connection is not None:
            self.connection.pause_source()

    def client_drained(self) -> None:
        if self.connection is not None:
            self.connection.resume_source()

    def upstream_full(self) -> None:
        self.client.pause_source()

    def upstream_drained(self) -> None:
        self.client.resume_source()

    def client_ended(self) -> bool:
        """A FIN inside a tunnel ends it: WebSocket closes with frames, not with halves."""
        self.shut()
        return False

    def client_gone(self) -> None:
        self.shut()

    def upstream_gone(self) -> None:
        self.shut()

    def go_away(self, code: int = GOING_AWAY) -> None:
        """The gateway stops: tell each side as soon as no frame is under way to it (S23.5)."""
        self.leaving = code
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        if not self.told_upstream and self.up.at_boundary:
            self._tell_upstream(self.leaving)
        if not self.told_client and self.down.at_boundary:
            self._tell_client(self.leaving)
        if self.told_client and self.told_upstream:
            self.shut()

    def _tell_upstream(self, code: int) -> None:
        self.told_upstream = True
        connection = self.connection
        if connection is not None and not connection.transport.is_closing():
            connection.transport.write(close_frame(code, True, self.runtime.random.randbytes(4)))

    def _tell_client(self, code: int) -> None:
        self.told_client = True
        if not self.client.gone:
            self.client.transport.write(close_frame(code, False))

    def _refuse(self, code: int, tell_upstream: bool, tell_client: bool) -> None:
        """End with *code*, told to those sides that are between two frames (S18.16)."""
        if tell_upstream and not self.told_upstream:
            self._tell_upstream(code)
        if tell_client and not self.told_client:
            self._tell_client(code)
        self.shut()

    def _on_idle(self) -> None:
        now = self.runtime.clock()
        due = self.heard_at + IDLE
        if due > now:
            self.runtime.wheel.set(self.timer, due)
        else:
            self.shut()

    def shut(self) -> None:
        """Close what is still open on both sides, once; what has been written still goes out."""
        connection = self.connection
        self.connection = None
        self.timer.when = float("inf")
        if connection is not None:
            connection.tunnel = None
            connection.finish_and_close()
            if connection.transport.get_write_buffer_size():
                last = Timer(connection.transport.abort)
                self.runtime.wheel.set(last, self.runtime.clock() + FLUSH)
        self.client.end_tunnel()
        self.over.complete(None)


async def serve(runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange) -> None:
    """Serve an upgrade. An answer other than 101 is forwarded, then the connection is closed (S2.14)."""
    name = choose_upstream(route, x)
    upstream: Upstream = runtime.upstreams.get(name) or runtime.removed[name]
    x.upstream = name
    place = upstream.admission.enter(x, runtime.clock())
    if place is not None:
        await place
    try:
        tunnel = WebSocketTunnel(runtime, client)
        lines = upstream_lines(runtime, upstream, route, x)
        reached = await reach(runtime, upstream, route, x, lines, None, client, tunnel=tunnel)
        if reached.head.status != 101:
            reached.connection.tunnel = None
            client.close_after(True)
            await answer(runtime, client, route, x, reached)
            return
        await through(runtime, route, x, reached, tunnel)
    finally:
        upstream.admission.leave(x, runtime.clock(), -1.0)


async def through(
    runtime: Runtime, route: RoutePlan, x: Exchange, reached: Reached, tunnel: WebSocketTunnel
) -> None:  # fmt: skip
    """The tunnel stands until either side ends it."""
    head = reached.head
    if (head.get("upgrade") or "").lower() != "websocket" or head.get("sec-websocket-accept") is None:
        reached.connection.close()
        reached.done(runtime.clock(), "gateway")
        raise Fault("bad_upstream", "The upstream's upgrade answer is not valid.", reason="protocol", side="upstream")
    head.fields = response_fields(head.fields)
    for hook in route.on_response_head:
        hook(x, head)
    head.fields += [("connection", "Upgrade"), ("upgrade", "websocket"), ("x-request-id", x.request_id)]
    x.status = 101
    x.first_byte_at = runtime.clock()
    runtime.tunnels.add(tunnel)
    try:
        tunnel.join(x, reached.connection, head)
        await tunnel.over
    finally:
        runtime.tunnels.discard(tunnel)
        x.bytes_in = tunnel.bytes_up
        x.bytes_out += tunnel.bytes_down
        tunnel.shut()
        reached.done(runtime.clock(), "ok")
