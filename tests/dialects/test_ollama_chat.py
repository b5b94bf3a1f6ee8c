"""Ollama's words <-> the neutral conversation (LLM 5, column oll)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dialects.ollama_chat import OllamaChat
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
from tidegate.rules.ollama_messages import moment, read_moment
from tidegate.rules.tool_ids import minted_id
from tidegate.wire.ndjson import NdjsonDecoder

DIALECT = OllamaChat()
NAME = "ollama_chat"
VOICE = Voice(vendor="ollama", model="m", addressed=("ollama", NAME))


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
    return ChatRequest(**{"model": "m", "messages": messages, "want_usage": True, **more})


USER = Message("user", (Text(text="Hi"),))
HI = {"role": "user", "content": "Hi"}
FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
TOOL = Tool("f", "d", b'{"type": "object"}')
FIRST, SECOND = minted_id("messages[1]", 0), minted_id("messages[1]", 1)
OWN = Extra(NAME)

BOTH_WAYS: list[tuple[str, dict[str, Any], ChatRequest]] = [
    ("text", {"messages": [HI]}, asks(USER)),
    ("no stream", {"messages": [HI], "stream": False}, asks(USER, stream=False)),
    ("system, in place", {"messages": [{"role": "system", "content": "Be kind"}, HI,
                                       {"role": "system", "content": "In French"}, HI]},
     asks(Message("system", (Text(text="Be kind"),)), USER, Message("system", (Text(text="In French"),)), USER)),
    (
        "every setting",
        {"messages": [HI], "logprobs": True, "top_logprobs": 2, "options": {
            "num_predict": 9, "temperature": 1.5, "top_p": 0.9, "top_k": 3, "seed": 4, "frequency_penalty": 0.1,
            "presence_penalty": 0.2, "stop": ["a"]}},
        asks(USER, max_output=9, stop=("a",),
             sampling=Sampling(1.5, 0.9, 3, 4, 0.1, 0.2, logprobs=True, top_logprobs=2)),
    ),
    (
        "unknown members in their places",
        {"messages": [{"role": "user", "content": "Hi", "y": {"z": None}}], "keep_alive": "5m",
         "options": {"num_ctx": 4096, "num_predict": -2},
         "tools": [{"type": "function", "odd": 1, "function": {"name": "f", "parameters": {}, "odd": 2}}]},
        asks(
            Message("user", (Text(text="Hi"),), extra=Extra(NAME, (("y", b'{"z": null}'),))),
            tools=(Tool("f", schema=b"{}", extra=Extra(NAME, (("function.odd", b"2"), ("odd", b"1")))),),
            extra=Extra(NAME, (("options.num_ctx", b"4096"), ("options.num_predict", b"-2"), ("keep_alive", b'"5m"'))),
        ),
    ),
    ("images", {"messages": [{"role": "user", "content": "See", "images": ["aGk=", "aG8="]}]},
     asks(Message("user", (Text(text="See"), Image(data=b"aGk="), Image(data=b"aG8="))))),
    (
        "tool loop without ids: results find their calls by name and order",
        {"tools": [FUNCTION],
         "messages": [HI,
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                {"function": {"name": "f", "arguments": {"a": 12345678901234567890}}},
                {"function": {"name": "g", "arguments": {}, "index": 1}}]},
            {"role": "tool", "content": "2", "tool_name": "g"},
            {"role": "tool", "content": "1"}]},
        asks(
            USER,
            Message("assistant", (
                Thought(text="hm"), ToolCall(id=FIRST, name="f", arguments='{"a": 12345678901234567890}'),
                ToolCall(id=SECOND, name="g", arguments="{}", extra=Extra(NAME, (("function.index", b"1"),))))),
            Message("tool", (ToolResult(call_id=SECOND, name="g", parts=(Text(text="2"),)),)),
            Message("tool", (ToolResult(call_id=FIRST, parts=(Text(text="1"),)),)),
            tools=(TOOL,),
        ),
    ),
    (
        "tool loop with ids",
        {"messages": [HI,
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": {}}},
                {"id": "c2", "function": {"name": "f", "arguments": {}}}]},
            {"role": "tool", "content": "2", "tool_name": "f", "tool_call_id": "c2"},
            {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "c1"}]},
        asks(
            USER,
            Message("assistant", (ToolCall(id="c1", name="f"), ToolCall(id="c2", name="f"))),
            Message("tool", (ToolResult(call_id="c2", name="f", parts=(Text(text="2"),)),)),
            Message("tool", (ToolResult(call_id="c1", name="f", parts=(Text(text="1"),)),)),
        ),
    ),
    ("JSON", {"messages": [HI], "format": "json"}, asks(USER, output=Output("json"))),
    ("a schema", {"messages": [HI], "format": {"a": 1}}, asks(USER, output=Output("schema", schema=b'{"a": 1}'))),
    ("think", {"messages": [HI], "think": True}, asks(USER, thinking=Thinking("on", extra=OWN))),
    ("do not think", {"messages": [HI], "think": False}, asks(USER, thinking=Thinking("off", extra=OWN))),
    ("think hard", {"messages": [HI], "think": "high"}, asks(USER, thinking=Thinking("on", "high", extra=OWN))),
    ("prefill", {"messages": [HI, {"role": "assistant", "content": "{"}]},
     asks(USER, Message("assistant", (Text(text="{"),)))),
]  # fmt: skip


def without_name(message: Any) -> Any:
    """Results learn the name of their call when they are written."""
    return {name: value for name, value in message.items() if name != "tool_name"}


@pytest.mark.parametrize(("body", "neutral"), [row[1:] for row in BOTH_WAYS], ids=[row[0] for row in BOTH_WAYS])
def test_a_request_is_read_into_its_neutral_form_and_written_back_equal(
    body: dict[str, Any], neutral: ChatRequest
) -> None:
    request = read({"model": "m", **body})
    assert bare(request) == (neutral if "stream" in body else msgspec.structs.replace(neutral, stream=True))
    written, losses = write(request)
    for one in (written, body):
        one["messages"] = [without_name(message) for message in one["messages"]]
    assert (written, losses) == ({"model": "m", "stream": True, **body}, ())


def test_what_cannot_be_said_is_named() -> None:
    request = asks(
        Message("user", (Text(text="a"), Opaque(dialect="openai_chat", kind="odd", value=b"{}"),
                         Image(url="https://a.example"), Audio(data=b"A")), name="bob"),
        Message("assistant", (
            Thought(text="x", signature=b"s", origin=Origin("gemini")), SealedThought(data=b"d"),
            Cited(text="so", citations=(Citation(url="u"),)), Refusal(text="no"),
            ToolCall(id="c", name="f", arguments="broken", signature=b"s"))),
        Message("tool", (ToolResult(call_id="c", parts=(Text(text="1"),), is_error=True),)),
        sampling=Sampling(n=2, verbosity="low"), tier="flex", user="u", metadata=b"{}", parallel_tools=False,
        tools=(Tool("c", kind="custom", dialect="openai_chat", value=b"{}"), Tool("f", strict=True)),
        tool_choice=ToolChoice("required"), extra=Extra("openai_chat", (("top_a", b"1"), ("odd", b"1"))),
    )  # fmt: skip
    written, losses = write(request, msgspec.structs.replace(VOICE, accepts=frozenset(("top_a",))))
    assert sorted(losses) == sorted((
        "messages[0].name", "messages[0].odd", "messages[0].image_url", "messages[0].audio", "messages[1].thinking",
        "messages[1].citations", "messages[1].arguments", "messages[1].thinking.signature", "messages[2].is_error",
        "n", "verbosity", "tier", "user", "metadata", "parallel_tools", "tools[0]", "tools[1].strict", "tool_choice",
        "odd",
    ))  # fmt: skip
    assert written["messages"][1:] == [
        {"role": "assistant", "content": "so\nno", "tool_calls": [
            {"id": "c", "function": {"name": "f", "arguments": {"_raw": "broken"}}}]},
        {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "c"},
    ]  # fmt: skip
    assert written["top_a"] == 1


def test_tools_are_left_out_or_narrowed() -> None:
    assert "tools" not in write(asks(USER, tools=(TOOL,), tool_choice=ToolChoice("none")))[0]
    written, losses = write(asks(USER, tools=(TOOL, Tool("g")), tool_choice=ToolChoice("subset", ("f",))))
    assert (written["tools"], losses) == ([FUNCTION], ())
    assert write(asks(USER, tools=(TOOL,)), Voice(lacks=frozenset(("tools",))))[1] == ("tools",)


@pytest.mark.parametrize(
    ("thinking", "style", "wanted", "lost"),
    [
        (Thinking("on"), "", True, ()),
        (Thinking("adaptive"), "", True, ()),
        (Thinking("on", "high"), "", True, ("thinking.effort",)),
        (Thinking("on", "high"), "level", "high", ()),
        (Thinking("on", "max"), "level", "high", ("thinking.effort",)),
        (Thinking("on", budget=9000), "level", "medium", ("thinking.budget",)),
        (Thinking("off", "high"), "level", False, ()),
        (Thinking("on", show="none"), "", True, ("thinking.show",)),
    ],
)
def test_thinking_of_other_dialects(thinking: Thinking, style: str, wanted: Any, lost: tuple[str, ...]) -> None:
    written, losses = write(asks(USER, thinking=thinking), msgspec.structs.replace(VOICE, thinking_style=style))
    assert (written["think"], losses) == (wanted, lost)


def test_output_where_the_target_lacks_it() -> None:
    schema = asks(USER, output=Output("schema", schema=b'{"a":1}', description="d"))
    written, losses = write(schema, Voice(lacks=frozenset(("output.schema",))))
    assert (written["format"], losses) == ("json", ("output.description", "output.schema"))
    written, losses = write(asks(USER, output=Output("json")), Voice(lacks=frozenset(("output.json",))))
    assert ("format" in written, losses) == (False, ("output.json",))


def test_provider_options_are_merged_last_but_never_what_is_asked() -> None:
    request = read({"model": "x", "messages": [HI], "options": {"seed": 1},
                    "provider_options": {"ollama": {"options": {"num_ctx": 5}, "stream": False}}})  # fmt: skip
    written, losses = write(request)
    assert (written["options"], written["stream"]) == ({"seed": 1, "num_ctx": 5}, True)
    assert losses == ("provider_options.ollama.stream",)


def test_nulls_are_remembered_as_cleared() -> None:
    request = read({"model": "m", "messages": [HI], "tools": None, "format": None, "options": {"seed": None}})
    assert (request.cleared, request.sampling) == (("tools", "output"), Sampling())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": 1}, "messages must be an array."),
        ({"messages": [{"role": "robot"}]}, "messages[0].role must be system, user, assistant or tool."),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content must be a string."),
        ({"messages": [{"role": "user", "images": [5]}]}, "messages[0].images must be an array of strings."),
        ({"options": {"num_predict": "x"}}, "options.num_predict must be a whole number."),
        ({"format": "xml"}, "format must be json or a schema."),
        ({"think": 5}, "think must be true or false."),
    ],
)
def test_a_wrong_shape_is_an_invalid_request_that_names_the_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault) as caught:
        read({"model": "m", **body})
    assert (caught.value.code, caught.value.side, caught.value.detail) == ("invalid_request", "client", words)


# -- answers -----------------------------------------------------------------------------------------------------------

CREATED = "2026-11-22T03:16:21Z"
SECONDS = 1795317381
MESSAGE: dict[str, Any] = {
    "content": 'Hi 🌊\n\ndata: {"no":"event"}', "thinking": "Grüße 🌊 hm",
    "tool_calls": [{"function": {"name": "f", "arguments": {"città": "Ōsaka 🏯"}}},
                   {"function": {"name": "g", "arguments": {}}}],
}  # fmt: skip
COUNTS = {"prompt_eval_count": 15, "eval_count": 11}
USAGE = Usage(input=15, output=11)


def answer_body(message: dict[str, Any], stop: str = "stop", **more: Any) -> bytes:
    body = {"model": "llama", "created_at": CREATED, "message": {"role": "assistant", **message}, "done": True,
            "done_reason": stop, "total_duration": 5, **COUNTS, **more}  # fmt: skip
    return json.dumps(body, ensure_ascii=False).encode()


def test_a_whole_answer_both_ways() -> None:
    body = answer_body({**MESSAGE, "odd": 1}, logprobs=[{"token": "Hi", "logprob": -0.5}])
    answer = DIALECT.read_answer(body, VOICE, {})
    assert (answer.usage, answer.model, answer.created) == (USAGE, "llama", SECONDS)
    assert bare(answer.choices[0].parts) == (
        Thought(text="Grüße 🌊 hm", origin=Origin("ollama")), Text(text=MESSAGE["content"]),
        ToolCall(id=minted_id(CREATED, 0), name="f", arguments='{"città": "Ōsaka 🏯"}'),
        ToolCall(id=minted_id(CREATED, 1), name="g", arguments="{}"),
    )  # fmt: skip
    assert answer.choices[0].stop == "tool_calls"
    written = DIALECT.write_answer(answer, ChatRequest("m"), 0)
    assert json.loads(written.body) == json.loads(body)
    assert (written.losses, written.status) == ((), 200)
    assert DIALECT.usage_of_answer(body, VOICE) == USAGE


@pytest.mark.parametrize(("word", "stop"), [("stop", "stop"), ("length", "length"), ("unload", "stop")])
def test_stop_words_both_ways(word: str, stop: str) -> None:
    body = answer_body({"content": "x"}, word)
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.choices[0].stop == stop
    assert json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body) == json.loads(body)


@pytest.mark.parametrize(
    ("stop", "word"),
    [("context_length", "length"), ("content_filter", "stop"), ("tool_calls", "stop"), ("pause", "stop")],
)
def test_stops_of_other_vendors(stop: Any, word: str) -> None:
    answer = ChatAnswer(id="x", choices=(Choice(parts=(Refusal(text="no"),), stop=stop),))
    written = DIALECT.write_answer(answer, ChatRequest("m"), SECONDS)
    assert json.loads(written.body) == {"model": "m", "created_at": CREATED, "done": True, "done_reason": word,
                                        "message": {"role": "assistant", "content": "no"}}  # fmt: skip
    assert written.losses == (("pause",) if stop == "pause" else ())
    assert DIALECT.write_answer(ChatAnswer(choices=(Choice(stop="broken"),)), ChatRequest("m"), 0).status == 502


def test_moments_of_any_precision() -> None:
    assert read_moment("2026-11-22T03:16:21.123456789Z") == SECONDS
    assert read_moment("2026-11-22T04:16:21.5+01:00") == SECONDS
    assert read_moment(CREATED) == SECONDS
    assert read_moment("soon") == 0
    assert moment(SECONDS) == CREATED


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"message":{"content":"\xff"}}'])
def test_what_is_no_answer_is_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")
    with pytest.raises(Fault, match="upstream_error"):
        DIALECT.read_answer(b'{"error":"out of memory"}', VOICE, {})


def test_hostile_usage_counts_nothing() -> None:
    body = answer_body({"content": "x"}, prompt_eval_count=-1, eval_count="9")
    assert DIALECT.read_answer(body, VOICE, {}).usage == Usage()
    assert DIALECT.usage_of_answer(b'{"message":{}}', VOICE) is None
    assert DIALECT.usage_of_answer(b"{", VOICE) is None
    voice = msgspec.structs.replace(VOICE, usage={"hits": "cache_read"})
    assert DIALECT.usage_of_answer(b'{"eval_count":2,"hits":1}', voice) == Usage(output=2, cache_read=1)


# -- streams -----------------------------------------------------------------------------------------------------------


def line(message: dict[str, Any] | None = None, **more: Any) -> bytes:
    body = {"model": "llama", "created_at": CREATED, "done": False, **more}
    if message is not None:
        body["message"] = {"role": "assistant", "content": "", **message}
    return json.dumps(body, ensure_ascii=False).encode() + b"\n"


def vendor_stream(message: dict[str, Any], stop: str = "stop") -> bytes:
    """A stream as the vendor sends it."""
    thinking, content = message["thinking"], message["content"]
    out = [line({"thinking": thinking[:5]}), line({"thinking": thinking[5:]}), line({"content": content[:4]}),
           line({"content": content[4:]})]  # fmt: skip
    out += [line({"tool_calls": [call]}) for call in message["tool_calls"]]
    return b"".join([*out, line({}, done=True, done_reason=stop, **COUNTS)])


STREAM = vendor_stream(MESSAGE)


def deltas_from(pieces: list[bytes], aliases: dict[str, str] | None = None) -> list[ChatDelta]:
    decoder, reader = NdjsonDecoder(), DIALECT.events_reader(VOICE, aliases or {})
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
    writer = DIALECT.events_writer(ChatRequest("m"), "id", SECONDS, "ndjson")
    return b"".join(writer.write(delta) for delta in deltas)


def test_a_stream_assembles_to_the_whole_answer() -> None:
    whole = DIALECT.read_answer(answer_body(MESSAGE), VOICE, {})
    streamed = assembled(deltas_from([STREAM]))
    assert bare(streamed) == bare(msgspec.structs.replace(whole, extra=None))


def test_a_stream_cut_at_every_byte_gives_the_same_deltas() -> None:
    whole = deltas_from([STREAM])
    for at in range(1, len(STREAM)):
        assert deltas_from([STREAM[:at], STREAM[at:]]) == whole
    assert deltas_from([STREAM[at : at + 1] for at in range(len(STREAM))]) == whole


def test_a_stream_written_is_read_as_the_same() -> None:
    deltas = deltas_from([STREAM])
    wire = stream_of(deltas)
    assert assembled(deltas_from([wire])) == assembled(deltas)
    objects = [json.loads(one) for one in wire.splitlines()]
    assert [one["done"] for one in objects] == [False] * 6 + [True]
    assert objects[0] == {"model": "llama", "created_at": CREATED, "done": False,
                          "message": {"role": "assistant", "content": "", "thinking": "Grüße"}}  # fmt: skip
    assert objects[2]["message"] == {"role": "assistant", "content": "Hi 🌊"}
    assert objects[4]["message"]["tool_calls"][0]["function"]["arguments"] == {"città": "Ōsaka 🏯"}
    assert objects[-1] == {"model": "llama", "created_at": CREATED, "message": {"role": "assistant", "content": ""},
                           "done": True, "done_reason": "stop", **COUNTS}  # fmt: skip


def test_images_of_a_provider_are_read_and_lost_towards_a_client() -> None:
    image = line({"images": ["aGk="]}) + line({}, done=True)
    assert assembled(deltas_from([image])).choices[0].parts == (Image(data=b"aGk="),)
    answer = DIALECT.read_answer(answer_body({"content": "", "images": ["aGk="]}), VOICE, {})
    assert answer.choices[0].parts == (Image(data=b"aGk="),)
    assert "answer.image" in DIALECT.write_answer(answer, ChatRequest("m"), 0).losses
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "ndjson")
    wire = b"".join(writer.write(delta) for delta in deltas_of(answer))
    assert (wire.count(b"\n"), writer.losses) == (1, ["parts.image"])


@pytest.mark.parametrize(
    ("wire", "failed"),
    [
        (b"", Failed("bad_upstream", "incomplete_stream", "The stream ended before its last object.")),
        (
            line({"content": "x"}),
            Failed("bad_upstream", "incomplete_stream", "The stream ended before its last object."),
        ),
        (line({"content": "x"}) + b"{\n", Failed("bad_upstream", "protocol", "An object of the stream is broken.")),
        (line({"content": 5}), Failed("bad_upstream", "protocol", "An object of the stream is broken.")),
        (b'{"error":"llama runner exploded"}\n', Failed("bad_upstream", "upstream_error", "The provider failed.")),
    ],
)
def test_a_stream_that_fails(wire: bytes, failed: Failed) -> None:
    assert deltas_from([wire])[-2] == failed


def test_a_failure_is_an_object_and_nothing_follows() -> None:
    writer = DIALECT.events_writer(ChatRequest("m"), "id", SECONDS, "ndjson")
    writer.write(Start())
    failed = Failed("rate_limited", "", "Why.")
    assert writer.write(failed) + writer.write(failed) + writer.write(END) == b'{"error":"Why."}\n'
    assert (writer.comment("x"), writer.heartbeat()) == (b"", b"")


def test_what_a_stream_cannot_say_is_lost_by_name() -> None:
    answer = ChatAnswer(choices=(
        Choice(parts=(Opaque(dialect="anthropic_messages", kind="x", value=b"{}"), SealedThought(data=b"d"),
                      Thought(text="t", signature=b"s", origin=Origin("gemini")),
                      Cited(text="x", citations=(Citation(url="u"),)),
                      ToolCall(id="1", name="f", arguments="broken")), stop="pause"),
        Choice(index=1, parts=(Text(text="y"),)),
    ))  # fmt: skip
    writer = DIALECT.events_writer(ChatRequest("m"), "id", SECONDS, "ndjson")
    wire = b"".join(writer.write(delta) for delta in deltas_of(answer))
    assert writer.losses == ["parts.opaque", "thinking", "thinking.signature", "citations", "answer.arguments", "n",
                             "pause"]  # fmt: skip
    assert assembled(deltas_from([wire])).choices[0].parts == (
        Thought(text="t", origin=Origin("ollama")), Text(text="x"),
        ToolCall(id="1", name="f", arguments='{"_raw":"broken"}'),
    )  # fmt: skip


def test_the_tap_hears_usage_content_and_the_end() -> None:
    found = [DIALECT.usage_of_event(name, data, VOICE) for name, data in NdjsonDecoder().feed(STREAM)]
    assert found == [(None, True, False)] * 6 + [(USAGE, False, True)]
    call = line({"tool_calls": [{"function": {"name": "f", "arguments": {"done": True}}}]})
    assert DIALECT.usage_of_event("", call, VOICE) == (None, True, False)
    assert DIALECT.usage_of_event("", b'{"error":"x"}', VOICE) == (None, True, True)
    assert DIALECT.usage_of_event("", b'{"error"', VOICE) == (None, False, False)


def test_the_model_is_replaced_in_place() -> None:
    assert DIALECT.splice(b'{ "model" : "a", "x":1.0}', "b", True) == b'{ "model" : "b", "x":1.0}'
    assert json.loads(DIALECT.splice(b'{"x":1}', "b", False)) == {"x": 1, "model": "b"}
    assert DIALECT.path("/api/chat", "m", True) == "/api/chat"


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "bad field", "invalid_request"), (404, 'model "x" not found', "model_not_found"),
        (401, "x", "bad_upstream"), (429, "x", "rate_limited"), (500, "x", "bad_upstream"), (503, "busy", "overloaded"),
    ],
)  # fmt: skip
def test_faults_of_the_provider(status: int, message: str, code: str) -> None:
    fault = DIALECT.read_fault(status, {}, json.dumps({"error": message}).encode(), 0.0)
    assert (fault.code, fault.side) == (code, UPSTREAM)
    if code in ("invalid_request", "model_not_found"):
        assert fault.detail == message


def test_faults_for_the_client() -> None:
    written = DIALECT.write_fault(Fault("model_not_found", "No such.", side=GATEWAY), "r-1")
    assert (written.status, written.body, written.fields) == (404, b'{"error":"No such."}', (("x-request-id", "r-1"),))
    assert DIALECT.write_fault(Fault("bad_upstream"), "").body == b'{"error":"The upstream answered badly"}'


# -- properties --------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)
users = st.builds(
    lambda text, images: Message("user", (Text(text=text), *[Image(data=b"aGk=") for _ in range(images)])),
    words,
    st.integers(0, 2),
)


@st.composite
def loops(draw: st.DrawFn) -> list[Message]:
    called = draw(st.lists(st.text("abcXYZ019_-", min_size=1, max_size=9), unique=True, min_size=1, max_size=3))
    thought = draw(st.sampled_from([(), (Thought(text="hm"),), (Thought(text="no", origin=Origin("gemini")),)]))
    calls = tuple(ToolCall(id=id, name="f", arguments='{"a":1}') for id in called)
    results = [
        Message(
            "tool", (ToolResult(call_id=id, name="f", parts=(Text(text=draw(words)),), is_error=draw(st.booleans())),)
        )
        for id in called
    ]
    return [Message("assistant", (*thought, *calls)), *results]


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    turns = draw(st.lists(loops(), max_size=2))
    return asks(
        draw(users),
        *[message for turn in turns for message in turn],
        tools=(Tool("f", "d", b"{}"),),
        sampling=draw(st.sampled_from([Sampling(), Sampling(temperature=1.5, top_k=3), Sampling(n=3)])),
        output=draw(st.sampled_from([None, Output("schema", schema=b'{"a":1}'), Output("json")])),
        max_output=draw(st.one_of(st.none(), st.integers(1, 9))),
        stop=tuple(draw(st.lists(words, max_size=2))),
        tier=draw(st.sampled_from(["", "priority"])),
        user=draw(st.sampled_from(["", "user-1"])),
        stream=draw(st.booleans()),
        thinking=draw(st.sampled_from([None, Thinking("on", extra=OWN), Thinking("on", "low", extra=OWN)])),
    )


def less(request: ChatRequest, losses: tuple[str, ...]) -> ChatRequest:
    """*request* without what *losses* name."""
    messages = []
    for at, message in enumerate(request.messages):
        kept = message.parts
        if f"messages[{at}].thinking" in losses:
            kept = tuple(p for p in kept if not isinstance(p, Thought))
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


def test_the_official_client_reads_answers_and_streams() -> None:
    ollama = pytest.importorskip("ollama", reason="the official SDK is not installed")
    import httpx

    def answer(asked: httpx.Request) -> httpx.Response:
        request = DIALECT.read_request(asked.content, Hints())
        if request.stream:
            return httpx.Response(200, content=stream_of(deltas_from([STREAM])))
        whole = DIALECT.read_answer(answer_body(MESSAGE), VOICE, {})
        return httpx.Response(200, content=DIALECT.write_answer(whole, request, 0).body)

    client = ollama.Client(host="http://ollama.test", transport=httpx.MockTransport(answer))
    got = client.chat(model="m", messages=[HI])
    assert (got.message.thinking, got.message.content) == (MESSAGE["thinking"], MESSAGE["content"])
    assert got.message.tool_calls[0].function.arguments == {"città": "Ōsaka 🏯"}
    assert got.eval_count == 11
    pieces = list(client.chat(model="m", messages=[HI], stream=True))
    assert "".join(piece.message.content for piece in pieces) == MESSAGE["content"]
    assert (pieces[-1].done_reason, pieces[-1].prompt_eval_count) == ("stop", 15)
