"""Changing a context without a model call: deltas, rollback, revert, merge (CRP 2.2, 4, 5.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tidegate.engine.contexts.adding import Made, Outcome, add, conflict, fresh_version
from tidegate.engine.contexts.plane import Plane, invalid
from tidegate.engine.contexts.plane_read import receipt_of
from tidegate.engine.contexts.repository import Held
from tidegate.exchange.context import (
    STATE,
    Added,
    Change,
    Ended,
    Item,
    Marked,
    Merge,
    Note,
    Op,
    PolicyChanged,
    Privacy,
    Provenance,
    Removed,
    Revised,
    SettingsChanged,
    StateChanged,
    Summed,
    TemplateChanged,
    View,
)
from tidegate.exchange.context_ids import anonymous_branch, read_id
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.rules.context_begin import higher
from tidegate.rules.context_delta import Applied, Stamp, apply
from tidegate.rules.context_merge import merge, rebases
from tidegate.rules.item_messages import estimate
from tidegate.wire.context_entry import references
from tidegate.wire.context_json import delta_invalid, read_ops
from tidegate.wire.json_text import dumps

PATCHED: frozenset[str] = frozenset({"delta_updates", "parent", "branch", "on_conflict"})
STATE_PATCH = "application/json-patch+json"
STATE_MERGE = "application/merge-patch+json"


async def patch(plane: Plane) -> Answer:
    """``PATCH /{id}``: a delta, or a change of the state in the words of RFC 6902 or 7396."""
    media = plane.media()
    value = await plane.value()
    told: dict[str, Any] = {}
    ops: tuple[Op, ...]
    if media == STATE_PATCH:
        if not isinstance(value, list):
            raise invalid("A JSON Patch is a list.")
        ops = read_ops([{"op": "patch", "on": STATE, "patch": value}], plane.limits)
    elif media == STATE_MERGE:
        ops = (Merge(on=STATE, value=dumps(value)),)
    else:
        if not isinstance(value, dict) or not PATCHED.issuperset(value) or "delta_updates" not in value:
            raise invalid("The body holds delta_updates, and may hold parent, branch and on_conflict.")
        told = value
        ops = read_ops(value["delta_updates"], plane.limits)
    how = told.get("on_conflict", "reject")
    if how not in ("reject", "rebase", "fork"):
        raise invalid("on_conflict is reject, rebase or fork.")
    branch = plane.branch_of(told.get("branch") or plane.query("branch"))
    held = await plane.held()
    parent = plane.version(held, told["parent"]) if told.get("parent") else ""
    must = if_match(plane, held, branch)
    if parent and must and parent != must:
        raise Fault("context_ambiguous", "parent and If-Match name two versions.", side=CLIENT)
    version = fresh_version(plane)
    expect = parent or must
    if expect and plane.head(held, branch) != expect:
        if must:
            raise precondition(held, branch)
        return await stale(plane, held, branch, parent, ops, how, version)
    done = await add(plane, held, branch, version, delta(plane, ops, version), expect=expect)
    return changed(plane, done, branch)


async def stale(
    plane: Plane, held: Held, branch: str, parent: str, ops: tuple[Op, ...], how: str, version: str
) -> Answer:  # fmt: skip
    """The parent is not the head any more: apply beside it, on it, or not at all, as the client wishes (CRP 5.5)."""
    head = plane.head(held, branch)
    if how == "fork":
        beside = anonymous_branch(plane.repository.mint())
        applied = plane_apply(plane, held, held.view(parent), ops, version)
        done = await add(plane, held, beside, version, lambda held, head: Made(
            applied.changes, parents=(applied.base or parent,), warnings=applied.warnings), fork=True)  # fmt: skip
        return changed(plane, done, beside)
    if how == "rebase" and held.history.is_ancestor(parent, head):
        theirs = [change for entry in held.history.since(parent, head) for change in entry.changes]
        if rebases(theirs, ops, held.view(parent)):
            done = await add(plane, held, branch, version, delta(plane, ops, version), expect=head)
            return changed(plane, done, branch)
    raise conflict(held, branch, parent, head)


def delta(plane: Plane, ops: tuple[Op, ...], version: str) -> Callable[[Held, str], Made]:
    """Makes what *ops* come to on a head."""

    def make(held: Held, head: str) -> Made:
        applied = plane_apply(plane, held, held.view(head), ops, version)
        parents = (applied.base,) if applied.base else ()
        return Made(applied.changes, parents=parents, warnings=applied.warnings,
                    note=Note("rollback", to=applied.base) if applied.base else None)  # fmt: skip

    return make


def plane_apply(plane: Plane, held: Held, view: View, ops: tuple[Op, ...], version: str) -> Applied:
    repository, history = plane.repository, held.history
    base = plane.settings.policy

    def view_at(wanted: str) -> View | None:
        address = read_id(wanted)
        if address is None or address.id not in history.versions or not history.is_ancestor(address.id, view.version):
            return None
        return history.view(address.id)

    stamp = Stamp(
        now=repository.now(), version=version, mint=repository.mint, tokens=estimate, by=Provenance(),
        limits=plane.limits, may_set_policy=lambda policy: repository.allows(policy, base), view_at=view_at,
        knows=history.ids.__contains__,
    )  # fmt: skip
    return apply(view, ops, stamp)


def if_match(plane: Plane, held: Held, branch: str) -> str:
    """The version that ``If-Match`` demands, "" for any. Only what stands before the first dot counts (CRP 2.2)."""
    field = plane.x.head.index.get("if-match", "").strip()
    if not field or field == "*":
        return ""
    head = plane.head(held, branch)
    for each in field.split(","):
        if each.strip().strip('"').partition(".")[0] == head:
            return head
    raise precondition(held, branch)


def precondition(held: Held, branch: str) -> Fault:
    return Fault("precondition_failed", f"The head of branch {branch} is another version.", side=CLIENT,
                 extra={"context": {"id": held.meta.id, "head": held.head(branch)}})  # fmt: skip


def changed(plane: Plane, done: Outcome, branch: str, status: int = 200) -> Answer:
    """What a change is answered with: the receipt, and the ids that items were stamped with."""
    receipt = receipt_of(done.held, done.version, branch, done.base, done.made.warnings)
    receipt["added"] = [item.id for item in added(done.made.changes)]
    return plane.told(receipt, status, tag=plane.tag(done.held, done.version), message="Receipt")


def added(changes: tuple[Change, ...]) -> list[Item]:
    found: list[Item] = []
    for change in changes:
        if isinstance(change, Added):
            found += change.items
        elif isinstance(change, Summed):
            found.append(change.summary)
    return found


# -- moving back -------------------------------------------------------------------------------------------------------


async def rollback(plane: Plane) -> Answer:
    """``POST /{id}/rollback {to}``: the ref moves back, the log stays."""
    told = await plane.members("Move", frozenset({"to", "branch"}))
    held = await plane.held()
    branch = plane.branch_of(told.get("branch"))
    to = plane.version(held, told.get("to"))
    must = if_match(plane, held, branch)

    def make(held: Held, head: str) -> Made:
        if not held.history.is_ancestor(to, head):
            raise delta_invalid(0, "not_ancestor", "/to")
        return Made(kind="control", plain=True, to=to, note=Note("rollback", to=to, origin=head))

    done = await add(plane, held, branch, "", make, expect=must)
    return plane.told(receipt_of(done.held, to, branch, parent_of(done.held, to)), tag=plane.tag(done.held, to),
                      message="Receipt")  # fmt: skip


async def revert(plane: Plane) -> Answer:
    """``POST /{id}/revert {to}``: a new version equal to an old one."""
    told = await plane.members("Move", frozenset({"to", "branch"}))
    held = await plane.held()
    branch = plane.branch_of(told.get("branch"))
    to = plane.version(held, told.get("to"))
    must = if_match(plane, held, branch)

    def make(held: Held, head: str) -> Made:
        return Made(restored(held, held.view(head), held.view(to)), kind="control", note=Note("revert", to=to))

    done = await add(plane, held, branch, fresh_version(plane), make, expect=must)
    return changed(plane, done, branch)


def restored(held: Held, now: View, then: View) -> tuple[Change, ...]:
    """The changes that make *now* equal to *then*. What is alike at the beginning of both stays where it is; the rest
    is taken away and put back as new revisions, for contents are found by (item, revision). No class falls: an item
    comes back with the highest that it ever had."""
    again = hidden(then)
    alike = 0
    for one, two in zip(now.items, then.items, strict=False):
        if one != two or two.id in again or is_current(now, one) != is_current(then, two):
            break
        alike += 1
    changes: list[Change] = []
    gone = tuple([item.id for item in now.items[alike:]])
    if gone:
        changes.append(Removed(gone))
    back = then.items[alike:]
    if back:
        revs, classes = last_revisions(held), highest_classes(held)
        anew = [renewed(item, revs.get(item.id, 0) + 1, classes.get(item.id, item.privacy)) for item in back]
        changes += brought_back(then, anew, again)
    if now.state != then.state:
        changes.append(StateChanged("set", now.revs[0], then.state))
    if now.settings != then.settings:
        changes.append(SettingsChanged(now.revs[1], then.settings))
    if now.policy != then.policy:
        changes.append(PolicyChanged(then.policy))
    if now.template != then.template:
        changes.append(TemplateChanged(then.template))
    return tuple(changes)


def is_current(view: View, item: Item) -> bool:
    """Is *item* of *view* without a key, or what holds under its key?"""
    return not item.key or view.by_key.get(item.key) == view.by_id[item.id]


def hidden(view: View) -> frozenset[str]:
    """Items that hold under their key though a superseded one of that key stands behind them. Such a key is given
    last: whoever adds items in their order gives it to the last one."""
    last = {item.key: place for place, item in enumerate(view.items) if item.key}
    return frozenset([view.items[place].id for key, place in view.by_key.items() if last[key] != place])


def brought_back(then: View, back: Sequence[Item], again: frozenset[str]) -> list[Change]:
    """The changes that bring *back* items of *then*, superseded ones as such; *again*: what is ``hidden`` in it."""
    replace = msgspec.structs.replace
    changes: list[Change] = [Added(tuple([replace(item, key="") if item.id in again else item for item in back]))]
    last: list[Change] = []
    for item in back:
        if item.id in again:
            last.append(Revised(replace(item, rev=item.rev + 1)))
        elif not is_current(then, item):
            changes.append(Ended(item.id, item.valid_to or 0))
            if item.valid_to is None:
                changes.append(Revised(replace(item, rev=item.rev + 1)))
    return changes + last


def renewed(item: Item, rev: int, privacy: Privacy) -> Item:
    return msgspec.structs.replace(item, rev=rev, privacy=privacy, digest=b"")


def highest_classes(held: Held) -> dict[str, Privacy]:
    """Item -> the highest class it ever had, on any branch."""
    found: dict[str, Privacy] = {}
    for entry in held.history.log():
        for change in entry.changes:
            for id, privacy in classes_in(change):
                found[id] = higher(found.get(id, privacy), privacy)
    return found


def classes_in(change: Change) -> list[tuple[str, Privacy]]:
    """The items that *change* writes or marks, and their classes."""
    if isinstance(change, Marked):
        return [(change.id, change.privacy)]
    if isinstance(change, Added):
        return [(item.id, item.privacy) for item in change.items]
    if isinstance(change, Revised):
        return [(change.item.id, change.item.privacy)]
    return [(change.summary.id, change.summary.privacy)] if isinstance(change, Summed) else []


def last_revisions(held: Held) -> dict[str, int]:
    """Item -> its last revision on any branch."""
    found: dict[str, int] = {}
    for entry in held.history.log():
        for id, rev, _ in references(entry):
            if rev > found.get(id, -1):
                found[id] = rev
    return found


def parent_of(held: Held, version: str) -> str:
    known = held.history.versions.get(version)
    return known.parents[0] if known is not None and known.parents else ""


# -- bringing branches together ----------------------------------------------------------------------------------------


async def join(plane: Plane) -> Answer:
    """``POST /{id}/merge {from, strategy}``: three-way merge of a branch or version into a branch."""
    told = await plane.members("Join", frozenset({"from", "branch", "strategy"}))
    held = await plane.held()
    branch = plane.branch_of(told.get("branch"))
    source = told.get("from")
    strategy = told.get("strategy", "")
    if strategy not in ("", "ours", "theirs"):
        raise invalid("strategy is ours or theirs.")
    if not isinstance(source, str):
        raise invalid("from is a branch or a version.")
    theirs = held.head(source) or ""
    if not theirs:
        theirs = plane.version(held, source)
    must = if_match(plane, held, branch)
    version = fresh_version(plane)

    def make(held: Held, head: str) -> Made:
        history = held.history
        base = history.common(head, theirs)
        if base == theirs:
            return Made()
        found = merge(held.view(base), held.view(head), held.view(theirs), strategy, plane.repository.now())
        if found.conflicts:
            told = {"id": held.meta.id, "head": head}
            raise Fault("merge_conflict", "Both sides changed the same thing.", side=CLIENT,
                        extra={"conflicts": list(found.conflicts), "context": told})  # fmt: skip
        return Made(tuple(found.changes), kind="control", parents=(head, theirs),
                    note=Note("merge", origin=theirs))  # fmt: skip

    done = await add(plane, held, branch, version, make, expect=must)
    return changed(plane, done, branch)
