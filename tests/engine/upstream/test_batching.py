"""Micro-batches: several POSTs travel as one array, each gets its own item back (S22.8)."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from typing import Any

from conversation import House, Side, route, settle, upstream

from tidegate.exchange.identity import Identity
from tidegate.ports.plan import BatchPlan, HookPlan, RetryPlan


def scene(play: Callable[[House], Coroutine[Any, Any, None]], *, of_route: Any = None, most: int = 2) -> None:
    async def run() -> None:
        plan = upstream(batch=BatchPlan("/embed", most, 0.05), retry=RetryPlan(attempts=0))
        house = await House([route(**(of_route or {}))], [plan]).open()
        await play(house)
        house.pass_time(0.2)
        house.at_rest()

    asyncio.run(run())


def posts(house: House, body: str | bytes, *fields: str) -> Side:
    client = house.client()
    data = body.encode() if isinstance(body, str) else body
    lines = "".join(f"{field}\r\n" for field in fields)
    client.says(f"POST /embed HTTP/1.1\r\nHost: gw\r\nContent-Length: {len(data)}\r\n{lines}\r\n".encode() + data)
    return client


def body_of(heard: bytes) -> bytes:
    return heard.partition(b"\r\n\r\n")[2]


def answers(house: House, body: str, status: int = 200) -> None:
    house.upstreams[-1].says(f"HTTP/1.1 {status} S\r\ncontent-length: {len(body)}\r\n\r\n{body}")


def test_a_full_batch_goes_at_once_and_its_answer_is_split_by_position() -> None:
    async def play(house: House) -> None:
        first, second = posts(house, '{"a":1}'), posts(house, "[2]")
        await settle()
        asked = house.upstreams[0].hears()
        assert body_of(asked) == b'[{"a":1},[2]]'
        assert b"\r\ncontent-length: 13\r\n" in asked
        assert asked.count(b"content-type: application/json\r\n") == 1
        answers(house, '["one", {"two": 2}]')
        assert body_of(first.hears()) == b'"one"'
        assert body_of(second.hears()) == b'{"two": 2}'
        for record in house.sink.records:
            assert (record.status, record.batched, record.attempts, record.endpoint) == (200, 2, 1, "10.0.0.1:80")

    scene(play)


def test_a_lone_request_waits_no_longer_than_the_plan_says() -> None:
    async def play(house: House) -> None:
        only = posts(house, "1")
        house.pass_time(0.04)
        await settle()
        assert house.upstreams == []
        house.pass_time(0.03)
        await settle()
        assert body_of(house.upstreams[0].hears()) == b"[1]"
        answers(house, "[10]")
        assert body_of(only.hears()) == b"10"

    scene(play)


def test_one_tenant_never_travels_with_another() -> None:
    async def play(house: House) -> None:
        first, second = posts(house, "1", "x-who: a"), posts(house, "2", "x-who: b")
        await settle()
        assert house.upstreams == []
        house.pass_time(0.07)
        await settle()
        assert [body_of(up.hears()) for up in house.upstreams] == [b"[1]", b"[2]"]
        for up, client in zip(house.upstreams, (first, second), strict=True):
            up.says("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[0]")
            assert body_of(client.hears()) == b"0"

    def who(x: Any) -> None:
        x.identity = Identity("same", "api_key", tenant=x.head.index["x-who"])

    scene(play, of_route={"on_request_head": (HookPlan(who, "who"),)})


def test_a_body_that_is_no_json_never_joins() -> None:
    async def play(house: House) -> None:
        bad, good = posts(house, "1],[2"), posts(house, "1")
        assert bad.hears().startswith(b"HTTP/1.1 400 ")
        house.pass_time(0.07)
        await settle()
        assert body_of(house.upstreams[0].hears()) == b"[1]"
        answers(house, "[1]")
        assert body_of(good.hears()) == b"1"

    scene(play)


def test_a_coded_body_is_decoded_before_it_joins() -> None:
    async def play(house: House) -> None:
        first, second = posts(house, gzip.compress(b"1"), "Content-Encoding: gzip"), posts(house, "2")
        await settle()
        asked = house.upstreams[0].hears()
        assert body_of(asked) == b"[1,2]"
        assert b"content-encoding" not in asked
        answers(house, "[3,4]")
        assert (body_of(first.hears()), body_of(second.hears())) == (b"3", b"4")

    scene(play)


def test_who_leaves_before_it_goes_does_not_travel() -> None:
    async def play(house: House) -> None:
        first = posts(house, "1")
        first.leaves()
        second, third = posts(house, "2"), posts(house, "3")
        await settle()
        assert body_of(house.upstreams[0].hears()) == b"[2,3]"
        answers(house, "[20,30]")
        assert (body_of(second.hears()), body_of(third.hears())) == (b"20", b"30")

    scene(play)


def test_one_who_leaves_under_way_takes_nothing_from_the_others_and_the_last_takes_it_all() -> None:
    async def play(house: House) -> None:
        first, second = posts(house, "1"), posts(house, "2")
        await settle()
        first.leaves()
        assert not house.upstreams[0].transport.aborted
        answers(house, "[10,20]")
        assert body_of(second.hears()) == b"20"
        third, fourth = posts(house, "3"), posts(house, "4")
        await settle()
        third.leaves()
        fourth.leaves()
        assert house.upstreams[0].transport.aborted

    scene(play)


def test_a_batch_that_fails_is_retried_one_by_one_only_where_that_is_safe() -> None:
    async def play(house: House) -> None:
        keyed, plain = posts(house, "1", "Idempotency-Key: k"), posts(house, "2")
        await settle()
        answers(house, "[1]")  # one item too few
        await settle()
        assert plain.hears().startswith(b"HTTP/1.1 502 ")
        assert house.upstreams[0].transport.aborted
        up = house.upstreams[1]
        assert body_of(up.hears()) == b"1"
        up.says("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7")
        assert body_of(keyed.hears()) == b"7"

    scene(play)


def test_when_nobody_was_reached_each_may_go_alone() -> None:
    async def play(house: House) -> None:
        house.refusing["10.0.0.1:80"] = ConnectionRefusedError()
        first, second = posts(house, "1"), posts(house, "2")
        await settle()
        await settle()
        pool = house.runtime.upstreams["up"].pools["10.0.0.1:80"]
        assert pool.events["failed"] == 3
        for client in (first, second):
            assert client.hears().startswith(b"HTTP/1.1 503 ")

    scene(play)


def test_an_answer_that_is_no_array_of_that_size_is_502() -> None:
    async def play(house: House) -> None:
        for body, status in (("{}", 200), ("[1,2,3]", 200), ("not json", 200), ("[1,2]", 500)):
            clients = [posts(house, "1"), posts(house, "2")]
            await settle()
            answers(house, body, status)
            assert [c.hears()[:13] for c in clients] == [b"HTTP/1.1 502 "] * 2

    scene(play)


def test_a_client_that_waits_for_a_100_gets_it_at_once_s2_13() -> None:
    async def play(house: House) -> None:
        client = house.client()
        client.says("POST /embed HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert client.hears() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.says("1")
        house.pass_time(0.07)
        await settle()
        assert b"expect" not in house.upstreams[0].hears()
        answers(house, "[5]")
        assert body_of(client.hears()) == b"5"

    scene(play)
