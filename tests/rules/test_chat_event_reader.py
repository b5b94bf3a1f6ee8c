"""The stream of a chat answer, read: bounds. Its tables and oddities are in ``tests/dialects/test_openai_chat.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import END, ChatDelta, Cite, Close, Failed, Open, Piece, Sign, Start, Stopped, Text, Thought
from tidegate.exchange.fault import Fault
from tidegate.rules.chat_event_reader import MOST_CALLS, MOST_CHOICES, ChatEventReader, failed_by
from tidegate.rules.chat_order import check_order


def feed(*deltas: dict[str, Any]) -> list[ChatDelta]:
    reader = ChatEventReader("v", {}, {})
    told: list[ChatDelta] = []
    for delta in deltas:
        told += reader.feed("", json.dumps({"choices": [{"delta": delta}]}).encode())
    told += reader.feed("", b"[DONE]") + reader.close()
    check_order(told)
    return told


def test_a_change_of_kind_closes_what_was_growing() -> None:
    told = feed({"reasoning": "a"}, {"content": "b"}, {"content": "c"}, {"refusal": "d"})
    shape = [type(delta).__name__ for delta in told]
    assert shape == [
        "Start",
        "Open",
        "Piece",
        "Close",
        "Open",
        "Piece",
        "Piece",
        "Close",
        "Open",
        "Piece",
        "Close",
        "Stopped",
        "End",
    ]
    assert told[-2] == Stopped(0, "refusal")


def test_choices_and_parts_are_bounded_rule_9() -> None:
    reader = ChatEventReader("v", {}, {})
    many = [{"index": index, "delta": {"content": "a"}} for index in range(MOST_CHOICES + 1)]
    told = reader.feed("", json.dumps({"choices": many}).encode())
    assert isinstance(told[-2], Failed) and told[-1] == END
    calls = [{"index": index, "id": str(index), "function": {"name": "f"}} for index in range(MOST_CALLS + 1)]
    assert any(isinstance(delta, Failed) for delta in feed({"tool_calls": calls}))


def test_citations_and_seals_belong_to_the_part_they_come_with() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "u"}}
    told = feed({"content": "a"}, {"annotations": [note]})
    assert isinstance(told[3], Cite) and told[3].part == 0
    told = feed(
        {"reasoning_content": "ab"}, {"reasoning_details": [{"type": "reasoning.text", "text": "ab", "signature": "s"}]}
    )
    assert told[1:5] == [
        Open(0, 0, "thought", Thought(text="", origin=told[1].head.origin)),  # type: ignore[union-attr]
        Piece(0, 0, "ab"),
        Sign(0, 0, b"s"),
        Close(0, 0),
    ]


def test_chunks_of_thinking_in_content_are_thoughts() -> None:
    told = feed({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}]}, {"content": "b"})
    assert [delta.head for delta in told if isinstance(delta, Open)][1] == Text(text="")
    assert [delta.text for delta in told if isinstance(delta, Piece)] == ["a", "b"]


def test_a_negative_index_is_refused() -> None:
    told = ChatEventReader("v", {}, {}).feed("", b'{"choices":[{"index":-1,"delta":{}}]}')
    assert isinstance(told[0], Start) and isinstance(told[1], Failed)


@pytest.mark.parametrize("fault", [Fault("rate_limited", "x", retry_after=3.0), Fault("bad_upstream", reason="r")])
def test_a_fault_in_a_stream_keeps_its_code_reason_and_delay(fault: Fault) -> None:
    failed = failed_by(fault)
    assert (failed.code, failed.reason, failed.detail, failed.retry_after) == (
        fault.code,
        fault.reason,
        fault.detail,
        fault.retry_after,
    )
