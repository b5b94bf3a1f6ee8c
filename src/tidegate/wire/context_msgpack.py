"""MessagePack that a client sends: one reading, bounded, as the values JSON would have given (CRP 6.3).

Keys are strings, each once in its map; the timestamp is the only extension and becomes RFC 3339 text; numbers are
finite; binary stands in items of type ``media`` only and becomes base64 text. The reader makes nothing before it has
seen that the bytes are there: a length that lies costs nothing.
"""

from __future__ import annotations

from base64 import b64encode
from math import isfinite
from struct import unpack_from
from typing import Any, Final

import msgspec

from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.wire.context_json import write_time

_TIMESTAMP: Final = 0xFF
_LONGEST_KEY: Final = 4096
_encode: Final = msgspec.msgpack.Encoder().encode


def read_msgpack(body: bytes, limits: ContextLimits) -> Any:
    """The value in *body*. Raises 400 ``invalid_body`` for anything but one value with the bounds of *limits*."""
    reader = _Reader(body, limits)
    value = reader.value(1)
    if reader.at != len(body):
        raise invalid("Bytes follow the value.")
    return value


def write_msgpack(value: Any) -> bytes:
    """*value* in MessagePack; JSON within it (``msgspec.Raw``) is taken apart."""
    return _encode(msgspec.json.decode(msgspec.json.encode(value)))


def invalid(detail: str) -> Fault:
    return Fault("invalid_body", detail, reason="bad_encoding", side=CLIENT)


class _Reader:
    __slots__ = ("at", "binary", "body", "depth", "members")

    def __init__(self, body: bytes, limits: ContextLimits) -> None:
        self.body: bytes = body
        self.at: int = 0
        self.depth: int = limits.depth
        self.members: int = limits.members
        self.binary: int = 0
        """How many items of type ``media`` are open."""

    def take(self, size: int) -> int:
        """Where the next *size* bytes begin."""
        at = self.at
        if size > len(self.body) - at:
            raise invalid("The body ends too early.")
        self.at = at + size
        return at

    def number(self, form: str, size: int) -> Any:
        return unpack_from(form, self.body, self.take(size))[0]

    def value(self, depth: int) -> Any:
        code = self.body[self.take(1)]
        if code < 0x80:
            return code
        if code < 0x90:
            return self.map(code & 0x0F, depth)
        if code < 0xA0:
            return self.array(code & 0x0F, depth)
        if code < 0xC0:
            return self.text(code & 0x1F)
        if code >= 0xE0:
            return code - 0x100
        read = _FORMS.get(code)
        if read is not None:
            found = self.number(read[0], read[1])
            if isinstance(found, float) and not isfinite(found):
                raise invalid("A number is not finite.")
            return found
        if code == 0xC0:
            return None
        if code == 0xC2 or code == 0xC3:
            return code == 0xC3
        length = _LENGTHS.get(code)
        if length is None:
            if 0xD4 <= code <= 0xD8:
                return self.extension(1 << code - 0xD4)
            raise invalid("The body is not MessagePack.")
        size = int(self.number(length[1], length[2]))
        kind = length[0]
        if kind == "text":
            return self.text(size)
        if kind == "map":
            return self.map(size, depth)
        if kind == "array":
            return self.array(size, depth)
        if kind == "binary":
            if not self.binary:
                raise invalid("Binary stands in items of type media only.")
            at = self.take(size)
            return b64encode(self.body[at : at + size]).decode("ascii")
        return self.extension(size)

    def text(self, size: int) -> str:
        at = self.take(size)
        try:
            return self.body[at : at + size].decode("utf-8")
        except UnicodeDecodeError:
            raise invalid("A text is not UTF-8.") from None

    def array(self, size: int, depth: int) -> list[Any]:
        self.check(size, size, depth)
        return [self.value(depth + 1) for _ in range(size)]

    def map(self, size: int, depth: int) -> dict[str, Any]:
        self.check(size, 2 * size, depth)
        if size > self.members:
            raise invalid("An object has too many members.")
        found: dict[str, Any] = {}
        media = 0
        for _ in range(size):
            name = self.key()
            if name in found:
                raise Fault("invalid_body", "The body names a key twice.", reason="duplicate_key", side=CLIENT)
            found[name] = None
            if name == "type" and self.body[self.at : self.at + 6] == b"\xa5media" and not media:
                media = 1
                self.binary += 1
            found[name] = self.value(depth + 1)
        self.binary -= media
        return found

    def key(self) -> str:
        code = self.body[self.take(1)]
        if 0xA0 <= code < 0xC0:
            return self.text(code & 0x1F)
        length = _LENGTHS.get(code)
        if length is None or length[0] != "text":
            raise invalid("A key is not a string.")
        size = int(self.number(length[1], length[2]))
        if size > _LONGEST_KEY:
            raise invalid("A key is too long.")
        return self.text(size)

    def check(self, size: int, least: int, depth: int) -> None:
        """Each of *size* values takes a byte at least: *least* in all."""
        if depth > self.depth:
            raise Fault("invalid_body", "The body is nested too deeply.", reason="depth_exceeded", side=CLIENT)
        if least > len(self.body) - self.at:
            raise invalid("The body ends too early.")

    def extension(self, size: int) -> str:
        """A timestamp (type -1) of 4, 8 or 12 bytes."""
        kind = self.body[self.take(1)]
        at = self.take(size)
        if kind != _TIMESTAMP or size not in (4, 8, 12):
            raise invalid("The timestamp is the only extension.")
        if size == 4:
            seconds, nanos = unpack_from(">I", self.body, at)[0], 0
        elif size == 8:
            both = unpack_from(">Q", self.body, at)[0]
            seconds, nanos = both & 0x3FFFFFFFF, both >> 34
        else:
            nanos, seconds = unpack_from(">Iq", self.body, at)
        if nanos > 999_999_999 or not -62135596800 <= seconds <= 253402300799:
            raise invalid("A timestamp is out of range.")
        return write_time(seconds * 1000 + nanos // 1_000_000)


_FORMS: Final[dict[int, tuple[str, int]]] = {
    0xCA: (">f", 4), 0xCB: (">d", 8), 0xCC: (">B", 1), 0xCD: (">H", 2), 0xCE: (">I", 4), 0xCF: (">Q", 8),
    0xD0: (">b", 1), 0xD1: (">h", 2), 0xD2: (">i", 4), 0xD3: (">q", 8),
}  # fmt: skip
_LENGTHS: Final[dict[int, tuple[str, str, int]]] = {
    0xC4: ("binary", ">B", 1), 0xC5: ("binary", ">H", 2), 0xC6: ("binary", ">I", 4),
    0xC7: ("extension", ">B", 1), 0xC8: ("extension", ">H", 2), 0xC9: ("extension", ">I", 4),
    0xD9: ("text", ">B", 1), 0xDA: ("text", ">H", 2), 0xDB: ("text", ">I", 4),
    0xDC: ("array", ">H", 2), 0xDD: ("array", ">I", 4), 0xDE: ("map", ">H", 2), 0xDF: ("map", ">I", 4),
}  # fmt: skip
"""Code -> what follows its length, and how that is written."""
