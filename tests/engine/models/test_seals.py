"""Two-turn tool loops with vendors that check their seals byte for byte, through clients that drop them (LLM 5.6)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import DIALECTS, PATHS, SPOKEN, MemoryBooks, asked_of, model, models, provider, scene, target
from model_house import unchunked as body_as_sent
from msgspec.structs import replace

from tidegate.engine.models.frames import decoder_of
from tidegate.engine.models.seals import SealTap, keep, keep_answer, restored
from tidegate.exchange.chat import (
    ChatAnswer,
    ChatRequest,
    Choice,
    Message,
    Origin,
    Part,
    SealedThought,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from tidegate.exchange.embeddings import EmbeddingsAnswer
from tidegate.ports.dialect import MEDIA_TYPES, Voice
from tidegate.ports.models import DoorPlan, ProviderPlan
from tidegate.rules.chat_assembly import Assembler, deltas_of
from tidegate.rules.seal_vault import ONE, SealVault

SEAL = "Ep8B+/x=="
"""As vendors make them: base64."""
VENDORS = {"anthropic_messages": "anthropic", "bedrock_converse": "bedrock", "gemini_generate": "gemini"}
TOOL = Tool("f", schema=b'{"type":"object"}')
ASKED = ChatRequest(
    "fast", (Message("user", (Text(text="hi"),)),), tools=(TOOL,), thinking=Thinking("on", "low"), max_output=8192
)


def answer_from(vendor: str) -> ChatAnswer:
    """A turn that thinks and calls."""
    origin = Origin(vendor)
    call = ToolCall(id="toolu_01", name="f", arguments='{"a":1}')
    parts: tuple[Part, ...] = (Thought(text="hm \u00e4", signature=SEAL.encode(), origin=origin), call)
    if vendor == "gemini":
        parts = (replace(call, signature=SEAL.encode(), origin=origin),)
    return ChatAnswer("a1", "served", 1, (Choice(0, parts, "tool_calls"),), Usage(input=10, output=5))


def request_bytes(name: str, request: ChatRequest, stream: bool) -> bytes:
    dialect = SPOKEN[name]
    body = dialect.write_request(replace(request, stream=stream, want_usage=stream), Voice(model="fast")).body
    path = dialect.path(PATHS[name], "fast", stream)
    return f"POST {path} HTTP/1.1\r\nHost: gw\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def vendor_says(name: str, answer: ChatAnswer, stream: bool) -> bytes:
    """*answer* as the vendor itself writes it: its own seals are bare."""
    dialect = SPOKEN[name]
    kind = "application/json"
    if stream:
        writer = dialect.events_writer(replace(ASKED, stream=True, want_usage=True), "a1", 1, dialect.framing)
        body = b"".join(writer.write(delta) for delta in deltas_of(answer))
        kind = MEDIA_TYPES[dialect.framing]
    else:
        body = dialect.write_answer(answer, ASKED, 1).body
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def understood(name: str, got: bytes, stream: bool) -> tuple[Part, ...]:
    """The parts that a client of *name* understands."""
    dialect = SPOKEN[name]
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), got
    if not stream:
        return tuple(dialect.read_answer(body, Voice(), {}).choices[0].parts)
    decoder, reader, assembler = decoder_of(dialect.framing), dialect.events_reader(Voice(), {}), Assembler()
    for event, data in decoder.feed(body_as_sent(body)) + decoder.close():
        for delta in reader.feed(event, data):
            assembler.take(delta)
    return assembler.answer().choices[0].parts


def forgetful(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """What a client keeps that knows text and calls alone."""
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, ToolCall):
            kept.append(ToolCall(id=part.id, name=part.name, arguments=part.arguments))
        elif isinstance(part, Text):
            kept.append(Text(text=part.text))
    return tuple(kept)


def next_turn(parts: tuple[Part, ...]) -> ChatRequest:
    calls = [part for part in parts if isinstance(part, ToolCall)]
    results = tuple([ToolResult(call_id=c.id, name=c.name, parts=(Text(text="42"),)) for c in calls])
    return replace(ASKED, messages=(*ASKED.messages, Message("assistant", parts), Message("tool", results)))


def seal_heard(name: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    """(thought, seal) of the calling turn as the vendor hears it."""
    if name == "anthropic_messages":
        blocks = body["messages"][1]["content"]
        return [(b["thinking"], b["signature"]) for b in blocks if b["type"] == "thinking"]
    if name == "bedrock_converse":
        found = [b["reasoningContent"]["reasoningText"] for b in body["messages"][1]["content"] if "toolUse" not in b]
        return [(told["text"], told["signature"]) for told in found]
    return [("", part["thoughtSignature"]) for part in body["contents"][1]["parts"] if "thoughtSignature" in part]


def thinks(name: str, body: dict[str, Any]) -> bool:
    told = body if name == "anthropic_messages" else body.get("additionalModelRequestFields", {})
    return told.get("thinking", {}).get("type") in ("enabled", "adaptive") or "effort" in json.dumps(body)


def of_vendor(name: str, number: int = 1) -> ProviderPlan:
    door = DoorPlan("chat", SPOKEN[name], f"provider:p{number}", PATHS[name])
    vendor = VENDORS[name]
    return ProviderPlan(f"p{number}", vendor, vendor, {"chat": door}, (door,), provider(number).credentials)


PAIRS = [(c, v) for c in sorted(SPOKEN) for v in sorted(VENDORS) if c != v and c != "gemini_generate"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client_name", "upstream"), PAIRS)
def test_a_client_that_drops_seals_gets_through_a_tool_loop(client_name: str, upstream: str, stream: bool) -> None:
    plan = models(model("fast", target(of_vendor(upstream))), dialects={**DIALECTS, **SPOKEN})
    vendor = VENDORS[upstream]

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request_bytes(client_name, ASKED, stream))
        await settle()
        house.upstreams[0].hears()
        house.upstreams[0].says(vendor_says(upstream, answer_from(vendor), stream))
        parts = forgetful(understood(client_name, client.hears(), stream))
        assert [part for part in parts if isinstance(part, ToolCall)]
        client.says(request_bytes(client_name, next_turn(parts), stream))
        await settle()
        _, _, body = asked_of(house.upstreams[0])
        assert seal_heard(upstream, body) == [("" if upstream == "gemini_generate" else "hm \u00e4", SEAL)]
        assert client_name != "openai_chat" or upstream == "gemini_generate" or thinks(upstream, body)
        house.upstreams[0].says(vendor_says(upstream, answer_from(vendor), stream))
        understood(client_name, client.hears(), stream)

    scene(play, plan)


@pytest.mark.parametrize("upstream", sorted(VENDORS))
def test_a_miss_is_told_and_the_turn_runs_without_thinking(upstream: str) -> None:
    aim = target(of_vendor(upstream))
    voice = Voice(vendor=VENDORS[upstream], model="up-model", thinking_style="level" if "gemini" in upstream else "")
    plan = models(model("fast", dataclasses.replace(aim, voices={upstream: voice})), dialects={**DIALECTS, **SPOKEN})
    parts = forgetful(answer_from("x").choices[0].parts)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request_bytes("openai_chat", next_turn(parts), False))
        await settle()
        _, _, body = asked_of(house.upstreams[0])
        if upstream == "gemini_generate":
            assert seal_heard(upstream, body) == [("", "skip_thought_signature_validator")]
        else:
            assert seal_heard(upstream, body) == [] and not thinks(upstream, body)
        house.upstreams[0].says(vendor_says(upstream, answer_from(VENDORS[upstream]), False))
        assert b"thinking.signature" in client.hears().partition(b"\r\n\r\n")[0]
        assert any("thinking.signature" in loss for loss in books.records[0].losses)

    scene(play, plan)


def test_seals_bind_a_loop_to_their_vendor_though_the_client_dropped_them() -> None:
    first, second = target(of_vendor("anthropic_messages")), target(of_vendor("bedrock_converse", 2), "other", 1)
    plan = models(model("fast", first, second), dialects={**DIALECTS, **SPOKEN})

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request_bytes("openai_chat", ASKED, False))
        await settle()
        house.upstreams[0].hears()
        house.upstreams[0].says(vendor_says("anthropic_messages", answer_from("anthropic"), False))
        parts = forgetful(understood("openai_chat", client.hears(), False))
        client.says(request_bytes("openai_chat", next_turn(parts), False))
        await settle()
        house.upstreams[0].hears()
        house.upstreams[0].says(b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n")
        await settle()
        assert len(house.upstreams) == 1
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play, plan)


def test_another_tenants_seals_stay_where_they_are() -> None:
    vault = SealVault()
    keep(vault, "a", answer_from("anthropic").choices, 0.0)
    request = next_turn(forgetful(answer_from("anthropic").choices[0].parts))
    assert restored(vault, "b", request, 1.0) is request
    assert restored(vault, "a", request, 1.0).messages[1].parts[0] == answer_from("anthropic").choices[0].parts[0]


def test_answers_that_are_no_conversations_are_let_by() -> None:
    vault = SealVault()
    keep_answer(vault, "a", EmbeddingsAnswer(), 0.0)
    assert vault.entries == 0


def test_a_stream_is_held_in_bounds_and_without_its_text() -> None:
    origin = Origin("anthropic")
    long = Thought(text="x" * (ONE + 1), signature=b"s", origin=origin)
    call = ToolCall(id="c1", name="f")
    for parts, kept in (
        ((Text(text="y" * (ONE + 1)), Thought(text="x", signature=b"s", origin=origin), call), 1),
        ((SealedThought(data=b"z", origin=origin), call), 1),
        ((long, call), 0),
        ((Thought(text="x"), call), 0),
    ):
        tap, vault = SealTap(), SealVault()
        for delta in deltas_of(ChatAnswer(choices=(Choice(0, parts, "tool_calls"),))):
            tap.take(delta)
        tap.keep(vault, "t", 0.0)
        assert vault.entries == kept
