"""Conversations in one SQLite file: survives the gateway, is shared by all workers of a host (CRP 11.5).

One thread writes and commits in groups, others read, each on a connection of its own; several processes meet at
SQLite's lock. What is done in a transaction is in ``_sqlite_tables``. Time is the host's.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from random import Random
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, Final, Literal, TypeVar

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
from tidegate.exchange.fault import NOT_PROCESSED, Fault
from tidegate.ports.settings import Duration
from tidegate.ports.tools import Tools
from tidegate.repositories._sqlite_tables import LAYOUT, SCHEMA, Tables
from tidegate.repositories._sqlite_writing import Writing

T = TypeVar("T")

WINDOW: Final = 0.001
"""Seconds for which a group of writes takes in others that wait."""
_FIRST, _LONGEST = 0.0002, 0.02
"""Seconds between two tries for the lock, at first and at most, before jitter."""
_READERS: Final = 2
_CHECKPOINT: Final = 256
"""Groups of writes after which the write-ahead log is moved into the file."""
_PAGES: Final = 16_384
"""Pages of the log from which the writer does it itself: others did not keep up."""
_LOOKS: Final = (0.005, 0.1)
"""Seconds between two looks for what other processes wrote, the first and the longest."""


class Config(BaseModel):
    """Settings of ``sqlite``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field("", description="Path of the file. Empty: contexts.sqlite in the data folder.")
    durability: Literal["process", "full"] = Field(
        "process", description="process survives a killed gateway; full also a power loss, and syncs before it answers."
    )
    timeout: Duration = Field(5.0, gt=0, description="How long the file may be locked or slow before calls get 503.")


class _Job:
    """One call that waits for its thread. ``touches``: whose watchers wake after it; ``wipes``: the write-ahead log is
    emptied before it is answered."""

    __slots__ = ("arguments", "error", "future", "result", "touches", "wipes", "work")

    def __init__(self, future: asyncio.Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...],
                 touches: tuple[str, str] | None, wipes: bool) -> None:  # fmt: skip
        self.future = future
        self.work = work
        self.arguments = arguments
        self.touches = touches
        self.wipes = wipes
        self.result: Any = None
        self.error: BaseException | None = None


class _Keeper(Thread):
    """Moves what was written from the write-ahead log into the file: to sync takes long, and nobody waits for it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(name="contexts-keeper", daemon=True)
        self.connection = connection
        self.wake = Event()
        self.over = False

    def run(self) -> None:
        while True:
            self.wake.wait()
            self.wake.clear()
            if self.over:
                self.connection.close()
                return
            with suppress(sqlite3.Error):  # then the writer does it, at ``_PAGES``
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


class _Hand(Thread):
    """A thread with a connection of its own. ``writes``: jobs run in groups, each group one transaction."""

    def __init__(self, tables: Tables, writes: bool, timeout: float, answer: Callable[[list[_Job]], None],
                 keeper: _Keeper) -> None:  # fmt: skip
        super().__init__(name="contexts", daemon=True)
        self.tables = tables
        self.writes = writes
        self.timeout = timeout
        self.answer = answer
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.keeper = keeper
        self.dice = Random()
        self.groups = 0

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            group = [job]
            if not self._together(group):
                for one in group:
                    self._together([one], alone=True)
            if any(one.wipes for one in group):
                self._wipe()
            self.answer(group)
            self.groups += 1
            if self.writes and self.groups % _CHECKPOINT == 0:
                self.keeper.wake.set()
        self.tables.connection.close()

    def _together(self, group: list[_Job], alone: bool = False) -> bool:
        """Run the first of *group* and what else waits, in one transaction. False: none of it happened. *alone*: the
        failure of one is its own."""
        connection = self.tables.connection
        try:
            self._lock("BEGIN IMMEDIATE" if self.writes else "BEGIN")
            until = monotonic() + WINDOW
            for job in group:  # grows meanwhile
                job.result = job.work(*job.arguments)
                if self.writes and not alone and monotonic() < until:
                    try:
                        following = self.jobs.get_nowait()
                    except Empty:
                        continue
                    if following is None:
                        self.jobs.put(None)
                    else:
                        group.append(following)
            connection.execute("COMMIT")
        except Exception as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if alone:
                group[0].error = error
            return False
        return True

    def _lock(self, begin: str) -> None:
        """Begin, waiting for other processes with full jitter."""
        until = monotonic() + self.timeout
        longest = _FIRST
        while True:
            try:
                self.tables.connection.execute(begin)
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if monotonic() > until:
                    raise
            sleep(self.dice.random() * longest)
            longest = min(longest * 2, _LONGEST)

    def _wipe(self) -> None:
        """Empty the write-ahead log: what was struck is in it until then. Readers of other processes may hold it."""
        until = monotonic() + self.timeout
        while self.tables.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if monotonic() > until:
                return
            sleep(self.dice.random() * _LONGEST)


class Sqlite:
    """What the loop sees: each call is a job of a thread, and a caller that goes away leaves it to be done."""

    def __init__(self, config: Config, tools: Tools) -> None:
        self.name = "sqlite"
        self.durable = True
        self.instant = False
        self.owner = ""
        self.path = tools.config_folder / config.file if config.file else tools.data_folder / "contexts.sqlite"
        self._config = config
        self._tools = tools
        self._writer: _Hand | None = None
        self._readers: list[_Hand] = []
        self._next = 0
        self._size = 0
        """Bytes of the file when it was last swept."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchers: dict[tuple[str, str], set[asyncio.Future[None]]] = {}

    async def open(self) -> None:
        if self._writer is not None:
            return
        self._loop = asyncio.get_running_loop()
        try:
            hands = await self._loop.run_in_executor(None, self._open)
        except (sqlite3.Error, OSError) as error:
            raise self._unavailable(error) from error
        self._writer, *self._readers = hands
        self._writer.keeper.start()
        for hand in hands:
            hand.start()

    def _open(self) -> list[_Hand]:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        first = self._connect()
        self._prepare(first)
        keeper = _Keeper(self._connect())
        hands = []
        for connection in (first, *[self._connect() for _ in range(_READERS)]):
            writes = connection is first
            connection.execute("PRAGMA busy_timeout = 0" if writes else "PRAGMA query_only = ON")
            tables = (Writing if writes else Tables)(connection, self._now, self._tools.token)
            hands.append(_Hand(tables, writes, self._config.timeout, self._post, keeper))
        return hands

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, self._config.timeout, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._config.durability == 'full' else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES}")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        layout = connection.execute("PRAGMA user_version").fetchone()[0]
        if layout > LAYOUT:
            raise sqlite3.NotSupportedError(f"the file has layout {layout}, this version writes {LAYOUT}")
        connection.execute("PRAGMA journal_mode = WAL")
        if layout < LAYOUT:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {LAYOUT}; COMMIT")

    async def close(self) -> None:
        hands = [hand for hand in (self._writer, *self._readers) if hand is not None]
        self._writer, self._readers = None, []
        for hand in hands:
            hand.jobs.put(None)
            await asyncio.get_running_loop().run_in_executor(None, hand.join)
        for hand in hands[:1]:
            hand.keeper.over = True
            hand.keeper.wake.set()
            await asyncio.get_running_loop().run_in_executor(None, hand.keeper.join)

    # -- jobs ----------------------------------------------------------------------------------------------------------

    async def _write(self, touches: tuple[str, str] | None, work: Callable[..., T],
                     *arguments: Any, wipes: bool = False) -> T:  # fmt: skip
        return await self._ask(self._writer, work, arguments, touches, wipes)

    async def _read(self, work: Callable[..., T], *arguments: Any) -> T:
        self._next = (self._next + 1) % _READERS
        return await self._ask(self._readers[self._next] if self._readers else None, work, arguments, None, False)

    async def _ask(self, hand: _Hand | None, work: Callable[..., T], arguments: tuple[Any, ...],
                   touches: tuple[str, str] | None, wipes: bool) -> T:  # fmt: skip
        if hand is None:
            raise self._unavailable("it is not open")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        late = loop.call_later(self._config.timeout * 3, self._late, future)
        hand.jobs.put(_Job(future, work, (hand.tables, *arguments), touches, wipes))
        try:
            return await future
        finally:
            late.cancel()

    def _late(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(self._unavailable("it did not answer in time"))

    def _post(self, group: list[_Job]) -> None:
        """From a thread: the group is done."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._answer, group)

    def _answer(self, group: list[_Job]) -> None:
        for job in group:
            if not job.future.done():
                if job.error is None:
                    job.future.set_result(job.result)
                elif isinstance(job.error, sqlite3.Error):
                    job.future.set_exception(self._unavailable(job.error))
                else:
                    job.future.set_exception(job.error)
            for watcher in self._watchers.pop(job.touches, ()) if job.touches is not None else ():
                if not watcher.done():
                    watcher.set_result(None)

    def _unavailable(self, why: object) -> Fault:
        self._tools.log("error", "contexts.store_unavailable", store=self.name, error=str(why))
        return Fault("store_unavailable", "The file of conversations cannot be used now.", retry=NOT_PROCESSED,
                     retry_after=1.0)  # fmt: skip

    def _now(self) -> int:
        return int(self._tools.wall() * 1000)

    # -- the promise ---------------------------------------------------------------------------------------------------

    async def begin(self, asker: Asker, id: str, request: Begin) -> Begun:
        return await self._write((asker.tenant, id), Writing.begin, asker, id, request, self.owner)

    async def renew(self, asker: Asker, id: str, lease: Lease, settled: Draft | None = None) -> Lease | None:
        return await self._write(None, Writing.renew, asker, id, lease, settled)

    async def commit(self, asker: Asker, id: str, lease: Lease, record: Commit) -> Committed:
        return await self._write((asker.tenant, id), Writing.commit, asker, id, lease, record)

    async def settle(self, owner: str, ids: Sequence[tuple[str, str]]) -> int:
        return await self._write(None, Writing.settle_of, owner, ids)

    async def in_flight(self) -> list[tuple[str, str, str]]:
        return await self._read(Tables.in_flight)

    async def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        return await self._write((asker.tenant, id), Writing.append, asker, id, record)

    async def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        return await self._write((asker.tenant, id), Writing.redact, asker, id, items, entry, wipes=True)

    async def load(self, asker: Asker, id: str, known: int = -1, limit: int = 0, whole: bool = False) -> Loaded:
        return await self._read(Tables.load, asker, id, known, limit, whole)

    async def contents(self, asker: Asker, id: str, wanted: Sequence[tuple[str, int]]) -> tuple[Payload, ...]:
        return await self._read(Tables.contents, asker, id, wanted)

    async def resolve(self, asker: Asker, handle: str) -> Found | None:
        return await self._read(Tables.resolve, asker, handle)

    async def browse(self, asker: Asker, after: str, limit: int, name: str = "") -> list[Meta]:
        return await self._read(Tables.browse, asker, after, limit, name)

    async def changed(self, asker: Asker, id: str, seq: int, timeout: float) -> bool:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        pause, longest = _LOOKS
        key = (asker.tenant, id)
        while True:
            watcher: asyncio.Future[None] = loop.create_future()
            watchers = self._watchers.setdefault(key, set())
            watchers.add(watcher)
            try:
                found = await self._read(Tables.seq, asker, id)
                left = until - loop.time()
                if found < 0 or found > seq or left <= 0:
                    return found > seq
                await asyncio.wait((watcher,), timeout=min(pause, left))
            finally:
                watchers.discard(watcher)
                if not watchers and self._watchers.get(key) is watchers:
                    del self._watchers[key]
            pause = min(pause * 2, longest)

    async def claim_name(self, tenant: str, subject: str, name: str, id: str) -> str:
        return await self._write(None, Writing.claim_name, tenant, subject, name, id)

    async def template(self, tenant: str, name: str, n: int, put: bytes | None = None) -> bytes | None:
        if put is None:
            return await self._read(Tables.numbered, "tmpl", (tenant, name), n)
        return await self._write(None, Writing.put_numbered, "tmpl", (tenant, name), n, put, False)

    async def latest_template(self, tenant: str, name: str) -> int:
        return await self._read(Tables.latest, tenant, name)

    async def tenant_key(self, tenant: str, v: int, put: bytes | None = None) -> bytes | None:
        if put is None:
            return await self._read(Tables.numbered, "tkey", (tenant,), v)
        return await self._write(None, Writing.put_numbered, "tkey", (tenant,), v, put, True)

    async def snapshot(self, asker: Asker, id: str, upto: int, body: bytes) -> None:
        await self._write(None, Writing.snapshot, asker, id, upto, body)

    async def touch(self, asker: Asker, id: str, *, about: bytes | None = None, ttl: int | None = None,
                    access: Access | None = None) -> bool:  # fmt: skip
        return await self._write(None, Writing.touch, asker, id, about, ttl, access)

    async def delete(self, asker: Asker, id: str) -> Deletion | None:
        return await self._write((asker.tenant, id), Writing.delete, asker, id, wipes=True)

    async def sweep(self, limit: int) -> int:
        self._size = await self._read(Tables.size)
        due = await self._read(Tables.due)
        return await self._write(None, Writing.sweep, limit, wipes=True) if due else 0

    async def check(self, tenant: str = "", id: str = "") -> AsyncIterator[Damage]:
        if not tenant:
            for damage in await self._read(Tables.broken_pages):
                yield damage
        for key in await self._read(Tables.contexts, tenant, id):
            for damage in await self._read(Tables.damage, *key):
                yield damage

    async def drop_snapshots(self) -> int:
        return await self._write(None, Writing.drop_snapshots)

    def figures(self) -> dict[str, int]:
        hands = [hand for hand in (self._writer, *self._readers) if hand is not None]
        return {
            "store_bytes": self._size,
            "reads": sum(hand.tables.reads for hand in hands),
            "groups": self._writer.groups if self._writer is not None else 0,
        }
