"""Items of the Responses dialect, read. The tables are in ``tests/dialects/test_openai_responses.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    Citation,
    Extra,
    File,
    Image,
    Opaque,
    Origin,
    Part,
    Refusal,
    SealedThought,
    Text,
    Thought,
    ToolCall,
)
from tidegate.wire.json_object import WrongShape
from tidegate.wire.response_items import read_annotation, read_content, read_input, read_reasoning, unsealed


def turns(*items: dict[str, Any]) -> list[tuple[str, list[str]]]:
    messages = read_input(json.dumps(items).encode())
    return [(message.role, [type(part).__name__ for part in message.parts]) for message in messages]


def test_neighbours_of_one_assistants_turn_are_one_message_with_all_their_bytes() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    said = {"role": "assistant", "content": "a"}
    result = {"type": "function_call_output", "call_id": "c", "output": "1"}
    assert turns(reasoning, said, call, result, call) == [
        ("assistant", ["Thought", "Text", "ToolCall"]),
        ("tool", ["ToolResult"]),
        ("assistant", ["ToolCall"]),
    ]
    message = read_input(json.dumps([reasoning, said]).encode())[0]
    assert json.loads(message.raw) == [reasoning, said]
    assert message.extra == Extra("openai_responses")


TABLE: list[tuple[dict[str, Any], Part]] = [
    ({"type": "input_text", "text": "a"}, Text(text="a")),
    ({"type": "output_text", "text": "a", "annotations": []}, Text(text="a")),
    ({"type": "refusal", "refusal": "no"}, Refusal(text="no")),
    ({"type": "input_image", "file_id": "f", "detail": "auto"}, Image(file_id="f", detail="auto")),
    ({"type": "input_file", "file_url": "u", "filename": "n"}, File(url="u", title="n")),
    ({"type": "input_file", "file_data": "data:a/b;base64,aa"}, File(mime="a/b", data=b"aa")),
    ({"type": "input_audio", "input_audio": {"data": "aa", "format": "wav"}}, Audio(mime="audio/wav", data=b"aa")),
    ({"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
     Text(text="a", cache=CacheMark(43200))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "part"), TABLE)
def test_parts_5_3(body: dict[str, Any], part: Part) -> None:
    assert read_content(json.dumps([body]).encode(), "p") == (part,)


def test_what_nobody_knows_is_opaque() -> None:
    assert read_content(b'[{"type":"x"}]', "p") == (
        Opaque(dialect="openai_responses", kind="x", value=b'{"type":"x"}'),
    )
    assert turns({"type": "computer_call", "id": "c"}) == [("assistant", ["Opaque"])]


def test_seals_say_whose_they_are() -> None:
    assert unsealed("", "i", "") == (None, b"")
    assert unsealed("gAAA", "i", "") == (SealedThought(data=b"gAAA", origin=Origin("openai"), id="i"), b"")
    assert unsealed("gAAA", "i", "xai") == (SealedThought(data=b"gAAA", origin=Origin("xai"), id="i"), b"")
    seal, signature = unsealed("tidegate:anthropic:s:a:b", "i", "")
    assert seal is not None and (seal.origin, signature) == (Origin("anthropic"), b"a:b")
    assert unsealed("tidegate:anthropic:e:zz", "i", "")[0] == SealedThought(
        data=b"zz", origin=Origin("anthropic"), id="i"
    )


def test_reasoning_is_its_summaries_its_texts_and_its_seal() -> None:
    told = {
        "id": b'"rs_1"',
        "summary": b'[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}]',
        "content": b'[{"type":"reasoning_text","text":"c"}]',
        "encrypted_content": b'"tidegate:anthropic:s:sig"',
    }
    origin = Origin("anthropic")
    assert read_reasoning(told, "p", "") == [
        Thought(text="a", summary=True, id="rs_1", origin=origin),
        Thought(text="b", summary=True, id="rs_1", origin=origin),
        Thought(text="c", signature=b"sig", id="rs_1", origin=origin),
    ]
    assert read_reasoning({"id": b'"r"'}, "p", "v") == [Thought(text="", id="r", origin=Origin("v"))]


def test_the_seal_of_a_call_is_on_the_call_again() -> None:
    items = [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "tidegate:gemini:c:GG==:c"},
    ]
    assert read_input(json.dumps(items).encode())[0].parts == (
        ToolCall(id="c", name="f", signature=b"GG==", origin=Origin("gemini")),
    )


def test_annotations() -> None:
    raw = b'{"type":"url_citation","url":"u","title":"t","start_index":1,"end_index":2,"x":1}'
    assert read_annotation(raw, "p") == Citation("u", "t", "", 1, 2, Extra("openai_responses", (("x", b"1"),)))
    assert read_annotation(b'{"type":"file_path"}', "p").extra == Extra("openai_responses", (("type", b'"file_path"'),))


@pytest.mark.parametrize(
    "item", [3, {"role": 3}, {"type": "function_call", "call_id": "c"}, {"type": "reasoning", "summary": 3}]
)
def test_wrong_shapes_are_told(item: Any) -> None:
    with pytest.raises(WrongShape):
        read_input(json.dumps([item]).encode())
