"""The body of a chat completion call. The tables are in ``tests/dialects/test_openai_chat.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import ChatRequest, Extra, Output, Tool, ToolChoice
from tidegate.wire.chat_request import optional_flag, optional_text, read_chat_request
from tidegate.wire.json_object import WrongShape


def read(**more: Any) -> ChatRequest:
    return read_chat_request(json.dumps({"model": "m", "messages": [], **more}).encode())


def test_spellings_and_defaults_that_were_said_are_remembered_with_an_empty_value() -> None:
    request = read(
        max_tokens=5, user="u", stop="x", n=1, stream=False, tool_choice="auto", response_format={"type": "text"}
    )
    assert request.extra is not None
    assert sorted(request.extra.members) == [
        (name, b"") for name in ("max_tokens", "n", "response_format", "stop", "stream", "tool_choice", "user")
    ]
    assert read(stream=True, max_completion_tokens=5, stop=["x"]).extra == Extra("openai_chat")


def test_the_newer_spelling_wins() -> None:
    assert read(max_tokens=5, max_completion_tokens=6).max_output == 6
    assert read(user="a", safety_identifier="b").user == "b"


def test_nulls_are_told_apart_from_what_is_missing() -> None:
    request = read(temperature=None, tools=None)
    assert request.cleared == ("temperature", "tools")
    assert request.sampling.temperature is None and request.tools == ()


def test_functions_of_old_are_tools_and_their_choice_too() -> None:
    request = read(functions=[{"name": "f", "parameters": {}}], function_call={"name": "f"})
    assert request.tools == (Tool(name="f", schema=b"{}"),)
    assert request.tool_choice == ToolChoice("one", ("f",))
    assert read(functions=[], function_call="none").tool_choice == ToolChoice("none")


def test_unknown_members_of_tools_and_formats_stay() -> None:
    tool = {"type": "function", "cache_control": {"type": "ephemeral"}, "function": {"name": "f", "x": 1}}
    assert read(tools=[tool]).tools[0].extra == Extra(
        "openai_chat", (("function.x", b"1"), ("cache_control", b'{"type": "ephemeral"}'))
    )
    odd = read(response_format={"type": "regex", "pattern": "a"})
    assert odd.output is None and odd.extra is not None and odd.extra.members[0][0] == "response_format"
    assert read(modalities=["text"]).output == Output(modalities=("text",))


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"stop": [1]}, "stop"),
        ({"metadata": []}, "metadata"),
        ({"provider_options": 3}, "provider_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_wrong_shapes_name_their_path(more: dict[str, Any], path: str) -> None:
    with pytest.raises(WrongShape) as caught:
        read(**more)
    assert caught.value.path == path


def test_what_may_be_missing() -> None:
    assert (optional_text(None), optional_text(b"null"), optional_text(b'"a"')) == ("", "", "a")
    assert (optional_flag(None), optional_flag(b"null"), optional_flag(b"true")) == (None, None, True)
