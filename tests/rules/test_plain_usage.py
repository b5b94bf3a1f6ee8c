"""Usage of surfaces without a dialect (LLM 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import Usage
from tidegate.rules.plain_usage import usage_of

JSON = "application/json"


@pytest.mark.parametrize(
    ("kind", "answer", "wanted"),
    [
        ("embeddings", {"usage": {"prompt_tokens": 7, "total_tokens": 7}}, Usage(input=7)),
        ("embeddings", {"usage": {"total_tokens": 9}}, Usage(input=9)),
        ("embeddings", {"meta": {"billed_units": {"input_tokens": 3}}}, Usage(input=3)),
        ("rerank", {"meta": {"billed_units": {"search_units": 2}}}, Usage(searches=2)),
        ("transcriptions", {"text": "", "usage": {"type": "duration", "seconds": 2.5}}, Usage(ms_in=2500)),
        ("transcriptions", {"text": "", "duration": 1}, Usage(ms_in=1000)),
        ("images", {"data": [{}, {}]}, Usage(images=2)),
        (
            "images",
            {
                "data": [{}],
                "usage": {"input_tokens": 5, "output_tokens": 9, "input_tokens_details": {"image_tokens": 2}},
            },
            Usage(input=5, output=9, image_in=2, image_out=9, images=1),
        ),
        ("embeddings", {"usage": {"prompt_tokens": -7}}, None),
        ("embeddings", {"usage": {"prompt_tokens": True}}, None),
        ("embeddings", {"usage": []}, None),
    ],
)
def test_what_an_answer_tells_is_read_and_nothing_else_is_believed(
    kind: str, answer: Any, wanted: Usage | None
) -> None:
    assert usage_of(kind, {}, json.dumps(answer).encode(), JSON) == wanted


def test_speech_is_billed_by_its_text_and_moderation_by_the_request() -> None:
    assert usage_of("speech", {"input": "hällo"}, b"\xff", "audio/mpeg") == Usage(characters=5)
    assert usage_of("speech", {}, b"", "audio/mpeg") is None
    assert usage_of("moderations", {}, b"", JSON) == Usage()


@pytest.mark.parametrize(
    ("body", "kind"), [(b"no", JSON), (b"[]", JSON), (b'{"usage":{"prompt_tokens":1}}', "text/plain")]
)
def test_what_is_no_json_object_tells_nothing(body: bytes, kind: str) -> None:
    assert usage_of("embeddings", {}, body, kind) is None
