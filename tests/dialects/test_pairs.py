"""Every client dialect with every provider dialect, whole and streamed (LLM 16): what a client asked is what a provider
hears, and what a provider answered is what a client reads, but for the losses that were named. What the two sides say
on the wire is taken from the goldens, so neither side is made by the writer under test."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import msgspec
import pytest

from dialects.golden_form import (
    DECODERS,
    GOLDENS,
    NOW,
    VENDORS,
    assembled,
    decoded,
    event_bytes,
    hints_of,
    known,
    read_stream,
    voice_of,
    written_stream,
)
from tidegate.exchange.chat import (
    ChatAnswer,
    ChatDelta,
    ChatRequest,
    Cited,
    Failed,
    Image,
    Piece,
    Refusal,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.ports.dialect import Hints
from tidegate.rules.chat_order import OrderChecker
from tidegate.wire.aws_event_stream import encode_frame
from tidegate.wire.ndjson import encode_line
from tidegate.wire.sse import encode_event

SHAPES = {
    "text": "text",
    "parallel tools": "tool_calls_parallel",
    "image": "image_bytes",
    "schema": "output_schema",
    "thinking": "thinking_signed",
}
"""What is asked -> the golden that asks it."""
DIALECTS = known()
PAIRS = [(client, provider) for client in VENDORS for provider in VENDORS]


def golden(name: str, feature: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDENS / feature / f"{name}.json").read_text("utf-8"))
    return found


def answering(name: str, shape: str) -> dict[str, Any]:
    """A golden with an answer to *shape*; a picture is answered in words."""
    return golden(name, SHAPES[shape] if shape != "image" else "text")


def spoken(name: str, shape: str) -> bytes:
    """The provider's stream as it lies on the wire."""
    framing = DIALECTS[name].framing
    wire = b""
    for event, data in map(event_bytes, answering(name, shape)["stream"]):
        if framing == "sse":
            wire += encode_event(event, data)
        elif framing == "ndjson":
            wire += encode_line(data)
        else:
            wire += encode_frame(event, data)
    return wire


def asked_by(client: str, shape: str, *, stream: bool = False) -> ChatRequest:
    body = json.dumps(golden(client, SHAPES[shape])["request"], ensure_ascii=False).encode()
    request = DIALECTS[client].read_request(body, Hints(model="m", stream=stream))
    return msgspec.structs.replace(request, model="m", stream=stream, want_usage=stream)


def tree(text: str) -> Any:
    return json.loads(text or "{}")


def wish(request: ChatRequest) -> dict[str, Any]:
    """What matters of a request, however it is cut into turns."""
    parts = [part for message in request.messages for part in message.parts]
    results = [part for part in parts if isinstance(part, ToolResult)]
    return {
        "text": "".join(part.text for part in parts if isinstance(part, (Text, Cited, Refusal))).replace("\n", ""),
        "calls": [(part.id, part.name, tree(part.arguments)) for part in parts if isinstance(part, ToolCall)],
        "results": [
            (part.call_id, "".join(one.text for one in part.parts if isinstance(one, Text))) for part in results
        ],
        "image": [part.data for part in parts if isinstance(part, Image)],
        "thinking": request.thinking is not None,
        "thought": [(part.text, part.signature) for part in parts if isinstance(part, Thought)],
        "tools": [(tool.name, json.loads(tool.schema or b"null")) for tool in request.tools],
        "output": None if request.output is None else (request.output.kind, json.loads(request.output.schema or b"0")),
        "max_output": request.max_output,
    }


def gist(answer: ChatAnswer) -> dict[str, Any]:
    """What matters of an answer."""
    (choice,) = answer.choices
    usage = answer.usage
    assert usage is not None
    return {
        "text": "".join(part.text for part in choice.parts if isinstance(part, (Text, Cited, Refusal))),
        "calls": [(part.id, part.name, tree(part.arguments)) for part in choice.parts if isinstance(part, ToolCall)],
        "thought": "".join(part.text for part in choice.parts if isinstance(part, Thought)),
        "stop": choice.stop,
        "tokens": (usage.input, usage.output),
    }


def but_for(whole: dict[str, Any], losses: Any, words: dict[str, str]) -> dict[str, Any]:
    """*whole* without what *losses* name; *words*: member -> the word of its loss."""
    told = " ".join(losses)
    return {member: value for member, value in whole.items() if member not in words or words[member] not in told}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_a_provider_hears_what_the_client_asked(client: str, provider: str, shape: str) -> None:
    request = asked_by(client, shape)
    out = DIALECTS[provider].write_request(request, voice_of(provider))
    heard = DIALECTS[provider].read_request(out.body, hints_of(provider, request))
    words = {"image": "image", "output": "output", "thinking": "thinking", "thought": "thinking"}
    wanted = but_for(wish(request), out.losses, words)
    assert {member: wish(heard)[member] for member in wanted} == wanted


WORDS = {"thought": "thinking"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_a_client_reads_what_the_provider_answered(client: str, provider: str, shape: str) -> None:
    request = asked_by(client, shape)
    body = json.dumps(answering(provider, shape)["answer"], ensure_ascii=False).encode()
    answer = DIALECTS[provider].read_answer(body, voice_of(provider), {})
    written = DIALECTS[client].write_answer(answer, request, NOW)
    assert written.status == 200
    read = DIALECTS[client].read_answer(written.body, voice_of(client), {})
    wanted = but_for(gist(answer), written.losses, WORDS)
    assert {member: gist(read)[member] for member in wanted} == wanted


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_a_client_reads_the_same_in_a_stream(client: str, provider: str, shape: str) -> None:
    request = asked_by(client, shape, stream=True)
    wire = spoken(provider, shape)
    chance = Random(f"{client} {provider} {shape}")
    deltas = read_stream(DIALECTS[provider], voice_of(provider), decoded_in_pieces(provider, wire, chance), {})
    told, losses = written_stream(DIALECTS[client], request, deltas)
    read = read_stream(DIALECTS[client], voice_of(client), decoded_in_pieces(client, told, chance), {})
    assert not [delta for delta in read if isinstance(delta, Failed)]
    whole = json.dumps(answering(provider, shape)["answer"], ensure_ascii=False).encode()
    for wanted in (assembled(deltas), DIALECTS[provider].read_answer(whole, voice_of(provider), {})):
        expected = but_for(gist(wanted), losses, WORDS)
        assert {member: gist(assembled(read))[member] for member in expected} == expected


def decoded_in_pieces(name: str, wire: bytes, chance: Random) -> list[tuple[str, bytes]]:
    """*wire* as it comes in pieces of any size."""
    pieces = []
    at = 0
    while at < len(wire):
        size = chance.choice((1, 2, 3, 7, 40, 200, 1500))
        pieces.append(wire[at : at + size])
        at += size
    return decoded(DIALECTS[name].framing, pieces)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", VENDORS)
def test_a_stream_cut_at_any_byte_tells_the_same(name: str, shape: str) -> None:
    framing = DIALECTS[name].framing
    wire = spoken(name, shape)
    whole = [event_bytes(event) for event in answering(name, shape)["stream"]]
    assert [(event, json_of(data)) for event, data in decoded(framing, [wire])] == [
        (event, json_of(data)) for event, data in whole
    ]
    once = decoded(framing, [wire])
    assert decoded(framing, [wire[at : at + 1] for at in range(len(wire))]) == once
    for at in range(1, len(wire)):
        decoder = DECODERS[framing]()
        assert decoder.feed(wire[:at]) + decoder.feed(wire[at:]) + decoder.close() == once


def json_of(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data


FAULTS = {
    "rate_limited": 429,
    "invalid_request": 400,
    "overloaded": 503,
    "model_not_found": 404,
    "upstream_timeout": 504,
    "bad_upstream": 502,
}


@pytest.mark.parametrize("code", FAULTS)
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_a_fault_of_the_provider_is_the_same_fault_in_the_clients_words(client: str, provider: str, code: str) -> None:
    there = DIALECTS[provider].write_fault(Fault(code, "So it is.", side=UPSTREAM), "req-1")
    fields = dict(there.fields)
    fault = DIALECTS[provider].read_fault(there.status, fields, there.body, NOW)
    assert (fault.code, fault.side) == (code, UPSTREAM)
    here = DIALECTS[client].write_fault(fault, "req-2")
    assert here.status >= 400 and json.loads(here.body)
    assert DIALECTS[client].read_fault(here.status, dict(here.fields), here.body, NOW).code == code


@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_a_stream_that_breaks_keeps_what_was_told_and_says_that_it_broke(client: str, provider: str) -> None:
    wire = spoken(provider, "text")
    for part in (0.35, 0.6, 0.8):
        events = decoded_in_pieces(provider, wire[: int(len(wire) * part)], Random(part))
        reader = DIALECTS[provider].events_reader(voice_of(provider), {})
        deltas: list[ChatDelta] = [delta for event, data in events for delta in reader.feed(event, data)]
        deltas += reader.close()
        assert [delta.code for delta in deltas if isinstance(delta, Failed)] == ["bad_upstream"]
        told, _ = written_stream(DIALECTS[client], asked_by(client, "text", stream=True), deltas)
        there = DIALECTS[client].events_reader(voice_of(client), {})
        read = [delta for event, data in decoded(DIALECTS[client].framing, [told]) for delta in there.feed(event, data)]
        read += there.close()
        checker = OrderChecker()
        for delta in read:
            checker.check(delta)
        assert checker.failed and checker.ended
        assert words(read) == words(deltas)
        assert "Grüß dich 👋, 世界! A longer tail of words.".startswith(words(read))


def words(deltas: list[ChatDelta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Piece))
