"""Conversations in PostgreSQL (CRP 11.7): the tables of SQLite, decided by ``rules/context_begin`` under a lock of the
context, seen by each tenant alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, Literal, TypeVar

import asyncpg
from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.context import Access
from tidegate.exchange.context_log import (
    Addition,
    Appended,
    Asker,
    Begin,
    Begun,
    Commit,
    Committed,
    Damage,
    Deletion,
    Draft,
    Found,
    Lease,
    Loaded,
    Meta,
    Payload,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.settings import Duration
from tidegate.ports.tools import Tools
from tidegate.repositories._postgres_tables import CLOCK, LAYOUT, Tables, schema
from tidegate.repositories._postgres_writing import Writing

T = TypeVar("T")

_PATIENCE: Final = 30.0
"""Seconds for what walks over everything."""
_TRIES: Final = 3
"""How often a transaction is made that the server calls off for another's sake."""


class Config(BaseModel):
    """Settings of ``postgres``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        pattern=r"^(postgres|postgresql)://|\$\{",
        description="`postgresql://user:password@host:5432/database`. Use a `${...}` reference for the password.",
    )
    tables: str = Field(
        "tidegate", pattern=r"^[a-z_][a-z0-9_]{0,62}$", description="The schema of the tables; made if it is missing."
    )
    durability: Literal["process", "full"] = Field(
        "process",
        description="`process`: what is acknowledged outlives the gateway; the last moments may be lost with the "
        "server (`synchronous_commit` off). `full`: synced before it is acknowledged.",
    )
    timeout: Duration = Field(2.0, gt=0, le=60, description="How long a call may take before the store counts as out.")
    connections: int = Field(8, ge=1, le=200, description="Connections of a worker, at most.")


class Postgres:
    """A pool, and a transaction for each call."""

    def __init__(self, config: Config, tools: Tools) -> None:
        self.name = "postgres"
        self.durable = True
        self.instant = False
        self.owner = ""
        self._config = config
        self._tools = tools
        self._timeout = config.timeout
        self._pool: asyncpg.Pool[Any] | None = None
        self._watchers: dict[tuple[str, str], set[asyncio.Future[None]]] = {}
        self._bytes = 0
        self._reads = 0

    async def open(self) -> None:
        if self._pool is None:
            self._pool = await self._within(self._connected())
        await self._within(self._prepare(), patience=_PATIENCE)

    async def _connected(self) -> asyncpg.Pool[Any]:
        config = self._config
        return await asyncpg.create_pool(
            self._tools.secret(config.url),
            min_size=1,
            max_size=config.connections,
            timeout=self._timeout,
            reset=_as_it_is,
            server_settings={
                # Who stands still in the middle of a transaction must not hold its locks for longer than a call takes.
                "idle_in_transaction_session_timeout": str(int(self._timeout * 1000)),
                "application_name": "tidegate",
                "search_path": config.tables,
                "synchronous_commit": "on" if config.durability == "full" else "off",
            },
        )

    async def _prepare(self) -> None:
        """Make the tables, once, whoever comes first."""
        assert self._pool is not None
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _lock("", self._config.tables))
            known = await connection.fetchval("SELECT to_regclass($1)::text", f"{self._config.tables}.layout")
            if known is None:
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._config.tables}")
                await connection.execute(schema())
                return
            layout = await connection.fetchval("SELECT version FROM layout")
            if layout > LAYOUT:
                raise Fault("store_unavailable", f"The tables are of a later layout, {layout}; this reads {LAYOUT}.")

    async def close(self) -> None:
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            await asyncio.wait_for(pool.close(), self._timeout)
        except TimeoutError:
            pool.terminate()

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def begin(self, asker: Asker, id: str, request: Begin) -> Begun:
        abroad = request.scope if request.scope != id else ""
        if abroad and (request.key or request.retry):
            await self._settle_twin(asker.tenant, request)
        begun = await self._write(asker.tenant, (abroad, id) if abroad else (id,), lambda tables: tables.begin(
            asker, id, request, self.owner, self._tools.token(16)
        ))  # fmt: skip
        if begun.outcome == "ok":
            self._wake(asker.tenant, id)
        return begun

    async def _settle_twin(self, tenant: str, request: Begin) -> None:
        """The turn that this one may repeat lies in another context: end it if its lease is over."""
        keys = ["k:" + request.key, "fp:" + request.fp.hex()]
        rows = await self._read(tenant, lambda tables: tables.rows(
            "SELECT node.id FROM idem JOIN node ON node.tenant = idem.tenant AND node.ver = idem.ver"
            " WHERE idem.tenant = $1 AND scope = $2 AND k = ANY($3) AND status = 0", tenant, request.scope, keys,
        ))  # fmt: skip
        for row in rows:
            context = row[0]
            await self._write(tenant, (context,), lambda tables, id=context: tables.settle_of(None, id))  # type: ignore[misc]

    async def renew(self, asker: Asker, id: str, lease: Lease, settled: Draft | None = None) -> Lease | None:
        return await self._write(asker.tenant, (id,), lambda tables: tables.renew(asker, id, lease, settled))

    async def commit(self, asker: Asker, id: str, lease: Lease, record: Commit) -> Committed:
        done = await self._write(asker.tenant, (id,), lambda tables: tables.commit(asker, id, lease, record))
        self._wake(asker.tenant, id)
        return done

    async def settle(self, owner: str, ids: Sequence[tuple[str, str]]) -> int:
        count = 0
        for tenant, context in ids:
            count += await self._write(tenant, (context,),
                                       lambda tables, id=context: tables.settle_of(owner, id))  # type: ignore[misc]  # fmt: skip
        return count

    async def in_flight(self) -> list[tuple[str, str, str]]:
        return []

    # -- entries without a call ----------------------------------------------------------------------------------------

    async def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        locks = (record.scope, id) if record.scope not in ("", id) else (id,)
        added = await self._write(asker.tenant, locks, lambda tables: tables.append(asker, id, record))
        if added.outcome == "ok":
            self._wake(asker.tenant, id)
        return added

    async def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        count = await self._write(asker.tenant, (id,), lambda tables: tables.redact(asker, id, items, entry))
        if count is not None:
            self._wake(asker.tenant, id)
            await self._wipe()
        return count

    # -- reading -------------------------------------------------------------------------------------------------------

    async def load(self, asker: Asker, id: str, known: int = -1, limit: int = 0, whole: bool = False) -> Loaded:
        return await self._read(asker.tenant, lambda tables: tables.load(asker, id, known, limit, whole))

    async def contents(self, asker: Asker, id: str, wanted: Sequence[tuple[str, int]]) -> tuple[Payload, ...]:
        return await self._read(asker.tenant, lambda tables: tables.contents(asker, id, wanted))

    async def resolve(self, asker: Asker, handle: str) -> Found | None:
        return await self._read(asker.tenant, lambda tables: tables.resolve(asker, handle))

    async def browse(self, asker: Asker, after: str, limit: int, name: str = "") -> list[Meta]:
        return await self._read(asker.tenant, lambda tables: tables.browse(asker, after, limit, name))

    async def changed(self, asker: Asker, id: str, seq: int, timeout: float) -> bool:
        key = (asker.tenant, id)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        delay = 0.005
        while True:
            watcher: asyncio.Future[None] = loop.create_future()
            watchers = self._watchers.setdefault(key, set())
            watchers.add(watcher)
            try:
                last = await self._read(asker.tenant, lambda tables: tables.seq(asker, id))
                left = end - loop.time()
                if last < 0 or last > seq or left <= 0:
                    return last > seq
                await asyncio.wait((watcher,), timeout=min(delay, left))
            finally:
                watchers.discard(watcher)
                if not watchers and self._watchers.get(key) is watchers:
                    del self._watchers[key]
            delay = min(delay * 2, 0.1)

    # -- names, templates, keys ----------------------------------------------------------------------------------------

    async def claim_name(self, tenant: str, subject: str, name: str, id: str) -> str:
        return await self._write(tenant, (f"{subject}\0{name}",), lambda tables: tables.claim_name(subject, name, id))

    async def template(self, tenant: str, name: str, n: int, put: bytes | None = None) -> bytes | None:
        return await self._write(tenant, ("tmpl\0" + name,), lambda tables: tables.numbered("tmpl", (tenant, name), n,
                                                                                            put))  # fmt: skip

    async def latest_template(self, tenant: str, name: str) -> int:
        return await self._read(tenant, lambda tables: tables.latest(name))

    async def tenant_key(self, tenant: str, v: int, put: bytes | None = None) -> bytes | None:
        return await self._write(tenant, ("tkey\0",), lambda tables: tables.numbered("tkey", (tenant,), v, put))

    # -- upkeep --------------------------------------------------------------------------------------------------------

    async def snapshot(self, asker: Asker, id: str, upto: int, body: bytes) -> None:
        await self._write(asker.tenant, (id,), lambda tables: tables.snapshot(asker, id, upto, body))

    async def touch(self, asker: Asker, id: str, *, about: bytes | None = None, ttl: int | None = None,
                    access: Access | None = None) -> bool:  # fmt: skip
        return await self._write(asker.tenant, (id,), lambda tables: tables.touch(asker, id, about, ttl, access))

    async def delete(self, asker: Asker, id: str) -> Deletion | None:
        deletion = await self._write(asker.tenant, (id,), lambda tables: tables.delete(asker, id))
        if deletion is not None:
            self._wake(asker.tenant, id)
            await self._wipe()
        return deletion

    async def sweep(self, limit: int) -> int:
        rows = await self._read("*", lambda tables: tables.rows(
            f"SELECT tenant, id FROM ctx WHERE expires > 0 AND expires <= {CLOCK} ORDER BY expires LIMIT $1", limit
        ))  # fmt: skip
        count = 0
        for tenant, context in rows:
            count += await self._write(tenant, (context,), lambda tables, id=context: tables.expire(id))  # type: ignore[misc]
            self._wake(tenant, context)
        await self._write("*", (), lambda tables: tables.sql(f"DELETE FROM idem WHERE expires <= {CLOCK}"))
        sizes = await self._read("*", lambda tables: tables.rows(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
            " WHERE relnamespace = $1::regnamespace AND relkind = 'r'", self._config.tables,
        ))  # fmt: skip
        self._bytes = sizes[0][0]
        if count:
            await self._wipe()
        return count

    async def check(self, tenant: str = "", id: str = "") -> AsyncIterator[Damage]:
        found = await self._read("*", lambda tables: tables.contexts(tenant, id), patience=_PATIENCE)
        for owner, context in found:
            for damage in await self._read(owner, lambda tables, id=context: tables.damage(id), patience=_PATIENCE):  # type: ignore[misc]
                yield damage

    async def drop_snapshots(self) -> int:
        rows = await self._write("*", (), lambda tables: tables.rows("DELETE FROM snap RETURNING 1"))
        return len(rows)

    def figures(self) -> dict[str, int]:
        return {"store_bytes": self._bytes, "reads": self._reads}

    # -- the server ----------------------------------------------------------------------------------------------------

    async def _write(self, tenant: str, locks: Sequence[str], work: Callable[[Writing], Awaitable[T]]) -> T:
        """*work* in a transaction of *tenant* that holds *locks*, in this order."""
        begin = "BEGIN"
        for name in locks:
            begin += f";SELECT pg_advisory_xact_lock({_lock(tenant, name)})"
        return await self._within(self._transaction(tenant, begin, work))

    async def _read(self, tenant: str, work: Callable[[Tables], Awaitable[T]], patience: float = 0.0) -> T:
        """*work* on one moment of *tenant*."""
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        return await self._within(self._transaction(tenant, begin, work), patience)

    async def _transaction(self, tenant: str, begin: str, work: Callable[[Writing], Awaitable[T]]) -> T:
        assert self._pool is not None
        for tries in range(_TRIES):
            async with self._pool.acquire() as connection:
                tables = Writing(connection, tenant)
                try:
                    # One trip: statements without values may go together.
                    await connection.execute(f"{begin};SET LOCAL tidegate.tenant = {_quoted(tenant)}")
                    done = await work(tables)
                    await connection.execute("COMMIT")
                    return done
                except asyncpg.PostgresError as error:
                    # Called off for another's sake, or dead since it lay idle: once more, on another one if need be.
                    again = isinstance(error, (asyncpg.DeadlockDetectedError, asyncpg.SerializationError))
                    if connection.is_closed():
                        again = tries == 0
                    else:
                        await connection.execute("ROLLBACK")
                    if not again or tries + 1 == _TRIES:
                        raise
                except (OSError, asyncpg.InterfaceError):
                    if tries or not connection.is_closed():
                        raise
                except BaseException:
                    # Out of time or cancelled: the server undoes what is undone when it sees us gone, and need not
                    # answer before that.
                    connection.terminate()
                    raise
                finally:
                    self._reads += tables.reads
        raise AssertionError("unreachable")

    async def _wipe(self) -> None:
        """Have the server let go of the rows that were destroyed, as far as we may ask for it."""
        assert self._pool is not None
        with suppress(asyncpg.PostgresError):
            async with self._pool.acquire() as connection:
                for table in ("item", "blob", "snap", "ref"):
                    await connection.execute(f"VACUUM (SKIP_LOCKED) {table}")

    async def _within(self, work: Awaitable[T], patience: float = 0.0) -> T:
        """What *work* comes to, within the timeout."""
        try:
            async with asyncio.timeout(patience or self._timeout):
                return await work
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._tools.log("error", "contexts_unreachable", store=self.name, reason=type(error).__name__)
            raise Fault("store_unavailable", "The context store does not answer.", retry_after=1.0) from None

    def _wake(self, tenant: str, id: str) -> None:
        for watcher in self._watchers.pop((tenant, id), ()):
            if not watcher.done():
                watcher.set_result(None)


async def _as_it_is(connection: Any) -> None:
    """Nothing is done to a connection before somebody else has it: nothing lasts longer than a transaction."""


def _lock(tenant: str, name: str) -> int:
    """The number of a lock, of 64 bits."""
    return int.from_bytes(sha256(f"tidegate\0{tenant}\0{name}".encode()).digest()[:8], "big", signed=True)


def _quoted(text: str) -> str:
    """A literal; no text of PostgreSQL holds a NUL."""
    return "'" + text.replace("\0", "").replace("'", "''") + "'"
