"""The tables of ``postgres`` and what is done with them in one transaction (CRP 11.7). Whoever calls has begun it for
the tenant, and holds the lock of the context it writes to. Ours alone: only ``postgres.py`` imports it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from tidegate.exchange.context import PRIVACY, Access, EntryKind, Privacy, Status
from tidegate.exchange.context_ids import read_id
from tidegate.exchange.context_log import (
    MISSING,
    RETRY_WINDOW,
    Asker,
    Damage,
    Draft,
    Found,
    Loaded,
    Meta,
    Outcome,
    Payload,
    Ref,
    Snapshot,
    StoredEntry,
)
from tidegate.rules.context_begin import (
    EXPIRED,
    Branch,
    Known,
    Node,
    draft_size,
    fitting,
    missing,
)
from tidegate.rules.context_fsck import damage_of

LAYOUT: Final = 1
"""Of schemas written now; a later one is refused."""
PARTITIONS: Final = 8
_RECENT: Final = 10_000
"""Entries among which a repeated request is looked for; ten minutes do not make more."""
KINDS: Final[tuple[EntryKind, ...]] = ("reserve", "commit", "delta", "control")
STATUSES: Final[tuple[Status, ...]] = ("in_progress", "completed", "incomplete", "failed", "cancelled")
ACCESS: Final[tuple[Access, ...]] = ("subject", "group", "tenant")

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
read_draft: Final = msgspec.msgpack.Decoder(Draft).decode


class Turn(Branch):
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
    refs: dict[str, Turn] = {}
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
        context.refs = {row[0]: Turn(*row) for row in refs}
        if not asker.sees(context.access, context.subject, context.group):
            return context, "not_found"
        if self.is_gone(context):
            return context, "gone" if context.gone and context.about != EXPIRED else "expired"
        return context, "ok"

    async def context(self, id: str, lock: str = "") -> Context | None:
        rows = await self.rows(f"SELECT *, {CLOCK} FROM ctx WHERE tenant = $1 AND id = $2{lock}", self.tenant, id)
        if rows:
            self.now = rows[0][-1]
            return context_of(rows[0])
        self.now = (await self.rows(f"SELECT {CLOCK}"))[0][0]
        return None

    def is_gone(self, context: Context) -> bool:
        return context.gone != 0 or 0 < context.expires <= self.now

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

    # -- reading -------------------------------------------------------------------------------------------------------

    async def meta(self, asker: Asker, context: Context) -> Meta:
        names = await self.rows("SELECT name FROM alias WHERE tenant = $1 AND id = $2 AND ($3 OR subject = $4)"
                                " ORDER BY name", context.tenant, context.id, asker.all, asker.subject)  # fmt: skip
        return meta_of(context, [row[0] for row in names])

    async def read(
        self, asker: Asker, context: Context, known: int, limit: int = 0, whole: bool = False
    ) -> Loaded:  # fmt: skip
        tenant, id = context.tenant, context.id
        if context.entries and known == context.entries[0].seq - 1:
            return Loaded(meta=await self.meta(asker, context), entries=tuple(context.entries),
                          payloads=tuple(context.payloads))  # fmt: skip
        snaps = await self.rows("SELECT seq, body FROM snap WHERE tenant = $1 AND id = $2 AND seq > $3 AND NOT $4",
                                tenant, id, known, whole)  # fmt: skip
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

    async def load(self, asker: Asker, id: str, known: int, limit: int, whole: bool) -> Loaded:
        context, outcome = await self.find(asker, id)
        if context is None or outcome != "ok":
            return Loaded(outcome=outcome)
        return await self.read(asker, context, known, limit, whole)

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
            context.refs = {row[0]: Turn(*row) for row in refs}
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

    async def latest(self, name: str) -> int:
        rows = await self.rows("SELECT coalesce(max(n), 0) FROM tmpl WHERE tenant = $1 AND name = $2", self.tenant,
                               name)  # fmt: skip
        return int(rows[0][0])


NUMBERED: Final = {
    "tmpl": ("body", "n", "tenant = $1 AND name = $2"),
    "tkey": ("sealed", "v", "tenant = $1"),
}
"""Table → its content, its number, its key."""


def context_of(row: asyncpg.Record) -> Context:
    (tenant, id, subject, group, access, cls, salt, dek, seq, gen, created, expires, ttl, sliding, size, gone,
     about) = tuple(row)[:17]  # fmt: skip
    return Context(tenant, id, subject, group, ACCESS[access], PRIVACY[cls], salt, dek, seq, gen, created, expires,
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
    return Node(id, branch, parent, STATUSES[status], fp, digest, first)


def _entry(row: asyncpg.Record) -> StoredEntry:
    seq, kind, version, parents, branch, status, fp, digest, ts, body = row
    return StoredEntry(seq=seq, kind=KINDS[kind], version=version, parents=tuple(parents), branch=branch,
                       status=STATUSES[status], fp=fp, digest=digest, ts=ts, body=body)  # fmt: skip
