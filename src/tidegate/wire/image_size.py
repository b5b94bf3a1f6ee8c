"""Width and height in the first bytes of an image: PNG, GIF, WebP, JPEG. Nothing is decoded."""

from __future__ import annotations

from typing import Final

MOST: Final = 1 << 16
"""No format here has more pixels a side; a larger figure is a lie."""
_NOT_FRAMES: Final = frozenset({0xC4, 0xC8, 0xCC})
"""JPEG markers among the start-of-frame ones that are none."""


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of the image that *data* begins; None for anything else, or when they lie further on."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return _sane(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return _sane(int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    return None


def _sane(width: int, height: int) -> tuple[int, int] | None:
    return (width, height) if 0 < width <= MOST and 0 < height <= MOST else None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return _sane(1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return _sane(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return _sane(int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF)
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """Segments lead from one to the next by their lengths; the first start of frame has the size."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return _sane(width, height)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
