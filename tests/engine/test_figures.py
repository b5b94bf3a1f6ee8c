"""What a worker shows of itself (S26.2-S26.4, S26.7)."""

from __future__ import annotations

import asyncio
from typing import Any

from conversation import House, route, settle, upstream


def series(snapshot: dict[str, dict[str, Any]], name: str) -> dict[tuple[str, ...], float]:
    return {tuple(labels): value for labels, value in snapshot[name]["series"]}


def test_attempts_pools_and_health_are_told_by_upstream() -> None:
    async def run() -> None:
        house = await House([route()], [upstream()]).open()
        client = house.client()
        for answer in ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"):
            client.says("GET / HTTP/1.1\r\nHost: gw\r\n\r\n")
            await settle()
            house.upstreams[0].says(answer)
        snapshot = house.engine.counters()
        assert series(snapshot, "upstream_attempts_total") == {("up", "ok"): 1, ("up", "5xx"): 1}
        assert snapshot["upstream_attempts_total"]["type"] == "counter"
        events = series(snapshot, "pool_events_total")
        assert (events[("up", "opened")], events[("up", "reused")]) == (1, 1)
        assert series(snapshot, "pool_connections") == {("up", "idle"): 1, ("up", "busy"): 0}
        assert series(snapshot, "endpoints") == {("up", "usable"): 1, ("up", "unusable"): 0}
        assert series(snapshot, "breaker_state") == {("up",): 0}
        assert series(snapshot, "breaker_calls_total")[("up", "failed")] == 1
        [(labels, value)] = snapshot["upstream_phase_seconds"]["series"]
        assert (labels, sum(value[:-1])) == (["up", "first_byte"], 2)

    asyncio.run(run())


def test_what_was_shed_is_told_by_level_and_reason() -> None:
    async def run() -> None:
        house = await House([route()], [upstream()]).open()
        house.runtime.upstreams["up"].admission.refused[(2, "queue_full")] = 3
        assert series(house.engine.counters(), "shed_total") == {("2", "queue_full"): 3}

    asyncio.run(run())
