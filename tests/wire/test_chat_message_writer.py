"""Messages of the chat dialect, written. The tables are in ``tests/dialects/test_openai_chat.py``."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    Audio,
    Citation,
    Extra,
    Image,
    Message,
    Opaque,
    Origin,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from tidegate.wire.chat_message_writer import Manner, MessageWriter, answer_message, citation_object
from tidegate.wire.chat_messages import TRANSCRIPT, read_message
from tidegate.wire.json_object import encode

PLAIN = Manner("v", frozenset(), {}, "", "never", "prompt_cache_breakpoint", {}, lambda id: id)


def write(*messages: Message, manner: Manner = PLAIN, marks: int = 0) -> tuple[Any, list[str]]:
    losses: list[str] = []
    return json.loads(encode(MessageWriter(manner, losses, marks).messages(messages))), losses


def test_a_message_of_this_dialect_goes_as_it_came_while_nothing_must_change() -> None:
    raw = b'{"role":"user","content":[{"type":"text","text":"a"}],"big":12345678901234567890123}'
    message = read_message(raw, "m")
    losses: list[str] = []
    assert encode(MessageWriter(PLAIN, losses, 0).messages((message,))) == b"[" + raw + b"]"
    renaming = PLAIN._replace(rename={"system": "developer"})
    assert encode(MessageWriter(renaming, losses, 0).messages((message,))) == (
        b'[{"role":"user","content":"a","big":12345678901234567890123}]'
    )


def test_each_result_of_a_tool_is_a_message_of_its_own() -> None:
    turn = Message("tool", (ToolResult("a", parts=(Text(text="1"),)), ToolResult("b"), Text(text="and you?")))
    assert write(turn) == (
        [
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            {"role": "user", "content": "and you?"},
        ],
        [],
    )


def test_thoughts_go_back_as_their_vendor_wants_them_5_6() -> None:
    call = ToolCall(id="c", name="f")
    own = Thought(text="a", origin=Origin("v"))
    sealed = SealedThought(data=b"z", origin=Origin("v"))
    foreign = Thought(text="b", origin=Origin("w"))
    turns = PLAIN._replace(thoughts="reasoning_content", replay="tool_turns")
    with_call, losses = write(Message("assistant", (own, call)), manner=turns)
    assert with_call[0]["reasoning_content"] == "a" and losses == []
    without, losses = write(Message("assistant", (own, Text(text="t"))), manner=turns)
    assert without == [{"role": "assistant", "content": "t"}] and losses == []
    always = turns._replace(replay="always")
    told, losses = write(Message("assistant", (own, sealed, foreign)), manner=always)
    assert [entry["type"] for entry in told[0]["reasoning_details"]] == ["reasoning.text", "reasoning.encrypted"]
    assert losses == ["messages[0].thinking"]


def test_names_ids_and_extras_as_the_target_takes_them() -> None:
    manner = PLAIN._replace(lacks=frozenset({"name"}), aliases={"a b": "a_b"}, fit=str.upper)
    told, losses = write(
        Message("user", (Text(text="x"),), name="ann", extra=Extra("cohere_chat", (("y", b"1"),))),
        Message("assistant", (ToolCall(id="c", name="a b"),)),
        manner=manner,
    )
    assert told[0] == {"role": "user", "content": "x"}
    assert told[1]["tool_calls"] == [{"id": "C", "type": "function", "function": {"name": "a_b", "arguments": "{}"}}]
    assert losses == ["messages[0].name", "messages[0].y"]


def test_sound_of_an_earlier_answer_is_named_by_its_id() -> None:
    by_id = Audio(file_id="a1")
    heard = Audio(data=b"AA", extra=Extra("openai_chat", (("id", b'"a2"'),)))
    told, losses = write(
        Message("assistant", (by_id,)), Message("assistant", (heard,)), Message("assistant", (Audio(data=b"A"),))
    )
    assert [message.get("audio") for message in told] == [{"id": "a1"}, {"id": "a2"}, None]
    assert losses == ["messages[2].audio"]


def test_an_answer_for_a_client() -> None:
    losses: list[str] = []
    parts = (
        Thought(text="r", signature=b"s", origin=Origin("anthropic")),
        Text(text="a"),
        Text(text="b"),
        Audio(data=b"AA", extra=Extra("openai_chat", (("id", b'"x"'), ("expires_at", b"5")))),
        Text(text="heard", extra=TRANSCRIPT),
        Image(mime="image/png", data=b"aa"),
        Opaque(dialect="anthropic_messages", kind="server_tool_use", value=b"{}"),
        ToolCall(id="c", name="f", arguments="{}", signature=b"g", origin=Origin("gemini")),
    )
    assert json.loads(encode(answer_message(parts, losses, "choices[0]"))) == {
        "role": "assistant",
        "content": "ab",
        "refusal": None,
        "audio": {"id": "x", "data": "AA", "expires_at": 5, "transcript": "heard"},
        "reasoning_content": "r",
        "reasoning_details": [
            {"type": "reasoning.text", "text": "r", "signature": "s", "format": "anthropic", "index": 0}
        ],
        "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}],
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "g"}},
            }
        ],
    }
    assert losses == ["choices[0].server_tool_use"]


def test_an_annotation_of_another_kind_goes_back_as_it_came() -> None:
    own = Citation(extra=Extra("openai_chat", (("type", b'"file"'), ("n", b"1"))))
    assert encode(citation_object(own)) == b'{"type":"file","n":1}'
    assert citation_object(Citation("u", "t"))["url_citation"] == {
        "url": "u",
        "title": "t",
        "start_index": 0,
        "end_index": 0,
    }
