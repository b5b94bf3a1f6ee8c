"""Memory keeps every promise of a context store, and forgets what was used longest ago."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeTools
from repositories.conformance import CHECKS, Check, Place, Talk, item, script
from tidegate.exchange.context_log import Draft
from tidegate.ports.context_store import ContextStore
from tidegate.repositories.memory import Config, Memory


def place_of(store: Memory, tools: FakeTools, tenant: str = "") -> Place:
    async def opened() -> ContextStore:
        await store.open()
        return store

    async def wait(seconds: float) -> None:
        tools.advance(seconds)

    return Place(opened, wait, leaps=True, shared=False, tenant=tenant)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_memory_keeps_the_promise(check: Check) -> None:
    tools = FakeTools()
    asyncio.run(check(place_of(Memory(Config(), tools), tools)))


def test_memory_says_what_it_is() -> None:
    store = Memory(Config(), FakeTools())
    assert (store.name, store.durable, store.instant, store.owner) == ("memory", False, True, "")
    assert store.figures() == {"store_bytes": 0, "contexts": 0, "forgotten": 0}


def test_what_was_used_longest_ago_is_forgotten_but_no_turn_in_flight() -> None:
    async def run() -> None:
        tools = FakeTools()
        store = Memory(Config(max_size=1024 * 1024), tools)
        place = place_of(store, tools)
        running, old, used = Talk(place, store), Talk(place, store), Talk(place, store)
        await running.begin(b"1")
        big = Draft(b"", (item("big", bytes(400_000)),))
        await old.add(create=old.create, entry=big)
        await used.add(create=used.create, entry=big)
        await store.load(old.asker, old.id)
        newest = Talk(place, store)
        await newest.add(create=newest.create, entry=big)
        assert (await store.load(used.asker, used.id)).outcome == "expired"
        for talk in (running, old, newest):
            assert (await store.load(talk.asker, talk.id)).outcome == "ok"
        assert store.figures()["forgotten"] == 1
        assert 800_000 < store.figures()["store_bytes"] <= 1024 * 1024
        for talk in (old, newest):
            await store.delete(talk.asker, talk.id)
        assert 0 < store.figures()["store_bytes"] < 4096

    asyncio.run(run())


def test_a_script_of_random_operations_ends_the_same_each_time() -> None:  # 59
    def run() -> list[object]:
        tools = FakeTools()
        return asyncio.run(script(place_of(Memory(Config(), tools), tools, "t"), 59, 1000))

    first = run()
    assert first == run()
    assert {told[1] for told in first if isinstance(told, tuple) and told[0] == "begin"} == {
        "ok", "busy", "conflict", "not_found", "attach", "replay", "mismatch",
    }  # fmt: skip
