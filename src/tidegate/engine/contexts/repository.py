"""The context repository of a worker: contexts at hand, access, ids, and the way to the store (CRP 1, 5, 11).

What a turn and the context plane ask of a store goes through here. The store alone decides; what is kept here is a copy
of its log, told apart by ``seq`` and ``gen``, and may be dropped at any time (I5).
"""

from __future__ import annotations

import dataclasses
import os
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from tidegate.engine.clock import Timer
from tidegate.engine.runtime import Runtime
from tidegate.engine.steps import Stepper, task_of
from tidegate.exchange.chat import Raw
from tidegate.exchange.context import Access, Entry, Kept, Privacy, View
from tidegate.exchange.context_ids import Address, context_id
from tidegate.exchange.context_log import (
    ENDED,
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
    Found,
    Lease,
    Loaded,
    Meta,
    Outcome,
    Payload,
    StoredEntry,
)
from tidegate.exchange.context_policy import ContextLimits, ContextPolicy
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.identity import Identity
from tidegate.ports.context_store import ContextStore
from tidegate.ports.contexts import ContextsPlan
from tidegate.rules.context_fold import History, read_snapshot, write_snapshot
from tidegate.rules.context_keys import (
    WrongKey,
    new_context_key,
    new_tenant_key,
    open_context_key,
    open_tenant_key,
    sealer,
    unsealer,
)
from tidegate.rules.policy_choice import choose
from tidegate.rules.ulid import ulid
from tidegate.wire.context_body import inflate
from tidegate.wire.context_entry import BrokenEntry, Seal, Unseal, plain_seal, plain_unseal, read_entry
from tidegate.wire.context_msgpack import read_msgpack
from tidegate.wire.json_text import dumps

PATIENCE: Final = 8.0
"""Seconds after which a store that says nothing is out, whatever its own timeout is."""
SNAPSHOT_ENTRIES: Final = 32
SNAPSHOT_BYTES: Final = 64 * 1024
"""A snapshot is taken when as much has been logged since the last (CRP 11.2)."""
SEALERS: Final = 4096
"""Contexts whose opened keys are at hand."""
OVERHEAD: Final = 3
"""Bytes in memory for each byte in the log, roughly: values, views, digests."""
BASE: Final = 4096
"""Bytes of an empty context in memory."""

_T = TypeVar("_T")


class Held:
    """One context at hand: what it is, and its history as far as it is known here."""

    __slots__ = (
        "compacting", "fresh_bytes", "fresh_entries", "history", "idle", "meta", "prefixes", "size", "stale", "store",
        "warm",
    )  # fmt: skip

    def __init__(self, meta: Meta, history: History, store: ContextStore) -> None:
        self.meta: Meta = meta
        self.history: History = history
        self.store: ContextStore = store
        self.stale: bool = False
        """The store knows more: it is asked before the next use."""
        self.size: int = BASE
        self.fresh_entries: int = 0
        """Entries since the last snapshot; ``fresh_bytes`` of them."""
        self.fresh_bytes: int = 0
        self.prefixes: dict[tuple[str, int], Any] = {}
        """(version, generation) -> its ``context_epoch.Frozen``; ``warm``: a ``context_cache.Warm`` (``prompting``)."""
        self.warm: Any = None
        self.compacting: bool = False
        """A summary is being made; ``idle``: the timer of one that is made when nobody goes on."""
        self.idle: Timer | None = None

    def view(self, version: str) -> View:
        """The context as of *version*, "" for the empty one. Raises 404 ``version_not_found``."""
        if version and version not in self.history.versions:
            raise version_not_found()
        return self.history.view(version)

    def head(self, branch: str) -> str | None:
        """The version *branch* is at; None for a branch that does not exist."""
        return self.history.heads.get(branch)

    def etag(self, version: str) -> str:
        """The strong entity tag of *version* (CRP 2.2)."""
        return f'"{version}.{self.meta.gen}"'


class Repository:
    """One per worker and set of ``repository:`` settings. Methods are for stepped lanes; they raise the Faults that a
    client is told (CRP 3.7) and ``store_unavailable`` when the store does not answer."""

    def __init__(self, runtime: Runtime, plan: ContextsPlan, chance: Callable[[int], bytes] = os.urandom) -> None:
        self.runtime: Runtime = runtime
        self.plan: ContextsPlan = plan
        self.store: ContextStore = plan.store
        self.limits: ContextLimits = plan.limits
        self.dictionaries: dict[bytes, bytes] = {}
        """SHA-256 -> dictionary that a request may be compressed with; ``offered``: what discovery says of them."""
        self.offered: list[dict[str, Any]] = []
        self._chance = chance
        self._held: OrderedDict[tuple[str, str], Held] = OrderedDict()
        self._size = 0
        self._plain = plain_seal(self.nonce)
        self._tenant_keys: dict[str, bytes] = {}
        self._sealers: dict[tuple[str, str], tuple[bytes, Seal, Unseal]] = {}
        """Tenant and context -> its sealed key, and how its contents are sealed and read."""
        self._tails: dict[tuple[str, str, str], int] = {}
        """Live tails by context and by subject."""
        self._snapping: set[tuple[str, str]] = set()

    # -- names and chance ----------------------------------------------------------------------------------------------

    def mint(self) -> str:
        """A new ULID: of a version, an item, a context, an anonymous branch."""
        return ulid(self.runtime.wall(), int.from_bytes(self._chance(10), "big"))

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.runtime.wall() * 1000.0)

    def nonce(self) -> bytes:
        """16 bytes that nobody can guess (CRP 1.2)."""
        return self._chance(16)

    def seal(self, meta: Meta) -> Seal:
        """How contents of this context are made payloads."""
        return self._plain if not meta.dek else self._sealing(meta)[1]

    def unseal(self, meta: Meta) -> Unseal:
        """How payloads of this context are read."""
        return plain_unseal if not meta.dek else self._sealing(meta)[2]

    def _sealing(self, meta: Meta) -> tuple[bytes, Seal, Unseal]:
        """Raises 503 ``store_unavailable`` for a key that does not open. The tenant's key is at hand (``_unlock``)."""
        place = (meta.tenant, meta.id)
        found = self._sealers.get(place)
        if found is None or found[0] != meta.dek:
            try:
                key = open_context_key(self._tenant_keys[meta.tenant], meta.tenant, meta.salt, meta.dek)
            except (KeyError, WrongKey) as error:
                self.runtime.report(error)
                raise damaged() from None
            if len(self._sealers) >= SEALERS:
                self._sealers.clear()
            found = self._sealers[place] = (
                meta.dek, sealer(key, meta.tenant, meta.id, self._chance), unsealer(key, meta.tenant, meta.id)
            )  # fmt: skip
        return found

    async def _unlock(self, tenant: str) -> None:
        """Have the key of *tenant* at hand; it is made at first need, and of several workers the first one makes it."""
        root, store = self.plan.root, self.store
        if not root or tenant in self._tenant_keys:
            return
        sealed = await self.ask(store, store.tenant_key(tenant, 0))
        if sealed is None:
            made = new_tenant_key(root, tenant, 1, self._chance)
            sealed = await self.ask(store, store.tenant_key(tenant, 1, made))
        try:
            self._tenant_keys[tenant] = open_tenant_key(root, tenant, sealed or b"")
        except WrongKey as error:
            self.runtime.report(error)
            raise damaged() from None

    def offer(self, name: str, dictionary: bytes, encoding: str = "application/json") -> None:
        """From now on requests may be compressed with *dictionary* (CRP 6.5)."""
        digest = sha256(dictionary).digest()
        if digest not in self.dictionaries:
            self.dictionaries[digest] = dictionary
            self.offered.append({"name": name, "sha256": digest.hex(), "bytes": len(dictionary), "encoding": encoding})

    def as_json(self, content_type: str, coding: str, body: bytes, most: int) -> bytes:
        """The body of a model call as JSON: uncoded, with dictionaries too, and out of MessagePack (CRP 6.3, 6.5); of
        *most* bytes. Raises as ``wire/context_body.decode``."""
        limits = dataclasses.replace(self.limits, body=most)
        clear = inflate(coding, body, limits, self.dictionaries)
        return dumps(read_msgpack(clear, limits)) if "msgpack" in content_type else clear

    def policy(self, name: str) -> ContextPolicy:
        """Raises 422 ``policy_forbidden`` for a name that the config does not have."""
        policy = self.plan.policies.get(name)
        if policy is None:
            raise Fault("policy_forbidden", "No policy has this name.", side=CLIENT)
        return policy

    def allows(self, policy: Raw, base: str) -> bool:
        """May a client ask for *policy* (JSON: a name, or a patch) where *base* is the policy by default?"""
        try:
            choose(self.plan.policies, base, policy)
        except Fault:
            return False
        return True

    async def creation(
        self, asker: Asker, *, access: Access | None = None, privacy: Privacy = "internal", ttl: float | None = None,
        sliding: bool = True, about: bytes = b"",
    ) -> Create:  # fmt: skip
        """What a context of *asker* begins with. *access* None: its subject's own, where there is one (CRP 10). *ttl*
        in seconds, None for the repository's; never beyond the limit, which 0 stands for."""
        seconds = self.plan.ttl if ttl is None else ttl
        longest = self.limits.ttl
        if seconds <= 0 or seconds > longest:
            seconds = longest if ttl is not None else self.plan.ttl
        if access is None:
            access = "subject" if asker.subject else "tenant"
        salt, dek = self._chance(16), b""
        if self.plan.root:
            await self._unlock(asker.tenant)
            dek = new_context_key(self._tenant_keys[asker.tenant], 1, asker.tenant, salt, self._chance)
        return Create(subject=asker.subject, group=asker.group, access=access, privacy=privacy, salt=salt, dek=dek,
                      ttl=int(seconds * 1000.0), sliding=sliding, about=about)  # fmt: skip

    def meta_of(self, asker: Asker, id: str, create: Create) -> Meta:
        """What a context will be that *create* makes: contents are sealed before it exists."""
        return Meta(tenant=asker.tenant, id=id, subject=create.subject, group=create.group, access=create.access,
                    privacy=create.privacy, salt=create.salt, dek=create.dek, ttl=create.ttl)  # fmt: skip

    # -- finding -------------------------------------------------------------------------------------------------------

    async def resolve(self, asker: Asker, address: Address) -> Found:
        """What an address means. A version of a context that *asker* may not see is as unknown as one that never was;
        a name that nothing has comes back as ``Found("")``. Raises ``version_not_found`` and what ``load`` raises."""
        kind, id = address
        if kind == "context":
            return Found(id)
        found = await self._look(asker, id)
        if kind == "name":
            return found if found is not None else Found("")
        if found is None:
            raise version_not_found()
        try:
            held = await self.load(asker, found.context)
            if id not in held.history.versions:
                held = await self.load(asker, found.context, fresh=True)
        except Fault as fault:
            if fault.code == "context_not_found":
                raise version_not_found() from None
            raise
        if id not in held.history.versions:
            raise version_not_found()
        return found

    async def session(self, asker: Asker, name: str) -> str:
        """The context that *name* means to this subject; a new id where it meant none, which whoever begins creates."""
        found = await self._look(asker, name)
        if found is not None:
            return found.context
        made = context_id(self.mint())
        return await self.ask(self.store, self.store.claim_name(asker.tenant, asker.subject, name, made))

    async def _look(self, asker: Asker, handle: str) -> Found | None:
        session = self.plan.session
        if session is not None:
            found = await self.ask(session, session.resolve(asker, handle))
            if found is not None:
                return found
        return await self.ask(self.store, self.store.resolve(asker, handle))

    async def load(self, asker: Asker, id: str, *, fresh: bool = False) -> Held:
        """The context *id*. What is at hand is taken as it is, unless *fresh* asks for what the store has by now.
        Raises 404 ``context_not_found``, 410 ``context_expired`` and ``context_deleted``."""
        key = (asker.tenant, id)
        held: Held | None = self._held.get(key)
        if held is not None and not fresh and not held.stale:
            meta = held.meta
            if not asker.sees(meta.access, meta.subject, meta.group):
                raise context_not_found()
            self._held.move_to_end(key)
            return held
        known = held.history.seq if held is not None else -1
        store, loaded = await self._load(asker, id, held, known)
        if held is not None and loaded.meta is not None and loaded.meta.gen != held.meta.gen:
            # Contents were destroyed: nothing that is at hand may be shown any more.
            self.forget(asker.tenant, id)
            held = None
            store, loaded = await self._load(asker, id, held, -1)
        made = self._take(key, held, loaded, store)
        if made is not None:
            return made
        # Something is missing, or the snapshot is damaged: the log itself has it (I5).
        self.forget(asker.tenant, id)
        store, loaded = await self._load(asker, id, None, -1, whole=True)
        made = self._take(key, None, loaded, store)
        if made is None:
            raise damaged()
        return made

    async def _load(
        self, asker: Asker, id: str, held: Held | None, known: int, whole: bool = False
    ) -> tuple[ContextStore, Loaded]:  # fmt: skip
        await self._unlock(asker.tenant)
        session = self.plan.session
        if held is not None:
            store = held.store
        elif session is not None:
            loaded = await self.ask(session, session.load(asker, id, whole=whole))
            if loaded.outcome == "ok":
                return session, loaded
            if loaded.outcome in ENDED:
                raise missing(loaded.outcome)
            store = self.store
        else:
            store = self.store
        loaded = await self.ask(store, store.load(asker, id, known, whole=whole))
        if loaded.outcome != "ok":
            self.forget(asker.tenant, id)
            raise missing(loaded.outcome)
        return store, loaded

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def begin(
        self, asker: Asker, id: str, request: Begin, entry: Entry | None = None, kept: Kept = "durable"
    ) -> tuple[Begun, Held]:  # fmt: skip
        """Reserve a turn. Comes back with ``ok``, ``attach``, ``replay``, ``busy`` or ``conflict``, and with the
        context as it is after that (after ``attach`` and ``replay`` the one that the turn lies in). *entry* is what
        ``request.input`` was written from. Raises the other outcomes: ``context_not_found``, ``context_expired``,
        ``context_deleted``, ``idempotency_mismatch``, ``context_full``."""
        await self._unlock(asker.tenant)
        key = (asker.tenant, id)
        held = self._held.get(key)
        store = self._store_of(held, kept)
        request = msgspec.structs.replace(request, known=held.history.seq if held is not None else -1)
        begun = await self.ask(store, store.begin(asker, id, request))
        outcome = begun.outcome
        if outcome == "ok":
            loaded = begun.loaded
            made = None
            if loaded is not None and (held is None or loaded.meta is None or loaded.meta.gen == held.meta.gen):
                made = self._take(key, held, loaded, store, entry)
            if made is None or request.version not in made.history.versions:
                if held is not None:
                    held.stale = True
                made = await self.load(asker, id, fresh=True)
            return begun, made
        if outcome in ("attach", "replay", "busy", "conflict"):
            return begun, await self.load(asker, begun.context or id, fresh=True)
        raise refused(outcome, begun.what)

    async def commit(self, asker: Asker, held: Held, lease: Lease, record: Commit, entry: Entry) -> Committed:
        """End a turn. *entry* is what ``record.output`` was written from. The outcome is for the caller to judge."""
        meta = held.meta
        committed = await self.ask(held.store, held.store.commit(asker, meta.id, lease, record))
        if committed.outcome != "ok":
            held.stale = True
            return committed
        history = held.history
        seq = committed.seq
        version = history.versions.get(lease.version)
        if seq == history.seq + 1 and version is not None and committed.gen == meta.gen:
            stored = StoredEntry(seq=seq, kind="commit", version=lease.version, parents=version.parents,
                                 branch=lease.branch, status=record.status, digest=record.digest, ts=entry.ts,
                                 body=record.output.body)  # fmt: skip
            history.add(_placed(entry, stored), stored)
            held.fresh_entries += 1
            self._grown(held, len(stored.body) + sum([len(p.body) for p in record.output.payloads]))
        elif seq > history.seq or committed.gen != meta.gen:
            held.stale = True
        self._snap(asker, held)
        return committed

    async def renew(self, asker: Asker, held: Held, lease: Lease, settled: Draft | None = None) -> Lease | None:
        """The lease for as long again; None when it is no longer ours."""
        return await self.ask(held.store, held.store.renew(asker, held.meta.id, lease, settled))

    # -- entries without a call ----------------------------------------------------------------------------------------

    async def append(
        self, asker: Asker, id: str, record: Addition, entry: Entry | None = None, kept: Kept = "durable"
    ) -> tuple[Appended, Held]:  # fmt: skip
        """Add an entry. Comes back with ``ok``, ``busy``, ``conflict``, ``exists`` or ``replay`` and with the context
        as it is after that; raises the other outcomes as ``begin`` does."""
        await self._unlock(asker.tenant)
        key = (asker.tenant, id)
        held = self._held.get(key)
        store = self._store_of(held, kept)
        record = msgspec.structs.replace(record, known=held.history.seq if held is not None else -1)
        appended = await self.ask(store, store.append(asker, id, record))
        outcome = appended.outcome
        if outcome == "ok":
            loaded = appended.loaded
            made = None
            if loaded is not None and (held is None or loaded.meta is None or loaded.meta.gen == held.meta.gen):
                made = self._take(key, held, loaded, store, entry)
            if made is None or made.history.seq < appended.seq:
                if held is not None:
                    held.stale = True
                made = await self.load(asker, id, fresh=True)
            self._snap(asker, made)
            return appended, made
        if outcome == "replay" and appended.version:
            found = await self._look(asker, appended.version)
            return appended, await self.load(asker, found.context if found is not None else id, fresh=True)
        if outcome in ("busy", "conflict", "exists"):
            return appended, await self.load(asker, id, fresh=True)
        raise refused(outcome, appended.what)

    async def redact(self, asker: Asker, held: Held, items: list[str], entry: Draft) -> int:
        """Destroy the contents of *items* for good. How many payloads."""
        id = held.meta.id
        struck = await self.ask(held.store, held.store.redact(asker, id, items, entry))
        self.forget(asker.tenant, id)
        if struck is None:
            raise context_not_found()
        return struck

    async def delete(self, asker: Asker, id: str) -> Deletion:
        """Delete the context. Raises 404, or 410 where that has been done."""
        held = await self.load(asker, id, fresh=True)
        deletion = await self.ask(held.store, held.store.delete(asker, id))
        self.forget(asker.tenant, id)
        if deletion is None:
            raise context_not_found()
        return deletion

    def forget(self, tenant: str, id: str) -> None:
        """Drop what is at hand of a context, its key too."""
        self._sealers.pop((tenant, id), None)
        held = self._held.pop((tenant, id), None)
        if held is not None:
            self._size -= held.size

    # -- waiting -------------------------------------------------------------------------------------------------------

    async def ask(self, store: ContextStore, work: Coroutine[Any, Any, _T], patience: float = PATIENCE) -> _T:
        """Await what *store* is asked. After *patience* seconds, and for whatever it raises that is no Fault, it is
        out: 503 ``store_unavailable``. What became of a write is then unknown; the same call may be made again."""
        try:
            if store.instant:
                return await work
            return await _within(self.runtime, work, patience)  # type: ignore[no-any-return]
        except Fault:
            raise
        except Exception as error:
            self.runtime.report(error)
            raise unavailable() from None

    async def changed(self, asker: Asker, held: Held, seq: int, timeout: float) -> bool:
        """Wait until the log has an entry after *seq*, at most *timeout* seconds."""
        work = held.store.changed(asker, held.meta.id, seq, timeout)
        found: bool = await _within(self.runtime, work, timeout + PATIENCE)
        if found:
            held.stale = True
        return found

    def tail(self, asker: Asker, id: str) -> Callable[[], None]:
        """One more live tail of a log; call what comes back when it ends. Raises 429 for too many of a context or of a
        subject (CRP 14)."""
        keys = ((asker.tenant, "context", id), (asker.tenant, "subject", asker.subject))
        tails = self._tails
        if tails.get(keys[0], 0) >= self.limits.tails or tails.get(keys[1], 0) >= self.limits.tails_each:
            raise Fault("rate_limited", "Too many tails of logs are open.", reason="tails", side=CLIENT,
                        retry_after=5.0)  # fmt: skip
        for key in keys:
            tails[key] = tails.get(key, 0) + 1

        def ended() -> None:
            for key in keys:
                tails[key] -= 1
                if not tails[key]:
                    del tails[key]

        return ended

    # -- what is at hand -----------------------------------------------------------------------------------------------

    def _store_of(self, held: Held | None, kept: Kept) -> ContextStore:
        if held is not None:
            return held.store
        if kept == "session":
            session = self.plan.session
            if session is None:
                raise Fault("policy_forbidden", "The gateway keeps no contexts in memory.", side=CLIENT)
            return session
        return self.store

    def _take(
        self, key: tuple[str, str], held: Held | None, loaded: Loaded, store: ContextStore, own: Entry | None = None
    ) -> Held | None:  # fmt: skip
        """The context with what the store told; None where something is missing in between, or came with a snapshot and
        cannot be read. *own* is an entry among
        them that need not be read, because it was written here just now."""
        meta = loaded.meta
        if meta is None:
            if held is None:
                return None
            meta = held.meta
        # Branches that grow at once may each make the same revision, so an entry reads the contents of its own seq.
        payloads: dict[int, dict[tuple[str, int], Payload]] = {}
        for payload in loaded.payloads:
            payloads.setdefault(payload.seq, {})[payload.item, payload.rev] = payload
        unseal = self.unseal(meta)
        try:
            if loaded.snapshot is not None:
                history = read_snapshot(loaded.snapshot.body, meta.salt, payloads, unseal)
                made = Held(meta, history, store)
                made.size += len(loaded.snapshot.body) * OVERHEAD
            elif held is None:
                made = Held(meta, History(meta.id, meta.salt), store)
            else:
                made = held
                made.meta = meta
            history = made.history
            grown = 0
            for stored in loaded.entries:
                seq = stored.seq
                if seq <= history.seq:
                    continue
                if seq != history.seq + 1:
                    return None
                if own is not None and own.version == stored.version and own.kind == stored.kind:
                    entry = _placed(own, stored)
                else:
                    entry = read_entry(stored, payloads.get(seq, {}), unseal)
                history.add(entry, stored)
                made.fresh_entries += 1
                grown += len(stored.body)
            grown += sum([len(payload.body) for payload in loaded.payloads])
            if history.seq < meta.seq:
                return None
        except BrokenEntry as error:
            if loaded.snapshot is not None:
                self.runtime.log("warning", "context_snapshot_damaged", context=meta.id, error=str(error))
                return None
            self.runtime.report(error)
            raise damaged() from None
        made.stale = False
        if self._held.get(key) is not made:
            self.forget(*key)
            self._held[key] = made
            self._size += made.size
        else:
            self._held.move_to_end(key)
        self._grown(made, grown)
        return made

    def _grown(self, held: Held, size: int) -> None:
        held.fresh_bytes += size
        held.size += size * OVERHEAD
        meta = held.meta
        if self._held.get((meta.tenant, meta.id)) is held:
            self._size += size * OVERHEAD
        while self._size > self.plan.hot and len(self._held) > 1:
            _, oldest = self._held.popitem(last=False)
            self._size -= oldest.size

    @property
    def hot_bytes(self) -> int:
        """Bytes of what is at hand, roughly."""
        return self._size

    def _snap(self, asker: Asker, held: Held) -> None:
        """Have a snapshot taken where it is due, after whoever waits has been served."""
        if held.fresh_entries < SNAPSHOT_ENTRIES and held.fresh_bytes < SNAPSHOT_BYTES:
            return
        key = (held.meta.tenant, held.meta.id)
        if key in self._snapping or held.stale:
            return
        held.fresh_entries = held.fresh_bytes = 0
        self._snapping.add(key)
        steps = self.runtime.steps
        steps.go(Stepper(steps, self._snapshot(asker, held, key)))

    async def _snapshot(self, asker: Asker, held: Held, key: tuple[str, str]) -> None:
        try:
            upto = held.history.seq
            await self.ask(
                held.store, held.store.snapshot(asker, held.meta.id, upto, write_snapshot(held.history, upto))
            )
        except Fault as fault:
            self.runtime.log("warning", "context_snapshot_failed", code=fault.code)
        finally:
            self._snapping.discard(key)


# -- who asks ----------------------------------------------------------------------------------------------------------


def asker_of(identity: Identity | None, team: str = "") -> Asker:
    """Who asks, from authentication alone: an open route's callers share one tenant's contexts; a token's ``sub`` is a
    subject of its own beside the consumer that brought it."""
    if identity is None:
        return Asker("default")
    subject = identity.consumer
    sub = identity.claims.get("sub")
    if isinstance(sub, str) and sub and sub != subject:
        subject += "/" + sub
    return Asker(identity.tenant, subject, team)


# -- faults ------------------------------------------------------------------------------------------------------------


def context_not_found() -> Fault:
    return Fault("context_not_found", "No context has this id.", side=CLIENT)


def version_not_found() -> Fault:
    return Fault("version_not_found", "No version has this id.", side=CLIENT)


def unavailable() -> Fault:
    return Fault("store_unavailable", "The context store does not answer.", retry_after=1.0)


def damaged() -> Fault:
    return Fault("store_unavailable", "The log of this context is damaged.", reason="damaged", retry_after=60.0)


def missing(outcome: Outcome) -> Fault:
    """404, or 410 for what has been."""
    if outcome == "expired":
        return Fault("context_expired", "The context has expired.", side=CLIENT)
    if outcome == "gone":
        return Fault("context_deleted", "The context has been deleted.", side=CLIENT)
    return context_not_found()


def refused(outcome: Outcome, what: str) -> Fault:
    """What an outcome that writes nothing is told as."""
    if outcome == "mismatch":
        return Fault("idempotency_mismatch", "The idempotency key was used for another request.", side=CLIENT)
    if outcome == "full":
        return Fault("context_full", f"The context is at its limit: {what}.", reason=what, side=CLIENT)
    if outcome == "fenced":
        return Fault("commit_failed", "The turn was ended meanwhile.", retry_after=1.0)
    return missing(outcome)


# -- inside ------------------------------------------------------------------------------------------------------------


def _placed(entry: Entry, stored: StoredEntry) -> Entry:
    """*entry* with what the store decided."""
    return msgspec.structs.replace(entry, seq=stored.seq, parents=stored.parents, branch=stored.branch)


async def _within(runtime: Runtime, work: Coroutine[Any, Any, Any], patience: float) -> Any:
    """Await *work* in a Task, for *patience* seconds at most. A store that was cancelled in the middle of a write has
    done it or has not."""
    task, wait = task_of(runtime.steps, work)

    def out() -> None:
        wait.fail(unavailable())
        task.cancel()

    timer = Timer(out)
    runtime.wheel.set(timer, runtime.clock() + patience)
    try:
        return await wait
    finally:
        runtime.wheel.clear(timer)
