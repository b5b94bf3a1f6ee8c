"""Frame heads in a tunnel: limits and boundaries (S18.15, S18.16)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.websocket import MAX_MESSAGE, POLICY, PROTOCOL, TOO_BIG, FrameWatch, close_frame

TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9


def head(opcode: int, length: int, *, final: bool = True, masked: bool = False) -> bytes:
    first = opcode | (0x80 if final else 0)
    mask = 0x80 if masked else 0
    key = b"\1\2\3\4" if masked else b""
    if length < 126:
        return bytes([first, mask | length]) + key
    if length < 65536:
        return bytes([first, mask | 126]) + length.to_bytes(2, "big") + key
    return bytes([first, mask | 127]) + length.to_bytes(8, "big") + key


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = False) -> bytes:
    return head(opcode, len(payload), final=final, masked=masked) + payload


STREAM = b"".join(
    [
        frame(TEXT, b"hi", masked=True),
        frame(TEXT, b"", final=False),
        frame(PING, b"p" * 125),
        frame(CONTINUATION, b"x" * 126, masked=True),
        frame(BINARY, b"y" * 70_000),
        frame(CLOSE, b"\x03\xe8"),
    ]
)


@pytest.mark.parametrize("step", [1, 2, 3, 13, 14, 15, 4096, 1_000_000])
def test_frames_pass_however_they_are_cut(step: int) -> None:
    watch = FrameWatch()
    for i in range(0, len(STREAM), step):
        assert watch.feed(STREAM[i : i + step]) == 0
    assert watch.at_boundary


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
def test_boundaries_are_known_to_the_byte(length: int, masked: bool) -> None:
    watch = FrameWatch()
    raw = frame(BINARY, b"z" * length, masked=masked)
    for i in range(len(raw) - 1):
        watch.feed(raw[i : i + 1])
        assert not watch.at_boundary
    watch.feed(raw[-1:])
    assert watch.at_boundary


def test_a_message_over_16_mib_is_stopped_at_its_head() -> None:
    """S18.16"""
    assert FrameWatch().feed(head(BINARY, MAX_MESSAGE)) == 0
    assert FrameWatch().feed(head(BINARY, MAX_MESSAGE + 1)) == TOO_BIG
    assert FrameWatch().feed(head(BINARY, 1 << 30)) == TOO_BIG
    assert FrameWatch().feed(b"\x82\x7f" + b"\xff" * 8) == TOO_BIG


def test_fragments_add_up_to_one_message() -> None:
    """S18.16"""
    watch = FrameWatch(max_message=10)
    assert watch.feed(frame(TEXT, b"12345", final=False) + frame(PING, b"p" * 100)) == 0
    assert watch.feed(frame(CONTINUATION, b"12345")) == 0
    assert watch.feed(frame(TEXT, b"1234567890")) == 0
    assert watch.feed(frame(TEXT, b"12345", final=False)) == 0
    assert watch.feed(head(CONTINUATION, 6)) == TOO_BIG


def test_fragments_are_counted() -> None:
    """S18.16: 10,000 pass, one more does not."""
    watch = FrameWatch()
    assert watch.feed(frame(TEXT, b"a", final=False)) == 0
    assert watch.feed(frame(CONTINUATION, b"a", final=False) * 9_999) == 0
    assert watch.feed(frame(CONTINUATION, b"a")) == POLICY


def test_empty_frames_in_a_row_are_counted() -> None:
    """S18.16: 100 pass, one more does not; control frames and payload do not belong to the row."""
    watch = FrameWatch()
    assert watch.feed(frame(TEXT, b"", final=False) + frame(CONTINUATION, b"", final=False) * 98) == 0
    assert watch.feed(frame(PING, b"")) == 0
    assert watch.feed(frame(CONTINUATION, b"", final=False)) == 0
    assert FrameWatch().feed(frame(TEXT, b"") * 101) == POLICY
    assert watch.feed(frame(CONTINUATION, b"", final=False)) == POLICY
    fresh = FrameWatch()
    for _ in range(5):
        assert fresh.feed(frame(TEXT, b"") * 100 + frame(TEXT, b"x")) == 0
    assert fresh.feed(frame(PING, b"") * 1000) == 0


@pytest.mark.parametrize("raw", [head(PING, 126), head(PING, 5, final=False), head(CLOSE, 65536)])
def test_a_control_frame_is_short_and_whole(raw: bytes) -> None:
    """RFC 6455 section 5.5"""
    assert FrameWatch().feed(raw) == PROTOCOL


def test_a_big_payload_costs_one_subtraction_a_read() -> None:
    watch = FrameWatch()
    watch.feed(head(BINARY, MAX_MESSAGE))
    piece = bytes(65536)
    started = time.process_time()
    for _ in range(MAX_MESSAGE // 65536):
        assert watch.feed(piece) == 0
    assert watch.at_boundary
    assert time.process_time() - started < 0.5


def test_close_frames() -> None:
    assert close_frame(1009, False) == b"\x88\x02\x03\xf1"
    assert close_frame(1009, True, b"\x01\x02\x03\x04") == b"\x88\x82\x01\x02\x03\x04\x02\xf3"
    watch = FrameWatch()
    assert watch.feed(close_frame(1000, True)) == 0
    assert watch.at_boundary


@given(st.binary(max_size=300))
def test_the_verdict_does_not_depend_on_the_cuts(raw: bytes) -> None:
    def verdict(step: int) -> tuple[int, bool]:
        watch = FrameWatch(max_message=500, max_fragments=5, max_empty=3)
        for i in range(0, len(raw), step):
            code = watch.feed(raw[i : i + step])
            if code:
                return code, False
        return 0, watch.at_boundary

    assert verdict(1) == verdict(7) == verdict(1000)
