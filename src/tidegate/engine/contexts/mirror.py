"""Stored responses and conversations as SDKs of the Responses dialect know them, on the same store (CRP 2.3)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.contexts.adding import Made, add, create, fresh_version
from tidegate.engine.contexts.plane import Plane
from tidegate.engine.contexts.plane_change import delta, plane_apply
from tidegate.engine.contexts.repository import Held
from tidegate.engine.contexts.reserving import reserve
from tidegate.engine.contexts.same_turn import answer_of
from tidegate.engine.contexts.turn import Turn, meet
from tidegate.engine.models.answering import send_whole
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import resolve
from tidegate.engine.models.counting import counted_for, shape
from tidegate.engine.models.token_counts import corrected, counted_request
from tidegate.engine.request_body import RequestBody
from tidegate.exchange.chat import ChatRequest, State
from tidegate.exchange.context import Added, Append, Entry, Item, Note, Remove, Status, View
from tidegate.exchange.context_ids import MAIN, Address, context_id, conversation_id, read_id, response_id
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.canonical import query_value
from tidegate.rules.context_fold import History
from tidegate.rules.context_mirror import (
    LONGEST_PAGE,
    PAGE,
    conversation_object,
    page_of,
    read_metadata,
    response_item,
    with_metadata,
)
from tidegate.rules.context_paths import PlaneAsk
from tidegate.rules.context_settings import model_of, with_settings
from tidegate.rules.item_messages import items_of
from tidegate.rules.surfaces import Surface
from tidegate.wire.context_entry import write_entry
from tidegate.wire.json_object import WrongShape
from tidegate.wire.json_splice import replaced, spans, with_member
from tidegate.wire.json_text import dumps
from tidegate.wire.response_items import read_input

RESPONSES: Final = "openai_responses"
BROUGHT: Final = 20
"""Items that one request may bring."""

ADDRESSES: Final = frozenset({
    "previous_response_id", "conversation", "context_id", "session_id", "context", "previous_message_id",
})  # fmt: skip
"""Members that name a kept conversation."""

_encode: Final = msgspec.json.Encoder().encode
_STATUS: Final[dict[Status, str]] = {"in_progress": "in_progress", "completed": "completed",
                                     "incomplete": "incomplete", "failed": "failed",
                                     "cancelled": "cancelled"}  # fmt: skip


def is_ours(call: ModelCall) -> bool:
    """Does the call ask for what is kept here? Ids of providers look different."""
    surface = call.surface
    if call.route.contexts is None:
        return False
    if surface.kind == "conversations":
        return True
    address = read_id(surface.path.split("/")[1]) if surface.path else None
    return surface.kind == "stored" and address is not None and address.kind == "version"


async def serve_mirror(call: ModelCall, body: RequestBody | None) -> None:
    """Serve a call that :func:`is_ours`. Faults are told in the dialect's words."""
    plane = Plane(call.runtime, call.client, call.route, call.x, body, PlaneAsk("mirror"))
    steps = [step for step in call.surface.path.split("/") if step]
    method = "GET" if call.x.method == "HEAD" else call.x.method
    if call.surface.kind == "stored":
        told = await Stored(call, plane, steps[0]).serve(method, steps[1:])
    else:
        told = await Conversations(call, plane).serve(method, steps)
    send_whole(call, 200, [("content-type", "application/json")], told if isinstance(told, bytes) else _encode(told))


async def count_kept(call: ModelCall) -> bool:
    """Count the tokens of a call on a kept conversation, the whole of it; False: the call names none."""
    members = call.members
    if ADDRESSES.isdisjoint(members):
        return False
    about = members.get("context")
    told = {**members, "context": {**(about if isinstance(about, dict) else {}), "store": "none"}}
    if call.surface.dialect == "anthropic_messages":
        told.setdefault("max_tokens", 1)
    part = ModelCall(call.runtime, call.client, call.route, call.x, Surface("chat", call.surface.dialect), call.dialect)
    part.body, part.members, part.asked = dumps(told), told, call.asked
    await meet(part)
    turn: Turn | None = part.turn
    if turn is None:
        return False
    resolve(part)
    await reserve(turn)
    tokenizer, key = counted_for(part)
    tokens = await counted_request(call.runtime, turn.whole(), tokenizer)
    if tokens is None:
        raise Fault("overloaded", "The input could not be counted.", reason="count", retry_after=1.0)
    tokens = corrected(call.runtime.models, key, tokenizer, tokens)
    fields = [("content-type", "application/json"), ("x-tidegate-tokens", "estimated")]
    send_whole(call, 200, fields, _encode(shape(call, tokens)))
    return True


def not_found() -> Fault:
    return Fault("not_found", "No object has this id.", side=CLIENT)


def only(methods: str) -> Fault:
    return Fault("method_not_allowed", "", side=CLIENT, fields=[("allow", methods)])


class _Asked:
    """What both have in common: paging."""

    def __init__(self, call: ModelCall, plane: Plane) -> None:
        self.call: ModelCall = call
        self.plane: Plane = plane

    def word(self, name: str) -> str:
        return query_value(self.call.x.query, name) or ""

    def page(self, items: tuple[Item, ...] | list[Item]) -> dict[str, Any]:
        text = self.word("limit")
        if text and not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= LONGEST_PAGE):
            raise Fault("invalid_request", f"limit is a number from 1 to {LONGEST_PAGE}.", side=CLIENT)
        order = self.word("order") or "desc"
        if order not in ("asc", "desc"):
            raise Fault("invalid_request", "order is asc or desc.", side=CLIENT)
        return page_of(items, order, self.word("after"), self.word("before"), int(text) if text else PAGE)


class Stored(_Asked):
    """``/v1/responses/{id}``: the answer of one turn."""

    def __init__(self, call: ModelCall, plane: Plane, id: str) -> None:
        super().__init__(call, plane)
        self.id: str = id
        self.version: str = ""

    async def serve(self, method: str, rest: list[str]) -> Any:
        held = await self.find()
        if rest == ["input_items"]:
            if method != "GET":
                raise only("GET")
            return self.page(input_of(held, self.version))
        if rest == ["cancel"]:
            raise Fault("invalid_request", "Only responses that were made in the background can be cancelled.",
                        side=CLIENT)  # fmt: skip
        if rest:
            raise not_found()
        if method == "GET":
            return self.whole(held)
        if method == "DELETE":
            return await self.delete(held)
        raise only("GET, DELETE")

    async def find(self) -> Held:
        """The context of the version. Raises 404, alike for what is foreign, unknown, gone and deleted."""
        address = read_id(self.id)
        assert address is not None
        try:
            found = await self.plane.repository.resolve(self.plane.asker, Address("version", address.id))
            held = await self.plane.repository.load(self.plane.asker, found.context, fresh=True)
        except Fault as fault:
            if fault.status in (404, 410):
                raise not_found() from None
            raise
        self.version = address.id
        if address.id not in held.history.versions or is_struck(held, address.id):
            raise not_found()
        return held

    def whole(self, held: Held) -> bytes:
        """The response object, as it was told when the turn ended."""
        known = held.history.versions[self.version]
        view = held.view(self.version)
        asked = with_settings(ChatRequest(model_of(view.settings)), view.settings, True)
        parent = known.parents[0] if known.parents else ""
        previous = response_id(parent, RESPONSES) if parent else ""
        asked = msgspec.structs.replace(asked, state=State(previous_id=previous, store=True))
        id = response_id(self.version, RESPONSES)
        body = self.call.dialect.write_answer(answer_of(held, self.version, id), asked, known.ts // 1000).body
        status = _STATUS[known.status]
        place = spans(body, ("status",)).get("status")
        if place is not None and status != "completed":
            body = replaced(body, [(*place, _encode(status))])
        return with_member(body, "conversation", _encode({"id": conversation_id(held.meta.id)}))

    async def delete(self, held: Held) -> dict[str, Any]:
        """What the turn brought in is destroyed; its place in the history stays."""
        plane, repository = self.plane, self.plane.repository
        items = [item.id for entry in held.history.entries(self.version) for change in entry.changes
                 if isinstance(change, Added) for item in change.items]  # fmt: skip
        note = Note("redact", by=plane.asker.subject, why="deleted", origin=self.version, items=tuple(items))
        entry = Entry(kind="control", ts=repository.now(), author=plane.asker.subject, note=note)
        draft, _ = write_entry(entry, repository.seal(held.meta))
        await repository.redact(plane.asker, held, items, draft)
        return {"id": self.id, "object": "response", "deleted": True}


def is_struck(held: Held, version: str) -> bool:
    """Was the response deleted?"""
    return any(entry.note is not None and entry.note.what == "redact" and entry.note.origin == version
               for entry in held.history.entries(""))  # fmt: skip


def input_of(held: Held, version: str) -> list[Item]:
    """What the model was asked in *version*: all that is in its view but what itself answered."""
    own = {item.id for entry in held.history.entries(version) if entry.kind == "commit" for change in entry.changes
           if isinstance(change, Added) for item in change.items}  # fmt: skip
    return [item for item in held.view(version).items if item.id not in own]


class Conversations(_Asked):
    """``/v1/conversations``: the same contexts under their other name."""

    async def serve(self, method: str, steps: list[str]) -> Any:
        if not steps:
            if method != "POST":
                raise only("POST")
            return await self.create()
        held = await self.find(steps[0])
        if len(steps) == 1:
            if method == "GET":
                return conversation_object(held.meta)
            if method == "POST":
                return await self.update(held)
            if method == "DELETE":
                await self.plane.repository.delete(self.plane.asker, held.meta.id)
                return {"id": steps[0], "object": "conversation.deleted", "deleted": True}
            raise only("GET, POST, DELETE")
        if steps[1] != "items" or len(steps) > 3:
            raise not_found()
        view = held.view(held.head(MAIN) or "")
        if len(steps) == 3:
            return await self.one(method, held, view, steps[2])
        if method == "GET":
            return self.page(view.items)
        if method == "POST":
            return await self.bring(held)
        raise only("GET, POST")

    async def find(self, id: str) -> Held:
        address = read_id(id)
        if address is None or address.kind != "context":
            raise not_found()
        try:
            return await self.plane.repository.load(self.plane.asker, address.id, fresh=True)
        except Fault as fault:
            if fault.status in (404, 410):
                raise not_found() from None
            raise

    async def create(self) -> dict[str, Any]:
        told = await self.plane.members()
        plane, repository = self.plane, self.plane.repository
        metadata = read_metadata(told.get("metadata"))
        about = with_metadata(b"", metadata) if metadata else b""
        version = fresh_version(plane)
        id = context_id(repository.mint())
        settings = await repository.creation(plane.asker, about=about)
        held = Held(repository.meta_of(plane.asker, id, settings), History(id, settings.salt), repository.store)
        ops = (Append(items=brought(told.get("items"))),)
        changes = plane_apply(plane, held, View(context=id), ops, version).changes
        done = await create(plane, id, version, Made(changes, kind="control", note=Note("create")), settings, "durable")
        return conversation_object(done.held.meta)

    async def update(self, held: Held) -> dict[str, Any]:
        told = await self.plane.members()
        plane, repository = self.plane, self.plane.repository
        about = with_metadata(held.meta.about, read_metadata(told.get("metadata")))
        store = held.store
        if not await repository.ask(store, store.touch(plane.asker, held.meta.id, about=about)):
            raise not_found()
        held = await repository.load(plane.asker, held.meta.id, fresh=True)
        return conversation_object(msgspec.structs.replace(held.meta, about=about))

    async def bring(self, held: Held) -> dict[str, Any]:
        told = await self.plane.members()
        version = fresh_version(self.plane)
        items = brought(told.get("items"))
        if not items:
            raise Fault("invalid_request", "items is a list of items.", side=CLIENT)
        done = await add(self.plane, held, MAIN, version, delta(self.plane, (Append(items=items),), version))
        new = [item for change in done.made.changes if isinstance(change, Added) for item in change.items]
        return page_of(new, "asc", "", "", LONGEST_PAGE)

    async def one(self, method: str, held: Held, view: View, id: str) -> Any:
        place = view.by_id.get(id)
        told = response_item(view.items[place]) if place is not None else None
        if told is None:
            raise not_found()
        if method == "GET":
            return told
        if method != "DELETE":
            raise only("GET, DELETE")
        version = fresh_version(self.plane)
        done = await add(self.plane, held, MAIN, version, delta(self.plane, (Remove(id=id),), version))
        return conversation_object(done.held.meta)


def brought(value: Any) -> tuple[Item, ...]:
    """Items in the words of the Responses dialect."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > BROUGHT:
        raise Fault("invalid_request", f"items is a list of at most {BROUGHT} items.", side=CLIENT)
    try:
        return items_of(read_input(dumps(value)))
    except WrongShape as wrong:
        raise Fault("invalid_request", f"items: {wrong}", side=CLIENT) from None
