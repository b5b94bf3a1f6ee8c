"""PROXY protocol headers: one table, fed whole, byte by byte and with a tail (S4.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.wire.proxy_protocol import Announced, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + (56324).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6 = bytes.fromhex("20010db8000000000000000000000001" + "20010db8000000000000000000000002") + V4[8:]
MAPPED = bytes.fromhex("00000000000000000000ffffc0000201" * 2) + V4[8:]


def v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2, "big") + block


GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", ("192.0.2.1", 56324, "198.51.100.7", 443)),
    (b"PROXY TCP6 2001:DB8::1 2001:db8::2 1 65535\r\n", ("2001:db8::1", 1, "2001:db8::2", 65535)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", ("192.0.2.1", 1, "::1", 2)),
    (b"PROXY UNKNOWN\r\n", ("", 0, "", 0)),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ("", 0, "", 0)),
    (v2(0x21, 0x11, V4), ("192.0.2.1", 56324, "198.51.100.7", 443)),
    (v2(0x21, 0x11, V4 + b"\x03\x00\x04abcd"), ("192.0.2.1", 56324, "198.51.100.7", 443)),
    (v2(0x21, 0x21, V6), ("2001:db8::1", 56324, "2001:db8::2", 443)),
    (v2(0x21, 0x21, MAPPED), ("192.0.2.1", 56324, "192.0.2.1", 443)),
    (v2(0x20, 0x00, b""), ("", 0, "", 0)),
    (v2(0x20, 0x11, V4), ("", 0, "", 0)),
    (v2(0x21, 0x00, b"x" * 20), ("", 0, "", 0)),
    (v2(0x21, 0x31, bytes(216)), ("", 0, "", 0)),
]

BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01",
    b"PROXX",
    b"PROXY  TCP4 192.0.2.1 198.51.100.7 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 1\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.7 1 2\r\n",
    b"PROXY TCP4 192.0.2.01 198.51.100.7 1 2\r\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.1 198.51.100.7 1 2\r\n",
    b"PROXY TCP6 ::1::2 ::1 1 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 01 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 2\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.7 1 2\r\n",
    b"PROXY UNKNOWN\n",
    b"PROXY UNKNOWN " + b"x" * 120,
    v2(0x11, 0x11, V4),
    v2(0x22, 0x11, V4),
    v2(0x21, 0x12, V4),
    v2(0x21, 0x11, V4[:-1]),
    v2(0x21, 0x21, V4),
    v2(0x21, 0x11, V4 + bytes(5000)),
    SIGNATURE[:-1] + b"\r",
]


@pytest.mark.parametrize(("raw", "said"), GOOD)
@pytest.mark.parametrize("tail", [b"", b"GET / HTTP/1.1\r\n"])
def test_a_header_tells_who_the_client_is(raw: bytes, said: tuple[str, int, str, int], tail: bytes) -> None:
    assert parse(raw + tail) == Announced(len(raw), *said)


@pytest.mark.parametrize(("raw", "said"), GOOD)
def test_every_beginning_asks_for_more(raw: bytes, said: tuple[str, int, str, int]) -> None:
    for size in range(len(raw)):
        assert parse(raw[:size]) is None


@pytest.mark.parametrize("raw", BAD)
def test_anything_else_is_refused(raw: bytes) -> None:
    with pytest.raises(Fault) as caught:
        parse(raw)
    assert (caught.value.code, caught.value.close) == ("bad_request", True)


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda b: SIGNATURE + b)
       | st.binary(max_size=60).map(lambda b: b"PROXY " + b))  # fmt: skip
def test_arbitrary_bytes_end_in_a_header_a_wait_or_a_fault(raw: bytes) -> None:
    try:
        found = parse(raw)
    except Fault:
        return
    assert found is None or 0 < found.size <= len(raw)
