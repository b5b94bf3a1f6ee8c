"""Ollama's embeddings, on both sides (LLM 2, 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.dialects.ollama_embeddings import OllamaEmbeddings
from tidegate.exchange.chat import Usage
from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsAnswer, EmbeddingsRequest, Vector
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints, Voice

DIALECT = OllamaEmbeddings()
VOICE = Voice(vendor="ollama", model="nomic", addressed=("ollama",))


def read(**members: Any) -> EmbeddingsRequest:
    return DIALECT.read_request(json.dumps({"model": "m", **members}).encode(), Hints())


@pytest.mark.parametrize("given", ["a", ["a"], ["a", "b"]])
def test_a_request_is_read_and_written_back_the_same(given: Any) -> None:
    body = {"input": given, "dimensions": 8, "truncate": False, "keep_alive": "5m", "options": {"num_ctx": 9}}
    request = read(**body)
    assert (request.single, request.dimensions, request.truncate) == (given == "a", 8, False)
    out = DIALECT.write_request(request, VOICE)
    assert (json.loads(out.body), out.losses) == ({"model": "nomic", **body}, ())


def test_what_cannot_be_said_is_named() -> None:
    inputs = (EmbeddingInput(text="a"), EmbeddingInput(kind="image", image="data:x"))
    asked = EmbeddingsRequest("m", inputs, purpose="query", format="int8", user="u")
    out = DIALECT.write_request(asked, VOICE)
    assert json.loads(out.body) == {"model": "nomic", "input": ["a"]}
    assert out.losses == ("input[1].image", "format", "purpose", "user")


def test_base64_is_no_loss_for_it_is_made_of_the_numbers() -> None:
    assert (
        DIALECT.write_request(EmbeddingsRequest("m", (EmbeddingInput(text="a"),), format="base64"), VOICE).losses == ()
    )


@pytest.mark.parametrize("members", [{}, {"input": 3}, {"input": [1]}, {"input": "a", "truncate": 1}])
def test_a_request_of_another_shape_is_the_clients_fault(members: dict[str, Any]) -> None:
    with pytest.raises(Fault) as raised:
        read(**members)
    assert (raised.value.code, raised.value.side) == ("invalid_request", "client")


def test_an_answer_is_read_with_its_usage() -> None:
    body = b'{"model":"nomic:v1","embeddings":[[0.10,1],[2]],"prompt_eval_count":4}'
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer == EmbeddingsAnswer("nomic:v1", "", (Vector(0, b"[0.10,1]"), Vector(1, b"[2]")), Usage(input=4))
    assert DIALECT.usage_of_answer(body, VOICE) == Usage(input=4)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"embeddings":[1]}', b'{"error":"x"}', b"[]"])
def test_an_answer_of_another_shape_is_the_providers_fault(body: bytes) -> None:
    with pytest.raises(Fault) as raised:
        DIALECT.read_answer(body, VOICE, {})
    assert raised.value.code == "bad_upstream"


def test_an_answer_is_written_as_numbers() -> None:
    answer = EmbeddingsAnswer("", "", (Vector(0, b"AACAPw==", "base64"),), Usage(input=3))
    made = DIALECT.write_answer(answer, EmbeddingsRequest("m"), 0)
    assert made.body == b'{"model":"m","embeddings":[[1.0]],"prompt_eval_count":3}'


def test_faults_are_told_in_ollamas_words() -> None:
    made = DIALECT.write_fault(Fault("invalid_request", "bad", side="client"), "r1")
    assert (made.body, made.status, made.fields) == (b'{"error":"bad"}', 400, (("x-request-id", "r1"),))
    assert DIALECT.read_fault(404, {}, b'{"error":"model not found"}', 0.0).code == "model_not_found"


def test_the_models_name_is_replaced_in_place() -> None:
    assert DIALECT.splice(b'{"input":"a","model":"m" }', "up", False) == b'{"input":"a","model":"up" }'
    assert DIALECT.path("/api/embed", "m", False) == "/api/embed"
    assert DIALECT.usage_of_answer(b"{", VOICE) is None
