"""Mirrored requests: sent, bounded, never waited for (S23.9)."""

from __future__ import annotations

import asyncio

from conversation import House, route, settle, upstream

from tidegate.engine.lanes.copies import IN_FLIGHT
from tidegate.ports.plan import RetryPlan


async def house_of() -> House:
    return await House([route()], [upstream(), upstream("mirror", "10.0.0.9:80", retry=RetryPlan(base=0.0))]).open()


def test_a_copy_goes_out_and_its_answer_is_dropped() -> None:
    async def run() -> None:
        house = await house_of()
        part = house.tools.for_part("filters/mirror")
        assert part.send_copy("mirror", "POST", "/a?b=1", [("host", "m")], b"body", 1.0)
        await settle()
        asked = house.upstreams[0].hears()
        assert asked.startswith(b"POST /a?b=1 HTTP/1.1\r\nhost: m\r\n") and asked.endswith(b"\r\n\r\nbody")
        house.upstreams[0].says("HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nlot")
        house.at_rest()
        assert house.sink.records == []
        assert not part.send_copy("nobody", "GET", "/", [], b"", 1.0)

    asyncio.run(run())


def test_a_copy_has_its_time_and_is_never_repeated() -> None:
    async def run() -> None:
        house = await house_of()
        part = house.tools.for_part("filters/mirror")
        part.send_copy("mirror", "GET", "/", [("host", "m")], b"", 1.0)
        await settle()
        house.pass_time(1.1)
        assert house.upstreams[0].transport.aborted
        house.refusing["10.0.0.9:80"] = ConnectionRefusedError()
        part.send_copy("mirror", "GET", "/", [("host", "m")], b"", 1.0)
        await settle()
        assert house.runtime.upstreams["mirror"].pools["10.0.0.9:80"].events["failed"] == 1
        assert house.runtime.metrics.counters["mirror_failures_total"] == {("mirror",): 1}
        house.at_rest()

    asyncio.run(run())


def test_no_more_than_64_are_under_way() -> None:
    async def run() -> None:
        house = await house_of()
        part = house.tools.for_part("filters/mirror")
        sent = [part.send_copy("mirror", "GET", "/", [("host", "m")], b"", 1.0) for _ in range(IN_FLIGHT + 3)]
        assert sent.count(True) == IN_FLIGHT == 64
        await settle()
        house.pass_time(1.1)
        assert part.send_copy("mirror", "GET", "/", [("host", "m")], b"", 1.0)
        await settle()
        house.pass_time(1.1)
        house.at_rest()

    asyncio.run(run())


def test_what_a_copy_meets_is_not_counted_as_the_targets_own_s23_9() -> None:
    async def run() -> None:
        house = await house_of()
        target = house.runtime.upstreams["mirror"]
        part = house.tools.for_part("filters/mirror")
        for number in range(40):
            assert part.send_copy("mirror", "GET", "/", [("host", "m")], b"", 1.0)
            await settle()
            assert target.endpoints[0].own_active == 1
            house.upstreams[0].says("HTTP/1.1 503 No\r\ncontent-length: 3\r\n\r\nlot")
            assert house.upstreams[0].hears().count(b"GET / HTTP/1.1") == 1, number
        house.refusing["10.0.0.9:80"] = ConnectionRefusedError()
        house.upstreams[0].leaves()
        for _ in range(40):
            part.send_copy("mirror", "GET", "/", [("host", "m")], b"", 1.0)
            await settle()
        assert house.runtime.metrics.counters["mirror_failures_total"] == {("mirror",): 40}
        assert (target.breaker.state(house.now), target.breaker.window.results.totals(house.now)) == (
            "closed",
            (0, 0, 0),
        )
        assert (target.budget.first, target.outcomes, target.health.ejections) == (0, {}, {})
        assert target.health.candidates(house.now, 0.5) == tuple(target.endpoints)
        house.at_rest()

    asyncio.run(run())


def test_a_target_whose_breaker_is_open_gets_no_copies() -> None:
    async def run() -> None:
        house = await house_of()
        breaker = house.runtime.upstreams["mirror"].breaker
        for _ in range(20):
            breaker.record(breaker.permit(house.now, 0.5), house.now, 0.1, True)
        assert breaker.state(house.now) == "open"
        assert not house.tools.for_part("filters/mirror").send_copy("mirror", "GET", "/", [], b"", 1.0)
        house.at_rest()

    asyncio.run(run())
