"""What only its maker may see again (R7): a table, because vendors change it often.

A row says of a kind of part what becomes of it in front of another vendor, and in front of the same vendor in another
dialect. What no row names goes to everybody.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec.structs import replace

from tidegate.exchange.chat import Media, Opaque, Part, SealedThought, Thought, ToolCall
from tidegate.exchange.context import Item

Fate = Literal["keep", "strip", "drop"]
"""``strip``: without its seal, which for a file is its id at the vendor."""

BOUND: Final[dict[str, tuple[Fate, Fate]]] = {
    # kind of part        another vendor, same vendor in another dialect
    "thought":           ("drop", "keep"),
    "signed_thought":    ("drop", "drop"),
    "sealed_thought":    ("drop", "drop"),
    "call_signature":    ("strip", "keep"),
    "file_id":           ("drop", "keep"),
    "opaque":            ("drop", "drop"),
}  # fmt: skip

UNMARKED: Final = frozenset({"thought", "file_id"})
"""What a client may have brought without saying whose it is: it meant the provider it asks."""


def kind_of(part: Part) -> str:
    """The row of *part*; "" for what is bound to nobody."""
    if isinstance(part, Thought):
        return "signed_thought" if part.signature else "thought"
    if isinstance(part, SealedThought):
        return "sealed_thought"
    if isinstance(part, ToolCall):
        return "call_signature" if part.signature else ""
    if isinstance(part, Opaque):
        return "opaque"
    if isinstance(part, Media) and part.file_id:
        return "file_id"
    return ""


def for_target(item: Item, parts: tuple[Part, ...], vendor: str, dialect: str) -> tuple[Part, ...]:
    """*parts* of *item* as *vendor* may see them in *dialect*; the same tuple when it may see all."""
    if all(not kind_of(part) for part in parts):
        return parts
    kept: list[Part] = []
    for part in parts:
        fate = _fate(item, part, vendor, dialect)
        if fate == "keep":
            kept.append(part)
        elif fate == "strip" and isinstance(part, ToolCall):
            kept.append(replace(part, signature=b"", origin=None))
    return parts if len(kept) == len(parts) and all(map(_same, kept, parts)) else tuple(kept)


def _same(one: Part, other: Part) -> bool:
    return one is other


def _fate(item: Item, part: Part, vendor: str, dialect: str) -> Fate:
    kind = kind_of(part)
    if not kind:
        return "keep"
    if isinstance(part, Opaque):
        return "keep" if part.dialect == dialect else BOUND[kind][1]
    maker = item.provenance.vendor
    if isinstance(part, Thought | SealedThought | ToolCall) and part.origin is not None:
        maker = part.origin.vendor
    if not maker and kind in UNMARKED:
        return "keep"
    if maker != vendor:
        return BOUND[kind][0]
    made_in = item.provenance.source
    if made_in and made_in != dialect and item.provenance.by == "model":
        return BOUND[kind][1]
    return "keep"
