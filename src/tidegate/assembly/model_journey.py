"""The part of a journey that goes to a model, in words: surface, model, and every target in its order.

Nothing is sent and nobody is known, so what depends on a caller (its list of models, its budget) is left to its key.
"""

from __future__ import annotations

from typing import Final

from tidegate.assembly import providers
from tidegate.assembly.check import Checked
from tidegate.exchange.fault import Fault
from tidegate.ports.models import DoorPlan, ModelPlan, ModelsPlan, ModelTargetPlan, PriceRow
from tidegate.ports.plan import Plan, RoutePlan
from tidegate.ports.settings import format_duration, format_size
from tidegate.rules.model_access import longest
from tidegate.rules.pricing import dollars
from tidegate.rules.retiring import day_of
from tidegate.rules.surfaces import Surface, surface_of

SHOWN: Final = ("input", "cache_read", "output", "images", "characters", "seconds_in", "searches")
"""Prices that are told, in this order, as far as they are known."""
MOST: Final = 12
"""Names of models that are listed."""


def trip(
    checked: Checked, route: RoutePlan, method: str, path: str, index: dict[str, str], model: str
) -> list[str]:  # fmt: skip
    """The lines behind the filters of a route to models. *index*: the request's fields; *model*: what its body
    names."""
    llm = route.llm
    assert llm is not None
    plan = checked.built.plan
    if llm.raw:
        return [f"  raw         everything under {route.prefix} to the provider {llm.raw}, untouched"]
    try:
        surface = surface_of(method, path, index)
    except Fault as fault:
        return [f"  no surface  {fault.status} {fault.code}: {fault.detail}"]
    lines = [f"  surface     {surface.kind}, as {surface.dialect} says it"]
    lines.append(f"  body        JSON up to {format_size(llm.body)}, multipart up to {format_size(llm.multipart)}")
    models = plan.models
    if models is None:
        return [*lines, "  no model    404 model_not_found: the config has none"]
    if surface.kind == "models":
        return [*lines, f"  catalogue   {len(models.models)} names and {len(models.patterns)} patterns, as far as the"
                        " caller may use them"]  # fmt: skip
    name = surface.model or model
    if not name:
        known = [*models.models, *[found.name for _, found in models.patterns]]
        more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
        return [*lines, f"  model       the body names it: --model {' '.join(known[:MOST])}{more}"]
    found = resolved(models, name, llm.direct)
    if found is None:
        return [*lines, f"  no model    404 model_not_found: {name}"]
    return lines + _model(checked, models, found, name, surface, route, index.get("tidegate-task", ""))


def resolved(models: ModelsPlan, name: str, direct: bool) -> ModelPlan | None:
    """The model that *name* means, aliases of callers aside (LLM 9)."""
    found = models.models.get(name) or longest(models.patterns, name)
    provider, slash, model = name.partition("/")
    if found is None and direct and slash and model and provider in models.providers:
        price, row = models.facts.of(provider, model)
        target = ModelTargetPlan(0, models.providers[provider], model, {}, price, row)
        return ModelPlan(name, (target,))
    return found


def _model(
    checked: Checked, models: ModelsPlan, model: ModelPlan, name: str, surface: Surface, route: RoutePlan, task: str
) -> list[str]:  # fmt: skip
    pipeline = model.pipeline
    if pipeline is not None:
        lines = [f"  model       {name}: a pipeline, {pipeline.kind}"]
        for step in pipeline.steps:
            lines.append(f"              {step.step}: {step.model}")
        for each in pipeline.models:
            lines.append(f"              {each}")
        for label, each in pipeline.labels.items():
            lines.append(f"              {label}: {each}")
        for conditions, each in pipeline.rules:
            told = ", ".join(f"{name} {value}" for name, value in conditions.items())
            lines.append(f"              {told}: {each}")
        return [*lines, f"              default: {pipeline.default}"] if pipeline.default else lines
    served_by = "" if model.name == name else f" by {model.name}"
    lines = [f"  model       {name}{served_by}: {model.strategy_use}, retry {model.retry}, cooldown"
             f" {format_duration(model.cooldown)}"]  # fmt: skip
    targets = sorted(model.targets, key=lambda target: task not in target.tasks) if task else model.targets
    if task:
        made = [target.provider.name for target in targets if task in target.tasks]
        lines.append(f"  task        {task}: " + (f"first {' '.join(made)}" if made else "no target is made for it"))
    for number, target in enumerate(targets, 1):
        lines += _target(checked, models, target, f"target {number}", name, surface)
    times = route.timeouts
    if times is not None and route.llm is not None:
        lines.append(f"  timeouts    connect {format_duration(times.connect)}, first content"
                     f" {format_duration(route.llm.first)}, request {format_duration(times.request)}")  # fmt: skip
    return lines


def _target(
    checked: Checked, models: ModelsPlan, target: ModelTargetPlan, title: str, name: str, surface: Surface
) -> list[str]:  # fmt: skip
    provider = target.provider
    upstream_model = target.model or name
    price, row = target.price, target.catalogue
    if not target.model:
        told, row = models.facts.of(provider.name, upstream_model)
        price = price or told
    door, passes = door_for(target, surface)
    lines = [f"  {title:<11} {provider.name}: {upstream_model}"]
    if door is None:
        return [*lines, f"              left out: {provider.name} has no door for {surface.kind}"]
    how = "bytes pass" if passes else f"translated to {door.dialect.name if door.dialect is not None else ''}"
    lines.append(f"              {how}, {address(checked.built.plan, door)}")
    window = f", window {row.window}" if row.window else ""
    lines.append(f"              price {price_text(price)}{window}")
    if target.tasks:
        lines.append(f"              made for {' '.join(target.tasks)}")
    item = next(each for each in checked.config.providers if each.name == provider.name)
    preset = providers.load_preset(item.use)
    for credential in provider.credentials or (None,):
        lines.append(f"              credential {providers.describe_credential(credential, item, preset)}")
    return lines


def door_for(target: ModelTargetPlan, surface: Surface) -> tuple[DoorPlan | None, bool]:
    """The door for *surface*, and whether bytes may pass through it."""
    provider = target.provider
    chat = provider.chat_doors[0] if provider.chat_doors else None
    if surface.kind == "chat":
        for door in provider.chat_doors:
            if door.dialect is not None and door.dialect.name == surface.dialect:
                return door, True
        return chat, False
    found = provider.doors.get("realtime" if surface.kind == "realtime_secrets" else surface.kind)
    if found is None:
        return (chat, False) if surface.kind == "completions" else (None, False)
    return found, found.dialect is None or found.dialect.name == surface.dialect


def address(plan: Plan, door: DoorPlan) -> str:
    """Where *door* leads; what stands in braces is filled for each call."""
    (target,) = plan.upstreams[door.upstream].targets
    port = "" if target.port == (443 if target.scheme == "https" else 80) else f":{target.port}"
    return f"{target.scheme}://{target.host}{port}{target.base_path}{door.path}"


def catalogue(checked: Checked) -> str:
    """Every model of the config: who answers, at which price, and whether a credential is there."""
    plan = checked.built.plan.models
    if plan is None:
        return "The config has no models."
    lines: list[str] = []
    for model in [*plan.models.values(), *[found for _, found in plan.patterns]]:
        kind = f"   {model.pipeline.kind}" if model.pipeline is not None else ""
        lines.append(f"{model.name}{kind}" + (f"   retires {day_of(model.retires)}" if model.retires else ""))
        for target in model.targets:
            provider = target.provider
            price = price_text(target.price) if target.model else "by the name that is asked for"
            window = f", window {target.catalogue.window}" if target.catalogue.window else ""
            out = "   left out: no credential" if provider.needs_credential else ""
            lines.append(f"  {provider.name}: {target.model or 'the name that is asked for'}   {price}{window}{out}")
    return "\n".join(lines)


def price_text(price: PriceRow | None) -> str:
    """A price in US dollars per million units."""
    if price is None:
        return "unknown, so it is left out: add price: to the target, the model or the provider"
    if price.free:
        return "free"
    told = [f"{unit} {dollars(price.units[unit])}" for unit in SHOWN if unit in price.units]
    if price.per_request:
        told.append(f"request {dollars(price.per_request)} each")
    return f"{', '.join(told) or 'per request'} USD per million ({price.source})"
