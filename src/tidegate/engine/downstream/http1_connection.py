"""One HTTP/1.1 connection of a client: heads in, one journey at a time, answers out in order (S2).

What is received: heads through the gate, bodies to the journey, pipelined requests into a bounded buffer. What is
refused before it begins. How it ends: by keep-alive, politely (linger), or cut. What is sent: ``http1_answering``.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from tidegate.engine.clock import NEVER
from tidegate.engine.downstream.http1_answering import (
    BODY,
    CLOSED,
    DRAIN,
    DRAIN_LIMIT,
    HEAD,
    LINGER,
    READING,
    TUNNEL,
    WAIT,
    Http1Answering,
)
from tidegate.engine.downstream.turning_away import STALE, age_of, kept_refusal, level_of
from tidegate.engine.journey import journey
from tidegate.engine.post import Writer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.steps import Stepper
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, RequestHead, ResponseHead
from tidegate.exchange.record import Record
from tidegate.rules.overload_gate import ADMIT, HOLD
from tidegate.wire.http1 import (
    ChunkedDecoder,
    canned,
    encode_response,
    field_lines,
    find_head_end,
    parse_request,
    scan_partial,
)

PIPELINE: Final = 64 * 1024
"""Bytes behind the request that is served before reading pauses (S2.12)."""

DRAIN_TIME: Final = 1.0
LINGER_TIME: Final = 1.0
CONTINUE_AFTER: Final = 1.0
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
UNLIMITED: Final = 1 << 62


class Http1Connection(Http1Answering):
    """The reading side: ``data_received`` and what follows from it, from the first byte to the last."""

    # -- connection ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        post = self.runtime.steps.post
        self.transport = transport if post is None else Writer(transport, post)
        transport.set_write_buffer_limits(HIGH_WATER, LOW_WATER)
        self.peer = self.listener.peer_of(transport)
        self.runtime.connections.add(self)
        self.runtime.wheel.set(self.timer, self.runtime.clock() + self.runtime.plan.limits.keep_alive)

    # -- what is received --------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        reading = self.reading
        if reading == HEAD:
            if self.buffer:
                data = self.buffer + data
                self.buffer = b""
                if self.held:
                    self.buffer = data
                    return
            self._read_heads(data)
        elif reading == BODY:
            self._read_body(data)
        elif reading == WAIT:
            self.buffer += data
            if len(self.buffer) > PIPELINE:
                self.pause_source()
        elif reading == TUNNEL:
            self.tunnel.from_client(data)
        elif reading == DRAIN:
            self._drain(data)

    def _read_heads(self, data: bytes) -> None:
        """Serve requests from *data* until one has to wait or bytes are missing."""
        runtime = self.runtime
        self.parsing = True
        try:
            while data:
                end = find_head_end(data, self.checked)
                if end < 0:
                    try:
                        self.checked = scan_partial(data, runtime.head_limits, runtime.plan.methods, self.checked)
                    except Fault as fault:
                        self._refuse(fault)
                        return
                    if not self.begun:
                        self.begun = True  # its ten seconds run from its first byte (S3.6)
                        runtime.wheel.set(self.timer, self.runtime.clock() + runtime.plan.limits.head_timeout)
                    self.buffer = data
                    return
                self.checked = 0
                self.begun = False
                try:
                    head = parse_request(data[:end] if end < len(data) else data, runtime.head_limits,
                                         runtime.plan.methods)  # fmt: skip
                except Fault as fault:
                    self._refuse(fault)
                    return
                if runtime.guarded and not self._may_begin(head, data, end):
                    if self.reading != HEAD or self.held:
                        return
                    data = self.buffer
                    self.buffer = b""
                    continue
                self._begin(head, data[end:])
                if self.reading != HEAD:
                    return
                data = self.buffer
                self.buffer = b""
        finally:
            self.parsing = False

    # -- the guard at the door (S22.9) ---------------------------------------------------------------------------------

    def _may_begin(self, head: RequestHead, data: bytes, end: int) -> bool:
        """The worker is late or out of memory. If the request at the start of *data* may not begin, it has been
        refused, or is held with the rest of *data* until ``let_go``."""
        runtime = self.runtime
        if runtime.drowning:
            self._shed()
            return False
        gate = runtime.gate
        level = level_of(runtime, head, self.listener.plan.merge_slashes)
        verdict = gate.judge(level, runtime.clock())
        if verdict == ADMIT:
            if age_of(self.transport) <= STALE:
                return True
            gate.came_too_late(level)
        elif verdict == HOLD:
            self.held = True
            self.buffer = data
            self.timer.when = NEVER
            self.pause_source()
            runtime.held.append(self)
            return False
        self._turn_away(head, data[end:])
        return False

    def _turn_away(self, head: RequestHead, rest: bytes) -> None:
        """Refuse a request and keep its connection where its framing allows: a new one would cost more."""
        runtime = self.runtime
        fault = runtime.late
        length = head.body_length
        if (not head.keep_alive or head.expect_continue or head.upgrade or length > DRAIN_LIMIT
                or head.version < 11 or runtime.draining):  # fmt: skip
            self._refuse(fault)
            return
        self._note_refusal(fault)
        self.requests += 1
        self.transport.write(kept_refusal(head.method == "HEAD"))
        if length == NO_BODY:
            self._next(rest)
            return
        self.reading = DRAIN
        self.decoder = ChunkedDecoder() if length == CHUNKED else None
        self.remaining = length
        self.drained = 0
        runtime.wheel.set(self.timer, runtime.clock() + DRAIN_TIME)
        self._drain(rest)

    def let_go(self) -> None:
        """Ask again about the request that was held."""
        if not self.held:
            return
        self.held = False
        if self.reading != HEAD or self.gone:
            return
        data = self.buffer
        self.buffer = b""
        self.resume_source()
        self._read_heads(data)

    def _begin(self, head: RequestHead, rest: bytes) -> None:
        """A request has arrived: send it on its journey."""
        runtime = self.runtime
        now = self.runtime.clock()
        assert self.peer is not None
        x = Exchange(self.peer, head, now, self.runtime.wall())
        self.x = x
        limits = runtime.plan.limits
        self.requests += 1
        self.keep_alive = head.keep_alive and self.requests < limits.keep_alive_requests and not runtime.draining
        self.head_sent = False
        self.continued = False
        self.transform = None
        self.source = None
        self.idle = 0.0
        self.total_at = NEVER
        self.rate_at = NEVER
        self.shortened = False
        self.finish_on_disconnect = False
        length = head.body_length
        body: RequestBody | None = None
        if length == NO_BODY:
            self.reading = WAIT
            self.buffer = rest
        else:
            self.reading = BODY
            body = RequestBody(runtime.steps, self, length, UNLIMITED)
            self.decoder = ChunkedDecoder() if length == CHUNKED else None
            self.remaining = length
            self.marked = 0
            self.body = body
            if rest:
                self._read_body(rest)
                if self.reading == LINGER:
                    return
        stepper = Stepper(runtime.steps, journey(runtime, self, x, body, self.listener.plan.merge_slashes))
        self.stepper = stepper
        runtime.working(x)
        runtime.steps.go(stepper)
        if self.reading == BODY and self.stepper is stepper:
            if head.expect_continue and not self.continued:
                runtime.wheel.set(self.timer, now + CONTINUE_AFTER)
            else:
                runtime.wheel.set(self.timer, now + limits.body_rate_window)

    def _read_body(self, data: bytes) -> None:
        body = self.body
        assert body is not None
        try:
            decoder = self.decoder
            if decoder is not None:
                for piece in decoder.feed(data):
                    body.feed(piece)
                if decoder.done:
                    self.buffer = decoder.rest
                    self.reading = WAIT
                    body.finish(decoder.trailers)
                return
            remaining = self.remaining
            size = len(data)
            if size > remaining:
                self.buffer = data[remaining:]
                data = data[:remaining]
                size = remaining
            self.remaining = remaining - size
            if size:
                body.feed(data)
            if size == remaining:
                self.reading = WAIT
                body.finish([])
        except Fault as fault:
            self._body_fault(fault)

    def _body_fault(self, fault: Fault) -> None:
        """The request body broke a rule while its journey runs, or before it began."""
        self.keep_alive = False
        if self.body is not None:
            self.body.fault = fault
        stepper = self.stepper
        if stepper is None:
            self._refuse(fault)
            return
        self.reading = LINGER
        stepper.cancel(fault)

    def _drain(self, data: bytes) -> None:
        """The answer is out, the body is not in: read and forget a little of it (S2.11)."""
        self.drained += len(data)
        try:
            decoder = self.decoder
            if decoder is not None:
                decoder.feed(data)
                if decoder.done:
                    self._next(decoder.rest)
                    return
            elif len(data) >= self.remaining:
                self._next(data[self.remaining :])
                return
            else:
                self.remaining -= len(data)
        except Fault:
            self._linger()
            return
        if self.drained > DRAIN_LIMIT:
            self._linger()

    def eof_received(self) -> bool:
        """A FIN after the whole request counts as gone: there is no half-close (S15.8)."""
        if self.tunnel is not None:
            return bool(self.tunnel.client_ended())
        self._leave()
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        if self.reading != CLOSED:
            self.reading = CLOSED
            self.runtime.connections.discard(self)
            self.runtime.deaf.discard(self)
            self.listener.closed(self)
            self.timer.when = NEVER
            self.deadline.when = NEVER
        if self.tunnel is not None:
            self.tunnel.client_gone()
            self.tunnel = None
        self._leave()

    def _leave(self) -> None:
        """The client has gone: its journey is cancelled, unless its route wants it finished."""
        if self.gone:
            return
        self.gone = True
        stepper = self.stepper
        if stepper is not None:
            if self.x is not None:
                self.x.end = "cancelled"
            if not self.finish_on_disconnect:
                stepper.cancel()

    # -- time ----------------------------------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        runtime = self.runtime
        limits = runtime.plan.limits
        now = self.runtime.clock()
        reading = self.reading
        if self.full or (reading == LINGER and self.transport.get_write_buffer_size()):
            self._look_at_unsent(now)
        elif reading == HEAD:
            if self.buffer:
                self._refuse(Fault("request_timeout", "The request head came too slowly.", side=CLIENT, close=True))
            else:
                self.close()
        elif reading == BODY:
            body = self.body
            if body is None or self.paused:
                return
            x = self.x
            if x is not None and x.head.expect_continue and not self.continued and body.received == 0:
                self.send_continue()  # the upstream stays silent: S2.13
                return
            window = limits.body_rate_window
            if body.received - self.marked < limits.body_rate * window:
                self._body_fault(Fault("request_timeout", "The request body came too slowly.", side=CLIENT, close=True))
                return
            self.marked = body.received
            runtime.wheel.set(self.timer, now + window)
        elif reading == DRAIN:
            self._linger()
        elif reading == LINGER:
            self.transport.abort()

    def ask_state(self) -> None:
        """A paused socket hears no FIN and no RST: ask the kernel (TCP_INFO; 1 is ESTABLISHED)."""
        sock = self.transport.get_extra_info("socket")
        try:
            state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:
            state = 7
        if state != 1:
            self.runtime.deaf.discard(self)
            self._leave()
            if self.stepper is None:
                self.transport.abort()

    # -- how it ends ---------------------------------------------------------------------------------------------------

    def ended(self, x: Exchange) -> None:
        """The journey is over. On to the next request, or out."""
        self.stepper = None
        self.x = None
        self.source = None
        self.transform = None
        self.deadline.when = NEVER
        self.runtime.rested()
        if self.runtime.guarded:
            self.runtime.gate.served += 1
        if self.reading == CLOSED or self.gone:
            self.body = None
            if self.reading != CLOSED and self.transport is not None:
                self.transport.close()
            return
        if self.tunnel is not None:
            return
        if not self.head_sent:
            self.transport.abort()
            return
        if not self.keep_alive:
            clean = self.reading == WAIT and not self.buffer and self.body is None
            if clean:
                self._close_out()
            else:
                self._linger()
            return
        if self.reading == BODY:
            self.reading = DRAIN
            self.drained = 0
            self.resume_source()
            self.runtime.wheel.set(self.timer, self.runtime.clock() + DRAIN_TIME)
            return
        self._next(self.buffer)

    def _next(self, rest: bytes) -> None:
        """Between two requests; *rest* has come behind the last one already."""
        self.body = None
        self.decoder = None
        self.reading = HEAD
        self.buffer = rest
        if self.paused:
            self.resume_source()
        if not self.full:
            self.runtime.wheel.set(self.timer, self.runtime.clock() + self.runtime.plan.limits.keep_alive)
        if rest and not self.parsing:
            self.buffer = b""
            self._read_heads(rest)

    def _refuse(self, fault: Fault) -> None:
        """A parser-level refusal: canned answer, then linger; what follows is never parsed (S2)."""
        if self.reading in (CLOSED, LINGER):
            return
        self._note_refusal(fault)
        allow = next((value for name, value in fault.fields if name == "allow"), "")
        self.transport.write(canned(fault.code, allow) if allow else canned(fault.code))
        self._linger()

    def _note_refusal(self, fault: Fault) -> None:
        """A refusal before there is an exchange is counted and recorded like any other."""
        runtime = self.runtime
        runtime.metrics.add("rejects_total", (fault.code,), ("code",))
        plan = runtime.plan
        if plan.sinks and self.peer is not None:
            peer = self.peer
            record = Record(
                ts=self.runtime.wall(), request_id="", method="", host="", path="", status=fault.status, duration_us=0,
                listener=peer.listener, peer_ip=peer.peer_ip, client_ip=peer.peer_ip, generation=plan.generation,
                code=fault.code, reason=fault.reason, flag=fault.flag,
            )  # fmt: skip
            for sink in plan.sinks:
                sink.write(record)

    def _shed(self) -> None:
        """The process drowns: refuse before anything is worked out (S22.9)."""
        if self.runtime.may_shed():
            self._refuse(Fault("overloaded", "", reason="shed", retry_after=1.0, close=True))
        else:
            self.transport.abort()

    def _linger(self) -> None:
        """Close so that the client can still read the answer: half-close, ignore input for up to 1 s."""
        if self.reading == CLOSED:
            return
        self.reading = LINGER
        self.buffer = b""
        if self.paused:
            self.resume_source()
        self.unsent = self.transport.get_write_buffer_size()
        self.taken_at = self.runtime.clock()
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.runtime.wheel.set(self.timer, self.taken_at + LINGER_TIME)
        else:
            self._close_out()

    def _close_out(self) -> None:
        """Close once all is out; who does not take it is cut off (S3.8)."""
        self.transport.close()
        if self.transport.get_write_buffer_size():
            self.reading = LINGER
            self._watch_unsent()

    def close(self) -> None:
        """Close between requests."""
        self.transport.close()

    def is_idle(self) -> bool:
        return self.reading == HEAD and not self.buffer

    def abort(self) -> None:
        """The worker stops: cut what still runs (S6.5)."""
        stepper = self.stepper
        if stepper is not None:
            stepper.cancel(Fault("draining", "The gateway is shutting down.", retry_after=1.0))
        elif self.transport is not None:
            self.transport.abort()

    def start_tunnel(self, head: ResponseHead, other: Any) -> bytes:
        assert self.x is not None
        self.head_sent = True
        data = encode_response(101, head.reason, field_lines(head.fields), NO_BODY, True, 11, "")
        self.x.bytes_out += len(data)
        self.transport.write(data)
        self.reading = TUNNEL
        self.tunnel = other
        self.timer.when = NEVER
        self.deadline.when = NEVER
        rest = self.buffer
        self.buffer = b""
        self.resume_source()
        return rest

    def end_tunnel(self) -> None:
        """The tunnel is over: close after what has been written is out."""
        self.tunnel = None
        self.keep_alive = False
        self.reading = LINGER if self.reading == TUNNEL else self.reading
        if not self.gone and not self.transport.is_closing():
            self._close_out()

    def __repr__(self) -> str:
        return f"<Http1Connection {READING[self.reading]} {self.requests} requests>"
