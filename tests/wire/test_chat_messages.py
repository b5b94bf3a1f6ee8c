"""Messages of the chat dialect, read (LLM 5.2, 5.4). The tables are in ``tests/dialects/test_openai_chat.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import (
    Audio,
    Citation,
    Extra,
    Message,
    Opaque,
    Origin,
    Part,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from tidegate.wire.chat_messages import TRANSCRIPT, assistant_parts, read_citation, read_message
from tidegate.wire.json_object import WrongShape, members


def read(body: dict[str, Any]) -> Message:
    return read_message(json.dumps(body).encode(), "m")


def parts(body: dict[str, Any], vendor: str = "v", aliases: dict[str, str] | None = None) -> tuple[Part, ...]:
    return assistant_parts(members(json.dumps(body).encode()), "m", vendor, aliases or {})


def test_a_message_remembers_its_bytes_and_whose_they_are() -> None:
    raw = b'{"role":"developer", "content":"a", "x":1}'
    assert read_message(raw, "m") == Message(
        "system", (Text(text="a"),), extra=Extra("openai_chat", (("x", b"1"), ("role=developer", b""))), raw=raw
    )


def test_functions_of_old_answer_calls_of_old() -> None:
    call = read({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}).parts[0]
    result = read({"role": "function", "name": "f", "content": "1"}).parts[0]
    assert isinstance(call, ToolCall) and isinstance(result, ToolResult)
    assert call.id == result.call_id == "call_f" and result.name == "f"


def test_the_order_of_an_answer_is_thoughts_text_refusal_audio_images_calls() -> None:
    found = parts({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}], "refusal": "no",
                   "images": [{"type": "image_url", "image_url": {"url": "u"}}], "content": "t",
                   "audio": {"id": "a", "data": "AA", "transcript": "hi"}, "reasoning": "r"})  # fmt: skip
    assert [type(part).__name__ for part in found] == [
        "Thought",
        "Text",
        "Refusal",
        "Audio",
        "Text",
        "Image",
        "ToolCall",
    ]
    assert found[3] == Audio(data=b"AA", extra=Extra("openai_chat", (("id", b'"a"'),)))
    assert found[4] == Text(text="hi", extra=TRANSCRIPT)
    assert isinstance(found[6], ToolCall) and found[6].arguments == '{"a": 1}'


def test_details_win_over_the_plain_text_of_thoughts() -> None:
    details = [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.encrypted", "data": "z"}]
    assert parts({"reasoning": "a", "reasoning_details": details}) == (
        Thought(text="a", origin=Origin("v")),
        SealedThought(data=b"z", origin=Origin("v")),
    )
    seal = [{"type": "reasoning.text", "signature": "s"}]
    assert parts({"reasoning_content": "a", "reasoning_details": seal}) == (
        Thought(text="a", signature=b"s", origin=Origin("v")),
    )


def test_aliases_are_names_again_and_unknown_calls_opaque() -> None:
    raw = {"id": "x", "type": "computer", "computer": {}}
    found = parts(
        {"tool_calls": [{"id": "c", "function": {"name": "a_b", "arguments": ""}}, raw]}, aliases={"a_b": "a b"}
    )
    assert found[0] == ToolCall(id="c", name="a b", arguments="{}", origin=Origin("v"))
    assert found[1] == Opaque(dialect="openai_chat", kind="computer", value=json.dumps(raw).encode())


def test_citations() -> None:
    raw = b'{"type":"url_citation","url_citation":{"url":"u","title":"t","start_index":1,"end_index":2,"x":3}}'
    assert read_citation(raw, "m") == Citation("u", "t", "", 1, 2, Extra("openai_chat", (("x", b"3"),)))
    other = b'{"type":"file","n":1}'
    assert read_citation(other, "m") == Citation(extra=Extra("openai_chat", (("type", b'"file"'), ("n", b"1"))))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "m.role"),
        ({"role": "assistant", "tool_calls": 3}, "m.tool_calls"),
        ({"role": "assistant", "tool_calls": [{"type": "function"}]}, "m.tool_calls[0].function"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "m.tool_calls[0].function.name"),
        ({"role": "user", "name": 3, "content": ""}, "m.name"),
        ({"role": "assistant", "reasoning_details": [3]}, "m.reasoning_details[0]"),
    ],
)
def test_wrong_shapes_name_their_path(body: dict[str, Any], path: str) -> None:
    with pytest.raises(WrongShape) as caught:
        read(body)
    assert caught.value.path == path
