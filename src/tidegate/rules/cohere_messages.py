"""Messages, citations, usage and stop words of Cohere's v2 chat, both ways (LLM 5.2-5.6, 5.8, 5.9). Pure."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import (
    Citation,
    Cited,
    Extra,
    Image,
    Message,
    Opaque,
    Origin,
    Part,
    Refusal,
    Role,
    SealedThought,
    Stop,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Usage,
)
from tidegate.rules.content_blocks import take_string
from tidegate.rules.losses import Losses
from tidegate.rules.tool_ids import fit_id
from tidegate.wire.chat_parts import as_text
from tidegate.wire.data_url import data_url, split_data_url
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    count,
    integer,
    is_object,
    is_string,
    items,
    members,
    raw_of,
    string,
)
from tidegate.wire.token_usage import dug

NAME: Final = "cohere_chat"
OWN: Final = "cohere"
ID_SIZE: Final = 64
PLAN: Final = Extra(NAME, (("tool_plan", b""),))
"""Marks the thought that says what the calls behind it are for."""

STOPS: Final[dict[str, Stop]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop_sequence",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
STOP_WORDS: Final[dict[Stop, str]] = {
    "stop": "COMPLETE",
    "stop_sequence": "STOP_SEQUENCE",
    "length": "MAX_TOKENS",
    "context_length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR",
    "refusal": "COMPLETE",
    "pause": "COMPLETE",
    "broken": "ERROR",
}
_ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def extra_of(rest: dict[str, bytes]) -> Extra | None:
    """What nobody took out of *rest*, in order."""
    return Extra(NAME, tuple(rest.items())) if rest else None


# -- reading -----------------------------------------------------------------------------------------------------------


def read_message(raw: bytes, path: str) -> Message:
    """A turn as a client sends it."""
    found = members(raw, path)
    role = _ROLES.get(take_string(found, "role", path))
    if role is None:
        raise WrongShape(f"{path}.role", "system, user, assistant or tool")
    if role == "assistant":
        parts = assistant_parts(found, path, "", {})
    else:
        parts = read_content(found.pop("content", NULL), f"{path}.content", "")
        if role == "tool":
            parts = (ToolResult(call_id=take_string(found, "tool_call_id", path), parts=parts),)
    return Message(role, parts, extra=extra_of(found), raw=raw)


def read_content(value: bytes, path: str, vendor: str) -> tuple[Part, ...]:
    """``content``: a text, parts or null."""
    if value == NULL:
        return ()
    if is_string(value):
        return (Text(text=string(value, path)),)
    return tuple([_read_part(one, f"{path}[{at}]", vendor) for at, one in enumerate(items(value, path))])


def _read_part(raw: bytes, path: str, vendor: str) -> Part:
    """One part. What has no neutral name, or an unknown shape, is ``Opaque``."""
    found = members(raw, path)
    kind = take_string(found, "type", path)
    if kind == "text":
        return Text(text=take_string(found, "text", path), extra=extra_of(found), raw=raw)
    if kind == "thinking":
        origin = Origin(vendor) if vendor else None
        return Thought(text=take_string(found, "thinking", path), origin=origin, extra=extra_of(found), raw=raw)
    if kind == "image_url":
        value = found.pop("image_url", b"")
        inner = members(value, f"{path}.image_url") if is_object(value) else {"url": value}
        url = string(inner.pop("url", b""), f"{path}.image_url.url")
        detail = take_string(inner, "detail", path)
        held = split_data_url(url)
        if held is not None:
            return Image(mime=held[0], data=held[1], detail=detail, extra=extra_of(found), raw=raw)
        return Image(url=url, detail=detail, extra=extra_of(found), raw=raw)
    if kind == "document":
        text = document_text(raw)
        if text is not None:
            return Text(text=text, raw=raw)
    return Opaque(dialect=NAME, kind=kind, value=raw, raw=raw)


def document_text(raw: bytes) -> str | None:
    """What a ``document`` part says, when it has nothing but its data; None for any other part."""
    try:
        found = members(raw)
        document = members(found.get("document", b""))
        if found.get("type") != b'"document"' or document.keys() != {"data"}:
            return None
        return as_text(document["data"])
    except (WrongShape, UnicodeDecodeError):
        return None


def assistant_parts(found: dict[str, bytes], path: str, vendor: str, aliases: dict[str, str]) -> tuple[Part, ...]:
    """The parts of an assistant's message, whose members are taken out of *found*. *vendor*: who answers, "" when a
    client tells its history; *aliases*: tool name as sent -> the client's."""
    parts = list(read_content(found.pop("content", NULL), f"{path}.content", vendor))
    told = found.pop("citations", NULL)
    for raw in items(told, f"{path}.citations") if told != NULL else []:
        _attach(parts, read_citation(raw, f"{path}.citations"))
    plan = take_string(found, "tool_plan", path)
    if plan:
        parts.append(Thought(text=plan, origin=Origin(vendor) if vendor else None, extra=PLAN))
    calls = found.pop("tool_calls", NULL)
    for at, raw in enumerate(items(calls, f"{path}.tool_calls") if calls != NULL else []):
        parts.append(_read_call(raw, f"{path}.tool_calls[{at}]", aliases))
    return tuple(parts)


def _attach(parts: list[Part], citation: Citation) -> None:
    """Puts *citation* on the text it names, or on the first there is."""
    at = 0
    extra = dict(citation.extra.members) if citation.extra is not None else {}
    if "content_index" in extra:
        at = count(extra["content_index"])
    if at >= len(parts) or not isinstance(parts[at], Text | Cited):
        at = next((number for number, part in enumerate(parts) if isinstance(part, Text | Cited)), -1)
    if at < 0:
        return
    part = parts[at]
    if isinstance(part, Text):
        parts[at] = Cited(text=part.text, citations=(citation,), extra=part.extra, raw=part.raw)
    elif isinstance(part, Cited):
        parts[at] = replace(part, citations=(*part.citations, citation))


def read_citation(raw: bytes, path: str) -> Citation:
    """A source; where it lies stays in its bag, title and URL are looked up there."""
    found = members(raw, path)
    start, end = found.pop("start", b"-1"), found.pop("end", b"-1")
    quote = take_string(found, "text", path)
    url = title = ""
    for source in items(found.get("sources", b"[]"), f"{path}.sources")[:1]:
        document = members(source, path).get("document", b"")
        if is_object(document):
            told = members(document)
            url, title = [string(value) if is_string(value) else "" for value in (told.get("url", b""),
                                                                                  told.get("title", b""))]  # fmt: skip
    return Citation(
        url=url, title=title, quote=quote, start=-1 if start == NULL else integer(start, path),
        end=-1 if end == NULL else integer(end, path), extra=extra_of(found),
    )  # fmt: skip


def _read_call(raw: bytes, path: str, aliases: dict[str, str]) -> Part:
    found = members(raw, path)
    if found.pop("type", b'"function"') != b'"function"':
        return Opaque(dialect=NAME, kind="tool_call", value=raw, raw=raw)
    inner = members(found.pop("function", b""), f"{path}.function")
    name = take_string(inner, "name", f"{path}.function")
    arguments = as_text(inner.get("arguments", NULL)) or "{}"
    return ToolCall(
        id=take_string(found, "id", path), name=aliases.get(name, name), arguments=arguments, extra=extra_of(found),
        raw=raw,
    )  # fmt: skip


# -- writing -----------------------------------------------------------------------------------------------------------


class CohereMessages:
    """Writes turns.

    vendor   the target's, whose thoughts alone may be sent; None towards a client
    names    tool name -> alias on this wire
    accepts  members of other dialects that may pass
    lacks    parts the target does not take
    """

    __slots__ = ("_accepts", "_lacks", "_losses", "_names", "_vendor")

    def __init__(
        self,
        vendor: str | None,
        names: dict[str, str],
        accepts: frozenset[str],
        lacks: frozenset[str],
        losses: Losses,
    ) -> None:
        self._vendor = vendor
        self._names = names
        self._accepts = accepts
        self._lacks = lacks
        self._losses = losses

    def turn(self, message: Message, path: str, into: list[object]) -> None:
        """Adds the messages that say *message*: each tool's result is one of its own."""
        if message.name:
            self._losses.lose(f"{path}.name")
        if message.role == "assistant":
            said = self.assistant(message.parts, path)
            if len(said) > 1:
                self._losses.extras(said, message.extra, NAME, self._accepts, path)
                into.append(said)
            return
        rest: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                into.append(self._result(part, message, path))
            else:
                rest.append(part)
        if rest:
            content = self._content(tuple(rest), path)
            if content != []:
                said = {"role": "system" if message.role == "system" else "user", "content": content}
                self._losses.extras(said, message.extra, NAME, self._accepts, path)
                into.append(said)

    def assistant(self, parts: tuple[Part, ...], path: str) -> dict[str, object]:
        """An assistant's message, of history or of an answer."""
        content: list[Part] = []
        calls: list[object] = []
        plans: list[str] = []
        citations: list[object] = []
        for part in parts:
            if isinstance(part, ToolCall):
                calls.append(self._call(part, path))
            elif isinstance(part, Thought | SealedThought):
                kept = self._thought(part, path)
                if kept is not None and kept.extra == PLAN:
                    plans.append(kept.text)
                elif kept is not None:
                    content.append(kept)
            elif isinstance(part, Opaque) and part.dialect == NAME and part.kind == "tool_call":
                calls.append(raw_of(part.value))
            else:
                content.append(part)
                if isinstance(part, Cited):
                    at = len(content) - 1
                    citations += [citation_object(citation, at) for citation in part.citations]
        said: dict[str, object] = {"role": "assistant"}
        written = self._content(tuple(content), path) if content else []
        if written != []:
            said["content"] = written
        if plans:
            said["tool_plan"] = "".join(plans)
        if calls:
            said["tool_calls"] = calls
        if citations:
            said["citations"] = citations
        return said

    def _thought(self, part: Thought | SealedThought, path: str) -> Thought | None:
        foreign = part.origin is not None and part.origin.vendor != self._vendor
        if isinstance(part, SealedThought) or (self._vendor is not None and foreign):
            self._losses.lose(f"{path}.thinking")
            return None
        if part.signature:
            self._losses.lose(f"{path}.thinking.signature")
        return part

    def _content(self, parts: tuple[Part, ...], path: str) -> object:
        """A text for one plain text that was no part (of an answer: always parts), else parts."""
        if len(parts) == 1 and self._vendor is not None:
            only = parts[0]
            if isinstance(only, Text | Cited) and only.extra is None and only.raw[:1] != b"{":
                return only.text
        return [written for written in [self._part(part, path) for part in parts] if written is not None]

    def _part(self, part: Part, path: str) -> object | None:
        said: dict[str, object]
        if isinstance(part, Text) and part.raw and document_text(part.raw) == part.text:
            return raw_of(part.raw)
        if isinstance(part, Text | Cited | Refusal):
            said = {"type": "text", "text": part.text}
        elif isinstance(part, Thought):
            said = {"type": "thinking", "thinking": part.text}
        elif isinstance(part, Image) and "image" not in self._lacks and not part.file_id:
            inner = {"url": data_url(part.mime or "image/png", part.data) if part.data else part.url}
            if part.detail:
                inner["detail"] = part.detail
            said = {"type": "image_url", "image_url": inner}
        elif isinstance(part, Opaque):
            if part.dialect == NAME:
                return raw_of(part.value)
            self._losses.lose(f"{path}.{part.kind}")
            return None
        else:
            self._losses.lose(f"{path}.{type(part).__name__.lower()}")
            return None
        self._losses.extras(said, part.extra, NAME, self._accepts, path)
        return said

    def _result(self, part: ToolResult, message: Message, path: str) -> object:
        if part.is_error:
            self._losses.lose(f"{path}.is_error")
        kept: list[Part] = []
        for one in part.parts:
            if isinstance(one, Text | Cited | Opaque):
                kept.append(one)
            else:
                self._losses.lose(f"{path}.tool_result.{type(one).__name__.lower()}")
        content = self._content(tuple(kept), path) if kept else ""
        said: dict[str, object] = {"role": "tool", "tool_call_id": fit_id(part.call_id, ID_SIZE), "content": content}
        self._losses.extras(said, message.extra, NAME, self._accepts, path)
        return said

    def _call(self, part: ToolCall, path: str) -> object:
        if part.custom:
            self._losses.lose(f"{path}.tool_calls")
        if part.signature:
            self._losses.lose(f"{path}.thinking.signature")
        said: dict[str, object] = {
            "id": fit_id(part.id, ID_SIZE), "type": "function",
            "function": {"name": self._names.get(part.name, part.name), "arguments": part.arguments or "{}"},
        }  # fmt: skip
        self._losses.extras(said, part.extra, NAME, self._accepts, path)
        return said


def citation_object(citation: Citation, at: int) -> dict[str, object]:
    """*citation* of content part number *at*."""
    written: dict[str, object] = {}
    if citation.start >= 0:
        written["start"] = citation.start
    if citation.end >= 0:
        written["end"] = citation.end
    written["text"] = citation.quote
    if citation.extra is not None and citation.extra.dialect == NAME:
        for name, value in citation.extra.members:
            written[name] = raw_of(value)
        return written
    document = {name: value for name, value in (("url", citation.url), ("title", citation.title)) if value}
    written["sources"] = [{"type": "document", "id": citation.url or citation.title, "document": document}]
    written["content_index"] = at
    written["type"] = "TEXT_CONTENT"
    return written


# -- usage -------------------------------------------------------------------------------------------------------------


def read_usage(raw: bytes, renamed: dict[str, str]) -> Usage | None:
    """*raw* as a ``Usage``; None for what is no object. *renamed*: dotted member of this vendor -> neutral field
    (``billed_units.input_tokens`` where the bill counts). What is missing or hostile counts as 0 (rule 8)."""
    if not is_object(raw):
        return None
    try:
        found = members(raw)
    except WrongShape:
        return None
    where = "tokens" if is_object(found.get("tokens", b"")) else "billed_units"
    usage = Usage(
        input=count(dug(found, f"{where}.input_tokens")),
        output=count(dug(found, f"{where}.output_tokens")),
        cache_read=count(found.get("cached_tokens")),
        searches=count(dug(found, "billed_units.search_units")),
    )
    if renamed:
        told: dict[str, int] = {field: count(dug(found, name)) for name, field in renamed.items() if dug(found, name)}
        usage = replace(usage, **told)
    return usage


def usage_object(usage: Usage) -> dict[str, object]:
    """*usage* as a client of this dialect reads it."""
    billed = {"input_tokens": usage.input, "output_tokens": usage.output}
    if usage.searches:
        billed["search_units"] = usage.searches
    written: dict[str, object] = {
        "billed_units": billed,
        "tokens": {"input_tokens": usage.input, "output_tokens": usage.output},
    }
    if usage.cache_read:
        written["cached_tokens"] = usage.cache_read
    return written
