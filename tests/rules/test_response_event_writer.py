"""The stream of a response, written: its edges. Its tables are in ``tests/dialects/test_openai_responses.py``."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    ChatRequest,
    Close,
    Opaque,
    Open,
    Origin,
    Piece,
    Sign,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.rules.response_event_writer import ResponseEventWriter
from tidegate.wire.sse import SseDecoder


def write(*deltas: ChatDelta) -> tuple[list[Any], ResponseEventWriter]:
    writer = ResponseEventWriter(ChatRequest("m"), "resp_1", 5)
    events = SseDecoder().feed(
        b"".join([writer.write(delta) for delta in (Start(id="msg_1", model="claude"), *deltas)])
    )
    return [json.loads(data) for _, data in events], writer


def test_texts_behind_each_other_are_parts_of_one_message() -> None:
    told, _ = write(
        Open(0, 0, "text", Text(text="")),
        Piece(0, 0, "a"),
        Close(0, 0),
        Open(0, 1, "text", Text(text="b")),
        Close(0, 1),
        Stopped(0, "length"),
        Used(Usage(input=1)),
        END,
    )
    last = told[-1]["response"]
    assert [part["text"] for part in last["output"][0]["content"]] == ["a", "b"]
    assert (last["id"], last["status"], told[-1]["type"]) == ("resp_1", "incomplete", "response.incomplete")
    assert [event["content_index"] for event in told if event["type"] == "response.output_text.delta"] == [0, 1]


def test_calls_that_interleave_keep_their_places() -> None:
    told, _ = write(
        Open(0, 0, "tool_call", ToolCall(id="a", name="f", arguments="")),
        Open(0, 1, "tool_call", ToolCall(id="b", name="g", arguments="")),
        Piece(0, 1, "{}"),
        Piece(0, 0, "[]"),
        Close(0, 1),
        Close(0, 0),
        Stopped(0, "tool_calls"),
        END,
    )
    assert [item["call_id"] for item in told[-1]["response"]["output"]] == ["a", "b"]
    assert [item["arguments"] for item in told[-1]["response"]["output"]] == ["[]", "{}"]


def test_the_seal_of_a_call_stands_in_an_item_behind_it() -> None:
    told, _ = write(
        Open(0, 0, "tool_call", ToolCall(id="a", name="f", arguments="", origin=Origin("gemini"))),
        Sign(0, 0, b"GG"),
        Close(0, 0),
        Stopped(0, "tool_calls"),
        END,
    )
    output = told[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "reasoning"]
    assert output[0]["arguments"] == "{}" and output[1]["encrypted_content"] == "tidegate:gemini:c:GG:a"


def test_thoughts_in_full_are_parts_like_texts() -> None:
    """npm's openai keeps the parts of an item as they are added, and breaks at a delta of one that never was."""
    told, _ = write(
        Open(0, 0, "thought", Thought(text="")),
        Piece(0, 0, "so"),
        Piece(0, 0, " be it"),
        Close(0, 0),
        Stopped(0, "stop"),
        END,
    )
    assert [event["type"].removeprefix("response.") for event in told[2:-1]] == [
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
    ]  # fmt: skip
    assert told[3]["part"] == {"type": "reasoning_text", "text": ""}
    assert told[7]["part"] == {"type": "reasoning_text", "text": "so be it"}
    assert {event["content_index"] for event in told[3:8]} == {0}


def test_other_choices_and_foreign_parts_are_lost() -> None:
    told, writer = write(
        Open(1, 0, "text", Text(text="")),
        Piece(1, 0, "a"),
        Close(1, 0),
        Stopped(1, "stop"),
        Open(0, 0, "opaque", Opaque(dialect="x", kind="container", value=b"{}")),
        Close(0, 0),
        Stopped(0, "stop"),
        END,
    )
    assert writer.losses == ["n", "container"] and told[-1]["response"]["output"] == []


def test_own_parts_nobody_models_pass_whole() -> None:
    raw = b'{"type":"web_search_call","id":"ws_1"}'
    told, _ = write(
        Open(0, 0, "opaque", Opaque(dialect="openai_responses", kind="web_search_call", value=raw)),
        Close(0, 0),
        Stopped(0, "stop"),
        END,
    )
    assert told[-1]["response"]["output"] == [json.loads(raw)]


def test_a_stream_that_never_began_is_an_error_and_a_thought_without_words_says_none() -> None:
    writer = ResponseEventWriter(ChatRequest("m"), "x", 0)
    assert writer.write(END).startswith(b"event: error\n") and writer.write(END) == b""
    told, _ = write(Open(0, 0, "thought", Thought(text="")), Close(0, 0), Stopped(0, "stop"), END)
    assert told[-1]["response"]["output"][0]["summary"] == []
