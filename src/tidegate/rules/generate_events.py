"""A stream in Gemini's words <-> deltas (LLM 5.10): every event is a whole response, calls come complete, usage may
stand in any, and nothing marks the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec.structs import replace

from tidegate.exchange.chat import (
    END,
    Audio,
    ChatDelta,
    ChatRequest,
    Citation,
    Cite,
    Cited,
    Close,
    Extra,
    Failed,
    Image,
    Opaque,
    Open,
    Origin,
    Part,
    PartKind,
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
from tidegate.rules.generate_parts import (
    NAME,
    OWN,
    PartReader,
    PartWriter,
    camel_members,
    read_parts,
    take_string,
)
from tidegate.rules.generate_usage import SEARCH, read_usage, usage_object
from tidegate.rules.sealed_origin import marked_base64
from tidegate.rules.tool_ids import fit_id
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_array import END as ARRAY_END
from tidegate.wire.json_array import encode_element
from tidegate.wire.json_object import WrongShape, count, encode, is_array, is_object, items, members, raw_of, string
from tidegate.wire.sse import encode_event

STOPS: Final[dict[str, Stop]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "CONTINUATION": "pause",
    "MALFORMED_FUNCTION_CALL": "broken",
    "MALFORMED_RESPONSE": "broken",
    "UNEXPECTED_TOOL_CALL": "broken",
    "TOO_MANY_TOOL_CALLS": "broken",
    "MISSING_THOUGHT_SIGNATURE": "broken",
}
STOP_WORDS: Final[dict[str, str]] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "context_length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "CONTINUATION",
    "broken": "MALFORMED_RESPONSE",
}
CHOICES: Final = 16
"""Candidates of one answer."""
HELD_SIZE: Final = 1 << 20
"""Bytes of a call's arguments or of media that are held till they are whole."""
_FOREIGN_IDS: Final = ("msg_", "chatcmpl", "cmpl-", "resp_", "gen-", "call_")


def read_stop(word: str, calls: bool, candidate: dict[str, bytes]) -> tuple[Stop, Extra | None]:
    """``finishReason`` and what of *candidate* has no neutral name: the word itself too, where the neutral one does not
    lead back to it (LLM 5.8)."""
    stop = STOPS.get(word, "stop")
    kept = [(name, value) for name, value in candidate.items() if name not in ("content", "index", "finishReason")]
    if STOP_WORDS[stop] != word:
        kept.append(("finishReason", encode(word)))
    return ("tool_calls" if calls and stop == "stop" else stop), Extra(NAME, tuple(kept)) if kept else None


def read_citations(candidate: dict[str, bytes]) -> list[Citation]:
    """The web sources of a candidate, as other dialects can tell them. Its own metadata stay beside it."""
    grounding = candidate.get("groundingMetadata", b"")
    found: list[Citation] = []
    if is_object(grounding):
        told = camel_members(grounding, "groundingMetadata")
        webs = [_web(chunk) for chunk in _array(told.get("groundingChunks"))]
        for support in _array(told.get("groundingSupports")):
            said = camel_members(support, "groundingSupports")
            segment = camel_members(said.get("segment", b"{}"), "segment")
            for index in _array(said.get("groundingChunkIndices")):
                at = count(index)
                if at < len(webs) and webs[at][0]:
                    quote = take_string(dict(segment), "text", "segment")
                    found.append(Citation(url=webs[at][0], title=webs[at][1], quote=quote))
    told_sources = candidate.get("citationMetadata", b"")
    if is_object(told_sources):
        sources = camel_members(told_sources, "citationMetadata")
        for raw in _array(sources.get("citations") or sources.get("citationSources")):
            one = camel_members(raw, "citations")
            url = take_string(one, "uri", "citations")
            if url:
                start, end = one.get("startIndex"), one.get("endIndex")
                found.append(Citation(url=url, title=take_string(one, "title", "citations"),
                                      start=count(start) if end else -1, end=count(end) if end else -1))  # fmt: skip
    return found


def _array(raw: bytes | None) -> list[bytes]:
    return items(raw) if raw is not None and is_array(raw) else []


def _web(raw: bytes) -> tuple[str, str]:
    chunk = camel_members(raw, "groundingChunks")
    if "web" not in chunk:
        return "", ""
    web = camel_members(chunk["web"], "web")
    return take_string(web, "uri", "web"), take_string(web, "title", "web")


def searches(candidate: dict[str, bytes]) -> int:
    """Web searches that grounded a candidate: they are billed."""
    grounding = candidate.get("groundingMetadata", b"")
    if b"ebSearchQueries" not in grounding and b"web_search_queries" not in grounding:
        return 0
    return len(_array(camel_members(grounding, "groundingMetadata").get("webSearchQueries")))


def with_searches(usage: Usage | None, queries: int) -> Usage | None:
    return replace(usage, tool_calls=((SEARCH, queries),)) if usage is not None and queries else usage


def response_id(id: str) -> str:
    """*id*, unless its form tells of another vendor: then one derived from it."""
    return fit_id(f"{id}\x00", 27).removeprefix("call_") if not id or id.startswith(_FOREIGN_IDS) else id


class _TextPart(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    thought: bool = False


class _TextContent(msgspec.Struct, forbid_unknown_fields=True):
    parts: list[_TextPart]
    role: str = ""


class _TextCandidate(msgspec.Struct, forbid_unknown_fields=True):
    content: _TextContent
    index: int = 0


class _TextEvent(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """An event that brings more text and nothing else: most of a stream."""

    candidates: list[_TextCandidate]
    usage_metadata: msgspec.Raw = msgspec.Raw(b"")
    model_version: str = ""
    response_id: str = ""
    create_time: str = ""


_text_event: Final = msgspec.json.Decoder(_TextEvent).decode


# -- reading -----------------------------------------------------------------------------------------------------------


class _Candidate:
    """One choice while it comes. ``kind`` of the part that is open, "" for none; ``part``, its number or the next;
    ``cited``: sources told so far."""

    __slots__ = ("cited", "kind", "part", "reader", "searches", "stopped")

    def __init__(self, reader: PartReader) -> None:
        self.reader = reader
        self.kind = ""
        self.part = 0
        self.cited = 0
        self.searches = 0
        self.stopped = False


class GenerateEventReader:
    """Reads one stream. *vendor* made the seals; *aliases*: tool name on the wire -> the client's; *renamed*: usage
    members; *fault_of* reads an ``error`` object."""

    __slots__ = ("_aliases", "_candidates", "_ended", "_fault_of", "_id", "_renamed", "_started", "_vendor")

    def __init__(
        self, vendor: str, aliases: dict[str, str], renamed: dict[str, str], fault_of: Callable[[bytes], Fault]
    ) -> None:
        self._vendor = vendor
        self._aliases = aliases
        self._renamed = renamed
        self._fault_of = fault_of
        self._id = ""
        self._candidates: dict[int, _Candidate] = {}
        self._started = False
        self._ended = False

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        """One event (``ports.dialect.EventReader``)."""
        if self._ended:
            return []
        deltas: list[ChatDelta] = []
        try:
            if not (self._candidates and self._read_text(data, deltas)):
                self._read(data, deltas)
        except (WrongShape, UnicodeDecodeError):
            deltas += self._fail("protocol", "An event of the stream is broken.")
        return deltas

    def close(self) -> list[ChatDelta]:
        """The wire has ended: well, when every candidate has."""
        if self._ended:
            return []
        whole = [candidate.stopped for candidate in self._candidates.values()]
        if not whole or not all(whole):
            return self._fail("incomplete_stream", "The stream ended before its answer did.")
        self._ended = True
        return [END]

    def _fail(self, reason: str, detail: str) -> list[ChatDelta]:
        self._ended = True
        deltas: list[ChatDelta] = [] if self._started else [Start()]
        return [*deltas, Failed("bad_upstream", reason, detail), END]

    def _read_text(self, data: bytes, deltas: list[ChatDelta]) -> bool:
        """Reads *data* when it only goes on with candidates that are known; False leaves it to ``_read``."""
        try:
            event = _text_event(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        for candidate in event.candidates:
            if candidate.index not in self._candidates:
                return False
        for candidate in event.candidates:
            state = self._candidates[candidate.index]
            if not state.stopped:
                for part in candidate.content.parts:
                    self._text(candidate.index, state, part.text, part.thought, deltas)
        usage = read_usage(bytes(event.usage_metadata), self._renamed)
        if usage is not None:
            deltas.append(Used(usage))
        return True

    def _read(self, data: bytes, deltas: list[ChatDelta]) -> None:
        found = camel_members(data, "event")
        if "error" in found:
            self._ended = True
            fault = self._fault_of(found["error"])
            if not self._started:
                deltas.append(Start())
            deltas += [Failed(fault.code, fault.reason, fault.detail, fault.retry_after), END]
            return
        if not self._started:
            self._started = True
            self._id = take_string(found, "responseId", "event")
            deltas.append(Start(self._id, take_string(found, "modelVersion", "event")))
        ends: list[ChatDelta] = []
        queries = 0
        for raw in _array(found.get("candidates")):
            queries += self._candidate(camel_members(raw, "candidates"), deltas, ends)
        if not self._candidates and b"blockReason" in found.get("promptFeedback", b""):
            self._candidates[0] = blocked = _Candidate(PartReader(self._vendor, self._aliases, self._id))
            blocked.stopped = True
            ends.append(Stopped(0, "content_filter"))
        usage = with_searches(read_usage(found.get("usageMetadata", b""), self._renamed), queries)
        if usage is not None:
            deltas.append(Used(usage))
        deltas += ends

    def _candidate(self, found: dict[str, bytes], deltas: list[ChatDelta], ends: list[ChatDelta]) -> int:
        """Reads one candidate of an event; returns how many searches it tells of."""
        index = count(found.get("index"))
        if index >= CHOICES:
            raise WrongShape("candidates.index", "a small number")
        state = self._candidates.get(index)
        if state is None:
            reader = PartReader(self._vendor, self._aliases, f"{self._id}/{index}")
            state = self._candidates[index] = _Candidate(reader)
        if state.stopped:
            return state.searches
        content = camel_members(found.get("content", b"{}"), "content")
        for part in read_parts(content.get("parts", b"[]"), "parts", state.reader, []):
            self._part(index, state, part, deltas)
        if "groundingMetadata" in found or "citationMetadata" in found:
            sources = read_citations(found)
            if state.kind == "text":
                deltas += [Cite(index, state.part, citation) for citation in sources[state.cited :]]
                state.cited = max(state.cited, len(sources))
            state.searches = max(state.searches, searches(found))
        if "finishReason" in found:
            word = string(found["finishReason"])
            if word != "FINISH_REASON_UNSPECIFIED":
                _close(index, state, deltas)
                state.stopped = True
                stop, extra = read_stop(word, bool(state.reader.calls), found)
                ends.append(Stopped(index, stop, "", extra))
        return state.searches

    def _text(
        self, index: int, state: _Candidate, text: str, thought: bool, deltas: list[ChatDelta], signature: bytes = b""
    ) -> None:
        """More of the open text or thought, or the beginning of one; an empty text opens nothing."""
        kind: PartKind = "thought" if thought else "text"
        if state.kind != kind:
            if not text and not signature:
                return
            _close(index, state, deltas)
            state.kind = kind
            head: Part = Thought(text="", origin=Origin(self._vendor or OWN)) if thought else Text(text="")
            deltas.append(Open(index, state.part, kind, head))
        if text:
            deltas.append(Piece(index, state.part, text))
        if signature:
            deltas.append(Sign(index, state.part, signature))

    def _part(self, index: int, state: _Candidate, part: Part, deltas: list[ChatDelta]) -> None:
        if isinstance(part, Text | Thought):
            signature = part.signature if isinstance(part, Thought) else b""
            self._text(index, state, part.text, isinstance(part, Thought), deltas, signature)
            return
        _close(index, state, deltas)
        number = state.part
        if isinstance(part, ToolCall):
            deltas.append(Open(index, number, "tool_call", replace(part, arguments="", raw=b"")))
            deltas.append(Piece(index, number, part.arguments))
            if part.signature:
                deltas.append(Sign(index, number, part.signature))
        elif isinstance(part, SealedThought):
            deltas.append(Open(index, number, "sealed_thought", replace(part, raw=b"")))
        elif isinstance(part, Image | Audio):
            kind_of = "image" if isinstance(part, Image) else "audio"
            deltas.append(Open(index, number, kind_of, replace(part, data=b"", raw=b"")))  # type: ignore[arg-type]
            if part.data:
                deltas.append(Piece(index, number, part.data.decode("latin-1")))
        else:
            value = part.value if isinstance(part, Opaque) else part.raw
            kind_name = part.kind if isinstance(part, Opaque) else "part"
            deltas.append(Open(index, number, "opaque", Opaque(dialect=NAME, kind=kind_name, value=value)))
        deltas.append(Close(index, number))
        state.part += 1


def _close(index: int, state: _Candidate, deltas: list[ChatDelta]) -> None:
    if state.kind:
        deltas.append(Close(index, state.part))
        state.kind = ""
        state.part += 1


# -- writing -----------------------------------------------------------------------------------------------------------


class _Written:
    """A part that is open on the client's side. ``pieces``: held till it is whole, ``size`` of them. ``waits``:
    a part before it is not whole yet. ``closed``: it will say no more."""

    __slots__ = ("closed", "head", "kind", "pieces", "seal", "size", "waits")

    def __init__(self, kind: str, head: Part) -> None:
        self.kind = kind
        self.head = head
        self.pieces: list[str] = []
        self.seal = b""
        self.size = 0
        self.closed = False
        self.waits = False


class GenerateEventWriter:
    """Writes one stream for a client, as SSE or as elements of one array. Calls and media are held till they are whole.
    *error_of* makes the body of an error."""

    __slots__ = ("_array", "_asked", "_cited", "_envelope", "_error_of", "_first", "_id", "_lines", "_over", "_parts",
                 "_stops", "_usage", "_writer", "losses")  # fmt: skip

    def __init__(self, asked: ChatRequest, id: str, array: bool, error_of: Callable[[Failed], bytes]) -> None:
        self._asked = asked
        self._id = id
        self._array = array
        self._error_of = error_of
        self._first = True
        self._over = False
        self._envelope = b""
        self._parts: dict[tuple[int, int], _Written] = {}
        self._lines: dict[int, list[_Written]] = {}
        self._cited: dict[int, list[Citation]] = {}
        self._stops: dict[int, Stopped] = {}
        self._usage: Usage | None = None
        self._writer = PartWriter(None, {}, {}, frozenset(), frozenset(), False)
        self.losses: list[str] = self._writer.losses

    def write(self, delta: ChatDelta) -> bytes:
        """The wire bytes of *delta* (``ports.dialect.EventWriter``)."""
        if isinstance(delta, Piece):
            part = self._parts.get((delta.choice, delta.part))
            if part is None:
                return b""
            if delta.logprobs:
                self._writer.lose("logprobs")
            if not part.waits:
                if part.kind == "text" or part.kind == "refusal":
                    return self._say(delta.choice, b'{"text":%b}' % encode(delta.text))
                if part.kind == "thought":
                    return self._say(delta.choice, b'{"text":%b,"thought":true}' % encode(delta.text))
            part.size += len(delta.text)
            if part.size <= HELD_SIZE:
                part.pieces.append(delta.text)
            return b""
        if isinstance(delta, Open):
            self._open(delta)
            return b""
        if isinstance(delta, Close):
            part = self._parts.pop((delta.choice, delta.part), None)
            return b"" if part is None else self._in_turn(delta.choice, part)
        if isinstance(delta, Sign):
            part = self._parts.get((delta.choice, delta.part))
            if part is not None:
                part.seal = delta.signature
            return b""
        if isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
            return b""
        if isinstance(delta, Stopped):
            self._stops[delta.choice] = delta
            return b""
        if isinstance(delta, Cite):
            self._cited.setdefault(delta.choice, []).append(delta.citation)
            return b""
        if isinstance(delta, Start):
            self._usage = delta.usage
            envelope = {
                "modelVersion": delta.model or self._asked.model, "responseId": response_id(delta.id or self._id),
            }  # fmt: skip
            self._envelope = encode(envelope)[1:]
            return b""
        if isinstance(delta, Ping):
            return self.heartbeat()
        if isinstance(delta, Failed):
            self._over = True
            return self._frame(self._error_of(delta))
        if isinstance(delta, EndDelta):
            return self._end()

    def comment(self, text: str) -> bytes:
        """None: the vendor's own client takes every line of a stream for JSON."""
        return b""

    def heartbeat(self) -> bytes:
        """None, as ``comment``."""
        return b""

    def _frame(self, body: bytes) -> bytes:
        if self._array:
            framed = encode_element(body, self._first)
            self._first = False
            return framed
        return encode_event("", body)

    def _say(self, choice: int, part: bytes) -> bytes:
        return self._frame(
            b'{"candidates":[{"content":{"parts":[%b],"role":"model"},"index":%d}],%b' % (part, choice, self._envelope)
        )

    def _open(self, delta: Open) -> None:
        part = self._parts[delta.choice, delta.part] = _Written(delta.kind, delta.head)
        line = self._lines.setdefault(delta.choice, [])
        part.waits = bool(line)
        line.append(part)

    def _in_turn(self, choice: int, part: _Written) -> bytes:
        """Parts go out in the order they were opened, for that is the order of the answer: what waited for *part* is
        told now."""
        part.closed = True
        if part.waits:
            return b""
        line = self._lines[choice]
        told: list[bytes] = []
        while line:
            first = line[0]
            if first.waits:
                first.waits = False
                told.append(self._catch_up(choice, first))
            if not first.closed:
                break
            told.append(self._close(choice, first))
            del line[0]
        return b"".join(told)

    def _catch_up(self, choice: int, part: _Written) -> bytes:
        """The words of a text that had to wait."""
        if part.kind not in ("text", "refusal", "thought") or not part.pieces:
            return b""
        if part.size > HELD_SIZE:
            self._writer.lose(f"parts.{part.kind}")
        words = encode("".join(part.pieces))
        part.pieces.clear()
        part.size = 0
        return self._say(choice, (b'{"text":%b,"thought":true}' if part.kind == "thought" else b'{"text":%b}') % words)

    def _close(self, choice: int, part: _Written) -> bytes:
        head = part.head
        if part.size > HELD_SIZE:
            self._writer.lose(f"parts.{part.kind}")
            return b""
        whole: Part | None = None
        if isinstance(head, ToolCall):
            whole = replace(
                head, arguments="".join(part.pieces) or head.arguments or "{}", signature=part.seal or head.signature
            )
        elif isinstance(head, Thought):
            return self._seal(choice, part.seal or head.signature, head.origin)
        elif isinstance(head, SealedThought):
            whole = replace(head, data=head.data + "".join(part.pieces).encode())
        elif isinstance(head, Image | Audio):
            whole = replace(head, data=head.data + "".join(part.pieces).encode("latin-1", "replace"))
        elif isinstance(head, Opaque):
            whole = head
        if whole is None:
            return b""
        written: list[dict[str, object]] = []
        self._writer.append(whole, "answer", written)
        return b"".join([self._say(choice, encode(one)) for one in written])

    def _seal(self, choice: int, seal: bytes, origin: Origin | None) -> bytes:
        if not seal and (origin is None or origin.vendor == OWN):
            return b""
        told = encode(marked_base64(seal, origin, OWN).decode("latin-1"))
        return self._say(choice, b'{"text":"","thought":true,"thoughtSignature":%b}' % told)

    def _end(self) -> bytes:
        closing = ARRAY_END if self._array and not self._first else b""
        if self._over:
            return closing
        self._over = True
        candidates = [
            candidate_object(
                index, [{"text": ""}], self._stops.get(index, Stopped(index, "stop")), self._cited.get(index, [])
            )
            for index in sorted(self._stops)
        ]
        envelope = members(b"{" + self._envelope) if self._envelope else {}
        body: dict[str, object] = {"candidates": candidates, "usageMetadata": usage_object(self._usage or Usage())}
        body.update({name: raw_of(value) for name, value in envelope.items()})
        framed = self._frame(encode(body))
        return framed + (ARRAY_END if self._array else b"")


def candidate_object(
    index: int, parts: list[dict[str, object]], stopped: Stopped, citations: list[Citation]
) -> dict[str, object]:
    """One candidate for a client. Sources of other dialects go into ``citationMetadata``; its own kept theirs."""
    written: dict[str, object] = {
        "content": {"parts": parts, "role": "model"},
        "finishReason": STOP_WORDS[stopped.stop],
        "index": index,
    }
    extra = stopped.extra
    own = dict(extra.members) if extra is not None and extra.dialect == NAME else {}
    for name, value in own.items():
        written[name] = raw_of(value)
    if citations and "groundingMetadata" not in own and "citationMetadata" not in own:
        told = [_source(citation) for citation in citations if citation.url]
        if told:
            written["citationMetadata"] = {"citations": told}
    return written


def _source(citation: Citation) -> dict[str, object]:
    source: dict[str, object] = {"uri": citation.url}
    if citation.title:
        source["title"] = citation.title
    if citation.end >= 0:
        source["startIndex"] = max(0, citation.start)
        source["endIndex"] = citation.end
    return source


def with_citations(parts: list[Part], candidate: dict[str, bytes]) -> list[Part]:
    """*parts* of a whole candidate, its last text with the candidate's sources."""
    sources = read_citations(candidate)
    if not sources:
        return parts
    for at in range(len(parts) - 1, -1, -1):
        part = parts[at]
        if isinstance(part, Text):
            cited = Cited(text=part.text, citations=tuple(sources), extra=part.extra, raw=part.raw)
            return [*parts[:at], cited, *parts[at + 1 :]]
    return parts
