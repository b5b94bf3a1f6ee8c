"""The stream of a response, read: its edges. Its tables are in ``tests/dialects/test_openai_responses.py``."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    ChatDelta,
    Failed,
    Open,
    Origin,
    Piece,
    Refusal,
    SealedThought,
    Sign,
    Stopped,
    Thought,
)
from tidegate.rules.chat_order import check_order
from tidegate.rules.response_event_reader import MOST_PARTS, ResponseEventReader


def feed(*events: tuple[str, dict[str, Any]]) -> list[ChatDelta]:
    reader = ResponseEventReader("v", {}, {})
    told: list[ChatDelta] = []
    for type, more in events:
        told += reader.feed("", json.dumps({"type": type, **more}).encode())
    told += reader.close()
    check_order(told)
    return told


DONE: tuple[str, dict[str, Any]] = ("response.completed", {"response": {"status": "completed"}})


def test_reasoning_in_clear_waits_for_the_seal_of_its_item() -> None:
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "a"}],
        "encrypted_content": "tidegate:anthropic:s:sig",
    }
    told = feed(
        ("response.output_item.added", {"item": {"type": "reasoning", "id": "rs_1"}}),
        ("response.reasoning_text.delta", {"delta": "a"}),
        ("response.reasoning_text.done", {"text": "a"}),
        ("response.output_item.done", {"item": item}),
        DONE,
    )
    assert [type(delta).__name__ for delta in told] == ["Start", "Open", "Piece", "Sign", "Close", "Stopped", "End"]
    assert told[1] == Open(0, 0, "thought", Thought(text="", origin=Origin("v"), id="rs_1"))
    assert told[3] == Sign(0, 0, b"sig")


def test_a_sealed_item_without_text_is_a_sealed_thought() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "zz"}
    told = feed(("response.output_item.done", {"item": item}), DONE)
    assert told[1] == Open(0, 0, "sealed_thought", SealedThought(data=b"zz", origin=Origin("v"), id="rs_1"))


def test_a_refusal_is_told_by_its_part_or_its_pieces() -> None:
    told = feed(
        ("response.content_part.added", {"part": {"type": "refusal", "refusal": ""}}),
        ("response.refusal.delta", {"delta": "no"}),
        ("response.content_part.done", {"part": {"type": "refusal", "refusal": "no"}}),
        DONE,
    )
    assert told[1] == Open(0, 0, "refusal", Refusal(text=""))
    assert told[2] == Piece(0, 0, "no") and told[-2] == Stopped(0, "refusal")


def test_parts_are_bounded_rule_9() -> None:
    events = [("response.output_text.delta", {"delta": "a", "output_index": index}) for index in range(MOST_PARTS + 1)]
    failed = [delta for delta in feed(*events) if isinstance(delta, Failed)]
    assert [delta.reason for delta in failed] == ["bad_event"]


def test_a_failed_response_and_an_error_are_their_faults() -> None:
    error = {"code": "rate_limit_exceeded", "message": "slow"}
    for event in (("response.failed", {"response": {"status": "failed", "error": error}}), ("error", error)):
        failed = [delta for delta in feed(event) if isinstance(delta, Failed)]
        assert [delta.code for delta in failed] == ["rate_limited"]
