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
- A context is ``expired`` as a whole from the moment its TTL ends, swept or not, and ``gone`` once it was deleted: both
  are told for a day, as long as the tombstone stands.
- Every method may be called from the worker's loop: blocking work is done on the store's own threads. ``async def``
  bodies run in a Task; a store with ``instant = True`` never waits and is awaited inline, ``changed`` aside, which
  always needs a Task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tidegate.exchange.context import Access
from tidegate.exchange.context_log import (
    Addition,
    Appended,
    Asker,
    Begin,
    Begun,
    Commit,
    Committed,
    Damage,
    Deletion,
    Draft,
    Found,
    Lease,
    Loaded,
    Meta,
    Payload,
)


class ContextStore(Protocol):
    """Made once per worker as ``Class(config, tools)``, opened after the fork."""

    name: str
    """``memory sqlite valkey postgres``: metrics, receipts."""
    durable: bool
    """Survives this process; False is told in discovery."""
    instant: bool
    """No method but ``changed`` ever waits."""
    owner: str
    """Whose turns these are, "" by default: set before the first begin; ``settle`` is told it by who knows it dead."""

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
        """End the turn: entry, head, pending and lease in one step. The digest goes to the ``commit`` entry; that of
        the ``reserve`` stays b""."""

    # abort(failed | cancelled) is a commit of that status, with an empty output.

    async def settle(self, owner: str, ids: Sequence[tuple[str, str]]) -> int:
        """End the turns of a dead worker without waiting for their leases: *ids* are (tenant, context). How many. Only
        for who knows that it is dead: what it does next would be fenced."""

    async def in_flight(self) -> list[tuple[str, str, str]]:
        """(owner, tenant, context) of every turn in flight, for who looks for those of the dead. Nothing from a store
        of several machines: their workers cannot be judged from here, and their leases end by themselves."""

    # -- entries without a call ----------------------------------------------------------------------------------------

    async def append(self, asker: Asker, id: str, record: Addition) -> Appended:
        """Add one entry, with the same rules for leases, parents and duplicates as ``begin``."""

    async def redact(self, asker: Asker, id: str, items: Sequence[str], entry: Draft) -> int | None:
        """Destroy nonce, key and content of every revision of these items (``state`` and ``settings`` are names too) in
        tables, blobs no other item uses, snapshots and write-ahead log; append *entry* (``control``), raise ``gen``.
        How many payloads; None for not found. Waits for no lease and moves no ref. Run again after a crash it finishes
        the job."""

    # -- reading -------------------------------------------------------------------------------------------------------

    async def load(self, asker: Asker, id: str, known: int = -1, limit: int = 0, whole: bool = False) -> Loaded:
        """Entries with ``seq > known``, from the last snapshot on where *known* is behind it; the *whole* log is read
        without one, for who found it damaged (I5). At most *limit* entries (0: all), then ``truncated``. One moment:
        all, or ``gone`` or ``expired``, never a part."""

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
