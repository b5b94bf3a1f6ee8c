"""PostgreSQL keeps every promise of a context store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import asyncpg
import pytest

from fakes import FakeTools
from repositories.conformance import CHECKS, Check, Place, Talk, script
from repositories.whole_turns import told
from servers.postgres import LEFT_OUT, WHY, PostgresServer
from tidegate.exchange.fault import Fault
from tidegate.ports.context_store import ContextStore
from tidegate.repositories.memory import Config as MemoryConfig
from tidegate.repositories.memory import Memory
from tidegate.repositories.postgres import Config, Postgres, _lock

pytestmark = pytest.mark.skipif(LEFT_OUT, reason=WHY)


class Tools(FakeTools):
    """With chance."""

    def token(self, size: int) -> bytes:
        return os.urandom(size)


class Stores:
    """Stores on one server, opened in a test and closed with it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.open: list[Postgres] = []

    async def opened(self) -> ContextStore:
        store = Postgres(self.config, Tools())
        await store.open()
        self.open.append(store)
        return store

    def reads(self) -> int:
        return sum(store.figures()["reads"] for store in self.open)

    async def run(self, check: Check) -> None:
        try:
            await check(Place(self.opened, reads=self.reads))
        finally:
            await self.close()

    async def close(self) -> None:
        for store in self.open:
            await store.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_promise(server: PostgresServer, check: Check) -> None:
    asyncio.run(Stores(Config(url=server.url, timeout=20)).run(check))


def test_a_script_of_random_operations_ends_as_in_memory(server: PostgresServer) -> None:  # 59
    async def run() -> list[object]:
        stores = Stores(Config(url=server.url, tables="script", timeout=20))
        try:
            return await script(Place(stores.opened, tenant="t"), 59, 1000)
        finally:
            await stores.close()

    async def in_memory() -> list[object]:
        memory = Memory(MemoryConfig(), FakeTools())

        async def opened() -> ContextStore:
            return memory

        return await script(Place(opened, tenant="t"), 59, 1000)

    assert asyncio.run(run()) == asyncio.run(in_memory())


def test_it_says_what_it_is() -> None:
    store = Postgres(Config(url="postgresql://host/db"), Tools())
    assert (store.name, store.durable, store.instant, store.owner) == ("postgres", True, False, "")


def test_whoever_stands_still_in_a_transaction_holds_nobody_up(server: PostgresServer) -> None:
    async def run() -> None:
        stores = Stores(Config(url=server.url, timeout=1.0))
        store = await stores.opened()
        talk = Talk(Place(stores.opened), store)
        await talk.say(b"1")
        frozen = await asyncpg.connect(server.url, server_settings={"idle_in_transaction_session_timeout": "300"})
        await frozen.execute(f"BEGIN;SELECT pg_advisory_xact_lock({_lock(talk.asker.tenant, talk.id)})")
        assert (await talk.begin(b"2")).outcome == "ok"
        await stores.close()

    asyncio.run(run())


def test_a_frozen_server_is_told_within_the_timeout_and_comes_back(server: PostgresServer) -> None:  # 58, K8, I9
    async def run() -> None:
        stores = Stores(Config(url=server.url, timeout=1.0))
        store = await stores.opened()
        talk = Talk(Place(stores.opened), store)
        await talk.say(b"1")
        children = server.freeze()
        try:
            loop = asyncio.get_running_loop()
            begin = loop.time()
            with pytest.raises(Fault) as told:
                await talk.begin(b"2")
            assert (told.value.code, told.value.retry_after) == ("store_unavailable", 1.0)
            assert loop.time() - begin < 3.0
        finally:
            server.thaw(children)
        stores_after = Stores(Config(url=server.url))
        talk.store = await stores_after.opened()
        assert (await talk.begin(b"2", supersede=True)).outcome == "ok"
        await stores.close()
        await stores_after.close()

    asyncio.run(run())


def test_what_was_acknowledged_outlives_a_server_that_is_killed() -> None:  # 57, K8, I1, I2
    async def run() -> None:
        with PostgresServer() as server:
            stores = Stores(Config(url=server.url, durability="full"))
            store = await stores.opened()
            talk = Talk(Place(stores.opened), store)
            first = await talk.say(b"1")
            running = await talk.begin(b"2")
            server.kill()
            with pytest.raises(Fault) as told:
                await talk.end(running)
            assert told.value.code == "store_unavailable"
            server.start()
            assert await talk.heads() == {"main": first}
            assert (await talk.end(running)).outcome == "ok"
            assert await talk.heads() == {"main": running.version}
            await stores.close()

    asyncio.run(run())


def test_damage_is_named_and_the_rest_stays_readable(server: PostgresServer) -> None:  # I8, CX-torn-tail
    async def run() -> None:
        stores = Stores(Config(url=server.url, tables="damaged", timeout=20))
        store = await stores.opened()
        place = Place(stores.opened)
        hurt, whole = Talk(place, store), Talk(place, store)
        for talk in (hurt, whole):
            await told(talk)
        assert [damage async for damage in store.check()] == []
        where = f"WHERE tenant = '{place.tenant}' AND id = '{hurt.id}' AND seq = 3"
        for change in ("set_byte(body, 2, get_byte(body, 2) # 1)", "substr(body, 1, length(body) - 1)", "''"):
            server.sql(f"CREATE TABLE damaged.spare AS SELECT body FROM damaged.entry {where};"
                       f"UPDATE damaged.entry SET body = {change} {where}")  # fmt: skip
            found = [damage async for damage in store.check(place.tenant)]
            assert (found[0].context, found[0].what, found[0].seq) == (hurt.id, "checksum", 3)
            assert [damage async for damage in store.check(place.tenant, whole.id)] == []
            assert len(await whole.log()) == 4
            server.sql(f"UPDATE damaged.entry SET body = (SELECT body FROM damaged.spare) {where};"
                       "DROP TABLE damaged.spare")  # fmt: skip
        server.sql(f"DELETE FROM damaged.entry {where}")
        assert "missing_entry" in {damage.what async for damage in store.check(place.tenant, hurt.id)}
        await stores.close()

    asyncio.run(run())
