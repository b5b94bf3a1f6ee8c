"""Ollama's JSON that passes untouched (LLM 4)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Usage
from tidegate.rules.ollama_tap import answer_usage, event_usage, spliced


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'{"message":{"content":"a"},"done":false}', (None, True, False)),
        (b'{"message":{"content":"\\"done\\":true"},"done":false}', (None, True, False)),
        (b'{"message":{"tool_calls":[{"function":{"arguments":{"done":true}}}]},"done":false}', (None, True, False)),
        (b'{"done":true,"eval_count":3}', (Usage(output=3), False, True)),
        (b'{"done": true}', (None, False, True)),
        (b'{"error":"x"}', (None, True, True)),
        (b'{"error":', (None, False, False)),
    ],
)
def test_an_object_of_a_stream(data: bytes, told: tuple[Usage | None, bool, bool]) -> None:
    assert event_usage(data, {}) == told


def test_a_whole_answer() -> None:
    assert answer_usage(b'{"prompt_eval_count":2,"eval_count":-3}', {}) == Usage(input=2)
    assert answer_usage(b'{"eval_count":1,"hits":4}', {"hits": "cache_read"}) == Usage(output=1, cache_read=4)
    assert answer_usage(b"[", {}) is None
    assert answer_usage(b"{}", {}) is None


def test_the_model_alone_is_replaced() -> None:
    assert spliced(b'{"model": "a" ,"x":1.0}', "b") == b'{"model": "b" ,"x":1.0}'
    assert spliced(b"{}", "b") == b'{"model":"b"}'
