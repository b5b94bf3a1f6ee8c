"""Twin of wire/context_msgpack.py (CRP 6.3): one reading, bounded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.wire.context_msgpack import read_msgpack, write_msgpack

LIMITS = ContextLimits()
encode = msgspec.msgpack.encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=30,
)  # fmt: skip


@given(VALUES)
def test_whatever_an_encoder_writes_is_read(value: Any) -> None:
    assert read_msgpack(encode(value), LIMITS) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_as_400(body: bytes) -> None:
    try:
        read_msgpack(body, LIMITS)
    except Fault as fault:
        assert (fault.code, fault.status) == ("invalid_body", 400)


def reason(body: bytes, limits: ContextLimits = LIMITS) -> str:
    with pytest.raises(Fault) as caught:
        read_msgpack(body, limits)
    assert caught.value.code == "invalid_body"
    return caught.value.reason


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\x81", b"\x81\x01\x01", b"\x81\xc4\x01a\x01", b"\xc1", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xa2\xc3\x28", b"\x01\x01", b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xffa", b"\xc4\x01a", b"\xd4\x01a", b"\xd4\xffa",
        b"\xd7\xff\xff\xff\xff\xfc\x00\x00\x00\x00",
    ],
)  # fmt: skip
def test_what_is_no_clean_messagepack_is_refused(body: bytes) -> None:
    assert reason(body) == "bad_encoding"


def test_a_key_twice_is_refused_38() -> None:
    assert reason(b"\x82\xa1a\x01\xa1a\x02") == "duplicate_key"
    assert reason(b"\x82\xa1a\x01\xd9\x01a\x02") == "duplicate_key"


def test_depth_65_is_refused_38() -> None:
    assert read_msgpack(b"\x91" * 63 + b"\x90", LIMITS) == nested(64)
    assert reason(b"\x91" * 64 + b"\x90") == "depth_exceeded"
    assert reason(b"\x91" * 100_000 + b"\x90") == "depth_exceeded"


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_one_member_beyond_the_limit_is_refused_41() -> None:
    limits = ContextLimits(members=3)
    assert len(read_msgpack(encode({str(n): n for n in range(3)}), limits)) == 3
    assert reason(encode({str(n): n for n in range(4)}), limits) == "bad_encoding"


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 11, 22, 9, 2, tzinfo=UTC), datetime(2026, 11, 22, 9, 2, 0, 500_000, tzinfo=UTC),
     datetime(1960, 1, 1, tzinfo=UTC), datetime(2600, 1, 1, tzinfo=UTC)],
)  # fmt: skip
def test_a_timestamp_in_each_of_its_sizes_is_rfc_3339_text(moment: datetime) -> None:
    expected = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert read_msgpack(encode({"at": moment}), LIMITS) == {"at": expected}


def test_binary_stands_in_media_only() -> None:
    assert read_msgpack(encode({"type": "media", "content": {"data": b"\x00\x01"}}), LIMITS) == {
        "type": "media", "content": {"data": "AAE="}}  # fmt: skip
    assert reason(encode({"type": "message", "content": b"\x00"})) == "bad_encoding"
    assert reason(encode([{"type": "media"}, {"content": b"\x00"}])) == "bad_encoding"


def test_what_is_written_holds_no_json() -> None:
    written = write_msgpack({"a": msgspec.Raw(b'{"b":[1,2.5]}')})
    assert msgspec.msgpack.decode(written) == {"a": {"b": [1, 2.5]}}
