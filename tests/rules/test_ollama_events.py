"""Corners of Ollama's streams; whole streams are in ``tests/dialects/test_ollama_chat.py``."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    ChatRequest,
    Close,
    Open,
    Origin,
    Piece,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.rules.chat_order import check_order
from tidegate.rules.ollama_events import CALL_SIZE, OllamaEventReader, OllamaEventWriter


def read(*objects: dict[str, Any]) -> list[ChatDelta]:
    reader = OllamaEventReader("v", {"a": "alias"}, {})
    deltas = [delta for one in objects for delta in reader.feed("", json.dumps(one).encode())] + reader.close()
    check_order(deltas)
    return deltas


def test_a_generation_has_its_words_beside() -> None:
    deltas = read(
        {"model": "m", "thinking": "t"}, {"response": "a"}, {"response": "b", "done": True, "done_reason": "length"}
    )
    assert deltas == [
        Start(model="m"), Open(0, 0, "thought", Thought(text="", origin=Origin("v"))), Piece(0, 0, "t"), Close(0, 0),
        Open(0, 1, "text", Text(text="")), Piece(0, 1, "a"), Piece(0, 1, "b"), Close(0, 1), Stopped(0, "length"), END,
    ]  # fmt: skip


def test_several_calls_in_one_object() -> None:
    calls = [{"id": "1", "function": {"name": "a", "arguments": {}}}, {"id": "2", "function": {"name": "b"}}]
    deltas = read({"message": {"tool_calls": calls}, "done": True, "eval_count": 2})
    assert deltas[1:7] == [
        Open(0, 0, "tool_call", ToolCall(id="1", name="alias", arguments="")), Piece(0, 0, "{}"), Close(0, 0),
        Open(0, 1, "tool_call", ToolCall(id="2", name="b", arguments="")), Piece(0, 1, "{}"), Close(0, 1),
    ]  # fmt: skip
    assert deltas[-3:] == [Stopped(0, "tool_calls"), Used(Usage(output=2)), END]


def written(writer: OllamaEventWriter, *deltas: ChatDelta) -> list[dict[str, Any]]:
    return [json.loads(line) for delta in (Start(), *deltas) for line in writer.write(delta).splitlines()]


def test_a_generation_is_written_without_a_message() -> None:
    writer = OllamaEventWriter(ChatRequest("m"), 0, plain=True)
    objects = written(
        writer, Open(0, 0, "thought", Thought(text="")), Piece(0, 0, "t"), Close(0, 0),
        Open(0, 1, "text", Text(text="a")), Close(0, 1), Open(0, 2, "tool_call", ToolCall(id="1", name="f")),
        Close(0, 2), Stopped(0, "stop"), END,
    )  # fmt: skip
    head = {"model": "m", "created_at": "1970-01-01T00:00:00Z"}
    assert objects == [
        {**head, "response": "", "thinking": "t", "done": False}, {**head, "response": "a", "done": False},
        {**head, "response": "", "done": True, "done_reason": "stop"},
    ]  # fmt: skip
    assert writer.losses == ["tool_calls"]


def test_what_is_held_of_a_call_is_bounded() -> None:
    writer = OllamaEventWriter(ChatRequest("m"), 0)
    objects = written(
        writer, Open(0, 0, "tool_call", ToolCall(id="1", name="f", arguments="")), Piece(0, 0, "x" * (CALL_SIZE + 1)),
        Close(0, 0), Stopped(0, "tool_calls"), END,
    )  # fmt: skip
    assert objects == [{"error": "The arguments of a call are too large."}]


def test_a_model_that_broke_off_is_an_error() -> None:
    writer = OllamaEventWriter(ChatRequest("m"), 0)
    assert written(writer, Stopped(0, "broken"), END) == [{"error": "The model broke off."}]
