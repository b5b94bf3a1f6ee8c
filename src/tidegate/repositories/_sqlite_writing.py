"""What the writer of ``sqlite`` does in one transaction: begin, commit, append, redact, delete, sweep (CRP 5.2, 11.5).
It decides nothing that ``rules/context_begin`` decides. Ours alone: only ``sqlite.py`` imports it."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from tidegate.exchange.context import Access
from tidegate.exchange.context_log import (
    ENDED,
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
    Deletion,
    Draft,
    Lease,
)
from tidegate.repositories._sqlite_tables import NUMBERED, Context, Tables, Turn, read_context
from tidegate.rules.context_begin import EXPIRED, Decision, decide_append, decide_begin, decide_commit


class Writing(Tables):
    """The connection of the one thread that writes."""

    def begin(self, asker: Asker, id: str, request: Begin, owner: str) -> Begun:
        context, outcome = self.find(asker, id)
        if context is None and request.create is not None:
            context, outcome = self.made(asker.tenant, id, request.create), "ok"
        if context is None or outcome != "ok":
            return Begun(outcome=outcome, context=id)
        tenant, now = asker.tenant, self.now()
        self.settle_overdue(context)
        abroad = "fp:" + request.fp.hex() if request.scope and request.scope != id else ""
        by_key = self.known(tenant, request.scope, "k:" + request.key, context) if request.key else None
        by_fp = None
        if request.retry:
            by_fp = self.known(tenant, request.scope, abroad, context) if abroad else self.printed(context, request.fp)
        done = decide_begin(now, id, request, context.refs, lambda version: self.lookup(tenant, version, id), by_key,
                            by_fp, context.size)  # fmt: skip
        if done.outcome != "ok":
            self.save(context)
            return self._not_begun(asker, context, request, done)
        if done.again:
            node = self.lookup(tenant, request.version, id)
            seq = node.seq if node is not None else 0
        else:
            seq = self._begin_turn(context, request, done, owner)
            if abroad:
                self.remember(tenant, request.scope, abroad, request.fp, request.version, now + RETRY_WINDOW)
            if request.key:
                self.remember(tenant, request.scope, "k:" + request.key, request.fp, request.version,
                              now + IDEMPOTENCY)  # fmt: skip
            self.used(context, request.privacy)
        self.save(context)
        ref = context.refs[done.branch]
        return Begun(
            outcome="ok", context=id, branch=done.branch, base=done.base, head=ref.head, version=request.version,
            lease=Lease(ref.name, request.version, ref.token, ref.fence, ref.lease_until), seq=seq,
            loaded=self.read(asker, context, request.known),
        )  # fmt: skip

    def _begin_turn(self, context: Context, request: Begin, done: Decision, owner: str) -> int:
        if done.ends:
            self.settle(context, context.refs[done.branch])
        if done.opens:
            context.refs[done.branch] = Turn(done.branch, done.base)
        ref = context.refs[done.branch]
        seq = self.log(context, "reserve", request.version, (done.base,) if done.base else (), ref.name, "in_progress",
                       request.fp, b"", request.input)  # fmt: skip
        ref.head = done.base
        ref.pending = request.version
        ref.token = self.token(16)
        ref.fence += 1
        ref.lease_until = self.now() + request.lease
        ref.span = request.lease
        ref.owner = owner
        self.save_ref(context, ref, request.settled)
        return seq

    def _not_begun(self, asker: Asker, context: Context, request: Begin, done: Decision) -> Begun:
        loaded = self.missing(asker, context, request.parent, done.head) if done.outcome == "conflict" else None
        return Begun(
            outcome=done.outcome, context=done.context or context.id, branch=done.branch, head=done.head,
            version=done.version, retry_after=done.retry_after, what=done.what, loaded=loaded,
        )  # fmt: skip

    def renew(self, asker: Asker, id: str, lease: Lease, settled: Draft | None) -> Lease | None:
        context, outcome = self.find(asker, id)
        ref = context.refs.get(lease.branch) if context is not None and outcome == "ok" else None
        if (
            context is None
            or ref is None
            or (ref.pending, ref.token, ref.fence) != (lease.version, lease.token, lease.fence)
        ):
            return None
        until = ref.lease_until = self.now() + ref.span
        if settled is not None:
            self.save_ref(context, ref, settled)
        else:
            self.sql("UPDATE ref SET lease_until = ? WHERE tenant = ? AND id = ? AND branch = ?", until, asker.tenant,
                     id, lease.branch)  # fmt: skip
        return Lease(lease.branch, lease.version, lease.token, lease.fence, until)

    def commit(self, asker: Asker, id: str, lease: Lease, record: Commit) -> Committed:
        context, outcome = self.find(asker, id)
        if context is None or outcome != "ok":
            return Committed(outcome if outcome in ENDED else "fenced")
        ref = context.refs.get(lease.branch)
        node = self.lookup(asker.tenant, lease.version, id)
        done = decide_commit(ref, node, lease, record, context.size)
        if done.outcome != "ok":
            return Committed(done.outcome)
        if done.again or ref is None or node is None:
            last = self.rows("SELECT max(seq) FROM entry INDEXED BY entry_ver WHERE tenant = ? AND ver = ?",
                             asker.tenant, lease.version)[0][0]  # fmt: skip
            return Committed("ok", last, context.gen)
        seq = self.log(context, "commit", lease.version, (node.parent,) if node.parent else (), ref.name, record.status,
                       node.fp, record.digest, record.output)  # fmt: skip
        self.end(context, ref, done.head)
        self.used(context, record.privacy)
        self.save(context)
        return Committed("ok", seq, context.gen)

    def settle_of(self, owner: str, ids: Sequence[tuple[str, str]]) -> int:
        count = 0
        for tenant, id in ids:
            context = self.context(tenant, id)
            if context is None:
                continue
            self.read_refs(context)
            for ref in context.refs.values():
                if ref.pending and ref.owner == owner:
                    self.settle(context, ref)
                    count += 1
            self.save(context)
        return count

    def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        context, outcome = self.find(asker, id)
        if record.create is not None and context is not None and outcome not in ENDED:
            if context.salt != record.create.salt:
                return Appended(outcome="exists")
            if not record.version:
                ref = context.refs.get(record.branch)
                return Appended(outcome="ok", seq=1, gen=context.gen, head=ref.head if ref is not None else "")
        elif record.create is not None and context is None:
            context, outcome = self.made(asker.tenant, id, record.create), "ok"
        if context is None or outcome != "ok":
            return Appended(outcome=outcome)
        tenant = asker.tenant
        self.settle_overdue(context)
        by_key = self.known(tenant, record.scope, "k:" + record.key, context) if record.key else None
        done = decide_append(self.now(), id, record, context.refs, lambda version: self.lookup(tenant, version, id),
                             by_key, context.size)  # fmt: skip
        if done.outcome != "ok":
            self.save(context)
            lacks = self.missing(asker, context, record.expect or "", done.head) if done.outcome == "conflict" else None
            return Appended(outcome=done.outcome, gen=context.gen, head=done.head, version=done.version,
                            retry_after=done.retry_after, what=done.what, loaded=lacks)  # fmt: skip
        if done.again:
            node = self.lookup(tenant, record.version, id)
            seq = node.seq if node is not None else 0
        else:
            seq = self._add(context, record, done)
        self.save(context)
        return Appended(outcome="ok", seq=seq, gen=context.gen, head=done.head, version=record.version,
                        loaded=self.read(asker, context, record.known))  # fmt: skip

    def _add(self, context: Context, record: Addition, done: Decision) -> int:
        parents = record.parents or ((done.base,) if done.base and record.version else ())
        seq = self.log(context, record.kind, record.version, parents, done.branch, "completed", record.fp,
                       record.digest, record.entry)  # fmt: skip
        if record.moves:
            if done.opens:
                context.refs[done.branch] = Turn(done.branch, done.base)
            ref = context.refs[done.branch]
            ref.head = done.head
            self.save_ref(context, ref, None)
        if record.key:
            self.remember(context.tenant, record.scope, "k:" + record.key, record.fp, record.version,
                          self.now() + IDEMPOTENCY)  # fmt: skip
        if record.about is not None:
            context.about = record.about
        self.used(context, record.privacy)
        return seq

    def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        context, outcome = self.find(asker, id)
        if context is None or outcome != "ok":
            return None
        count = 0
        for name in dict.fromkeys(items):
            rows = self.rows("SELECT item.pad, length(nonce) + length(ikey) + length(content)"
                             " + coalesce(length(blob.body), 0), item.hash FROM item"
                             " LEFT JOIN blob ON blob.tenant = item.tenant AND blob.hash = item.hash"
                             " WHERE item.tenant = ? AND id = ? AND item = ?", asker.tenant, id, name)  # fmt: skip
            for pad, size, hash_ in rows:
                context.size -= size
                self.shred("n = ?", pad)
                if hash_ is not None:
                    self._drop_blob(asker.tenant, hash_)
            self.sql("DELETE FROM item WHERE tenant = ? AND id = ? AND item = ?", asker.tenant, id, name)
            count += len(rows)
        for ref in context.refs.values():
            if ref.pad:
                ending = self.ending_of(context, ref)
                kept = tuple([one for one in ending.payloads if one.item not in items])
                self.save_ref(context, ref, Draft(ending.body, kept))
        self.sql("DELETE FROM snap WHERE tenant = ? AND id = ?", asker.tenant, id)
        context.gen += 1
        self.log(context, "control", "", (), "", "completed", b"", b"", entry)
        self.save(context)
        return count

    def _drop_blob(self, tenant: str, hash_: bytes) -> None:
        self.sql("UPDATE blob SET refs = refs - 1 WHERE tenant = ? AND hash = ?", tenant, hash_)
        self.shred("n IN (SELECT pad FROM blob WHERE tenant = ? AND hash = ? AND refs < 1)", tenant, hash_)
        self.sql("DELETE FROM blob WHERE tenant = ? AND hash = ? AND refs < 1", tenant, hash_)

    def claim_name(self, tenant: str, subject: str, name: str, id: str) -> str:
        rows = self.rows("SELECT id FROM alias WHERE tenant = ? AND subject = ? AND name = ?", tenant, subject, name)
        if rows:
            context = self.context(tenant, rows[0][0])
            if context is None or not self.is_gone(context):
                return str(rows[0][0])
        self.sql("INSERT OR REPLACE INTO alias VALUES (?,?,?,?)", tenant, subject, name, id)
        return id

    def put_numbered(self, table: str, key: Sequence[str], n: int, put: bytes, once: bool) -> bytes | None:
        """*put* under number *n* (0: the next one, or, with *once*, the latest there is) unless it is taken."""
        _, number, where = NUMBERED[table]
        if n == 0:
            last = int(self.rows(f"SELECT coalesce(max({number}), 0) FROM {table} WHERE {where}", *key)[0][0])
            n = last if once and last else last + 1
        self.sql(f"INSERT OR IGNORE INTO {table} VALUES ({'?,' * len(key)}?,?)", *key, n, put)
        return self.numbered(table, key, n)

    def snapshot(self, asker: Asker, id: str, upto: int, body: bytes) -> None:
        context, outcome = self.find(asker, id, refs=False)
        if context is None or outcome != "ok" or upto > context.seq:
            return
        self.sql("INSERT INTO snap VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET seq = excluded.seq, body = excluded.body"
                 " WHERE excluded.seq > seq", asker.tenant, id, upto, body)  # fmt: skip

    def drop_snapshots(self) -> int:
        return self.sql("DELETE FROM snap").rowcount

    def touch(self, asker: Asker, id: str, about: bytes | None, ttl: int | None, access: Access | None) -> bool:
        context, outcome = self.find(asker, id, refs=False)
        if context is None or outcome != "ok":
            return False
        context.about = context.about if about is None else about
        context.access = context.access if access is None else access
        if ttl is not None:
            context.ttl = ttl
            context.expires = self.now() + ttl if ttl else 0
        context.dirty = True
        self.save(context)
        return True

    def delete(self, asker: Asker, id: str) -> Deletion | None:
        context, outcome = self.find(asker, id)
        if context is None or outcome != "ok":
            return None
        heads = sha256()
        for _, ref in sorted(context.refs.items()):
            node = self.lookup(asker.tenant, ref.head, id) if ref.head else None
            heads.update(node.digest if node is not None else b"")
        count = self.rows("SELECT count(*) FROM entry WHERE tenant = ? AND id = ?", asker.tenant, id)[0][0]
        self.strike(context, b"")
        return Deletion(id, self.now(), count, context.size, heads.digest(), ("sqlite",))

    def strike(self, context: Context, about: bytes = EXPIRED) -> None:
        """All of it but a tombstone."""
        tenant, id = context.tenant, context.id
        for (hash_,) in self.rows("SELECT hash FROM item WHERE tenant = ? AND id = ? AND hash IS NOT NULL", tenant, id):
            self._drop_blob(tenant, hash_)
        for table in ("item", "ref"):
            self.shred(f"n IN (SELECT pad FROM {table} WHERE tenant = ? AND id = ?)", tenant, id)
        for table in ("entry", "item", "ref", "snap", "alias"):
            self.sql(f"DELETE FROM {table} WHERE tenant = ? AND id = ?", tenant, id)
        self.sql("DELETE FROM idem WHERE tenant = ? AND scope = ?", tenant, id)
        until = self.now() + TOMBSTONE
        self.sql("UPDATE ctx SET salt = x'', dek = x'', about = ?, seq = 0, size = 0, gone = ?, expires = ?"
                 " WHERE tenant = ? AND id = ?", about, until, until, tenant, id)  # fmt: skip

    def sweep(self, limit: int) -> int:
        now = self.now()
        rows = self.rows("SELECT * FROM ctx WHERE expires > 0 AND expires <= ? ORDER BY expires LIMIT ?", now, limit)
        for row in rows:
            context = read_context(row)
            if context.gone:
                self.sql("DELETE FROM ctx WHERE tenant = ? AND id = ?", context.tenant, context.id)
            else:
                self.strike(context)
        self.sql("DELETE FROM idem WHERE expires <= ?", now)
        return len(rows)
