"""A conversation that ends with the assistant's own words (LLM 5.2)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import ChatRequest, Extra, Message, Text, ToolCall
from tidegate.rules.chat_prefill import is_prefilled

SAID = Message("assistant", (Text(text="a"),))


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (ChatRequest("m", (SAID,)), True),
        (ChatRequest("m", (SAID,), extra=Extra("anthropic_messages")), True),
        (ChatRequest("m", (SAID,), extra=Extra("openai_chat")), False),
        (ChatRequest("m", (Message("assistant", (Text(text="a"), ToolCall(id="c", name="f"))),)), False),
        (ChatRequest("m", (SAID, Message("user", (Text(text="b"),)))), False),
        (ChatRequest("m"), False),
    ],
)
def test_only_a_last_turn_from_elsewhere_without_calls_is(request_: ChatRequest, found: bool) -> None:
    assert is_prefilled(request_, "openai_chat") is found
