"""WebSocket seen from a tunnel: frame heads are read to know sizes and boundaries, payloads pass unread (S18.15,
S18.16). Compression is end to end; nothing is inflated or unmasked here."""

from __future__ import annotations

from typing import Final

MAX_MESSAGE: Final = 16 * 1024 * 1024
MAX_FRAGMENTS: Final = 10_000
MAX_EMPTY: Final = 100

TOO_BIG: Final = 1009
POLICY: Final = 1008
PROTOCOL: Final = 1002

_MAX_HEAD: Final = 14


class FrameWatch:
    """Watches one direction of a tunnel.

    max_message    payload bytes of one message, all its fragments together (16 MiB)
    max_fragments  frames of one message (10,000)
    max_empty      data frames without payload in a row (100)

    State: bytes of the current payload still to come, the frame head read so far, and what the message under way has
    cost. Control frames may stand between fragments and belong to no message.
    """

    __slots__ = ("_empty", "_fragments", "_head", "_left", "_max_empty", "_max_fragments", "_max_message", "_size")

    def __init__(
        self, max_message: int = MAX_MESSAGE, max_fragments: int = MAX_FRAGMENTS, max_empty: int = MAX_EMPTY
    ) -> None:
        self._max_message = max_message
        self._max_fragments = max_fragments
        self._max_empty = max_empty
        self._left = 0
        self._head = b""
        self._size = 0
        self._fragments = 0
        self._empty = 0

    @property
    def at_boundary(self) -> bool:
        """True between frames: only here may a frame of ours be put into the stream."""
        return self._left == 0 and not self._head

    def feed(self, data: bytes) -> int:
        """0 when *data* may pass; else the close code to send to both sides, ``TOO_BIG``, ``POLICY`` or ``PROTOCOL``.

        The code comes from the head that breaks the limit, before its payload has come. None of *data* should then
        be passed on.
        """
        position = 0
        size = len(data)
        while position < size:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
                continue
            known = len(self._head)
            head = self._head + data[position : position + _MAX_HEAD - known]
            need = _head_size(head)
            if len(head) < need:
                self._head = head
                return 0
            self._head = b""
            position += need - known
            code = self._begin(head)
            if code:
                return code
        return 0

    def _begin(self, head: bytes) -> int:
        """Take note of the frame that *head* begins; 0 or a close code."""
        length = head[1] & 0x7F
        final = head[0] & 0x80
        if head[0] & 0x08:
            if length > 125 or not final:
                return PROTOCOL
            self._left = length
            return 0
        if length == 126:
            length = int.from_bytes(head[2:4], "big")
        elif length == 127:
            length = int.from_bytes(head[2:10], "big")
        self._size += length
        if self._size > self._max_message:
            return TOO_BIG
        self._fragments += 1
        self._empty = 0 if length else self._empty + 1
        if self._fragments > self._max_fragments or self._empty > self._max_empty:
            return POLICY
        if final:
            self._size = 0
            self._fragments = 0
        self._left = length
        return 0

    def __repr__(self) -> str:
        return f"<FrameWatch {self._left} payload bytes left, {self._fragments} fragments, {self._size} bytes>"


def _head_size(head: bytes) -> int:
    """How long the frame head that *head* begins will be; 2 while its second byte has not come."""
    if len(head) < 2:
        return 2
    length = head[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if head[1] & 0x80 else 0)


def close_frame(code: int, masked: bool, key: bytes = b"\0\0\0\0") -> bytes:
    """A close frame with *code*: *masked* toward a server, with *key* (4 bytes, unpredictable); plain toward a
    client."""
    payload = code.to_bytes(2, "big")
    if not masked:
        return b"\x88\x02" + payload
    return b"\x88\x82" + key + bytes([payload[0] ^ key[0], payload[1] ^ key[1]])
