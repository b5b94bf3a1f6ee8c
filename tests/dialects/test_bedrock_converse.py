"""Converse's words <-> the neutral conversation (LLM 5, column conv)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.dialects.bedrock_converse import BedrockConverse
from tidegate.exchange.chat import (
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
    Opaque,
    Origin,
    Output,
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
    Video,
)
from tidegate.exchange.fault import GATEWAY, UPSTREAM, Fault
from tidegate.ports.dialect import Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.wire.aws_event_stream import EventStreamDecoder, encode_frame

DIALECT = BedrockConverse()
NAME = "bedrock_converse"
VOICE = Voice(vendor="bedrock", model="m", addressed=("bedrock", NAME))
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
HI = {"role": "user", "content": [{"text": "Hi"}]}
SPEC = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}
TOOL = Tool("f", schema=b'{"type": "object"}')

BOTH_WAYS: list[tuple[str, dict[str, Any], ChatRequest]] = [
    ("text", {"messages": [HI]}, asks(USER)),
    (
        "system with a cache point, which stands behind its block",
        {"system": [{"text": "Be kind"}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": "And brief"}],
         "messages": [HI]},
        asks(Message("system", (Text(text="Be kind", cache=CacheMark(3600)), Text(text="And brief"))), USER),
    ),
    (
        "every setting",
        {"messages": [HI],
         "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["a", "b"]},
         "additionalModelRequestFields": {"top_k": 3}, "serviceTier": {"type": "default"},
         "requestMetadata": {"team": "red", "user": "u-1"}},
        asks(USER, max_output=9, sampling=Sampling(temperature=0.5, top_p=0.9, top_k=3), stop=("a", "b"),
             tier="standard", metadata=b'{"team":"red"}', user="u-1"),
    ),
    (
        "unknown members in their places",
        {"messages": [{"role": "user", "content": [{"text": "Hi"}], "y": {"z": None}}],
         "inferenceConfig": {"maxTokens": 9, "odd": 1.50}, "additionalModelRequestFields": {"top_a": 1},
         "guardrailConfig": {"guardrailIdentifier": "g"}, "promptVariables": {"x": {"text": "y"}},
         "performanceConfig": {"latency": "optimized"}, "outputConfig": {"odd": 2},
         "toolConfig": {"tools": [{"toolSpec": {**SPEC["toolSpec"], "odd": True}}], "odd": 3}},
        asks(
            Message("user", (Text(text="Hi"),), extra=Extra(NAME, (("y", b'{"z": null}'),))),
            max_output=9,
            tools=(Tool("f", schema=b'{"type": "object"}', extra=Extra(NAME, (("odd", b"true"),))),),
            extra=Extra(NAME, (
                ("inferenceConfig.odd", b"1.5"), ("outputConfig.odd", b"2"),
                ("additionalModelRequestFields.top_a", b"1"), ("toolConfig.odd", b"3"),
                ("guardrailConfig", b'{"guardrailIdentifier": "g"}'), ("promptVariables", b'{"x": {"text": "y"}}'),
                ("performanceConfig", b'{"latency": "optimized"}'))),
        ),
    ),
    (
        "media",
        {"messages": [{"role": "user", "content": [
            {"image": {"format": "png", "source": {"bytes": "aGk="}}},
            {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://b/k.jpeg"}}}},
            {"document": {"format": "pdf", "name": "My report (2)", "source": {"bytes": "JVBE"}, "context": "c",
                          "citations": {"enabled": True}}},
            {"document": {"format": "txt", "name": "plain", "source": {"text": "words"}}},
            {"video": {"format": "three_gp", "source": {"bytes": "AAAA"}}},
            {"audio": {"format": "mp3", "source": {"bytes": "BBBB"}}},
        ]}]},
        asks(Message("user", (
            Image(mime="image/png", data=b"aGk="), Image(mime="image/jpeg", url="s3://b/k.jpeg"),
            File(mime="application/pdf", data=b"JVBE", title="My report (2)",
                 extra=Extra(NAME, (("context", b'"c"'), ("citations", b'{"enabled": true}')))),
            File(mime="text/plain", text="words", title="plain"),
            Video(mime="video/3gpp", data=b"AAAA"), Audio(mime="audio/mpeg", data=b"BBBB"),
        ))),
    ),
    (
        "tool loop: two calls, two results first, one failed, one with JSON and an image",
        {"toolConfig": {"tools": [{"toolSpec": {"name": "f", "description": "d", "strict": True,
                                                "inputSchema": {"json": {"type": "object"}}}},
                                  {"cachePoint": {"type": "default"}}]},
         "messages": [HI,
            {"role": "assistant", "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "Sig+/=="}}},
                {"reasoningContent": {"redactedContent": "RGF0YQ=="}},
                {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 12345678901234567890}}},
                {"toolUse": {"toolUseId": "t2", "name": "f", "input": {}}}]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "t1", "content": [{"text": "no"}], "status": "error"}},
                {"toolResult": {"toolUseId": "t2", "content": [
                    {"json": {"a": 1.50}}, {"image": {"format": "gif", "source": {"bytes": "aGk="}}}]}},
                {"cachePoint": {"type": "default", "ttl": "5m"}},
                {"text": "and?"}]}]},
        asks(
            USER,
            Message("assistant", (
                Thought(text="hm", signature=b"Sig+/==", origin=Origin("bedrock")),
                SealedThought(data=b"RGF0YQ==", origin=Origin("bedrock")),
                ToolCall(id="t1", name="f", arguments='{"a": 12345678901234567890}'),
                ToolCall(id="t2", name="f", arguments="{}"))),
            Message("tool", (ToolResult(call_id="t1", parts=(Text(text="no"),), is_error=True),
                             ToolResult(call_id="t2", cache=CacheMark(300), parts=(
                                 Text(text='{"a": 1.5}'), Image(mime="image/gif", data=b"aGk="))))),
            Message("user", (Text(text="and?"),)),
            tools=(Tool("f", "d", b'{"type": "object"}', True, cache=CacheMark()),),
        ),
    ),
    (
        "system tools, guard content and server calls are opaque",
        {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]},
         "messages": [{"role": "user", "content": [{"guardContent": {"text": {"text": "x"}}}]},
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "s", "name": "g", "input": {}, "type": "server_tool_use"}},
                {"toolResult": {"toolUseId": "s", "content": [], "type": "nova_grounding_result"}}]}, HI]},
        asks(
            Message("user", (Opaque(dialect=NAME, kind="guardContent",
                                    value=b'{"guardContent": {"text": {"text": "x"}}}'),)),
            Message("assistant", (
                Opaque(dialect=NAME, kind="toolUse", value=json.dumps({"toolUse": {
                    "toolUseId": "s", "name": "g", "input": {}, "type": "server_tool_use"}}).encode()),
                Opaque(dialect=NAME, kind="toolResult", value=json.dumps({"toolResult": {
                    "toolUseId": "s", "content": [], "type": "nova_grounding_result"}}).encode()))),
            USER,
            tools=(Tool("nova_grounding", kind="server", dialect=NAME,
                        value=b'{"systemTool": {"name": "nova_grounding"}}'),),
        ),
    ),
    (
        "citations of assistant text",
        {"messages": [HI, {"role": "assistant", "content": [{"citationsContent": {
            "content": [{"text": "so"}], "citations": [
                {"title": "D", "sourceContent": [{"text": "q"}],
                 "location": {"documentChar": {"documentIndex": 0, "start": 1, "end": 2}}},
                {"title": "W", "location": {"web": {"url": "https://w.example"}}}]}}]}, HI]},
        asks(USER, Message("assistant", (Cited(text="so", citations=(
            Citation(title="D", quote="q", extra=Extra(NAME, (
                ("location", b'{"documentChar": {"documentIndex": 0, "start": 1, "end": 2}}'),))),
            Citation(title="W", url="https://w.example"))),)), USER),
    ),
    ("choice: one tool",
     {"toolConfig": {"tools": [SPEC], "toolChoice": {"tool": {"name": "f"}}}, "messages": [HI]},
     asks(USER, tools=(TOOL,), tool_choice=ToolChoice("one", ("f",)))),
    ("choice: any", {"toolConfig": {"tools": [SPEC], "toolChoice": {"any": {}}}, "messages": [HI]},
     asks(USER, tools=(TOOL,), tool_choice=ToolChoice("required"))),
    (
        "a schema, which is a text here, and effort",
        {"messages": [HI], "outputConfig": {"effort": "max", "textFormat": {
            "type": "json_schema", "structure": {"jsonSchema": {
                "name": "n", "schema": '{ "type":"object"}', "description": "d"}}}}},
        asks(USER, output=Output("schema", "n", b'{ "type":"object"}', description="d"),
             thinking=Thinking("on", "max", extra=Extra(NAME))),
    ),
    (
        "thinking in the model's own words",
        {"messages": [HI], "additionalModelRequestFields": {
            "thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted", "odd": 1}}},
        asks(USER, thinking=Thinking("on", budget=2000, show="none", extra=Extra(NAME, (("odd", b"1"),)))),
    ),
    ("thinking adaptive", {"messages": [HI], "additionalModelRequestFields": {"thinking": {"type": "adaptive"}}},
     asks(USER, thinking=Thinking("adaptive", extra=Extra(NAME)))),
    ("thinking off", {"messages": [HI], "additionalModelRequestFields": {"thinking": {"type": "disabled"}}},
     asks(USER, thinking=Thinking("off", extra=Extra(NAME)))),
    ("a later system turn", {"messages": [HI, {"role": "system", "content": [{"text": "In French"}]}, HI]},
     asks(USER, Message("system", (Text(text="In French"),)), USER)),
    ("prefill", {"messages": [HI, {"role": "assistant", "content": [{"text": "{"}]}]},
     asks(USER, Message("assistant", (Text(text="{"),)))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "neutral"), [row[1:] for row in BOTH_WAYS], ids=[row[0] for row in BOTH_WAYS])
def test_a_request_is_read_into_its_neutral_form_and_written_back_equal(
    body: dict[str, Any], neutral: ChatRequest
) -> None:
    request = read(body)
    assert bare(request) == neutral
    assert write(request) == (body, ())


def test_the_model_and_the_stream_stand_in_the_path() -> None:
    request = read({"messages": [HI]}, Hints(model="eu.anthropic:x/y", stream=True))
    assert (request.model, request.stream) == ("eu.anthropic:x/y", True)
    door = "/model/{model}/{action}"
    assert DIALECT.path(door, request.model, True) == "/model/eu.anthropic%3Ax%2Fy/converse-stream"
    assert DIALECT.path(door, "m", False) == "/model/m/converse"
    assert DIALECT.splice(b"{}", "other", True) == b"{}"
    assert (DIALECT.model_in_path, DIALECT.framing) == (True, "eventstream")


def test_what_cannot_be_said_is_named() -> None:
    request = asks(
        Message("user", (Text(text="a"), Opaque(dialect="openai_chat", kind="odd", value=b"{}"),
                         Image(url="https://a.example/x.png"), Image(mime="image/tiff", data=b"AA"),
                         File(file_id="f1")), name="bob"),
        sampling=Sampling(temperature=1.7, seed=1, n=2, verbosity="low"), tier="scale", output=Output("json"),
        parallel_tools=False, cache=CacheMark(), metadata=b'{"ok":"x","bad":1,"worse":"\\u00fc"}', user="\u00fc",
        extra=Extra("openai_chat", (("web_search_options", b"{}"), ("top_a", b"1"))),
        tools=(Tool("c", kind="custom", dialect="openai_chat", value=b"{}"),),
    )  # fmt: skip
    written, losses = write(request, msgspec.structs.replace(VOICE, accepts=frozenset(("top_a",))))
    assert sorted(losses) == sorted((
        "messages[0].name", "messages[0].odd", "messages[0].image_url", "messages[0].image", "messages[0].file",
        "temperature", "seed", "n", "verbosity", "tier", "output.json", "parallel_tools", "cache", "metadata.bad",
        "metadata.worse", "user", "web_search_options", "tools[0]",
    ))  # fmt: skip
    assert written == {"messages": [{"role": "user", "content": [{"text": "a"}]}], "top_a": 1,
                       "inferenceConfig": {"temperature": 1.0}, "requestMetadata": {"ok": "x"}}  # fmt: skip


def test_thoughts_of_another_vendor_are_dropped() -> None:
    request = asks(USER, Message("assistant", (
        Thought(text="hm", signature=b"s", origin=Origin("gemini")), SealedThought(data=b"d", origin=Origin("openai")),
        Text(text="ok"))), USER)  # fmt: skip
    written, losses = write(request)
    assert losses == ("messages[1].thinking",)
    assert written["messages"][1] == {"role": "assistant", "content": [{"text": "ok"}]}
    written, losses = write(request, Voice(vendor="gemini"))
    assert written["messages"][1]["content"][0] == {
        "reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}
    }


def test_a_foreign_seal_comes_back_to_its_vendor_byte_for_byte() -> None:
    answer = ChatAnswer(choices=(Choice(parts=(
        Thought(text="hm", signature=b"A+/=", origin=Origin("gemini")),
        SealedThought(data=b"D+/=x", origin=Origin("o")), Text(text="ok"))),))  # fmt: skip
    content = json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body)["output"]["message"]["content"]
    request = read({"messages": [HI, {"role": "assistant", "content": content}]})
    assert bare(request.messages[1].parts) == answer.choices[0].parts
    streamed = assembled(deltas_from([stream_of(deltas_of(answer))]))
    assert streamed.choices[0].parts[0].signature == b"tg.gemini.A+/="  # type: ignore[union-attr]
    assert streamed.choices[0].parts[1].data == b"dGcuby5EKy89eA=="  # type: ignore[union-attr]


def test_only_the_last_four_cache_points_stay() -> None:
    parts = tuple(Text(text=str(at), cache=CacheMark(ttl)) for at, ttl in enumerate((300, 7200, 1800, 0)))
    request = asks(Message("user", parts), tools=(msgspec.structs.replace(TOOL, cache=CacheMark()),))
    written, losses = write(request)
    assert written["toolConfig"]["tools"] == [SPEC]
    points = [block["cachePoint"] for block in written["messages"][0]["content"] if "cachePoint" in block]
    assert points == [{"type": "default", "ttl": "5m"}, {"type": "default", "ttl": "1h"},
                      {"type": "default", "ttl": "5m"}, {"type": "default"}]  # fmt: skip
    assert losses == ("cache.ttl",)
    written, _ = write(request, Voice(lacks=frozenset(("cache",))))
    assert "cachePoint" not in json.dumps(written)


CALL = Message("assistant", (ToolCall(id="c d", name="grüße.an", arguments="not json"),))
RESULT = Message("tool", (ToolResult(call_id="c d", parts=(Text(text="1"),)),))


def test_names_and_ids_outside_the_alphabet_become_aliases_that_come_back() -> None:
    request = asks(USER, CALL, RESULT, tools=(Tool("grüße.an"),), tool_choice=ToolChoice("one", ("grüße.an",)))
    out = DIALECT.write_request(request, VOICE)
    written = json.loads(out.body)
    assert out.aliases == {"gr__e_an": "grüße.an"}
    call = written["messages"][1]["content"][0]["toolUse"]
    assert (call["name"], call["input"]) == ("gr__e_an", {"_raw": "not json"})
    assert call["toolUseId"] == written["messages"][2]["content"][0]["toolResult"]["toolUseId"] != "c d"
    assert out.losses == ("messages[1].arguments",)
    assert written["toolConfig"]["toolChoice"] == {"tool": {"name": "gr__e_an"}}
    body = answer_body([{"toolUse": {"toolUseId": "1", "name": "gr__e_an", "input": {}}}], "tool_use")
    assert DIALECT.read_answer(body, VOICE, out.aliases).choices[0].parts[0].name == "grüße.an"  # type: ignore[union-attr]


def test_history_with_tool_blocks_always_brings_its_tools() -> None:
    written, losses = write(asks(USER, CALL, RESULT))
    assert written["toolConfig"] == {"tools": [
        {"toolSpec": {"name": "gr__e_an", "inputSchema": {"json": {"type": "object", "properties": {}}}}}]}  # fmt: skip
    assert losses == ("messages[1].arguments",)
    request = asks(USER, CALL, RESULT, tools=(Tool("grüße.an"),), tool_choice=ToolChoice("none"))
    written, losses = write(request)
    assert len(written["toolConfig"]["tools"]) == 1
    assert losses == ("tool_choice", "messages[1].arguments")
    written, losses = write(asks(USER, tools=(TOOL,), tool_choice=ToolChoice("none")))
    assert "toolConfig" not in written
    assert losses == ()


def test_a_subset_sends_only_its_tools() -> None:
    request = asks(USER, tools=(TOOL, Tool("g")), tool_choice=ToolChoice("subset", ("f",), required=True))
    assert write(request)[0]["toolConfig"] == {"tools": [SPEC], "toolChoice": {"any": {}}}


def test_results_are_grouped_first_and_in_the_order_of_their_calls() -> None:
    request = asks(
        USER,
        Message("assistant", (ToolCall(id="a", name="f"), ToolCall(id="b", name="f"))),
        Message("tool", (ToolResult(call_id="b", parts=(Text(text="2"),)),)),
        Message("tool", (ToolResult(call_id="a"),)),
        USER,
        tools=(TOOL,),
    )
    assert write(request)[0]["messages"][2] == {"role": "user", "content": [
        {"toolResult": {"toolUseId": "a", "content": []}},
        {"toolResult": {"toolUseId": "b", "content": [{"text": "2"}]}}, {"text": "Hi"}]}  # fmt: skip
    with pytest.raises(Fault, match="invalid_request"):
        write(msgspec.structs.replace(request, messages=(*request.messages[:3], USER)))


def test_document_names_are_made_to_fit_and_never_twice() -> None:
    request = asks(Message("user", (
        File(mime="application/pdf", data=b"A", title="a/b  c.pdf"), File(mime="application/pdf", data=b"B"),
        File(mime="application/pdf", data=b"C"), File(mime="text/plain", text="x", title="fine"))))  # fmt: skip
    written, losses = write(request)
    names = [block["document"]["name"] for block in written["messages"][0]["content"]]
    assert names == ["a-b c-pdf", "document", "document 2", "fine"]
    assert losses == ("messages[0].file.title",)


@pytest.mark.parametrize(
    ("thinking", "style", "wanted", "lost"),
    [
        (Thinking("on", "high"), "", {"outputConfig": {"effort": "high"}}, ()),
        (Thinking("on", "minimal"), "", {"outputConfig": {"effort": "low"}}, ("thinking.effort",)),
        (Thinking("on", budget=9000), "", {"outputConfig": {"effort": "medium"}}, ("thinking.budget",)),
        (Thinking("on", "high"), "budget",
         {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 16384}}}, ()),
        (Thinking("on", budget=500), "budget",
         {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}, ()),
        (Thinking("off"), "", {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}, ()),
        (Thinking("adaptive", show="full"), "",
         {"additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "summarized"}}},
         ("thinking.show",)),
    ],
)  # fmt: skip
def test_effort_and_budget_of_other_dialects(
    thinking: Thinking, style: str, wanted: dict[str, Any], lost: tuple[str, ...]
) -> None:
    request = asks(USER, thinking=thinking, max_output=20000)
    written, losses = write(request, msgspec.structs.replace(VOICE, thinking_style=style))
    del written["messages"], written["inferenceConfig"]
    assert (written, losses) == (wanted, lost)


def test_no_room_to_think_is_a_loss() -> None:
    written, losses = write(asks(USER, thinking=Thinking("on", "high"), max_output=900), Voice(thinking_style="budget"))
    assert "additionalModelRequestFields" not in written
    assert losses == ("thinking",)


def test_a_schema_may_be_had_by_a_forced_tool() -> None:
    request = asks(USER, output=Output("schema", schema=b'{"type":"object"}'))
    voice = msgspec.structs.replace(VOICE, lacks=frozenset(("output.schema",)))
    assert write(request, voice)[1] == ("output.schema",)
    out = DIALECT.write_request(request, msgspec.structs.replace(voice, emulate=True))
    assert json.loads(out.body)["toolConfig"]["toolChoice"] == {"tool": {"name": "structured_output"}}
    assert (out.losses, out.aliases) == (("output.emulated",), {"structured_output": ""})
    content = [{"toolUse": {"toolUseId": "1", "name": "structured_output", "input": {"a": 1}}}]
    answer = DIALECT.read_answer(answer_body(content, "tool_use"), voice, out.aliases)
    assert bare(answer.choices[0]) == Choice(parts=(Text(text='{"a": 1}'),), stop="stop")
    streamed = assembled(deltas_from([vendor_stream(content, "tool_use")], out.aliases))
    assert streamed.choices[0] == Choice(parts=(Text(text='{"a": 1}'),), stop="stop")


def test_provider_options_are_merged_last_but_never_what_is_asked() -> None:
    request = read({"messages": [HI], "inferenceConfig": {"maxTokens": 1},
                    "provider_options": {"bedrock": {"inferenceConfig": {"x": 1}, "messages": []},
                                         "o": {"y": 1}}})  # fmt: skip
    written, losses = write(request)
    assert written == {"messages": [HI], "inferenceConfig": {"maxTokens": 1, "x": 1}}
    assert losses == ("provider_options.bedrock.messages",)


def test_nulls_are_remembered_as_cleared() -> None:
    request = read({"messages": [HI], "toolConfig": None, "system": None})
    assert request.cleared == ("tools", "system")
    assert request.extra is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": 1}, "messages must be an array."),
        ({"messages": [{"role": "robot", "content": []}]}, "messages[0].role must be user, assistant or system."),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages[0].content must be an array."),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0] must be an object."),
        ({"messages": [{"role": "user", "content": [{"text": 7}]}]}, "messages[0].content[0].text must be a string."),
        ({"inferenceConfig": {"maxTokens": "x"}}, "inferenceConfig.maxTokens must be a whole number."),
        ({"toolConfig": {"toolChoice": {"x": {}}}}, "toolConfig.toolChoice must be auto, any or tool."),
        ({"toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": 1}}}]}},
         "toolConfig.tools[0].toolSpec.inputSchema.json must be an object."),
        ({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "x"}}}}},
         "outputConfig.textFormat.structure.jsonSchema.schema must be the text of a JSON object."),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_an_invalid_request_that_names_the_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault) as caught:
        read(body)
    assert (caught.value.code, caught.value.side, caught.value.detail) == ("invalid_request", "client", words)


# -- answers -----------------------------------------------------------------------------------------------------------

RAW_USAGE = {"inputTokens": 3, "outputTokens": 11, "totalTokens": 26, "cacheReadInputTokens": 7,
             "cacheWriteInputTokens": 5, "cacheDetails": [{"ttl": "5m", "inputTokens": 4},
                                                          {"ttl": "1h", "inputTokens": 1}]}  # fmt: skip
USAGE = Usage(input=15, output=11, cache_read=7, cache_write=5, cache_write_by_ttl=((300, 4), (3600, 1)), tier="flex")


def answer_body(content: list[dict[str, Any]], stop: str = "end_turn", **more: Any) -> bytes:
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, "usage": RAW_USAGE,
            "metrics": {"latencyMs": 12}, "serviceTier": {"type": "flex"}, **more}  # fmt: skip
    return json.dumps(body, ensure_ascii=False).encode()


CONTENT: list[dict[str, Any]] = [
    {"reasoningContent": {"reasoningText": {"text": "Grüße 🌊 hm", "signature": "Sig+/=="}}},
    {"reasoningContent": {"redactedContent": "RGF0YQ=="}},
    {"text": 'Hello 🌊\n\ndata: {"not":"an event"}'},
    {"citationsContent": {"content": [{"text": "cited"}], "citations": [
        {"title": "T", "sourceContent": [{"text": "q"}], "location": {"web": {"url": "https://u.example"}}}]}},
    {"toolUse": {"toolUseId": "s1", "name": "g", "type": "server_tool_use", "input": {"query": "🌊"}}},
    {"toolResult": {"toolUseId": "s1", "type": "r", "content": [{"text": "one"}, {"json": {"a": 1}}]}},
    {"image": {"format": "png", "source": {"bytes": "aGk="}}},
    {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"città": "Ōsaka 🏯", "n": 1}}},
    {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}}},
]  # fmt: skip


def test_a_whole_answer_both_ways() -> None:
    body = answer_body(CONTENT, "tool_use", trace={"promptRouter": {"invokedModelId": "x"}})
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.usage == USAGE
    assert (answer.model, answer.tier, answer.choices[0].stop) == ("m", "flex", "tool_calls")
    assert answer.extra is not None
    assert [name for name, _ in answer.extra.members] == ["metrics", "trace"]
    written = DIALECT.write_answer(answer, ChatRequest("m"), 0)
    assert json.loads(written.body) == json.loads(body)
    assert (written.losses, written.status) == ((), 200)
    assert DIALECT.usage_of_answer(body, VOICE) == USAGE


@pytest.mark.parametrize(
    ("word", "stop"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop_sequence"), ("max_tokens", "length"),
        ("model_context_window_exceeded", "context_length"), ("content_filtered", "content_filter"),
        ("guardrail_intervened", "content_filter"), ("malformed_model_output", "broken"),
        ("malformed_tool_use", "broken"), ("something_new", "stop"),
    ],
)  # fmt: skip
def test_stop_reasons_both_ways(word: str, stop: str) -> None:
    body = answer_body([{"text": "x"}], word)
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.choices[0].stop == stop
    assert json.loads(DIALECT.write_answer(answer, ChatRequest("m"), 0).body) == json.loads(body)
    deltas = deltas_from([vendor_stream([{"text": "x"}], word)])
    assert assembled(deltas).choices[0].stop == stop
    assert json.loads(frames(stream_of(deltas))[-2][1]) == {"stopReason": word}


def test_calls_decide_the_stop() -> None:
    call = [{"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}]
    assert DIALECT.read_answer(answer_body(call, "end_turn"), VOICE, {}).choices[0].stop == "tool_calls"
    assert DIALECT.read_answer(answer_body([], "tool_use"), VOICE, {}).choices[0].stop == "stop"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"output":{}}', b'{"output":{"message":{"content":"\xff"}}}']
)
def test_what_is_no_answer_is_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")


def test_hostile_usage_counts_nothing() -> None:
    body = answer_body([], usage={"inputTokens": -5, "outputTokens": "9", "cacheReadInputTokens": None}, serviceTier=1)
    assert DIALECT.read_answer(body, VOICE, {}).usage == Usage()
    assert DIALECT.read_answer(answer_body([], usage=None), VOICE, {}).usage is None
    voice = msgspec.structs.replace(VOICE, usage={"hits": "cache_read"})
    assert DIALECT.usage_of_answer(b'{"usage":{"inputTokens":2,"hits":1}}', voice) == Usage(input=2, cache_read=1)


# -- streams -----------------------------------------------------------------------------------------------------------


def frame(kind: str, **members: Any) -> bytes:
    return encode_frame(kind, json.dumps({**members, "p": "padding"}, ensure_ascii=False).encode())


def vendor_stream(content: list[dict[str, Any]], stop: str, usage: dict[str, Any] | None = None) -> bytes:
    """A stream as the vendor sends it."""
    out = [frame("messageStart", role="assistant")]
    for index, block in enumerate(content):
        kind, value = next(iter(block.items()))
        deltas: list[dict[str, Any]] = []
        start: dict[str, Any] | None = None
        if kind == "text":
            deltas = [{"text": value[:3]}, {"text": ""}, {"text": value[3:]}]
        elif kind == "toolUse":
            start = {"toolUse": {name: member for name, member in value.items() if name != "input"}}
            text = json.dumps(value["input"], ensure_ascii=False)
            if value["input"]:
                deltas = [{"toolUse": {"input": text[:5]}}, {"toolUse": {"input": text[5:]}}]
        elif kind == "toolResult":
            start = {"toolResult": {name: member for name, member in value.items() if name != "content"}}
            deltas = [{"toolResult": [one]} for one in value["content"]]
        elif kind == "image":
            start = {"image": {"format": value["format"]}}
            deltas = [{"image": {"source": value["source"]}}]
        elif kind == "citationsContent":
            deltas = [{"text": value["content"][0]["text"]}, *[{"citation": one} for one in value["citations"]]]
        elif "redactedContent" in value:
            deltas = [{"reasoningContent": value}]
        else:
            told = value["reasoningText"]
            deltas = [
                {"reasoningContent": piece}
                for piece in ({"text": told["text"][:4]}, {"text": told["text"][4:]}, {"signature": told["signature"]})
            ]
        if start is not None:
            out.append(frame("contentBlockStart", start=start, contentBlockIndex=index))
        out += [frame("contentBlockDelta", delta=delta, contentBlockIndex=index) for delta in deltas]
        out.append(frame("contentBlockStop", contentBlockIndex=index))
    out.append(frame("messageStop", stopReason=stop))
    out.append(frame("metadata", usage=usage or RAW_USAGE, metrics={"latencyMs": 9}, serviceTier={"type": "flex"}))
    return b"".join(out)


STREAM = vendor_stream(CONTENT, "tool_use")


def deltas_from(pieces: list[bytes], aliases: dict[str, str] | None = None) -> list[ChatDelta]:
    decoder, reader = EventStreamDecoder(), DIALECT.events_reader(VOICE, aliases or {})
    deltas: list[ChatDelta] = []
    for piece in pieces:
        for event, data in decoder.feed(piece):
            deltas += reader.feed(event, data)
    deltas += reader.close()
    check_order(deltas)
    return deltas


def assembled(deltas: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in deltas:
        assembler.take(delta)
    return assembler.answer()


def stream_of(deltas: list[ChatDelta]) -> bytes:
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "eventstream")
    return b"".join(writer.write(delta) for delta in deltas)


def frames(wire: bytes) -> list[tuple[str, bytes]]:
    return EventStreamDecoder().feed(wire)


def test_a_stream_assembles_to_the_whole_answer() -> None:
    whole = DIALECT.read_answer(answer_body(CONTENT, "tool_use"), VOICE, {})
    streamed = assembled(deltas_from([STREAM]))
    assert streamed.usage == whole.usage
    assert streamed.choices[0].stop == "tool_calls"
    got, wanted = list(bare(streamed.choices[0].parts)), list(bare(whole.choices[0].parts))
    for at in (4, 5):  # the vendor may order the members of a block as it likes
        assert json.loads(got[at].value) == json.loads(wanted[at].value)
        got[at] = wanted[at]
    assert got == wanted


def test_a_stream_cut_at_every_byte_gives_the_same_deltas() -> None:
    wire = vendor_stream([CONTENT[0], CONTENT[7]], "tool_use")
    whole = deltas_from([wire])
    for at in range(1, len(wire)):
        assert deltas_from([wire[:at], wire[at:]]) == whole
    assert deltas_from([wire[at : at + 1] for at in range(len(wire))]) == whole


def test_a_stream_written_is_read_as_the_same() -> None:
    deltas = deltas_from([STREAM])
    wire = stream_of(deltas)
    again = deltas_from([wire])
    assert bare(assembled(again)) == bare(assembled(deltas))
    starts = [json.loads(data)["start"] for event, data in frames(wire) if event == "contentBlockStart"]
    assert [next(iter(start)) for start in starts] == ["toolUse", "toolResult", "image", "toolUse", "toolUse"]
    assert [event for event, _ in frames(wire)][-2:] == ["messageStop", "metadata"]
    metadata = json.loads(frames(wire)[-1][1])
    assert metadata == {"usage": RAW_USAGE, "metrics": {"latencyMs": 0}, "serviceTier": {"type": "flex"}}


def test_an_empty_text_still_has_its_block() -> None:
    answer = ChatAnswer(choices=(Choice(parts=(Text(text=""),)),))
    assert frames(stream_of(deltas_of(answer)))[1:3] == [
        ("contentBlockDelta", b'{"delta":{"text":""},"contentBlockIndex":0}'),
        ("contentBlockStop", b'{"contentBlockIndex":0}'),
    ]


def test_usage_before_the_end_and_none_at_all() -> None:
    metadata, stop = frame("metadata", usage=RAW_USAGE), frame("messageStop", stopReason="end_turn")
    begin = frame("messageStart", role="assistant") + frame(
        "contentBlockDelta", delta={"text": "x"}, contentBlockIndex=0
    )
    early = assembled(deltas_from([begin + metadata + stop]))
    assert early.usage == msgspec.structs.replace(USAGE, tier="")
    assert (early.choices[0].stop, early.choices[0].parts) == ("stop", (Text(text="x"),))
    assert assembled(deltas_from([begin + stop])).usage is None


@pytest.mark.parametrize(
    ("wire", "failed"),
    [
        (b"", Failed("bad_upstream", "incomplete_stream", "The stream ended before its message did.")),
        (STREAM[: len(STREAM) // 2], Failed("bad_upstream", "incomplete_stream",
                                            "The stream ended before its message did.")),
        (frame("contentBlockStop", contentBlockIndex=0),
         Failed("bad_upstream", "protocol", "An event of the stream is out of place.")),
        (frame("metadata", usage={}), Failed("bad_upstream", "protocol",
                                             "The stream does not begin with its message.")),
        (frame("messageStart") + frame("contentBlockDelta", delta={"toolUse": {"input": "x"}}, contentBlockIndex=3),
         Failed("bad_upstream", "protocol", "The stream adds to a call that is not open.")),
        (frame("messageStart") + encode_frame("contentBlockDelta", b"{"),
         Failed("bad_upstream", "protocol", "An event of the stream is broken.")),
        (encode_frame("throttlingException", b'{"message":"slow down"}', exception=True),
         Failed("rate_limited", "upstream_rate", "The provider limits the rate.")),
        (encode_frame("validationException", b'{"message":"bad x"}', exception=True),
         Failed("invalid_request", "", "bad x")),
        (frame("messageStart") + encode_frame("modelStreamErrorException", b'{"message":"m"}', exception=True),
         Failed("bad_upstream", "upstream_error", "The provider failed.")),
        (encode_frame("serviceUnavailableException", b"{}", exception=True),
         Failed("overloaded", "upstream_overloaded", "The provider is overloaded.")),
    ],
)  # fmt: skip
def test_a_stream_that_fails(wire: bytes, failed: Failed) -> None:
    assert deltas_from([wire])[-2] == failed


@pytest.mark.parametrize(
    ("failed", "kind"),
    [
        (Failed("rate_limited", "", "d"), "throttlingException"),
        (Failed("overloaded", "", "d"), "serviceUnavailableException"),
        (Failed("content_policy", "", "d"), "validationException"),
        (Failed("bad_upstream", "", "d"), "modelStreamErrorException"),
        (Failed("bad_upstream", "upstream_auth", "d"), "internalServerException"),
        (Failed("draining", "", "d"), "internalServerException"),
    ],
)
def test_a_failure_is_an_exception_frame_and_nothing_follows(failed: Failed, kind: str) -> None:
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "eventstream")
    writer.write(Start())
    wire = writer.write(failed) + writer.write(failed) + writer.write(deltas_of(ChatAnswer())[-1])
    assert frames(wire) == [("exception:" + kind, b'{"message":"d"}')]
    assert (writer.comment("x"), writer.heartbeat()) == (b"", b"")


def test_what_a_stream_cannot_say_is_lost_by_name() -> None:
    answer = ChatAnswer(choices=(
        Choice(parts=(Opaque(dialect="anthropic_messages", kind="server_tool_use", value=b"{}"), Audio(data=b"A"),
                      Opaque(dialect=NAME, kind="guardContent", value=b'{"guardContent":{}}'),
                      ToolCall(id="1", name="f", signature=b"s"), Text(text="x")), stop="pause"),
        Choice(index=1, parts=(Text(text="y"),)),
    ))  # fmt: skip
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "eventstream")
    wire = b"".join(writer.write(delta) for delta in deltas_of(answer))
    assert writer.losses == ["parts.server_tool_use", "parts.audio", "parts.guardContent", "thinking.signature", "n",
                             "pause"]  # fmt: skip
    streamed = assembled(deltas_from([wire]))
    assert streamed.choices[0].parts == (ToolCall(id="1", name="f"), Text(text="x"))
    assert "n" in DIALECT.write_answer(answer, ChatRequest("m"), 0).losses


def test_the_tap_hears_usage_content_and_the_end() -> None:
    found = [DIALECT.usage_of_event(event, data, VOICE) for event, data in frames(STREAM)]
    assert found[0] == (None, False, False)
    assert found[1] == (None, True, False)
    assert found[-2:] == [(None, False, True), (USAGE, False, True)]
    assert DIALECT.usage_of_event("exception:throttlingException", b"{}", VOICE) == (None, False, True)
    assert DIALECT.usage_of_event("metadata", b"{", VOICE) == (None, False, True)


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "message", "code", "reason"),
    [
        (400, "ValidationException", "bad field", "invalid_request", ""),
        (400, "ValidationException", "Input is too long for requested model.", "context_length", ""),
        (403, "AccessDeniedException", "x", "bad_upstream", "upstream_auth"),
        (404, "ResourceNotFoundException", "no model", "model_not_found", "upstream_unknown_model"),
        (408, "ModelTimeoutException", "x", "upstream_timeout", "upstream_timeout"),
        (424, "ModelErrorException", "x", "bad_upstream", "upstream_error"),
        (429, "ThrottlingException", "x", "rate_limited", "upstream_rate"),
        (429, "ModelNotReadyException", "x", "overloaded", "upstream_overloaded"),
        (500, "InternalServerException", "x", "bad_upstream", "upstream_error"),
        (503, "ServiceUnavailableException", "x", "overloaded", "upstream_overloaded"),
    ],
)
def test_faults_of_the_provider(status: int, kind: str, message: str, code: str, reason: str) -> None:
    for fields, body in (
        ({"x-amzn-errortype": f"{kind}:http://internal.amazon.com/"}, {"message": message}),
        ({}, {"__type": f"com.amazon.coral#{kind}", "Message": message}),
    ):
        fault = DIALECT.read_fault(status, fields, json.dumps(body).encode(), 0.0)
        assert (fault.code, fault.reason, fault.side) == (code, reason, UPSTREAM)
    if code == "invalid_request":
        assert fault.detail == "bad field"
    assert DIALECT.read_fault(502, {}, b"<html>", 0.0).code == "bad_upstream"


@pytest.mark.parametrize(
    ("code", "reason", "status", "kind"),
    [
        ("invalid_request", "", 400, "ValidationException"),
        ("context_length", "", 400, "ValidationException"),
        ("content_policy", "", 400, "ValidationException"),
        ("bad_upstream", "upstream_auth", 500, "InternalServerException"),
        ("bad_upstream", "upstream_quota", 500, "InternalServerException"),
        ("model_not_found", "", 404, "ResourceNotFoundException"),
        ("rate_limited", "", 429, "ThrottlingException"),
        ("overloaded", "", 503, "ServiceUnavailableException"),
        ("bad_upstream", "", 424, "ModelErrorException"),
        ("upstream_timeout", "", 408, "ModelTimeoutException"),
        ("unauthenticated", "", 403, "AccessDeniedException"),
        ("forbidden", "", 403, "AccessDeniedException"),
        ("budget_exceeded", "", 429, "ServiceQuotaExceededException"),
        ("translation_loss", "", 400, "ValidationException"),
        ("price_unknown", "", 403, "AccessDeniedException"),
        ("ledger_unavailable", "", 503, "InternalServerException"),
    ],
)
def test_faults_for_the_client(code: str, reason: str, status: int, kind: str) -> None:
    written = DIALECT.write_fault(Fault(code, "Why.", reason=reason, side=GATEWAY), "r-1")
    assert (written.status, written.body) == (status, b'{"message":"Why."}')
    assert written.fields == (("x-amzn-errortype", kind), ("x-amzn-requestid", "r-1"))


# -- properties --------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(str.strip)
ids = st.text("abcXYZ019_-", min_size=1, max_size=9)
marks = st.one_of(st.none(), st.sampled_from([CacheMark(), CacheMark(300), CacheMark(3600)]))
texts = st.builds(lambda text, cache: Text(text=text, cache=cache), words, marks)
parts = st.one_of(
    texts,
    st.builds(lambda mime: Image(mime=mime, data=b"aGk="), st.sampled_from(["image/png", "image/webp"])),
    st.just(Image(url="https://a.example/x.png")),
    st.just(File(mime="text/csv", text="a;b", title="name")),
)
users = st.builds(lambda found: Message("user", tuple(found)), st.lists(parts, min_size=1, max_size=3)).filter(
    lambda message: any(isinstance(part, Text) for part in message.parts)
)


@st.composite
def loops(draw: st.DrawFn) -> list[Message]:
    """A turn of the assistant with calls, and their results."""
    called = draw(st.lists(ids, unique=True, min_size=1, max_size=3))
    thought = draw(st.lists(st.sampled_from([
        Thought(text="hm", signature=b"s", origin=Origin("bedrock")), Thought(text="no", origin=Origin("gemini")),
        SealedThought(data=b"AAAA", origin=Origin("bedrock"))]), max_size=2))  # fmt: skip
    calls = tuple(ToolCall(id=id, name="f", arguments='{"a":1}') for id in called)
    results = tuple(
        ToolResult(call_id=id, parts=tuple(draw(st.lists(texts, max_size=1))), is_error=draw(st.booleans()))
        for id in called
    )
    return [Message("assistant", (*thought, *calls)), Message("tool", results)]


@st.composite
def requests(draw: st.DrawFn) -> ChatRequest:
    system = draw(st.one_of(st.none(), words))
    turns = draw(st.lists(loops(), max_size=2))
    return ChatRequest(
        model="m",
        messages=(
            *((Message("system", (Text(text=system),)),) if system else ()),
            draw(users),
            *[message for turn in turns for message in turn],
        ),
        tools=(Tool("f", "d", b"{}", draw(st.one_of(st.none(), st.booleans()))),),
        tool_choice=draw(st.sampled_from([ToolChoice(), ToolChoice("required"), ToolChoice("one", ("f",))])),
        sampling=draw(st.sampled_from([Sampling(), Sampling(temperature=0.5, top_k=3), Sampling(seed=3)])),
        output=draw(st.sampled_from([None, Output("schema", "n", b'{"a":1}'), Output("json")])),
        max_output=draw(st.one_of(st.none(), st.integers(1, 9))),
        stop=tuple(draw(st.lists(words, max_size=2))),
        tier=draw(st.sampled_from(["", "standard", "flex", "scale"])),
        user=draw(st.sampled_from(["", "user-1", "grüße"])),
        metadata=draw(st.sampled_from([b"", b'{"a":"b"}'])),
        want_usage=True,
    )


def less(request: ChatRequest, losses: tuple[str, ...]) -> ChatRequest:
    """*request* without what *losses* name."""
    messages = []
    for at, message in enumerate(request.messages):
        kept = message.parts
        if f"messages[{at}].thinking" in losses:
            kept = tuple(p for p in kept if not (isinstance(p, Thought) and p.origin == Origin("gemini")))
        if f"messages[{at}].image_url" in losses:
            kept = tuple(p for p in kept if not (isinstance(p, Image) and p.url))
        messages.append(msgspec.structs.replace(message, parts=kept))
    changed: dict[str, Any] = {"messages": tuple(messages)}
    if "seed" in losses:
        changed["sampling"] = Sampling()
    for name, empty in (("tier", ""), ("user", "")):
        if name in losses:
            changed[name] = empty
    if "output.json" in losses:
        changed["output"] = None
    return msgspec.structs.replace(request, **changed)


def marks_of(request: ChatRequest) -> int:
    found = 0
    for message in request.messages:
        for part in message.parts:
            found += part.cache is not None
            if isinstance(part, ToolResult):
                found += sum(inner.cache is not None for inner in part.parts)
    return found


@given(requests().filter(lambda request: marks_of(request) <= 4))
def test_writing_and_reading_loses_only_what_was_declared(request: ChatRequest) -> None:
    out = DIALECT.write_request(request, VOICE)
    assert bare(DIALECT.read_request(out.body, HINTS)) == bare(less(request, out.losses))


# -- the official SDK --------------------------------------------------------------------------------------------------


def test_botocore_accepts_requests_answers_streams_and_faults() -> None:
    session = pytest.importorskip("botocore.session", reason="botocore is not installed").get_session()
    from botocore import eventstream, parsers, validate

    model = session.get_service_model("bedrock-runtime")
    for _, body, _ in BOTH_WAYS:
        if "odd" in json.dumps(body) or '"y"' in json.dumps(body):
            continue
        report = validate.ParamValidator().validate(
            {"modelId": "m", **json.loads(json.dumps(body))}, model.operation_model("Converse").input_shape
        )
        assert not report.has_errors(), report.generate_report()
    answer = DIALECT.read_answer(answer_body(CONTENT, "tool_use"), VOICE, {})
    body = DIALECT.write_answer(answer, ChatRequest("m"), 0).body
    parsed = parsers.create_parser("rest-json").parse(
        {"status_code": 200, "headers": {}, "body": body}, model.operation_model("Converse").output_shape
    )
    assert parsed["output"]["message"]["content"][7]["toolUse"]["input"] == {"città": "Ōsaka 🏯", "n": 1}
    assert parsed["output"]["message"]["content"][1]["reasoningContent"]["redactedContent"] == b"Data"

    class Wire:
        def stream(self) -> Any:
            yield stream_of(deltas_from([STREAM]))

    shape = model.operation_model("ConverseStream").output_shape.members["stream"]
    events = list(eventstream.EventStream(Wire(), shape, parsers.EventStreamJSONParser(), "ConverseStream"))
    assert [next(iter(event)) for event in events][:2] == ["messageStart", "contentBlockDelta"]
    assert events[-1]["metadata"]["usage"]["cacheReadInputTokens"] == 7
    fault = DIALECT.write_fault(Fault("rate_limited", "Slow."), "r")
    parsed = parsers.create_parser("rest-json").parse(
        {"status_code": fault.status, "headers": dict(fault.fields), "body": fault.body},
        model.operation_model("Converse").output_shape,
    )
    assert parsed["Error"] == {"Message": "Slow.", "Code": "ThrottlingException"}
