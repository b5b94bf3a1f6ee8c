"""The stream of a chat answer, read: one chunk in, deltas out (LLM 5.10), with every oddity vendors are known for.

What a chunk does not say is guessed from what came before, never from what may come: nothing is held but the ids of
open parts, and the arguments of a call whose name has not come yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import (
    END,
    Audio,
    ChatDelta,
    Cite,
    Close,
    Failed,
    Image,
    Open,
    Origin,
    Part,
    PartKind,
    Piece,
    Refusal,
    SealedThought,
    Sign,
    Start,
    Stop,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Used,
)
from tidegate.exchange.fault import Fault
from tidegate.rules.error_object import error_status, error_words
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.wire.chat_messages import TRANSCRIPT, read_citation
from tidegate.wire.chat_parts import CHAT, extra_of, read_part
from tidegate.wire.chat_thoughts import read_call_seal, read_detail
from tidegate.wire.json_object import NULL, WrongShape, encode, members, string
from tidegate.wire.openai_frames import CallPiece, ChatPiece, Chunk, decode_chunk
from tidegate.wire.token_usage import dug, read_usage

STOPS: Final[dict[str, Stop]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "model_length": "context_length",
    "error": "broken",
}
"""``finish_reason`` -> stop; any other reads as ``stop`` (LLM 5.8)."""

MOST_CHOICES: Final = 128
MOST_CALLS: Final = 512


_boundaries = json.JSONDecoder().raw_decode


class _Line:
    """One choice while it comes. ``flow``: (kind, part) of the text, thought or refusal that is growing."""

    def __init__(self) -> None:
        self.parts = 0
        self.flow_kind = ""
        self.flow = -1
        self.calls: dict[int, int] = {}
        """The vendor's index -> part."""
        self.ids: dict[int, str] = {}
        self.now: dict[int, int] = {}
        """The vendor's index -> the call it means now, where it gives several calls one index."""
        self.last = -1
        self.waiting: dict[int, tuple[str, list[str]]] = {}
        self.detail = -1
        self.plain = 0
        """Characters of the thought that came without details so far."""
        self.audio = -1
        self.transcript = -1
        self.open: list[int] = []
        self.stopped = False


class ChatEventReader:
    """Reads one stream.

    vendor    who answers: the origin of thoughts and seals
    renames   usage members that differ (``wire/token_usage``)
    aliases   tool name as sent -> the client's
    """

    def __init__(self, vendor: str, renames: Mapping[str, str], aliases: Mapping[str, str]) -> None:
        self._origin = Origin(vendor)
        self._vendor = vendor
        self._renames = renames
        self._elsewhere = [path for path, field in renames.items() if field == "usage"]
        self._aliases = aliases
        self._begun = False
        self._told = False  # usage
        self._finished = False  # [DONE] has come
        self._ended = False
        self._tier = ""
        self._lines: dict[int, _Line] = {}

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        out: list[ChatDelta] = []
        if self._ended:
            return out
        try:
            self._feed(event, data, out)
        except WrongShape as wrong:
            self._fail(out, Failed("bad_upstream", "bad_event", str(wrong)))
        return out

    def _feed(self, event: str, data: bytes, out: list[ChatDelta]) -> None:
        try:
            chunk = decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._odd(event, data.strip(), out)
            return
        if event == "error" or (chunk.error and bytes(chunk.error) != NULL):
            self._refused(data, out)
            return
        self._take(chunk, data, out)

    def _odd(self, event: str, data: bytes, out: list[ChatDelta]) -> None:
        """What is not one chunk: the terminator, nothing, several objects in one event, or rubbish."""
        if data == b"[DONE]":
            self._done(out)
        elif data:
            pieces = _objects(data)
            if len(pieces) < 2:
                if event == "error":
                    self._refused(data, out)
                else:
                    self._fail(out, Failed("bad_upstream", "bad_event", "An event of the stream is no chunk."))
                return
            for piece in pieces:
                if not self._ended:
                    self._feed(event, piece, out)

    def close(self) -> list[ChatDelta]:
        out: list[ChatDelta] = []
        if not self._ended:
            if self._finished:
                self._end(out)
            else:
                self._fail(out, Failed("bad_upstream", "incomplete_stream", "The stream ended before its end."))
        return out

    def _take(self, chunk: Chunk, data: bytes, out: list[ChatDelta]) -> None:
        choices = chunk.choices
        usage = bytes(chunk.usage)
        if not self._begun and (choices or (usage and usage != NULL)):
            self._start(chunk, out)
        if chunk.service_tier:
            self._tier = chunk.service_tier
        if choices and not self._finished:
            for choice in choices:
                line = self._lines.get(choice.index)
                if line is None:
                    if len(self._lines) >= MOST_CHOICES or choice.index < 0:
                        raise WrongShape("choices", "fewer")
                    line = self._lines[choice.index] = _Line()
                if line.stopped:
                    continue
                if choice.delta is not None:
                    self._grow(choice.index, line, choice.delta, bytes(choice.logprobs), out)
                if choice.finish_reason:
                    self._stop(choice.index, line, choice.finish_reason, out)
                    if self._ended:
                        return
        if usage and usage != NULL:
            self._used(usage, out)
        elif self._elsewhere and b'"usage":' in data:
            told = members(data)
            for path in self._elsewhere:
                found = dug(told, path)
                if found and found != NULL:
                    self._used(found, out)

    def _start(self, chunk: Chunk, out: list[ChatDelta]) -> None:
        self._begun = True
        out.append(Start(id=chunk.id or "", model=chunk.model or "", created=int(chunk.created or 0)))

    def _used(self, raw: bytes, out: list[ChatDelta]) -> None:
        usage = read_usage(raw, self._renames, _tier_of(self._tier))
        if usage is not None:
            self._told = True
            out.append(Used(usage))
            if self._finished:
                self._end(out)

    # -- a choice ------------------------------------------------------------------------------------------------------

    def _grow(self, index: int, line: _Line, delta: ChatPiece, logprobs: bytes, out: list[ChatDelta]) -> None:
        if delta.reasoning_details:
            for raw in delta.reasoning_details:
                self._detail(index, line, bytes(raw), out)
        else:
            thought = delta.reasoning_content or delta.reasoning
            if thought:
                self._flow(index, line, "thought", thought, b"", out)
                line.plain += len(thought)
        content = delta.content
        if content:
            if isinstance(content, str):
                self._flow(index, line, "text", content, logprobs if logprobs != NULL else b"", out)
            else:
                self._chunks(index, line, content, out)
        if delta.refusal:
            self._flow(index, line, "refusal", delta.refusal, b"", out)
        if delta.audio:
            self._audio(index, line, bytes(delta.audio), out)
        if delta.annotations:
            self._cite(index, line, delta.annotations, out)
        if delta.images:
            for image in delta.images:
                part = read_part(bytes(image), "delta.images")
                if isinstance(part, Image):
                    at = self._open(index, line, "image", part, out)
                    self._close(index, line, at, out)
        if delta.tool_calls:
            for call in delta.tool_calls:
                self._call(index, line, call, out)
        if delta.function_call is not None:
            self._call(index, line, CallPiece(index=0, function=delta.function_call), out)

    def _flow(self, index: int, line: _Line, kind: PartKind, text: str, logprobs: bytes, out: list[ChatDelta]) -> None:
        if line.flow_kind != kind:
            self._end_flow(index, line, out)
            head: Part
            if kind == "text":
                head = Text(text="")
            elif kind == "thought":
                head = Thought(text="", origin=self._origin)
            else:
                head = Refusal(text="")
            line.flow = self._open(index, line, kind, head, out)
            line.flow_kind = kind
        out.append(Piece(index, line.flow, text, logprobs))

    def _end_flow(self, index: int, line: _Line, out: list[ChatDelta]) -> None:
        if line.flow >= 0:
            self._close(index, line, line.flow, out)
            line.flow = -1
            line.flow_kind = ""
            line.detail = -1
            line.plain = 0

    def _open(self, index: int, line: _Line, kind: PartKind, head: Part, out: list[ChatDelta]) -> int:
        at = line.parts
        if at >= MOST_CALLS:
            raise WrongShape("choices.delta", "fewer parts")
        line.parts += 1
        line.open.append(at)
        out.append(Open(index, at, kind, head))
        return at

    def _close(self, index: int, line: _Line, at: int, out: list[ChatDelta]) -> None:
        line.open.remove(at)
        out.append(Close(index, at))

    def _chunks(self, index: int, line: _Line, content: list[Any], out: list[ChatDelta]) -> None:
        """Content as an array of parts (Mistral's thinking chunks)."""
        for value in content:
            part = read_part(encode(value), "delta.content")
            if isinstance(part, Text):
                if part.text:
                    self._flow(index, line, "text", part.text, b"", out)
            elif isinstance(part, Thought):
                if part.text:
                    self._flow(index, line, "thought", part.text, b"", out)
                if part.signature and line.flow_kind == "thought":
                    out.append(Sign(index, line.flow, part.signature))
            else:
                self._end_flow(index, line, out)
                at = self._open(index, line, "opaque", part, out)
                self._close(index, line, at, out)

    def _detail(self, index: int, line: _Line, raw: bytes, out: list[ChatDelta]) -> None:
        """An entry of ``reasoning_details``: a piece of the thought with its number."""
        part = read_detail(raw, "delta.reasoning_details", self._vendor)
        if isinstance(part, SealedThought):
            self._end_flow(index, line, out)
            self._close(index, line, self._open(index, line, "sealed_thought", part, out), out)
        elif isinstance(part, Thought):
            number = members(raw).get("index", b"0")
            at = int(number) if number.isdigit() else 0
            if line.plain and line.plain == len(part.text):  # told again beside its seal, as we write it ourselves
                out.append(Sign(index, line.flow, part.signature))
                self._end_flow(index, line, out)
                return
            if line.flow_kind != "thought" or line.detail != at:
                self._end_flow(index, line, out)
                head = msgspec.structs.replace(part, text="", signature=b"")
                line.flow = self._open(index, line, "thought", head, out)
                line.flow_kind, line.detail = "thought", at
            if part.text:
                out.append(Piece(index, line.flow, part.text))
            if part.signature:
                out.append(Sign(index, line.flow, part.signature))

    def _cite(self, index: int, line: _Line, annotations: list[msgspec.Raw], out: list[ChatDelta]) -> None:
        if line.flow_kind != "text":
            self._end_flow(index, line, out)
            line.flow = self._open(index, line, "text", Text(text=""), out)
            line.flow_kind = "text"
        for raw in annotations:
            out.append(Cite(index, line.flow, read_citation(bytes(raw), "delta.annotations")))

    def _audio(self, index: int, line: _Line, raw: bytes, out: list[ChatDelta]) -> None:
        if raw == NULL:
            return
        told = members(raw, "delta.audio")
        data = told.pop("data", NULL)
        transcript = told.pop("transcript", NULL)
        if line.audio < 0:
            self._end_flow(index, line, out)
            line.audio = self._open(index, line, "audio", Audio(extra=extra_of(told, CHAT)), out)
        if data != NULL:
            out.append(Piece(index, line.audio, string(data, "delta.audio.data")))
        if transcript != NULL and (text := string(transcript, "delta.audio.transcript")):
            if line.transcript < 0:
                line.transcript = self._open(index, line, "text", Text(text="", extra=TRANSCRIPT), out)
            out.append(Piece(index, line.transcript, text))

    def _call(self, index: int, line: _Line, call: CallPiece, out: list[ChatDelta]) -> None:
        inner = call.custom if call.custom is not None else call.function
        name = (inner.name or "") if inner is not None else ""
        text = ""
        if inner is not None:
            value = inner.input if call.custom is not None else inner.arguments
            if value is not None:
                text = value if isinstance(value, str) else encode(value).decode()
        at = self._which(line, call, name)
        part = line.calls.get(at, -1)
        if part < 0:
            if not name:  # its name is still to come
                id, held = line.waiting.setdefault(at, (call.id or "", []))
                if len(held) < MOST_CALLS and text:
                    held.append(text)
                return
            id, held = line.waiting.pop(at, (call.id or "", []))
            id = call.id or id or ("call_" + name if call.index == 0 and call.type is None else "")
            self._end_flow(index, line, out)
            head = ToolCall(
                id=id, name=self._aliases.get(name, name), arguments="", origin=self._origin,
                custom=call.custom is not None,
            )  # fmt: skip
            part = line.calls[at] = self._open(index, line, "tool_call", head, out)
            line.ids[at] = id
            text = "".join(held) + text
        line.last = at
        if text:
            out.append(Piece(index, part, text))
        if call.extra_content:
            seal, _ = read_call_seal(bytes(call.extra_content), self._vendor)
            if seal:
                out.append(Sign(index, part, seal))

    def _which(self, line: _Line, call: CallPiece, name: str) -> int:
        """The number of the call that a fragment belongs to. Some vendors leave the index out, some give every call
        the same; an id that is new together with a name is a new call."""
        id = call.id or ""
        at = call.index
        if at is None:
            if id:
                for known, known_id in line.ids.items():
                    if known_id == id:
                        return known
                return max(line.calls, default=-1) + 1
            return max(line.calls, default=-1) + 1 if name else max(line.last, 0)
        at = line.now.get(at, at)
        if id and at in line.calls and id != line.ids[at]:
            for known, known_id in line.ids.items():
                if known_id == id:
                    return known
            if name:
                line.now[call.index or 0] = at = max(line.calls) + 1
        return at

    def _stop(self, index: int, line: _Line, word: str, out: list[ChatDelta]) -> None:
        stop = STOPS.get(word, "stop")
        if stop == "broken":
            self._fail(out, Failed("bad_upstream", "model_error", "The model broke off with an error."))
            return
        self._finish(index, line, stop, out)

    def _finish(self, index: int, line: _Line, stop: Stop, out: list[ChatDelta]) -> None:
        refused = line.flow_kind == "refusal"
        for at in list(line.open):
            self._close(index, line, at, out)
        line.flow = -1
        if stop == "stop":
            stop = "tool_calls" if line.calls else "refusal" if refused else "stop"
        line.stopped = True
        out.append(Stopped(index, stop))

    # -- its end -------------------------------------------------------------------------------------------------------

    def _done(self, out: list[ChatDelta]) -> None:
        if self._finished:
            return
        self._finished = True
        if not self._lines:
            self._fail(out, Failed("bad_upstream", "empty_answer", "The stream held no answer."))
            return
        for index, line in self._lines.items():
            if not line.stopped:
                self._finish(index, line, "stop", out)
        if self._told:
            self._end(out)  # else usage may still come

    def _refused(self, data: bytes, out: list[ChatDelta]) -> None:
        words, message = error_words(data)
        try:
            told = members(data)
            status = error_status(told.get("error", data), 500)
        except WrongShape:
            status = 500
        if status == 500 and "rate_limit" in words:
            status = 429
        self._fail(out, failed_by(upstream_fault(status, words, message, {}, 0.0)))

    def _fail(self, out: list[ChatDelta], failed: Failed) -> None:
        self._ended = True
        out.append(failed)
        out.append(END)

    def _end(self, out: list[ChatDelta]) -> None:
        self._ended = True
        out.append(END)


def failed_by(fault: Fault) -> Failed:
    """The delta that says *fault* in a stream."""
    return Failed(fault.code, fault.reason, fault.detail, fault.retry_after)


def _tier_of(word: str) -> str:
    return "standard" if word == "default" else word


def _objects(data: bytes) -> list[bytes]:
    """The JSON values that stand one behind the other in *data*; [] when it is not so."""
    try:
        text = data.decode()
        found: list[bytes] = []
        at = 0
        while at < len(text):
            _, end = _boundaries(text, at)
            found.append(text[at:end].encode())
            at = end
            while at < len(text) and text[at] in " \t\r\n":
                at += 1
    except (ValueError, UnicodeDecodeError, RecursionError):
        return []
    return found
