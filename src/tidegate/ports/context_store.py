"""The promise of a context store: the log of every conversation, its refs, contents, names and keys (CRP 5.2, 11).

One interface, four parts in ``repositories/`` (memory, sqlite, valkey, postgres), one suite that all of them pass. A
store knows nothing of ops, models or dialects: an entry's body is bytes that ``wire/context_entry`` wrote, a content is
bytes that may be sealed. It decides only what has to be decided in one atomic step: order, leases, parents, duplicates.

What holds for every method

- It returns when what it says is durable at the configured level, and never before (CRP 11.3).
- It is atomic: a reader sees all of it or nothing of it, whoever dies in between. A cancelled caller changes nothing
  about that: what was handed over is done or not as a whole.
- Expiry and leases are judged by the store's clock (memory and SQLite: the host's; else the server's), safety by the
  fence alone.
- ``Fault`` ``store_unavailable`` (503) when the store does not answer within its own ``timeout``; what became of a
  write is then unknown, and the same call with the same version may be made again: begin, commit and append answer a
  repeated call with the same outcome and write nothing twice.
- *asker* decides what exists: what it may not see is ``not_found``, alike in answer, reads and time (CRP 1.2).
- An expired context is ``gone`` as a whole, from the moment its TTL ends, swept or not.
- Every method may be called from the worker's loop: blocking work is done on the store's own threads. ``async def``
  bodies run in a Task; a store with ``instant = True`` never waits and is awaited inline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal, Protocol

import msgspec

from tidegate.exchange.context import Access, EntryKind, Privacy, Status

LEASE: Final = 15_000
"""Milliseconds of a lease; renewed every 5 s."""
RETRY_WINDOW: Final = 600_000
"""Milliseconds in which an equal request with a retry mark is the same turn."""
IDEMPOTENCY: Final = 86_400_000
"""Milliseconds for which an ``Idempotency-Key`` is kept."""
TOMBSTONE: Final = 86_400_000
"""Milliseconds for which a deleted context answers 410."""
BLOB: Final = 4096
"""Bytes from which a plain content lies once a tenant in the blob table."""
BRANCHES: Final = 64
LOG_BYTES: Final = 64 * 1024 * 1024
MISSING: Final = 100
"""Versions told in a conflict; ``MISSING_BYTES`` bytes of entries and payloads at most."""
MISSING_BYTES: Final = 256 * 1024

Outcome = Literal[
    "ok", "attach", "replay", "busy", "conflict", "mismatch", "not_found", "gone", "fenced", "full", "exists"
]
"""``attach``: the same turn is in flight. ``replay``: the same turn is complete. ``busy``: another turn is in flight.
``conflict``: the parent is not the head. ``mismatch``: the key was used for another request. ``fenced``: the lease is
no longer ours. ``full``: a limit of CRP 14. ``exists``: create of an id or name that is taken."""


class Asker(msgspec.Struct, frozen=True):
    """Who asks, from authentication alone. ``all``: the gateway itself or an operator, for whom everything of the
    tenant exists."""

    tenant: str
    subject: str = ""
    group: str = ""
    all: bool = False

    def sees(self, access: str, subject: str, group: str) -> bool:
        """May it see a context of this access, owned by *subject* of *group*, of its own tenant?"""
        if self.all or access == "tenant":
            return True
        if access == "group":
            return bool(group) and self.group == group
        return self.subject == subject


class Payload(msgspec.Struct, frozen=True):
    """A content as it lies beside its entry: of item (or ``state``, ``settings``) *item*, revision *rev*.

    nonce  16 random bytes that the digest covers and redaction destroys
    ikey   the wrapped item key of a sealed body, b"" of a plain one; covered by no digest
    body   as stored: compressed, then sealed. A plain one of ``BLOB`` bytes and more is kept once a tenant
    """

    item: str
    rev: int
    nonce: bytes
    body: bytes
    ikey: bytes = b""


class Draft(msgspec.Struct, frozen=True):
    """An entry ready to be stored: ``body`` as ``wire/context_entry`` wrote it, checksum included."""

    body: bytes
    payloads: tuple[Payload, ...] = ()


class StoredEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a log, as it lies there. ``digest`` b"" while none was computed (a version that the store settled
    by itself): whoever loads it computes it by the rule of CRP 1.2."""

    seq: int
    kind: EntryKind
    version: str = ""
    parents: tuple[str, ...] = ()
    branch: str = ""
    status: Status = "completed"
    fp: bytes = b""
    digest: bytes = b""
    ts: int = 0
    body: bytes = b""


class Ref(msgspec.Struct, frozen=True):
    """One branch. ``pending``: the version of the turn in flight, "" for none."""

    branch: str
    head: str
    pending: str = ""
    fence: int = 0
    lease_until: int = 0


class Meta(msgspec.Struct, frozen=True, kw_only=True):
    """What a context is, without its content. Times in milliseconds; ``expires`` 0 for never; ``gen`` is raised by
    redaction and hard expiry. ``dek``: the wrapped context key, b"" for none. ``about``: msgpack that the engine wrote
    (policy, template, title), opaque here."""

    tenant: str
    id: str
    subject: str = ""
    group: str = ""
    access: Access = "tenant"
    privacy: Privacy = "internal"
    salt: bytes = b""
    dek: bytes = b""
    seq: int = 0
    gen: int = 0
    created: int = 0
    expires: int = 0
    ttl: int = 0
    sliding: bool = True
    size: int = 0
    """Bytes of its log and contents."""
    refs: tuple[Ref, ...] = ()
    names: tuple[str, ...] = ()
    about: bytes = b""


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """The context, should there be none of that id. ``ttl`` milliseconds, 0 for never."""

    subject: str = ""
    group: str = ""
    access: Access = "tenant"
    privacy: Privacy = "internal"
    salt: bytes
    dek: bytes = b""
    ttl: int = 0
    sliding: bool = True
    about: bytes = b""


class Lease(msgspec.Struct, frozen=True):
    """The right to commit one turn. ``token``: 128 random bits the store drew; ``until`` by the store's clock."""

    branch: str
    version: str
    token: bytes
    fence: int
    until: int = 0


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that wants to begin (CRP 5.2).

    version    minted by the caller; its handle resolves from then on
    branch     "" for ``main``; must exist, unless the context is created now
    parent     "" for absent
    addressed  as what the client named it
    fork       the anonymous branch to use if this becomes an implicit fork
    scope, key  ``Idempotency-Key`` and where it counts: the context's id, or ``ep:<endpoint>:<subject>`` when the call
               creates the context; "" for none
    retry      the request bears a retry mark, so that an equal fingerprint of the last 10 minutes is the same turn
    fp         SHA-256 of the request
    known      the last ``seq`` this worker has; -1: none, and a snapshot is wanted where there is one
    supersede  a turn in flight on the branch is settled with what it had, and this one takes its place
    input      the ``reserve`` entry
    settled    the ``commit`` entry, status incomplete, that ends this turn if nobody else does
    """

    version: str
    branch: str = ""
    parent: str = ""
    addressed: Literal["ref", "version"] = "ref"
    fork: str
    scope: str = ""
    key: str = ""
    retry: bool = False
    fp: bytes
    known: int = -1
    supersede: bool = False
    lease: int = LEASE
    input: Draft
    settled: Draft
    create: Create | None = None
    privacy: Privacy = "internal"
    """The highest class of what it brings: the context's rises to it."""


class Snapshot(msgspec.Struct, frozen=True):
    """A shortcut: ``body`` (``wire/context_entry``) stands for all entries up to *seq*. Disposable (I5)."""

    seq: int
    body: bytes


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a read found, all of one moment. ``outcome`` is ``ok``, ``not_found`` or ``gone``."""

    outcome: Outcome = "ok"
    meta: Meta | None = None
    snapshot: Snapshot | None = None
    """Only where *known* was behind it; ``entries`` follow it."""
    entries: tuple[StoredEntry, ...] = ()
    """By ``seq``, of all branches."""
    payloads: tuple[Payload, ...] = ()
    """Of those entries and of the snapshot, in no order; a redacted one is missing."""
    truncated: bool = False


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a begin.

    ok        ``lease``, ``branch`` (the anonymous one after a fork), ``base`` (the version it continues, "" for none),
              ``seq`` of its reserve entry, ``loaded`` what the worker lacked, this entry included
    attach, replay  ``version`` of the same turn and ``context`` it lies in; nothing was written
    busy      ``version`` in flight, ``head``, ``retry_after`` seconds
    conflict  ``head``, and ``loaded`` with the entries after ``parent`` on that branch (``MISSING``); ``entries`` is
              empty and ``truncated`` set where parent is no ancestor
    full      ``what`` limit
    not_found, gone, mismatch  nothing else
    """

    outcome: Outcome
    context: str
    lease: Lease | None = None
    branch: str = ""
    base: str = ""
    head: str = ""
    version: str = ""
    seq: int = 0
    retry_after: float = 0.0
    what: str = ""
    loaded: Loaded | None = None


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a turn. ``completed`` and ``incomplete`` move the head, ``failed`` and ``cancelled`` do not.
    ``digest`` is the version's (CRP 1.2), b"" of one that moves nothing."""

    status: Status
    output: Draft
    digest: bytes = b""
    privacy: Privacy = "internal"


class Committed(msgspec.Struct, frozen=True):
    """``ok`` (also for a commit repeated after a lost acknowledgement), ``fenced``, ``gone``, ``full``. ``seq`` of the
    commit entry; ``gen`` for the ETag."""

    outcome: Outcome
    seq: int = 0
    gen: int = 0


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """One entry without a model call: a PATCH, or a control operation.

    version   the new version, "" for an entry that makes none
    head      where the branch's ref goes: ``version`` by default; of a rollback an ancestor, with ``version`` ""
    expect    the head it must find ("" for a branch that must not exist yet); None: any
    branch    made if it does not exist, with ``parents[0]`` or ``head`` as where it begins
    parents   of the version; () for the head found
    about     replaces ``Meta.about`` where not None
    moves     False: no ref moves and no lease is asked for (redaction note, hard expiry, epoch)
    """

    kind: EntryKind
    version: str = ""
    branch: str = "main"
    expect: str | None = None
    head: str = ""
    parents: tuple[str, ...] = ()
    moves: bool = True
    digest: bytes = b""
    entry: Draft
    scope: str = ""
    key: str = ""
    fp: bytes = b""
    known: int = -1
    create: Create | None = None
    privacy: Privacy = "internal"
    about: bytes | None = None


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """``ok``; ``busy`` with ``version`` in flight; ``conflict`` with ``head`` and what is missing, as of ``Begun``;
    ``replay`` with ``version`` of the first time; ``mismatch``; ``exists`` (``create`` of an id in use); ``full`` with
    ``what``; ``not_found``; ``gone``."""

    outcome: Outcome
    seq: int = 0
    gen: int = 0
    head: str = ""
    version: str = ""
    retry_after: float = 0.0
    what: str = ""
    loaded: Loaded | None = None


class Found(msgspec.Struct, frozen=True):
    """What a handle names. ``version`` "" for a context or a session name."""

    context: str
    version: str = ""


class Deletion(msgspec.Struct, frozen=True):
    """What a deletion struck: counted before it. ``digest``: SHA-256 over the digests of all heads, in the order of
    their branches' names."""

    id: str
    at: int
    entries: int
    size: int
    digest: bytes
    backends: tuple[str, ...]


class Damage(msgspec.Struct, frozen=True):
    """One finding of ``check``: ``checksum digest missing_entry missing_payload dangling_head orphan``."""

    context: str
    what: str
    seq: int = 0
    version: str = ""
    detail: str = ""


class ContextStore(Protocol):
    """Made once per worker as ``Class(config, tools)``, opened after the fork."""

    name: str
    """``memory sqlite valkey postgres``: metrics, receipts."""
    durable: bool
    """Survives this process; False is told in discovery."""
    instant: bool
    """No method ever waits."""

    async def open(self) -> None:
        """Connect, make what is missing (tables, scripts), refuse a layout that is newer. Raises
        ``store_unavailable``; may be called again."""

    async def close(self) -> None:
        """Let go of files, threads and connections, after what was handed over is durable."""

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def begin(self, asker: Asker, id: str, request: Begin) -> Begun:
        """The algorithm of CRP 5.2 in its order, in one step: existence and access; settle what has expired;
        duplicates (key, then fingerprint); busy; base; write. After ``ok`` the input and the handle of ``version`` are
        durable. A sliding TTL slides."""

    async def renew(self, asker: Asker, id: str, lease: Lease, settled: Draft | None = None) -> Lease | None:
        """The same lease for as long again; None when it is no longer ours. *settled* replaces the entry that would end
        the turn: what has been delivered so far is in it."""

    async def commit(self, asker: Asker, id: str, lease: Lease, record: Commit) -> Committed:
        """End the turn: entry, head, pending and lease in one step. The digest goes to the version's entries."""

    # abort(failed | cancelled) is a commit of that status, with an empty output.

    async def settle(self, owner: str, ids: Sequence[tuple[str, str]]) -> int:
        """End the turns of a dead worker without waiting for their leases: *ids* are (tenant, context). How many. Only
        for a supervisor that saw it die."""

    # -- entries without a call ----------------------------------------------------------------------------------------

    async def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        """Add one entry, with the same rules for leases, parents and duplicates as ``begin``."""

    async def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        """Destroy nonce, key and content of every revision of these items (``state`` and ``settings`` are names too) in
        tables, blobs no other item uses, snapshots and write-ahead log; append *entry* (``control``), raise ``gen``.
        How many payloads; None for not found. Waits for no lease and moves no ref. Run again after a crash it finishes
        the job."""

    # -- reading -------------------------------------------------------------------------------------------------------

    async def load(self, asker: Asker, id: str, known: int = -1, limit: int = 0) -> Loaded:
        """Entries with ``seq > known``, from the last snapshot on where *known* is behind it; at most *limit* entries
        (0: all), then ``truncated``. One moment: all or ``gone``, never a part."""

    async def contents(self, asker: Asker, id: str, wanted: Sequence[tuple[str, int]]) -> tuple[Payload, ...]:
        """Payloads by (item, rev), for old revisions that no view holds."""

    async def resolve(self, asker: Asker, handle: str) -> Found | None:
        """What ``cv_...``, ``ctx_...`` or a session name of this (tenant, subject) means; O(1) reads, whatever the
        length of the chain. Says nothing of access to the context: ``load`` and ``begin`` do."""

    async def browse(self, asker: Asker, after: str, limit: int, name: str = "") -> list[Meta]:
        """Contexts that *asker* sees and that are not gone, newest first, behind the id *after* ("" for the first)."""

    async def changed(self, asker: Asker, id: str, seq: int, timeout: float) -> bool:
        """Wait until the log has an entry after *seq*, at most *timeout* seconds: attach, queue, tails. At once within
        a process; else looked for at growing distances from 5 to 100 ms. May be cancelled."""

    # -- names, templates, keys ----------------------------------------------------------------------------------------

    async def claim_name(self, tenant: str, subject: str, name: str, id: str) -> str:
        """Give *name* to context *id* unless it is taken; the id it has afterwards. Two parallel first uses get one id.
        A name whose context is gone is given anew."""

    async def template(self, tenant: str, name: str, n: int, put: bytes | None = None) -> bytes | None:
        """Version *n* of a template (0: the latest), or *put* it. Immutable: another body under a taken number is
        left alone, and the one that is there comes back."""

    async def latest_template(self, tenant: str, name: str) -> int:
        """The highest number, 0 for none."""

    async def tenant_key(self, tenant: str, v: int, put: bytes | None = None) -> bytes | None:
        """The sealed tenant key number *v* (0: the latest), or *put* it if there is none; the first one wins."""

    # -- upkeep --------------------------------------------------------------------------------------------------------

    async def snapshot(self, asker: Asker, id: str, upto: int, body: bytes) -> None:
        """Keep *body* for all entries up to *upto*; older snapshots go, entries stay."""

    async def touch(self, asker: Asker, id: str, *, about: bytes | None = None, ttl: int | None = None,
                    access: Access | None = None) -> bool:  # fmt: skip
        """Change what is no entry. False for not found."""

    async def delete(self, asker: Asker, id: str) -> Deletion | None:
        """Destroy key, records, names, handles and blobs; leave a tombstone without content for a day. None for not
        found or already gone. A turn in flight is fenced."""

    async def sweep(self, limit: int) -> int:
        """Strike what has expired: contexts, tombstones, idempotency, blobs nobody refers to; at most *limit* contexts.
        How many. Any number of processes may sweep."""

    def check(self, tenant: str = "", id: str = "") -> AsyncIterator[Damage]:
        """Walk everything (or one tenant, one context) and name what is damaged; what is whole stays readable."""

    async def drop_snapshots(self) -> int:
        """Strike every snapshot (I5). How many."""

    def figures(self) -> dict[str, int]:
        """``store_bytes`` and what else the store counts, without waiting."""
