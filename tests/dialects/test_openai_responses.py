"""The Responses dialect in both directions (LLM 5): tables used both ways, event order, strict SDK types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate.dialects.openai_responses import OpenaiResponses
from tidegate.exchange.chat import (
    END,
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    Choice,
    Citation,
    Cited,
    Failed,
    Image,
    Message,
    Opaque,
    Origin,
    Output,
    Refusal,
    Sampling,
    SealedThought,
    State,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.rules.chat_prefill import is_prefilled
from tidegate.wire.sse import SseDecoder

RESP = OpenaiResponses()
VOICE = Voice(vendor="openai", model="gpt-x", addressed=("openai_responses",))


def read(body: dict[str, Any]) -> ChatRequest:
    return RESP.read_request(json.dumps(body).encode(), Hints())


def ask(input: Any = "hi", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-x", "input": input, **more}


def answer(*output: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {
            "id": "resp_1",
            "object": "response",
            "created_at": 5,
            "status": "completed",
            "model": "gpt-x-2026",
            "output": list(output),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            **more,
        }
    ).encode()


FUNCTION = {"type": "function", "name": "weather", "description": "d", "parameters": {"type": "object"}, "strict": True}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "status": "completed",
    "role": "assistant",
    "content": [
        {
            "type": "output_text",
            "text": "so",
            "annotations": [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}],
        }
    ],
}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "gAAA=",
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city": "Oslo"}',
    "status": "completed",
}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 17,
}

SAME = {
    "text": ask(),
    "items": ask(
        [
            {"role": "developer", "content": "d"},
            {"role": "user", "content": "hi", "x_vendor": [1]},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                    {"type": "input_file", "file_id": "file-1"},
                    {"type": "input_hologram", "z": 1},
                ],
            },
            REASONING,
            MESSAGE,
            CALL,
            RESULT,
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
            {"type": "item_reference", "id": "i"},
        ]
    ),
    "instructions": ask(
        instructions="Be kind.",
        temperature=0.5,
        top_p=0.1,
        max_output_tokens=4,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
        tools=[FUNCTION, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
    ),
    "choices": ask(
        tools=[FUNCTION, {"type": "custom", "name": "g"}],
        tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]},
    ),
    "hosted choice": ask(tools=[{"type": "web_search"}], tool_choice={"type": "web_search"}),
    "state": ask(
        previous_response_id="resp_0",
        store=False,
        truncation="auto",
        background=False,
        conversation={"id": "conv_1"},
        metadata={"a": "b"},
        service_tier="default",
        safety_identifier="u",
        prompt_cache_key="k",
        stream=True,
    ),
    "text settings": ask(
        text={"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {"a": 1}, "strict": True}},
        user="u",
    ),
    "json": ask(text={"format": {"type": "json_object"}}, stream=False),
    "reasoning": ask(reasoning={"effort": "high", "summary": "detailed", "context": "auto"}),
    "no reasoning": ask(reasoning={"effort": "none"}, tool_choice=None),
    "unknown": ask(moderation={"model": "m"}, max_tool_calls=3, prompt={"id": "p"}, x=12345678901234567890),
}


@pytest.mark.parametrize("name", SAME)
def test_a_request_read_and_written_in_the_same_dialect_is_equal_with_unknown_members_in_place(name: str) -> None:
    outgoing = RESP.write_request(read(SAME[name]), VOICE)
    assert json.loads(outgoing.body) == SAME[name]
    assert outgoing.losses == ()


def test_what_the_items_mean_5_2_to_5_6() -> None:
    messages = read(SAME["items"]).messages
    roles = ["system", "user", "user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [message.role for message in messages] == roles
    parts = [replace(part, raw=b"", extra=None) for part in messages[3].parts]
    assert parts == [
        Thought(text="hm", origin=Origin("openai"), summary=True, id="rs_1"),
        SealedThought(data=b"gAAA=", origin=Origin("openai"), id="rs_1"),
        Cited(text="so", citations=(Citation("u", "t", "", 0, 2),)),
        ToolCall(id="call_1", name="weather", arguments='{"city": "Oslo"}'),
    ]
    assert messages[4].parts == (ToolResult("call_1", parts=(Text(text="rain"),)),)
    assert [type(part) for part in messages[5].parts] == [Opaque, ToolCall]
    assert messages[2].parts[1] == Image(mime="image/png", data=b"aGk=", detail="low")


def test_what_a_request_means_5_1() -> None:
    told = read(SAME["instructions"])
    assert told.sampling == Sampling(temperature=0.5, top_p=0.1, logprobs=True, top_logprobs=2)
    assert told.tool_choice == ToolChoice("one", ("weather",))
    state = read(SAME["state"])
    assert state.state == State("resp_0", "conv_1", False, False, "auto")
    assert (state.tier, state.user, state.cache_key, state.stream) == ("standard", "u", "k", True)
    assert read(SAME["reasoning"]).thinking is not None
    assert read(SAME["no reasoning"]).thinking == Thinking(mode="off")
    assert read(SAME["text settings"]).output == Output("schema", "n", b'{"a": 1}', True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"m","input":3}', "input"),
        (b'{"model":"m","input":[{"role":"boss","content":""}]}', "input[0].role"),
        (b'{"model":"m","input":[{"type":"function_call","name":"f"}]}', "input[0].call_id"),
        (b'{"model":"m","temperature":"x"}', "temperature"),
        (b'{"model":"m","text":{"format":3}}', "text.format"),
    ],
)
def test_a_wrong_shape_is_the_clients_fault_and_names_the_member(body: bytes, param: str) -> None:
    with pytest.raises(Fault) as caught:
        RESP.read_request(body, Hints())
    assert (caught.value.code, caught.value.side, caught.value.extra) == ("invalid_request", "client", {"param": param})


def test_a_conversation_from_elsewhere_5() -> None:
    request = ChatRequest(
        model="m",
        messages=(
            Message("system", (Text(text="Be kind."),)),
            Message("user", (Text(text="weather?"), Image(url="https://x/y"))),
            Message(
                "assistant",
                (
                    Thought(text="t", signature=b"s", origin=Origin("anthropic")),
                    SealedThought(data=b"zz", origin=Origin("openai"), id="rs_9"),
                    Text(text="let me see"),
                    ToolCall(id="c" * 80, name="f", arguments='{"a":1}'),
                ),
            ),
            Message("tool", (ToolResult("c" * 80, parts=(Text(text="rain"),), is_error=True),)),
        ),
        tools=(Tool(name="f", schema=b'{"type":"object"}'),),
        tool_choice=ToolChoice("required"),
        sampling=Sampling(top_k=3, seed=4, n=2, logit_bias=b"{}"),
        stop=("x",),
        thinking=Thinking(effort="low", show="summary"),
        stream=True,
    )
    outgoing = RESP.write_request(request, VOICE)
    body = json.loads(outgoing.body)
    id = body["input"][3]["call_id"]
    assert len(id) <= 64
    assert body == {
        "model": "gpt-x",
        "instructions": "Be kind.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "weather?"},
                    {"type": "input_image", "image_url": "https://x/y", "detail": "auto"},
                ],
            },
            {"type": "reasoning", "id": "rs_9", "summary": [], "encrypted_content": "zz"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "let me see", "annotations": []}],
            },
            {"type": "function_call", "call_id": id, "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": id, "output": "rain"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
        "tool_choice": "required",
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "stream": True,
    }
    assert outgoing.losses == (
        "messages[2].thinking",
        "messages[3].is_error",
        "top_k",
        "stop",
        "seed",
        "n",
        "logit_bias",
    )


def test_seals_of_other_vendors_travel_through_a_responses_client_byte_for_byte_5_6() -> None:
    parts = (
        Thought(text="because", signature=b"S+/=:x", origin=Origin("anthropic")),
        SealedThought(data=b"red==", origin=Origin("anthropic")),
        Text(text="so"),
        ToolCall(id="call_1", name="f", arguments="{}", signature=b"GG==", origin=Origin("gemini")),
    )
    wrote = RESP.write_answer(ChatAnswer(id="m", choices=(Choice(parts=parts, stop="tool_calls"),)), read(ask()), 1)
    output = json.loads(wrote.body)["output"]
    again = read(ask([*output, RESULT])).messages[0].parts
    found = [
        replace(part, extra=None)
        if isinstance(part, ToolCall)
        else replace(part, id="", extra=None)
        if isinstance(part, (Thought, SealedThought))
        else replace(part, extra=None)
        for part in again
    ]
    assert found == list(parts)
    back = RESP.write_request(read(ask([*output, RESULT])), VOICE)
    assert "messages[0].thinking" in back.losses and b"tidegate:" not in back.body


def test_an_answer_passes_through_the_neutral_form_with_its_unknown_members() -> None:
    body = answer(
        REASONING,
        MESSAGE,
        CALL,
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        usage=USAGE,
        service_tier="default",
        x_more=[1.0],
        instructions=None,
        text={"format": {"type": "text"}},
    )
    got = RESP.read_answer(body, VOICE, {})
    assert got.usage == Usage(
        input=10, output=7, cache_read=4, thinking=3, tool_calls=(("web_search", 1),), tier="standard"
    )
    assert got.choices[0].stop == "tool_calls"
    told = json.loads(RESP.write_answer(got, read(ask()), 9).body)
    wanted = json.loads(body)
    for name in ("id", "created_at", "model", "status", "usage", "service_tier", "x_more", "instructions", "text"):
        assert told[name] == wanted[name]
    assert told["output"][0] == REASONING and told["output"][2] == CALL and told["output"][3] == wanted["output"][3]
    assert told["output"][1]["content"] == MESSAGE["content"]


@pytest.mark.parametrize(
    ("body", "stop", "status", "details"),
    [
        (answer(MESSAGE), "stop", "completed", None),
        (answer(CALL), "tool_calls", "completed", None),
        (
            answer(MESSAGE, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
            "length",
            "incomplete",
            {"reason": "max_output_tokens"},
        ),
        (
            answer(MESSAGE, status="incomplete", incomplete_details={"reason": "content_filter"}),
            "content_filter",
            "incomplete",
            {"reason": "content_filter"},
        ),
        (
            answer({"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}),
            "refusal",
            "completed",
            None,
        ),
    ],
)
def test_stop_reasons_5_8(body: bytes, stop: str, status: str, details: Any) -> None:
    got = RESP.read_answer(body, VOICE, {})
    assert got.choices[0].stop == stop
    told = json.loads(RESP.write_answer(got, read(ask()), 0).body)
    assert (told["status"], told["incomplete_details"]) == (status, details)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_upstream"),
        (b"<html>", "bad_upstream"),
        (b"{}", "bad_upstream"),
        (answer(status="failed", error={"code": "server_error", "message": "x"}), "bad_upstream"),
        (answer(status="failed", error={"code": "rate_limit_exceeded", "message": "x"}), "rate_limited"),
        (answer(status="cancelled"), "bad_upstream"),
    ],
)
def test_answers_that_are_none_are_faults(body: bytes, code: str) -> None:
    with pytest.raises(Fault) as caught:
        RESP.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == (code, "upstream")


# -- streams -----------------------------------------------------------------------------------------------------------


def events(stream: bytes, size: int = 1 << 20) -> list[tuple[str, bytes]]:
    decoder = SseDecoder()
    found = []
    for at in range(0, len(stream), size):
        found += decoder.feed(stream[at : at + size])
    return found + decoder.close()


def deltas(found: list[tuple[str, bytes]]) -> list[ChatDelta]:
    reader = RESP.events_reader(VOICE, {})
    told: list[ChatDelta] = []
    for event, data in found:
        told += reader.feed(event, data)
    told += reader.close()
    check_order(told)
    return told


def assembled(told: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in told:
        assembler.take(delta)
    return assembler.answer()


def stream_of(answer: ChatAnswer, asked: ChatRequest | None = None) -> bytes:
    writer = RESP.events_writer(asked or read(ask(stream=True)), "01H", 3, "sse")
    return b"".join([writer.write(delta) for delta in deltas_of(answer)])


FULL = ChatAnswer(
    id="resp_up",
    model="m",
    created=9,
    usage=Usage(input=9, output=3, cache_read=2, thinking=1),
    choices=(
        Choice(
            parts=(
                Thought(text="h\n\ndata: m", origin=Origin("openai"), summary=True, id="rs_1"),
                SealedThought(data=b"gAAA=", origin=Origin("openai"), id="rs_1"),
                Cited(text="Hé🎉", citations=(Citation("u", "t", "", 0, 2),)),
                ToolCall(id="call_1", name="f", arguments='{"a":1}', origin=Origin("openai")),
                ToolCall(id="call_2", name="g", arguments="plain", custom=True, origin=Origin("openai")),
                Text(text="end"),
            ),
            stop="tool_calls",
        ),
    ),
)


def test_the_events_come_in_the_exact_order_with_rising_numbers_5_10() -> None:
    found = [(event, json.loads(data)) for event, data in events(stream_of(FULL))]
    assert [event for event, _ in found] == [body["type"] for _, body in found]
    assert [body["sequence_number"] for _, body in found] == list(range(len(found)))
    assert [event.removeprefix("response.") for event, _ in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    last = found[-1][1]["response"]
    done = [body["item"] for event, body in found if event == "response.output_item.done"]
    assert last["output"] == done and last["status"] == "completed"
    assert done[0] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "h\n\ndata: m"}],
        "encrypted_content": "gAAA=",
    }
    assert last["usage"]["input_tokens_details"] == {"cached_tokens": 2, "cache_write_tokens": 0}
    assert (last["id"], last["created_at"], last["model"]) == ("resp_01H", 9, "m")
    assert [item["id"].partition("_")[0] for item in done] == ["rs", "msg", "fc", "ctc", "msg"]


def test_a_stream_cut_anywhere_reads_as_the_same_answer() -> None:
    stream = stream_of(FULL)
    whole = events(stream)
    told = deltas(whole)
    for cut in range(1, len(stream), 7):
        decoder = SseDecoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) + decoder.close() == whole
    assert events(stream, 1) == whole
    got = assembled(told)
    strip = [replace(part, extra=None) for part in got.choices[0].parts]
    assert strip == list(FULL.choices[0].parts)
    assert (got.choices[0].stop, got.usage, got.id) == ("tool_calls", FULL.usage, "resp_01H")
    unary = RESP.read_answer(json.dumps(json.loads(whole[-1][1])["response"]).encode(), VOICE, {})
    assert [replace(part, extra=None) for part in unary.choices[0].parts] == strip


def test_a_broken_stream_ends_with_response_failed_5_11() -> None:
    writer = RESP.events_writer(read(ask(stream=True)), "i", 0, "sse")
    started = [writer.write(delta) for delta in deltas_of(FULL)[:3]]
    wrote = events(b"".join(started) + writer.write(Failed("rate_limited", "", "Slow down.")) + writer.write(END))
    assert wrote[-1][0] == "response.failed"
    failed = json.loads(wrote[-1][1])["response"]
    assert (failed["status"], failed["error"]) == ("failed", {"code": "rate_limit_exceeded", "message": "Slow down."})
    assert next(delta for delta in deltas(wrote) if isinstance(delta, Failed)).code == "rate_limited"
    early = RESP.events_writer(read(ask(stream=True)), "i", 0, "sse").write(Failed("overloaded"))
    assert events(early)[0][0] == "error"
    assert [delta for delta in deltas(events(early)) if isinstance(delta, Failed)] != []


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([], "incomplete_stream"),
        (events(stream_of(FULL))[:-1], "incomplete_stream"),
        ([("", b"<html>")], "bad_event"),
        ([("", b'{"type":"response.output_item.added","item":3}')], "bad_event"),
    ],
)
def test_streams_that_break_end_with_one_fault(found: list[tuple[str, bytes]], reason: str) -> None:
    told = deltas(found)
    assert told[-1] == END
    assert [delta.reason for delta in told if isinstance(delta, Failed)] == [reason]


def test_oddities_a_vendor_without_deltas_or_event_names() -> None:
    def event(type: str, **more: Any) -> tuple[str, bytes]:
        return "", json.dumps({"type": type, **more}).encode()

    told = deltas(
        [
            event("response.created", response={"id": "r", "model": "m"}),
            event("response.output_item.added", output_index=0, item={**CALL, "arguments": ""}),
            event("response.output_item.done", output_index=0, item=CALL),
            event("response.output_item.done", output_index=1, item=MESSAGE),
            event("response.some_day.delta", delta={"x": 1}),
            ("", b""),
            event("response.completed", response=json.loads(answer(usage=USAGE))),
        ]
    )
    got = assembled(told)
    assert [type(part) for part in got.choices[0].parts] == [ToolCall, Cited]
    assert got.choices[0].parts[0].arguments == '{"city": "Oslo"}'  # type: ignore[union-attr]
    assert got.usage is not None and got.usage.input == 10


# -- faults, passing through -------------------------------------------------------------------------------------------


def test_faults_are_said_as_chat_says_them_5_11() -> None:
    wrote = RESP.write_fault(Fault("context_length", "Too long."), "")
    assert wrote.status == 400
    assert json.loads(wrote.body)["error"]["code"] == "context_length_exceeded"
    fault = RESP.read_fault(429, {}, b'{"error":{"code":"insufficient_quota","message":"x"}}', 0.0)
    assert (fault.code, fault.reason) == ("bad_upstream", "upstream_quota")


def test_the_tap_reads_only_the_last_events() -> None:
    found = events(stream_of(FULL))
    seen = [RESP.usage_of_event(event, data, VOICE) for event, data in found]
    assert seen[-1] == (Usage(input=9, output=3, cache_read=2, thinking=1), False, True)
    assert all(usage is None and not ends for usage, _, ends in seen[:-1])
    assert sum(content for _, content, _ in seen) == 5
    assert [RESP.usage_of_event("", data, VOICE) for _, data in found] == seen
    assert RESP.usage_of_answer(answer(usage=USAGE), VOICE) == Usage(input=10, output=7, cache_read=4, thinking=3)
    assert RESP.splice(b'{"input":"model","model":"a"}', "b", True) == b'{"input":"model","model":"b"}'


# -- properties, SDK ---------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)
MESSAGES = st.one_of(
    st.builds(lambda text: Message("user", (Text(text=text),)), WORDS),
    st.builds(lambda text: Message("user", (Text(text=text), Image(url="https://a/b", detail="low"))), WORDS),
    st.builds(
        lambda text, id, name: Message("assistant", (Text(text=text), ToolCall(id=id, name=name))), WORDS, NAMES, NAMES
    ),
    st.builds(
        lambda text, id: Message(
            "assistant",
            (
                Thought(text=text, summary=True, id="rs_1", origin=Origin("openai")),
                ToolCall(id=id, name="f", custom=True, arguments="x"),
            ),
        ),
        WORDS,
        NAMES,
    ),
    st.builds(lambda text, id: Message("tool", (ToolResult(id, parts=(Text(text=text),)),)), WORDS, NAMES),
)
REQUESTS = st.builds(
    ChatRequest,
    model=st.just("m"),
    messages=st.lists(MESSAGES, max_size=4).map(tuple),
    tools=st.lists(
        st.builds(Tool, name=NAMES, description=WORDS, schema=st.just(b"{}"), strict=st.booleans()),
        max_size=2,
        unique_by=lambda tool: tool.name,
    ).map(tuple),
    output=st.sampled_from([None, Output("json"), Output("schema", "n", b"{}", True)]),
    thinking=st.sampled_from([None, Thinking("off"), Thinking(effort="low", show="summary")]),
    sampling=st.builds(Sampling, temperature=st.sampled_from([None, 0.5]), verbosity=st.sampled_from(["", "low"])),
    max_output=st.sampled_from([None, 8]),
    stream=st.booleans(),
    tier=st.sampled_from(["", "standard", "flex"]),
    user=st.sampled_from(["", "u"]),
    want_usage=st.just(True),
)


def bare(request: ChatRequest) -> ChatRequest:
    messages: list[Message] = []
    for message in request.messages:
        parts = tuple([replace(part, extra=None) for part in message.parts])
        if message.role == "assistant" and messages and messages[-1].role == "assistant":
            parts = messages.pop().parts + parts  # neighbours are one turn here
        messages.append(replace(message, parts=parts, raw=b"", extra=None))
    return replace(request, messages=tuple(messages), extra=None, state=None)


@settings(max_examples=200, deadline=None)
@given(REQUESTS)
def test_what_is_written_reads_as_it_was_unless_it_is_named_a_loss(request: ChatRequest) -> None:
    outgoing = RESP.write_request(request, replace(VOICE, model="m"))
    assert outgoing.losses == (("prefill",) if is_prefilled(request, "openai_responses") else ())
    assert bare(RESP.read_request(outgoing.body, Hints())) == bare(request)


def strict(name: str) -> Any:
    types = pytest.importorskip("openai.types.responses", reason="the openai SDK is a dev extra")
    return getattr(types, name)


ASKED = read(ask(tools=[FUNCTION], tool_choice="required", text={"format": {"type": "json_object"}}, stream=True))


def test_answers_hold_against_the_strict_types_of_the_sdk() -> None:
    parts = (*FULL.choices[0].parts, Refusal(text="no"))
    wrote = RESP.write_answer(replace(FULL, choices=(Choice(parts=parts),)), ASKED, 1)
    got = strict("Response").model_validate_json(wrote.body, strict=True)
    assert [item.type for item in got.output] == [
        "reasoning",
        "message",
        "function_call",
        "custom_tool_call",
        "message",
    ]
    assert got.usage.total_tokens == 12 and got.output_text == "Hé🎉end"


def test_events_hold_against_the_strict_types_of_the_sdk() -> None:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(strict("ResponseStreamEvent"))
    parts = (*FULL.choices[0].parts, Refusal(text="no"), Thought(text="x", signature=b"s", origin=Origin("anthropic")))
    got = [
        adapter.validate_json(data, strict=True)
        for _, data in events(stream_of(replace(FULL, choices=(Choice(parts=parts),)), ASKED))
    ]
    assert type(got[-1]).__name__ == "ResponseCompletedEvent"
    assert {type(one).__name__ for one in got} >= {"ResponseRefusalDoneEvent", "ResponseReasoningTextDoneEvent"}
