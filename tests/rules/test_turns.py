from __future__ import annotations

import pytest

from tidegate.exchange.chat import Message, Part, Role, Text, ToolCall, ToolResult
from tidegate.exchange.fault import Fault
from tidegate.rules.turns import alternating, leading_system


def turn(role: Role, *parts: Part | str) -> Message:
    return Message(role, tuple(Text(text=part) if isinstance(part, str) else part for part in parts))


def call(id: str) -> ToolCall:
    return ToolCall(id=id, name="f")


def result(id: str) -> ToolResult:
    return ToolResult(call_id=id, parts=(Text(text=id),))


def test_only_leading_system_turns_are_taken_off() -> None:
    messages = (turn("system", "a"), turn("system", "b"), turn("user", "c"), turn("system", "d"))
    assert leading_system(messages) == (messages[:2], messages[2:])


def test_neighbours_of_one_role_are_merged_and_empty_turns_dropped() -> None:
    assert alternating((turn("user", "a"), turn("assistant"), turn("system", "b"), turn("assistant", "c"))) == [
        turn("user", "a", "b"),
        turn("assistant", "c"),
    ]


def test_results_come_first_in_one_user_turn_in_the_order_of_the_calls() -> None:
    assert alternating(
        (
            turn("user", "go"),
            turn("assistant", call("1"), call("2")),
            turn("tool", result("2")),
            turn("tool", result("1")),
            turn("user", "and?"),
        )
    ) == [
        turn("user", "go"),
        turn("assistant", call("1"), call("2")),
        turn("user", result("1"), result("2"), "and?"),
    ]


def test_a_call_of_the_last_turn_needs_no_result() -> None:
    messages = (turn("user", "go"), turn("assistant", call("1")))
    assert alternating(messages) == list(messages)


@pytest.mark.parametrize(
    "messages",
    [
        (turn("assistant", call("1"), call("2")), turn("tool", result("1"))),
        (turn("assistant", call("1")), turn("user", "no result")),
        (turn("user", "go"), turn("tool", result("1"))),
        (turn("tool", result("1")),),
    ],
)
def test_calls_and_results_that_do_not_match_are_refused_here(messages: tuple[Message, ...]) -> None:
    with pytest.raises(Fault, match="invalid_request"):
        alternating(messages)


def test_results_of_ten_thousand_calls_are_put_in_order_in_linear_time() -> None:
    ids = [str(number) for number in range(10_000)]
    turns = alternating((
        turn("user", "go"),
        turn("assistant", *[call(id) for id in ids]),
        *[turn("tool", result(id)) for id in reversed(ids)],
    ))  # fmt: skip
    assert [part.call_id for part in turns[2].parts if isinstance(part, ToolResult)] == ids
