"""The answering side of a client's HTTP/1.1 connection: heads and bodies out, the client's pressure on their source,
and the times an answer has to keep (S2, S3.8, S15)."""

from __future__ import annotations

import fcntl
import sys
import termios
from typing import Any, Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide, Side
from tidegate.engine.steps import Stepper
from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Fields, ResponseHead
from tidegate.rules.hop_headers import response_fields
from tidegate.wire.http1 import (
    LAST_CHUNK,
    ChunkedDecoder,
    answer_framing,
    encode_chunk,
    encode_response,
    encode_trailers,
    field_lines,
    has_date,
)

HEAD: Final = 0
BODY: Final = 1
WAIT: Final = 2
DRAIN: Final = 3
TUNNEL: Final = 4
LINGER: Final = 5
CLOSED: Final = 6

READING: Final = ("HEAD", "BODY", "WAIT", "DRAIN", "TUNNEL", "LINGER", "CLOSED")

DRAIN_LIMIT: Final = 64 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http1Answering(ClientSide):
    """Mutable state of the whole connection: ``reading`` says what the next bytes are; ``buffer`` holds bytes not yet
    read as anything; ``stepper`` the journey that runs, None between exchanges. The reading side is built upon this
    class, for both are one object: as two, each read and each write would cost a call more."""

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

    def _on_timer(self) -> None:
        """The reading side's: what it waits for has not come in time."""

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
