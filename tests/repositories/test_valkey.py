"""A Redis or Valkey server keeps every promise of a context store, alone and as a cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from fakes import FakeTools
from repositories.conformance import CHECKS, Check, Place, Talk, script
from repositories.whole_turns import told
from servers.redis import PROGRAM, WHY, RedisCluster, RedisServer
from tidegate.ports.context_store import ContextStore
from tidegate.repositories.memory import Config as MemoryConfig
from tidegate.repositories.memory import Memory
from tidegate.repositories.valkey import Config, Valkey

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=WHY)


class Tools(FakeTools):
    """With chance, and the time of day."""

    def token(self, size: int) -> bytes:
        return os.urandom(size)


class Stores:
    """Stores on one server, opened in a test and closed with it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.open: list[Valkey] = []
        self.reads = 0

    async def opened(self) -> ContextStore:
        store = Valkey(self.config, Tools())
        await store.open()
        client = store._client
        plain = client.execute_command

        async def counted(*command: object, **options: object) -> object:
            self.reads += 1
            return await plain(*command, **options)

        client.execute_command = counted
        self.open.append(store)
        return store

    async def run(self, check: Check) -> None:
        try:
            await check(Place(self.opened, reads=lambda: self.reads))
        finally:
            await self.close()

    async def close(self) -> None:
        for store in self.open:
            with suppress(OSError):
                await store.close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_one_server_keeps_the_promise(server: RedisServer, check: Check) -> None:
    asyncio.run(Stores(Config(url=server.url)).run(check))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_cluster_keeps_the_promise(cluster: RedisCluster, check: Check) -> None:
    asyncio.run(Stores(Config(url=cluster.url, mode="cluster")).run(check))


def test_a_script_of_random_operations_ends_as_in_memory(server: RedisServer) -> None:  # 59
    async def run() -> list[object]:
        stores = Stores(Config(url=server.url, prefix="script"))
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


def test_damage_is_named_and_the_rest_stays_readable(server: RedisServer) -> None:  # I8, CX-torn-tail
    async def run() -> None:
        stores = Stores(Config(url=server.url, prefix="damaged"))
        store = await stores.opened()
        place = Place(stores.opened)
        hurt, whole = Talk(place, store), Talk(place, store)
        for talk in (hurt, whole):
            await told(talk)
        assert [damage async for damage in store.check()] == []
        log = f"damaged:{{{place.tenant}:{hurt.id}}}:l"
        client = Redis(host="127.0.0.1", port=server.port)
        record = await client.lindex(log, 2)
        for at in range(1, len(record)):
            flipped = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
            for changed in (record[:at], flipped):
                if changed.partition(b"\n")[2] == record.partition(b"\n")[2]:
                    continue  # what the store decided is covered by no digest
                await client.lset(log, 2, changed)
                found = [damage async for damage in store.check(place.tenant)]
                assert (found[0].context, found[0].what, found[0].seq) == (hurt.id, "checksum", 3)
        assert [damage async for damage in store.check(place.tenant, whole.id)] == []
        assert len(await whole.log()) == 4
        await client.aclose()
        await stores.close()

    asyncio.run(run())
