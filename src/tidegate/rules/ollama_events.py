"""A stream of Ollama's objects <-> deltas (LLM 5.10): one JSON object a line, the last with ``done: true``.

A chat's words stand in ``message``, a generation's beside (``plain``).
"""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    ChatRequest,
    Cite,
    Close,
    End,
    Extra,
    Failed,
    Open,
    Origin,
    Part,
    PartKind,
    Piece,
    Sign,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.exchange.fault import CODES
from tidegate.rules.losses import Losses
from tidegate.rules.ollama_messages import (
    NAME,
    STOP_WORDS,
    OllamaTurns,
    moment,
    read_call,
    read_image,
    read_moment,
    read_stop,
    read_usage,
    usage_members,
)
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_object import NULL, WrongShape, encode, members, raw_of
from tidegate.wire.ndjson import encode_line

MOST_PARTS: Final = 4096
CALL_SIZE: Final = 1 << 20
"""Bytes of one call's arguments that are held till it is whole: calls go out in one piece."""
_NOTHING: Final = msgspec.Raw(b"")


class _Words(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    images: list[str] | None = None


class _Object(msgspec.Struct):
    model: str = ""
    created_at: str = ""
    message: _Words | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool = False
    done_reason: str | None = None
    logprobs: msgspec.Raw = _NOTHING
    error: str | None = None


_object: Final = msgspec.json.Decoder(_Object).decode


def failed_of(error: str) -> Failed:
    """The failure that an ``error`` inside a stream or a 200 tells."""
    fault = upstream_fault(500, "", error, {}, 0.0)
    return Failed(fault.code, fault.reason, fault.detail)


class OllamaEventReader:
    """Reads one stream. *vendor* answers; *aliases*: tool name on the wire -> the client's; *renamed*: counts."""

    __slots__ = ("_aliases", "_calls", "_ended", "_flow", "_part", "_parts", "_renamed", "_seed", "_started", "_vendor")

    def __init__(self, vendor: str, aliases: dict[str, str], renamed: dict[str, str]) -> None:
        self._vendor = vendor
        self._aliases = aliases
        self._renamed = renamed
        self._seed = ""
        self._parts = 0
        self._calls = 0
        self._flow: PartKind | None = None
        self._part = -1
        self._started = False
        self._ended = False

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        """One object (``ports.dialect.EventReader``)."""
        if self._ended:
            return []
        try:
            return self._read(_object(data), data)
        except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
            return self._fail(Failed("bad_upstream", "protocol", "An object of the stream is broken."))

    def close(self) -> list[ChatDelta]:
        """The wire has ended."""
        if self._ended:
            return []
        return self._fail(Failed("bad_upstream", "incomplete_stream", "The stream ended before its last object."))

    def _fail(self, failed: Failed) -> list[ChatDelta]:
        self._ended = True
        first: list[ChatDelta] = [] if self._started else [Start()]
        return [*first, failed, END]

    def _read(self, found: _Object, data: bytes) -> list[ChatDelta]:
        if found.error is not None:
            return self._fail(failed_of(found.error))
        deltas: list[ChatDelta] = []
        if not self._started:
            self._started = True
            self._seed = found.created_at
            deltas.append(Start(model=found.model, created=read_moment(found.created_at)))
        words = found.message
        thinking = words.thinking if words is not None else found.thinking
        text = words.content if words is not None else found.response
        if thinking:
            self._grow("thought", thinking, b"", deltas)
        if text:
            logprobs = bytes(found.logprobs)
            self._grow("text", text, b"" if logprobs == NULL else logprobs, deltas)
        for image in (words.images if words is not None else None) or ():
            self._whole("image", read_image(image), deltas)
        for raw in (words.tool_calls if words is not None else None) or ():
            call = read_call(bytes(raw), "tool_calls", self._seed, self._calls, self._aliases)
            self._calls += 1
            self._whole("tool_call", call, deltas)
        if found.done:
            self._end(found, data, deltas)
        return deltas

    def _new(self, kind: PartKind, head: Part, deltas: list[ChatDelta]) -> int:
        if self._parts >= MOST_PARTS:
            raise WrongShape("message", "smaller")
        self._stop_flow(deltas)
        part = self._parts
        self._parts += 1
        deltas.append(Open(0, part, kind, head))
        return part

    def _grow(self, kind: PartKind, text: str, logprobs: bytes, deltas: list[ChatDelta]) -> None:
        if self._flow != kind:
            head: Part = Text(text="") if kind == "text" else Thought(text="", origin=Origin(self._vendor))
            self._part = self._new(kind, head, deltas)
            self._flow = kind
        deltas.append(Piece(0, self._part, text, logprobs))

    def _stop_flow(self, deltas: list[ChatDelta]) -> None:
        if self._flow is not None:
            deltas.append(Close(0, self._part))
            self._flow = None

    def _whole(self, kind: PartKind, part: Part, deltas: list[ChatDelta]) -> None:
        if isinstance(part, ToolCall):
            number = self._new(kind, msgspec.structs.replace(part, arguments=""), deltas)
            deltas.append(Piece(0, number, part.arguments))
        else:
            number = self._new(kind, part, deltas)
        deltas.append(Close(0, number))

    def _end(self, found: _Object, data: bytes, deltas: list[ChatDelta]) -> None:
        self._stop_flow(deltas)
        stop, extra = read_stop(found.done_reason or "", self._calls > 0)
        deltas.append(Stopped(0, stop, extra=extra))
        usage = read_usage(members(data), self._renamed)
        if usage is not None:
            deltas.append(Used(usage))
        self._ended = True
        deltas.append(END)


class OllamaEventWriter:
    """Writes one stream for a client. Only choice 0 can be said; a call goes out when it is whole. *now*: seconds since
    the epoch where ``Start`` names none; *plain*: the client asked for a generation, not a chat."""

    __slots__ = ("_asked", "_calls", "_heads", "_losses", "_now", "_over", "_plain", "_size", "_stopped", "_texts",
                 "_usage", "_whole", "_word", "losses")  # fmt: skip

    def __init__(self, asked: ChatRequest, now: int, plain: bool = False) -> None:
        self._asked = asked
        self._now = now
        self._plain = plain
        self._losses = Losses()
        self._word = b""
        self._heads: dict[int, Part] = {}
        self._texts: dict[int, list[str]] = {}
        self._whole: set[int] = set()
        self._size = 0
        self._calls = 0
        self._usage: Usage | None = None
        self._stopped = Stopped(0, "stop")
        self._over = False
        self.losses = self._losses.told

    def write(self, delta: ChatDelta) -> bytes:
        """The wire bytes of *delta* (``ports.dialect.EventWriter``)."""
        if self._over:
            return b""
        if isinstance(delta, Piece):
            if delta.logprobs:
                self._losses.lose("logprobs")
            return self._piece(delta) if delta.choice == 0 else b""
        if isinstance(delta, Open):
            return self._open(delta)
        if isinstance(delta, Close):
            return self._close(delta.part) if delta.choice == 0 else b""
        if isinstance(delta, Sign):
            self._losses.lose("thinking.signature")
        elif isinstance(delta, Cite):
            self._losses.lose("citations")
        elif isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
        elif isinstance(delta, Stopped):
            if delta.choice == 0:
                self._stopped = delta
        elif isinstance(delta, Start):
            if delta.usage is not None:
                self._usage = largest(self._usage, delta.usage)
            head = {"model": delta.model or self._asked.model, "created_at": moment(delta.created or self._now)}
            self._word = encode(head)[:-1]
        elif isinstance(delta, Failed):
            return self._fail(delta)
        elif isinstance(delta, End):
            return self._end()
        return b""

    def comment(self, text: str) -> bytes:
        """Lines are objects: there are no comments."""
        return b""

    def heartbeat(self) -> bytes:
        """Nothing may stand between objects."""
        return b""

    def _open(self, delta: Open) -> bytes:
        if delta.choice:
            self._losses.lose("n")
        elif delta.kind in ("text", "refusal", "thought", "tool_call"):
            self._heads[delta.part] = delta.head
            if isinstance(delta.head, Text | Thought) and delta.head.text:
                return self._piece(Piece(0, delta.part, delta.head.text))
        else:
            self._losses.lose("thinking" if delta.kind == "sealed_thought" else f"parts.{delta.kind}")
        return b""

    def _piece(self, delta: Piece) -> bytes:
        head = self._heads.get(delta.part)
        if head is None or not delta.text:
            return b""
        if isinstance(head, ToolCall):
            self._size += len(delta.text)
            if self._size > CALL_SIZE:
                return self._fail(Failed("bad_upstream", "event_too_large", "The arguments of a call are too large."))
            self._texts.setdefault(delta.part, []).append(delta.text)
            return b""
        if isinstance(head, Thought):
            return self._say(b'"thinking":%b' % encode(delta.text))
        return self._say(b"", encode(delta.text))

    def _say(self, more: bytes, text: bytes = b'""') -> bytes:
        comma = b"," if more else b""
        if self._plain:
            return b'%b,"response":%b%b%b,"done":false}\n' % (self._word, text, comma, more)
        form = b'%b,"message":{"role":"assistant","content":%b%b%b},"done":false}\n'
        return form % (self._word, text, comma, more)

    def _close(self, part: int) -> bytes:
        if not isinstance(self._heads.get(part), ToolCall):
            self._heads.pop(part, None)
            return b""
        self._whole.add(part)
        told = b""
        for number, head in list(self._heads.items()):
            if isinstance(head, ToolCall):
                if number not in self._whole:  # calls go out in the order they were opened
                    break
                del self._heads[number]
                told += self._call(number, head)
        return told

    def _call(self, part: int, head: ToolCall) -> bytes:
        self._whole.discard(part)
        text = "".join(self._texts.pop(part, ()))
        self._size -= len(text)
        if self._plain:
            self._losses.lose("tool_calls")
            return b""
        if head.signature:
            self._losses.lose("thinking.signature")
        call = msgspec.structs.replace(head, arguments=text or head.arguments or "{}", signature=b"")
        turns = OllamaTurns(None, frozenset(), frozenset(), self._losses)
        self._calls += 1
        return self._say(encode({"tool_calls": [turns.call(call, "answer", "", -1)]})[1:-1])

    def _fail(self, failed: Failed) -> bytes:
        self._over = True
        code = failed.code if failed.code in CODES else "bad_upstream"
        return encode_line(encode({"error": failed.detail or CODES[code].title}))

    def _end(self) -> bytes:
        if self._stopped.stop == "broken":
            return self._fail(Failed("bad_upstream", "model_error", "The model broke off."))
        self._over = True
        if self._stopped.stop == "pause":
            self._losses.lose("pause")
        last = done_members(self._stopped.stop, self._stopped.extra, self._usage)
        words = b'"response":""' if self._plain else b'"message":{"role":"assistant","content":""}'
        return encode_line(b"%b,%b,%b" % (self._word, words, encode(last)[1:]))


def done_members(stop: str, extra: Extra | None, usage: Usage | None) -> dict[str, object]:
    """What stands at the end of an answer."""
    said: dict[str, object] = {"done": True, "done_reason": "length" if stop in STOP_WORDS else "stop"}
    if extra is not None and extra.dialect == NAME:
        told = dict(extra.members)
        if "done_reason" in told:
            said["done_reason"] = raw_of(told["done_reason"])
    said.update(usage_members(usage))
    return said
