"""One call of one target, as the provider hears it (LLM 7, 9.1)."""

from __future__ import annotations

import dataclasses
import gzip
import json

import pytest
from conversation import House, Side, settle
from model_house import (
    DIALECTS,
    ONE,
    PATHS,
    SPOKEN,
    MemoryBooks,
    ask,
    asked_of,
    chat,
    completion,
    model,
    models,
    provider,
    scene,
    target,
    whole,
)

from tidegate.exchange.chat import ChatAnswer, ChatRequest, Choice, Message, Output, Text, ToolCall, Usage
from tidegate.ports.dialect import MEDIA_TYPES, Hints, Voice
from tidegate.ports.models import CredentialPlan, DoorPlan, ProviderPlan
from tidegate.rules.chat_assembly import deltas_of


def test_only_what_the_provider_needs_to_know_travels() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(), cookie="a=b", x_forwarded_for="1.2.3.4", user_agent="sdk", x_consumer="me"))
        await settle()
        head = house.upstreams[0].hears().partition(b"\r\n\r\n")[0].decode()
        names = [line.partition(":")[0] for line in head.split("\r\n")[1:]]
        assert names == [
            "host", "content-type", "accept", "accept-encoding", "user-agent", "authorization", "traceparent",
            "content-length",
        ]  # fmt: skip
        assert "accept-encoding: identity" in head and "user-agent: tidegate" in head
        house.upstreams[0].says(whole(200, completion()))

    scene(play, ONE)


def test_a_key_in_the_query_is_the_providers() -> None:
    keys = (CredentialPlan("c", query=(("key", "k1"),)),)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(), "/v1/chat/completions?key=mine&x=1"))
        await settle()
        assert house.upstreams[0].hears().startswith(b"POST /v1/chat/completions?key=k1 HTTP/1.1\r\n")
        house.upstreams[0].says(whole(200, completion()))

    scene(play, models(model("fast", target(provider(1, credentials=keys)))))


def test_a_provider_that_compresses_all_the_same_is_understood() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        body = gzip.compress(b'{"usage":{"prompt_tokens":10,"completion_tokens":5}}')
        head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
        house.upstreams[0].says(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        assert client.hears().endswith(b'\r\n\r\n{"usage":{"prompt_tokens":10,"completion_tokens":5}}')
        assert books.records[0].cost == 20_000

    scene(play, ONE)


def test_a_redirect_is_never_followed() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says("HTTP/1.1 302 X\r\nlocation: http://10.9.9.9/\r\ncontent-length: 0\r\n\r\n")
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 502 ")
        assert house.connected == ["10.0.0.1:80"]

    scene(play, models(model("fast", target(provider(1)), retry=0)))


def test_a_presets_own_statuses_mean_what_it_says() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(418, {"error": {"message": "no money"}}))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 502 ") and b"x-should-retry: false\r\n" in got

    scene(play, models(model("fast", target(provider(1, faults={418: "upstream_quota"})))))


SCHEMA = '{"type":"object","properties":{"a":{"type":"integer"}}}'


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", sorted(SPOKEN))
@pytest.mark.parametrize("client_name", ["openai_chat", "anthropic_messages"])
def test_a_forced_tool_stands_for_structured_output(client_name: str, upstream: str, stream: bool) -> None:
    """LLM 5.5: once, for every dialect, its own as well."""
    spoken = SPOKEN[upstream]
    door = DoorPlan("chat", spoken, "provider:p1", PATHS[upstream])
    to = ProviderPlan("p1", "x", "x", {"chat": door}, (door,), provider(1).credentials)
    voice = Voice(vendor="x", model="up-model", lacks=frozenset({"output.schema"}))
    aim = dataclasses.replace(target(to), voices={upstream: voice})
    plan = models(model("fast", aim), dialects={**DIALECTS, **SPOKEN})
    user = Message("user", (Text(text="hi"),))
    asked = ChatRequest("fast", (user,), output=Output("schema", "n", SCHEMA.encode()), max_output=50, stream=stream)
    call = ToolCall(id="c1", name="structured_output", arguments='{"a":1}')
    answer = ChatAnswer("a1", "up", 1, (Choice(0, (call,), "tool_calls"),), Usage(input=10, output=5))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        asker = SPOKEN[client_name]
        body = asker.write_request(asked, Voice(model="fast")).body.decode()
        client.says(ask(body, PATHS[client_name]))
        await settle()
        heard = asked_of(house.upstreams[0])[2]
        read = spoken.read_request(json.dumps(heard).encode(), Hints("up-model", stream))
        assert [(tool.name, json.loads(tool.schema)) for tool in read.tools] == [
            ("structured_output", json.loads(SCHEMA))
        ]
        assert read.output is None or read.output.kind == "text"
        kind = MEDIA_TYPES[spoken.framing] if stream else "application/json"
        made = spoken.write_answer(answer, asked, 1).body
        if stream:
            writer = spoken.events_writer(asked, "a1", 1, spoken.framing)
            made = b"".join(writer.write(delta) for delta in deltas_of(answer))
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(made)}\r\n\r\n"
        house.upstreams[0].says(head.encode() + made)
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 "), got
        assert books.records[0].losses[0] == "output.emulated"
        if not stream:
            told = asker.read_answer(got.partition(b"\r\n\r\n")[2], Voice(), {})
            assert [part.text for part in told.choices[0].parts] == ['{"a":1}']
            assert told.choices[0].stop == "stop"
        else:
            assert b"structured_output" not in got and b"tool" not in got.partition(b"\r\n\r\n")[2], got

    scene(play, plan, emulate=True)


def test_a_target_without_structured_output_is_skipped_where_nothing_is_emulated() -> None:
    voice = Voice(vendor="x", model="up-model", lacks=frozenset({"output.schema"}))
    first = dataclasses.replace(target(provider(1)), voices={"openai_chat": voice})
    plan = models(model("fast", first, target(provider(2), "other", 1)))
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(response_format=form)))
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        assert asked_of(house.upstreams[0])[2]["model"] == "other"
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, plan)
