"""Lines of a ledger segment (LLM 10.1): CRC-32 in eight hex digits, a blank, one JSON object, LF.

JSON has no bare LF, so a torn or damaged line is one line and the rest stays readable.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from tidegate.exchange.ledger import Line

LONGEST: Final = 1 << 20
"""Bytes of one line; what has no LF for longer is damage."""
_HEAD: Final = 9

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def encode_line(line: Line) -> bytes:
    """*line* as it stands in the file."""
    body = _encode(line)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def decode_line(raw: bytes) -> Line | None:
    """The line *raw* (without its LF); None when it is damaged, or of a kind nobody knows."""
    body = raw[_HEAD:]
    if raw[:_HEAD] != b"%08x " % zlib.crc32(body):
        return None
    try:
        found: Line = _decode(body)
        return found
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def whole_lines(data: bytes) -> list[bytes]:
    """The lines of *data* that have ended, without their LF. What follows the last LF is torn, or still being written:
    it begins at the sum of their lengths, each plus one."""
    lines = data.split(b"\n")
    lines.pop()
    return lines
