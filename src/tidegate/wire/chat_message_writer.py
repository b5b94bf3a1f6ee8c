"""Messages of the chat dialect, written: turns for a provider, an answer's parts for a client (LLM 5.2-5.6).

What the target cannot say is left out and named in ``losses``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tidegate.exchange.chat import (
    Audio,
    Citation,
    Cited,
    Extra,
    Image,
    Message,
    Opaque,
    Part,
    Refusal,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from tidegate.wire.chat_messages import TRANSCRIPT
from tidegate.wire.chat_parts import CHAT, PartWriter, spelling
from tidegate.wire.chat_thoughts import call_seal, detail, needs_details
from tidegate.wire.data_url import data_url
from tidegate.wire.json_object import encode, raw_of, string

CHUNKS: Final = "content"
"""As the member for thoughts: they stand in ``content`` as parts of type ``thinking`` (Mistral)."""


class Manner(NamedTuple):
    """How a target wants its messages.

    vendor    whose seals it understands
    lacks     parts it does not take
    rename    role -> role
    thoughts  the member that brings thoughts back; "" when the target takes none
    replay    ``never``, ``tool_turns`` or ``always``
    mark      the member of a cache mark
    aliases   tool name -> name as sent
    fit       id of a call -> id the target takes
    """

    vendor: str
    lacks: frozenset[str]
    rename: Mapping[str, str]
    thoughts: str
    replay: str
    mark: str
    aliases: Mapping[str, str]
    fit: Callable[[str], str]


class MessageWriter:
    """Writes the messages of one request. ``losses`` grows; what may go as it came goes as it came."""

    def __init__(self, manner: Manner, losses: list[str], marks: int) -> None:
        self.manner = manner
        self.losses = losses
        self.parts = PartWriter(CHAT, manner.lacks, manner.mark, losses)
        self.parts.skip_marks = max(0, marks - 4)
        self.as_it_came = (
            not manner.aliases
            and not manner.lacks & {"image", "audio", "file", "cache", "name"}
            and not {"developer", "system", "tool"} & manner.rename.keys()
            and self.parts.skip_marks == 0
        )

    def messages(self, messages: tuple[Message, ...]) -> list[Any]:
        written: list[Any] = []
        for number, message in enumerate(messages):
            if self.as_it_came and self._may_pass(message):
                written.append(raw_of(message.raw))
            elif message.role == "assistant":
                written.append(self._assistant(message, f"messages[{number}]"))
            else:
                self._other(message, f"messages[{number}]", written)
        return written

    def _may_pass(self, message: Message) -> bool:
        if not message.raw or message.extra is None or message.extra.dialect != CHAT:
            return False
        for part in message.parts:
            if isinstance(part, (Thought, SealedThought)):
                return False
            if isinstance(part, ToolCall) and (part.signature or self.manner.fit(part.id) != part.id):
                return False
            if isinstance(part, ToolResult) and self.manner.fit(part.call_id) != part.call_id:
                return False
        return True

    def _role(self, message: Message) -> str:
        word = spelling(message.extra, "role") or message.role
        return self.manner.rename.get(word, word)

    def _other(self, message: Message, where: str, written: list[Any]) -> None:
        """A turn of the system, the user or tools; each tool's result is a message of its own."""
        content: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                written.append(self._result(part, message, where))
            else:
                content.append(part)
        if content or not message.parts:
            role = "user" if message.role == "tool" else self._role(message)
            body: dict[str, Any] = {"role": role, "content": self.parts.content(content, where)}
            self._name(message, body, where)
            self._extra(message.extra, body, where)
            written.append(body)

    def _result(self, part: ToolResult, message: Message, where: str) -> Any:
        legacy = self._role(message) == "function"
        parts: list[Part] = []
        for inner in part.parts:
            if isinstance(inner, (Text, Cited)) or (isinstance(inner, Opaque) and inner.dialect == CHAT):
                parts.append(inner)
            else:
                self.losses.append(f"{where}.tool_result.{type(inner).__name__.lower()}")
        content = self.parts.content(parts, where) if parts else ""
        if part.is_error:
            self.losses.append(where + ".is_error")
        body: dict[str, Any]
        if legacy:
            body = {"role": "function", "name": part.name, "content": content}
        else:
            body = {"role": "tool", "tool_call_id": self.manner.fit(part.call_id), "content": content}
            if part.name and message.extra is not None and message.extra.dialect == CHAT:
                body["name"] = self.manner.aliases.get(part.name, part.name)
        self._extra(message.extra, body, where)
        return body

    def _name(self, message: Message, body: dict[str, Any], where: str) -> None:
        if message.name:
            if "name" in self.manner.lacks:
                self.losses.append(where + ".name")
            else:
                body["name"] = message.name

    def _extra(self, extra: Extra | None, body: dict[str, Any], where: str) -> None:
        if extra is not None:
            if extra.dialect == CHAT:
                for name, value in extra.members:
                    if value:
                        body.setdefault(name, raw_of(value))
            else:
                self.losses.extend([f"{where}.{name}" for name, value in extra.members if value])

    def _assistant(self, message: Message, where: str) -> dict[str, Any]:
        content: list[Part] = []
        calls: list[Any] = []
        body: dict[str, Any] = {"role": "assistant", "content": None}
        thoughts: list[Thought | SealedThought] = []
        for part in message.parts:
            if isinstance(part, (Thought, SealedThought)):
                thoughts.append(part)
            elif isinstance(part, ToolCall):
                calls.append(self._call(part, where))
            elif isinstance(part, Audio):
                id = part.file_id or _extra_text(part.extra, "id")
                if id:
                    body["audio"] = {"id": id}
                else:
                    self.losses.append(where + ".audio")
            elif isinstance(part, Opaque) and part.dialect == CHAT and part.kind not in ("", "text"):
                calls.append(raw_of(part.value))
            elif part.extra != TRANSCRIPT:
                content.append(part)
        self._thoughts(thoughts, bool(calls), body, content, where)
        if content:
            body["content"] = self.parts.content(content, where)
        self._name(message, body, where)
        if calls:
            body["tool_calls"] = calls
        self._extra(message.extra, body, where)
        return body

    def _thoughts(
        self,
        thoughts: list[Thought | SealedThought],
        has_calls: bool,
        body: dict[str, Any],
        content: list[Part],
        where: str,
    ) -> None:
        manner = self.manner
        own = [part for part in thoughts if part.origin is None or part.origin.vendor == manner.vendor]
        if len(own) < len(thoughts) or (own and not manner.thoughts):
            self.losses.append(where + ".thinking")
        if not own or not manner.thoughts:
            return
        if manner.replay == "never" or (manner.replay == "tool_turns" and not has_calls):
            return
        if manner.thoughts == CHUNKS:
            content[:0] = [Opaque(dialect=CHAT, kind="text", value=_chunk(part)) for part in own
                           if isinstance(part, Thought)]  # fmt: skip
            return
        body[manner.thoughts] = "".join([part.text for part in own if isinstance(part, Thought)])
        if any(needs_details(part) for part in own):
            body["reasoning_details"] = [detail(part, index, manner.vendor) for index, part in enumerate(own)]

    def _call(self, part: ToolCall, where: str) -> dict[str, Any]:
        manner = self.manner
        body = call_object(part, manner.fit(part.id), manner.aliases.get(part.name, part.name))
        if part.signature:
            if part.origin is None or part.origin.vendor == manner.vendor:
                body["extra_content"] = call_seal(part.signature, part.origin)
            else:
                self.losses.append(where + ".thinking.signature")
        self._extra(part.extra, body, where + ".tool_calls")
        return body


def _chunk(part: Thought) -> bytes:
    body: dict[str, Any] = {"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}
    if part.signature:
        body["signature"] = part.signature.decode("utf-8", "surrogatepass")
    return encode(body)


def call_object(part: ToolCall, id: str, name: str) -> dict[str, Any]:
    """A call without its seal."""
    if part.custom:
        return {"id": id, "type": "custom", "custom": {"name": name, "input": part.arguments}}
    return {"id": id, "type": "function", "function": {"name": name, "arguments": part.arguments or "{}"}}


def citation_object(citation: Citation) -> dict[str, Any]:
    """An entry of ``annotations``."""
    if citation.extra is not None and citation.extra.dialect == CHAT and not citation.url:
        return {name: raw_of(value) for name, value in citation.extra.members}
    inner: dict[str, Any] = {
        "url": citation.url,
        "title": citation.title,
        "start_index": max(citation.start, 0),
        "end_index": max(citation.end, 0),
    }
    if citation.extra is not None and citation.extra.dialect == CHAT:
        for name, value in citation.extra.members:
            inner.setdefault(name, raw_of(value))
    return {"type": "url_citation", "url_citation": inner}


def answer_message(parts: tuple[Part, ...], losses: list[str], where: str) -> dict[str, Any]:
    """The ``message`` of a choice, for a client."""
    content: list[str] = []
    refusal: list[str] = []
    thoughts: list[Thought | SealedThought] = []
    calls: list[Any] = []
    annotations: list[Any] = []
    images: list[Any] = []
    spoken: list[str] = []
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    for part in parts:
        if isinstance(part, (Text, Cited)):
            (spoken if part.extra == TRANSCRIPT else content).append(part.text)
            if isinstance(part, Cited):
                annotations += [citation_object(citation) for citation in part.citations]
        elif isinstance(part, Refusal):
            refusal.append(part.text)
        elif isinstance(part, (Thought, SealedThought)):
            thoughts.append(part)
        elif isinstance(part, ToolCall):
            call = call_object(part, part.id, part.name)
            if part.signature:
                call["extra_content"] = call_seal(part.signature, part.origin)
            if part.extra is not None and part.extra.dialect == CHAT:
                for name, value in part.extra.members:
                    call.setdefault(name, raw_of(value))
            calls.append(call)
        elif isinstance(part, Audio):
            message["audio"] = _audio(part)
        elif isinstance(part, Image) and (part.data or part.url):
            url = data_url(part.mime, part.data) if part.data else part.url
            images.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part, Opaque) and part.dialect == CHAT:
            calls.append(raw_of(part.value))
        else:
            losses.append(f"{where}.{part.kind if isinstance(part, Opaque) else type(part).__name__.lower()}")
    if content:
        message["content"] = "".join(content)
    if refusal:
        message["refusal"] = "".join(refusal)
    if spoken and "audio" in message:
        message["audio"]["transcript"] = "".join(spoken)
    _answer_thoughts(thoughts, message)
    if annotations:
        message["annotations"] = annotations
    if images:
        message["images"] = images
    if calls:
        message["tool_calls"] = calls
    return message


def _answer_thoughts(thoughts: list[Thought | SealedThought], message: dict[str, Any]) -> None:
    text = "".join([part.text for part in thoughts if isinstance(part, Thought)])
    if text:
        message["reasoning_content"] = text
    if any(needs_details(part) for part in thoughts):
        message["reasoning_details"] = [detail(part, index, "") for index, part in enumerate(thoughts)]


def _audio(part: Audio) -> dict[str, Any]:
    body: dict[str, Any] = {"id": part.file_id, "data": part.data.decode("latin-1"), "expires_at": 0, "transcript": ""}
    if part.extra is not None and part.extra.dialect == CHAT:
        body.update({name: raw_of(value) for name, value in part.extra.members})
    return body


def _extra_text(extra: Extra | None, name: str) -> str:
    if extra is not None and extra.dialect == CHAT:
        for member, value in extra.members:
            if member == name and value[:1] == b'"':
                return string(value)
    return ""
