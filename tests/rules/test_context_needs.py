"""Needs of a conversation, told without its old turns."""

from __future__ import annotations

from tidegate.exchange.chat import ChatRequest, Image, Message, Part, Text, Tool, ToolCall, ToolResult
from tidegate.rules.capability import needs_of
from tidegate.rules.context_needs import loop_start, needs_behind
from tidegate.rules.item_messages import items_of, messages_of


def user(*parts: Part) -> Message:
    return Message("user", parts)


CALL = ToolCall(id="c1", name="find", arguments="{}")
RESULT = Message("tool", (ToolResult(call_id="c1", parts=(Text(text="found"),)),))


def test_plain_text_is_measured_and_never_too_small() -> None:
    older = items_of([user(Text(text="x" * 400)), Message("assistant", (Text(text="y" * 100),))])
    request = ChatRequest("m", (user(Text(text="new")),), (Tool("find"),), max_output=9)
    whole = needs_of(ChatRequest("m", messages_of(older) + request.messages, (Tool("find"),), max_output=9))
    got = needs_behind(request, older)
    assert (got.features, got.media, got.output) == (whole.features, 0, 9)
    assert whole.text <= got.text <= whole.text + 4 * len(older)


def test_an_old_picture_still_needs_eyes() -> None:
    older = items_of([user(Text(text="look"), Image(mime="image/png", data=b"aGk="))])
    got = needs_behind(ChatRequest("m", (user(Text(text="new")),)), older)
    assert (got.features, got.media) == (frozenset({"image"}), 1)


def test_a_tool_loop_begins_with_the_turn_that_called() -> None:
    items = items_of([user(Text(text="one")), Message("assistant", (Text(text="wait"), CALL)), RESULT])
    assert loop_start(items, len(items) - 1) == 1
    assert loop_start(items, 1) == 1
    assert loop_start(items, len(items)) == len(items)
    assert loop_start((), 0) == 0
