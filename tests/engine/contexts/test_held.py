"""A stream whose end is held back until somebody asks for it (CRP 5.3; #22, #23)."""

from __future__ import annotations

import pytest

from tidegate.dialects.anthropic_messages import AnthropicMessages
from tidegate.dialects.openai_chat import OpenaiChat
from tidegate.dialects.openai_responses import OpenaiResponses
from tidegate.engine.contexts.held import HoldingWriter
from tidegate.exchange.chat import (
    END,
    ChatDelta,
    ChatRequest,
    Close,
    Failed,
    Open,
    Piece,
    Start,
    Stopped,
    Text,
    Usage,
    Used,
)
from tidegate.ports.dialect import Dialect

SAID: list[ChatDelta] = [
    Start(id="theirs", model="m"), Open(0, 0, "text", Text(text="")), Piece(0, 0, "hello"), Close(0, 0),
]  # fmt: skip
ENDS: list[ChatDelta] = [Stopped(0, "stop"), Used(Usage(input=3, output=1))]
ID = "01J9ZK3V7Q2M8N4R6T0W5X1Y3B"
DIALECTS: list[tuple[Dialect, str, bytes]] = [
    (OpenaiChat(), "chatcmpl-" + ID, b"[DONE]"),
    (OpenaiResponses(), "resp_" + ID, b"response.completed"),
    (AnthropicMessages(), "msg_" + ID, b"message_stop"),
]


def writer(dialect: Dialect, id: str) -> HoldingWriter:
    return HoldingWriter(dialect.events_writer(ChatRequest("m", want_usage=True), id, 1, "sse"), id)


@pytest.mark.parametrize(("dialect", "id", "terminal"), DIALECTS, ids=["chat", "responses", "messages"])
def test_nothing_behind_the_stop_leaves_before_the_end_22(dialect: Dialect, id: str, terminal: bytes) -> None:
    held = writer(dialect, id)
    early = b"".join([held.write(delta) for delta in SAID])
    assert id.encode() in early and b"theirs" not in early and b"hello" in early
    assert [held.write(delta) for delta in ENDS] == [b"", b""]
    late = held.write(END)
    plain = dialect.events_writer(ChatRequest("m", want_usage=True), id, 1, "sse")
    whole = b"".join([plain.write(d) for d in [Start(id=id, model="m"), *SAID[1:], *ENDS, END]])
    assert early + late == whole and terminal in late


@pytest.mark.parametrize(("dialect", "id", "terminal"), DIALECTS, ids=["chat", "responses", "messages"])
def test_what_fails_after_the_stop_says_no_word_of_success_23(dialect: Dialect, id: str, terminal: bytes) -> None:
    held = writer(dialect, id)
    for delta in [*SAID, *ENDS]:
        held.write(delta)
    told = held.write(Failed("commit_failed", "", "no")) + held.write(END)
    assert b"error" in told and terminal not in told and b'"stop' not in told


def test_the_answer_is_known_at_any_time() -> None:
    held = writer(OpenaiChat(), "chatcmpl-" + ID)
    assert held.said.answer().choices == ()
    for delta in SAID[:3]:
        held.write(delta)
    assert held.said.answer().choices[0].parts == (Text(text="hello"),)
    for delta in ENDS:
        held.write(delta)
    assert held.said.answer().usage == Usage(input=3, output=1)


def test_what_is_no_delta_passes() -> None:
    held = writer(OpenaiChat(), "chatcmpl-" + ID)
    assert (held.comment("x"), held.heartbeat()) == (b": x\n\n", b":\n\n")
