"""Hedging: two race, one wins, the other leaves nothing behind (S14.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from conversation import House, Side, route, settle, upstream

from tidegate.ports.plan import BreakerPlan, HedgePlan, RetryPlan

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"
TWO = ("10.0.0.1:80", "10.0.0.2:80")


def scene(play: Callable[[House, Side], Coroutine[Any, Any, None]], *targets: str, **settings: Any) -> None:
    async def run() -> None:
        settings.setdefault("retry", RetryPlan(attempts=0))
        settings.setdefault("hedge", HedgePlan(after=0.1, share=100.0))
        house = await House([route()], [upstream("up", *(targets or TWO), **settings)]).open()
        await play(house, house.client())
        house.pass_time(1.0)
        house.at_rest()

    asyncio.run(run())


async def hedged(house: House, client: Side, words: str = GET) -> None:
    client.says(words)
    await settle()
    house.pass_time(0.15)
    await settle()


def counted(house: House, result: str) -> int:
    return house.runtime.metrics.counters.get("hedges_total", {}).get(("up", result), 0)


def test_a_quick_first_answer_needs_no_hedge() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.pass_time(0.05)
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")
        house.pass_time(0.5)
        assert (house.connected, house.record.hedged) == ([TWO[0]], False)

    scene(play)


def test_the_hedge_goes_to_another_endpoint_and_may_win() -> None:
    async def play(house: House, client: Side) -> None:
        await hedged(house, client)
        assert house.connected == list(TWO)
        house.upstreams[1].says(OK)
        assert client.hears().endswith(b"ok")
        assert house.upstreams[0].transport.aborted
        record = house.record
        assert (record.hedged, record.attempts, record.endpoint, record.upstream_status) == (True, 2, TWO[1], 200)
        assert (counted(house, "sent"), counted(house, "won")) == (1, 1)

    scene(play)


def test_the_first_may_win_after_all() -> None:
    async def play(house: House, client: Side) -> None:
        await hedged(house, client)
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")
        assert house.upstreams[1].transport.aborted
        assert (house.record.endpoint, counted(house, "lost")) == (TWO[0], 1)

    scene(play)


def test_a_failure_waits_for_the_other_runner() -> None:
    async def play(house: House, client: Side) -> None:
        await hedged(house, client)
        house.upstreams[0].says(BAD)
        assert client.hears() == b""
        house.upstreams[1].says(OK)
        assert client.hears().endswith(b"ok")

    scene(play)


def test_when_both_fail_the_last_failure_is_the_answer() -> None:
    async def play(house: House, client: Side) -> None:
        await hedged(house, client)
        house.upstreams[0].leaves(ConnectionResetError())
        assert client.hears() == b""
        house.upstreams[1].leaves(ConnectionResetError())
        assert client.hears().startswith(b"HTTP/1.1 502 ")

    scene(play)


def test_posts_and_single_endpoints_are_never_hedged() -> None:
    async def post(house: House, client: Side) -> None:
        await hedged(house, client, "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\n\r\n1")
        assert len(house.connected) == 1
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")

    async def alone(house: House, client: Side) -> None:
        await hedged(house, client)
        assert len(house.connected) == 1
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")

    scene(post)
    scene(alone, TWO[0])


def test_without_a_share_or_a_budget_there_is_none_s14_4() -> None:
    async def play(house: House, client: Side) -> None:
        await hedged(house, client)
        assert len(house.connected) == 1
        house.upstreams[0].says(OK)
        client.hears()

    scene(play, hedge=HedgePlan(after=0.1, share=5.0))
    scene(play, retry=RetryPlan(attempts=0, budget=0.0, budget_floor=0.0))


def test_none_is_sent_while_the_breaker_is_half_open() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says(BAD)
        client.hears()
        house.pass_time(5.0)
        before = len(house.connected)
        await hedged(house, client)
        assert len(house.connected) == before
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")

    scene(play, breaker=BreakerPlan(min_calls=1, window=1, half_open_calls=2))


def test_a_part_that_breaks_in_both_runners_is_one_defect_of_the_journey() -> None:
    async def run() -> None:
        def broken(x: Any, number: int) -> None:
            raise ZeroDivisionError

        plan = upstream("up", *TWO, hedge=HedgePlan(after=0.1, share=100.0))
        house = await House([route(on_attempt=(broken,))], [plan]).open()
        client = house.client()
        client.says(GET)
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 503 ")
        assert [type(error) for error in house.defects] == [ZeroDivisionError]
        house.defects.clear()
        house.at_rest()

    asyncio.run(run())
