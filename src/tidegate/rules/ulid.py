"""Ids that sort by time: 48 bits of milliseconds, 80 of chance, as 26 letters of Crockford's base 32."""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(wall: float, chance: int) -> str:
    """The id of second *wall* since the epoch; *chance* are 80 unpredictable bits."""
    number = (int(wall * 1000.0) & 0xFFFFFFFFFFFF) << 80 | chance & ((1 << 80) - 1)
    letters: list[str] = []
    for _ in range(26):
        letters.append(ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(letters))
