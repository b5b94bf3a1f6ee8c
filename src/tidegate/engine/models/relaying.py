"""One streamed answer on its way: held until there is something to say, then passed on event by event (LLM 9, 5.10).

``Outlet`` is the client's end, one a call: head, heartbeats, pressure. ``Stream`` is the target's end, one a try:
nothing of a target that failed before its first content ever reaches the client. ``PassedStream`` lets bytes through
and only listens for usage; its sister that translates is in ``translating.py``.
"""

from __future__ import annotations

import re
from typing import Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.lanes.http import chunk_hooks
from tidegate.engine.models.accounting import Account
from tidegate.engine.models.answering import new_writer, stream_head
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.calls import Reached, first_wait
from tidegate.engine.models.frames import Cutter, decoder_of, first_events, split_events
from tidegate.engine.sides import Side
from tidegate.engine.steps import Stepper, Wait
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.exchange.chat import END, ChatDelta, Failed, Open, Piece, Stopped, Usage
from tidegate.exchange.fault import IF_IDEMPOTENT, UPSTREAM, Fault
from tidegate.exchange.head import Fields
from tidegate.ports.dialect import Dialect, EventReader, EventWriter, Framing
from tidegate.rules.plain_usage import usage_of
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_array import encode_element
from tidegate.wire.sse import SseDecoder

HOLD: Final = 256 * 1024
"""Bytes of a stream held back while no content has come (rule 9)."""

TAIL: Final = 1 << 20
"""Bytes held behind the event that ends a stream."""

DRAIN: Final = 1.0
"""Seconds that usage may come after the end of an answer."""

ABANDONED: Final = 60.0
"""Seconds that an answer is read which nobody hears any more."""

READ_FOR_USAGE: Final = 1 << 20
"""Bytes of a raw answer that is read for its usage."""

TOKEN_BYTES: Final = 4
"""Bytes of a raw answer taken for a token where it tells no usage."""

REST: Final = 2.0
"""Seconds that a connection may take to end its body after all of it is known, so that it can be used again."""

TOLD: Final = frozenset({"invalid_request", "context_length", "content_policy", "model_not_found"})
"""Faults whose words are a vendor's own."""

SILENT_PARTS: Final = frozenset({"text", "refusal", "thought", "sealed_thought"})
"""Parts whose beginning says nothing yet."""

NO_CHOICES: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]').search


class Outlet(Side):
    """Mutable state: ``begun``, the status line is out; ``full``, the client takes no more; ``source``, the connection
    that has to wait then; ``said_at``, when the client last heard something."""

    def __init__(self, call: ModelCall) -> None:
        runtime = call.runtime
        self.call = call
        self.runtime = runtime
        self.silent = call.plain
        """The answer is no stream of events: nothing can be said before it."""
        self.begun = False
        self.full = False
        self.source: Http1Client | None = None
        self.speaker: Stream | None = None
        """The one whose answer this is: of two that race, the first with content."""
        self.said_at = runtime.clock()
        self.voice: EventWriter | None = None
        self.timer = Timer(self._on_timer)
        if not self.silent:
            runtime.wheel.set(self.timer, self.said_at + call.llm.hold)

    def writer(self) -> EventWriter:
        """Writes what is ours (heartbeats, a fault) where no stream has a writer of its own."""
        voice = self.voice
        if voice is None:
            voice = self.voice = new_writer(self.call)
        return voice

    def begin(self, reached: Reached | None) -> None:
        """The status line, now that *reached* has something to say, or that nobody may be made to wait longer."""
        if self.begun:
            return
        self.begun = True
        call = self.call
        head = stream_head(call, reached)
        transform = chunk_hooks(call.route, call.x) if call.route.on_response_chunk else None
        call.client.send_head(call.x, head, self, transform)
        self.said_at = self.runtime.clock()
        if not self.silent:
            self.runtime.wheel.set(self.timer, self.said_at + call.llm.heartbeat)

    def say(self, data: bytes) -> None:
        """Whole events for the client."""
        self.said_at = self.runtime.clock()
        if data:
            self.call.client.take_chunk(data)

    def end(self) -> None:
        """The body is complete."""
        self.stop()
        self.call.client.take_end([])

    def stop(self) -> None:
        """Nothing of ours comes any more."""
        self.timer.when = NEVER
        self.source = None

    def pause_source(self) -> None:
        self.full = True
        if self.source is not None:
            self.source.pause_source()

    def resume_source(self) -> None:
        self.full = False
        if self.source is not None:
            self.source.resume_source()

    def _on_timer(self) -> None:
        if not self.begun:
            self.begin(None)
            return
        now = self.runtime.clock()
        heartbeat = self.call.llm.heartbeat
        if now >= self.said_at + heartbeat and not self.full:
            self.say(self.writer().heartbeat())
        self.runtime.wheel.set(self.timer, max(self.said_at, now - heartbeat / 2) + heartbeat)


class Stream(Side):
    """The answer of one target as it comes. Subclasses read; here is when what happens.

    ready     completes with the first content, which has then left; fails with what came instead of it
    over      completes when all that has to be known of the answer is known; then ``fault`` says whether it broke
    usage     what the target has told so far; ``pieces`` counts events or characters for an estimate without it, and
              for what a target that broke off had not told yet
    finished  the target has said that the answer is complete
    """

    def __init__(self, call: ModelCall, reached: Reached, outlet: Outlet) -> None:
        runtime = call.runtime
        self.call = call
        self.runtime = runtime
        self.reached = reached
        self.connection = reached.connection
        self.outlet = outlet
        self.account: Account | None = None
        """Told how far the stream has come, once it has begun."""
        self.ready = Wait(runtime.steps)
        self.over = Wait(runtime.steps)
        self.ready.withdraw = self.stop
        self.over.withdraw = self.stop
        self.held: list[bytes] = []
        self.held_size = 0
        self.content = False
        self.flowing = False
        self.finished = False
        self.known = False
        self.stopped = False
        self.abandoned = False
        """The client has gone, and the answer is read on for its usage."""
        self.fault: Fault | None = None
        self.usage: Usage | None = None
        self.pieces = 0
        self.stop_word = ""
        self.served = ""
        self.first_at = 0.0
        self.heard_at = runtime.clock()
        self.drain_at = NEVER
        self.timer = Timer(self._on_timer)

    def start(self) -> None:
        """Take the body from now on."""
        self.outlet.source = self.connection
        self.runtime.wheel.set(self.timer, self._due(self.heard_at))
        self.runtime.steps.go(Stepper(self.runtime.steps, follow(self)))

    # -- what a subclass does ------------------------------------------------------------------------------------------

    def read(self, chunk: bytes) -> bytes:
        """What *chunk* means for the client, in whole events. Sets ``content``, ``finished``, ``usage``, ``fault``."""
        raise NotImplementedError

    def read_end(self) -> bytes:
        """The same for the end of the body."""
        raise NotImplementedError

    def lost(self) -> tuple[str, ...]:
        """What the client's dialect could not say of the answer."""
        return ()

    def comment(self, text: str) -> bytes:
        """A line that the client skips."""
        raise NotImplementedError

    def ending(self) -> bytes:
        """What ends a complete answer for the client."""
        raise NotImplementedError

    def broken(self, fault: Fault) -> bytes:
        """What ends an answer that broke."""
        raise NotImplementedError

    # -- from the target -----------------------------------------------------------------------------------------------

    def take_chunk(self, chunk: bytes) -> None:
        if self.known:
            return
        self.heard_at = self.runtime.clock()
        self._pass(self.read(chunk))
        account = self.account
        if account is not None:
            account.mark(len(chunk), self.usage, self.pieces)
        if self.finished and not self.known:
            if self.usage is not None:
                self._know()
            elif self.drain_at == NEVER:
                self.drain_at = self.heard_at + DRAIN
                self.runtime.wheel.set(self.timer, self.drain_at)

    def take_end(self, trailers: Fields) -> None:
        if not self.known:
            self._pass(self.read_end())
            if not self.known:
                self._know()

    def _pass(self, out: bytes) -> None:
        fault = self.fault
        if self.flowing:
            self.outlet.say(out)
        elif fault is None:
            if out:
                self.held.append(out)
                self.held_size += len(out)
            if self.content or self.held_size > HOLD:
                if self.outlet.speaker is not None:
                    self.stop()  # another target was faster, in this very turn
                    return
                self.outlet.speaker = self
                self.outlet.source = self.connection
                self.flowing = True
                self.first_at = self.runtime.clock()
                self.runtime.wheel.set(self.timer, self._due(self.first_at))
                self.outlet.begin(self.reached)
                self.outlet.say(b"".join(self.held))
                self.held = []
                self.ready.complete()
        if fault is not None and not self.known:
            self._know()

    def _know(self) -> None:
        """Nothing more is wanted of the target. The rest of its body is let by, so that the connection lives on."""
        self.known = True
        self.runtime.wheel.set(self.timer, self.runtime.clock() + REST)
        if self.flowing:
            self.over.complete()
        else:
            self.ready.fail(self.fault or empty_answer())

    def closed(self, fault: Fault | None) -> None:
        """The connection is done with the body, or is no more."""
        self.timer.when = NEVER
        if self.outlet.source is self.connection:
            self.outlet.source = None
        if self.stopped:
            self.reached.done("cancelled")
            return
        self.reached.done("ok" if fault is None or self.known else "gateway")
        if not self.known:
            self.fault = fault
            self._know()

    def stop(self) -> None:
        """The answer is not wanted any more: the target hears it at once (LLM 9.1), unless its vendor goes on and bills
        all the same. Then it is read to its usage, by nobody and not for long."""
        if self.flowing and not self.known and not self.reached.candidate.target.provider.stops_on_cancel:
            self.abandoned = True
            self.over = Wait(self.runtime.steps)
            self.outlet.full = False
            self.connection.resume_source()
            self.drain_at = min(self.runtime.clock() + ABANDONED, self.call.deadline)
            return
        if not self.stopped and not self.reached.over:
            self.stopped = True
            self.known = True
            self.connection.fail(Fault("client_closed", "The answer is not wanted any more."))

    # -- time ----------------------------------------------------------------------------------------------------------

    def _due(self, now: float) -> float:
        """When the target is too late, as things are."""
        call = self.call
        if not self.flowing:
            return min(self.reached.begun + first_wait(call, self.reached.candidate), call.deadline)
        heard = now if self.outlet.full else self.heard_at  # a slow client is not the target's fault
        return min(heard + min(call.llm.idle, self.reached.candidate.target.provider.idle), call.deadline)

    def _on_timer(self) -> None:
        now = self.runtime.clock()
        if self.known:
            if not self.reached.over:
                self.reached.done("ok")
                self.connection.close()
            return
        if now >= self.drain_at:
            self._know()
            return
        due = self._due(now)
        if now >= due:
            self.connection.fail(
                Fault("upstream_timeout", "The model stopped in its answer.", reason="idle", side=UPSTREAM,
                      retry=IF_IDEMPOTENT)
            )  # fmt: skip
        else:
            self.runtime.wheel.set(self.timer, min(due, self.drain_at))

    def learn(self, usage: Usage) -> None:
        """Usage counts up: the largest of each wins."""
        self.usage = largest(self.usage, usage)


async def follow(stream: Stream) -> None:
    """Take the body of *stream*'s answer to its end, whatever becomes of the call."""
    fault: Fault | None = None
    try:
        await stream.connection.relay(stream)
    except Fault as raised:
        fault = raised
    except Exception as error:
        stream.runtime.report(error)
        fault = Fault("bad_upstream", "The answer could not be read.", reason="internal", side=UPSTREAM)
    stream.closed(fault)


class PassedStream(Stream):
    """Bytes go through in whole events; a tap hears usage, content and the end (LLM 4).

    hide   the client did not ask for the usage chunk that we asked for
    """

    def __init__(
        self, call: ModelCall, reached: Reached, outlet: Outlet, framing: Framing, dialect: Dialect, hide: bool
    ) -> None:
        super().__init__(call, reached, outlet)
        self.decoder = decoder_of(framing)
        self.dialect = dialect
        self.voice = reached.candidate.voice
        self.framing = framing
        self.cutter = Cutter(framing)
        self.hide = hide
        self.elements = -1 if framing == call.framing else 0
        """Elements written so far where events go out as one array, -1 where bytes pass."""
        self.reader: EventReader | None = dialect.events_reader(self.voice, {})
        self.tail: list[bytes] = []
        self.tail_size = 0

    def read(self, chunk: bytes) -> bytes:
        whole = self.cutter.feed(chunk)
        return self._tap(whole, self.decoder.feed(whole)) if whole else b""

    def read_end(self) -> bytes:
        rest = self.cutter.close()
        events = self.decoder.feed(rest) if rest else []
        out = self._tap(rest, events + self.decoder.close())
        if not self.finished and self.fault is None:
            self.fault = cut_off()
        return out

    def _tap(self, whole: bytes, events: list[tuple[str, bytes]]) -> bytes:
        dialect = self.dialect
        voice = self.voice
        framing = self.framing
        finished = self.finished
        hidden: list[int] = []
        for number, (event, data) in enumerate(events):
            reader = self.reader
            if reader is not None:
                self._listen(reader.feed(event, data))
                if self.fault is not None:
                    return b""
            elif not self.finished and (is_error(event, data) or not is_whole(data)):
                self.fault = self._said(event, data)
                return (
                    self._as_elements(events[:number]) if self.elements >= 0 else first_events(whole, framing, number)
                )
            usage, content, ends = dialect.usage_of_event(event, data, voice)
            if usage is not None:
                self.learn(usage)
                if self.hide and NO_CHOICES(data) is not None:
                    hidden.append(number)
            if content:
                self.pieces += 1
                if reader is None:
                    self.content = True
            if ends:
                self.finished = True
        if self.content:
            self.reader = None
        if self.elements >= 0:
            whole = self._as_elements(events)
        elif hidden:
            whole = without(whole, len(events), hidden)
        if self.finished:
            self.tail.append(whole)
            self.tail_size += len(whole)
            if self.tail_size > TAIL:
                raise Fault("bad_upstream", "Too much came after the end.", reason="event_too_large", side=UPSTREAM)
            if not finished and not self.flowing:
                self.content = True  # an empty answer is one too
            return b""
        return whole

    def _listen(self, deltas: list[ChatDelta]) -> None:
        """Before content, the events are read in full: an error behind an early start can still go elsewhere."""
        for delta in deltas:
            if isinstance(delta, Failed):
                self.fault = fault_of(delta)
                return
            if is_content(delta):
                self.content = True

    def _said(self, event: str, data: bytes) -> Fault:
        """What an event that is none of an answer means."""
        for delta in self.dialect.events_reader(self.voice, {}).feed(event, data):
            if isinstance(delta, Failed):
                return fault_of(delta)
        return cut_off()

    def _as_elements(self, events: list[tuple[str, bytes]]) -> bytes:
        out: list[bytes] = []
        for _, data in events:
            out.append(encode_element(data, self.elements == 0))
            self.elements += 1
        return b"".join(out)

    def comment(self, text: str) -> bytes:
        return self.outlet.writer().comment(text)

    def ending(self) -> bytes:
        return b"".join(self.tail) + (b"]" if self.elements >= 0 else b"")

    def broken(self, fault: Fault) -> bytes:
        writer = self.outlet.writer()
        return writer.write(failed_of(fault)) + writer.write(END)


class BytesStream(Stream):
    """An answer that nobody here reads: speech, pictures, files. It leaves as it comes; of events, usage is heard."""

    def __init__(self, call: ModelCall, reached: Reached, outlet: Outlet) -> None:
        super().__init__(call, reached, outlet)
        kind = reached.head.get("content-type") or ""
        self.decoder = SseDecoder() if kind.startswith("text/event-stream") else None
        self.size = 0
        self.content = True
        self.billed = call.surface.kind == "raw"
        """A model may have said it: its usage is looked for, its length counted."""
        self.answer: list[bytes] | None = [] if self.billed and kind.startswith("application/json") else None

    def read(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        if self.billed:
            self.pieces = self.size // TOKEN_BYTES
        if self.answer is not None:
            self.answer.append(chunk)
            if self.size > READ_FOR_USAGE:
                self.answer = None
        if self.decoder is not None:
            for _, data in self.decoder.feed(chunk):
                if b'"usage"' in data:
                    usage = usage_of(self.call.surface.kind, {}, data, "json")
                    if usage is not None:
                        self.learn(usage)
        return chunk

    def read_end(self) -> bytes:
        if self.usage is None:
            body = b"".join(self.answer or ())
            self.usage = usage_of(self.call.surface.kind, self.call.members, body, "json" if body else "")
        self.finished = True
        return b""

    def comment(self, text: str) -> bytes:
        return b""

    def ending(self) -> bytes:
        return b""

    def broken(self, fault: Fault) -> bytes:
        self.call.client.cut()
        return b""


def without(whole: bytes, count: int, hidden: list[int]) -> bytes:
    """*whole* without the events of these numbers; comments between them stay."""
    kept: list[bytes] = []
    number = 0
    for raw in split_events(whole):
        if b"data" in raw and not raw.startswith(b":"):
            if number in hidden:
                number += 1
                continue
            number += 1
        kept.append(raw)
    return b"".join(kept)


def is_content(delta: ChatDelta) -> bool:
    """Is this something a client could have used? Only then nobody else may answer any more."""
    if isinstance(delta, Piece):
        return bool(delta.text)
    if isinstance(delta, Open):
        return delta.kind not in SILENT_PARTS
    return isinstance(delta, Stopped)


def is_error(event: str, data: bytes) -> bool:
    """An error that a target sends inside its stream, by its first bytes. The client hears of it in our words."""
    if event == "error" or event.startswith("exception:"):
        return True
    return data[:9] == b'{"error":' and not data[9:14].lstrip().startswith(b"null")


def is_whole(data: bytes) -> bool:
    """A glance at an event's end, which is where one sees that it was broken off."""
    return data[-1:] == b"}" or data.rstrip()[-1:] in (b"}", b"]", b"")


def fault_of(delta: Failed) -> Fault:
    """What a vendor says of the request reaches the client, what it says of itself does not (LLM 5.11)."""
    detail = delta.detail if delta.code in TOLD else "The model failed in its answer."
    return Fault(delta.code, detail, reason=delta.reason, side=UPSTREAM, retry=IF_IDEMPOTENT,
                 retry_after=delta.retry_after)  # fmt: skip


def failed_of(fault: Fault) -> Failed:
    return Failed(fault.code, fault.reason, fault.detail, fault.retry_after)


def empty_answer() -> Fault:
    return Fault("bad_upstream", "The model's answer was empty.", reason="empty", side=UPSTREAM, retry=IF_IDEMPOTENT)


def cut_off() -> Fault:
    return Fault("bad_upstream", "The model's answer broke off.", reason="incomplete_stream", side=UPSTREAM,
                 retry=IF_IDEMPOTENT)  # fmt: skip
