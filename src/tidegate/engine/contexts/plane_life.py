"""The beginning and the end of a context: create, fork, redact, delete (CRP 2.2, 10)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.contexts.adding import Made, add, create, fresh_version
from tidegate.engine.contexts.plane import Plane, invalid
from tidegate.engine.contexts.plane_change import added, brought_back, hidden, if_match, parent_of
from tidegate.engine.contexts.plane_read import meta_object, receipt_of
from tidegate.engine.contexts.repository import Held
from tidegate.exchange.context import (
    PRIVACY,
    SETTINGS,
    STATE,
    Access,
    Added,
    Change,
    Entry,
    Item,
    Note,
    PolicyChanged,
    Privacy,
    Provenance,
    Revised,
    Selector,
    StateChanged,
    Summed,
    View,
)
from tidegate.exchange.context_ids import context_id, is_branch, read_session
from tidegate.exchange.head import Answer
from tidegate.rules.context_delta import Stamp, apply
from tidegate.rules.item_messages import estimate
from tidegate.rules.item_selector import fits
from tidegate.wire.context_entry import write_entry
from tidegate.wire.context_json import number, read_ops, read_selector, write_digest, write_time

CREATED: Final = frozenset({
    "session_id", "items", "messages", "delta_updates", "state", "policy", "ttl", "access", "privacy", "store",
})  # fmt: skip
REASON: Final = 256
"""Characters of why something was redacted."""


async def begin(plane: Plane) -> Answer:
    """``POST /``: a context, empty or with what is brought along; its first version is made with it."""
    told = await plane.members("Create", CREATED)
    repository = plane.repository
    kept = told.get("store", "durable")
    if kept not in ("durable", "session"):
        raise invalid("store is durable or session.")
    settings = await repository.creation(plane.asker, access=access_of(told, plane), privacy=privacy_of(told),
                                   ttl=ttl_of(told))  # fmt: skip
    name = told.get("session_id")
    id = ""
    if name is not None:
        address = read_session(name) if isinstance(name, str) else None
        if address is None or address.kind != "name":
            raise invalid("A session is named by 1 to 128 characters [A-Za-z0-9._:@-].")
    version = fresh_version(plane)
    made = Made(first(plane, told, version), kind="control", note=Note("import" if told.get("items") else "create"))
    if name is not None:
        id = await repository.session(plane.asker, name)
    done = await create(plane, id or context_id(repository.mint()), version, made, settings, kept)
    held = done.held
    receipt = {**meta_object(held.meta), **receipt_of(held, done.version, "main", ""), "object": "context"}
    receipt["added"] = [item.id for item in added(made.changes)]
    return plane.told(receipt, 201, tag=plane.tag(held, done.version), location=place(plane, held.meta.id),
                      message="Receipt")  # fmt: skip


def first(plane: Plane, told: dict[str, Any], version: str) -> tuple[Change, ...]:
    """The changes of the first version."""
    repository, limits = plane.repository, plane.limits
    ops: list[Any] = []
    items = told.get("items")
    if items is None and isinstance(told.get("messages"), list):
        items = [{"type": "message", **each} if isinstance(each, dict) else each for each in told["messages"]]
    if items is not None:
        ops.append({"op": "append", "items": items})
    if "state" in told:
        if not isinstance(told["state"], dict):
            raise invalid("state is an object.")
        ops.append({"op": "merge", "on": STATE, "value": told["state"]})
    if "policy" in told:
        ops.append({"op": "set_policy", "policy": told["policy"]})
    more = told.get("delta_updates", [])
    if not isinstance(more, list):
        raise invalid("delta_updates is a list of operations.")
    read = read_ops([*ops, *more], limits)
    base = plane.settings.policy
    stamp = Stamp(now=repository.now(), version=version, mint=repository.mint, tokens=estimate, by=Provenance(),
                  limits=limits, may_set_policy=lambda policy: repository.allows(policy, base))  # fmt: skip
    return apply(View(context=""), read, stamp).changes


def access_of(told: dict[str, Any], plane: Plane) -> Access | None:
    wanted = told.get("access")
    if wanted is None:
        return None
    if wanted not in ("subject", "group", "tenant"):
        raise invalid("access is subject, group or tenant.")
    if (wanted == "subject" and not plane.asker.subject) or (wanted == "group" and not plane.asker.group):
        raise invalid(f"The caller has no {'team' if wanted == 'group' else 'name'} to share with.")
    return wanted  # type: ignore[no-any-return]


def privacy_of(told: dict[str, Any]) -> Privacy:
    wanted = told.get("privacy", "internal")
    if wanted not in PRIVACY:
        raise invalid("privacy is public, internal, personal, sensitive or secret.")
    return wanted  # type: ignore[no-any-return]


def ttl_of(told: dict[str, Any]) -> float | None:
    """Seconds; clamped to the longest, and what is in force is reported."""
    wanted = told.get("ttl")
    if wanted is None:
        return None
    seconds = number(wanted)
    if seconds is None or seconds < 1:
        raise invalid("ttl is a number of seconds.")
    return float(seconds)


def place(plane: Plane, id: str) -> str:
    """Where a context is found: beside what was asked."""
    base = plane.x.path.partition("/contexts")[0]
    return f"{base}/contexts/{id}"


# -- fork --------------------------------------------------------------------------------------------------------------


async def fork(plane: Plane) -> Answer:
    """``POST /{id}/fork``: ``{from, branch}`` makes a branch, ``{from, new: true}`` copies into a new context."""
    told = await plane.members("Fork", frozenset({"from", "branch", "new"}))
    held = await plane.held()
    source = told.get("from")
    head = plane.version(held, source) if source else plane.head(held, "main")
    branch, new = told.get("branch"), told.get("new")
    if (branch is None) == (new is not True):
        raise invalid("A fork names a branch, or is new.")
    if branch is None:
        return await copy(plane, held, head)
    if not isinstance(branch, str) or not is_branch(branch):
        raise invalid("No branch has such a name.")

    def make(held: Held, _: str) -> Made:
        return Made(kind="control", plain=True, to=head, parents=(head,), note=Note("fork", to=head, origin=head))

    done = await add(plane, held, branch, "", make, fork=True)
    return plane.told(receipt_of(done.held, head, branch, parent_of(done.held, head)), 201,
                      tag=plane.tag(done.held, head), location=place(plane, held.meta.id) + f"?branch={branch}",
                      message="Receipt")  # fmt: skip


async def copy(plane: Plane, held: Held, head: str) -> Answer:
    """The view at *head* as the first version of a context of its own, of the same class, access and lifetime."""
    view, meta = held.view(head), held.meta
    changes: list[Change] = []
    if view.items:
        items = [msgspec.structs.replace(item, rev=0, digest=b"") for item in view.items]
        changes += brought_back(view, items, hidden(view))
    if view.state != b"{}":
        changes.append(StateChanged("set", 0, view.state))
    if view.policy:
        changes.append(PolicyChanged(view.policy))
    repository = plane.repository
    settings = await repository.creation(plane.asker, access=meta.access, privacy=view.privacy,
                                   ttl=meta.ttl / 1000.0 if meta.ttl else None, about=meta.about)  # fmt: skip
    made = Made(tuple(changes), kind="control", note=Note("import", origin=head))
    kept = "session" if held.store is not repository.store else "durable"
    done = await create(plane, context_id(repository.mint()), fresh_version(plane), made, settings, kept)
    receipt = {**meta_object(done.held.meta), **receipt_of(done.held, done.version, "main", ""), "object": "context"}
    return plane.told(receipt, 201, tag=plane.tag(done.held, done.version), location=place(plane, done.held.meta.id),
                      message="Receipt")  # fmt: skip


# -- the end of contents -----------------------------------------------------------------------------------------------


async def redact(plane: Plane) -> Answer:
    """``POST /{id}/redact {selector, reason}``: contents of the items, in all their revisions and on every branch, are
    destroyed for good. ``state`` and ``settings`` are named among the selector's ``ids``."""
    told = await plane.members("Redact", frozenset({"selector", "reason"}))
    reason = told.get("reason", "")
    if not isinstance(reason, str) or len(reason) > REASON:
        raise invalid(f"reason is a text of at most {REASON} characters.")
    selector = read_selector(told.get("selector"))
    if selector == Selector():
        raise invalid("A selector that asks for nothing would redact everything: name what is meant.")
    held = await plane.held()
    found = struck(held, selector)
    repository = plane.repository
    if found:
        note = Note("redact", by=plane.asker.subject, why=reason, items=tuple(found))
        entry = Entry(kind="control", ts=repository.now(), author=plane.asker.subject, note=note)
        draft, _ = write_entry(entry, repository.seal(held.meta))
        payloads = await repository.redact(plane.asker, held, found, draft)
        held = await repository.load(plane.asker, held.meta.id, fresh=True)
    else:
        payloads = 0
    return plane.told({"object": "context.redaction", "id": held.meta.id, "items": found, "payloads": payloads,
                       "generation": held.meta.gen})  # fmt: skip


def struck(held: Held, selector: Selector) -> list[str]:
    """The items that *selector* means, in the order they came, removed and superseded ones among them."""
    found: dict[str, None] = {}
    for entry in held.history.log():
        for change in entry.changes:
            if isinstance(change, Added):
                items: tuple[Item, ...] = change.items
            elif isinstance(change, Revised):
                items = (change.item,)
            elif isinstance(change, Summed):
                items = (change.summary,)
            else:
                continue
            for item in items:
                if item.type != "redacted" and fits(item, selector):
                    found[item.id] = None
    for name in (STATE, SETTINGS):
        if name in selector.ids:
            found[name] = None
    return list(found)


async def delete(plane: Plane) -> Answer:
    """``DELETE /{id}``: data key and records are destroyed; the receipt says what was struck."""
    await plane.value()
    held = await plane.held()
    if_match(plane, held, "main")
    deletion = await plane.repository.delete(plane.asker, plane.ask.id)
    return plane.told({
        "object": "context.deletion", "id": deletion.id, "deleted": True, "at": write_time(deletion.at),
        "entries": deletion.entries, "bytes": deletion.size, "digest": write_digest(deletion.digest),
        "backends": deletion.backends,
    })  # fmt: skip
