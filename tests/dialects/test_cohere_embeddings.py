"""Cohere's embeddings, on both sides (LLM 2, 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tidegate.dialects.cohere_embeddings import CohereEmbeddings
from tidegate.exchange.chat import Extra, Usage
from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsAnswer, EmbeddingsRequest, Vector
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints, Voice

DIALECT = CohereEmbeddings()
VOICE = Voice(vendor="cohere", model="embed-v4.0", addressed=("cohere",))


def read(**members: Any) -> EmbeddingsRequest:
    return DIALECT.read_request(json.dumps({"model": "m", **members}).encode(), Hints())


def written(request: EmbeddingsRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
    out = DIALECT.write_request(request, VOICE)
    return json.loads(out.body), out.losses


def test_a_request_of_texts_is_read_and_written_back_the_same() -> None:
    body = {
        "texts": ["a", "b"], "input_type": "search_query", "embedding_types": ["int8"], "output_dimension": 256,
        "truncate": "NONE", "max_tokens": 9,
    }  # fmt: skip
    request = read(**body)
    assert [one.text for one in request.inputs] == ["a", "b"]
    assert (request.purpose, request.format, request.dimensions, request.truncate) == ("query", "int8", 256, False)
    assert written(request) == ({"model": "embed-v4.0", **body}, ())


def test_pictures_and_mixed_inputs_are_read_and_written() -> None:
    request = read(images=["data:image/png;base64,AA=="], input_type="image")
    assert request.inputs == (EmbeddingInput(kind="image", image="data:image/png;base64,AA=="),)
    assert written(request)[0]["images"] == ["data:image/png;base64,AA=="]
    inputs = [
        {"content": [{"type": "text", "text": "a"}]},
        {"content": [{"type": "image_url", "image_url": {"url": "data:x"}}]},
    ]
    mixed = read(inputs=inputs, input_type="search_document")
    assert [one.kind for one in mixed.inputs] == ["text", "image"]
    assert written(mixed)[0]["inputs"] == inputs


def test_an_unknown_purpose_is_said_as_document_and_lost() -> None:
    request = EmbeddingsRequest("m", (EmbeddingInput(text="a"),), format="base64", user="u")
    body, losses = written(request)
    assert body == {
        "model": "embed-v4.0", "texts": ["a"], "input_type": "search_document", "embedding_types": ["base64"],
    }  # fmt: skip
    assert losses == ("purpose", "user")


@pytest.mark.parametrize(
    ("purpose", "word", "losses"),
    [
        ("query", "search_query", ()), ("classification", "classification", ()), ("clustering", "clustering", ()),
        ("similarity", "clustering", ("purpose",)), ("code", "search_document", ("purpose",)),
    ],
)  # fmt: skip
def test_each_purpose_has_a_word(purpose: Any, word: str, losses: tuple[str, ...]) -> None:
    body, lost = written(EmbeddingsRequest("m", (EmbeddingInput(text="a"),), purpose=purpose))
    assert (body["input_type"], lost) == (word, losses)


def test_what_cannot_be_said_is_named() -> None:
    inputs = (EmbeddingInput(kind="tokens", tokens=b"[1]"), EmbeddingInput(text="a", title="t"))
    extra = Extra("openai_embeddings", (("odd", b"1"),))
    request = EmbeddingsRequest("m", inputs, purpose="query", extra=extra, options={"cohere": b'{"priority":3}'})
    body, losses = written(request)
    assert body["priority"] == 3
    assert losses == ("input[0].tokens", "input[1].title", "odd")


def test_several_types_at_once_pass_as_bytes_only() -> None:
    body, losses = written(read(texts=["a"], input_type="search_query", embedding_types=["float", "int8"]))
    assert (body["embedding_types"], losses) == (["float"], ("embedding_types",))


@pytest.mark.parametrize(
    "members",
    [
        {}, {"texts": "a"}, {"texts": []}, {"texts": ["a"], "input_type": "other"},
        {"texts": ["a"], "embedding_types": ["odd"]}, {"texts": ["a"], "truncate": "MIDDLE"},
        {"inputs": [{"content": []}]}, {"inputs": [{"content": [{"type": "film"}]}]},
    ],
)  # fmt: skip
def test_a_request_of_another_shape_is_the_clients_fault(members: dict[str, Any]) -> None:
    with pytest.raises(Fault) as raised:
        read(**members)
    assert (raised.value.code, raised.value.side) == ("invalid_request", "client")


@pytest.mark.parametrize(
    ("name", "values", "format"),
    [("float", b"[0.5,1]", "float"), ("int8", b"[1,-2]", "int8"), ("base64", b'"AACAPw=="', "base64")],
)
def test_an_answer_is_read_by_its_type(name: str, values: bytes, format: str) -> None:
    body = b'{"id":"i","embeddings":{"%s":[%s]},"meta":{"billed_units":{"input_tokens":7}}}' % (name.encode(), values)
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.vectors == (Vector(0, values.strip(b'"'), format),)  # type: ignore[arg-type]
    assert answer.usage == Usage(input=7) == DIALECT.usage_of_answer(body, VOICE)
    assert (answer.id, answer.model) == ("i", "embed-v4.0")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"embeddings":{}}', b'{"embeddings":{"float":[1]}}', b"[]"])
def test_an_answer_of_another_shape_is_the_providers_fault(body: bytes) -> None:
    with pytest.raises(Fault) as raised:
        DIALECT.read_answer(body, VOICE, {})
    assert raised.value.code == "bad_upstream"


def test_an_answer_is_written_in_the_type_that_was_asked_for() -> None:
    asked = EmbeddingsRequest("m", (EmbeddingInput(text="a"),))
    answer = EmbeddingsAnswer("up", "i", (Vector(0, b"[1.0]"),), Usage(input=3))
    assert json.loads(DIALECT.write_answer(answer, asked, 0).body) == {
        "id": "i", "embeddings": {"float": [[1.0]]}, "texts": ["a"], "response_type": "embeddings_by_type",
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 3}},
    }  # fmt: skip
    packed = json.loads(DIALECT.write_answer(answer, replace(asked, format="base64"), 0).body)
    assert packed["embeddings"] == {"base64": ["AACAPw=="]}


def test_faults_are_told_in_coheres_words() -> None:
    fault = Fault("invalid_request", "bad", side="client")
    assert DIALECT.write_fault(fault, "r1").body == b'{"message":"bad","id":"r1"}'
    assert DIALECT.read_fault(498, {}, b'{"message":"x"}', 0.0).reason == "upstream_auth"
    assert DIALECT.read_fault(429, {}, b'{"message":"slow"}', 0.0).code == "rate_limited"


def test_the_models_name_is_replaced_in_place() -> None:
    assert DIALECT.splice(b'{"texts":["a"],"model":"m" }', "up", False) == b'{"texts":["a"],"model":"up" }'
    assert DIALECT.path("/v2/embed", "m", False) == "/v2/embed"
    assert DIALECT.usage_of_answer(b"{", VOICE) is None
