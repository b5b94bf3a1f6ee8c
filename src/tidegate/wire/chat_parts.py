"""Content parts of a chat message, both ways (LLM 5.3, 5.7). Base64 is moved, never decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    Cited,
    Extra,
    File,
    Image,
    Opaque,
    Part,
    Raw,
    Refusal,
    Text,
    Thought,
    Video,
)  # fmt: skip
from tidegate.wire.data_url import data_url, split_data_url
from tidegate.wire.json_object import NULL, WrongShape, is_array, is_object, items, members, raw_of, string

CHAT: Final = "openai_chat"

BREAKPOINT: Final = "prompt_cache_breakpoint"
VENDOR_MARK: Final = "cache_control"
"""What some chat-shaped vendors call the mark: Anthropic's word, in Anthropic's shape."""

_TTL: Final = {"30m": 1800, "12h": 43200, "5m": 300, "1h": 3600}
_AUDIO: Final = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_AUDIO_FORMATS: Final = {mime: name for name, mime in _AUDIO.items()}


def read_content(raw: Raw, path: str) -> tuple[Part, ...]:
    """The parts of a ``content``: a text, an array of parts, or null."""
    if raw == NULL or not raw:
        return ()
    if not is_array(raw):
        return (Text(text=string(raw, path)),)
    parts: list[Part] = []
    for number, item in enumerate(items(raw, path)):
        parts.append(read_part(item, f"{path}[{number}]"))
    return tuple(parts)


def read_part(raw: Raw, path: str) -> Part:
    """One part. A type that nobody here knows is ``Opaque``."""
    told = members(raw, path)
    if "type" not in told:
        raise WrongShape(path, "a part with a type")
    kind = string(told.pop("type"), path + ".type")
    cache = _read_mark(told)
    if kind == "text":
        text = string(told.pop("text", b""), path + ".text")
        return Text(text=text, cache=cache, extra=extra_of(told))
    if kind == "refusal":
        return Refusal(text=string(told.pop("refusal", b""), path + ".refusal"), cache=cache, extra=extra_of(told))
    if kind == "image_url":
        return _read_image(told, cache, path)
    if kind == "input_audio":
        inner = members(told.pop("input_audio", b""), path + ".input_audio")
        data = string(inner.pop("data", b""), path + ".input_audio.data").encode()
        form = string(inner.pop("format", b'"wav"'), path + ".input_audio.format")
        return Audio(mime=_AUDIO.get(form, "audio/" + form), data=data, cache=cache, extra=extra_of(told))
    if kind == "file":
        return _read_file(told, cache, path)
    if kind == "thinking":
        return _read_thinking(told, path)
    return Opaque(dialect=CHAT, kind=kind, value=raw, cache=cache)


def _read_image(told: dict[str, Raw], cache: CacheMark | None, path: str) -> Image:
    value = told.pop("image_url", b"")
    detail = ""
    if is_object(value):
        inner = members(value, path + ".image_url")
        url = string(inner.get("url", b""), path + ".image_url.url")
        if "detail" in inner and inner["detail"] != NULL:
            detail = string(inner["detail"], path + ".image_url.detail")
    else:
        url = string(value, path + ".image_url")
    held = split_data_url(url)
    if held is not None:
        return Image(mime=held[0], data=held[1], detail=detail, cache=cache, extra=extra_of(told))
    return Image(url=url, detail=detail, cache=cache, extra=extra_of(told))


def _read_file(told: dict[str, Raw], cache: CacheMark | None, path: str) -> File:
    inner = members(told.pop("file", b""), path + ".file")
    title = _optional(inner, "filename", path)
    file_id = _optional(inner, "file_id", path)
    data = _optional(inner, "file_data", path)
    held = split_data_url(data)
    mime, content = held if held is not None else ("", data.encode())
    return File(mime=mime, data=content, file_id=file_id, title=title, cache=cache, extra=extra_of(told))


def _read_thinking(told: dict[str, Raw], path: str) -> Thought:
    """Mistral's chunk: its text is a text or an array of texts."""
    value = told.pop("thinking", b'""')
    if is_array(value):
        texts = [part.text for part in read_content(value, path + ".thinking") if isinstance(part, Text)]
    else:
        texts = [string(value, path + ".thinking")]
    signature = _optional(told, "signature", path).encode()
    told.pop("signature", None)
    return Thought(text="".join(texts), signature=signature, extra=extra_of(told))


def _optional(told: dict[str, Raw], name: str, path: str) -> str:
    value = told.get(name, NULL)
    return "" if value == NULL else string(value, f"{path}.{name}")


def extra_of(told: Mapping[str, Raw], dialect: str = CHAT) -> Extra | None:
    """What is left of an object when everything with a name has been taken out of it."""
    return Extra(dialect, tuple(told.items())) if told else None


def own_members(extra: Extra | None, dialect: str = CHAT) -> dict[str, Raw]:
    """The members of *extra* where they are *dialect*'s words."""
    return dict(extra.members) if extra is not None and extra.dialect == dialect else {}


def spelled(name: str, text: str) -> tuple[str, Raw]:
    """A member of an extra that remembers in which word *name* was said."""
    return f"{name}={text}", b""


def spelling(extra: Extra | None, name: str, dialect: str = CHAT) -> str:
    """The word that was remembered for *name*, "" for none."""
    for member in own_members(extra, dialect):
        if member.startswith(name + "="):
            return member[len(name) + 1 :]
    return ""


def _read_mark(told: dict[str, Raw]) -> CacheMark | None:
    value = told.get(BREAKPOINT) or told.get(VENDOR_MARK) or b""
    if not is_object(value):
        return None
    told.pop(BREAKPOINT, None)
    told.pop(VENDOR_MARK, None)
    return CacheMark(seconds_of(members(value).get("ttl")))


def seconds_of(ttl: Raw | None) -> int:
    """Seconds of a life as these vendors write it (``"30m"``); 0 for none or one we do not know."""
    return _TTL.get(ttl.decode("latin-1").strip('"'), 0) if ttl else 0


# -- written -----------------------------------------------------------------------------------------------------------


class PartWriter:
    """Writes parts for one target. Mutable state: ``losses``, ``marks`` still to be written.

    lacks    what the target does not take (``image``, ``audio``, ``file``, ``cache``)
    mark     the member that says where a prefix worth keeping ends; "" for none
    """

    def __init__(self, dialect: str, lacks: frozenset[str], mark: str, losses: list[str]) -> None:
        self.dialect = dialect
        self.lacks = lacks
        self.mark = "" if "cache" in lacks else mark
        self.losses = losses
        self.skip_marks = 0
        """Marks to leave out, the first ones: the target takes four (LLM 5.7)."""

    def content(self, parts: list[Part], where: str) -> Any:
        """``content`` for *parts*: a text where one plain text is all, else an array."""
        if len(parts) == 1 and type(parts[0]) is Text and parts[0].cache is None and parts[0].extra is None:
            return parts[0].text
        written = []
        for part in parts:
            one = self.part(part, where)
            if one is not None:
                written.append(one)
        return written

    def part(self, part: Part, where: str) -> Any:
        """One part as a value for ``encode``; None when it cannot be said, which is a loss."""
        body: dict[str, Any]
        if isinstance(part, (Text, Cited)):
            body = {"type": "text", "text": part.text}
            if isinstance(part, Cited) and part.citations:
                self.losses.append(where + ".citations")
        elif isinstance(part, Refusal):
            body = {"type": "refusal", "refusal": part.text}
        elif isinstance(part, Image):
            url = data_url(part.mime, part.data) if part.data else part.url
            if not url or "image" in self.lacks:
                return self._lost(where + (".image" if not part.file_id else ".image.file_id"))
            inner = {"url": url}
            if part.detail:
                inner["detail"] = part.detail
            body = {"type": "image_url", "image_url": inner}
        elif isinstance(part, Audio):
            if not part.data or "audio" in self.lacks:
                return self._lost(where + ".audio")
            form = _AUDIO_FORMATS.get(part.mime) or part.mime.removeprefix("audio/") or "wav"
            body = {"type": "input_audio", "input_audio": {"data": part.data.decode("latin-1"), "format": form}}
        elif isinstance(part, File):
            found = self._file(part, where)
            if found is None:
                return None
            body = found
        elif isinstance(part, Opaque) and part.dialect == self.dialect:
            return raw_of(part.value)
        else:
            kind = "video" if isinstance(part, Video) else part.kind if isinstance(part, Opaque) else "part"
            return self._lost(f"{where}.{kind}")
        if part.cache is not None:
            self._mark(part.cache, body)
        self.extra(part.extra, body, where)
        return body

    def _file(self, part: File, where: str) -> dict[str, Any] | None:
        if "file" in self.lacks or part.url:
            self._lost(where + ".file")
            return None
        if part.text and not part.data:
            self.losses.append(where + ".file.title")
            return {"type": "text", "text": part.text}
        inner: dict[str, str] = {}
        if part.title:
            inner["filename"] = part.title
        if part.file_id:
            inner["file_id"] = part.file_id
        else:
            inner["file_data"] = data_url(part.mime, part.data) if part.mime else part.data.decode("latin-1")
        return {"type": "file", "file": inner}

    def _mark(self, cache: CacheMark, body: dict[str, Any]) -> None:
        if not self.mark:
            return
        if self.skip_marks > 0:
            self.skip_marks -= 1
            return
        body[self.mark] = mark_of(cache, self.mark == VENDOR_MARK, self.losses)

    def extra(self, extra: Extra | None, body: dict[str, Any], where: str) -> None:
        """Unknown members go out in their own dialect only."""
        if extra is None:
            return
        for name, value in extra.members:
            if extra.dialect == self.dialect:
                if value:
                    body.setdefault(name, raw_of(value))
            elif value:
                self.losses.append(f"{where}.{name}")

    def _lost(self, name: str) -> None:
        self.losses.append(name)


def mark_of(cache: CacheMark, vendors: bool, losses: list[str]) -> dict[str, str]:
    """The mark's object. A life the target does not know becomes the nearest shorter one, or its own."""
    lives = {300: "5m", 3600: "1h"} if vendors else {1800: "30m", 43200: "12h"}
    mark = {"type": "ephemeral"} if vendors else {"mode": "explicit"}
    if cache.ttl:
        fitting = [seconds for seconds in lives if seconds <= cache.ttl]
        if fitting:
            mark["ttl"] = lives[max(fitting)]
        if cache.ttl not in lives:
            losses.append("cache.ttl")
    return mark


def text_of(parts: tuple[Part, ...]) -> str:
    """The plain text of *parts*."""
    return "".join([part.text for part in parts if isinstance(part, (Text, Cited))])


def as_text(value: Raw) -> str:
    """A JSON value as text: a string's own, else the JSON (arguments that a vendor sends as an object)."""
    if value[:1] == b'"':
        return string(value)
    return "" if value == NULL else value.decode("utf-8", "replace")
