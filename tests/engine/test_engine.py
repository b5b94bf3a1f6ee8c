"""The engine: reloads that lose nothing, drains that end, figures (S23.1, S23.2, S23.5, S23.6, S26.10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from conversation import House, Side, route, settle, upstream

from tidegate.engine.engine import REMEMBER_REMOVED
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import Answer
from tidegate.exchange.identity import Identity
from tidegate.ports.plan import HookPlan, Plan, RoutePlan, UpstreamPlan
from tidegate.rules.match_route import RouteEntry, build

GET = "GET /a HTTP/1.1\r\nHost: gw\r\n\r\n"
OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
WEBSOCKET = (
    "GET /ws HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n"
)


def scene(play: Callable[[House, Side], Coroutine[Any, Any, None]], **of_route: Any) -> None:
    async def run() -> None:
        house = await House([route(**of_route)], [upstream()]).open()
        await play(house, house.client())
        assert house.defects == []

    asyncio.run(run())


def plan_with(house: House, one: RoutePlan, *upstreams: UpstreamPlan) -> Plan:
    entry = RouteEntry(one, one.name, one.prefix, "prefix", (), frozenset(), (), (), 0)
    return replace(
        house.plan, generation=2, router=build([entry]), routes=(one,), upstreams={u.name: u for u in upstreams}
    )


def test_an_exchange_ends_on_the_plan_it_began_with_s23_1() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.engine.apply(plan_with(house, route(to="new"), upstream("new", "10.0.0.9:80")), {})
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")
        client.says(GET)
        await settle()
        assert house.connected == ["10.0.0.1:80", "10.0.0.9:80"]
        house.upstreams[1].says(OK)
        assert [(r.generation, r.upstream) for r in house.sink.records] == [(1, "up"), (2, "new")]
        assert house.upstreams[0].transport.aborted

    scene(play)


def test_who_waits_in_a_filter_while_its_upstream_is_removed_is_still_served_s23_1() -> None:
    gates: list[Any] = []

    async def waits(x: Exchange) -> None:
        gate = house_of[0].engine.waiter()
        gates.append(gate)
        await gate

    house_of: list[House] = []

    async def play(house: House, client: Side) -> None:
        house_of.append(house)
        client.says(GET)
        house.engine.apply(plan_with(house, route(to="new"), upstream("new", "10.0.0.9:80")), {})
        gates[0].complete()
        await settle()
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")
        assert house.record.upstream == "up"
        house.now += REMEMBER_REMOVED + 1.0
        house.pass_time(1.1)
        assert house.runtime.removed == {}
        assert list(house.runtime.upstreams) == ["new"]

    scene(play, on_request_head=(HookPlan(waits, "waits"),))


def test_a_reload_keeps_connections_breakers_and_averages_s23_2() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        house.upstreams[0].says("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
        client.hears()
        one = house.runtime.upstreams["up"]
        for generation in range(2, 20):
            house.engine.apply(replace(house.plan, generation=generation), {})
        assert house.runtime.upstreams["up"] is one
        assert one.breaker.explain(house.now)["failed"] == 1
        client.says(GET)
        house.upstreams[0].says(OK)
        assert client.hears().endswith(b"ok")
        assert len(house.upstreams) == 1
        assert not client.closed

    scene(play)


def test_a_request_that_has_ended_two_workers_is_quarantined_s23_6() -> None:
    seen: list[str] = []

    async def play(house: House, client: Side) -> None:
        house.engine.refuse([hash(("GET", "/a")) & 0x7FFFFFFFFFFFFFFF])
        client.says(GET)
        heard = client.hears()
        assert heard.startswith(b"HTTP/1.1 503 ") and b'"code":"quarantined"' in heard and b"retry-after" in heard
        assert seen == []
        client.says(GET.replace("/a", "/b"))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    def see(x: Exchange) -> Answer:
        seen.append(x.path)
        return Answer(200)

    scene(play, on_request_head=(HookPlan(see, "see"),))


def test_the_debug_scope_and_the_wish_together_show_the_timing_s26_10() -> None:
    def who(x: Exchange) -> None:
        scopes = frozenset({"debug"}) if "x-may" in x.head.index else frozenset()
        x.identity = Identity("me", "api_key", scopes=scopes)

    async def play(house: House, client: Side) -> None:
        for fields, shown in (("x-may: 1\r\nx-tidegate-debug: 1\r\n", True), ("x-may: 1\r\n", False),
                              ("x-tidegate-debug: 1\r\n", False)):  # fmt: skip
            client.says(f"GET /a HTTP/1.1\r\nHost: gw\r\n{fields}\r\n")
            await settle()
            house.upstreams[0].says(OK)
            assert (b"\r\nserver-timing: upstream;dur=" in client.hears()) == shown

    scene(play, on_request_head=(HookPlan(who, "who"),))


def test_charges_are_undone_only_where_nobody_was_asked_s9_7() -> None:
    undone: list[str] = []

    def charge(x: Exchange) -> None:
        x.on_refusal(lambda: undone.append("first"))
        x.on_refusal(lambda: undone.append("second"))
        x.on_end(lambda: undone.append("end"))

    def refuse(x: Exchange) -> Answer | None:
        return Answer(403) if x.path == "/no" else None

    async def play(house: House, client: Side) -> None:
        client.says(GET.replace("/a", "/no"))
        assert undone == ["second", "first", "end"]
        undone.clear()
        client.hears()
        client.says("POST /a HTTP/1.1\r\nHost: gw\r\n\r\n")
        await settle()
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        client.hears()
        assert undone == ["end"]
        undone.clear()
        client.says(GET)
        await settle()
        client.leaves()
        assert undone == ["end"]

    scene(play, on_request_head=(HookPlan(charge, "charge"), HookPlan(refuse, "refuse")))


def test_a_drain_closes_the_idle_and_waits_for_the_busy_s23_5() -> None:
    async def play(house: House, client: Side) -> None:
        idle = house.client()
        client.says(GET)
        await settle()
        house.engine.begin_drain()
        house.engine.stop_accepting()
        house.pass_time(0.3)
        assert (idle.closed, client.closed) == (True, False)
        assert house.engine.in_flight() == 3
        idle.leaves()
        house.upstreams[0].says(OK)
        assert b"\r\nconnection: close\r\n" in client.hears()
        assert client.closed
        client.leaves()
        assert house.engine.in_flight() == 0
        house.engine.close()

    scene(play)


def test_tunnels_hear_it_between_two_frames_spread_over_half_the_drain_s23_5_s23_6() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(WEBSOCKET)
        await settle()
        up = house.upstreams[0]
        up.says(SWITCHED)
        client.hears()
        up.hears()
        up.says(b"\x81\x05hel")
        house.engine.begin_drain()
        house.engine.stop_accepting(1012)
        house.pass_time(10.1)
        assert client.hears() == b"\x81\x05hel"
        told = up.hears()
        assert (
            told[:2] == b"\x88\x82" and bytes(a ^ b for a, b in zip(told[2:4], told[6:8], strict=True)) == b"\x03\xf4"
        )
        client.says(b"\x81\x80abcd")
        assert up.hears() == b""
        up.says(b"lo")
        assert client.hears() == b"lo\x88\x02\x03\xf4"
        assert client.closed and up.closed
        assert house.record.status == 101
        assert house.runtime.tunnels == set()

    scene(play)


def test_figures_for_the_scrape_and_the_status_page() -> None:
    async def play(house: House, client: Side) -> None:
        client.says(GET)
        await settle()
        told = house.engine.counters()
        assert told["pool_connections"]["series"] == [[["up", "idle"], 0], [["up", "busy"], 1]]
        assert told["requests_in_flight"]["series"][-1][1] == 1
        assert told["endpoints"]["series"] == [[["up", "usable"], 1], [["up", "unusable"], 0]]
        assert house.engine.explain()["up"]["breaker"]["state"] == "closed"
        house.upstreams[0].says(OK)

    scene(play)
