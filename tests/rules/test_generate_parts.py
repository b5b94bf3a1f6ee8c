"""Gemini's parts <-> parts (LLM 5.3, 5.4, 5.6). Whole requests and answers: tests/dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import Audio, Extra, File, Image, Opaque, Origin, Part, Text, Thought, ToolCall, ToolResult
from tidegate.rules.generate_parts import (
    NAME,
    PartReader,
    PartWriter,
    arguments_object,
    camel,
    is_place_id,
    place_id,
    read_parts,
)
from tidegate.wire.json_object import WrongShape, encode


def read(raw: dict[str, Any], vendor: str = "", pending: list[tuple[str, str]] | None = None) -> list[Part]:
    return PartReader(vendor, {}, "0").read(json.dumps(raw).encode(), "p", pending or [])


def write(part: Part, lacks: tuple[str, ...] = (), vendor: str | None = "gemini") -> tuple[Any, list[str]]:
    writer = PartWriter(vendor, {}, {"c": "f"}, frozenset(), frozenset(lacks), False)
    written: list[dict[str, object]] = []
    writer.append(part, "messages[1]", written)
    return json.loads(encode(written)), writer.losses


def test_snake_case_is_camel_case() -> None:
    assert [camel(name) for name in ("text", "thought_signature", "file_uri_", "aB")] == [
        "text", "thoughtSignature", "fileUri", "aB",
    ]  # fmt: skip


def test_a_place_tells_an_id_that_is_never_written() -> None:
    id = place_id("7", 0)
    assert id == place_id("7", 0) != place_id("7", 1)
    assert is_place_id(id)
    assert len(id) == 26
    assert write(ToolCall(id=id, name="f"))[0] == [{"functionCall": {"name": "f", "args": {}}}]
    assert write(ToolCall(id="real", name="f"), ("tool_ids",))[0] == [{"functionCall": {"name": "f", "args": {}}}]


def test_a_result_without_an_id_takes_the_first_call_that_waits_under_its_name() -> None:
    pending = [("a", "f"), ("b", "g"), ("c", "g")]
    result = {"functionResponse": {"name": "g", "response": {}}}
    found = [read(result, pending=pending)[0] for _ in range(3)]
    assert [part.call_id for part in found if isinstance(part, ToolResult)] == ["b", "c", "a"]
    assert pending == []


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"output": "x"}, "x", False), ({"error": "x"}, "x", True), ({"error": {"a": 1}}, '{"a": 1}', True),
        ({"result": "x"}, '{"result": "x"}', False), ({"output": "{x"}, '{"output": "{x"}', False),
        ({"output": 1}, '{"output": 1}', False), ({"error": "x", "y": 1}, '{"error": "x", "y": 1}', False),
    ],
)  # fmt: skip
def test_results_are_text_and_come_back_as_they_were(response: dict[str, Any], text: str, failed: bool) -> None:
    (part,) = read({"functionResponse": {"id": "c", "name": "f", "response": response}})
    assert isinstance(part, ToolResult)
    assert (part.parts, part.is_error) == ((Text(text=text),), failed)
    assert write(part)[0] == [{"functionResponse": {"id": "c", "name": "f", "response": response}}]


def test_a_result_that_only_looks_like_an_object_is_output() -> None:
    part = ToolResult(call_id="c", parts=(Text(text="{broken"),))
    assert write(part)[0] == [{"functionResponse": {"id": "c", "name": "f", "response": {"output": "{broken"}}}]
    empty = ToolResult(call_id="zz")
    assert write(empty)[0] == [{"functionResponse": {"id": "zz", "name": "unknown", "response": {}}}]


def test_media_follow_their_type_and_unknown_shapes_stay_whole() -> None:
    assert isinstance(read({"inlineData": {"mimeType": "audio/mp3", "data": "eA=="}})[0], Audio)
    assert isinstance(read({"inlineData": {"data": "eA=="}})[0], File)
    (kept,) = read({"inlineData": {"mimeType": "image/png", "data": "eA==", "future": 1}})
    assert isinstance(kept, Opaque)
    assert kept.kind == "inlineData"
    assert isinstance(read({"future": {"a": 1}})[0], Opaque)
    own = "https://generativelanguage.googleapis.com/v1beta/files/x"
    (file,) = read({"fileData": {"fileUri": own}})
    assert isinstance(file, File)
    assert (file.file_id, file.url) == (own, "")


@pytest.mark.parametrize(
    ("part", "lacks", "written", "losses"),
    [
        (Image(data=b"eA=="), (), [{"inlineData": {"mimeType": "image/png", "data": "eA=="}}], []),
        (Image(url="u", mime="image/gif"), (), [{"fileData": {"fileUri": "u", "mimeType": "image/gif"}}], []),
        (Image(url="u"), ("image_url",), [], ["messages[1].image_url"]),
        (Audio(url="u"), ("audio",), [], ["messages[1].audio"]),
        (File(text="plain", title="T"), (),
         [{"inlineData": {"mimeType": "text/plain", "data": "cGxhaW4=", "displayName": "T"}}], []),
        (ToolCall(id="1", name="f", arguments="nope"), (),
         [{"functionCall": {"id": "1", "name": "f", "args": {"_raw": "nope"}}}], ["messages[1].arguments"]),
        (Thought(text="x", origin=Origin("other")), (), [], ["messages[1].thinking"]),
        (Thought(text="x", origin=Origin("gemini")), (), [{"text": "x", "thought": True}], []),
        (Text(text="a", extra=Extra("openai_chat", (("odd", b"1"),))), (), [{"text": "a"}], ["messages[1].odd"]),
        (ToolResult(call_id="c", parts=(Opaque(dialect="x", kind="y", value=b"{}"),)), (),
         [{"functionResponse": {"id": "c", "name": "f", "response": {}}}], ["messages[1].result"]),
    ],
)  # fmt: skip
def test_parts_towards_the_vendor(part: Part, lacks: tuple[str, ...], written: Any, losses: list[str]) -> None:
    assert write(part, lacks) == (written, losses)


def test_a_call_keeps_its_own_unknown_members() -> None:
    raw = {"functionCall": {"id": "1", "name": "f", "args": {}, "willContinue": False}}
    (call,) = read(raw)
    assert isinstance(call, ToolCall)
    assert call.extra == Extra(NAME, (("functionCall.willContinue", b"false"),))
    assert write(call)[0] == [raw]


def test_shapes_of_parts() -> None:
    reader = PartReader("", {}, "0")
    assert read_parts(b'"hi"', "p", reader, []) == [Text(text="hi")]
    assert read_parts(b'{"text":"hi"}', "p", reader, [])[0] == Text(text="hi", raw=b'{"text":"hi"}')
    with pytest.raises(WrongShape, match=r"p\[0\]\.text"):
        read_parts(b'[{"text":7}]', "p", reader, [])
    assert arguments_object("[]") is None
