"""Codings with bounds (S3.4, S20)."""

from __future__ import annotations

import gzip
import os
import time
import tracemalloc

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import CLIENT, UPSTREAM, Fault
from tidegate.wire.content_coding import CODINGS, Encoder, decode

JSON = b'{"model":"mock-a"}'


def coded(coding: str, data: bytes) -> bytes:
    return Encoder(coding).feed(data, True)


@pytest.mark.parametrize("coding", CODINGS)
@given(data=st.binary(max_size=2000), step=st.integers(1, 700), flush=st.booleans())
def test_what_is_encoded_is_decoded(coding: str, data: bytes, step: int, flush: bool) -> None:
    encoder = Encoder(coding)
    pieces = [encoder.feed(data[i : i + step], False, flush) for i in range(0, len(data), step)]
    assert decode(coding, b"".join(pieces) + encoder.feed(b"", True), 2000) == data


def test_stock_encoders_are_understood() -> None:
    data = os.urandom(200_000) + b"a" * 300_000
    assert decode("gzip", gzip.compress(data), len(data)) == data
    assert decode(" GZIP ", gzip.compress(data), len(data)) == data
    assert decode("br", brotli.compress(data), len(data)) == data


@pytest.mark.parametrize("coding", CODINGS)
def test_a_flush_gives_out_what_went_in(coding: str) -> None:
    encoder = Encoder(coding)
    first = encoder.feed(JSON, False, True)
    assert first
    with pytest.raises(Fault, match="bad_encoding"):
        decode(coding, first, 1000)
    assert decode(coding, first + encoder.feed(b"", True), 1000) == JSON


@pytest.mark.parametrize("coding", CODINGS)
def test_the_limit_is_exact(coding: str) -> None:
    """S3.4"""
    body = coded(coding, b"a" * 100_000)
    assert len(decode(coding, body, 100_000)) == 100_000
    with pytest.raises(Fault, match="body_too_large") as caught:
        decode(coding, body, 99_999)
    assert (caught.value.status, caught.value.close) == (413, True)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_costs_no_more_memory_than_the_limit(coding: str) -> None:
    """S3.4: 50 MB in a few KB; at most the limit and 8 MB are ever held."""
    encoder = Encoder(coding)
    zeros = bytes(1 << 20)
    bomb = b"".join([encoder.feed(zeros, False) for _ in range(50)]) + encoder.feed(b"", True)
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(Fault, match="body_too_large"):
            decode(coding, bomb, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 9 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coding_that_lies_is_refused(coding: str) -> None:
    """S3.4, BD-gzip-lie"""
    data = os.urandom(5000)
    body = coded(coding, data)
    for broken in (b"", JSON, body[: len(body) // 2], body[:-1], body + JSON, body[1:]):
        with pytest.raises(Fault) as caught:
            decode(coding, broken, 10_000)
        assert (caught.value.code, caught.value.side) == ("bad_encoding", CLIENT)


def test_a_wrong_checksum_is_refused() -> None:
    """BD-gzip-lie"""
    body = bytearray(gzip.compress(JSON))
    body[-5] ^= 1
    with pytest.raises(Fault, match="bad_encoding"):
        decode("gzip", bytes(body), 1000)


def test_members_are_counted_too() -> None:
    """S3.4, BD-gzip-multi-member"""
    empty = gzip.compress(b"")
    assert decode("gzip", empty * 1023 + gzip.compress(JSON), 1000) == JSON
    with pytest.raises(Fault, match="body_too_large"):
        decode("gzip", empty * 1024 + gzip.compress(JSON), 1000)
    frame = coded("zstd", b"")
    assert decode("zstd", frame * 1023 + coded("zstd", JSON), 1000) == JSON
    with pytest.raises(Fault, match="body_too_large"):
        decode("zstd", frame * 1024 + coded("zstd", JSON), 1000)


def test_many_members_cost_linear_time() -> None:
    """BD-gzip-multi-member: what is left of the body is not copied once a member."""
    body = gzip.compress(b"") * 1023 + gzip.compress(os.urandom(4_000_000), 0)
    started = time.process_time()
    decode("gzip", body, 5_000_000)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize("coding", ["gzip, gzip, br", "gzip, identity", "gzip;q=1", "compress", "deflate", "*"])
def test_lists_and_unknown_codings_are_not_supported(coding: str) -> None:
    """S3.4, BD-gzip-chained"""
    with pytest.raises(Fault) as caught:
        decode(coding, gzip.compress(JSON), 1000)
    assert (caught.value.status, caught.value.code) == (415, "unsupported_encoding")


def test_no_coding_is_the_body_itself() -> None:
    assert decode("", JSON, 100) is JSON
    assert decode("identity", JSON, 100) is JSON
    with pytest.raises(Fault, match="body_too_large"):
        decode("", JSON, 3)


@pytest.mark.parametrize(
    ("coding", "body", "code"),
    [
        ("gzip", gzip.compress(b"a" * 1000), "upstream_too_large"),
        ("gzip", JSON, "bad_upstream"),
        ("nope", JSON, "bad_upstream"),
    ],
)
def test_an_answer_that_cannot_be_decoded_is_the_upstreams_fault(coding: str, body: bytes, code: str) -> None:
    """S20.3"""
    with pytest.raises(Fault) as caught:
        decode(coding, body, 100, upstream=True)
    assert (caught.value.code, caught.value.status, caught.value.side) == (code, 502, UPSTREAM)
