"""Items of the Responses dialect, written. The tables are in ``tests/dialects/test_openai_responses.py``."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    CacheMark,
    Citation,
    Extra,
    File,
    Image,
    Message,
    Origin,
    Refusal,
    SealedThought,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    Video,
)
from tidegate.wire.json_object import encode
from tidegate.wire.response_item_writer import (
    ItemWriter,
    Manner,
    annotation,
    call_item,
    call_seal_item,
    output_part,
    reasoning_item,
    sealed,
)
from tidegate.wire.response_items import read_input


def own(prefix: str, id: str) -> str:
    return id if id.startswith(prefix + "_") else f"{prefix}_<{id}>"


PLAIN = Manner("openai", frozenset(), {}, lambda id: id, own)


def write(*messages: Message, manner: Manner = PLAIN) -> tuple[Any, list[str]]:
    losses: list[str] = []
    return json.loads(encode(ItemWriter(manner, losses).items(enumerate(messages)))), losses


def test_a_turn_of_this_dialect_goes_as_it_came_unless_it_holds_a_foreign_seal() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "zz", "x": 1},
        {"role": "assistant", "content": "a"},
    ]
    (message,) = read_input(json.dumps(items).encode())
    assert write(message) == (items, [])
    assert write(message, manner=PLAIN._replace(vendor="xai")) == (
        [
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "a", "annotations": []}],
            }
        ],
        ["messages[0].thinking"],
    )


def test_text_between_calls_is_a_message_between_items() -> None:
    parts = (Text(text="a"), ToolCall(id="c", name="f"), Refusal(text="no"))
    told, losses = write(Message("assistant", parts))
    assert [item["type"] for item in told] == ["message", "function_call", "message"]
    assert told[2]["content"] == [{"type": "refusal", "refusal": "no"}] and losses == []


def test_parts_and_losses_5_3() -> None:
    parts = (
        Text(text="a", cache=CacheMark(1800)),
        Image(mime="image/png", data=b"aa"),
        File(url="u", title="n", detail="low"),
        File(text="plain"),
        Video(url="v"),
    )
    told, losses = write(Message("user", parts, name="ann", extra=Extra("cohere_chat", (("y", b"1"),))))
    assert told[0]["content"] == [
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
        {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aa"},
        {"type": "input_file", "filename": "n", "detail": "low", "file_url": "u"},
        {"type": "input_text", "text": "plain"},
    ]
    assert losses == ["messages[0].video", "messages[0].name", "messages[0].y"]


def test_results_are_texts_or_parts() -> None:
    told, _ = write(Message("tool", (ToolResult("c", parts=(Text(text="a"), Text(text="b"))),)))
    assert told == [{"type": "function_call_output", "call_id": "c", "output": "ab"}]
    told, _ = write(Message("tool", (ToolResult("c", parts=(Image(url="u"),)),)))
    assert told[0]["output"] == [{"type": "input_image", "detail": "auto", "image_url": "u"}]


def test_output_parts_and_annotations() -> None:
    assert output_part(Text(text="a")) == {"type": "output_text", "text": "a", "annotations": []}
    assert annotation(Citation("u", "t")) == {
        "type": "url_citation",
        "url": "u",
        "title": "t",
        "start_index": 0,
        "end_index": 0,
    }
    kept = Citation(extra=Extra("openai_responses", (("type", b'"file_path"'),)))
    assert encode(annotation(kept)) == b'{"type":"file_path"}'


def test_calls_have_an_id_and_a_status_in_answers_only() -> None:
    call = ToolCall(id="c", name="f", arguments="")
    assert call_item(call, "f", str, None) == {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    assert call_item(call, "f", str, own) == {
        "type": "function_call", "id": "fc_<c>", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed",
    }  # fmt: skip
    custom = ToolCall(id="c", name="g", arguments="x", custom=True)
    assert call_item(custom, "g", str, own) == {
        "type": "custom_tool_call", "id": "ctc_<c>", "call_id": "c", "name": "g", "input": "x",
    }  # fmt: skip


def test_seals_go_bare_to_their_vendor_and_labelled_to_clients() -> None:
    thought = Thought(text="t", signature=b"s", origin=Origin("anthropic"))
    red = SealedThought(data=b"z", origin=Origin("anthropic"), id="x")
    assert (sealed(red, True), sealed(red, False)) == ("tidegate:anthropic:e:z", "z")
    assert sealed(SealedThought(data=b"z", origin=Origin("openai")), True) == "z"
    assert sealed(thought, True) == "tidegate:anthropic:s:s"
    assert reasoning_item([thought], "seed", own) == {
        "type": "reasoning", "id": "rs_<seed>", "summary": [],
        "content": [{"type": "reasoning_text", "text": "t"}], "encrypted_content": "tidegate:anthropic:s:s",
    }  # fmt: skip
    call = ToolCall(id="c", name="f", signature=b"GG", origin=Origin("gemini"))
    assert call_seal_item(call, own)["encrypted_content"] == "tidegate:gemini:c:GG:c"
