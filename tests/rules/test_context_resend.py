"""A history that is sent again is told from one that is continued (CRP 3.1 ``on_resend``; #35)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Message, Text, Thought, ToolCall, ToolResult
from tidegate.exchange.context import Item
from tidegate.rules.context_resend import NEW, Resent, resent
from tidegate.rules.item_messages import items_of, items_of_answer


def user(text: str) -> Message:
    return Message("user", (Text(text=text),))


def assistant(text: str) -> Message:
    return Message("assistant", (Text(text=text),))


def sent(*messages: Message) -> tuple[Item, ...]:
    return items_of(messages)


KEPT = (*sent(user("one")), *items_of_answer((Text(text="first"),), "openai", "m", "openai_chat"))


@pytest.mark.parametrize(
    ("kept", "said", "expected"),
    [
        (KEPT, sent(user("one"), assistant("first"), user("two")), Resent(2, False)),
        (KEPT, sent(user("two")), NEW),
        (KEPT, sent(user("one")), NEW),
        (KEPT, sent(user("other"), assistant("first")), NEW),
        (KEPT, sent(user("one"), assistant("changed"), user("two")), NEW),
        (KEPT, sent(user("one"), assistant("first")), Resent(2, True)),
        (KEPT[:1], sent(user("one"), user("two")), Resent(1, False)),
        (KEPT[:1], sent(user("one")), NEW),
        ((), sent(user("one"), user("two")), NEW),
        ((*KEPT, *sent(user("two"))), sent(user("one"), assistant("first"), user("2")), Resent(2, True)),
    ],
    ids=["continued", "new", "said-twice", "other-start", "one-equal-is-chance", "nothing-new", "broken-first-turn",
         "same-again", "empty", "diverged"],
)  # fmt: skip
def test_a_list_is_the_history_when_it_begins_like_it_35(
    kept: tuple[Item, ...], said: tuple[Item, ...], expected: Resent
) -> None:  # fmt: skip
    assert resent(kept, said) == expected


def test_tools_are_compared_and_thoughts_are_not() -> None:
    call = ToolCall(id="c1", name="find", arguments='{"a":1}')
    result = Message("tool", (ToolResult(call_id="c1", parts=(Text(text="found"),)),))
    kept = (
        *sent(user("one")),
        *items_of_answer((Thought(text="hm"), call), "anthropic", "m", "anthropic_messages"),
        *sent(result),
    )
    again = (user("one"), Message("assistant", (call,)), result)
    assert resent(kept, sent(*again, user("two"))) == Resent(3, False)
    other = ToolCall(id="c1", name="find", arguments='{"a":2}')
    assert resent(kept, sent(user("one"), Message("assistant", (other,)), user("two"))) == NEW
