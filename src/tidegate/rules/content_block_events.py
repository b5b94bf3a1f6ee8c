"""A stream in Anthropic's words <-> deltas (LLM 5.10). Two small state machines; neither holds more than one event, but
for the input of a server tool's call, whose block goes on whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tidegate.exchange.chat import (
    END,
    PING,
    ChatDelta,
    ChatRequest,
    Cite,
    Cited,
    Close,
    Extra,
    Failed,
    Opaque,
    Open,
    Origin,
    Part,
    Piece,
    Ping,
    SealedThought,
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
from tidegate.exchange.chat import End as EndDelta
from tidegate.exchange.fault import Fault
from tidegate.rules.content_block_usage import read_usage, usage_object
from tidegate.rules.content_blocks import (
    ID_SIZE,
    NAME,
    OWN,
    citation_object,
    read_block,
    read_citation,
)
from tidegate.rules.sealed_origin import marked
from tidegate.rules.tool_ids import fit_id
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_object import NULL, WrongShape, encode, is_object, is_string, members, raw_of, string
from tidegate.wire.sse import encode_comment, encode_event

STOPS: Final[dict[str, Stop]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_length",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
}
STOP_WORDS: Final[dict[str, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_length": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
}
HELD_SIZE: Final = 1 << 20
"""Bytes of a server tool's input that may be held till its block ends."""


def read_stop(word: str, details: bytes, calls: bool) -> tuple[Stop, Extra | None]:
    """The stop reason *word* with its *details*, and what of both has no neutral name (LLM 5.8). *calls*: the answer
    holds calls, which decide whatever a plain end says."""
    stop = STOPS.get(word, "stop")
    kept: list[tuple[str, bytes]] = []
    if word not in STOPS:
        kept.append(("stop_reason", encode(word)))
    if details and details != NULL:
        kept.append(("stop_details", details))
    elif stop == "refusal":
        stop = "content_filter"
    if calls and stop == "stop":
        stop = "tool_calls"
    return stop, Extra(NAME, tuple(kept)) if kept else None


def stop_members(stop: Stop, stop_sequence: str, extra: Extra | None) -> dict[str, object]:
    """``stop_reason`` and its kin for a client."""
    written: dict[str, object] = {
        "stop_reason": STOP_WORDS.get(stop, "end_turn"),
        "stop_sequence": stop_sequence or None,
    }
    if stop == "refusal":
        written["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
    if extra is not None and extra.dialect == NAME:
        for name, value in extra.members:
            written[name] = raw_of(value)
    return written


# -- reading -----------------------------------------------------------------------------------------------------------


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    signature: str = ""
    citation: msgspec.Raw = msgspec.Raw(b"")
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: msgspec.Raw = msgspec.Raw(b"")


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None
    content_block: msgspec.Raw = msgspec.Raw(b"")
    message: msgspec.Raw = msgspec.Raw(b"")
    usage: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _DeltaMembers(msgspec.Struct):
    delta: dict[str, msgspec.Raw] = {}


_event: Final = msgspec.json.Decoder(_Event).decode
_delta_members: Final = msgspec.json.Decoder(_DeltaMembers).decode


class _Block:
    """An open block. ``part`` -1 while it is held to go on whole; ``given``: input that came with its start; ``heard``:
    pieces have come; ``size`` of what is held."""

    __slots__ = ("given", "heard", "held", "kind", "part", "pieces", "size")

    def __init__(self, kind: str, part: int) -> None:
        self.kind = kind
        self.part = part
        self.given = b""
        self.heard = False
        self.held: dict[str, bytes] = {}
        self.pieces: list[str] = []
        self.size = 0


class BlockEventReader:
    """Reads one stream. *vendor* made the seals; *aliases*: tool name on the wire -> the client's ("" for the tool that
    stands for structured output); *renamed*: usage members; *fault_of* reads an ``error`` object."""

    __slots__ = ("_aliases", "_blocks", "_calls", "_ended", "_fault_of", "_parts", "_renamed", "_started", "_stopped",
                 "_vendor")  # fmt: skip

    def __init__(
        self, vendor: str, aliases: dict[str, str], renamed: dict[str, str], fault_of: Callable[[bytes], Fault]
    ) -> None:
        self._vendor = vendor
        self._aliases = aliases
        self._renamed = renamed
        self._fault_of = fault_of
        self._blocks: dict[int, _Block] = {}
        self._parts = 0
        self._calls = False
        self._started = False
        self._stopped = False
        self._ended = False

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        """One event (``ports.dialect.EventReader``)."""
        if self._ended:
            return []
        try:
            return self._read(_event(data), data)
        except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
            return self._fail("protocol", "An event of the stream is broken.")

    def close(self) -> list[ChatDelta]:
        """The wire has ended."""
        if self._ended:
            return []
        return self._fail("incomplete_stream", "The stream ended before its message did.")

    def _fail(self, reason: str, detail: str) -> list[ChatDelta]:
        self._ended = True
        deltas: list[ChatDelta] = [] if self._started else [Start()]
        return [*deltas, Failed("bad_upstream", reason, detail), END]

    def _read(self, event: _Event, data: bytes) -> list[ChatDelta]:
        kind = event.type
        if kind == "content_block_delta":
            block = self._blocks.get(event.index)
            if block is None or event.delta is None:
                return self._fail("protocol", "The stream adds to a block that is not open.")
            return self._piece(block, event.delta, data)
        if kind == "ping":
            return [PING] if self._started else []
        if kind == "error":
            return self._error(bytes(event.error))
        if kind == "message_start":
            return self._start(bytes(event.message))
        if not self._started:
            return self._fail("protocol", "The stream does not begin with its message.")
        if kind == "content_block_start":
            return self._open(event.index, bytes(event.content_block))
        if kind == "content_block_stop":
            return self._close(event.index)
        if kind == "message_delta":
            return self._end_of_message(event)
        if kind == "message_stop":
            deltas = self._close_all()
            if not self._stopped:
                deltas.append(Stopped(0, "tool_calls" if self._calls else "stop"))
            self._ended = True
            deltas.append(END)
            return deltas
        return []

    def _start(self, raw: bytes) -> list[ChatDelta]:
        if self._started:
            return []
        message = members(raw, "message")
        self._started = True
        usage = read_usage(message.get("usage", b""), self._renamed)
        id, model = message.get("id", b""), message.get("model", b"")
        return [Start(string(id) if is_string(id) else "", string(model) if is_string(model) else "", 0, usage)]

    def _error(self, raw: bytes) -> list[ChatDelta]:
        fault = self._fault_of(raw)
        self._ended = True
        deltas: list[ChatDelta] = [] if self._started else [Start()]
        return [*deltas, Failed(fault.code, fault.reason, fault.detail, fault.retry_after), END]

    def _open(self, index: int, raw: bytes) -> list[ChatDelta]:
        if self._stopped:
            return self._fail("protocol", "A block begins after the message has stopped.")
        deltas = self._close(index)
        part = read_block(raw, "content_block", self._vendor, self._aliases)
        if not isinstance(part, Text | Cited | ToolCall | Thought | SealedThought):
            block = self._blocks[index] = _Block("opaque", -1)
            block.held = members(raw)
            block.size = len(raw)
            return deltas
        number = self._parts
        self._parts += 1
        if isinstance(part, ToolCall):
            block = _Block("tool_call", number)
            if part.arguments.strip() != "{}":
                block.given = part.arguments.encode()
            if part.name == "" and "" in self._aliases.values():
                block.kind = "text"
                deltas.append(Open(0, number, "text", Text(text="")))
            else:
                self._calls = True
                deltas.append(Open(0, number, "tool_call", msgspec.structs.replace(part, arguments="", raw=b"")))
        elif isinstance(part, Thought):
            block = _Block("thought", number)
            deltas.append(Open(0, number, "thought", Thought(text="", origin=Origin(self._vendor), extra=part.extra)))
            if part.text:
                deltas.append(Piece(0, number, part.text))
            if part.signature:
                deltas.append(Sign(0, number, part.signature))
        elif isinstance(part, SealedThought):
            block = _Block("sealed_thought", number)
            deltas.append(Open(0, number, "sealed_thought", msgspec.structs.replace(part, raw=b"")))
        else:
            block = _Block("text", number)
            deltas.append(Open(0, number, "text", Text(text="", extra=part.extra)))
            if part.text:
                deltas.append(Piece(0, number, part.text))
            if isinstance(part, Cited):
                deltas += [Cite(0, number, citation) for citation in part.citations]
        self._blocks[index] = block
        return deltas

    def _piece(self, block: _Block, delta: _Delta, data: bytes) -> list[ChatDelta]:
        kind = delta.type
        if block.part < 0:
            return self._hold(block, delta, data)
        if kind == "text_delta":
            return [Piece(0, block.part, delta.text)] if delta.text else []
        if kind == "input_json_delta":
            if not delta.partial_json:
                return []
            block.heard = True
            return [Piece(0, block.part, delta.partial_json)]
        if kind == "thinking_delta":
            return [Piece(0, block.part, delta.thinking)] if delta.thinking else []
        if kind == "signature_delta":
            return [Sign(0, block.part, delta.signature.encode())] if delta.signature else []
        if kind == "citations_delta":
            return [Cite(0, block.part, read_citation(bytes(delta.citation), "citation"))]
        return []

    def _hold(self, block: _Block, delta: _Delta, data: bytes) -> list[ChatDelta]:
        block.size += len(data)
        if block.size > HELD_SIZE:
            return self._fail("event_too_large", "A block of the stream is too large.")
        if delta.type == "input_json_delta":
            block.pieces.append(delta.partial_json)
            return []
        for name, value in _delta_members(data).delta.items():
            if name == "type":
                continue
            before = block.held.get(name, b"")
            if is_string(before) and is_string(bytes(value)):
                block.held[name] = encode(string(before) + string(bytes(value)))
            else:
                block.held[name] = bytes(value)
        return []

    def _close(self, index: int) -> list[ChatDelta]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        if block.part >= 0:
            deltas: list[ChatDelta] = []
            if block.kind == "tool_call" and not block.heard:
                deltas.append(Piece(0, block.part, block.given.decode() or "{}"))
            elif block.given and not block.heard:
                deltas.append(Piece(0, block.part, block.given.decode()))
            deltas.append(Close(0, block.part))
            return deltas
        if block.pieces:
            given = "".join(block.pieces).encode() or b"{}"
            members(given, "input")
            block.held["input"] = given
        value = encode({name: raw_of(held) for name, held in block.held.items()})
        number = self._parts
        self._parts += 1
        kind = block.held.get("type", b'""')
        head = Opaque(dialect=NAME, kind=string(kind) if is_string(kind) else "", value=value)
        return [Open(0, number, "opaque", head), Close(0, number)]

    def _close_all(self) -> list[ChatDelta]:
        deltas: list[ChatDelta] = []
        for index in list(self._blocks):
            deltas += self._close(index)
        return deltas

    def _end_of_message(self, event: _Event) -> list[ChatDelta]:
        deltas = self._close_all()
        usage = read_usage(bytes(event.usage), self._renamed)
        if usage is not None:
            deltas.append(Used(usage))
        delta = event.delta
        if delta is not None and delta.stop_reason and not self._stopped:
            self._stopped = True
            stop, extra = read_stop(delta.stop_reason, bytes(delta.stop_details), self._calls)
            if stop == "tool_calls" and not self._calls:
                stop = "stop"
            deltas.append(Stopped(0, stop, delta.stop_sequence or "", extra))
        return deltas


# -- writing -----------------------------------------------------------------------------------------------------------

_DELTAS: Final = {
    "text": b'{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%b}}',
    "thought": b'{"type":"content_block_delta","index":%d,"delta":{"type":"thinking_delta","thinking":%b}}',
    "tool_call": b'{"type":"content_block_delta","index":%d,"delta":{"type":"input_json_delta","partial_json":%b}}',
}
_SIGNATURE: Final = b'{"type":"content_block_delta","index":%d,"delta":{"type":"signature_delta","signature":%b}}'
_PING: Final = encode_event("ping", b'{"type":"ping"}')


class _Written:
    """A block that is open on the client's side. ``origin`` of a thought, whose seal must still come; ``seal``: what
    came of it."""

    __slots__ = ("index", "kind", "origin", "seal")

    def __init__(self, index: int, kind: str) -> None:
        self.index = index
        self.kind = kind
        self.origin: Origin | None = None
        self.seal = b""


class BlockEventWriter:
    """Writes one stream for a client. Only choice 0 can be said; blocks of calls that interleave interleave here too,
    each by its index. *error_of* makes the body of an ``error`` event."""

    __slots__ = ("_asked", "_blocks", "_error_of", "_id", "_index", "_over", "_stopped", "_usage", "losses")

    def __init__(self, asked: ChatRequest, id: str, error_of: Callable[[Failed], bytes]) -> None:
        self._asked = asked
        self._id = id
        self._error_of = error_of
        self._blocks: dict[int, _Written] = {}
        self._index = 0
        self._usage: Usage | None = None
        self._stopped = Stopped(0, "stop")
        self._over = False
        self.losses: list[str] = []

    def write(self, delta: ChatDelta) -> bytes:
        """The wire bytes of *delta* (``ports.dialect.EventWriter``)."""
        if isinstance(delta, Piece):
            block = self._blocks.get(delta.part) if delta.choice == 0 else None
            if block is None:
                return b""
            if delta.logprobs:
                self._lose("logprobs")
            form = _DELTAS.get(block.kind)
            if form is None:
                return b""
            return encode_event("content_block_delta", form % (block.index, encode(delta.text)))
        if isinstance(delta, Open):
            return self._open(delta) if delta.choice == 0 else self._lose("n")
        if isinstance(delta, Close):
            return self._close(delta.part) if delta.choice == 0 else b""
        if isinstance(delta, Sign):
            block = self._blocks.get(delta.part) if delta.choice == 0 else None
            if block is not None and block.kind == "thought":
                block.seal = delta.signature
            elif block is not None and block.seal != delta.signature:
                self._lose("thinking.signature")
            return b""
        if isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
            return b""
        if isinstance(delta, Stopped):
            if delta.choice == 0:
                self._stopped = delta
            return b""
        if isinstance(delta, Cite):
            return self._cite(delta) if delta.choice == 0 else b""
        if isinstance(delta, Start):
            return self._start(delta)
        if isinstance(delta, Ping):
            return _PING
        if isinstance(delta, Failed):
            self._over = True
            return encode_event("error", self._error_of(delta))
        if isinstance(delta, EndDelta):
            return self._end()

    def comment(self, text: str) -> bytes:
        """A line clients skip."""
        return encode_comment(text)

    def heartbeat(self) -> bytes:
        """A ``ping`` event."""
        return _PING

    def _lose(self, what: str) -> bytes:
        if what not in self.losses:
            self.losses.append(what)
        return b""

    def _start(self, delta: Start) -> bytes:
        self._usage = delta.usage
        message: dict[str, object] = {
            "id": message_id(delta.id or self._id), "type": "message", "role": "assistant",
            "model": delta.model or self._asked.model, "content": [], "stop_reason": None, "stop_sequence": None,
            "usage": usage_object(delta.usage or Usage()),
        }  # fmt: skip
        return encode_event("message_start", encode({"type": "message_start", "message": message}))

    def _open(self, delta: Open) -> bytes:
        head = delta.head
        block = _Written(self._index, delta.kind)
        given = self._head(delta.kind, head, block)
        if given is None:
            return self._lose(f"parts.{delta.kind}")
        self._index += 1
        self._blocks[delta.part] = block
        event = {"type": "content_block_start", "index": block.index, "content_block": given}
        return encode_event("content_block_start", encode(event))

    def _head(self, kind: str, head: Part, block: _Written) -> dict[str, object] | None:
        if isinstance(head, ToolCall):
            given: dict[str, object] = {
                "type": "tool_use", "id": fit_id(head.id, ID_SIZE), "name": head.name, "input": {},
            }  # fmt: skip
            if head.signature:
                block.seal = head.signature
                given["signature"] = marked(head.signature, head.origin, OWN).decode("utf-8", "replace")
            return given
        if isinstance(head, Thought):
            block.origin = head.origin
            block.seal = head.signature
            return {"type": "thinking", "thinking": "", "signature": ""}
        if isinstance(head, SealedThought):
            data = marked(head.data, head.origin, OWN).decode("utf-8", "replace")
            return {"type": "redacted_thinking", "data": data}
        if isinstance(head, Opaque):
            if head.dialect != NAME:
                return None
            return {name: raw_of(value) for name, value in members(head.value).items()}
        if kind in ("text", "refusal"):
            block.kind = "text"
            return {"type": "text", "text": ""}
        return None

    def _cite(self, delta: Cite) -> bytes:
        block = self._blocks.get(delta.part)
        citation = citation_object(delta.citation)
        if block is None or block.kind != "text" or citation is None:
            return self._lose("citations")
        body = {
            "type": "content_block_delta",
            "index": block.index,
            "delta": {"type": "citations_delta", "citation": citation},
        }
        return encode_event("content_block_delta", encode(body))

    def _close(self, part: int) -> bytes:
        block = self._blocks.pop(part, None)
        if block is None:
            return b""
        stop = encode_event("content_block_stop", b'{"type":"content_block_stop","index":%d}' % block.index)
        if block.kind != "thought":
            return stop
        seal = marked(block.seal, block.origin, OWN)
        if not seal:
            return stop
        signature = encode(seal.decode("utf-8", "replace"))
        return encode_event("content_block_delta", _SIGNATURE % (block.index, signature)) + stop

    def _end(self) -> bytes:
        if self._over:
            return b""
        self._over = True
        ended = self._stopped
        if ended.stop == "broken":
            return encode_event("error", self._error_of(Failed("bad_upstream", "broken_answer")))
        event = {
            "type": "message_delta",
            "delta": stop_members(ended.stop, ended.stop_sequence, ended.extra),
            "usage": usage_object(self._usage or Usage()),
        }
        return encode_event("message_delta", encode(event)) + encode_event("message_stop", b'{"type":"message_stop"}')


def message_id(id: str) -> str:
    """*id* when it is one of this dialect, else one derived from it."""
    return id if id.startswith("msg_") else "msg_" + fit_id(f"{id}\x00", 29).removeprefix("call_")


def error_object(raw: bytes) -> dict[str, bytes]:
    """The members of an ``error`` object; {} for anything else."""
    try:
        return members(raw) if is_object(raw) else {}
    except WrongShape:
        return {}
