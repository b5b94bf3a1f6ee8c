"""Conversations in the memory of one worker: gone when it ends (CRP 11.4). Also where contexts with ``store: session``
live. The best file to see what a store does: every rule is here, and nothing waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from hashlib import sha256
from heapq import heappop, heappush
from typing import Final

from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.context import Access, EntryKind, Privacy, Status
from tidegate.exchange.context_ids import MAIN, read_id
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
from tidegate.ports.settings import Size
from tidegate.ports.tools import Tools
from tidegate.rules.context_begin import (
    EXPIRED,
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
)
from tidegate.rules.context_fsck import damage_of

_OVERHEAD: Final = 512
"""Bytes that an entry or payload costs besides what it holds, about."""


class Config(BaseModel):
    """Settings of ``memory``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_size: Size = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="Conversations beyond this are forgotten, those that were used longest ago first.",
    )


class _Turn(Branch):
    """A ref, and of its turn in flight who runs it, how long its lease is, what ends it."""

    __slots__ = ("ending", "owner", "span")

    def __init__(self, name: str, head: str = "") -> None:
        super().__init__(name, head)
        self.owner = ""
        self.span = 0
        self.ending = Draft(b"")


class _Context:
    """One conversation. ``gone``: until when its tombstone stands, 0 while it lives."""

    __slots__ = ("entries", "gone", "meta", "nodes", "payloads", "refs", "snapshot", "weight")

    def __init__(self, meta: Meta) -> None:
        self.meta = meta
        self.gone = 0
        self.refs: dict[str, _Turn] = {}
        self.nodes: dict[str, Node] = {}
        self.entries: list[StoredEntry] = []
        self.payloads: dict[tuple[str, int, int], Payload] = {}
        self.snapshot: Snapshot | None = None
        self.weight = 0
        """Bytes it takes, about."""


class Memory:
    """All in dicts, decided by ``rules/context_begin``."""

    def __init__(self, config: Config, tools: Tools) -> None:
        self.name = "memory"
        self.durable = False
        self.instant = True
        self.owner = ""
        self._most = config.max_size
        self._tools = tools
        self._contexts: dict[tuple[str, str], _Context] = {}
        """Those used longest ago first."""
        self._versions: dict[tuple[str, str], _Context] = {}
        self._duplicates: dict[tuple[str, str, str], Known] = {}
        self._names: dict[tuple[str, str, str], str] = {}
        self._named: dict[tuple[str, str], set[tuple[str, str]]] = {}
        """Context → (subject, name) that mean it."""
        self._templates: dict[tuple[str, str], dict[int, bytes]] = {}
        self._keys: dict[str, dict[int, bytes]] = {}
        self._ends: list[tuple[int, str, str]] = []
        """When to look at which context again, the soonest first."""
        self._watchers: dict[tuple[str, str], set[asyncio.Future[None]]] = {}
        self._weight = 0
        self._forgotten = 0

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to keep."""

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def begin(self, asker: Asker, id: str, request: Begin) -> Begun:
        now = self._now()
        context, outcome = self._find(asker, id, now)
        if outcome == "not_found" and context is None and request.create is not None:
            context, outcome = self._made(asker.tenant, id, request.create, now), "ok"
        if context is None or outcome != "ok":
            return Begun(outcome=outcome, context=id)
        self._settle_overdue(context, now)
        key = self._known(asker.tenant, request.scope, "k:" + request.key, now) if request.key else None
        same = self._known(asker.tenant, request.scope or id, "fp:" + request.fp.hex(), now) if request.retry else None
        lookup = self._lookup(asker.tenant, now)
        done = decide_begin(now, id, request, context.refs, lookup, key, same, context.meta.size)
        if done.outcome != "ok":
            return self._not_begun(asker, context, request, done, lookup)
        if not done.again:
            self._write_turn(context, request, done, now)
        ref = context.refs[done.branch]
        return Begun(
            outcome="ok", context=id, branch=done.branch, base=done.base, head=ref.head, version=request.version,
            lease=Lease(ref.name, request.version, ref.token, ref.fence, ref.lease_until),
            seq=context.nodes[request.version].seq, loaded=self._read(asker, context, request.known),
        )  # fmt: skip

    def _write_turn(self, context: _Context, request: Begin, done: Decision, now: int) -> None:
        meta = context.meta
        if not context.entries:
            self._keep(context)
        if done.ends:
            self._settle(context, context.refs[done.branch], now)
        if done.opens:
            context.refs[done.branch] = _Turn(done.branch, done.base)
        ref = context.refs[done.branch]
        ref.head = done.base
        parents = (done.base,) if done.base else ()
        self._log(context, "reserve", request.version, parents, ref.name, "in_progress", request.fp, b"",
                  request.input, now)  # fmt: skip
        ref.pending = request.version
        ref.token = self._tools.token(16)
        ref.fence += 1
        ref.lease_until = now + request.lease
        ref.span = request.lease
        ref.owner = self.owner
        ref.ending = request.settled
        self._remember(meta.tenant, request.scope or meta.id, "fp:" + request.fp.hex(),
                       Known(request.fp, request.version, now + RETRY_WINDOW))  # fmt: skip
        if request.key:
            self._remember(meta.tenant, request.scope, "k:" + request.key,
                           Known(request.fp, request.version, now + IDEMPOTENCY))  # fmt: skip
        self._used(context, now, request.privacy)

    def _not_begun(self, asker: Asker, context: _Context, request: Begin, done: Decision, lookup: Lookup) -> Begun:
        loaded = None
        if done.outcome == "conflict":
            loaded = self._missing(asker, context, request.parent, done.head, lookup)
        return Begun(
            outcome=done.outcome, context=done.context or context.meta.id, branch=done.branch, head=done.head,
            version=done.version, retry_after=done.retry_after, what=done.what, loaded=loaded,
        )  # fmt: skip

    async def renew(self, asker: Asker, id: str, lease: Lease, settled: Draft | None = None) -> Lease | None:
        now = self._now()
        context, outcome = self._find(asker, id, now)
        ref = context.refs.get(lease.branch) if context is not None and outcome == "ok" else None
        if ref is None or (ref.pending, ref.token, ref.fence) != (lease.version, lease.token, lease.fence):
            return None
        if settled is not None:
            ref.ending = settled
        ref.lease_until = now + ref.span
        return Lease(lease.branch, lease.version, lease.token, lease.fence, ref.lease_until)

    async def commit(self, asker: Asker, id: str, lease: Lease, record: Commit) -> Committed:
        now = self._now()
        context, outcome = self._find(asker, id, now)
        if context is None or outcome != "ok":
            return Committed(outcome if outcome in ENDED else "fenced")
        ref = context.refs.get(lease.branch)
        node = context.nodes.get(lease.version)
        done = decide_commit(ref, node, lease, record, context.meta.size)
        if done.outcome != "ok":
            return Committed(done.outcome)
        if done.again or ref is None or node is None:
            last = max(entry.seq for entry in context.entries if entry.version == lease.version)
            return Committed("ok", last, context.meta.gen)
        parents = (node.parent,) if node.parent else ()
        seq = self._log(context, "commit", lease.version, parents, ref.name, record.status, node.fp, record.digest,
                        record.output, now)  # fmt: skip
        self._ended(ref, done.head)
        self._used(context, now, record.privacy)
        return Committed("ok", seq, context.meta.gen)

    async def settle(self, owner: str, ids: Sequence[tuple[str, str]]) -> int:
        now = self._now()
        count = 0
        for key in ids:
            context = self._contexts.get(key)
            for ref in context.refs.values() if context is not None else ():
                if context is not None and ref.pending and ref.owner == owner:
                    self._settle(context, ref, now)
                    count += 1
        return count

    async def in_flight(self) -> list[tuple[str, str, str]]:
        return [(ref.owner, *key) for key, one in self._contexts.items() for ref in one.refs.values() if ref.pending]

    # -- entries without a call ----------------------------------------------------------------------------------------

    async def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        now = self._now()
        context, outcome = self._find(asker, id, now)
        if record.create is not None and (context is not None and outcome not in ENDED):
            if context.meta.salt != record.create.salt:
                return Appended(outcome="exists")
            if not record.version:
                return Appended(outcome="ok", seq=1, gen=context.meta.gen, head=self._head(context, record.branch))
        elif record.create is not None and context is None:
            context, outcome = self._made(asker.tenant, id, record.create, now), "ok"
        if context is None or outcome != "ok":
            return Appended(outcome=outcome)
        self._settle_overdue(context, now)
        key = self._known(asker.tenant, record.scope, "k:" + record.key, now) if record.key else None
        lookup = self._lookup(asker.tenant, now)
        done = decide_append(now, id, record, context.refs, lookup, key, context.meta.size)
        if done.outcome != "ok":
            loaded = None
            if done.outcome == "conflict":
                loaded = self._missing(asker, context, record.expect or "", done.head, lookup)
            return Appended(outcome=done.outcome, gen=context.meta.gen, head=done.head, version=done.version,
                            retry_after=done.retry_after, what=done.what, loaded=loaded)  # fmt: skip
        if done.again:
            seq = context.nodes[record.version].seq
        else:
            seq = self._write_addition(context, record, done, now)
        return Appended(outcome="ok", seq=seq, gen=context.meta.gen, head=done.head, version=record.version,
                        loaded=self._read(asker, context, record.known))  # fmt: skip

    def _write_addition(self, context: _Context, record: Addition, done: Decision, now: int) -> int:
        meta = context.meta
        if not context.entries:
            self._keep(context)
        if done.opens:
            context.refs[done.branch] = _Turn(done.branch, done.base)
        parents = record.parents or ((done.base,) if done.base and record.version else ())
        seq = self._log(context, record.kind, record.version, parents, done.branch, "completed", record.fp,
                        record.digest, record.entry, now)  # fmt: skip
        if record.moves:
            context.refs[done.branch].head = done.head
        if record.key:
            self._remember(meta.tenant, record.scope, "k:" + record.key,
                           Known(record.fp, record.version, now + IDEMPOTENCY))  # fmt: skip
        if record.about is not None:
            context.meta = replace(context.meta, about=record.about)
        self._used(context, now, record.privacy)
        return seq

    async def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        now = self._now()
        context, outcome = self._find(asker, id, now)
        if context is None or outcome != "ok":
            return None
        struck = [key for key in context.payloads if key[0] in items]
        freed = 0
        for key in struck:
            freed += _weight(context.payloads.pop(key))
        for ref in context.refs.values():
            kept = tuple(payload for payload in ref.ending.payloads if payload.item not in items)
            ref.ending = Draft(ref.ending.body, kept)
        context.snapshot = None
        context.meta = replace(context.meta, gen=context.meta.gen + 1, size=context.meta.size - freed)
        self._weigh(context, -freed - _OVERHEAD * len(struck))
        self._log(context, "control", "", (), "", "completed", b"", b"", entry, now)
        self._wake(context)
        return len(struck)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def load(self, asker: Asker, id: str, known: int = -1, limit: int = 0, whole: bool = False) -> Loaded:
        context, outcome = self._find(asker, id, self._now())
        if context is None or outcome != "ok":
            return Loaded(outcome=outcome)
        self._touch(context)
        return self._read(asker, context, known, limit, whole)

    async def contents(self, asker: Asker, id: str, wanted: Sequence[tuple[str, int]]) -> tuple[Payload, ...]:
        context, outcome = self._find(asker, id, self._now())
        if context is None or outcome != "ok":
            return ()
        names = set(wanted)
        return tuple(payload for key, payload in context.payloads.items() if key[:2] in names)

    async def resolve(self, asker: Asker, handle: str) -> Found | None:
        now = self._now()
        address = read_id(handle)
        if address is None:
            id = self._names.get((asker.tenant, asker.subject, handle))
            named = self._contexts.get((asker.tenant, id)) if id is not None else None
            return Found(id) if id is not None and (named is None or not _is_gone(named, now)) else None
        if address.kind == "context":
            known = self._contexts.get((asker.tenant, address.id))
            return Found(address.id) if known is not None else None
        context = self._versions.get((asker.tenant, address.id))
        if context is None:
            return None
        return Found(context.meta.id, address.id, context.nodes[address.id].branch)

    async def browse(self, asker: Asker, after: str, limit: int, name: str = "") -> list[Meta]:
        now = self._now()
        found: list[Meta] = []
        for tenant, id in sorted(self._contexts, reverse=True):
            context = self._contexts[tenant, id]
            if tenant != asker.tenant or (after and id >= after) or _is_gone(context, now):
                continue
            if not asker.sees(context.meta.access, context.meta.subject, context.meta.group):
                continue
            if name and self._names.get((tenant, asker.subject, name)) != id:
                continue
            if len(found) == limit:
                break
            found.append(self._meta(asker, context))
        return found

    async def changed(self, asker: Asker, id: str, seq: int, timeout: float) -> bool:
        context, outcome = self._find(asker, id, self._now())
        if context is None or outcome != "ok":
            return False
        if context.meta.seq > seq:
            return True
        key = (asker.tenant, id)
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watchers = self._watchers.setdefault(key, set())
        watchers.add(watcher)
        try:
            await asyncio.wait_for(watcher, timeout)
        except TimeoutError:
            return False
        finally:
            watchers.discard(watcher)
            if not watchers and self._watchers.get(key) is watchers:
                del self._watchers[key]
        return True

    # -- names, templates, keys ----------------------------------------------------------------------------------------

    async def claim_name(self, tenant: str, subject: str, name: str, id: str) -> str:
        now = self._now()
        taken = self._names.get((tenant, subject, name))
        if taken is not None:
            context = self._contexts.get((tenant, taken))
            if context is None or not _is_gone(context, now):
                return taken
            self._named[tenant, taken].discard((subject, name))
        self._names[tenant, subject, name] = id
        self._named.setdefault((tenant, id), set()).add((subject, name))
        return id

    async def template(self, tenant: str, name: str, n: int, put: bytes | None = None) -> bytes | None:
        return _numbered(self._templates.setdefault((tenant, name), {}), n, put)

    async def latest_template(self, tenant: str, name: str) -> int:
        return max(self._templates.get((tenant, name), {}), default=0)

    async def tenant_key(self, tenant: str, v: int, put: bytes | None = None) -> bytes | None:
        keys = self._keys.setdefault(tenant, {})
        return _numbered(keys, v if v or not keys else max(keys), put)

    # -- upkeep --------------------------------------------------------------------------------------------------------

    async def snapshot(self, asker: Asker, id: str, upto: int, body: bytes) -> None:
        context, outcome = self._find(asker, id, self._now())
        if context is None or outcome != "ok" or upto > context.meta.seq:
            return
        old = context.snapshot
        if old is not None and old.seq >= upto:
            return
        context.snapshot = Snapshot(upto, body)
        self._weigh(context, len(body) - (len(old.body) if old is not None else 0))

    async def touch(self, asker: Asker, id: str, *, about: bytes | None = None, ttl: int | None = None,
                    access: Access | None = None) -> bool:  # fmt: skip
        now = self._now()
        context, outcome = self._find(asker, id, now)
        if context is None or outcome != "ok":
            return False
        meta = context.meta
        if about is not None:
            meta = replace(meta, about=about)
        if access is not None:
            meta = replace(meta, access=access)
        if ttl is not None:
            meta = replace(meta, ttl=ttl, expires=now + ttl if ttl else 0)
            self._look_again(meta)
        context.meta = meta
        return True

    async def delete(self, asker: Asker, id: str) -> Deletion | None:
        now = self._now()
        context, outcome = self._find(asker, id, now)
        if context is None or outcome != "ok":
            return None
        heads = sha256()
        for name in sorted(context.refs):
            node = context.nodes.get(context.refs[name].head)
            heads.update(node.digest if node is not None else b"")
        deletion = Deletion(id, now, len(context.entries), context.meta.size, heads.digest(), (self.name,))
        self._strike(context, now, b"")
        return deletion

    async def sweep(self, limit: int) -> int:
        now = self._now()
        count = 0
        while self._ends and self._ends[0][0] <= now and count < limit:
            _, tenant, id = heappop(self._ends)
            context = self._contexts.get((tenant, id))
            if context is None:
                continue
            if context.gone:
                if context.gone <= now:
                    del self._contexts[tenant, id]
                    count += 1
            elif context.meta.expires and context.meta.expires <= now:
                self._strike(context, now)
                count += 1
            else:
                self._look_again(context.meta)
        for key in [key for key, known in self._duplicates.items() if known.until <= now]:
            del self._duplicates[key]
        return count

    async def check(self, tenant: str = "", id: str = "") -> AsyncIterator[Damage]:
        everything = Asker("", all=True)
        for key, context in list(self._contexts.items()):
            if context.gone or (tenant and key[0] != tenant) or (id and key[1] != id):
                continue
            for damage in damage_of(self._meta(everything, context), context.entries, [*context.payloads.values()]):
                yield damage

    async def drop_snapshots(self) -> int:
        count = 0
        for context in self._contexts.values():
            if context.snapshot is not None:
                self._weigh(context, -len(context.snapshot.body))
                context.snapshot = None
                count += 1
        return count

    def figures(self) -> dict[str, int]:
        return {"store_bytes": self._weight, "contexts": len(self._contexts), "forgotten": self._forgotten}

    # -- what they share -----------------------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._tools.wall() * 1000)

    def _find(self, asker: Asker, id: str, now: int) -> tuple[_Context | None, Outcome]:
        """The context and ``ok``; what is there but not to be seen is ``not_found``, and not made anew."""
        context = self._contexts.get((asker.tenant, id))
        if context is None or (context.gone and context.gone <= now):
            return None, "not_found"
        if not asker.sees(context.meta.access, context.meta.subject, context.meta.group):
            return context, "not_found"
        if _is_gone(context, now):
            return context, "gone" if context.gone and context.meta.about != EXPIRED else "expired"
        return context, "ok"

    def _lookup(self, tenant: str, now: int) -> Lookup:
        def lookup(version: str) -> Node | None:
            context = self._versions.get((tenant, version))
            return context.nodes[version] if context is not None and not _is_gone(context, now) else None

        return lookup

    def _known(self, tenant: str, scope: str, key: str, now: int) -> Known | None:
        """What was remembered, its turn settled if its lease is over: it may lie in another context."""
        known = self._duplicates.get((tenant, scope, key))
        context = self._versions.get((tenant, known.version)) if known is not None else None
        if context is not None:
            self._settle_overdue(context, now)
        return known

    def _remember(self, tenant: str, scope: str, key: str, known: Known) -> None:
        self._duplicates[tenant, scope, key] = known

    def _made(self, tenant: str, id: str, create: Create, now: int) -> _Context:
        """A context that is kept as soon as something is written to it."""
        return _Context(Meta(
            tenant=tenant, id=id, subject=create.subject, group=create.group, access=create.access,
            privacy=create.privacy, salt=create.salt, dek=create.dek, created=now, ttl=create.ttl,
            sliding=create.sliding, about=create.about,
        ))  # fmt: skip

    def _keep(self, context: _Context) -> None:
        self._contexts[context.meta.tenant, context.meta.id] = context
        self._weigh(context, _OVERHEAD)

    def _log(self, context: _Context, kind: EntryKind, version: str, parents: tuple[str, ...], branch: str,
             status: Status, fp: bytes, digest: bytes, draft: Draft, now: int) -> int:  # fmt: skip
        meta = context.meta
        seq = meta.seq + 1
        context.entries.append(StoredEntry(
            seq=seq, kind=kind, version=version, parents=parents, branch=branch, status=status, fp=fp, digest=digest,
            ts=now, body=draft.body,
        ))  # fmt: skip
        for payload in draft.payloads:
            context.payloads[payload.item, payload.rev, seq] = replace(payload, seq=seq)
        if version:
            first = context.nodes[version].seq if version in context.nodes else seq
            parent = parents[0] if parents else ""
            context.nodes[version] = Node(meta.id, branch, parent, status, fp, digest, first)
            self._versions[meta.tenant, version] = context
        size = draft_size(draft)
        context.meta = replace(meta, seq=seq, size=meta.size + size)
        self._weigh(context, size + _OVERHEAD * (1 + len(draft.payloads)))
        return seq

    def _settle_overdue(self, context: _Context, now: int) -> None:
        for ref in overdue(now, context.refs.values()):
            self._settle(context, context.refs[ref.name], now)

    def _settle(self, context: _Context, ref: _Turn, now: int) -> None:
        node = context.nodes[ref.pending]
        parents = (node.parent,) if node.parent else ()
        self._log(context, "commit", ref.pending, parents, ref.name, "incomplete", node.fp, b"", ref.ending, now)
        self._ended(ref, ref.pending)
        self._wake(context)

    def _ended(self, ref: _Turn, head: str) -> None:
        ref.head = head
        ref.pending = ref.owner = ""
        ref.token = b""
        ref.lease_until = 0
        ref.ending = Draft(b"")

    def _used(self, context: _Context, now: int, privacy: Privacy) -> None:
        """After a write: class and expiry rise, watchers wake, the longest unused give way."""
        meta = context.meta
        expires = slid(now, meta.ttl, meta.sliding, meta.expires)
        context.meta = replace(meta, privacy=higher(meta.privacy, privacy), expires=expires)
        if not meta.expires:
            self._look_again(context.meta)
        self._touch(context)
        self._wake(context)
        self._shrink(context)

    def _look_again(self, meta: Meta) -> None:
        if meta.expires:
            heappush(self._ends, (meta.expires, meta.tenant, meta.id))

    def _touch(self, context: _Context) -> None:
        key = (context.meta.tenant, context.meta.id)
        self._contexts[key] = self._contexts.pop(key)

    def _weigh(self, context: _Context, more: int) -> None:
        context.weight += more
        self._weight += more

    def _shrink(self, used: _Context) -> None:
        """Forget what was used longest ago, but no turn in flight: for who asks, its life is over."""
        if self._weight <= self._most:
            return
        now = self._now()
        for context in list(self._contexts.values()):
            if context is used or self._weight <= self._most:
                return
            if not context.gone and not any(ref.pending for ref in context.refs.values()):
                self._strike(context, now)
                self._forgotten += 1

    def _wake(self, context: _Context) -> None:
        for watcher in self._watchers.pop((context.meta.tenant, context.meta.id), ()):
            if not watcher.done():
                watcher.set_result(None)

    def _strike(self, context: _Context, now: int, about: bytes = EXPIRED) -> None:
        """All of it but a tombstone."""
        meta = context.meta
        for version in context.nodes:
            self._versions.pop((meta.tenant, version), None)
        for subject, name in self._named.pop((meta.tenant, meta.id), ()):
            del self._names[meta.tenant, subject, name]
        self._weigh(context, -context.weight)
        stone = _Context(Meta(
            tenant=meta.tenant, id=meta.id, subject=meta.subject, group=meta.group, access=meta.access,
            expires=now + TOMBSTONE, about=about,
        ))  # fmt: skip
        stone.gone = now + TOMBSTONE
        self._contexts[meta.tenant, meta.id] = stone
        self._look_again(stone.meta)
        self._wake(context)

    def _head(self, context: _Context, branch: str) -> str:
        ref = context.refs.get(branch or MAIN)
        return ref.head if ref is not None else ""

    def _meta(self, asker: Asker, context: _Context) -> Meta:
        meta = context.meta
        refs = context.refs
        return replace(
            meta,
            refs=tuple([Ref(ref.name, ref.head, ref.pending, ref.fence, ref.lease_until)
                        for ref in (refs[name] for name in sorted(refs))]),
            names=tuple(sorted([name for subject, name in self._named.get((meta.tenant, meta.id), ())
                                if asker.all or subject == asker.subject])),
        )  # fmt: skip

    def _read(self, asker: Asker, context: _Context, known: int, limit: int = 0, whole: bool = False) -> Loaded:
        snapshot = context.snapshot if not whole else None
        if snapshot is not None and known >= snapshot.seq:
            snapshot = None
        after = snapshot.seq if snapshot is not None else max(known, 0)
        entries = context.entries[after:]
        truncated = 0 < limit < len(entries)
        if truncated:
            entries = entries[:limit]
        last = entries[-1].seq if entries else after
        low = 0 if snapshot is not None else after
        return Loaded(
            meta=self._meta(asker, context), snapshot=snapshot, entries=tuple(entries),
            payloads=_between(reversed(context.payloads.values()), low, last), truncated=truncated,
        )  # fmt: skip

    def _missing(self, asker: Asker, context: _Context, parent: str, head: str, lookup: Lookup) -> Loaded:
        chain = missing(parent, head, lookup)
        wanted = set(chain or ())
        entries = [entry for entry in context.entries if entry.version in wanted]
        seqs = {entry.seq: len(entry.body) for entry in entries}
        payloads = [payload for payload in context.payloads.values() if payload.seq in seqs]
        for payload in payloads:
            seqs[payload.seq] += _weight(payload)
        count = fitting(seqs.values())
        kept = {entry.seq for entry in entries[:count]}
        return Loaded(
            meta=self._meta(asker, context), entries=tuple(entries[:count]),
            payloads=tuple([payload for payload in payloads if payload.seq in kept]),
            truncated=chain is None or count < len(seqs),
        )  # fmt: skip


def _is_gone(context: _Context, now: int) -> bool:
    return context.gone != 0 or 0 < context.meta.expires <= now


def _weight(payload: Payload) -> int:
    return len(payload.body) + len(payload.nonce) + len(payload.ikey)


def _between(newest_first: Iterable[Payload], low: int, last: int) -> tuple[Payload, ...]:
    found: list[Payload] = []
    for payload in newest_first:
        if payload.seq <= low:
            break
        if payload.seq <= last:
            found.append(payload)
    return tuple(found)


def _numbered(values: dict[int, bytes], n: int, put: bytes | None) -> bytes | None:
    """Number *n* (0: the latest); *put* takes it only where it is free."""
    if put is not None:
        return values.setdefault(n or max(values, default=0) + 1, put)
    return values.get(n or max(values, default=0))
