"""The catalogue as a caller sees it: what it may use, in the shape its client expects (LLM 2, 13)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from tidegate.engine.lanes.respond import send_answer
from tidegate.engine.models.asking import ModelCall, caller_of, read_json
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.ports.models import CallerPlan, CatalogueRow, ModelPlan, ModelsPlan
from tidegate.ports.plan import RoutePlan
from tidegate.rules.limit_fields import moment
from tidegate.rules.model_access import allowed, matches
from tidegate.rules.retiring import LATEST, day_of, is_retired, retiring_fields
from tidegate.rules.surfaces import Surface

encode = msgspec.json.encode


def show_models(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, surface: Surface
) -> None:  # fmt: skip
    """Answer with the list, or with the one that ``surface.path`` names."""
    models = runtime.plan.models
    assert models is not None
    seen = visible(models, caller_of(models, x), runtime.wall())
    name = surface.path.removeprefix("models/")
    fields = [("content-type", "application/json")]
    if name:
        row = seen.get(name)
        if row is None:
            raise Fault("model_not_found", f"The model {name[:64]!r} does not exist.", side=CLIENT)
        shown: dict[str, Any] = one(name, row, surface.dialect)
        if row.retires and (route.llm is None or route.llm.expose != "none"):
            fields += retiring_fields(row.retires)
    else:
        shown = listed(seen, surface.dialect)
    send_answer(client, x, route, Answer(200, fields, encode(shown)))


async def show_one(call: ModelCall, body: RequestBody | None) -> None:
    """Ollama's ``POST /api/show``: what is known of the model that the body names."""
    await read_json(call, body)
    name = call.members.get("model") or call.members.get("name")
    row = visible(call.models, call.caller, call.runtime.wall()).get(name) if isinstance(name, str) else None
    if row is None:
        raise Fault("model_not_found", f"The model {str(name)[:64]!r} does not exist.", side=CLIENT)
    answer = Answer(200, [("content-type", "application/json")], encode(details(row)))
    send_answer(call.client, call.x, call.route, answer)


def details(row: CatalogueRow) -> dict[str, Any]:
    """A model as Ollama's clients want it in detail."""
    features = row.features or frozenset()
    known = (("tools", "tools"), ("image", "vision"), ("thinking", "thinking"))
    about: dict[str, Any] = {"general.architecture": "hosted"}
    if row.window:
        about["hosted.context_length"] = row.window
    return {
        "modified_at": moment(row.created),
        "details": {"format": "", "family": "hosted", "parameter_size": "", "quantization_level": ""},
        "model_info": about,
        "capabilities": ["completion", *[word for feature, word in known if feature in features]],
    }


def visible(models: ModelsPlan, caller: CallerPlan, now: float) -> dict[str, CatalogueRow]:
    """Name -> row of everything *caller* may use now, its aliases too; sorted."""
    found: dict[str, CatalogueRow] = {}
    for name, plan in models.models.items():
        if may_see(plan, caller, name) and not is_retired(plan.retires, now):
            row = plan.targets[0].catalogue if plan.targets else CatalogueRow()
            found[name] = row if row.retires == plan.retires else replace(row, retires=plan.retires)
    for alias, meant in caller.aliases.items():
        if meant in found:
            found[alias] = found[meant]
    return dict(sorted(found.items()))


def may_see(plan: ModelPlan, caller: CallerPlan, name: str) -> bool:
    if plan.tenant and plan.tenant != caller.tenant:
        return False
    if caller.tenant_models is not None and not any(matches(pattern, name) for pattern in caller.tenant_models):
        return False
    return allowed(caller.models, name)


def one(name: str, row: CatalogueRow, dialect: str) -> dict[str, Any]:
    """One model in the words of *dialect*."""
    if dialect == "anthropic_messages":
        described: dict[str, Any] = {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": moment(row.created),
            "lifecycle": "deprecated" if row.retires else "active",
        }
        if row.retires:
            described["retires_at"] = moment(min(row.retires, LATEST))
        return described
    if dialect == "gemini_generate":
        shown: dict[str, Any] = {"name": "models/" + name, "baseModelId": name, "version": "1", "displayName": name}
        if row.window:
            shown["inputTokenLimit"] = row.window
        if row.max_output:
            shown["outputTokenLimit"] = row.max_output
        shown["supportedGenerationMethods"] = ["generateContent", "countTokens"]
        return shown
    if dialect == "ollama_chat":
        return {
            "name": name,
            "model": name,
            "modified_at": moment(row.created),
            "size": 0,
            "digest": "",
            "details": {},
        }
    row_of: dict[str, Any] = {"id": name, "object": "model", "created": row.created, "owned_by": "tidegate"}
    if row.retires:
        row_of["shutdown_date"] = day_of(row.retires)
    return row_of


def listed(seen: dict[str, CatalogueRow], dialect: str) -> dict[str, Any]:
    """All of them in the words of *dialect*."""
    rows = [one(name, row, dialect) for name, row in seen.items()]
    if dialect == "anthropic_messages":
        first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
        return {"data": rows, "has_more": False, "first_id": first, "last_id": last}
    if dialect in ("gemini_generate", "ollama_chat"):
        return {"models": rows}
    return {"object": "list", "data": rows}
