"""Vectors in both formats (LLM 6)."""

from __future__ import annotations

import struct
from base64 import b64decode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.embeddings import Vector
from tidegate.exchange.fault import Fault
from tidegate.rules.vectors import as_array, as_base64


def test_formats_that_agree_are_copied() -> None:
    assert as_array(Vector(0, b"[0.10, -1]")) == b"[0.10, -1]"
    assert as_base64(Vector(0, b"AACAPw==", "base64")) == "AACAPw=="


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_there_and_back_is_the_same(numbers: list[float]) -> None:
    text = as_base64(Vector(0, msgspec.json.encode(numbers)))
    assert list(struct.unpack(f"<{len(numbers)}f", b64decode(text))) == numbers
    assert msgspec.json.decode(as_array(Vector(0, text.encode(), "base64"))) == numbers


@pytest.mark.parametrize("value", [b"", b"AAA=", b"!!!"])
def test_base64_of_no_floats_is_the_providers_fault(value: bytes) -> None:
    with pytest.raises(Fault, match="base64"):
        as_array(Vector(0, value, "base64"))


@pytest.mark.parametrize("value", [b'["a"]', b"[1e400]", b"{}", b"[1e300]"])
def test_no_array_of_numbers_is_the_providers_fault(value: bytes) -> None:
    with pytest.raises(Fault, match="array"):
        as_base64(Vector(0, value))
