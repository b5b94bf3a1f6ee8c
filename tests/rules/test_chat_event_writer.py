"""The stream of a chat answer, written. Its tables are in ``tests/dialects/test_openai_chat.py``."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    Citation,
    Cite,
    Close,
    Failed,
    Image,
    Opaque,
    Open,
    Origin,
    Piece,
    SealedThought,
    Sign,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.rules.chat_event_writer import THOUGHT_SIZE, ChatEventWriter
from tidegate.wire.sse import SseDecoder


def write(*deltas: ChatDelta, legacy: bool = False, usage: bool = False) -> tuple[list[Any], ChatEventWriter]:
    writer = ChatEventWriter("chatcmpl-1", 5, "m", usage, legacy)
    events = SseDecoder().feed(b"".join([writer.write(delta) for delta in (Start(), *deltas)]))
    return [json.loads(data) if data != b"[DONE]" else "[DONE]" for _, data in events], writer


def pieces(chunks: list[Any]) -> list[Any]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk != "[DONE]" and chunk["choices"]]


def test_each_choice_begins_with_its_role_once() -> None:
    chunks, _ = write(
        Open(1, 0, "text", Text(text="")),
        Close(1, 0),
        Open(1, 1, "text", Text(text="a")),
        Close(1, 1),
        Stopped(0, "stop"),
        Stopped(1, "length"),
        END,
    )
    assert [(chunk["choices"][0]["index"], chunk["choices"][0]["delta"]) for chunk in chunks[:-1]] == [
        (1, {"role": "assistant", "content": ""}),
        (1, {"content": "a"}),
        (0, {"role": "assistant", "content": ""}),
        (0, {}),
        (1, {}),
    ]
    assert chunks[-1] == "[DONE]"


def test_a_signed_thought_is_told_whole_at_its_end() -> None:
    head = Thought(text="", origin=Origin("anthropic"))
    chunks, _ = write(
        Open(0, 0, "thought", head),
        Piece(0, 0, "a"),
        Piece(0, 0, "b"),
        Sign(0, 0, b"s"),
        Close(0, 0),
        Open(0, 1, "sealed_thought", SealedThought(data=b"z", origin=Origin("anthropic"))),
        Close(0, 1),
    )
    assert pieces(chunks)[1:] == [
        {"reasoning_content": "a"},
        {"reasoning_content": "b"},
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "ab", "signature": "s", "format": "anthropic", "index": 0}
            ]
        },
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "z", "format": "anthropic", "index": 1}]},
    ]


def test_a_thought_too_long_to_keep_loses_its_seal_rule_9() -> None:
    big = "x" * (THOUGHT_SIZE + 1)
    chunks, writer = write(Open(0, 0, "thought", Thought(text="")), Piece(0, 0, big), Sign(0, 0, b"s"), Close(0, 0))
    assert len(pieces(chunks)) == 2
    assert writer.losses == ["choices[0].thinking.signature"]


def test_calls_interleave_by_their_number() -> None:
    chunks, _ = write(
        Open(0, 0, "tool_call", ToolCall(id="a", name="f", arguments="")),
        Open(0, 1, "tool_call", ToolCall(id="b", name="g", arguments="", custom=True)),
        Piece(0, 0, "{"),
        Piece(0, 1, "x"),
        Sign(0, 0, b"s"),
    )
    assert [piece["tool_calls"][0] for piece in pieces(chunks)[1:]] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 1, "id": "b", "type": "custom", "custom": {"name": "g", "input": ""}},
        {"index": 0, "function": {"arguments": "{"}},
        {"index": 1, "custom": {"input": "x"}},
        {"index": 0, "extra_content": {"google": {"thought_signature": "s"}}},
    ]


def test_a_client_of_old_hears_functions() -> None:
    chunks, _ = write(
        Open(0, 0, "tool_call", ToolCall(id="a", name="f", arguments="")),
        Piece(0, 0, "{}"),
        Close(0, 0),
        Stopped(0, "tool_calls"),
        legacy=True,
    )
    assert pieces(chunks)[1:3] == [
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_usage_comes_last_and_only_when_asked_the_largest_of_each() -> None:
    told = (Used(Usage(input=5)), Used(Usage(output=2, tier="standard")), Stopped(0, "stop"), END)
    chunks, _ = write(*told, usage=True)
    assert chunks[-2]["choices"] == [] and chunks[-2]["service_tier"] == "default"
    assert (chunks[-2]["usage"]["prompt_tokens"], chunks[-2]["usage"]["total_tokens"]) == (5, 7)
    assert all(chunk["usage"] is None for chunk in chunks[:-2])
    assert not any("usage" in chunk for chunk in write(*told)[0][:-1])


def test_images_notes_and_what_chat_has_no_words_for() -> None:
    chunks, writer = write(
        Open(0, 0, "image", Image(mime="image/png", data=b"aa")),
        Close(0, 0),
        Open(0, 1, "opaque", Opaque(dialect="x", kind="container", value=b"{}")),
        Close(0, 1),
        Open(0, 2, "text", Text(text="")),
        Cite(0, 2, Citation("u", "t")),
        Close(0, 2),
        Stopped(0, "pause"),
    )
    told = pieces(chunks)
    assert told[1]["images"][0]["image_url"]["url"] == "data:image/png;base64,aa"
    assert told[2]["annotations"][0]["url_citation"]["url"] == "u"
    assert writer.losses == ["choices[0].container", "pause"]


def test_a_model_that_broke_off_is_an_error_and_the_stream_is_over() -> None:
    writer = ChatEventWriter("i", 0, "m", False)
    assert writer.write(Stopped(0, "broken")).startswith(b"event: error\n")
    assert writer.write(Failed("overloaded")) == b"" == writer.write(END)
