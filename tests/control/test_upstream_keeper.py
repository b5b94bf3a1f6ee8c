"""Addresses, places and checks of a node's upstreams, kept together and over restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tidegate.assembly.check import check
from tidegate.control.data_folder import DataFolder
from tidegate.control.upstream_keeper import UpstreamKeeper, kept_slots
from tidegate.engine.segment import Segment, endpoint_key
from tidegate.ports.discovery import Found
from tidegate.ports.plan import Plan

CONFIG = """
listeners: [{address: 127.0.0.1:8080}]
upstreams:
  - {name: a, targets: [{url: "http://api.example:80"}, {url: "http://192.0.2.1:81"}]}
  - {name: b, targets: [{url: "http://192.0.2.1:81"}]}
"""


def plan_of(tmp_path: Path, text: str = CONFIG) -> Plan:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return check(path, {}).built.plan


def keeper_in(tmp_path: Path, told: list[Any]) -> UpstreamKeeper:
    folder = DataFolder(tmp_path / "data")
    folder.make()
    return UpstreamKeeper(Segment.local(2), folder, lambda: told.append(None))


def test_every_endpoint_and_upstream_has_a_place_and_resolved_names_get_one_each(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: list[Any] = []
        keeper = keeper_in(tmp_path, told)
        keeper.follow(plan_of(tmp_path))
        assert keeper.slots() == {
            "a": 0, "b": 1, "a|api.example:80": 0, "a|192.0.2.1:81": 1, "b|192.0.2.1:81": 2,
        }  # fmt: skip
        assert keeper.addresses() == {"a": [], "b": []}

        class Answer:
            async def find(self) -> tuple[list[Found], float]:
                return [Found("api.example", a, 80) for a in ("198.51.100.1", "198.51.100.2")], 5.0

        search = keeper.resolver.by_upstream["a"]
        search.part = Answer()
        await keeper.resolver.ask(search)
        keeper.resolver._tell()
        assert len(told) == 1
        assert keeper.addresses() == {
            "a": [["api.example", 80, "198.51.100.1"], ["api.example", 80, "198.51.100.2"]], "b": [],
        }  # fmt: skip
        slots = keeper.slots()
        assert slots["a|198.51.100.1:80"] == 3 and slots["a|198.51.100.2:80"] == 4
        assert slots["a|192.0.2.1:81"] == 1
        keeper.close()

    asyncio.run(scenario())


def test_a_restarted_control_gives_the_same_places(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = keeper_in(tmp_path, [])
        first.follow(plan_of(tmp_path))
        fewer = CONFIG.replace('  - {name: b, targets: [{url: "http://192.0.2.1:81"}]}\n', "")
        first.follow(plan_of(tmp_path, fewer))
        second = keeper_in(tmp_path, [])
        second.follow(plan_of(tmp_path, fewer))
        assert second.slots() == first.slots() == {"a": 0, "a|api.example:80": 0, "a|192.0.2.1:81": 1}
        assert kept_slots(first.folder) == first.slots(), "what a worker reads that is born without control"
        for strange in ("[]", '{"endpoints": {"a b": "1"}, "upstreams": {}}'):
            (tmp_path / "data" / "authority" / "slots.json").write_text(strange)
            assert keeper_in(tmp_path, []).slots() == {} == kept_slots(first.folder)
        first.close()
        second.close()

    asyncio.run(scenario())


def test_a_place_that_goes_to_another_endpoint_is_cleared_of_its_check(tmp_path: Path) -> None:
    async def scenario() -> None:
        keeper = keeper_in(tmp_path, [])
        row = keeper.segment.row(keeper.segment.control)
        at = row.base + row.endpoint(5)
        row.words[at] = 77
        keeper._clear(5)
        assert row.words[at] == 0
        assert endpoint_key("a", "x:1") == "a x:1"

    asyncio.run(scenario())


def test_readiness_waits_for_the_first_round(tmp_path: Path) -> None:
    async def scenario() -> None:
        keeper = keeper_in(tmp_path, [])
        keeper.follow(plan_of(tmp_path, CONFIG.replace("name: b,", "name: b, health: {path: /h},")))
        assert keeper.missing() == "the first round of health checks is not done"
        keeper.follow(plan_of(tmp_path))
        assert keeper.missing() == ""
        keeper.close()

    asyncio.run(scenario())
