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
