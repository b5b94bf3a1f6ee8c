"""What every context store promises (``ports/context_store``), as checks that run on any of them.

A test file of a store makes a :class:`Place` and runs every function of ``CHECKS`` on it, each with a tenant of its
own. Where time is the server's, ``wait`` really waits, so leases and lives are short here; what needs hours is checked
only where the clock ``leaps``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

from tidegate.exchange.context import Added, Entry, Item, Note, Status
from tidegate.exchange.context_log import (
    BLOB,
    BRANCHES,
    IDEMPOTENCY,
    LOG_BYTES,
    MISSING,
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
    Draft,
    Found,
    Lease,
    Payload,
)
from tidegate.ports.context_store import ContextStore
from tidegate.rules.ulid import ulid
from tidegate.wire.context_entry import plain_seal, settled_commit, version_digest, write_entry

SHORT: Final = 0.08
"""Seconds of a lease or life that a check waits for."""


class Place:
    """Where a store under test keeps its data.

    open   a store on it, opened: another one each time where data is ``shared`` ("another worker")
    wait   lets at least so many seconds pass for the store
    reads  how often the store was asked to read so far; None where nobody counts
    """

    def __init__(
        self,
        open: Callable[[], Awaitable[ContextStore]],
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        leaps: bool = False,
        shared: bool = True,
        reads: Callable[[], int] | None = None,
        tenant: str = "",
    ) -> None:
        self.open = open
        self.wait = wait
        self.leaps = leaps
        self.shared = shared
        self.reads = reads
        self.tenant = tenant or f"t{random.getrandbits(64):016x}"
        self.count = 0

    def ulid(self) -> str:
        """The next id of this check; ids rise."""
        self.count += 1
        return ulid(1_700_000_000.0 + self.count, random.getrandbits(80))


def item(name: str, text: bytes = b"", rev: int = 0, ikey: bytes = b"") -> Payload:
    """A content with a nonce of its own."""
    return Payload(name, rev, sha256(name.encode() + bytes([rev]) + text).digest()[:16], text or name.encode(), ikey)


def digest_of(version: str) -> bytes:
    """A digest that a test can tell again."""
    return sha256(version.encode()).digest()


class Talk:
    """A conversation in a store under test."""

    def __init__(self, place: Place, store: ContextStore, subject: str = "ann", **create: Any) -> None:
        self.place = place
        self.store = store
        self.asker = Asker(place.tenant, subject)
        self.id = "ctx_" + place.ulid()
        self.create = Create(subject=subject, salt=self.id.encode(), **create)

    def request(self, text: bytes = b"q", **asked: Any) -> Begin:
        asked.setdefault("version", "cv_" + self.place.ulid())
        asked.setdefault("fork", "~" + self.place.ulid())
        asked.setdefault("fp", sha256(text).digest())
        asked.setdefault("create", self.create)
        asked.setdefault("input", Draft(b"in:" + text, (item(f"q-{asked['version'][-6:]}", text),)))
        asked.setdefault("settled", Draft(b"broken:" + text))
        return Begin(**asked)

    async def begin(self, text: bytes = b"q", **asked: Any) -> Begun:
        return await self.store.begin(self.asker, self.id, self.request(text, **asked))

    async def end(self, begun: Begun, status: Status = "completed", text: bytes = b"a",
                  lease: Lease | None = None) -> Committed:  # fmt: skip
        held = lease or begun.lease
        assert held is not None, begun
        moves = status in ("completed", "incomplete")
        output = Draft(b"out:" + text, (item(f"a-{held.version[-6:]}", text),) if moves else ())
        record = Commit(status=status, output=output, digest=digest_of(held.version) if moves else b"")
        return await self.store.commit(self.asker, self.id, held, record)

    async def say(self, text: bytes = b"q", **asked: Any) -> str:
        """A whole turn; its version."""
        begun = await self.begin(text, **asked)
        assert begun.outcome == "ok", begun
        assert (await self.end(begun)).outcome == "ok"
        return begun.version

    def addition(self, **asked: Any) -> Addition:
        asked.setdefault("kind", "delta")
        if asked["kind"] == "delta":
            asked.setdefault("version", "cv_" + self.place.ulid())
            asked.setdefault("digest", digest_of(asked["version"]))
        asked.setdefault("entry", Draft(b"add:" + asked.get("version", "").encode()))
        return Addition(**asked)

    async def add(self, **asked: Any) -> Appended:
        return await self.store.append(self.asker, self.id, self.addition(**asked))

    async def heads(self) -> dict[str, str]:
        loaded = await self.store.load(self.asker, self.id)
        assert loaded.meta is not None, loaded
        return {ref.branch: ref.head for ref in loaded.meta.refs}

    async def log(self) -> list[tuple[int, str, str, str]]:
        loaded = await self.store.load(self.asker, self.id)
        return [(entry.seq, entry.kind, entry.version, entry.status) for entry in loaded.entries]

    async def names(self) -> list[str]:
        loaded = await self.store.load(self.asker, self.id)
        return sorted(payload.item for payload in loaded.payloads)


# -- turns -------------------------------------------------------------------------------------------------------------


async def a_context_is_made_by_its_first_turn(place: Place) -> None:
    store = await place.open()
    talk = Talk(place, store, access="subject", group="g", ttl=3_600_000, about=b"about", dek=b"dek")
    begun = await talk.begin(b"hello", version="cv_" + (first := place.ulid()))
    version = "cv_" + first
    assert (begun.outcome, begun.context, begun.branch, begun.base) == ("ok", talk.id, "main", "")
    assert (begun.version, begun.seq, begun.head) == (version, 1, "")
    lease = begun.lease
    assert lease is not None
    assert (lease.branch, lease.version, lease.fence, len(lease.token)) == ("main", version, 1, 16)
    loaded = begun.loaded
    assert loaded is not None and loaded.meta is not None
    entry = loaded.entries[0]
    assert len(loaded.entries) == 1
    assert (entry.seq, entry.kind, entry.version, entry.parents, entry.branch) == (1, "reserve", version, (), "main")
    assert (entry.status, entry.fp, entry.digest) == ("in_progress", sha256(b"hello").digest(), b"")
    assert entry.body == b"in:hello"
    assert [(payload.body, payload.seq, payload.rev) for payload in loaded.payloads] == [(b"hello", 1, 0)]
    meta = loaded.meta
    assert (meta.tenant, meta.id, meta.subject, meta.group) == (place.tenant, talk.id, "ann", "g")
    assert (meta.access, meta.privacy, meta.salt, meta.dek) == ("subject", "internal", talk.id.encode(), b"dek")
    assert (meta.seq, meta.gen, meta.ttl, meta.sliding, meta.about) == (1, 0, 3_600_000, True, b"about")
    assert meta.expires == meta.created + 3_600_000
    assert meta.size == len(b"in:hello") + 16 + len(b"hello")
    assert [(ref.branch, ref.head, ref.pending, ref.fence) for ref in meta.refs] == [("main", "", version, 1)]
    assert meta.refs[0].lease_until == lease.until == meta.created + 15_000


async def what_was_never_made_is_not_found(place: Place) -> None:
    store = await place.open()
    talk = Talk(place, store)
    assert (await talk.begin(create=None)).outcome == "not_found"
    assert (await talk.add()).outcome == "not_found"
    assert (await store.load(talk.asker, talk.id)).outcome == "not_found"
    assert await store.redact(talk.asker, talk.id, ["x"], Draft(b"")) is None
    assert await store.delete(talk.asker, talk.id) is None
    assert await store.touch(talk.asker, talk.id, ttl=5) is False
    assert await store.contents(talk.asker, talk.id, [("x", 0)]) == ()
    assert await store.resolve(talk.asker, "cv_" + place.ulid()) is None
    assert await store.resolve(talk.asker, "name") is None
    assert await store.browse(talk.asker, "", 10) == []
    await talk.say()
    assert (await talk.begin(create=None, branch="nowhere")).outcome == "not_found"
    stranger = "cv_" + place.ulid()
    assert (await talk.begin(parent=stranger, addressed="version")).outcome == "not_found"
    assert (await talk.add(parents=(stranger,))).outcome == "not_found"


async def the_head_moves_with_completed_and_incomplete_only(place: Place) -> None:
    """CRP 5.4."""
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    for status in ("failed", "cancelled"):
        begun = await talk.begin(status.encode())
        assert await talk.end(begun, status) == Committed("ok", begun.seq + 1, 0)
        assert await talk.heads() == {"main": first}
        assert (await talk.begin(parent=begun.version, addressed="version")).outcome == "not_found"
    begun = await talk.begin(b"broken")
    await talk.end(begun, "incomplete")
    assert await talk.heads() == {"main": begun.version}
    loaded = await talk.store.load(talk.asker, talk.id)
    assert [(e.kind, e.status, e.parents, e.digest != b"") for e in loaded.entries] == [
        ("reserve", "in_progress", (), False),
        ("commit", "completed", (), True),
        ("reserve", "in_progress", (first,), False),
        ("commit", "failed", (first,), False),
        ("reserve", "in_progress", (first,), False),
        ("commit", "cancelled", (first,), False),
        ("reserve", "in_progress", (first,), False),
        ("commit", "incomplete", (first,), True),
    ]
    assert [entry.seq for entry in loaded.entries] == list(range(1, 9))
    assert {entry.fp for entry in loaded.entries[2:4]} == {sha256(b"failed").digest()}


async def what_is_acknowledged_is_seen_by_every_worker_at_once(place: Place) -> None:
    """I1, 24."""
    one, other = await place.open(), await place.open()
    talk = Talk(place, one)
    expected = ""
    for n in range(10):
        talk.store = other if n % 2 else one
        begun = await talk.begin(b"%d" % n, parent=expected, create=talk.create if n == 0 else None)
        assert (begun.outcome, begun.base) == ("ok", expected)
        assert begun.loaded is not None and len(begun.loaded.entries) == 2 * n + 1
        await talk.end(begun)
        expected = begun.version
    assert await talk.heads() == {"main": expected}


async def a_call_repeated_after_a_lost_acknowledgement_writes_nothing_twice(place: Place) -> None:
    talk = Talk(place, await place.open())
    request = talk.request(b"1", key="k", scope=talk.id)
    begun = await talk.store.begin(talk.asker, talk.id, request)
    assert await talk.store.begin(talk.asker, talk.id, request) == begun
    done = await talk.end(begun)
    assert done == Committed("ok", 2, 0)
    assert await talk.end(begun) == done
    assert (await talk.end(begun, "failed")).outcome == "fenced"
    assert len(await talk.log()) == 2
    addition = talk.addition()
    added = await talk.store.append(talk.asker, talk.id, addition)
    assert (added.outcome, added.seq, added.head) == ("ok", 3, addition.version)
    again = await talk.store.append(talk.asker, talk.id, addition)
    assert (again.outcome, again.seq, again.head) == ("ok", 3, addition.version)
    failing = await talk.begin(b"2")
    assert await talk.end(failing, "failed") == await talk.end(failing, "failed")
    # An answer whose turn was ended meanwhile can only fail.
    assert (await talk.store.begin(talk.asker, talk.id, request)).outcome == "fenced"
    made = Talk(place, talk.store)
    create = made.addition(kind="control", create=made.create)
    assert (await talk.store.append(talk.asker, made.id, create)).outcome == "ok"
    assert (await talk.store.append(talk.asker, made.id, create)).seq == 1
    assert [row[:2] for row in await made.log()] == [(1, "control")]


async def a_stale_version_forks_and_main_is_unmoved(place: Place) -> None:
    """26."""
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    second = await talk.say(b"2")
    fork = "~" + place.ulid()
    begun = await talk.begin(b"3", parent=first, addressed="version", fork=fork)
    assert (begun.outcome, begun.branch, begun.base) == ("ok", fork, first)
    assert begun.lease is not None and (begun.lease.branch, begun.lease.fence) == (fork, 1)
    await talk.end(begun)
    assert await talk.heads() == {"main": second, fork: begun.version}
    # Its own answer is continued where it was written.
    more = await talk.begin(b"4", parent=begun.version, addressed="version")
    assert (more.branch, more.base) == (fork, begun.version)
    # Two at once from one version: both get an answer.
    twin = await talk.begin(b"4", parent=begun.version, addressed="version")
    assert (twin.outcome, twin.base) == ("ok", begun.version)
    assert twin.branch not in ("main", fork)
    await talk.end(more)
    await talk.end(twin)
    assert sorted((await talk.heads()).values()) == sorted([second, more.version, twin.version])


async def a_stale_ref_is_told_the_head_and_what_it_lacks(place: Place) -> None:
    """25."""
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    side = await talk.begin(b"side", parent=first, addressed="version", supersede=True)
    await talk.end(side)
    versions = [first, side.version]
    fork = "~" + place.ulid()
    aside = await talk.begin(b"aside", parent=first, addressed="version", fork=fork)
    await talk.end(aside)
    failed = await talk.begin(b"failed")
    await talk.end(failed, "failed")
    versions.append(await talk.say(b"2"))
    before = await talk.log()
    told = await talk.begin(b"late", parent=first)
    assert (told.outcome, told.head, told.lease) == ("conflict", versions[-1], None)
    assert told.loaded is not None
    assert [(e.version, e.kind) for e in told.loaded.entries] == [
        (side.version, "reserve"), (side.version, "commit"), (versions[-1], "reserve"), (versions[-1], "commit"),
    ]  # fmt: skip
    assert [payload.body for payload in sorted(told.loaded.payloads, key=lambda p: p.seq)] == [
        b"side",
        b"a",
        b"2",
        b"a",
    ]
    assert not told.loaded.truncated
    lost = await talk.begin(b"lost", parent=aside.version)
    assert (lost.outcome, lost.head) == ("conflict", versions[-1])
    assert lost.loaded is not None and (lost.loaded.entries, lost.loaded.truncated) == ((), True)
    added = await talk.add(expect=first)
    assert (added.outcome, added.head) == ("conflict", versions[-1])
    assert added.loaded is not None and len(added.loaded.entries) == 4
    assert await talk.log() == before


async def what_is_missing_is_bounded(place: Place) -> None:
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    chunk = bytes(100_000)
    for _ in range(3):
        await talk.add(entry=Draft(b"add", (item("d" + place.ulid(), chunk, ikey=b"k"),)))
    told = await talk.begin(parent=first)
    assert told.loaded is not None and (len(told.loaded.entries), told.loaded.truncated) == (2, True)
    assert len(told.loaded.payloads) == 2
    for _ in range(MISSING - 3):
        await talk.add(entry=Draft(b""))
    assert (await talk.begin(parent=first)).loaded.entries != ()  # type: ignore[union-attr]
    await talk.add(entry=Draft(b""))
    far = await talk.begin(parent=first)
    assert far.loaded is not None and (far.loaded.entries, far.loaded.truncated) == ((), True)


async def a_turn_in_flight_is_named_and_waited_for_by_refs_only(place: Place) -> None:
    """28."""
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    running = await talk.begin(b"2")
    busy = await talk.begin(b"3")
    assert (busy.outcome, busy.version, busy.head, busy.lease) == ("busy", running.version, first, None)
    assert 0 < busy.retry_after <= 2.0
    assert (await talk.begin(b"3", parent=first)).outcome == "busy"
    added = await talk.add()
    assert (added.outcome, added.version) == ("busy", running.version)
    unfinished = await talk.begin(b"3", parent=running.version, addressed="version")
    assert (unfinished.outcome, unfinished.version) == ("busy", running.version)
    forked = await talk.begin(b"3", parent=first, addressed="version")
    assert (forked.outcome, forked.base) == ("ok", first)
    assert forked.branch != "main"
    await talk.end(running)
    assert (await talk.begin(b"3")).base == running.version


async def a_superseded_turn_ends_with_what_it_had_and_cannot_commit(place: Place) -> None:
    """28, 29, I7."""
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    old = await talk.begin(b"2")
    assert old.lease is not None
    partial = Draft(b"partial", (item("partial", b"half"),))
    renewed = await talk.store.renew(talk.asker, talk.id, old.lease, partial)
    assert renewed is not None
    assert (renewed.version, renewed.token, renewed.fence) == (old.version, old.lease.token, old.lease.fence)
    new = await talk.begin(b"3", supersede=True)
    assert (new.outcome, new.base) == ("ok", old.version)
    assert new.lease is not None and new.lease.fence == old.lease.fence + 1
    assert (await talk.end(old)).outcome == "fenced"
    assert await talk.store.renew(talk.asker, talk.id, old.lease) is None
    assert (await talk.end(new)).outcome == "ok"
    loaded = await talk.store.load(talk.asker, talk.id)
    settled = next(e for e in loaded.entries if e.version == old.version and e.kind == "commit")
    assert (settled.status, settled.body, settled.digest) == ("incomplete", b"partial", b"")
    assert settled.parents == (first,)
    assert [payload.body for payload in loaded.payloads if payload.seq == settled.seq] == [b"half"]
    assert await talk.heads() == {"main": new.version}


async def a_turn_whose_lease_is_over_is_settled_by_whoever_comes_next(place: Place) -> None:
    """CRP 5.2 step 2, 5.4, I7."""
    talk = Talk(place, await place.open())
    await talk.say(b"1")
    dead = await talk.begin(b"2", lease=int(SHORT * 1000))
    await place.wait(SHORT * 1.5)
    assert (await talk.heads())["main"] == dead.base
    new = await talk.begin(b"3")
    assert (new.outcome, new.base) == ("ok", dead.version)
    assert new.loaded is not None
    assert [(e.kind, e.status, e.body) for e in new.loaded.entries[-2:]] == [
        ("commit", "incomplete", b"broken:2"), ("reserve", "in_progress", b"in:3"),
    ]  # fmt: skip
    assert (await talk.end(dead)).outcome == "fenced"
    assert (await talk.end(new)).outcome == "ok"
    assert await talk.heads() == {"main": new.version}


async def a_renewed_lease_lasts_and_a_late_commit_counts_while_nobody_took_over(place: Place) -> None:
    talk = Talk(place, await place.open())
    begun = await talk.begin(b"1", lease=int(SHORT * 3000))
    assert begun.lease is not None
    for _ in range(3):
        await place.wait(SHORT * 1.5)
        renewed = await talk.store.renew(talk.asker, talk.id, begun.lease)
        assert renewed is not None and renewed.until > begun.lease.until
    assert (await talk.begin(b"2")).outcome == "busy"
    await place.wait(SHORT * 4)
    # Safety is the fence's: what nobody settled can still be ended.
    assert (await talk.end(begun)).outcome == "ok"
    assert await talk.store.renew(talk.asker, talk.id, begun.lease) is None
    assert await talk.heads() == {"main": begun.version}


async def a_resend_replaces_a_broken_turn_and_follows_a_failed_one(place: Place) -> None:
    """33, 34."""
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    broken = await talk.begin(b"2")
    await talk.end(broken, "incomplete")
    again = await talk.begin(b"2")
    assert (again.outcome, again.base) == ("ok", first)
    assert (await talk.heads())["main"] == first
    await talk.end(again, "failed")
    assert await talk.heads() == {"main": first}
    third = await talk.begin(b"2", parent=first)
    assert (third.outcome, third.base) == ("ok", first)
    await talk.end(third, "incomplete")
    # Another request from where the broken one began takes its place too; a third goes on from it.
    other = await talk.begin(b"other", parent=first)
    assert (other.outcome, other.base) == ("ok", first)
    await talk.end(other, "incomplete")
    onward = await talk.begin(b"onward")
    assert onward.base == other.version


async def the_first_turn_can_be_broken_too(place: Place) -> None:
    talk = Talk(place, await place.open())
    broken = await talk.begin(b"1")
    await talk.end(broken, "incomplete")
    again = await talk.begin(b"1")
    assert (again.outcome, again.base) == ("ok", "")
    await talk.end(again)
    assert await talk.heads() == {"main": again.version}


# -- duplicates --------------------------------------------------------------------------------------------------------


async def an_idempotency_key_is_one_turn(place: Place) -> None:
    """32."""
    talk = Talk(place, await place.open())
    keyed: dict[str, Any] = {"key": "k1", "scope": talk.id}
    begun = await talk.begin(b"1", **keyed)
    attached = await talk.begin(b"1", **keyed)
    assert (attached.outcome, attached.version, attached.context) == ("attach", begun.version, talk.id)
    assert (await talk.begin(b"other", **keyed)).outcome == "mismatch"
    await talk.end(begun)
    replayed = await talk.begin(b"1", **keyed)
    assert (replayed.outcome, replayed.version, replayed.context) == ("replay", begun.version, talk.id)
    assert (await talk.begin(b"other", **keyed)).outcome == "mismatch"
    assert (await talk.begin(b"1", key="k2", scope=talk.id)).outcome == "ok"
    assert len(await talk.log()) == 3


async def a_turn_that_came_to_nothing_leaves_its_key_free_for_the_same_request(place: Place) -> None:
    talk = Talk(place, await place.open())
    keyed: dict[str, Any] = {"key": "k", "scope": talk.id}
    for status in ("failed", "cancelled", "incomplete"):
        await talk.end(await talk.begin(b"1", **keyed), status)
    assert (await talk.begin(b"other", **keyed)).outcome == "mismatch"
    last = await talk.begin(b"1", **keyed)
    assert (last.outcome, last.base) == ("ok", "")
    await talk.end(last)
    assert (await talk.begin(b"1", **keyed)).outcome == "replay"


async def a_key_that_makes_contexts_finds_the_one_it_made(place: Place) -> None:
    store = await place.open()
    scope = "ep:/v1/responses:ann"
    one, other = Talk(place, store), Talk(place, store)
    begun = await one.begin(b"1", key="k", scope=scope)
    attached = await other.begin(b"1", key="k", scope=scope)
    assert (attached.outcome, attached.context, attached.version) == ("attach", one.id, begun.version)
    await one.end(begun)
    replayed = await other.begin(b"1", key="k", scope=scope)
    assert (replayed.outcome, replayed.context, replayed.version) == ("replay", one.id, begun.version)
    retried = await other.begin(b"1", retry=True, scope=scope)
    assert (retried.outcome, retried.context) == ("replay", one.id)
    assert (await store.load(other.asker, other.id)).outcome == "not_found"
    await store.delete(one.asker, one.id)
    assert (await other.begin(b"1", key="k", scope=scope)).outcome == "ok"


async def a_dead_turn_is_no_duplicate_once_its_lease_is_over(place: Place) -> None:
    store = await place.open()
    scope = "ep:/v1/responses:ann"
    one, other = Talk(place, store), Talk(place, store)
    dead = await one.begin(b"1", key="k", scope=scope, lease=int(SHORT * 1000))
    await place.wait(SHORT * 1.5)
    assert (await one.begin(b"1", key="k", scope=scope)).base == ""
    keyed: dict[str, Any] = {"key": "k2", "scope": scope}
    lost = await other.begin(b"2", lease=int(SHORT * 1000), **keyed)
    await place.wait(SHORT * 1.5)
    third = Talk(place, store)
    assert (await third.begin(b"2", **keyed)).outcome == "ok"
    assert dead.version != lost.version


async def a_retry_mark_makes_equal_requests_one_turn(place: Place) -> None:
    """33, CRP 5.6."""
    talk = Talk(place, await place.open())
    begun = await talk.begin(b"1")
    assert (await talk.begin(b"1", retry=True)).outcome == "attach"
    assert (await talk.begin(b"1")).outcome == "busy"
    await talk.end(begun)
    assert (await talk.begin(b"1", retry=True)).version == begun.version
    assert (await talk.begin(b"2", retry=True)).outcome == "ok"
    other = Talk(place, talk.store)
    assert (await other.begin(b"1", retry=True)).outcome == "ok"
    third = Talk(place, talk.store)
    await third.say(b"1")
    assert (await third.begin(b"1")).outcome == "ok"


async def keys_last_a_day_and_fingerprints_ten_minutes(place: Place) -> None:
    if not place.leaps:
        return
    talk = Talk(place, await place.open())
    first = await talk.say(b"1", key="k", scope=talk.id)
    await place.wait(RETRY_WINDOW / 1000 - 1)
    assert (await talk.begin(b"1", retry=True)).version == first
    await place.wait(1)
    second = await talk.begin(b"1", retry=True)
    assert second.outcome == "ok"
    await talk.end(second)
    await place.wait((IDEMPOTENCY - RETRY_WINDOW) / 1000 - 1)
    assert (await talk.begin(b"other", key="k", scope=talk.id)).outcome == "mismatch"
    await place.wait(1)
    assert (await talk.begin(b"other", key="k", scope=talk.id)).outcome == "ok"


# -- entries without a call --------------------------------------------------------------------------------------------


async def a_hundred_writers_make_one_order(place: Place) -> None:
    """27."""
    stores = [await place.open(), await place.open()]
    talk = Talk(place, stores[0])
    await talk.say(b"1")
    additions = [talk.addition() for _ in range(100)]
    done = await asyncio.gather(
        *(stores[n % 2].append(talk.asker, talk.id, addition) for n, addition in enumerate(additions))
    )
    assert [added.outcome for added in done] == ["ok"] * 100
    loaded = await talk.store.load(talk.asker, talk.id)
    assert [entry.seq for entry in loaded.entries] == list(range(1, 103))
    assert sorted(added.seq for added in done) == list(range(3, 103))
    tail = loaded.entries[2:]
    assert {entry.version for entry in tail} == {addition.version for addition in additions}
    parents = [entry.parents[0] for entry in tail[1:]]
    assert parents == [entry.version for entry in tail[:-1]]
    assert await talk.heads() == {"main": tail[-1].version}


async def a_hundred_turns_at_once_lose_nothing(place: Place) -> None:
    """27 with model calls: whoever is told busy comes again."""
    stores = [await place.open(), await place.open()]
    talk = Talk(place, stores[0])
    await talk.say(b"first")

    async def one(n: int) -> str:
        store = stores[n % 2]
        request = talk.request(b"%d" % n)
        while True:
            begun = await store.begin(talk.asker, talk.id, request)
            if begun.outcome == "ok":
                break
            assert begun.outcome == "busy", begun
            seen = begun.loaded.meta.seq if begun.loaded and begun.loaded.meta else 0
            await store.changed(talk.asker, talk.id, seen, 0.001)
        assert begun.lease is not None
        record = Commit(status="completed", output=Draft(b"out"), digest=digest_of(begun.version))
        assert (await store.commit(talk.asker, talk.id, begun.lease, record)).outcome == "ok"
        return begun.version

    count = 30
    made = await asyncio.gather(*(one(n) for n in range(count)))
    loaded = await talk.store.load(talk.asker, talk.id)
    commits = [entry for entry in loaded.entries if entry.kind == "commit"]
    assert {entry.version for entry in commits[1:]} == set(made)
    assert [entry.parents[0] for entry in commits[1:]] == [entry.version for entry in commits[:-1]]


async def an_addition_moves_refs_as_it_says(place: Place) -> None:
    talk = Talk(place, await place.open())
    made = await talk.add(create=talk.create, expect="", about=b"first")
    assert (made.outcome, made.seq, made.gen) == ("ok", 1, 0)
    first = made.head
    assert (await talk.add(create=Create(salt=b"other"))).outcome == "exists"
    second = (await talk.add(expect=first, entry=Draft(b"x", (item("i"),)), fp=b"f")).head
    assert (await talk.add(expect=first)).outcome == "conflict"
    # rollback: the log stays
    back = await talk.add(kind="control", head=first, expect=second)
    assert (back.outcome, back.seq, back.head) == ("ok", 3, first)
    assert await talk.heads() == {"main": first}
    # fork
    forked = await talk.add(kind="control", branch="side", head=second, expect="")
    assert (forked.outcome, forked.head) == ("ok", second)
    assert (await talk.add(kind="control", branch="side", head=first, expect="")).outcome == "conflict"
    third = (await talk.add(branch="side", about=b"later")).head
    # merge
    merged = await talk.add(parents=(first, third), expect=first)
    assert merged.outcome == "ok"
    assert await talk.heads() == {"main": merged.head, "side": third}
    # a note moves nothing
    note = await talk.add(kind="control", moves=False)
    assert (note.outcome, note.head) == ("ok", merged.head)
    loaded = await talk.store.load(talk.asker, talk.id)
    assert loaded.meta is not None and loaded.meta.about == b"later"
    assert [(e.kind, e.parents, e.branch, e.status) for e in loaded.entries] == [
        ("delta", (), "main", "completed"),
        ("delta", (first,), "main", "completed"),
        ("control", (), "main", "completed"),
        ("control", (), "side", "completed"),
        ("delta", (second,), "side", "completed"),
        ("delta", (first, third), "main", "completed"),
        ("control", (), "main", "completed"),
    ]
    assert loaded.entries[1].digest == digest_of(second)
    assert loaded.entries[1].fp == b"f"
    # a branch of its own, from an older version
    branched = await talk.add(branch="third", parents=(first,), expect="")
    assert branched.outcome == "ok"
    assert (await talk.heads())["third"] == branched.head
    # and a turn goes on there
    begun = await talk.begin(b"q", branch="third")
    assert (begun.base, begun.branch) == (branched.head, "third")


async def an_addition_waits_for_no_turn_unless_it_moves(place: Place) -> None:
    talk = Talk(place, await place.open())
    await talk.say(b"1")
    begun = await talk.begin(b"2")
    assert (await talk.add(kind="control", moves=False)).outcome == "ok"
    assert (await talk.add(kind="control", head=begun.base)).outcome == "busy"
    assert await talk.store.redact(talk.asker, talk.id, ["nothing"], Draft(b"note")) == 0
    assert (await talk.end(begun)).outcome == "ok"
    dead = await talk.begin(b"3", lease=int(SHORT * 1000))
    await place.wait(SHORT * 1.5)
    added = await talk.add()
    assert added.outcome == "ok"
    loaded = await talk.store.load(talk.asker, talk.id)
    assert loaded.entries[-1].parents == (dead.version,)


async def an_additions_key_is_one_entry(place: Place) -> None:
    """32."""
    talk = Talk(place, await place.open())
    await talk.say(b"1")
    keyed: dict[str, Any] = {"key": "k", "scope": talk.id, "fp": b"f"}
    first = await talk.add(**keyed)
    again = await talk.add(**keyed)
    assert (again.outcome, again.version) == ("replay", first.head)
    assert (await talk.add(**{**keyed, "fp": b"g"})).outcome == "mismatch"
    note: dict[str, Any] = {"kind": "control", "key": "n", "scope": talk.id, "fp": b"n"}
    assert (await talk.add(**note)).outcome == "ok"
    assert (await talk.add(**note)).outcome == "replay"
    assert len(await talk.log()) == 4


async def a_context_is_full_at_its_limits(place: Place) -> None:
    """CRP 14."""
    talk = Talk(place, await place.open())
    first = await talk.say(b"1")
    for n in range(BRANCHES - 1):
        assert (await talk.add(kind="control", branch=f"b{n}", head=first, expect="")).outcome == "ok"
    full = await talk.add(kind="control", branch="more", head=first, expect="")
    assert (full.outcome, full.what) == ("full", "branches")
    await talk.say(b"2")
    fork = await talk.begin(b"3", parent=first, addressed="version")
    assert (fork.outcome, fork.what) == ("full", "branches")
    begun = await talk.begin(b"4")
    half = LOG_BYTES // 2
    assert (await talk.add(kind="control", moves=False, entry=Draft(bytes(half)))).outcome == "ok"
    assert begun.lease is not None
    record = Commit(status="completed", output=Draft(bytes(half)), digest=b"d")
    assert (await talk.store.commit(talk.asker, talk.id, begun.lease, record)).outcome == "full"
    assert (await talk.end(begun, "failed")).outcome == "ok"
    more = await talk.begin(input=Draft(bytes(half)))
    assert (more.outcome, more.what) == ("full", "log")
    added = await talk.add(entry=Draft(bytes(half)))
    assert (added.outcome, added.what) == ("full", "log")


async def turns_of_a_dead_worker_are_settled_by_its_name(place: Place) -> None:
    store = await place.open()
    store.owner = "worker-1"
    one, other = Talk(place, store), Talk(place, store)
    dead = await one.begin(b"1")
    store.owner = "worker-2" if not place.shared else store.owner
    second = await place.open()
    second.owner = "worker-2"
    other.store = second
    live = await other.begin(b"1")
    ids = [(place.tenant, one.id), (place.tenant, other.id), (place.tenant, "ctx_" + place.ulid())]
    flying = {one.id: "worker-1", other.id: "worker-2"} if store.name in ("memory", "sqlite") else {}
    assert {id: owner for owner, tenant, id in await second.in_flight() if tenant == place.tenant} == flying
    assert await second.settle("worker-1", ids) == 1
    assert await second.settle("worker-1", ids) == 0
    assert await one.heads() == {"main": dead.version}
    assert (await one.end(dead)).outcome == "fenced"
    assert (await other.end(live)).outcome == "ok"
    assert [tenant for _, tenant, _ in await second.in_flight() if tenant == place.tenant] == []


# -- reading -----------------------------------------------------------------------------------------------------------


async def what_may_not_be_seen_does_not_exist(place: Place) -> None:
    """5, CX-cross-tenant."""
    store = await place.open()
    mine = Talk(place, store, access="subject", group="red")
    version = await mine.say(b"1")
    begun = await mine.begin(b"2")
    assert begun.lease is not None
    strangers = [
        Asker(place.tenant, "bob"),
        Asker(place.tenant, "bob", "red"),
        Asker("another" + place.tenant, "ann"),
        Asker("another" + place.tenant, "ann", all=True),
    ]
    for asker in strangers:
        assert (await store.load(asker, mine.id)).outcome == "not_found"
        request = mine.request(b"3", create=None)
        assert await store.begin(asker, mine.id, request) == Begun(outcome="not_found", context=mine.id)
        assert (await store.begin(asker, mine.id, mine.request(b"2", retry=True, create=None))).outcome == "not_found"
        assert (await store.append(asker, mine.id, mine.addition(moves=False))).outcome == "not_found"
        assert await store.contents(asker, mine.id, [(f"q-{version[-6:]}", 0)]) == ()
        assert await store.redact(asker, mine.id, [f"q-{version[-6:]}"], Draft(b"")) is None
        assert await store.delete(asker, mine.id) is None
        assert await store.touch(asker, mine.id, ttl=1) is False
        assert await store.renew(asker, mine.id, begun.lease) is None
        record = Commit(status="completed", output=Draft(b""), digest=b"d")
        assert (await store.commit(asker, mine.id, begun.lease, record)).outcome == "fenced"
        assert await store.browse(asker, "", 10) == []
        assert await store.changed(asker, mine.id, 0, 0.01) is False
        await store.snapshot(asker, mine.id, 1, b"snap")
    for asker in (mine.asker, Asker(place.tenant, "root", all=True)):
        loaded = await store.load(asker, mine.id)
        assert loaded.outcome == "ok" and loaded.snapshot is None
    assert (await mine.end(begun)).outcome == "ok"
    await store.touch(mine.asker, mine.id, access="group")
    assert (await store.load(strangers[0], mine.id)).outcome == "not_found"
    assert (await store.load(strangers[1], mine.id)).outcome == "ok"
    assert await store.touch(strangers[1], mine.id, access="tenant") is True
    assert (await store.load(strangers[0], mine.id)).outcome == "ok"
    assert (await store.load(strangers[2], mine.id)).outcome == "not_found"


async def a_handle_is_found_in_the_same_few_reads_however_long_the_chain(place: Place) -> None:
    """4."""
    store = await place.open()
    talk = Talk(place, store)
    first = await talk.say(b"1")
    fork = "~" + place.ulid()
    await talk.add()

    async def reads(handle: str) -> int:
        before = place.reads() if place.reads is not None else 0
        assert await store.resolve(talk.asker, handle) is not None
        return (place.reads() if place.reads is not None else 0) - before

    short = [await reads(first), await reads(talk.id)]
    assert await store.resolve(talk.asker, first) == Found(talk.id, first, "main")
    assert await store.resolve(talk.asker, talk.id) == Found(talk.id)
    assert await store.resolve(talk.asker, "conv_" + talk.id[4:]) == Found(talk.id)
    begun = await talk.begin(b"2", parent=first, addressed="version", fork=fork)
    assert await store.resolve(talk.asker, begun.version) == Found(talk.id, begun.version, fork)
    assert await store.resolve(talk.asker, "resp_" + begun.version[3:]) == Found(talk.id, begun.version, fork)
    assert await store.resolve(Asker("another" + place.tenant, "ann"), first) is None
    await talk.end(begun)
    last = first
    for _ in range(120):
        last = (await talk.add(entry=Draft(b""))).head
    assert [await reads(first), await reads(talk.id)] == short
    assert await reads(last) == short[0]
    if place.reads is not None:
        assert max(short) <= 3


async def names_are_each_subjects_own_and_a_race_has_one_winner(place: Place) -> None:
    """6."""
    stores = [await place.open(), await place.open()]
    ids = ["ctx_" + place.ulid() for _ in range(10)]
    won = await asyncio.gather(
        *(stores[n % 2].claim_name(place.tenant, "ann", "lesson", id) for n, id in enumerate(ids))
    )
    assert len(set(won)) == 1 and won[0] in ids
    store = stores[0]
    ann, bob = Asker(place.tenant, "ann"), Asker(place.tenant, "bob")
    assert await store.resolve(ann, "lesson") == Found(won[0])
    assert await store.resolve(bob, "lesson") is None
    assert await store.claim_name(place.tenant, "bob", "lesson", ids[0]) == ids[0]
    assert await store.claim_name("another" + place.tenant, "ann", "lesson", ids[1]) == ids[1]
    talk = Talk(place, store)
    talk.id = won[0]
    await talk.say(b"1")
    loaded = await store.load(ann, talk.id)
    assert loaded.meta is not None and loaded.meta.names == ("lesson",)
    await store.delete(ann, talk.id)
    assert await store.resolve(ann, "lesson") is None
    fresh = "ctx_" + place.ulid()
    assert await store.claim_name(place.tenant, "ann", "lesson", fresh) == fresh
    assert await store.resolve(ann, "lesson") == Found(fresh)


async def a_read_begins_where_the_reader_is(place: Place) -> None:
    talk = Talk(place, await place.open())
    for n in range(4):
        await talk.say(b"%d" % n)
    store = talk.store
    loaded = await store.load(talk.asker, talk.id, 5)
    assert [entry.seq for entry in loaded.entries] == [6, 7, 8]
    assert sorted(payload.seq for payload in loaded.payloads) == [6, 7, 8]
    assert not loaded.truncated
    part = await store.load(talk.asker, talk.id, 2, 3)
    assert ([entry.seq for entry in part.entries], part.truncated) == ([3, 4, 5], True)
    assert sorted(payload.seq for payload in part.payloads) == [3, 4, 5]
    whole = await store.load(talk.asker, talk.id, 5, 3)
    assert ([entry.seq for entry in whole.entries], whole.truncated) == ([6, 7, 8], False)
    none = await store.load(talk.asker, talk.id, 8)
    assert (none.entries, none.payloads, none.outcome) == ((), (), "ok")
    assert none.meta is not None and none.meta.seq == 8
    begun = await talk.begin(b"5", known=7)
    assert begun.loaded is not None
    assert [entry.seq for entry in begun.loaded.entries] == [8, 9]
    assert sorted(payload.seq for payload in begun.loaded.payloads) == [8, 9]


async def a_snapshot_stands_for_what_lies_before_it(place: Place) -> None:
    """I5."""
    talk = Talk(place, await place.open())
    for n in range(3):
        await talk.say(b"%d" % n)
    store = talk.store
    before = await store.load(talk.asker, talk.id)
    await store.snapshot(talk.asker, talk.id, 4, b"snap4")
    loaded = await store.load(talk.asker, talk.id)
    assert loaded.snapshot is not None and (loaded.snapshot.seq, loaded.snapshot.body) == (4, b"snap4")
    assert [entry.seq for entry in loaded.entries] == [5, 6]
    assert sorted(payload.seq for payload in loaded.payloads) == [1, 2, 3, 4, 5, 6]
    assert (await store.load(talk.asker, talk.id, 3)).snapshot is not None
    log = await store.load(talk.asker, talk.id, whole=True)
    assert (log.snapshot, log.entries) == (None, before.entries)
    assert sorted(payload.seq for payload in log.payloads) == [1, 2, 3, 4, 5, 6]
    after = await store.load(talk.asker, talk.id, 4)
    assert after.snapshot is None and [entry.seq for entry in after.entries] == [5, 6]
    await store.snapshot(talk.asker, talk.id, 2, b"older")
    await store.snapshot(talk.asker, talk.id, 99, b"of the future")
    assert (await store.load(talk.asker, talk.id)).snapshot == loaded.snapshot
    await store.snapshot(talk.asker, talk.id, 6, b"snap6")
    newest = await store.load(talk.asker, talk.id)
    assert newest.snapshot is not None and (newest.snapshot.seq, newest.entries) == (6, ())
    begun = await talk.begin(b"3")
    assert begun.loaded is not None and begun.loaded.snapshot == newest.snapshot
    assert [entry.seq for entry in begun.loaded.entries] == [7]
    await talk.end(begun, "failed")
    assert await store.drop_snapshots() >= 1
    plain = await store.load(talk.asker, talk.id)
    assert plain.snapshot is None
    assert plain.entries[:6] == before.entries
    assert sorted(plain.payloads, key=lambda p: (p.seq, p.item))[:6] == sorted(
        before.payloads, key=lambda p: (p.seq, p.item)
    )


async def old_revisions_are_kept_and_equal_ones_of_two_branches_too(place: Place) -> None:
    talk = Talk(place, await place.open())
    first = (await talk.add(create=talk.create, entry=Draft(b"1", (item("doc", b"old"),)))).head
    await talk.add(entry=Draft(b"2", (item("doc", b"new", 1),)))
    await talk.add(branch="side", parents=(first,), entry=Draft(b"3", (item("doc", b"else", 1), item("state", b"{}"))))
    got = await talk.store.contents(talk.asker, talk.id, [("doc", 0), ("state", 0), ("none", 0)])
    assert sorted((p.item, p.rev, p.body, p.seq) for p in got) == [("doc", 0, b"old", 1), ("state", 0, b"{}", 3)]
    both = await talk.store.contents(talk.asker, talk.id, [("doc", 1)])
    assert sorted((p.body, p.seq) for p in both) == [(b"else", 3), (b"new", 2)]
    loaded = await talk.store.load(talk.asker, talk.id)
    assert sorted((p.item, p.rev, p.body) for p in loaded.payloads if p.seq == 3) == [
        ("doc", 1, b"else"), ("state", 0, b"{}"),
    ]  # fmt: skip


async def contents_come_back_as_they_were_laid(place: Place) -> None:
    talk = Talk(place, await place.open())
    big = random.Random(4).randbytes(3 * BLOB)
    laid = (
        Payload("plain", 0, b"n" * 16, b"\x00\xff" * 9),
        Payload("sealed", 0, b"m" * 16, big, b"key"),
        Payload("big", 0, b"o" * 16, big),
        Payload("same", 0, b"p" * 16, big),
        Payload("edge", 2, b"q" * 16, big[:BLOB]),
        Payload("below", 2, b"r" * 16, big[: BLOB - 1]),
        Payload("empty", 0, b"s" * 16, b""),
    )
    await talk.add(create=talk.create, entry=Draft(b"\x00\x80body", laid))
    loaded = await talk.store.load(talk.asker, talk.id)
    assert loaded.entries[0].body == b"\x00\x80body"
    got = sorted(loaded.payloads, key=lambda p: p.item)
    assert [(p.item, p.rev, p.nonce, p.body, p.ikey, p.seq) for p in got] == [
        (p.item, p.rev, p.nonce, p.body, p.ikey, 1) for p in sorted(laid, key=lambda p: p.item)
    ]


async def lists_are_paged_from_the_newest_on(place: Place) -> None:
    store = await place.open()
    talks = [Talk(place, store, access="subject") for _ in range(5)]
    hidden = Talk(place, store, "bob", access="subject")
    shared = Talk(place, store, "bob", access="tenant")
    for talk in (*talks, hidden, shared):
        await talk.say(b"1")
    ann = talks[0].asker
    newest = [shared.id, *(talk.id for talk in reversed(talks))]
    assert [meta.id for meta in await store.browse(ann, "", 10)] == newest
    assert [meta.id for meta in await store.browse(ann, "", 4)] == newest[:4]
    assert [meta.id for meta in await store.browse(ann, newest[3], 4)] == newest[4:]
    assert await store.browse(ann, newest[-1], 4) == []
    everything = await store.browse(Asker(place.tenant, all=True), "", 10)
    assert [meta.id for meta in everything] == [shared.id, hidden.id, *newest[1:]]
    assert everything[0].seq == 2 and everything[0].refs[0].head != ""
    await store.claim_name(place.tenant, "ann", "lesson", talks[2].id)
    named = await store.browse(ann, "", 10, "lesson")
    assert [(meta.id, meta.names) for meta in named] == [(talks[2].id, ("lesson",))]
    assert await store.browse(hidden.asker, "", 10, "lesson") == []
    await store.delete(ann, talks[1].id)
    assert talks[1].id not in [meta.id for meta in await store.browse(ann, "", 10)]


async def whoever_waits_is_woken_by_the_next_entry(place: Place) -> None:
    stores = [await place.open(), await place.open()]
    talk = Talk(place, stores[0])
    await talk.say(b"1")
    assert await talk.store.changed(talk.asker, talk.id, 1, 5.0) is True
    assert await talk.store.changed(talk.asker, talk.id, 2, 0.02) is False
    for waiting in stores:
        loaded = await talk.store.load(talk.asker, talk.id)
        assert loaded.meta is not None
        task = asyncio.ensure_future(waiting.changed(talk.asker, talk.id, loaded.meta.seq, 5.0))
        await asyncio.sleep(0.01)
        assert not task.done()
        await talk.add()
        assert await asyncio.wait_for(task, 2.0) is True
    given_up = asyncio.ensure_future(talk.store.changed(talk.asker, talk.id, 99, 5.0))
    await asyncio.sleep(0.01)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up
    assert (await talk.add()).outcome == "ok"


async def a_cancelled_caller_leaves_all_or_nothing(place: Place) -> None:
    talk = Talk(place, await place.open())
    await talk.say(b"1")
    for n in range(20):
        task = asyncio.ensure_future(talk.add(entry=Draft(b"x", (item(f"i{n}"), item(f"j{n}")))))
        for _ in range(n % 4):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    added = await talk.add()
    loaded = await talk.store.load(talk.asker, talk.id)
    assert [entry.seq for entry in loaded.entries] == list(range(1, added.seq + 1))
    for entry in loaded.entries[2:-1]:
        assert len([payload for payload in loaded.payloads if payload.seq == entry.seq]) == 2
    assert await talk.heads() == {"main": added.head}


# -- names, templates, keys --------------------------------------------------------------------------------------------


async def templates_never_change_and_the_first_key_wins(place: Place) -> None:
    store, other = await place.open(), await place.open()
    tenant = place.tenant
    assert await store.template(tenant, "lesson", 0) is None
    assert await store.latest_template(tenant, "lesson") == 0
    assert await store.template(tenant, "lesson", 1, b"one") == b"one"
    assert await other.template(tenant, "lesson", 1, b"other") == b"one"
    assert await store.template(tenant, "lesson", 2, b"two") == b"two"
    assert await other.template(tenant, "lesson", 0) == b"two"
    assert await other.template(tenant, "lesson", 1) == b"one"
    assert await store.template(tenant, "lesson", 3) is None
    assert await store.latest_template(tenant, "lesson") == 2
    assert await store.latest_template("another" + tenant, "lesson") == 0
    assert await store.tenant_key(tenant, 0) is None
    keys = await asyncio.gather(*((store, other)[n % 2].tenant_key(tenant, 0, b"key%d" % n) for n in range(6)))
    assert len(set(keys)) == 1 and keys[0] is not None
    assert await store.tenant_key(tenant, 1) == keys[0]
    assert await store.tenant_key(tenant, 2, b"next") == b"next"
    assert await other.tenant_key(tenant, 0) == b"next"
    assert await other.tenant_key(tenant, 0, b"late") == b"next"
    assert await store.tenant_key("another" + tenant, 0) is None


# -- upkeep ------------------------------------------------------------------------------------------------------------


async def a_class_only_rises(place: Place) -> None:
    """CRP 10."""
    talk = Talk(place, await place.open())

    async def now() -> str:
        loaded = await talk.store.load(talk.asker, talk.id)
        assert loaded.meta is not None
        return loaded.meta.privacy

    begun = await talk.begin(b"1", privacy="personal")
    assert begun.loaded is not None and begun.loaded.meta is not None
    assert begun.loaded.meta.privacy == "personal"
    assert begun.lease is not None
    record = Commit(status="completed", output=Draft(b""), digest=b"d", privacy="sensitive")
    await talk.store.commit(talk.asker, talk.id, begun.lease, record)
    assert await now() == "sensitive"
    await talk.add(privacy="public")
    assert await now() == "sensitive"
    await talk.add(privacy="secret")
    assert await now() == "secret"


async def redaction_destroys_every_revision_and_nothing_else(place: Place) -> None:
    """53 (the store's part), CRP 10."""
    talk = Talk(place, await place.open())
    big = random.Random(5).randbytes(2 * BLOB)
    store = talk.store
    other = Talk(place, store)
    await other.add(create=other.create, entry=Draft(b"o", (item("copy", big),)))
    await talk.add(create=talk.create, entry=Draft(b"1", (item("doc", big), item("stays", b"here"))))
    await talk.add(entry=Draft(b"2", (item("doc", b"second", 1), item("state", b"{}", 0))))
    await store.snapshot(talk.asker, talk.id, 2, b"snap")
    begun = await talk.begin(b"q", settled=Draft(b"s", (item("doc", b"third", 2), item("partial", b"p"))))
    before = await store.load(talk.asker, talk.id)
    assert before.meta is not None
    assert await store.redact(talk.asker, talk.id, ["doc", "state"], Draft(b"note")) == 3
    loaded = await store.load(talk.asker, talk.id)
    assert loaded.meta is not None
    assert (loaded.meta.gen, loaded.meta.seq, loaded.snapshot) == (1, 4, None)
    assert sorted(payload.item for payload in loaded.payloads) == [f"q-{begun.version[-6:]}", "stays"]
    note = loaded.entries[-1]
    assert (note.kind, note.version, note.body, note.status) == ("control", "", b"note", "completed")
    assert [entry.body for entry in loaded.entries[:3]] == [b"1", b"2", b"in:q"]
    assert loaded.meta.size == before.meta.size + len(b"note") - (3 * 16 + len(big) + len(b"second") + len(b"{}"))
    assert await store.contents(talk.asker, talk.id, [("doc", 0), ("doc", 1)]) == ()
    copies = await store.contents(other.asker, other.id, [("copy", 0)])
    assert [payload.body for payload in copies] == [big]
    assert await store.redact(talk.asker, talk.id, ["doc"], Draft(b"again")) == 0
    # What the turn in flight would have ended with is no way back.
    new = await talk.begin(b"r", supersede=True)
    assert new.outcome == "ok"
    assert "doc" not in await talk.names()
    assert "partial" in await talk.names()


async def deletion_leaves_a_tombstone_and_a_receipt(place: Place) -> None:
    """54 (the store's part)."""
    talk = Talk(place, await place.open(), access="subject")
    store = talk.store
    first = await talk.say(b"1")
    await talk.add(kind="control", branch="a", head=first, expect="")
    second = await talk.say(b"2")
    running = await talk.begin(b"3", key="k", scope=talk.id)
    before = await store.load(talk.asker, talk.id)
    assert before.meta is not None
    receipt = await store.delete(talk.asker, talk.id)
    assert receipt is not None
    assert (receipt.id, receipt.entries, receipt.size) == (talk.id, 6, before.meta.size)
    assert receipt.digest == sha256(digest_of(first) + digest_of(second)).digest()
    assert receipt.backends == (store.name,)
    assert receipt.at >= before.meta.created
    assert await store.delete(talk.asker, talk.id) is None
    assert await store.load(talk.asker, talk.id) == type(before)(outcome="gone")
    assert (await store.load(Asker(place.tenant, "bob"), talk.id)).outcome == "not_found"
    assert (await talk.begin(b"4")).outcome == "gone"
    assert (await talk.add()).outcome == "gone"
    assert (await talk.add(create=talk.create)).outcome == "gone"
    assert (await talk.end(running)).outcome == "gone"
    assert running.lease is not None
    assert await store.renew(talk.asker, talk.id, running.lease) is None
    assert await store.redact(talk.asker, talk.id, ["x"], Draft(b"")) is None
    assert await store.resolve(talk.asker, second) is None
    assert await store.resolve(talk.asker, talk.id) == Found(talk.id)
    assert await store.contents(talk.asker, talk.id, [(f"q-{first[-6:]}", 0)]) == ()
    assert await store.browse(talk.asker, "", 10) == []
    if place.leaps:
        await place.wait(TOMBSTONE / 1000 - 1)
        await store.sweep(100)
        assert (await store.load(talk.asker, talk.id)).outcome == "gone"
        await place.wait(1)
        assert (await store.load(talk.asker, talk.id)).outcome == "not_found"
        assert await store.sweep(100) == 1
        assert await store.resolve(talk.asker, talk.id) is None


async def what_has_expired_is_gone_as_a_whole(place: Place) -> None:
    """56, CX-ttl-race."""
    store = await place.open()
    life = int(SHORT * 5000)
    talk = Talk(place, store, ttl=life)
    fixed = Talk(place, store, ttl=life, sliding=False)
    begun = await talk.begin(b"1", key="k", scope=talk.id)
    await talk.end(begun)
    await fixed.say(b"1")
    await store.claim_name(place.tenant, "ann", "lesson", talk.id)
    await place.wait(SHORT * 3)
    used = await talk.begin(b"2")
    assert used.loaded is not None and used.loaded.meta is not None and begun.loaded is not None
    assert begun.loaded.meta is not None and used.loaded.meta.expires > begun.loaded.meta.expires
    assert (await fixed.begin(b"2")).outcome == "ok"
    await place.wait(SHORT * 3)
    assert (await fixed.begin(b"3")).outcome == "expired"
    assert (await store.load(fixed.asker, fixed.id)).outcome == "expired"
    assert (await talk.end(used)).outcome == "ok"
    await place.wait(SHORT * 6)
    assert (await store.load(talk.asker, talk.id)).outcome == "expired"
    assert (await talk.begin(b"3", retry=True)).outcome == "expired"
    assert (await talk.begin(b"1", key="k", scope=talk.id)).outcome == "expired"
    assert (await talk.add()).outcome == "expired"
    assert (await talk.add(create=talk.create)).outcome == "expired"
    assert (await talk.end(used)).outcome == "expired"
    assert await store.contents(talk.asker, talk.id, [(f"q-{begun.version[-6:]}", 0)]) == ()
    assert await store.browse(talk.asker, "", 10) == []
    assert await store.resolve(talk.asker, "lesson") is None
    assert await store.delete(talk.asker, talk.id) is None
    fresh = "ctx_" + place.ulid()
    assert await store.claim_name(place.tenant, "ann", "lesson", fresh) == fresh
    if place.leaps:
        assert await store.sweep(1) == 1
        assert await store.sweep(10) == 1
        assert await store.sweep(10) == 0
    else:
        await store.sweep(1000)
    assert (await store.load(talk.asker, talk.id)).outcome == "expired"
    assert (await talk.begin(b"4")).outcome == "expired"
    assert (await store.load(Asker("elsewhere", "ann"), talk.id)).outcome == "not_found"
    assert await store.resolve(talk.asker, begun.version) is None


async def a_life_can_be_changed(place: Place) -> None:
    store = await place.open()
    talk = Talk(place, store)
    await talk.say(b"1")
    assert await store.touch(talk.asker, talk.id, ttl=int(SHORT * 1000), about=b"title") is True
    loaded = await store.load(talk.asker, talk.id)
    assert loaded.meta is not None and (loaded.meta.about, loaded.meta.ttl) == (b"title", int(SHORT * 1000))
    assert await store.touch(talk.asker, talk.id, ttl=0) is True
    loaded = await store.load(talk.asker, talk.id)
    assert loaded.meta is not None and (loaded.meta.expires, loaded.meta.about) == (0, b"title")
    await store.touch(talk.asker, talk.id, ttl=int(SHORT * 1000))
    await place.wait(SHORT * 1.5)
    assert (await store.load(talk.asker, talk.id)).outcome == "expired"


async def what_is_whole_raises_no_alarm(place: Place) -> None:
    """I8."""
    store = await place.open()
    talk = Talk(place, store)
    seal = plain_seal(lambda: random.randbytes(16))
    parent: tuple[bytes, ...] = ()
    for n in range(4):
        version = "cv_" + place.ulid()
        words = (Added((Item(id=f"i{n}", type="message", role="user", content=b'"hello"'),)),)
        draft, _ = write_entry(Entry(kind="reserve", version=version, changes=words), seal)
        begun = await talk.begin(
            b"%d" % n, version=version, input=draft, settled=settled_commit(version, 5), supersede=True
        )
        assert begun.lease is not None
        if n == 2:
            continue  # superseded: it is settled without a digest
        words = (Added((Item(id=f"o{n}", type="message", role="assistant", content=b'"hi"'),)),)
        output, _ = write_entry(Entry(kind="commit", version=version, changes=words), seal)
        if n == 3:
            output, _ = write_entry(Entry(kind="commit", version=version, status="failed"), seal)
            record = Commit(status="failed", output=output)
        else:
            parent = (version_digest(talk.create.salt, parent, (draft.body, output.body)),)
            record = Commit(status="completed", output=output, digest=parent[0])
        assert (await store.commit(talk.asker, talk.id, begun.lease, record)).outcome == "ok"
    note, _ = write_entry(Entry(kind="control", note=Note("redact", items=("i0",))), seal)
    assert await store.redact(talk.asker, talk.id, ["i0"], note) == 1
    assert [damage async for damage in store.check(place.tenant)] == []
    assert [damage async for damage in store.check(place.tenant, talk.id)] == []


# -- all of them alike -------------------------------------------------------------------------------------------------


async def script(place: Place, seed: int, steps: int) -> list[Any]:
    """*steps* operations that *seed* draws, and all that can be seen afterwards, times and tokens aside: equal on
    every store (59)."""
    dice = random.Random(seed)
    stores = [await place.open(), await place.open()]
    count = 0

    def name(prefix: str) -> str:
        nonlocal count
        count += 1
        return prefix + ulid(1_700_000_000.0 + count, dice.getrandbits(80))

    askers = [Asker(place.tenant, "ann"), Asker(place.tenant, "bob", "red"), Asker(place.tenant, "root", all=True)]
    contexts = [name("ctx_") for _ in range(4)]
    versions: list[tuple[str, str]] = []
    leases: list[tuple[str, Lease]] = []
    told: list[Any] = []

    def content() -> tuple[Payload, ...]:
        size = dice.choice((3, 40, BLOB, BLOB + 9))
        body = bytes([dice.randrange(3)]) * size
        return tuple(
            Payload(dice.choice(("a", "b", "c", "state")) + str(n), dice.randrange(3), dice.randbytes(16), body)
            for n in range(dice.randrange(3))
        )

    for _ in range(steps):
        store = dice.choice(stores)
        store.owner = dice.choice(("w1", "w2"))
        asker = dice.choice(askers)
        context = dice.choice(contexts)
        kind = dice.choices(
            ("begin", "commit", "append", "redact", "delete", "snapshot", "settle", "renew", "touch", "claim", "again"),
            (36, 26, 16, 2, 1, 4, 1, 5, 1, 3, 3),
        )[0]
        mine = [version for owner, version in versions if owner == context]
        if kind == "begin":
            parent = dice.choice(["", "", *mine[-4:]])
            request = Begin(
                version=name("cv_"), fork=name("~"), fp=bytes([dice.randrange(4)]), retry=dice.random() < 0.2,
                parent=parent, addressed=dice.choice(("ref", "version")) if parent else "ref",
                branch=dice.choice(("",) * 9 + ("side",)), supersede=dice.random() < 0.2,
                key=dice.choice(("", "", "", "", "", "k1", "k2")), scope=context, known=dice.choice((-1, 0, 3)),
                input=Draft(dice.randbytes(9), content()), settled=Draft(dice.randbytes(5), content()),
                privacy=dice.choice(("public", "internal", "internal", "personal")), lease=3_600_000,
                create=Create(subject=asker.subject, group="red", salt=context.encode(),
                              access=dice.choice(("tenant",) * 6 + ("subject", "group"))),
            )  # fmt: skip
            begun = await store.begin(asker, context, request)
            seen = [] if begun.loaded is None else [entry.seq for entry in begun.loaded.entries]
            told.append((kind, begun.outcome, begun.branch, begun.base, begun.head, begun.version, begun.what, seen))
            if begun.lease is not None:
                leases.append((context, begun.lease))
                versions.append((context, begun.version))
        elif kind in ("commit", "again") and leases:
            at = dice.randrange(len(leases))
            owner, lease = leases.pop(at) if kind == "commit" else leases[at]
            status = dice.choice(("completed", "completed", "completed", "incomplete", "failed", "cancelled"))
            moves = status in ("completed", "incomplete")
            record = Commit(status=status, output=Draft(dice.randbytes(7), content() if moves else ()),
                            digest=digest_of(lease.version) if moves else b"")  # fmt: skip
            told.append((kind, await store.commit(askers[2], owner, lease, record)))
        elif kind == "append":
            version = dice.choice((name("cv_"), ""))
            record_ = Addition(
                kind="delta" if version else "control", version=version,
                branch=dice.choice(("main", "main", "main", "side", "b1")),
                expect=dice.choice((None, None, "", *mine[-2:])), moves=dice.random() < 0.9,
                head="" if version else dice.choice(["", *mine[-3:]]),
                parents=tuple(mine[-1:]) if dice.random() < 0.3 else (), digest=digest_of(version) if version else b"",
                entry=Draft(dice.randbytes(4), content()), about=dice.choice((None, b"t%d" % dice.randrange(9))),
            )  # fmt: skip
            added = await store.append(asker, context, record_)
            told.append((kind, added.outcome, added.seq, added.gen, added.head, added.version, added.what))
            if added.outcome == "ok" and version:
                versions.append((context, version))
        elif kind == "redact":
            told.append((kind, await store.redact(asker, context, dice.sample(("a0", "b0", "c0", "state0"), 2),
                                                  Draft(b"note"))))  # fmt: skip
        elif kind == "delete":
            gone = await store.delete(asker, context)
            told.append((kind, None if gone is None else (gone.id, gone.entries, gone.size, gone.digest)))
            if gone is not None:
                contexts[contexts.index(context)] = name("ctx_")
        elif kind == "snapshot":
            await store.snapshot(asker, context, dice.randrange(1, 12), b"snap%d" % dice.randrange(9))
        elif kind == "settle":
            told.append((kind, await store.settle("w1", [(place.tenant, context)])))
        elif kind == "renew" and leases:
            owner, lease = dice.choice(leases)
            renewed = await store.renew(askers[2], owner, lease, Draft(dice.randbytes(6), content()))
            told.append((kind, renewed is not None))
        elif kind == "touch":
            told.append(
                (kind, await store.touch(asker, context, access=dice.choice(("tenant", "tenant", "tenant", "subject"))))
            )
        elif kind == "claim":
            who = dice.choice(("ann", "bob"))
            told.append((kind, await store.claim_name(place.tenant, who, f"n{dice.randrange(4)}", context)))
    for context in contexts:
        told.append(await dump(stores[0], askers[2], context))
    for _, version in versions:
        told.append(await stores[1].resolve(askers[0], version))
    for asker in askers:
        told.append([meta.id for meta in await stores[0].browse(asker, "", 100)])
    return told


async def dump(store: ContextStore, asker: Asker, context: str) -> Any:
    """All of a context but what clocks and chance put in."""
    loaded = await store.load(asker, context)
    if loaded.meta is None:
        return loaded.outcome
    meta = loaded.meta
    return (
        meta.subject, meta.group, meta.access, meta.privacy, meta.salt, meta.seq, meta.gen, meta.size, meta.names,
        meta.about, [(ref.branch, ref.head, ref.pending, ref.fence) for ref in meta.refs], loaded.snapshot,
        [(e.seq, e.kind, e.version, e.parents, e.branch, e.status, e.fp, e.digest, e.body) for e in loaded.entries],
        sorted((p.seq, p.item, p.rev, p.nonce, p.body, p.ikey) for p in loaded.payloads),
    )  # fmt: skip


Check = Callable[[Place], Awaitable[None]]

CHECKS: Final[tuple[Check, ...]] = (
    a_context_is_made_by_its_first_turn,
    what_was_never_made_is_not_found,
    the_head_moves_with_completed_and_incomplete_only,
    what_is_acknowledged_is_seen_by_every_worker_at_once,
    a_call_repeated_after_a_lost_acknowledgement_writes_nothing_twice,
    a_stale_version_forks_and_main_is_unmoved,
    a_stale_ref_is_told_the_head_and_what_it_lacks,
    what_is_missing_is_bounded,
    a_turn_in_flight_is_named_and_waited_for_by_refs_only,
    a_superseded_turn_ends_with_what_it_had_and_cannot_commit,
    a_turn_whose_lease_is_over_is_settled_by_whoever_comes_next,
    a_renewed_lease_lasts_and_a_late_commit_counts_while_nobody_took_over,
    a_resend_replaces_a_broken_turn_and_follows_a_failed_one,
    the_first_turn_can_be_broken_too,
    an_idempotency_key_is_one_turn,
    a_turn_that_came_to_nothing_leaves_its_key_free_for_the_same_request,
    a_key_that_makes_contexts_finds_the_one_it_made,
    a_dead_turn_is_no_duplicate_once_its_lease_is_over,
    a_retry_mark_makes_equal_requests_one_turn,
    keys_last_a_day_and_fingerprints_ten_minutes,
    a_hundred_writers_make_one_order,
    a_hundred_turns_at_once_lose_nothing,
    an_addition_moves_refs_as_it_says,
    an_addition_waits_for_no_turn_unless_it_moves,
    an_additions_key_is_one_entry,
    a_context_is_full_at_its_limits,
    turns_of_a_dead_worker_are_settled_by_its_name,
    what_may_not_be_seen_does_not_exist,
    a_handle_is_found_in_the_same_few_reads_however_long_the_chain,
    names_are_each_subjects_own_and_a_race_has_one_winner,
    a_read_begins_where_the_reader_is,
    a_snapshot_stands_for_what_lies_before_it,
    old_revisions_are_kept_and_equal_ones_of_two_branches_too,
    contents_come_back_as_they_were_laid,
    lists_are_paged_from_the_newest_on,
    whoever_waits_is_woken_by_the_next_entry,
    a_cancelled_caller_leaves_all_or_nothing,
    templates_never_change_and_the_first_key_wins,
    a_class_only_rises,
    redaction_destroys_every_revision_and_nothing_else,
    deletion_leaves_a_tombstone_and_a_receipt,
    what_has_expired_is_gone_as_a_whole,
    a_life_can_be_changed,
    what_is_whole_raises_no_alarm,
)
"""Run each with a new Place of the same data."""
