"""One HTTP/1.1 connection of a client: heads in, one journey at a time, answers out in order (S2).

What is received: heads through the gate, bodies to the journey, pipelined requests into a bounded buffer. What is
sent: one head and one body an exchange. How it ends: by keep-alive, politely (linger), or cut.
"""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
from typing import Any, Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.downstream.turning_away import STALE, age_of, kept_refusal, level_of
from tidegate.engine.journey import journey
from tidegate.engine.post import Writer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide, Side
from tidegate.engine.steps import Stepper
from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.fault import CLIENT, UPSTREAM, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Fields, RequestHead, ResponseHead
from tidegate.exchange.record import Record
from tidegate.rules.hop_headers import response_fields
from tidegate.rules.overload_gate import ADMIT, HOLD
from tidegate.wire.http1 import (
    LAST_CHUNK,
    ChunkedDecoder,
    answer_framing,
    canned,
    encode_chunk,
    encode_response,
    encode_trailers,
    field_lines,
    find_head_end,
    has_date,
    parse_request,
    scan_partial,
)

HEAD: Final = 0
BODY: Final = 1
WAIT: Final = 2
DRAIN: Final = 3
TUNNEL: Final = 4
LINGER: Final = 5
CLOSED: Final = 6

READING: Final = ("HEAD", "BODY", "WAIT", "DRAIN", "TUNNEL", "LINGER", "CLOSED")

PIPELINE: Final = 64 * 1024
"""Bytes behind the request that is served before reading pauses (S2.12)."""

DRAIN_LIMIT: Final = 64 * 1024
DRAIN_TIME: Final = 1.0
LINGER_TIME: Final = 1.0
CONTINUE_AFTER: Final = 1.0
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024
UNLIMITED: Final = 1 << 62
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http1Connection(ClientSide):
    """Mutable state: ``reading`` says what the next bytes are; ``buffer`` holds bytes not yet read as anything;
    ``stepper`` the journey that runs, None between exchanges."""

    def __init__(self, runtime: Runtime, listener: Any) -> None:
        # process
        self.runtime = runtime
        self.listener = listener
        # connection
        self.transport: Any = None
        self.peer: Peer | None = None
        self.reading = HEAD
        self.buffer = b""
        self.checked = 0
        self.begun = False
        self.requests = 0
        self.parsing = False
        self.paused = False
        self.held = False
        self.full = False
        self.gone = False
        self.timer = Timer(self._on_timer)
        self.deadline = Timer(self._on_deadline)
        # exchange
        self.stepper: Stepper | None = None
        self.x: Exchange | None = None
        self.body: RequestBody | None = None
        self.decoder: ChunkedDecoder | None = None
        self.remaining = 0
        self.drained = 0
        self.marked = 0
        self.head_sent = False
        self.keep_alive = True
        self.continued = False
        self.framing = NO_BODY
        self.transform: Any = None
        self.source: Side | None = None
        self.idle = 0.0
        self.total_at = NEVER
        self.heard_at = 0.0
        self.heard_bytes = 0
        self.rate_at = NEVER
        self.unsent = 0
        self.taken_at = 0.0
        self.tunnel: Any = None
        self.shortened = False
        self.finish_on_disconnect = False

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

    # -- what is sent ------------------------------------------------------------------------------------------------

    def send_continue(self) -> None:
        assert self.x is not None
        if not self.continued and self.x.head.version >= 11 and not self.gone and not self.head_sent:
            self.continued = True
            self.transport.write(CONTINUE)
            self.marked = 0
            self.runtime.wheel.set(self.timer, self.runtime.clock() + self.runtime.plan.limits.body_rate_window)

    def close_after(self, close: bool) -> None:
        if close:
            self.keep_alive = False

    def send_interim(self, head: ResponseHead) -> None:
        x = self.x
        if x is None or x.head.version < 11 or self.gone or self.head_sent:
            return
        if head.status == 100:
            if x.head.expect_continue:
                self.send_continue()
        elif head.status in (102, 103):
            lines = field_lines(response_fields(head.fields))
            self.transport.write(encode_response(head.status, head.reason, lines, NO_BODY, True, 11, ""))

    def _will_keep(self, x: Exchange) -> bool:
        """Can another request follow on this connection (S2.11)?"""
        if not self.keep_alive or self.runtime.draining:
            return False
        if self.reading == BODY:
            if x.head.expect_continue and not self.continued:
                return False
            return self.decoder is not None or self.remaining <= DRAIN_LIMIT
        return True

    def _lines(self, head: ResponseHead) -> str:
        return head.text or field_lines(head.fields)

    def _date(self, x: Exchange, head: ResponseHead) -> str:
        """The ``Date`` to add, "" where the answer has its own (S2.16)."""
        if head.dated if head.text else has_date(head.fields):
            return ""
        return self.runtime.date.at(x.wall)

    def send_whole(self, x: Exchange, head: ResponseHead, body: bytes) -> None:
        if self.gone:
            self.head_sent = True
            return
        status = head.status
        version = x.head.version
        head_request = x.method == "HEAD"
        keep = self.keep_alive = self._will_keep(x)
        bodiless = head_request or status == 304
        length = head.body_length if bodiless and not body else len(body)
        data = encode_response(
            status, head.reason, self._lines(head), length, keep, version, self._date(x, head), head_request
        )
        if body and not bodiless and status != 204:
            data += body
        self.head_sent = True
        x.bytes_out += len(data)
        self.transport.write(data)

    def send_head(self, x: Exchange, head: ResponseHead, source: Side, transform: Any) -> None:
        self.head_sent = True
        if self.gone:
            return
        version = x.head.version
        head_request = x.method == "HEAD"
        length = head.body_length if transform is None or head_request else CHUNKED
        self.framing = answer_framing(head.status, length, version, head_request)
        keep = self._will_keep(x)
        if self.framing == UNTIL_CLOSE:
            keep = False
        self.keep_alive = keep
        data = encode_response(
            head.status, head.reason, self._lines(head), length, keep, version, self._date(x, head), head_request
        )
        self.transform = transform
        self.source = source
        x.bytes_out += len(data)
        self.transport.write(data)

    def take_chunk(self, chunk: bytes) -> None:
        if self.gone:
            return
        if self.transform is not None:
            chunk = self.transform(chunk, False)
            if not chunk:
                return
        framing = self.framing
        if framing == CHUNKED:
            chunk = encode_chunk(chunk)
        elif framing == NO_BODY:
            return
        x = self.x
        assert x is not None
        x.bytes_out += len(chunk)
        self.transport.write(chunk)

    def take_end(self, trailers: Fields) -> None:
        if self.gone:
            return
        data = b""
        if self.transform is not None:
            data = self.transform(b"", True)
        if self.framing == CHUNKED:
            data = encode_chunk(data) if data else b""
            x = self.x
            if trailers and x is not None and "trailers" in x.head.index.get("te", "").lower():
                data += encode_trailers(trailers)
            else:
                data += LAST_CHUNK
        elif self.framing == NO_BODY:
            data = b""
        if data:
            if self.x is not None:
                self.x.bytes_out += len(data)
            self.transport.write(data)

    def cut(self) -> None:
        self.keep_alive = False
        if not self.gone:
            self.transport.abort()

    # -- pressure ------------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client reads too slowly: stop the upstream, and watch whether the client still takes anything (S3.8)."""
        self.full = True
        if self.tunnel is not None:
            self.tunnel.client_full()
            return
        if self.source is not None:
            self.source.pause_source()
        self._watch_unsent()

    def resume_writing(self) -> None:
        self.full = False
        now = self.runtime.clock()
        self.heard_at = now  # the upstream was held up, its times begin anew
        if self.rate_at != NEVER:
            self.rate_at = now
            self.heard_bytes = 0
        if self.tunnel is not None:
            self.tunnel.client_drained()
        elif self.source is not None:
            self.source.resume_source()
        elif self.reading == HEAD:
            limits = self.runtime.plan.limits
            self.runtime.wheel.set(self.timer, now + (limits.head_timeout if self.begun else limits.keep_alive))

    def pause_source(self) -> None:
        """Read no more from the client. It is deaf now, so its state is asked each 100 ms (S15.8)."""
        if not self.paused and not self.gone:
            self.paused = True
            self.transport.pause_reading()
            self.runtime.deaf.add(self)

    def resume_source(self) -> None:
        if self.paused and not self.gone:
            self.paused = False
            self.runtime.deaf.discard(self)
            self.marked = self.body.received if self.body is not None else 0
            self.transport.resume_reading()
            if self.reading == BODY:
                self.runtime.wheel.set(self.timer, self.runtime.clock() + self.runtime.plan.limits.body_rate_window)

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

    # -- time ----------------------------------------------------------------------------------------------------------

    def set_deadline(self, when: float) -> None:
        self.runtime.wheel.set(self.deadline, when)

    def watch_idle(self, seconds: float, total: float, steady: bool) -> None:
        now = self.runtime.clock()
        self.idle = seconds
        self.heard_at = now
        self.heard_bytes = 0
        if steady:
            self.rate_at = now
        if total and self.x is not None:
            self.total_at = self.x.started + total
        self._has_stalled(now)

    def heard(self, size: int) -> None:
        self.heard_at = self.runtime.clock()
        self.heard_bytes += size

    def _has_stalled(self, now: float) -> bool:
        """Is the answer body over one of its times (S15.4, S15.5)? If not, the next look is set."""
        limits = self.runtime.plan.limits
        window = limits.body_rate_window
        if now >= self.total_at:
            return True
        if self.full:  # the client holds it up, not the upstream
            self.heard_at = now
        elif now >= self.heard_at + self.idle:
            return True
        elif now >= self.rate_at + window:
            if self.heard_bytes < limits.body_rate * window:
                return True
            self.rate_at = now
            self.heard_bytes = 0
        due = min(self.heard_at + self.idle, self.total_at)
        if not self.full:
            due = min(due, self.rate_at + window)
        self.runtime.wheel.set(self.deadline, due)
        return False

    def _on_deadline(self) -> None:
        stepper = self.stepper
        if stepper is None:
            return
        if self.idle > 0.0:
            if not self._has_stalled(self.runtime.clock()):
                return
        elif self.head_sent:
            return
        if self.shortened:
            fault = Fault("deadline_exceeded", "The client's deadline has passed.", side=UPSTREAM)
        else:
            fault = Fault("upstream_timeout", "The upstream took too long.", side=UPSTREAM)
        stepper.cancel(fault)

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

    def _watch_unsent(self) -> None:
        """From now on the client has to take what waits for it."""
        self.unsent = self._unsent()
        self.taken_at = self.runtime.clock()
        limits = self.runtime.plan.limits
        self.runtime.wheel.set(self.timer, self.taken_at + min(limits.body_rate_window, limits.stuck_client))

    def _look_at_unsent(self, now: float) -> None:
        """S3.8: nothing taken for 30 s, or something but under 1 KiB/s over 10 s, and the client is cut off."""
        limits = self.runtime.plan.limits
        window = limits.body_rate_window
        unsent = self._unsent()
        taken = self.unsent - unsent
        if (taken <= 0 and now - self.taken_at >= limits.stuck_client) or 0 < taken < limits.body_rate * window:
            self.runtime.metrics.add("rejects_total", ("client_stuck",), ("code",))
            self.transport.abort()
            return
        if taken > 0:
            self.taken_at = now
        self.unsent = unsent
        self.runtime.wheel.set(self.timer, now + min(window, limits.stuck_client))

    def _unsent(self) -> int:
        """Bytes the client's kernel has not acknowledged: those in our buffer and those in our kernel's."""
        sock = self.transport.get_extra_info("socket")
        try:
            queued = int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"), sys.byteorder)
        except OSError:
            queued = 0
        return int(self.transport.get_write_buffer_size()) + queued

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
