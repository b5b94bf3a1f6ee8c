"""Server-sent events, both ways (WHATWG HTML, "Server-sent events"; LLM 5.10). Bytes in any cuts, whole events out.

Only ``event`` and ``data`` are looked at: ``id`` and ``retry`` mean nothing to a model's stream. Line ends may be LF,
CRLF or CR; comments and events without data are skipped.
"""

from __future__ import annotations

from typing import Final

from tidegate.exchange.fault import NEVER, UPSTREAM, Fault

EVENT_SIZE: Final = 1 << 20
"""Bytes of one event (rule 9): far above any vendor's, far below what would hurt."""


class SseDecoder:
    """Mutable state: ``_buffer``, an event that is not whole yet; ``_searched``, how much of it holds no end of an
    event; ``_begun``, whether a byte order mark may no longer come; ``_held``, the last byte was a CR."""

    __slots__ = ("_begun", "_buffer", "_held", "_searched")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._begun = False
        self._held = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events that *data* completes, as (name, data); the name is "" where none was given. Raises ``Fault``
        ``bad_upstream`` when one event grows past ``EVENT_SIZE``."""
        buffer = self._buffer
        if b"\r" in data or self._held:  # only what is new is rewritten: a drip must not cost its square
            if self._held:
                data = b"\r" + data
            self._held = data[-1:] == b"\r"  # its LF may be in the next bytes
            if self._held:
                data = data[:-1]
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        buffer += data
        if not self._begun and len(buffer) >= 3:
            self._begun = True
            if buffer[:3] == b"\xef\xbb\xbf":
                del buffer[:3]
        events: list[tuple[str, bytes]] = []
        begin = 0
        end = buffer.find(b"\n\n", self._searched)
        while end >= 0:
            event = parse_event(bytes(buffer[begin:end]))
            if event is not None:
                events.append(event)
            begin = end + 2
            end = buffer.find(b"\n\n", begin)
        if begin:
            del buffer[:begin]
        if len(buffer) > EVENT_SIZE:
            raise Fault("bad_upstream", "An event of the stream is too large.", reason="event_too_large",
                        side=UPSTREAM, retry=NEVER)  # fmt: skip
        self._searched = max(0, len(buffer) - 1)
        return events

    def close(self) -> list[tuple[str, bytes]]:
        """What was begun when the wire ended: the last event of peers that forget its blank line."""
        event = parse_event(bytes(self._buffer))
        self._buffer.clear()
        self._held = False
        return [] if event is None else [event]


def parse_event(block: bytes) -> tuple[str, bytes] | None:
    """The event in *block*, lines ended by LF; None when it holds no data."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return "", block[6:]
    name = ""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line.startswith(b"event:"):
            name = line[6:].decode("utf-8", "replace").removeprefix(" ")
        elif line == b"data":
            data.append(b"")
    if not data:
        return None
    return name, data[0] if len(data) == 1 else b"\n".join(data)


def encode_event(event: str, data: bytes) -> bytes:
    """One event. *data* is JSON on one line, as every dialect writes it; a line end in it starts another data line, so
    it can never begin an event of its own."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if event:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"data: %b\n\n" % data


def encode_comment(text: str) -> bytes:
    """A line that clients skip."""
    return b": %b\n\n" % text.replace("\r", " ").replace("\n", " ").encode()
