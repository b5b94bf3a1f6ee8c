"""Reading a context: its view at a version, the list of one's own, the difference of two versions (CRP 2.2)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.contexts.plane import Plane, invalid
from tidegate.engine.contexts.repository import Held
from tidegate.exchange.context import Item, Selector, View
from tidegate.exchange.context_ids import MAIN, conversation_id, read_session
from tidegate.exchange.context_log import Meta
from tidegate.exchange.head import Answer
from tidegate.rules.context_diff import diff
from tidegate.rules.item_selector import select
from tidegate.wire.context_body import read_json
from tidegate.wire.context_json import item_object, op_object, read_selector, read_time, write_digest, write_time

PAGE: Final = 20
LONGEST_PAGE: Final = 100
VIEWS: Final = ("items", "state", "meta")


async def show(plane: Plane) -> Answer:
    """``GET /{id}``: all of the view, or its ``items``, its ``state``, or what the context is (``meta``)."""
    held = await plane.held()
    branch = plane.branch_of(plane.query("branch"))
    at = plane.query("at")
    version = plane.version(held, at) if at else plane.head(held, branch)
    tag = plane.tag(held, version)
    what = plane.query("view")
    if what and what not in VIEWS:
        raise invalid("view is items, state or meta.")
    if what != "meta" and is_known(plane.x.head.index.get("if-none-match", ""), tag):
        return Answer(304, [("etag", tag), ("cache-control", "private, no-cache"), ("vary", "accept")])
    if what == "meta":
        return plane.told(meta_object(held.meta), tag=tag)
    view = held.view(version)
    made: dict[str, Any] = {"object": "context", "id": held.meta.id, "version": version}
    if what != "state":
        made["items"] = [item_object(item) for item in selected(plane, view)]
    if what != "items":
        made["state"] = msgspec.Raw(view.state)
    if not what:
        made["template"] = view.template or None
        made["policy"] = msgspec.Raw(view.policy) if view.policy else None
        made["privacy"] = view.privacy
        digest = held.history.digest(version)
        made["digest"] = write_digest(digest) if digest else None
    return plane.told(made, tag=tag, message="View")


def selected(plane: Plane, view: View) -> list[Item]:
    """The items that ``select`` and ``as_of`` ask for; all without them."""
    text, as_of = plane.query("select"), plane.query("as_of")
    if not text and not as_of:
        return list(view.items)
    selector = read_selector(read_json(text.encode(), plane.limits)) if text else Selector()
    if as_of:
        try:
            selector = msgspec.structs.replace(selector, as_of=read_time(as_of))
        except ValueError as error:
            raise invalid(f"as_of: {error}.") from None
    return select(view.items, selector, plane.repository.now())


def is_known(field: str, tag: str) -> bool:
    """Does ``If-None-Match`` hold *tag* (weak comparison, RFC 9110 13.1.2)?"""
    if not field:
        return False
    return field.strip() == "*" or any(each.strip().removeprefix("W/") == tag for each in field.split(","))


async def browse(plane: Plane) -> Answer:
    """``GET /``: one's own contexts, newest first, without content."""
    after = plane.query("after")
    name = plane.query("session_id")
    if name and read_session(name) is None:
        raise invalid("No session has such a name.")
    limit = plane.number("limit", PAGE, LONGEST_PAGE)
    repository = plane.repository
    store = repository.store
    found: list[Meta] = await repository.ask(store, store.browse(plane.asker, after, limit + 1, name))
    page = found[:limit]
    return plane.told({
        "object": "list", "data": [meta_object(meta) for meta in page], "has_more": len(found) > limit,
        "first_id": page[0].id if page else None, "last_id": page[-1].id if page else None,
    })  # fmt: skip


def meta_object(meta: Meta) -> dict[str, Any]:
    """What a context is, without what was said in it."""
    heads = {ref.branch: ref.head or None for ref in meta.refs}
    made: dict[str, Any] = {
        "object": "context", "id": meta.id, "conversation": conversation_id(meta.id), "session_ids": meta.names,
        "version": heads.get(MAIN), "branches": heads, "created_at": write_time(meta.created),
        "expires_at": write_time(meta.expires) if meta.expires else None, "access": meta.access,
        "privacy": meta.privacy, "bytes": meta.size, "entries": meta.seq, "generation": meta.gen,
    }  # fmt: skip
    running = [ref.pending for ref in meta.refs if ref.pending]
    if running:
        made["in_progress"] = running
    return made


async def compare(plane: Plane) -> Answer:
    """``GET /{id}/diff``: what turns one version into the other, as a delta (CRP 4.4)."""
    held = await plane.held()
    one, two = plane.query("from"), plane.query("to")
    before = plane.version(held, one) if one else ""
    after = plane.version(held, two) if two else plane.head(held, MAIN)
    ops = diff(held.view(before), held.view(after))
    return plane.told({"object": "context.diff", "id": held.meta.id, "from": before or None, "to": after,
                       "delta_updates": [op_object(op) for op in ops]},
                      tag=plane.tag(held, after))  # fmt: skip


def receipt_of(held: Held, version: str, branch: str, parent: str, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """What a change without a model call is answered with."""
    digest = held.history.digest(version) if version in held.history.versions else b""
    return {
        "object": "context.receipt", "id": held.meta.id, "version": version or None, "parent": parent or None,
        "branch": branch, "status": "completed", "digest": write_digest(digest) if digest else None,
        "warnings": warnings,
    }  # fmt: skip
