"""Content blocks of Bedrock's Converse <-> parts of a message (LLM 5.3, 5.4, 5.6, 5.7). Pure: bytes and values.

A block is an object with one member, whose name says what it is. Base64 is moved, never decoded.
"""

from __future__ import annotations

import re
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
from tidegate.rules.content_blocks import arguments_object, take_string
from tidegate.rules.losses import Losses
from tidegate.rules.sealed_origin import marked, marked_base64, unmarked, unmarked_base64
from tidegate.rules.tool_ids import fit_id
from tidegate.wire.json_object import NULL, WrongShape, is_object, items, members, raw_of, string

NAME: Final = "bedrock_converse"
OWN: Final = "bedrock"
"""The vendor whose seals travel bare in this dialect."""
ID_SIZE: Final = 64
TTLS: Final = {"5m": 300, "1h": 3600}

_DOCUMENTS: Final = {
    "pdf": "application/pdf", "csv": "text/csv", "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html", "txt": "text/plain", "md": "text/markdown",
}  # fmt: skip
_IMAGES: Final = {name: f"image/{name}" for name in ("png", "jpeg", "gif", "webp")}
_VIDEOS: Final = {
    "mkv": "video/x-matroska", "mov": "video/quicktime", "mp4": "video/mp4", "webm": "video/webm", "flv": "video/x-flv",
    "mpeg": "video/mpeg", "mpg": "video/mpg", "wmv": "video/x-ms-wmv", "three_gp": "video/3gpp",
}  # fmt: skip
_AUDIOS: Final = {
    "mp3": "audio/mpeg", "opus": "audio/opus", "wav": "audio/wav", "aac": "audio/aac", "flac": "audio/flac",
    "mp4": "audio/mp4", "ogg": "audio/ogg", "mkv": "audio/x-matroska", "mka": "audio/mka", "x-aac": "audio/x-aac",
    "m4a": "audio/m4a", "mpeg": "audio/x-mpeg", "mpga": "audio/mpga", "pcm": "audio/pcm", "webm": "audio/webm",
}  # fmt: skip
_MIMES: Final = {"image": _IMAGES, "document": _DOCUMENTS, "video": _VIDEOS, "audio": _AUDIOS}
_FORMATS: Final = {
    kind: {mime: name for name, mime in mimes.items()} for kind, mimes in _MIMES.items()
} | {"image": {mime: name for name, mime in _IMAGES.items()} | {"image/jpg": "jpeg"}}  # fmt: skip
_KINDS: Final[dict[type, str]] = {Image: "image", File: "document", Video: "video", Audio: "audio"}
_LOSSES: Final[dict[type, str]] = {Image: "image", File: "file", Video: "video", Audio: "audio"}
_S3: Final = "s3://"
_ODD_LETTERS: Final = re.compile(r"[^A-Za-z0-9()\[\] -]+").sub
_BLANKS: Final = re.compile(r" {2,}").sub


def bag(rest: dict[str, bytes], before: str = "") -> tuple[tuple[str, bytes], ...]:
    """What nobody took out of *rest*, in order, each name with *before* in front."""
    return tuple([(before + name, value) for name, value in rest.items()])


# -- reading -----------------------------------------------------------------------------------------------------------


def read_mark(raw: bytes) -> CacheMark | None:
    """The mark that a ``cachePoint`` block is; None when *raw* is no such block or holds words we do not know."""
    found = members(raw)
    if found.keys() != {"cachePoint"}:
        return None
    mark = members(found["cachePoint"], "cachePoint")
    ttl = mark.pop("ttl", b'""')
    kept = ttl[1:-1].decode("latin-1")
    if mark != {"type": b'"default"'} or (kept and kept not in TTLS):
        return None
    return CacheMark(TTLS.get(kept, 0))


def read_content(value: bytes, path: str, vendor: str, aliases: dict[str, str]) -> tuple[Part, ...]:
    """The blocks of a turn; a cache point becomes a mark on the part before it. *vendor*: who made the seals, "" when a
    client hands them in. *aliases*: tool name on the wire -> the client's."""
    parts: list[Part] = []
    for at, raw in enumerate(items(value, path)):
        mark = read_mark(raw) if parts and b"cachePoint" in raw else None
        if mark is not None and parts[-1].cache is None:
            parts[-1] = replace(parts[-1], cache=mark)
        else:
            parts.append(read_block(raw, f"{path}[{at}]", vendor, aliases))
    return tuple(parts)


def read_block(raw: bytes, path: str, vendor: str, aliases: dict[str, str]) -> Part:
    """One block. What has no neutral name, or an unknown shape, is ``Opaque``."""
    found = members(raw, path)
    kind = next(iter(found), "")
    if len(found) != 1:
        return Opaque(dialect=NAME, kind=kind, value=raw, raw=raw)
    value = found[kind]
    path = f"{path}.{kind}"
    if kind == "text":
        return Text(text=string(value, path), raw=raw)
    if kind == "toolUse":
        return _read_call(raw, members(value, path), path, aliases)
    if kind == "toolResult":
        return _read_result(raw, members(value, path), path, vendor, aliases)
    if kind == "reasoningContent":
        return _read_thought(raw, members(value, path), path, vendor)
    if kind in _MIMES:
        return _read_media(raw, kind, members(value, path), path)
    if kind == "citationsContent":
        return _read_cited(raw, members(value, path), path)
    if kind == "json":  # of a tool's result
        return Text(text=value.decode("utf-8"), raw=raw)
    return Opaque(dialect=NAME, kind=kind, value=raw, raw=raw)


def _extra(rest: dict[str, bytes]) -> Extra | None:
    return Extra(NAME, bag(rest)) if rest else None


def _read_call(raw: bytes, found: dict[str, bytes], path: str, aliases: dict[str, str]) -> Part:
    if "type" in found:  # the vendor runs it
        return Opaque(dialect=NAME, kind="toolUse", value=raw, raw=raw)
    name = take_string(found, "name", path)
    arguments = found.pop("input", b"{}")
    return ToolCall(
        id=take_string(found, "toolUseId", path), name=aliases.get(name, name),
        arguments="{}" if arguments == NULL else arguments.decode("utf-8"), extra=_extra(found), raw=raw,
    )  # fmt: skip


def _read_result(raw: bytes, found: dict[str, bytes], path: str, vendor: str, aliases: dict[str, str]) -> Part:
    if "type" in found:
        return Opaque(dialect=NAME, kind="toolResult", value=raw, raw=raw)
    status = take_string(found, "status", path)
    content = found.pop("content", b"[]")
    return ToolResult(
        call_id=take_string(found, "toolUseId", path), parts=read_content(content, f"{path}.content", vendor, aliases),
        is_error=status == "error", extra=_extra(found), raw=raw,
    )  # fmt: skip


def _read_thought(raw: bytes, found: dict[str, bytes], path: str, vendor: str) -> Part:
    sealed = found.get("redactedContent", NULL)
    if sealed != NULL:
        data = string(sealed, f"{path}.redactedContent").encode()
        bare, origin = (data, Origin(vendor)) if vendor else unmarked_base64(data, OWN)
        return SealedThought(data=bare, origin=origin, raw=raw)
    told = members(found.get("reasoningText", b""), f"{path}.reasoningText")
    signature = take_string(told, "signature", path).encode()
    bare, origin = (signature, Origin(vendor)) if vendor else unmarked(signature, OWN)
    return Thought(
        text=take_string(told, "text", path), signature=bare, origin=origin, extra=_extra(told), raw=raw,
    )  # fmt: skip


def _read_media(raw: bytes, kind: str, found: dict[str, bytes], path: str) -> Part:
    """Media whose format and source we can name; anything else stays whole for its own dialect."""
    opaque = Opaque(dialect=NAME, kind=kind, value=raw, raw=raw)
    form = take_string(found, "format", path)
    mime = _MIMES[kind].get(form, "")
    value = found.pop("source", NULL)
    if (form and not mime) or not is_object(value):
        return opaque
    source = members(value, f"{path}.source")
    data = url = text = ""
    if source.keys() == {"bytes"}:
        data = string(source["bytes"], f"{path}.source.bytes")
    elif source.keys() == {"text"} and kind == "document":
        text = string(source["text"], f"{path}.source.text")
    elif source.keys() == {"s3Location"}:
        place = members(source["s3Location"], f"{path}.source.s3Location")
        if place.keys() != {"uri"}:
            return opaque
        url = string(place["uri"], f"{path}.source.s3Location.uri")
    else:
        return opaque
    held = data.encode()
    if kind == "document":
        title = take_string(found, "name", path)
        return File(mime=mime, data=held, url=url, text=text, title=title, extra=_extra(found), raw=raw)
    extra = _extra(found)
    if kind == "image":
        return Image(mime=mime, data=held, url=url, extra=extra, raw=raw)
    if kind == "video":
        return Video(mime=mime, data=held, url=url, extra=extra, raw=raw)
    return Audio(mime=mime, data=held, url=url, extra=extra, raw=raw)


def _read_cited(raw: bytes, found: dict[str, bytes], path: str) -> Part:
    texts = [take_string(members(one, path), "text", path) for one in items(found.pop("content", b"[]"), path)]
    told = items(found.pop("citations", b"[]"), f"{path}.citations")
    cited = tuple([read_citation(one, f"{path}.citations") for one in told])
    return Cited(text="".join(texts), citations=cited, extra=_extra(found), raw=raw)


def read_citation(raw: bytes, path: str) -> Citation:
    """A source; what is not neutral stays in its bag (a place in a document, several quotes ...)."""
    found = members(raw, path)
    quote = url = ""
    told = items(found.get("sourceContent", b"[]"), f"{path}.sourceContent")
    if len(told) == 1 and (one := members(told[0], path)).keys() == {"text"}:
        quote = string(one["text"], path)
        del found["sourceContent"]
    place = members(found.get("location", b"{}"), f"{path}.location")
    if place.keys() == {"web"} and (web := members(place["web"], path)).keys() == {"url"}:
        url = string(web["url"], path)
        del found["location"]
    return Citation(url=url, title=take_string(found, "title", path), quote=quote, extra=_extra(found))


# -- writing -----------------------------------------------------------------------------------------------------------


def citation_object(citation: Citation) -> dict[str, object]:
    """*citation* in this dialect."""
    written: dict[str, object] = {}
    if citation.title:
        written["title"] = citation.title
    if citation.quote:
        written["sourceContent"] = [{"text": citation.quote}]
    if citation.url:
        written["location"] = {"web": {"url": citation.url}}
    if citation.extra is not None and citation.extra.dialect == NAME:
        for name, value in citation.extra.members:
            written[name] = raw_of(value)
    return written


def mark_block(cache: CacheMark, losses: Losses) -> dict[str, object]:
    """The ``cachePoint`` for *cache*; a life the vendor does not know becomes the nearest shorter one."""
    point: dict[str, object] = {"type": "default"}
    if cache.ttl:
        lasting = 3600 if cache.ttl >= 3600 else 300
        if lasting != cache.ttl:
            losses.lose("cache.ttl")
        point["ttl"] = "1h" if lasting == 3600 else "5m"
    return {"cachePoint": point}


class ConverseBlocks:
    """Writes parts as blocks, in the order they go out.

    vendor   the target's, whose seals alone may be sent; None towards a client, who gets every seal, marked
    names    tool name -> alias on this wire
    accepts  members of other dialects that may pass
    lacks    parts the target does not take
    skip     cache marks that are left out, the first ones: the target takes fewer
    """

    __slots__ = ("_accepts", "_documents", "_lacks", "_losses", "_names", "_vendor", "skip")

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
        self._documents: set[str] = set()
        self.skip = 0

    def put(self, part: Part, path: str, into: list[object]) -> None:
        """Adds the block of *part*, and the cache point behind it."""
        block = self.block(part, path)
        if block is not None:
            into.append(block)
            self.mark(part.cache, into)

    def mark(self, cache: CacheMark | None, into: list[object]) -> None:
        """Adds a cache point for *cache*."""
        if cache is None:
            return
        if self.skip > 0:
            self.skip -= 1
        elif "cache" not in self._lacks:
            into.append(mark_block(cache, self._losses))

    def block(self, part: Part, path: str) -> object | None:
        """*part* as a block; None when there is nothing to say or it is lost. *path* names its message."""
        if isinstance(part, Text | Refusal):
            return self._text(part)
        if isinstance(part, ToolCall):
            return self._call(part, path)
        if isinstance(part, ToolResult):
            return self._result(part, path)
        if isinstance(part, Thought):
            return self._thought(part, path)
        if isinstance(part, SealedThought):
            return self._sealed(part, path)
        if isinstance(part, Cited):
            return self._cited(part, path)
        if isinstance(part, Opaque):
            if part.dialect == NAME:
                return raw_of(part.value)
            self._losses.lose(f"{path}.{part.kind}")
            return None
        return self._media(part, path)

    def _text(self, part: Text | Refusal) -> object | None:
        if self._vendor is not None and not part.text.strip():
            return None
        return {"text": part.text}

    def _call(self, part: ToolCall, path: str) -> object:
        arguments = None if part.custom else arguments_object(part.arguments)
        given: object = raw_of(arguments) if arguments is not None else {"_raw": part.arguments}
        if arguments is None:
            self._losses.lose(f"{path}.arguments")
        if part.signature:
            self._losses.lose(f"{path}.thinking.signature")
        inner: dict[str, object] = {
            "toolUseId": fit_id(part.id, ID_SIZE), "name": self._names.get(part.name, part.name), "input": given,
        }  # fmt: skip
        self._losses.extras(inner, part.extra, NAME, self._accepts, path)
        return {"toolUse": inner}

    def _result(self, part: ToolResult, path: str) -> object:
        content: list[object] = []
        for one in part.parts:
            if isinstance(one, Text) and _is_json(one):
                content.append({"json": raw_of(one.text.encode())})
                self.mark(one.cache, content)
            elif isinstance(one, Text | Refusal | Image | File | Video | Opaque):
                self.put(one, path, content)
            elif isinstance(one, Cited):
                content.append({"text": one.text})
            else:
                self._losses.lose(f"{path}.tool_result")
        inner: dict[str, object] = {"toolUseId": fit_id(part.call_id, ID_SIZE), "content": content}
        if part.is_error:
            inner["status"] = "error"
        self._losses.extras(inner, part.extra, NAME, self._accepts, path)
        return {"toolResult": inner}

    def _thought(self, part: Thought, path: str) -> object | None:
        inner: dict[str, object] = {"text": part.text}
        if self._vendor is None:
            signature = marked(part.signature, part.origin, OWN)
        elif part.origin is None or part.origin.vendor != self._vendor:
            self._losses.lose(f"{path}.thinking")
            return None
        else:
            signature = part.signature
        if signature:
            inner["signature"] = signature.decode("utf-8", "replace")
        self._losses.extras(inner, part.extra, NAME, self._accepts, path)
        return {"reasoningContent": {"reasoningText": inner}}

    def _sealed(self, part: SealedThought, path: str) -> object | None:
        if self._vendor is None:
            data = marked_base64(part.data, part.origin, OWN)
        elif part.origin is None or part.origin.vendor != self._vendor:
            self._losses.lose(f"{path}.thinking")
            return None
        else:
            data = part.data
        return {"reasoningContent": {"redactedContent": data.decode("utf-8", "replace")}}

    def _cited(self, part: Cited, path: str) -> object | None:
        if self._vendor is not None and not part.text.strip():
            return None
        told = []
        for citation in part.citations:
            own = citation.extra is not None and citation.extra.dialect == NAME
            if own or citation.url:
                told.append(citation_object(citation))
            else:
                self._losses.lose(f"{path}.citations")
        if not told:
            return {"text": part.text}
        inner: dict[str, object] = {"content": [{"text": part.text}], "citations": told}
        self._losses.extras(inner, part.extra, NAME, self._accepts, path)
        return {"citationsContent": inner}

    def _media(self, part: Media, path: str) -> object | None:
        kind, loss = _KINDS[type(part)], _LOSSES[type(part)]
        inner: dict[str, object] = {}
        mime = part.mime or ("text/plain" if isinstance(part, File) and part.text else "")
        form = _FORMATS[kind].get(mime, "")
        if part.url and not part.url.startswith(_S3):
            self._losses.lose(f"{path}.{loss}_url")
            return None
        if loss in self._lacks or part.file_id or (not form and kind != "document") or (mime and not form):
            self._losses.lose(f"{path}.{loss}")
            return None
        if form:
            inner["format"] = form
        if isinstance(part, File):
            inner["name"] = self._document_name(part.title, path)
        if isinstance(part, File) and part.text and not part.data:
            inner["source"] = {"text": part.text}
        elif part.url:
            inner["source"] = {"s3Location": {"uri": part.url}}
        else:
            inner["source"] = {"bytes": part.data.decode("latin-1")}
        if part.detail not in ("", "auto"):
            self._losses.lose(f"{path}.detail")
        self._losses.extras(inner, part.extra, NAME, self._accepts, path)
        return {kind: inner}

    def _document_name(self, title: str, path: str) -> str:
        """A name the vendor takes: letters, digits, single blanks and ``-()[]``, and no name twice where it is ours."""
        name = _BLANKS(" ", _ODD_LETTERS("-", title)).strip()[:200]
        if name == title and name:
            self._documents.add(name)
            return name
        if title:
            self._losses.lose(f"{path}.file.title")
        name = name or "document"
        made, number = name, 1
        while made in self._documents:
            number += 1
            made = f"{name} {number}"
        self._documents.add(made)
        return made


def _is_json(part: Text) -> bool:
    """The text was a ``json`` block of this dialect and still is JSON."""
    if not part.raw or not part.raw.lstrip().startswith(b'{"json"'):
        return False
    try:
        return members(part.raw).get("json") == part.text.encode()
    except WrongShape:
        return False
