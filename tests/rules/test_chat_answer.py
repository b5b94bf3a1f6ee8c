"""A whole chat completion. The tables are in ``tests/dialects/test_openai_chat.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import Choice, Extra, Text, ToolCall, Usage
from tidegate.exchange.fault import Fault
from tidegate.rules.chat_answer import answer_usage, choice_object, read_chat_answer
from tidegate.wire.json_object import WrongShape


def read(*choices: dict[str, Any], **more: Any) -> Any:
    return read_chat_answer(json.dumps({"choices": choices, **more}).encode(), "v", {}, {})


def test_an_index_that_is_missing_is_its_place() -> None:
    answer = read({"message": {"content": "a"}}, {"index": None, "message": {"content": "b"}})
    assert [choice.index for choice in answer.choices] == [0, 1]


def test_unknown_members_stay_where_they_were() -> None:
    choice = read({"message": {"content": "a", "x": 1}, "y": 2, "finish_reason": "eos"}).choices[0]
    assert choice.extra == Extra("openai_chat", (("y", b"2"), ("finish_reason", b'"eos"'), ("message.x", b"1")))
    told = choice_object(choice, False, [])
    assert (bytes(told["finish_reason"]), bytes(told["message"]["x"])) == (b'"eos"', b"1")


def test_a_length_that_cut_a_call_stays_a_length() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": "{"}}
    assert read({"message": {"tool_calls": [call]}, "finish_reason": "length"}).choices[0].stop == "length"
    assert read({"message": {"tool_calls": [call]}, "finish_reason": None}).choices[0].stop == "tool_calls"


def test_a_model_that_broke_off_is_a_fault() -> None:
    with pytest.raises(Fault) as caught:
        read({"message": {"content": "a"}, "finish_reason": "error"})
    assert (caught.value.code, caught.value.reason) == ("bad_upstream", "model_error")


def test_no_choices_are_no_answer() -> None:
    with pytest.raises(WrongShape):
        read()


def test_losses_name_the_choice() -> None:
    losses: list[str] = []
    choice_object(Choice(2, (Text(text="a"),), "pause"), False, losses)
    assert losses == ["pause"]
    legacy = choice_object(Choice(0, (ToolCall(id="c", name="f"),), "tool_calls"), True, losses)
    assert legacy["message"]["function_call"] == {"name": "f", "arguments": "{}"}


def test_usage_alone() -> None:
    body = b'{"choices":[{"x":[1]}],"usage":{"prompt_tokens":1,"completion_tokens":2},"service_tier":"default"}'
    assert answer_usage(body, {}) == Usage(input=1, output=2, tier="standard")
    assert [answer_usage(raw, {}) for raw in (b"", b"[]", b'{"usage":null}', b"{}")] == [None] * 4
