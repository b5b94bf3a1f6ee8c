"""Every fault at every stage: one answer or one cut, one Record, and nothing left behind (S1 row 17, S6.5, S15.8)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from conversation import House, Side, route, settle, upstream

from tidegate.ports.plan import BatchPlan, BreakerPlan, BulkheadPlan, HedgePlan, HookPlan, RetryPlan, TimeoutsPlan
from tidegate.rules.circuit_window import CLOSED, HALF_OPEN

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
WEBSOCKET = (
    "GET /ws HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n"
)
TIMES = TimeoutsPlan(request=3.0, idle=3.0)
NO_RETRY = RetryPlan(attempts=0)

Stage = Callable[[], Awaitable[tuple[House, Side]]]


PERMITS = BreakerPlan(half_open_calls=1000, half_open_for=1e9)
ELSEWHERE = 10
"""Half-open permits that were out before: so one too many given back is seen as well as one too few."""


async def house_of(*, to: dict[str, Any] | None = None, targets: tuple[str, ...] = (), **of_route: Any) -> House:
    """A house whose breaker counts its permits (S13.5), because it is half-open and stays so."""
    settings: dict[str, Any] = {"timeouts": TIMES, "retry": NO_RETRY, "breaker": PERMITS, **(to or {})}
    house = await House([route(**of_route)], [upstream("up", *targets, **settings)]).open()
    half_open(house)
    return house


def half_open(house: House, out: int = 0) -> None:
    """Let the breaker count from now on; *out* permits are out already."""
    window = house.runtime.upstreams["up"].breaker.window
    window.state = HALF_OPEN
    window.granted = ELSEWHERE + out


def permits_out(house: House) -> int:
    window = house.runtime.upstreams["up"].breaker.window
    assert window.state == HALF_OPEN
    return window.granted - window.returned - ELSEWHERE


async def asked(house: House, words: str = GET) -> tuple[House, Side]:
    client = house.client()
    client.says(words)
    await settle()
    return house, client


async def in_a_filter() -> tuple[House, Side]:
    house: House

    async def slow(x: Any) -> None:
        await house.tools.for_part("test").sleep(60.0)

    house = await house_of(on_request_head=(HookPlan(slow, "slow"),))
    return await asked(house)


async def while_the_body_is_gathered() -> tuple[House, Side]:
    house = await house_of(on_request_body=(HookPlan(lambda x, body: None, "reads"),), wants_request_body=(None,))
    return await asked(house, "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 6\r\n\r\nabc")


async def in_the_queue() -> tuple[House, Side]:
    house = await house_of(to={"bulkhead": BulkheadPlan(max_in_flight=1, max_wait=60.0, adaptive=False)})
    _, first = await asked(house)
    house.sink.records.clear()
    house, client = await asked(house)
    assert house.runtime.upstreams["up"].admission.waiting == 1
    first.leaves()
    house.sink.records.clear()
    house.upstreams.clear()  # the first one's was aborted with it
    return house, client


async def while_connecting() -> tuple[House, Side]:
    house = await house_of()
    house.holding.add("10.0.0.1:80")
    return await asked(house)


async def before_the_head() -> tuple[House, Side]:
    return await asked(await house_of())


async def inside_the_head() -> tuple[House, Side]:
    house, client = await asked(await house_of())
    house.upstreams[-1].says("HTTP/1.1 200 OK\r\ncontent-le")
    return house, client


async def after_an_interim_head() -> tuple[House, Side]:
    house, client = await asked(await house_of())
    house.upstreams[-1].says("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    return house, client


async def while_the_body_goes_up() -> tuple[House, Side]:
    return await asked(await house_of(), "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 9\r\n\r\nabc")


async def while_chunks_go_up() -> tuple[House, Side]:
    words = "POST /a HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    return await asked(await house_of(), words)


async def inside_the_answer() -> tuple[House, Side]:
    house, client = await asked(await house_of())
    house.upstreams[-1].says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    return house, client


async def inside_a_chunked_answer() -> tuple[House, Side]:
    house, client = await asked(await house_of())
    house.upstreams[-1].says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nha")
    return house, client


async def while_the_answer_is_gathered() -> tuple[House, Side]:
    house = await house_of(on_response_body=((HookPlan(lambda x, head, body: None, "reads"), None),))
    house, client = await asked(house)
    house.upstreams[-1].says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    return house, client


async def between_two_attempts() -> tuple[House, Side]:
    house = await house_of(to={"retry": RetryPlan(base=60.0, cap=60.0)})
    house.runtime.random.random = lambda: 0.02  # type: ignore[method-assign]
    house, client = await asked(house)
    house.upstreams[-1].says("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad")
    return house, client


async def in_the_second_attempt() -> tuple[House, Side]:
    house = await house_of(to={"retry": RetryPlan(base=0.0)}, targets=("10.0.0.1:80", "10.0.0.2:80"))
    house, client = await asked(house)
    house.upstreams[0].says("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nbad")
    await settle()
    assert house.connected == ["10.0.0.1:80", "10.0.0.2:80"]
    return house, client


async def in_a_hedged_race() -> tuple[House, Side]:
    house = await house_of(to={"hedge": HedgePlan(after=0.05, share=100.0)}, targets=("10.0.0.1:80", "10.0.0.2:80"))
    house.runtime.upstreams["up"].breaker.window.state = CLOSED  # only then is anything hedged
    house, client = await asked(house)
    house.pass_time(0.1)
    await settle()
    assert house.connected == ["10.0.0.1:80", "10.0.0.2:80"]
    half_open(house, out=2)
    return house, client


async def in_a_tunnel() -> tuple[House, Side]:
    house, client = await asked(await house_of(), WEBSOCKET)
    house.upstreams[-1].says(SWITCHED)
    assert client.hears().startswith(b"HTTP/1.1 101 ")
    return house, client


async def before_the_101() -> tuple[House, Side]:
    return await asked(await house_of(), WEBSOCKET)


async def waiting_for_a_batch() -> tuple[House, Side]:
    house = await house_of(to={"batch": BatchPlan("/a", 4, 60.0)})
    return await asked(house, "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\n\r\n1")


async def travelling_in_a_batch() -> tuple[House, Side]:
    house = await house_of(to={"batch": BatchPlan("/a", 1, 60.0)})
    return await asked(house, "POST /a HTTP/1.1\r\nHost: gw\r\nContent-Length: 1\r\n\r\n1")


STAGES: list[Stage] = [
    in_a_filter, while_the_body_is_gathered, in_the_queue, while_connecting, before_the_head, inside_the_head,
    after_an_interim_head, while_the_body_goes_up, while_chunks_go_up, inside_the_answer, inside_a_chunked_answer,
    while_the_answer_is_gathered, between_two_attempts, in_the_second_attempt, in_a_hedged_race, in_a_tunnel,
    before_the_101, waiting_for_a_batch, travelling_in_a_batch,
]  # fmt: skip
REACHED = [stage for stage in STAGES if stage not in (
    in_a_filter, while_the_body_is_gathered, while_connecting, between_two_attempts, waiting_for_a_batch)]  # fmt: skip
OUT = {inside_the_answer, inside_a_chunked_answer, in_a_tunnel}
"""Stages in which our head is out already."""


def finals(heard: bytes) -> list[int]:
    return [int(s) for s in re.findall(rb"HTTP/1\.1 ([2-5]\d\d)", heard)]


def name(stage: Any) -> str:
    return str(stage.__name__)


async def over(house: House) -> None:
    """Let everything that is still due be done, then nothing may be left."""
    house.holding.clear()
    await settle()
    house.pass_time(70.0)
    await settle()
    house.at_rest()
    assert permits_out(house) == 0
    assert len(house.sink.records) == 1, [r.code for r in house.sink.records]


@pytest.mark.parametrize("stage", STAGES, ids=name)
@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_client_that_goes_frees_everything_at_once_s15_8(stage: Stage, how: str) -> None:
    async def conversation() -> None:
        house, client = await stage()
        client.hears()
        client.leaves(None if how == "FIN" else ConnectionResetError())
        assert house.runtime.in_flight == 0
        [record] = house.sink.records
        if stage is in_a_tunnel:
            assert (record.status, record.end) == (101, "complete")
        elif stage in OUT:
            assert (record.status, record.code, record.end) == (200, "client_closed", "cancelled")
        else:
            assert (record.status, record.code, record.end) == (499, "client_closed", "cancelled")
        assert client.hears() == b""
        await over(house)

    asyncio.run(conversation())


@pytest.mark.parametrize("stage", REACHED, ids=name)
@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_an_upstream_that_breaks_off_gives_one_502_or_one_cut(stage: Stage, how: str) -> None:
    async def conversation() -> None:
        house, client = await stage()
        heard = client.hears()
        await settle()
        for up in house.upstreams:
            if not up.transport.closing:
                up.leaves(None if how == "FIN" else ConnectionResetError())
        await settle()
        heard += client.hears()
        [record] = house.sink.records
        if stage is in_a_tunnel:
            assert client.closed and record.status == 101
        elif stage in OUT:
            assert client.transport.aborted
            assert (finals(heard), record.status, record.end) == ([200], 200, "cut")
        else:
            assert finals(heard) == [502]
            assert (record.status, record.code, record.reason) == (502, "bad_upstream", "reset")
            client.leaves()
        await over(house)

    asyncio.run(conversation())


@pytest.mark.parametrize("stage", STAGES, ids=name)
def test_an_upstream_or_stage_that_hangs_ends_at_its_time(stage: Stage) -> None:
    async def conversation() -> None:
        house, client = await stage()
        heard = client.hears()
        house.pass_time(3.2)
        await settle()
        heard += client.hears()
        if stage is in_a_tunnel:
            assert house.sink.records == []
            house.pass_time(300.0)
            assert client.closed
        elif stage in OUT:
            assert client.transport.aborted
            assert (finals(heard), house.record.end, house.record.code) == ([200], "cut", "upstream_timeout")
        else:
            assert finals(heard) == [504]
            assert house.record.code == "upstream_timeout"
        await over(house)

    asyncio.run(conversation())


@pytest.mark.parametrize("stage", STAGES, ids=name)
def test_the_end_of_the_drain_cuts_or_answers_draining_s23_5(stage: Stage) -> None:
    async def conversation() -> None:
        house, client = await stage()
        heard = client.hears()
        house.engine.abort_all()
        await settle()
        heard += client.hears()
        if stage in OUT:
            assert client.closed
            assert house.record.end == "cut"
        else:
            assert finals(heard) == [503]
            assert house.record.code == "draining"
        await over(house)

    asyncio.run(conversation())


# Inside a tunnel bytes are the peers' own.
@pytest.mark.parametrize("stage", [stage for stage in REACHED if stage is not in_a_tunnel], ids=name)
def test_an_upstream_that_talks_nonsense_gives_one_502_or_one_cut_s2_15(stage: Stage) -> None:
    async def conversation() -> None:
        house, client = await stage()
        heard = client.hears()
        await settle()
        for up in house.upstreams:
            if not up.transport.closing:
                up.says(b"\0\r\n\r\nnot HTTP at all" * 3)
        await settle()
        heard += client.hears()
        if stage is inside_the_answer or stage is while_the_answer_is_gathered:
            assert finals(heard) == [200]  # its length was announced: any bytes will do, the rest is not pooled
            assert house.upstreams[0].transport.aborted
        elif stage is inside_a_chunked_answer:
            assert client.transport.aborted
            assert house.record.end == "cut"
        else:
            assert finals(heard) == [502]
            assert house.record.reason == "protocol"
        await over(house)

    asyncio.run(conversation())
