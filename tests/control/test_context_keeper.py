"""A store is opened after the fork, sought while it is out, kept over reloads and closed at the end (I9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from tidegate.control import context_keeper
from tidegate.control.context_keeper import ContextKeeper
from tidegate.exchange.fault import Fault
from tidegate.ports.contexts import ContextsPlan


class Store:
    """Opens unless it is ``out``; knows what became of it."""

    name = "fake"

    def __init__(self, out: bool = False, expired: int = 0) -> None:
        self.out = out
        self.owner = ""
        self.expired = expired
        self.calls: list[str] = []
        self.flying: list[tuple[str, str, str]] = []
        self.settled: list[tuple[str, list[tuple[str, str]]]] = []

    async def open(self) -> None:
        self.calls.append("open")
        if self.out:
            raise Fault("store_unavailable", "nobody there")

    async def close(self) -> None:
        self.calls.append("close")

    async def in_flight(self) -> list[tuple[str, str, str]]:
        return self.flying

    async def settle(self, owner: str, ids: list[tuple[str, str]]) -> int:
        self.settled.append((owner, ids))
        return len(ids)

    async def sweep(self, limit: int) -> int:
        self.calls.append("sweep")
        struck = min(limit, self.expired)
        self.expired -= struck
        return struck


class Runtime:
    contexts: Any = None


def run(work: Callable[[ContextKeeper, Any, list[str]], Coroutine[Any, Any, None]]) -> None:
    async def inner() -> None:
        logged: list[str] = []
        keeper = ContextKeeper(asyncio.get_running_loop(), lambda level, event, **more: logged.append(event))
        await work(keeper, Runtime(), logged)
        await keeper.close()

    asyncio.run(inner())


def plan(store: Any, session: Any = None) -> ContextsPlan:
    return ContextsPlan(store, {}, session=session)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGAIN", "SWEEP_EACH", "RETIRED"):
        monkeypatch.setattr(context_keeper, name, 0.0)


async def until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


def test_a_store_is_opened_under_its_owner_before_it_serves() -> None:
    async def work(keeper: ContextKeeper, runtime: Any, logged: list[str]) -> None:
        store = Store()
        await keeper.prepare(plan(store))
        keeper.take(runtime, plan(store))
        assert (store.calls, logged) == (["open"], [])
        assert store.owner
        assert runtime.contexts.store is store
        assert [each["name"] for each in runtime.contexts.offered] == ["crp-delta-json-1"]
        await keeper.close()
        assert store.calls[-1] == "close"

    run(work)


def test_without_a_plan_nothing_is_opened() -> None:
    async def work(keeper: ContextKeeper, runtime: Any, logged: list[str]) -> None:
        await keeper.prepare(None)
        keeper.take(runtime, None)
        assert runtime.contexts is None

    run(work)


def test_a_store_that_is_out_is_sought_and_serves_once_it_is_there_I9() -> None:
    async def work(keeper: ContextKeeper, runtime: Any, logged: list[str]) -> None:
        store = Store(out=True)
        await keeper.prepare(plan(store))
        keeper.take(runtime, plan(store))
        assert runtime.contexts is None
        assert logged == ["the context store cannot be opened"]
        await until(lambda: store.calls.count("open") > 2)
        store.out = False
        await until(lambda: runtime.contexts is not None)
        assert runtime.contexts.store is store

    run(work)


def test_a_reload_with_the_same_store_keeps_what_is_at_hand() -> None:
    async def work(keeper: ContextKeeper, runtime: Any, logged: list[str]) -> None:
        store = Store()
        first = plan(store)
        await keeper.prepare(first)
        keeper.take(runtime, first)
        repository = runtime.contexts
        second = replace(first, ttl=5.0)
        await keeper.prepare(second)
        keeper.take(runtime, second)
        assert runtime.contexts is repository
        assert repository.plan is second
        assert store.calls.count("open") == 1

    run(work)


def test_a_reload_with_another_store_lets_the_first_one_go_later() -> None:
    async def work(keeper: ContextKeeper, runtime: Any, logged: list[str]) -> None:
        one, two = Store(), Store()
        await keeper.prepare(plan(one))
        keeper.take(runtime, plan(one))
        await keeper.prepare(plan(two))
        keeper.take(runtime, plan(two))
        assert runtime.contexts.store is two
        assert "close" not in one.calls
        await until(lambda: "close" in one.calls)
        assert "close" not in two.calls

    run(work)


def test_a_sweep_that_finds_as_many_as_it_may_is_followed_by_another() -> None:
    async def work(keeper: ContextKeeper, runtime: Any, logged: list[str]) -> None:
        store = Store(expired=250)
        await keeper.prepare(plan(store))
        keeper.take(runtime, plan(store))
        await until(lambda: store.expired == 0)
        assert store.calls[:4] == ["open", "sweep", "sweep", "sweep"]

    run(work)


def test_who_opens_a_store_ends_the_turns_of_the_dead_and_of_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_keeper, "has_died", lambda owner: owner == "dead")

    async def work(keeper: ContextKeeper, runtime: Any, logged: list[str]) -> None:
        store = Store()
        store.flying = [("dead", "t", "one"), ("alive", "t", "two"), ("", "t", "three"), ("dead", "u", "four")]
        await keeper.prepare(plan(store))
        await until(lambda: logged != [])
        assert store.settled == [("dead", [("t", "one"), ("u", "four")])]
        assert logged == ["turns of a worker that died were ended"]

    run(work)
