"""The body of a Responses call. The tables are in ``tests/dialects/test_openai_responses.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import ChatRequest, Extra, Output, State, Thinking, Tool, ToolChoice
from tidegate.wire.json_object import WrongShape
from tidegate.wire.response_item_writer import INSTRUCTIONS
from tidegate.wire.response_request import read_response_request, read_tool


def read(**more: Any) -> ChatRequest:
    return read_response_request(json.dumps({"model": "m", **more}).encode())


def test_short_and_default_forms_that_were_said_are_remembered_with_an_empty_value() -> None:
    request = read(input="a", stream=False, background=False, user="u", conversation={"id": "c"}, tool_choice="auto",
                   text={"format": {"type": "text"}})  # fmt: skip
    assert request.extra is not None
    assert sorted(request.extra.members) == [
        (name, b"") for name in ("background", "conversation", "input", "stream", "text.format", "tool_choice", "user")
    ]
    assert request.state == State(conversation="c")


def test_instructions_are_the_first_system_turn() -> None:
    first = read(instructions="be", input=[{"role": "system", "content": "x"}]).messages
    assert [message.role for message in first] == ["system", "system"]
    assert first[0].extra == INSTRUCTIONS and first[1].extra == Extra("openai_responses")


def test_settings_of_text_and_reasoning() -> None:
    request = read(text={"verbosity": "low", "x": 1, "format": {"type": "json_object"}}, reasoning={"summary": "auto"})
    assert (request.sampling.verbosity, request.output) == ("low", Output("json"))
    assert request.extra == Extra("openai_responses", (("text.x", b"1"),))
    assert request.thinking == Thinking(show="summary")
    assert read(reasoning={"effort": "none"}).thinking == Thinking(mode="off")
    assert read(text={"format": {"type": "grammar"}}).output is None


def test_hosted_choices_and_tools_are_kept_whole() -> None:
    request = read(tools=[{"type": "web_search", "x": 1}], tool_choice={"type": "web_search"})
    assert request.tools == (
        Tool(name="web_search", kind="server", dialect="openai_responses", value=b'{"type": "web_search", "x": 1}'),
    )
    assert request.tool_choice == ToolChoice()
    assert request.extra == Extra("openai_responses", (("tool_choice", b'{"type": "web_search"}'),))
    mixed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "x"}]}
    assert read(tool_choice=mixed).tool_choice == ToolChoice()


def test_a_function_is_flat_here() -> None:
    tool = read_tool(b'{"type":"function","name":"f","description":null,"parameters":null,"strict":null,"x":1}', "t")
    assert tool == Tool(name="f", extra=Extra("openai_responses", (("x", b"1"),)))


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"text": 3}, "text"),
        ({"reasoning": "high"}, "reasoning"),
        ({"include": 3}, "include"),
        ({"input": {"a": 1}}, "input"),
    ],
)
def test_wrong_shapes_name_their_path(more: dict[str, Any], path: str) -> None:
    with pytest.raises(WrongShape) as caught:
        read(**more)
    assert caught.value.path == path
