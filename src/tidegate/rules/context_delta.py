"""What a client asks to change, judged against a view and turned into changes: all of it or nothing (CRP 4.2).

The first op that fails refuses the whole delta with 422 ``delta_invalid``, which names the op, a reason and a place in
it; the view that was given stays as it was. What passed is in the log as changes that no rule is asked about again.
Ops come from ``wire/context_json``, which has judged their shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from tidegate.exchange.chat import Raw
from tidegate.exchange.context import (
    ITEM_TYPES,
    PRIVACY,
    SETTINGS,
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
    Privacy,
    Provenance,
    Put,
    Remove,
    Removed,
    Revised,
    Rollback,
    SetPolicy,
    Splice,
    StateChanged,
    Summed,
    View,
    item_type,
)
from tidegate.exchange.context_ids import is_item_id, is_key, item_id
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.context_begin import higher
from tidegate.rules.context_fold import Folding
from tidegate.rules.context_keys import PLAIN
from tidegate.rules.json_patch import (
    CannotApply,
    Operation,
    apply_patch,
    find,
    merge,
    parse_pointer,
    put,
    read_patch,
    same,
)
from tidegate.wire.context_json import delta_invalid, item_object, read_item
from tidegate.wire.json_scan import scan
from tidegate.wire.json_text import dumps, loads

IMMUTABLE: Final = ("id", "type", "role", "provenance")
"""Members of an item that no change touches: what came from a tool never becomes the system's word."""

_ROLES: Final = frozenset(("user", "assistant", "system", "tool"))
_PAIRED: Final = frozenset(("tool_call", "tool_result"))
_RESERVED: Final = frozenset((STATE, SETTINGS))
_ELIDE: Final = frozenset(("", "never", "placeholder", "summarize", "drop"))
_RANK: Final[dict[str, int]] = {name: rank for rank, name in enumerate(PRIVACY)}
_CLIENT: Final = Provenance()
_is_vendor_type: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}:[A-Za-z0-9_./-]{1,128}").fullmatch
_replace: Final = msgspec.structs.replace


def _never(value: Any) -> bool:
    return False


def _nowhere(version: str) -> View | None:
    return None


class Stamp:
    """What a delta is stamped with, and what it may ask about the context around it.

    now             milliseconds since the epoch, the time of the version
    version         that it makes
    mint            a fresh ULID for each item without an id
    tokens          estimate of an item's rendered form
    by              origin of items that name none of their own
    limits          those of CRP 14
    may_set_policy  may the caller set this policy (JSON)?
    view_at         the view of an ancestor of the head, None for any other version: for ``rollback``
    knows           was this id ever used in the context, on any branch (``History.ids``)?
    """

    __slots__ = ("by", "knows", "limits", "may_set_policy", "mint", "now", "tokens", "version", "view_at")

    def __init__(
        self,
        *,
        now: int,
        version: str,
        mint: Callable[[], str],
        tokens: Callable[[Item], int],
        by: Provenance = _CLIENT,
        limits: ContextLimits,
        may_set_policy: Callable[[Raw], bool] = _never,
        view_at: Callable[[str], View | None] = _nowhere,
        knows: Callable[[str], bool] = _never,
    ) -> None:
        self.now: int = now
        self.version: str = version
        self.mint: Callable[[], str] = mint
        self.tokens: Callable[[Item], int] = tokens
        self.by: Provenance = by
        self.limits: ContextLimits = limits
        self.may_set_policy: Callable[[Raw], bool] = may_set_policy
        self.view_at: Callable[[str], View | None] = view_at
        self.knows: Callable[[str], bool] = knows


class Applied:
    """What came of a delta: ``changes`` for the log, ``view`` after them, ``warnings`` for the client, and ``base``:
    the version that a leading rollback goes to, else ""."""

    __slots__ = ("base", "changes", "view", "warnings")

    def __init__(self, changes: tuple[Change, ...], view: View, warnings: tuple[str, ...], base: str) -> None:
        self.changes: tuple[Change, ...] = changes
        self.view: View = view
        self.warnings: tuple[str, ...] = warnings
        self.base: str = base


def apply(view: View, ops: Sequence[Op], stamp: Stamp) -> Applied:
    """*ops* on *view*, in their order. Raises Fault: ``delta_invalid`` (422) for an op that does not hold,
    ``too_large`` (413) for a content, state or number of keys beyond its limit, ``context_full`` (413) for too many
    items."""
    if len(ops) > stamp.limits.ops:
        raise delta_invalid(stamp.limits.ops, "too_many_ops", "")
    delta = _Delta(view, stamp)
    for number, op in enumerate(ops):
        try:
            delta.take(number, op)
        except _Refused as refused:
            raise delta_invalid(number, refused.reason, refused.pointer) from None
    delta.check_pairs()
    return Applied(tuple(delta.changes), delta.folding.view(stamp.version), tuple(delta.warnings), delta.base)


class _Refused(Exception):
    """*reason* as CRP 4.2 names it, *pointer* within the op."""

    def __init__(self, reason: str, pointer: str) -> None:
        super().__init__(reason, pointer)
        self.reason: str = reason
        self.pointer: str = pointer


class _Delta:
    """One delta on its way: the view as it is by now, what is to be logged, and the tool pairs that were touched."""

    __slots__ = ("_calls", "_left", "_new", "_patches", "_written", "base", "changes", "folding", "stamp", "warnings")

    def __init__(self, view: View, stamp: Stamp) -> None:
        self.folding: Folding = Folding(view)
        self.stamp: Stamp = stamp
        self.changes: list[Change] = []
        self.warnings: list[str] = []
        self.base: str = ""
        self._calls: set[str] | None = None
        """Ids of the tool calls in the view, once somebody asks."""
        self._left: list[tuple[int, Item]] = []
        """Halves of tool pairs that left, and by which op."""
        self._new: set[str] = set()
        """Ids that this delta brought. One that leaves again may not come back: its contents would be two."""
        self._patches: int = 0
        self._written: int = 0
        """Bytes of revisions so far: each is stored whole, so many small edits of a large item add up."""

    def take(self, number: int, op: Op) -> None:
        if isinstance(op, Append):
            self._append(op)
        elif isinstance(op, Put):
            self._put(number, op)
        elif isinstance(op, Remove):
            self._remove(number, op)
        elif isinstance(op, Patch):
            self._patch(op)
        elif isinstance(op, Merge):
            self._merge(op)
        elif isinstance(op, Splice):
            self._splice(op)
        elif isinstance(op, Mark):
            self._mark(op)
        elif isinstance(op, Compact):
            self._compact(number, op)
        elif isinstance(op, Rollback):
            self._rollback(number, op)
        else:
            self._set_policy(op)

    def _log(self, change: Change) -> None:
        if isinstance(change, Added):
            self._new.update([item.id for item in change.items])
        elif isinstance(change, Summed):
            self._new.add(change.summary.id)
        self.changes.append(change)
        self.folding.take(change, self.stamp.version, self.stamp.now)

    # -- items ---------------------------------------------------------------------------------------------------------

    def _append(self, op: Append) -> None:
        stamped: list[Item] = []
        seen: set[str] = set()
        keys: set[str] = set()
        for place, item in enumerate(op.items):
            at = f"/items/{place}"
            made = self._stamped(item, at)
            if made.id in seen or self._is_known(made.id):
                raise _Refused("duplicate_id", at + "/id")
            seen.add(made.id)
            if made.key:
                if made.key in keys or made.key in self.folding.by_key:
                    raise _Refused("duplicate_key", at + "/key")
                keys.add(made.key)
            if made.type in _PAIRED:
                self._pair(made, at)
            stamped.append(made)
        if stamped:
            self._log(Added(tuple(stamped)))
            self._check_room()

    def _stamped(self, item: Item, at: str) -> Item:
        """*item* as it is logged: judged, with an id, a time, an origin and an estimate."""
        limits = self.stamp.limits
        row = item_type(item.type)
        if row is None or (item.must_understand and item.type not in ITEM_TYPES):
            raise _Refused("unknown_type", at + "/type")
        if not row.by_client or (item.type not in ITEM_TYPES and _is_vendor_type(item.type) is None):
            raise _Refused("bad_item", at + "/type")
        if len(item.content) > limits.content:
            raise Fault("too_large", f"An item holds at most {limits.content} bytes.", side=CLIENT)
        bad = _bad_member(item, row.keyed)
        if bad:
            raise _Refused("bad_item", at + bad)
        by = item.provenance
        if by == _CLIENT:
            by = self.stamp.by
            if by == _CLIENT and item.type == "tool_result":
                by = _TOOL
            elif by == _CLIENT and item.type == "document":
                by = _DOCUMENT
        id = item.id or item_id(self.stamp.mint())
        made = _replace(item, id=id, rev=0, provenance=by, recorded=self.stamp.now, digest=b"")
        return _replace(made, tokens=self.stamp.tokens(made))

    def _is_known(self, id: str) -> bool:
        return id in self.folding.by_id or id in self._new or self.stamp.knows(id)

    def _pair(self, item: Item, at: str) -> None:
        """A result needs its call before it."""
        if self._calls is None:
            self._calls = {kept.call_id for kept in self.folding.items if kept is not None and kept.type == "tool_call"}
        if item.type == "tool_call":
            self._calls.add(item.call_id)
        elif item.call_id not in self._calls:
            raise _Refused("orphan_tool_result", at + "/call_id")

    def _check_room(self) -> None:
        limits = self.stamp.limits
        if len(self.folding) > limits.items:
            raise Fault("context_full", f"A context holds at most {limits.items} items.", side=CLIENT)
        if len(self.folding.by_key) > limits.keyed:
            raise Fault("too_large", f"A context holds at most {limits.keyed} keyed items.", side=CLIENT)

    def _put(self, number: int, op: Put) -> None:
        item = op.item
        if not item.key:
            raise _Refused("key_missing", "/item/key")
        if item.type in _PAIRED:
            raise _Refused("bad_item", "/item/type")
        old = self.folding.current(item.key)
        if old is not None and item.id == old.id:
            item = _replace(item, id="")
        made = self._stamped(item, "/item")
        if self._is_known(made.id):
            raise _Refused("bad_item", "/item/id")
        if old is None:
            self._log(Added((made,)))
            self._check_room()
            return
        if says_the_same(old, made):
            self.warnings.append(f"delta_updates/{number}: equal to what is there, nothing was put")
            hints = _Hints(old, made)
            if hints.change is not None:
                self._hint(old, hints.change)
            return
        self._log(Ended(old.id, self.stamp.now))
        self._log(Added((_replace(made, supersedes=old.id, privacy=higher(old.privacy, made.privacy)),)))
        self._check_room()

    def _remove(self, number: int, op: Remove) -> None:
        if bool(op.id) == bool(op.key):
            raise _Refused("target_missing", "/key" if op.key else "/id")
        item = self.folding.item(op.id) if op.id else self.folding.current(op.key)
        if item is None:
            raise _Refused("target_missing", "/id" if op.id else "/key")
        self._leave(number, item)
        self._log(Removed((item.id,)))

    def _leave(self, number: int, item: Item) -> None:
        if item.type in _PAIRED:
            self._left.append((number, item))
            self._calls = None

    def check_pairs(self) -> None:
        """No half of a tool pair stays alone. Asked at the end, for both halves may go in the same delta (#14)."""
        if not self._left:
            return
        calls: set[str] = set()
        results: set[str] = set()
        for item in self.folding.items:
            if item is not None and item.type == "tool_call":
                calls.add(item.call_id)
            elif item is not None and item.type == "tool_result":
                results.add(item.call_id)
        for number, item in self._left:
            alone = item.call_id in results and item.call_id not in calls if item.type == "tool_call" else (
                item.call_id in calls and item.call_id not in results
            )  # fmt: skip
            if alone:
                raise delta_invalid(number, "tool_pair_broken", "/id")

    # -- edits ---------------------------------------------------------------------------------------------------------

    def _patch(self, op: Patch) -> None:
        try:
            told = loads(op.patch)
            patch = read_patch(told)
        except (ValueError, TypeError, AttributeError):
            raise _Refused("patch_failed", "/patch") from None
        if not isinstance(told, list):
            raise _Refused("patch_failed", "/patch")
        self._patches += len(patch)
        if self._patches > self.stamp.limits.patch_ops:
            raise _Refused("too_many_ops", "/patch")
        if op.on == STATE:
            self._change_state("patch", op.patch, _patched(self.folding.state, op.patch, patch))
            return
        old = self._target(op.on, "/on")
        for place, operation in enumerate(patch):
            if operation.name != "test" and _touches_fixed(operation):
                raise _Refused("immutable_member", f"/patch/{place}/path")
        before = msgspec.json.encode(item_object(old))
        self._revise(old, loads(before), _patched(before, op.patch, patch), "/patch")

    def _merge(self, op: Merge) -> None:
        value = loads(op.value)
        if op.on == STATE:
            if not isinstance(value, dict):
                raise _Refused("not_object", "/value")
            self._change_state("merge", op.value, merge(loads(self.folding.state), value))
            return
        old = self._target(op.on, "/on")
        content = loads(old.content) if old.content else None
        if not isinstance(content, dict):
            raise _Refused("not_object", "/on")
        if not isinstance(value, dict):
            raise _Refused("not_object", "/value")
        self._rewrite(old, dumps(merge(content, value)), "/value")

    def _change_state(self, how: Any, value: Raw, after: Any) -> None:
        if not isinstance(after, dict):
            raise _Refused("not_object", "/" + how)
        limits = self.stamp.limits
        body = dumps(after)
        if len(body) > limits.state:
            raise Fault("too_large", f"The state holds at most {limits.state} bytes.", side=CLIENT)
        _check_shape(body, limits, "/" + how if how == "patch" else "/value")
        self._log(StateChanged(how, self.folding.revs[0], value))

    def _target(self, id: str, at: str) -> Item:
        item = self.folding.item(id)
        if item is None or item.type == "redacted":
            raise _Refused("target_missing", at)
        return item

    def _revise(self, old: Item, before: Any, after: Any, at: str) -> None:
        """The next revision of *old*, read from its object as a client would write it."""
        if not isinstance(after, dict):
            raise _Refused("patch_failed", at)
        for name in IMMUTABLE:
            if not same(before.get(name), after.get(name)):
                raise _Refused("immutable_member", at)
        body = dumps(after)
        limits = self.stamp.limits
        if len(body) > 2 * limits.content:
            raise Fault("too_large", f"An item holds at most {limits.content} bytes.", side=CLIENT)
        _check_shape(body, limits, at)
        try:
            item = read_item(loads(body), limits)
        except Fault as fault:
            if fault.code != "delta_invalid":
                raise
            raise _Refused(fault.reason, at) from None
        if _RANK[item.privacy] < _RANK[old.privacy]:
            raise _Refused("class_lowered", at)
        item = _replace(item, role=old.role, provenance=old.provenance, supersedes=old.supersedes)
        row = item_type(item.type)
        if _bad_member(item, row is not None and row.keyed):
            raise _Refused("bad_item", at)
        if item.type in _PAIRED and item.call_id != old.call_id:
            raise _Refused("immutable_member", at)
        if item.key != old.key and item.key in self.folding.by_key:
            raise _Refused("duplicate_key", at)
        self._log_revision(old, item)

    def _rewrite(self, old: Item, content: Raw, at: str) -> None:
        """The next revision of *old*, with another content only."""
        limits = self.stamp.limits
        if len(content) > limits.content:
            raise Fault("too_large", f"An item holds at most {limits.content} bytes.", side=CLIENT)
        _check_shape(content, limits, at)
        self._log_revision(old, _replace(old, content=content))

    def _log_revision(self, old: Item, item: Item) -> None:
        self._written += len(item.content)
        if self._written > self.stamp.limits.body:
            raise Fault("too_large", "The delta writes too much anew.", side=CLIENT)
        item = _replace(item, rev=old.rev + 1, recorded=old.recorded, digest=b"")
        self._log(Revised(_replace(item, tokens=self.stamp.tokens(item))))

    def _splice(self, op: Splice) -> None:
        old = self._target(op.id, "/id")
        root = loads(old.content) if old.content else None
        try:
            path = parse_pointer(op.path)
        except ValueError:
            raise _Refused("not_text", "/path") from None
        text = find(root, path)
        if not isinstance(text, str):
            raise _Refused("not_text", "/path")
        if op.was and sha256(text.encode("utf-8")).hexdigest() != op.was.lower():
            raise _Refused("was_mismatch", "/was")
        # A str counts what Unicode calls scalar values, for the gate lets no surrogate in.
        if op.at < 0 or op.at > len(text):
            raise _Refused("out_of_range", "/at")
        if op.delete < 0 or op.at + op.delete > len(text):
            raise _Refused("out_of_range", "/del")
        edited = text[: op.at] + op.insert + text[op.at + op.delete :]
        self._rewrite(old, dumps(put(root, path, edited) if path else edited), "/ins")

    def _mark(self, op: Mark) -> None:
        item = self.folding.item(op.id)
        if item is None:
            raise _Refused("target_missing", "/id")
        if op.priority is not None and not 0 <= op.priority <= 9:
            raise _Refused("bad_value", "/priority")
        if op.elide is not None and op.elide not in _ELIDE:
            raise _Refused("bad_value", "/elide")
        if op.privacy is not None:
            if op.privacy not in _RANK:
                raise _Refused("bad_value", "/privacy")
            if _RANK[op.privacy] < _RANK[item.privacy]:
                raise _Refused("class_lowered", "/privacy")
        self._hint(
            item,
            Marked(
                item.id,
                item.pinned if op.pinned is None else op.pinned,
                item.priority if op.priority is None else op.priority,
                item.elide if op.elide is None else op.elide,
                item.privacy if op.privacy is None else op.privacy,
            ),
        )

    def _hint(self, item: Item, marked: Marked) -> None:
        """Other hints for *item*. A class that is kept sealed needs a content to seal: where the one that is there lies
        plain, the item is written anew (CRP 10)."""
        if not leaves_plain(item, marked.privacy) or self._seal_own(item.id, marked.privacy):
            self._log(marked)
        else:
            self._log_revision(item, with_hints(item, marked))

    def _seal_own(self, id: str, privacy: Privacy) -> bool:
        """Raise the class of what this delta itself wrote of the item, which lies nowhere yet. False: it wrote none."""
        found = False
        for place, change in enumerate(self.changes):
            if isinstance(change, Added) and any(item.id == id for item in change.items):
                items = [_replace(item, privacy=privacy) if item.id == id else item for item in change.items]
                self.changes[place] = Added(tuple(items))
            elif isinstance(change, Revised) and change.item.id == id:
                self.changes[place] = Revised(_replace(change.item, privacy=privacy))
            elif isinstance(change, Summed) and change.summary.id == id:
                self.changes[place] = Summed(change.ids, _replace(change.summary, privacy=privacy))
            else:
                continue
            found = True
        return found

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _compact(self, number: int, op: Compact) -> None:
        folding = self.folding
        first, last = folding.by_id.get(op.first), folding.by_id.get(op.last)
        if first is None or last is None or first > last:
            raise _Refused("bad_range", "/from" if first is None else "/to")
        leaving = [item for item in folding.items[first : last + 1] if item is not None and not item.pinned]
        if not leaving:
            raise _Refused("bad_range", "/from")
        if op.summary.type != "summary":
            raise _Refused("bad_item", "/summary/type")
        made = self._stamped(op.summary, "/summary")
        if self._is_known(made.id):
            raise _Refused("duplicate_id", "/summary/id")
        if made.key and made.key in folding.by_key and folding.current(made.key) not in leaving:
            raise _Refused("duplicate_key", "/summary/key")
        privacy = made.privacy
        for item in leaving:
            self._leave(number, item)
            privacy = higher(privacy, item.privacy)
        made = _replace(made, covers=(op.first, op.last), privacy=privacy)
        self._log(Summed(tuple([item.id for item in leaving]), made))

    def _rollback(self, number: int, op: Rollback) -> None:
        if number:
            raise _Refused("bad_position", "")
        view = self.stamp.view_at(op.to)
        if view is None:
            raise _Refused("not_ancestor", "/to")
        self.folding, self.base = Folding(view), op.to

    def _set_policy(self, op: SetPolicy) -> None:
        value = loads(op.policy)
        if not isinstance(value, (str, dict)) or not self.stamp.may_set_policy(op.policy):
            raise _Refused("policy_forbidden", "/policy")
        if isinstance(value, dict) and self.folding.policy:
            now = loads(self.folding.policy)
            value = merge(now if isinstance(now, dict) else {"extends": now}, value)
        self._log(PolicyChanged(dumps(value)))


_TOOL: Final = Provenance(by="tool")
_DOCUMENT: Final = Provenance(by="document")


def says_the_same(one: Item, two: Item) -> bool:
    """Do two items of a key state the same? Ids, times of recording, origin and hints aside; JSON by value."""
    return (
        one.type == two.type
        and one.role == two.role
        and one.status == two.status
        and one.ttl == two.ttl
        and one.valid_from == two.valid_from
        and one.valid_to == two.valid_to
        and one.at == two.at
        and one.geo == two.geo
        and one.about == two.about
        and one.schema == two.schema
        and one.call_id == two.call_id
        and one.name == two.name
        and one.covers == two.covers
        and one.must_understand == two.must_understand
        and one.extra == two.extra
        and same_json(one.content, two.content)
    )


def same_json(one: Raw, two: Raw) -> bool:
    """Equality by value, as RFC 6902 4.6 has it."""
    return one == two or (bool(one) and bool(two) and same(loads(one), loads(two)))


def leaves_plain(item: Item, privacy: Privacy) -> bool:
    """Was the content of *item* kept plain, and may it be no longer once *privacy* is its class?"""
    return item.privacy in PLAIN and privacy not in PLAIN and item.type != "redacted"


def with_hints(item: Item, marked: Marked) -> Item:
    """*item* as *marked* says."""
    return _replace(
        item, pinned=marked.pinned, priority=marked.priority, elide=marked.elide, privacy=marked.privacy
    )  # fmt: skip


class _Hints:
    """Hints that come with a ``put`` of what is there already: those it says are taken over, a class only rises."""

    __slots__ = ("change",)

    def __init__(self, old: Item, new: Item) -> None:
        marked = Marked(
            old.id,
            old.pinned or new.pinned,
            old.priority if new.priority == 5 else new.priority,
            new.elide or old.elide,
            higher(old.privacy, new.privacy),
        )
        now = Marked(old.id, old.pinned, old.priority, old.elide, old.privacy)
        self.change: Marked | None = None if marked == now else marked


def _bad_member(item: Item, keyed: bool) -> str:
    """The pointer of what is wrong with *item* in itself, "" for nothing."""
    if item.id and (not is_item_id(item.id) or item.id in _RESERVED):
        return "/id"
    if not is_key(item.key) and (keyed or item.key):
        return "/key"
    if item.type == "message":
        if item.role not in _ROLES:
            return "/role"
    elif item.role == "system":
        return "/role"
    if item.type in _PAIRED and not item.call_id:
        return "/call_id"
    if item.type == "tool_call" and not item.name:
        return "/name"
    if item.valid_from is not None and item.valid_to is not None and item.valid_from > item.valid_to:
        return "/valid_to"
    if not 0 <= item.priority <= 9:
        return "/priority"
    return "" if item.privacy in _RANK else "/privacy"


def _touches_fixed(operation: Operation) -> bool:
    """Does it change what is fixed? A ``move`` changes what it takes away, too."""
    if operation.at and operation.at[0] in IMMUTABLE:
        return True
    return operation.name == "move" and bool(operation.source) and operation.source[0] in IMMUTABLE


def _patched(before: Raw, body: Raw, patch: list[Operation]) -> Any:
    """The JSON *before* with *patch* applied, which was read from *body*. Refused with the place of the first operation
    that fails."""
    try:
        return apply_patch(loads(before), patch)
    except CannotApply:
        pass
    # Patches change what they are given, so each try reads both anew; ten tries find the one of a thousand.
    good, bad = 0, len(patch)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            apply_patch(loads(before), read_patch(loads(body))[:middle])
            good = middle
        except CannotApply:
            bad = middle
    raise _Refused("patch_failed", f"/patch/{bad - 1}")


def _check_shape(body: Raw, limits: ContextLimits, at: str) -> None:
    """A change may not nest deeper, or name more members, than a body may."""
    try:
        scan(body, max_size=len(body), depth=limits.depth, keys=limits.members)
    except Fault:
        raise _Refused("patch_failed", at) from None
