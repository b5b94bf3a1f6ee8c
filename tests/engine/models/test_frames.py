"""Where events of a stream end (LLM 5.10, rule 9)."""

from __future__ import annotations

import itertools
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.engine.models.frames import (
    EVENT_SIZE,
    Cutter,
    decoder_of,
    first_events,
    framing_of_answer,
    split_events,
)
from tidegate.exchange.fault import Fault
from tidegate.wire.aws_event_stream import encode_frame

SSE = b"data: a\n\nevent: x\r\ndata: b\r\n\r\ndata: c\r\rdata: \xf0\x9f\x8c\x8a\n\n"
FRAME = (20).to_bytes(4, "big") + b"x" * 16


@given(st.lists(st.integers(0, len(SSE))))
def test_bytes_pass_untouched_however_they_are_cut_and_end_with_whole_events(places: list[int]) -> None:
    cutter = Cutter("sse")
    cuts = [0, *sorted(places), len(SSE)]
    out = []
    for a, b in itertools.pairwise(cuts):
        piece = cutter.feed(SSE[a:b])
        assert piece == b"" or piece.endswith((b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n"))
        out.append(piece)
    assert b"".join(out) + cutter.close() == SSE


@pytest.mark.parametrize(
    ("framing", "wire", "whole"),
    [
        ("ndjson", b'{"a":1}\n{"b"', b'{"a":1}\n'),
        ("eventstream", FRAME * 2 + FRAME[:5], FRAME * 2),
        ("array", b"[1", b"[1"),
    ],
)
def test_other_framings_end_where_they_end(framing: str, wire: bytes, whole: bytes) -> None:
    assert Cutter(framing).feed(wire) == whole  # type: ignore[arg-type]


def test_an_event_that_never_ends_is_refused() -> None:
    cutter = Cutter("sse")
    with pytest.raises(Fault) as caught:
        cutter.feed(b"x" * (EVENT_SIZE + 1))
    assert caught.value.reason == "event_too_large"


def test_events_are_told_apart() -> None:
    assert split_events(b"data: a\n\ndata: b\r\n\r\n: c\n\n") == [b"data: a\n\n", b"data: b\r\n\r\n", b": c\n\n"]


def test_the_type_of_an_answer_says_how_it_is_framed() -> None:
    assert framing_of_answer("text/event-stream; charset=utf-8", "array") == "sse"
    assert framing_of_answer("application/json", "sse") is None
    assert framing_of_answer("application/json", "array") == "array"
    assert framing_of_answer("", "ndjson") == "ndjson"
    assert framing_of_answer("application/vnd.amazon.eventstream", "eventstream") == "eventstream"


def test_each_framing_has_its_decoder() -> None:
    assert decoder_of("sse").feed(b"data: a\n\n") == [("", b"a")]
    assert decoder_of("ndjson").feed(b"{}\n") == [("", b"{}")]
    assert decoder_of("array").feed(b"[{}") == [("", b"{}")]


def test_the_first_events_of_each_framing() -> None:
    sse = b": hello\n\nevent: a\ndata: 1\n\ndata: 2\n\ndata: 3\n\n"
    assert [first_events(sse, "sse", n) for n in range(4)] == [sse[:9], sse[:27], sse[:36], sse]
    assert first_events(b"1\n\n2\n3\n", "ndjson", 2) == b"1\n\n2\n"
    frames = encode_frame("a", b"{}") + encode_frame("b", b"{}")
    assert first_events(frames, "eventstream", 1) == encode_frame("a", b"{}")
    assert first_events(b"[1,2", "array", 1) == b""


@pytest.mark.parametrize(
    ("framing", "wire"),
    [("sse", SSE * 3), ("ndjson", b'{"a":1}\n{"b":2}\n{"c"'), ("eventstream", FRAME * 3 + FRAME[:5])],
)
def test_byte_by_byte_the_same_comes_out(framing: str, wire: bytes) -> None:
    cutter = Cutter(framing)  # type: ignore[arg-type]
    out = b"".join([cutter.feed(wire[at : at + 1]) for at in range(len(wire))])
    assert out == Cutter(framing).feed(wire)  # type: ignore[arg-type]
    assert out + cutter.close() == wire


@pytest.mark.parametrize("framing", ["sse", "ndjson", "eventstream"])
def test_a_long_event_in_small_pieces_costs_its_length_and_not_its_square(framing: str) -> None:
    cutter = Cutter(framing)  # type: ignore[arg-type]
    begun = process_time()
    cutter.feed((900_000).to_bytes(4, "big"))
    for _ in range(50_000):
        assert cutter.feed(b"0123456789abcdef") == b""
    assert process_time() - begun < 2.0  # joined each time: half a minute


def test_many_small_events_are_told_apart_in_one_pass() -> None:
    begun = process_time()
    assert len(split_events(b": x\n\n" * 100_000)) == 100_000
    assert process_time() - begun < 2.0
