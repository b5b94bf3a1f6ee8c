"""Gemini's embeddings <-> the neutral form (LLM 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.dialects.gemini_embeddings import GeminiEmbeddings
from tidegate.exchange.chat import Extra, Usage
from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsAnswer, EmbeddingsRequest, Vector
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints, Voice

DIALECT = GeminiEmbeddings()
VOICE = Voice(vendor="gemini", model="e-1", addressed=("gemini",))
HINTS = Hints(model="e-1")


def read(body: dict[str, Any]) -> EmbeddingsRequest:
    return DIALECT.read_request(json.dumps(body).encode(), HINTS)


def one(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "models/e-1", "content": {"parts": [{"text": text}]}, **more}


def test_a_batch_both_ways() -> None:
    wishes = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 256}
    body = {"requests": [one("a🌊", title="T", **wishes), one("b", **wishes)]}
    request = read(body)
    assert request == EmbeddingsRequest(
        "e-1", (EmbeddingInput(text="a🌊", title="T"), EmbeddingInput(text="b")), dimensions=256, purpose="query"
    )
    out = DIALECT.write_request(request, VOICE)
    assert (json.loads(out.body), out.losses) == (body, ())


def test_one_input_is_asked_as_a_batch_and_answered_alone() -> None:
    request = read({"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "task_type": "CLUSTERING",
                    "output_dimensionality": 8, "autoTruncate": False})  # fmt: skip
    assert request == EmbeddingsRequest(
        "e-1", (EmbeddingInput(text="ab"),), dimensions=8, purpose="clustering", truncate=False, single=True
    )
    answer = DIALECT.read_answer(b'{"embeddings":[{"values":[0.10, -2e-3]}]}', VOICE, {})
    assert answer == EmbeddingsAnswer("e-1", vectors=(Vector(0, b"[0.10, -2e-3]"),))
    assert DIALECT.write_answer(answer, request, 0).body == b'{"embedding":{"values":[0.10, -2e-3]}}'
    assert DIALECT.write_answer(answer, EmbeddingsRequest("e"), 0).body == (
        b'{"embeddings":[{"values":[0.10, -2e-3]}]}'
    )  # fmt: skip


def test_vectors_of_other_formats_and_usage_reach_the_client() -> None:
    answer = EmbeddingsAnswer(vectors=(Vector(0, b"AACAPwAAAMA=", "base64"),), usage=Usage(input=7))
    written = json.loads(DIALECT.write_answer(answer, EmbeddingsRequest("e"), 0).body)
    assert written == {"embeddings": [{"values": [1.0, -2.0]}], "usageMetadata": {"promptTokenCount": 7}}
    assert DIALECT.usage_of_answer(json.dumps(written).encode(), VOICE) == Usage(input=7)
    assert DIALECT.usage_of_answer(b"{", VOICE) is None
    with pytest.raises(Fault, match="bad_upstream"):
        DIALECT.write_answer(EmbeddingsAnswer(vectors=(Vector(0, b"AAA=", "base64"),)), EmbeddingsRequest("e"), 0)


def test_what_cannot_be_said_is_named() -> None:
    request = EmbeddingsRequest(
        "e", (EmbeddingInput("tokens", tokens=b"[1]"), EmbeddingInput("image", image="u"), EmbeddingInput(text="a")),
        dimensions=3, purpose="similarity", user="u", extra=Extra("openai_embeddings", (("odd", b"1"),)),
        options={"gemini": b'{"future":1}'},
    )  # fmt: skip
    out = DIALECT.write_request(request, Voice(model="e-1", addressed=("gemini",), lacks=frozenset(("dimensions",))))
    assert json.loads(out.body) == {"requests": [one("a", taskType="SEMANTIC_SIMILARITY")], "future": 1}
    assert out.losses == ("dimensions", "user", "odd", "input[0].tokens", "input[1].image")
    assert DIALECT.write_request(request, Voice(lacks=frozenset(("purpose",)))).losses[0] == "purpose"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"requests": []}, "requests must be an array of 1 to 100000 requests."),
        ({"requests": 1}, "requests must be an array."),
        ({"requests": [one("a", taskType="CLUSTERING"), one("b")]},
         "requests must be of one taskType and one outputDimensionality."),
        ({"requests": [{"content": {"parts": [{"inlineData": {}}]}}]},
         "requests[0].content.parts[0] must be a text."),
        ({}, "content must be an object."),
    ],
)  # fmt: skip
def test_a_wrong_shape_names_its_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault) as caught:
        read(body)
    assert (caught.value.code, caught.value.detail) == ("invalid_request", words)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embedding":{}}', b'{"embeddings":[{"values":7}]}'])
def test_what_is_no_answer_is_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_answer(body, VOICE, {})
    assert caught.value.code == "bad_upstream"


def test_paths_and_faults() -> None:
    assert DIALECT.path("/v1beta/models/{model}:{action}", "e/1", False) == "/v1beta/models/e%2F1:batchEmbedContents"
    assert DIALECT.splice(b"{}", "x", True) == b"{}"
    assert DIALECT.write_fault(Fault("rate_limited"), "").status == 429
    assert DIALECT.read_fault(404, {}, b'{"error":{"message":"m"}}', 0.0).code == "model_not_found"


def test_a_model_that_another_name_stands_for_is_renamed_in_the_body_too() -> None:
    """The vendor refuses a batch whose requests name another model than its path."""
    batch = b'{"requests": [{"model": "models/mine", "content": {"parts": []}}, {"content": {}}], "x": 1}'
    assert DIALECT.splice(batch, "e-1", False) == (
        b'{"requests": [{"model": "models/e-1", "content": {"parts": []}},{"content": {}}], "x": 1}'
    )
    assert DIALECT.splice(b'{"model":"m","content":{}}', "e", False) == b'{"model":"models/e","content":{}}'
    assert DIALECT.splice(b'{"requests":[1],"model":null}', "e", False) == b'{"requests":[1],"model":"models/e"}'


def test_the_official_types_accept_answers() -> None:
    types = pytest.importorskip("google.genai.types", reason="the official SDK is not installed")
    answer = EmbeddingsAnswer(vectors=(Vector(0, b"[1.5]"),))
    body = DIALECT.write_answer(answer, EmbeddingsRequest("e"), 0).body
    assert types.EmbedContentResponse.model_validate_json(body).embeddings[0].values == [1.5]
