"""Discoveries are run: one for all who ask the same, changes told together, trouble outlived (S16.7)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tidegate.assembly.parts import Shelf
from tidegate.control.resolver import AGAIN, Resolver, from_shelf
from tidegate.ports.discovery import Discovery, Found
from tidegate.ports.plan import DiscoveryPlan, TargetPlan, UpstreamPlan

NAME = ("api.example", 80)


class Answers:
    """A discovery that finds for each target what the test wrote."""

    def __init__(self, targets: Sequence[Found]) -> None:
        self.targets = targets
        self.answer: list[str] | Exception = []
        self.again = 5.0

    async def find(self) -> tuple[list[Found], float]:
        if isinstance(self.answer, Exception):
            raise self.answer
        found = [Found(t.host, address, t.port) for t in self.targets for address in self.answer]
        return found, self.again


class World:
    """A resolver whose parts are :class:`Answers`."""

    def __init__(self) -> None:
        self.made: list[Answers] = []
        self.told = 0
        self.resolver = Resolver(self._changed, self._make)

    def _changed(self) -> None:
        self.told += 1

    def _make(self, plan: DiscoveryPlan, targets: Sequence[Found]) -> Discovery:
        self.made.append(Answers(targets))
        return self.made[-1]

    async def ask(self, number: int = 0, answer: list[str] | Exception | None = None) -> float:
        if answer is not None:
            self.made[number].answer = answer
        return await self.resolver.ask(list(self.resolver.searches.values())[number])

    def tell(self) -> None:
        """What the loop does after :data:`MERGE`."""
        if self.resolver.telling is not None:
            self.resolver.telling.cancel()
            self.resolver._tell()


def upstream(name: str, host: str = "api.example", use: str = "dns", settings: bytes = b"{}") -> UpstreamPlan:
    balancer: Any = None
    return UpstreamPlan(
        name, (TargetPlan("http", host, 80),), balancer, discovery=DiscoveryPlan(use, settings)
    )  # fmt: skip


def test_upstreams_that_ask_the_same_share_one_discovery_and_hear_of_its_changes_together() -> None:
    async def scenario() -> None:
        world = World()
        world.resolver.follow({"a": upstream("a"), "b": upstream("b"), "c": upstream("c", "other.example")})
        assert [made.targets[0].host for made in world.made] == ["api.example", "other.example"]
        assert await world.ask(0, ["192.0.2.1", "192.0.2.2"]) == 5.0
        await world.ask(1, ["192.0.2.3"])
        assert world.told == 0
        world.tell()
        assert world.told == 1
        assert world.resolver.addresses("a") == world.resolver.addresses("b") == {NAME: ["192.0.2.1", "192.0.2.2"]}
        assert world.resolver.addresses("c") == {("other.example", 80): ["192.0.2.3"]}
        await world.ask(0)
        world.tell()
        assert world.told == 1
        await world.ask(0, [])
        world.tell()
        assert (world.told, world.resolver.addresses("a")) == (2, {})
        world.resolver.close()

    asyncio.run(scenario())


def test_a_discovery_that_fails_is_asked_again_and_what_it_found_serves_on(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        world = World()
        world.resolver.follow({"a": upstream("a")})
        await world.ask(0, ["192.0.2.1"])
        assert await world.ask(0, ValueError("no such service")) == AGAIN
        assert world.resolver.addresses("a") == {NAME: ["192.0.2.1"]}
        world.resolver.close()

    asyncio.run(scenario())
    assert capsys.readouterr().err == "tidegate: discovery of a: ValueError: no such service\n"


def test_a_discovery_is_asked_again_within_1_to_300_seconds_s16_7() -> None:
    async def scenario() -> None:
        world = World()
        world.resolver.follow({"a": upstream("a")})
        seconds = []
        for world.made[0].again in (0.0, 30.0, 1e9):
            seconds.append(await world.ask(0))
        assert seconds == [1.0, 30.0, 300.0]
        world.resolver.close()

    asyncio.run(scenario())


def test_a_reload_keeps_what_was_found_for_whoever_still_asks_the_same_and_ends_the_rest() -> None:
    async def scenario() -> None:
        world = World()
        world.resolver.follow({"a": upstream("a"), "b": upstream("b", "b.example")})
        await world.ask(0, ["192.0.2.1"])
        task = list(world.resolver.searches.values())[1].task
        assert task is not None
        world.resolver.follow({"renamed": upstream("renamed")})
        assert world.resolver.addresses("renamed") == {NAME: ["192.0.2.1"]}
        assert world.resolver.addresses("a") == {}
        await asyncio.sleep(0)
        assert task.cancelled() and len(world.made) == 2
        world.resolver.follow({"renamed": upstream("renamed", settings=b'{"ttl":"30s"}')})
        assert world.resolver.addresses("renamed") == {} and len(world.made) == 3
        world.resolver.close()

    asyncio.run(scenario())


def test_the_parts_come_through_the_door_of_all_parts() -> None:
    async def scenario() -> None:
        make = from_shelf(Shelf())
        targets = [Found("192.0.2.1", "192.0.2.1", 80)]
        assert type(make(DiscoveryPlan("static"), targets)).__name__ == "Static"
        dns = make(DiscoveryPlan("dns", b'{"ttl":"30s"}'), targets)
        assert type(dns).__name__ == "Dns"
        assert await dns.find() == (targets, 300.0)

    asyncio.run(scenario())


def test_the_loop_asks_by_itself_and_addresses_as_written_are_no_news() -> None:
    async def scenario() -> None:
        told = asyncio.Event()
        resolver = Resolver(told.set)
        resolver.follow({"a": upstream("a", "localhost"), "b": upstream("b", "192.0.2.1")})
        await asyncio.wait_for(told.wait(), 5.0)
        assert set(resolver.addresses("a")[("localhost", 80)]) <= {"127.0.0.1", "::1"}
        assert resolver.addresses("b") == {}
        resolver.close()

    asyncio.run(scenario())


def test_a_worker_that_cannot_connect_has_the_name_asked_again_s16_7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.control.resolver.SOONEST", 0.001)

    async def scenario() -> None:
        asked = asyncio.Queue[None]()

        class Slow(Answers):
            async def find(self) -> tuple[list[Found], float]:
                asked.put_nowait(None)
                return [], 300.0

        resolver = Resolver(lambda: None, lambda plan, targets: Slow(targets))
        resolver.follow({"a": upstream("a")})
        await asyncio.wait_for(asked.get(), 5.0)
        resolver.hurry("nobody")
        resolver.hurry("a")
        await asyncio.wait_for(asked.get(), 5.0)
        assert asked.empty()
        resolver.close()

    asyncio.run(scenario())
