"""``application/vnd.amazon.eventstream``: binary frames, both ways (LLM 5.10). Bytes in any cuts, whole events out.

A frame: prelude (total size and size of its headers, four bytes each, and the CRC-32 of these eight), headers, payload,
CRC-32 of everything before it. Numbers are big-endian. Of the headers only those that name the event are looked at.
"""

from __future__ import annotations

from binascii import crc32
from typing import Final

from tidegate.exchange.fault import NEVER, UPSTREAM, Fault

FRAME_SIZE: Final = 1 << 20
"""Bytes of one frame (rule 9)."""
HEADERS_SIZE: Final = 16_384
"""Bytes of the headers of one frame."""
MOST_NAMES: Final = 16
"""Different headers that one decoder remembers."""
EXCEPTION: Final = "exception:"
"""Stands before the type of a frame that is an exception or an error."""

_PRELUDE: Final = 12
_LEAST: Final = 16
_STRING: Final = 7
_FIXED: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Type of a header's value -> its size; types 6 and 7 (bytes, text) say their own in two bytes."""


class EventStreamDecoder:
    """Mutable state: ``_buffer``, a frame that is not whole yet; ``_names``, the event of headers that came before: a
    stream repeats a handful."""

    __slots__ = ("_buffer", "_names")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._names: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The frames that *data* completes, as (event type, payload); exceptions as (``exception:<type>``, payload).
        Raises ``Fault`` ``bad_upstream`` for a frame too large, of impossible sizes, or whose checksum is wrong."""
        buffer = self._buffer
        buffer += data
        events: list[tuple[str, bytes]] = []
        begin = 0
        while len(buffer) - begin >= _PRELUDE:
            size, headers = _sizes(buffer, begin)
            if len(buffer) - begin < size:
                break
            frame = bytes(buffer[begin : begin + size])
            if crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
                raise _broken("The checksum of a frame is wrong.")
            events.append((self._name(frame[_PRELUDE : _PRELUDE + headers]), frame[_PRELUDE + headers : -4]))
            begin += size
        if begin:
            del buffer[:begin]
        return events

    def _name(self, headers: bytes) -> str:
        name = self._names.get(headers)
        if name is None:
            name = _name(headers)
            if len(self._names) < MOST_NAMES:
                self._names[headers] = name
        return name

    def close(self) -> list[tuple[str, bytes]]:
        """A frame that was begun when the wire ended is dropped: the reader misses its end."""
        self._buffer.clear()
        return []


def _sizes(buffer: bytearray, begin: int) -> tuple[int, int]:
    """Size of the frame and of its headers, once their own checksum holds."""
    size = int.from_bytes(buffer[begin : begin + 4], "big")
    headers = int.from_bytes(buffer[begin + 4 : begin + 8], "big")
    if crc32(buffer[begin : begin + 8]) != int.from_bytes(buffer[begin + 8 : begin + 12], "big"):
        raise _broken("The checksum of a frame's prelude is wrong.")
    if size > FRAME_SIZE:
        raise _broken("A frame of the stream is too large.", "event_too_large")
    if headers > HEADERS_SIZE or size < _LEAST + headers:
        raise _broken("The sizes of a frame are impossible.")
    return size, headers


def _name(headers: bytes) -> str:
    """The event's name out of its *headers*."""
    found: dict[str, str] = {}
    at, end = 0, len(headers)
    while at < end:
        begin = at + 1
        at = begin + headers[at]
        if at >= end:
            raise _broken("A header of a frame is cut.")
        name = headers[begin:at]
        kind = headers[at]
        at += 1
        size = _FIXED.get(kind, -1)
        if size < 0:
            if kind not in (6, _STRING) or at + 2 > end:
                raise _broken("A header of a frame has no known type.")
            size = int.from_bytes(headers[at : at + 2], "big")
            at += 2
        if at + size > end:
            raise _broken("A header of a frame is cut.")
        if kind == _STRING:
            found[name.decode("utf-8", "replace")] = headers[at : at + size].decode("utf-8", "replace")
        at += size
    kind_of = found.get(":message-type", "event")
    if kind_of == "event":
        return found.get(":event-type", "")
    return EXCEPTION + (found.get(":exception-type") or found.get(":error-code", ""))


def _broken(detail: str, reason: str = "protocol") -> Fault:
    return Fault("bad_upstream", detail, reason=reason, side=UPSTREAM, retry=NEVER)


# -- written -----------------------------------------------------------------------------------------------------------


def _header(name: str, value: str) -> bytes:
    said, text = name.encode(), value.encode()
    return b"%c%b%c%b%b" % (len(said), said, _STRING, len(text).to_bytes(2, "big"), text)


_JSON: Final = _header(":content-type", "application/json")
_EVENT: Final = _JSON + _header(":message-type", "event")
_EXCEPTION: Final = _JSON + _header(":message-type", "exception")
_HEADERS: Final = {
    name: _header(":event-type", name) + _EVENT
    for name in (
        "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata",
    )
}  # fmt: skip
"""Headers of the events that come often."""


def encode_frame(event: str, payload: bytes, exception: bool = False) -> bytes:
    """One frame with a JSON *payload*. *event*: its type, or the exception's."""
    if exception:
        headers = _header(":exception-type", event) + _EXCEPTION
    else:
        headers = _HEADERS.get(event) or _header(":event-type", event) + _EVENT
    sizes = (_LEAST + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    frame = b"%b%b%b%b" % (sizes, crc32(sizes).to_bytes(4, "big"), headers, payload)
    return frame + crc32(frame).to_bytes(4, "big")
