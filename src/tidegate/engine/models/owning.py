"""Calls that belong to a provider and not to a model: files, uploads, batches, stored responses, and raw doors (LLM 7).

Bytes pass both ways with the provider's key. Ids come back with their owner's tag.
"""

from __future__ import annotations

from dataclasses import replace

from tidegate.engine.models.asking import MODEL_NAME, ModelCall, read_json
from tidegate.engine.models.choosing import FREE, Candidate
from tidegate.engine.request_body import RequestBody
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.ports.dialect import Voice
from tidegate.ports.models import CatalogueRow, DoorPlan, ModelPlan, ModelTargetPlan, PriceRow, ProviderPlan
from tidegate.rules.canonical import query_value
from tidegate.rules.model_access import allowed, matches, within
from tidegate.rules.owner_ids import owner_by, owner_of, owners_in, untagged, untagged_path
from tidegate.rules.surfaces import surface_of

OWNED = frozenset({"files", "uploads", "batches", "stored"})

READING = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

OURS = frozenset({"provider", "key"})
"""Parameters of a query that are for us."""


async def prepare(call: ModelCall, body: RequestBody | None) -> Candidate:
    """Read what must be read, and find the owner. Raises ``not_found`` when nobody serves it."""
    surface = call.surface
    call.query = "&".join([pair for pair in call.x.query.split("&") if pair.partition("=")[0] not in OURS])
    owner = ""
    if body is not None:
        kind = call.x.head.index.get("content-type", "")
        if "json" in kind and not (surface.kind == "files" and surface.path == ""):
            await read_json(call, body)
            for tag in owners_in(call.body):
                owner = owner_by(tag, call.models.providers, call.caller.tenant)
            call.body = untagged(call.body)
        else:
            limit = call.llm.multipart
            if body.length > limit:
                raise Fault("body_too_large", "The body is larger than this route allows.", side=CLIENT, close=True)
            body.limit = limit
            call.form = body
    owner = owner_of(surface.path.lstrip("/"), call.models.providers, call.caller.tenant) or owner
    if surface.path in ("", "/") and surface.kind in OWNED and call.x.method != "POST":
        refuse_listing(call)
    provider, door = owner_for(call, owner)
    path = untagged_path(surface.path)
    if surface.kind == "raw":
        path = call.x.path[len(call.route.prefix.rstrip("/")) :]
    call.asked = named_model(call, path)
    if spends(call):
        refuse_unbooked(call)
    price: PriceRow = FREE
    row = CatalogueRow()
    if surface.kind == "raw" and call.asked:
        told, row = call.models.facts.of(provider.name, call.asked)
        if told is None:
            raise Fault("price_unknown", "No price is known for the model.", reason="price_unknown")
        price = told
    call.name = call.asked
    target = ModelTargetPlan(0, provider, call.asked, {}, price, row)
    call.plan = ModelPlan(call.asked or surface.kind, (target,))
    states = call.runtime.models
    return Candidate(target, replace(door, path=door.path + path, stream_path=""), call.asked, True,
                     Voice(vendor=provider.vendor, model=call.asked), price, row,
                     states.of(f"{provider.name}/{surface.kind}"))  # fmt: skip


def refuse_listing(call: ModelCall) -> None:
    """A provider's account knows no tenants of ours: its lists show everybody's objects."""
    if call.models.several_tenants:
        raise Fault("forbidden", "Several tenants share the provider's account, so its objects are not listed.",
                    reason="shared_account", side=CLIENT)  # fmt: skip


def named_model(call: ModelCall, path: str) -> str:
    """The model that a raw call names in its body or its *path*, "" when it names none."""
    if call.surface.kind != "raw":
        return ""
    model = call.members.get("model")
    if model is None and call.x.method == "POST":
        try:
            model = surface_of("POST", path, {}).model
        except Fault:
            model = ""
    return model[:MODEL_NAME] if isinstance(model, str) and model.isprintable() else ""


def spends(call: ModelCall) -> bool:
    """Does the provider bill the call? Of objects only batches cost: their lines are calls of models."""
    surface = call.surface
    if surface.kind == "raw":
        return call.x.method not in READING
    return surface.kind == "batches" and call.x.method == "POST" and surface.path == ""


def refuse_unbooked(call: ModelCall) -> None:
    """What cannot be booked or checked is not for callers with budgets or lists of models: a price that is not known
    is a refusal (rule 7). A file of lines names models that nobody here reads."""
    caller = call.caller
    name = call.asked
    if name:
        if caller.tenant_models is not None and not any(matches(pattern, name) for pattern in caller.tenant_models):
            raise Fault("model_not_found", f"The model {name[:64]!r} does not exist.", side=CLIENT)
        if not allowed(caller.models, name):
            raise Fault("forbidden", "This key may not use the model.", reason="model_denied", side=CLIENT)
    elif caller.budgets:
        raise Fault("price_unknown", "What this call will cost is not known: this key has a budget.",
                    reason="price_unknown", side=CLIENT)  # fmt: skip
    elif caller.models or caller.tenant_models is not None:
        raise Fault("forbidden", "This key may use some models only, and the call names none.", reason="model_denied",
                    side=CLIENT)  # fmt: skip
    if caller.surfaces is not None and call.surface.kind not in caller.surfaces:
        raise Fault("forbidden", "This key may not use this kind of call.", reason="surface_denied", side=CLIENT)


def owner_for(call: ModelCall, owner: str) -> tuple[ProviderPlan, DoorPlan]:
    """The provider: the object's owner, the one the client or the route names, or the first that has the door."""
    kind = call.surface.kind
    named = call.llm.raw or owner or call.wish("provider") or query_value(call.x.query, "provider") or call.llm.provider
    for provider in call.models.providers.values():
        if named and provider.name != named:
            continue
        if not within(call.caller.regions, provider.regions):
            continue
        door = raw_door(provider) if kind == "raw" else object_door(provider, kind)
        if door is not None:
            return provider, door
    raise Fault("not_found", "No provider of this route serves that.", side=CLIENT)


def object_door(provider: ProviderPlan, kind: str) -> DoorPlan | None:
    if kind == "stored":
        for door in provider.chat_doors:
            if door.dialect is not None and door.dialect.name == "openai_responses":
                return door
        return None
    return provider.doors.get(kind)


def raw_door(provider: ProviderPlan) -> DoorPlan | None:
    """Everything of a provider stands on the upstream of its main door."""
    doors = provider.chat_doors or tuple(provider.doors.values())
    return replace(doors[0], dialect=None, path="", surface="raw") if doors else None
