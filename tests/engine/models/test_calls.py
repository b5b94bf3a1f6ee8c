"""One call of one target, as the provider hears it (LLM 7, 9.1)."""

from __future__ import annotations

import gzip

from conversation import House, Side, settle
from model_house import ONE, MemoryBooks, ask, chat, completion, model, models, provider, scene, target, whole

from tidegate.ports.models import CredentialPlan


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
