"""Media that a call names by URL and its target takes as bytes only (LLM 5.3): which they are, and the call with their
bytes in place of them."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tidegate.exchange.chat import Audio, ChatRequest, File, Image, Media, Message, Part, ToolResult, Video

_ALL: Final[tuple[type[Media], ...]] = (Image, File, Audio, Video)
_PICTURES: Final[tuple[type[Media], ...]] = (Image,)
_NONE: Final[tuple[type[Media], ...]] = ()
_BYTES_ONLY: Final[dict[str, tuple[type[Media], ...]]] = {
    "bedrock_converse": _ALL, "ollama_chat": _PICTURES, "ollama_generate": _PICTURES,
}  # fmt: skip
"""Dialect -> kinds of media that its targets take as bytes only."""
KINDS: Final[dict[type[Media], tuple[str, ...]]] = {
    Image: ("image/",), File: ("application/pdf",), Audio: ("audio/",), Video: ("video/",),
}  # fmt: skip
"""What the bytes of a kind may be."""


def links(request: ChatRequest, dialect: str, lacks: frozenset[str]) -> dict[str, type[Media]]:
    """URL -> kind of each link of *request* that the target does not follow itself. *lacks*: what its
    preset says that it has not."""
    kinds = _kinds(dialect, lacks)
    found: dict[str, type[Media]] = {}
    if not kinds:
        return found
    for message in request.messages:
        for part in message.parts:
            _note(part, kinds, found)
            if isinstance(part, ToolResult):
                for inner in part.parts:
                    _note(inner, kinds, found)
    return found


def inlined(
    request: ChatRequest, dialect: str, lacks: frozenset[str], fetched: dict[str, tuple[str, bytes]]
) -> ChatRequest:
    """*request* with bytes where the target does not follow links. *fetched*: URL -> (type, base64)."""
    kinds = _kinds(dialect, lacks)
    messages = tuple([_message(message, kinds, fetched) for message in request.messages])
    return replace(request, messages=messages)


def _kinds(dialect: str, lacks: frozenset[str]) -> tuple[type[Media], ...]:
    return _BYTES_ONLY.get(dialect, _PICTURES if "image_url" in lacks else _NONE)


def _note(part: Part, kinds: tuple[type[Media], ...], found: dict[str, type[Media]]) -> None:
    if isinstance(part, kinds) and part.url and part.url[:4].lower() == "http" and not part.data:
        found[part.url] = type(part)


def _message(message: Message, kinds: tuple[type[Media], ...], fetched: dict[str, tuple[str, bytes]]) -> Message:
    parts = tuple([_part(part, kinds, fetched) for part in message.parts])
    if all(new is old for new, old in zip(parts, message.parts, strict=True)):
        return message
    return replace(message, parts=parts, raw=b"")


def _part(part: Part, kinds: tuple[type[Media], ...], fetched: dict[str, tuple[str, bytes]]) -> Part:
    if isinstance(part, ToolResult):
        inner = tuple([_part(one, kinds, fetched) for one in part.parts])
        if all(new is old for new, old in zip(inner, part.parts, strict=True)):
            return part
        return replace(part, parts=inner, raw=b"")
    if isinstance(part, kinds) and part.url in fetched:
        mime, data = fetched[part.url]
        return replace(part, mime=mime, data=data, url="", raw=b"")
    return part
