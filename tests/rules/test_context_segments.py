"""A prompt out of segments is byte for byte the prompt written whole (CRP 7.3)."""

from __future__ import annotations

import pytest

from rules.talk import DIALECTS, VENDORS, Talk, said
from tidegate.exchange.chat import ChatRequest, Message, Origin, Text, Thought, ToolCall, ToolResult
from tidegate.rules.context_render import Target, render
from tidegate.rules.context_segments import Segments, body_of, may_splice


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_segment_is_written_once_and_the_whole_is_the_same(dialect: str) -> None:
    talk = Talk(dialect)
    written: list[int] = []
    real = talk.write

    def counted(request: ChatRequest) -> bytes:
        written.append(len(request.messages))
        return real(request)

    for turn in range(12):
        talk.ask(said(f"question {turn}"))
        rendered = render(talk.given, talk.target, whole=False)
        assert may_splice(rendered, dialect) == (turn >= 1)
        if turn >= 1:
            written.clear()
            assert body_of(rendered, "key", talk.target, counted) == talk.body()
            assert len(written) == 2, "the chunk that is new, and what is live"
            assert max(written) <= 4
        talk.answer(text=f"answer {turn}")


def test_a_fork_has_segments_of_its_own() -> None:
    talk = Talk()
    for turn in range(4):
        talk.talk(f"question {turn}")
    view, frozen, turn = talk.view, talk.frozen, talk.turn
    talk.ask(said("left"))
    left = talk.spliced()
    talk.answer(text="l" * 9)
    talk.ask(said("more"))
    assert talk.spliced() == talk.body()
    talk.view, talk.frozen, talk.turn = view, frozen, turn
    talk.ask(said("right"))
    assert talk.spliced() == talk.body() == left.replace(b"left", b"right")
    talk.answer(text="r" * 9)
    talk.ask(said("more"))
    assert talk.spliced() == talk.body()


def test_an_older_version_is_not_told_what_came_later() -> None:
    talk = Talk()
    for turn in range(4):
        talk.talk(f"question {turn}")
    talk.ask(said("now"))
    given, body = talk.given, talk.body()
    talk.answer()
    for turn in range(3):
        talk.ask(said(f"later {turn}"))
        assert talk.spliced() == talk.body()
        talk.answer()
    talk.given = given
    talk.last = render(given, talk.target)
    assert talk.spliced() == body


def test_a_turn_that_a_target_sees_nothing_of_is_written_whole() -> None:
    talk = Talk("anthropic_messages")
    talk.talk("one")
    talk.ask(said("two"))
    talk.answer(Thought(text="t", signature=b"s", origin=Origin("gemini")))
    talk.talk("three")
    talk.ask(said("four"))
    rendered = render(talk.given, talk.target, whole=False)
    assert body_of(rendered, "key", talk.target, talk.write) == b""
    assert talk.spliced() == talk.body()


def test_results_stay_with_their_calls_across_segments() -> None:
    talk = Talk("anthropic_messages")
    for turn in range(5):
        talk.ask(said("go"))
        talk.answer(ToolCall(id=f"c{turn}", name="tool_1"))
        result = ToolResult(call_id=f"c{turn}", parts=(Text(text="ok"),))
        talk.ask(Message("tool", (result,)))
        assert talk.spliced() == talk.body()
        talk.answer(text="done")


def test_a_dialect_whose_turns_look_around_is_not_spliced() -> None:
    talk = Talk()
    for turn in range(4):
        talk.talk(f"question {turn}")
    talk.ask(said("now"))
    rendered = render(talk.given, Target("bedrock_converse", "bedrock", first=False), whole=False)
    assert not may_splice(rendered, "bedrock_converse")
    assert Segments().upto == 0 and VENDORS["openai_chat"] == "openai"
