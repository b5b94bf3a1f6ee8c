"""Links of clients, fetched for targets that take bytes only (LLM 5.3, S16.8)."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import SPOKEN, MemoryBooks, ask, body_of, completion, model, models, provider, scene, target, whole

from tidegate.engine.upstream.fetching import Fetcher

PICTURE = "https://images.example.com/a.png?x=1"
PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 100
PUBLIC = "93.184.216.34"
NAMES = {"images.example.com": [PUBLIC], "inside.example.com": ["10.0.0.7"], "both.example.com": [PUBLIC, "127.0.0.1"]}
PLAN = models(model("fast", target(provider(1, SPOKEN["ollama_chat"]))), dialects=SPOKEN)
ANSWER = {"model": "m", "message": {"role": "assistant", "content": "a cat"}, "done": True, "done_reason": "stop",
          "prompt_eval_count": 3, "eval_count": 2}  # fmt: skip


def seen(*urls: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"model": "fast", "messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, *parts]}]}


def guarded(house: House) -> list[str]:
    """A fetcher whose names are ours; the names that were looked up."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(f"{host}:{port}")
        return NAMES[host]

    house.runtime.fetcher = Fetcher(house.runtime, resolve)
    return asked


async def turns() -> None:
    for _ in range(5):
        await settle()


def picture(data: bytes, *lines: str, status: int = 200) -> bytes:
    more = "".join(line + "\r\n" for line in lines)
    return f"HTTP/1.1 {status} X\r\n{more}content-length: {len(data)}\r\n\r\n".encode() + data


def test_a_picture_is_fetched_from_the_address_that_was_checked_and_sent_as_bytes() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        asked = guarded(house)
        client.says(ask(seen(PICTURE, PICTURE), authorization="Bearer mine"))
        await turns()
        assert asked == ["images.example.com:443"] and house.connected == [f"{PUBLIC}:443"]
        link = house.upstreams[0]
        assert link.hears() == (
            b"GET /a.png?x=1 HTTP/1.1\r\nhost: images.example.com\r\nuser-agent: tidegate\r\naccept: */*\r\n"
            b"accept-encoding: identity\r\nconnection: close\r\n\r\n"
        )
        link.says(picture(PNG, "content-type: text/html"))
        await turns()
        assert link.transport.closing
        heard = house.upstreams[1].hears()
        assert b'"images":["' + b64encode(PNG) + b'","' + b64encode(PNG) + b'"]' in heard
        house.upstreams[1].says(whole(200, ANSWER))
        await settle()
        got = client.hears()
        assert body_of(got)["choices"][0]["message"]["content"] == "a cat" and b"x-tidegate-loss" not in got
        assert house.runtime.fetcher.under_way == 0

    scene(play, PLAN, fetch_media=True)


def test_without_leave_nothing_is_fetched_and_the_picture_is_told_as_lost() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        asked = guarded(house)
        client.says(ask(seen(PICTURE)))
        await settle()
        house.upstreams[0].says(whole(200, ANSWER))
        await settle()
        got = client.hears()
        assert b'x-tidegate-loss: "messages[0].image_url"\r\n' in got, got
        assert asked == []

    scene(play, PLAN)


def test_a_target_that_follows_links_gets_the_link() -> None:
    plan = models(model("fast", target(provider(1))), dialects=SPOKEN)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        asked = guarded(house)
        body = {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "url", "url": PICTURE}}]}]}  # fmt: skip
        client.says(ask(body, "/v1/messages", anthropic_version="2023-06-01"))
        await settle()
        assert PICTURE.encode() in house.upstreams[0].hears() and asked == []
        house.upstreams[0].says(whole(200, completion()))

    scene(play, plan, fetch_media=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://169.254.169.254/latest",
        "https://inside.example.com/",
        "https://both.example.com/",
        "http://images.example.com:8080/",
        "https://images.example.com@127.0.0.1/",
    ],
)
def test_places_that_are_not_public_are_denied_before_anything_is_connected(url: str) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        guarded(house)
        client.says(ask(seen(url)))
        await turns()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 403 ") and b"x-should-retry: false" in got
        assert body_of(got)["error"]["code"] == "egress_denied" and b"10.0.0.7" not in got
        assert house.connected == []

    scene(play, PLAN, fetch_media=True)


def test_a_list_of_hosts_is_kept_to() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        asked = guarded(house)
        client.says(ask(seen(PICTURE)))
        await turns()
        assert client.hears().startswith(b"HTTP/1.1 403 ") and asked == []

    scene(play, PLAN, fetch_media=True, media_hosts=("*.cdn.test",))


@pytest.mark.parametrize(
    "answer",
    [
        picture(b"<html>"),
        picture(b"%PDF-1.7"),
        picture(PNG, status=404),
        picture(PNG, "location: http://127.0.0.1/", status=302),
        picture(PNG, "content-encoding: gzip"),
        b"HTTP/1.1 200 X\r\ncontent-length: 1073741824\r\n\r\n",
        b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"".join([b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"] * 11),
        b"nonsense\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_picture_or_too_large_or_elsewhere_is_refused_in_the_same_words(answer: bytes) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        guarded(house)
        client.says(ask(seen(PICTURE)))
        await turns()
        link = house.upstreams[0]
        if answer:
            link.says(answer)
        else:
            link.leaves(ConnectionResetError())
        await turns()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 422 ")
        assert body_of(got)["error"]["message"] == "What a link of the call leads to cannot be used."
        assert link.transport.closing and house.connected == [f"{PUBLIC}:443"]
        assert house.runtime.fetcher.under_way == 0

    scene(play, PLAN, fetch_media=True)


def test_a_server_that_trickles_is_given_ten_seconds() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        guarded(house)
        client.says(ask(seen(PICTURE)))
        await turns()
        link = house.upstreams[0]
        link.says(b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n")
        for _ in range(9):
            house.pass_time(1.0)
            link.says(b"x")
            await settle()
            assert client.hears() == b""
        house.pass_time(1.5)
        await turns()
        assert client.hears().startswith(b"HTTP/1.1 504 ") and link.transport.closing

    scene(play, PLAN, fetch_media=True)


def test_a_client_that_leaves_takes_its_fetch_along() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        guarded(house)
        client.says(ask(seen(PICTURE)))
        await turns()
        client.leaves()
        await turns()
        assert house.upstreams[0].transport.closing and house.runtime.fetcher.under_way == 0

    scene(play, PLAN, fetch_media=True)


def test_a_call_has_eight_links_at_most() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        asked = guarded(house)
        client.says(ask(seen(*[f"https://images.example.com/{n}.png" for n in range(9)])))
        await turns()
        assert client.hears().startswith(b"HTTP/1.1 400 ") and asked == []

    scene(play, PLAN, fetch_media=True)
