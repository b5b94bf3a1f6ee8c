"""Gemini's words <-> the neutral conversation (LLM 5, column gem)."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dialects.gemini_generate import GeminiGenerate
from tidegate.exchange.chat import (
    END,
    Audio,
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
    Video,
)
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.ports.dialect import Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.wire.json_array import ArrayDecoder, encode_element
from tidegate.wire.sse import SseDecoder, encode_event

DIALECT = GeminiGenerate()
NAME = "gemini_generate"
VOICE = Voice(vendor="gemini", model="gemini-x", addressed=("gemini", NAME))
HINTS = Hints(model="m", stream=False)


def read(body: dict[str, Any], hints: Hints = HINTS) -> ChatRequest:
    return DIALECT.read_request(json.dumps(body).encode(), hints)


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
    return ChatRequest(model="m", messages=messages, want_usage=True, **more)


USER = Message("user", (Text(text="Hi"),))
HI = {"role": "user", "parts": [{"text": "Hi"}]}
GEMINI = Origin("gemini")
F = {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}
FUNCTION = Tool("f", "d", b'{"type": "object"}')

BOTH_WAYS: list[tuple[str, dict[str, Any], ChatRequest]] = [
    ("text", {"contents": [HI]}, asks(USER)),
    ("system", {"systemInstruction": {"parts": [{"text": "Be kind"}]}, "contents": [HI]},
     asks(Message("system", (Text(text="Be kind"),)), USER)),
    (
        "unknown members of request, config, tool config, content, part, function and call",
        {"safetySettings": [{"category": "X", "threshold": "Y"}], "cachedContent": "cachedContents/1",
         "generationConfig": {"temperature": 0.5, "mediaResolution": "LOW"},
         "toolConfig": {"retrievalConfig": {"a": 1}},
         "tools": [{"functionDeclarations": [{**F, "behavior": "BLOCKING"}]}, {"googleSearch": {"x": 1}}],
         "contents": [{"role": "user", "parts": [{"text": "a", "partMetadata": {"k": 1}}], "future": True}]},
        asks(
            Message("user", (Text(text="a", extra=Extra(NAME, (("partMetadata", b'{"k": 1}'),))),),
                    extra=Extra(NAME, (("future", b"true"),))),
            tools=(msgspec.structs.replace(FUNCTION, extra=Extra(NAME, (("behavior", b'"BLOCKING"'),))),
                   Tool("googleSearch", kind="server", dialect=NAME, value=b'{"googleSearch":{"x": 1}}')),
            sampling=Sampling(temperature=0.5),
            extra=Extra(NAME, (
                ("toolConfig.retrievalConfig", b'{"a": 1}'), ("generationConfig.mediaResolution", b'"LOW"'),
                ("safetySettings", b'[{"category": "X", "threshold": "Y"}]'),
                ("cachedContent", b'"cachedContents/1"'))),
        ),
    ),
    (
        "media",
        {"contents": [{"role": "user", "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
            {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v.mp4"}, "videoMetadata": {"fps": 1}},
            {"fileData": {"fileUri": "https://a.example/d.pdf", "mimeType": "application/pdf", "displayName": "D"}},
            {"executableCode": {"language": "PYTHON", "code": "1"}}]}]},
        asks(Message("user", (
            Image(mime="image/png", data=b"aGk="), Audio(mime="audio/wav", data=b"aGk="),
            Video(mime="video/mp4", file_id="gs://b/v.mp4", extra=Extra(NAME, (("videoMetadata", b'{"fps": 1}'),))),
            File(mime="application/pdf", url="https://a.example/d.pdf", title="D"),
            Opaque(dialect=NAME, kind="executableCode",
                   value=b'{"executableCode": {"language": "PYTHON", "code": "1"}}')))),
    ),
    (
        "tool loop with ids and seals",
        {"tools": [{"functionDeclarations": [F]}],
         "contents": [HI,
            {"role": "model", "parts": [
                {"text": "hm", "thought": True, "thoughtSignature": "T+/A"},
                {"text": "so", "thoughtSignature": "X+/A"},
                {"functionCall": {"id": "a", "name": "f", "args": {"n": 12345678901234567890}},
                 "thoughtSignature": "C+/A"},
                {"functionCall": {"id": "b", "name": "f", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "a", "name": "f", "response": {"output": "fine"}}},
                {"functionResponse": {"id": "b", "name": "f", "response": {"error": "no"},
                                      "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}},
                {"text": "and?"}]}]},
        asks(
            USER,
            Message("assistant", (
                Thought(text="hm", signature=b"T+/A", origin=GEMINI), Text(text="so"),
                SealedThought(data=b"X+/A", origin=GEMINI),
                ToolCall(id="a", name="f", arguments='{"n": 12345678901234567890}', signature=b"C+/A", origin=GEMINI),
                ToolCall(id="b", name="f"))),
            Message("tool", (
                ToolResult(call_id="a", name="f", parts=(Text(text="fine"),)),
                ToolResult(call_id="b", name="f", is_error=True,
                           parts=(Text(text="no"), Image(mime="image/png", data=b"aGk="))))),
            Message("user", (Text(text="and?"),)),
            tools=(FUNCTION,),
        ),
    ),
    (
        "a seal in an empty text of its own, and a result that is an object",
        {"contents": [HI, {"role": "model", "parts": [
            {"text": "so"}, {"text": "", "thoughtSignature": "X"},
            {"functionCall": {"id": "a", "name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "a", "name": "f", "response": {"result": "1"}}}]}]},
        asks(USER, Message("assistant", (
                Text(text="so"), SealedThought(data=b"X", origin=GEMINI, extra=Extra(NAME, (("text", b'""'),))),
                ToolCall(id="a", name="f"))),
             Message("tool", (ToolResult(call_id="a", name="f", parts=(Text(text='{"result": "1"}'),)),))),
    ),
    ("choice: any", {"tools": [{"functionDeclarations": [F]}], "contents": [HI],
                     "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
     asks(USER, tools=(FUNCTION,), tool_choice=ToolChoice("required"))),
    ("choice: none", {"tools": [{"functionDeclarations": [F]}], "contents": [HI],
                      "toolConfig": {"functionCallingConfig": {"mode": "NONE"}}},
     asks(USER, tools=(FUNCTION,), tool_choice=ToolChoice("none"))),
    ("choice: one", {"tools": [{"functionDeclarations": [F]}], "contents": [HI], "toolConfig": {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}},
     asks(USER, tools=(FUNCTION,), tool_choice=ToolChoice("one", ("f",)))),
    ("choice: some or none", {"tools": [{"functionDeclarations": [F]}], "contents": [HI], "toolConfig": {
        "functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}}},
     asks(USER, tools=(FUNCTION,), tool_choice=ToolChoice("subset", ("f",)))),
    ("choice: validated", {"tools": [{"functionDeclarations": [F]}], "contents": [HI], "toolConfig": {
        "functionCallingConfig": {"mode": "VALIDATED"}}},
     asks(USER, tools=(FUNCTION,),
          extra=Extra(NAME, (("toolConfig.functionCallingConfig", b'{"mode": "VALIDATED"}'),)))),
    (
        "sampling",
        {"contents": [HI], "generationConfig": {
            "maxOutputTokens": 9, "temperature": 1.5, "topP": 0.5, "topK": 3, "stopSequences": ["a"], "seed": 7,
            "frequencyPenalty": 0.25, "presencePenalty": 0.5, "candidateCount": 2, "responseLogprobs": True,
            "logprobs": 3}},
        asks(USER, max_output=9, stop=("a",), sampling=Sampling(
            temperature=1.5, top_p=0.5, top_k=3, seed=7, frequency_penalty=0.25, presence_penalty=0.5, n=2,
            logprobs=True, top_logprobs=3)),
    ),
    ("schema", {"contents": [HI], "generationConfig": {
        "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}}},
     asks(USER, output=Output("schema", schema=b'{"type": "object"}'))),
    ("json", {"contents": [HI], "generationConfig": {"responseMimeType": "application/json"}},
     asks(USER, output=Output("json"))),
    ("modalities", {"contents": [HI], "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}},
     asks(USER, output=Output(modalities=("text", "image")))),
    ("thinking level", {"contents": [HI], "generationConfig": {"thinkingConfig": {
        "thinkingLevel": "HIGH", "includeThoughts": True}}},
     asks(USER, thinking=Thinking("on", "high", show="summary", extra=Extra(NAME)))),
    ("thinking budget", {"contents": [HI], "generationConfig": {"thinkingConfig": {"thinkingBudget": 2000}}},
     asks(USER, thinking=Thinking("on", budget=2000, extra=Extra(NAME)))),
    ("thinking off", {"contents": [HI], "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
     asks(USER, thinking=Thinking("off", extra=Extra(NAME)))),
    ("thinking dynamic", {"contents": [HI], "generationConfig": {"thinkingConfig": {
        "thinkingBudget": -1, "includeThoughts": False}}},
     asks(USER, thinking=Thinking("adaptive", budget=-1, show="none", extra=Extra(NAME)))),
    ("labels, tier and store", {"contents": [HI], "labels": {"a": "b"}, "serviceTier": "flex", "store": False},
     asks(USER, metadata=b'{"a": "b"}', tier="flex", state=State(store=False))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "neutral"), [row[1:] for row in BOTH_WAYS], ids=[row[0] for row in BOTH_WAYS])
def test_a_request_is_read_into_its_neutral_form_and_written_back_equal(
    body: dict[str, Any], neutral: ChatRequest
) -> None:
    request = read(body)
    assert bare(request) == neutral
    written, losses = write(request)
    assert written == body
    assert losses == ()


def test_snake_case_is_read_and_camel_case_written() -> None:
    body = {
        "system_instruction": {"parts": [{"text": "S"}], "role": "user"},
        "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "-_=="}}]}],
        "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}],
        "generation_config": {"max_output_tokens": 5, "thinking_config": {"thinking_level": "low"}},
        "tool_config": {"function_calling_config": {"mode": "any"}},
    }
    written, losses = write(read(body))
    assert written == {
        "systemInstruction": {"parts": [{"text": "S"}]},
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "+/=="}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        "generationConfig": {"maxOutputTokens": 5, "thinkingConfig": {"thinkingLevel": "LOW"}},
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    }
    assert losses == ()


def test_calls_without_ids_get_one_and_results_find_theirs_by_name_and_order() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    other = {"functionCall": {"name": "g", "args": {}}}
    body = {"contents": [HI, {"role": "model", "parts": [call, other, call]}, {"role": "user", "parts": [
        {"functionResponse": {"name": "g", "response": {"output": "2"}}},
        {"functionResponse": {"name": "f", "response": {"output": "1"}}},
        {"functionResponse": {"name": "f", "response": {"output": "3"}}}]}]}  # fmt: skip
    request = read(body)
    ids = [part.id for part in request.messages[1].parts]
    assert len(set(ids)) == 3
    assert all(id.startswith("call_") for id in ids)
    assert [part.call_id for part in request.messages[2].parts] == [ids[1], ids[0], ids[2]]
    assert bare(read(body)) == bare(request)
    written, losses = write(request)
    outputs = [part["functionResponse"] for part in written["contents"][2]["parts"]]
    assert outputs == [{"name": "f", "response": {"output": "1"}}, {"name": "g", "response": {"output": "2"}},
                       {"name": "f", "response": {"output": "3"}}]  # fmt: skip
    assert written["contents"][1] == body["contents"][1]
    assert losses == ()


def test_what_cannot_be_said_is_named() -> None:
    request = asks(
        Message("user", (Text(text="a"), Opaque(dialect="x", kind="odd", value=b"{}"),
                         Image(url="u", detail="high")), name="bob"),
        Message("system", (Text(text="S"),)),
        sampling=Sampling(logit_bias=b"{}", verbosity="low"), prediction=b"{}", user="u", tier="fast",
        parallel_tools=False,
        state=State(previous_id="r", conversation="c", background=True, truncation="auto"),
        extra=Extra("openai_chat", (("web_search_options", b"{}"),)),
        tools=(Tool("c", kind="custom", dialect="openai_chat", value=b"{}"), Tool("f", strict=True)),
    )  # fmt: skip
    written, losses = write(request)
    assert sorted(losses) == sorted((
        "messages[0].name", "messages[0].odd", "messages[0].detail", "messages[1].role", "logit_bias", "verbosity",
        "prediction", "user", "tier", "parallel_tools", "previous_response_id", "conversation", "background",
        "truncation", "web_search_options", "tools[0]", "tools[1].strict",
    ))  # fmt: skip
    assert written["contents"] == [
        {"role": "user", "parts": [{"text": "a"}, {"fileData": {"fileUri": "u"}}, {"text": "S"}]}
    ]


def test_the_subset_schema_is_written_where_json_schema_is_not_taken() -> None:
    schema = b'{"type":["object","null"],"additionalProperties":false,"properties":{"a":{"const":1}}}'
    voice = msgspec.structs.replace(VOICE, lacks=frozenset(("parametersJsonSchema", "responseJsonSchema")))
    request = asks(USER, tools=(Tool("f", schema=schema),), output=Output("schema", schema=schema))
    written, losses = write(request, voice)
    subset = {"type": "object", "nullable": True, "properties": {"a": {"enum": [1]}}}
    assert written["tools"] == [{"functionDeclarations": [{"name": "f", "parameters": subset}]}]
    assert written["generationConfig"]["responseSchema"] == subset
    assert losses == ("tools[0].schema.additionalProperties", "output.schema.additionalProperties")


def test_thoughts_and_signatures_of_another_vendor_stay_behind() -> None:
    request = asks(USER, Message("assistant", (
        Thought(text="hm", signature=b"s", origin=Origin("anthropic")), SealedThought(data=b"d", origin=Origin("x")),
        ToolCall(id="a", name="f", signature=b"z", origin=Origin("x")), ToolCall(id="b", name="f"))),
        Message("tool", (ToolResult(call_id="a"), ToolResult(call_id="b"))))  # fmt: skip
    written, losses = write(request)
    assert losses == ("messages[1].thinking", "messages[1].thinking.signature")
    assert written["contents"][1]["parts"] == [
        {"functionCall": {"id": "a", "name": "f", "args": {}}}, {"functionCall": {"id": "b", "name": "f", "args": {}}}
    ]  # fmt: skip
    written, losses = write(request, msgspec.structs.replace(VOICE, thinking_style="level"))
    parts = written["contents"][1]["parts"]
    assert parts[0]["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in parts[1]


def test_a_foreign_seal_comes_back_to_its_vendor_byte_for_byte() -> None:
    parts = (Thought(text="hm", signature=b"A.+/=", origin=Origin("anthropic")), Text(text="ok"),
             SealedThought(data=b"D+/=", origin=Origin("openai")),
             ToolCall(id="c1", name="f", signature=b"T", origin=Origin("x")))  # fmt: skip
    written = json.loads(DIALECT.write_answer(ChatAnswer(choices=(Choice(parts=parts),)), ChatRequest("m"), 0).body)
    content = written["candidates"][0]["content"]
    for part in content["parts"]:
        if "thoughtSignature" in part:
            part["thoughtSignature"] = part["thoughtSignature"].replace("+", "-").replace("/", "_")
            b64decode(part["thoughtSignature"], altchars=b"-_", validate=True)
    request = read({"contents": [HI, content]})
    assert bare(request.messages[1].parts) == parts


@pytest.mark.parametrize(
    ("thinking", "style", "wanted", "lost"),
    [
        (Thinking("on", "high"), "", {"thinkingLevel": "HIGH"}, ()),
        (Thinking("on", "max"), "level", {"thinkingLevel": "XHIGH"}, ("thinking.effort",)),
        (Thinking("on", "low"), "budget", {"thinkingBudget": 2048}, ()),
        (Thinking("on", budget=9000), "level", {"thinkingLevel": "MEDIUM"}, ()),
        (Thinking("off"), "level", {"thinkingLevel": "MINIMAL"}, ("thinking",)),
        (Thinking("adaptive"), "", {"thinkingBudget": -1}, ()),
        (Thinking("on", "low", show="full"), "", {"thinkingLevel": "LOW", "includeThoughts": True}, ("thinking.show",)),
    ],
)
def test_effort_and_budget_of_other_dialects(
    thinking: Thinking, style: str, wanted: dict[str, Any], lost: tuple[str, ...]
) -> None:
    written, losses = write(asks(USER, thinking=thinking), msgspec.structs.replace(VOICE, thinking_style=style))
    assert written["generationConfig"]["thinkingConfig"] == wanted
    assert losses == lost


def test_prefill_is_a_loss_and_options_are_merged_last() -> None:
    request = asks(USER, Message("assistant", (Text(text="{"),)), options={
        "gemini": b'{"generationConfig":{"mediaResolution":"LOW"},"contents":[]}', "x": b'{"y":1}'})  # fmt: skip
    written, losses = write(request)
    assert written == {"contents": [HI], "generationConfig": {"mediaResolution": "LOW"}}
    assert losses == ("prefill", "provider_options.gemini.contents")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"contents": 1}, "contents must be an array."),
        ({"contents": [{"role": "robot"}]}, "contents[0].role must be user or model."),
        ({"contents": [{"parts": [7]}]}, "contents[0].parts[0] must be an object."),
        ({"contents": [], "generationConfig": {"seed": "x"}}, "generationConfig.seed must be a whole number."),
        ({"contents": [], "tools": [{"functionDeclarations": [{"name": "f", "parameters": 1}]}]},
         "tools[0].functionDeclarations[0].parameters must be an object."),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_an_invalid_request_that_names_the_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault) as caught:
        read(body)
    assert (caught.value.code, caught.value.side, caught.value.detail) == ("invalid_request", "client", words)


def test_nulls_are_remembered_as_cleared_and_the_path_tells_model_and_stream() -> None:
    request = read({"contents": [HI], "systemInstruction": None, "tools": None}, Hints(model="a/b", stream=True))
    assert (request.cleared, request.model, request.stream) == (("system", "tools"), "a/b", True)


# -- answers -----------------------------------------------------------------------------------------------------------

PARTS: list[dict[str, Any]] = [
    {"text": "Grüße 🌊 hm", "thought": True, "thoughtSignature": "T+/A"},
    {"text": 'Hello 🌊\n\ndata: {"not":"an event"}', "thoughtSignature": "X+/A"},
    {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    {"executableCode": {"language": "PYTHON", "code": "1"}},
    {"functionCall": {"id": "a", "name": "f", "args": {"città": "Ōsaka 🏯"}}, "thoughtSignature": "C+/A"},
    {"functionCall": {"id": "b", "name": "g", "args": {}}},
]
RAW_USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 3, "totalTokenCount": 18,
             "cachedContentTokenCount": 4, "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 6}]}  # fmt: skip
USAGE = Usage(input=10, output=8, thinking=3, cache_read=4, image_in=6)


def answer_of(parts: list[dict[str, Any]], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": RAW_USAGE, "modelVersion": "gemini-x",
            "responseId": "abcDEF123", **more}  # fmt: skip


def body_of(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def test_a_whole_answer_both_ways() -> None:
    value = answer_of(PARTS, createTime="now")
    value["candidates"][0]["safetyRatings"] = [{"category": "c"}]
    answer = DIALECT.read_answer(body_of(value), VOICE, {"g": "g.1"})
    assert (answer.usage, answer.choices[0].stop) == (USAGE, "tool_calls")
    assert bare(answer.choices[0].parts[0]) == Thought(text="Grüße 🌊 hm", signature=b"T+/A", origin=GEMINI)
    assert answer.choices[0].parts[-1].name == "g.1"
    written = DIALECT.write_answer(DIALECT.read_answer(body_of(value), VOICE, {}), ChatRequest("m"), 0)
    assert json.loads(written.body) == value
    assert written.losses == ()


@pytest.mark.parametrize(
    ("word", "stop"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
     ("IMAGE_SAFETY", "content_filter"), ("CONTINUATION", "pause"), ("MALFORMED_FUNCTION_CALL", "broken"),
     ("SOMETHING_NEW", "stop")],
)  # fmt: skip
def test_stop_reasons_both_ways(word: str, stop: str) -> None:
    value = answer_of([{"text": "x"}], word)
    answer = DIALECT.read_answer(body_of(value), VOICE, {})
    assert answer.choices[0].stop == stop
    assert json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body) == value


def test_a_blocked_prompt_is_a_filtered_choice_and_goes_back_as_it_came() -> None:
    value = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": RAW_USAGE, "modelVersion": "g",
             "responseId": "r1"}  # fmt: skip
    answer = DIALECT.read_answer(body_of(value), VOICE, {})
    assert answer.choices == (Choice(stop="content_filter"),)
    assert json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body) == value
    deltas = deltas_from([value])
    check_order(deltas)
    assert assembled(deltas).choices == (Choice(stop="content_filter"),)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"candidates":{}}', b'{"candidates":[]}'])
def test_what_is_no_answer_is_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")


def test_an_error_inside_an_answer_is_its_fault() -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_answer(b'{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}', VOICE, {})
    assert caught.value.code == "overloaded"


def test_sources_of_grounding_become_citations_and_stay_for_the_same_dialect() -> None:
    value = answer_of([{"text": "so"}])
    value["candidates"][0]["groundingMetadata"] = {
        "webSearchQueries": ["q1", "q2"], "groundingChunks": [{"web": {"uri": "u", "title": "t"}}],
        "groundingSupports": [{"segment": {"text": "so", "endIndex": 2}, "groundingChunkIndices": [0, 9]}]}  # fmt: skip
    answer = DIALECT.read_answer(body_of(value), VOICE, {})
    assert bare(answer.choices[0].parts) == (Cited(text="so", citations=(Citation("u", "t", "so"),)),)
    assert answer.usage == msgspec.structs.replace(USAGE, tool_calls=(("google_search", 2),))
    assert json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body) == value
    assert DIALECT.usage_of_answer(body_of(value), VOICE) == answer.usage
    assert assembled(deltas_from([value])).choices[0].parts == bare(answer.choices[0].parts)
    foreign = ChatAnswer(choices=(Choice(parts=(Cited(text="a", citations=(Citation("u", "t", start=0, end=1),)),)),))
    told = json.loads(DIALECT.write_answer(foreign, ChatRequest("m"), 0).body)["candidates"][0]
    assert told["citationMetadata"] == {"citations": [{"uri": "u", "title": "t", "startIndex": 0, "endIndex": 1}]}


def test_usage_corners() -> None:
    raw = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": "9", "thoughtsTokenCount": -1,
           "trafficType": "ON_DEMAND_FLEX",
           "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}]}  # fmt: skip
    assert DIALECT.usage_of_answer(body_of({"usageMetadata": raw}), VOICE) == Usage(input=15, audio_out=2, tier="flex")
    assert DIALECT.usage_of_answer(b"{}", VOICE) is None
    assert DIALECT.usage_of_answer(b"broken", VOICE) is None


# -- streams -----------------------------------------------------------------------------------------------------------


def chunk(parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    return answer_of(parts, finish)


CHUNKS: list[dict[str, Any]] = [
    chunk([{"text": "Grüße ", "thought": True}]),
    chunk([{"text": "🌊 hm", "thought": True, "thoughtSignature": "T+/A"}]),
    chunk([{"text": "Hello 🌊"}]),
    chunk([{"text": '\n\ndata: {"not":"an event"}', "thoughtSignature": "X+/A"}]),
    chunk([PARTS[2], PARTS[3]]),
    chunk([PARTS[4], PARTS[5]]),
    chunk([{"text": ""}], "STOP"),
]


def deltas_from(chunks: list[dict[str, Any]]) -> list[ChatDelta]:
    reader = DIALECT.events_reader(VOICE, {})
    deltas = [delta for one in chunks for delta in reader.feed("", body_of(one))]
    return deltas + reader.close()


def assembled(deltas: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    return bare(assembler.answer())


def test_a_stream_gives_the_unary_answer() -> None:
    deltas = deltas_from(CHUNKS)
    check_order(deltas)
    unary = DIALECT.read_answer(body_of(answer_of(PARTS)), VOICE, {})
    assert assembled(deltas) == bare(unary)
    assert assembled(deltas_from([answer_of(PARTS)])) == bare(unary)


@pytest.mark.parametrize("framing", ["sse", "array"])
def test_a_stream_cut_at_every_byte_gives_the_same_deltas(framing: str) -> None:
    if framing == "sse":
        raw = b"".join(encode_event("", body_of(one)) for one in CHUNKS)
    else:
        raw = b"".join(encode_element(body_of(one), at == 0) for at, one in enumerate(CHUNKS)) + b"]"

    def deltas(pieces: list[bytes]) -> list[ChatDelta]:
        decoder = SseDecoder() if framing == "sse" else ArrayDecoder()
        reader = DIALECT.events_reader(VOICE, {})
        found = [delta for piece in pieces for name, data in decoder.feed(piece) for delta in reader.feed(name, data)]
        found += [delta for name, data in decoder.close() for delta in reader.feed(name, data)]
        return found + reader.close()

    whole = deltas_from(CHUNKS)
    assert deltas([raw]) == whole
    for at in range(len(raw)):
        assert deltas([raw[:at], raw[at:]]) == whole
    assert deltas([raw[at : at + 1] for at in range(len(raw))]) == whole


@pytest.mark.parametrize("framing", ["sse", "array"])
def test_what_a_client_reads_of_our_stream_is_the_answer(framing: str) -> None:
    unary = DIALECT.read_answer(body_of(answer_of(PARTS)), VOICE, {})
    for deltas in (deltas_from(CHUNKS), deltas_of(unary)):
        writer = DIALECT.events_writer(ChatRequest("m"), "id1", 0, "array" if framing == "array" else "sse")
        raw = b"".join(writer.write(delta) for delta in deltas)
        if framing == "array":
            told = json.loads(raw)
        else:
            told = [json.loads(data) for _, data in SseDecoder().feed(raw)]
        again = assembled(deltas_from(told))
        assert again.choices == choices_with_seals_apart(bare(unary))
        assert (again.usage, again.id, again.model) == (USAGE, "abcDEF123", "gemini-x")
        assert writer.losses == []


def choices_with_seals_apart(answer: ChatAnswer) -> tuple[Choice, ...]:
    """A seal that came behind its streamed text goes out in an empty text of its own."""
    parts = [
        msgspec.structs.replace(part, extra=Extra(NAME, (("text", b'""'),)))
        if isinstance(part, SealedThought)
        else part
        for part in answer.choices[0].parts
    ]
    return (msgspec.structs.replace(answer.choices[0], parts=tuple(parts)),)


def test_a_stream_without_its_finish_fails() -> None:
    deltas = deltas_from(CHUNKS[:-1])
    check_order(deltas)
    assert deltas[-2] == Failed("bad_upstream", "incomplete_stream", "The stream ended before its answer did.")
    assert deltas_from([])[1] == deltas[-2]


def test_finish_twice_and_usage_after_the_end_are_taken() -> None:
    late = {"usageMetadata": {"promptTokenCount": 99}}
    deltas = deltas_from([*CHUNKS, chunk([{"text": "ghost"}], "STOP"), late])
    check_order(deltas)
    answer = assembled(deltas)
    assert answer.usage == msgspec.structs.replace(USAGE, input=99)
    assert len(answer.choices[0].parts) == 7


def test_several_candidates_keep_apart() -> None:
    two = {"candidates": [{"content": {"parts": [{"text": "a"}]}, "index": 0},
                          {"content": {"parts": [{"text": "b"}]}, "index": 1, "finishReason": "STOP"}]}  # fmt: skip
    deltas = deltas_from([two, answer_of([{"text": "c"}])])
    check_order(deltas)
    assert [choice.parts for choice in assembled(deltas).choices] == [(Text(text="ac"),), (Text(text="b"),)]


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"candidates":[7]}', b'{"candidates":[{"index":99}]}', b"\xff"])
def test_a_broken_event_fails_once(data: bytes) -> None:
    reader = DIALECT.events_reader(VOICE, {})
    deltas = reader.feed("", data)
    check_order(deltas)
    assert deltas[0] == Start()
    assert isinstance(deltas[-2], Failed)
    assert (reader.feed("", body_of(CHUNKS[0])), reader.close()) == ([], [])


def test_an_error_in_a_stream_is_the_fault_it_names() -> None:
    reader = DIALECT.events_reader(VOICE, {})
    error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m", "details": [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7.5s"}]}  # fmt: skip
    deltas = reader.feed("", body_of({"error": error}))
    assert deltas[1:] == [Failed("rate_limited", "upstream_rate", "The provider limits the rate.", 7.5), END]


@pytest.mark.parametrize("framing", ["sse", "array"])
def test_a_failed_stream_ends_with_one_error(framing: str) -> None:
    writer = DIALECT.events_writer(ChatRequest("m"), "i", 0, "array" if framing == "array" else "sse")
    raw = b"".join(writer.write(delta) for delta in (Start("r1", "g"), Failed("overloaded", "", "Busy"), END))
    body = {"error": {"code": 503, "message": "Busy", "status": "UNAVAILABLE", "details": []}}
    told = json.loads(raw) if framing == "array" else [json.loads(data) for _, data in SseDecoder().feed(raw)]
    assert told == [body]
    assert (writer.comment("x"), writer.heartbeat()) == (b"", b"")  # google-genai takes every line for JSON


# -- passing through and faults ----------------------------------------------------------------------------------------


def test_bytes_pass_and_usage_is_found() -> None:
    assert DIALECT.splice(b'{ "model":1}', "x", True) == b'{ "model":1}'
    assert DIALECT.usage_of_event("", body_of(CHUNKS[0]), VOICE) == (USAGE, True, False)
    assert DIALECT.usage_of_event("", body_of(CHUNKS[-1]), VOICE) == (USAGE, True, True)
    assert DIALECT.usage_of_event("", b'{"error":{}}', VOICE) == (None, False, True)
    assert DIALECT.usage_of_event("", b'{"x":"\\"usageMetadata\\""}', VOICE) == (None, False, False)


def test_paths() -> None:
    door = "/v1beta/models/{model}:{action}"
    assert DIALECT.path(door, "g-2", False) == "/v1beta/models/g-2:generateContent"
    assert DIALECT.path(door, "a/b:c", True) == "/v1beta/models/a%2Fb%3Ac:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("fault", "status", "state"),
    [
        (Fault("invalid_request", "bad"), 400, "INVALID_ARGUMENT"), (Fault("unauthenticated"), 401, "UNAUTHENTICATED"),
        (Fault("price_unknown"), 403, "PERMISSION_DENIED"), (Fault("model_not_found"), 404, "NOT_FOUND"),
        (Fault("budget_exceeded"), 429, "RESOURCE_EXHAUSTED"), (Fault("bad_upstream"), 502, "UNAVAILABLE"),
        (Fault("overloaded", side=UPSTREAM), 503, "UNAVAILABLE"), (Fault("upstream_timeout"), 504, "DEADLINE_EXCEEDED"),
    ],
)  # fmt: skip
def test_faults_have_their_status_and_state(fault: Fault, status: int, state: str) -> None:
    written = DIALECT.write_fault(fault, "req")
    error = json.loads(written.body)["error"]
    assert (written.status, error["code"], error["status"], error["details"]) == (status, status, state, [])
    assert error["message"]


def test_a_delay_is_told_as_retry_info() -> None:
    written = DIALECT.write_fault(Fault("rate_limited", retry_after=2.5), "")
    assert json.loads(written.body)["error"]["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}
    ]


@pytest.mark.parametrize(
    ("status", "error", "code", "reason", "delay"),
    [
        (400, {"status": "INVALID_ARGUMENT", "message": "bad x"}, "invalid_request", "", 0.0),
        (400, {"message": "API key not valid", "details": [{"reason": "API_KEY_INVALID"}]}, "bad_upstream",
         "upstream_auth", 0.0),
        (400, {"message": "The input token count (9) exceeds the maximum"}, "context_length", "", 0.0),
        (429, {"status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "34.07s"}]}, "rate_limited", "upstream_rate",
         34.07),
        (429, {"details": [{"retryDelay": "3600s"}]}, "bad_upstream", "upstream_quota", 0.0),
        (503, {"status": "UNAVAILABLE"}, "overloaded", "upstream_overloaded", 0.0),
        (404, {"status": "NOT_FOUND", "message": "no"}, "model_not_found", "upstream_unknown_model", 0.0),
        (429, {"details": [{"retryDelay": "1e9s"}]}, "rate_limited", "upstream_rate", 0.0),
    ],
)  # fmt: skip
def test_refusals_of_the_vendor(status: int, error: dict[str, Any], code: str, reason: str, delay: float) -> None:
    for raw in (body_of({"error": error}), body_of({"error": error}).join((b"[", b"]"))):
        fault = DIALECT.read_fault(status, {}, raw, 0.0)
        assert (fault.code, fault.reason, fault.retry_after, fault.side) == (code, reason, delay, "upstream")
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
    with suppress(Fault):
        request = DIALECT.read_request(json.dumps(mutated(BOTH_WAYS[at % len(BOTH_WAYS)][1], chance)).encode(), HINTS)
        DIALECT.read_request(DIALECT.write_request(request, VOICE).body, HINTS)
    raw = json.dumps(mutated(json.loads(body_of(answer_of(PARTS))), chance)).encode()
    DIALECT.usage_of_answer(raw, VOICE)
    assert DIALECT.read_fault(500, {}, raw, 0.0).side == UPSTREAM
    with suppress(Fault):
        DIALECT.write_answer(DIALECT.read_answer(raw, VOICE, {}), ChatRequest("m"), 0)
    reader = DIALECT.events_reader(VOICE, {})
    writer = DIALECT.events_writer(ChatRequest("m"), "i", 0, "sse")
    deltas: list[ChatDelta] = []
    for name, data in [("", body_of(one)) for one in CHUNKS]:
        broken = json.dumps(mutated(json.loads(data), chance)).encode()
        DIALECT.usage_of_event("", broken, VOICE)
        deltas += reader.feed(name, broken)
    deltas += reader.close()
    check_order(deltas)
    assert b"".join([writer.write(delta) for delta in deltas])


# -- properties --------------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
names = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True).filter(lambda name: not name.startswith("call_00"))
plain = words.filter(lambda text: not text.lstrip().startswith("{"))
users = st.lists(words.map(lambda text: Text(text=text)), min_size=1, max_size=2).map(
    lambda parts: [Message("user", tuple(parts))]
)
seals = names.filter(lambda name: not name.startswith("dGcu")).map(str.encode)
thoughts = st.builds(
    lambda text, seal, vendor: Thought(text=text, signature=seal, origin=Origin(vendor)),
    words, seals, st.sampled_from(["gemini", "anthropic"]),
)  # fmt: skip


@st.composite
def loops(draw: st.DrawFn) -> list[Message]:
    ids = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    thought = draw(st.lists(thoughts, max_size=2))
    signed = draw(st.booleans())
    calls = tuple(
        ToolCall(id=id, name="f", arguments=json.dumps({"a": draw(words)}), signature=b"s" if signed else b"",
                 origin=GEMINI if signed else None)
        for id in ids
    )  # fmt: skip
    results = tuple(
        ToolResult(call_id=id, name="f", parts=(Text(text=draw(plain)),), is_error=draw(st.booleans())) for id in ids
    )
    return [Message("assistant", (*thought, *calls)), Message("tool", results)]


@given(
    st.one_of(st.just(""), words),
    users,
    st.lists(loops(), max_size=2),
    st.sampled_from([ToolChoice(), ToolChoice("required"), ToolChoice("subset", ("f", "g"), required=True)]),
    st.sampled_from([Sampling(), Sampling(temperature=0.5, n=2, seed=1)]),
    st.sampled_from(["", "flex", "fast"]),
)
def test_writing_and_reading_loses_only_what_was_declared(
    system: str, first: list[Message], turns: list[list[Message]], choice: ToolChoice, sampling: Sampling, tier: str
) -> None:
    leading = [Message("system", (Text(text=system),))] if system else []
    messages = (*leading, *first, *[message for turn in turns for message in turn])
    request = asks(*messages, tools=(FUNCTION, Tool("g")), tool_choice=choice, sampling=sampling, tier=tier)
    out = DIALECT.write_request(request, VOICE)
    kept = []
    for at, message in enumerate(messages):
        parts = message.parts
        if f"messages[{at}].thinking" in out.losses:
            parts = tuple(p for p in parts if not (isinstance(p, Thought) and p.origin != GEMINI))
        kept.append(msgspec.structs.replace(message, parts=parts))
    wanted = msgspec.structs.replace(request, messages=tuple(kept), tier="" if "tier" in out.losses else tier)
    assert bare(DIALECT.read_request(out.body, HINTS)) == wanted


# -- the official SDK --------------------------------------------------------------------------------------------------


def test_the_official_types_accept_requests_answers_and_streams() -> None:
    types = pytest.importorskip("google.genai.types", reason="the official SDK is not installed")
    response = types.GenerateContentResponse.model_validate_json(body_of(answer_of(PARTS)))
    assert response.candidates[0].content.parts[4].function_call.args == {"città": "Ōsaka 🏯"}
    writer = DIALECT.events_writer(ChatRequest("m"), "id1", 0, "sse")
    raw = b"".join(writer.write(delta) for delta in deltas_from(CHUNKS))
    chunks = [types.GenerateContentResponse.model_validate_json(data) for _, data in SseDecoder().feed(raw)]
    calls = [
        part.function_call.name for one in chunks for part in one.candidates[0].content.parts if part.function_call
    ]
    assert calls == ["f", "g"]
    assert chunks[-1].usage_metadata.thoughts_token_count == 3
    assert chunks[-1].candidates[0].finish_reason == "STOP"
