"""Ollama's generation <-> the neutral conversation (LLM 2)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tidegate.dialects.ollama_generate import OllamaGenerate
from tidegate.exchange.chat import (
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    Choice,
    Extra,
    Image,
    Message,
    Origin,
    Output,
    Sampling,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    Usage,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Hints, Voice
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.chat_order import check_order
from tidegate.wire.ndjson import NdjsonDecoder

DIALECT = OllamaGenerate()
VOICE = Voice(vendor="ollama", model="m", addressed=("ollama",))
CHAT, NAME = "ollama_chat", "ollama_generate"


def read(body: dict[str, Any]) -> ChatRequest:
    return DIALECT.read_request(json.dumps(body).encode(), Hints())


def asks(*messages: Message, **more: Any) -> ChatRequest:
    return ChatRequest(**{"model": "m", "messages": messages, "want_usage": True, "stream": True, **more})


USER = Message("user", (Text(text="Hi"),))

BOTH_WAYS: list[tuple[str, dict[str, Any], ChatRequest]] = [
    ("prompt", {"prompt": "Hi"}, asks(USER)),
    ("nothing, to load the model", {"keep_alive": 5}, asks(extra=Extra(CHAT, (("keep_alive", b"5"),)))),
    (
        "every setting",
        {"system": "Be kind", "prompt": "Hi", "images": ["aGk="], "format": "json", "think": True, "stream": False,
         "options": {"seed": 4, "num_predict": 9, "num_ctx": 5}},
        asks(Message("system", (Text(text="Be kind"),)), Message("user", (Text(text="Hi"), Image(data=b"aGk="))),
             output=Output("json"), thinking=Thinking("on", extra=Extra(CHAT)), sampling=Sampling(seed=4),
             max_output=9, stream=False, extra=Extra(CHAT, (("options.num_ctx", b"5"),))),
    ),
    (
        "words that a chat does not have belong to this dialect",
        {"prompt": "Hi", "suffix": "!", "raw": True, "context": [1, 2], "options": {"num_ctx": 5}},
        asks(USER, extra=Extra(NAME, (("options.num_ctx", b"5"), ("suffix", b'"!"'), ("raw", b"true"),
                                      ("context", b"[1, 2]")))),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "neutral"), [row[1:] for row in BOTH_WAYS], ids=[row[0] for row in BOTH_WAYS])
def test_a_request_is_read_into_its_neutral_form_and_written_back_equal(
    body: dict[str, Any], neutral: ChatRequest
) -> None:
    request = read({"model": "m", **body})
    assert request == neutral
    out = DIALECT.write_request(request, VOICE)
    assert (json.loads(out.body), out.losses) == ({"model": "m", "stream": True, **body}, ())


def test_other_turns_and_tools_are_lost_by_name() -> None:
    request = asks(
        USER, Message("assistant", (Text(text="Yes?"),)), Message("user", (Text(text="Go"),)), tools=(Tool("f"),),
        tier="flex", extra=Extra("openai_chat", (("odd", b"1"),)),
        options={"ollama": b'{"keep_alive":1,"prompt":"x"}'},
    )  # fmt: skip
    out = DIALECT.write_request(request, VOICE)
    assert json.loads(out.body) == {"model": "m", "prompt": "Go", "stream": True, "keep_alive": 1}
    assert out.losses == ("messages[0]", "messages[1]", "tools", "tier", "odd", "provider_options.ollama.prompt")


@pytest.mark.parametrize("body", [{"prompt": 5}, {"prompt": "x", "images": [1]}, {"options": []}, {"stream": "no"}])
def test_a_wrong_shape_is_an_invalid_request(body: dict[str, Any]) -> None:
    with pytest.raises(Fault, match="invalid_request"):
        read({"model": "m", **body})
    assert read({"model": "m", "prompt": None}).cleared == ("prompt",)


BODY: dict[str, Any] = {
    "model": "llama", "created_at": "2026-11-22T03:16:21Z", "response": "Hi 🌊", "thinking": "hm", "done": True,
    "done_reason": "length", "context": [1, 2], "prompt_eval_count": 15, "eval_count": 11,
}  # fmt: skip
PARTS = (Thought(text="hm", origin=Origin("ollama")), Text(text="Hi 🌊"))


def test_a_whole_answer_both_ways() -> None:
    body = json.dumps(BODY).encode()
    answer = DIALECT.read_answer(body, VOICE, {})
    assert answer.choices == (Choice(parts=PARTS, stop="length"),)
    assert answer.usage == Usage(input=15, output=11)
    written = DIALECT.write_answer(answer, ChatRequest("m"), 0)
    assert (json.loads(written.body), written.losses) == (BODY, ())
    assert DIALECT.usage_of_answer(body, VOICE) == answer.usage


def test_what_an_answer_cannot_say_is_lost() -> None:
    choice = Choice(parts=(ToolCall(id="1", name="f"),), stop="pause")
    written = DIALECT.write_answer(ChatAnswer(choices=(choice, choice)), ChatRequest("m"), 0)
    assert written.losses == ("n", "pause", "answer.tool_calls")
    assert DIALECT.write_answer(ChatAnswer(choices=(Choice(stop="broken"),)), ChatRequest("m"), 0).status == 502


@pytest.mark.parametrize("body", [b"", b"{}", b'{"response":5}', b'{"error":"boom"}'])
def test_what_is_no_answer_is_bad_upstream(body: bytes) -> None:
    with pytest.raises(Fault, match="bad_upstream"):
        DIALECT.read_answer(body, VOICE, {})


def deltas_from(wire: bytes) -> list[ChatDelta]:
    reader = DIALECT.events_reader(VOICE, {})
    deltas = [delta for name, data in NdjsonDecoder().feed(wire) for delta in reader.feed(name, data)] + reader.close()
    check_order(deltas)
    return deltas


def test_a_stream_both_ways() -> None:
    answer = msgspec.structs.replace(DIALECT.read_answer(json.dumps(BODY).encode(), VOICE, {}), extra=None)
    writer = DIALECT.events_writer(ChatRequest("m"), "id", 0, "ndjson")
    wire = b"".join(writer.write(delta) for delta in deltas_of(answer))
    assembler = Assembler()
    for delta in deltas_from(wire):
        assembler.take(delta)
    assert assembler.answer() == answer
    objects = [json.loads(line) for line in wire.splitlines()]
    assert [one["response"] for one in objects] == ["", "Hi 🌊", ""]
    last = wire.splitlines()[-1]
    assert DIALECT.usage_of_event("", last, VOICE) == (answer.usage, False, True)


def test_the_rest_is_as_in_a_chat() -> None:
    assert DIALECT.read_fault(404, {}, b'{"error":"no such"}', 0.0).code == "model_not_found"
    written = DIALECT.write_fault(Fault("rate_limited", "Slow."), "r")
    assert (written.status, written.body, written.fields) == (429, b'{"error":"Slow."}', (("x-request-id", "r"),))
    assert DIALECT.splice(b'{"model":"a"}', "b", True) == b'{"model":"b"}'
    assert DIALECT.path("/api/generate", "m", True) == "/api/generate"


def test_the_official_client_reads_answers_and_streams() -> None:
    ollama = pytest.importorskip("ollama", reason="the official SDK is not installed")
    import httpx

    def answer(asked: httpx.Request) -> httpx.Response:
        request = DIALECT.read_request(asked.content, Hints())
        whole = DIALECT.read_answer(json.dumps(BODY).encode(), VOICE, {})
        if not request.stream:
            return httpx.Response(200, content=DIALECT.write_answer(whole, request, 0).body)
        writer = DIALECT.events_writer(request, "id", 0, "ndjson")
        return httpx.Response(200, content=b"".join(writer.write(delta) for delta in deltas_of(whole)))

    client = ollama.Client(host="http://ollama.test", transport=httpx.MockTransport(answer))
    got = client.generate(model="m", prompt="Hi")
    assert (got.response, got.thinking, got.eval_count) == ("Hi 🌊", "hm", 11)
    pieces = list(client.generate(model="m", prompt="Hi", stream=True))
    assert "".join(piece.response for piece in pieces) == "Hi 🌊"
