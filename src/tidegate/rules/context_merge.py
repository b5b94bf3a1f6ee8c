"""Two sides of one history: whether one can go on where the other has come to, and what both together are (CRP 5.5).

``rebases`` looks at what is touched: an append of a turn touches the line of the dialogue, a fact its key, a change of
state the JSON paths in it. ``merge`` compares three views; model output is never merged, only put one behind the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from tidegate.exchange.chat import Raw
from tidegate.exchange.context import (
    STATE,
    Added,
    Append,
    Change,
    Compact,
    Elide,
    Ended,
    Item,
    Mark,
    Marked,
    Merge,
    Op,
    Patch,
    PolicyChanged,
    Put,
    Remove,
    Removed,
    Revised,
    Rollback,
    SetPolicy,
    Splice,
    StateChanged,
    Summed,
    TemplateChanged,
    View,
)
from tidegate.rules.context_begin import higher
from tidegate.rules.context_delta import leaves_plain, says_the_same, with_hints
from tidegate.rules.context_diff import patch_between
from tidegate.rules.json_patch import Pointer, parse_pointer, same, write_pointer
from tidegate.wire.context_json import item_object
from tidegate.wire.json_text import dumps, loads

Strategy = Literal["", "ours", "theirs"]

_replace: Final = msgspec.structs.replace
_MISSING: Final = object()
_LINE: Final = "the dialogue"
_POLICY: Final = "the policy"
_TEMPLATE: Final = "the template"


# -- rebase ----------------------------------------------------------------------------------------------------------


class _Touched:
    """What one side touches: places by name, and paths in the state."""

    __slots__ = ("paths", "places")

    def __init__(self) -> None:
        self.places: set[str] = set()
        self.paths: list[Pointer] = []

    def item(self, item: Item) -> None:
        self.places.add("item " + item.id)
        self.key(item.key)

    def key(self, key: str) -> None:
        if key:
            self.places.add("key " + key)

    def known(self, id: str, base: View) -> None:
        """An item that is only named."""
        self.places.add("item " + id)
        place = base.by_id.get(id)
        if place is not None:
            self.key(base.items[place].key)

    def added(self, items: Iterable[Item]) -> None:
        """A fact touches its key; whatever has none stands in the line of the dialogue."""
        for item in items:
            if item.id:
                self.places.add("item " + item.id)
            self.places.add("key " + item.key if item.key else _LINE)

    def state(self, how: str, value: Raw, base: View) -> None:
        if not value or how == "set":
            self.paths.append(())
        elif how == "merge":
            self.paths += _merged_paths(loads(value), ())
        else:
            self.paths += _patched_paths(loads(value), loads(base.state))

    def meets(self, other: _Touched) -> bool:
        if not self.places.isdisjoint(other.places):
            return True
        return any(one[: len(two)] == two[: len(one)] for one in self.paths for two in other.paths)


def rebases(theirs: Sequence[Change], mine: Sequence[Op], base: View) -> bool:
    """May *mine*, which was meant for *base*, be applied behind *theirs* as if it had come then? Only when neither
    touches what the other does. A rollback never may."""
    left, right = _Touched(), _Touched()
    for change in theirs:
        _changed(change, base, left)
    for op in mine:
        if isinstance(op, Rollback):
            return False
        _asked(op, base, right)
    return not left.meets(right)


def _changed(change: Change, base: View, touched: _Touched) -> None:
    if isinstance(change, Added):
        touched.added(change.items)
    elif isinstance(change, Revised):
        touched.item(change.item)
        touched.known(change.item.id, base)
    elif isinstance(change, Ended | Marked):
        touched.known(change.id, base)
    elif isinstance(change, Removed):
        for id in change.ids:
            touched.known(id, base)
    elif isinstance(change, Summed):
        for id in change.ids:
            touched.known(id, base)
        touched.item(change.summary)
    elif isinstance(change, StateChanged):
        touched.state(change.how, change.value, base)
    elif isinstance(change, PolicyChanged):
        touched.places.add(_POLICY)
    elif isinstance(change, TemplateChanged):
        touched.places.add(_TEMPLATE)


def _asked(op: Op, base: View, touched: _Touched) -> None:
    if isinstance(op, Append):
        touched.added(op.items)
    elif isinstance(op, Put):
        touched.added((op.item,))
    elif isinstance(op, Remove):
        place = base.by_key.get(op.key) if op.key else base.by_id.get(op.id)
        touched.key(op.key)
        touched.known(op.id if place is None else base.items[place].id, base)
    elif isinstance(op, Patch | Merge):
        if op.on == STATE:
            how, value = ("patch", op.patch) if isinstance(op, Patch) else ("merge", op.value)
            touched.state(how, value, base)
        else:
            touched.known(op.on, base)
    elif isinstance(op, Splice | Mark):
        touched.known(op.id, base)
    elif isinstance(op, Compact):
        first, last = base.by_id.get(op.first), base.by_id.get(op.last)
        if first is not None and last is not None:
            for item in base.items[first : last + 1]:
                touched.item(item)
        touched.key(op.summary.key)
    elif isinstance(op, SetPolicy):
        touched.places.add(_POLICY)


def _merged_paths(value: Any, at: Pointer) -> list[Pointer]:
    """The paths a merge patch writes: those of its leaves."""
    if not isinstance(value, dict) or not value:
        return [at]
    found: list[Pointer] = []
    for name, member in value.items():
        found += _merged_paths(member, (*at, name))
    return found


def _patched_paths(patch: Any, state: Any) -> list[Pointer]:
    """The paths a JSON Patch reads or writes. A place in an array stands for the array: what is put in or taken out
    moves all that follow."""
    found: list[Pointer] = []
    for operation in patch:
        for name in ("path", "from"):
            if name in operation:
                found.append(_without_places(parse_pointer(operation[name]), state))
    return found


def _without_places(pointer: Pointer, value: Any) -> Pointer:
    for depth, step in enumerate(pointer):
        if isinstance(value, list) or step == "-":
            return pointer[:depth]
        value = value.get(step) if isinstance(value, dict) else None
    return pointer


# -- merge -----------------------------------------------------------------------------------------------------------


class Merged:
    """``changes`` that make *ours* the union. ``conflicts``: operations ``{"op": "test", "path", "value", "theirs"}``
    that say what holds on our side and on theirs where both changed the same; without a value where it is gone. With
    conflicts nothing is to be changed."""

    __slots__ = ("changes", "conflicts")

    def __init__(self, changes: tuple[Change, ...], conflicts: tuple[dict[str, Any], ...]) -> None:
        self.changes: tuple[Change, ...] = changes
        self.conflicts: tuple[dict[str, Any], ...] = conflicts


def merge(base: View, ours: View, theirs: View, strategy: Strategy = "", now: int = 0) -> Merged:
    """*theirs* into *ours*, where both come from *base*. Items by union: ours in their order, then what is new on their
    side in theirs. What both sides changed differently is a conflict, or as *strategy* says. *now*: until when what a
    newer item of the same key supersedes held."""
    union = _Union(base, ours, theirs, strategy, now)
    union.items()
    union.state()
    union.rest()
    changes = () if union.conflicts else tuple(union.changes)
    return Merged(changes, tuple(union.conflicts))


class _Union:
    __slots__ = ("_base", "_now", "_ours", "_strategy", "_theirs", "changes", "conflicts")

    def __init__(self, base: View, ours: View, theirs: View, strategy: Strategy, now: int) -> None:
        self._base: View = base
        self._ours: View = ours
        self._theirs: View = theirs
        self._strategy: Strategy = strategy
        self._now: int = now
        self.changes: list[Change] = []
        self.conflicts: list[dict[str, Any]] = []

    def _takes_theirs(self, path: str, ours: Any, theirs: Any) -> bool:
        """Both sides changed what is at *path*, and not to the same."""
        if not self._strategy:
            conflict: dict[str, Any] = {"op": "test", "path": path}
            if ours is not _MISSING:
                conflict["value"] = ours
            if theirs is not _MISSING:
                conflict["theirs"] = theirs
            self.conflicts.append(conflict)
        return self._strategy == "theirs"

    # -- items ---------------------------------------------------------------------------------------------------------

    def items(self) -> None:
        """Those without a key by id, the others by key: what has a key is the same under any id."""
        base, ours, theirs = _plain(self._base), _plain(self._ours), _plain(self._theirs)
        gone: list[str] = []
        for id, was in base.items():
            mine, other = ours.get(id), theirs.get(id)
            if mine is not None and other is not None:
                self._both(was, mine, other)
            elif mine is not None:
                if _unchanged(was, mine) or self._takes_theirs(_at(id), item_object(mine), _MISSING):
                    gone.append(id)
            elif (
                other is not None
                and not _unchanged(was, other)
                and self._takes_theirs(_at(id), _MISSING, item_object(other))
            ):
                self.changes.append(Added((other,)))
        if gone:
            self.changes.append(Removed(tuple(gone)))
        for key in dict.fromkeys([*self._base.by_key, *self._theirs.by_key]):
            self._keyed(key)
        new = tuple([item for id, item in theirs.items() if id not in base and id not in ours])
        if new:
            self.changes.append(Added(new))

    def _both(self, was: Item, mine: Item, other: Item) -> None:
        """One item that both sides have."""
        if not _unchanged(was, other) and not says_the_same(mine, other) and (
            _unchanged(was, mine) or self._takes_theirs(_at(was.id), item_object(mine), item_object(other))
        ):  # fmt: skip
            self._revise(mine, other)
        else:
            self._hint(was, mine, other)

    def _revise(self, mine: Item, other: Item) -> None:
        rev = max(mine.rev, other.rev) + 1
        self.changes.append(Revised(_replace(other, rev=rev, privacy=higher(mine.privacy, other.privacy))))

    def _hint(self, was: Item | None, mine: Item, other: Item) -> None:
        """Hints of what says the same on both sides. A class rises to the higher one and is no conflict."""
        before = _hints(was) if was is not None else None
        hints = _hints(mine)
        if _hints(other) not in (before, hints) and (
            hints == before or self._takes_theirs(_at(mine.id), hints, _hints(other))
        ):
            hints = _hints(other)
        privacy = higher(mine.privacy, other.privacy)
        if hints != _hints(mine) or privacy != mine.privacy:
            self._mark(mine, other, Marked(mine.id, *hints, privacy))

    def _mark(self, mine: Item, other: Item, marked: Marked) -> None:
        """Hints for ours; written anew where its content lies plain and may no longer (CRP 10)."""
        if not leaves_plain(mine, marked.privacy):
            self.changes.append(marked)
            return
        rev = max(mine.rev, other.rev) + 1
        self.changes.append(Revised(_replace(with_hints(mine, marked), rev=rev, digest=b"")))

    def _keyed(self, key: str) -> None:
        was, mine, other = _at_key(self._base, key), _at_key(self._ours, key), _at_key(self._theirs, key)
        if mine is not None and other is not None and says_the_same(mine, other):
            self._hint(was, mine, other)
            return
        if _holds_still(was, other):
            if mine is not None and other is not None:
                self._raise(mine, other)
            return
        if mine is None and other is None:
            return
        if not _holds_still(was, mine) and not self._takes_theirs(
            "/keys/" + key,
            _MISSING if mine is None else item_object(mine),
            _MISSING if other is None else item_object(other),
        ):
            if mine is not None and other is not None:
                self._raise(mine, other)
            return
        if other is None:
            if mine is not None:
                self.changes.append(Removed((mine.id,)))
            return
        if mine is not None and mine.id == other.id:
            self._revise(mine, other)
            return
        if other.id in self._ours.by_id:
            # It was superseded on our side, or has no key there: it comes back under its id.
            self.changes.append(Removed((other.id,)))
        if mine is not None:
            self.changes.append(Ended(mine.id, self._now))
            other = _replace(other, supersedes=mine.id, privacy=higher(mine.privacy, other.privacy))
        self.changes.append(Added((other,)))

    def _raise(self, mine: Item, other: Item) -> None:
        """Ours stays, and is no less private than theirs."""
        privacy = higher(mine.privacy, other.privacy)
        if privacy != mine.privacy:
            self._mark(mine, other, Marked(mine.id, mine.pinned, mine.priority, mine.elide, privacy))

    # -- state and the rest --------------------------------------------------------------------------------------------

    def state(self) -> None:
        ours = loads(self._ours.state)
        merged = self._three_way(loads(self._base.state), ours, loads(self._theirs.state), ())
        patch = patch_between(ours, merged)
        if patch:
            self.changes.append(StateChanged("patch", self._ours.revs[0], dumps(patch)))

    def _three_way(self, base: Any, ours: Any, theirs: Any, at: Pointer) -> Any:
        if _same(theirs, base) or _same(theirs, ours):
            return ours
        if _same(ours, base):
            return theirs
        if isinstance(ours, dict) and isinstance(theirs, dict):
            before = base if isinstance(base, dict) else {}
            merged: dict[str, Any] = {}
            for name in [*ours, *(name for name in theirs if name not in ours)]:
                value = self._three_way(
                    before.get(name, _MISSING), ours.get(name, _MISSING), theirs.get(name, _MISSING), (*at, name)
                )
                if value is not _MISSING:
                    merged[name] = value
            return merged
        return theirs if self._takes_theirs("/" + STATE + write_pointer(at), ours, theirs) else ours

    def rest(self) -> None:
        """Policy and template; settings are those of the next turn."""
        base, ours, theirs = self._base, self._ours, self._theirs
        if (
            theirs.policy not in (base.policy, ours.policy)
            and (ours.policy == base.policy or self._takes_theirs("/policy", _json(ours.policy), _json(theirs.policy)))
        ):  # fmt: skip
            self.changes.append(PolicyChanged(theirs.policy))
        if (
            theirs.template not in (base.template, ours.template)
            and (ours.template == base.template or self._takes_theirs("/template", ours.template, theirs.template))
        ):  # fmt: skip
            self.changes.append(TemplateChanged(theirs.template))


def _same(one: Any, two: Any) -> bool:
    if one is _MISSING or two is _MISSING:
        return one is two
    return same(one, two)


def _plain(view: View) -> dict[str, Item]:
    """Items without a key."""
    return {item.id: item for item in view.items if not item.key}


def _unchanged(was: Item, now: Item) -> bool:
    return was.rev == now.rev or says_the_same(was, now)


def _holds_still(was: Item | None, now: Item | None) -> bool:
    """Does a key hold what it held?"""
    if was is None or now is None:
        return was is now
    return says_the_same(was, now)


def _hints(item: Item) -> tuple[bool, int, Elide]:
    return item.pinned, item.priority, item.elide


def _at_key(view: View, key: str) -> Item | None:
    place = view.by_key.get(key)
    return None if place is None else view.items[place]


def _at(id: str) -> str:
    return "/items/" + id


def _json(raw: Raw) -> Any:
    return msgspec.Raw(raw) if raw else None
