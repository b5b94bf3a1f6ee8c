"""A stream of Cohere's v2 chat <-> deltas (LLM 5.10). Two small state machines; neither holds more than one event."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.exchange.chat import (
    END,
    ChatDelta,
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
    Stop,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.exchange.fault import CODES
from tidegate.rules.cohere_messages import (
    ID_SIZE,
    NAME,
    PLAN,
    STOP_WORDS,
    STOPS,
    citation_object,
    read_citation,
    read_usage,
    usage_object,
)
from tidegate.rules.tool_ids import fit_id
from tidegate.rules.upstream_fault import public
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_object import WrongShape, encode, is_object, items
from tidegate.wire.sse import encode_comment, encode_event

MOST_PARTS: Final = 4096
_NOTHING: Final = msgspec.Raw(b"")


class _Content(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: _Content | list[Any] | None = None
    tool_plan: str | None = None
    tool_calls: _Call | list[_Call] | None = None
    citations: msgspec.Raw = _NOTHING


class _Delta(msgspec.Struct):
    message: _Message | None = None
    finish_reason: str | None = None
    usage: msgspec.Raw = _NOTHING
    error: str | None = None


class _Event(msgspec.Struct):
    type: str = ""
    id: str | None = None
    index: int | None = None
    delta: _Delta | None = None


_event: Final = msgspec.json.Decoder(_Event).decode


def broken_stop(word: str, error: str) -> Failed | None:
    """The failure that the finish reason *word* tells; None when it tells none."""
    if word == "ERROR":
        return Failed("bad_upstream", "model_error", public(error) or "The model broke off with an error.")
    if word == "TIMEOUT":
        return Failed("upstream_timeout", "upstream_timeout", "The provider took too long.")
    return None


def read_stop(word: str, calls: bool) -> tuple[Stop, Extra | None]:
    """The finish reason *word*, and the word itself when it is new. *calls*: the answer holds calls, which decide."""
    stop = STOPS.get(word, "stop")
    extra = Extra(NAME, (("finish_reason", encode(word)),)) if word and word not in STOPS else None
    if calls and stop == "stop":
        stop = "tool_calls"
    elif stop == "tool_calls" and not calls:
        stop = "stop"
    return stop, extra


# -- reading -----------------------------------------------------------------------------------------------------------


class CohereEventReader:
    """Reads one stream. *vendor* and *model* answer; *aliases*: tool name on the wire -> the client's; *renamed*: usage
    members. A text stays open behind its end till the next part begins: citations come late."""

    __slots__ = ("_aliases", "_calls", "_contents", "_ended", "_heard", "_model", "_open", "_parts", "_plan",
                 "_renamed", "_started", "_text", "_vendor")  # fmt: skip

    def __init__(self, vendor: str, model: str, aliases: dict[str, str], renamed: dict[str, str]) -> None:
        self._vendor = vendor
        self._model = model
        self._aliases = aliases
        self._renamed = renamed
        self._parts = 0
        self._open: set[int] = set()
        self._contents: dict[int, tuple[int, str]] = {}
        self._calls: dict[int, int] = {}
        self._heard: set[int] = set()
        self._plan = -1
        self._text = -1
        self._started = False
        self._ended = False

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        """One event (``ports.dialect.EventReader``)."""
        if self._ended or not data or data == b"[DONE]":
            return []
        try:
            found = _event(data)
            return self._read(found.type or event, found)
        except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
            return self._fail(Failed("bad_upstream", "protocol", "An event of the stream is broken."))

    def close(self) -> list[ChatDelta]:
        """The wire has ended."""
        if self._ended:
            return []
        return self._fail(Failed("bad_upstream", "incomplete_stream", "The stream ended before its message did."))

    def _fail(self, failed: Failed) -> list[ChatDelta]:
        self._ended = True
        first: list[ChatDelta] = [] if self._started else [Start(model=self._model)]
        return [*first, failed, END]

    def _read(self, kind: str, event: _Event) -> list[ChatDelta]:
        deltas: list[ChatDelta] = []
        message = event.delta.message if event.delta is not None and event.delta.message is not None else _Message()
        index = event.index or 0
        content = message.content if isinstance(message.content, _Content) else _Content()
        if kind == "content-delta":
            if index not in self._contents:
                self._begin_content(index, content, deltas)
            part, flow = self._contents[index]
            text = content.thinking if flow == "thought" else content.text
            if text and part in self._open:
                deltas.append(Piece(0, part, text))
        elif kind == "message-start":
            if not self._started:
                self._started = True
                deltas.append(Start(id=event.id or "", model=self._model))
        elif kind == "message-end":
            return self._end(event.delta or _Delta())
        elif not self._started:
            if kind not in ("debug", ""):
                return self._fail(Failed("bad_upstream", "protocol", "The stream does not begin with its message."))
        elif kind == "content-start":
            self._begin_content(index, content, deltas)
            part, flow = self._contents[index]
            text = content.thinking if flow == "thought" else content.text
            if text:
                deltas.append(Piece(0, part, text))
        elif kind == "content-end":
            part, flow = self._contents.get(index, (-1, ""))
            if flow == "thought":
                self._close(part, deltas)
        elif kind == "tool-plan-delta":
            if message.tool_plan:
                if self._plan < 0:
                    head = Thought(text="", origin=Origin(self._vendor), extra=PLAN)
                    self._plan = self._new("thought", head, deltas)
                deltas.append(Piece(0, self._plan, message.tool_plan))
        elif kind in ("tool-call-start", "tool-call-delta", "tool-call-end"):
            self._call(kind, index, message, deltas)
        elif kind == "citation-start" and message.citations:
            self._cite(bytes(message.citations), deltas)
        return deltas

    def _begin_content(self, index: int, content: _Content, deltas: list[ChatDelta]) -> None:
        if not self._started:
            raise WrongShape("type", "message-start")
        thought = content.type == "thinking" or (content.type == "" and content.thinking is not None)
        if thought:
            part = self._new("thought", Thought(text="", origin=Origin(self._vendor)), deltas)
        else:
            part = self._new("text", Text(text=""), deltas)
            self._text = part
        self._contents[index] = (part, "thought" if thought else "text")

    def _new(self, kind: PartKind, head: Part, deltas: list[ChatDelta]) -> int:
        """Opens the next part; what flowed before has ended."""
        if self._parts >= MOST_PARTS:
            raise WrongShape("index", "smaller")
        for before in (self._text, self._plan):
            self._close(before, deltas)
        part = self._parts
        self._parts += 1
        self._open.add(part)
        deltas.append(Open(0, part, kind, head))
        return part

    def _close(self, part: int, deltas: list[ChatDelta]) -> None:
        if part in self._open:
            self._open.remove(part)
            deltas.append(Close(0, part))

    def _call(self, kind: str, index: int, message: _Message, deltas: list[ChatDelta]) -> None:
        told = message.tool_calls
        call = told if isinstance(told, _Call) else told[0] if told else _Call()
        function = call.function or _Function()
        if kind == "tool-call-start":
            name = function.name or ""
            head = ToolCall(id=call.id or "", name=self._aliases.get(name, name), arguments="")
            self._calls[index] = self._new("tool_call", head, deltas)
        part = self._calls.get(index, -1)
        if part not in self._open:
            raise WrongShape("index", "of an open call")
        if function.arguments:
            self._heard.add(part)
            deltas.append(Piece(0, part, function.arguments))
        if kind == "tool-call-end":
            self._end_call(part, deltas)

    def _end_call(self, part: int, deltas: list[ChatDelta]) -> None:
        if part in self._open and part not in self._heard:
            deltas.append(Piece(0, part, "{}"))
        self._close(part, deltas)

    def _cite(self, raw: bytes, deltas: list[ChatDelta]) -> None:
        if self._text not in self._open:
            return
        told = [raw] if is_object(raw) else items(raw, "citations")
        deltas += [Cite(0, self._text, read_citation(one, "citations")) for one in told]

    def _end(self, delta: _Delta) -> list[ChatDelta]:
        deltas: list[ChatDelta] = []
        word = delta.finish_reason or ""
        failed = broken_stop(word, delta.error or "")
        if failed is not None:
            return self._fail(failed)
        if not self._started:
            return self._fail(Failed("bad_upstream", "empty_answer", "The stream held no answer."))
        for part in sorted(self._open):
            if part in self._calls.values():
                self._end_call(part, deltas)
            else:
                self._close(part, deltas)
        stop, extra = read_stop(word, bool(self._calls))
        deltas.append(Stopped(0, stop, extra=extra))
        usage = read_usage(bytes(delta.usage), self._renamed)
        if usage is not None:
            deltas.append(Used(usage))
        self._ended = True
        deltas.append(END)
        return deltas


# -- writing -----------------------------------------------------------------------------------------------------------

DONE: Final = b"data: [DONE]\n\n"
_PIECES: Final[dict[str, tuple[str, bytes]]] = {
    "text": ("content-delta",
             b'{"type":"content-delta","index":%d,"delta":{"message":{"content":{"text":%b}}}}'),
    "thought": ("content-delta",
                b'{"type":"content-delta","index":%d,"delta":{"message":{"content":{"thinking":%b}}}}'),
    "tool_call": ("tool-call-delta",
                  b'{"type":"tool-call-delta","index":%d,"delta":{"message":{"tool_calls":{"function":'
                  b'{"arguments":%b}}}}}'),
}  # fmt: skip
_PLAN: Final = b'{"type":"tool-plan-delta","delta":{"message":{"tool_plan":%b}}}'


class CohereEventWriter:
    """Writes one stream for a client. Only choice 0 can be said. *id*: of the message where ``Start`` names none."""

    __slots__ = ("_calls", "_citations", "_contents", "_id", "_over", "_parts", "_stopped", "_usage", "losses")

    def __init__(self, id: str) -> None:
        self._id = id
        self._parts: dict[int, tuple[str, int]] = {}
        self._contents = 0
        self._calls = 0
        self._citations = 0
        self._usage: Usage | None = None
        self._stopped = Stopped(0, "stop")
        self._over = False
        self.losses: list[str] = []

    def write(self, delta: ChatDelta) -> bytes:
        """The wire bytes of *delta* (``ports.dialect.EventWriter``)."""
        if isinstance(delta, Piece):
            if delta.logprobs:
                self._lose("logprobs")
            return self._piece(delta) if delta.choice == 0 else b""
        if isinstance(delta, Open):
            return self._open(delta) if delta.choice == 0 else self._lose("n")
        if isinstance(delta, Close):
            return self._close(delta.part) if delta.choice == 0 else b""
        if isinstance(delta, Sign):
            return self._lose("thinking.signature")
        if isinstance(delta, Cite):
            return self._cite(delta) if delta.choice == 0 else b""
        if isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
        elif isinstance(delta, Stopped):
            if delta.choice == 0:
                self._stopped = delta
        elif isinstance(delta, Start):
            return self._start(delta)
        elif isinstance(delta, Failed):
            return self._fail(delta)
        elif isinstance(delta, End):
            return self._end()
        return b""

    def comment(self, text: str) -> bytes:
        """A line clients skip."""
        return encode_comment(text)

    def heartbeat(self) -> bytes:
        """An empty comment."""
        return b":\n\n"

    def _lose(self, what: str) -> bytes:
        if what not in self.losses:
            self.losses.append(what)
        return b""

    def _start(self, delta: Start) -> bytes:
        if delta.usage is not None:
            self._usage = largest(self._usage, delta.usage)
        self._id = message_id(delta.id or self._id)
        empty: dict[str, object] = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [],
                                    "citations": []}  # fmt: skip
        return self._event({"type": "message-start", "id": self._id, "delta": {"message": empty}})

    def _event(self, body: dict[str, object]) -> bytes:
        return encode_event(str(body["type"]), encode(body))

    def _open(self, delta: Open) -> bytes:
        head = delta.head
        if isinstance(head, ToolCall):
            if head.signature:
                self._lose("thinking.signature")
            self._parts[delta.part] = ("tool_call", self._calls)
            call = {"id": fit_id(head.id, ID_SIZE), "type": "function",
                    "function": {"name": head.name, "arguments": ""}}  # fmt: skip
            self._calls += 1
            return self._event({"type": "tool-call-start", "index": self._calls - 1,
                                "delta": {"message": {"tool_calls": call}}})  # fmt: skip
        if isinstance(head, Thought) and head.extra == PLAN:
            self._parts[delta.part] = ("plan", 0)
            return b""
        if delta.kind == "thought":
            flow, content = "thought", {"type": "thinking", "thinking": ""}
        elif delta.kind in ("text", "refusal"):
            flow, content = "text", {"type": "text", "text": ""}
        else:
            return self._lose("thinking" if delta.kind == "sealed_thought" else f"parts.{delta.kind}")
        self._parts[delta.part] = (flow, self._contents)
        self._contents += 1
        first = self._event({"type": "content-start", "index": self._contents - 1,
                             "delta": {"message": {"content": content}}})  # fmt: skip
        text = head.text if isinstance(head, Text | Thought) else ""
        return first + self._piece(Piece(0, delta.part, text)) if text else first

    def _piece(self, delta: Piece) -> bytes:
        flow, index = self._parts.get(delta.part, ("", 0))
        if flow == "plan":
            return encode_event("tool-plan-delta", _PLAN % encode(delta.text))
        if not flow:
            return b""
        kind, form = _PIECES[flow]
        return encode_event(kind, form % (index, encode(delta.text)))

    def _close(self, part: int) -> bytes:
        flow, index = self._parts.pop(part, ("", 0))
        if flow == "tool_call":
            return self._event({"type": "tool-call-end", "index": index})
        if flow in ("text", "thought"):
            return self._event({"type": "content-end", "index": index})
        return b""

    def _cite(self, delta: Cite) -> bytes:
        flow, index = self._parts.get(delta.part, ("", 0))
        if flow != "text":
            return self._lose("citations")
        at = self._citations
        self._citations += 1
        told = citation_object(delta.citation, index)
        return self._event({"type": "citation-start", "index": at, "delta": {"message": {"citations": told}}}) + (
            self._event({"type": "citation-end", "index": at})
        )

    def _fail(self, failed: Failed) -> bytes:
        if self._over:
            return b""
        self._over = True
        code = failed.code if failed.code in CODES else "bad_upstream"
        word = "TIMEOUT" if code in ("upstream_timeout", "deadline_exceeded") else "ERROR"
        delta = {"finish_reason": word, "error": failed.detail or CODES[code].title}
        return self._event({"type": "message-end", "id": self._id, "delta": delta})

    def _end(self) -> bytes:
        if self._over:
            return b""
        if self._stopped.stop == "broken":
            return self._fail(Failed("bad_upstream", "model_error", "The model broke off with an error."))
        self._over = True
        if self._stopped.stop == "pause":
            self._lose("pause")
        delta: dict[str, object] = {
            "finish_reason": STOP_WORDS[self._stopped.stop], "usage": usage_object(self._usage or Usage()),
        }  # fmt: skip
        extra = self._stopped.extra
        if extra is not None and extra.dialect == NAME:
            delta.update({name: msgspec.Raw(value) for name, value in extra.members})
        return self._event({"type": "message-end", "id": self._id, "delta": delta}) + DONE


def message_id(id: str) -> str:
    """*id* when it looks like one of this dialect (a UUID), else one derived from it."""
    if len(id) == 36 and id.count("-") == 4:
        return id
    made = fit_id(f"{id}\x00", 32, "").encode().hex()
    return f"{made[:8]}-{made[8:12]}-{made[12:16]}-{made[16:20]}-{made[20:32]}"
