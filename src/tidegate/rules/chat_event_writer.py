"""The stream of a chat answer, written: one delta in, the chunks for it out (LLM 5.10).

The words around a piece of text are made once: a piece costs one encoding of its text.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.exchange.chat import (
    Audio,
    ChatDelta,
    Cite,
    Close,
    End,
    Failed,
    Image,
    Opaque,
    Open,
    Part,
    Piece,
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
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.rules.error_object import error_body
from tidegate.rules.usage_merge import largest
from tidegate.wire.chat_message_writer import citation_object
from tidegate.wire.chat_messages import TRANSCRIPT
from tidegate.wire.chat_parts import CHAT
from tidegate.wire.chat_thoughts import call_seal, detail, needs_details
from tidegate.wire.data_url import data_url
from tidegate.wire.json_object import encode, raw_of
from tidegate.wire.sse import encode_comment, encode_event
from tidegate.wire.token_usage import chat_usage

DONE: Final = b"data: [DONE]\n\n"
HEARTBEAT: Final = b":\n\n"

WORDS: Final[dict[Stop, str]] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "context_length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "stop",
    "pause": "stop",
    "broken": "stop",
}
"""Stop -> ``finish_reason`` (LLM 5.8)."""

THOUGHT_SIZE: Final = 262_144
"""Characters of one thought that are kept to be told again beside its signature."""


class _Growing:
    """An open part. ``call``: its number among the calls of its choice."""

    def __init__(self, head: Part, call: int) -> None:
        self.head = head
        self.call = call
        self.texts: list[str] = []
        self.size = 0
        self.signature = b""


class ChatEventWriter:
    """Writes one stream. ``losses`` grows.

    id            of every chunk; *created* seconds since the epoch, where ``Start`` names none
    model         where ``Start`` names none
    want_usage    the client asked for the usage chunk
    legacy        the client knows ``function_call`` only
    """

    def __init__(self, id: str, created: int, model: str, want_usage: bool, legacy: bool = False) -> None:
        self.losses: list[str] = []
        self._id = id
        self._created = created
        self._model = model
        self._want_usage = want_usage
        self._legacy = legacy
        self._head = b""
        self._tail = b',"usage":null}\n\n' if want_usage else b"}\n\n"
        self._open: dict[tuple[int, int], _Growing] = {}
        self._calls: dict[int, int] = {}
        self._details: dict[int, int] = {}
        self._begun: set[int] = set()
        self._usage: Usage | None = None
        self._failed = False

    def comment(self, text: str) -> bytes:
        return encode_comment(text)

    def heartbeat(self) -> bytes:
        return HEARTBEAT

    def write(self, delta: ChatDelta) -> bytes:
        if isinstance(delta, Piece):
            return self._piece(delta)
        if isinstance(delta, Open):
            return self._opened(delta)
        if isinstance(delta, Close):
            return self._closed(delta)
        if isinstance(delta, Used):
            self._usage = largest(self._usage, delta.usage)
        elif isinstance(delta, Sign):
            return self._signed(delta)
        elif isinstance(delta, Cite):
            return self._chunk(delta.choice, b'{"annotations":%b}' % encode([citation_object(delta.citation)]))
        elif isinstance(delta, Stopped):
            return self._stopped(delta)
        elif isinstance(delta, Start):
            self._start(delta)
        elif isinstance(delta, Failed):
            return self._fail(Fault(delta.code, delta.detail, reason=delta.reason, side=UPSTREAM))
        elif isinstance(delta, End):
            return b"" if self._failed else self._end()
        return b""

    def _start(self, delta: Start) -> None:
        self._model = delta.model or self._model
        self._created = delta.created or self._created
        if delta.usage is not None:
            self._usage = largest(self._usage, delta.usage)
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            encode(self._id),
            self._created,
            encode(self._model),
        )

    def _chunk(self, choice: int, delta: bytes, logprobs: bytes = b"") -> bytes:
        if logprobs:
            return b'%b{"index":%d,"delta":%b,"logprobs":%b,"finish_reason":null}]%b' % (
                self._head, choice, delta, logprobs, self._tail,
            )  # fmt: skip
        return b'%b{"index":%d,"delta":%b,"finish_reason":null}]%b' % (self._head, choice, delta, self._tail)

    def _opened(self, delta: Open) -> bytes:
        choice = delta.choice
        first = b""
        if choice not in self._begun:
            self._begun.add(choice)
            first = self._chunk(choice, b'{"role":"assistant","content":""}')
        head = delta.head
        number = -1
        told = b""
        if isinstance(head, ToolCall):
            number = self._calls.get(choice, 0)
            self._calls[choice] = number + 1
            told = self._call(choice, number, head)
        elif isinstance(head, Image):
            if head.data or head.url:
                url = data_url(head.mime, head.data) if head.data else head.url
                told = self._chunk(choice, encode({"images": [{"type": "image_url", "image_url": {"url": url}}]}))
        elif isinstance(head, Opaque):
            self.losses.append(f"choices[{choice}].{head.kind}")
        elif isinstance(head, Audio):
            body = {"id": head.file_id}
            if head.extra is not None and head.extra.dialect == CHAT:
                body |= {name: raw_of(value) for name, value in head.extra.members}  # type: ignore[misc]
            told = self._chunk(choice, encode({"audio": body}))
            if head.data:
                told += self._chunk(choice, encode({"audio": {"data": head.data.decode("latin-1")}}))
        self._open[choice, delta.part] = growing = _Growing(head, number)
        if isinstance(head, (Text, Thought)) and head.text:
            told += self._text(growing, choice, head.text, b"")
        return first + told

    def _call(self, choice: int, number: int, head: ToolCall) -> bytes:
        if self._legacy:
            return self._chunk(choice, encode({"function_call": {"name": head.name, "arguments": head.arguments}}))
        call: dict[str, Any] = {"index": number, "id": head.id}
        if head.custom:
            call |= {"type": "custom", "custom": {"name": head.name, "input": head.arguments}}
        else:
            call |= {"type": "function", "function": {"name": head.name, "arguments": head.arguments}}
        if head.signature:
            call["extra_content"] = call_seal(head.signature, head.origin)
        return self._chunk(choice, encode({"tool_calls": [call]}))

    def _piece(self, delta: Piece) -> bytes:
        growing = self._open.get((delta.choice, delta.part))
        if growing is None or not delta.text:
            return b""
        return self._text(growing, delta.choice, delta.text, delta.logprobs)

    def _text(self, growing: _Growing, choice: int, text: str, logprobs: bytes) -> bytes:
        head = growing.head
        if isinstance(head, Text):
            if head.extra is not None and head.extra == TRANSCRIPT:
                return self._chunk(choice, b'{"audio":{"transcript":%b}}' % encode(text))
            return self._chunk(choice, b'{"content":%b}' % encode(text), logprobs)
        if isinstance(head, ToolCall):
            if self._legacy:
                return self._chunk(choice, b'{"function_call":{"arguments":%b}}' % encode(text))
            form = (
                b'{"tool_calls":[{"index":%d,"custom":{"input":%b}}]}'
                if head.custom
                else b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}'
            )
            return self._chunk(choice, form % (growing.call, encode(text)))
        if isinstance(head, Thought):
            growing.size += len(text)
            if growing.size <= THOUGHT_SIZE:
                growing.texts.append(text)
            return self._chunk(choice, b'{"reasoning_content":%b}' % encode(text))
        if isinstance(head, SealedThought):
            growing.texts.append(text)
            return b""
        if isinstance(head, Audio):
            return self._chunk(choice, b'{"audio":{"data":%b}}' % encode(text))
        if isinstance(head, Image):
            growing.texts.append(text)
            return b""
        return self._chunk(choice, b'{"refusal":%b}' % encode(text))

    def _signed(self, delta: Sign) -> bytes:
        growing = self._open.get((delta.choice, delta.part))
        if growing is None:
            return b""
        growing.signature = delta.signature
        head = growing.head
        if isinstance(head, ToolCall) and not self._legacy and head.signature != delta.signature:
            call = {"index": growing.call, "extra_content": call_seal(delta.signature, head.origin)}
            return self._chunk(delta.choice, encode({"tool_calls": [call]}))
        return b""

    def _closed(self, delta: Close) -> bytes:
        """A sealed or signed thought is told whole at its end, so that a client can send it back."""
        growing = self._open.pop((delta.choice, delta.part), None)
        if growing is None:
            return b""
        head = growing.head
        part: Thought | SealedThought
        if isinstance(head, SealedThought):
            part = SealedThought(
                data=head.data + "".join(growing.texts).encode(), origin=head.origin, id=head.id, extra=head.extra
            )
        elif isinstance(head, Thought):
            part = Thought(
                text="".join(growing.texts),
                signature=growing.signature or head.signature,
                origin=head.origin,
                summary=head.summary,
                id=head.id,
                extra=head.extra,
            )
            if not needs_details(part):
                return b""
            if growing.size > THOUGHT_SIZE:
                self.losses.append(f"choices[{delta.choice}].thinking.signature")
                return b""
        elif isinstance(head, Image) and growing.texts:
            url = data_url(head.mime, head.data + "".join(growing.texts).encode("latin-1", "replace"))
            body = {"images": [{"type": "image_url", "image_url": {"url": url}}]}
            return self._chunk(delta.choice, encode(body))
        else:
            return b""
        number = self._details.get(delta.choice, 0)
        self._details[delta.choice] = number + 1
        return self._chunk(delta.choice, encode({"reasoning_details": [detail(part, number, "")]}))

    def _stopped(self, delta: Stopped) -> bytes:
        if delta.stop == "broken":
            return self._fail(Fault("bad_upstream", "The model broke off.", reason="model_error", side=UPSTREAM))
        if self._failed:
            return b""
        first = b""
        if delta.choice not in self._begun:
            first = self._chunk(delta.choice, b'{"role":"assistant","content":""}')
        word = WORDS[delta.stop]
        if self._legacy and word == "tool_calls":
            word = "function_call"
        if delta.stop == "pause":
            self.losses.append("pause")
        return b'%b%b{"index":%d,"delta":{},"finish_reason":"%b"}]%b' % (
            first,
            self._head,
            delta.choice,
            word.encode(),
            self._tail,
        )

    def _fail(self, fault: Fault) -> bytes:
        if self._failed:
            return b""
        self._failed = True
        return encode_event("error", error_body(fault))

    def _end(self) -> bytes:
        if not self._want_usage or self._usage is None:
            return DONE
        body = encode(chat_usage(self._usage))
        tier = b""
        if self._usage.tier:
            tier = b',"service_tier":%b' % encode(_tier(self._usage.tier))
        return b'%b]%b,"usage":%b}\n\n%b' % (self._head, tier, body, DONE)


def _tier(word: str) -> str:
    return "default" if word == "standard" else word
