"""Answers slowed down or cut on purpose, as the engine sends them (S25.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, Side, route, settle, upstream

from tidegate.engine.lanes.shaped import HOLD
from tidegate.exchange.exchange import Exchange, Shape
from tidegate.exchange.head import Answer
from tidegate.ports.plan import HookPlan, RetryPlan

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"


def scene(shape: Shape, play: Callable[[House, Side, Side], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """A client has asked, the upstream has the request, and its answer will be *shape*d."""

    def spoil(x: Exchange) -> None:
        x.shape = shape

    async def run() -> None:
        plan = route(on_request_head=(HookPlan(spoil, "spoil"),), **settings)
        house = await House([plan], [upstream(retry=RetryPlan(attempts=0))]).open()
        client = house.client()
        client.says(GET)
        await settle()
        await play(house, client, house.upstreams[0])
        house.at_rest()

    asyncio.run(run())


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def heard_body(client: Side) -> bytes:
    return client.hears().partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("gathered", [False, True])
def test_a_body_comes_at_so_many_bytes_a_second_and_ends_well(gathered: bool) -> None:
    async def play(house: House, client: Side, up: Side) -> None:
        up.says(whole(b"0123456789abcdefghij"))
        assert heard_body(client) == b"0"
        house.pass_time(1.0)
        assert 8 <= len(client.hears()) <= 10
        house.pass_time(1.5)
        assert client.hears().endswith(b"ij")
        assert (house.record.status, house.record.end) == (200, "complete")
        client.says(GET)
        up.says(whole(b"x"))
        assert heard_body(client) == b"x"
        house.pass_time(0.2)

    hooks: dict[str, Any] = {"on_response_body": ((HookPlan(lambda x, h, body: None, "reads"), None),)}
    scene(Shape(10), play, **(hooks if gathered else {}))


def test_less_than_a_byte_each_time_still_comes() -> None:
    async def play(house: House, client: Side, up: Side) -> None:
        up.says(whole(b"ab"))
        assert heard_body(client) == b""
        house.pass_time(1.2)
        assert client.hears() == b"a"
        house.pass_time(1.2)
        assert client.hears() == b"b"

    scene(Shape(1), play)


def test_a_slow_upstream_keeps_its_chunks_and_trailers() -> None:
    async def play(house: House, client: Side, up: Side) -> None:
        up.says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        house.pass_time(1.0)
        assert heard_body(client) == b"3\r\nabc\r\n"
        up.says("2\r\nde\r\n0\r\n\r\n")
        house.pass_time(0.3)
        assert client.hears() == b"2\r\nde\r\n0\r\n\r\n"

    scene(Shape(1000), play)


def test_the_upstream_waits_while_much_is_held_and_while_the_client_takes_nothing() -> None:
    async def play(house: House, client: Side, up: Side) -> None:
        size = HOLD + 3000
        up.says(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (size + 1) + b"x" * size)
        assert not up.transport.reading
        client.is_stuck(70_000)
        taken = len(heard_body(client))
        house.pass_time(1.0)
        assert (client.hears(), taken) == (b"", 1000)
        client.reads_on()
        house.pass_time(1.0)
        assert up.transport.reading
        up.says("y")
        house.pass_time(8.0)
        assert client.hears().endswith(b"xy")

    scene(Shape(10_000), play)


@pytest.mark.parametrize("rate", [0, 1000])
@pytest.mark.parametrize(("after", "passed"), [(0, b""), (3, b"abc"), (5, b"abcde")])
def test_a_cut_lets_so_many_bytes_out_and_never_ends_clean_s6_5(rate: int, after: int, passed: bytes) -> None:
    async def play(house: House, client: Side, up: Side) -> None:
        up.says(whole(b"abcde"))
        assert (heard_body(client), client.transport.aborted) == (passed, False)
        house.pass_time(0.3)
        assert client.transport.aborted and client.hears() == b""
        assert (house.record.status, house.record.end, house.record.code) == (200, "cut", "bad_upstream")
        assert house.runtime.upstreams["up"].breaker.window.results.totals(house.now)[1] == 0

    scene(Shape(rate, after), play)


def test_a_body_shorter_than_the_cut_is_left_alone() -> None:
    async def play(house: House, client: Side, up: Side) -> None:
        up.says(whole(b"abcde"))
        assert heard_body(client) == b"abcde"
        assert house.record.end == "complete"

    scene(Shape(0, 6), play)


def test_a_client_that_leaves_and_a_hook_that_breaks_end_it() -> None:
    async def leaves(house: House, client: Side, up: Side) -> None:
        up.says(whole(b"abcde"))
        client.leaves(ConnectionResetError())
        assert house.record.end == "cancelled"
        house.pass_time(1.0)

    async def breaks(house: House, client: Side, up: Side) -> None:
        up.says(whole(b"abcde"))
        house.pass_time(1.0)
        assert client.transport.aborted and house.record.end == "cut"
        assert [type(defect) for defect in house.defects] == [ZeroDivisionError]
        house.defects.clear()

    def hook(x: Exchange, chunk: bytes, last: bool) -> bytes:
        return chunk if chunk == b"a" else b"%d" % (1 // 0)

    scene(Shape(10), leaves)
    scene(Shape(10), breaks, on_response_chunk=((hook, None),))


def test_a_reset_sends_nothing_at_all_s25_1() -> None:
    async def run() -> None:
        house = await House([route(on_request_head=(HookPlan(lambda x: Answer(0, reset=True), "reset"),))]).open()
        client = house.client()
        client.says(GET)
        assert (client.hears(), client.transport.aborted) == (b"", True)
        assert (house.record.status, house.record.end, house.record.attempts) == (0, "cut", 0)
        house.at_rest()

    asyncio.run(run())
