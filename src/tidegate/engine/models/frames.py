"""How events lie on the wire: the decoder for a stream's framing, and a cutter that only finds where events end
(LLM 5.10)."""

from __future__ import annotations

import re
from typing import Final, Protocol

from tidegate.exchange.fault import NEVER, UPSTREAM, Fault
from tidegate.ports.dialect import Framing
from tidegate.wire.aws_event_stream import EventStreamDecoder
from tidegate.wire.json_array import ArrayDecoder
from tidegate.wire.ndjson import NdjsonDecoder
from tidegate.wire.sse import SseDecoder

EVENT_SIZE: Final = 1 << 20
"""Bytes of one event (rule 9)."""

KINDS: Final[dict[str, Framing]] = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/vnd.amazon.eventstream": "eventstream",
}

_BORDERS: Final = re.compile(rb"\n\n|\r\n\r\n|\r\r|\n\r\n").finditer


class Decoder(Protocol):
    """Bytes in any cuts, whole events out: (name, data)."""

    def feed(self, data: bytes) -> list[tuple[str, bytes]]: ...

    def close(self) -> list[tuple[str, bytes]]: ...


def framing_of_answer(content_type: str, own: Framing) -> Framing | None:
    """The framing of an answer of this type from a peer whose dialect's is *own*; None when it is one JSON object and
    no stream."""
    kind = content_type.partition(";")[0].strip().lower()
    found = KINDS.get(kind)
    if found is not None:
        return found
    if kind == "application/json" and own == "sse":
        return None
    return own


def decoder_of(framing: Framing) -> Decoder:
    """A new decoder."""
    if framing == "sse":
        return SseDecoder()
    if framing == "ndjson":
        return NdjsonDecoder()
    if framing == "array":
        return ArrayDecoder()
    return EventStreamDecoder()


class Cutter:
    """Lets through what ends with a whole event and keeps the rest: what a client gets never ends inside one, so an
    error event of ours can always follow. Not a byte changes.

    Mutable state: ``_pieces`` of the event that is not whole yet, together ``_size`` bytes; ``_last``, the last of
    them, which may belong to an end; ``_wanted``, how many bytes a binary frame needs. They are joined once an end has
    come: a drip must not cost its square.
    """

    __slots__ = ("_last", "_pieces", "_size", "_wanted", "framing")

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self._pieces: list[bytes] = []
        self._size = 0
        self._last = b""
        self._wanted = 0

    def feed(self, data: bytes) -> bytes:
        """The whole events up to here. Raises ``bad_upstream`` for one that is too large."""
        if self._size:
            joined = self._last + data
            if self._size + len(data) < self._wanted or (not self._wanted and not self._may_end(joined)):
                self._keep(data, joined)
                return b""
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces = []
            self._size = 0
            self._last = b""
        end = self._end(data)
        if end == len(data):
            return data
        self._keep(data[end:], data[end:])
        return data[:end]

    def close(self) -> bytes:
        """What was left when the wire ended."""
        rest = b"".join(self._pieces)
        self._pieces = []
        self._size = 0
        return rest

    def _keep(self, piece: bytes, seen: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        self._last = seen[-3:]
        if self._size > EVENT_SIZE:
            raise Fault("bad_upstream", "An event of the stream is too large.", reason="event_too_large",
                        side=UPSTREAM, retry=NEVER)  # fmt: skip

    def _may_end(self, data: bytes) -> bool:
        """Is there an end of an event in *data*, which begins inside of one?"""
        if self.framing == "sse":
            return event_end(data) > 0
        return self.framing != "ndjson" or b"\n" in data

    def _end(self, data: bytes) -> int:
        framing = self.framing
        self._wanted = 0
        if framing == "sse":
            return event_end(data)
        if framing == "ndjson":
            return data.rfind(b"\n") + 1
        if framing == "eventstream":
            at = 0
            while at + 4 <= len(data):
                size = int.from_bytes(data[at : at + 4], "big")
                if size < 16 or at + size > len(data):
                    self._wanted = min(max(size, 16), EVENT_SIZE)
                    break
                at += size
            return at
        return len(data)


def event_end(data: bytes) -> int:
    """Where the last whole server-sent event in *data* ends, 0 when there is none."""
    if data[-2:] == b"\n\n":
        return len(data)
    end = data.rfind(b"\n\n") + 2
    if end == 1:
        end = 0
    if b"\r" in data:
        for border in (b"\r\n\r\n", b"\r\r", b"\n\r\n"):
            found = data.rfind(border)
            if found >= 0 and found + len(border) > end:
                end = found + len(border)
    return end


def first_events(data: bytes, framing: Framing, count: int) -> bytes:
    """The first *count* events of *data*, which holds whole events only."""
    end = 0
    if framing == "sse":
        for raw in split_events(data):
            if b"data" in raw and not raw.startswith(b":"):
                count -= 1
                if count < 0:
                    break
            end += len(raw)
        return data[:end]
    if framing == "ndjson":
        for raw in data.splitlines(keepends=True):
            count -= 1 if raw.strip() else 0
            if count < 0:
                break
            end += len(raw)
        return data[:end]
    while framing == "eventstream" and count > 0 and end + 4 <= len(data):
        end += max(16, int.from_bytes(data[end : end + 4], "big"))
        count -= 1
    return data[:end]


def split_events(data: bytes) -> list[bytes]:
    """The whole server-sent events in *data*, each with its border."""
    pieces: list[bytes] = []
    begin = 0
    for border in _BORDERS(data):
        pieces.append(data[begin : border.end()])
        begin = border.end()
    if begin < len(data):
        pieces.append(data[begin:])
    return pieces
