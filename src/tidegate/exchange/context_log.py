"""What passes between a turn and the store of conversations: entries with their contents, refs, leases, and what
becomes of a begin, a commit, an addition (CRP 5.2, 11). Values only; ``ports/context_store`` says what a store does.

Times are milliseconds since the epoch. Bodies of entries are bytes that ``wire/context_entry`` wrote.
"""

from __future__ import annotations

from typing import Final, Literal

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
    "ok", "attach", "replay", "busy", "conflict", "mismatch", "not_found", "gone", "expired", "fenced", "full", "exists"
]
"""``attach``: the same turn is in flight. ``replay``: the same turn is complete. ``busy``: another turn is in flight.
``gone``: it was deleted. ``expired``: its life is over.
``conflict``: the parent is not the head. ``mismatch``: the key was used for another request. ``fenced``: the lease is
no longer ours. ``full``: a limit of CRP 14. ``exists``: create of an id or name that is taken."""

ENDED: Final = ("gone", "expired")
"""Outcomes of what has been."""


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
    seq    of its entry, as the store tells; 0 in a draft. Two branches that grow at once may each make the same
           revision: then there are two of (item, rev), and each entry reads the one of its own ``seq``
    """

    item: str
    rev: int
    nonce: bytes
    body: bytes
    ikey: bytes = b""
    seq: int = 0


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
    branch     "" for ``main``, and of a version for the branch its parent was written on; it must exist, unless the
               context is created now
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
    """What a read found, all of one moment. ``outcome`` is ``ok``, ``not_found``, ``gone`` or ``expired``."""

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
    fenced    the call is a repeated one, and its turn was ended meanwhile: it can never be committed
    not_found, gone, expired, mismatch  nothing else
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
    """``ok`` (also for a commit repeated after a lost acknowledgement), ``fenced``, ``gone``, ``expired``, ``full``.
    ``seq`` of the commit entry; ``gen`` for the ETag."""

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
    ``what``; ``not_found``; ``gone``; ``expired``."""

    outcome: Outcome
    seq: int = 0
    gen: int = 0
    head: str = ""
    version: str = ""
    retry_after: float = 0.0
    what: str = ""
    loaded: Loaded | None = None


class Found(msgspec.Struct, frozen=True):
    """What a handle names. ``version`` and the ``branch`` it was written on: "" for a context or a session name."""

    context: str
    version: str = ""
    branch: str = ""


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
