"""The tables of ``postgres`` and what is done with them in one transaction (CRP 11.7). Whoever calls has begun it for
the tenant, and holds the lock of the context it writes to. Ours alone: only ``postgres.py`` imports it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import asyncpg
import msgspec

from tidegate.exchange.context import PRIVACY, Access, EntryKind, Privacy, Status
from tidegate.exchange.context_ids import read_id
from tidegate.exchange.context_log import (
    BLOB,
    IDEMPOTENCY,
    MISSING,
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
    Ref,
    Snapshot,
    StoredEntry,
)
from tidegate.rules.context_begin import (
    Branch,
    Decision,
    Known,
    Lookup,
    Node,
    decide_append,
    decide_begin,
    decide_commit,
    draft_size,
    fitting,
    higher,
    missing,
    overdue,
    slid,
    wanted,
)
from tidegate.rules.context_fsck import damage_of

LAYOUT: Final = 1
"""Of schemas written now; a later one is refused."""
PARTITIONS: Final = 8
_RECENT: Final = 10_000
"""Entries among which a repeated request is looked for; ten minutes do not make more."""
_KINDS: Final[tuple[EntryKind, ...]] = ("reserve", "commit", "delta", "control")
_STATUSES: Final[tuple[Status, ...]] = ("in_progress", "completed", "incomplete", "failed", "cancelled")
_ACCESS: Final[tuple[Access, ...]] = ("subject", "group", "tenant")

_TABLES: Final = {
    "ctx": "tenant text, id text, subject text NOT NULL, grp text NOT NULL, access int NOT NULL, cls int NOT NULL,"
    " salt bytea NOT NULL, dek bytea NOT NULL, seq bigint NOT NULL, gen bigint NOT NULL, created bigint NOT NULL,"
    " expires bigint NOT NULL, ttl bigint NOT NULL, sliding bool NOT NULL, size bigint NOT NULL, gone bigint NOT NULL,"
    " about bytea NOT NULL, PRIMARY KEY (tenant, id)",
    "alias": "tenant text, subject text, name text, id text NOT NULL, PRIMARY KEY (tenant, subject, name)",
    "ref": "tenant text, id text, branch text, head text NOT NULL, pending text NOT NULL, token bytea NOT NULL,"
    " fence bigint NOT NULL, lease_until bigint NOT NULL, span bigint NOT NULL, owner text NOT NULL,"
    " ending bytea NOT NULL, PRIMARY KEY (tenant, id, branch)",
    "node": "tenant text, ver text, id text NOT NULL, branch text NOT NULL, parent text NOT NULL, status int NOT NULL,"
    " fp bytea NOT NULL, digest bytea NOT NULL, first bigint NOT NULL, last bigint NOT NULL, ts bigint NOT NULL,"
    " PRIMARY KEY (tenant, ver)",
    "entry": "tenant text, id text, seq bigint, kind int NOT NULL, ver text NOT NULL, parents text[] NOT NULL,"
    " branch text NOT NULL, status int NOT NULL, fp bytea NOT NULL, digest bytea NOT NULL, ts bigint NOT NULL,"
    " body bytea NOT NULL, PRIMARY KEY (tenant, id, seq)",
    "item": "tenant text, id text, seq bigint, item text, rev int, nonce bytea NOT NULL, ikey bytea NOT NULL,"
    " hash bytea, content bytea, PRIMARY KEY (tenant, id, seq, item, rev)",
    "snap": "tenant text, id text, seq bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (tenant, id)",
    "blob": "tenant text, hash bytea, body bytea NOT NULL, refs bigint NOT NULL, PRIMARY KEY (tenant, hash)",
    "idem": "tenant text, scope text, k text, fp bytea NOT NULL, ver text NOT NULL, expires bigint NOT NULL,"
    " PRIMARY KEY (tenant, scope, k)",
    "tmpl": "tenant text, name text, n int, body bytea NOT NULL, PRIMARY KEY (tenant, name, n)",
    "tkey": "tenant text, v int, sealed bytea NOT NULL, PRIMARY KEY (tenant, v)",
}
_PARTED: Final = ("entry", "item")
_INDEXES: Final = (
    "ctx_ends ON ctx (expires) WHERE expires > 0",
    "alias_id ON alias (tenant, id)",
    "node_id ON node (tenant, id, first)",
    "idem_ends ON idem (expires)",
)


def schema() -> str:
    """What makes the tables. Rows are those of the tenant that a transaction is for; of all for the sweep (``*``)."""
    parts: list[str] = []
    for name, columns in _TABLES.items():
        parted = " PARTITION BY HASH (tenant, id)" if name in _PARTED else ""
        parts.append(f"CREATE TABLE {name} ({columns}){parted}")
        for n in range(PARTITIONS if parted else 0):
            parts.append(f"CREATE TABLE {name}_{n} PARTITION OF {name}"
                         f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {n})")  # fmt: skip
        parts.append(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
        parts.append(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
        parts.append(f"CREATE POLICY own ON {name} USING"
                     f" (current_setting('tidegate.tenant', true) IN (tenant, '*'))")  # fmt: skip
    parts += [f"CREATE INDEX {index}" for index in _INDEXES]
    parts.append("CREATE TABLE layout (version int NOT NULL)")
    parts.append(f"INSERT INTO layout VALUES ({LAYOUT})")
    return ";".join(parts)


_NODE: Final = "SELECT ver, id, branch, parent, status, fp, digest, first, last FROM node"
_ENTRY: Final = "SELECT seq, kind, ver, parents, branch, status, fp, digest, ts, body FROM entry"
_ITEM: Final = (
    "SELECT item.item, rev, nonce, coalesce(content, blob.body), ikey, seq FROM item"
    " LEFT JOIN blob ON blob.tenant = item.tenant AND blob.hash = item.hash WHERE item.tenant = $1 AND id = $2"
)
_REF: Final = "SELECT branch, head, pending, token, fence, lease_until, span, owner FROM ref"
CLOCK: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

write_draft: Final = msgspec.msgpack.Encoder().encode
_read_draft: Final = msgspec.msgpack.Decoder(Draft).decode


class _Turn(Branch):
    __slots__ = ("owner", "span")

    def __init__(self, name: str, head: str = "", pending: str = "", token: bytes = b"", fence: int = 0,
                 lease_until: int = 0, span: int = 0, owner: str = "") -> None:  # fmt: skip
        super().__init__(name, head, pending, token, fence, lease_until)
        self.span = span
        self.owner = owner


class Context(msgspec.Struct):
    """A row of ``ctx``, column by column, and its refs, while a call is at it. ``entries`` and ``payloads`` were
    written in this call; ``new``: not in the table yet."""

    tenant: str
    id: str
    subject: str
    group: str
    access: Access
    privacy: Privacy
    salt: bytes
    dek: bytes
    seq: int
    gen: int
    created: int
    expires: int
    ttl: int
    sliding: bool
    size: int
    gone: int
    about: bytes
    refs: dict[str, _Turn] = {}
    entries: list[StoredEntry] = []
    payloads: list[Payload] = []
    new: bool = False


class Tables:
    """What is done in one transaction of *tenant*. ``now``: the server's clock, as the context was found."""

    def __init__(self, connection: Any, tenant: str) -> None:
        self.connection = connection
        self.tenant = tenant
        self.now = 0
        self.reads = 0

    async def rows(self, statement: str, *values: Any) -> list[Any]:
        self.reads += 1
        return await self.connection.fetch(statement, *values)  # type: ignore[no-any-return]

    async def sql(self, statement: str, *values: Any) -> None:
        await self.connection.execute(statement, *values)

    # -- a context -----------------------------------------------------------------------------------------------------

    async def find(self, asker: Asker, id: str, writes: bool = False) -> tuple[Context | None, Outcome]:
        """The context and ``ok``; one that may not be seen comes with ``not_found``. For writing, its rows are locked,
        refs first: the order of the fast path."""
        lock = " FOR UPDATE" if writes else ""
        where = f" WHERE tenant = $1 AND id = $2 ORDER BY branch{lock}"
        refs = await self.rows(_REF + where, self.tenant, id)
        context = await self.context(id, lock)
        if context is None or (context.gone and context.gone <= self.now):
            return None, "not_found"
        context.refs = {row[0]: _Turn(*row) for row in refs}
        if not asker.sees(context.access, context.subject, context.group):
            return context, "not_found"
        return context, "gone" if self.is_gone(context) else "ok"

    async def context(self, id: str, lock: str = "") -> Context | None:
        rows = await self.rows(f"SELECT *, {CLOCK} FROM ctx WHERE tenant = $1 AND id = $2{lock}", self.tenant, id)
        if rows:
            self.now = rows[0][-1]
            return context_of(rows[0])
        self.now = (await self.rows(f"SELECT {CLOCK}"))[0][0]
        return None

    def is_gone(self, context: Context) -> bool:
        return context.gone != 0 or 0 < context.expires <= self.now

    async def save(self, context: Context) -> None:
        if context.new:
            context.new = False
            await self.sql(
                "INSERT INTO ctx VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)"
                " ON CONFLICT (tenant, id) DO UPDATE SET (subject, grp, access, cls, salt, dek, seq, gen, created,"
                " expires, ttl, sliding, size, gone, about) = (excluded.subject, excluded.grp, excluded.access,"
                " excluded.cls, excluded.salt, excluded.dek, excluded.seq, excluded.gen, excluded.created,"
                " excluded.expires, excluded.ttl, excluded.sliding, excluded.size, excluded.gone, excluded.about)",
                context.tenant, context.id, context.subject, context.group, _ACCESS.index(context.access),
                PRIVACY.index(context.privacy), context.salt, context.dek, context.seq, context.gen, context.created,
                context.expires, context.ttl, context.sliding, context.size, context.gone, context.about,
            )  # fmt: skip
            return
        await self.sql("UPDATE ctx SET access = $3, cls = $4, seq = $5, gen = $6, expires = $7, ttl = $8, size = $9,"
                       " about = $10 WHERE tenant = $1 AND id = $2", context.tenant, context.id,
                       _ACCESS.index(context.access), PRIVACY.index(context.privacy), context.seq, context.gen,
                       context.expires, context.ttl, context.size, context.about)  # fmt: skip

    async def save_ref(self, context: Context, ref: _Turn, ending: bytes) -> None:
        await self.sql("INSERT INTO ref VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11) ON CONFLICT (tenant, id, branch)"
                       " DO UPDATE SET (head, pending, token, fence, lease_until, span, owner, ending) ="
                       " (excluded.head, excluded.pending, excluded.token, excluded.fence, excluded.lease_until,"
                       " excluded.span, excluded.owner, excluded.ending)", context.tenant, context.id, ref.name,
                       ref.head, ref.pending, ref.token, ref.fence, ref.lease_until, ref.span, ref.owner,
                       ending)  # fmt: skip

    def made(self, id: str, create: Create) -> Context:
        context = Context(self.tenant, id, create.subject, create.group, create.access, create.privacy, create.salt,
                          create.dek, 0, 0, self.now, 0, create.ttl, create.sliding, 0, 0, create.about)  # fmt: skip
        context.new = True
        return context

    async def nodes(self, versions: Iterable[str]) -> dict[str, Node]:
        """What is known of those of these versions that there are, each in a context that is not gone."""
        names = [version for version in set(versions) if version]
        if not names:
            return {}
        rows = await self.rows(
            _NODE + " WHERE tenant = $1 AND ver = ANY($2) AND EXISTS (SELECT 1 FROM ctx WHERE ctx.tenant = node.tenant"
            " AND ctx.id = node.id AND gone = 0 AND (expires = 0 OR expires > $3))", self.tenant, names, self.now,
        )  # fmt: skip
        return {row[0]: _node(row) for row in rows}

    async def known(self, scope: str, key: str) -> Known | None:
        rows = await self.rows("SELECT fp, ver, expires FROM idem WHERE tenant = $1 AND scope = $2 AND k = $3",
                               self.tenant, scope, key)  # fmt: skip
        return Known(*rows[0]) if rows else None

    async def printed(self, context: Context, fp: bytes) -> Known | None:
        """The last turn of that fingerprint. Versions bear theirs, so what happens in a context is not noted twice."""
        rows = await self.rows("SELECT fp, ver, ts + $4 FROM node WHERE tenant = $1 AND id = $2 AND first > $3"
                               " AND fp = $5 ORDER BY first DESC LIMIT 1",
                               self.tenant, context.id, context.seq - _RECENT, RETRY_WINDOW, fp)  # fmt: skip
        return Known(*rows[0]) if rows else None

    async def remember(self, scope: str, key: str, fp: bytes, version: str, until: int) -> None:
        await self.sql("INSERT INTO idem VALUES ($1,$2,$3,$4,$5,$6) ON CONFLICT (tenant, scope, k) DO UPDATE SET"
                       " (fp, ver, expires) = (excluded.fp, excluded.ver, excluded.expires)",
                       self.tenant, scope, key, fp, version, until)  # fmt: skip

    async def log(self, context: Context, kind: EntryKind, version: str, parents: tuple[str, ...], branch: str,
                  status: Status, fp: bytes, digest: bytes, draft: Draft) -> int:  # fmt: skip
        context.seq += 1
        context.size += draft_size(draft)
        seq, id = context.seq, context.id
        await self.sql("INSERT INTO entry VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)", self.tenant, id, seq,
                       _KINDS.index(kind), version, parents, branch, _STATUSES.index(status), fp, digest, self.now,
                       draft.body)  # fmt: skip
        if version:
            await self.sql("INSERT INTO node VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$9,$10) ON CONFLICT (tenant, ver)"
                           " DO UPDATE SET (status, digest, last) = (excluded.status, excluded.digest, excluded.last)",
                           self.tenant, version, id, branch, parents[0] if parents else "", _STATUSES.index(status), fp,
                           digest, seq, self.now)  # fmt: skip
        context.entries.append(StoredEntry(
            seq=seq, kind=kind, version=version, parents=parents, branch=branch, status=status, fp=fp, digest=digest,
            ts=self.now, body=draft.body,
        ))  # fmt: skip
        if draft.payloads:
            context.payloads += await self._lay(id, seq, draft.payloads)
        return seq

    async def _lay(self, id: str, seq: int, payloads: Sequence[Payload]) -> list[Payload]:
        """Contents beside their entry; of an item and revision named twice the last one."""
        laid = {(one.item, one.rev): one for one in payloads}.values()
        large = {one: sha256(one.body).digest() for one in laid if len(one.body) >= BLOB and not one.ikey}
        # In one order, so that two transactions never wait for each other.
        for one, hash_ in sorted(large.items(), key=lambda pair: pair[1]):
            await self.sql("INSERT INTO blob VALUES ($1,$2,$3,1) ON CONFLICT (tenant, hash)"
                           " DO UPDATE SET refs = blob.refs + 1", self.tenant, hash_, one.body)  # fmt: skip
        await self.sql(
            "INSERT INTO item SELECT $1, $2, $3, * FROM unnest($4::text[], $5::int[], $6::bytea[], $7::bytea[],"
            " $8::bytea[], $9::bytea[])", self.tenant, id, seq, [one.item for one in laid], [one.rev for one in laid],
            [one.nonce for one in laid], [one.ikey for one in laid], [large.get(one) for one in laid],
            [None if one in large else one.body for one in laid],
        )  # fmt: skip
        return [Payload(one.item, one.rev, one.nonce, one.body, one.ikey, seq) for one in laid]

    async def settle_overdue(self, context: Context) -> None:
        for ref in overdue(self.now, context.refs.values()):
            await self.settle(context, context.refs[ref.name])

    async def settle(self, context: Context, ref: _Turn) -> None:
        ending = (await self.rows("SELECT ending FROM ref WHERE tenant = $1 AND id = $2 AND branch = $3", self.tenant,
                                  context.id, ref.name))[0][0]  # fmt: skip
        node = (await self.nodes([ref.pending])).get(ref.pending)
        parent, fp = (node.parent, node.fp) if node is not None else ("", b"")
        await self.log(context, "commit", ref.pending, (parent,) if parent else (), ref.name, "incomplete", fp, b"",
                       _read_draft(ending))  # fmt: skip
        await self.end(context, ref, ref.pending)

    async def end(self, context: Context, ref: _Turn, head: str) -> None:
        ref.head = head
        ref.pending = ref.owner = ""
        ref.token = b""
        ref.lease_until = 0
        await self.save_ref(context, ref, b"")

    def used(self, context: Context, privacy: Privacy) -> None:
        context.privacy = higher(context.privacy, privacy)
        context.expires = slid(self.now, context.ttl, context.sliding, context.expires)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def meta(self, asker: Asker, context: Context) -> Meta:
        names = await self.rows("SELECT name FROM alias WHERE tenant = $1 AND id = $2 AND ($3 OR subject = $4)"
                                " ORDER BY name", context.tenant, context.id, asker.all, asker.subject)  # fmt: skip
        return meta_of(context, [row[0] for row in names])

    async def read(self, asker: Asker, context: Context, known: int, limit: int = 0) -> Loaded:
        tenant, id = context.tenant, context.id
        if context.entries and known == context.entries[0].seq - 1:
            return Loaded(meta=await self.meta(asker, context), entries=tuple(context.entries),
                          payloads=tuple(context.payloads))  # fmt: skip
        snaps = await self.rows("SELECT seq, body FROM snap WHERE tenant = $1 AND id = $2 AND seq > $3", tenant, id,
                                known)  # fmt: skip
        snapshot = Snapshot(*snaps[0]) if snaps else None
        after = snapshot.seq if snapshot is not None else max(known, 0)
        rows = await self.rows(_ENTRY + " WHERE tenant = $1 AND id = $2 AND seq > $3 ORDER BY seq LIMIT $4", tenant, id,
                               after, limit + 1 if limit else None)  # fmt: skip
        truncated = 0 < limit < len(rows)
        entries = [_entry(row) for row in (rows[:limit] if truncated else rows)]
        last = entries[-1].seq if entries else after
        low = 0 if snapshot is not None else after
        items = await self.rows(_ITEM + " AND seq > $3 AND seq <= $4", tenant, id, low, last) if last > low else []
        return Loaded(
            meta=await self.meta(asker, context), snapshot=snapshot, entries=tuple(entries),
            payloads=tuple([Payload(*row) for row in items]), truncated=truncated,
        )  # fmt: skip

    async def missing(self, asker: Asker, context: Context, parent: str, head: str) -> Loaded:
        tenant, id = context.tenant, context.id
        rows = await self.rows(
            "WITH RECURSIVE line AS ("
            f"  SELECT node.*, 1 AS n FROM node WHERE tenant = $1 AND ver = $2"
            "  UNION ALL SELECT node.*, n + 1 FROM line JOIN node ON node.tenant = $1 AND node.ver = line.parent"
            f"  WHERE n <= {MISSING} AND line.ver <> $3)"
            " SELECT ver, id, branch, parent, status, fp, digest, first, last FROM line", tenant, head, parent,
        )  # fmt: skip
        nodes = {row[0]: _node(row) for row in rows}
        chain = missing(parent, head, nodes.get)
        named = await self.rows(_ENTRY + " WHERE tenant = $1 AND id = $2 AND ver = ANY($3) ORDER BY seq", tenant, id,
                                chain or [])  # fmt: skip
        payloads: dict[int, list[Payload]] = {row[0]: [] for row in named}
        for row in await self.rows(_ITEM + " AND seq = ANY($3)", tenant, id, list(payloads)):
            payloads[row[5]].append(Payload(*row))
        count = fitting([draft_size(Draft(row[9], tuple(payloads[row[0]]))) for row in named])
        return Loaded(
            meta=await self.meta(asker, context), entries=tuple([_entry(row) for row in named[:count]]),
            payloads=tuple([one for row in named[:count] for one in payloads[row[0]]]),
            truncated=chain is None or count < len(named),
        )  # fmt: skip

    async def load(self, asker: Asker, id: str, known: int, limit: int) -> Loaded:
        context, outcome = await self.find(asker, id)
        if context is None or outcome != "ok":
            return Loaded(outcome=outcome)
        return await self.read(asker, context, known, limit)

    async def contents(self, asker: Asker, id: str, wanted: Sequence[tuple[str, int]]) -> tuple[Payload, ...]:
        if (await self.find(asker, id))[1] != "ok":
            return ()
        rows = await self.rows(_ITEM + " AND (item.item, rev) IN (SELECT * FROM unnest($3::text[], $4::int[]))",
                               self.tenant, id, [one[0] for one in wanted], [one[1] for one in wanted])  # fmt: skip
        return tuple([Payload(*row) for row in rows])

    async def resolve(self, asker: Asker, handle: str) -> Found | None:
        address = read_id(handle)
        if address is None:
            rows = await self.rows("SELECT id FROM alias WHERE tenant = $1 AND subject = $2 AND name = $3",
                                   self.tenant, asker.subject, handle)  # fmt: skip
            context = await self.context(rows[0][0]) if rows else None
            return Found(rows[0][0]) if rows and (context is None or not self.is_gone(context)) else None
        if address.kind == "context":
            there = await self.rows("SELECT 1 FROM ctx WHERE tenant = $1 AND id = $2", self.tenant, address.id)
            return Found(address.id) if there else None
        rows = await self.rows("SELECT id, branch FROM node WHERE tenant = $1 AND ver = $2", self.tenant, address.id)
        return Found(rows[0][0], address.id, rows[0][1]) if rows else None

    async def browse(self, asker: Asker, after: str, limit: int, name: str) -> list[Meta]:
        rows = await self.rows(
            "SELECT * FROM ctx WHERE tenant = $1 AND ($2 = '' OR id COLLATE \"C\" < $2) AND gone = 0"
            f" AND (expires = 0 OR expires > {CLOCK})"
            " AND ($3 OR access = 2 OR access = 1 AND grp <> '' AND grp = $4 OR access = 0 AND subject = $5)"
            " AND ($6 = '' OR id = (SELECT id FROM alias WHERE tenant = $1 AND subject = $5 AND name = $6))"
            ' ORDER BY id COLLATE "C" DESC LIMIT $7',
            self.tenant, after, asker.all, asker.group, asker.subject, name, limit,
        )  # fmt: skip
        found = [context_of(row) for row in rows]
        for context in found:
            refs = await self.rows(_REF + " WHERE tenant = $1 AND id = $2", self.tenant, context.id)
            context.refs = {row[0]: _Turn(*row) for row in refs}
        return [await self.meta(asker, context) for context in found]

    async def seq(self, asker: Asker, id: str) -> int:
        """Of its last entry; -1 where there is nothing to be seen."""
        context = await self.context(id)
        if context is None or self.is_gone(context):
            return -1
        return context.seq if asker.sees(context.access, context.subject, context.group) else -1

    async def contexts(self, tenant: str, id: str) -> list[Any]:
        return await self.rows("SELECT tenant, id FROM ctx WHERE gone = 0 AND ($1 = '' OR tenant = $1)"
                               " AND ($2 = '' OR id = $2) ORDER BY tenant, id", tenant, id)  # fmt: skip

    async def damage(self, id: str) -> list[Damage]:
        everything = Asker(self.tenant, all=True)
        context, _ = await self.find(everything, id)
        if context is None or context.gone:
            return []
        rows = await self.rows(_ENTRY + " WHERE tenant = $1 AND id = $2 ORDER BY seq", self.tenant, id)
        items = await self.rows(_ITEM + " AND coalesce(content, blob.body) IS NOT NULL", self.tenant, id)
        try:
            entries = [_entry(row) for row in rows]
        except LookupError as error:
            return [Damage(id, "checksum", 0, "", f"its rows cannot be read: {error}")]
        return list(damage_of(await self.meta(everything, context), entries, [Payload(*row) for row in items]))

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def begin(self, asker: Asker, id: str, request: Begin, owner: str, token: bytes) -> Begun:
        context, outcome = await self.find(asker, id, writes=True)
        if context is None and request.create is not None:
            context, outcome = self.made(id, request.create), "ok"
        if context is None or outcome != "ok":
            return Begun(outcome=outcome, context=id)
        await self.settle_overdue(context)
        abroad = "fp:" + request.fp.hex() if request.scope and request.scope != id else ""
        by_key = await self.known(request.scope, "k:" + request.key) if request.key else None
        by_fp = None
        if request.retry:
            by_fp = await (self.known(request.scope, abroad) if abroad else self.printed(context, request.fp))
        lookup = await self._lookup(context, wanted(request, (by_key, by_fp)))
        done = decide_begin(self.now, id, request, context.refs, lookup, by_key, by_fp, context.size)
        if done.outcome != "ok":
            if not context.new:
                await self.save(context)
            return await self._not_begun(asker, context, request, done)
        if done.again:
            node = lookup(request.version)
            seq = node.seq if node is not None else 0
        else:
            seq = await self._begin_turn(context, request, done, owner, token)
            if abroad:
                await self.remember(request.scope, abroad, request.fp, request.version, self.now + RETRY_WINDOW)
            if request.key:
                await self.remember(request.scope, "k:" + request.key, request.fp, request.version,
                                    self.now + IDEMPOTENCY)  # fmt: skip
            self.used(context, request.privacy)
            await self.save(context)
        ref = context.refs[done.branch]
        return Begun(
            outcome="ok", context=id, branch=done.branch, base=done.base, head=ref.head, version=request.version,
            lease=Lease(ref.name, request.version, ref.token, ref.fence, ref.lease_until), seq=seq,
            loaded=await self.read(asker, context, request.known),
        )  # fmt: skip

    async def _lookup(self, context: Context, versions: Iterable[str]) -> Lookup:
        """Of these versions and of where the refs stand."""
        stands = [name for ref in context.refs.values() for name in (ref.head, ref.pending)]
        return (await self.nodes((*versions, *stands))).get

    async def _begin_turn(self, context: Context, request: Begin, done: Decision, owner: str, token: bytes) -> int:
        if done.ends:
            await self.settle(context, context.refs[done.branch])
        if done.opens:
            context.refs[done.branch] = _Turn(done.branch, done.base)
        ref = context.refs[done.branch]
        seq = await self.log(context, "reserve", request.version, (done.base,) if done.base else (), ref.name,
                             "in_progress", request.fp, b"", request.input)  # fmt: skip
        ref.head = done.base
        ref.pending = request.version
        ref.token = token
        ref.fence += 1
        ref.lease_until = self.now + request.lease
        ref.span = request.lease
        ref.owner = owner
        await self.save_ref(context, ref, write_draft(request.settled))
        return seq

    async def _not_begun(self, asker: Asker, context: Context, request: Begin, done: Decision) -> Begun:
        lacks = await self.missing(asker, context, request.parent, done.head) if done.outcome == "conflict" else None
        return Begun(
            outcome=done.outcome, context=done.context or context.id, branch=done.branch, head=done.head,
            version=done.version, retry_after=done.retry_after, what=done.what, loaded=lacks,
        )  # fmt: skip

    async def renew(self, asker: Asker, id: str, lease: Lease, settled: Draft | None) -> Lease | None:
        context, outcome = await self.find(asker, id, writes=True)
        ref = context.refs.get(lease.branch) if context is not None and outcome == "ok" else None
        if ref is None or (ref.pending, ref.token, ref.fence) != (lease.version, lease.token, lease.fence):
            return None
        until = self.now + ref.span
        await self.sql("UPDATE ref SET lease_until = $4, ending = coalesce($5, ending) WHERE tenant = $1 AND id = $2"
                       " AND branch = $3", self.tenant, id, lease.branch, until,
                       None if settled is None else write_draft(settled))  # fmt: skip
        return Lease(lease.branch, lease.version, lease.token, lease.fence, until)

    async def commit(self, asker: Asker, id: str, lease: Lease, record: Commit) -> Committed:
        context, outcome = await self.find(asker, id, writes=True)
        if context is None or outcome != "ok":
            return Committed("gone" if outcome == "gone" else "fenced")
        ref = context.refs.get(lease.branch)
        node = (await self.nodes([lease.version])).get(lease.version)
        done = decide_commit(ref, node, lease, record, context.size)
        if done.outcome != "ok":
            return Committed(done.outcome)
        if done.again or ref is None or node is None:
            rows = await self.rows("SELECT last FROM node WHERE tenant = $1 AND ver = $2", self.tenant, lease.version)
            return Committed("ok", rows[0][0], context.gen)
        seq = await self.log(context, "commit", lease.version, (node.parent,) if node.parent else (), ref.name,
                             record.status, node.fp, record.digest, record.output)  # fmt: skip
        await self.end(context, ref, done.head)
        self.used(context, record.privacy)
        await self.save(context)
        return Committed("ok", seq, context.gen)

    async def settle_of(self, owner: str | None, id: str) -> int:
        """End the turns of *owner*; of None those whose lease is over."""
        context, _ = await self.find(Asker(self.tenant, all=True), id, writes=True)
        if context is None or self.is_gone(context):
            return 0
        before = context.seq
        if owner is None:
            await self.settle_overdue(context)
        for ref in context.refs.values():
            if owner is not None and ref.pending and ref.owner == owner:
                await self.settle(context, ref)
        await self.save(context)
        return context.seq - before

    async def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        context, outcome = await self.find(asker, id, writes=True)
        if record.create is not None and context is not None and outcome != "gone":
            if context.salt != record.create.salt:
                return Appended(outcome="exists")
            if not record.version:
                ref = context.refs.get(record.branch)
                return Appended(outcome="ok", seq=1, gen=context.gen, head=ref.head if ref is not None else "")
        elif record.create is not None and context is None:
            context, outcome = self.made(id, record.create), "ok"
        if context is None or outcome != "ok":
            return Appended(outcome=outcome)
        await self.settle_overdue(context)
        by_key = await self.known(record.scope, "k:" + record.key) if record.key else None
        versions = (record.version, record.head, *record.parents, by_key.version if by_key is not None else "")
        lookup = await self._lookup(context, versions)
        done = decide_append(self.now, id, record, context.refs, lookup, by_key, context.size)
        if done.outcome != "ok":
            if not context.new:
                await self.save(context)
            lacks = None
            if done.outcome == "conflict":
                lacks = await self.missing(asker, context, record.expect or "", done.head)
            return Appended(outcome=done.outcome, gen=context.gen, head=done.head, version=done.version,
                            retry_after=done.retry_after, what=done.what, loaded=lacks)  # fmt: skip
        node = lookup(record.version) if done.again else None
        seq = node.seq if node is not None else await self._add(context, record, done)
        return Appended(outcome="ok", seq=seq, gen=context.gen, head=done.head, version=record.version,
                        loaded=await self.read(asker, context, record.known))  # fmt: skip

    async def _add(self, context: Context, record: Addition, done: Decision) -> int:
        parents = record.parents or ((done.base,) if done.base and record.version else ())
        seq = await self.log(context, record.kind, record.version, parents, done.branch, "completed", record.fp,
                             record.digest, record.entry)  # fmt: skip
        if record.moves:
            if done.opens:
                context.refs[done.branch] = _Turn(done.branch, done.base)
            ref = context.refs[done.branch]
            ref.head = done.head
            await self.save_ref(context, ref, b"")
        if record.key:
            await self.remember(record.scope, "k:" + record.key, record.fp, record.version, self.now + IDEMPOTENCY)
        if record.about is not None:
            context.about = record.about
        self.used(context, record.privacy)
        await self.save(context)
        return seq

    # -- destroying ----------------------------------------------------------------------------------------------------

    async def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        context, outcome = await self.find(asker, id, writes=True)
        if context is None or outcome != "ok":
            return None
        rows = await self.rows(
            "SELECT length(nonce) + length(ikey) + length(coalesce(content, blob.body)), item.hash FROM item"
            " LEFT JOIN blob ON blob.tenant = item.tenant AND blob.hash = item.hash"
            " WHERE item.tenant = $1 AND id = $2 AND item = ANY($3)", self.tenant, id, list(items),
        )  # fmt: skip
        context.size -= sum(row[0] for row in rows)
        await self._drop_blobs([row[1] for row in rows if row[1] is not None])
        await self.sql("DELETE FROM item WHERE tenant = $1 AND id = $2 AND item = ANY($3)", self.tenant, id,
                       list(items))  # fmt: skip
        for branch, ending in await self.rows("SELECT branch, ending FROM ref WHERE tenant = $1 AND id = $2"
                                              " AND pending <> ''", self.tenant, id):  # fmt: skip
            draft = _read_draft(ending)
            kept = Draft(draft.body, tuple([one for one in draft.payloads if one.item not in items]))
            await self.sql("UPDATE ref SET ending = $4 WHERE tenant = $1 AND id = $2 AND branch = $3", self.tenant, id,
                           branch, write_draft(kept))  # fmt: skip
        await self.sql("DELETE FROM snap WHERE tenant = $1 AND id = $2", self.tenant, id)
        context.gen += 1
        await self.log(context, "control", "", (), "", "completed", b"", b"", entry)
        await self.save(context)
        return len(rows)

    async def _drop_blobs(self, hashes: Iterable[bytes]) -> None:
        for hash_ in sorted(hashes):
            await self.sql("UPDATE blob SET refs = refs - 1 WHERE tenant = $1 AND hash = $2", self.tenant, hash_)
            await self.sql("DELETE FROM blob WHERE tenant = $1 AND hash = $2 AND refs < 1", self.tenant, hash_)

    async def delete(self, asker: Asker, id: str) -> Deletion | None:
        context, outcome = await self.find(asker, id, writes=True)
        if context is None or outcome != "ok":
            return None
        nodes = await self.nodes([ref.head for ref in context.refs.values()])
        heads = sha256()
        for _, ref in sorted(context.refs.items()):
            node = nodes.get(ref.head)
            heads.update(node.digest if node is not None else b"")
        count = (await self.rows("SELECT count(*) FROM entry WHERE tenant = $1 AND id = $2", self.tenant, id))[0][0]
        await self.strike(context)
        return Deletion(id, self.now, count, context.size, heads.digest(), ("postgres",))

    async def strike(self, context: Context) -> None:
        """All of it but a tombstone."""
        id = context.id
        rows = await self.rows("SELECT hash FROM item WHERE tenant = $1 AND id = $2 AND hash IS NOT NULL", self.tenant,
                               id)  # fmt: skip
        await self._drop_blobs([row[0] for row in rows])
        for table in ("entry", "item", "ref", "snap", "alias", "node"):
            await self.sql(f"DELETE FROM {table} WHERE tenant = $1 AND id = $2", self.tenant, id)
        await self.sql("DELETE FROM idem WHERE tenant = $1 AND scope = $2", self.tenant, id)
        await self.sql("UPDATE ctx SET salt = '', dek = '', about = '', seq = 0, size = 0, gone = $3, expires = $3"
                       " WHERE tenant = $1 AND id = $2", self.tenant, id, self.now + TOMBSTONE)  # fmt: skip

    async def expire(self, id: str) -> bool:
        """Strike a context whose life is over, or its tombstone."""
        context = await self.context(id, " FOR UPDATE")
        if context is None or not 0 < context.expires <= self.now:
            return False
        if context.gone:
            await self.sql("DELETE FROM ctx WHERE tenant = $1 AND id = $2", self.tenant, id)
        else:
            await self.strike(context)
        return True

    # -- names, templates, keys, upkeep --------------------------------------------------------------------------------

    async def claim_name(self, subject: str, name: str, id: str) -> str:
        rows = await self.rows("SELECT id FROM alias WHERE tenant = $1 AND subject = $2 AND name = $3", self.tenant,
                               subject, name)  # fmt: skip
        if rows:
            context = await self.context(rows[0][0])
            if context is None or not self.is_gone(context):
                return str(rows[0][0])
        await self.sql("INSERT INTO alias VALUES ($1,$2,$3,$4) ON CONFLICT (tenant, subject, name)"
                       " DO UPDATE SET id = excluded.id", self.tenant, subject, name, id)  # fmt: skip
        return id

    async def numbered(self, table: str, key: Sequence[str], n: int, put: bytes | None) -> bytes | None:
        """Number *n*, 0: the latest. *put* takes it where it is free; number 0 of a template is the next one, of a key
        the latest there is."""
        body, number, where = _NUMBERED[table]
        if put is not None:
            if n == 0:
                statement = f"SELECT coalesce(max({number}), 0) FROM {table} WHERE {where}"
                last = (await self.rows(statement, *key))[0][0]
                n = last if last and table == "tkey" else last + 1
            places = ",".join([f"${at}" for at in range(1, len(key) + 3)])
            await self.sql(f"INSERT INTO {table} VALUES ({places}) ON CONFLICT DO NOTHING", *key, n, put)
        at = len(key) + 1
        rows = await self.rows(f"SELECT {body} FROM {table} WHERE {where} AND (${at} = 0 OR {number} = ${at})"
                               f" ORDER BY {number} DESC LIMIT 1", *key, n)  # fmt: skip
        return rows[0][0] if rows else None

    async def latest(self, name: str) -> int:
        rows = await self.rows("SELECT coalesce(max(n), 0) FROM tmpl WHERE tenant = $1 AND name = $2", self.tenant,
                               name)  # fmt: skip
        return int(rows[0][0])

    async def snapshot(self, asker: Asker, id: str, upto: int, body: bytes) -> None:
        context, outcome = await self.find(asker, id, writes=True)
        if context is None or outcome != "ok" or upto > context.seq:
            return
        await self.sql("INSERT INTO snap VALUES ($1,$2,$3,$4) ON CONFLICT (tenant, id) DO UPDATE SET"
                       " (seq, body) = (excluded.seq, excluded.body) WHERE excluded.seq > snap.seq",
                       self.tenant, id, upto, body)  # fmt: skip

    async def touch(self, asker: Asker, id: str, about: bytes | None, ttl: int | None, access: Access | None) -> bool:
        context, outcome = await self.find(asker, id, writes=True)
        if context is None or outcome != "ok":
            return False
        context.about = context.about if about is None else about
        context.access = context.access if access is None else access
        if ttl is not None:
            context.ttl = ttl
            context.expires = self.now + ttl if ttl else 0
        await self.save(context)
        return True


_NUMBERED: Final = {
    "tmpl": ("body", "n", "tenant = $1 AND name = $2"),
    "tkey": ("sealed", "v", "tenant = $1"),
}
"""Table → its content, its number, its key."""


def context_of(row: asyncpg.Record) -> Context:
    (tenant, id, subject, group, access, cls, salt, dek, seq, gen, created, expires, ttl, sliding, size, gone,
     about) = tuple(row)[:17]  # fmt: skip
    return Context(tenant, id, subject, group, _ACCESS[access], PRIVACY[cls], salt, dek, seq, gen, created, expires,
                   ttl, sliding, size, gone, about)  # fmt: skip


def meta_of(context: Context, names: Iterable[str]) -> Meta:
    return Meta(
        tenant=context.tenant, id=context.id, subject=context.subject, group=context.group, access=context.access,
        privacy=context.privacy, salt=context.salt, dek=context.dek, seq=context.seq, gen=context.gen,
        created=context.created, expires=context.expires, ttl=context.ttl, sliding=context.sliding, size=context.size,
        about=context.about, names=tuple(names),
        refs=tuple([Ref(name, ref.head, ref.pending, ref.fence, ref.lease_until)
                    for name, ref in sorted(context.refs.items())]),
    )  # fmt: skip


def _node(row: asyncpg.Record) -> Node:
    _, id, branch, parent, status, fp, digest, first, _ = row
    return Node(id, branch, parent, _STATUSES[status], fp, digest, first)


def _entry(row: asyncpg.Record) -> StoredEntry:
    seq, kind, version, parents, branch, status, fp, digest, ts, body = row
    return StoredEntry(seq=seq, kind=_KINDS[kind], version=version, parents=tuple(parents), branch=branch,
                       status=_STATUSES[status], fp=fp, digest=digest, ts=ts, body=body)  # fmt: skip
