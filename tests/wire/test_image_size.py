from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.image_size import image_size

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (640).to_bytes(4, "big") + (480).to_bytes(4, "big")
GIF = b"GIF89a" + (640).to_bytes(2, "little") + (480).to_bytes(2, "little")
SIDES = (480).to_bytes(2, "big") + (640).to_bytes(2, "big")
JPEG = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc0\x00\x11\x08" + SIDES + b"\x03"
WEBP_X = b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
WEBP_L = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + (639 | 479 << 14).to_bytes(4, "little") + b"\0" * 5
WEBP = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + (640).to_bytes(2, "little") + (480).to_bytes(2, "little")


@pytest.mark.parametrize("data", [PNG, GIF, JPEG, WEBP_X, WEBP_L, WEBP])
def test_the_size_stands_in_the_first_bytes(data: bytes) -> None:
    assert image_size(data) == (640, 480)


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", PNG[:20], JPEG[:12], b"\xff\xd8\x00", GIF[:6] + b"\0" * 4])
def test_what_tells_no_size_gives_none(data: bytes) -> None:
    assert image_size(data) is None


@given(st.sampled_from([PNG, GIF, JPEG, WEBP_X, WEBP_L, WEBP]), st.binary(max_size=40), st.integers(0, 30))
def test_damage_never_raises(data: bytes, noise: bytes, at: int) -> None:
    image_size(data[:at] + noise + data[at:])
    image_size(data[:at] + noise)
