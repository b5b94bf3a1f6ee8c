"""What a client asks, read once (LLM 2, 9.1)."""

from __future__ import annotations

import gzip

import pytest
from conversation import House, Side, settle
from model_house import ONE, MemoryBooks, ask, body_of, chat, completion, scene, whole


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("", 400, "body"),
        ("[]", 400, "object"),
        ("{", 400, "JSON"),
        ('{"model":"a","model":"b"}', 400, ""),
        ("{}", 400, "model"),
        ('{"model":3}', 400, "model"),
        ('{"model":"' + "m" * 300 + '"}', 400, "model"),
        ('{"model":"fast","stream":"yes"}', 400, "stream"),
        ('{"model":"fast","context_id":"c"}', 400, "context"),
    ],
)
def test_what_is_no_call_is_refused_in_the_clients_words(body: str, status: int, said: str) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(body))
        await settle()
        got = client.hears()
        assert got.startswith(f"HTTP/1.1 {status} ".encode()), got
        error = body_of(got)["error"]
        assert error["type"] == "invalid_request_error" and said in error["message"]
        assert house.connected == []

    scene(play, ONE)


def test_a_body_that_comes_slowly_or_compressed_is_taken_whole() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        text = ask(chat())
        client.says(text[:-5])
        await settle()
        assert house.connected == []
        client.says(text[-5:])
        await settle()
        assert house.upstreams[0].hears().endswith(text[-5:].encode())
        house.upstreams[0].says(whole(200, completion()))
        client.hears()
        body = gzip.compress(b'{"model":"fast","messages":[]}')
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\ncontent-encoding: gzip\r\ncontent-length: {len(body)}"
        )
        client.says(head.encode() + b"\r\n\r\n" + body)
        await settle()
        assert house.upstreams[0].hears().endswith(b'{"model":"up-model","messages":[]}')
        house.upstreams[0].says(whole(200, completion()))

    scene(play, ONE)


def test_a_body_over_the_routes_bound_is_413() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(user="x" * 200)))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 413 ")

    scene(play, ONE, body=100)


def test_fields_of_the_clients_dialect_go_on_and_others_do_not() -> None:
    from model_house import ANTHROPIC, model, models, provider, target

    plan = models(model("fast", target(provider(1, ANTHROPIC), "claude")))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=3), "/v1/messages", anthropic_version="2023-06-01", anthropic_beta="b1",
                        openai_organization="o", x_other="1"))  # fmt: skip
        await settle()
        heard = house.upstreams[0].hears()
        assert b"\r\nanthropic-version: 2023-06-01\r\n" in heard and b"\r\nanthropic-beta: b1\r\n" in heard
        assert b"openai-organization" not in heard and b"x-other" not in heard
        client.leaves()

    scene(play, plan)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (chat(messages=[{"role": "user", "content": "hi"}] * 2049, max_tokens=1), "more than 2048 messages"),
        (chat(tools=[{"name": "f", "input_schema": {}}] * 1025, max_tokens=1), "more than 1024 tools"),
        (chat(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}] * 8193}]), "more than 8192 parts"),
    ],
)
def test_more_turns_tools_or_parts_than_anybody_needs_are_refused_before_they_are_read(
    body: dict[str, object], said: str
) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(body, "/v1/messages", anthropic_version="2023-06-01"))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 400 ")
        told = body_of(got)
        assert told["type"] == "error" and told["error"]["type"] == "invalid_request_error"
        assert said in told["error"]["message"]
        assert house.connected == []

    scene(play, ONE)
