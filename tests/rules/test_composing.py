"""Models made of models (LLM 14)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import ChatAnswer, ChatRequest, Choice, Message, Text, Tool
from tidegate.rules.composing import (
    elected,
    joined,
    label_in,
    label_request,
    normal,
    plain_request,
    rendered,
    rule_fits,
    step_request,
    text_of,
    words_of,
)

ASKED = ChatRequest(
    "m", (Message("system", (Text(text="s"),)), Message("user", (Text(text="Write code"),))), stream=True
)


def said(text: str) -> ChatAnswer:
    return ChatAnswer("1", "m", 1, (Choice(0, (Text(text=text),)),))


def test_templates_put_outputs_into_their_places() -> None:
    assert rendered(("Check: ", "draft", "!"), {"draft": "{{ x }}"}) == "Check: {{ x }}!"
    assert rendered(("", "unknown", ""), {}) == ""


def test_a_step_sees_the_request_and_its_inputs_or_what_was_said_before() -> None:
    assert step_request(ASKED, (), {}) is ASKED
    one = step_request(ASKED, (("text", ("", "draft", "")),), {"draft": "d"})
    assert words_of(one) == "d" and one.messages[:2] == ASKED.messages
    two = step_request(ASKED, (("a", ("1",)), ("b", ("2",))), {})
    assert words_of(two) == "a:\n1\n\nb:\n2"
    assert words_of(step_request(ASKED, (), {"x": "1", "y": "2"})) == "2"


def test_a_step_nobody_hears_is_whole_and_plain() -> None:
    plain = plain_request(ChatRequest("m", tools=(Tool("t"),), stream=True))
    assert (plain.stream, plain.tools, plain.sampling.n) == (False, (), 1)


@pytest.mark.parametrize(
    ("texts", "winner"),
    [(["a", "B", "b."], 1), (["a", "b"], 0), (['{"x": 1, "y": 2}', "no", '{"y":2,"x":1}'], 0), (["x"], 0)],
)
def test_votes_compare_words_and_values(texts: list[str], winner: int) -> None:
    assert elected(texts) == winner


def test_answers_are_joined_in_order() -> None:
    assert text_of(joined([said("a"), said("b")])) == "a\n\nb"
    assert text_of(ChatAnswer()) == ""


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({"task": "code"}, True),
        ({"task": "chat"}, False),
        ({"contains": "CODE"}, True),
        ({"contains": "poem"}, False),
        ({"longer": "9"}, True),
        ({"longer": "10"}, False),
        ({}, True),
    ],
)
def test_rules_look_at_the_wish_and_the_last_turn(conditions: dict[str, str], fits: bool) -> None:
    assert rule_fits(conditions, words_of(ASKED), "code") is fits


def test_a_classifier_answers_with_one_label() -> None:
    labels = ("code", "small talk")
    asked = label_request("m", "hi", labels)
    assert asked.output is not None and b'"enum":["code","small talk"]' in asked.output.schema
    assert label_in('{"label":"code"}', labels) == "code"
    assert label_in(' "Small  talk". ', labels) in ("small talk", "")
    assert label_in("Code.", labels) == "code"
    assert label_in("poem", labels) == ""
    assert normal("[1, 2]") == "[1, 2]"
