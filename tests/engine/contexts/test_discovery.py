"""Twin of engine/contexts/discovery.py (CRP 2.5, #41)."""

from __future__ import annotations

import dataclasses
from typing import Any

from plane_house import PlaneHouse, play

from tidegate.engine.contexts.discovery import discovery, limits_object
from tidegate.exchange.context_policy import ContextLimits
from tidegate.ports.contexts import RouteContexts


def test_levels_are_those_that_some_route_serves_41() -> None:
    async def scene(house: PlaneHouse) -> None:
        plan = house.house.plan
        routes = tuple([dataclasses.replace(route, contexts=RouteContexts(levels=("id", "delta")))
                        for route in plan.routes])  # fmt: skip
        told = discovery(dataclasses.replace(plan, routes=routes), house.repository, [])
        assert told["levels"] == ["id", "delta"]
        none = tuple([dataclasses.replace(route, contexts=None) for route in plan.routes])
        assert discovery(dataclasses.replace(plan, routes=none), house.repository, [])["levels"] == []

    play(scene)


def test_a_dictionary_is_told_with_its_coding() -> None:
    async def scene(house: PlaneHouse) -> None:
        row: dict[str, Any] = {"name": "d", "sha256": "00" * 32, "bytes": 9, "encoding": "application/json"}
        told = discovery(house.house.plan, house.repository, [row])
        assert told["dictionaries"] == [row]
        assert told["content_encodings"] == ["zstd", "dcz", "gzip", "br"]

    play(scene)


def test_every_limit_in_force_is_shown() -> None:
    told = limits_object(ContextLimits(body=10, ops=3, ttl=60.0))
    assert (told["body_bytes"], told["ops"], told["ttl_seconds"]) == (10, 3, 60)
    assert len(told) == 22
    assert all(isinstance(value, (int, float)) for value in told.values())
