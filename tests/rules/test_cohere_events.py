"""Corners of Cohere's streams; whole streams are in ``tests/dialects/test_cohere_chat.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.chat import ChatDelta, Cite, Close, Open, Origin, Piece, Start, Stopped, Text, Thought, ToolCall
from tidegate.rules.chat_order import OrderChecker
from tidegate.rules.cohere_events import CohereEventReader, broken_stop, message_id, read_stop


class Wire:
    """A reader under the order law."""

    def __init__(self) -> None:
        self.reader = CohereEventReader("v", "m", {"a": "alias"}, {})
        self.checker = OrderChecker()

    def __call__(self, kind: str, index: int = 0, **message: Any) -> list[ChatDelta]:
        body = {"type": kind, "index": index, "delta": {"message": message}}
        deltas = self.reader.feed("", json.dumps(body).encode())
        for delta in deltas:
            self.checker.check(delta)
        return deltas


def test_a_text_stays_open_for_citations_till_the_next_part() -> None:
    wire = Wire()
    assert wire("message-start", content=[]) == [Start(model="m")]
    assert wire("citation-start", citations={"text": "early"}) == []
    assert wire("content-start", content={"type": "text", "text": "a"}) == [
        Open(0, 0, "text", Text(text="")), Piece(0, 0, "a"),
    ]  # fmt: skip
    assert wire("content-end") == []
    assert [type(delta) for delta in wire("citation-start", citations=[{"text": "x"}, {"text": "y"}])] == [Cite, Cite]
    assert wire("content-start", 1, content={"type": "thinking", "thinking": ""}) == [
        Close(0, 0), Open(0, 1, "thought", Thought(text="", origin=Origin("v"))),
    ]  # fmt: skip
    assert wire("content-delta", 0, content={"text": "late"}) == []
    assert wire("content-end", 1) == [Close(0, 1)]
    assert wire("tool-call-start", tool_calls={"id": "1", "function": {"name": "a"}}) == [
        Open(0, 2, "tool_call", ToolCall(id="1", name="alias", arguments="")),
    ]  # fmt: skip
    ended = wire("message-end")
    assert ended[:3] == [Piece(0, 2, "{}"), Close(0, 2), Stopped(0, "tool_calls")]
    assert wire("content-delta", content={"text": "after"}) == []


def test_words_of_the_end() -> None:
    assert broken_stop("COMPLETE", "") is None
    failed = broken_stop("ERROR", "")
    assert failed is not None
    assert failed.detail == "The model broke off with an error."
    assert read_stop("TOOL_CALL", False) == ("stop", None)
    assert read_stop("MAX_TOKENS", True) == ("length", None)


@pytest.mark.parametrize("id", ["", "msg_1", "c14c80c3-18eb-4519-9460-6c92edd8cfb", "x" * 36])
def test_ids_of_other_vendors_become_ones_of_this_shape(id: str) -> None:
    made = message_id(id)
    assert [len(piece) for piece in made.split("-")] == [8, 4, 4, 4, 12]
    assert made == message_id(id) == message_id(made)
