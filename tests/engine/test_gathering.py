"""Bodies that a stage reads whole: gathered, decoded, shown, rewritten (S3.3, S3.4, S2.13)."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, Side, route, settle, upstream

from tidegate.exchange.head import Answer
from tidegate.ports.plan import HookPlan

OK = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def scene(
    play: Callable[[House, Side], Coroutine[Any, Any, None]],
    *hooks: Any,
    wants: Any = None,
    task: bool = False,
    **more: Any,
) -> None:
    async def run() -> None:
        plans = tuple(HookPlan(hook, "reads", task) for hook in hooks)
        plan = route(on_request_body=plans, wants_request_body=(wants,) * len(plans), **more)
        house = await House([plan], [upstream()]).open()
        await play(house, house.client())
        house.at_rest()

    asyncio.run(run())


def post(body: bytes, *fields: str) -> bytes:
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def test_each_hook_sees_what_the_one_before_made_and_the_upstream_the_last() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(post(b"a"))
        await settle()
        asked = house.upstreams[0].hears()
        assert asked.endswith(b"\r\n\r\nabc") and b"\r\ncontent-length: 3\r\n" in asked
        house.upstreams[0].says(OK)
        assert house.record.bytes_in == 3

    scene(play, lambda x, body: body + b"b", lambda x, body: None, lambda x, body: body + b"c")


def test_a_coded_body_is_shown_decoded_and_sent_as_it_came_unless_rewritten_s3_4() -> None:
    coded = gzip.compress(b"plain")
    seen: list[bytes] = []

    async def untouched(house: House, client: Side) -> None:
        client.says(post(coded, "Content-Encoding: gzip"))
        await settle()
        asked = house.upstreams[0].hears()
        assert asked.endswith(b"\r\n\r\n" + coded) and b"\r\ncontent-encoding: gzip\r\n" in asked
        assert seen == [b"plain"]
        house.upstreams[0].says(OK)

    async def rewritten(house: House, client: Side) -> None:
        client.says(post(coded, "Content-Encoding: gzip"))
        await settle()
        asked = house.upstreams[0].hears()
        assert asked.endswith(b"\r\n\r\nPLAIN") and b"content-encoding" not in asked
        house.upstreams[0].says(OK)

    scene(untouched, lambda x, body: seen.append(body))
    scene(rewritten, lambda x, body: body.upper())


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (gzip.compress(b"x" * 100_000), "gzip", b"413"),
        (b"not gzip", "gzip", b"400"),
        (b"x", "rot13", b"415"),
        (b"x", "gzip, gzip", b"415"),
    ],
)
def test_bombs_lies_and_unknown_codings_end_here_s3_4(body: bytes, coding: str, status: bytes) -> None:
    async def play(house: House, client: Side) -> None:
        client.says(post(body, f"Content-Encoding: {coding}"))
        assert client.hears()[9:12] == status
        assert house.connected == []

    scene(play, lambda x, seen: None, body_limit=1000)


def test_a_hook_may_answer_and_may_wait() -> None:
    async def later(x: Any, body: bytes) -> Any:
        await asyncio.sleep(0)
        return Answer(422, [], body)

    async def at_once(house: House, client: Side) -> None:
        client.says(post(b"why"))
        assert client.hears().startswith(b"HTTP/1.1 422 ")

    async def waiting(house: House, client: Side) -> None:
        client.says(post(b"why"))
        await settle()
        assert client.hears().endswith(b"\r\n\r\nwhy")

    scene(at_once, lambda x, body: Answer(422, [], body))
    scene(waiting, later, task=True)


def test_a_hook_that_does_not_want_it_lets_the_body_stream() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(post(b"abcdef")[:-3])
        await settle()
        assert house.upstreams[0].hears().endswith(b"abc")
        client.says("def")
        house.upstreams[0].says(OK)

    scene(play, lambda x, body: None, wants=lambda x: False)


def test_who_expects_a_100_gets_it_because_the_body_is_needed_here_s2_13() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(post(b"abc", "Expect: 100-continue")[:-3])
        assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.says("abc")
        await settle()
        house.upstreams[0].says(OK)
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, lambda x, body: None)


def test_chunks_past_the_limit_are_413_at_the_byte_that_passes_s3_3() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
        assert client.hears() == b""
        client.says("1\r\ne")
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 413 ") and b"\r\nconnection: close\r\n" in heard

    scene(play, lambda x, body: None, body_limit=4)


def test_a_body_made_for_a_request_without_one_is_refused() -> None:
    async def play(house: House, client: Side) -> None:
        client.says("GET /a HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play, lambda x, body: b"made")
