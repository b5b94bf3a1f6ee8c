"""Twin of ``rules/plain_talk``."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.capability import Needs, needs_of
from tidegate.rules.plain_talk import plain_needs
from tidegate.wire.chat_request import read_chat_request
from tidegate.wire.json_object import WrongShape

TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Grüße"}]


def test_a_plain_call_needs_its_text_its_bound_and_its_choices() -> None:
    found = plain_needs({"model": "m", "messages": TALK, "max_tokens": 9, "n": 3, "temperature": 1, "stop": "x"})
    assert found == Needs(text=13, output=9, choices=3)


def test_the_newer_bound_wins_wherever_it_stands() -> None:
    assert plain_needs({"messages": TALK, "max_tokens": 9, "max_completion_tokens": 7}) == Needs(text=13, output=7)
    assert plain_needs({"messages": TALK, "max_completion_tokens": 7, "max_tokens": 9}) == Needs(text=13, output=7)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": []}, {"n": True}, {"max_tokens": 1.5}, {"max_tokens": -1}, {"stream": 1}, {"temperature": "0"},
        {"stream_options": {"include_usage": 1}}, {"user": 5}, {"stop": ["a"]}, {"anything": 1},
        {"messages": None}, {"messages": ["x"]}, {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "user", "content": "x", "name": "y"}]}, {"messages": [{"role": 5, "content": ""}]},
        {"messages": [{"role": ["user"], "content": ""}]},
    ],
)  # fmt: skip
def test_what_is_more_than_plain_text_is_looked_at_closer(more: dict[str, Any]) -> None:
    assert plain_needs({"model": "m", "messages": TALK, **more}) is None


def test_a_call_without_turns_is_looked_at_closer() -> None:
    assert plain_needs({"model": "m"}) is None


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 9), st.floats(0, 2), st.text(max_size=3), st.lists(st.text(max_size=2)),
    st.dictionaries(st.sampled_from(["include_usage", "x"]), st.booleans() | st.integers(0, 1), max_size=2),
)  # fmt: skip
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "developer", "tool", "x"]), "content": VALUES},
        optional={"name": st.text(max_size=2)},
    ),
    max_size=3,
)
NAMES = [
    "max_tokens", "max_completion_tokens", "n", "seed", "temperature", "top_p", "stream", "stream_options", "stop",
    "user", "safety_identifier", "prompt_cache_key", "frequency_penalty", "tools", "modalities", "reasoning_effort",
]  # fmt: skip


@given(TURNS, st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_what_is_found_is_what_the_whole_request_tells(turns: list[Any], more: dict[str, Any]) -> None:
    body = {"model": "m", "messages": turns, **more}
    found = plain_needs(body)
    if found is not None:
        try:
            assert found == needs_of(read_chat_request(msgspec.json.encode(body)))
        except WrongShape as wrong:
            pytest.fail(f"let through: {wrong}")
