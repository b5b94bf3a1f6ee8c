"""Corners of a Converse stream; whole streams are in ``tests/dialects/test_bedrock_converse.py``."""

from __future__ import annotations

import json
from typing import Any

from tidegate.exchange.chat import (
    END,
    ChatDelta,
    ChatRequest,
    Close,
    Failed,
    Image,
    Open,
    Origin,
    Piece,
    SealedThought,
    Sign,
    Start,
    Text,
    Thought,
)
from tidegate.exchange.fault import Fault
from tidegate.rules.chat_order import OrderChecker
from tidegate.rules.converse_events import HELD_SIZE, ConverseEventReader, ConverseEventWriter
from tidegate.wire.aws_event_stream import EventStreamDecoder


class Wire:
    """A reader under the order law."""

    def __init__(self) -> None:
        self.reader = ConverseEventReader("v", "m", {}, {}, lambda kind, body: Fault("overloaded", kind))
        self.checker = OrderChecker()

    def __call__(self, event: str, **members: Any) -> list[ChatDelta]:
        deltas = self.reader.feed(event, json.dumps(members).encode())
        for delta in deltas:
            self.checker.check(delta)
        return deltas

    def piece(self, index: int, **delta: Any) -> list[ChatDelta]:
        return self("contentBlockDelta", delta=delta, contentBlockIndex=index)


def test_blocks_begin_with_their_first_piece_and_change_their_kind() -> None:
    wire = Wire()
    assert wire("messageStart", role="assistant") == [Start(model="m")]
    assert wire("messageStart", role="assistant") == []
    assert wire("somethingNew", a=1) == []
    assert wire.piece(0, text="") == []
    assert wire.piece(0, reasoningContent={"text": "a"}) == [
        Open(0, 0, "thought", Thought(text="", origin=Origin("v"))), Piece(0, 0, "a"),
    ]  # fmt: skip
    assert wire.piece(0, reasoningContent={"signature": "s"}) == [Sign(0, 0, b"s")]
    assert wire.piece(0, reasoningContent={"redactedContent": "AA"}) == [
        Close(0, 0), Open(0, 1, "sealed_thought", SealedThought(data=b"AA", origin=Origin("v"))),
    ]  # fmt: skip
    assert wire.piece(0, reasoningContent={"redactedContent": "BB"}) == [Piece(0, 1, "BB")]
    assert wire.piece(0, text="t") == [Close(0, 1), Open(0, 2, "text", Text(text="")), Piece(0, 2, "t")]
    assert wire("contentBlockStop", contentBlockIndex=0) == [Close(0, 2)]
    assert wire("contentBlockStop", contentBlockIndex=0) == []
    assert wire.piece(0, reasoningContent={}) == []


def test_a_block_that_is_held_is_bounded() -> None:
    wire = Wire()
    wire("messageStart")
    tool = {"toolUseId": "1", "name": "n", "type": "server_tool_use"}
    wire("contentBlockStart", start={"toolUse": tool}, contentBlockIndex=0)
    assert wire.piece(0, toolUse={"input": "x" * 10}) == []
    failed = wire.piece(0, toolUse={"input": "x" * HELD_SIZE})
    assert failed == [Failed("bad_upstream", "event_too_large", "A block of the stream is too large."), END]
    assert wire.piece(0, text="late") == []


def test_nothing_may_follow_the_stop_but_usage() -> None:
    wire = Wire()
    wire("messageStart")
    wire("messageStop", stopReason="end_turn")
    assert wire.piece(0, text="late")[0] == Failed(
        "bad_upstream", "protocol", "An event of the stream is out of place."
    )


def test_an_exception_is_read_by_the_dialect() -> None:
    assert Wire()("exception:xException") == [Start(model="m"), Failed("overloaded", "", "xException"), END]


def test_an_image_that_came_whole_is_streamed() -> None:
    writer = ConverseEventWriter(ChatRequest("m"), lambda failed: ("x", b"{}"))
    wire = writer.write(Open(0, 0, "image", Image(mime="image/webp", data=b"aGk="))) + writer.write(Close(0, 0))
    assert [(event, json.loads(data)) for event, data in EventStreamDecoder().feed(wire)] == [
        ("contentBlockStart", {"start": {"image": {"format": "webp"}}, "contentBlockIndex": 0}),
        ("contentBlockDelta", {"delta": {"image": {"source": {"bytes": "aGk="}}}, "contentBlockIndex": 0}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
    ]
