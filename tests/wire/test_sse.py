from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.wire.sse import EVENT_SIZE, SseDecoder, encode_comment, encode_event

CASES = [
    (b"data: a\n\n", [("", b"a")]),
    (b"data:a\n\n", [("", b"a")]),
    (b"data:  a\n\n", [("", b" a")]),
    (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
    (b"event:ping\r\ndata:{}\r\n\r\n", [("ping", b"{}")]),
    (b"event: e\rdata: 1\r\rdata: 2\r\r", [("e", b"1"), ("", b"2")]),
    (b": hello\n\ndata: a\n\n", [("", b"a")]),
    (b"event: only a name\n\ndata: a\n\n", [("", b"a")]),
    (b"\n\n\ndata: a\n\n\n\n", [("", b"a")]),
    (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
    (b"data\n\n", [("", b"")]),
    (b"id: 7\nretry: 5\ndata: a\n\n", [("", b"a")]),
    (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
    ("data: \U0001f600é\n\n".encode(), [("", "\U0001f600é".encode())]),
    (b"data: [DONE]", [("", b"[DONE]")]),
    (b"database: 1\n\n", []),
]


@pytest.mark.parametrize(("raw", "events"), CASES)
def test_events_come_out_whole_however_the_bytes_are_cut(raw: bytes, events: list[tuple[str, bytes]]) -> None:
    for cut in range(len(raw) + 1):
        decoder = SseDecoder()
        assert decoder.feed(raw[:cut]) + decoder.feed(raw[cut:]) + decoder.close() == events
    decoder = SseDecoder()
    found = [event for byte in raw for event in decoder.feed(bytes([byte]))]
    assert found + decoder.close() == events


@given(
    st.lists(st.tuples(st.sampled_from(["", "delta", "message_stop"]), st.text().map(str.encode)), max_size=6),
    st.lists(st.integers(1, 9), max_size=40),
)
def test_what_is_written_is_read_again(events: list[tuple[str, bytes]], cuts: list[int]) -> None:
    raw = b"".join(encode_event(name, data) for name, data in events)
    decoder = SseDecoder()
    found = []
    for size in cuts:
        found += decoder.feed(raw[:size])
        raw = raw[size:]
    found += decoder.feed(raw) + decoder.close()
    lines = [(name, data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")) for name, data in events]
    assert found == lines


def test_text_never_makes_an_event() -> None:
    raw = encode_event("", b"x\n\ndata: y")
    assert SseDecoder().feed(raw) == [("", b"x\n\ndata: y")]
    assert SseDecoder().feed(encode_comment("a\n\ndata: y")) == []


def test_an_event_without_end_is_refused_at_a_megabyte() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: " + b"x" * (EVENT_SIZE - 6))
    with pytest.raises(Fault, match="event_too_large"):
        decoder.feed(b"x")


def test_a_long_event_in_small_pieces_costs_its_length_and_not_its_square() -> None:
    decoder = SseDecoder()
    begun = process_time()
    for _ in range(20_000):
        assert decoder.feed(b"data: 45678901\r\n") == []
    assert process_time() - begun < 1.0  # the whole of it again each time took most of a minute
    assert len(decoder.feed(b"\r\n\r\n")[0][1]) == 20_000 * 9 - 1
