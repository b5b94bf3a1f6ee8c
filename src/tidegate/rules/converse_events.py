"""A Converse stream <-> deltas (LLM 5.10). Two small state machines; neither holds more than one event, but for a
server tool's call or result, whose block goes on whole.

Text and thoughts begin with their first piece: only calls, results and images are announced (boto3 refuses more).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    ChatRequest,
    Cite,
    Close,
    End,
    Failed,
    Image,
    Opaque,
    Open,
    Origin,
    Part,
    PartKind,
    Piece,
    SealedThought,
    Sign,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.exchange.fault import Fault
from tidegate.rules.converse_blocks import ID_SIZE, NAME, OWN, citation_object, read_block, read_citation
from tidegate.rules.converse_usage import STOP_WORDS, read_stop, read_tier, read_usage, tier_object, usage_object
from tidegate.rules.sealed_origin import marked, marked_base64
from tidegate.rules.tool_ids import fit_id
from tidegate.rules.usage_merge import largest
from tidegate.wire.aws_event_stream import EXCEPTION, encode_frame
from tidegate.wire.json_object import WrongShape, encode, is_object, items, members, raw_of, string

HELD_SIZE: Final = 1 << 20
"""Bytes of a server tool's block that may be held till it ends."""
MOST_PARTS: Final = 4096
_NOTHING: Final = msgspec.Raw(b"")


class _ToolPiece(msgspec.Struct, gc=False):
    input: str = ""


class _Reasoning(msgspec.Struct, gc=False):
    text: str | None = None
    signature: str | None = None
    redacted: str | None = msgspec.field(name="redactedContent", default=None)


class _Delta(msgspec.Struct):
    text: str | None = None
    tool: _ToolPiece | None = msgspec.field(name="toolUse", default=None)
    reasoning: _Reasoning | None = msgspec.field(name="reasoningContent", default=None)
    citation: msgspec.Raw = _NOTHING
    image: msgspec.Raw = _NOTHING
    result: msgspec.Raw = msgspec.field(name="toolResult", default=_NOTHING)


class _Piece(msgspec.Struct):
    delta: _Delta
    index: int = msgspec.field(name="contentBlockIndex", default=0)


class _Begin(msgspec.Struct):
    start: msgspec.Raw = _NOTHING
    index: int = msgspec.field(name="contentBlockIndex", default=0)


class _Stop(msgspec.Struct):
    reason: str = msgspec.field(name="stopReason", default="")


class _Metadata(msgspec.Struct):
    usage: msgspec.Raw = _NOTHING
    tier: msgspec.Raw = msgspec.field(name="serviceTier", default=_NOTHING)


_piece: Final = msgspec.json.Decoder(_Piece).decode
_begin: Final = msgspec.json.Decoder(_Begin).decode
_stop: Final = msgspec.json.Decoder(_Stop).decode
_metadata: Final = msgspec.json.Decoder(_Metadata).decode


def metadata_usage(data: bytes, renamed: dict[str, str]) -> Usage | None:
    """The usage in a ``metadata`` event or a whole answer; the rest is skipped, not built."""
    try:
        found = _metadata(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return read_usage(bytes(found.usage), renamed, read_tier(bytes(found.tier)))


# -- reading -----------------------------------------------------------------------------------------------------------


class _Block:
    """An open block. ``part`` -1 while it is held to go on whole; ``heard``: pieces have come."""

    __slots__ = ("heard", "held", "kind", "part", "results", "size", "texts")

    def __init__(self, kind: str, part: int) -> None:
        self.kind = kind
        self.part = part
        self.heard = False
        self.held: dict[str, bytes] = {}
        self.texts: list[str] = []
        self.results: list[bytes] = []
        self.size = 0


class ConverseEventReader:
    """Reads one stream. *vendor* made the seals; *model* answers, which the stream does not tell; *aliases*: tool name
    on the wire -> the client's ("" for the tool that stands for structured output); *renamed*: usage members;
    *fault_of* reads an exception (type, payload)."""

    __slots__ = ("_aliases", "_blocks", "_calls", "_ended", "_fault_of", "_model", "_parts", "_renamed", "_started",
                 "_stopped", "_vendor")  # fmt: skip

    def __init__(
        self,
        vendor: str,
        model: str,
        aliases: dict[str, str],
        renamed: dict[str, str],
        fault_of: Callable[[str, bytes], Fault],
    ) -> None:
        self._vendor = vendor
        self._model = model
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
        """One frame (``ports.dialect.EventReader``)."""
        if self._ended:
            return []
        try:
            return self._read(event, data)
        except (msgspec.DecodeError, UnicodeDecodeError, WrongShape):
            return self._fail(Failed("bad_upstream", "protocol", "An event of the stream is broken."))

    def close(self) -> list[ChatDelta]:
        """The wire has ended. A message that has stopped is whole, even when its usage never came."""
        if self._ended:
            return []
        if self._stopped:
            self._ended = True
            return [END]
        return self._fail(Failed("bad_upstream", "incomplete_stream", "The stream ended before its message did."))

    def _fail(self, failed: Failed) -> list[ChatDelta]:
        self._ended = True
        first: list[ChatDelta] = [] if self._started else [Start(model=self._model)]
        return [*first, failed, END]

    def _read(self, event: str, data: bytes) -> list[ChatDelta]:
        if event == "contentBlockDelta" and self._started and not self._stopped:
            found = _piece(data)
            return self._piece(found.index, found.delta)
        if event.startswith(EXCEPTION):
            fault = self._fault_of(event[len(EXCEPTION) :], data)
            return self._fail(Failed(fault.code, fault.reason, fault.detail, fault.retry_after))
        if event == "messageStart":
            if self._started:
                return []
            self._started = True
            return [Start(model=self._model)]
        if event == "metadata":
            return self._used(data)
        if event not in ("contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"):
            return []
        if not self._started or self._stopped:
            return self._fail(Failed("bad_upstream", "protocol", "An event of the stream is out of place."))
        if event == "contentBlockStart":
            begin = _begin(data)
            return self._open(begin.index, bytes(begin.start))
        if event == "contentBlockStop":
            return self._close(_begin(data).index)
        return self._stop(data)

    def _used(self, data: bytes) -> list[ChatDelta]:
        if not self._started:
            return self._fail(Failed("bad_upstream", "protocol", "The stream does not begin with its message."))
        usage = metadata_usage(data, self._renamed)
        deltas: list[ChatDelta] = [] if usage is None else [Used(usage)]
        if self._stopped:
            self._ended = True
            deltas.append(END)
        return deltas

    def _stop(self, data: bytes) -> list[ChatDelta]:
        deltas: list[ChatDelta] = []
        for index in list(self._blocks):
            deltas += self._close(index)
        self._stopped = True
        stop, extra = read_stop(_stop(data).reason, self._calls)
        deltas.append(Stopped(0, stop, extra=extra))
        return deltas

    def _new(self, index: int, kind: PartKind, head: Part, deltas: list[ChatDelta]) -> _Block:
        if self._parts >= MOST_PARTS:
            raise WrongShape("contentBlockIndex", "smaller")
        block = self._blocks[index] = _Block(kind, self._parts)
        self._parts += 1
        deltas.append(Open(0, block.part, kind, head))
        return block

    def _open(self, index: int, raw: bytes) -> list[ChatDelta]:
        deltas = self._close(index)
        start = members(raw, "start")
        if "image" in start:
            told = members(start["image"], "start.image")
            head = Image(mime="image/" + string(told.get("format", b'"png"')))
            self._new(index, "image", head, deltas)
            return deltas
        if "toolUse" in start and "type" not in members(start["toolUse"], "start.toolUse"):
            part = read_block(raw, "start", self._vendor, self._aliases)
            if isinstance(part, ToolCall):
                if part.name == "" and "" in self._aliases.values():
                    self._new(index, "text", Text(text=""), deltas)
                else:
                    self._calls = True
                    call = msgspec.structs.replace(part, arguments="", raw=b"")
                    self._new(index, "tool_call", call, deltas)
                return deltas
        kind = next(iter(start), "")
        if kind in ("toolUse", "toolResult"):
            block = self._blocks[index] = _Block(kind, -1)
            block.held = members(start[kind])
            block.size = len(raw)
        return deltas

    def _piece(self, index: int, delta: _Delta) -> list[ChatDelta]:
        deltas: list[ChatDelta] = []
        block = self._blocks.get(index)
        if block is not None and block.part < 0:
            return self._hold(block, delta)
        if delta.text is not None:
            if delta.text:
                block = self._flowing(index, block, "text", Text(text=""), deltas)
                deltas.append(Piece(0, block.part, delta.text))
        elif delta.tool is not None:
            if block is None:
                return self._fail(Failed("bad_upstream", "protocol", "The stream adds to a call that is not open."))
            if delta.tool.input:
                block.heard = True
                deltas.append(Piece(0, block.part, delta.tool.input))
        elif delta.reasoning is not None:
            self._reason(index, block, delta.reasoning, deltas)
        elif delta.citation:
            block = self._flowing(index, block, "text", Text(text=""), deltas)
            deltas.append(Cite(0, block.part, read_citation(bytes(delta.citation), "citation")))
        elif delta.image and block is not None and block.kind == "image":
            source = members(members(bytes(delta.image), "image").get("source", b"{}"), "image.source")
            if "bytes" in source:
                deltas.append(Piece(0, block.part, string(source["bytes"], "image.source.bytes")))
        return deltas

    def _flowing(self, index: int, block: _Block | None, kind: PartKind, head: Part, deltas: list[ChatDelta]) -> _Block:
        """The open block of *kind*, begun now when it is not."""
        if block is not None and block.kind == kind:
            return block
        deltas += self._close(index)
        return self._new(index, kind, head, deltas)

    def _reason(self, index: int, block: _Block | None, told: _Reasoning, deltas: list[ChatDelta]) -> None:
        origin = Origin(self._vendor)
        if told.redacted:
            if block is not None and block.kind == "sealed_thought":
                deltas.append(Piece(0, block.part, told.redacted))
                return
            deltas += self._close(index)
            self._new(index, "sealed_thought", SealedThought(data=told.redacted.encode(), origin=origin), deltas)
            return
        if not told.text and not told.signature:
            return
        block = self._flowing(index, block, "thought", Thought(text="", origin=origin), deltas)
        if told.text:
            deltas.append(Piece(0, block.part, told.text))
        if told.signature:
            deltas.append(Sign(0, block.part, told.signature.encode()))

    def _hold(self, block: _Block, delta: _Delta) -> list[ChatDelta]:
        if delta.tool is not None:
            block.size += len(delta.tool.input)
            block.texts.append(delta.tool.input)
        elif delta.result:
            block.size += len(bytes(delta.result))
            block.results += items(bytes(delta.result), "toolResult")
        if block.size > HELD_SIZE:
            return self._fail(Failed("bad_upstream", "event_too_large", "A block of the stream is too large."))
        return []

    def _close(self, index: int) -> list[ChatDelta]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        if block.part >= 0:
            deltas: list[ChatDelta] = []
            if block.kind == "tool_call" and not block.heard:
                deltas.append(Piece(0, block.part, "{}"))
            deltas.append(Close(0, block.part))
            return deltas
        inner: dict[str, object] = {name: raw_of(value) for name, value in block.held.items()}
        if block.kind == "toolUse":
            given = "".join(block.texts).encode() or b"{}"
            members(given, "toolUse.input")
            inner["input"] = raw_of(given)
        else:
            inner["content"] = [raw_of(one) for one in block.results]
        head = Opaque(dialect=NAME, kind=block.kind, value=encode({block.kind: inner}))
        number = self._parts
        self._parts += 1
        return [Open(0, number, "opaque", head), Close(0, number)]


# -- writing -----------------------------------------------------------------------------------------------------------

_PIECES: Final[dict[str, bytes]] = {
    "text": b'{"delta":{"text":%b},"contentBlockIndex":%d}',
    "thought": b'{"delta":{"reasoningContent":{"text":%b}},"contentBlockIndex":%d}',
    "tool_call": b'{"delta":{"toolUse":{"input":%b}},"contentBlockIndex":%d}',
    "image": b'{"delta":{"image":{"source":{"bytes":%b}}},"contentBlockIndex":%d}',
}
_MOST_SEALED: Final = 1 << 20


class _Written:
    """A block that is open on the client's side. ``said``: something of it went out."""

    __slots__ = ("index", "kind", "origin", "said", "seal")

    def __init__(self, index: int, kind: str) -> None:
        self.index = index
        self.kind = kind
        self.origin: Origin | None = None
        self.seal = b""
        self.said = False


class ConverseEventWriter:
    """Writes one stream for a client. Only choice 0 can be said. *exception_of*: (type, payload) of a failure."""

    __slots__ = ("_asked", "_blocks", "_exception_of", "_index", "_over", "_stopped", "_usage", "losses")

    def __init__(self, asked: ChatRequest, exception_of: Callable[[Failed], tuple[str, bytes]]) -> None:
        self._asked = asked
        self._exception_of = exception_of
        self._blocks: dict[int, _Written] = {}
        self._index = 0
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
            block = self._blocks.get(delta.part) if delta.choice == 0 else None
            if block is not None and block.kind == "thought":
                block.seal += delta.signature
            elif block is not None:
                self._lose("thinking.signature")
        elif isinstance(delta, Cite):
            return self._cite(delta)
        elif isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
        elif isinstance(delta, Stopped):
            if delta.choice == 0:
                self._stopped = delta
        elif isinstance(delta, Start):
            if delta.usage is not None:
                self._usage = largest(self._usage, delta.usage)
            return encode_frame("messageStart", b'{"role":"assistant"}')
        elif isinstance(delta, Failed):
            if self._over:
                return b""
            self._over = True
            kind, body = self._exception_of(delta)
            return encode_frame(kind, body, exception=True)
        elif isinstance(delta, End):
            return self._end()
        return b""

    def comment(self, text: str) -> bytes:
        """Frames have no comments."""
        return b""

    def heartbeat(self) -> bytes:
        """Nothing may stand between frames."""
        return b""

    def _lose(self, what: str) -> bytes:
        if what not in self.losses:
            self.losses.append(what)
        return b""

    def _piece(self, delta: Piece) -> bytes:
        block = self._blocks.get(delta.part)
        if block is None:
            return b""
        form = _PIECES.get(block.kind)
        if form is None:
            if len(block.seal) < _MOST_SEALED:
                block.seal += delta.text.encode()
            return b""
        block.said = True
        return encode_frame("contentBlockDelta", form % (encode(delta.text), block.index))

    def _open(self, delta: Open) -> bytes:
        head = delta.head
        kind: str = "text" if delta.kind == "refusal" else delta.kind
        if kind == "audio" or (isinstance(head, Opaque) and head.dialect != NAME):
            return self._lose(f"parts.{head.kind if isinstance(head, Opaque) else kind}")
        block = self._blocks[delta.part] = _Written(self._index, kind)
        self._index += 1
        if isinstance(head, ToolCall):
            if head.signature:
                self._lose("thinking.signature")
            start: object = {"toolUse": {"toolUseId": fit_id(head.id, ID_SIZE), "name": head.name}}
            return self._begin(block, start)
        if isinstance(head, Image):
            given = self._begin(block, {"image": {"format": head.mime.removeprefix("image/") or "png"}})
            if head.data:
                given += self._piece(Piece(0, delta.part, head.data.decode("latin-1")))
            return given
        if isinstance(head, Thought):
            block.origin, block.seal = head.origin, head.signature
        elif isinstance(head, SealedThought):
            block.origin, block.seal = head.origin, head.data
        elif isinstance(head, Opaque):
            return self._opaque(block, head)
        if isinstance(head, Text | Thought) and head.text:
            return self._piece(Piece(0, delta.part, head.text))
        return b""

    def _begin(self, block: _Written, start: object) -> bytes:
        block.said = True
        return encode_frame("contentBlockStart", encode({"start": start, "contentBlockIndex": block.index}))

    def _opaque(self, block: _Written, head: Opaque) -> bytes:
        """A server tool's call or result; other blocks have no place in a stream."""
        told = members(head.value)
        inner = members(told[head.kind]) if is_object(told.get(head.kind, b"")) else {}
        if head.kind == "toolUse":
            piece: object = {"toolUse": {"input": inner.pop("input", b"{}").decode("utf-8")}}
        elif head.kind == "toolResult":
            piece = {"toolResult": raw_of(inner.pop("content", b"[]"))}
        else:
            self._index -= 1
            block.index = -1
            return self._lose(f"parts.{head.kind}")
        start = {head.kind: {name: raw_of(value) for name, value in inner.items()}}
        body = encode({"delta": piece, "contentBlockIndex": block.index})
        return self._begin(block, start) + encode_frame("contentBlockDelta", body)

    def _cite(self, delta: Cite) -> bytes:
        block = self._blocks.get(delta.part) if delta.choice == 0 else None
        citation = citation_object(delta.citation)
        if block is None or block.kind != "text" or not citation:
            return self._lose("citations")
        block.said = True
        body = {"delta": {"citation": citation}, "contentBlockIndex": block.index}
        return encode_frame("contentBlockDelta", encode(body))

    def _close(self, part: int) -> bytes:
        block = self._blocks.pop(part, None)
        if block is None or block.index < 0:
            return b""
        last = b""
        if block.kind == "thought":
            seal = marked(block.seal, block.origin, OWN).decode("utf-8", "replace")
            if seal:
                last = self._reasoning(block, {"signature": seal})
        elif block.kind == "sealed_thought":
            data = marked_base64(block.seal, block.origin, OWN).decode("utf-8", "replace")
            last = self._reasoning(block, {"redactedContent": data})
        elif not block.said:
            last = encode_frame("contentBlockDelta", _PIECES["text"] % (b'""', block.index))
        return last + encode_frame("contentBlockStop", b'{"contentBlockIndex":%d}' % block.index)

    def _reasoning(self, block: _Written, told: dict[str, str]) -> bytes:
        body = {"delta": {"reasoningContent": told}, "contentBlockIndex": block.index}
        return encode_frame("contentBlockDelta", encode(body))

    def _end(self) -> bytes:
        if self._over:
            return b""
        self._over = True
        ended = self._stopped
        if ended.stop == "pause":
            self._lose("pause")
        stop: dict[str, object] = {"stopReason": STOP_WORDS[ended.stop]}
        if ended.extra is not None and ended.extra.dialect == NAME:
            stop.update({name: raw_of(value) for name, value in ended.extra.members})
        usage = self._usage or Usage()
        metadata: dict[str, object] = {"usage": usage_object(usage), "metrics": {"latencyMs": 0}}
        tier = tier_object(usage.tier)
        if tier is not None:
            metadata["serviceTier"] = tier
        return encode_frame("messageStop", encode(stop)) + encode_frame("metadata", encode(metadata))
