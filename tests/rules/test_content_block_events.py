"""Anthropic's stream <-> deltas (LLM 5.10). Whole streams, cuts and the SDK: tests/dialects."""

from __future__ import annotations

import json

import pytest

from tidegate.exchange.chat import (
    END,
    PING,
    ChatDelta,
    ChatRequest,
    Citation,
    Cite,
    Close,
    Extra,
    Failed,
    Image,
    Opaque,
    Open,
    Origin,
    Piece,
    Sign,
    Start,
    Stopped,
    Text,
    Thought,
    ToolCall,
    Usage,
    Used,
)
from tidegate.exchange.fault import Fault
from tidegate.rules.chat_order import check_order
from tidegate.rules.content_block_events import (
    HELD_SIZE,
    NAME,
    BlockEventReader,
    BlockEventWriter,
    message_id,
    read_stop,
    stop_members,
)
from tidegate.wire.sse import SseDecoder

START = b'{"type":"message_start","message":{"id":"msg_1","model":"c"}}'


def reader() -> BlockEventReader:
    return BlockEventReader("anthropic", {}, {}, lambda raw: Fault("overloaded", "busy", retry_after=2.0))


def read(*events: bytes) -> list[ChatDelta]:
    state = reader()
    return [delta for data in events for delta in state.feed("", data)]


def written(*deltas: ChatDelta) -> tuple[list[dict[str, object]], list[str]]:
    state = BlockEventWriter(ChatRequest("asked"), "id1", lambda failed: b'{"failed":"%b"}' % failed.code.encode())
    raw = b"".join([state.write(delta) for delta in deltas])
    return [json.loads(data) for _, data in SseDecoder().feed(raw)], state.losses


@pytest.mark.parametrize(
    ("word", "details", "calls", "stop", "extra"),
    [
        ("end_turn", b"", False, "stop", None),
        ("end_turn", b"", True, "tool_calls", None),
        ("max_tokens", b"", True, "length", None),
        ("refusal", b"null", False, "content_filter", None),
        ("refusal", b"{}", False, "refusal", Extra(NAME, (("stop_details", b"{}"),))),
        ("new", b"", False, "stop", Extra(NAME, (("stop_reason", b'"new"'),))),
    ],
)
def test_stop_reasons(word: str, details: bytes, calls: bool, stop: str, extra: Extra | None) -> None:
    assert read_stop(word, details, calls) == (stop, extra)


def test_a_refusal_of_another_vendor_has_details_and_foreign_words_stay_out() -> None:
    assert stop_members("refusal", "", Extra("gemini_generate", (("finishReason", b'"SAFETY"'),))) == {
        "stop_reason": "refusal", "stop_sequence": None,
        "stop_details": {"type": "refusal", "category": None, "explanation": None},
    }  # fmt: skip
    assert stop_members("stop_sequence", "###", None) == {"stop_reason": "stop_sequence", "stop_sequence": "###"}


def test_pings_pass_once_begun_and_unknown_events_are_skipped() -> None:
    assert read(b'{"type":"ping"}') == []
    assert read(START, b'{"type":"ping"}', b'{"type":"future","x":1}', START) == [Start("msg_1", "c"), PING]


def test_a_block_that_nobody_closed_is_closed_before_the_stop() -> None:
    deltas = read(
        START, b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}',
        b'{"type":"message_delta","delta":{"stop_reason":"end_turn"}}',
        b'{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":3}}',
        b'{"type":"message_stop"}', b'{"type":"message_stop"}',
    )  # fmt: skip
    check_order(deltas)
    assert deltas == [
        Start("msg_1", "c"), Open(0, 0, "text", Text(text="")), Piece(0, 0, "a"), Close(0, 0), Stopped(0, "stop"),
        Used(Usage(output=3)), END,
    ]  # fmt: skip


def test_a_held_block_is_bounded() -> None:
    state = reader()
    state.feed("", START)
    state.feed("", b'{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","input":{}}}')
    piece = json.dumps({"type": "content_block_delta", "index": 0, "delta": {
        "type": "input_json_delta", "partial_json": "x" * (HELD_SIZE // 2)}}).encode()  # fmt: skip
    assert state.feed("", piece) == []
    assert state.feed("", piece)[0] == Failed("bad_upstream", "event_too_large", "A block of the stream is too large.")
    assert state.feed("", piece) == []


def test_an_unknown_block_grows_by_its_own_deltas_and_goes_on_whole() -> None:
    deltas = read(
        START, b'{"type":"content_block_start","index":0,"content_block":{"type":"compaction","content":"a"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"compaction_delta","content":"b","n":1}}',
        b'{"type":"content_block_stop","index":0}',
    )  # fmt: skip
    head = Opaque(dialect=NAME, kind="compaction", value=b'{"type":"compaction","content":"ab","n":1}')
    assert deltas[1:] == [Open(0, 0, "opaque", head), Close(0, 0)]


def test_an_error_tells_its_delay() -> None:
    assert read(b'{"type":"error","error":{}}') == [Start(), Failed("overloaded", "", "busy", 2.0), END]


def test_interleaved_calls_keep_their_index_and_other_choices_are_a_loss() -> None:
    events, losses = written(
        Start("msg_9", "m"),
        Open(0, 0, "tool_call", ToolCall(id="a", name="f", arguments="")),
        Open(0, 1, "tool_call", ToolCall(id="b", name="g", arguments="")),
        Piece(0, 0, "{"), Piece(0, 1, "{}"), Piece(0, 0, "}"), Close(0, 0), Close(0, 1),
        Open(1, 0, "text", Text(text="")), Piece(1, 0, "x"), Close(1, 0),
        Open(0, 2, "image", Image(url="u")), Piece(0, 2, "x"), Close(0, 2),
        Stopped(0, "tool_calls"), Stopped(1, "stop"), Used(Usage(output=4)), END,
    )  # fmt: skip
    assert [(event["type"], event.get("index")) for event in events] == [
        ("message_start", None), ("content_block_start", 0), ("content_block_start", 1), ("content_block_delta", 0),
        ("content_block_delta", 1), ("content_block_delta", 0), ("content_block_stop", 0), ("content_block_stop", 1),
        ("message_delta", None), ("message_stop", None),
    ]  # fmt: skip
    assert losses == ["n", "parts.image"]


def test_a_seal_comes_last_in_its_block_and_once() -> None:
    events, losses = written(
        Start("", ""), Open(0, 0, "thought", Thought(text="", origin=Origin("anthropic"))), Sign(0, 0, b"s"),
        Piece(0, 0, "hm"), Sign(0, 0, b"s"), Close(0, 0),
        Open(0, 1, "text", Text(text="")), Cite(0, 1, Citation(quote="nowhere")), Sign(0, 1, b"t"), Close(0, 1),
        Stopped(0, "stop"), END,
    )  # fmt: skip
    assert [event.get("delta") for event in events[2:5]] == [
        {"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"}, None,
    ]  # fmt: skip
    assert losses == ["citations", "thinking.signature"]
    message = events[0]["message"]
    assert isinstance(message, dict)
    assert (message["model"], str(message["id"])[:4]) == ("asked", "msg_")


def test_a_broken_answer_ends_in_an_error_and_a_failed_one_says_nothing_more() -> None:
    assert written(Start("a", "m"), Stopped(0, "broken"), END)[0][-1] == {"failed": "bad_upstream"}
    assert written(Start("a", "m"), Failed("overloaded"), END)[0][1:] == [{"failed": "overloaded"}]


def test_ids_of_this_dialect_stay() -> None:
    assert message_id("msg_1") == "msg_1"
    assert message_id("x") == message_id("x") != message_id("y")
    assert len(message_id("")) == 28
