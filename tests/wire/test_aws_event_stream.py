"""Binary frames of Amazon's event streams (LLM 5.10)."""

from __future__ import annotations

from binascii import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.wire.aws_event_stream import FRAME_SIZE, EventStreamDecoder, encode_frame


def built(headers: bytes, payload: bytes = b"") -> bytes:
    """A frame with any headers."""
    prelude = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    frame = prelude + crc32(prelude).to_bytes(4, "big") + headers + payload
    return frame + crc32(frame).to_bytes(4, "big")


def text(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + b"\x07" + len(value).to_bytes(2, "big") + value


def test_the_bytes_of_a_frame() -> None:
    headers = (
        b"\x0b:event-type\x07\x00\x0cmessageStart\r:content-type\x07\x00\x10application/json"
        b"\r:message-type\x07\x00\x05event"
    )
    assert encode_frame("messageStart", b"{}") == built(headers, b"{}")
    assert encode_frame("odd", b"{}") == built(headers.replace(b"\x00\x0cmessageStart", b"\x00\x03odd"), b"{}")


def test_the_empty_frame_of_the_published_description() -> None:
    """Sixteen bytes whose checksums anybody can compute."""
    assert built(b"").hex() == "000000100000000005c248eb7d98c8ff"
    assert EventStreamDecoder().feed(built(b"")) == [("", b"")]


def test_an_exception_is_named_as_one() -> None:
    frame = encode_frame("throttlingException", b'{"message":"slow"}', exception=True)
    assert EventStreamDecoder().feed(frame) == [("exception:throttlingException", b'{"message":"slow"}')]
    error = built(text(b":message-type", b"error") + text(b":error-code", b"InternalError"))
    assert EventStreamDecoder().feed(error) == [("exception:InternalError", b"")]


def test_headers_of_every_type_are_skipped() -> None:
    headers = b"".join(
        bytes([1]) + b"h" + bytes([kind]) + value
        for kind, value in (
            (0, b""), (1, b""), (2, b"1"), (3, b"12"), (4, b"1234"), (5, b"12345678"), (6, b"\x00\x02ab"),
            (7, b"\x00\x01x"), (8, b"12345678"), (9, b"1234567812345678"),
        )
    )  # fmt: skip
    assert EventStreamDecoder().feed(built(headers + text(b":event-type", b"e"), b"p")) == [("e", b"p")]


@given(st.lists(st.tuples(st.text(max_size=9), st.binary(max_size=40), st.booleans()), max_size=4), st.data())
def test_frames_cut_anywhere_come_out_whole(frames: list[tuple[str, bytes, bool]], data: st.DataObject) -> None:
    wire = b"".join(encode_frame(*frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    decoder = EventStreamDecoder()
    got = []
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        got += decoder.feed(wire[begin:end])
    assert got == [("exception:" * failed + name, payload) for name, payload, failed in frames]
    assert decoder.close() == []


WHOLE = encode_frame("e", b"payload")


@pytest.mark.parametrize("at", range(len(WHOLE)))
def test_one_flipped_bit_anywhere_is_bad_upstream(at: int) -> None:
    broken = bytearray(WHOLE)
    broken[at] ^= 1
    with pytest.raises(Fault) as caught:
        EventStreamDecoder().feed(bytes(broken))
    assert (caught.value.code, caught.value.reason) == ("bad_upstream", "protocol")


def prelude(size: int, headers: int) -> bytes:
    sizes = size.to_bytes(4, "big") + headers.to_bytes(4, "big")
    return sizes + crc32(sizes).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (prelude(FRAME_SIZE + 1, 0), "event_too_large"),
        (prelude(15, 0), "protocol"),
        (prelude(20, 5), "protocol"),
        (prelude(100_000, 16_385), "protocol"),
        (built(b"\x09short"), "protocol"),
        (built(b"\x01h\x0a"), "protocol"),
        (built(b"\x01h\x07\x00"), "protocol"),
        (built(b"\x01h\x07\x00\x09x"), "protocol"),
    ],
)
def test_impossible_sizes_and_headers_are_refused_before_they_cost_memory(wire: bytes, reason: str) -> None:
    with pytest.raises(Fault) as caught:
        EventStreamDecoder().feed(wire)
    assert (caught.value.code, caught.value.reason) == ("bad_upstream", reason)


def test_a_frame_that_was_cut_off_is_dropped() -> None:
    decoder = EventStreamDecoder()
    assert decoder.feed(WHOLE[:-1]) == []
    assert decoder.close() == []
    assert decoder.feed(WHOLE) == [("e", b"payload")]


def test_botocore_reads_the_same() -> None:
    eventstream = pytest.importorskip("botocore.eventstream", reason="botocore is not installed")
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(encode_frame("metadata", b'{"a":1}') + encode_frame("x", b"{}", exception=True))
    first, second = list(buffer)
    assert (first.headers[":event-type"], first.headers[":content-type"], first.payload) == (
        "metadata", "application/json", b'{"a":1}',
    )  # fmt: skip
    assert (second.headers[":message-type"], second.headers[":exception-type"]) == ("exception", "x")
