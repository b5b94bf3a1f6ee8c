"""The ops that lead from one view to another, and the ops that a piece of the log stands for (CRP 4.3, 4.4).

The first are what a client would have to send, the second what somebody sent or could have: both in the words of CRP
4.2, so that whoever missed something can apply it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import Raw
from tidegate.exchange.context import (
    PRIVACY,
    STATE,
    Added,
    Append,
    Change,
    Compact,
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
    SetPolicy,
    StateChanged,
    Summed,
    View,
)
from tidegate.rules.context_delta import says_the_same
from tidegate.rules.context_fold import Folding
from tidegate.rules.json_patch import same, write_pointer
from tidegate.wire.context_json import item_object
from tidegate.wire.json_text import dumps, loads

APPENDED: Final = 1024
"""Items of one ``append``, as many as a request may bring."""

_RANK: Final[dict[str, int]] = {name: rank for rank, name in enumerate(PRIVACY)}
_TOLD: Final = frozenset(
    ("id", "type", "role", "provenance", "rev", "tokens", "recorded", "digest", "supersedes", "covers",
     "pinned", "priority", "elide", "privacy")
)  # fmt: skip
"""Members that no ``patch`` changes: they are fixed, told by the gateway, or hints, which a ``mark`` changes."""
_replace: Final = msgspec.structs.replace


def current_items(view: View) -> list[Item]:
    """The items of *view* that nothing has superseded."""
    return [item for place, item in enumerate(view.items) if not item.key or view.by_key.get(item.key) == place]


def patch_between(before: Any, after: Any) -> list[dict[str, Any]]:
    """A JSON Patch from *before* to *after*, values of ``wire/json_text``. Objects are compared member by member,
    everything else as a whole."""
    found: list[dict[str, Any]] = []
    _compare(before, after, (), found)
    return found


def _compare(before: Any, after: Any, at: tuple[str, ...], found: list[dict[str, Any]]) -> None:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if not same(before, after):
            found.append({"op": "replace", "path": write_pointer(at), "value": after})
        return
    for name in before:
        if name not in after:
            found.append({"op": "remove", "path": write_pointer((*at, name))})
    for name, value in after.items():
        if name in before:
            _compare(before[name], value, (*at, name), found)
        else:
            found.append({"op": "add", "path": write_pointer((*at, name)), "value": value})


# -- from view to view -----------------------------------------------------------------------------------------------


def diff(a: View, b: View) -> tuple[Op, ...]:
    """The ops for which ``apply(a, diff(a, b))`` is *b*, times of recording, revisions and what was superseded aside.

    An item is matched with itself, else with what has its key: one that was only revised is patched and keeps its id.
    What has a key is the same under any id. What *a* has removed comes back at the end, for nothing is inserted; and a
    class that is lower in *b* is told as it is, though no rule lets it through.
    """
    removed: list[Op] = []
    put: list[Op] = []
    patched: list[Op] = []
    marked: list[Op] = []
    matched: set[str] = set()
    for item in current_items(a):
        other = _match(item, a, b)
        if other is None or not _is_reachable(item, other):
            removed.append(Remove(id=item.id))
            continue
        matched.add(other.id)
        if item.id == other.id:
            patch = _item_patch(item, other)
            if patch:
                patched.append(Patch(on=item.id, patch=dumps(patch)))
        elif not says_the_same(item, other):
            put.append(Put(item=_bare(other, a)))
            continue
        mark = _mark_between(item, other)
        if mark is not None:
            marked.append(mark)
    new = [_bare(item, a) for item in current_items(b) if item.id not in matched and item.type != "redacted"]
    appended: list[Op] = [
        Append(items=tuple(new[start : start + APPENDED])) for start in range(0, len(new), APPENDED)
    ]  # fmt: skip
    state = patch_between(loads(a.state), loads(b.state))
    last: list[Op] = [Patch(on=STATE, patch=dumps(state))] if state else []
    return (*removed, *put, *patched, *marked, *appended, *last)


def _match(item: Item, a: View, b: View) -> Item | None:
    """What stands for *item* of *a* in *b*: itself, or what has its key now and is new."""
    place = b.by_id.get(item.id)
    if place is not None:
        other = b.items[place]
        return other if not other.key or b.by_key.get(other.key) == place else _heir(item, a, b)
    return _heir(item, a, b)


def _heir(item: Item, a: View, b: View) -> Item | None:
    place = b.by_key.get(item.key) if item.key else None
    if place is None:
        return None
    other = b.items[place]
    there = a.by_id.get(other.id)
    if there is None or a.by_key.get(a.items[there].key) != there:
        return other
    return None  # It holds in a as well, under another key, and is matched with itself.


def _is_reachable(item: Item, other: Item) -> bool:
    """Can *other* be made of *item*, or only stand in its place?"""
    if item.id == other.id:
        return item.type == other.type and item.role == other.role
    return _RANK[other.privacy] >= _RANK[item.privacy]


def _item_patch(item: Item, other: Item) -> list[dict[str, Any]]:
    return patch_between(_members(item), _members(other))


def _members(item: Item) -> Any:
    found = loads(msgspec.json.encode(item_object(item)))
    return {name: value for name, value in found.items() if name not in _TOLD}


def _mark_between(item: Item, other: Item) -> Mark | None:
    mark = Mark(
        id=item.id,
        pinned=None if item.pinned == other.pinned else other.pinned,
        priority=None if item.priority == other.priority else other.priority,
        elide=None if item.elide == other.elide else other.elide,
        privacy=None if item.privacy == other.privacy else other.privacy,
    )
    return None if mark == Mark(id=item.id) else mark


def _bare(item: Item, a: View) -> Item:
    """*item* without what its own log made of it, and without an id that *a* still has for what was superseded."""
    id = "" if item.key and item.id in a.by_id else item.id
    return _replace(item, id=id, rev=0, recorded=0, tokens=0, digest=b"", supersedes="")


# -- from log to ops -------------------------------------------------------------------------------------------------


def ops_of(changes: Iterable[Change], before: View) -> tuple[Op, ...]:
    """What somebody would have asked for to make *changes* on *before*. Settings, templates and epochs are no ops, and
    of what was redacted nothing is told."""
    folding = Folding(before)
    found: list[Op] = []
    ended = ""
    for change in changes:
        if isinstance(change, Ended):
            ended = change.id
        elif isinstance(change, Added):
            found += _added(change, ended)
            ended = ""
        elif isinstance(change, Revised):
            old = folding.item(change.item.id)
            patch = [] if old is None else _item_patch(old, change.item)
            if patch:
                found.append(Patch(on=change.item.id, patch=dumps(patch)))
            mark = None if old is None else _mark_between(old, change.item)
            if mark is not None:
                found.append(mark)
        elif isinstance(change, Removed):
            found += [Remove(id=id) for id in change.ids]
        elif isinstance(change, Marked):
            old = folding.item(change.id)
            if old is not None:
                mark = _mark_between(old, _replace(old, pinned=change.pinned, priority=change.priority,
                                                   elide=change.elide, privacy=change.privacy))  # fmt: skip
                found += [] if mark is None else [mark]
        elif isinstance(change, Summed):
            first, last = change.summary.covers or (change.ids[0], change.ids[-1])
            found.append(Compact(first=first, last=last, summary=change.summary))
        elif isinstance(change, StateChanged):
            found += _state_ops(change.how, change.value)
        elif isinstance(change, PolicyChanged):
            found.append(SetPolicy(policy=change.policy))
        folding.take(change, "", 0)
    return tuple(found)


def _added(change: Added, ended: str) -> list[Op]:
    items = tuple([item for item in change.items if item.type != "redacted"])
    if len(items) == 1 and items[0].key and items[0].supersedes and items[0].supersedes == ended:
        return [Put(item=items[0])]
    return [Append(items=items)] if items else []


def _state_ops(how: str, value: Raw) -> list[Op]:
    if not value:
        return []
    if how == "patch":
        return [Patch(on=STATE, patch=value)]
    if how == "merge":
        return [Merge(on=STATE, value=value)]
    return [Patch(on=STATE, patch=dumps([{"op": "replace", "path": "", "value": loads(value)}]))]
