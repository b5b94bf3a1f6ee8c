"""Adding an entry to a context without a model call: made anew while others are faster, within bounds (CRP 5.5)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from tidegate.engine.contexts.plane import Plane
from tidegate.engine.contexts.repository import Held
from tidegate.exchange.context import (
    PRIVACY,
    Added,
    Change,
    Entry,
    EntryKind,
    Marked,
    Note,
    Privacy,
    Revised,
    Summed,
)
from tidegate.exchange.context_ids import version_id
from tidegate.exchange.context_log import Addition, Appended, Create
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.context_fold import History
from tidegate.rules.context_missing import missing_of
from tidegate.wire.context_entry import write_entry

TRIES: Final = 8
"""How often an entry is made anew because somebody was faster."""


class Made:
    """An entry that is wanted. Mutable by whoever makes it.

    changes   for the log; *parents* of the version, () for the head that is found
    plain     it makes no version: only the ref goes to *to*
    fork      the branch it is written on is new, and begins at ``parents[0]``
    """

    __slots__ = ("about", "changes", "kind", "note", "parents", "plain", "to", "warnings")

    def __init__(
        self, changes: tuple[Change, ...] = (), *, kind: EntryKind = "delta", note: Note | None = None,
        parents: tuple[str, ...] = (), plain: bool = False, to: str = "", warnings: tuple[str, ...] = (),
        about: bytes | None = None,
    ) -> None:  # fmt: skip
        self.changes: tuple[Change, ...] = changes
        self.kind: EntryKind = kind
        self.note: Note | None = note
        self.parents: tuple[str, ...] = parents
        self.plain: bool = plain
        self.to: str = to
        self.warnings: tuple[str, ...] = warnings
        self.about: bytes | None = about


class Outcome:
    """What came of it: the context afterwards, the version (of a plain one where its ref is now), what it was made on.
    ``replayed``: the same request was made before, and this is what it made."""

    __slots__ = ("base", "held", "made", "replayed", "version")

    def __init__(self, held: Held, version: str, base: str, made: Made, replayed: bool) -> None:
        self.held: Held = held
        self.version: str = version
        self.base: str = base
        self.made: Made = made
        self.replayed: bool = replayed


async def add(
    plane: Plane, held: Held, branch: str, version: str, make: Callable[[Held, str], Made], *, expect: str = "",
    fork: bool = False,
) -> Outcome:  # fmt: skip
    """Add to *branch* what *make* makes of (context, head); it is asked again when somebody was faster. *version*: what
    the entry is to make.

    expect  the head that the client named; another one is 409 ``context_conflict`` with what is missing
    fork    the branch is new

    Raises 409 ``turn_in_progress`` once a turn has run for longer than the queue waits, and what *make* raises.
    """
    repository = plane.repository
    runtime = plane.runtime
    until = runtime.clock() + plane.limits.queue
    tries = 0
    while True:
        head = "" if fork else plane.head(held, branch)
        if expect and head != expect:
            raise conflict(held, branch, expect, head)
        made = make(held, head)
        if made.kind == "delta" and not made.changes:
            return Outcome(held, head, head, made, False)
        parents = made.parents or ((head,) if head else ())
        entry = Entry(kind=made.kind, version="" if made.plain else version, ts=repository.now(),
                      author=plane.asker.subject, changes=made.changes, note=made.note)  # fmt: skip
        draft, entry = write_entry(entry, repository.seal(held.meta))
        record = Addition(
            kind=made.kind, version=entry.version, branch=branch, expect=head, head=made.to, parents=parents,
            digest=b"" if made.plain else held.history.digest_with(version, draft.body, parents), entry=draft,
            scope=held.meta.id if plane.key else "", key=plane.key, fp=fingerprint(plane) if plane.key else b"",
            privacy=highest(made.changes), about=made.about,
        )  # fmt: skip
        appended, held = await repository.append(plane.asker, held.meta.id, record, entry)
        outcome = appended.outcome
        if outcome == "ok":
            return Outcome(held, made.to if made.plain else version, head, made, False)
        if outcome == "replay":
            plane.x.add_answer_field("context-replayed", "?1")
            known = held.history.versions.get(appended.version)
            parent = known.parents[0] if known is not None and known.parents else ""
            return Outcome(held, appended.version or head, parent, made, True)
        if outcome == "busy":
            left = until - runtime.clock()
            if left <= 0.0:
                raise in_progress(held, appended)
            await repository.changed(plane.asker, held, held.history.seq, left)
            held = await repository.load(plane.asker, held.meta.id, fresh=True)
            continue
        tries += 1
        if fork:
            raise Fault("context_conflict", "A branch of this name exists.", side=CLIENT,
                        extra={"context": {"id": held.meta.id, "head": held.head(branch)}})  # fmt: skip
        if tries == TRIES:
            raise conflict(held, branch, head, plane.head(held, branch))


async def create(plane: Plane, id: str, version: str, made: Made, settings: Create, kept: str) -> Outcome:
    """Make the context *id*, whose first entry makes *version*."""
    repository = plane.repository
    entry = Entry(kind=made.kind, version=version, ts=repository.now(), author=plane.asker.subject,
                  changes=made.changes, note=made.note)  # fmt: skip
    meta = repository.meta_of(plane.asker, id, settings)
    draft, entry = write_entry(entry, repository.seal(meta))
    record = Addition(
        kind=made.kind, version=version, expect="", entry=draft, create=settings, privacy=highest(made.changes),
        digest=History(id, settings.salt).digest_with(version, draft.body, ()),
        scope=f"ep:{plane.x.path}:{plane.asker.subject}" if plane.key else "", key=plane.key,
        fp=fingerprint(plane) if plane.key else b"",
    )  # fmt: skip
    appended, held = await repository.append(
        plane.asker, id, record, entry, "session" if kept == "session" else "durable"
    )
    if appended.outcome == "replay":
        plane.x.add_answer_field("context-replayed", "?1")
        return Outcome(held, appended.version, "", made, True)
    if appended.outcome != "ok":
        raise Fault("context_conflict", "The session has a context already.", side=CLIENT,
                    extra={"context": {"id": held.meta.id, "head": held.head("main")}})  # fmt: skip
    return Outcome(held, version, "", made, False)


def fresh_version(plane: Plane) -> str:
    return version_id(plane.repository.mint())


def fingerprint(plane: Plane) -> bytes:
    """What makes two requests the same one."""
    x = plane.x
    return sha256(f"{x.method} {x.path}?{x.query}\0".encode() + plane.raw).digest()


def highest(changes: tuple[Change, ...]) -> Privacy:
    """The strictest class that *changes* bring in."""
    rank = 0
    for change in changes:
        if isinstance(change, Added):
            found = [item.privacy for item in change.items]
        elif isinstance(change, Revised):
            found = [change.item.privacy]
        elif isinstance(change, Summed):
            found = [change.summary.privacy]
        elif isinstance(change, Marked):
            found = [change.privacy]
        else:
            continue
        for privacy in found:
            rank = max(rank, PRIVACY.index(privacy))
    return PRIVACY[rank] if rank else "public"


def conflict(held: Held, branch: str, parent: str, head: str) -> Fault:
    """409 with all that the client lacks, so that one more round trip suffices (CRP 5.5)."""
    told: dict[str, object] = {"id": held.meta.id, "head": head or None, **missing_of(held.history, parent, head)}
    return Fault("context_conflict", f"parent is not the head of branch {branch}.", side=CLIENT,
                 extra={"param": "parent", "context": told})  # fmt: skip


def in_progress(held: Held, appended: Appended) -> Fault:
    return Fault("turn_in_progress", "A turn of the context is running.", side=CLIENT,
                 retry_after=appended.retry_after or 1.0,
                 extra={"context": {"id": held.meta.id, "turn": appended.version}})  # fmt: skip
