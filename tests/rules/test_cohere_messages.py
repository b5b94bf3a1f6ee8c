"""Corners of Cohere's messages; whole requests are in ``tests/dialects/test_cohere_chat.py``."""

from __future__ import annotations

import json

import pytest

from tidegate.exchange.chat import Cited, Message, Opaque, Text, Thought, ToolCall
from tidegate.rules.cohere_messages import (
    PLAN,
    CohereMessages,
    assistant_parts,
    citation_object,
    document_text,
    read_citation,
    read_message,
)
from tidegate.rules.losses import Losses
from tidegate.wire.json_object import encode, members


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"type":"document","document":{"data":"a"}}', "a"),
        (b'{"type":"document","document":{"data":{"a":1.50}}}', '{"a":1.50}'),
        (b'{"type":"document","document":{"data":{},"id":"1"}}', None),
        (b'{"type":"text","text":"a"}', None),
        (b"x", None),
    ],
)
def test_a_document_with_nothing_but_data_is_its_text(raw: bytes, text: str | None) -> None:
    assert document_text(raw) == text


def test_citations_go_to_the_text_they_name_or_to_the_first() -> None:
    found = members(json.dumps({
        "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "a"},
                    {"type": "text", "text": "b"}],
        "citations": [{"text": "2", "content_index": 2}, {"text": "1"}, {"text": "0", "content_index": 0}],
    }).encode())  # fmt: skip
    thought, first, second = assistant_parts(found, "m", "v", {})
    assert isinstance(thought, Thought)
    assert isinstance(first, Cited)
    assert isinstance(second, Cited)
    assert [one.quote for one in first.citations] == ["1", "0"]
    assert [one.quote for one in second.citations] == ["2"]
    assert assistant_parts(members(b'{"citations":[{"text":"1"}],"tool_plan":"p"}'), "m", "", {}) == (
        Thought(text="p", extra=PLAN),
    )


def test_a_citation_both_ways() -> None:
    raw = b'{"start":1,"end":2,"text":"q","sources":[{"type":"tool","id":"t","tool_output":{"a":1}}],"type":"PLAN"}'
    citation = read_citation(raw, "c")
    assert (citation.start, citation.end, citation.url) == (1, 2, "")
    assert json.loads(encode(citation_object(citation, 0))) == json.loads(raw)
    assert read_citation(b'{"start":null,"end":null}', "c").start == -1


def test_calls_without_a_type_and_of_unknown_types() -> None:
    calls = [{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}, {"id": "2", "type": "odd"}]
    message = read_message(json.dumps({"role": "assistant", "tool_calls": calls}).encode(), "m")
    call, odd = message.parts
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"a": 1}'
    assert isinstance(odd, Opaque)
    losses = Losses()
    into: list[object] = []
    CohereMessages("cohere", {}, frozenset(), frozenset(), losses).turn(message, "m", into)
    said = json.loads(encode(into))[0]["tool_calls"]
    assert said[0] == {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    assert said[1] == calls[1]


def test_a_turn_with_nothing_to_say_is_left_out() -> None:
    into: list[object] = []
    writer = CohereMessages("cohere", {}, frozenset(), frozenset(), Losses())
    writer.turn(Message("assistant"), "m", into)
    writer.turn(Message("user", (Opaque(dialect="x", kind="y", value=b"{}"),) * 2), "m", into)
    writer.turn(Message("system", (Text(text="s"),)), "m", into)
    assert into == [{"role": "system", "content": "s"}]
