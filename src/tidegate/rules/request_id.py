"""Request ids (S4.12): a trusted peer's own if it is well formed, else a UUIDv7 (RFC 9562)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_GOOD: Final = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_COUNTS: Final = tuple([f"{count:03x}" for count in range(4096)])


def is_good_request_id(value: str) -> bool:
    """True if *value* may be kept as it is."""
    return _GOOD(value) is not None


class RequestIds:
    """Makes UUIDv7s: the millisecond, a count of twelve bits, 62 random bits that are drawn anew for each 4,096 ids.
    Two workers draw apart, so their ids differ; within one the millisecond and the count do.

    *draw* gives that many random bits (``random.getrandbits``).
    """

    __slots__ = ("_count", "_draw", "_millisecond", "_prefix", "_tail")

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw
        self._millisecond = -1
        self._count = 4095
        self._prefix = ""
        self._tail = ""

    def make(self, wall: float) -> str:
        """An id for *wall* seconds since the epoch."""
        millisecond = int(wall * 1000.0)
        count = self._count + 1
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            stamp = f"{millisecond & 0xFFFFFFFFFFFF:012x}"
            self._prefix = f"{stamp[:8]}-{stamp[8:]}-7"
        if count == 4096:
            count = 0
            tail = f"{self._draw(14) | 0x8000:04x}{self._draw(48):012x}"
            self._tail = f"-{tail[:4]}-{tail[4:]}"
        self._count = count
        return self._prefix + _COUNTS[count] + self._tail
