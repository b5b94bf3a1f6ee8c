"""JSON objects one a line, both ways (Ollama's streams; LLM 5.10)."""

from __future__ import annotations

from typing import Final

from tidegate.exchange.fault import NEVER, UPSTREAM, Fault

LINE_SIZE: Final = 1 << 20
"""Bytes of one line (rule 9)."""


class NdjsonDecoder:
    """Mutable state: ``_pieces`` of a line that is not whole yet, and their ``_size``."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The lines that *data* completes, as ("", line); blank ones are skipped. Raises ``Fault`` ``bad_upstream``
        when one grows past ``LINE_SIZE``."""
        end = data.find(b"\n")
        if end < 0:
            self._hold(data)
            return []
        lines = data.split(b"\n")
        self._pieces.append(lines[0])
        lines[0] = b"".join(self._pieces)
        self._pieces = []
        self._size = 0
        self._hold(lines.pop())
        return [("", line) for line in map(bytes.strip, lines) if line]

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size > LINE_SIZE:
                raise Fault("bad_upstream", "A line of the stream is too large.", reason="event_too_large",
                            side=UPSTREAM, retry=NEVER)  # fmt: skip

    def close(self) -> list[tuple[str, bytes]]:
        """The last line, when the wire ended without a line end."""
        line = b"".join(self._pieces).strip()
        self._pieces = []
        self._size = 0
        return [("", line)] if line else []


def encode_line(data: bytes) -> bytes:
    """*data* is JSON as we write it: it holds no line end."""
    return data + b"\n"
