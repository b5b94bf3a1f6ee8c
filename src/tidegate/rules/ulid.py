"""Ids that sort by time: 48 bits of milliseconds, 80 of chance, as 26 letters of Crockford's base 32."""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


_PAIRS: Final = tuple([one + other for one in ALPHABET for other in ALPHABET])
"""The letters of each 10 bits."""


def ulid(wall: float, chance: int) -> str:
    """The id of second *wall* since the epoch; *chance* are 80 unpredictable bits."""
    time = int(wall * 1000.0) & 0xFFFFFFFFFFFF
    return _eight(time >> 40)[6:] + _eight(time) + _eight(chance >> 40) + _eight(chance)


def _eight(bits: int) -> str:
    """The last 40 of *bits* as eight letters."""
    high = bits >> 20 & 0xFFFFF
    low = bits & 0xFFFFF
    return _PAIRS[high >> 10] + _PAIRS[high & 1023] + _PAIRS[low >> 10] + _PAIRS[low & 1023]
