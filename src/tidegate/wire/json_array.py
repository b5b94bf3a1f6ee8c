"""Elements of one JSON array as they come, both ways (Gemini's streams without ``alt=sse``; LLM 5.10)."""

from __future__ import annotations

import re
from typing import Final

from tidegate.exchange.fault import NEVER, UPSTREAM, Fault

ELEMENT_SIZE: Final = 1 << 20
"""Bytes of one element (rule 9)."""

END: Final = b"]"
"""Closes the array."""

_MARKS: Final = re.compile(rb'[\\"\[\]{}]').finditer


class ArrayDecoder:
    """Finds the objects of an array by depth and strings; their JSON is read by the dialect.

    Mutable state: ``_buffer``, an element that is not whole yet; ``_searched``, how much of it has been looked at;
    ``_depth`` of brackets, 0 before the array; ``_string``: inside a string; ``_escaped``: the byte at this position is
    escaped, -1 for none."""

    __slots__ = ("_buffer", "_depth", "_escaped", "_searched", "_string")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._depth = 0
        self._string = False
        self._escaped = -1

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The elements that *data* completes, as ("", object). Raises ``Fault`` ``bad_upstream`` for what is no array
        of objects, or one past ``ELEMENT_SIZE``."""
        buffer = self._buffer
        buffer += data
        found: list[tuple[str, bytes]] = []
        begin = 0
        for mark in _MARKS(bytes(buffer), self._searched):
            at = mark.start()
            if at == self._escaped:
                continue
            byte = buffer[at]
            if self._string:
                if byte == 0x5C:
                    self._escaped = at + 1
                elif byte == 0x22:
                    self._string = False
            elif byte == 0x22:
                self._string = True
            elif byte in b"[{":
                self._depth += 1
                if self._depth == 1 and byte != 0x5B:
                    raise _broken("The stream is no JSON array.")
                if self._depth == 2:
                    begin = at
            elif byte != 0x5C:
                self._depth -= 1
                if self._depth == 1:
                    found.append(("", bytes(buffer[begin : at + 1])))
                    begin = at + 1
                elif self._depth < 0:
                    raise _broken("The stream is no JSON array.")
        if self._depth < 2:
            begin = len(buffer)
        if begin:
            self._escaped -= begin
            del buffer[:begin]
        self._searched = len(buffer)
        if len(buffer) > ELEMENT_SIZE:
            raise _broken("An element of the stream is too large.", "event_too_large")
        return found

    def close(self) -> list[tuple[str, bytes]]:
        """Nothing: an element that is not whole is none."""
        self._buffer.clear()
        return []


def _broken(detail: str, reason: str = "protocol") -> Fault:
    return Fault("bad_upstream", detail, reason=reason, side=UPSTREAM, retry=NEVER)


def encode_element(data: bytes, first: bool) -> bytes:
    """One element; the *first* opens the array, ``END`` closes it."""
    return b"[" + data if first else b",\r\n" + data
