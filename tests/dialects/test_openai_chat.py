"""The chat dialect in both directions (LLM 5): tables used both ways, streams at every cut, strict SDK types."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate.dialects.openai_chat import OpenaiChat
from tidegate.exchange.chat import (
    END,
    Audio,
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
    Origin,
    Output,
    Part,
    Ping,
    Refusal,
    Sampling,
    SealedThought,
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
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Effort, Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.rules.chat_prefill import is_prefilled
from tidegate.wire.sse import SseDecoder

CHAT = OpenaiChat()
VOICE = Voice(vendor="openai", model="gpt-x", addressed=("openai", "openai_chat"))
DEEPSEEK = Voice(
    vendor="deepseek",
    model="m",
    rename={"max_completion_tokens": "max_tokens", "developer": "system", "safety_identifier": "user"},
    lacks=frozenset({"n", "logit_bias", "image", "prediction", "output.schema"}),
    thinking=Effort("reasoning_effort", toggle="thinking.type", text="reasoning_content", replay="tool_turns"),
    usage={"prompt_cache_hit_tokens": "cache_read"},
)
OPEN_ROUTER = Voice(vendor="openrouter", model="m", thinking=Effort(text="reasoning", replay="always"))
MISTRAL = Voice(
    vendor="mistral",
    model="m",
    rename={"max_completion_tokens": "max_tokens", "seed": "random_seed", "required": "any", "developer": "system"},
    thinking=Effort(text="content", replay="always"),
    id_size=9,
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Says it.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}


def read(body: dict[str, Any]) -> ChatRequest:
    return CHAT.read_request(json.dumps(body).encode(), Hints())


def written(request: ChatRequest, voice: Voice = VOICE) -> dict[str, Any]:
    return json.loads(CHAT.write_request(request, voice).body)


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "gpt-x", "messages": list(messages) or [{"role": "user", "content": "hi"}], **more}


SAME = {
    "plain": ask(),
    "roles and names": ask(
        {"role": "developer", "content": "Be short."},
        {"role": "system", "content": [{"type": "text", "text": "And kind."}]},
        {"role": "user", "name": "ann", "content": "hi"},
        {"role": "assistant", "content": "hello", "refusal": None, "x_vendor": {"a": [1, 2.50, "é"]}},
    ),
    "parts": ask(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "hologram", "hologram": {"z": 1}},
            ],
        }
    ),
    "tools": ask(
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
                {"id": "call_2", "type": "custom", "custom": {"name": "grep", "input": "a b"}},
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "none"}]},
        tools=[
            WEATHER,
            {"type": "custom", "custom": {"name": "grep", "format": {"type": "text"}}},
            {"type": "mcp_connector", "url": "x"},
        ],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
    ),
    "allowed tools": ask(
        tools=[WEATHER],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]},
        },
    ),
    "tool choice words": ask(tools=[WEATHER], tool_choice="required"),
    "tool choice said": ask(tools=[WEATHER], tool_choice="auto"),
    "sampling": ask(
        temperature=0.5,
        top_p=0.9,
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=-0.2,
        logit_bias={"50256": -100},
        logprobs=True,
        top_logprobs=2,
        n=2,
        stop=["a", "b"],
        max_completion_tokens=9,
        verbosity="low",
        reasoning_effort="high",
    ),
    "older spellings": ask(max_tokens=5, user="u1", stop="end", n=1, stream=False, temperature=None),
    "newer spellings": ask(
        safety_identifier="u1",
        service_tier="default",
        store=True,
        metadata={"a": "b"},
        prompt_cache_key="k",
        prompt_cache_options={"mode": "implicit", "ttl": "30m"},
        prediction={"type": "content", "content": "x"},
        reasoning_effort="none",
    ),
    "outputs": ask(
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "strict": True, "description": "d", "schema": {"type": "object"}},
        },
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "wav"},
    ),
    "json object": ask(response_format={"type": "json_object"}),
    "text format": ask(response_format={"type": "text"}),
    "unknown members": ask(top_k=4, guided_json={"a": 12345678901234567890}, web_search_options={}, moderation=None),
    "streamed": ask(stream=True, stream_options={"include_usage": True, "include_obfuscation": False}),
    "functions": ask(
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call="auto",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_a_request_read_and_written_in_the_same_dialect_is_equal_with_unknown_members_in_place(name: str) -> None:
    outgoing = CHAT.write_request(read(SAME[name]), VOICE)
    assert json.loads(outgoing.body) == SAME[name]
    assert outgoing.losses == ()


@pytest.mark.parametrize("name", [name for name in SAME if name != "parts"])
def test_the_same_holds_when_somebody_changed_the_messages_and_their_bytes_are_gone(name: str) -> None:
    request = read(SAME[name])
    messages = tuple([replace(message, raw=b"") for message in request.messages])
    body = written(replace(request, messages=messages))
    again = read(body)
    strip = [replace(message, raw=b"", extra=None) for message in again.messages]
    assert strip == [replace(message, raw=b"", extra=None) for message in messages]


def test_unknown_members_keep_their_order_and_numbers_their_digits() -> None:
    body = b'{"model":"m","zeta":1.50,"messages":[],"alpha":12345678901234567890123,"mid":null}'
    request = CHAT.read_request(body, Hints())
    assert request.extra == Extra("openai_chat", (("zeta", b"1.50"), ("alpha", b"12345678901234567890123")))
    assert request.cleared == ("mid",)
    assert CHAT.write_request(request, VOICE).body == (
        b'{"model":"gpt-x","messages":[],"zeta":1.50,"alpha":12345678901234567890123,"mid":null}'
    )


def test_what_a_request_means_5_1_to_5_7() -> None:
    request = read(SAME["sampling"])
    assert request.sampling == Sampling(0.5, 0.9, None, 7, 0.1, -0.2, b'{"50256": -100}', True, 2, 2, "low")
    assert (request.max_output, request.stop, request.thinking) == (9, ("a", "b"), Thinking(effort="high"))
    newer = read(SAME["newer spellings"])
    assert (newer.user, newer.tier, newer.cache_key, newer.cache) == ("u1", "standard", "k", CacheMark(1800))
    assert newer.thinking == Thinking(mode="off")
    assert newer.state is not None and newer.state.store is True
    assert read(SAME["outputs"]).output == Output(
        "schema", "n", b'{"type": "object"}', True, "d", ("text", "audio"), b'{"voice": "alloy", "format": "wav"}'
    )
    tools = read(SAME["tools"])
    assert tools.tool_choice == ToolChoice("one", ("weather",)) and tools.parallel_tools is False
    assert tools.tools[0].schema == b'{"type": "object", "properties": {"city": {"type": "string"}}}'
    assert [tool.kind for tool in tools.tools] == ["function", "custom", "server"]
    parts = read(SAME["parts"]).messages[0].parts
    assert parts[0].cache == CacheMark(1800)
    assert replace(parts[2], raw=b"") == Image(mime="image/png", data=b"aGk=")
    assert read(ask(stream=True, stream_options={"include_usage": True})).want_usage is True


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"[]", "The body must be an object."),
        (b'{"messages":[]}', "model must be a string."),
        (b'{"model":"m","messages":{}}', "messages must be an array."),
        (b'{"model":"m","messages":[{"role":"boss"}]}', "messages[0].role must be system, developer, user, assistant"),
        (
            b'{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}',
            "messages[0].content[0] must be a part",
        ),
        (b'{"model":"m","messages":[],"max_tokens":1.5}', "max_tokens must be a whole number."),
        (b'{"model":"m","messages":[],"n":"2"}', "n must be a whole number."),
        (b'{"model":"m","messages":[{"role":"tool","content":"x"}]}', "messages[0].tool_call_id must be a string."),
    ],
)
def test_a_wrong_shape_is_the_clients_fault_and_names_the_member(body: bytes, sentence: str) -> None:
    with pytest.raises(Fault) as caught:
        CHAT.read_request(body, Hints())
    assert (caught.value.code, caught.value.side) == ("invalid_request", "client")
    assert caught.value.detail.startswith(sentence)


def test_a_preset_renames_lacks_and_thinks_in_its_own_way() -> None:
    request = read(
        ask(
            {"role": "developer", "content": "d"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": "https://x/y"}},
                ],
            },
            max_completion_tokens=5,
            n=3,
            logit_bias={"1": 2},
            safety_identifier="u",
            reasoning_effort="low",
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        )
    )
    outgoing = CHAT.write_request(request, DEEPSEEK)
    assert json.loads(outgoing.body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "d"},
            {"role": "user", "content": [{"type": "text", "text": "see"}]},
        ],
        "max_tokens": 5,
        "user": "u",
        "thinking": {"type": "enabled"},
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
    }
    assert outgoing.losses == ("messages[1].image", "logit_bias", "n", "output.schema")


def test_thoughts_of_turns_with_calls_go_back_where_the_vendor_wants_them_5_6() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    request = read(
        ask(
            {"role": "assistant", "content": "a", "reasoning_content": "no calls"},
            {"role": "assistant", "content": None, "reasoning_content": "because", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        )
    )
    messages = written(request, DEEPSEEK)["messages"]
    assert "reasoning_content" not in messages[0]
    assert messages[1]["reasoning_content"] == "because"
    outgoing = CHAT.write_request(request, VOICE)
    assert outgoing.losses == ("messages[0].thinking", "messages[1].thinking")
    assert "because" not in outgoing.body.decode()


def test_a_seal_goes_back_to_its_vendor_byte_for_byte_and_to_no_other_5_6() -> None:
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": "S+/=é", "format": "anthropic", "index": 0},
        {"type": "reasoning.encrypted", "data": "Zm9v", "format": "anthropic", "id": "r1", "index": 1},
    ]
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "GG=="}},
    }
    request = read(
        ask(
            {
                "role": "assistant",
                "content": "x",
                "reasoning_content": "hm",
                "reasoning_details": details,
                "tool_calls": [call],
            }
        )
    )
    parts = [replace(part, raw=b"") for part in request.messages[0].parts]
    assert parts[0] == Thought(text="hm", signature="S+/=é".encode(), origin=Origin("anthropic"))
    assert parts[1] == SealedThought(data=b"Zm9v", origin=Origin("anthropic"), id="r1")
    assert parts[3] == ToolCall(id="c", name="f", signature=b"GG==", origin=Origin("gemini"))
    outgoing = CHAT.write_request(request, OPEN_ROUTER)
    assert outgoing.losses == ("messages[0].thinking.signature", "messages[0].thinking")
    assert b"S+/" not in outgoing.body and b"GG==" not in outgoing.body
    gemini = CHAT.write_request(request, Voice(vendor="gemini", model="g"))
    assert json.loads(gemini.body)["messages"][0]["tool_calls"][0]["extra_content"] == call["extra_content"]


def test_reasoning_details_of_a_vendor_come_back_to_it_as_they_were() -> None:
    details = [
        {
            "type": "reasoning.text",
            "text": "hm",
            "signature": "sig",
            "id": "r",
            "format": "anthropic-claude-v1",
            "index": 0,
        },
        {"type": "reasoning.encrypted", "data": "zz", "format": "openai-responses-v1", "index": 1},
    ]
    body = answer(message={"role": "assistant", "content": "x", "reasoning": "hm", "reasoning_details": details})
    got = CHAT.read_answer(body, OPEN_ROUTER, {})
    told = json.loads(CHAT.write_answer(got, read(ask()), 0).body)["choices"][0]["message"]
    assert told["reasoning_content"] == "hm"
    assert told["reasoning_details"][0]["format"] == "openrouter/anthropic-claude-v1"
    back = written(read(ask(told)), OPEN_ROUTER)["messages"][0]
    assert back["reasoning_details"] == details and back["reasoning"] == "hm"


def test_mistral_thinks_in_chunks_of_content_and_counts_nine_characters() -> None:
    request = read(
        ask(
            {
                "role": "assistant",
                "content": "x",
                "reasoning_content": "hm",
                "tool_calls": [
                    {"id": "call_abcdefghijk", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "call_abcdefghijk", "content": "1"},
            tools=[WEATHER],
            tool_choice="required",
            seed=4,
        )
    )
    body = written(request, MISTRAL)
    id = body["messages"][0]["tool_calls"][0]["id"]
    assert len(id) == 9 and id.isalnum() and body["messages"][1]["tool_call_id"] == id
    assert body["tool_choice"] == "any" and body["random_seed"] == 4
    chunk = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    assert body["messages"][0]["content"] == [chunk, {"type": "text", "text": "x"}]
    got = CHAT.read_answer(
        answer(message={"role": "assistant", "content": [chunk, {"type": "text", "text": "x"}]}), MISTRAL, {}
    )
    assert got.choices[0].parts == (Thought(text="hm", origin=Origin("mistral")), Text(text="x"))


def test_options_addressed_to_the_target_are_merged_last_but_never_the_model_or_credentials_5_12() -> None:
    request = read(
        ask(
            temperature=1,
            provider_options={
                "openai": {
                    "temperature": 0.1,
                    "model": "evil",
                    "messages": [],
                    "stream": True,
                    "api_key": "k",
                    "new": [1],
                },
                "anthropic": {"top_k": 4},
            },
        )
    )
    assert written(request) == ask(temperature=0.1, new=[1])


def test_extras_of_another_dialect_pass_only_when_the_preset_accepts_them() -> None:
    request = ChatRequest(model="m", extra=Extra("cohere_chat", (("top_k", b"4"), ("safety_mode", b'"NONE"'))))
    outgoing = CHAT.write_request(request, msgspec.structs.replace(VOICE, accepts=frozenset({"top_k"})))
    assert json.loads(outgoing.body)["top_k"] == 4
    assert outgoing.losses == ("safety_mode",)


def test_names_that_do_not_fit_become_aliases_and_come_back() -> None:
    tool = Tool(name="wetter für morgen", schema=b"{}")
    history = Message("assistant", (ToolCall(id="c", name="wetter für morgen"),))
    outgoing = CHAT.write_request(ChatRequest(model="m", messages=(history,), tools=(tool,)), VOICE)
    assert outgoing.aliases == {"wetter_f_r_morgen": "wetter für morgen"}
    body = json.loads(outgoing.body)
    assert body["messages"][0]["tool_calls"][0]["function"]["name"] == "wetter_f_r_morgen"
    call = {"id": "c", "type": "function", "function": {"name": "wetter_f_r_morgen", "arguments": ""}}
    got = CHAT.read_answer(answer(message={"content": None, "tool_calls": [call]}), VOICE, outgoing.aliases)
    assert got.choices[0].parts == (
        ToolCall(id="c", name="wetter für morgen", arguments="{}", origin=Origin("openai")),
    )


def test_what_chat_cannot_say_is_a_loss() -> None:
    request = ChatRequest(
        model="m",
        messages=(Message("tool", (ToolResult("c", parts=(Text(text="x"), Image(url="u")), is_error=True),)),),
        tools=(Tool(name="web", kind="server", dialect="anthropic_messages", value=b"{}"),),
        sampling=Sampling(top_k=3),
        stop=("1", "2", "3", "4", "5"),
        thinking=Thinking(budget=9000, show="summary"),
        tier="batch",
    )
    outgoing = CHAT.write_request(request, VOICE)
    assert outgoing.losses == (
        "messages[0].tool_result.image",
        "messages[0].is_error",
        "tools[0]",
        "top_k",
        "stop",
        "tier",
        "thinking.budget",
        "thinking.show",
    )
    assert json.loads(outgoing.body)["reasoning_effort"] == "medium"


# -- answers -----------------------------------------------------------------------------------------------------------


def answer(message: dict[str, Any] | None = None, finish: str = "stop", **more: Any) -> bytes:
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 5,
            "model": "gpt-x-2026",
            "choices": [
                {
                    "index": 0,
                    "message": message or {"role": "assistant", "content": "hi"},
                    "logprobs": None,
                    "finish_reason": finish,
                }
            ],
            **more,
        }
    ).encode()


USAGE = {
    "prompt_tokens": 10,
    "completion_tokens": 7,
    "total_tokens": 17,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 2},
}


def test_an_answer_passes_through_the_neutral_form_with_its_unknown_members() -> None:
    body = answer(
        {
            "role": "assistant",
            "content": "hi",
            "refusal": None,
            "annotations": [
                {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2}}
            ],
            "x": 1,
        },
        usage=USAGE,
        service_tier="default",
        system_fingerprint="fp",
        x_more={"b": [1.0]},
    )
    got = CHAT.read_answer(body, VOICE, {})
    assert got.choices[0].parts == (Cited(text="hi", citations=(Citation("u", "t", "", 0, 2),)),)
    assert got.usage == Usage(
        input=10, output=7, cache_read=4, audio_in=1, thinking=3, prediction_accepted=2, tier="standard"
    )
    back = CHAT.write_answer(got, read(ask()), 99)
    assert json.loads(back.body) == json.loads(body)
    assert (back.status, back.losses) == (200, ())


@pytest.mark.parametrize(
    ("word", "parts", "stop"),
    [
        ("stop", {"content": "x"}, "stop"),
        ("length", {"content": "x"}, "length"),
        ("model_length", {"content": "x"}, "context_length"),
        ("content_filter", {"content": "x"}, "content_filter"),
        ("eos", {"content": "x"}, "stop"),
        ("stop", {"content": None, "refusal": "no"}, "refusal"),
        (
            "stop",
            {"content": None, "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]},
            "tool_calls",
        ),
    ],
)
def test_stop_reasons_5_8(word: str, parts: dict[str, Any], stop: str) -> None:
    got = CHAT.read_answer(answer(parts, word), VOICE, {})
    assert got.choices[0].stop == stop
    told = json.loads(CHAT.write_answer(got, read(ask()), 0).body)["choices"][0]["finish_reason"]
    assert told == {"model_length": "length", "tool_calls": "tool_calls"}.get(
        stop if stop == "tool_calls" else word, word
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"choices":[]}', b'{"choices":[{"message":3}]}'])
def test_an_answer_of_another_shape_is_a_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        CHAT.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")


def test_an_error_in_an_answer_that_claims_success_is_that_fault() -> None:
    with pytest.raises(Fault) as caught:
        CHAT.read_answer(b'{"error":{"message":"slow","code":429,"type":"rate_limit_error"}}', VOICE, {})
    assert caught.value.code == "rate_limited"


def test_an_answer_of_another_vendor_shows_no_id_or_extra_of_it_rule_4() -> None:
    got = ChatAnswer(
        id="msg_abc",
        model="claude",
        choices=(Choice(parts=(Text(text="x"),)),),
        extra=Extra("anthropic_messages", (("container", b"{}"),)),
    )
    wrote = CHAT.write_answer(got, read(ask()), 7)
    body = json.loads(wrote.body)
    assert body["id"].startswith("chatcmpl-") and "msg" not in body["id"]
    assert body["created"] == 7 and wrote.losses == ("container",)
    assert CHAT.write_answer(got, read(ask()), 8).body != wrote.body
    assert json.loads(CHAT.write_answer(got, read(ask()), 8).body)["id"] == body["id"]


def test_a_client_that_knows_functions_only_hears_a_function_call() -> None:
    asked = read(SAME["functions"])
    got = ChatAnswer(choices=(Choice(parts=(ToolCall(id="c", name="f", arguments='{"a":1}'),), stop="tool_calls"),))
    choice = json.loads(CHAT.write_answer(got, asked, 0).body)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call"


def test_usage_members_that_differ_are_renamed_5_9() -> None:
    xai = Voice(usage={"completion_tokens_details.reasoning_tokens": "output+"})
    told = {"prompt_tokens": 3, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 5}}
    assert CHAT.usage_of_answer(answer(usage=told), xai) == Usage(input=3, output=9, thinking=5)
    deep = {"prompt_tokens": 3, "completion_tokens": 4, "prompt_cache_hit_tokens": 2}
    assert CHAT.usage_of_answer(answer(usage=deep), DEEPSEEK) == Usage(input=3, output=4, cache_read=2)
    router = Voice(usage={"cost": "cost", "prompt_audio_seconds": "ms_in"})
    paid = {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.00014, "prompt_audio_seconds": 1.5}
    assert CHAT.usage_of_answer(answer(usage=paid), router) == Usage(input=3, output=4, cost=140_000, ms_in=1500)
    groq = Voice(usage={"x_groq.usage": "usage"})
    plain = {"prompt_tokens": 1, "completion_tokens": 2}
    assert CHAT.usage_of_answer(answer(x_groq={"usage": plain}), groq) == Usage(input=1, output=2)
    for bad in ({"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "9"}, {}, [], None):
        assert CHAT.usage_of_answer(answer(usage=bad), VOICE) is None


# -- streams -----------------------------------------------------------------------------------------------------------


def chunk(
    delta: dict[str, Any] | None = None, finish: str | None = None, index: int | None = 0, **more: Any
) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "gpt-x",
        "choices": choices,
        **more,
    }


def events(stream: bytes, size: int = 1 << 20) -> list[tuple[str, bytes]]:
    decoder = SseDecoder()
    found = []
    for at in range(0, len(stream), size):
        found += decoder.feed(stream[at : at + size])
    return found + decoder.close()


def deltas(
    found: list[tuple[str, bytes]], voice: Voice = VOICE, aliases: dict[str, str] | None = None
) -> list[ChatDelta]:
    reader = CHAT.events_reader(voice, aliases or {})
    told: list[ChatDelta] = []
    for event, data in found:
        told += reader.feed(event, data)
    told += reader.close()
    check_order(told)
    return told


def of(*chunks: Any, done: bool = True, voice: Voice = VOICE) -> list[ChatDelta]:
    found = [("", one if isinstance(one, bytes) else json.dumps(one).encode()) for one in chunks]
    return deltas([*found, ("", b"[DONE]")] if done else found, voice)


def assembled(told: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in told:
        assembler.take(delta)
    return assembler.answer()


STREAMS = {
    "text": (
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hé"}),
            chunk({"content": "🎉\n\ndata: x"}),
            chunk({}, "stop"),
            chunk(usage=USAGE),
        ],
        {"role": "assistant", "content": "Hé🎉\n\ndata: x"},
        "stop",
    ),
    "calls in pieces, interleaved": (
        [
            chunk({"role": "assistant", "content": None}),
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
                    ]
                }
            ),
            chunk(
                {
                    "tool_calls": [
                        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}
                    ]
                }
            ),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]}),
            chunk({"tool_calls": [{"index": 1, "function": {"arguments": '{"y":2}'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            chunk({}, "tool_calls"),
            chunk(usage=USAGE),
        ],
        {
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"y":2}'}},
            ],
        },
        "tool_calls",
    ),
    "thought, text and call": (
        [
            chunk({"reasoning_content": "hm"}),
            chunk({"reasoning_content": "m", "content": None}),
            chunk({"content": "so"}),
            chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": None}}]}),
            chunk({}, "stop"),
            chunk(usage=USAGE),
        ],
        {
            "content": "so",
            "reasoning_content": "hmm",
            "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": ""}}],
        },
        "tool_calls",
    ),
    "signed thoughts": (
        [
            chunk({"reasoning": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h", "index": 0}]}),
            chunk({"reasoning": "m", "reasoning_details": [{"type": "reasoning.text", "text": "m", "index": 0}]}),
            chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "s1", "index": 0}]}),
            chunk({"reasoning_details": [{"type": "reasoning.encrypted", "data": "zz", "index": 1}]}),
            chunk({"content": "x"}, "stop"),
            chunk(usage=USAGE),
        ],
        {
            "content": "x",
            "reasoning": "hm",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "s1"},
                {"type": "reasoning.encrypted", "data": "zz"},
            ],
        },
        "stop",
    ),
    "refusal": (
        [chunk({"refusal": "I"}), chunk({"refusal": " will not"}, "stop"), chunk(usage=USAGE)],
        {"content": None, "refusal": "I will not"},
        "refusal",
    ),
    "sound": (
        [
            chunk({"audio": {"id": "au_1"}}),
            chunk({"audio": {"transcript": "he"}}),
            chunk({"audio": {"data": "AAA"}}),
            chunk({"audio": {"transcript": "y"}}),
            chunk({"audio": {"data": "BB="}}),
            chunk({}, "stop"),
            chunk(usage=USAGE),
        ],
        {"content": None, "audio": {"id": "au_1", "data": "AAABB=", "transcript": "hey"}},
        "stop",
    ),
}


def wire(chunks: list[dict[str, Any]]) -> bytes:
    return (
        b"".join([b"data: " + json.dumps(one, ensure_ascii=False).encode() + b"\n\n" for one in chunks])
        + b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_gives_the_same_deltas_and_the_unary_answer(name: str) -> None:
    chunks, message, stop = STREAMS[name]
    stream = wire(chunks)
    whole = deltas(events(stream))
    assert not any(isinstance(delta, Failed) for delta in whole)
    for cut in range(1, len(stream)):
        decoder = SseDecoder()
        found = decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) + decoder.close()
        assert found == events(stream)
    assert deltas(events(stream, 1)) == whole
    unary = CHAT.read_answer(answer(message, {"refusal": "stop"}.get(stop, stop), usage=USAGE), VOICE, {})
    expected = replace(unary, model="gpt-x", extra=None)
    assert assembled(whole) == expected


def without_extras(answer: ChatAnswer) -> list[Any]:
    return [
        (choice.stop, [part if isinstance(part, (Text, Audio)) else replace(part, extra=None) for part in choice.parts])
        for choice in answer.choices
    ]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_written_from_deltas_reads_as_the_same_answer(name: str) -> None:
    chunks, _, _ = STREAMS[name]
    told = deltas(events(wire(chunks)))
    writer = CHAT.events_writer(read(ask(stream=True, stream_options={"include_usage": True})), "ab", 3, "sse")
    stream = b"".join([writer.write(delta) for delta in told])
    assert stream.endswith(b"data: [DONE]\n\n")
    again = assembled(deltas(events(stream)))
    assert without_extras(again) == without_extras(assembled(told))
    assert again.usage == replace(assembled(told).usage, tier="")
    assert {json.loads(data)["id"] for _, data in events(stream) if data != b"[DONE]"} == {"chatcmpl-ab"}
    assert writer.losses == []


def text(told: list[ChatDelta]) -> str:
    return "".join([part.text for choice in assembled(told).choices for part in choice.parts if isinstance(part, Text)])


def call(id: str | None, name: str | None, arguments: str, index: int | None = None, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"function": {"name": name, "arguments": arguments}, **more}
    if id is not None:
        body["id"] = id
    if index is not None:
        body["index"] = index
    return {"tool_calls": [body]}


def calls(told: list[ChatDelta]) -> list[tuple[str, str, str]]:
    parts = assembled(told).choices[0].parts
    return [(part.id, part.name, part.arguments) for part in parts if isinstance(part, ToolCall)]


def test_oddity_finish_twice_and_role_in_every_chunk() -> None:
    told = of(
        chunk({"role": "assistant", "content": "a"}),
        chunk({"role": "assistant", "content": "b"}, "stop"),
        chunk({"role": "assistant"}, "stop"),
        chunk({"content": "late"}),
    )
    assert text(told) == "ab"


def test_oddity_calls_without_index_with_the_id_repeated_or_all_with_index_zero() -> None:
    told = of(chunk(call("a", "f", '{"x":')), chunk(call("a", None, "1}")), chunk(call("b", "g", "{}"), "stop"))
    assert calls(told) == [("a", "f", '{"x":1}'), ("b", "g", "{}")]
    told = of(chunk(call(None, "f", "{}")), chunk(call(None, "g", "[]"), "stop"))
    assert [(name, arguments) for _, name, arguments in calls(told)] == [("f", "{}"), ("g", "[]")]
    told = of(chunk(call("a", "f", "{}", 0)), chunk(call("b", "g", "[1", 0)), chunk(call("b", "", "]", 0), "stop"))
    assert calls(told)[0] == ("a", "f", "{}")
    told = of(chunk(call("a", "f", "", 0)), chunk(call("a", "f", "{}", 0), "stop"))
    assert calls(told) == [("a", "f", "{}")]


def test_oddity_a_call_whose_name_comes_late_waits_for_it() -> None:
    told = of(chunk(call("a", None, '{"x"', 0)), chunk(call(None, "f", ":1}", 0), "stop"))
    assert calls(told) == [("a", "f", '{"x":1}')]


def test_oddity_usage_on_every_chunk_on_the_last_choice_or_after_done() -> None:
    one = {"prompt_tokens": 1, "completion_tokens": 1}
    told = of(chunk({"content": "a"}, usage=one), chunk({}, "stop", usage=USAGE))
    assert assembled(told).usage == CHAT.usage_of_answer(answer(usage=USAGE), VOICE)
    reader = CHAT.events_reader(VOICE, {})
    told = reader.feed("", json.dumps(chunk({"content": "a"}, "stop")).encode()) + reader.feed("", b"[DONE]")
    assert END not in told
    told += reader.feed("", json.dumps(chunk(usage=one)).encode())
    assert told[-2:] == [Used(Usage(input=1, output=1)), END]
    assert reader.feed("", b"[DONE]") == [] == reader.close()


def test_oddity_azures_first_chunk_has_no_choices() -> None:
    first = {"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    told = of(first, chunk({"content": "a"}, "stop"))
    assert (assembled(told).id, text(told)) == ("chatcmpl-1", "a")


def test_oddity_members_that_are_null_say_nothing() -> None:
    nothing = {"usage": None, "error": None, "service_tier": None, "system_fingerprint": None}
    first = {"id": "", "model": "", "choices": [], **nothing}
    told = of(
        first, chunk({"content": "a", "tool_calls": None, "audio": None}, **nothing), chunk({}, "stop", **nothing)
    )
    assert (assembled(told).id, text(told), assembled(told).usage) == ("chatcmpl-1", "a", None)


def test_oddity_two_objects_in_one_event_comments_blanks_and_line_ends() -> None:
    one, two = (json.dumps(chunk({"content": letter})).encode() for letter in "ab")
    assert text(of(one + b"\n" + two, chunk({}, "stop"))) == "ab"
    assert text(of(one + two, b"", b"  ", chunk({}, "stop"))) == "ab"
    stream = b": OPENROUTER PROCESSING\r\n\r\ndata:" + one + b"\r\rdata: " + two + b"\n\ndata:[DONE]\r\n\r\n"
    for size in (1, 2, 3, 7):
        assert text(deltas(events(stream, size))) == "ab"


@pytest.mark.parametrize(
    ("chunks", "done", "failed"),
    [
        ([chunk({"content": "a"})], False, ("bad_upstream", "incomplete_stream")),
        ([chunk({"content": "a"}, "stop")], False, ("bad_upstream", "incomplete_stream")),
        ([], True, ("bad_upstream", "empty_answer")),
        ([], False, ("bad_upstream", "incomplete_stream")),
        ([chunk({"content": "a"}, "error")], True, ("bad_upstream", "model_error")),
        ([b"<html>"], True, ("bad_upstream", "bad_event")),
        ([b'{"choices":3}'], True, ("bad_upstream", "bad_event")),
        ([{"error": {"message": "x", "code": 429}}], True, ("rate_limited", "")),
        ([{"error": {"message": "x", "type": "server_error"}}], True, ("bad_upstream", "")),
    ],
)
def test_oddity_streams_that_break_end_with_one_fault(chunks: list[Any], done: bool, failed: tuple[str, str]) -> None:
    told = of(*chunks, done=done)
    found = [delta for delta in told if isinstance(delta, Failed)]
    assert len(found) == 1 and told[-1] == END
    assert found[0].code == failed[0] and (not failed[1] or found[0].reason == failed[1])


def test_a_call_may_carry_geminis_signature_in_a_stream() -> None:
    seal = {"extra_content": {"google": {"thought_signature": "GG=="}}}
    told = of(chunk(call("a", "f", "{}", 0, **seal), "stop"), voice=Voice(vendor="gemini"))
    part = assembled(told).choices[0].parts[0]
    assert isinstance(part, ToolCall) and (part.signature, part.origin) == (b"GG==", Origin("gemini"))
    writer = CHAT.events_writer(read(ask()), "i", 0, "sse")
    stream = b"".join([writer.write(delta) for delta in told])
    assert b'"extra_content":{"google":{"thought_signature":"GG=="}}' in stream


def test_the_stream_a_client_hears_5_10() -> None:
    told = deltas_of(
        ChatAnswer(
            id="msg_1",
            model="claude",
            created=9,
            choices=(Choice(parts=(Text(text="a\n\ndata: b"),)),),
            usage=Usage(input=1, output=2),
        )
    )
    writer = CHAT.events_writer(read(ask(stream=True)), "01H", 3, "sse")
    head = '{"id":"chatcmpl-01H","object":"chat.completion.chunk","created":9,"model":"claude","choices":[{"index":0,'
    assert b"".join([writer.write(delta) for delta in [*told[:2], Ping(), *told[2:]]]).decode() == (
        f'data: {head}"delta":{{"role":"assistant","content":""}},"finish_reason":null}}]}}\n\n'
        f'data: {head}"delta":{{"content":"a\\n\\ndata: b"}},"finish_reason":null}}]}}\n\n'
        f'data: {head}"delta":{{}},"finish_reason":"stop"}}]}}\n\n'
        "data: [DONE]\n\n"
    )
    assert writer.comment("a\nb") == b": a b\n\n" and writer.heartbeat() == b":\n\n"


def test_a_failed_stream_ends_with_an_error_event_and_no_done_5_11() -> None:
    writer = CHAT.events_writer(read(ask(stream=True)), "i", 0, "sse")
    assert writer.write(Failed("overloaded", "", "")) == (
        b'event: error\ndata: {"error":{"message":"The service is overloaded.","type":"server_error","param":null,'
        b'"code":"overloaded"}}\n\n'
    )
    assert writer.write(END) == b""


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "kind", "word"),
    [
        ("invalid_request", 400, "invalid_request_error", None),
        ("context_length", 400, "invalid_request_error", "context_length_exceeded"),
        ("content_policy", 400, "invalid_request_error", "content_policy_violation"),
        ("bad_upstream", 502, "server_error", None),
        ("model_not_found", 404, "invalid_request_error", "model_not_found"),
        ("rate_limited", 429, "rate_limit_error", "rate_limit_exceeded"),
        ("overloaded", 503, "server_error", "overloaded"),
        ("upstream_timeout", 504, "server_error", None),
        ("unauthenticated", 401, "invalid_request_error", "invalid_api_key"),
        ("forbidden", 403, "permission_error", None),
        ("budget_exceeded", 429, "insufficient_quota", "budget_exceeded"),
        ("translation_loss", 400, "invalid_request_error", "translation_loss"),
        ("price_unknown", 403, "permission_error", "price_unknown"),
        ("deadline_exceeded", 504, "server_error", "deadline_exceeded"),
    ],
)
def test_faults_as_a_client_hears_them_5_11(code: str, status: int, kind: str, word: str | None) -> None:
    wrote = CHAT.write_fault(Fault(code, "Why."), "req_1")
    assert wrote.status == status
    assert json.loads(wrote.body) == {"error": {"message": "Why.", "type": kind, "param": None, "code": word}}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": {"message": "bad", "type": "invalid_request_error"}}, "invalid_request"),
        (400, {"error": {"message": "long", "code": "context_length_exceeded"}}, "context_length"),
        (401, {"error": {"message": "key sk-12345678901"}}, "bad_upstream"),
        (404, {"error": {"message": "none", "code": "model_not_found"}}, "model_not_found"),
        (429, {"error": {"message": "slow", "code": "rate_limit_exceeded"}}, "rate_limited"),
        (429, {"error": {"message": "poor", "code": "insufficient_quota"}}, "bad_upstream"),
        (500, {"error": {"message": "oops"}}, "bad_upstream"),
        (503, {"message": "busy", "type": "service_unavailable", "code": "1"}, "overloaded"),
        (422, {"detail": "no such field"}, "invalid_request"),
        (400, [{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}], "invalid_request"),
    ],
)
def test_faults_of_providers_are_read_5_11(status: int, body: Any, code: str) -> None:
    fault = CHAT.read_fault(status, {}, json.dumps(body).encode(), 0.0)
    assert (fault.code, fault.side) == (code, "upstream")
    assert "sk-1234" not in fault.detail


# -- passing through ---------------------------------------------------------------------------------------------------


def test_a_splice_changes_the_model_and_nothing_else() -> None:
    body = b'{ "messages":[{"model":"no"}], "model" : "a/b", "big":12345678901234567890, "stream":true}'
    assert CHAT.splice(body, 'x"y', False) == body.replace(b'"a/b"', b'"x\\"y"')
    assert CHAT.splice(b'{"model":"a","stream":true}', "b", True) == (
        b'{"model":"b","stream":true,"stream_options":{"include_usage":true}}'
    )
    assert CHAT.splice(b'{"stream_options":{"x":1},"model":"a"}', "b", True) == (
        b'{"stream_options":{"x":1,"include_usage":true},"model":"b"}'
    )
    assert CHAT.splice(b'{"model":"a","stream_options":null}', "b", True) == (
        b'{"model":"b","stream_options":{"include_usage":true}}'
    )


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (chunk({"role": "assistant", "content": ""}), (False, False)),
        (chunk({"content": "x"}), (True, False)),
        (chunk({"content": ""}), (False, False)),
        (chunk({"tool_calls": [{"index": 0}]}), (True, False)),
        (chunk({"reasoning_content": "x"}), (True, False)),
        (chunk({}, "stop"), (False, False)),
    ],
)
def test_the_tap_sees_first_content_and_the_end(data: dict[str, Any], seen: tuple[bool, bool]) -> None:
    for compact in (json.dumps(data).encode(), msgspec.json.encode(data)):
        assert CHAT.usage_of_event("", compact, VOICE) == (None, *seen)
    assert CHAT.usage_of_event("", b"[DONE]", VOICE) == (None, False, True)


def test_the_tap_reads_usage_from_the_frames_that_hold_it() -> None:
    last = msgspec.json.encode(chunk(usage=USAGE, service_tier="flex"))
    usage, _, _ = CHAT.usage_of_event("", last, VOICE)
    assert usage is not None and (usage.input, usage.output, usage.tier) == (10, 7, "flex")
    lying = msgspec.json.encode(chunk({"content": '"usage":{"prompt_tokens":9}'}))
    assert CHAT.usage_of_event("", lying, VOICE) == (None, True, False)


# -- properties --------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)
IDS = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
USER_PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=WORDS, cache=st.sampled_from([None, CacheMark(), CacheMark(1800)])),
    st.builds(Image, url=st.just("https://a/b.png"), detail=st.sampled_from(["", "low"])),
    st.builds(Image, mime=st.just("image/png"), data=st.just(b"aGk=")),
    st.builds(File, mime=st.just("application/pdf"), data=st.just(b"aGk="), title=st.sampled_from(["", "a.pdf"])),
)
CALLS = st.builds(
    ToolCall, id=IDS, name=NAMES, arguments=st.sampled_from(["{}", '{"a":1}', "broken{"]), custom=st.booleans()
)
MESSAGES = st.one_of(
    st.builds(
        lambda parts, name: Message("user", tuple(parts), name),
        st.lists(USER_PARTS, min_size=1, max_size=2),
        st.just(""),
    ),
    st.builds(lambda text: Message("system", (Text(text=text),)), WORDS),
    st.builds(
        lambda text, refusal, calls: Message("assistant", (Text(text=text), *refusal, *calls)),
        WORDS,
        st.lists(st.builds(Refusal, text=WORDS), max_size=1),
        st.lists(CALLS, max_size=2),
    ),
    st.builds(lambda id, text: Message("tool", (ToolResult(id, parts=(Text(text=text),)),)), IDS, WORDS),
)
REQUESTS = st.builds(
    ChatRequest,
    model=st.just("m"),
    messages=st.lists(MESSAGES, max_size=4).map(tuple),
    tools=st.lists(
        st.builds(
            Tool,
            name=NAMES,
            description=WORDS,
            schema=st.just(b'{"type":"object"}'),
            strict=st.sampled_from([None, True]),
        ),
        max_size=2,
        unique_by=lambda tool: tool.name,
    ).map(tuple),
    output=st.sampled_from([None, Output("json"), Output("schema", "n", b"{}", True)]),
    thinking=st.sampled_from([None, Thinking("off"), Thinking(effort="low"), Thinking(effort="max")]),
    sampling=st.builds(
        Sampling,
        temperature=st.sampled_from([None, 0.5]),
        seed=st.sampled_from([None, 4]),
        n=st.sampled_from([1, 2]),
        verbosity=st.sampled_from(["", "low"]),
    ),
    max_output=st.sampled_from([None, 8]),
    stop=st.sampled_from([(), ("a",), ("a", "b")]),
    stream=st.booleans(),
    tier=st.sampled_from(["", "standard", "flex"]),
    user=st.sampled_from(["", "u"]),
)


def bare(request: ChatRequest) -> ChatRequest:
    messages = []
    for message in request.messages:
        parts = list(message.parts)
        if message.role == "assistant":  # content, refusal, calls: the places they have in a message
            parts.sort(key=lambda part: isinstance(part, ToolCall))
        messages.append(replace(message, parts=tuple(parts), raw=b"", extra=None))
    return replace(request, messages=tuple(messages), extra=None, want_usage=False)


@settings(max_examples=300, deadline=None)
@given(REQUESTS)
def test_what_is_written_reads_as_it_was_unless_it_is_named_a_loss(request: ChatRequest) -> None:
    outgoing = CHAT.write_request(request, replace(VOICE, model="m"))
    assert outgoing.losses == (("prefill",) if is_prefilled(request, "openai_chat") else ())
    assert bare(CHAT.read_request(outgoing.body, Hints())) == bare(request)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_no_event_whatever_it_holds_breaks_the_reader(data: bytes) -> None:
    deltas([("", data), ("", json.dumps(chunk({"content": "a"}, "stop")).encode()), ("", b"[DONE]")])


# -- the official SDK --------------------------------------------------------------------------------------------------


def strict(name: str) -> Any:
    types = pytest.importorskip("openai.types.chat", reason="the openai SDK is a dev extra")
    return getattr(types, name)


FULL = ChatAnswer(
    id="x",
    model="m",
    created=1,
    usage=Usage(input=9, output=3, cache_read=2, cache_write=1, thinking=1),
    tier="standard",
    choices=(
        Choice(
            0,
            (
                Thought(text="t", signature=b"s", origin=Origin("anthropic")),
                Cited(text="hi", citations=(Citation("u", "t", "", 0, 2),)),
                ToolCall(id="c", name="f", arguments='{"a":1}'),
                ToolCall(id="d", name="g", arguments="x", custom=True),
            ),
            "tool_calls",
        ),
        Choice(1, (Refusal(text="no"),), "refusal"),
        Choice(2, (), "context_length"),
    ),
)


def test_answers_hold_against_the_strict_types_of_the_sdk() -> None:
    body = json.loads(CHAT.write_answer(FULL, read(ask()), 1).body)
    got = strict("ChatCompletion").model_validate(body, strict=True)
    assert got.choices[0].message.tool_calls[0].function.arguments == '{"a":1}'
    assert got.choices[0].message.annotations[0].url_citation.url == "u"
    assert got.usage.prompt_tokens_details.cached_tokens == 2


def test_chunks_hold_against_the_strict_types_of_the_sdk() -> None:
    kind = strict("ChatCompletionChunk")
    asked = read(ask(stream=True, stream_options={"include_usage": True}))
    answer = replace(FULL, choices=(replace(FULL.choices[0], parts=FULL.choices[0].parts[:3]), *FULL.choices[1:]))
    writer = CHAT.events_writer(asked, "i", 1, "sse")
    stream = b"".join([writer.write(delta) for delta in deltas_of(answer)])
    got = [kind.model_validate_json(data, strict=True) for _, data in events(stream) if data != b"[DONE]"]
    assert got[-1].usage.total_tokens == 12 and got[-1].choices == []
    assert [one.choices[0].finish_reason for one in got[:-1] if one.choices[0].finish_reason] == [
        "tool_calls",
        "stop",
        "length",
    ]
