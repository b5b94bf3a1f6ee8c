"""Bodies in chunks: whole, byte by byte and with a tail (S2.6, S2.7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.exchange.head import Fields
from tidegate.wire.chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk, encode_trailers

GOOD: list[tuple[bytes, bytes, Fields]] = [
    (b"0\r\n\r\n", b"", []),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world", []),
    (b"00000000000000A\r\n0123456789\r\n000\r\n\r\n", b"0123456789", []),
    (b"a\r\n\r\n0\r\n\r\n\r\n0\r\n0\r\n\r\n", b"\r\n0\r\n\r\n\r\n0", []),
    (b'5;a;b=c;d="x \\" y"\r\nhello\r\n0;last\r\n\r\n', b"hello", []),
    (b"1\r\nx\r\n0\r\nX-T: 1\r\nX-U:\t2 \r\n\r\n", b"x", [("x-t", "1"), ("x-u", "2")]),
]

BAD = [
    b"\r\n",
    b" 5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"5_0\r\n",
    b"g\r\n",
    b"\xb2\r\nhi\r\n",
    b"1111111111111111\r\n",
    b"0000000000000000\r\n",
    b"5\nhello\r\n",
    b"5\rhello",
    b"5;\r\nhello\r\n",
    b"5;=\r\nhello\r\n",
    b"5;a=\r\nhello\r\n",
    b"5;a =b\r\nhello\r\n",
    b'5;a="b\r\nhello\r\n',
    b"5;a\nb\r\nhello\r\n",
    b"5;a\x00\r\nhello\r\n",
    b"5;" + b"a" * 256 + b"\r\nhello\r\n",
    b"5;" + b"a" * 100_000,
    b"5\r\nhello0\r\n",
    b"5\r\nhello\n0\r\n",
    b"5\r\nhello\r0\r\n",
    b"5\r\nhelloXX0\r\n",
    b"4\r\nhello\r\n",
    b"0\r\n\n",
    b"0\r\nX T: 1\r\n\r\n",
    b"0\r\nX-T : 1\r\n\r\n",
    b"0\r\n X-T: 1\r\n\r\n",
    b"0\r\nX-T: a\x00\r\n\r\n",
    b"0\r\nX-T: a\nb: c\r\n\r\n",
    b"0\r\nX-T\r\n\r\n",
    b"0\r\n" + b"X: 1\r\n" * 21 + b"\r\n",
    b"0\r\nX: " + b"a" * 4096 + b"\r\n\r\n",
    b"0\r\nX: " + b"a" * 100_000,
]

FORBIDDEN = [
    "Content-Length", "Transfer-Encoding", "Host", "Connection", "Authorization", "Cookie", "Set-Cookie", "X-Api-Key",
    "Content-Type", "Content-Encoding", "Content-Range", "Forwarded", "X-Forwarded-For", "X-Tidegate-Debug",
    "X-Tenant-Id", "X-Consumer-Id", "X_Forwarded_For", "Trailer", "TE", "Max-Forwards",
]  # fmt: skip


@pytest.mark.parametrize(("raw", "body", "trailers"), GOOD)
@pytest.mark.parametrize("tail", [b"", b"GET / HTTP/1.1\r\n"])
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_a_body_is_the_same_however_it_is_cut(
    raw: bytes, body: bytes, trailers: Fields, tail: bytes, step: int
) -> None:
    decoder = ChunkedDecoder()
    whole = raw + tail
    pieces: list[bytes] = []
    for i in range(0, len(whole), step):
        pieces += decoder.feed(whole[i : i + step])
    assert b"".join(pieces) == body
    assert (decoder.done, decoder.rest, decoder.trailers) == (True, tail, trailers)


@pytest.mark.parametrize("raw", BAD)
@pytest.mark.parametrize("step", [1, 1_000_000])
def test_a_malformed_body_is_refused(raw: bytes, step: int) -> None:
    """S2.6, S2.7"""
    decoder = ChunkedDecoder()
    with pytest.raises(Fault) as caught:
        for i in range(0, len(raw), step):
            decoder.feed(raw[i : i + step])
    assert (caught.value.code, caught.value.reason, caught.value.close) == ("bad_request", "bad_framing", True)
    assert not decoder.done


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_trailer_is_refused_from_clients_and_dropped_from_upstreams(name: str) -> None:
    """S2.7, HF-trailer-smuggle"""
    raw = f"0\r\n{name}: 5\r\nX-T: 1\r\n\r\n".encode()
    with pytest.raises(Fault, match="bad_request"):
        ChunkedDecoder().feed(raw)
    decoder = ChunkedDecoder(strict_trailers=False)
    decoder.feed(raw)
    assert (decoder.done, decoder.trailers) == (True, [("x-t", "1")])


def test_a_bad_answer_body_is_the_upstreams_fault() -> None:
    """S2.15"""
    with pytest.raises(Fault) as caught:
        ChunkedDecoder(strict_trailers=False, code="bad_upstream").feed(b"zz\r\n")
    assert (caught.value.code, caught.value.reason, caught.value.side) == ("bad_upstream", "protocol", UPSTREAM)


def test_extensions_count_over_the_whole_message() -> None:
    """S2.6: 256 bytes in total pass, the next one does not."""
    chunk = b"1;" + b"e" * 63 + b"\r\nx\r\n"
    decoder = ChunkedDecoder()
    assert decoder.feed(chunk * 4) == [b"x"] * 4
    with pytest.raises(Fault):
        decoder.feed(b"1;e\r\nx\r\n")


def test_trailers_have_exact_borders() -> None:
    """S2.7"""
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n" + b"X: 1\r\n" * 20 + b"\r\n")
    assert len(decoder.trailers) == 20
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\nX: " + b"a" * 4091 + b"\r\n\r\n")
    assert decoder.trailers == [("x", "a" * 4091)]


def test_a_big_chunk_is_handed_on_as_it_comes() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"fffffff\r\nab") == [b"ab"]
    piece = b"c" * 65536
    assert decoder.feed(piece) == [piece]
    assert not decoder.done


def test_pieces_without_a_copy() -> None:
    """A read that lies inside a chunk is handed on as the very object it came in."""
    decoder = ChunkedDecoder()
    decoder.feed(b"ffff\r\n")
    piece = b"c" * 1000
    assert decoder.feed(piece)[0] is piece


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.integers(1, 50))
def test_what_is_encoded_is_decoded(pieces: list[bytes], step: int) -> None:
    raw = b"".join(encode_chunk(piece) for piece in pieces) + LAST_CHUNK
    decoder = ChunkedDecoder()
    found: list[bytes] = []
    for i in range(0, len(raw), step):
        found += decoder.feed(raw[i : i + step])
    assert b"".join(found) == b"".join(pieces)
    assert decoder.done and decoder.rest == b""


@given(st.binary(max_size=100))
def test_arbitrary_bytes_end_in_a_body_a_wait_or_a_fault(raw: bytes) -> None:
    verdicts = []
    for step in (1, 1000):
        decoder = ChunkedDecoder()
        try:
            body = b"".join(b"".join(decoder.feed(raw[i : i + step])) for i in range(0, len(raw), step))
            verdicts.append((body, decoder.done))
        except Fault as fault:
            verdicts.append((fault.code.encode(), False))
    assert verdicts[0] == verdicts[1]


def test_no_data_makes_no_chunk() -> None:
    """An empty chunk would end the body."""
    assert encode_chunk(b"") == b""
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


def test_trailers_out_leave_out_what_may_not_be_there() -> None:
    """S2.7"""
    fields = [("x-t", "1"), ("content-length", "5"), ("x-bad", "a\r\nb: c"), ("x-u", "\xe9")]
    assert encode_trailers(fields) == b"0\r\nx-t: 1\r\nx-u: \xe9\r\n\r\n"
    assert encode_trailers([]) == LAST_CHUNK
