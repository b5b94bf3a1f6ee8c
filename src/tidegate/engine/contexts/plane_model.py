"""What of the plane needs a model's words: the prompt explained, and a compaction now (CRP 2.2, 8.4, 8.5).

A call of the route to models is made up and goes the way of every turn as far as needed, so that what is told here is
what happens there.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec

from tidegate.engine.contexts.compacting import compact
from tidegate.engine.contexts.plane import Plane, invalid
from tidegate.engine.contexts.plane_read import receipt_of
from tidegate.engine.contexts.repository import Held
from tidegate.engine.contexts.reserving import reserve
from tidegate.engine.contexts.turn import Turn, meet
from tidegate.engine.models.accounting import Account
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import candidates_of, clamped, resolve
from tidegate.exchange.context import Elided
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.ports.plan import RoutePlan
from tidegate.rules.compaction import victims
from tidegate.rules.policy_choice import choose
from tidegate.rules.surfaces import Surface
from tidegate.wire.context_json import write_digest
from tidegate.wire.json_text import dumps

CHAT: Final = "openai_chat"
PATH: Final = "/v1/chat/completions"
EXPLAINED: Final = frozenset({"model", "budget", "messages", "branch", "stream", "policy"})
"""Members of a body that is to be explained: as the next call would have them."""
SHOWN: Final = 256
"""Items told in a list; then a count (CRP 14)."""


async def explain(plane: Plane) -> Answer:
    """``POST /{id}/render``: the body that the next call would send to the first of the model's targets, byte for byte,
    and how it came to it. No model is called, nothing is written."""
    told = await plane.members("Delta", EXPLAINED)
    held = await plane.held()
    call, turn = await made_up(plane, told)
    await reserve(turn)
    candidates = candidates_of(call, plane.runtime.models)
    clamped(call, candidates)
    candidate = candidates[0]
    dialect = candidate.door.dialect
    if dialect is None:
        raise Fault("not_found", "The model has no target that holds conversations.", side=CLIENT)
    outgoing = turn.outgoing(candidate)
    if outgoing is None:
        outgoing = dialect.write_request(turn.prompt(candidate), candidate.voice)
    prompting = turn.prompting
    assert prompting is not None and prompting.rendered is not None
    rendered = prompting.rendered
    made: dict[str, Any] = {
        "object": "context.render", "id": held.meta.id, "version": turn.base or None, "model": call.name,
        "target": candidate.key, "dialect": dialect.name, "body": msgspec.Raw(outgoing.body),
        "body_bytes": len(outgoing.body), "body_digest": write_digest(sha256(outgoing.body).digest()),
        "tokens": {**rendered.tokens, "total": rendered.used, "limit": rendered.limit},
        "breakpoints": rendered.breakpoints, "prefix_messages": rendered.prefix,
        "epoch": rendered.begun.reason if rendered.begun is not None else None,
        "elided": [elided_object(each) for each in rendered.elided[:SHOWN]],
        "recalled": rendered.recalled[:SHOWN], "losses": outgoing.losses,
    }  # fmt: skip
    if len(rendered.elided) > SHOWN:
        made["elided_more"] = len(rendered.elided) - SHOWN
    return plane.told(made)


def elided_object(elided: Elided) -> dict[str, Any]:
    return {"id": elided.id, "type": elided.type, "tokens": elided.tokens, "as": elided.way, "reason": elided.reason}


async def shorten(plane: Plane) -> Answer:
    """``POST /{id}/compact``: what may be summarised, up to ``upto`` or as the policy keeps, is summarised now by the
    conversation's model; ``dry_run`` only tells what that would be."""
    told = await plane.members("Delta", frozenset({"upto", "dry_run", "model", "branch"}))
    upto, dry = told.get("upto", ""), told.get("dry_run", False)
    if not isinstance(upto, str) or not isinstance(dry, bool):
        raise invalid("upto is an item, dry_run is true or false.")
    held = await plane.held()
    branch = plane.branch_of(told.get("branch"))
    head = plane.head(held, branch)
    view = held.view(head)
    if upto and upto not in view.by_id:
        raise invalid("upto is an item of the view.")
    policy = choose(plane.repository.plan.policies, plane.settings.policy, view.policy)
    found = victims(view, policy, upto)
    if dry or not found:
        return plane.told({
            "object": "context.compaction", "id": held.meta.id, "version": head, "dry_run": dry,
            "items": [item.id for item in found], "tokens": sum([item.tokens for item in found]),
        })  # fmt: skip
    call, turn = await made_up(plane, told)
    turn.check_class(view)
    account = Account(call)
    call.account = account
    account.refuse_if_exhausted()
    await account.admit()
    try:
        await account.open([])
        result = await compact(call, plane.repository, plane.asker, held, branch, head, policy, upto)
        work = account.settle()
        if work is not None:
            await work
    finally:
        account.close()
    if result == "late":
        raise Fault("context_conflict", "Somebody was faster.", side=CLIENT,
                    extra={"context": {"id": held.meta.id, "head": held.head(branch)}})  # fmt: skip
    if result != "done":
        raise Fault("bad_upstream", "The model gave no summary.", reason="empty")
    held = await plane.held()
    return plane.told(compacted(held, branch, head), tag=plane.tag(held, plane.head(held, branch)))


def compacted(held: Held, branch: str, before: str) -> dict[str, Any]:
    version = held.head(branch) or ""
    return {**receipt_of(held, version, branch, before), "object": "context.compaction"}


async def made_up(plane: Plane, told: dict[str, Any]) -> tuple[ModelCall, Turn]:
    """A call on the context that writes nothing, with its model resolved."""
    route = model_route(plane)
    models = plane.runtime.plan.models
    dialect = models.dialects.get(CHAT) if models is not None else None
    if dialect is None:
        raise no_model()
    call = ModelCall(plane.runtime, plane.client, route, plane.x, Surface("chat", CHAT), dialect)
    about: dict[str, Any] = {"store": "none", "inherit": True}
    for name in ("branch", "budget", "policy"):
        if name in told:
            about[name] = told[name]
    body = {"messages": told.get("messages", []), "context_id": plane.ask.id, "context": about}
    if not body["messages"]:
        body["delta_updates"] = []
    for name in ("model", "stream"):
        if name in told:
            body[name] = told[name]
    call.body = dumps(body)
    call.members = msgspec.json.decode(call.body)
    call.asked = call.members.get("model", "")
    if not isinstance(call.asked, str):
        raise invalid("model is the name of a model.")
    call.stream = call.members.get("stream") is True
    await meet(call)
    turn: Turn | None = call.turn
    if turn is None:
        raise no_model()
    resolve(call)
    return call, turn


def model_route(plane: Plane) -> RoutePlan:
    """The route that the client's own calls would take."""
    x = plane.x
    found = plane.runtime.plan.router.find(x.host, PATH, "POST", x.head.index, "")
    route = found[0] if found else None
    if not isinstance(route, RoutePlan) or route.llm is None or route.contexts is None:
        raise no_model()
    return route


def no_model() -> Fault:
    return Fault("not_found", "No route to models keeps contexts here.", side=CLIENT)
