"""Items of the Responses dialect, read: what stands in ``input`` and in ``output`` (LLM 5.2-5.6).

Neighbours that belong to one assistant's turn (reasoning, message, calls) become one neutral message; its ``raw`` is
the JSON array of the items it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    Citation,
    Cited,
    Extra,
    File,
    Image,
    Message,
    Opaque,
    Origin,
    Part,
    Raw,
    Refusal,
    Role,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)  # fmt: skip
from tidegate.wire.chat_parts import BREAKPOINT, extra_of, seconds_of, spelled
from tidegate.wire.data_url import split_data_url
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    integer,
    is_array,
    is_object,
    items,
    members,
    string,
)  # fmt: skip

RESPONSES: Final = "openai_responses"
OWNER: Final = "openai"
"""Whose seals stand in ``encrypted_content`` when it does not say."""
SEAL: Final = "tidegate:"
"""``tidegate:<vendor>:<s|e>:<bytes>`` in ``encrypted_content``: another vendor's signature or sealed thought;
``tidegate:<vendor>:c:<bytes>:<call id>``: the signature of a call."""

_ROLES: Final[dict[str, Role]] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_AUDIO: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_NO_ALIASES: Final[dict[str, str]] = {}


def read_input(raw: Raw) -> tuple[Message, ...]:
    """The messages of an ``input`` array."""
    found: list[Message] = []
    turn: list[Part] = []
    turn_raws: list[Raw] = []

    def end_turn() -> None:
        if turn_raws:
            parts = _sealed_calls(turn)
            found.append(Message(role="assistant", parts=parts, extra=Extra(RESPONSES), raw=_joined(turn_raws)))
            turn.clear()
            turn_raws.clear()

    for at, item in enumerate(items(raw, "input")):
        path = f"input[{at}]"
        told = members(item, path)
        kind = optional(told, "type", path) or "message"
        if kind == "message" and told.get("role") != b'"assistant"':
            end_turn()
            found.append(_read_message(told, item, path))
        elif kind in ("function_call_output", "custom_tool_call_output"):
            end_turn()
            found.append(_read_result(told, kind, item, path))
        else:
            turn += item_parts(told, kind, item, path, "", _NO_ALIASES)
            turn_raws.append(item)
    end_turn()
    return tuple(found)


def _sealed_calls(parts: list[Part]) -> tuple[Part, ...]:
    """*parts* with the seals of calls on their calls again."""
    seals = {part.id: part for part in parts if isinstance(part, SealedThought) and part.id.startswith("call:")}
    if not seals:
        return tuple(parts)
    found: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall) and "call:" + part.id in seals:
            seal = seals["call:" + part.id]
            part = replace(part, signature=seal.data, origin=seal.origin)
        if not (isinstance(part, SealedThought) and part.id.startswith("call:")):
            found.append(part)
    return tuple(found)


def _joined(raws: list[Raw]) -> Raw:
    return b"[" + b",".join(raws) + b"]"


def _read_message(told: dict[str, Raw], item: Raw, path: str) -> Message:
    told.pop("type", None)
    word = string(told.pop("role", b""), path + ".role")
    role = _ROLES.get(word)
    if role is None:
        raise WrongShape(path + ".role", "user, assistant, system or developer")
    parts = read_content(told.pop("content", b""), path + ".content")
    id = optional(told, "id", path)
    told.pop("id", None)
    left = list(told.items())
    if word == "developer":
        left.append(spelled("role", word))
    return Message(role=role, parts=parts, id=id, extra=Extra(RESPONSES, tuple(left)), raw=_joined([item]))


def _read_result(told: dict[str, Raw], kind: str, item: Raw, path: str) -> Message:
    call_id = string(told.pop("call_id", b""), path + ".call_id")
    parts = read_content(told.pop("output", b""), path + ".output")
    told.pop("type", None)
    id = optional(told, "id", path)
    told.pop("id", None)
    left = list(told.items())
    if kind != "function_call_output":
        left.append(spelled("type", kind))
    result = ToolResult(call_id=call_id, parts=parts)
    return Message(role="tool", parts=(result,), id=id, extra=Extra(RESPONSES, tuple(left)), raw=_joined([item]))


def read_content(raw: Raw, path: str) -> tuple[Part, ...]:
    """The parts of a message's ``content`` or a tool's ``output``: a text or an array."""
    if not is_array(raw):
        return (Text(text=string(raw, path)),)
    return tuple([_read_part(item, f"{path}[{at}]") for at, item in enumerate(items(raw, path))])


def _read_part(raw: Raw, path: str) -> Part:
    told = members(raw, path)
    kind = optional(told, "type", path)
    told.pop("type", None)
    cache = None
    mark = told.get(BREAKPOINT, b"")
    if is_object(mark):
        cache = CacheMark(seconds_of(members(told.pop(BREAKPOINT)).get("ttl")))
    if kind in ("input_text", "output_text", "text"):
        text = string(told.pop("text", b""), path + ".text")
        citations = _citations(told, path)
        told.pop("logprobs", None)
        extra = extra_of(told, RESPONSES)
        if citations:
            return Cited(text=text, citations=citations, cache=cache, extra=extra)
        return Text(text=text, cache=cache, extra=extra)
    if kind == "refusal":
        return Refusal(text=string(told.pop("refusal", b""), path + ".refusal"), extra=extra_of(told, RESPONSES))
    if kind == "input_image":
        return _read_image(told, cache, path)
    if kind == "input_file":
        return _read_file(told, cache, path)
    if kind == "input_audio":
        inner = members(told.pop("input_audio", b""), path + ".input_audio")
        form = optional(inner, "format", path) or "wav"
        data = optional(inner, "data", path).encode()
        return Audio(mime=_AUDIO.get(form, "audio/" + form), data=data, cache=cache, extra=extra_of(told, RESPONSES))
    return Opaque(dialect=RESPONSES, kind=kind or "part", value=raw, cache=cache)


def _read_image(told: dict[str, Raw], cache: CacheMark | None, path: str) -> Image:
    url = _taken(told, "image_url", path)
    detail = _taken(told, "detail", path)
    file_id = _taken(told, "file_id", path)
    extra = extra_of(told, RESPONSES)
    held = split_data_url(url)
    if held is not None:
        return Image(mime=held[0], data=held[1], detail=detail, cache=cache, extra=extra)
    return Image(url=url, file_id=file_id, detail=detail, cache=cache, extra=extra)


def _read_file(told: dict[str, Raw], cache: CacheMark | None, path: str) -> File:
    title = _taken(told, "filename", path)
    url = _taken(told, "file_url", path)
    file_id = _taken(told, "file_id", path)
    data = _taken(told, "file_data", path)
    detail = _taken(told, "detail", path)
    held = split_data_url(data)
    mime, content = held if held is not None else ("", data.encode())
    return File(mime=mime, data=content, url=url, file_id=file_id, title=title, detail=detail, cache=cache,
                extra=extra_of(told, RESPONSES))  # fmt: skip


def _citations(told: dict[str, Raw], path: str) -> tuple[Citation, ...]:
    value = told.pop("annotations", NULL)
    if value == NULL:
        return ()
    return tuple([read_annotation(raw, path + ".annotations") for raw in items(value, path + ".annotations")])


def read_annotation(raw: Raw, path: str) -> Citation:
    """``url_citation`` becomes a citation; any other kind is kept as it is."""
    told = members(raw, path)
    if told.get("type") != b'"url_citation"':
        return Citation(extra=Extra(RESPONSES, tuple(told.items())))
    told.pop("type")
    start = told.pop("start_index", NULL)
    end = told.pop("end_index", NULL)
    return Citation(
        url=_taken(told, "url", path),
        title=_taken(told, "title", path),
        start=-1 if start == NULL else integer(start),
        end=-1 if end == NULL else integer(end),
        extra=extra_of(told, RESPONSES),
    )


def item_parts(
    told: dict[str, Raw], kind: str, raw: Raw, path: str, vendor: str, aliases: Mapping[str, str]
) -> list[Part]:
    """The parts that one item of an assistant's turn stands for. *vendor*: who answers, "" when a client tells its
    history; *aliases*: tool name as sent -> name."""
    if kind == "message":
        return list(read_content(told.get("content", b""), path + ".content"))
    if kind in ("function_call", "custom_tool_call"):
        return [_read_call(told, kind, path, vendor, aliases)]
    if kind == "reasoning":
        return read_reasoning(told, path, vendor)
    return [Opaque(dialect=RESPONSES, kind=kind, value=raw)]


def _read_call(told: dict[str, Raw], kind: str, path: str, vendor: str, aliases: Mapping[str, str]) -> ToolCall:
    custom = kind == "custom_tool_call"
    name = string(told.get("name", b""), path + ".name")
    arguments = optional(told, "input" if custom else "arguments", path)
    call_id = string(told.get("call_id", b""), path + ".call_id")
    id = optional(told, "id", path)
    for member in ("type", "id", "name", "input", "arguments", "call_id", "status"):
        told.pop(member, None)
    left = list(told.items())
    if id:
        left.append(spelled("id", id))
    return ToolCall(
        id=call_id,
        name=aliases.get(name, name),
        arguments=arguments or ("" if custom else "{}"),
        origin=Origin(vendor) if vendor else None,
        custom=custom,
        extra=Extra(RESPONSES, tuple(left)) if left else None,
    )


def read_reasoning(told: dict[str, Raw], path: str, vendor: str) -> list[Part]:
    """A ``reasoning`` item: its summaries, its texts, its sealed content, all with the item's id."""
    id = optional(told, "id", path)
    found: list[Part] = []
    sealed = optional(told, "encrypted_content", path)
    seal, signature = unsealed(sealed, id, vendor)
    origin = Origin(vendor) if vendor else seal.origin if seal is not None else Origin(OWNER)
    for name, summary in (("summary", True), ("content", False)):
        value = told.get(name, NULL)
        if value != NULL:
            for raw in items(value, f"{path}.{name}"):
                text = optional(members(raw, f"{path}.{name}"), "text", path)
                found.append(Thought(text=text, origin=origin, summary=summary, id=id))
    if signature:
        last = found.pop() if found else Thought(text="", id=id)
        if isinstance(last, Thought):
            found.append(Thought(text=last.text, signature=signature, origin=origin, summary=last.summary, id=id))
    elif seal is not None:
        found.append(seal)
    return found or [Thought(text="", origin=origin, id=id)]


def unsealed(content: str, id: str, vendor: str) -> tuple[SealedThought | None, bytes]:
    """(the sealed thought in ``encrypted_content``, b"") or, where a signature was put there, (whose, signature)."""
    if not content:
        return None, b""
    if not content.startswith(SEAL):
        return SealedThought(data=content.encode(), origin=Origin(vendor or OWNER), id=id), b""
    maker, _, rest = content[len(SEAL) :].partition(":")
    kind, _, data = rest.partition(":")
    if kind == "c":
        data, _, call_id = data.partition(":")
        return SealedThought(data=data.encode(), origin=Origin(maker), id="call:" + call_id), b""
    seal = SealedThought(data=data.encode(), origin=Origin(maker), id=id)
    return seal, data.encode() if kind == "s" else b""


def optional(told: Mapping[str, Raw], name: str, path: str) -> str:
    """A text; "" when it is missing or null."""
    value = told.get(name, NULL)
    return "" if value == NULL else string(value, f"{path}.{name}")


def _taken(told: dict[str, Raw], name: str, path: str) -> str:
    value = told.pop(name, NULL)
    return "" if value == NULL else string(value, f"{path}.{name}")
