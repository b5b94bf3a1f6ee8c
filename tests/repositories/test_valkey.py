"""A Redis or Valkey server keeps every promise of a context store, alone and as a cluster."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from fakes import FakeTools
from repositories.conformance import CHECKS, Check, Place, Talk, item, script
from repositories.whole_turns import told
from servers.redis import LEFT_OUT, WHY, RedisCluster, RedisServer, Sentinel
from servers.redis import talk as talk_to
from tidegate.exchange.context_log import IDEMPOTENCY, Draft, Found
from tidegate.exchange.fault import Fault
from tidegate.ports.context_store import ContextStore
from tidegate.repositories.memory import Config as MemoryConfig
from tidegate.repositories.memory import Memory
from tidegate.repositories.valkey import Config, Valkey

pytestmark = pytest.mark.skipif(LEFT_OUT, reason=WHY)


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
    asyncio.run(Stores(Config(url=server.url, timeout=20)).run(check))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_cluster_keeps_the_promise(cluster: RedisCluster, check: Check) -> None:
    asyncio.run(Stores(Config(url=cluster.url, mode="cluster", timeout=20)).run(check))


def test_a_script_of_random_operations_ends_as_in_memory(server: RedisServer) -> None:  # 59
    async def run() -> list[object]:
        stores = Stores(Config(url=server.url, prefix="script", timeout=20))
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
        stores = Stores(Config(url=server.url, prefix="damaged", timeout=20))
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


def test_it_says_what_it_is() -> None:
    store = Valkey(Config(url="redis://host"), Tools())
    assert (store.name, store.durable, store.instant, store.owner) == ("valkey", True, False, "")


def test_no_two_names_share_a_key() -> None:  # CX-cross-tenant
    store = Valkey(Config(url="redis://host"), Tools())
    named = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("{a}", "b"), ("a", "")]
    assert len({store._key("a", tenant, subject, "n") for tenant, subject in named}) == len(named)
    slots = {key_slot(key.encode()) for key in store._keys("o}{dd:tenant", "ctx_1")}
    assert len(slots) == 1


async def refused(config: Config) -> str:
    store = Valkey(config, Tools())
    with pytest.raises(Fault) as told:
        await store.open()
    await store.close()
    assert told.value.code == "store_unavailable"
    return told.value.detail


def test_a_server_that_evicts_is_refused() -> None:  # CRP 11.6
    with RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        assert "noeviction" in asyncio.run(refused(Config(url=server.url)))


def test_full_durability_is_the_disks(server: RedisServer) -> None:  # CRP 11.3, 11.6
    """Without WAITAOF, which Redis has from 7.2 on, every write must be synced by the server itself."""
    if int(talk_to(server.port, "INFO", "server").split(b"redis_version:")[1].split(b".")[0]) >= 8:
        pytest.skip("this server has WAITAOF")
    assert "appendfsync" in asyncio.run(refused(Config(url=server.url, durability="full")))
    with RedisServer("--appendfsync", "always") as synced:

        async def run() -> None:
            stores = Stores(Config(url=synced.url, durability="full"))
            talk = Talk(Place(stores.opened), await stores.opened())
            await talk.say(b"1")
            await stores.close()

        asyncio.run(run())


def test_where_acknowledgements_wait_for_the_disk_each_write_asks_for_it() -> None:  # CRP 11.6
    class Pipe:
        synced = 1

        def __init__(self) -> None:
            self.asked: list[tuple[object, ...]] = []

        def execute_command(self, *command: object) -> None:
            self.asked.append(command)

        async def execute(self, raise_on_error: bool) -> list[object]:
            return [b"told"] * (len(self.asked) - 1) + [[self.synced, 0]]

    class Client:
        def __init__(self) -> None:
            self.pipes: list[Pipe] = []

        def pipeline(self, transaction: bool) -> Pipe:
            assert not transaction
            self.pipes.append(Pipe())
            return self.pipes[-1]

    async def run() -> None:
        store = Valkey(Config(url="redis://host", timeout=2.0), Tools())
        store._client, store._waits = Client(), True
        assert await store._piped([("SET", "k", "v"), ("EVALSHA", "x", 0)]) == b"told"
        assert store._client.pipes[0].asked == [("SET", "k", "v"), ("EVALSHA", "x", 0), ("WAITAOF", 1, 0, 2000)]
        Pipe.synced = 0
        with pytest.raises(Fault):
            await store._within(store._piped([("EVALSHA", "x", 0)]))

    asyncio.run(run())


def test_a_server_that_lost_its_scripts_is_told_them_again(server: RedisServer) -> None:
    async def run() -> None:
        stores = Stores(Config(url=server.url))
        talk = Talk(Place(stores.opened), await stores.opened())
        first = await talk.say(b"1")
        talk_to(server.port, "SCRIPT", "FLUSH")
        assert await talk.heads() == {"main": first}
        talk_to(server.port, "SCRIPT", "FLUSH")
        assert (await talk.begin(b"2")).base == first
        await stores.close()

    asyncio.run(run())


def test_a_frozen_server_is_told_within_the_timeout_and_comes_back() -> None:  # 58, K8, I9
    async def run() -> None:
        with RedisServer() as server:
            stores = Stores(Config(url=server.url, timeout=0.5))
            store = await stores.opened()
            talk = Talk(Place(stores.opened), store)
            first = await talk.say(b"1")
            assert server.process is not None
            os.kill(server.process.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            begin = loop.time()
            with pytest.raises(Fault) as told:
                await store.load(talk.asker, talk.id)
            assert (told.value.code, told.value.retry_after) == ("store_unavailable", 1.0)
            assert loop.time() - begin < 2.0
            os.kill(server.process.pid, signal.SIGCONT)
            assert (await talk.begin(b"2")).base == first
            await stores.close()

    asyncio.run(run())


def test_what_was_acknowledged_outlives_a_server_that_is_killed() -> None:  # 57, K8, I1, I2
    async def run() -> None:
        with RedisServer("--appendfsync", "always") as server:
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
            assert await store.resolve(talk.asker, running.version) == Found(talk.id, running.version, "main")
            await stores.close()

    asyncio.run(run())


def test_what_was_redacted_is_in_no_file_of_the_server() -> None:  # 53 (the store's part)
    async def run() -> None:
        with RedisServer() as server:
            stores = Stores(Config(url=server.url))
            store = await stores.opened()
            talk = Talk(Place(stores.opened), store)
            secret = b"zq-secret-words-zq"
            await talk.add(create=talk.create, entry=Draft(b"e", (item("doc", secret), item("stays", b"zq-stays"))))

            def files() -> bytes:
                return b"".join(file.read_bytes() for file in server.folder.rglob("*") if file.is_file())

            assert secret in files()
            assert await store.redact(talk.asker, talk.id, ["doc"], Draft(b"note")) == 1
            end = asyncio.get_running_loop().time() + 10
            while secret in files():
                assert asyncio.get_running_loop().time() < end
                await asyncio.sleep(0.05)
            assert b"zq-stays" in files()
            await stores.close()

    asyncio.run(run())


def test_a_claim_whose_caller_died_is_taken_over(server: RedisServer) -> None:  # 32, K4
    """A key that makes contexts lies in another slot than the turn: whoever dies between the two holds nobody up for
    longer than a call may take."""

    async def run() -> None:
        stores = Stores(Config(url=server.url, timeout=1.0))
        store = await stores.opened()
        place = Place(stores.opened)
        dead, heir = Talk(place, store), Talk(place, store)
        assert isinstance(store, Valkey)
        scope = "ep:/v1/responses:ann"
        key = store._key("i", place.tenant, scope, "k:k1")
        fp = sha256(b"1").hexdigest()
        await store._claim(key, f"{fp} cv_{place.ulid()} {dead.id}", life=IDEMPOTENCY)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        outcome = ""
        while outcome != "ok":
            with suppress(Fault):
                outcome = (await heir.begin(b"1", key="k1", scope=scope)).outcome
            assert loop.time() - begin < 5
        assert loop.time() - begin > 0.5
        assert (await Talk(place, store).begin(b"1", key="k1", scope=scope)).outcome == "attach"
        await stores.close()

    asyncio.run(run())


def test_sentinels_say_where_the_server_is(server: RedisServer) -> None:  # CRP 11.6
    async def run() -> None:
        with Sentinel(server) as sentinel:
            stores = Stores(Config(url=sentinel.url, mode="sentinel", service="kept", timeout=5))
            talk = Talk(Place(stores.opened), await stores.opened())
            first = await talk.say(b"1")
            assert await talk.heads() == {"main": first}
            await stores.close()

    asyncio.run(run())
