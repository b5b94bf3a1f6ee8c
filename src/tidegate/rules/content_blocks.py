"""Content blocks of Anthropic's words <-> parts of a message (LLM 5.3, 5.4, 5.6, 5.7). Pure: bytes and values."""

from __future__ import annotations

from typing import Final

from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    Citation,
    Cited,
    Extra,
    File,
    Image,
    Media,
    Opaque,
    Origin,
    Part,
    Refusal,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Video,
)
from tidegate.rules.losses import put_extras
from tidegate.rules.sealed_origin import marked, unmarked
from tidegate.rules.tool_ids import fit_id
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    flag,
    is_array,
    is_object,
    is_string,
    items,
    members,
    raw_of,
    string,
)

NAME: Final = "anthropic_messages"
OWN: Final = "anthropic"
"""The vendor whose seals travel bare in this dialect."""

TTLS: Final = {"5m": 300, "1h": 3600}
ID_SIZE: Final = 64
CITATION_TYPE: Final = "web_search_result_location"
"""The citation that needs no document of ours."""

_BARE_EPHEMERAL: Final = {"type": b'"ephemeral"'}
_MEDIA_LOSS: Final = {Image: "image", Audio: "audio", Video: "video", File: "file"}


def bag(rest: dict[str, bytes]) -> Extra | None:
    """What nobody took out of *rest*, in order."""
    return Extra(NAME, tuple(rest.items())) if rest else None


def take_string(found: dict[str, bytes], name: str, path: str) -> str:
    """The string *name*, taken out of *found*; "" when it is missing or null."""
    value = found.pop(name, NULL)
    return "" if value == NULL else string(value, f"{path}.{name}")


# -- reading -----------------------------------------------------------------------------------------------------------


def read_cache(found: dict[str, bytes]) -> CacheMark | None:
    """The cache mark among *found*, taken out when its words are known (LLM 5.7)."""
    value = found.get("cache_control")
    if value is None:
        return None
    if value == NULL:
        del found["cache_control"]
        return None
    if not is_object(value):
        return None
    mark = members(value, "cache_control")
    ttl = mark.pop("ttl", b"")
    if mark != _BARE_EPHEMERAL or (ttl and ttl[1:-1].decode("latin-1") not in TTLS):
        return None
    del found["cache_control"]
    return CacheMark(TTLS.get(ttl[1:-1].decode("latin-1"), 0))


def read_content(value: bytes, path: str, vendor: str, aliases: dict[str, str]) -> tuple[Part, ...]:
    """``content`` or ``system``: a string or blocks. *vendor*: who made the seals in it, "" when a client hands it in
    (then the seals tell). *aliases*: tool name as the vendor writes it -> as the client knows it."""
    if is_string(value):
        return (Text(text=string(value, path)),)
    if not is_array(value):
        raise WrongShape(path, "a string or an array of blocks")
    return tuple([read_block(block, f"{path}[{at}]", vendor, aliases) for at, block in enumerate(items(value, path))])


def read_block(raw: bytes, path: str, vendor: str, aliases: dict[str, str]) -> Part:
    """One block. What has no neutral name, or an unknown shape, is ``Opaque``."""
    found = members(raw, path)
    kind = take_string(found, "type", path)
    cache = read_cache(found)
    if kind == "text":
        text = take_string(found, "text", path)
        citations = found.pop("citations", NULL)
        if citations not in (NULL, b"[]"):
            cited = tuple([read_citation(one, f"{path}.citations") for one in items(citations, f"{path}.citations")])
            return Cited(text=text, citations=cited, cache=cache, extra=bag(found), raw=raw)
        return Text(text=text, cache=cache, extra=bag(found), raw=raw)
    if kind == "tool_use":
        name = take_string(found, "name", path)
        seal, origin = take_seal(found, "signature", path, vendor)
        arguments = found.pop("input", b"{}")
        return ToolCall(
            id=take_string(found, "id", path), name=aliases.get(name, name),
            arguments=arguments.decode("utf-8"), signature=seal, origin=origin if seal else None,
            cache=cache, extra=bag(found), raw=raw,
        )  # fmt: skip
    if kind == "tool_result":
        content = found.pop("content", NULL)
        failed = found.pop("is_error", NULL)
        return ToolResult(
            call_id=take_string(found, "tool_use_id", path),
            parts=() if content == NULL else read_content(content, f"{path}.content", vendor, aliases),
            is_error=failed != NULL and flag(failed, f"{path}.is_error"), cache=cache, extra=bag(found), raw=raw,
        )  # fmt: skip
    if kind == "thinking":
        thought = take_string(found, "thinking", path)
        seal, origin = take_seal(found, "signature", path, vendor)
        return Thought(text=thought, signature=seal, origin=origin, cache=cache, extra=bag(found), raw=raw)
    if kind == "redacted_thinking":
        seal, origin = take_seal(found, "data", path, vendor)
        return SealedThought(data=seal, origin=origin, cache=cache, extra=bag(found), raw=raw)
    if kind in ("image", "document"):
        media = _read_media(kind, found, path, cache, raw)
        if media is not None:
            return media
    return Opaque(dialect=NAME, kind=kind, value=raw, raw=raw)


def take_seal(found: dict[str, bytes], name: str, path: str, vendor: str) -> tuple[bytes, Origin]:
    """The seal *name*, taken out of *found*, and whose it is."""
    seal = take_string(found, name, path).encode()
    return (seal, Origin(vendor)) if vendor else unmarked(seal, OWN)


def _read_media(kind: str, found: dict[str, bytes], path: str, cache: CacheMark | None, raw: bytes) -> Part | None:
    """An image or document whose source we can name; None keeps it whole for its own dialect."""
    value = found.get("source", b"")
    if not is_object(value):
        raise WrongShape(f"{path}.source", "an object")
    source = members(value, f"{path}.source")
    form = take_string(source, "type", path)
    mime = take_string(source, "media_type", f"{path}.source")
    wanted = {"base64": "data", "url": "url", "file": "file_id", "text": "data"}.get(form)
    if wanted is None or source.keys() != {wanted} or (form == "text" and kind == "image"):
        return None
    held = string(source[wanted], f"{path}.source.{wanted}")
    del found["source"]
    title = take_string(found, "title", path) if kind == "document" else ""
    data = held.encode() if form == "base64" else b""
    url = held if form == "url" else ""
    file_id = held if form == "file" else ""
    if kind == "image":
        return Image(mime=mime, data=data, url=url, file_id=file_id, cache=cache, extra=bag(found), raw=raw)
    return File(
        mime=mime, data=data, url=url, file_id=file_id, title=title, text=held if form == "text" else "",
        cache=cache, extra=bag(found), raw=raw,
    )  # fmt: skip


def read_citation(raw: bytes, path: str) -> Citation:
    """A source; what is not neutral stays in its bag (a document's index, an encrypted index ...)."""
    found = members(raw, path)
    titled = "title" if "title" in found else "document_title"
    title = found.get(titled, NULL)
    if title != NULL:
        del found[titled]
    return Citation(
        quote=take_string(found, "cited_text", path), url=take_string(found, "url", path),
        title="" if title == NULL else string(title, path), extra=bag(found),
    )  # fmt: skip


# -- writing -----------------------------------------------------------------------------------------------------------


def citation_object(citation: Citation) -> dict[str, object] | None:
    """*citation* for a client; None when it names neither a source of this dialect nor a URL."""
    extra = citation.extra
    if extra is not None and extra.dialect == NAME:
        written: dict[str, object] = {"cited_text": citation.quote}
        own = dict(extra.members)
        if citation.title:
            by_document = own.get("type") in (b'"char_location"', b'"page_location"', b'"content_block_location"')
            written["document_title" if by_document else "title"] = citation.title
        if citation.url:
            written["url"] = citation.url
        for name, value in extra.members:
            written[name] = raw_of(value)
        return written
    if not citation.url:
        return None
    return {
        "type": CITATION_TYPE, "cited_text": citation.quote, "url": citation.url, "title": citation.title or None,
        "encrypted_index": "",
    }  # fmt: skip


def arguments_object(arguments: str) -> bytes | None:
    """The arguments of a call as the JSON object this dialect wants; None when they are none."""
    raw = arguments.encode("utf-8", "surrogatepass").strip()
    if not raw:
        return b"{}"
    try:
        members(raw)
    except WrongShape:
        return None
    return raw


class BlockWriter:
    """Writes parts as blocks, in the order they go out.

    vendor    the target's, whose seals alone may be sent; None towards a client, who gets every seal, marked
    names     tool name -> alias on this wire
    accepts   members of other dialects that may pass
    losses    what could not be said, in the client's words
    marks     the blocks that carry a cache mark, in order; ``settle_marks`` decides which keep it
    """

    __slots__ = ("_accepts", "_fixed", "_lacks", "_marks", "_names", "_vendor", "losses")

    def __init__(
        self, vendor: str | None, names: dict[str, str], accepts: frozenset[str], lacks: frozenset[str]
    ) -> None:
        self._vendor = vendor
        self._names = names
        self._accepts = accepts
        self._lacks = lacks
        self._marks: list[tuple[dict[str, object], int]] = []
        self._fixed = 0
        self.losses: list[str] = []

    def lose(self, what: str) -> None:
        if what not in self.losses:
            self.losses.append(what)

    def mark(self, block: dict[str, object], cache: CacheMark | None) -> None:
        """Remembers that *block* ends a prefix worth keeping."""
        if cache is not None:
            self._marks.append((block, cache.ttl))

    def whole(self, value: bytes) -> dict[str, object]:
        """A value that goes out as it is; a mark in it counts."""
        found = members(value)
        self._fixed += "cache_control" in found
        return {name: raw_of(member) for name, member in found.items()}

    def settle_marks(self, most: int) -> None:
        """Puts the last *most* marks in, those of whole values included. A ttl longer than one before it becomes as
        short: the vendor wants the longer first (LLM 5.7)."""
        most -= self._fixed
        kept = self._marks[-most:] if most > 0 else []
        shortest = TTLS["1h"]
        for block, ttl in kept:
            told = ttl
            if ttl:
                told = 3600 if ttl >= 3600 else 300
            lasting = min(told or 300, shortest)
            shortest = lasting
            if told and lasting != ttl:
                self.lose("cache.ttl")
            control: dict[str, str] = {"type": "ephemeral"}
            if told:
                control["ttl"] = "1h" if lasting == 3600 else "5m"
            block["cache_control"] = control

    def extras(self, block: dict[str, object], extra: Extra | None, path: str) -> None:
        """Puts the members of *extra* behind the known ones of *block*, when they are this dialect's."""
        for name in put_extras(block, extra, NAME, self._accepts, path):
            self.lose(name)

    def block(self, part: Part, path: str) -> dict[str, object] | None:
        """*part* as a block; None when there is nothing to say or it is lost. *path* names its message."""
        written = self._block(part, path)
        if written is None:
            return None
        if not isinstance(part, Opaque):
            self.extras(written, part.extra, path)
            self.mark(written, part.cache)
        return written

    def content(self, parts: tuple[Part, ...], path: str) -> object:
        """The shortest ``content`` that says *parts*: a string for one plain text that was no block, else blocks."""
        if len(parts) == 1:
            only = parts[0]
            if type(only) is Text and only.cache is None and only.extra is None and only.raw[:1] != b"{":
                return only.text
        return [block for block in [self.block(part, path) for part in parts] if block is not None]

    def _block(self, part: Part, path: str) -> dict[str, object] | None:
        if isinstance(part, Text | Refusal):
            if self._vendor is not None and not part.text.strip():
                return None
            return {"type": "text", "text": part.text}
        if isinstance(part, ToolCall):
            return self._call(part, path)
        if isinstance(part, ToolResult):
            return self._result(part, path)
        if isinstance(part, Thought):
            signature = self._seal(part.signature, part.origin, path)
            if signature is None:
                return None
            return {"type": "thinking", "thinking": part.text, "signature": signature}
        if isinstance(part, SealedThought):
            data = self._seal(part.data, part.origin, path)
            return None if data is None else {"type": "redacted_thinking", "data": data}
        if isinstance(part, Cited):
            return self._cited(part, path)
        if isinstance(part, Opaque):
            if part.dialect == NAME:
                return self.whole(part.value)
            self.lose(f"{path}.{part.kind}")
            return None
        return self._media(part, path)

    def _seal(self, seal: bytes, origin: Origin | None, path: str) -> str | None:
        if self._vendor is None:
            return marked(seal, origin, OWN).decode("utf-8", "replace")
        if origin is None or origin.vendor != self._vendor:
            self.lose(f"{path}.thinking")
            return None
        return seal.decode("utf-8", "replace")

    def _call(self, part: ToolCall, path: str) -> dict[str, object]:
        arguments = None if part.custom else arguments_object(part.arguments)
        given: object = raw_of(arguments) if arguments is not None else {"_raw": part.arguments}
        if arguments is None:
            self.lose(f"{path}.arguments")
        written: dict[str, object] = {
            "type": "tool_use", "id": fit_id(part.id, ID_SIZE), "name": self._names.get(part.name, part.name),
            "input": given,
        }  # fmt: skip
        if part.signature:
            if self._vendor is None:
                written["signature"] = marked(part.signature, part.origin, OWN).decode("utf-8", "replace")
            else:
                self.lose(f"{path}.thinking.signature")
        return written

    def _result(self, part: ToolResult, path: str) -> dict[str, object]:
        written: dict[str, object] = {"type": "tool_result", "tool_use_id": fit_id(part.call_id, ID_SIZE)}
        if part.parts:
            content = self.content(part.parts, path)
            if content != []:
                written["content"] = content
        if part.is_error:
            written["is_error"] = True
        return written

    def _cited(self, part: Cited, path: str) -> dict[str, object] | None:
        if self._vendor is not None and not part.text.strip():
            return None
        written: dict[str, object] = {"type": "text", "text": part.text}
        told = []
        for citation in part.citations:
            own = citation.extra is not None and citation.extra.dialect == NAME
            found = citation_object(citation) if own or self._vendor is None else None
            if found is None:
                self.lose(f"{path}.citations")
            else:
                told.append(found)
        if told:
            written["citations"] = told
        return written

    def _media(self, part: Media, path: str) -> dict[str, object] | None:
        kind = _MEDIA_LOSS[type(part)]
        if kind in self._lacks or not isinstance(part, Image | File):
            self.lose(f"{path}.{kind}")
            return None
        if isinstance(part, Image):
            if part.detail not in ("", "auto"):
                self.lose(f"{path}.detail")
            return {"type": "image", "source": _source(part, "image/png")}
        document: dict[str, object] = {"type": "document"}
        if part.text and not part.data:
            document["source"] = {"type": "text", "media_type": part.mime or "text/plain", "data": part.text}
        else:
            document["source"] = _source(part, "application/pdf")
        if part.title:
            document["title"] = part.title
        return document


def _source(part: Image | File, mime: str) -> dict[str, str]:
    if part.data:
        return {"type": "base64", "media_type": part.mime or mime, "data": part.data.decode("latin-1")}
    if part.url:
        return {"type": "url", "url": part.url}
    return {"type": "file", "file_id": part.file_id}
