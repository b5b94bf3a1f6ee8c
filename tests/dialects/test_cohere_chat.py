"""Cohere's words <-> the neutral conversation (LLM 5, column coh)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dialects.cohere_chat import CohereChat
from tidegate.exchange.chat import (
    END,
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
    Refusal,
    Sampling,
    SealedThought,
    Start,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from tidegate.exchange.fault import GATEWAY, UPSTREAM, Fault
from tidegate.ports.dialect import Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.wire.sse import SseDecoder, encode_event

DIALECT = CohereChat()
NAME = "cohere_chat"
VOICE = Voice(vendor="cohere", model="m", addressed=("cohere", NAME))
EXTRA = Extra(NAME)
PLAN = Extra(NAME, (("tool_plan", b""),))


def read(body: dict[str, Any]) -> ChatRequest:
    return DIALECT.read_request(json.dumps(body).encode(), Hints())


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
    return ChatRequest(**{"model": "m", "messages": messages, "want_usage": True, "extra": EXTRA, **more})


USER = Message("user", (Text(text="Hi"),))
HI = {"role": "user", "content": "Hi"}
FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
TOOL = Tool("f", "d", b'{"type": "object"}')

BOTH_WAYS: list[tuple[str, dict[str, Any], ChatRequest]] = [
    ("text", {"messages": [HI]}, asks(USER)),
    ("system, in place", {"messages": [{"role": "system", "content": "Be kind"}, HI,
                                       {"role": "system", "content": [{"type": "text", "text": "In French"}]}, HI]},
     asks(Message("system", (Text(text="Be kind"),)), USER, Message("system", (Text(text="In French"),)), USER)),
    (
        "every setting",
        {"messages": [HI], "max_tokens": 9, "temperature": 0.5, "p": 0.9, "k": 3, "seed": 4, "frequency_penalty": 0.1,
         "presence_penalty": 0.2, "logprobs": True, "stop_sequences": ["a"], "priority": 999, "stream": True},
        asks(USER, max_output=9, sampling=Sampling(0.5, 0.9, 3, 4, 0.1, 0.2, logprobs=True), stop=("a",),
             tier="flex", stream=True),
    ),
    (
        "unknown members in their places",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "x": [1]}], "y": {"z": None}}],
         "documents": ["d"], "citation_options": {"mode": "FAST"}, "safety_mode": "STRICT", "priority": 7,
         "tools": [{"type": "function", "odd": 1, "function": {"name": "f", "parameters": {}, "odd": 2}}]},
        asks(
            Message("user", (Text(text="Hi", extra=Extra(NAME, (("x", b"[1]"),))),),
                    extra=Extra(NAME, (("y", b'{"z": null}'),))),
            tools=(Tool("f", schema=b"{}", extra=Extra(NAME, (("function.odd", b"2"), ("odd", b"1")))),),
            extra=Extra(NAME, (("documents", b'["d"]'), ("citation_options", b'{"mode": "FAST"}'),
                               ("safety_mode", b'"STRICT"'), ("priority", b"7"))),
        ),
    ),
    (
        "images",
        {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "See"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}]}]},
        asks(Message("user", (Text(text="See"), Image(mime="image/png", data=b"aGk=", detail="low"),
                              Image(url="https://a.example/x.png")))),
    ),
    (
        "tool loop with a plan and documents",
        {"tools": [FUNCTION], "strict_tools": True,
         "messages": [HI,
            {"role": "assistant", "tool_plan": "I look", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 12345678901234567890}'}},
                {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "no"},
            {"role": "tool", "tool_call_id": "c2", "content": [
                {"type": "document", "document": {"data": {"n": 1.50}}},
                {"type": "document", "document": {"data": "plain"}},
                {"type": "document", "document": {"id": "d", "data": {"n": 1}}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "so"}],
             "citations": [{"start": 0, "end": 2, "text": "so", "type": "TEXT_CONTENT", "content_index": 1,
                            "sources": [{"type": "document", "id": "d",
                                         "document": {"url": "https://u.example", "title": "T"}}]}]},
            HI]},
        asks(
            USER,
            Message("assistant", (
                Thought(text="I look", extra=PLAN),
                ToolCall(id="c1", name="f", arguments='{"a": 12345678901234567890}'),
                ToolCall(id="c2", name="f", arguments="{}"))),
            Message("tool", (ToolResult(call_id="c1", parts=(Text(text="no"),)),)),
            Message("tool", (ToolResult(call_id="c2", parts=(
                Text(text='{"n": 1.5}'), Text(text="plain"),
                Opaque(dialect=NAME, kind="document", value=b'{"type": "document", "document": {"id": "d", '
                                                           b'"data": {"n": 1}}}'))),)),
            Message("assistant", (Thought(text="hm"), Cited(text="so", citations=(
                Citation(url="https://u.example", title="T", quote="so", start=0, end=2, extra=Extra(NAME, (
                    ("type", b'"TEXT_CONTENT"'), ("content_index", b"1"),
                    ("sources", b'[{"type": "document", "id": "d", "document": {"url": "https://u.example", '
                                b'"title": "T"}}]')))),)))),
            USER,
            tools=(msgspec.structs.replace(TOOL, strict=True),),
        ),
    ),
    ("choice: required", {"messages": [HI], "tools": [FUNCTION], "tool_choice": "REQUIRED"},
     asks(USER, tools=(TOOL,), tool_choice=ToolChoice("required"))),
    ("choice: none", {"messages": [HI], "tools": [FUNCTION], "tool_choice": "NONE"},
     asks(USER, tools=(TOOL,), tool_choice=ToolChoice("none"))),
    ("JSON", {"messages": [HI], "response_format": {"type": "json_object"}}, asks(USER, output=Output("json"))),
    ("a schema", {"messages": [HI], "response_format": {"type": "json_object", "json_schema": {"a": 1}}},
     asks(USER, output=Output("schema", schema=b'{"a": 1}'))),
    ("text output", {"messages": [HI], "response_format": {"type": "text"}}, asks(USER, output=Output())),
    ("a format we do not know", {"messages": [HI], "response_format": {"type": "odd"}},
     asks(USER, extra=Extra(NAME, (("response_format", b'{"type": "odd"}'),)))),
    ("thinking", {"messages": [HI], "thinking": {"type": "enabled", "token_budget": 500, "odd": 1}},
     asks(USER, thinking=Thinking("on", budget=500, extra=Extra(NAME, (("odd", b"1"),))))),
    ("thinking off", {"messages": [HI], "thinking": {"type": "disabled"}},
     asks(USER, thinking=Thinking("off", extra=EXTRA))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "neutral"), [row[1:] for row in BOTH_WAYS], ids=[row[0] for row in BOTH_WAYS])
def test_a_request_is_read_into_its_neutral_form_and_written_back_equal(
    body: dict[str, Any], neutral: ChatRequest
) -> None:
    body = {"model": "m", "stream": False, **body}
    request = read(body)
    assert bare(request) == neutral
    assert write(request) == (body, ())


def test_what_cannot_be_said_is_named() -> None:
    request = asks(
        Message("user", (Text(text="a"), Opaque(dialect="openai_chat", kind="odd", value=b"{}"),
                         File(mime="application/pdf", data=b"A"), Image(file_id="f")), name="bob"),
        Message("assistant", (Thought(text="x", origin=Origin("gemini")), Text(text="{"))),
        sampling=Sampling(temperature=1.7, n=2, logprobs=True, verbosity="low"), tier="standard", user="u",
        metadata=b"{}", parallel_tools=False, extra=Extra("openai_chat", (("top_a", b"1"), ("odd", b"1"))),
        tools=(Tool("c", kind="custom", dialect="openai_chat", value=b"{}"),),
    )  # fmt: skip
    written, losses = write(request, msgspec.structs.replace(VOICE, accepts=frozenset(("top_a",))))
    assert sorted(losses) == sorted((
        "messages[0].name", "messages[0].odd", "messages[0].file", "messages[0].image", "prefill", "temperature", "n",
        "logprobs", "verbosity", "tier", "user", "metadata", "parallel_tools", "odd", "tools[0]",
    ))  # fmt: skip
    assert written == {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
                       "temperature": 1.0, "stream": False, "top_a": 1}  # fmt: skip


def test_history_of_other_vendors() -> None:
    request = asks(
        USER,
        Message("assistant", (
            Thought(text="x", signature=b"s", origin=Origin("gemini")), SealedThought(data=b"d", origin=Origin("o")),
            ToolCall(id="c d", name="grüße", arguments="{}"), ToolCall(id="e", name="f", signature=b"s"))),
        Message("tool", (ToolResult(call_id="c d", parts=(Text(text="1"), Image(url="u")), is_error=True),
                         ToolResult(call_id="e"))),
        tools=(Tool("grüße"), TOOL), tool_choice=ToolChoice("one", ("f",)),
    )  # fmt: skip
    out = DIALECT.write_request(request, VOICE)
    written = json.loads(out.body)
    assert sorted(out.losses) == ["messages[1].thinking", "messages[1].thinking.signature", "messages[2].is_error",
                                  "messages[2].tool_result.image", "tool_choice"]  # fmt: skip
    assert out.aliases == {"gr__e": "grüße"}
    assert [tool["function"]["name"] for tool in written["tools"]] == ["f"]
    assert written["tool_choice"] == "REQUIRED"
    call, _ = written["messages"][1]["tool_calls"]
    assert call["function"] == {"name": "gr__e", "arguments": "{}"}
    assert written["messages"][2] == {"role": "tool", "tool_call_id": call["id"], "content": "1"}
    assert written["messages"][3] == {"role": "tool", "tool_call_id": "e", "content": ""}
    body = answer_body({"tool_calls": [{"id": "1", "type": "function", "function": {"name": "gr__e"}}]}, "TOOL_CALL")
    assert bare(DIALECT.read_answer(body, VOICE, out.aliases).choices[0].parts) == (ToolCall(id="1", name="grüße"),)


@pytest.mark.parametrize(
    ("strict", "said", "lost"),
    [
        ((True, True), True, ()),
        ((False, False), False, ()),
        ((True, None), None, ("strict_tools",)),
        ((False, None), None, ()),
        ((None, None), None, ()),
    ],
)
def test_strict_is_said_when_all_tools_agree(
    strict: tuple[bool | None, ...], said: bool | None, lost: tuple[str, ...]
) -> None:
    tools = tuple(Tool(f"f{at}", strict=one) for at, one in enumerate(strict))
    written, losses = write(asks(USER, tools=tools, tool_choice=ToolChoice("subset", ("f0", "f1"))))
    assert (written.get("strict_tools"), losses) == (said, lost)


@pytest.mark.parametrize(
    ("thinking", "wanted", "lost"),
    [
        (Thinking("on", "high"), {"type": "enabled", "token_budget": 16384}, ()),
        (Thinking("on"), {"type": "enabled"}, ()),
        (Thinking("adaptive", show="full"), {"type": "enabled"}, ("thinking.show",)),
        (Thinking("off", "high"), {"type": "disabled"}, ()),
        (Thinking("on", "odd"), {"type": "enabled"}, ("thinking.effort",)),
    ],
)
def test_thinking_of_other_dialects(thinking: Thinking, wanted: dict[str, Any], lost: tuple[str, ...]) -> None:
    written, losses = write(asks(USER, thinking=thinking, max_output=20000))
    assert (written["thinking"], losses) == (wanted, lost)
    assert write(asks(USER, thinking=thinking), Voice(lacks=frozenset(("thinking",))))[1] == ("thinking",)


def test_provider_options_are_merged_last_but_never_what_is_asked() -> None:
    request = read({"model": "x", "messages": [HI], "provider_options": {"cohere": {"k": 5, "model": "evil"}}})
    written, losses = write(request)
    assert (written["k"], written["model"]) == (5, "m")
    assert losses == ("provider_options.cohere.model",)


def test_nulls_are_remembered_as_cleared() -> None:
    assert read({"model": "m", "messages": [HI], "tools": None, "p": None}).cleared == ("tools", "top_p")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "messages must be an array."),
        ({"messages": [{"role": "robot"}]}, "messages[0].role must be system, user, assistant or tool."),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content must be an array."),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0] must be an object."),
        ({"messages": [], "tool_choice": "AUTO"}, "tool_choice must be REQUIRED or NONE."),
        ({"messages": [], "thinking": {"type": "x"}}, "thinking.type must be enabled or disabled."),
        ({"messages": [], "tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]},
         "tools[0].function.parameters must be an object."),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_an_invalid_request_that_names_the_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault) as caught:
        read({"model": "m", **body})
    assert (caught.value.code, caught.value.side, caught.value.detail) == ("invalid_request", "client", words)


# -- answers -----------------------------------------------------------------------------------------------------------

ID = "c14c80c3-18eb-4519-9460-6c92edd8cfb4"
RAW_USAGE = {"billed_units": {"input_tokens": 15, "output_tokens": 11, "search_units": 2},
             "tokens": {"input_tokens": 15, "output_tokens": 11}, "cached_tokens": 7}  # fmt: skip
USAGE = Usage(input=15, output=11, cache_read=7, searches=2)
MESSAGE: dict[str, Any] = {
    "content": [{"type": "thinking", "thinking": "Grüße 🌊 hm"},
                {"type": "text", "text": 'Hi 🌊\n\ndata: {"no":"event"}'}],
    "citations": [{"start": 0, "end": 2, "text": "Hi", "type": "TEXT_CONTENT", "content_index": 1,
                   "sources": [{"type": "document", "id": "d", "document": {"url": "https://u.example"}}]}],
    "tool_plan": "I look twice",
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"città":"Ōsaka 🏯"}'}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}"}}],
}  # fmt: skip


def answer_body(message: dict[str, Any], stop: str = "COMPLETE", **more: Any) -> bytes:
    body = {"id": ID, "finish_reason": stop, "message": {"role": "assistant", **message}, "usage": RAW_USAGE, **more}
    return json.dumps(body, ensure_ascii=False).encode()


def test_a_whole_answer_both_ways() -> None:
    logprobs = [{"text": "Hi", "token_ids": [1], "logprobs": [-0.5]}]
    body = answer_body({**MESSAGE, "odd": 1}, "TOOL_CALL", prompt="p", logprobs=logprobs)
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.usage == USAGE
    assert (answer.id, answer.model, answer.choices[0].stop) == (ID, "m", "tool_calls")
    assert [type(part).__name__ for part in answer.choices[0].parts] == [
        "Thought", "Cited", "Thought", "ToolCall", "ToolCall",
    ]  # fmt: skip
    assert answer.choices[0].parts[0].origin == Origin("cohere")  # type: ignore[union-attr]
    written = DIALECT.write_answer(answer, ChatRequest("m"), 0)
    assert json.loads(written.body) == json.loads(body)
    assert (written.losses, written.status) == ((), 200)
    assert DIALECT.usage_of_answer(body, VOICE) == USAGE


@pytest.mark.parametrize(
    ("word", "stop"),
    [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop_sequence"), ("MAX_TOKENS", "length"), ("NEW_WORD", "stop")],
)
def test_stop_words_both_ways(word: str, stop: str) -> None:
    body = answer_body({"content": [{"type": "text", "text": "x"}]}, word)
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.choices[0].stop == stop
    assert json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body) == json.loads(body)


@pytest.mark.parametrize(
    ("stop", "word"),
    [("context_length", "MAX_TOKENS"), ("content_filter", "ERROR"), ("refusal", "COMPLETE"), ("pause", "COMPLETE")],
)
def test_stops_of_other_vendors(stop: Any, word: str) -> None:
    answer = ChatAnswer(choices=(Choice(parts=(Refusal(text="no"),), stop=stop),))
    written = DIALECT.write_answer(answer, ChatRequest("m"), 0)
    body = json.loads(written.body)
    assert body["finish_reason"] == word
    assert body["message"]["content"] == [{"type": "text", "text": "no"}]
    assert written.losses == (("pause",) if stop == "pause" else ())
    assert len(body["id"]) == 36


@pytest.mark.parametrize(("word", "code"), [("ERROR", "bad_upstream"), ("TIMEOUT", "upstream_timeout")])
def test_a_broken_answer_is_a_fault(word: str, code: str) -> None:
    with pytest.raises(Fault, match=code):
        DIALECT.read_answer(answer_body({}, word), VOICE, {})
    assert DIALECT.write_answer(ChatAnswer(choices=(Choice(stop="broken"),)), ChatRequest("m"), 0).status == 502


def test_calls_decide_the_stop() -> None:
    assert DIALECT.read_answer(answer_body(MESSAGE, "COMPLETE"), VOICE, {}).choices[0].stop == "tool_calls"
    assert DIALECT.read_answer(answer_body({}, "TOOL_CALL"), VOICE, {}).choices[0].stop == "stop"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message":1}', b'{"message":{"content":"\xff"}}'])
def test_what_is_no_answer_is_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")


def test_usage_that_is_hostile_or_billed_otherwise() -> None:
    hostile = {"tokens": {"input_tokens": -5, "output_tokens": "9"}, "cached_tokens": None}
    assert DIALECT.read_answer(answer_body({}, usage=hostile), VOICE, {}).usage == Usage()
    assert DIALECT.read_answer(answer_body({}, usage=None), VOICE, {}).usage is None
    body = b'{"usage":{"billed_units":{"input_tokens":2},"tokens":{"input_tokens":70}}}'
    assert DIALECT.usage_of_answer(body, VOICE) == Usage(input=70)
    voice = msgspec.structs.replace(VOICE, usage={"billed_units.input_tokens": "input"})
    assert DIALECT.usage_of_answer(body, voice) == Usage(input=2)
    assert DIALECT.usage_of_answer(b'{"usage":{"billed_units":{"output_tokens":3}}}', VOICE) == Usage(output=3)


# -- streams -----------------------------------------------------------------------------------------------------------


def event(kind: str, **members: Any) -> bytes:
    return encode_event(kind, json.dumps({"type": kind, **members}, ensure_ascii=False).encode())


def start() -> bytes:
    message = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    return event("message-start", id=ID, delta={"message": message})


def vendor_stream(message: dict[str, Any], stop: str) -> bytes:
    """A stream as the vendor sends it."""
    out = [start()]
    for index, part in enumerate(message.get("content", ())):
        flow = part["type"]
        out.append(event("content-start", index=index, delta={"message": {"content": {"type": flow, flow: ""}}}))
        for piece in (part[flow][:3], part[flow][3:]):
            out.append(event("content-delta", index=index, delta={"message": {"content": {flow: piece}}}))
        out.append(event("content-end", index=index))
    for at, citation in enumerate(message.get("citations", ())):
        out.append(event("citation-start", index=at, delta={"message": {"citations": citation}}))
        out.append(event("citation-end", index=at))
    for word in message.get("tool_plan", "").split():
        out.append(event("tool-plan-delta", delta={"message": {"tool_plan": word}}))
    for at, call in enumerate(message.get("tool_calls", ())):
        arguments = call["function"]["arguments"]
        head = {**call, "function": {**call["function"], "arguments": ""}}
        out.append(event("tool-call-start", index=at, delta={"message": {"tool_calls": head}}))
        if arguments != "{}":
            for piece in (arguments[:4], arguments[4:]):
                delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
                out.append(event("tool-call-delta", index=at, delta=delta))
        out.append(event("tool-call-end", index=at))
    out.append(event("message-end", id=ID, delta={"finish_reason": stop, "usage": RAW_USAGE}))
    return b"".join([*out, b"data: [DONE]\n\n"])


STREAM = vendor_stream(MESSAGE, "TOOL_CALL")


def deltas_from(pieces: list[bytes], aliases: dict[str, str] | None = None) -> list[ChatDelta]:
    decoder, reader = SseDecoder(), DIALECT.events_reader(VOICE, aliases or {})
    deltas: list[ChatDelta] = []
    for piece in pieces:
        for name, data in decoder.feed(piece):
            deltas += reader.feed(name, data)
    for name, data in decoder.close():
        deltas += reader.feed(name, data)
    deltas += reader.close()
    check_order(deltas)
    return deltas


def assembled(deltas: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    return assembler.answer()


def stream_of(deltas: list[ChatDelta]) -> bytes:
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "sse")
    return b"".join(writer.write(delta) for delta in deltas)


def test_a_stream_assembles_to_the_whole_answer() -> None:
    message = {**MESSAGE, "tool_plan": "Ilooktwice"}
    whole = DIALECT.read_answer(answer_body(message, "TOOL_CALL"), VOICE, {})
    assert bare(assembled(deltas_from([STREAM]))) == bare(whole)


def test_a_stream_cut_at_every_byte_gives_the_same_deltas() -> None:
    whole = deltas_from([STREAM])
    for at in range(1, len(STREAM)):
        assert deltas_from([STREAM[:at], STREAM[at:]]) == whole
    assert deltas_from([STREAM[at : at + 1] for at in range(len(STREAM))]) == whole


def test_a_stream_written_is_read_as_the_same() -> None:
    deltas = deltas_from([STREAM])
    wire = stream_of(deltas)
    assert assembled(deltas_from([wire])) == assembled(deltas)
    assert wire.endswith(b'"cached_tokens":7}}}\n\ndata: [DONE]\n\n')
    names = [name for name, _ in SseDecoder().feed(wire)]
    assert names[:3] == ["message-start", "content-start", "content-delta"]
    assert "tool-plan-delta" in names
    assert names[-2:] == ["message-end", ""]


def test_odd_streams() -> None:
    late = start() + event("content-delta", index=0, delta={"message": {"content": {"text": "x"}}})
    ends = event("message-end", delta={"finish_reason": "COMPLETE"})
    answer = assembled(deltas_from([event("debug", prompt="p") + late + b"data: {}\n\n" + ends]))
    assert (answer.choices[0].parts, answer.usage) == ((Text(text="x"),), None)
    listed = event("tool-call-start", index=0, delta={"message": {"tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]}})  # fmt: skip
    answer = assembled(deltas_from([start() + listed + ends]))
    assert answer.choices[0] == Choice(parts=(ToolCall(id="1", name="f", arguments='{"a":1}'),), stop="tool_calls")


@pytest.mark.parametrize(
    ("wire", "failed"),
    [
        (b"", Failed("bad_upstream", "incomplete_stream", "The stream ended before its message did.")),
        (STREAM[: STREAM.index(b"event: message-end")],
         Failed("bad_upstream", "incomplete_stream", "The stream ended before its message did.")),
        (event("content-start", index=0),
         Failed("bad_upstream", "protocol", "The stream does not begin with its message.")),
        (event("content-delta", index=0), Failed("bad_upstream", "protocol", "An event of the stream is broken.")),
        (start() + b"data: {\n\n", Failed("bad_upstream", "protocol", "An event of the stream is broken.")),
        (start() + event("tool-call-delta", index=3),
         Failed("bad_upstream", "protocol", "An event of the stream is broken.")),
        (event("message-end", delta={}), Failed("bad_upstream", "empty_answer", "The stream held no answer.")),
        (start() + event("message-end", delta={"finish_reason": "ERROR", "error": "boom at https://x.internal/y"}),
         Failed("bad_upstream", "model_error", "boom at ***")),
        (start() + event("message-end", delta={"finish_reason": "TIMEOUT"}),
         Failed("upstream_timeout", "upstream_timeout", "The provider took too long.")),
    ],
)  # fmt: skip
def test_a_stream_that_fails(wire: bytes, failed: Failed) -> None:
    assert deltas_from([wire])[-2] == failed


@pytest.mark.parametrize(("code", "word"), [("rate_limited", "ERROR"), ("upstream_timeout", "TIMEOUT")])
def test_a_failure_ends_the_message_and_nothing_follows(code: str, word: str) -> None:
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "sse")
    writer.write(Start(id=ID))
    failed = Failed(code, "", "Why.")
    wire = writer.write(failed) + writer.write(failed) + writer.write(END)
    assert wire == event("message-end", id=ID, delta={"finish_reason": word, "error": "Why."}).replace(
        b'": ', b'":').replace(b', "', b',"')  # fmt: skip
    assert (writer.comment("x"), writer.heartbeat()) == (b": x\n\n", b":\n\n")


def test_what_a_stream_cannot_say_is_lost_by_name() -> None:
    answer = ChatAnswer(choices=(
        Choice(parts=(Opaque(dialect="anthropic_messages", kind="x", value=b"{}"), SealedThought(data=b"d"),
                      Thought(text="t", signature=b"s", origin=Origin("gemini")),
                      ToolCall(id="1", name="f", signature=b"s"), Text(text="x")), stop="pause"),
        Choice(index=1, parts=(Text(text="y"),)),
    ))  # fmt: skip
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "sse")
    wire = b"".join(writer.write(delta) for delta in deltas_of(answer))
    assert writer.losses == ["parts.opaque", "thinking", "thinking.signature", "n", "pause"]
    assert assembled(deltas_from([wire])).choices[0].parts == (
        Thought(text="t", origin=Origin("cohere")), ToolCall(id="1", name="f"), Text(text="x"),
    )  # fmt: skip
    written = DIALECT.write_answer(answer, ChatRequest("m"), 0)
    assert written.losses == ("n", "pause", "answer.thinking", "answer.thinking.signature", "answer.x")


def test_citations_of_other_vendors_name_their_source() -> None:
    cited = Cited(text="so", citations=(Citation(url="https://u.example", title="T", quote="q"),))
    answer = ChatAnswer(choices=(Choice(parts=(cited,)),))
    written = json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body)
    assert written["message"]["citations"] == [{
        "text": "q", "sources": [{"type": "document", "id": "https://u.example",
                                  "document": {"url": "https://u.example", "title": "T"}}],
        "content_index": 0, "type": "TEXT_CONTENT"}]  # fmt: skip
    streamed = assembled(deltas_from([stream_of(deltas_of(answer))]))
    part = streamed.choices[0].parts[0]
    assert isinstance(part, Cited)
    assert (part.citations[0].url, part.citations[0].title) == ("https://u.example", "T")


def test_the_tap_hears_usage_content_and_the_end() -> None:
    found = [DIALECT.usage_of_event(name, data, VOICE) for name, data in SseDecoder().feed(STREAM)]
    assert found[:3] == [(None, False, False), (None, False, False), (None, True, False)]
    assert found[-2:] == [(USAGE, False, True), (None, False, True)]
    body = b'{"type":"message-end","delta":{"usage":{"tokens":{"input_tokens":1}}}}'
    assert DIALECT.usage_of_event("", body, VOICE) == (Usage(input=1), False, True)


def test_the_model_is_replaced_in_place() -> None:
    assert DIALECT.splice(b'{ "model" : "a", "p":1.0}', "b", True) == b'{ "model" : "b", "p":1.0}'
    assert json.loads(DIALECT.splice(b'{"p":1}', "b", False)) == {"p": 1, "model": "b"}
    assert DIALECT.path("/v2/chat", "m", True) == "/v2/chat"


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "bad field", "invalid_request"), (400, "too many tokens: 9 > 5", "context_length"),
        (401, "x", "bad_upstream"), (402, "x", "bad_upstream"), (404, "no model", "model_not_found"),
        (422, "x", "invalid_request"), (429, "x", "rate_limited"), (498, "x", "bad_upstream"),
        (500, "x", "bad_upstream"), (503, "x", "overloaded"), (504, "x", "upstream_timeout"),
    ],
)  # fmt: skip
def test_faults_of_the_provider(status: int, message: str, code: str) -> None:
    fault = DIALECT.read_fault(status, {}, json.dumps({"id": "1", "message": message}).encode(), 0.0)
    assert (fault.code, fault.side) == (code, UPSTREAM)
    if code == "invalid_request":
        assert fault.detail == message
    assert fault.reason == {401: "upstream_auth", 498: "upstream_auth", 402: "upstream_quota"}.get(status, fault.reason)


def test_faults_for_the_client() -> None:
    written = DIALECT.write_fault(Fault("rate_limited", "Slow.", side=GATEWAY), "r-1")
    assert (written.status, json.loads(written.body)) == (429, {"message": "Slow.", "id": "r-1"})
    written = DIALECT.write_fault(Fault("bad_upstream"), "")
    assert (written.status, json.loads(written.body)) == (502, {"message": "The upstream answered badly"})


# -- properties --------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(str.strip)
texts = st.builds(lambda text: Text(text=text), words)
parts = st.one_of(texts, st.just(Image(mime="image/png", data=b"aGk=")), st.just(Image(url="https://a.example/x.png")))
users = st.builds(lambda found: Message("user", tuple(found)), st.lists(parts, min_size=1, max_size=3))


@st.composite
def loops(draw: st.DrawFn) -> list[Message]:
    called = draw(st.lists(st.text("abcXYZ019_-", min_size=1, max_size=9), unique=True, min_size=1, max_size=3))
    thought = draw(st.lists(st.sampled_from([Thought(text="hm"), Thought(text="no", origin=Origin("gemini"))]),
                            max_size=2))  # fmt: skip
    calls = tuple(ToolCall(id=id, name="f", arguments='{"a":1}') for id in called)
    results = [
        Message("tool", (ToolResult(call_id=id, parts=(draw(texts),), is_error=draw(st.booleans())),)) for id in called
    ]
    return [Message("assistant", (*thought, *calls)), *results]


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    turns = draw(st.lists(loops(), max_size=2))
    return asks(
        draw(users),
        *[message for turn in turns for message in turn],
        tools=(Tool("f", "d", b"{}", draw(st.sampled_from([None, True, False]))),),
        tool_choice=draw(st.sampled_from([ToolChoice(), ToolChoice("required"), ToolChoice("none")])),
        sampling=draw(st.sampled_from([Sampling(), Sampling(temperature=0.5, top_k=3), Sampling(n=3)])),
        output=draw(st.sampled_from([None, Output("schema", schema=b'{"a":1}'), Output("json"), Output()])),
        max_output=draw(st.one_of(st.none(), st.integers(1, 9))),
        stop=tuple(draw(st.lists(words, max_size=2))),
        tier=draw(st.sampled_from(["", "priority", "flex", "standard"])),
        user=draw(st.sampled_from(["", "user-1"])),
        stream=draw(st.booleans()),
    )


def less(request: ChatRequest, losses: tuple[str, ...]) -> ChatRequest:
    """*request* without what *losses* name."""
    messages = []
    for at, message in enumerate(request.messages):
        kept = message.parts
        if f"messages[{at}].thinking" in losses:
            kept = tuple(p for p in kept if not (isinstance(p, Thought) and p.origin == Origin("gemini")))
        if f"messages[{at}].is_error" in losses:
            kept = tuple(msgspec.structs.replace(p, is_error=False) for p in kept if isinstance(p, ToolResult))
        messages.append(msgspec.structs.replace(message, parts=kept))
    changed: dict[str, Any] = {"messages": tuple(messages)}
    for name, empty in (("tier", ""), ("user", "")):
        if name in losses:
            changed[name] = empty
    if "n" in losses:
        changed["sampling"] = Sampling()
    return msgspec.structs.replace(request, **changed)


@given(requests())
def test_writing_and_reading_loses_only_what_was_declared(request: ChatRequest) -> None:
    out = DIALECT.write_request(request, VOICE)
    assert bare(DIALECT.read_request(out.body, Hints())) == bare(less(request, out.losses))


# -- the official SDK --------------------------------------------------------------------------------------------------


def test_the_official_types_accept_answers_and_streams() -> None:
    cohere = pytest.importorskip("cohere", reason="the official SDK is not installed")
    import httpx

    def answer(asked: httpx.Request) -> httpx.Response:
        if json.loads(asked.content).get("stream"):
            return httpx.Response(200, content=stream_of(deltas_from([STREAM])),
                                  headers={"content-type": "text/event-stream"})  # fmt: skip
        request = DIALECT.read_request(asked.content, Hints())
        whole = DIALECT.read_answer(answer_body(MESSAGE, "TOOL_CALL"), VOICE, {})
        written = DIALECT.write_answer(whole, request, 0)
        return httpx.Response(200, content=written.body, headers={"content-type": "application/json"})

    client = cohere.ClientV2(api_key="k", httpx_client=httpx.Client(transport=httpx.MockTransport(answer)))
    got = client.chat(model="m", messages=[HI])
    assert got.finish_reason == "TOOL_CALL"
    assert got.message.content[1].text == MESSAGE["content"][1]["text"]
    assert got.message.tool_calls[0].function.arguments == '{"città":"Ōsaka 🏯"}'
    assert got.usage.tokens.input_tokens == 15
    events = list(client.chat_stream(model="m", messages=[HI]))
    assert events[-1].delta.finish_reason == "TOOL_CALL"
    pieces = [event.delta.message.content.text for event in events if event.type == "content-delta"]
    assert "".join(piece for piece in pieces if piece) == MESSAGE["content"][1]["text"]
