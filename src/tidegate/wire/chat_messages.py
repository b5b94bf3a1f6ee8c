"""Messages of the chat dialect, read: one JSON object into one neutral turn (LLM 5.2, 5.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tidegate.exchange.chat import (
    Audio,
    Citation,
    Cited,
    Extra,
    Message,
    Opaque,
    Origin,
    Part,
    Raw,
    Refusal,
    Role,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from tidegate.wire.chat_parts import CHAT, as_text, extra_of, read_content, read_part, spelled
from tidegate.wire.chat_thoughts import read_call_seal, read_detail
from tidegate.wire.json_object import NULL, WrongShape, integer, is_object, items, members, string
from tidegate.wire.openai_frames import decode_plain_turn

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}

TRANSCRIPT: Final = Extra(CHAT, (("transcript", b"true"),))
"""Marks a text that is what an audio answer says."""

_NO_EXTRA: Final = Extra(CHAT)
_NO_ALIASES: Final[dict[str, str]] = {}


def read_message(raw: Raw, path: str) -> Message:
    """A turn as a client sends it. Its ``extra`` is there even when empty: it says whose words ``raw`` is."""
    try:
        plain = decode_plain_turn(raw)
        return Message(role=plain.role, parts=(Text(text=plain.content),), extra=_NO_EXTRA, raw=raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # more than a text, or wrong
    told = members(raw, path)
    word = string(told.pop("role", b""), path + ".role")
    role = _ROLES.get(word)
    if role is None:
        raise WrongShape(path + ".role", "system, developer, user, assistant or tool")
    name = _optional(told, "name", path)
    parts: tuple[Part, ...]
    if role == "assistant":
        parts = assistant_parts(told, path, "", _NO_ALIASES)
    elif role == "tool":
        content = read_content(told.pop("content", b""), path + ".content")
        if word == "function":  # before tools had ids
            call_id = "call_" + name
        else:
            call_id = string(told.pop("tool_call_id", b""), path + ".tool_call_id")
        parts = (ToolResult(call_id=call_id, name=name, parts=content),)
        name = ""
    else:
        parts = read_content(told.pop("content", b""), path + ".content")
    left: list[tuple[str, Raw]] = list(told.items())
    if word in ("developer", "function"):
        left.append(spelled("role", word))
    return Message(role=role, parts=parts, name=name, extra=Extra(CHAT, tuple(left)), raw=raw)


def assistant_parts(told: dict[str, Raw], path: str, vendor: str, aliases: Mapping[str, str]) -> tuple[Part, ...]:
    """The parts of an assistant's message, whose members are taken out of *told*: thoughts, content, refusal, audio,
    images, calls. *vendor*: who answers, "" when a client tells its history; *aliases*: name as sent -> name."""
    parts: list[Part] = _thoughts(told, path, vendor)
    content = read_content(told.pop("content", b""), path + ".content")
    citations = _citations(told, path)
    if citations and content and isinstance(content[-1], Text):
        content = (*content[:-1], Cited(text=content[-1].text, citations=citations))
    if vendor:  # an empty text says nothing
        content = tuple([part for part in content if not isinstance(part, Text) or part.text])
        content = tuple([_made_by(part, vendor) for part in content])
    parts += content
    refusal = told.pop("refusal", NULL)
    if refusal != NULL and (text := string(refusal, path + ".refusal")):
        parts.append(Refusal(text=text))
    _read_audio(told, path, parts)
    for image in _array(told, "images", path):
        parts.append(read_part(image, path + ".images"))
    for number, call in enumerate(_array(told, "tool_calls", path)):
        parts.append(_read_call(call, f"{path}.tool_calls[{number}]", vendor, aliases))
    legacy = told.pop("function_call", NULL)
    if legacy != NULL:
        inner = members(legacy, path + ".function_call")
        called = string(inner.get("name", b""), path + ".function_call.name")
        arguments = as_text(inner.get("arguments", b'""'))
        parts.append(ToolCall(id="call_" + called, name=aliases.get(called, called), arguments=arguments or "{}"))
    return tuple(parts)


def _made_by(part: Part, vendor: str) -> Part:
    if isinstance(part, Thought):
        return Thought(text=part.text, signature=part.signature, origin=Origin(vendor), extra=part.extra)
    return part


def _thoughts(told: dict[str, Raw], path: str, vendor: str) -> list[Part]:
    """``reasoning_details`` where they are, for they hold the text too; else the text alone."""
    found: list[Part] = []
    texts = [told.pop(name, NULL) for name in ("reasoning_content", "reasoning")]
    for number, entry in enumerate(_array(told, "reasoning_details", path)):
        found.append(read_detail(entry, f"{path}.reasoning_details[{number}]", vendor))
    if any(isinstance(part, Thought) and part.text for part in found):
        return found
    text = "".join([as_text(value) for value in texts[:1] if value != NULL]) or as_text(texts[1])
    if text:
        origin = Origin(vendor) if vendor else None
        if len(found) == 1 and isinstance(found[0], Thought):
            seal = found[0]
            return [Thought(text=text, signature=seal.signature, origin=seal.origin, id=seal.id, extra=seal.extra)]
        found.insert(0, Thought(text=text, origin=origin))
    return found


def _citations(told: dict[str, Raw], path: str) -> tuple[Citation, ...]:
    return tuple([read_citation(entry, path + ".annotations") for entry in _array(told, "annotations", path)])


def read_citation(raw: Raw, path: str) -> Citation:
    """``{"type": "url_citation", "url_citation": {...}}``; any other annotation is kept as it is."""
    told = members(raw, path)
    inner = told.get("url_citation", b"")
    if not is_object(inner):
        return Citation(extra=Extra(CHAT, tuple(told.items())))
    told = members(inner, path)
    return Citation(
        url=_optional(told, "url", path),
        title=_optional(told, "title", path),
        start=_position(told, "start_index"),
        end=_position(told, "end_index"),
        extra=extra_of(told),
    )


def _position(told: dict[str, Raw], name: str) -> int:
    value = told.pop(name, b"-1")
    return integer(value) if value != NULL else -1


def _read_audio(told: dict[str, Raw], path: str, parts: list[Part]) -> None:
    value = told.pop("audio", NULL)
    if value == NULL:
        return
    inner = members(value, path + ".audio")
    data = _optional(inner, "data", path)
    transcript = _optional(inner, "transcript", path)
    if data:
        parts.append(Audio(data=data.encode(), extra=extra_of(inner)))
    else:
        parts.append(Audio(file_id=_optional(inner, "id", path), extra=extra_of(inner)))
    if transcript:
        parts.append(Text(text=transcript, extra=TRANSCRIPT))


def _read_call(raw: Raw, path: str, vendor: str, aliases: Mapping[str, str]) -> Part:
    told = members(raw, path)
    kind = _optional(told, "type", path) or "function"
    if kind not in ("function", "custom"):
        return Opaque(dialect=CHAT, kind=kind, value=raw)
    id = _optional(told, "id", path)
    told.pop("index", None)
    inner = members(told.pop(kind, b""), f"{path}.{kind}")
    name = string(inner.get("name", b""), f"{path}.{kind}.name")
    arguments = as_text(inner.get("arguments" if kind == "function" else "input", b'""'))
    signature, origin = b"", Origin(vendor) if vendor else None
    if "extra_content" in told:
        signature, maker = read_call_seal(told["extra_content"], vendor)
        if signature:
            told.pop("extra_content")
            origin = maker
    if kind == "function":
        arguments = arguments or "{}"
    return ToolCall(
        id=id,
        name=aliases.get(name, name),
        arguments=arguments,
        signature=signature,
        origin=origin,
        custom=kind == "custom",
        extra=extra_of(told),
    )


def _array(told: dict[str, Raw], name: str, path: str) -> list[Raw]:
    value = told.pop(name, NULL)
    return items(value, f"{path}.{name}") if value != NULL else []


def _optional(told: dict[str, Raw], name: str, path: str) -> str:
    """A text taken out of *told*; "" when it is missing or null."""
    value = told.pop(name, NULL)
    return "" if value == NULL else string(value, f"{path}.{name}")
