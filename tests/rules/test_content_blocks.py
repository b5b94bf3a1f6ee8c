"""Content blocks <-> parts (LLM 5.3, 5.4, 5.6, 5.7). Whole requests and answers: tests/dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import (
    Audio,
    CacheMark,
    Citation,
    Cited,
    Extra,
    File,
    Image,
    Opaque,
    Part,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from tidegate.rules.content_blocks import (
    NAME,
    BlockWriter,
    arguments_object,
    citation_object,
    read_block,
    read_cache,
    read_content,
)
from tidegate.wire.json_object import WrongShape, encode


def writer(vendor: str | None = "anthropic", lacks: tuple[str, ...] = ()) -> BlockWriter:
    return BlockWriter(vendor, {"long name": "long_name"}, frozenset(("passes",)), frozenset(lacks))


def block(part: Part, vendor: str | None = "anthropic") -> tuple[Any, list[str]]:
    made = writer(vendor)
    found = made.block(part, "messages[1]")
    return (None if found is None else json.loads(encode(found))), made.losses


@pytest.mark.parametrize(
    ("value", "mark", "left"),
    [
        (b'{"type":"ephemeral"}', CacheMark(), False),
        (b'{"type":"ephemeral","ttl":"5m"}', CacheMark(300), False),
        (b'{"ttl":"1h","type":"ephemeral"}', CacheMark(3600), False),
        (b'{"type":"ephemeral","ttl":"2d"}', None, True),
        (b'{"type":"ephemeral","scope":"x"}', None, True),
        (b'{"type":"lasting"}', None, True),
        (b"null", None, False),
        (b"7", None, True),
    ],
)
def test_a_mark_is_read_when_all_its_words_are_known(value: bytes, mark: CacheMark | None, left: bool) -> None:
    found = {"cache_control": value}
    assert read_cache(found) == mark
    assert ("cache_control" in found) is left


def test_a_source_of_unknown_shape_keeps_its_block_whole() -> None:
    raw = b'{"type":"document","source":{"type":"content","content":[]}}'
    assert read_block(raw, "p", "", {}) == Opaque(dialect=NAME, kind="document", value=raw, raw=raw)
    odd = b'{"type":"image","source":{"type":"url","url":"u","future":1}}'
    assert read_block(odd, "p", "", {}) == Opaque(dialect=NAME, kind="image", value=odd, raw=odd)
    with pytest.raises(WrongShape, match=r"p\.source"):
        read_block(b'{"type":"image"}', "p", "", {})


def test_content_is_a_string_or_blocks() -> None:
    assert read_content(b'"hi"', "p", "", {}) == (Text(text="hi"),)
    with pytest.raises(WrongShape, match="a string or an array of blocks"):
        read_content(b"{}", "p", "", {})
    with pytest.raises(WrongShape, match=r"p\[1\]"):
        read_content(b'[{"type":"text","text":""},7]', "p", "", {})


def test_one_plain_text_is_a_string_and_a_block_stays_a_block() -> None:
    assert writer().content((Text(text="a"),), "p") == "a"
    assert writer().content((Text(text="a", raw=b'{"type"...'),), "p") == [{"type": "text", "text": "a"}]
    assert writer().content((Text(text="a"), Text(text="b")), "p") == [
        {"type": "text", "text": "a"}, {"type": "text", "text": "b"},
    ]  # fmt: skip


def test_blank_text_is_left_out_towards_the_vendor_only() -> None:
    assert block(Text(text=" \n")) == (None, [])
    assert block(Text(text=" \n"), None) == ({"type": "text", "text": " \n"}, [])


@pytest.mark.parametrize(
    ("part", "written", "losses"),
    [
        (Refusal(text="no"), {"type": "text", "text": "no"}, []),
        (Audio(data=b"x"), None, ["messages[1].audio"]),
        (Image(data=b"eA==", detail="low"), {"type": "image", "source": {
            "type": "base64", "media_type": "image/png", "data": "eA=="}}, ["messages[1].detail"]),
        (File(text="t", title="T"), {"type": "document", "title": "T", "source": {
            "type": "text", "media_type": "text/plain", "data": "t"}}, []),
        (ToolCall(id="x" * 65, name="long name", arguments="[1]"), {
            "type": "tool_use", "id": "call_3ebw4aBiHgmRyXLhfO4pDuhjoGe", "name": "long_name",
            "input": {"_raw": "[1]"}}, ["messages[1].arguments"]),
        (ToolCall(id="1", name="f", arguments="free", custom=True),
         {"type": "tool_use", "id": "1", "name": "f", "input": {"_raw": "free"}}, ["messages[1].arguments"]),
        (ToolResult(call_id="1", parts=(Audio(url="u"),)), {"type": "tool_result", "tool_use_id": "1"},
         ["messages[1].audio"]),
        (Text(text="a", extra=Extra("openai_chat", (("passes", b"1"), ("stays", b"2")))),
         {"type": "text", "text": "a", "passes": 1}, ["messages[1].stays"]),
        (Opaque(dialect="gemini_generate", kind="executableCode", value=b"{}"), None, ["messages[1].executableCode"]),
        (Cited(text="a", citations=(Citation(url="u"),)), {"type": "text", "text": "a"}, ["messages[1].citations"]),
    ],
)  # fmt: skip
def test_parts_towards_the_vendor(part: Part, written: Any, losses: list[str]) -> None:
    found, lost = block(part)
    if isinstance(part, ToolCall) and len(part.id) > 64:
        assert found["id"].startswith("call_")
        found["id"] = written["id"]
    assert (found, lost) == (written, losses)


def test_a_lacking_target_gets_no_media() -> None:
    made = writer(lacks=("image", "file"))
    assert made.block(Image(url="u"), "p") is None
    assert made.block(File(url="u"), "p") is None
    assert made.losses == ["p.image", "p.file"]


def test_a_foreign_source_reads_as_a_search_result_for_clients() -> None:
    assert citation_object(Citation(url="u", title="t", quote="q")) == {
        "type": "web_search_result_location", "cited_text": "q", "url": "u", "title": "t", "encrypted_index": "",
    }  # fmt: skip
    assert citation_object(Citation(quote="q")) is None


def test_marks_in_whole_values_count_against_the_four() -> None:
    made = writer()
    made.whole(b'{"type":"web_search_1","cache_control":{"type":"ephemeral"}}')
    blocks = [made.block(Text(text=str(at), cache=CacheMark()), "p") or {} for at in range(4)]
    made.settle_marks(4)
    assert ["cache_control" in one for one in blocks] == [False, True, True, True]


@pytest.mark.parametrize(
    ("text", "raw"),
    [("", b"{}"), (" {} ", b"{}"), ('{"a": 1e400}', b'{"a": 1e400}'), ("[]", None), ("{", None), ("null", None),
     ("\ud800", None)],
)  # fmt: skip
def test_arguments_are_an_object_or_nothing(text: str, raw: bytes | None) -> None:
    assert arguments_object(text) == raw
