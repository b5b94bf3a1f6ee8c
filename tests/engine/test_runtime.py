"""What a worker has at hand: the Plan's derivatives, its share of connections, the trace of its work (S23.6)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from conversation import House, route, upstream

from fakes import exchange
from tidegate.engine.runtime import Runtime, work_of
from tidegate.engine.segment import Segment
from tidegate.ports.plan import LimitsPlan


def test_a_new_plan_changes_everything_derived_from_it() -> None:
    async def run() -> None:
        house = await House([route()], [upstream()]).open()
        runtime = house.runtime
        runtime.take_plan(
            replace(
                house.plan, name="other", trusted_proxies=("10.0.0.0/8",), faults_allowed=True,
                limits=LimitsPlan(request_line=99),
            )
        )  # fmt: skip
        assert runtime.hop_rules.name == "other"
        assert runtime.head_limits.request_line == 99
        assert runtime.proxies.trusts("10.1.1.1")
        assert house.tools.faults_allowed

    asyncio.run(run())


def test_a_worker_over_nine_eighths_of_the_mean_leaves_new_connections_to_others() -> None:
    async def run() -> None:
        house = await House([route()], [upstream()]).open()
        segment = Segment.local(2)
        runtime = Runtime(house.tools, segment.row(0), 2, house.plan)
        other = segment.row(1)
        other.set_connections(8)
        runtime.connections = set(range(8))
        assert not runtime.has_more_than_its_share()
        runtime.connections = set(range(20))
        house.now += 1.0
        assert runtime.has_more_than_its_share()
        house.now += 1.0
        other.set_connections(20)
        assert not runtime.has_more_than_its_share()
        alone = Runtime(house.tools, segment.row(0), 1, house.plan)
        alone.connections = set(range(99))
        assert not alone.has_more_than_its_share()

    asyncio.run(run())


def test_the_supervisor_can_read_what_is_worked_on_s23_6() -> None:
    async def run() -> None:
        house = await House([route()], [upstream()]).open()
        segment = Segment.local(1)
        runtime = Runtime(house.tools, segment.row(0), 1, house.plan)
        x = exchange("GET", "/deadly")
        runtime.working(x)
        assert segment.working_on(0) == work_of(x) != 0
        runtime.rested()
        assert segment.working_on(0) == 0

    asyncio.run(run())


def test_refusals_are_given_out_a_hundred_at_a_time_s22_9() -> None:
    async def run() -> None:
        runtime = (await House([route()], [upstream()]).open()).runtime
        runtime.shed_left = 2
        assert [runtime.may_shed() for _ in range(3)] == [True, True, False]

    asyncio.run(run())
