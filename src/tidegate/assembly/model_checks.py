"""Is the model part of a config good? Names lead somewhere, presets have what they need, pipelines end, prices are
known.

As ``check``: everything that is wrong is told at once, with its place and its remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol

from tidegate.assembly import config_models as m
from tidegate.assembly import providers
from tidegate.assembly.build import Built
from tidegate.assembly.config import Gateway
from tidegate.assembly.config_words import split_url
from tidegate.assembly.facts import FactTable
from tidegate.assembly.models import PLACE, pieces
from tidegate.assembly.parts import PartError
from tidegate.assembly.problems import FieldPath, did_you_mean
from tidegate.ports.models import ModelTargetPlan
from tidegate.ports.provider import Preset
from tidegate.rules.model_access import longest, matches

DEEPEST: Final = 2
"""Pipelines within one another."""


class Findings(Protocol):
    """Where problems go; see ``check``."""

    def bad(self, path: FieldPath, message: str, fix: str = "") -> None: ...
    def unwise(self, path: FieldPath, message: str, fix: str = "") -> None: ...


def model_facts(config: Gateway) -> FactTable:
    """What the table of prices knows today of the models of the config's providers."""
    if not config.providers:
        return FactTable()
    from tidegate.assembly.prices import fact_table  # its package takes 130 ms

    named: list[tuple[str, str]] = []
    for provider in config.providers:
        try:
            named.append((provider.name, providers.load_preset(provider.use).prices or provider.use))
        except PartError:
            continue
    return fact_table(named, datetime.now(UTC))


def check_models(found: Findings, config: Gateway, environment: Mapping[str, str]) -> None:
    """Tell *found* whatever is wrong."""
    names = _Names(config)
    for index, provider in enumerate(config.providers):
        _provider(found, ("providers", index), provider)
    for index, model in enumerate(config.models):
        _model(found, ("models", index), model, names)
    _pipelines(found, config, names)
    _tenants(found, config)
    _consumers(found, config, names)
    _routes(found, config, names)


class _Names:
    """What names lead to."""

    def __init__(self, config: Gateway) -> None:
        self.providers = {provider.name for provider in config.providers}
        self.models = {model.name: model for model in config.models if not model.name.endswith("*")}
        found = [(model.name[:-1], model) for model in config.models if model.name.endswith("*")]
        self.patterns = sorted(found, key=lambda each: -len(each[0]))

    def model(self, name: str) -> m.Model | None:
        """The model that *name* means."""
        return self.models.get(name) or longest(self.patterns, name)

    def fix(self, name: str) -> str:
        """What to do about a model that is not there."""
        return did_you_mean(name, self.models) or "add it under models:"


# -- providers and models ----------------------------------------------------------------------------------------------


def _provider(found: Findings, path: FieldPath, item: m.Provider) -> None:
    try:
        preset = providers.load_preset(item.use)
    except PartError as error:
        found.bad((*path, *error.path), str(error), error.fix)
        return
    for trouble in providers.troubles(item, preset):
        found.bad((*path, *trouble.path), trouble.message, trouble.fix)


def _model(found: Findings, path: FieldPath, item: m.Model, names: _Names) -> None:
    for index, target in enumerate(item.targets):
        if target.provider not in names.providers:
            found.bad((*path, "targets", index, "provider"), f"there is no provider {target.provider}",
                      did_you_mean(target.provider, names.providers) or "add it under providers:")  # fmt: skip
    if item.targets and not any(target.weight for target in item.targets):
        found.bad((*path, "targets"), "every weight is 0, so nothing would ever be asked", "give one a weight")


# -- pipelines ---------------------------------------------------------------------------------------------------------


def _pipelines(found: Findings, config: Gateway, names: _Names) -> None:
    """Every name is a model that is there, texts name earlier steps, and no pipeline comes back to itself."""
    parts: dict[str, list[str]] = {}
    for index, model in enumerate(config.models):
        for path, name in _named(model):
            whole: FieldPath = ("models", index, "pipeline", *path)
            parts.setdefault(model.name, []).append(name)
            if name.endswith("*"):
                found.bad(whole, f"{name} is a pattern, and a pipeline asks concrete models", "name one of its models")
            elif names.model(name) is None:
                found.bad(whole, f"there is no model {name}", names.fix(name))
        if isinstance(model.pipeline, tuple):
            _steps(found, ("models", index, "pipeline"), model.pipeline)
        elif model.pipeline is not None and model.pipeline.route is not None:
            _choice(found, ("models", index, "pipeline", "route"), model.pipeline.route)
    for index, model in enumerate(config.models):
        circle = _circle(model.name, parts)
        if circle:
            found.bad(("models", index, "pipeline"), f"the pipelines go in a circle: {' > '.join(circle)}",
                      "let one of them ask a model with targets")  # fmt: skip
        elif model.name in parts and _depth(model.name, parts) > DEEPEST:
            found.bad(("models", index, "pipeline"), f"pipelines stand at most {DEEPEST} deep within one another",
                      "let its steps ask models with targets")  # fmt: skip


def _named(model: m.Model) -> Iterator[tuple[FieldPath, str]]:
    """(where in the pipeline, the model named there)."""
    pipeline = model.pipeline
    if pipeline is None:
        return
    if isinstance(pipeline, tuple):
        for index, step in enumerate(pipeline):
            yield (index, "model"), step.model
        return
    for index, name in enumerate(pipeline.parallel):
        yield ("parallel", index), name
    if pipeline.route is not None:
        route = pipeline.route
        if route.by == "classifier" and route.model:
            yield ("route", "model"), route.model
        for label, name in route.labels.items():
            yield ("route", "labels", label), name
        for index, rule in enumerate(route.rules):
            yield ("route", "rules", index, "model"), rule.model
        yield ("route", "default"), route.default


def _steps(found: Findings, path: FieldPath, steps: tuple[m.PipelineStep, ...]) -> None:
    earlier: list[str] = []
    for index, step in enumerate(steps):
        if step.step in earlier:
            found.bad((*path, index, "step"), f"the name {step.step} is taken already", "give it another name")
        for name, text in step.input.items():
            for number, asked in enumerate(pieces(text)):
                if number % 2 and asked not in earlier:
                    found.bad((*path, index, "input", name), f"no earlier step is called {asked}",
                              did_you_mean(asked, earlier) or "write {{ step.text }} of a step above")  # fmt: skip
            if "{{" in PLACE.sub("", text):
                found.bad((*path, index, "input", name), "holds {{ that is no {{ step.text }}", "write {{ step.text }}")
        earlier.append(step.step)
        if step.then is not None and step.then not in earlier:
            found.bad((*path, index, "then"), f"no step up to here is called {step.then}",
                      did_you_mean(step.then, earlier))  # fmt: skip
        if step.then is not None and not step.stop_if:
            found.bad((*path, index, "then"), "says what is answered when stop_if holds, and there is no stop_if")


def _choice(found: Findings, path: FieldPath, route: m.PipelineRoute) -> None:
    if route.by == "classifier":
        if not route.model:
            found.bad((*path, "model"), "is missing: the model that says which label fits", "name a small, quick one")
        if not route.labels:
            found.bad((*path, "labels"), "is missing: which model each label means", "add labels: {code: MODEL, ...}")
        if route.rules:
            found.bad((*path, "rules"), "belongs to by: rules", "leave it out")
    elif not route.rules:
        found.bad((*path, "rules"), "is missing", "add rules: [{task: code, model: MODEL}]")
    for index, rule in enumerate(route.rules):
        if not (rule.task or rule.contains or rule.longer):
            found.bad((*path, "rules", index), "holds always, so nothing behind it is ever looked at",
                      "make its model the default")  # fmt: skip


def _circle(start: str, parts: Mapping[str, list[str]]) -> list[str]:
    """The way from *start* back to itself, or nothing."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for name in parts.get(way[-1], ()):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def _depth(name: str, parts: Mapping[str, list[str]], most: int = DEEPEST + 1) -> int:
    """Pipelines within one another from *name* down; *most* stops the search."""
    if name not in parts or most == 0:
        return 0
    return 1 + max(_depth(inner, parts, most - 1) for inner in parts[name])


# -- owners ------------------------------------------------------------------------------------------------------------


def _tenants(found: Findings, config: Gateway) -> None:
    for index, tenant in enumerate(config.tenants):
        names: set[str] = set()
        for number, team in enumerate(tenant.teams):
            if team.name in names:
                found.bad(("tenants", index, "teams", number, "name"), f"the name {team.name} is taken already",
                          "give it another name")  # fmt: skip
            names.add(team.name)


def _consumers(found: Findings, config: Gateway, names: _Names) -> None:
    """Teams are those of the tenant, lists of models name models that are there, names of keys are unique."""
    tenants = {tenant.name: tenant for tenant in config.tenants}
    for index, consumer in enumerate(config.consumers):
        path: FieldPath = ("consumers", index)
        tenant = tenants.get(consumer.tenant)
        if consumer.team is not None and tenant is not None and tenant.teams:
            teams = {team.name for team in tenant.teams}
            if consumer.team not in teams:
                found.bad((*path, "team"), f"the tenant {tenant.name} has no team {consumer.team}",
                          did_you_mean(consumer.team, teams))  # fmt: skip
        bound = set(tenant.regions) if tenant is not None else set()
        if bound and consumer.regions and not bound & set(consumer.regions):
            found.bad((*path, "regions"), f"none of these is a region of the tenant {consumer.tenant}",
                      f"choose from {' '.join(sorted(bound))}")  # fmt: skip
        for number, pattern in enumerate(consumer.models or ()):
            _pattern(found, (*path, "models", number), pattern, names)
        for alias, name in consumer.aliases.items():
            if names.model(name) is None:
                found.bad((*path, "aliases", alias), f"there is no model {name}", names.fix(name))
        called: set[str] = set()
        for number, key in enumerate(consumer.keys):
            if isinstance(key, str):
                continue
            if key.name and key.name in called:
                found.bad((*path, "keys", number, "name"), f"the name {key.name} is taken already",
                          "give every key of a consumer a name of its own")  # fmt: skip
            called.add(key.name)
            for place, pattern in enumerate(key.models or ()):
                _pattern(found, (*path, "keys", number, "models", place), pattern, names)


def _pattern(found: Findings, path: FieldPath, pattern: str, names: _Names) -> None:
    if not pattern.endswith("*"):
        known = names.model(pattern) is not None
    else:
        known = any(matches(pattern, name) for name in names.models) or any(
            prefix.startswith(pattern[:-1]) or pattern[:-1].startswith(prefix) for prefix, _ in names.patterns
        )
    if not known and "/" not in pattern:
        found.bad(path, f"no model is called {pattern}", names.fix(pattern))


def _routes(found: Findings, config: Gateway, names: _Names) -> None:
    for index, route in enumerate(config.routes):
        llm = route.llm
        if llm is None:
            continue
        path: FieldPath = ("routes", index, "llm")
        for field, name in (("raw", llm.raw), ("provider", llm.provider)):
            if name is not None and name not in names.providers:
                found.bad((*path, field), f"there is no provider {name}",
                          did_you_mean(name, names.providers) or "add it under providers:")  # fmt: skip
        if not config.models and not llm.direct and llm.raw is None:
            found.bad(path, "serves models, and there is none", "add models: with a name and its targets")


# -- advice ------------------------------------------------------------------------------------------------------------


def advise_models(found: Findings, config: Gateway, built: Built) -> None:
    """What is allowed but was probably not meant."""
    plan = built.models.plan
    if plan is None:
        return
    for index, item in enumerate(config.providers):
        path: FieldPath = ("providers", index)
        preset = providers.load_preset(item.use)
        if plan.providers[item.name].needs_credential:
            _credential_advice(found, (*path, "api_key"), item, preset)
        if not item.verify and providers.base_of(item, preset).scheme == "https":
            found.unwise((*path, "verify"), "any certificate is accepted", "name its CA in ca")
        if item.base_url:
            _url_advice(found, (*path, "base_url"), item, preset)
    if not any(route.llm is not None for route in config.routes):
        found.unwise(("models",), "no route serves models", "add a route with llm: {}")
    for index, model in enumerate(config.models):
        built_model = plan.models.get(model.name) or next(
            (each for _, each in plan.patterns if each.name == model.name), None)  # fmt: skip
        for target in built_model.targets if built_model is not None else ():
            if target.model and target.price is None:
                _unpriced(found, ("models", index, "targets", target.index), target)


def _credential_advice(found: Findings, path: FieldPath, item: m.Provider, preset: type[Preset]) -> None:
    if item.api_key or item.api_keys:
        found.unwise(path, f"the service account of {item.name} cannot be read, so nothing is sent to it",
                     "name its JSON file, or give its JSON")  # fmt: skip
        return
    wanted = " or ".join(providers.variables(preset.auth))
    found.unwise(path, f"the provider {item.name} has no credential, so nothing is sent to it",
                 f"set {wanted}" if wanted else "add api_key")  # fmt: skip


def _url_advice(found: Findings, path: FieldPath, item: m.Provider, preset: type[Preset]) -> None:
    if preset.base_url == "{base_url}":
        versioned = item.use == "openai_compatible"
    else:
        versioned = any(split_url(providers.filled(preset.base_url, item, preset)).base_path.split("/")[1:])
    if versioned and not providers.base_of(item, preset).base_path:
        found.unwise(path, "has no path, and servers of this kind are at /v1 as a rule", "add /v1")


def _unpriced(found: Findings, path: FieldPath, target: ModelTargetPlan) -> None:
    found.unwise(path, f"no price of {target.model} at {target.provider.name} is known, so it is left out",
                 "add price: {input: USD, output: USD} per million tokens, or price: free")  # fmt: skip
