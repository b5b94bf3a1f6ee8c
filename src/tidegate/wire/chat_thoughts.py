"""Thoughts where chat messages have no place for them (LLM 5.6): ``reasoning_content``, ``reasoning_details[]`` and
``tool_calls[].extra_content``, which clients know and send back. Signatures pass byte for byte.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.exchange.chat import Opaque, Origin, Part, Raw, SealedThought, Thought
from tidegate.wire.chat_parts import CHAT, extra_of
from tidegate.wire.json_object import NULL, WrongShape, encode, is_object, is_string, members, raw_of, string

_KNOWN: Final = {"anthropic": "anthropic", "google": "gemini", "openai": "openai", "azure": "openai", "xai": "xai"}
"""First word of a ``format`` that OpenRouter writes -> the vendor whose seal it is."""

_GOOGLE: Final = "google"


def origin_of(format: str) -> Origin | None:
    """The vendor that a ``format`` names: ``vendor/its own word`` as we write it, or OpenRouter's word."""
    vendor, slash, _ = format.partition("/")
    if not slash:
        head, dash, _ = format.partition("-")
        vendor = _KNOWN.get(head, head) if dash else format
    return Origin(vendor) if vendor else None


def read_detail(raw: Raw, path: str, vendor: str) -> Part:
    """One entry of ``reasoning_details``. *vendor*: who wrote it; "" for a client, whose entry says it itself."""
    told = members(raw, path)
    kind = _text(told, "type", path)
    form = _text(told, "format", path)
    origin = Origin(vendor) if vendor else origin_of(form)
    told.pop("type", None)
    told.pop("format", None)
    own = form if vendor else form.partition("/")[2]
    if own:
        told["format"] = encode(own)
    id = _text(told, "id", path)
    told.pop("id", None)
    told.pop("index", None)
    if kind == "reasoning.encrypted":
        data = _text(told, "data", path).encode()
        told.pop("data", None)
        return SealedThought(data=data, origin=origin, id=id, extra=extra_of(told))
    if kind in ("reasoning.text", "reasoning.summary"):
        member = "text" if kind == "reasoning.text" else "summary"
        text = _text(told, member, path)
        signature = _text(told, "signature", path).encode()
        told.pop(member, None)
        told.pop("signature", None)
        return Thought(
            text=text, signature=signature, origin=origin, id=id, summary=member == "summary", extra=extra_of(told)
        )
    return Opaque(dialect=CHAT, kind=kind, value=raw)


def detail(part: Thought | SealedThought, index: int, vendor: str) -> dict[str, Any]:
    """The entry for *part*. *vendor*: of the target, whose own ``format`` goes back; "" for a client, which is told
    whose seal it is."""
    entry: dict[str, Any]
    if isinstance(part, SealedThought):
        entry = {"type": "reasoning.encrypted", "data": part.data.decode("utf-8", "surrogatepass")}
    elif part.summary:
        entry = {"type": "reasoning.summary", "summary": part.text}
    else:
        entry = {"type": "reasoning.text", "text": part.text}
    if isinstance(part, Thought) and part.signature:
        entry["signature"] = part.signature.decode("utf-8", "surrogatepass")
    if part.id:
        entry["id"] = part.id
    own = ""
    if part.extra is not None and part.extra.dialect == CHAT:
        for name, value in part.extra.members:
            if name == "format":
                own = string(value)
            elif value:
                entry[name] = raw_of(value)
    maker = part.origin.vendor if part.origin is not None else ""
    form = own if vendor else f"{maker}/{own}" if own else maker
    if form:
        entry["format"] = form
    entry["index"] = index
    return entry


def needs_details(part: Part) -> bool:
    """Only ``reasoning_details`` can carry it."""
    if isinstance(part, Thought):
        return bool(part.signature) or (part.summary and bool(part.id))
    return isinstance(part, SealedThought)


def read_call_seal(raw: Raw, vendor: str) -> tuple[bytes, Origin | None]:
    """The thought signature in a call's ``extra_content``: under ``google`` where it is Gemini's, else under the
    vendor's name."""
    try:
        told = members(raw)
        for name, value in told.items():
            if is_object(value):
                inner = members(value)
                if is_string(inner.get("thought_signature", b"")):
                    seal = string(inner["thought_signature"]).encode()
                    return seal, Origin(vendor or ("gemini" if name == _GOOGLE else name))
    except WrongShape:
        pass
    return b"", None


def call_seal(signature: bytes, origin: Origin | None) -> dict[str, Any]:
    """``extra_content`` that carries *signature*."""
    vendor = origin.vendor if origin is not None else ""
    name = vendor if vendor not in ("", "gemini") else _GOOGLE
    return {name: {"thought_signature": signature.decode("utf-8", "surrogatepass")}}


def _text(told: dict[str, Raw], name: str, path: str) -> str:
    value = told.get(name, NULL)
    return "" if value == NULL else string(value, f"{path}.{name}")
