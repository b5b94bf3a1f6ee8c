"""Text messages read beside a tunnel (LLM 7)."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.websocket_text import TextWatch


def frame(payload: bytes, code: int = 0x81, mask: bytes = b"") -> bytes:
    size = len(payload)
    flag = 0x80 if mask else 0
    if size < 126:
        head = bytes([code, flag | size])
    elif size < 65536:
        head = bytes([code, flag | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([code, flag | 127]) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)) if mask else head + payload


WIRE = (
    frame(b"one")
    + frame(b"x" * 300, 0x82)
    + frame(b"tw", 0x01) + frame(b"ping", 0x89) + frame(b"", 0x8A) + frame(b"o", 0x80)
    + frame(b"y" * 2000)
    + frame(b"")
    + frame("thr\u00e9e".encode() * 40, mask=b"abcd")
)  # fmt: skip
SAID = [b"one", b"two", b"", "thr\u00e9e".encode() * 40]


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_messages_come_whole_however_the_wire_is_cut(places: list[int]) -> None:
    watch = TextWatch(1000)
    found = []
    for a, b in itertools.pairwise([0, *sorted(places), len(WIRE)]):
        found += watch.feed(WIRE[a:b])
    assert found == SAID


def test_control_frames_are_given_whole_where_they_are_wanted() -> None:
    ping = b"\x89\x82" + b"\1\1\1\1" + bytes([b ^ 1 for b in b"hi"])
    for cut in range(1, len(ping)):
        watch = TextWatch(100, controls=True)
        assert watch.feed(ping[:cut]) == []
        early = watch.taken_controls()
        assert watch.feed(ping[cut:] + b"\x88\x00") == []
        assert early == [] and watch.taken_controls() == [(9, b"hi"), (8, b"")]
    assert TextWatch(100).taken_controls() == []
