"""Embeddings in both directions (LLM 2, 6)."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dialects.openai_embeddings import OpenaiEmbeddings
from tidegate.exchange.chat import Extra, Usage
from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsAnswer, EmbeddingsRequest, Vector
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints, Voice

EMBED = OpenaiEmbeddings()
VOICE = Voice(vendor="openai", model="e", addressed=("openai_embeddings",))
VOYAGE = Voice(
    vendor="voyage", model="v", accepts=frozenset({"input_type", "truncation"}), lacks=frozenset({"dimensions"})
)


def read(body: dict[str, Any]) -> EmbeddingsRequest:
    return EMBED.read_request(json.dumps(body).encode(), Hints())


SAME = {
    "text": {"model": "e", "input": "hi"},
    "texts": {"model": "e", "input": ["hi", "é"], "encoding_format": "base64", "dimensions": 256, "user": "u"},
    "tokens": {"model": "e", "input": [1, 2]},
    "lists of tokens": {"model": "e", "input": [[1, 2], [3]]},
    "unknown": {"model": "e", "input": [], "x": 12345678901234567890, "y": {"a": 1.50}},
    "voyage": {"model": "e", "input": ["x"], "input_type": "query", "truncation": True},
    "jina": {"model": "e", "input": ["x"], "task": "retrieval.passage"},
}


@pytest.mark.parametrize("name", [name for name in SAME if name not in ("voyage", "jina")])
def test_a_request_read_and_written_in_the_same_dialect_is_equal(name: str) -> None:
    outgoing = EMBED.write_request(read(SAME[name]), VOICE)
    assert (json.loads(outgoing.body), outgoing.losses) == (SAME[name], ())


def test_what_a_request_means_6() -> None:
    assert read(SAME["texts"]) == EmbeddingsRequest(
        "e",
        (EmbeddingInput(text="hi"), EmbeddingInput(text="é")),
        256,
        "",
        "base64",
        None,
        "u",
        extra=Extra("openai_embeddings"),
    )
    assert read(SAME["tokens"]).inputs == (EmbeddingInput(kind="tokens", tokens=b"[1, 2]"),)
    assert read(SAME["lists of tokens"]).inputs[1] == EmbeddingInput(kind="tokens", tokens=b"[3]")
    assert (read(SAME["voyage"]).purpose, read(SAME["jina"]).purpose) == ("query", "document")
    assert json.loads(EMBED.write_request(read(SAME["jina"]), VOICE).body)["task"] == "retrieval.passage"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"model":"m"}', "input must be an array."),
        (b'{"model":"m","input":[["a"]]}', "input[0] must be a text or token ids."),
        (b'{"model":"m","input":"x","encoding_format":"hex"}', "encoding_format must be float or base64."),
        (b'{"input":"x"}', "model must be a string."),
    ],
)
def test_a_wrong_shape_is_the_clients_fault(body: bytes, sentence: str) -> None:
    with pytest.raises(Fault) as caught:
        EMBED.read_request(body, Hints())
    assert (caught.value.code, caught.value.side, caught.value.detail) == ("invalid_request", "client", sentence)


def test_presets_name_purpose_and_truncation_and_others_lose_them() -> None:
    request = EmbeddingsRequest(
        "m",
        (EmbeddingInput(text="x"), EmbeddingInput(kind="image", image="u")),
        5,
        "query",
        "int8",
        True,
        extra=Extra("cohere_chat", (("embedding_types", b"[]"),)),
    )
    told = EMBED.write_request(request, VOYAGE)
    assert json.loads(told.body) == {"model": "v", "input": ["x"], "input_type": "query", "truncation": True}
    assert told.losses == ("input[1].image", "format", "dimensions", "embedding_types")
    plain = EMBED.write_request(request, VOICE)
    assert json.loads(plain.body) == {"model": "e", "input": ["x"], "dimensions": 5}
    assert plain.losses == ("input[1].image", "format", "purpose", "truncate", "embedding_types")


def answer(*vectors: Any, **more: Any) -> bytes:
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return json.dumps(
        {"object": "list", "data": data, "model": "e-2", "usage": {"prompt_tokens": 3, "total_tokens": 3}, **more}
    ).encode()


def test_vectors_pass_as_the_bytes_they_came_in() -> None:
    body = answer([0.1, -1e-9], [1, 2], x_more=1)
    got = EMBED.read_answer(body, VOICE, {})
    assert got.usage == Usage(input=3)
    assert got.vectors[0] == Vector(0, b"[0.1, -1e-09]")
    wrote = EMBED.write_answer(got, read(SAME["text"]), 0)
    assert (json.loads(wrote.body), wrote.losses) == (json.loads(body), ())
    assert b"[0.1, -1e-09]" in wrote.body
    sealed = answer("AACAPw==")
    got = EMBED.read_answer(sealed, VOICE, {})
    assert json.loads(EMBED.write_answer(got, read(SAME["texts"]), 0).body)["data"][0]["embedding"] == "AACAPw=="


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_formats_that_differ_are_counted_exactly(numbers: list[float]) -> None:
    packed = b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    got = EMBED.read_answer(answer(numbers), VOICE, {})
    assert json.loads(EMBED.write_answer(got, read(SAME["texts"]), 0).body)["data"][0]["embedding"] == packed
    got = EMBED.read_answer(answer(packed), VOICE, {})
    assert json.loads(EMBED.write_answer(got, read(SAME["text"]), 0).body)["data"][0]["embedding"] == numbers


def test_vectors_come_in_the_order_of_the_inputs() -> None:
    body = b'{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}],"usage":{"total_tokens":7}}'
    got = EMBED.read_answer(body, VOICE, {})
    assert [vector.value for vector in got.vectors] == [b"[1]", b"[2]"]
    assert got.usage == Usage(input=7)


@pytest.mark.parametrize("body", [b"", b"x", b"{}", b'{"data":[{"embedding":3}]}', b'{"error":{"message":"x"}}'])
def test_an_answer_that_is_none_is_a_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        EMBED.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")


@pytest.mark.parametrize("value", [b"AAA=", b"", b"!"])
def test_a_vector_that_is_no_vector_is_a_bad_upstream(value: bytes) -> None:
    with pytest.raises(Fault) as caught:
        EMBED.write_answer(EmbeddingsAnswer(vectors=(Vector(0, value, "base64"),)), read(SAME["text"]), 0)
    assert caught.value.code == "bad_upstream"


def test_an_answer_of_another_dialect_names_what_is_lost() -> None:
    got = EmbeddingsAnswer("m", "x", (Vector(0, b"[1.5]"),), Usage(input=2), Extra("cohere_chat", (("meta", b"{}"),)))
    wrote = EMBED.write_answer(got, read(SAME["text"]), 0)
    assert json.loads(wrote.body) == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [1.5]}],
        "model": "m",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
    assert wrote.losses == ("meta",)


def test_faults_paths_splices_and_usage() -> None:
    assert EMBED.write_fault(Fault("rate_limited"), "").status == 429
    assert EMBED.read_fault(404, {}, b'{"error":{"code":"model_not_found"}}', 0.0).code == "model_not_found"
    assert EMBED.splice(b'{"input":"a","model":"b"}', "c", True) == b'{"input":"a","model":"c"}'
    assert EMBED.usage_of_answer(answer([1]), VOICE) == Usage(input=3)
    assert EMBED.path("/x/{model}/embed", "a/b", False) == "/x/a%2Fb/embed"


def test_answers_hold_against_the_strict_types_of_the_sdk() -> None:
    types = pytest.importorskip("openai.types", reason="the openai SDK is a dev extra")
    got = EMBED.read_answer(answer([1.5, 2.0]), VOICE, {})
    wrote = EMBED.write_answer(got, read(SAME["text"]), 0)
    assert types.CreateEmbeddingResponse.model_validate_json(wrote.body, strict=True).data[0].embedding == [1.5, 2.0]
