"""What changes the tables of ``postgres`` (CRP 11.7): turns, additions, and what destroys. Ours alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from tidegate.exchange.context import PRIVACY, Access, EntryKind, Privacy, Status
from tidegate.exchange.context_log import (
    BLOB,
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
    Create,
    Deletion,
    Draft,
    Lease,
    Payload,
    StoredEntry,
)
from tidegate.repositories._postgres_tables import (
    ACCESS,
    KINDS,
    NUMBERED,
    STATUSES,
    Context,
    Tables,
    Turn,
    read_draft,
    write_draft,
)
from tidegate.rules.context_begin import (
    EXPIRED,
    Decision,
    Lookup,
    decide_append,
    decide_begin,
    decide_commit,
    draft_size,
    higher,
    overdue,
    slid,
    wanted,
)


class Writing(Tables):
    """Whoever calls holds the lock of the context."""

    async def save(self, context: Context) -> None:
        if context.new:
            context.new = False
            await self.sql(
                "INSERT INTO ctx VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)"
                " ON CONFLICT (tenant, id) DO UPDATE SET (subject, grp, access, cls, salt, dek, seq, gen, created,"
                " expires, ttl, sliding, size, gone, about) = (excluded.subject, excluded.grp, excluded.access,"
                " excluded.cls, excluded.salt, excluded.dek, excluded.seq, excluded.gen, excluded.created,"
                " excluded.expires, excluded.ttl, excluded.sliding, excluded.size, excluded.gone, excluded.about)",
                context.tenant, context.id, context.subject, context.group, ACCESS.index(context.access),
                PRIVACY.index(context.privacy), context.salt, context.dek, context.seq, context.gen, context.created,
                context.expires, context.ttl, context.sliding, context.size, context.gone, context.about,
            )  # fmt: skip
            return
        await self.sql("UPDATE ctx SET access = $3, cls = $4, seq = $5, gen = $6, expires = $7, ttl = $8, size = $9,"
                       " about = $10 WHERE tenant = $1 AND id = $2", context.tenant, context.id,
                       ACCESS.index(context.access), PRIVACY.index(context.privacy), context.seq, context.gen,
                       context.expires, context.ttl, context.size, context.about)  # fmt: skip

    async def save_ref(self, context: Context, ref: Turn, ending: bytes) -> None:
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

    async def remember(self, scope: str, key: str, fp: bytes, version: str, until: int) -> None:
        await self.sql("INSERT INTO idem VALUES ($1,$2,$3,$4,$5,$6) ON CONFLICT (tenant, scope, k) DO UPDATE SET"
                       " (fp, ver, expires) = (excluded.fp, excluded.ver, excluded.expires)",
                       self.tenant, scope, key, fp, version, until)  # fmt: skip

    async def log(self, context: Context, kind: EntryKind, version: str, parents: tuple[str, ...], branch: str,
                  status: Status, fp: bytes, digest: bytes, draft: Draft) -> int:  # fmt: skip
        context.seq += 1
        context.size += draft_size(draft)
        seq, id = context.seq, context.id
        laid = {(one.item, one.rev): one for one in draft.payloads}.values()
        large = await self._lay_large(laid)
        # One trip for all of it.
        await self.sql(
            "WITH e AS (INSERT INTO entry VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12)),"
            " n AS (INSERT INTO node SELECT $1, $5, $2, $7, $13, $8, $9, $10, $3, $3, $11 WHERE $5 <> ''"
            "  ON CONFLICT (tenant, ver)"
            "  DO UPDATE SET (status, digest, last) = (excluded.status, excluded.digest, excluded.last))"
            " INSERT INTO item SELECT $1, $2, $3, * FROM unnest($14::text[], $15::int[], $16::bytea[], $17::bytea[],"
            " $18::bytea[], $19::bytea[])", self.tenant, id, seq, KINDS.index(kind), version, parents, branch,
            STATUSES.index(status), fp, digest, self.now, draft.body, parents[0] if parents else "",
            [one.item for one in laid], [one.rev for one in laid], [one.nonce for one in laid],
            [one.ikey for one in laid], [large.get(one) for one in laid],
            [None if one in large else one.body for one in laid],
        )  # fmt: skip
        context.entries.append(StoredEntry(
            seq=seq, kind=kind, version=version, parents=parents, branch=branch, status=status, fp=fp, digest=digest,
            ts=self.now, body=draft.body,
        ))  # fmt: skip
        context.payloads += [Payload(one.item, one.rev, one.nonce, one.body, one.ikey, seq) for one in laid]
        return seq

    async def _lay_large(self, payloads: Iterable[Payload]) -> dict[Payload, bytes]:
        """Large plain contents are kept once a tenant: those, and by which hash."""
        large = {one: sha256(one.body).digest() for one in payloads if len(one.body) >= BLOB and not one.ikey}
        # In one order, so that two transactions never wait for each other.
        for one, hash_ in sorted(large.items(), key=lambda pair: pair[1]):
            await self.sql("INSERT INTO blob VALUES ($1,$2,$3,1) ON CONFLICT (tenant, hash)"
                           " DO UPDATE SET refs = blob.refs + 1", self.tenant, hash_, one.body)  # fmt: skip
        return large

    async def settle_overdue(self, context: Context) -> None:
        for ref in overdue(self.now, context.refs.values()):
            await self.settle(context, context.refs[ref.name])

    async def settle(self, context: Context, ref: Turn) -> None:
        ending = (await self.rows("SELECT ending FROM ref WHERE tenant = $1 AND id = $2 AND branch = $3", self.tenant,
                                  context.id, ref.name))[0][0]  # fmt: skip
        node = (await self.nodes([ref.pending])).get(ref.pending)
        parent, fp = (node.parent, node.fp) if node is not None else ("", b"")
        await self.log(context, "commit", ref.pending, (parent,) if parent else (), ref.name, "incomplete", fp, b"",
                       read_draft(ending))  # fmt: skip
        await self.end(context, ref, ref.pending)

    async def end(self, context: Context, ref: Turn, head: str) -> None:
        ref.head = head
        ref.pending = ref.owner = ""
        ref.token = b""
        ref.lease_until = 0
        await self.save_ref(context, ref, b"")

    def used(self, context: Context, privacy: Privacy) -> None:
        context.privacy = higher(context.privacy, privacy)
        context.expires = slid(self.now, context.ttl, context.sliding, context.expires)

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
            context.refs[done.branch] = Turn(done.branch, done.base)
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
            return Committed(outcome if outcome in ENDED else "fenced")
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
        if record.create is not None and context is not None and outcome not in ENDED:
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
                context.refs[done.branch] = Turn(done.branch, done.base)
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
            draft = read_draft(ending)
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
        await self.strike(context, b"")
        return Deletion(id, self.now, count, context.size, heads.digest(), ("postgres",))

    async def strike(self, context: Context, about: bytes = EXPIRED) -> None:
        """All of it but a tombstone."""
        id = context.id
        rows = await self.rows("SELECT hash FROM item WHERE tenant = $1 AND id = $2 AND hash IS NOT NULL", self.tenant,
                               id)  # fmt: skip
        await self._drop_blobs([row[0] for row in rows])
        for table in ("entry", "item", "ref", "snap", "alias", "node"):
            await self.sql(f"DELETE FROM {table} WHERE tenant = $1 AND id = $2", self.tenant, id)
        await self.sql("DELETE FROM idem WHERE tenant = $1 AND scope = $2", self.tenant, id)
        await self.sql("UPDATE ctx SET salt = '', dek = '', about = $4, seq = 0, size = 0, gone = $3, expires = $3"
                       " WHERE tenant = $1 AND id = $2", self.tenant, id, self.now + TOMBSTONE, about)  # fmt: skip

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
        body, number, where = NUMBERED[table]
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
