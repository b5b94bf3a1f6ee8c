"""Twin of wire/context_body.py (CRP 6.3, 6.4, 14)."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import brotli
import msgspec
import pytest
from backports import zstd

from tidegate.exchange.context import Append
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.wire.context_body import decode, dictionary_hash, encoding_of, inflate, media_type
from tidegate.wire.context_json import read_ops

LIMITS = ContextLimits()
HEAD = bytes.fromhex("5e2a4d1820000000")


def refused(*arguments: Any) -> tuple[str, int, str]:
    with pytest.raises(Fault) as caught:
        decode(*arguments)
    return caught.value.code, caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    ("media", "encoding"),
    [("", "application/json"), ("application/vnd.crp.delta+json", "application/json"),
     ("application/json-patch+json", "application/json"), ("application/x-msgpack", "application/msgpack"),
     ("application/protobuf", "application/x-protobuf")],
)  # fmt: skip
def test_a_media_type_names_one_of_three_encodings(media: str, encoding: str) -> None:
    assert encoding_of(media) == encoding


def test_parameters_and_case_do_not_matter_but_the_charset_does() -> None:
    assert media_type("Application/JSON; charset=UTF-8") == "application/json"
    for content_type in ("application/json; charset=latin-1", "text/plain", "application/cbor"):
        code, status, _ = refused(content_type, "", b"{}", LIMITS)
        assert (code, status) == ("unsupported_media_type", 415)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'{"a":1,"a":2}', "duplicate_key"), (b'{"a":1,"\\u0061":2}', "duplicate_key"), (b"[NaN]", "invalid_json"),
     (b"[Infinity]", "invalid_json"), (b'["\\ud800"]', "invalid_json"), (b'["\xff"]', "invalid_json"),
     (b"[" * 65 + b"]" * 65, "depth_exceeded"), (b"{", "invalid_json"), (b"\xef\xbb\xbf{}", "invalid_json")],
)  # fmt: skip
def test_json_that_has_two_readings_is_400_38(body: bytes, reason: str) -> None:
    assert refused("application/json", "", body, LIMITS) == ("invalid_body", 400, reason)


def test_members_of_an_object_are_bounded_41() -> None:
    limits = ContextLimits(members=3)
    assert len(decode("", "", b'{"a":1,"b":2,"c":3}', limits)) == 3
    assert refused("", "", b'{"a":1,"b":2,"c":3,"d":4}', limits) == ("invalid_body", 400, "too_many_keys")


def test_the_body_is_bounded_at_limit_and_one_41() -> None:
    limits = ContextLimits(body=10)
    assert decode("", "", b'"' + b"x" * 8 + b'"', limits) == "x" * 8
    assert refused("", "", b'"' + b"x" * 9 + b'"', limits)[:2] == ("too_large", 413)
    assert refused("", "gzip", gzip.compress(b'"' + b"x" * 9 + b'"'), limits)[:2] == ("too_large", 413)


@pytest.mark.parametrize(
    ("coding", "code"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("br", brotli.compress)]
)
def test_each_coding_is_undone(coding: str, code: Any) -> None:
    assert decode("application/json", coding.upper(), code(b'{"a":1.10}'), LIMITS) == {"a": msgspec.Raw(b"1.10")}
    assert refused("application/json", coding, b"nonsense", LIMITS)[0] == "invalid_body"
    assert refused("application/json", coding, code(b'{"a":1}' * 99)[:-3], LIMITS)[0] == "invalid_body"


@pytest.mark.parametrize(
    ("coding", "code"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("br", brotli.compress)]
)
def test_a_bomb_is_refused_within_bounded_memory_39(coding: str, code: Any) -> None:
    bomb = code(bytes(64 * 1024 * 1024))
    tracemalloc.start()
    try:
        assert refused("application/json", coding, bomb, LIMITS)[:2] in (("ratio_exceeded", 413), ("too_large", 413))
        assert tracemalloc.get_traced_memory()[1] < 4 * LIMITS.body
    finally:
        tracemalloc.stop()


def test_the_ratio_counts_beyond_one_mebibyte_only_41() -> None:
    small = gzip.compress(bytes(1024 * 1024))
    assert len(inflate("gzip", small, LIMITS)) == 1024 * 1024
    with pytest.raises(Fault) as caught:
        inflate("gzip", gzip.compress(bytes(1024 * 1024 + 1)), LIMITS)
    assert (caught.value.code, caught.value.status) == ("ratio_exceeded", 413)


def test_an_unknown_coding_names_those_that_are_known() -> None:
    with pytest.raises(Fault) as caught:
        inflate("compress", b"", LIMITS)
    assert caught.value.code == "unsupported_encoding"
    assert caught.value.fields == [("accept-encoding", "zstd, dcz, gzip, br")]


def test_a_dictionary_is_used_by_its_hash_and_an_unknown_one_is_415_40() -> None:
    dictionary = b'{"delta_updates":[{"op":"append","items":[{"type":"message","role":"user","content":"'
    clear = dictionary + b'hi"}]}]}'
    raw = zstd.ZstdDict(dictionary, is_raw=True)
    body = HEAD + dictionary_hash(dictionary) + zstd.compress(clear, zstd_dict=raw)
    known = {dictionary_hash(dictionary): dictionary}
    assert len(body) - 40 < 40
    value = decode("application/json", "dcz", body, LIMITS, known)
    assert read_ops(value["delta_updates"], LIMITS) == read_ops(
        decode("application/json", "", clear, LIMITS)["delta_updates"], LIMITS
    )
    assert refused("application/json", "dcz", body, LIMITS, {})[:2] == ("dictionary_unknown", 415)
    assert decode("application/json", "", clear, LIMITS)["delta_updates"][0]["op"] == "append"
    for broken in (body[:39], b"x" + body[1:], body[:-1], body + b"x"):
        assert refused("application/json", "dcz", broken, LIMITS, known)[0] == "invalid_body"
    bomb = HEAD + dictionary_hash(dictionary) + zstd.compress(bytes(9 * 1024 * 1024), zstd_dict=raw)
    assert refused("application/json", "dcz", bomb, LIMITS, known)[0] == "ratio_exceeded"


def test_json_and_messagepack_give_the_same_ops_37() -> None:
    delta = {"delta_updates": [{"op": "append", "items": [
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "hé 1"}], "n": 1.5, "at":
         "2026-11-22T09:02:00.000Z"}]}]}  # fmt: skip
    one = decode("application/json", "", msgspec.json.encode(delta), LIMITS)
    two = decode("application/msgpack", "zstd", zstd.compress(msgspec.msgpack.encode(delta)), LIMITS)
    ops = read_ops(one["delta_updates"], LIMITS)
    assert ops == read_ops(two["delta_updates"], LIMITS)
    assert isinstance(ops[0], Append) and ops[0].items[0].extra == {"n": b"1.5"}
