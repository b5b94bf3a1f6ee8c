"""Settings of a turn: what is kept beside the items, and who inherits it (CRP 3.1)."""

from __future__ import annotations

from msgspec.structs import replace

from tidegate.exchange.chat import ChatRequest, Message, Output, Sampling, Text, Thinking, Tool, ToolChoice
from tidegate.rules.context_settings import model_of, settings_of, system_of, with_settings

SYSTEM = Message("system", (Text(text="be brief", raw=b'"be brief"'),), raw=b"{}")
HI = Message("user", (Text(text="hi"),))
FULL = ChatRequest(
    "m", (SYSTEM, HI), (Tool("find", schema=b'{"type":"object"}'),), ToolChoice("required"), False,
    Output("json"), Thinking(effort="low"), Sampling(temperature=0.1, seed=7), 100, ("END",), stream=True,
    metadata=b'{"a":1}', user="u",
)  # fmt: skip
BARE = ChatRequest("", (HI,))


def test_settings_hold_system_text_and_no_message_and_nothing_of_the_call() -> None:
    kept = settings_of(FULL)
    assert b"be brief" in kept and b'"hi"' not in kept
    assert kept == settings_of(replace(FULL, stream=False, user="", metadata=b"", messages=(SYSTEM,)))
    assert model_of(kept) == "m" and model_of(b"") == ""


def test_equal_settings_are_equal_bytes_whatever_bytes_they_came_in() -> None:
    other = replace(SYSTEM, parts=(Text(text="be brief"),), raw=b"")
    assert settings_of(FULL) == settings_of(replace(FULL, messages=(other, HI)))


def test_what_is_left_out_is_inherited() -> None:
    got = with_settings(BARE, settings_of(FULL), True)
    assert got.messages == (replace(SYSTEM, parts=(Text(text="be brief"),), raw=b""), HI)
    assert replace(got, messages=()) == replace(FULL, messages=(), stream=False, metadata=b"", user="")


def test_what_is_said_is_not_inherited() -> None:
    own = replace(BARE, model="n", messages=(Message("system", (Text(text="rhyme"),)), HI), tools=(Tool("other"),),
                  tool_choice=ToolChoice("none"), sampling=Sampling(temperature=0.9), max_output=5)  # fmt: skip
    got = with_settings(own, settings_of(FULL), True)
    assert (got.model, got.messages, got.tools, got.tool_choice) == ("n", own.messages, own.tools, own.tool_choice)
    assert (got.sampling, got.max_output, got.stop) == (Sampling(temperature=0.9, seed=7), 5, ("END",))


def test_null_clears() -> None:
    own = replace(BARE, cleared=("tools", "temperature", "stop", "instructions", "response_format", "max_tokens"))
    got = with_settings(own, settings_of(FULL), True)
    assert (got.tools, got.stop, got.messages, got.output, got.max_output) == ((), (), (HI,), None, None)
    assert (got.sampling, got.tool_choice) == (Sampling(seed=7), ToolChoice())
    assert got.thinking == Thinking(effort="low")


def test_without_inheritance_or_a_last_turn_a_request_is_as_it_is() -> None:
    assert with_settings(BARE, settings_of(FULL), False) is BARE
    assert with_settings(BARE, b"", True) is BARE


def test_only_leading_system_text_is_a_setting() -> None:
    assert system_of((SYSTEM, SYSTEM, HI, SYSTEM)) == 2
    assert system_of(()) == 0
