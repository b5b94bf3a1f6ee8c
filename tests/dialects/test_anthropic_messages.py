"""Anthropic's words <-> the neutral conversation (LLM 5, column anth)."""

from __future__ import annotations

import json
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dialects.anthropic_messages import AnthropicMessages
from tidegate.exchange.chat import (
    CacheMark,
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    Choice,
    Citation,
    Cited,
    Extra,
    Failed,
    File,
    Image,
    Message,
    Opaque,
    Origin,
    Output,
    Sampling,
    SealedThought,
    Start,
    State,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
    Used,
)
from tidegate.exchange.fault import GATEWAY, UPSTREAM, Fault
from tidegate.ports.dialect import Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.wire.sse import SseDecoder, encode_event

DIALECT = AnthropicMessages()
NAME = "anthropic_messages"
VOICE = Voice(vendor="anthropic", model="claude-x", addressed=("anthropic", NAME))
OLD = Hints(fields={"anthropic-version": "2023-06-01"})


def read(body: dict[str, Any], hints: Hints | None = None) -> ChatRequest:
    return DIALECT.read_request(json.dumps(body).encode(), hints or Hints())


def write(request: ChatRequest, voice: Voice = VOICE) -> tuple[dict[str, Any], tuple[str, ...]]:
    out = DIALECT.write_request(request, voice)
    return json.loads(out.body), out.losses


def bare(value: Any) -> Any:
    """*value* with every ``raw`` struck out: a shortcut, never a source."""
    if isinstance(value, msgspec.Struct):
        changed = {name: bare(getattr(value, name)) for name in value.__struct_fields__ if name != "raw"}
        return msgspec.structs.replace(value, **changed, **({"raw": b""} if hasattr(value, "raw") else {}))
    if isinstance(value, tuple):
        return tuple(bare(one) for one in value)
    return value


def asks(*messages: Message, **more: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=messages, max_output=100, want_usage=True, **more)


USER = Message("user", (Text(text="Hi"),))
HI = {"role": "user", "content": "Hi"}
EXTRA = Extra(NAME)

BOTH_WAYS: list[tuple[str, dict[str, Any], ChatRequest]] = [
    ("text", {"messages": [HI]}, asks(USER)),
    ("system string", {"system": "Be kind", "messages": [HI]}, asks(Message("system", (Text(text="Be kind"),)), USER)),
    (
        "system blocks with a mark",
        {"system": [{"type": "text", "text": "Be kind", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
         "messages": [HI]},
        asks(Message("system", (Text(text="Be kind", cache=CacheMark(3600)),)), USER),
    ),
    (
        "unknown members of request, message, block and tool",
        {"container": {"id": "c1"}, "inference_geo": "eu", "metadata": {"user_id": "u", "trace": 1.50},
         "tools": [{"name": "f", "input_schema": {"type": "object"}, "defer_loading": True, "type": "custom"}],
         "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "x": [1]}], "y": {"z": None}}]},
        asks(
            Message("user", (Text(text="a", extra=Extra(NAME, (("x", b"[1]"),))),),
                    extra=Extra(NAME, (("y", b'{"z": null}'),))),
            tools=(Tool("f", schema=b'{"type": "object"}',
                        extra=Extra(NAME, (("defer_loading", b"true"), ("type", b'"custom"')))),),
            user="u",
            extra=Extra(NAME, (("metadata.trace", b"1.5"), ("container", b'{"id": "c1"}'), ("inference_geo", b'"eu"'))),
        ),
    ),
    (
        "media",
        {"messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
             "title": "T", "context": "c", "citations": {"enabled": True}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain"}},
        ]}]},
        asks(Message("user", (
            Image(mime="image/png", data=b"aGk="), Image(url="https://a.example/b.png"), Image(file_id="file_1"),
            File(mime="application/pdf", data=b"JVBE", title="T",
                 extra=Extra(NAME, (("context", b'"c"'), ("citations", b'{"enabled": true}')))),
            File(mime="text/plain", text="plain"),
        ))),
    ),
    (
        "tool loop: two calls, two results first, one failed, one an image",
        {"tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True,
                    "cache_control": {"type": "ephemeral"}}],
         "messages": [HI,
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "Sig+/=="},
                {"type": "redacted_thinking", "data": "Data+/=="},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 12345678901234567890}},
                {"type": "tool_use", "id": "toolu_2", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": [
                    {"type": "image", "source": {"type": "url", "url": "https://a.example"}}]},
                {"type": "text", "text": "and?"}]}]},
        asks(
            USER,
            Message("assistant", (
                Thought(text="hm", signature=b"Sig+/==", origin=Origin("anthropic")),
                SealedThought(data=b"Data+/==", origin=Origin("anthropic")),
                ToolCall(id="toolu_1", name="f", arguments='{"a": 12345678901234567890}'),
                ToolCall(id="toolu_2", name="f", arguments="{}"))),
            Message("tool", (ToolResult(call_id="toolu_1", parts=(Text(text="no"),), is_error=True),
                             ToolResult(call_id="toolu_2", parts=(Image(url="https://a.example"),)))),
            Message("user", (Text(text="and?"),)),
            tools=(Tool("f", "d", b'{"type": "object"}', True, cache=CacheMark()),),
        ),
    ),
    (
        "server tools are opaque",
        {"tools": [{"type": "web_search_20260318", "name": "web_search", "max_uses": 2}],
         "messages": [HI, {"role": "assistant", "content": [
             {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
             {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}]}, HI]},
        asks(
            USER,
            Message("assistant", (
                Opaque(dialect=NAME, kind="server_tool_use", value=json.dumps(
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}).encode()),
                Opaque(dialect=NAME, kind="web_search_tool_result", value=json.dumps(
                    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}).encode()))),
            USER,
            tools=(Tool("web_search", kind="server", dialect=NAME, value=json.dumps(
                {"type": "web_search_20260318", "name": "web_search", "max_uses": 2}).encode()),),
        ),
    ),
    (
        "citations of assistant text",
        {"messages": [HI, {"role": "assistant", "content": [{"type": "text", "text": "so", "citations": [
            {"type": "char_location", "cited_text": "q", "document_index": 0, "document_title": "D",
             "start_char_index": 1, "end_char_index": 2}]}]}, HI]},
        asks(USER, Message("assistant", (Cited(text="so", citations=(Citation(title="D", quote="q", extra=Extra(NAME, (
            ("type", b'"char_location"'), ("document_index", b"0"), ("start_char_index", b"1"),
            ("end_char_index", b"2")))),)),)), USER),
    ),
    (
        "choice: one tool, no parallel calls",
        {"tools": [{"name": "f", "input_schema": {}}], "messages": [HI],
         "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
        asks(USER, tools=(Tool("f", schema=b"{}"),), tool_choice=ToolChoice("one", ("f",)), parallel_tools=False),
    ),
    (
        "choice: any",
        {"tools": [{"name": "f", "input_schema": {}}], "messages": [HI], "tool_choice": {"type": "any"}},
        asks(USER, tools=(Tool("f", schema=b"{}"),), tool_choice=ToolChoice("required")),
    ),
    (
        "choice: none",
        {"tools": [{"name": "f", "input_schema": {}}], "messages": [HI], "tool_choice": {"type": "none"}},
        asks(USER, tools=(Tool("f", schema=b"{}"),), tool_choice=ToolChoice("none")),
    ),
    (
        "thinking with a budget",
        {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "summarized"}, "messages": [HI]},
        asks(USER, thinking=Thinking("on", budget=2000, show="summary", extra=EXTRA)),
    ),
    (
        "thinking adaptive with effort and a schema",
        {"thinking": {"type": "adaptive", "display": "omitted"}, "messages": [HI],
         "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}}},
        asks(USER, thinking=Thinking("adaptive", "max", show="none", extra=EXTRA),
             output=Output("schema", schema=b'{"type": "object"}')),
    ),
    ("effort alone", {"output_config": {"effort": "low"}, "messages": [HI]},
     asks(USER, thinking=Thinking("on", "low", extra=EXTRA))),
    ("thinking off", {"thinking": {"type": "disabled"}, "messages": [HI]},
     asks(USER, thinking=Thinking("off", extra=EXTRA))),
    ("thinking between tools", {"thinking": {"type": "between_tools"}, "messages": [HI]},
     asks(USER, thinking=Thinking("adaptive", extra=Extra(NAME, (("type", b'"between_tools"'),))))),
    ("tiers and stops", {"service_tier": "standard_only", "stop_sequences": ["a", "b"], "stream": True,
                         "messages": [HI]}, asks(USER, tier="standard", stop=("a", "b"), stream=True)),
    ("fast", {"speed": "fast", "service_tier": "auto", "messages": [HI]},
     asks(USER, tier="fast", extra=Extra(NAME, (("service_tier", b'"auto"'),)))),
    ("automatic mark", {"cache_control": {"type": "ephemeral", "ttl": "5m"}, "messages": [HI]},
     asks(USER, cache=CacheMark(300))),
    ("later system turn",
     {"messages": [HI, {"role": "system", "content": "Now in French"}, {"role": "user", "content": "Go"}]},
     asks(USER, Message("system", (Text(text="Now in French"),)), Message("user", (Text(text="Go"),)))),
    ("prefill", {"messages": [HI, {"role": "assistant", "content": "{"}]},
     asks(USER, Message("assistant", (Text(text="{"),)))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "neutral"), [row[1:] for row in BOTH_WAYS], ids=[row[0] for row in BOTH_WAYS])
def test_a_request_is_read_into_its_neutral_form_and_written_back_equal(
    body: dict[str, Any], neutral: ChatRequest
) -> None:
    body = {"model": "m", "max_tokens": 100, **body}
    request = read(body)
    assert bare(request) == neutral
    written, losses = write(request, msgspec.structs.replace(VOICE, model="m"))
    assert written == body
    assert losses == ()


def test_the_old_version_keeps_sampling_and_the_new_one_loses_it() -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [HI], "temperature": 0.5, "top_p": 1, "top_k": 3}
    request = read(body, OLD)
    out = DIALECT.write_request(request, msgspec.structs.replace(VOICE, model="m"))
    assert json.loads(out.body) == body
    assert out.fields == (("anthropic-version", "2023-06-01"),)
    written, losses = write(read(body), msgspec.structs.replace(VOICE, model="m"))
    assert losses == ("temperature", "top_p", "top_k")
    assert written == {"model": "m", "max_tokens": 5, "messages": [HI]}
    written, losses = write(read(body), Voice(vendor="anthropic", model="m", version="2023-06-01"))
    assert (written["temperature"], losses) == (0.5, ())
    written, losses = write(request, Voice(vendor="anthropic", lacks=frozenset(("temperature", "top_p", "top_k"))))
    assert losses == ("temperature", "top_p", "top_k")


def test_beta_fields_pass_to_the_same_dialect() -> None:
    request = read({"model": "m", "messages": [HI]}, Hints(fields={"anthropic-beta": "b1,b2", "x-other": "1"}))
    assert request.fields == {"anthropic-beta": "b1,b2"}
    out = DIALECT.write_request(request, VOICE)
    assert out.fields == (("anthropic-version", "2026-10-21"), ("anthropic-beta", "b1,b2"))
    assert json.loads(out.body)["max_tokens"] == 4096


def test_a_temperature_above_one_is_one_and_a_loss() -> None:
    request = asks(USER, sampling=Sampling(temperature=1.7))
    written, losses = write(request, Voice(vendor="anthropic", version="2023-06-01"))
    assert (written["temperature"], losses) == (1.0, ("temperature",))


def test_what_cannot_be_said_is_named() -> None:
    request = asks(
        Message("user", (Text(text="a"), Opaque(dialect="openai_chat", kind="odd", value=b"{}")), name="bob"),
        sampling=Sampling(seed=1, frequency_penalty=0.0, presence_penalty=1.0, logit_bias=b"{}", logprobs=True,
                          top_logprobs=2, n=2, verbosity="low"),
        prediction=b"{}", metadata=b"{}", tier="flex", output=Output("json"),
        state=State(previous_id="r", conversation="c", store=True, background=True, truncation="auto"),
        extra=Extra("openai_chat", (("web_search_options", b"{}"), ("top_a", b"1"))),
        tools=(Tool("c", kind="custom", dialect="openai_chat", value=b"{}"),),
    )  # fmt: skip
    written, losses = write(request, msgspec.structs.replace(VOICE, accepts=frozenset(("top_a",))))
    assert sorted(losses) == sorted((
        "messages[0].name", "messages[0].odd", "seed", "frequency_penalty", "presence_penalty", "logit_bias",
        "logprobs", "top_logprobs", "n", "verbosity", "prediction", "metadata", "tier", "output.json",
        "previous_response_id", "conversation", "store", "background", "truncation", "web_search_options", "tools[0]",
    ))  # fmt: skip
    assert written["top_a"] == 1
    assert written["messages"] == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


def test_thoughts_of_another_vendor_are_dropped_and_of_the_same_kept() -> None:
    request = asks(USER, Message("assistant", (
        Thought(text="hm", signature=b"s", origin=Origin("gemini")),
        SealedThought(data=b"d", origin=Origin("openai")), Text(text="ok"))), USER)  # fmt: skip
    written, losses = write(request)
    assert losses == ("messages[1].thinking",)
    assert written["messages"][1] == {"role": "assistant", "content": [{"type": "text", "text": "ok"}]}
    written, losses = write(request, Voice(vendor="gemini"))
    assert written["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "s"}
    assert losses == ("messages[1].thinking",)


def test_a_foreign_seal_comes_back_to_its_vendor_byte_for_byte() -> None:
    answer = ChatAnswer(id="x", model="g", choices=(Choice(parts=(
        Thought(text="hm", signature=b"A+/=", origin=Origin("gemini")),
        Thought(text="plain", origin=Origin("deepseek")),
        SealedThought(data=b"D+/=", origin=Origin("openai")),
        ToolCall(id="c1", name="f", signature=b"T+/=", origin=Origin("gemini")),
        Text(text="ok"))),))  # fmt: skip
    written = json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body)
    request = read({"model": "m", "messages": [HI, {"role": "assistant", "content": written["content"]}]})
    thought, plain, sealed, call, _ = request.messages[1].parts
    assert bare(thought) == Thought(text="hm", signature=b"A+/=", origin=Origin("gemini"))
    assert bare(plain) == Thought(text="plain", origin=Origin("deepseek"))
    assert bare(sealed) == SealedThought(data=b"D+/=", origin=Origin("openai"))
    assert bare(call) == ToolCall(id="c1", name="f", signature=b"T+/=", origin=Origin("gemini"))
    streamed = stream_message(deltas_of(answer))
    assert streamed["content"] == written["content"]


def test_only_the_last_four_marks_stay_and_no_longer_ttl_follows_a_shorter() -> None:
    parts = tuple(Text(text=str(at), cache=CacheMark(ttl)) for at, ttl in enumerate((300, 3600, 1800, 3600, 0)))
    written, losses = write(asks(Message("user", parts)))
    marks = [block.get("cache_control") for block in written["messages"][0]["content"]]
    assert marks == [None, {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral", "ttl": "5m"},
                     {"type": "ephemeral", "ttl": "5m"}, {"type": "ephemeral"}]  # fmt: skip
    assert losses == ("cache.ttl",)


def test_results_are_grouped_first_and_in_the_order_of_their_calls() -> None:
    request = asks(
        USER,
        Message("assistant", (ToolCall(id="a", name="f"), ToolCall(id="b", name="f"))),
        Message("tool", (ToolResult(call_id="b", parts=(Text(text="2"),)),)),
        Message("tool", (ToolResult(call_id="a"),)),
        USER,
        tools=(Tool("f"),),
    )
    written, losses = write(request)
    assert written["messages"][2] == {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "a"}, {"type": "tool_result", "tool_use_id": "b", "content": "2"},
        {"type": "text", "text": "Hi"}]}  # fmt: skip
    assert losses == ()
    missing = msgspec.structs.replace(request, messages=(*request.messages[:3], USER))
    with pytest.raises(Fault, match="invalid_request"):
        write(missing)


def test_names_and_ids_outside_the_alphabet_become_aliases_that_come_back() -> None:
    request = asks(
        USER,
        Message("assistant", (ToolCall(id="c d", name="grüße.an", arguments="not json"),)),
        Message("tool", (ToolResult(call_id="c d"),)),
        tools=(Tool("grüße.an"),),
        tool_choice=ToolChoice("one", ("grüße.an",)),
    )
    out = DIALECT.write_request(request, VOICE)
    written = json.loads(out.body)
    assert out.aliases == {"gr__e_an": "grüße.an"}
    call = written["messages"][1]["content"][0]
    assert (call["name"], call["input"]) == ("gr__e_an", {"_raw": "not json"})
    assert call["id"] == written["messages"][2]["content"][0]["tool_use_id"] != "c d"
    assert out.losses == ("messages[1].arguments",)
    assert written["tool_choice"] == {"type": "tool", "name": "gr__e_an"}
    answer = DIALECT.read_answer(answer_body([{"type": "tool_use", "id": "1", "name": "gr__e_an", "input": {}}]),
                                 VOICE, out.aliases)  # fmt: skip
    assert bare(answer.choices[0].parts[0]).name == "grüße.an"


def test_a_subset_sends_only_its_tools() -> None:
    request = asks(USER, tools=(Tool("f"), Tool("g")), tool_choice=ToolChoice("subset", ("g",), required=True))
    written, losses = write(request)
    assert [tool["name"] for tool in written["tools"]] == ["g"]
    assert (written["tool_choice"], losses) == ({"type": "any"}, ())


def test_an_old_version_gets_later_system_turns_as_text_and_says_so() -> None:
    request = asks(USER, Message("system", (Text(text="S"),)), Message("user", (Text(text="Go"),)))
    written, losses = write(request, Voice(vendor="anthropic", version="2023-06-01"))
    assert written["messages"] == [{"role": "user", "content": [
        {"type": "text", "text": "Hi"}, {"type": "text", "text": "S"}, {"type": "text", "text": "Go"}]}]  # fmt: skip
    assert losses == ("messages[1].role",)


@pytest.mark.parametrize(
    ("thinking", "style", "wanted", "lost"),
    [
        (Thinking("on", "high"), "", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, ()),
        (Thinking("on", "minimal"), "", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
         ("thinking.effort",)),
        (Thinking("on", budget=9000), "", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
         ("thinking.budget",)),
        (Thinking("on", "high"), "budget", {"thinking": {"type": "enabled", "budget_tokens": 16384}}, ()),
        (Thinking("on", budget=500), "budget", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, ()),
        (Thinking("on", budget=90000), "budget", {"thinking": {"type": "enabled", "budget_tokens": 19999}}, ()),
        (Thinking("off"), "budget", {"thinking": {"type": "disabled"}}, ()),
        (Thinking("adaptive", show="full"), "", {"thinking": {"type": "adaptive", "display": "summarized"}},
         ("thinking.show",)),
    ],
)  # fmt: skip
def test_effort_and_budget_of_other_dialects(
    thinking: Thinking, style: str, wanted: dict[str, Any], lost: tuple[str, ...]
) -> None:
    request = msgspec.structs.replace(asks(USER, thinking=thinking), max_output=20000)
    written, losses = write(request, msgspec.structs.replace(VOICE, thinking_style=style))
    assert {name: written[name] for name in ("thinking", "output_config") if name in written} == wanted
    assert losses == lost


def test_no_room_to_think_is_a_loss() -> None:
    written, losses = write(asks(USER, thinking=Thinking("on", "high")), Voice(thinking_style="budget"))
    assert "thinking" not in written
    assert losses == ("thinking",)


def test_provider_options_are_merged_last_but_never_what_is_asked() -> None:
    request = read({"model": "m", "messages": [HI], "output_config": {"effort": "low"},
                    "provider_options": {"anthropic": {"output_config": {"x": 1}, "model": "evil", "top": 2},
                                         "other": {"y": 1}}})  # fmt: skip
    written, losses = write(request)
    assert written["output_config"] == {"effort": "low", "x": 1}
    assert (written["model"], written["top"]) == ("claude-x", 2)
    assert "y" not in written
    assert losses == ("provider_options.anthropic.model",)


def test_nulls_are_remembered_as_cleared() -> None:
    request = read({"model": "m", "messages": [HI], "tools": None, "max_tokens": None, "temperature": None})
    assert request.cleared == ("tools", "max_output", "temperature")
    assert request.extra is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": 1}, "messages must be an array."),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role must be user, assistant or system."),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content must be a string or an array of blocks."),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0] must be an object."),
        ({"messages": [], "max_tokens": "x"}, "max_tokens must be a whole number."),
        ({"messages": [], "tools": [{"name": "f", "input_schema": 1}]}, "tools[0].input_schema must be an object."),
        ({"messages": [], "tool_choice": {"type": "x"}}, "tool_choice.type must be auto, any, tool or none."),
        ({"messages": [], "provider_options": {"a": 1}}, "provider_options.a must be an object."),
    ],
)
def test_a_wrong_shape_is_an_invalid_request_that_names_the_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault) as caught:
        read({"model": "m", **body})
    assert (caught.value.code, caught.value.side, caught.value.detail) == ("invalid_request", "client", words)


# -- answers -----------------------------------------------------------------------------------------------------------


def answer_body(content: list[dict[str, Any]], stop: str = "end_turn", **more: Any) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content,
        "stop_reason": stop, "stop_sequence": None,
        "usage": {"input_tokens": 3, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 7,
                  "output_tokens": 11, "cache_creation": {"ephemeral_5m_input_tokens": 4,
                                                          "ephemeral_1h_input_tokens": 1},
                  "output_tokens_details": {"thinking_tokens": 2}, "server_tool_use": {"web_search_requests": 2,
                                                                                     "web_fetch_requests": 0},
                  "service_tier": "standard"},
    }  # fmt: skip
    return json.dumps({**message, **more}, ensure_ascii=False).encode()


USAGE = Usage(input=15, output=11, cache_read=7, cache_write=5, cache_write_by_ttl=((300, 4), (3600, 1)), thinking=2,
              tool_calls=(("web_search", 2),), tier="standard")  # fmt: skip

CONTENT: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Grüße 🌊 hm", "signature": "Sig+/=="},
    {"type": "redacted_thinking", "data": "Data+/=="},
    {"type": "text", "text": 'Hello 🌊\n\ndata: {"not":"an event"}'},
    {"type": "text", "text": "cited", "citations": [
        {"type": "web_search_result_location", "cited_text": "q", "encrypted_index": "E", "title": "T", "url": "u"}]},
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "🌊"}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [
        {"type": "web_search_result", "encrypted_content": "E", "page_age": None, "title": "T", "url": "u"}]},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"città": "Ōsaka 🏯", "n": 1}},
    {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
]  # fmt: skip


def test_a_whole_answer_both_ways() -> None:
    body = answer_body(CONTENT, "tool_use", container={"id": "c"})
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.usage == USAGE
    assert answer.choices[0].stop == "tool_calls"
    assert bare(answer.choices[0].parts[0]) == Thought(
        text="Grüße 🌊 hm", signature=b"Sig+/==", origin=Origin("anthropic")
    )
    assert answer.extra == Extra(NAME, (("container", b'{"id": "c"}'),))
    written = DIALECT.write_answer(answer, ChatRequest("m"), 0)
    assert json.loads(written.body) == json.loads(body)
    assert (written.losses, written.status) == ((), 200)


STOPS = [
    ("end_turn", None, "stop"), ("stop_sequence", None, "stop_sequence"), ("max_tokens", None, "length"),
    ("model_context_window_exceeded", None, "context_length"), ("pause_turn", None, "pause"),
    ("refusal", None, "content_filter"),
    ("refusal", {"type": "refusal", "category": "cyber", "explanation": "no"}, "refusal"),
    ("something_new", None, "stop"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "details", "stop"), STOPS)
def test_stop_reasons_both_ways(word: str, details: dict[str, Any] | None, stop: str) -> None:
    more = {} if details is None else {"stop_details": details}
    body = answer_body([{"type": "text", "text": "x"}], word, **more)
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.choices[0].stop == stop
    assert json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body) == json.loads(body)


def test_calls_decide_the_stop_and_a_broken_choice_is_a_fault() -> None:
    body = answer_body([{"type": "tool_use", "id": "1", "name": "f", "input": {}}], "end_turn")
    assert DIALECT.read_answer(body, VOICE, {}).choices[0].stop == "tool_calls"
    written = DIALECT.write_answer(ChatAnswer(choices=(Choice(stop="broken"),)), ChatRequest("m"), 0)
    assert written.status == 502
    assert json.loads(written.body)["error"]["type"] == "api_error"


def test_ids_of_other_vendors_do_not_leak() -> None:
    written = json.loads(DIALECT.write_answer(ChatAnswer(id="chatcmpl-1"), ChatRequest("m"), 0).body)
    assert written["id"].startswith("msg_")
    assert "chatcmpl" not in written["id"]
    assert len(written["id"]) == 28


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type":"message"}', b'{"content":"\xff"}'])
def test_what_is_no_answer_is_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")


def test_hostile_usage_counts_nothing() -> None:
    body = answer_body([], usage={"input_tokens": -5, "output_tokens": "9", "cache_read_input_tokens": None})
    assert DIALECT.read_answer(body, VOICE, {}).usage == Usage()
    assert DIALECT.read_answer(answer_body([], usage=None), VOICE, {}).usage is None
    voice = msgspec.structs.replace(VOICE, usage={"hits": "cache_read"})
    assert DIALECT.usage_of_answer(b'{"usage":{"input_tokens":2,"hits":1}}', voice) == Usage(input=2, cache_read=1)


# -- streams -----------------------------------------------------------------------------------------------------------


def event(kind: str, **members: Any) -> bytes:
    return encode_event(kind, json.dumps({"type": kind, **members}, ensure_ascii=False).encode())


def vendor_stream(content: list[dict[str, Any]], stop: str, usage: dict[str, Any]) -> bytes:
    """A stream as the vendor sends it."""
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
             "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}  # fmt: skip
    out = [event("message_start", message=start), event("ping")]
    for index, block in enumerate(content):
        kind = block["type"]
        deltas: list[dict[str, Any]] = []
        head = dict(block)
        if kind == "text":
            head = {"type": "text", "text": ""}
            text = block["text"]
            deltas = [{"type": "text_delta", "text": text[:3]}, {"type": "text_delta", "text": text[3:]}]
            deltas += [{"type": "citations_delta", "citation": one} for one in block.get("citations", [])]
        elif kind == "thinking":
            head = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]},
                      {"type": "signature_delta", "signature": block["signature"]}]  # fmt: skip
        elif kind in ("tool_use", "server_tool_use"):
            head["input"] = {}
            text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", text[:4], text[4:])]
        out.append(event("content_block_start", index=index, content_block=head))
        out += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        out.append(event("content_block_stop", index=index))
    out.append(event("message_delta", delta={"stop_reason": stop, "stop_sequence": None}, usage=usage))
    out.append(event("message_stop"))
    return b"".join(out)


WHOLE = json.loads(answer_body(CONTENT, "tool_use"))
STREAM = vendor_stream(CONTENT, "tool_use", WHOLE["usage"])


def deltas_from(pieces: list[bytes]) -> list[ChatDelta]:
    decoder, reader = SseDecoder(), DIALECT.events_reader(VOICE, {})
    deltas: list[ChatDelta] = []
    for piece in pieces:
        for name, data in decoder.feed(piece):
            deltas += reader.feed(name, data)
    for name, data in decoder.close():
        deltas += reader.feed(name, data)
    return deltas + reader.close()


def stream_message(deltas: list[ChatDelta]) -> dict[str, Any]:
    """What a client makes of our stream: blocks by index, pieces joined."""
    writer = DIALECT.events_writer(ChatRequest("m"), "id1", 0, "sse")
    decoder = SseDecoder()
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for name, data in decoder.feed(b"".join(writer.write(delta) for delta in deltas)):
        told = json.loads(data)
        assert told["type"] == name
        if name == "message_start":
            message = told["message"]
        elif name == "content_block_start":
            assert told["index"] == len(message["content"])
            message["content"].append(told["content_block"])
        elif name == "content_block_delta":
            block, delta = message["content"][told["index"]], told["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "thinking_delta":
                block["thinking"] += delta["thinking"]
            elif delta["type"] == "signature_delta":
                block["signature"] = delta["signature"]
            elif delta["type"] == "citations_delta":
                block.setdefault("citations", []).append(delta["citation"])
            else:
                inputs[told["index"]] = inputs.get(told["index"], "") + delta["partial_json"]
        elif name == "content_block_stop" and told["index"] in inputs:
            message["content"][told["index"]]["input"] = json.loads(inputs[told["index"]])
        elif name == "message_delta":
            message.update(told["delta"])
            message["usage"].update(told["usage"])
        elif name == "error":
            message["error"] = told["error"]
    return message


def test_a_stream_gives_the_unary_answer_and_goes_out_again_equal() -> None:
    deltas = deltas_from([STREAM])
    check_order(deltas)
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    unary = DIALECT.read_answer(answer_body(CONTENT, "tool_use"), VOICE, {})
    streamed = assembler.answer()
    assert normal(streamed) == normal(unary)
    assert stream_message(deltas) == WHOLE
    assert stream_message(deltas_of(unary)) == WHOLE


def normal(answer: ChatAnswer) -> ChatAnswer:
    """Parts alone, opaque JSON without its blanks."""
    parts = []
    for part in bare(answer.choices[0].parts):
        if isinstance(part, Opaque):
            part = msgspec.structs.replace(part, value=msgspec.json.format(part.value, indent=-1))
        if isinstance(part, ToolCall):
            part = msgspec.structs.replace(part, arguments=msgspec.json.format(part.arguments, indent=-1))
        parts.append(part)
    choice = msgspec.structs.replace(answer.choices[0], parts=tuple(parts), extra=None)
    return msgspec.structs.replace(answer, choices=(choice,), extra=None)


def test_a_stream_cut_at_every_byte_gives_the_same_deltas() -> None:
    whole = deltas_from([STREAM])
    for at in range(len(STREAM)):
        assert deltas_from([STREAM[:at], STREAM[at:]]) == whole
    assert deltas_from([STREAM[at : at + 1] for at in range(len(STREAM))]) == whole


def test_a_cut_stream_fails_and_ends() -> None:
    deltas = deltas_from([STREAM[: STREAM.rindex(b"event: content_block_stop")]])
    check_order(deltas)
    assert deltas[-2] == Failed("bad_upstream", "incomplete_stream", "The stream ended before its message did.")


def test_later_usage_without_input_never_erases_the_start() -> None:
    raw = event("message_start", message={"id": "a", "usage": {"input_tokens": 9, "cache_read_input_tokens": 4}})
    raw += event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 6, "input_tokens": None})
    deltas = deltas_from([raw + event("message_stop")])
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    assert assembler.answer().usage == Usage(input=13, output=6, cache_read=4)
    assert deltas[0] == Start("a", "", 0, Usage(input=13, cache_read=4))
    assert deltas[1] == Used(Usage(output=6))


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        ("overloaded_error", "overloaded", "upstream_overloaded"),
        ("rate_limit_error", "rate_limited", "upstream_rate"),
        ("api_error", "bad_upstream", "upstream_error"),
        ("authentication_error", "bad_upstream", "upstream_auth"),
        ("billing_error", "bad_upstream", "upstream_quota"),
    ],
)
def test_an_error_event_is_the_fault_it_names(kind: str, code: str, reason: str) -> None:
    reader = DIALECT.events_reader(VOICE, {})
    deltas = reader.feed("error", json.dumps({"type": "error", "error": {"type": kind, "message": "m"}}).encode())
    check_order(deltas)
    assert isinstance(deltas[1], Failed)
    assert (deltas[1].code, deltas[1].reason) == (code, reason)
    assert reader.feed("ping", b'{"type":"ping"}') == []
    assert reader.close() == []


@pytest.mark.parametrize(
    "events",
    [
        [b"{"],
        [b'{"type":"message_start","message":[]}'],
        [b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'],
        [b'{"type":"message_start","message":{}}', b'{"type":"content_block_delta","index":3,"delta":{"type":"x"}}'],
        [b'{"type":"message_start","message":{}}', b'{"type":"content_block_start","index":0,"content_block":7}'],
        [b'{"type":"message_start","message":{}}', b'{"type":"content_block_delta","index":"0"}'],
    ],
)
def test_a_broken_event_fails_once(events: list[bytes]) -> None:
    reader = DIALECT.events_reader(VOICE, {})
    deltas = [delta for data in events for delta in reader.feed("", data)]
    check_order(deltas)
    assert isinstance(deltas[-2], Failed)
    assert deltas[-2].code == "bad_upstream"


def test_input_that_comes_whole_with_its_block_is_kept() -> None:
    raw = event("message_start", message={}) + event(
        "content_block_start", index=0, content_block={"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}
    ) + event("content_block_stop", index=0) + event("message_delta", delta={"stop_reason": "tool_use"})  # fmt: skip
    assembler = Assembler()
    for delta in deltas_from([raw + event("message_stop")]):
        assembler.take(delta)
    assert assembler.answer().choices[0].parts == (ToolCall(id="1", name="f", arguments='{"a": 1}'),)


def test_structured_output_by_a_forced_tool_reads_as_text() -> None:
    voice = Voice(vendor="anthropic", lacks=frozenset(("output.schema",)), emulate=True)
    out = DIALECT.write_request(asks(USER, output=Output("schema", schema=b'{"type":"object"}')), voice)
    written = json.loads(out.body)
    assert written["tool_choice"] == {"type": "tool", "name": "structured_output"}
    assert out.losses == ("output.emulated",)
    content = [{"type": "tool_use", "id": "1", "name": "structured_output", "input": {"a": 1}}]
    answer = DIALECT.read_answer(answer_body(content, "tool_use"), voice, out.aliases)
    assert answer.choices[0].parts == (Text(text='{"a": 1}'),)
    assert answer.choices[0].stop == "stop"
    reader = DIALECT.events_reader(voice, out.aliases)
    assembler = Assembler()
    for name, data in SseDecoder().feed(vendor_stream(content, "tool_use", {})):
        for delta in reader.feed(name, data):
            assembler.take(delta)
    assert assembler.answer().choices[0] == Choice(parts=(Text(text='{"a": 1}'),), stop="stop")


def test_a_failed_stream_ends_with_one_error_event_and_no_stop() -> None:
    deltas: list[ChatDelta] = [Start("a", "m"), Failed("overloaded", "", "Too busy"), deltas_from([b""])[-1]]
    message = stream_message(deltas)
    assert message["error"] == {"type": "overloaded_error", "message": "Too busy"}
    assert message["stop_reason"] is None


def test_comments_and_heartbeats_are_skipped_by_clients() -> None:
    writer = DIALECT.events_writer(ChatRequest("m"), "i", 0, "sse")
    assert writer.comment("loss: n") == b": loss: n\n\n"
    assert writer.heartbeat() == b'event: ping\ndata: {"type":"ping"}\n\n'


# -- passing through ---------------------------------------------------------------------------------------------------


def test_the_model_alone_is_replaced_in_place() -> None:
    body = b'{ "x" : "\\"model\\"", "model" :  "a/b:c" , "messages":[{"model":"no"}]}'
    assert DIALECT.splice(body, "new", True) == body.replace(b'"a/b:c"', b'"new"')


def test_usage_is_found_without_decoding_the_rest() -> None:
    assert DIALECT.usage_of_answer(answer_body(CONTENT), VOICE) == USAGE
    told = [DIALECT.usage_of_event(name, data, VOICE) for name, data in SseDecoder().feed(STREAM)]
    unnamed = [DIALECT.usage_of_event("", data, VOICE) for _, data in SseDecoder().feed(STREAM)]
    assert told == unnamed
    assert told[0] == (msgspec.structs.replace(USAGE, output=1), False, False)
    assert told[1] == (None, False, False)
    assert told[2] == (None, False, False), "where a block begins nothing is said yet"
    assert told[3] == (None, True, False)
    assert told[-2] == (USAGE, False, False)
    assert told[-1] == (None, False, True)
    assert DIALECT.usage_of_event("error", b"{}", VOICE) == (None, False, True)
    assert DIALECT.usage_of_event("message_delta", b"broken", VOICE) == (None, False, False)


def test_paths() -> None:
    assert DIALECT.path("/v1/messages", "m", True) == "/v1/messages"
    assert DIALECT.path("/p/models/{model}:{action}", "a/b", True) == "/p/models/a%2Fb:streamRawPredict"


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault("invalid_request", "bad"), 400, "invalid_request_error"),
        (Fault("translation_loss"), 400, "invalid_request_error"),
        (Fault("unauthenticated"), 401, "authentication_error"),
        (Fault("price_unknown"), 403, "permission_error"),
        (Fault("model_not_found"), 404, "not_found_error"),
        (Fault("body_too_large"), 413, "request_too_large"),
        (Fault("rate_limited"), 429, "rate_limit_error"),
        (Fault("budget_exceeded"), 429, "rate_limit_error"),
        (Fault("bad_upstream", side=UPSTREAM), 502, "api_error"),
        (Fault("overloaded", side=GATEWAY), 503, "overloaded_error"),
        (Fault("overloaded", side=UPSTREAM), 529, "overloaded_error"),
        (Fault("upstream_timeout"), 504, "timeout_error"),
    ],
)
def test_faults_have_their_status_and_type(fault: Fault, status: int, kind: str) -> None:
    written = DIALECT.write_fault(fault, "req_1")
    body = json.loads(written.body)
    assert written.status == status
    assert body["error"]["type"] == kind
    assert (body["type"], body["request_id"]) == ("error", "req_1")
    assert body["error"]["message"]


@pytest.mark.parametrize(
    ("status", "body", "code", "reason", "detail"),
    [
        (400, {"type": "invalid_request_error", "message": "bad x"}, "invalid_request", "", "bad x"),
        (400, {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens"}, "context_length", "",
         "prompt is too long: 9 tokens"),
        (400, {"type": "invalid_request_error", "message": "Your credit balance is too low"}, "bad_upstream",
         "upstream_quota", "The provider's account cannot pay."),
        (404, {"type": "not_found_error", "message": "model: x"}, "model_not_found", "upstream_unknown_model",
         "model: x"),
        (429, {"type": "rate_limit_error", "message": "org key"}, "rate_limited", "upstream_rate",
         "The provider limits the rate."),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, "overloaded", "upstream_overloaded",
         "The provider is overloaded."),
    ],
)  # fmt: skip
def test_refusals_of_the_vendor(status: int, body: dict[str, Any], code: str, reason: str, detail: str) -> None:
    raw = json.dumps({"type": "error", "error": body}).encode()
    fault = DIALECT.read_fault(status, {"retry-after": "7"}, raw, 0.0)
    assert (fault.code, fault.reason, fault.detail, fault.side) == (code, reason, detail, "upstream")
    assert fault.retry_after == (7.0 if status in (429, 529) else 0.0)
    assert DIALECT.read_fault(500, {}, b"<html>", 0.0).code == "bad_upstream"


# -- hostile shapes ----------------------------------------------------------------------------------------------------

JUNK: list[Any] = [None, True, -1, 1.5, "", "x", [], {}, [1], {"a": 1}, [{}], {"type": "text"}, "\ud800", 10**30]


def mutated(value: Any, chance: Random) -> Any:
    """*value* with a few members lost or replaced by what does not belong there."""
    if chance.random() < 0.08:
        return chance.choice(JUNK)
    if isinstance(value, dict):
        return {name: mutated(one, chance) for name, one in value.items() if chance.random() > 0.03}
    return [mutated(one, chance) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("at", range(200))
def test_bodies_of_wrong_shapes_are_read_or_refused_but_never_break_us(at: int) -> None:
    chance = Random(at)
    body = {"model": "m", "max_tokens": 9, **BOTH_WAYS[at % len(BOTH_WAYS)][1]}
    with suppress(Fault):
        request = DIALECT.read_request(json.dumps(mutated(body, chance)).encode(), Hints())
        DIALECT.read_request(DIALECT.write_request(request, VOICE).body, Hints())
    raw = json.dumps(mutated(json.loads(answer_body(CONTENT, "tool_use")), chance)).encode()
    DIALECT.usage_of_answer(raw, VOICE)
    assert DIALECT.read_fault(500, {}, raw, 0.0).side == UPSTREAM
    with suppress(Fault):
        DIALECT.write_answer(DIALECT.read_answer(raw, VOICE, {}), ChatRequest("m"), 0)
    reader = DIALECT.events_reader(VOICE, {})
    writer = DIALECT.events_writer(ChatRequest("m"), "i", 0, "sse")
    deltas: list[ChatDelta] = []
    for name, data in SseDecoder().feed(STREAM):
        broken = json.dumps(mutated(json.loads(data), chance)).encode()
        DIALECT.usage_of_event("", broken, VOICE)
        deltas += reader.feed(name, broken)
    deltas += reader.close()
    check_order(deltas)
    assert b"".join([writer.write(delta) for delta in deltas])


# -- properties --------------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12).filter(lambda text: text.strip())
names = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
texts = st.builds(lambda text, ttl: Text(text=text, cache=ttl), words, st.sampled_from([None, None, CacheMark(300)]))
images = st.one_of(st.builds(lambda url: Image(url=url), words), st.builds(lambda id: Image(file_id=id), words))
thoughts = st.one_of(
    st.builds(lambda text, seal: Thought(text=text, signature=seal.encode(), origin=Origin("anthropic")), words, names),
    st.builds(lambda seal: SealedThought(data=seal.encode(), origin=Origin("anthropic")), names),
    st.builds(lambda text: Thought(text=text, signature=b"s", origin=Origin("gemini")), words),
)
users = st.lists(st.one_of(texts, images), min_size=1, max_size=2).map(lambda parts: [Message("user", tuple(parts))])


@st.composite
def loops(draw: st.DrawFn) -> list[Message]:
    ids = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    thought = draw(st.lists(thoughts, max_size=2))
    calls = tuple(ToolCall(id=id, name="f", arguments=json.dumps({"a": draw(words)})) for id in ids)
    results = tuple(
        ToolResult(call_id=id, parts=tuple(draw(st.lists(texts, max_size=1))), is_error=draw(st.booleans()))
        for id in ids
    )
    return [Message("assistant", (*thought, *calls)), Message("tool", results)]


requests = st.builds(
    lambda system, first, turns, stop, tier, choice, sampling, user: ChatRequest(
        model="m",
        messages=(
            *((Message("system", (Text(text=system),)),) if system else ()),
            *first,
            *[message for turn in turns for message in turn],
        ),
        tools=(Tool("f", "d", b"{}"),),
        tool_choice=choice,
        sampling=sampling,
        max_output=9,
        stop=tuple(stop),
        tier=tier,
        user=user,
        want_usage=True,
    ),
    st.one_of(st.just(""), words),
    users,
    st.lists(loops(), max_size=2),
    st.lists(words, max_size=2),
    st.sampled_from(["", "standard", "fast", "flex"]),
    st.sampled_from([ToolChoice(), ToolChoice("required"), ToolChoice("none"), ToolChoice("one", ("f",))]),
    st.sampled_from([Sampling(), Sampling(temperature=0.5), Sampling(seed=3)]),
    st.one_of(st.just(""), words),
)


def less(request: ChatRequest, losses: tuple[str, ...]) -> ChatRequest:
    """*request* without what *losses* name."""
    messages = []
    for at, message in enumerate(request.messages):
        parts = message.parts
        if f"messages[{at}].thinking" in losses:
            parts = tuple(p for p in parts if not (isinstance(p, Thought) and p.origin == Origin("gemini")))
        messages.append(msgspec.structs.replace(message, parts=parts))
    sampling = request.sampling
    for name in ("temperature", "seed"):
        if name in losses:
            sampling = msgspec.structs.replace(sampling, **{name: None})
    tier = "" if "tier" in losses else request.tier
    return msgspec.structs.replace(request, messages=tuple(messages), sampling=sampling, tier=tier)


def marks_of(request: ChatRequest) -> int:
    found = 0
    for message in request.messages:
        for part in message.parts:
            found += part.cache is not None
            if isinstance(part, ToolResult):
                found += sum(inner.cache is not None for inner in part.parts)
    return found


@given(requests.filter(lambda request: marks_of(request) <= 4))
def test_writing_and_reading_loses_only_what_was_declared(request: ChatRequest) -> None:
    out = DIALECT.write_request(request, msgspec.structs.replace(VOICE, model="m"))
    assert bare(DIALECT.read_request(out.body, Hints())) == bare(less(request, out.losses))


# -- the official SDK --------------------------------------------------------------------------------------------------


def test_the_official_types_accept_answers_and_streams() -> None:
    types = pytest.importorskip("anthropic.types", reason="the official SDK is not installed")
    message = types.Message.model_validate_json(answer_body(CONTENT, "tool_use"), strict=False)
    assert message.content[6].input == {"città": "Ōsaka 🏯", "n": 1}
    streaming = pytest.importorskip("anthropic.lib.streaming._messages", reason="the official SDK is not installed")
    from pydantic import TypeAdapter

    adapter = TypeAdapter(types.RawMessageStreamEvent)
    writer = DIALECT.events_writer(ChatRequest("m"), "id1", 0, "sse")
    snapshot, buffers = None, {}
    raw = b"".join(writer.write(delta) for delta in deltas_from([STREAM]))
    for name, data in SseDecoder().feed(raw):
        if name != "ping":
            snapshot = streaming.accumulate_event(
                event=adapter.validate_json(data), current_snapshot=snapshot, json_bufs=buffers
            )
    assert snapshot is not None
    assert json.loads(snapshot.to_json())["content"][6] == CONTENT[6]
    assert snapshot.stop_reason == "tool_use"
    assert snapshot.usage.output_tokens == 11
