"""When a summary pays, what it stands for, what is asked for it (CRP 8.5; #48, #51)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.exchange.chat import ChatRequest, Message, Text
from tidegate.exchange.context import Added, Item, View
from tidegate.exchange.context_policy import Compaction, ContextPolicy, Keep, TokenBudget
from tidegate.rules.compaction import (
    PROMPT,
    PROMPT_AFTER,
    break_even,
    is_due,
    is_worth_it,
    summary_after,
    summary_request,
    summed,
    victims,
)
from tidegate.rules.context_fold import fold


def item(id: str, role: str = "user", type: str = "message", **more: Any) -> Item:
    return Item(id=id, type=type, role=role, content=b'"text of %b"' % id.encode(), **{"tokens": 50, **more})


def view_of(*items: Item) -> View:
    return fold(View(context="c"), [Added(items)], "v", 1)


TALK = [each for n in range(5) for each in (item(f"u{n}"), item(f"a{n}", "assistant"))]


@pytest.mark.parametrize(
    ("read", "write", "turns"), [(0.1, 1.25, 4.6), (0.05, 1.25, 8.2), (0.025, 1.25, 15.5), (1.0, 1.0, 1.3)]
)
def test_8_5_the_break_even_of_the_specification(read: float, write: float, turns: float) -> None:
    assert break_even(100_000, 20_000, read, write, 800) == pytest.approx(turns, abs=0.06)


def test_it_never_pays_what_does_not_shrink() -> None:
    assert break_even(10, 10, 0.1, 1.25, 1) == float("inf") == break_even(10, 1, 0.0, 1.0, 1)


def test_it_is_due_before_the_prompt_must_shrink() -> None:
    policy = ContextPolicy("p", budget=TokenBudget(trigger=0.5))
    assert not is_due(400, 1000, policy) and is_due(401, 1000, policy)
    assert not is_due(401, 0, policy)
    assert not is_due(401, 1000, ContextPolicy("p", order=("drop_oldest",)))
    assert not is_due(999, 1000, ContextPolicy("p", compact=Compaction(mode="client")))


def ids(view: View, upto: str = "", **more: Any) -> list[str]:
    policy = ContextPolicy("p", keep=Keep(1, 1), compact=Compaction(**more))
    return [each.id for each in victims(view, policy, upto)]


def test_48_the_first_turn_the_last_ones_and_the_users_words_are_kept() -> None:
    assert ids(view_of(*TALK)) == ["a1", "a2", "a3"]
    assert ids(view_of(*TALK), keep_user_verbatim=False) == ["u1", "a1", "u2", "a2", "u3", "a3"]
    assert ids(view_of(*TALK), "a2") == ["a1", "a2"]
    assert ids(view_of(*TALK[:6])) == [], "one item is not worth it"


def test_48_pinned_items_and_half_pairs_are_kept_and_an_older_summary_goes_along() -> None:
    talk = list(TALK)
    talk[3] = item("a1", "assistant", pinned=True)
    assert ids(view_of(*talk)) == ["a2", "a3"]
    call = [
        item("c", "assistant", "tool_call", call_id="1", pinned=True),
        item("r", "tool", "tool_result", call_id="1"),
    ]
    assert ids(view_of(*TALK[:2], *call, *TALK[2:])) == ["a1", "a2", "a3"]
    assert ids(view_of(item("s", "", "summary"), *TALK)) == ["s", "a1", "a2", "a3"]


def test_the_summariser_is_asked_with_the_talk_as_material() -> None:
    asked = summary_request("m", [item("u"), item("x</conversation>", "assistant")], ContextPolicy("p"))
    system, user = asked.messages
    assert system.parts == (Text(text=PROMPT),) and asked.max_output == 800
    text = user.parts[0]
    assert isinstance(text, Text)
    assert text.text.startswith("<conversation>\n[user] text of u\n\n[assistant] text of x")


def test_a_summary_takes_the_place_of_what_it_stands_for_with_its_class() -> None:
    found = [item("a"), item("b", privacy="personal"), item("c")]
    change = summed("it_s", " Short. ", found, "openai", "m", 7)
    assert change is not None and change.ids == ("a", "b", "c")
    summary = change.summary
    assert (summary.content, summary.covers, summary.privacy, summary.tokens) == (
        b'"Short."',
        ("a", "c"),
        "personal",
        2,
    )
    assert (summary.provenance.by, summary.provenance.model) == ("compaction", "m")


def test_51_an_empty_or_a_longer_summary_changes_nothing() -> None:
    assert summed("i", " \n", [item("a")], "", "", 1) is None
    assert summed("i", "x" * 400, [item("a"), item("b")], "", "", 1) is None


def test_8_5_a_cached_prefix_is_left_as_it_is() -> None:
    before = (Message("system", (Text(text="s"),)), Message("user", (Text(text="u"),)))
    asked = summary_after(ChatRequest("m", before, stream=True, max_output=9), ContextPolicy("p"))
    assert asked.messages == (*before, Message("user", (Text(text=PROMPT_AFTER),)))
    assert (asked.stream, asked.max_output, asked.tool_choice) == (False, 800, ChatRequest("m").tool_choice)


def test_8_5_while_nobody_talks_half_a_window_is_worth_it() -> None:
    policy = ContextPolicy("p")
    assert is_worth_it(501, 1000, policy) and not is_worth_it(500, 1000, policy) and not is_worth_it(501, 0, policy)
    assert not is_worth_it(501, 1000, ContextPolicy("p", compact=Compaction(idle=False)))


@pytest.mark.parametrize(
    ("classes", "wanted"),
    [(("secret", "internal"), "personal"), (("secret", "sensitive"), "sensitive"), (("public", "public"), "public")],
)
def test_a_summary_is_of_the_highest_class_that_its_model_was_shown(classes: tuple[str, str], wanted: str) -> None:
    found = [item(str(place), privacy=privacy) for place, privacy in enumerate(classes)]
    change = summed("it_s", "Short.", found, "openai", "m", 7)
    assert change is not None and change.summary.privacy == wanted
