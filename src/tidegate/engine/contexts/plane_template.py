"""Templates of a tenant: immutable, under a name and a number (CRP 9)."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.engine.contexts.plane import Plane, invalid
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.rules.context_template import compile_template
from tidegate.wire.json_text import dumps


async def put_template(plane: Plane) -> Answer:
    """``PUT /context-templates/{name}@{n}``. The same body again is 200; another one under a taken number is 409."""
    value = await plane.value()
    if not isinstance(value, dict):
        raise invalid("A template is an object.")
    value.setdefault("name", plane.ask.id)
    if value["name"] != plane.ask.id:
        raise invalid("The template has another name than its path.")
    body = dumps(value)
    if len(body) > plane.limits.template:
        raise Fault("too_large", f"A template has at most {plane.limits.template} bytes.", side=CLIENT)
    compile_template(body, plane.limits)
    repository = plane.repository
    store = repository.store
    name, n = plane.ask.id, plane.ask.n
    there = await repository.ask(store, store.template(plane.asker.tenant, name, n))
    kept = await repository.ask(store, store.template(plane.asker.tenant, name, n, body))
    if kept != body:
        raise Fault("version_conflict", "Another template has this name and number.", side=CLIENT)
    return template_answer(plane, n, body, 200 if there is not None else 201)


async def show_template(plane: Plane) -> Answer:
    """``GET /context-templates/{name}@{n}`` or ``@latest``."""
    repository = plane.repository
    store, tenant, name = repository.store, plane.asker.tenant, plane.ask.id
    n = plane.ask.n or await repository.ask(store, store.latest_template(tenant, name))
    body = await repository.ask(store, store.template(tenant, name, n)) if n else None
    if body is None:
        raise Fault("template_not_found", "No template has this name and number.", side=CLIENT)
    return template_answer(plane, n, body, 200)


def template_answer(plane: Plane, n: int, body: bytes, status: int) -> Answer:
    made: dict[str, Any] = {"object": "context.template", "ref": f"{plane.ask.id}@{n}", "template": msgspec.Raw(body)}
    return plane.told(made, status)
