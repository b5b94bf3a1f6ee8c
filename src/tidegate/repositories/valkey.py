"""Conversations in Redis or Valkey: one server, sentinels or a cluster (CRP 11.6).

All keys of a context share one slot, and each call is one script (``valkey_*.lua``) on the server's clock: it decides
as ``rules/context_begin`` does, in one atomic step. What lies in other slots is written first where it names what is to
come (handles, the list of a tenant's contexts, idempotency of calls that make contexts), and means nothing while its
context does not bear it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from hashlib import sha1, sha256
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, Field, field_validator
from redis.asyncio import BlockingConnectionPool, Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from tidegate.exchange.context import Access
from tidegate.exchange.context_ids import read_id
from tidegate.exchange.context_log import (
    IDEMPOTENCY,
    RETRY_WINDOW,
    TOMBSTONE,
    Addition,
    Appended,
    Asker,
    Begin,
    Begun,
    Commit,
    Committed,
    Create,
    Damage,
    Deletion,
    Draft,
    Found,
    Lease,
    Loaded,
    Meta,
    Outcome,
    Payload,
    StoredEntry,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.settings import Duration
from tidegate.ports.tools import Tools
from tidegate.repositories._valkey_records import (
    bit,
    create_words,
    draft_words,
    entry_of,
    loaded_of,
    meta_of,
    payloads_of,
    read_url,
    text_of,
)
from tidegate.rules.context_fsck import damage_of

T = TypeVar("T")

_PHASES: Final = (
    "begin", "commit", "renew", "append", "load", "contents", "redact", "snapshot", "touch", "settle", "strike",
    "whole",
)  # fmt: skip
_KEYS: Final = "hlcniset"
"""The last letters of a context's keys, in the order of the scripts."""
_ALL: Final = Asker("", all=True)
_CHUNK: Final = 64
_PATIENCE: Final = 30.0
"""Seconds for what walks over everything."""


class Config(BaseModel):
    """Settings of ``valkey``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        description="`redis://user:password@host:port/db`, or `rediss://` for TLS. Several hosts, of a cluster or of "
        "sentinels, are parted by commas. Use a `${...}` reference for the password.",
    )
    mode: Literal["single", "cluster", "sentinel"] = Field("single", description="What answers at `url`.")
    service: str = Field("mymaster", description="The name the sentinels know the server by.")
    prefix: str = Field("tidegate", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="How all keys begin.")
    durability: Literal["process", "full"] = Field(
        "process",
        description="`process`: as the server's append-only file is synced, every second by default. `full`: synced "
        "before anything is acknowledged, by `appendfsync always`, or by WAITAOF where the server has it.",
    )
    timeout: Duration = Field(2.0, gt=0, le=60, description="How long a call may take before the store counts as out.")
    connections: int = Field(32, ge=1, le=1000, description="Connections of a worker, to each server, at most.")

    @field_validator("url")
    @classmethod
    def _readable(cls, url: str) -> str:
        if "${" not in url:
            read_url(url)
        return url


class _Script(NamedTuple):
    text: str
    digest: str


def _script(*names: str) -> _Script:
    folder = files(__package__)
    text = "".join([folder.joinpath(f"valkey_{name}.lua").read_text() for name in names])
    return _Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Valkey:
    """Thin: what is decided, the scripts decide."""

    def __init__(self, config: Config, tools: Tools) -> None:
        self.name = "valkey"
        self.durable = True
        self.instant = False
        self.owner = ""
        self._config = config
        self._tools = tools
        self._timeout = config.timeout
        self._prefix = config.prefix
        self._client: Any = None  # redis-py's two kinds of client share no base
        self._gate: asyncio.Semaphore | None = None
        """Of those clients whose pools refuse rather than wait."""
        self._waits = False
        """Each write is followed by WAITAOF."""
        self._scripts: dict[str, _Script] = {}
        self._watchers: dict[tuple[str, str], set[asyncio.Future[None]]] = {}
        self._bytes = 0
        self._running: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        if not self._scripts:
            self._scripts = {name: _script("shared", name) for name in _PHASES}
            self._scripts["claim"] = _script("claim")
            self._scripts["numbered"] = _script("numbered")
        if self._client is None:
            self._client = self._connected()
        await self._within(self._inspect())

    def _connected(self) -> Any:
        config = self._config
        target = read_url(self._tools.secret(config.url))
        # A connection that the server closed while it lay idle is found out by using it: once more, on another one.
        retry = Retry(NoBackoff(), 1, (NoConnection,))
        shared: dict[str, Any] = {
            "username": target.user, "password": target.password, "socket_timeout": None,
            "socket_connect_timeout": self._timeout, "retry": retry, "protocol": 2,
        }  # fmt: skip
        if config.mode != "single":
            self._gate = asyncio.Semaphore(config.connections)
        if config.mode == "cluster":
            nodes = [ClusterNode(host, port) for host, port in target.hosts]
            return RedisCluster(startup_nodes=nodes, ssl=target.tls, max_connections=config.connections, **shared)
        if config.mode == "sentinel":
            sentinel = Sentinel(list(target.hosts), socket_connect_timeout=self._timeout)  # type: ignore[no-untyped-call]
            return sentinel.master_for(
                config.service, db=target.db, ssl=target.tls, max_connections=config.connections, **shared
            )
        host, port = target.hosts[0]
        kind = SSLConnection if target.tls else Connection
        return Redis(connection_pool=BlockingConnectionPool(
            max_connections=config.connections, timeout=None, connection_class=kind, host=host, port=port, db=target.db,
            **shared,
        ))  # fmt: skip

    async def _inspect(self) -> None:
        """Refuse a server that forgets what it was told to keep."""
        full = self._config.durability == "full"
        for facts in await self._everywhere("INFO"):
            if facts.get("maxmemory_policy", "noeviction") != "noeviction":
                raise Fault("store_unavailable", "The server evicts keys: set maxmemory-policy noeviction.")
            self.durable = bool(int(facts.get("aof_enabled", 0)))
            self._bytes = int(facts.get("used_memory", 0))
            if not full:
                continue
            if not self.durable:
                raise Fault("store_unavailable", "Durability full needs the server's append-only file.")
            version = str(facts.get("redis_version", "0")).split(".")
            has_wait = [int(part) for part in version[:2]] >= [7, 2] and self._config.mode != "cluster"
            self._waits = False
            told = [dict(one) for one in await self._everywhere("CONFIG GET", "appendfsync")]
            if not all(text_of(one.get("appendfsync") or one.get(b"appendfsync")) == "always" for one in told):
                if not has_wait:
                    raise Fault("store_unavailable", "Durability full needs appendfsync always on this server.")
                self._waits = True
        if not self.durable:
            self._tools.log("warning", "contexts_not_durable", reason="the server has no append-only file")

    async def close(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def begin(self, asker: Asker, id: str, request: Begin) -> Begun:
        return await self._within(self._begin(asker, id, request))

    async def _begin(self, asker: Asker, id: str, request: Begin) -> Begun:
        tenant = asker.tenant
        outer = request.scope not in ("", id)
        claims: list[tuple[str, str]] = []
        if outer:
            told = await self._claimed(asker, id, request, claims)
            if told is not None:
                return told
        before: list[tuple[str, ...]] = [("SET", self._handle(tenant, request.version), id)]
        if request.create is not None:
            before += self._listed(tenant, id, request.create)
        reply = await self._run("begin", asker, id, (
            request.version, request.branch, request.parent, request.addressed, request.fork,
            "" if outer else request.key, request.fp.hex(), bit(request.retry), bit(not outer), request.known,
            bit(request.supersede), request.lease, request.privacy, self.owner, self._tools.token(16).hex(),
            RETRY_WINDOW, IDEMPOTENCY, *create_words(request.create), *draft_words(request.input),
            *draft_words(request.settled),
        ), before)  # fmt: skip
        outcome = cast(Outcome, reply[0].decode())
        if outcome != "ok":
            for key, value in claims:
                await self._claim(key, "", value)
            if outcome != "fenced":
                await self._execute("DEL", self._handle(tenant, request.version))
        if len(reply) == 1:
            return Begun(outcome=outcome, context=id)
        branch, base, head, version, wait, what, seq, token, fence, until, loaded = reply[1:]
        if outcome == "ok":
            self._wake(tenant, id)
        return Begun(
            outcome=outcome,
            context=id,
            lease=Lease(branch.decode(), request.version, bytes.fromhex(token.decode()), fence, until)
            if outcome == "ok" else None,
            branch=branch.decode(),
            base=base.decode(),
            head=head.decode(),
            version=version.decode(),
            seq=seq,
            retry_after=wait / 1000,
            what=what.decode(),
            loaded=loaded_of(asker, id, loaded) if loaded is not None else None,
        )  # fmt: skip

    async def _claimed(self, asker: Asker, id: str, request: Begin, claims: list[tuple[str, str]]) -> Begun | None:
        """Duplicates of a call that makes its context, which lie in slots of their own: claimed before there is a turn,
        given back when there will be none. A claim without a turn is waited for, unless it is as old as a call can
        get."""
        tenant = asker.tenant
        mine = f"{request.fp.hex() or '-'} {request.version} {id}"
        wanted = [("fp:" + request.fp.hex(), RETRY_WINDOW, request.retry)]
        if request.key:
            wanted.insert(0, ("k:" + request.key, IDEMPOTENCY, True))
        for name, life, reads in wanted:
            key = self._key("i", tenant, request.scope, name)
            if not reads:
                await self._execute("SET", key, mine, "PX", life)
                continue
            value, found = await self._claim(key, mine, life=life)
            delay = 0.005
            while value != mine:
                fp, version, context = value.split(" ")
                node = await self._node(tenant, context, version)
                if node is not None:
                    if bytes.fromhex(fp.strip("-")) != request.fp:
                        return Begun(outcome="mismatch", context=id)
                    if node[2] == "in_progress":
                        return Begun(outcome="attach", context=context, branch=node[0], version=version)
                    if node[2] == "completed":
                        return Begun(outcome="replay", context=context, branch=node[0], version=version)
                elif not await self._is_gone(tenant, context) and (
                    await self._execute("PTTL", key) > life - int(self._timeout * 1000)
                ):
                    await asyncio.sleep(delay)
                    delay *= 2
                    value = text_of(await self._execute("GET", key))
                    if value:
                        continue
                value, found = await self._claim(key, mine, value, life)
            if found != mine:
                claims.append((key, mine))
        return None

    async def _node(self, tenant: str, context: str, version: str) -> list[str] | None:
        """Branch, parent, status, ... of a version, its turn settled if its lease is over."""
        asker = Asker(tenant, all=True)
        await self._run("settle", asker, context, ("",))
        line = await self._execute("HGET", self._keys(tenant, context)[3], version)
        if line is None or await self._is_gone(tenant, context):
            return None
        return cast(str, line.decode()).split(" ")

    async def renew(self, asker: Asker, id: str, lease: Lease, settled: Draft | None = None) -> Lease | None:
        until = await self._within(self._run("renew", asker, id, (
            lease.branch, lease.version, lease.token.hex(), lease.fence, bit(settled is not None),
            *(draft_words(settled) if settled is not None else ()),
        )))  # fmt: skip
        return Lease(lease.branch, lease.version, lease.token, lease.fence, until) if until else None

    async def commit(self, asker: Asker, id: str, lease: Lease, record: Commit) -> Committed:
        outcome, seq, gen = await self._within(self._run("commit", asker, id, (
            lease.branch, lease.version, lease.token.hex(), lease.fence, record.status, record.digest.hex(),
            record.privacy, *draft_words(record.output),
        )))  # fmt: skip
        self._wake(asker.tenant, id)
        return Committed(outcome.decode(), seq, gen)

    async def settle(self, owner: str, ids: Sequence[tuple[str, str]]) -> int:
        count = 0
        for tenant, id in ids:
            count += await self._within(self._run("settle", Asker(tenant, all=True), id, (owner,)))
        return count

    async def in_flight(self) -> list[tuple[str, str, str]]:
        return []

    # -- entries without a call ----------------------------------------------------------------------------------------

    async def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        before: list[tuple[str, ...]] = []
        if record.version:
            before.append(("SET", self._handle(asker.tenant, record.version), id))
        if record.create is not None:
            before += self._listed(asker.tenant, id, record.create)
        reply = await self._within(self._run("append", asker, id, (
            record.kind, record.version, record.branch, bit(record.expect is not None), record.expect or "",
            record.head, bit(record.moves), record.digest.hex(), record.key, record.fp.hex(), record.known,
            record.privacy, bit(record.about is not None), record.about or b"", IDEMPOTENCY,
            len(record.parents), *record.parents, *create_words(record.create), *draft_words(record.entry),
        ), before))  # fmt: skip
        outcome = cast(Outcome, reply[0].decode())
        if outcome != "ok" and record.version:
            await self._within(self._execute("DEL", self._handle(asker.tenant, record.version)))
        if len(reply) == 1:
            return Appended(outcome=outcome)
        seq, gen, head, version, wait, what, loaded = reply[1:]
        if outcome == "ok":
            self._wake(asker.tenant, id)
        return Appended(
            outcome=outcome,
            seq=seq,
            gen=gen,
            head=head.decode(),
            version=version.decode(),
            retry_after=wait / 1000,
            what=what.decode(),
            loaded=loaded_of(asker, id, loaded) if loaded is not None else None,
        )

    async def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        count: int = await self._within(self._run("redact", asker, id, (*draft_words(entry), *items)))
        if count < 0:
            return None
        self._wake(asker.tenant, id)
        await self._within(self._forget())
        return count

    # -- reading -------------------------------------------------------------------------------------------------------

    async def load(self, asker: Asker, id: str, known: int = -1, limit: int = 0, whole: bool = False) -> Loaded:
        reply = await self._within(self._run("load", asker, id, (known, limit, bit(whole))))
        if len(reply) == 1:
            return Loaded(outcome=reply[0].decode())
        return loaded_of(asker, id, reply[1])

    async def contents(self, asker: Asker, id: str, wanted: Sequence[tuple[str, int]]) -> tuple[Payload, ...]:
        names = [f"{item} {rev}" for item, rev in wanted]
        return payloads_of(await self._within(self._run("contents", asker, id, names)))

    async def resolve(self, asker: Asker, handle: str) -> Found | None:
        return await self._within(self._resolve(asker, handle))

    async def _resolve(self, asker: Asker, handle: str) -> Found | None:
        tenant = asker.tenant
        address = read_id(handle)
        if address is None:
            id = text_of(await self._execute("GET", self._key("a", tenant, asker.subject, handle)))
            return Found(id) if id and not await self._is_gone(tenant, id) else None
        if address.kind == "context":
            there = await self._execute("EXISTS", self._keys(tenant, address.id)[0])
            return Found(address.id) if there else None
        id = text_of(await self._execute("GET", self._handle(tenant, address.id)))
        line = await self._execute("HGET", self._keys(tenant, id)[3], address.id) if id else None
        return Found(id, address.id, line.split(b" ", 1)[0].decode()) if line is not None else None

    async def browse(self, asker: Asker, after: str, limit: int, name: str = "") -> list[Meta]:
        return await self._within(self._browse(asker, after, limit, name))

    async def _browse(self, asker: Asker, after: str, limit: int, name: str) -> list[Meta]:
        tenant = asker.tenant
        if name:
            id = text_of(await self._execute("GET", self._key("a", tenant, asker.subject, name)))
            loaded = await self._glance(asker, id) if id and (not after or id < after) and limit > 0 else None
            return [loaded] if loaded is not None else []
        found: list[Meta] = []
        while len(found) < limit:
            ids = await self._execute("ZREVRANGEBYLEX", self._key("b", tenant), "(" + after if after else "+", "-",
                                      "LIMIT", 0, _CHUNK)  # fmt: skip
            for each in ids:
                after = each.decode()
                meta = await self._glance(asker, after)
                if meta is not None and len(found) < limit:
                    found.append(meta)
            if len(ids) < _CHUNK:
                break
        return found

    async def _glance(self, asker: Asker, id: str) -> Meta | None:
        """What a context is, without its log."""
        reply = await self._run("load", asker, id, (1 << 52, 1, "0"))
        return loaded_of(asker, id, reply[1]).meta if len(reply) > 1 else None

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
                meta = await self._within(self._glance(asker, id))
                if meta is None:
                    return False
                if meta.seq > seq:
                    return True
                left = end - loop.time()
                if left <= 0:
                    return False
                await asyncio.wait((watcher,), timeout=min(delay, left))
            finally:
                watchers.discard(watcher)
                if not watchers and self._watchers.get(key) is watchers:
                    del self._watchers[key]
            delay = min(delay * 2, 0.1)

    # -- names, templates, keys ----------------------------------------------------------------------------------------

    async def claim_name(self, tenant: str, subject: str, name: str, id: str) -> str:
        return await self._within(self._claim_name(tenant, subject, name, id))

    async def _claim_name(self, tenant: str, subject: str, name: str, id: str) -> str:
        key = self._key("a", tenant, subject, name)
        taken, _ = await self._claim(key, id)
        while taken != id and await self._is_gone(tenant, taken):
            taken, _ = await self._claim(key, id, taken)
        if taken == id:
            await self._execute("SADD", self._keys(tenant, id)[7], f"{subject}\0{name}")
        return taken

    async def template(self, tenant: str, name: str, n: int, put: bytes | None = None) -> bytes | None:
        return await self._within(self._numbered(self._key("m", tenant, name), n, put, True))

    async def latest_template(self, tenant: str, name: str) -> int:
        return int(await self._within(self._execute("HGET", self._key("m", tenant, name), "latest")) or 0)

    async def tenant_key(self, tenant: str, v: int, put: bytes | None = None) -> bytes | None:
        return await self._within(self._numbered(self._key("k", tenant), v, put, False))

    async def _numbered(self, key: str, n: int, put: bytes | None, next: bool) -> bytes | None:
        arguments = (n, bit(put is not None), put or b"", bit(next))
        return cast("bytes | None", await self._evaluate("numbered", (key,), arguments))

    # -- upkeep --------------------------------------------------------------------------------------------------------

    async def snapshot(self, asker: Asker, id: str, upto: int, body: bytes) -> None:
        await self._within(self._run("snapshot", asker, id, (upto, body)))

    async def touch(self, asker: Asker, id: str, *, about: bytes | None = None, ttl: int | None = None,
                    access: Access | None = None) -> bool:  # fmt: skip
        before = self._ends(asker.tenant, id, ttl) if ttl else []
        return bool(await self._within(self._run("touch", asker, id, (
            bit(about is not None), about or b"", bit(ttl is not None), ttl or 0, access or "",
        ), before)))  # fmt: skip

    async def delete(self, asker: Asker, id: str) -> Deletion | None:
        return await self._within(self._delete(asker, id))

    async def _delete(self, asker: Asker, id: str) -> Deletion | None:
        reply = await self._run("strike", asker, id, ("0", TOMBSTONE))
        if reply[0] != b"struck":
            return None
        await self._cleared(asker.tenant, id, reply[5], reply[6])
        await self._forget()
        digests = sha256(b"".join([bytes.fromhex(digest.decode()) for digest in reply[4]])).digest()
        return Deletion(id, reply[1], reply[2], reply[3], digests, (self.name,))

    async def _cleared(self, tenant: str, id: str, versions: Iterable[bytes], names: Iterable[bytes]) -> None:
        """What other slots knew of a context that is gone."""
        for version in versions:
            await self._execute("DEL", self._handle(tenant, version.decode()))
        for each in names:
            subject, _, name = each.decode().partition("\0")
            await self._claim(self._key("a", tenant, subject, name), "", id)
        await self._execute("ZREM", self._key("b", tenant), id)
        self._wake(tenant, id)

    async def sweep(self, limit: int) -> int:
        return await self._within(self._sweep(limit), patience=_PATIENCE)

    async def _sweep(self, limit: int) -> int:
        key = self._key("ends")
        now = (await self._seconds()) * 1000
        count = 0
        for member in await self._execute("ZRANGEBYSCORE", key, "-inf", int(now), "LIMIT", 0, limit):
            tenant, _, id = member.decode().partition(":")
            tenant = unquote(tenant)
            reply = await self._run("strike", Asker(tenant, all=True), id, ("1", TOMBSTONE))
            if reply[0] == b"ok" and reply[1]:
                await self._execute("ZADD", key, reply[1], member)
                continue
            if reply[0] == b"struck":
                await self._cleared(tenant, id, reply[5], reply[6])
                count += 1
            await self._execute("ZREM", key, member)
        if count:
            await self._forget()
        for facts in await self._everywhere("INFO", "memory"):
            self._bytes = int(facts.get("used_memory", 0))
        return count

    async def check(self, tenant: str = "", id: str = "") -> AsyncIterator[Damage]:
        for key in await self._within(self._contexts(tenant, id), patience=_PATIENCE):
            for damage in await self._within(self._damage(*key), patience=_PATIENCE):
                yield damage

    async def _contexts(self, tenant: str, id: str) -> list[tuple[str, str]]:
        if tenant and id:
            return [(tenant, id)]
        found: list[tuple[str, str]] = []
        pattern = f"{self._prefix}:{{{quote(tenant, safe='') or '*'}:{id or '*'}}}:h"
        async for key in self._client.scan_iter(match=pattern, count=1000):
            owner, _, context = key.decode()[len(self._prefix) + 2 : -3].partition(":")
            found.append((unquote(owner), context))
        return sorted(found)

    async def _damage(self, tenant: str, id: str) -> list[Damage]:
        reply = await self._run("whole", Asker(tenant, all=True), id, ())
        if len(reply) == 1:
            return []
        state, names, _, seqs, records, contents, _ = reply[1]
        found: list[Damage] = []
        entries: list[StoredEntry] = []
        try:
            meta = meta_of(_ALL, id, state, names)
            payloads = payloads_of(contents)
        except (ValueError, LookupError) as error:
            return [Damage(id, "checksum", 0, "", f"its keys cannot be read: {type(error).__name__}")]
        for seq, record in zip(seqs, records, strict=True):
            try:
                entries.append(entry_of(seq, record))
            except (ValueError, LookupError):
                found.append(Damage(id, "checksum", seq, "", "the entry's line cannot be read"))
        unread = {damage.seq for damage in found}
        return found + [one for one in damage_of(meta, entries, payloads)
                        if not (one.what == "missing_entry" and one.seq in unread)]  # fmt: skip

    async def drop_snapshots(self) -> int:
        return await self._within(self._drop_snapshots(), patience=_PATIENCE)

    async def _drop_snapshots(self) -> int:
        count = 0
        async for key in self._client.scan_iter(match=f"{self._prefix}:{{*:s", count=1000):
            count += await self._execute("DEL", key)
        return count

    def figures(self) -> dict[str, int]:
        return {"store_bytes": self._bytes}

    # -- the server ----------------------------------------------------------------------------------------------------

    def _key(self, kind: str, *parts: str) -> str:
        """A key outside of contexts; parts are quoted, so that no two of them read alike."""
        return ":".join((self._prefix, kind, *(quote(part, safe="") for part in parts)))

    def _keys(self, tenant: str, id: str) -> list[str]:
        slot = f"{self._prefix}:{{{quote(tenant, safe='')}:{id}}}:"
        return [slot + letter for letter in _KEYS]

    def _handle(self, tenant: str, version: str) -> str:
        return self._key("v", tenant, version)

    def _listed(self, tenant: str, id: str, create: Create) -> list[tuple[str, ...]]:
        """The commands by which a context will be found in lists and by the sweep."""
        listed: list[tuple[str, ...]] = [("ZADD", self._key("b", tenant), "0", id)]
        return listed + self._ends(tenant, id, create.ttl) if create.ttl else listed

    def _ends(self, tenant: str, id: str, ttl: int) -> list[tuple[str, ...]]:
        soon = int(self._tools.wall() * 1000) + ttl
        return [("ZADD", self._key("ends"), "LT", str(soon), f"{quote(tenant, safe='')}:{id}")]

    async def _is_gone(self, tenant: str, id: str) -> bool:
        """Has its life ended, or was it deleted? What never was is not gone."""
        expires, gone = await self._execute("HMGET", self._keys(tenant, id)[0], "expires", "gone")
        if gone is not None:
            return True
        return bool(int(expires or 0)) and int(expires) <= await self._seconds() * 1000

    async def _seconds(self) -> float:
        answer = await self._execute("TIME", **({"target_nodes": "random"} if self._config.mode == "cluster" else {}))
        return float(answer[0]) + float(answer[1]) / 1e6

    async def _everywhere(self, *command: str) -> list[Any]:
        """The answers of all servers that hold keys."""
        if self._config.mode != "cluster":
            return [await self._execute(*command)]
        if not self._client.get_primaries():
            await self._client.initialize()
        return [await self._execute(*command, target_nodes=node) for node in self._client.get_primaries()]

    async def _forget(self) -> None:
        """Have the append-only file written anew, so that what was destroyed is not in it either. The server does it in
        the background; one that may not, or is at it already, is asked again by the next sweep."""
        try:
            await self._everywhere("BGREWRITEAOF")
        except NoConnection:
            raise
        except RedisError as error:
            self._tools.log("warning", "contexts_not_rewritten", reason=type(error).__name__)

    async def _claim(self, key: str, value: str, replaces: str = "", life: int = 0) -> tuple[str, str]:
        there, was = await self._evaluate("claim", (key,), (value, replaces, life))
        return text_of(there), text_of(was)

    async def _run(self, phase: str, asker: Asker, id: str, arguments: Sequence[Any],
                   before: Sequence[tuple[str, ...]] = ()) -> Any:  # fmt: skip
        """One script on one context, after the commands that must come *before* it."""
        who = (bit(asker.all), asker.subject, asker.group)
        return await self._evaluate(phase, self._keys(asker.tenant, id), (*who, *arguments), before)

    async def _evaluate(self, name: str, keys: Sequence[str], arguments: Sequence[Any],
                        before: Sequence[tuple[str, ...]] = ()) -> Any:  # fmt: skip
        script = self._scripts[name]
        rest = (len(keys), *keys, *arguments)
        try:
            if self._config.mode == "cluster":
                await asyncio.gather(*(self._execute(*command) for command in before))
            elif before or self._waits:
                return await self._piped([*before, ("EVALSHA", script.digest, *rest)])
            return await self._execute("EVALSHA", script.digest, *rest)
        except NoScriptError:
            if self._waits:
                return await self._piped([("EVAL", script.text, *rest)])
            return await self._execute("EVAL", script.text, *rest)

    async def _piped(self, commands: Sequence[tuple[Any, ...]]) -> Any:
        """Several commands in one trip; the answer of the last. Where acknowledgements wait for the disk, so does this:
        on the same connection, since that is what the server counts by."""
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        if self._waits:
            pipe.execute_command("WAITAOF", 1, 0, int(self._timeout * 1000))
        answers = await pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        if self._waits:
            if answers[-1][0] < 1:
                raise RedisError("not synced")
            answers.pop()
        return answers[-1]

    async def _execute(self, *command: Any, **options: Any) -> Any:
        if self._gate is None:
            return await self._client.execute_command(*command, **options)
        async with self._gate:
            return await self._client.execute_command(*command, **options)

    async def _within(self, work: Awaitable[T], patience: float = 0.0) -> T:
        """What *work* comes to, within the timeout."""
        try:
            async with asyncio.timeout(patience or self._timeout):
                return await work
        except (TimeoutError, OSError, RedisError, RedisClusterException) as error:
            self._tools.log("error", "contexts_unreachable", store=self.name, reason=type(error).__name__)
            raise Fault("store_unavailable", "The context store does not answer.", retry_after=1.0) from None

    def _wake(self, tenant: str, id: str) -> None:
        for watcher in self._watchers.pop((tenant, id), ()):
            if not watcher.done():
                watcher.set_result(None)
