from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.conversation_name import SHARE, conversation_name


def name(members: dict[str, Any], id: str = "", consumer: str = "bob") -> str:
    return conversation_name(members, id, consumer)


def talk(*turns: str, system: str = "Be brief.", **more: Any) -> dict[str, Any]:
    said = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]
    return {"model": "m", "messages": [{"role": "system", "content": system}, *said], **more}


def test_a_conversation_keeps_its_name_as_it_grows() -> None:
    first = name(talk("Hello"))
    assert len(first) == 32
    assert name(talk("Hello", "Hi!", "And then?")) == first
    assert name(talk("Hello", "Another answer", stream=True, temperature=0.5)) == first


@pytest.mark.parametrize(
    "other",
    [
        talk("Goodbye"),
        talk("Hello", system="Be long."),
        talk("Hello", tools=[{"type": "function", "function": {"name": "now"}}]),
        talk("Hello" * 5000),
        {"messages": [{"role": "user", "content": "Hello"}]},
    ],
)
def test_another_beginning_is_another_conversation(other: dict[str, Any]) -> None:
    assert name(other) != name(talk("Hello"))


def test_what_lies_beyond_the_bound_tells_by_its_length_alone() -> None:
    assert name(talk("x" * SHARE + "a")) == name(talk("x" * SHARE + "b"))
    assert name(talk("x" * SHARE + "a")) != name(talk("x" * SHARE + "aa"))


def test_a_long_system_text_does_not_hide_the_first_turn() -> None:
    long = "s" * 100_000
    assert name({"system": long, "messages": [{"role": "user", "content": "a"}]}) != name(
        {"system": long, "messages": [{"role": "user", "content": "b"}]}
    )


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (
            {"system": "s", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
            {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
             "messages": [{"role": "user", "content": [{"type": "text", "text": "hi",
                                                        "cache_control": {"type": "ephemeral"}}]},
                          {"role": "assistant", "content": "yes"}]},
        ),
        (
            {"contents": [{"parts": [{"text": "hi"}]}], "systemInstruction": {"parts": [{"text": "s"}]}},
            {"contents": [{"parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "yes"}]}],
             "systemInstruction": {"parts": [{"text": "s"}]}},
        ),
        (
            {"messages": [{"role": "user", "content": [{"text": "hi"}, {"cachePoint": {"type": "default"}}]}],
             "toolConfig": {"tools": [{"toolSpec": {"name": "t"}}]}},
            {"messages": [{"role": "user", "content": [{"text": "hi"}]}],
             "toolConfig": {"tools": [{"toolSpec": {"name": "t"}}]}},
        ),
        ({"input": "hi", "instructions": "s"}, {"input": "hi", "instructions": "s", "stream": True}),
        (
            {"input": [{"role": "user", "content": "hi"}]},
            {"input": [{"role": "user", "content": "hi"}, {"type": "function_call", "name": "f"}]},
        ),
        ({"prompt": "x" * SHARE}, {"prompt": "x" * SHARE + "more"}),
    ],
    ids=["anthropic", "gemini", "bedrock", "responses", "items", "completions"],
)  # fmt: skip
def test_every_dialect_says_how_it_began(first: dict[str, Any], later: dict[str, Any]) -> None:
    assert name(first) == name(later) != ""


def test_an_id_goes_before_the_beginning_and_is_its_consumers_own() -> None:
    by_id = name(talk("Hello"), "ctx_1")
    assert by_id == name(talk("Goodbye"), "ctx_1")
    assert by_id == name(talk("Hello", context_id="ctx_1")) == name(talk("Hello", session_id="ctx_1"))
    assert by_id not in (name(talk("Hello")), name(talk("Hello"), "ctx_2"), name(talk("Hello"), "ctx_1", "eve"))
    assert name(talk("Hello"), "", "eve") == name(talk("Hello"))


@pytest.mark.parametrize("members", [{}, {"messages": []}, {"messages": "", "input": 7}, {"session_id": 5}, {"q": 1}])
def test_what_is_no_conversation_has_no_name(members: dict[str, Any]) -> None:
    assert name(members) == ""


def test_lone_surrogates_and_deep_lists_are_only_values() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    assert len(name({"messages": [{"role": "user", "content": ["\ud800", deep, None, 1.5, True]}]})) == 32


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=20,
)


@given(content=JSON, later=st.lists(st.fixed_dictionaries({"role": st.just("assistant"), "content": JSON})))
def test_whatever_was_said_first_names_what_follows(content: Any, later: list[Any]) -> None:
    first = {"role": "user", "content": content}
    assert name({"messages": [first]}) == name({"messages": [first, *later]}) != ""
