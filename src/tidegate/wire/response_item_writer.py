"""Items of the Responses dialect, written: turns for a provider, an answer's output for a client (LLM 5.2-5.6).

``fit`` turns a call's id into one the target takes; ``own_id`` makes an item id of this dialect (``fc_``, ``rs_``,
``msg_``) out of any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from tidegate.exchange.chat import (
    Audio,
    Citation,
    Cited,
    Extra,
    File,
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
    Video,
)  # fmt: skip
from tidegate.wire.chat_parts import BREAKPOINT, mark_of, own_members, spelling
from tidegate.wire.data_url import data_url
from tidegate.wire.json_object import items, raw_of
from tidegate.wire.response_items import OWNER, RESPONSES, SEAL

INSTRUCTIONS: Final = Extra(RESPONSES, (("instructions", b""),))
"""Marks the system turn that stood in ``instructions``."""


class Manner(NamedTuple):
    """How a target wants its items: whose seals it understands, what it lacks, how names and ids are sent."""

    vendor: str
    lacks: frozenset[str]
    aliases: Mapping[str, str]
    fit: Callable[[str], str]
    own_id: Callable[[str, str], str]


class ItemWriter:
    """Writes the ``input`` of one request; ``losses`` grows."""

    def __init__(self, manner: Manner, losses: list[str]) -> None:
        self.manner = manner
        self.losses = losses

    def items(self, messages: Iterable[tuple[int, Message]]) -> list[Any]:
        written: list[Any] = []
        for number, message in messages:
            where = f"messages[{number}]"
            if self._may_pass(message):
                written += [raw_of(item) for item in items(message.raw)]
            elif message.role == "assistant":
                self._assistant(message, where, written)
            else:
                self._other(message, where, written)
        return written

    def _may_pass(self, message: Message) -> bool:
        manner = self.manner
        if not message.raw or message.extra is None or message.extra.dialect != RESPONSES or manner.aliases:
            return False
        if manner.lacks & {"image", "file", "audio", "cache"}:
            return False
        for part in message.parts:
            if isinstance(part, (Thought, SealedThought)) and not self._is_own(part):
                return False
        return b'"' + SEAL.encode() not in message.raw

    def _is_own(self, part: Thought | SealedThought) -> bool:
        return part.origin is not None and part.origin.vendor == self.manner.vendor

    def _other(self, message: Message, where: str, written: list[Any]) -> None:
        content: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                written.append(self._result(part, message, where))
            else:
                content.append(part)
        if content or not message.parts:
            role = "user" if message.role == "tool" else message.role
            body: dict[str, Any] = {"role": spelling(message.extra, "role", RESPONSES) or role}
            if len(content) == 1 and type(content[0]) is Text and content[0].cache is None and content[0].extra is None:
                body["content"] = content[0].text
            else:
                body["content"] = self._content(content, where)
            self._more(message, body, where)
            written.append(body)

    def _result(self, part: ToolResult, message: Message, where: str) -> Any:
        body: dict[str, Any] = {
            "type": spelling(message.extra, "type", RESPONSES) or "function_call_output",
            "call_id": self.manner.fit(part.call_id),
        }
        if all(type(inner) is Text and inner.extra is None for inner in part.parts):
            body["output"] = "".join([inner.text for inner in part.parts if isinstance(inner, Text)])
        else:
            body["output"] = self._content(list(part.parts), where)
        if part.is_error:
            self.losses.append(where + ".is_error")
        self._more(message, body, where)
        return body

    def _more(self, message: Message, body: dict[str, Any], where: str) -> None:
        if message.name:
            self.losses.append(where + ".name")
        if message.extra is None:
            return
        if message.extra.dialect != RESPONSES:
            self.losses += [f"{where}.{name}" for name, value in message.extra.members if value]
            return
        if message.id:
            body["id"] = message.id
        for name, value in message.extra.members:
            if value:
                body.setdefault(name, raw_of(value))

    def _content(self, parts: list[Part], where: str) -> list[Any]:
        written: list[Any] = []
        for part in parts:
            one = self._part(part, where)
            if one is not None:
                if part.cache is not None and "cache" not in self.manner.lacks:
                    one[BREAKPOINT] = mark_of(part.cache, False, self.losses)
                for name, value in own_members(part.extra, RESPONSES).items():
                    one.setdefault(name, raw_of(value))
                written.append(one)
            elif isinstance(part, Opaque) and part.dialect == RESPONSES:
                written.append(raw_of(part.value))
        return written

    def _part(self, part: Part, where: str) -> dict[str, Any] | None:
        lacks = self.manner.lacks
        if isinstance(part, (Text, Cited)):
            return {"type": "input_text", "text": part.text}
        if isinstance(part, Refusal):
            return {"type": "input_text", "text": part.text}
        body: dict[str, Any]
        if isinstance(part, Image) and "image" not in lacks:
            body = {"type": "input_image", "detail": part.detail or "auto"}
            if part.file_id:
                body["file_id"] = part.file_id
            else:
                body["image_url"] = data_url(part.mime, part.data) if part.data else part.url
            return body
        if isinstance(part, File) and "file" not in lacks:
            return self._file(part)
        if isinstance(part, Opaque) and part.dialect == RESPONSES:
            return None
        kind = part.kind if isinstance(part, Opaque) else type(part).__name__.lower()
        if isinstance(part, (Audio, Video)):
            kind = type(part).__name__.lower()
        self.losses.append(f"{where}.{kind}")
        return None

    def _file(self, part: File) -> dict[str, Any]:
        if part.text and not part.data:
            return {"type": "input_text", "text": part.text}
        body: dict[str, Any] = {"type": "input_file"}
        if part.title:
            body["filename"] = part.title
        if part.detail:
            body["detail"] = part.detail
        if part.url:
            body["file_url"] = part.url
        elif part.file_id:
            body["file_id"] = part.file_id
        else:
            body["file_data"] = data_url(part.mime, part.data) if part.mime else part.data.decode("latin-1")
        return body

    def _assistant(self, message: Message, where: str, written: list[Any]) -> None:
        """An assistant's turn: reasoning and calls are items of their own, text in between is a message."""
        manner = self.manner
        content: list[Part] = []

        def end_message() -> None:
            if content:
                body: dict[str, Any] = {"type": "message", "role": "assistant"}
                body["content"] = [output_part(part) for part in content]
                written.append(body)
                content.clear()

        thoughts: list[Thought | SealedThought] = []
        for part in [*message.parts, None]:
            if thoughts and not (isinstance(part, (Thought, SealedThought)) and part.id and part.id == thoughts[0].id):
                written.append(reasoning_item(thoughts, "", manner.own_id))
                thoughts = []
            if part is None:
                break
            if isinstance(part, (Thought, SealedThought)):
                if not self._is_own(part) or "thinking" in manner.lacks:
                    self.losses.append(where + ".thinking")
                    continue
                end_message()
                if isinstance(part, Thought) and part.signature:  # this vendor seals, it does not sign
                    self.losses.append(where + ".thinking.signature")
                    part = replace(part, signature=b"")
                thoughts.append(part)
            elif isinstance(part, ToolCall):
                end_message()
                if part.signature:
                    self.losses.append(where + ".thinking.signature")
                call = call_item(part, manner.aliases.get(part.name, part.name), manner.fit, None)
                written.append(call)
            elif isinstance(part, (Text, Cited, Refusal)):
                content.append(part)
            elif isinstance(part, Opaque) and part.dialect == RESPONSES:
                end_message()
                written.append(raw_of(part.value))
            else:
                kind = part.kind if isinstance(part, Opaque) else type(part).__name__.lower()
                self.losses.append(f"{where}.{kind}")
        end_message()
        if message.name:
            self.losses.append(where + ".name")
        if message.extra is not None and message.extra.dialect != RESPONSES:
            self.losses += [f"{where}.{name}" for name, value in message.extra.members if value]


# -- output of an answer -----------------------------------------------------------------------------------------------


def output_part(part: Part) -> dict[str, Any]:
    """A text or refusal of an assistant."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    body: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
    if isinstance(part, (Text, Cited)):
        body["text"] = part.text
    if isinstance(part, Cited):
        body["annotations"] = [annotation(citation) for citation in part.citations]
    for name, value in own_members(part.extra, RESPONSES).items():
        body.setdefault(name, raw_of(value))
    return body


def annotation(citation: Citation) -> dict[str, Any]:
    """An entry of ``annotations``."""
    own = own_members(citation.extra, RESPONSES)
    if own and not citation.url:
        return {name: raw_of(value) for name, value in own.items()}
    body: dict[str, Any] = {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title,
        "start_index": max(citation.start, 0),
        "end_index": max(citation.end, 0),
    }
    for name, value in own.items():
        body.setdefault(name, raw_of(value))
    return body


def call_item(
    part: ToolCall, name: str, fit: Callable[[str], str], own_id: Callable[[str, str], str] | None
) -> dict[str, Any]:
    """A call. With *own_id* it is part of an answer and has an id and a status."""
    own = own_members(part.extra, RESPONSES)
    body: dict[str, Any] = {"type": "custom_tool_call" if part.custom else "function_call"}
    if own_id is not None:
        body["id"] = spelling(part.extra, "id", RESPONSES) or own_id("ctc" if part.custom else "fc", part.id)
    body["call_id"] = fit(part.id)
    body["name"] = name
    body["input" if part.custom else "arguments"] = part.arguments if part.custom else part.arguments or "{}"
    if own_id is not None and not part.custom:
        body["status"] = "completed"
    for member, value in own.items():
        if value:
            body.setdefault(member, raw_of(value))
    return body


def sealed(part: Thought | SealedThought, anybody: bool) -> str:
    """``encrypted_content`` for a seal. With *anybody* it is for a client, who must bring it back to its maker."""
    if isinstance(part, SealedThought):
        data, kind = part.data.decode("utf-8", "surrogatepass"), "e"
    else:
        data, kind = part.signature.decode("utf-8", "surrogatepass"), "s"
    maker = part.origin.vendor if part.origin is not None else ""
    if (not anybody and kind == "e") or (maker in ("", OWNER) and kind == "e"):
        return data
    return f"{SEAL}{maker}:{kind}:{data}"


def call_seal_item(part: ToolCall, own_id: Callable[[str, str], str]) -> dict[str, Any]:
    """The item that carries the seal of a call through a client, which would drop it from the call itself."""
    maker = part.origin.vendor if part.origin is not None else ""
    seal = part.signature.decode("utf-8", "surrogatepass")
    return {"type": "reasoning", "id": own_id("rs", part.id), "summary": [],
            "encrypted_content": f"{SEAL}{maker}:c:{seal}:{part.id}"}  # fmt: skip


def reasoning_item(
    thoughts: list[Thought | SealedThought], client: str, own_id: Callable[[str, str], str]
) -> dict[str, Any]:
    """The item of thoughts with one id. *client*: not empty when it is written for a client; an id is derived of it
    where there is none."""
    id = thoughts[0].id
    body: dict[str, Any] = {
        "type": "reasoning",
        "id": id if id.startswith("rs_") or (id and not client) else own_id("rs", id or client),
    }
    body["summary"] = [{"type": "summary_text", "text": part.text} for part in thoughts
                       if isinstance(part, Thought) and part.summary]  # fmt: skip
    content = [{"type": "reasoning_text", "text": part.text} for part in thoughts
               if isinstance(part, Thought) and not part.summary and part.text]  # fmt: skip
    if content:
        body["content"] = content
    for part in thoughts:
        if isinstance(part, SealedThought) or part.signature:
            body["encrypted_content"] = sealed(part, bool(client))
    return body
