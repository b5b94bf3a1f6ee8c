"""Compressed answers (S20)."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Fields, ResponseHead
from tidegate.filters.compress import Compress, Config
from tidegate.wire.content_coding import decode

JSON = ("content-type", "application/json")
VARY = ("vary", "Accept-Encoding")


def build(**settings: Any) -> Compress:
    return Compress(Config.model_validate(settings), FakeTools())


def asking(accept: str = "gzip", method: str = "GET") -> Exchange:
    x = exchange(method, fields=[("accept-encoding", accept)])
    x.upstream_status = 200
    return x


def answered(
    filter: Compress, x: Exchange, fields: Fields | None = None, *, status: int = 200, length: int = 5000
) -> tuple[ResponseHead, bool]:
    """The head as it goes out, and whether the body will be coded."""
    head = ResponseHead(status, "", list(fields if fields is not None else [JSON]), length)
    filter.on_response_head(x, head)
    return head, filter.wants_chunks(x)


@pytest.mark.parametrize("coding", ["zstd", "br", "gzip"])
@pytest.mark.parametrize("length", [3000, CHUNKED, UNTIL_CLOSE])
def test_a_body_comes_out_as_it_went_in(coding: str, length: int) -> None:
    filter, x = build(), asking(coding)
    head, coded = answered(filter, x, length=length)
    assert coded
    assert head.fields == [JSON, VARY, ("content-encoding", coding)]
    assert head.body_length == CHUNKED
    pieces = [filter.on_response_chunk(x, b"tide " * 200, False) for _ in range(3)]
    pieces.append(filter.on_response_chunk(x, b"", True))
    assert decode(coding, b"".join(pieces), 10_000) == b"tide " * 600
    assert len(b"".join(pieces)) < 200


def test_small_pieces_of_a_stream_are_not_held_back() -> None:
    filter, x = build(), asking()
    answered(filter, x, length=CHUNKED)
    piece = filter.on_response_chunk(x, b"hello", False)
    assert zlib.decompressobj(31).decompress(piece) == b"hello"


def test_the_client_chooses_by_q_and_the_operator_what_is_offered_s20_1() -> None:
    assert answered(build(), asking("br;q=0.5, gzip"))[0].get("content-encoding") == "gzip"
    assert answered(build(codings=["br"]), asking("zstd, br;q=0.1"))[0].get("content-encoding") == "br"


def test_a_strong_etag_becomes_weak_and_digests_go_s20_2() -> None:
    fields = [JSON, ("etag", '"1"'), ("content-digest", "sha-256=:x:"), ("accept-ranges", "bytes")]
    head, _ = answered(build(), asking(), fields)
    assert head.fields == [JSON, ("etag", 'W/"1"'), VARY, ("content-encoding", "gzip")]


def test_vary_is_added_even_when_nothing_is_changed_s20_2() -> None:
    head, coded = answered(build(), asking(""), [JSON, ("etag", '"1"')])
    assert (head.fields, coded, head.body_length) == ([JSON, ("etag", '"1"'), VARY], False, 5000)


@pytest.mark.parametrize("vary", ["*", "origin, ACCEPT-ENCODING"])
def test_vary_says_it_once(vary: str) -> None:
    assert answered(build(), asking(""), [JSON, ("vary", vary)])[0].fields == [JSON, ("vary", vary)]


@pytest.mark.parametrize(
    "kind",
    ["text/html; charset=utf-8", "TEXT/CSS", "application/problem+json", "application/xml", "image/svg+xml",
     "application/javascript", "application/wasm"],
)  # fmt: skip
def test_text_json_xml_js_svg_and_wasm_are_coded_s20_1(kind: str) -> None:
    assert answered(build(), asking(), [("content-type", kind)])[1]


@pytest.mark.parametrize(
    ("fields", "status", "length"),
    [
        ([("content-type", "text/event-stream")], 200, CHUNKED),
        ([("content-type", "application/grpc")], 200, CHUNKED),
        ([("content-type", "image/png")], 200, 5000),
        ([("content-type", "application/jsonx")], 200, 5000),
        ([], 200, 5000),
        ([JSON, ("content-encoding", "br")], 200, 5000),
        ([JSON, ("cache-control", "private, No-Transform")], 200, 5000),
        ([JSON, ("content-range", "bytes 0-1/2")], 200, 5000),
        ([JSON], 206, 5000),
        ([JSON], 204, NO_BODY),
        ([JSON], 200, NO_BODY),
        ([JSON], 200, 1023),
        ([JSON], 101, UNTIL_CLOSE),
    ],
)
def test_what_is_not_coded_s20_2(fields: Fields, status: int, length: int) -> None:
    head, coded = answered(build(), asking(), fields, status=status, length=length)
    assert (coded, head.body_length) == (False, length)
    assert [f for f in head.fields if f != VARY] == fields


def test_a_304_varies_as_the_200_would() -> None:
    assert answered(build(), asking(), [], status=304, length=NO_BODY)[0].fields == [VARY]


def test_heads_of_head_secret_routes_and_own_answers_are_left_alone() -> None:
    assert not answered(build(), asking(method="HEAD"))[1]
    assert answered(build(secret=True), asking())[0].fields == [JSON]
    own = asking()
    own.upstream_status = 0
    assert answered(build(), own)[0].fields == [JSON]


def test_an_answer_that_another_filter_replaces_is_sent_as_it_is() -> None:
    filter, x = build(), asking()
    head = ResponseHead(200, "", [JSON], 5000)
    filter.on_response_head(x, head)
    assert head.get("content-encoding") is None


@pytest.mark.parametrize(("held", "coded"), [(0, False), (1023, False), (1024, True)])
def test_an_answer_that_another_filter_held_is_as_long_as_that_filter_made_it(held: int, coded: bool) -> None:
    filter, x = build(), asking()
    head = ResponseHead(200, "", [JSON], CHUNKED)
    filter.on_response_head(x, head)
    head.body_length = held
    assert filter.wants_chunks(x) is coded
    assert (head.get("content-encoding") is not None) is coded


def test_other_codings_are_refused_at_config_time() -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"codings": ["deflate"]})
    with pytest.raises(ValidationError):
        Config.model_validate({"codings": []})
