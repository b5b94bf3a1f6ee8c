"""Parts of Gemini's words <-> parts of a message (LLM 5.3, 5.4, 5.6). Pure: bytes and values.

Members are read in camelCase and snake_case, as in protobuf JSON, and written in camelCase. A call without an id gets
one that tells its place; such an id is not written back, for there the order says what belongs together.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from tidegate.exchange.chat import (
    Audio,
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
from tidegate.rules.sealed_origin import marked_base64, unmarked_base64
from tidegate.rules.tool_ids import minted_id
from tidegate.wire.json_object import (
    NULL,
    WrongShape,
    is_array,
    is_object,
    is_string,
    items,
    members,
    raw_of,
    string,
)

NAME: Final = "gemini_generate"
OWN: Final = "gemini"
"""The vendor whose seals travel bare in this dialect."""
PLACEHOLDER: Final = "skip_thought_signature_validator"
"""What the vendor documents for a call whose signature nobody has [D]."""

_MINTED: Final = "call_00"
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_KINDS: Final[dict[str, type[Image] | type[Audio] | type[Video]]] = {"image": Image, "audio": Audio, "video": Video}
_MEDIA_LOSS: Final = {Image: "image", Audio: "audio", Video: "video", File: "file"}
_DEFAULT_MIME: Final = {
    Image: "image/png", Audio: "audio/wav", Video: "video/mp4", File: "application/pdf",
}  # fmt: skip
_EMPTY_TEXT: Final = ("text", b'""')


def camel(name: str) -> str:
    """``thought_signature`` as ``thoughtSignature``."""
    if "_" not in name:
        return name
    first, *rest = name.split("_")
    return first + "".join([word[:1].upper() + word[1:] for word in rest])


def camel_members(raw: bytes, path: str) -> dict[str, bytes]:
    """The members of an object by their camelCase names; those set to null count as absent."""
    return {camel(name): value for name, value in members(raw, path).items() if value != NULL}


def bag(rest: dict[str, bytes]) -> Extra | None:
    return Extra(NAME, tuple(rest.items())) if rest else None


def take_string(found: dict[str, bytes], name: str, path: str) -> str:
    """The string *name*, taken out of *found*; "" when it is missing."""
    value = found.pop(name, None)
    return "" if value is None else string(value, f"{path}.{name}")


def place_id(seed: str, position: int) -> str:
    """The id of call number *position* of the turn *seed*, which has none of its own."""
    return _MINTED + minted_id(seed, position)[len(_MINTED) :]


def is_place_id(id: str) -> bool:
    return id.startswith(_MINTED)


# -- reading -----------------------------------------------------------------------------------------------------------


class PartReader:
    """Reads the parts of one turn. *vendor* made the seals, "" when a client hands them in; *aliases*: name on the wire
    -> the client's; *seed* tells this turn from others. Mutable: ``calls``, the (id, name) of its calls so far."""

    __slots__ = ("_aliases", "_seed", "_vendor", "calls")

    def __init__(self, vendor: str, aliases: dict[str, str], seed: str) -> None:
        self._vendor = vendor
        self._aliases = aliases
        self._seed = seed
        self.calls: list[tuple[str, str]] = []

    def read(self, raw: bytes, path: str, pending: list[tuple[str, str]]) -> list[Part]:
        """One part of the wire: one part, or a text and its seal. *pending*: calls whose results are awaited; a result
        without an id takes the first of its name out of it."""
        found = camel_members(raw, path)
        seal = found.pop("thoughtSignature", None)
        signature, origin = b"", None
        if seal is not None:
            signature, origin = self._seal(string(seal, f"{path}.thoughtSignature").encode())
        if "text" in found:
            return self._text(found, path, raw, signature, origin)
        if "functionCall" in found:
            return [self._call(found, path, raw, signature, origin)]
        if "functionResponse" in found:
            return [self._result(found, path, raw, pending)]
        for name in ("inlineData", "fileData"):
            if name in found:
                media = _read_media(name, found, path, raw, seal)
                if media is not None:
                    return [media]
        kind = next((name for name in found if is_object(found[name])), "part")
        return [Opaque(dialect=NAME, kind=kind, value=raw, raw=raw)]

    def _seal(self, seal: bytes) -> tuple[bytes, Origin]:
        return (seal, Origin(self._vendor)) if self._vendor else unmarked_base64(seal, OWN)

    def _text(
        self, found: dict[str, bytes], path: str, raw: bytes, signature: bytes, origin: Origin | None
    ) -> list[Part]:
        text = take_string(found, "text", path)
        if found.get("thought") == b"true":
            del found["thought"]
            made = origin or Origin(self._vendor or OWN)
            return [Thought(text=text, signature=signature, origin=made, extra=bag(found), raw=raw)]
        if found.get("thought") == b"false":
            del found["thought"]
        if not signature:
            return [Text(text=text, extra=bag(found), raw=raw)]
        if not text:
            found = {_EMPTY_TEXT[0]: _EMPTY_TEXT[1], **found}
            return [SealedThought(data=signature, origin=origin, extra=bag(found), raw=raw)]
        return [Text(text=text, extra=bag(found), raw=raw), SealedThought(data=signature, origin=origin)]

    def _call(
        self, found: dict[str, bytes], path: str, raw: bytes, signature: bytes, origin: Origin | None
    ) -> ToolCall:
        path = f"{path}.functionCall"
        call = camel_members(found.pop("functionCall"), path)
        name = take_string(call, "name", path)
        name = self._aliases.get(name, name)
        id = take_string(call, "id", path) or place_id(self._seed, len(self.calls))
        self.calls.append((id, name))
        arguments = call.pop("args", b"{}")
        found.update({f"functionCall.{member}": value for member, value in call.items()})
        return ToolCall(
            id=id, name=name, arguments=arguments.decode("utf-8"), signature=signature, origin=origin,
            extra=bag(found), raw=raw,
        )  # fmt: skip

    def _result(self, found: dict[str, bytes], path: str, raw: bytes, pending: list[tuple[str, str]]) -> ToolResult:
        path = f"{path}.functionResponse"
        result = camel_members(found.pop("functionResponse"), path)
        name = take_string(result, "name", path)
        id = take_string(result, "id", path)
        waiting = [call for call in pending if call[0] == id] if id else [call for call in pending if call[1] == name]
        taken = waiting[0] if waiting else pending[0] if pending and not id else None
        if taken is not None:
            pending.remove(taken)
            id = taken[0]
        text, failed = _read_response(result.pop("response", b"{}"), path)
        parts: list[Part] = [Text(text=text)] if text is not None else []
        for at, one in enumerate(items(result.pop("parts", b"[]"), f"{path}.parts")):
            parts += self.read(one, f"{path}.parts[{at}]", [])
        found.update({f"functionResponse.{member}": value for member, value in result.items()})
        return ToolResult(call_id=id, name=name, parts=tuple(parts), is_error=failed, extra=bag(found), raw=raw)


def _read_response(raw: bytes, path: str) -> tuple[str | None, bool]:
    """The text of a result, None for none, and whether it tells of an error. A lone ``output`` or ``error`` is the
    text itself; any other object is its JSON."""
    found = members(raw, f"{path}.response")
    if not found:
        return None, False
    if len(found) == 1:
        name, value = next(iter(found.items()))
        if name in ("output", "error") and is_string(value):
            text = string(value, path)
            if not text.lstrip().startswith("{"):
                return text, name == "error"
        elif name == "error" and is_object(value):
            return value.decode("utf-8"), True
    return raw.decode("utf-8"), False


def _read_media(name: str, found: dict[str, bytes], path: str, raw: bytes, seal: bytes | None) -> Part | None:
    """Media of a kind its type tells; None for shapes we cannot name."""
    given = camel_members(found[name], f"{path}.{name}")
    mime = take_string(given, "mimeType", f"{path}.{name}")
    title = take_string(given, "displayName", f"{path}.{name}")
    held = take_string(given, "data" if name == "inlineData" else "fileUri", f"{path}.{name}")
    if given:
        return None
    del found[name]
    if seal is not None:
        found["thoughtSignature"] = seal
    data = url = file_id = ""
    if name == "inlineData":
        data = held
    elif held.startswith(("http://", "https://")) and "googleapis.com/" not in held:
        url = held
    else:
        file_id = held
    content = data.encode()
    if b"-" in content or b"_" in content:  # the official SDK writes the other alphabet, other vendors refuse it
        content = content.translate(_STANDARD)
    kind = _KINDS.get(mime.partition("/")[0])
    if kind is not None:
        return kind(mime=mime, data=content, url=url, file_id=file_id, title=title, extra=bag(found), raw=raw)
    return File(mime=mime, data=content, url=url, file_id=file_id, title=title, extra=bag(found), raw=raw)


# -- writing -----------------------------------------------------------------------------------------------------------


class PartWriter:
    """Writes parts.

    vendor    the target's, whose seals alone may be sent; None towards a client, who gets every seal, marked
    names     tool name -> alias on this wire
    called    call id -> tool name, for results
    accepts   members of other dialects that may pass
    lacks     what the target refuses; ``tool_ids``: ids of calls too
    signs     a call without a signature gets the vendor's placeholder
    losses    what could not be said, in the client's words
    """

    __slots__ = ("_accepts", "_called", "_lacks", "_names", "_signs", "_vendor", "losses")

    def __init__(
        self, vendor: str | None, names: dict[str, str], called: dict[str, str],
        accepts: frozenset[str], lacks: frozenset[str], signs: bool,
    ) -> None:  # fmt: skip
        self._vendor = vendor
        self._names = names
        self._called = called
        self._accepts = accepts
        self._lacks = lacks
        self._signs = signs
        self.losses: list[str] = []

    def lose(self, what: str) -> None:
        if what not in self.losses:
            self.losses.append(what)

    def extras(self, target: dict[str, object], extra: Extra | None, path: str) -> None:
        """Puts the members of *extra* behind the known ones; ``a.b`` goes into ``a``."""
        if extra is None:
            return
        for name, value in extra.members:
            if not value:  # only a spelling is remembered there
                continue
            if extra.dialect != NAME and name not in self._accepts:
                self.lose(f"{path}.{name}" if path else name)
                continue
            head, dot, tail = name.partition(".")
            inner = target.get(head)
            if dot and isinstance(inner, dict):
                inner.setdefault(tail, raw_of(value))
            else:
                target.setdefault(name, raw_of(value))

    def append(self, part: Part, path: str, written: list[dict[str, object]]) -> None:
        """Puts *part* behind *written*; the seal of a text goes onto it. *path* names its message."""
        if isinstance(part, SealedThought):
            self._sealed(part, path, written)
            return
        made = self._part(part, path, written)
        if made is not None:
            if not isinstance(part, Opaque):
                self.extras(made, part.extra, path)
            written.append(made)

    def _sealed(self, part: SealedThought, path: str, written: list[dict[str, object]]) -> None:
        seal = self.seal(part.data, part.origin, path)
        if not seal:
            return
        alone = part.extra is not None and _EMPTY_TEXT in part.extra.members
        before = written[-1] if written else {}
        if not alone and "text" in before and "thought" not in before and "thoughtSignature" not in before:
            before["thoughtSignature"] = seal
            return
        made: dict[str, object] = {"text": "", "thoughtSignature": seal}
        self.extras(made, part.extra, path)
        written.append(made)

    def seal(self, seal: bytes, origin: Origin | None, path: str) -> str:
        """*seal* as it may be written here; "" when it may not."""
        if self._vendor is None:
            return marked_base64(seal, origin, OWN).decode("latin-1")
        if origin is None or origin.vendor != self._vendor:
            self.lose(f"{path}.thinking")
            return ""
        return seal.decode("utf-8", "replace")

    def _part(self, part: Part, path: str, written: list[dict[str, object]]) -> dict[str, object] | None:
        if isinstance(part, Text | Refusal):
            return {"text": part.text}
        if isinstance(part, Cited):
            if self._vendor is not None:
                self.lose(f"{path}.citations")
            return {"text": part.text}
        if isinstance(part, ToolCall):
            return self._call(part, path, written)
        if isinstance(part, ToolResult):
            return self._result(part, path)
        if isinstance(part, Thought):
            return self._thought(part, path)
        if isinstance(part, Opaque):
            if part.dialect == NAME:
                return {name: raw_of(value) for name, value in members(part.value).items()}
            self.lose(f"{path}.{part.kind}")
            return None
        if isinstance(part, Media):
            return self._media(part, path)
        return None

    def _thought(self, part: Thought, path: str) -> dict[str, object] | None:
        if self._vendor is not None and (part.origin is None or part.origin.vendor != self._vendor):
            self.lose(f"{path}.thinking")
            return None
        made: dict[str, object] = {"text": part.text, "thought": True}
        seal = self.seal(part.signature, part.origin, path)
        if seal:
            made["thoughtSignature"] = seal
        return made

    def _call(self, part: ToolCall, path: str, written: list[dict[str, object]]) -> dict[str, object]:
        call: dict[str, object] = {}
        if part.id and not is_place_id(part.id) and "tool_ids" not in self._lacks:
            call["id"] = part.id
        call["name"] = self._names.get(part.name, part.name)
        arguments = None if part.custom else arguments_object(part.arguments)
        if arguments is None:
            self.lose(f"{path}.arguments")
        call["args"] = raw_of(arguments) if arguments is not None else {"_raw": part.arguments}
        made: dict[str, object] = {"functionCall": call}
        seal = ""
        if part.signature:
            if self._vendor is None or (part.origin is not None and part.origin.vendor == self._vendor):
                seal = self.seal(part.signature, part.origin, path)
            else:
                self.lose(f"{path}.thinking.signature")
        if not seal and self._signs and not any("functionCall" in before for before in written):
            self.lose(f"{path}.thinking.signature")
            seal = PLACEHOLDER
        if seal:
            made["thoughtSignature"] = seal
        return made

    def _result(self, part: ToolResult, path: str) -> dict[str, object]:
        result: dict[str, object] = {}
        if part.call_id and not is_place_id(part.call_id) and "tool_ids" not in self._lacks:
            result["id"] = part.call_id
        name = self._called.get(part.call_id) or part.name or "unknown"
        result["name"] = self._names.get(name, name)
        texts: list[str] = []
        media: list[dict[str, object]] = []
        for inner in part.parts:
            if isinstance(inner, Text | Refusal | Cited):
                texts.append(inner.text)
            elif isinstance(inner, Media):
                made = self._media(inner, path)
                if made is not None:
                    media.append(made)
            else:
                self.lose(f"{path}.result")
        text = "".join(texts)
        raw = arguments_object(text) if text.lstrip().startswith("{") else None
        said: object = text if raw is None else raw_of(raw)
        if part.is_error:
            result["response"] = {"error": said}
        elif not texts:
            result["response"] = {}
        else:
            result["response"] = {"output": text} if raw is None else said
        if media:
            result["parts"] = media
        return {"functionResponse": result}

    def _media(self, part: Media, path: str) -> dict[str, object] | None:
        kind = _MEDIA_LOSS[type(part)]
        if kind in self._lacks:
            self.lose(f"{path}.{kind}")
            return None
        if part.detail not in ("", "auto"):
            self.lose(f"{path}.detail")
        data = part.data
        mime = part.mime
        if isinstance(part, File) and part.text and not data:
            data, mime = b64encode(part.text.encode("utf-8", "surrogatepass")), mime or "text/plain"
        if data:
            blob: dict[str, object] = {
                "mimeType": mime or _DEFAULT_MIME[type(part)], "data": data.decode("latin-1"),
            }  # fmt: skip
            if part.title:
                blob["displayName"] = part.title
            return {"inlineData": blob}
        if part.url and "image_url" in self._lacks:
            self.lose(f"{path}.{kind}_url")
            return None
        uri: dict[str, object] = {"fileUri": part.url or part.file_id}
        if mime:
            uri["mimeType"] = mime
        if part.title:
            uri["displayName"] = part.title
        return {"fileData": uri}


def arguments_object(text: str) -> bytes | None:
    """*text* as the JSON object this dialect wants, ``{}`` for none; None when it is no object."""
    raw = text.encode("utf-8", "surrogatepass").strip()
    if not raw:
        return b"{}"
    try:
        members(raw)
    except WrongShape:
        return None
    return raw


def read_parts(value: bytes, path: str, reader: PartReader, pending: list[tuple[str, str]]) -> list[Part]:
    """The parts of a content object's ``parts``."""
    if is_string(value):
        return [Text(text=string(value, path))]
    raws = items(value, path) if is_array(value) else [value]
    parts: list[Part] = []
    for at, raw in enumerate(raws):
        parts += reader.read(raw, f"{path}[{at}]", pending)
    return parts
