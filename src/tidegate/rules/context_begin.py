"""What becomes of a turn, an addition, a commit (CRP 5.2): decided once for every store that holds a lock meanwhile.

Values in, verdict out: a store reads what is asked for, lets these functions decide, and writes what they say, all in
one transaction. The order is that of CRP 5.2: a repeated call, duplicates, busy, base, limits. What has to be settled
because its lease is over (:func:`overdue`) was settled before. Times are milliseconds by the store's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from tidegate.exchange.context import PRIVACY, Privacy, Status
from tidegate.exchange.context_ids import MAIN
from tidegate.exchange.context_log import (
    BRANCHES,
    LOG_BYTES,
    MISSING,
    MISSING_BYTES,
    Addition,
    Begin,
    Commit,
    Draft,
    Lease,
    Outcome,
)

BUSY: Final = 2_000
"""Milliseconds after which it is worth asking again, at most: a live turn may end any time."""

EXPIRED: Final = b"expired"
"""``about`` of the tombstone of a context whose life ended by itself; b"" of one that was deleted."""


class Branch:
    """A ref as it lies in the store. ``token fence lease_until`` belong to ``pending``, the turn in flight, "" for
    none; the fence only rises."""

    __slots__ = ("fence", "head", "lease_until", "name", "pending", "token")

    def __init__(self, name: str, head: str = "", pending: str = "", token: bytes = b"", fence: int = 0,
                 lease_until: int = 0) -> None:  # fmt: skip
        self.name = name
        self.head = head
        self.pending = pending
        self.token = token
        self.fence = fence
        self.lease_until = lease_until


class Node(NamedTuple):
    """A version as its last entry says. ``parent``: the first one, "" for none; ``seq``: of its first entry."""

    context: str
    branch: str
    parent: str
    status: Status
    fp: bytes
    digest: bytes
    seq: int


class Known(NamedTuple):
    """A duplicate that was looked up: the request of that key or fingerprint made *version* ("" for none)."""

    fp: bytes
    version: str
    until: int


Lookup = Callable[[str], Node | None]
"""Version → what is known of it, whatever context of the tenant it is in. Of those that a decision may ask for, see
:func:`wanted`."""


class Decision(NamedTuple):
    """What the store does. Only ``ok`` writes anything.

    branch      where it is written; ``opens``: that branch is made now
    base        what the turn or addition continues, "" for none: the branch's head while the turn runs
    head        of the branch as it was found, after ``ends``
    ends        the turn in flight on the branch is settled first (superseded)
    again       the very call was made before: answer as then, write nothing
    version, context  of the other turn (attach, replay, busy)
    """

    outcome: Outcome
    branch: str = ""
    base: str = ""
    head: str = ""
    opens: bool = False
    ends: bool = False
    again: bool = False
    version: str = ""
    context: str = ""
    retry_after: float = 0.0
    what: str = ""


def overdue(now: int, refs: Iterable[Branch]) -> list[Branch]:
    """Branches whose turn has outlived its lease: each is settled before anything is decided."""
    return [ref for ref in refs if ref.pending and ref.lease_until <= now]


def wanted(request: Begin, duplicates: Iterable[Known | None]) -> list[str]:
    """Versions that :func:`decide_begin` asks for, besides head and pending of the branch: for a store that has to read
    them beforehand."""
    names = [request.version, request.parent, *(one.version for one in duplicates if one is not None)]
    return [name for name in names if name]


def branch_of(request: Begin, parent: Node | None) -> str:
    """The branch a turn is meant for."""
    if request.branch:
        return request.branch
    return parent.branch if request.addressed == "version" and parent is not None else MAIN


def draft_size(draft: Draft) -> int:
    """Bytes that count against a log."""
    size = len(draft.body)
    for payload in draft.payloads:
        size += len(payload.body) + len(payload.nonce) + len(payload.ikey)
    return size


def higher(one: Privacy, other: Privacy) -> Privacy:
    """The stricter class: a context's only rises (CRP 10)."""
    return other if PRIVACY.index(other) > PRIVACY.index(one) else one


def decide_begin(
    now: int,
    id: str,
    request: Begin,
    refs: Mapping[str, Branch],
    lookup: Lookup,
    by_key: Known | None = None,
    by_fp: Known | None = None,
    size: int = 0,
) -> Decision:
    """Steps 3 to 5 of ``begin`` on context *id*, which exists or is made now (then *refs* is empty), is seen by the
    asker and has nothing overdue. *by_fp* is given only with a retry mark. *size*: bytes of its log."""
    again = lookup(request.version)
    if again is not None:
        return _begun_before(request, refs, again)
    twin = _twin(now, request.fp, lookup, by_key, by_fp)
    if twin is not None:
        return twin
    parent = lookup(request.parent) if request.parent else None
    if parent is not None and parent.context != id:
        parent = None
    name = branch_of(request, parent)
    ref = refs.get(name)
    if ref is None:
        if refs:
            return Decision("not_found")
        ref = Branch(name)
    by_version = request.addressed == "version" and request.parent != ""
    if by_version and (parent is None or not _stands(parent, request, ref)):
        if parent is not None and parent.status == "in_progress":
            return _busy(now, refs.get(parent.branch) or ref, request.parent)
        return Decision("not_found")
    ends = ref.pending != "" and request.supersede
    if ref.pending and not ends and not by_version:
        return _busy(now, ref, ref.pending)
    head = ref.pending if ends else ref.head
    base = _base(request, head, lookup(head) if head else None, ends) if ends or not ref.pending else None
    forks = base is None
    if base is None:
        if not by_version:
            return Decision("conflict", branch=name, head=head if not ends else ref.head)
        base = request.parent
    if size + draft_size(request.input) > LOG_BYTES:
        return Decision("full", what="log")
    if forks and len(refs) >= BRANCHES:
        return Decision("full", what="branches")
    return Decision(
        "ok",
        branch=request.fork if forks else name,
        base=base,
        head="" if forks else head,
        opens=forks or name not in refs,
        ends=ends and not forks,
    )


def _base(request: Begin, head: str, node: Node | None, ended: bool) -> str | None:
    """Step 5 on a branch without a turn in flight: what the turn continues there; None: it does not. *ended*: the head
    is the turn that this one takes the place of."""
    broken = node is not None and (ended or node.status == "incomplete")
    if broken and node is not None and node.fp and node.fp == request.fp:
        return node.parent  # a broken turn is replaced, not doubled
    if not request.parent or request.parent == head:
        return head
    if broken and node is not None and request.parent == node.parent:
        return node.parent
    return None


def _stands(parent: Node, request: Begin, ref: Branch) -> bool:
    """May a line of ancestors go through it? What failed or was cancelled was never there; what runs is no version yet,
    unless this request ends it."""
    if parent.status == "in_progress":
        return request.supersede and ref.pending == request.parent
    return parent.status == "completed" or parent.status == "incomplete"


def _busy(now: int, ref: Branch, version: str) -> Decision:
    wait = min(max(ref.lease_until - now, 1), BUSY)
    return Decision("busy", branch=ref.name, head=ref.head, version=version, retry_after=wait / 1000)


def _begun_before(request: Begin, refs: Mapping[str, Branch], node: Node) -> Decision:
    """The same begin after a lost acknowledgement: the same answer, unless the turn was ended meanwhile."""
    ref = refs.get(node.branch)
    if ref is not None and ref.pending == request.version:
        return Decision("ok", branch=node.branch, base=node.parent, head=ref.head, again=True)
    return Decision("fenced", version=request.version)


def _twin(now: int, fp: bytes, lookup: Lookup, by_key: Known | None, by_fp: Known | None) -> Decision | None:
    """Step 3. None: no such turn, or one that came to nothing."""
    for known in (by_key, by_fp):
        if known is None or known.until <= now:
            continue
        node = lookup(known.version) if known.version else None
        if known.version and node is None:
            continue  # its context was struck
        if known.fp != fp:
            return Decision("mismatch")
        if node is None:
            return Decision("replay")
        if node.status == "in_progress":
            return Decision("attach", version=known.version, context=node.context, branch=node.branch)
        if node.status == "completed":
            return Decision("replay", version=known.version, context=node.context, branch=node.branch)
        return None
    return None


def decide_append(
    now: int,
    id: str,
    request: Addition,
    refs: Mapping[str, Branch],
    lookup: Lookup,
    by_key: Known | None = None,
    size: int = 0,
) -> Decision:
    """The same for an entry without a call, on a context that exists or is made now (then *refs* is empty). Of ``ok``,
    ``base`` is where the branch stood and ``head`` where its ref goes."""
    again = lookup(request.version) if request.version else None
    if again is not None:
        ref = refs.get(again.branch)
        return Decision("ok", branch=again.branch, base=again.parent, head=ref.head if ref else "", again=True)
    twin = _twin(now, request.fp, lookup, by_key, None)
    if twin is not None:
        return twin
    ref = refs.get(request.branch)
    stood = ref.head if ref is not None else request.parents[0] if request.parents else request.head
    if request.moves:
        if ref is None and refs and not stood:
            return Decision("not_found")
        if ref is not None and ref.pending:
            return _busy(now, ref, ref.pending)
    found = ref.head if ref is not None else ""
    if request.expect is not None and request.expect != found:
        return Decision("conflict", branch=request.branch, head=found)
    for name in (*request.parents, request.head, stood):
        node = lookup(name) if name and name != request.version else None
        if name and name != request.version and (node is None or node.context != id or not _ended(node)):
            return Decision("not_found")
    if request.moves and size + draft_size(request.entry) > LOG_BYTES:
        return Decision("full", what="log")
    opens = ref is None and request.moves
    if opens and len(refs) >= BRANCHES:
        return Decision("full", what="branches")
    head = (request.head or request.version or stood) if request.moves else found
    return Decision("ok", branch=request.branch, base=stood, head=head, opens=opens)


def _ended(node: Node) -> bool:
    return node.status == "completed" or node.status == "incomplete"


def decide_commit(ref: Branch | None, node: Node | None, lease: Lease, record: Commit, size: int = 0) -> Decision:
    """*ref* is that of the lease's branch, *node* its version. ``again``: this very commit was made before. Whether a
    turn may still be ended says the fence alone, never the clock; one that failed is told however full the log is."""
    if node is None:
        return Decision("fenced")
    moves = record.status == "completed" or record.status == "incomplete"
    if ref is not None and ref.pending == lease.version and ref.token == lease.token and ref.fence == lease.fence:
        if moves and size + draft_size(record.output) > LOG_BYTES:
            return Decision("full", what="log")
        return Decision("ok", branch=ref.name, base=node.parent, head=lease.version if moves else ref.head)
    # A settled version has no digest: it is told apart from one that was committed as incomplete.
    if node.status == record.status and node.digest == record.digest and bool(node.digest) == moves:
        return Decision("ok", branch=lease.branch, again=True)
    return Decision("fenced")


def slid(now: int, ttl: int, sliding: bool, expires: int) -> int:
    """When a context expires that is used *now*; 0 for never."""
    return now + ttl if ttl and (sliding or not expires) else expires


def missing(parent: str, head: str, lookup: Lookup) -> list[str] | None:
    """The versions behind *parent* up to *head*, oldest first: what somebody who stands at *parent* lacks. None where
    it is no ancestor of *head*, or one too far away to be told."""
    chain: list[str] = []
    at = head
    while at != parent:
        node = lookup(at) if at and len(chain) < MISSING else None
        if node is None:
            return None
        chain.append(at)
        at = node.parent
    chain.reverse()
    return chain


def fitting(sizes: Iterable[int]) -> int:
    """How many of the first ones of these sizes can be told in a conflict."""
    left = MISSING_BYTES
    count = 0
    for size in sizes:
        left -= size
        if left < 0:
            break
        count += 1
    return count
