"""WebSocket tunnels: the way to the 101, the bytes after it, how it ends (S2.14, S18.15, S18.16)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, Side, route, settle, upstream

from tidegate.exchange.head import Answer
from tidegate.ports.plan import HookPlan, RetryPlan

WEBSOCKET = (
    "GET /ws HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = "HTTP/1.1 101 Switching\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n"
HELLO = b"\x81\x05hello"
MASKED = b"\x81\x81abcdX"


def scene(play: Callable[[House, Side], Coroutine[Any, Any, None]], **of_route: Any) -> None:
    async def run() -> None:
        house = await House([route(**of_route)], [upstream(retry=RetryPlan(attempts=0))]).open()
        await play(house, house.client())
        house.at_rest()

    asyncio.run(run())


async def opened(house: House, client: Side) -> Side:
    client.says(WEBSOCKET)
    await settle()
    up = house.upstreams[0]
    asked = up.hears()
    assert b"\r\nconnection: Upgrade\r\nupgrade: websocket\r\n" in asked
    assert b"\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in asked
    up.says(SWITCHED)
    heard = client.hears()
    assert heard.startswith(b"HTTP/1.1 101 ") and b"\r\nsec-websocket-accept: x\r\n" in heard
    return up


def test_bytes_pass_both_ways_unchanged_and_are_counted_s18_15() -> None:
    async def play(house: House, client: Side) -> None:
        up = await opened(house, client)
        client.says(MASKED)
        assert up.hears() == MASKED
        up.says(HELLO)
        assert client.hears() == HELLO
        client.leaves()
        assert up.closed
        assert (house.record.status, house.record.bytes_in) == (101, len(MASKED))

    scene(play)


def test_what_is_behind_the_heads_waits_for_the_101_s2_14() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(WEBSOCKET.encode() + MASKED)
        await settle()
        up = house.upstreams[0]
        assert not up.hears().endswith(MASKED)
        up.says(SWITCHED.encode() + HELLO)
        assert client.hears().endswith(b"\r\n\r\n" + HELLO)
        assert up.hears() == MASKED
        up.leaves()
        assert client.closed

    scene(play)


def test_a_client_that_was_paused_before_the_101_is_read_again() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(WEBSOCKET)
        await settle()
        client.says(b"\x82\xff" + (70_000).to_bytes(8, "big") + b"abcd" + b"x" * 70_000)
        assert not client.transport.reading
        house.upstreams[0].says(SWITCHED)
        assert client.transport.reading
        assert house.runtime.deaf == set()
        client.leaves()

    scene(play)


def test_an_answer_that_is_no_101_is_passed_on_and_the_connection_closed_s2_14() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(WEBSOCKET.encode() + MASKED)
        await settle()
        house.upstreams[0].says("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno")
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 403 ") and b"\r\nconnection: close\r\n" in heard and heard.endswith(b"no")
        assert client.closed
        assert MASKED not in house.upstreams[0].hears()

    scene(play)


def test_a_101_that_is_none_is_502() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(WEBSOCKET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 101 Switching\r\nconnection: Upgrade\r\nupgrade: other\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 502 ")
        assert house.upstreams[0].transport.aborted

    scene(play)


def test_filters_answer_before_anything_is_tunnelled_s18_15() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(WEBSOCKET)
        assert client.hears().startswith(b"HTTP/1.1 401 ")
        assert house.connected == []

    scene(play, on_request_head=(HookPlan(lambda x: Answer(401), "no"),))


def test_another_version_is_426_and_a_post_is_a_plain_request_s18_15() -> None:
    async def play(house: House, client: Side) -> None:
        other = house.client()
        other.says(WEBSOCKET.replace("Version: 13", "Version: 8"))
        heard = other.hears()
        assert heard.startswith(b"HTTP/1.1 426 ") and b"\r\nsec-websocket-version: 13\r\n" in heard
        client.says(WEBSOCKET.replace("GET", "POST"))
        await settle()
        assert b"\r\nupgrade:" not in house.upstreams[0].hears()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play)


@pytest.mark.parametrize(("from_client", "code"), [(True, b"\x03\xf1"), (False, b"\x03\xf1")])
def test_a_message_over_16_mib_closes_both_with_1009_s18_16(from_client: bool, code: bytes) -> None:
    async def play(house: House, client: Side) -> None:
        up = await opened(house, client)
        if from_client:
            client.says(b"\x82\xff" + (1 << 30).to_bytes(8, "big") + b"abcd")
        else:
            up.says(b"\x82\x7f" + (1 << 30).to_bytes(8, "big"))
        assert client.hears() == b"\x88\x02" + code
        told = up.hears()
        assert (told[:2], bytes(a ^ b for a, b in zip(told[2:4], told[6:8], strict=True))) == (b"\x88\x82", code)
        assert client.closed and up.closed

    scene(play)


def test_a_close_is_never_put_inside_a_frame_s23_5() -> None:
    async def play(house: House, client: Side) -> None:
        up = await opened(house, client)
        up.says(HELLO[:4])
        assert client.hears() == HELLO[:4]
        client.says(b"\x82\xff" + (1 << 30).to_bytes(8, "big") + b"abcd")
        assert client.hears() == b""
        assert up.hears()[:2] == b"\x88\x82"
        assert client.closed and up.closed

    scene(play)


def test_pressure_passes_through_s3_8() -> None:
    async def play(house: House, client: Side) -> None:
        up = await opened(house, client)
        client.is_stuck(70_000)
        assert not up.transport.reading
        client.reads_on()
        assert up.transport.reading
        up.is_stuck(70_000)
        assert not client.transport.reading
        up.reads_on()
        assert client.transport.reading
        client.leaves()

    scene(play)


def test_five_silent_minutes_end_it_and_a_frame_begins_them_anew_s18_15() -> None:
    async def play(house: House, client: Side) -> None:
        up = await opened(house, client)
        house.pass_time(200.0)
        up.says(HELLO)
        house.pass_time(200.0)
        assert not client.closed
        house.pass_time(102.0)
        assert client.closed and up.closed

    scene(play)
