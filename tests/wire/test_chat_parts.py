"""Content parts of a chat message (LLM 5.3, 5.7)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    Extra,
    File,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    Thought,
    Video,
)
from tidegate.wire.chat_parts import PartWriter, as_text, mark_of, read_content, read_part, seconds_of, text_of
from tidegate.wire.json_object import WrongShape, encode

TABLE: list[tuple[dict[str, Any], Part]] = [
    ({"type": "text", "text": "a"}, Text(text="a")),
    ({"type": "text", "text": "a", "x": [1.5]}, Text(text="a", extra=Extra("openai_chat", (("x", b"[1.5]"),)))),
    ({"type": "refusal", "refusal": "no"}, Refusal(text="no")),
    ({"type": "image_url", "image_url": {"url": "https://a", "detail": "low"}}, Image(url="https://a", detail="low")),
    ({"type": "image_url", "image_url": {"url": "data:image/gif;base64,aa"}}, Image(mime="image/gif", data=b"aa")),
    ({"type": "input_audio", "input_audio": {"data": "aa", "format": "mp3"}}, Audio(mime="audio/mpeg", data=b"aa")),
    ({"type": "input_audio", "input_audio": {"data": "aa", "format": "flac"}}, Audio(mime="audio/flac", data=b"aa")),
    ({"type": "file", "file": {"filename": "f", "file_id": "i"}}, File(title="f", file_id="i")),
    ({"type": "file", "file": {"file_data": "aa"}}, File(data=b"aa")),
]


def writer(losses: list[str], lacks: frozenset[str] = frozenset(), mark: str = "prompt_cache_breakpoint") -> PartWriter:
    return PartWriter("openai_chat", lacks, mark, losses)


@pytest.mark.parametrize(("body", "part"), TABLE)
def test_parts_read_and_written_5_3(body: dict[str, Any], part: Part) -> None:
    assert read_part(json.dumps(body).encode(), "p") == part
    losses: list[str] = []
    assert json.loads(encode(writer(losses).part(part, "m"))) == body
    assert losses == []


def test_what_nobody_knows_is_opaque_and_goes_back_as_it_came() -> None:
    raw = b'{"type":"hologram","z":1.50}'
    part = read_part(raw, "p")
    assert part == Opaque(dialect="openai_chat", kind="hologram", value=raw)
    assert encode(writer([]).content([part], "m")) == b"[" + raw + b"]"


def test_a_part_without_type_or_of_a_wrong_shape_names_its_path() -> None:
    for raw, path in (
        (b'{"text":"a"}', "p"),
        (b'{"type":"text"}', "p.text"),
        (b"3", "p"),
        (b'{"type":"file"}', "p.file"),
    ):
        with pytest.raises(WrongShape) as caught:
            read_part(raw, "p")
        assert caught.value.path == path


def test_what_a_target_lacks_or_chat_cannot_say_is_a_loss() -> None:
    losses: list[str] = []
    parts: list[Part] = [
        Image(url="u"),
        Audio(mime="audio/wav", data=b"a"),
        File(data=b"a"),
        Video(url="u"),
        Opaque(dialect="cohere_chat", kind="document", value=b"{}"),
        Text(text="a", extra=Extra("cohere_chat", (("y", b"1"),))),
    ]
    wrote = writer(losses, frozenset({"image", "audio", "file"})).content(parts, "messages[0]")
    assert wrote == [{"type": "text", "text": "a"}]
    assert losses == [f"messages[0].{name}" for name in ("image", "audio", "file", "video", "document", "y")]
    losses.clear()
    assert writer(losses).content([Image(file_id="f"), File(url="u"), Audio(url="u")], "m") == []
    assert losses == ["m.image.file_id", "m.file", "m.audio"]


def test_marks_keep_their_life_or_the_nearest_shorter_one_5_7() -> None:
    losses: list[str] = []
    assert mark_of(CacheMark(1800), False, losses) == {"mode": "explicit", "ttl": "30m"}
    assert mark_of(CacheMark(), False, losses) == {"mode": "explicit"}
    assert mark_of(CacheMark(3600), True, losses) == {"type": "ephemeral", "ttl": "1h"}
    assert losses == []
    assert mark_of(CacheMark(3600), False, losses) == {"mode": "explicit", "ttl": "30m"}
    assert mark_of(CacheMark(300), False, losses) == {"mode": "explicit"}
    assert losses == ["cache.ttl", "cache.ttl"]
    assert (seconds_of(b'"12h"'), seconds_of(b'"9d"'), seconds_of(None)) == (43200, 0, 0)


def test_marks_are_written_in_the_vendors_word_or_left_out_and_the_first_ones_go_first() -> None:
    part = Text(text="a", cache=CacheMark(300))
    wrote = writer([], mark="cache_control").part(part, "m")
    assert wrote == {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "5m"}}
    assert writer([], frozenset({"cache"})).part(part, "m") == {"type": "text", "text": "a"}
    skipping = writer([])
    skipping.skip_marks = 1
    first, second = (skipping.part(Text(text="a", cache=CacheMark()), "m") for _ in range(2))
    assert ("prompt_cache_breakpoint" in first, "prompt_cache_breakpoint" in second) == (False, True)


def test_content_is_a_text_where_one_plain_text_is_all() -> None:
    assert read_content(b'"a"', "p") == (Text(text="a"),)
    assert read_content(b"null", "p") == ()
    assert writer([]).content([Text(text="a")], "m") == "a"
    assert writer([]).content([Text(text="a"), Text(text="b")], "m") == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_mistrals_thinking_chunk_is_a_thought() -> None:
    raw = b'{"type":"thinking","thinking":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"signature":"s"}'
    assert read_part(raw, "p") == Thought(text="ab", signature=b"s")
    assert read_part(b'{"type":"thinking","thinking":"ab"}', "p") == Thought(text="ab")


def test_texts() -> None:
    assert text_of((Text(text="a"), Image(url="u"), Text(text="b"))) == "ab"
    assert [as_text(raw) for raw in (b'"a"', b'{"a": 1}', b"null")] == ["a", '{"a": 1}', ""]
