"""RFC 7515 2: one text for one value."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.base64url import decode, encode


@given(st.binary(max_size=200))
def test_bytes_survive_their_text(data: bytes) -> None:
    assert decode(encode(data)) == data


@given(st.text(alphabet="ABQYZabgwxyz0489-_", max_size=12))
def test_every_text_that_is_read_is_the_one_that_is_written(text: str) -> None:
    data = decode(text)
    if data is not None:
        assert encode(data) == text
    else:
        # Refused: the lenient decoder must read nothing either, or something that is written in another way.
        assert len(text) % 4 == 1 or encode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) != text


@pytest.mark.parametrize("bad", ["A", "AB", "AAB", "AA==", "A A", "AA\n", "+/AA", "é", "AAAA="])
def test_other_ways_to_write_are_refused(bad: str) -> None:
    assert decode(bad) is None


def test_nothing_is_nothing() -> None:
    assert decode("") == b""
