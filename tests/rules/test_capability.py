"""What a call needs and what a model has (LLM 9, 5.6)."""

from __future__ import annotations

from tidegate.exchange.chat import (
    ChatRequest,
    Extra,
    Image,
    Message,
    Opaque,
    Origin,
    Output,
    Sampling,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidegate.rules.capability import lacking, needs_of


def test_parts_tools_schema_and_thinking_are_read_off_the_request() -> None:
    request = ChatRequest(
        "m",
        (Message("user", (Text(text="12345678"), Image(url="u"), Image(data=b"x"))),),
        tools=(Tool("t", schema=b"{}"),),
        output=Output("schema", schema=b"{}"),
        thinking=Thinking(),
        max_output=7,
        sampling=Sampling(n=2),
    )
    needs = needs_of(request)
    assert needs.features == {"image", "tools", "schema"}
    assert (needs.wishes, needs.text, needs.media, needs.output, needs.choices) == ({"thinking"}, 13, 2, 7, 2)
    assert needs.input_tokens == 13 // 4 + 2048


def test_a_picture_in_a_tools_result_counts_too() -> None:
    result = ToolResult(call_id="1", parts=(Image(url="u"), Text(text="ab")))
    needs = needs_of(ChatRequest("m", (Message("tool", (result,)),)))
    assert (needs.features, needs.text) == ({"image"}, 2)


def test_what_is_not_known_of_a_model_counts_as_yes() -> None:
    needs = needs_of(ChatRequest("m", (Message("user", (Image(url="u"),)),), tools=(Tool("t"),)))
    assert lacking(needs, None, 0) == ""
    assert lacking(needs, frozenset({"tools"}), 0) == "image"
    assert lacking(needs, frozenset({"tools", "image"}), 0) == ""


def test_a_schema_may_be_emulated_where_there_are_tools() -> None:
    needs = needs_of(ChatRequest("m", output=Output("schema", schema=b"{}")))
    assert lacking(needs, frozenset({"tools"}), 0) == "schema"
    assert lacking(needs, frozenset({"tools"}), 0, emulate=True) == ""
    assert lacking(needs, frozenset(), 0, emulate=True) == "schema"


def test_only_what_is_surely_too_long_is_refused_here() -> None:
    needs = needs_of(ChatRequest("m", (Message("user", (Text(text="x" * 800),)),), max_output=50))
    assert lacking(needs, None, 150) == ""
    assert lacking(needs, None, 149) == "context_length"


def test_a_tool_loop_with_sealed_thoughts_belongs_to_its_vendor() -> None:
    thought = Thought(text="hm", signature=b"s", origin=Origin("anthropic"))
    turn = Message("assistant", (thought, ToolCall(id="1", name="t")))
    asked = (Message("user", (Text(text="?"),)), turn)
    results = (*asked, Message("tool", (ToolResult(call_id="1"),)))
    assert needs_of(ChatRequest("m", results)).vendors == {"anthropic"}
    assert needs_of(ChatRequest("m", (*results, Message("user", (Text(text="more"),))))).vendors == frozenset()


def test_bounds_that_cannot_be_meant_give_no_money_back() -> None:
    needs = needs_of(ChatRequest("m", (), max_output=-1_000_000, sampling=Sampling(n=-3)))
    assert (needs.output, needs.choices, needs.answers) == (0, 1, 1)
    needs = needs_of(ChatRequest("m", (), max_output=10**300, sampling=Sampling(n=10**30)))
    assert (needs.output, needs.choices) == (1 << 31, 1 << 16)


def test_every_answer_that_is_written_counts_whether_the_client_gets_it_or_not() -> None:
    def completion(prompt: bytes, *extra: tuple[str, bytes]) -> ChatRequest:
        parts = (Opaque("openai_completions", "prompt", prompt),)
        return ChatRequest("m", (Message("user", parts),), sampling=Sampling(n=2), extra=Extra("", extra))

    assert needs_of(completion(b'["a", "b", "c"]')).answers == 6
    assert needs_of(completion(b"[[1, 2], [3]]", ("best_of", b"20"))).answers == 40
    assert needs_of(completion(b"[1, 2, 3]", ("best_of", b"-5"))).answers == 2
    assert needs_of(completion(b"[]")).answers == 2
