"""Corners of Ollama's messages; whole requests are in ``tests/dialects/test_ollama_chat.py``."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from tidegate.exchange.chat import Extra, Image, Message, Thinking, ToolCall, ToolResult
from tidegate.rules.losses import Losses
from tidegate.rules.ollama_messages import (
    OllamaTurns,
    read_format,
    read_image,
    read_sampling,
    read_stop,
    read_think,
    read_turns,
    write_think,
)
from tidegate.rules.tool_ids import minted_id


def turns(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return read_turns([json.dumps(message).encode() for message in messages])


def call(name: str) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": {}}}


def test_two_rounds_with_the_same_tool_do_not_share_ids() -> None:
    read = turns(
        {"role": "assistant", "tool_calls": [call("f"), call("f")]},
        {"role": "tool", "tool_name": "f", "content": "1"},
        {"role": "tool", "tool_name": "f", "content": "2"},
        {"role": "assistant", "tool_calls": [call("f")]},
        {"role": "tool", "tool_name": "f", "content": "3"},
    )
    calls = [part.id for message in read for part in message.parts if isinstance(part, ToolCall)]
    results = [part.call_id for message in read for part in message.parts if isinstance(part, ToolResult)]
    assert calls == results == [minted_id("messages[0]", 0), minted_id("messages[0]", 1), minted_id("messages[3]", 0)]


def test_a_result_of_an_unknown_tool_answers_the_oldest_call_and_one_too_many_none() -> None:
    read = turns(
        {"role": "assistant", "tool_calls": [{"id": "a", **call("f")}, {"id": "b", **call("g")}]},
        {"role": "tool", "tool_name": "other", "content": "1"},
        {"role": "tool", "content": "2"},
        {"role": "tool", "content": "3"},
    )
    found = [part.call_id for message in read for part in message.parts if isinstance(part, ToolResult)]
    assert found == ["a", "b", minted_id("messages[3]", 0)]


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"hi", ""),
    ],
)
def test_an_image_is_known_by_its_first_bytes(data: bytes, mime: str) -> None:
    assert read_image(b64encode(data).decode()) == Image(mime=mime, data=b64encode(data))


def test_an_empty_turn_of_a_user_stays_one() -> None:
    into: list[object] = []
    writer = OllamaTurns("ollama", frozenset(), frozenset(), Losses())
    writer.turn(Message("user"), 0, into)
    writer.turn(Message("tool"), 1, into)
    assert into == [{"role": "user", "content": ""}]


def test_settings_by_their_corners() -> None:
    rest: dict[str, bytes] = {}
    sampling, limit, stop = read_sampling({"options": b'{"stop":"x","num_predict":-1,"mirostat":1}'}, rest)
    assert (limit, stop, sampling.temperature) == (None, ("x",), None)
    assert rest == {"options.num_predict": b"-1", "options.mirostat": b"1"}
    assert read_format({"format": b'""'}) is None
    assert read_think({}) is None


@pytest.mark.parametrize(
    ("word", "calls", "stop", "kept"),
    [("", True, "tool_calls", False), ("length", True, "length", False), ("load", False, "stop", True)],
)
def test_the_end(word: str, calls: bool, stop: str, kept: bool) -> None:
    found, extra = read_stop(word, calls)
    assert found == stop
    assert (extra == Extra("ollama_chat", (("done_reason", b'"load"'),))) is kept


def test_a_target_that_cannot_think() -> None:
    losses, body = Losses(), {}
    write_think(Thinking("on"), "", frozenset(("thinking",)), losses, body)
    write_think(None, "", frozenset(), losses, body)
    assert (losses.told, body) == (["thinking"], {})
