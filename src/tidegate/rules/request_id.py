"""Request ids (S4.12): a trusted peer's own if it is well formed, else a UUIDv7 (RFC 9562)."""

from __future__ import annotations

import re
from typing import Final

_GOOD: Final = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def is_good_request_id(value: str) -> bool:
    """True if *value* may be kept as it is."""
    return _GOOD(value) is not None


def uuid7(milliseconds: int, chance: int) -> str:
    """A UUIDv7 of the time in *milliseconds* since the epoch and 74 random bits."""
    text = f"{milliseconds & 0xFFFFFFFFFFFF:012x}7{(chance >> 62) & 0xFFF:03x}{(chance & 0x3FFFFFFFFFFFFFFF) | 1 << 63:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
