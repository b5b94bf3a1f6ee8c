"""Replay: the changes of a line of ancestors folded into what a context is at one version (CRP 1.1, 4.2).

``Folding`` takes changes one after another and asks no rule: what could not be done was refused before it was logged.
``History`` keeps the entries a worker knows of one context, of all branches, and answers with views, digests and
ancestry. Both are pure: equal logs give equal views on every worker (I6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import xxhash

from tidegate.exchange.chat import Raw
from tidegate.exchange.context import (
    SETTINGS,
    STATE,
    Added,
    Change,
    Ended,
    Entry,
    EpochBegun,
    Item,
    Marked,
    PolicyChanged,
    Privacy,
    Removed,
    Revised,
    SettingsChanged,
    StateChanged,
    Summed,
    TemplateChanged,
    Version,
    View,
)
from tidegate.exchange.context_log import Payload, StoredEntry
from tidegate.rules.context_begin import higher
from tidegate.rules.json_patch import CannotApply, apply_patch, merge, read_patch
from tidegate.wire.context_entry import (
    CHECKSUM,
    BrokenEntry,
    Unseal,
    inflated,
    read_entry,
    redacted,
    squeezed,
    version_digest,
)
from tidegate.wire.json_text import dumps, loads

_VIEWS: Final = 4
"""Views a history keeps: the heads of a few branches and what was asked for last."""
_STRUCK: Final = frozenset(("redact", "expire"))
_SNAPSHOT: Final = 2

_replace: Final = msgspec.structs.replace
_encode: Final = msgspec.msgpack.Encoder().encode
_snapshot: Final = msgspec.msgpack.Decoder(tuple[int, str, list[bytes]]).decode
_chunk: Final = msgspec.msgpack.Decoder(list[StoredEntry]).decode


def fold(view: View, changes: Iterable[Change], version: str, recorded: int) -> View:
    """*view* after *changes*, which made *version* at *recorded* (milliseconds)."""
    folding = Folding(view)
    for change in changes:
        folding.take(change, version, recorded)
    return folding.view(version)


class Folding:
    """A view taken apart. Items that leave are holes until the end, so that places stay good meanwhile. What no change
    touches is shared with the view it came from, and with those made of it."""

    __slots__ = ("_base", "_holes", "_own", "_state", "_value", "by_id", "by_key", "epoch", "items", "policy",
                 "privacy", "renderer", "revs", "settings", "template")  # fmt: skip

    def __init__(self, view: View) -> None:
        self._base: View = view
        self.items: Sequence[Item | None] = view.items
        self.by_id: dict[str, int] = view.by_id
        self.by_key: dict[str, int] = view.by_key
        self._own: list[Item | None] | None = None
        """``items``, once they and the tables belong to this folding alone."""
        self._holes: int = 0
        self._state: Raw = view.state
        self._value: Any = None
        """The state taken apart, once something changes it; then ``_state`` is b""."""
        self.settings: Raw = view.settings
        self.template: str = view.template
        self.policy: Raw = view.policy
        self.privacy: Privacy = view.privacy
        self.epoch: str = view.epoch
        self.renderer: int = view.renderer
        self.revs: tuple[int, int] = view.revs

    # -- what is there -------------------------------------------------------------------------------------------------

    def item(self, id: str) -> Item | None:
        place = self.by_id.get(id)
        return None if place is None else self.items[place]

    def current(self, key: str) -> Item | None:
        """The current item of *key*."""
        place = self.by_key.get(key)
        return None if place is None else self.items[place]

    @property
    def state(self) -> Raw:
        if not self._state:
            self._state = dumps(self._value)
        return self._state

    def __len__(self) -> int:
        return len(self.items) - self._holes

    def view(self, version: str, digest: bytes = b"") -> View:
        """Put together again. The folding may go on afterwards."""
        if self._holes:
            self._close_up()
        self.items, self._own = tuple(self.items), None
        return View(
            context=self._base.context, version=version, items=self.items,  # type: ignore[arg-type]
            by_id=self.by_id, by_key=self.by_key, state=self.state, settings=self.settings, template=self.template,
            policy=self.policy, privacy=self.privacy, epoch=self.epoch, renderer=self.renderer, revs=self.revs,
            digest=digest,
        )  # fmt: skip

    def _owned(self) -> list[Item | None]:
        """``items`` to be changed; whoever changes the tables has asked for them first."""
        if self._own is None:
            self.items = self._own = list(self.items)
            self.by_id = self.by_id.copy()
            self.by_key = self.by_key.copy()
        return self._own

    def _close_up(self) -> None:
        keys = {place: key for key, place in self.by_key.items()}
        items: list[Item | None] = []
        by_id: dict[str, int] = {}
        by_key: dict[str, int] = {}
        for place, item in enumerate(self.items):
            if item is not None:
                by_id[item.id] = len(items)
                if place in keys:
                    by_key[keys[place]] = len(items)
                items.append(item)
        self.items, self.by_id, self.by_key, self._holes = items, by_id, by_key, 0

    # -- changes -------------------------------------------------------------------------------------------------------

    def take(self, change: Change, version: str, recorded: int) -> None:
        """One change. What it names and is not there is passed over: it was redacted or belongs to a damaged log."""
        if isinstance(change, Added):
            for item in change.items:
                self._add(item, len(self.items), recorded)
        elif isinstance(change, Revised):
            self._revise(change.item)
        elif isinstance(change, Ended):
            self._end(change.id, change.valid_to)
        elif isinstance(change, Removed):
            for id in change.ids:
                self._remove(id)
        elif isinstance(change, Marked):
            self._mark(change)
        elif isinstance(change, Summed):
            self._sum(change, recorded)
        elif isinstance(change, StateChanged):
            self._change_state(change)
        elif isinstance(change, SettingsChanged):
            self.settings = change.value
            self.revs = (self.revs[0], change.rev + 1)
        elif isinstance(change, PolicyChanged):
            self.policy = change.policy
        elif isinstance(change, TemplateChanged):
            self.template = change.ref
        elif isinstance(change, EpochBegun):
            self._begin_epoch(change, version)

    def _add(self, item: Item, place: int, recorded: int) -> None:
        if item.id in self.by_id:
            return
        if not item.recorded:
            item = _replace(item, recorded=recorded)
        items = self._owned()
        if place == len(items):
            items.append(item)
        else:
            items[place] = item
            self._holes -= 1
        self.by_id[item.id] = place
        if item.key:
            self.by_key[item.key] = place
        self.privacy = higher(self.privacy, item.privacy)

    def _revise(self, item: Item) -> None:
        place = self.by_id.get(item.id)
        old = None if place is None else self.items[place]
        if place is None or old is None:
            return
        items = self._owned()
        if old.key != item.key:
            if self.by_key.get(old.key) == place:
                del self.by_key[old.key]
            if item.key:
                self.by_key[item.key] = place
        items[place] = item
        self.privacy = higher(self.privacy, item.privacy)

    def _end(self, id: str, valid_to: int) -> None:
        place = self.by_id.get(id)
        item = None if place is None else self.items[place]
        if place is None or item is None:
            return
        self._owned()[place] = _replace(item, valid_to=valid_to)
        if self.by_key.get(item.key) == place:
            del self.by_key[item.key]

    def _remove(self, id: str) -> int | None:
        if id not in self.by_id:
            return None
        items = self._owned()
        place = self.by_id.pop(id)
        item = items[place]
        if item is not None and self.by_key.get(item.key) == place:
            del self.by_key[item.key]
        items[place] = None
        self._holes += 1
        return place

    def _mark(self, change: Marked) -> None:
        place = self.by_id.get(change.id)
        item = None if place is None else self.items[place]
        if place is None or item is None:
            return
        self._owned()[place] = _replace(
            item, pinned=change.pinned, priority=change.priority, elide=change.elide, privacy=change.privacy
        )
        self.privacy = higher(self.privacy, change.privacy)

    def _sum(self, change: Summed, recorded: int) -> None:
        places = [place for id in change.ids if (place := self._remove(id)) is not None]
        self._add(change.summary, min(places) if places else len(self.items), recorded)

    def _change_state(self, change: StateChanged) -> None:
        value = self._value
        if self._state:
            value = loads(self._state)
        if not change.value:
            value = {}
        elif change.how == "set":
            value = loads(change.value)
        elif change.how == "merge":
            value = merge(value, loads(change.value))
        else:
            try:
                value = apply_patch(value, read_patch(loads(change.value)))
            except (CannotApply, ValueError):
                # What it stood on was redacted.
                value = {}
        self._value, self._state = value, b""
        self.revs = (change.rev + 1, self.revs[1])

    def _begin_epoch(self, change: EpochBegun, version: str) -> None:
        """What was superseded stays for the sake of a frozen prefix, and goes with it."""
        self.epoch, self.renderer = version, change.renderer
        ended = [
            item.id for place, item in enumerate(self.items)
            if item is not None and item.key and self.by_key.get(item.key) != place
        ]  # fmt: skip
        for id in ended:
            self._remove(id)


class History:
    """The log of one context, as far as this worker has it.

    versions  by id
    heads     branch -> version, as the log moves them; "" for a branch without one
    seq       of the last entry, 0 for none
    size      bytes, about: bodies and contents
    ids       of all items there ever were on any branch
    """

    __slots__ = (
        "_chunks",
        "_entries",
        "_fresh",
        "_stored",
        "_views",
        "context",
        "heads",
        "ids",
        "salt",
        "seq",
        "size",
        "versions",
    )

    def __init__(self, context: str, salt: bytes) -> None:
        self.context: str = context
        self.salt: bytes = salt
        self.versions: dict[str, Version] = {}
        self.heads: dict[str, str] = {}
        self.seq: int = 0
        self.size: int = 0
        self.ids: set[str] = set()
        self._entries: dict[str, list[Entry]] = {}
        """By version; those without one under ""."""
        self._stored: dict[str, list[StoredEntry]] = {}
        self._chunks: list[tuple[int, bytes]] = []
        """Pieces of a snapshot that were written once, and the last ``seq`` in each."""
        self._fresh: list[StoredEntry] = []
        """Those in no piece yet."""
        self._views: dict[str, tuple[View, int]] = {}
        """Version -> its view and how many of its entries are in it; the last one used is the last."""

    # -- growing -------------------------------------------------------------------------------------------------------

    def add(self, entry: Entry, stored: StoredEntry) -> None:
        """The next entry of the log. One that is known already is passed over."""
        if stored.seq <= self.seq:
            return
        self.seq = stored.seq
        self.size += len(stored.body)
        self._stored.setdefault(entry.version, []).append(stored)
        self._fresh.append(stored)
        self._entries.setdefault(entry.version, []).append(entry)
        for change in entry.changes:
            self._know(change)
        if entry.version:
            self._end_version(entry, stored)
        self._move_head(entry, stored)
        if entry.note is not None and entry.note.what in _STRUCK and entry.note.items:
            self._strike(frozenset(entry.note.items))

    def _know(self, change: Change) -> None:
        if isinstance(change, Added):
            for item in change.items:
                self.ids.add(item.id)
                self.size += len(item.content) + 200
        elif isinstance(change, Summed):
            self.ids.add(change.summary.id)
            self.size += len(change.summary.content) + 200
        elif isinstance(change, Revised):
            self.size += len(change.item.content) + 200
        elif isinstance(change, StateChanged | SettingsChanged):
            self.size += len(change.value)

    def _end_version(self, entry: Entry, stored: StoredEntry) -> None:
        known = self.versions.get(entry.version)
        self.versions[entry.version] = Version(
            id=entry.version,
            parents=known.parents if known is not None else stored.parents,
            branch=known.branch if known is not None else stored.branch,
            seq=stored.seq,
            ts=entry.ts,
            author=known.author if known is not None else entry.author,
            status="in_progress" if entry.kind == "reserve" else entry.status,
            use=entry.use,
            answer=entry.answer,
            digest=stored.digest,
        )

    def _move_head(self, entry: Entry, stored: StoredEntry) -> None:
        if entry.kind == "reserve":
            self.heads[stored.branch] = stored.parents[0] if stored.parents else ""
        elif entry.kind == "commit":
            if entry.status == "completed" or entry.status == "incomplete":
                self.heads[stored.branch] = entry.version
        elif entry.version:
            self.heads[stored.branch] = entry.version
        elif entry.note is not None and entry.note.to:
            self.heads[stored.branch] = entry.note.to

    def _strike(self, names: frozenset[str]) -> None:
        """What a redaction destroyed is to be seen in no view of this worker either."""
        for entries in self._entries.values():
            for place, entry in enumerate(entries):
                changes = tuple([_struck(change, names) for change in entry.changes])
                if changes != entry.changes:
                    entries[place] = _replace(entry, changes=changes)
        self._views.clear()

    # -- asking --------------------------------------------------------------------------------------------------------

    def view(self, version: str) -> View:
        """The context at *version* ("" for the empty one): the entries it has by now, on those of its first parents.
        ``KeyError`` for a version that is not here."""
        if not version:
            return View(context=self.context)
        found = self._views.get(version)
        entries = self._entries[version]
        if found is not None and found[1] == len(entries):
            self._views[version] = self._views.pop(version)
            return found[0]
        lacking: list[tuple[str, int]] = []
        view, step = View(context=self.context), version
        while step:
            known = self._views.get(step)
            if known is not None:
                view = known[0]
                lacking.append((step, known[1]))
                break
            lacking.append((step, 0))
            step = self._before(step)
        folding = Folding(view)
        for step, done in reversed(lacking):
            for entry in self._entries[step][done:]:
                for change in entry.changes:
                    folding.take(change, step, entry.ts)
        view = folding.view(version, self.digest(version))
        self._keep(version, view, len(entries))
        return view

    def _keep(self, version: str, view: View, entries: int) -> None:
        self._views.pop(version, None)
        self._views[version] = (view, entries)
        if len(self._views) > _VIEWS:
            del self._views[next(iter(self._views))]

    def _before(self, version: str) -> str:
        parents = self.versions[version].parents
        return parents[0] if parents else ""

    def entries(self, version: str) -> list[Entry]:
        """Of one version, in order; of "" those that made none."""
        return list(self._entries.get(version, ()))

    def fp(self, version: str) -> bytes:
        """The fingerprint of the request that began *version*, b"" for none."""
        stored = self._stored.get(version)
        return stored[0].fp if stored else b""

    def log(self) -> list[Entry]:
        """All of them by ``seq``."""
        return sorted((entry for each in self._entries.values() for entry in each), key=lambda entry: entry.seq)

    def line(self, version: str) -> list[str]:
        """*version* behind its first parents, the oldest first."""
        found = []
        while version:
            found.append(version)
            version = self._before(version)
        found.reverse()
        return found

    def is_ancestor(self, one: str, two: str) -> bool:
        """Is *one* among the ancestors of *two*, over all parents, or *two* itself? "" comes before all."""
        if not one or one == two:
            return True
        first = self.versions.get(one)
        if first is None or two not in self.versions:
            return False
        seen: set[str] = set()
        ahead = [two]
        while ahead:
            version = self.versions.get(ahead.pop())
            # A parent's entries all lie before its children's.
            if version is None or version.id in seen or version.seq < first.seq:
                continue
            if version.id == one:
                return True
            seen.add(version.id)
            ahead.extend(version.parents)
        return False

    def common(self, one: str, two: str) -> str:
        """The youngest version that is an ancestor of both, "" for none."""
        seen: set[str] = set()
        ahead = [one]
        while ahead:
            version = self.versions.get(ahead.pop())
            if version is not None and version.id not in seen:
                seen.add(version.id)
                ahead.extend(version.parents)
        best, ahead, passed = "", [two], set[str]()
        while ahead:
            version = self.versions.get(ahead.pop())
            if version is None or version.id in passed:
                continue
            passed.add(version.id)
            if version.id in seen:
                if not best or version.seq > self.versions[best].seq:
                    best = version.id
            else:
                ahead.extend(version.parents)
        return best

    def since(self, version: str, head: str) -> list[Entry]:
        """The entries of the versions behind *version* up to *head*, along first parents; none where *version* is not
        on that line."""
        line = self.line(head)
        if version and version not in line:
            return []
        after = line.index(version) + 1 if version else 0
        return [entry for step in line[after:] for entry in self._entries[step]]

    # -- digests -------------------------------------------------------------------------------------------------------

    def digest(self, version: str) -> bytes:
        """Of a version that moved its head; computed where the store had none (a turn it settled by itself). b"" for
        one in progress, failed or cancelled."""
        ahead = [version]
        while ahead:
            found = self.versions[ahead[-1]]
            if found.digest or found.status not in ("completed", "incomplete"):
                ahead.pop()
                continue
            before = [parent for parent in found.parents if self._lacks_digest(parent)]
            if before:
                ahead.extend(before)
                continue
            bodies = [stored.body for stored in self._stored[found.id]]
            digest = version_digest(self.salt, [self.versions[parent].digest for parent in found.parents], bodies)
            self.versions[found.id] = _replace(found, digest=digest)
            ahead.pop()
        return self.versions[version].digest

    def _lacks_digest(self, version: str) -> bool:
        found = self.versions[version]
        return not found.digest and found.status in ("completed", "incomplete")

    def digest_with(self, version: str, body: bytes, parents: Sequence[str] = ()) -> bytes:
        """What the digest of *version* will be once the entry *body* is its last. *parents*: of a version that has no
        entry here yet."""
        known = self.versions.get(version)
        bodies = [stored.body for stored in self._stored.get(version, ())]
        of = known.parents if known is not None else parents
        return version_digest(self.salt, [self.digest(parent) for parent in of], [*bodies, body])

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def chunks(self, upto: int) -> list[bytes]:
        """All entries up to *upto*, in pieces that are written once: a snapshot costs what is new since the last.
        ``ValueError`` for one that ends before the last."""
        if self._chunks and upto < self._chunks[-1][0]:
            raise ValueError("a snapshot was taken of more already")
        fresh = [stored for stored in self._fresh if stored.seq <= upto]
        if fresh:
            self._chunks.append((fresh[-1].seq, squeezed(_encode(fresh))))
            self._fresh = self._fresh[len(fresh) :]
        return [chunk for _, chunk in self._chunks]

    def adopt(self, chunks: Sequence[bytes], payloads: Mapping[int, Mapping[tuple[str, int], Payload]],
              unseal: Unseal) -> None:  # fmt: skip
        """Take the pieces of a snapshot into a history that has nothing yet."""
        for chunk in chunks:
            for stored in _chunk(inflated(chunk)):
                self.add(read_entry(stored, payloads.get(stored.seq, {}), unseal), stored)
            self._chunks.append((self.seq, chunk))
        self._fresh.clear()


def _struck(change: Change, names: frozenset[str]) -> Change:
    if isinstance(change, Added):
        return Added(tuple([redacted(item) if item.id in names else item for item in change.items]))
    if isinstance(change, Revised):
        return Revised(redacted(change.item)) if change.item.id in names else change
    if isinstance(change, Summed):
        return Summed(change.ids, redacted(change.summary)) if change.summary.id in names else change
    if isinstance(change, StateChanged):
        return _replace(change, value=b"") if STATE in names else change
    if isinstance(change, SettingsChanged):
        return _replace(change, value=b"") if SETTINGS in names else change
    return change


# -- snapshots -------------------------------------------------------------------------------------------------------


def write_snapshot(history: History, upto: int) -> bytes:
    """All entries up to *upto* in one body, without contents. Disposable (I5): it says nothing the log does not.
    ``ValueError`` where *upto* is less than the last time."""
    body = _encode((_SNAPSHOT, history.context, history.chunks(upto)))
    return body + xxhash.xxh3_64_digest(body)


def read_snapshot(
    body: bytes, salt: bytes, payloads: Mapping[int, Mapping[tuple[str, int], Payload]], unseal: Unseal
) -> History:
    """The history that *body* stands for, with the contents of each ``seq`` out of *payloads*. ``BrokenEntry`` for a
    body that is not whole or of another format: then the log itself is read."""
    if xxhash.xxh3_64_digest(body[:-CHECKSUM]) != body[-CHECKSUM:]:
        raise BrokenEntry("the checksum of a snapshot does not match")
    try:
        v, context, chunks = _snapshot(body[:-CHECKSUM])
        if v != _SNAPSHOT:
            raise BrokenEntry("a snapshot is of another format")
        history = History(context, salt)
        history.adopt(chunks, payloads, unseal)
    except msgspec.MsgspecError as error:
        raise BrokenEntry("a snapshot cannot be read") from error
    return history
