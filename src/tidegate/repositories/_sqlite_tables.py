"""The tables of ``sqlite`` and what one thread does with them (CRP 11.5). Whoever calls holds a transaction; nothing
here waits, and time and tokens are given. Ours alone: only ``sqlite.py`` imports it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from tidegate.exchange.context import PRIVACY, Access, EntryKind, Privacy, Status
from tidegate.exchange.context_ids import read_id
from tidegate.exchange.context_log import (
    BLOB,
    RETRY_WINDOW,
    Asker,
    Create,
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
    higher,
    missing,
    overdue,
    slid,
)
from tidegate.rules.context_fsck import damage_of

LAYOUT: Final = 1
"""``user_version`` of files written now; a later one is refused."""
_RECENT: Final = 10_000
"""Entries among which a repeated request is looked for; ten minutes do not make more."""
_KINDS: Final[tuple[EntryKind, ...]] = ("reserve", "commit", "delta", "control")
_STATUSES: Final[tuple[Status, ...]] = ("in_progress", "completed", "incomplete", "failed", "cancelled")
_ACCESS: Final[tuple[Access, ...]] = ("subject", "group", "tenant")

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS ctx (tenant TEXT, id TEXT, subject TEXT, grp TEXT, access INT, cls INT, salt BLOB, dek BLOB,
  seq INT, gen INT, created INT, expires INT, ttl INT, sliding INT, size INT, gone INT, about BLOB,
  PRIMARY KEY (tenant, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ctx_ends ON ctx (expires) WHERE expires > 0;
CREATE TABLE IF NOT EXISTS alias (tenant TEXT, subject TEXT, name TEXT, id TEXT, PRIMARY KEY (tenant, subject, name))
  WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alias_id ON alias (tenant, id);
CREATE TABLE IF NOT EXISTS ref (tenant TEXT, id TEXT, branch TEXT, head TEXT, pending TEXT, token BLOB, fence INT,
  lease_until INT, span INT, owner TEXT, ending BLOB, pad INT, PRIMARY KEY (tenant, id, branch)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ref_flight ON ref (owner) WHERE pending <> '';
CREATE TABLE IF NOT EXISTS entry (tenant TEXT, id TEXT, seq INT, kind INT, ver TEXT, parents TEXT, branch TEXT,
  status INT, fp BLOB, digest BLOB, ts INT, body BLOB, PRIMARY KEY (tenant, id, seq)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_ver ON entry (tenant, ver);
CREATE TABLE IF NOT EXISTS item (tenant TEXT, id TEXT, seq INT, item TEXT, rev INT, nonce BLOB, ikey BLOB, hash BLOB,
  content BLOB, pad INT, PRIMARY KEY (tenant, id, seq, item, rev)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snap (tenant TEXT, id TEXT, seq INT, body BLOB, PRIMARY KEY (tenant, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob (tenant TEXT, hash BLOB, body BLOB, refs INT, pad INT, PRIMARY KEY (tenant, hash))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pad (n INTEGER PRIMARY KEY, key BLOB, free INT);
CREATE INDEX IF NOT EXISTS pad_free ON pad (n) WHERE free = 1;
CREATE TABLE IF NOT EXISTS idem (tenant TEXT, scope TEXT, k TEXT, fp BLOB, ver TEXT, expires INT,
  PRIMARY KEY (tenant, scope, k)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tmpl (tenant TEXT, name TEXT, n INT, body BLOB, PRIMARY KEY (tenant, name, n)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tkey (tenant TEXT, v INT, sealed BLOB, PRIMARY KEY (tenant, v)) WITHOUT ROWID;
"""
_ENTRY: Final = "SELECT seq, kind, ver, parents, branch, status, fp, digest, ts, body FROM entry"
_ITEM: Final = (
    "SELECT item.item, rev, nonce, content, ikey, seq, pad.key, blob.body, other.key FROM item"
    " JOIN pad ON pad.n = item.pad"
    " LEFT JOIN blob ON blob.tenant = item.tenant AND blob.hash = item.hash"
    " LEFT JOIN pad AS other ON other.n = blob.pad WHERE item.tenant = ? AND id = ?"
)

write_draft: Final = msgspec.msgpack.Encoder().encode
read_draft: Final = msgspec.msgpack.Decoder(Draft).decode


class Turn(Branch):
    __slots__ = ("owner", "pad", "span")

    def __init__(self, name: str, head: str, pending: str = "", token: bytes = b"", fence: int = 0,
                 lease_until: int = 0, span: int = 0, owner: str = "", pad: int = 0) -> None:  # fmt: skip
        super().__init__(name, head, pending, token, fence, lease_until)
        self.span = span
        self.owner = owner
        self.pad = pad
        """Of what would end its turn, 0 where that holds no content."""


class Context(msgspec.Struct):
    """A row of ``ctx``, column by column, and its refs, while a call is at it. ``entries`` and ``payloads`` were
    written in this call; ``dirty``: to be saved; ``new``: not in the file yet."""

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
    dirty: bool = False
    new: bool = False


class Tables:
    """What is done with one connection, on one thread. Whoever calls holds the transaction."""

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], int], token: Callable[[int], bytes]) -> None:
        self.connection = connection
        self.now = now
        self.token = token
        self.reads = 0

    def sql(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self.connection.execute(statement, values)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        self.reads += 1
        return self.connection.execute(statement, values).fetchall()

    # -- a context -----------------------------------------------------------------------------------------------------

    def find(self, asker: Asker, id: str, refs: bool = True) -> tuple[Context | None, Outcome]:
        """The context and ``ok``; one that may not be seen comes with ``not_found``."""
        context = self.context(asker.tenant, id)
        if context is None or (context.gone and context.gone <= self.now()):
            return None, "not_found"
        if not asker.sees(context.access, context.subject, context.group):
            return context, "not_found"
        if self.is_gone(context):
            return context, "gone" if context.gone and context.about != EXPIRED else "expired"
        if refs:
            self.read_refs(context)
        return context, "ok"

    def context(self, tenant: str, id: str) -> Context | None:
        rows = self.rows("SELECT * FROM ctx WHERE tenant = ? AND id = ?", tenant, id)
        return read_context(rows[0]) if rows else None

    def is_gone(self, context: Context) -> bool:
        return context.gone != 0 or 0 < context.expires <= self.now()

    def read_refs(self, context: Context) -> None:
        for row in self.rows("SELECT branch, head, pending, token, fence, lease_until, span, owner, pad FROM ref"
                             " WHERE tenant = ? AND id = ? ORDER BY branch", context.tenant, context.id):  # fmt: skip
            context.refs[row[0]] = Turn(*row)

    def save(self, context: Context) -> None:
        if not context.dirty:
            return
        context.dirty = False
        if context.new:
            context.new = False
            self.sql("INSERT OR REPLACE INTO ctx VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                     context.tenant, context.id, context.subject, context.group, _ACCESS.index(context.access),
                     PRIVACY.index(context.privacy), context.salt, context.dek, context.seq, context.gen,
                     context.created, context.expires, context.ttl, context.sliding, context.size, context.gone,
                     context.about)  # fmt: skip
            return
        self.sql("UPDATE ctx SET access = ?, cls = ?, seq = ?, gen = ?, expires = ?, ttl = ?, size = ?, about = ?"
                 " WHERE tenant = ? AND id = ?", _ACCESS.index(context.access), PRIVACY.index(context.privacy),
                 context.seq, context.gen, context.expires, context.ttl, context.size, context.about, context.tenant,
                 context.id)  # fmt: skip

    def save_ref(self, context: Context, ref: Turn, ending: Draft | None) -> None:
        """*ending* is what would end its turn, None without one."""
        if ref.pad:
            self.shred("n = ?", ref.pad)
            ref.pad = 0
        body = b"" if ending is None else write_draft(ending)
        if ending is not None and ending.payloads:
            ref.pad, key = self.new_pad()
            body = masked(key, body)
        self.sql("INSERT OR REPLACE INTO ref VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", context.tenant, context.id, ref.name,
                 ref.head, ref.pending, ref.token, ref.fence, ref.lease_until, ref.span, ref.owner, body,
                 ref.pad)  # fmt: skip

    def ending_of(self, context: Context, ref: Turn) -> Draft:
        rows = self.rows("SELECT ending, key FROM ref LEFT JOIN pad ON n = pad WHERE tenant = ? AND id = ?"
                         " AND branch = ?", context.tenant, context.id, ref.name)  # fmt: skip
        ending, key = rows[0]
        return read_draft(ending if key is None else masked(key, ending))

    # -- pads: rows move about in their pages, and SQLite leaves copies behind that no later deletion reaches. A row of
    # -- this table never moves: it is overwritten where it lies, and what it masked is noise wherever it lies.

    def new_pad(self) -> tuple[int, bytes]:
        key = self.token(32)
        free = self.rows("SELECT n FROM pad INDEXED BY pad_free WHERE free = 1 LIMIT 1")
        if free:
            self.sql("UPDATE pad SET key = ?, free = 0 WHERE n = ?", key, free[0][0])
            return free[0][0], key
        return self.sql("INSERT INTO pad (key, free) VALUES (?, 0)", key).lastrowid or 0, key

    def shred(self, which: str, *values: Any) -> None:
        self.sql(f"UPDATE pad SET key = zeroblob(32), free = 1 WHERE {which}", *values)

    def made(self, tenant: str, id: str, create: Create) -> Context:
        now = self.now()
        context = Context(tenant, id, create.subject, create.group, create.access, create.privacy, create.salt,
                           create.dek, 0, 0, now, 0, create.ttl, create.sliding, 0, 0, create.about)  # fmt: skip
        context.new = True
        return context

    def lookup(self, tenant: str, version: str, within: str) -> Node | None:
        """The version, unless it lies in another context than *within* that is gone."""
        if not version:
            return None
        rows = self.rows("SELECT id, seq, branch, parents, status, fp, digest FROM entry INDEXED BY entry_ver"
                         " WHERE tenant = ? AND ver = ? ORDER BY id, seq", tenant, version)  # fmt: skip
        if not rows:
            return None
        id, _, branch, parents, status, fp, digest = rows[-1]
        if id != within:
            other = self.context(tenant, id)
            if other is None or self.is_gone(other):
                return None
        return Node(id, branch, parents.partition(" ")[0], _STATUSES[status], fp, digest, rows[0][1])

    def known(self, tenant: str, scope: str, key: str, context: Context) -> Known | None:
        """What was remembered, its turn settled if its lease is over: it may lie in another context."""
        rows = self.rows("SELECT fp, ver, expires FROM idem WHERE tenant = ? AND scope = ? AND k = ?",
                         tenant, scope, key)  # fmt: skip
        if not rows:
            return None
        node = self.lookup(tenant, rows[0][1], context.id)
        if node is not None and node.context != context.id and node.status == "in_progress":
            other = self.context(tenant, node.context)
            if other is not None:
                self.read_refs(other)
                self.settle_overdue(other)
                self.save(other)
        return Known(*rows[0])

    def printed(self, context: Context, fp: bytes) -> Known | None:
        """The last turn of that fingerprint. Entries bear theirs, so what happens in a context is not noted twice."""
        rows = self.rows("SELECT fp, ver, ts + ? FROM entry WHERE tenant = ? AND id = ? AND seq > ? AND fp = ?"
                         " AND kind = 0 ORDER BY seq DESC LIMIT 1",
                         RETRY_WINDOW, context.tenant, context.id, context.seq - _RECENT, fp)  # fmt: skip
        return Known(*rows[0]) if rows else None

    def remember(self, tenant: str, scope: str, key: str, fp: bytes, version: str, until: int) -> None:
        self.sql("INSERT OR REPLACE INTO idem VALUES (?,?,?,?,?,?)", tenant, scope, key, fp, version, until)

    def log(self, context: Context, kind: EntryKind, version: str, parents: tuple[str, ...], branch: str,
            status: Status, fp: bytes, digest: bytes, draft: Draft) -> int:  # fmt: skip
        context.seq += 1
        context.size += draft_size(draft)
        context.dirty = True
        now = self.now()
        seq, tenant, id = context.seq, context.tenant, context.id
        self.sql("INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", tenant, id, seq, _KINDS.index(kind), version,
                 " ".join(parents), branch, _STATUSES.index(status), fp, digest, now, draft.body)  # fmt: skip
        context.entries.append(StoredEntry(
            seq=seq, kind=kind, version=version, parents=parents, branch=branch, status=status, fp=fp, digest=digest,
            ts=now, body=draft.body,
        ))  # fmt: skip
        for one in draft.payloads:
            pad, key = self.new_pad()
            hash_ = sha256(one.body).digest() if len(one.body) >= BLOB and not one.ikey else None
            covered = masked(key, one.nonce + one.ikey + (one.body if hash_ is None else b""))
            edge = len(one.nonce) + len(one.ikey)
            self.sql("INSERT OR REPLACE INTO item VALUES (?,?,?,?,?,?,?,?,?,?)", tenant, id, seq, one.item, one.rev,
                     covered[: len(one.nonce)], covered[len(one.nonce) : edge], hash_, covered[edge:], pad)  # fmt: skip
            if hash_ is not None:
                self._keep_blob(tenant, hash_, one.body)
            context.payloads.append(Payload(one.item, one.rev, one.nonce, one.body, one.ikey, seq))
        return seq

    def _keep_blob(self, tenant: str, hash_: bytes, body: bytes) -> None:
        if self.sql("UPDATE blob SET refs = refs + 1 WHERE tenant = ? AND hash = ?", tenant, hash_).rowcount:
            return
        pad, key = self.new_pad()
        self.sql("INSERT INTO blob VALUES (?,?,?,1,?)", tenant, hash_, masked(key, body), pad)

    def settle_overdue(self, context: Context) -> None:
        for ref in overdue(self.now(), context.refs.values()):
            self.settle(context, context.refs[ref.name])

    def settle(self, context: Context, ref: Turn) -> None:
        ending = self.ending_of(context, ref)
        node = self.lookup(context.tenant, ref.pending, context.id)
        parent, fp = (node.parent, node.fp) if node is not None else ("", b"")
        self.log(context, "commit", ref.pending, (parent,) if parent else (), ref.name, "incomplete", fp, b"",
                 ending)  # fmt: skip
        self.end(context, ref, ref.pending)

    def end(self, context: Context, ref: Turn, head: str) -> None:
        ref.head = head
        ref.pending = ref.owner = ""
        ref.token = b""
        ref.lease_until = 0
        self.save_ref(context, ref, None)

    def used(self, context: Context, privacy: Privacy) -> None:
        context.privacy = higher(context.privacy, privacy)
        context.expires = slid(self.now(), context.ttl, context.sliding, context.expires)
        context.dirty = True

    # -- reading -------------------------------------------------------------------------------------------------------

    def meta(self, asker: Asker, context: Context) -> Meta:
        names = self.rows("SELECT name FROM alias WHERE tenant = ? AND id = ? AND (? OR subject = ?) ORDER BY name",
                          context.tenant, context.id, asker.all, asker.subject)  # fmt: skip
        refs = context.refs
        return Meta(
            tenant=context.tenant, id=context.id, subject=context.subject, group=context.group, access=context.access,
            privacy=context.privacy, salt=context.salt, dek=context.dek, seq=context.seq, gen=context.gen,
            created=context.created, expires=context.expires, ttl=context.ttl, sliding=context.sliding,
            size=context.size, about=context.about, names=tuple([row[0] for row in names]),
            refs=tuple([Ref(name, ref.head, ref.pending, ref.fence, ref.lease_until)
                        for name, ref in sorted(refs.items())]),
        )  # fmt: skip

    def read(self, asker: Asker, context: Context, known: int, limit: int = 0, whole: bool = False) -> Loaded:
        tenant, id = context.tenant, context.id
        if context.entries and known == context.entries[0].seq - 1:
            return Loaded(meta=self.meta(asker, context), entries=tuple(context.entries),
                          payloads=tuple(context.payloads))  # fmt: skip
        snaps = [] if whole else self.rows("SELECT seq, body FROM snap WHERE tenant = ? AND id = ? AND seq > ?", tenant,
                                           id, known)  # fmt: skip
        snapshot = Snapshot(*snaps[0]) if snaps else None
        after = snapshot.seq if snapshot is not None else max(known, 0)
        rows = self.rows(_ENTRY + " WHERE tenant = ? AND id = ? AND seq > ? ORDER BY seq LIMIT ?", tenant, id, after,
                         limit + 1 if limit else -1)  # fmt: skip
        truncated = 0 < limit < len(rows)
        entries = [_entry(row) for row in (rows[:limit] if truncated else rows)]
        last = entries[-1].seq if entries else after
        items = self.rows(_ITEM + " AND seq > ? AND seq <= ?", tenant, id, 0 if snapshot is not None else after, last)
        return Loaded(
            meta=self.meta(asker, context), snapshot=snapshot, entries=tuple(entries),
            payloads=tuple([_payload(row) for row in items]), truncated=truncated,
        )  # fmt: skip

    def missing(self, asker: Asker, context: Context, parent: str, head: str) -> Loaded:
        tenant, id = context.tenant, context.id
        chain = missing(parent, head, lambda version: self.lookup(tenant, version, id))
        rows: list[Any] = []
        for version in chain or ():
            rows += self.rows(
                _ENTRY + " INDEXED BY entry_ver WHERE tenant = ? AND ver = ? AND id = ?", tenant, version, id
            )
        rows.sort()
        payloads: dict[int, list[Payload]] = {}
        sizes: list[int] = []
        for row in rows:
            found = [_payload(item) for item in self.rows(_ITEM + " AND seq = ?", tenant, id, row[0])]
            payloads[row[0]] = found
            sizes.append(draft_size(Draft(row[9], tuple(found))))
        count = fitting(sizes)
        return Loaded(
            meta=self.meta(asker, context), entries=tuple([_entry(row) for row in rows[:count]]),
            payloads=tuple([one for row in rows[:count] for one in payloads[row[0]]]),
            truncated=chain is None or count < len(rows),
        )  # fmt: skip

    def load(self, asker: Asker, id: str, known: int, limit: int, whole: bool) -> Loaded:
        context, outcome = self.find(asker, id)
        if context is None or outcome != "ok":
            return Loaded(outcome=outcome)
        return self.read(asker, context, known, limit, whole)

    def contents(self, asker: Asker, id: str, wanted: Sequence[tuple[str, int]]) -> tuple[Payload, ...]:
        if self.find(asker, id, refs=False)[1] != "ok":
            return ()
        found: list[Payload] = []
        for item, rev in dict.fromkeys(wanted):
            rows = self.rows(_ITEM + " AND item.item = ? AND rev = ?", asker.tenant, id, item, rev)
            found += [_payload(row) for row in rows]
        return tuple(found)

    def resolve(self, asker: Asker, handle: str) -> Found | None:
        address = read_id(handle)
        if address is None:
            rows = self.rows("SELECT id FROM alias WHERE tenant = ? AND subject = ? AND name = ?", asker.tenant,
                             asker.subject, handle)  # fmt: skip
            context = self.context(asker.tenant, rows[0][0]) if rows else None
            return Found(rows[0][0]) if rows and (context is None or not self.is_gone(context)) else None
        if address.kind == "context":
            return Found(address.id) if self.context(asker.tenant, address.id) is not None else None
        rows = self.rows("SELECT id, branch FROM entry INDEXED BY entry_ver WHERE tenant = ? AND ver = ? LIMIT 1",
                         asker.tenant, address.id)  # fmt: skip
        return Found(rows[0][0], address.id, rows[0][1]) if rows else None

    def browse(self, asker: Asker, after: str, limit: int, name: str) -> list[Meta]:
        rows = self.rows(
            "SELECT * FROM ctx WHERE tenant = ? AND id < ? AND gone = 0 AND (expires = 0 OR expires > ?)"
            " AND (? OR access = 2 OR access = 1 AND grp <> '' AND grp = ? OR access = 0 AND subject = ?)"
            " AND (? = '' OR id = (SELECT id FROM alias WHERE tenant = ? AND subject = ? AND name = ?))"
            " ORDER BY id DESC LIMIT ?",
            asker.tenant, after or "~", self.now(), asker.all, asker.group, asker.subject, name, asker.tenant,
            asker.subject, name, limit,
        )  # fmt: skip
        found = [read_context(row) for row in rows]
        for context in found:
            self.read_refs(context)
        return [self.meta(asker, context) for context in found]

    def contexts(self, tenant: str, id: str) -> list[tuple[str, str]]:
        """All that live, or those of one tenant, or one."""
        return self.rows("SELECT tenant, id FROM ctx WHERE gone = 0 AND (? = '' OR tenant = ?) AND (? = '' OR id = ?)",
                         tenant, tenant, id, id)  # fmt: skip

    def in_flight(self) -> list[tuple[str, str, str]]:
        """Owner, tenant and context of each turn in flight."""
        return self.rows("SELECT owner, tenant, id FROM ref WHERE pending <> ''")

    def damage(self, tenant: str, id: str) -> list[Damage]:
        """Of one context; of the file, where it is so broken that it cannot be read."""
        try:
            context = self.context(tenant, id)
            if context is None or context.gone:
                return []
            self.read_refs(context)
            rows = self.rows(_ENTRY + " WHERE tenant = ? AND id = ? ORDER BY seq", tenant, id)
            items = self.rows(_ITEM + " AND (item.hash IS NULL OR blob.body IS NOT NULL)", tenant, id)
            meta = self.meta(Asker(tenant, all=True), context)
            return list(damage_of(meta, [_entry(row) for row in rows], [_payload(row) for row in items]))
        except (sqlite3.Error, ValueError, LookupError, TypeError, AttributeError) as error:
            return [Damage(id, "checksum", 0, "", f"its rows cannot be read: {error}")]

    def broken_pages(self) -> list[Damage]:
        """What SQLite itself finds wrong with the file, and contents that the wrong number of items claims."""
        try:
            lines = [row[0] for row in self.rows("PRAGMA integrity_check(100)")]
            counts = self.rows("SELECT hex(blob.hash), refs, count(item.hash) FROM blob LEFT JOIN item"
                               " ON item.tenant = blob.tenant AND item.hash = blob.hash"
                               " GROUP BY blob.tenant, blob.hash HAVING refs <> count(item.hash)")  # fmt: skip
            stray = self.rows("SELECT n FROM pad WHERE free = 0 AND n NOT IN (SELECT pad FROM item UNION ALL"
                              " SELECT pad FROM ref UNION ALL SELECT pad FROM blob) LIMIT 100")  # fmt: skip
        except sqlite3.Error as error:
            return [Damage("", "checksum", 0, "", f"the file cannot be read: {error}")]
        found = [Damage("", "checksum", 0, "", line) for line in lines if line != "ok"]
        found += [Damage("", "orphan", 0, "", f"content {row[0]} counts {row[1]}, is {row[2]}") for row in counts]
        return found + [Damage("", "orphan", 0, "", f"pad {row[0]} covers nothing") for row in stray]

    def seq(self, asker: Asker, id: str) -> int:
        """Of its last entry; -1 where there is nothing to be seen."""
        context, outcome = self.find(asker, id, refs=False)
        return context.seq if context is not None and outcome == "ok" else -1

    def numbered(self, table: str, key: Sequence[str], n: int) -> bytes | None:
        body, number, where = NUMBERED[table]
        rows = self.rows(f"SELECT {body} FROM {table} WHERE {where} AND (? = 0 OR {number} = ?)"
                         f" ORDER BY {number} DESC LIMIT 1", *key, n, n)  # fmt: skip
        return rows[0][0] if rows else None

    def latest(self, tenant: str, name: str) -> int:
        return int(self.rows("SELECT coalesce(max(n), 0) FROM tmpl WHERE tenant = ? AND name = ?", tenant, name)[0][0])

    def due(self) -> bool:
        """Is there anything to sweep?"""
        rows = self.rows("SELECT EXISTS (SELECT 1 FROM ctx WHERE expires > 0 AND expires <= ?)"
                         " OR EXISTS (SELECT 1 FROM idem WHERE expires <= ?)", self.now(), self.now())  # fmt: skip
        return bool(rows[0][0])

    def size(self) -> int:
        (pages,), (size,) = self.rows("PRAGMA page_count")[0], self.rows("PRAGMA page_size")[0]
        return int(pages) * int(size)


NUMBERED: Final = {
    "tmpl": ("body", "n", "tenant = ? AND name = ?"),
    "tkey": ("sealed", "v", "tenant = ?"),
}
"""Table → its content, its number, its key."""


def read_context(row: Any) -> Context:
    (tenant, id, subject, group, access, cls, salt, dek, seq, gen, created, expires, ttl, sliding, size, gone,
     about) = row  # fmt: skip
    return Context(tenant, id, subject, group, _ACCESS[access], PRIVACY[cls], salt, dek, seq, gen, created, expires,
                    ttl, bool(sliding), size, gone, about)  # fmt: skip


def _entry(row: Any) -> StoredEntry:
    seq, kind, version, parents, branch, status, fp, digest, ts, body = row
    return StoredEntry(seq=seq, kind=_KINDS[kind], version=version, parents=tuple(parents.split()), branch=branch,
                       status=_STATUSES[status], fp=fp, digest=digest, ts=ts, body=body)  # fmt: skip


def masked(key: bytes, body: bytes) -> bytes:
    """*body* under the stream of *key*, or back from under it; each key has one body."""
    stream = Cipher(AES256(key), CTR(bytes(16))).encryptor()
    return stream.update(body)


def _payload(row: Any) -> Payload:
    item, rev, nonce, content, ikey, seq, key, blob, other = row
    clear = masked(key, nonce + ikey + content)
    edge = len(nonce) + len(ikey)
    body = clear[edge:] if blob is None else masked(other, blob)
    return Payload(item, rev, clear[: len(nonce)], body, clear[len(nonce) : edge], seq)
