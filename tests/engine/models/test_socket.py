"""Responses over WebSocket (LLM 2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    DONE,
    END,
    SPOKEN,
    STREAM_HEAD,
    USAGE,
    MemoryBooks,
    chunk,
    model,
    models,
    piece,
    provider,
    scene,
    target,
    whole,
)

from tidegate.engine.models.socket import body_of
from tidegate.exchange.fault import Fault

PLAN = models(model("fast", target(provider(1)), retry=0), dialects=SPOKEN)
UPGRADE = (
    "GET /v1/responses HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CREATE = {"type": "response.create", "model": "fast", "input": "hi"}


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A masked frame of a client."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + size.to_bytes(2, "big")
    key = b"\1\2\3\4"
    return bytes([0x80 | opcode]) + length + key + bytes([b ^ key[i % 4] for i, b in enumerate(payload)])


def events(data: bytes) -> list[Any]:
    """The messages of the gateway; a close frame as its code, a pong as its bytes."""
    found: list[Any] = []
    while data:
        opcode, size, at = data[0] & 15, data[1], 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        payload, data = data[at : at + size], data[at + size :]
        found.append(json.loads(payload) if opcode == 1 else int.from_bytes(payload, "big") if opcode == 8 else payload)
    return found


async def opened(client: Side) -> None:
    client.says(UPGRADE)
    await settle()
    heard = client.hears()
    assert heard.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in heard


async def answered(house: House) -> None:
    await settle()
    said = chunk({"role": "assistant", "content": "hello"}) + chunk({}, "stop") + USAGE + DONE
    house.upstreams[-1].says(STREAM_HEAD + piece(said) + END)
    await settle()


def test_each_message_is_a_call_with_a_record_of_its_own() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await opened(client)
        client.says(frame(json.dumps(CREATE).encode()))
        client.says(frame(json.dumps({**CREATE, "input": "again"}).encode()))
        await answered(house)
        heard = events(client.hears())
        assert heard[0]["type"] == "response.created" and heard[-1]["type"] == "response.completed"
        assert heard[-1]["response"]["usage"]["input_tokens"] == 10
        assert len(books.records) == 1  # the second one waits for the first
        heads = house.upstreams[0].hears()
        assert heads.count(b"POST /v1/chat/completions HTTP/1.1\r\n") == 2 and b"sec-websocket" not in heads
        await answered(house)
        assert events(client.hears())[-1]["type"] == "response.completed"
        assert [record.cost for record in books.records] == [20_000, 20_000]
        client.says(frame(b"\x03\xe8", 8))
        await settle()
        assert events(client.hears()) == [1000]

    scene(play, PLAN)


def test_what_goes_wrong_is_an_event_and_the_socket_stays() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await opened(client)
        client.says(frame(b"[]") + frame(b'{"type":"other"}') + frame(b"", 9))
        client.says(frame(json.dumps({**CREATE, "model": "nobody"}).encode()))
        await settle()
        heard = events(client.hears())
        assert [e["status"] for e in heard if isinstance(e, dict)] == [400, 400, 404] and b"" in heard
        client.says(frame(json.dumps(CREATE).encode()))
        await settle()
        house.upstreams[0].says(whole(500, {"error": {"message": "no"}}))
        await settle()
        (event,) = events(client.hears())
        assert event["type"] == "error" and event["status"] == 502
        client.leaves()

    scene(play, PLAN)


def test_a_client_that_leaves_ends_its_call() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await opened(client)
        client.says(frame(json.dumps(CREATE).encode()))
        await settle()
        house.upstreams[0].says(STREAM_HEAD + piece(chunk({"content": "a"})))
        await settle()
        client.leaves()
        await settle()
        assert house.upstreams[0].closed and books.records[0].end == "cancelled"

    scene(play, PLAN)


def test_a_client_that_does_not_wait_is_cut() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await opened(client)
        client.says(frame(json.dumps(CREATE).encode()) * 12)
        await settle()
        assert events(client.hears())[-1] == 1008

    scene(play, PLAN)


def test_a_message_becomes_the_body_of_a_stream() -> None:
    text = b'{"type":"response.create","model":"fast","x":1.50,"stream":false}'
    assert body_of(text) == b'{"model":"fast","x":1.50,"stream":true}'


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"type":"response.cancel"}', b'{"type":', b"\xff"])
def test_other_messages_are_refused(text: bytes) -> None:
    with pytest.raises(Fault) as caught:
        body_of(text)
    assert caught.value.code == "invalid_request"
