"""Text completions in both directions (LLM 2, 6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tidegate.dialects.openai_completions import OpenaiCompletions
from tidegate.exchange.chat import (
    END,
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    Choice,
    Failed,
    Message,
    Opaque,
    Sampling,
    Text,
    Tool,
    ToolCall,
    Usage,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.wire.sse import SseDecoder

TEXT = OpenaiCompletions()
VOICE = Voice(vendor="openai", model="base", addressed=("openai_completions",))


def read(body: dict[str, Any]) -> ChatRequest:
    return TEXT.read_request(json.dumps(body).encode(), Hints())


SAME = {
    "text": {"model": "base", "prompt": "Once"},
    "several": {"model": "base", "prompt": ["a", "b"]},
    "tokens": {"model": "base", "prompt": [1, 2, 3]},
    "all": {
        "model": "base",
        "prompt": ["x"],
        "suffix": "s",
        "echo": True,
        "best_of": 3,
        "max_tokens": 4,
        "n": 2,
        "temperature": 0.5,
        "top_p": 0.1,
        "logprobs": 2,
        "stop": ["a"],
        "seed": 1,
        "user": "u",
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "logit_bias": {"1": 2},
        "x_vendor": {"a": 1.50},
    },
    "said": {"model": "base", "prompt": "x", "n": 1, "stop": "a", "stream": False, "suffix": None},
    "stream": {
        "model": "base",
        "prompt": "x",
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    },
}


@pytest.mark.parametrize("name", SAME)
def test_a_request_read_and_written_in_the_same_dialect_is_equal(name: str) -> None:
    outgoing = TEXT.write_request(read(SAME[name]), VOICE)
    assert (json.loads(outgoing.body), outgoing.losses) == (SAME[name], ())


def test_what_a_request_means() -> None:
    request = read(SAME["all"])
    assert request.messages[0].parts == (Text(text="x"),)
    assert request.sampling == Sampling(0.5, 0.1, None, 1, 0.1, 0.2, b'{"1": 2}', True, 2, 2)
    assert (request.max_output, request.stop, request.user) == (4, ("a",), "u")
    assert read(SAME["tokens"]).messages[0].parts == (
        Opaque(dialect="openai_completions", kind="prompt", value=b"[1, 2, 3]"),
    )


def test_a_prompt_of_another_shape_is_the_clients_fault() -> None:
    with pytest.raises(Fault) as caught:
        TEXT.read_request(b'{"model":"m","prompt":{"a":1}}', Hints())
    assert (caught.value.code, caught.value.side, caught.value.detail) == (
        "invalid_request",
        "client",
        "prompt must be an array.",
    )


def test_a_conversation_loses_its_shape() -> None:
    request = ChatRequest(
        model="m",
        tools=(Tool(name="f"),),
        messages=(Message("system", (Text(text="Be kind."),)), Message("user", (Text(text="hi"),))),
    )
    outgoing = TEXT.write_request(request, VOICE)
    assert json.loads(outgoing.body) == {"model": "base", "prompt": "Be kind.\n\nhi"}
    assert outgoing.losses == ("completions.shape", "tools")


def test_options_never_set_the_prompt() -> None:
    request = read(
        {"model": "m", "prompt": "x", "provider_options": {"openai_completions": {"prompt": "y", "min_p": 1}}}
    )
    assert json.loads(TEXT.write_request(request, VOICE).body) == {"model": "base", "prompt": "x", "min_p": 1}


USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 2,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
ANSWER = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 5,
    "model": "base",
    "choices": [
        {"index": 0, "text": "upon", "logprobs": {"tokens": ["upon"]}, "finish_reason": "stop"},
        {"index": 1, "text": "a time", "logprobs": None, "finish_reason": "length", "prompt_logprobs": [1]},
    ],
    "usage": USAGE,
    "system_fingerprint": "fp",
}


def test_an_answer_passes_through_the_neutral_form() -> None:
    got = TEXT.read_answer(json.dumps(ANSWER).encode(), VOICE, {})
    assert got.usage == Usage(input=3, output=2, cache_read=1)
    assert [choice.stop for choice in got.choices] == ["stop", "length"]
    wrote = TEXT.write_answer(got, read(SAME["text"]), 9)
    assert (json.loads(wrote.body), wrote.losses) == (ANSWER, ())
    assert TEXT.usage_of_answer(json.dumps(ANSWER).encode(), VOICE) == got.usage


def test_an_answer_of_a_chat_model_is_text_with_a_loss_6() -> None:
    parts = (Text(text="a"), ToolCall(id="c", name="f"), Text(text="b"))
    wrote = TEXT.write_answer(
        ChatAnswer(id="msg_1", choices=(Choice(parts=parts, stop="context_length"),)), read(SAME["text"]), 9
    )
    body = json.loads(wrote.body)
    assert body["choices"][0]["text"] == "ab" and body["choices"][0]["finish_reason"] == "length"
    assert body["id"].startswith("cmpl-") and "msg" not in body["id"]
    assert wrote.losses == ("completions.shape", "toolcall")


@pytest.mark.parametrize("body", [b"", b"x", b"{}", b'{"choices":[]}', b'{"error":{"message":"x"}}'])
def test_an_answer_that_is_none_is_a_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        TEXT.read_answer(body, VOICE, {})
    assert (caught.value.code, caught.value.side) == ("bad_upstream", "upstream")


def chunk(text: str, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    return json.dumps(
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 5,
            "model": "base",
            "choices": [{"index": index, "text": text, "logprobs": None, "finish_reason": finish}],
            **more,
        },
        ensure_ascii=False,
    ).encode()


def deltas(events: list[tuple[str, bytes]]) -> list[ChatDelta]:
    reader = TEXT.events_reader(VOICE, {})
    told: list[ChatDelta] = []
    for event, data in events:
        told += reader.feed(event, data)
    told += reader.close()
    check_order(told)
    return told


def assembled(told: list[ChatDelta]) -> ChatAnswer:
    assembler = Assembler()
    for delta in told:
        assembler.take(delta)
    return assembler.answer()


def test_a_stream_cut_anywhere_reads_the_same_and_is_written_again() -> None:
    last = json.dumps({"choices": [], "usage": USAGE}).encode()
    chunks = [
        chunk("up"),
        chunk("🎉 a", index=1),
        chunk("on\n\ndata: x"),
        chunk("", "stop"),
        chunk(" time", "length", 1),
        last,
        b"[DONE]",
    ]
    stream = b"".join([b"data: " + one + b"\n\n" for one in chunks])
    whole = SseDecoder().feed(stream)
    for cut in range(1, len(stream)):
        decoder = SseDecoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == whole
    told = deltas(whole)
    got = assembled(told)
    texts = [part.text for choice in got.choices for part in choice.parts if isinstance(part, Text)]
    assert texts == ["upon\n\ndata: x", "🎉 a time"]
    assert got.usage == Usage(input=3, output=2, cache_read=1)
    writer = TEXT.events_writer(read(SAME["stream"]), "01H", 3, "sse")
    again = SseDecoder().feed(b"".join([writer.write(delta) for delta in told]))
    assert assembled(deltas(again)) == replace(got, id="cmpl-01H")
    assert writer.losses == []


def test_members_that_are_null_say_nothing() -> None:
    told = deltas([("", chunk("a", "stop", usage=None, error=None)), ("", b"[DONE]")])
    assert assembled(told).choices[0].parts == (Text(text="a"),)


def test_usage_may_come_after_done() -> None:
    reader = TEXT.events_reader(VOICE, {})
    told = reader.feed("", chunk("a", "stop")) + reader.feed("", b"[DONE]")
    assert END not in told
    told += reader.feed("", json.dumps({"choices": [], "usage": USAGE}).encode())
    assert told[-1] == END and reader.close() == []


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([chunk("a")], "incomplete_stream"),
        ([b"[DONE]"], "empty_answer"),
        ([b"<html>"], "bad_event"),
        ([b'{"error":{"message":"x"}}'], "upstream_error"),
    ],
)
def test_streams_that_break_end_with_one_fault(chunks: list[bytes], reason: str) -> None:
    told = deltas([("", one) for one in chunks])
    failed = [delta for delta in told if isinstance(delta, Failed)]
    assert [(one.code, one.reason) for one in failed] == [("bad_upstream", reason)]


def test_a_failed_stream_ends_with_an_error_event_and_no_done() -> None:
    writer = TEXT.events_writer(read(SAME["stream"]), "i", 0, "sse")
    assert writer.write(Failed("overloaded")).startswith(b"event: error\ndata: {")
    assert writer.write(END) == b""


def test_bytes_that_pass_are_spliced_and_tapped() -> None:
    assert TEXT.splice(b'{"model":"a","prompt":"b"}', "c", False) == b'{"model":"c","prompt":"b"}'
    assert TEXT.usage_of_event("", b'{"choices":[{"text":""}]}', VOICE) == (None, False, False)
    assert TEXT.usage_of_event("", b'{"choices":[{"text":"x"}]}', VOICE) == (None, True, False)


def test_answers_and_chunks_hold_against_the_strict_types_of_the_sdk() -> None:
    types = pytest.importorskip("openai.types", reason="the openai SDK is a dev extra")
    answer = ChatAnswer(
        id="x",
        model="m",
        created=1,
        choices=(Choice(parts=(Text(text="a"),), stop="refusal"),),
        usage=Usage(input=1, output=2),
    )
    wrote = TEXT.write_answer(answer, read(SAME["text"]), 1)
    assert types.Completion.model_validate_json(wrote.body, strict=True).choices[0].finish_reason == "content_filter"
    writer = TEXT.events_writer(read(SAME["text"]), "i", 0, "sse")
    stream = SseDecoder().feed(b"".join([writer.write(delta) for delta in deltas_of(answer)]))
    assert stream[-1] == ("", b"[DONE]")
    got = json.loads(stream[0][1])
    assert (got["object"], got["choices"][0]["text"], got["choices"][0]["finish_reason"]) == (
        "text_completion",
        "a",
        None,
    )
