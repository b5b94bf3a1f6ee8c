"""The stream of a text completion, both ways: texts of several choices, and nothing else (LLM 5.10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    Close,
    End,
    Failed,
    Open,
    Piece,
    Start,
    Stop,
    Stopped,
    Text,
    Usage,
    Used,
)
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.rules.error_object import error_body, error_status, error_words
from tidegate.rules.upstream_fault import upstream_fault
from tidegate.rules.usage_merge import largest
from tidegate.wire.json_object import NULL, encode
from tidegate.wire.openai_frames import ChoicePiece, decode_chunk
from tidegate.wire.sse import encode_comment, encode_event
from tidegate.wire.token_usage import chat_usage, read_usage

STOPS: Final[dict[str, Stop]] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
WORDS: Final[dict[str, str]] = {
    "length": "length", "context_length": "length", "content_filter": "content_filter", "refusal": "content_filter",
}  # fmt: skip
_MOST_CHOICES: Final = 128


class CompletionEventReader:
    """Mutable state: the choices that have begun and those that have stopped."""

    def __init__(self, renames: Mapping[str, str]) -> None:
        self._renames = renames
        self._begun = False
        self._done = False
        self._ended = False
        self._told = False
        self._open: set[int] = set()
        self._stopped: set[int] = set()

    def feed(self, event: str, data: bytes) -> list[ChatDelta]:
        out: list[ChatDelta] = []
        data = data.strip()
        if self._ended or not data:
            return out
        if data == b"[DONE]":
            return self._finish(out)
        try:
            chunk = decode_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._fail(out, Failed("bad_upstream", "bad_event", "An event of the stream is no chunk."))
        if event == "error" or (chunk.error and bytes(chunk.error) != NULL):
            words, message = error_words(data)
            status = error_status(bytes(chunk.error) or data, 500)
            fault = upstream_fault(status, words, message, {}, 0.0)
            return self._fail(out, Failed(fault.code, fault.reason, fault.detail, fault.retry_after))
        usage = bytes(chunk.usage)
        if not self._begun and (chunk.choices or (usage and usage != NULL)):
            self._begun = True
            out.append(Start(id=chunk.id or "", model=chunk.model or "", created=int(chunk.created or 0)))
        for choice in chunk.choices or ():
            if not self._done and 0 <= choice.index < _MOST_CHOICES:
                self._grow(choice, out)
        if usage and usage != NULL:
            found = read_usage(usage, self._renames)
            if found is not None:
                self._told = True
                out.append(Used(found))
                if self._done:
                    self._end(out)
        return out

    def _grow(self, choice: ChoicePiece, out: list[ChatDelta]) -> None:
        index = choice.index
        if index in self._stopped:
            return
        if choice.text:
            if index not in self._open:
                self._open.add(index)
                out.append(Open(index, 0, "text", Text(text="")))
            out.append(Piece(index, 0, choice.text))
        if choice.finish_reason:
            self._stop(index, STOPS.get(choice.finish_reason, "stop"), out)

    def _stop(self, index: int, stop: Stop, out: list[ChatDelta]) -> None:
        self._stopped.add(index)
        if index in self._open:
            self._open.remove(index)
            out.append(Close(index, 0))
        out.append(Stopped(index, stop))

    def _finish(self, out: list[ChatDelta]) -> list[ChatDelta]:
        if not self._done:
            self._done = True
            for index in sorted(self._open):
                self._stop(index, "stop", out)
            if not self._stopped:
                return self._fail(out, Failed("bad_upstream", "empty_answer", "The stream held no answer."))
            if self._told:
                self._end(out)
        return out

    def close(self) -> list[ChatDelta]:
        out: list[ChatDelta] = []
        if self._ended:
            return out
        if self._done:
            self._end(out)
            return out
        return self._fail(out, Failed("bad_upstream", "incomplete_stream", "The stream ended before its end."))

    def _fail(self, out: list[ChatDelta], failed: Failed) -> list[ChatDelta]:
        out.append(failed)
        self._end(out)
        return out

    def _end(self, out: list[ChatDelta]) -> None:
        self._ended = True
        out.append(END)


class CompletionEventWriter:
    """Writes one stream; what is no text is lost."""

    def __init__(self, id: str, created: int, model: str, want_usage: bool) -> None:
        self.losses: list[str] = []
        self._id = id
        self._created = created
        self._model = model
        self._want_usage = want_usage
        self._tail = b',"usage":null}\n\n' if want_usage else b"}\n\n"
        self._head = b""
        self._texts: set[tuple[int, int]] = set()
        self._usage: Usage | None = None
        self._failed = False

    def comment(self, text: str) -> bytes:
        return encode_comment(text)

    def heartbeat(self) -> bytes:
        return b":\n\n"

    def write(self, delta: ChatDelta) -> bytes:
        if isinstance(delta, Piece):
            if (delta.choice, delta.part) not in self._texts:
                return b""
            return self._chunk(delta.choice, encode(delta.text), b"null")
        if isinstance(delta, Open):
            if isinstance(delta.head, Text):
                self._texts.add((delta.choice, delta.part))
                return self._chunk(delta.choice, encode(delta.head.text), b"null") if delta.head.text else b""
            self.losses.append(delta.kind)
        elif isinstance(delta, Start):
            if delta.usage is not None:
                self._usage = largest(self._usage, delta.usage)
            self._head = b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,"choices":[' % (
                encode(self._id), delta.created or self._created, encode(delta.model or self._model),
            )  # fmt: skip
        elif isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
        elif isinstance(delta, Stopped):
            if delta.stop == "broken":
                return self._fail(Fault("bad_upstream", "The model broke off.", side=UPSTREAM))
            return self._chunk(delta.choice, b'""', encode(WORDS.get(delta.stop, "stop")))
        elif isinstance(delta, Failed):
            return self._fail(Fault(delta.code, delta.detail, reason=delta.reason, side=UPSTREAM))
        elif isinstance(delta, End) and not self._failed:
            if not self._want_usage or self._usage is None:
                return b"data: [DONE]\n\n"
            return b'%b],"usage":%b}\n\ndata: [DONE]\n\n' % (self._head, encode(chat_usage(self._usage)))
        return b""

    def _chunk(self, choice: int, text: bytes, finish: bytes) -> bytes:
        return b'%b{"index":%d,"text":%b,"logprobs":null,"finish_reason":%b}]%b' % (
            self._head, choice, text, finish, self._tail,
        )  # fmt: skip

    def _fail(self, fault: Fault) -> bytes:
        if self._failed:
            return b""
        self._failed = True
        return encode_event("error", error_body(fault))
