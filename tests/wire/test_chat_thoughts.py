"""Thoughts and seals in the places chat clients know (LLM 5.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import Extra, Opaque, Origin, Part, SealedThought, Thought
from tidegate.wire.chat_thoughts import call_seal, detail, needs_details, origin_of, read_call_seal, read_detail
from tidegate.wire.json_object import encode


@pytest.mark.parametrize(
    ("word", "vendor"),
    [
        ("anthropic", "anthropic"),
        ("openrouter/anthropic-claude-v1", "openrouter"),
        ("anthropic-claude-v1", "anthropic"),
        ("google-gemini-v1", "gemini"),
        ("openai-responses-v1", "openai"),
        ("", None),
    ],
)
def test_a_format_names_the_vendor(word: str, vendor: str | None) -> None:
    origin = origin_of(word)
    assert (origin.vendor if origin is not None else None) == vendor


TABLE: list[tuple[dict[str, Any], Part]] = [
    ({"type": "reasoning.text", "text": "a", "signature": "S=é", "format": "anthropic", "index": 0},
     Thought(text="a", signature="S=é".encode(), origin=Origin("anthropic"))),
    ({"type": "reasoning.summary", "summary": "a", "id": "r", "index": 0}, Thought(text="a", summary=True, id="r")),
    ({"type": "reasoning.encrypted", "data": "zz", "format": "openai", "id": "r", "index": 0},
     SealedThought(data=b"zz", origin=Origin("openai"), id="r")),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "part"), TABLE)
def test_entries_of_a_client_read_and_written(entry: dict[str, Any], part: Any) -> None:
    assert read_detail(json.dumps(entry).encode(), "p", "") == part
    assert json.loads(encode(detail(part, 0, ""))) == entry


def test_a_vendors_own_format_travels_behind_its_name_and_comes_back_to_it() -> None:
    raw = b'{"type":"reasoning.text","text":"a","format":"anthropic-claude-v1","index":3,"x":1}'
    part = read_detail(raw, "p", "openrouter")
    assert isinstance(part, Thought) and part.origin == Origin("openrouter")
    assert part.extra == Extra("openai_chat", (("x", b"1"), ("format", b'"anthropic-claude-v1"')))
    told = encode(detail(part, 0, ""))
    assert b'"format":"openrouter/anthropic-claude-v1"' in told
    back = read_detail(told, "p", "")
    assert back == part
    assert isinstance(back, Thought)
    assert json.loads(encode(detail(back, 3, "openrouter"))) == json.loads(raw)


def test_an_entry_nobody_knows_is_opaque() -> None:
    raw = b'{"type":"reasoning.dance"}'
    assert read_detail(raw, "p", "") == Opaque(dialect="openai_chat", kind="reasoning.dance", value=raw)


def test_seals_of_calls_stand_under_google_or_the_vendors_name() -> None:
    assert call_seal(b"GG==", Origin("gemini")) == {"google": {"thought_signature": "GG=="}}
    assert call_seal(b"S", Origin("xai")) == {"xai": {"thought_signature": "S"}}
    assert read_call_seal(encode(call_seal(b"GG==", Origin("gemini"))), "") == (b"GG==", Origin("gemini"))
    assert read_call_seal(encode(call_seal(b"S", Origin("xai"))), "") == (b"S", Origin("xai"))
    assert read_call_seal(encode(call_seal(b"S", None)), "vertex") == (b"S", Origin("vertex"))
    for raw in (b"3", b"{}", b'{"google":3}', b'{"google":{"thought_signature":3}}'):
        assert read_call_seal(raw, "") == (b"", None)


def test_only_sealed_things_need_details() -> None:
    assert not needs_details(Thought(text="a"))
    assert needs_details(Thought(text="a", signature=b"s"))
    assert needs_details(SealedThought(data=b"z"))
