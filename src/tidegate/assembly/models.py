"""The model part of a config becomes the ``ModelsPlan`` that the engine runs on: everything decided, nothing asked
later.

One :class:`ModelWork` a build. What it looks up that costs something is kept on the :class:`Shelf` or taken over from
the build before: dialects, strategies with what they remember, upstreams by their bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from tidegate.assembly import config_models as m
from tidegate.assembly import parts, providers
from tidegate.assembly.facts import Facts, FactTable
from tidegate.assembly.model_callers import ModelCallers, Policies, levels, shared
from tidegate.assembly.parts import PartError, Shelf
from tidegate.ports.authority import Limits
from tidegate.ports.balancer import Balancer
from tidegate.ports.dialect import Dialect, Voice
from tidegate.ports.models import (
    CatalogueRow,
    ClampPlan,
    LlmPlan,
    ModelPlan,
    ModelsPlan,
    ModelTargetPlan,
    PipelinePlan,
    PriceRow,
    ProviderPlan,
    StepPlan,
)
from tidegate.ports.plan import TimeoutsPlan, UpstreamPlan
from tidegate.ports.provider import Preset
from tidegate.ports.strategy import Strategy

FIRST: Final = 120.0
"""Seconds to first content, and ``IDLE`` between two events, where nobody says anything else (LLM 17)."""
IDLE: Final = 60.0
MODEL_TIMES: Final = TimeoutsPlan(request=600.0, idle=IDLE)
"""Times of a route to models that sets none: what official SDKs wait (LLM 17)."""
LEAST_OUTPUT: Final = 4096
"""Output tokens asked for where a dialect must name some and nothing is known of the model."""
PLACE: Final = re.compile(r"\{\{\s*([a-z0-9][a-z0-9._-]*)\.text\s*\}\}")
"""``{{ step.text }}`` in an input of a pipeline."""
REPORTED: Final = CatalogueRow()


@cache
def dialect_names() -> tuple[str, ...]:
    """Every dialect there is."""
    return tuple(parts.known("dialects"))


@cache
def dialect(name: str) -> Dialect:
    """The dialect *name*; made once, for it holds nothing. The first time takes up to 100 ms: it is imported."""
    made: Dialect = parts.load_class("dialects", name)()
    return made


@cache
def dialects() -> dict[str, Dialect]:
    """All of them, by name."""
    return {name: dialect(name) for name in dialect_names()}


class BuiltModels:
    """What the next build may take over. ``strategies``: by model, with the bytes that made them."""

    def __init__(self) -> None:
        self.plan: ModelsPlan | None = None
        self.upstreams: dict[str, tuple[bytes, list[UpstreamPlan]]] = {}
        self.strategies: dict[str, tuple[bytes, Strategy]] = {}


class ModelWork:
    """One build under way: :meth:`take` each provider, then each model, then :meth:`finish`."""

    def __init__(
        self, shelf: Shelf, environment: Mapping[str, str], folder: Path, limits: Limits, facts: FactTable,
        balancer: Callable[[str], Balancer], previous: BuiltModels,
    ) -> None:  # fmt: skip
        self.built = BuiltModels()
        self.upstreams: list[UpstreamPlan] = []
        self.providers: dict[str, ProviderPlan] = {}
        self.models: dict[str, ModelPlan] = {}
        self.facts = Facts(facts)
        self._shelf = shelf
        self._environment = environment
        self._folder = folder
        self._limits = limits
        self._balancer = balancer
        self._previous = previous
        self._dialects = dialects()
        self._items: dict[str, tuple[m.Provider, type[Preset]]] = {}

    @property
    def waits(self) -> tuple[float, float]:
        """The longest times that a provider allows to first content and between two events."""
        times = [item.timeouts for item, _ in self._items.values()]
        return max([each.first for each in times], default=FIRST), max([each.idle for each in times], default=IDLE)

    def take(self, item: m.Provider | m.Model) -> None:
        """Build one provider or model; providers come first."""
        if isinstance(item, m.Provider):
            self.provider(item)
        else:
            self.model(item)

    # -- providers -----------------------------------------------------------------------------------------------------

    def provider(self, item: m.Provider) -> None:
        """One provider with its upstreams. ``PartError`` for an unknown preset, ``ValueError`` for a bad URL."""
        preset = providers.load_preset(item.use)
        reached = providers.reach(item, preset, self._dialects)
        self._upstreams(item, reached)
        found = providers.credentials(item, preset, self._environment, self._folder)
        policies = _shared(self._limits, f"provider/{item.name}", item.limits)
        self._items[item.name] = (item, preset)
        if item.price is not None:
            self.facts.own[item.name] = price_row(item.price, f"config/{item.name}")
        self.providers[item.name] = ProviderPlan(
            name=item.name,
            preset=item.use,
            vendor=preset.vendor or item.use,
            doors=reached.doors,
            chat_doors=reached.chat_doors,
            credentials=found,
            needs_credential=not found and providers.wants_key(preset),
            regions=item.regions,
            quota_fields=preset.limits,
            faults=preset.faults,
            stops_on_cancel=preset.stops_on_cancel,
            in_flight=item.limits.in_flight or 1_000_000,
            requests=policies.requests,
            tokens=policies.tokens,
            first=item.timeouts.first,
            idle=item.timeouts.idle,
        )

    def _upstreams(self, item: m.Provider, reached: providers.Reached) -> None:
        """Those of *item*; the ones of the build before while nothing about them changed, so that their connections
        stay."""
        ca = str(self._folder / item.ca) if item.ca else ""
        key = repr((reached.targets, item.timeouts, item.limits.in_flight, ca, item.verify, _state(ca))).encode()
        before = self._previous.upstreams.get(item.name)
        made = before[1] if before is not None and before[0] == key else None
        if made is None:
            made = providers.upstreams(item, reached.targets, self._balancer, ca)
        self.built.upstreams[item.name] = (key, made)
        self.upstreams += made

    # -- models --------------------------------------------------------------------------------------------------------

    def model(self, item: m.Model) -> None:
        """One model. ``PartErrors`` for what its strategy does not take."""
        strategy = item.strategy
        hedge = strategy.hedge
        policies = _shared(self._limits, f"model/{item.name}", item.limits, slots=True)
        clamp = item.clamp
        ordering = None if item.pipeline is not None else self._strategy(item)
        self.models[item.name] = ModelPlan(
            name=item.name,
            targets=tuple(self._target(item, target, index) for index, target in enumerate(item.targets)),
            pipeline=None if item.pipeline is None else pipeline(item.pipeline),
            strategy=ordering,
            strategy_use=strategy.use,
            retry=strategy.retry,
            cooldown=strategy.cooldown,
            on=frozenset(strategy.on),
            hedge_after=-1.0 if hedge is None else hedge.after,
            hedge_share=5.0 if hedge is None else hedge.share,
            sticky=str(strategy.settings.get("sticky", "")),
            by_conversation=bool(getattr(ordering, "by_conversation", False)),
            cross=strategy.cross,
            default_output=item.default_output or 0,
            clamp=ClampPlan(
                clamp.max_output or 0, clamp.max_input or 0, clamp.n or 0, clamp.best_of or 0, clamp.clamp
            ),
            budgets=levels(item.tenant or "default", "model", item.name, item.budget),
            requests=policies.requests,
            tokens=policies.tokens,
            slots=policies.slots,
            tasks=item.tasks,
            voices=item.voices,
            echo=item.echo,
            loss=item.loss or "report",
            tenant=item.tenant or "",
            retires=item.retires or 0.0,
        )  # fmt: skip

    def _strategy(self, item: m.Model) -> Strategy:
        """The model's strategy; the one of the build before with all it remembers, while its settings are the same."""
        use, settings = item.strategy.use, item.strategy.settings
        key = self._shelf.key(use, settings)
        before = self._previous.strategies.get(item.name)
        made: Strategy = before[1] if before is not None and before[0] == key else (
            self._shelf.make("strategies", use, settings, None, key))  # fmt: skip
        self.built.strategies[item.name] = (key, made)
        return made

    def _target(self, model: m.Model, item: m.ModelTarget, index: int) -> ModelTargetPlan:
        provider = self.providers.get(item.provider)
        if provider is None:
            raise PartError(f"there is no provider {item.provider}", path=("targets", index, "provider"))
        config, preset = self._items[item.provider]
        name = item.model or ("" if model.name.endswith("*") else model.name)
        price, row = self.facts.of(provider.name, name) if name else (None, REPORTED)
        for own in (item.price, model.price, config.price):
            if own is not None:
                price = price_row(own, f"config/{provider.name}/{name or model.name}")
                break
        policies = _shared(self._limits, f"target/{model.name}/{index}", item.limits)
        return ModelTargetPlan(
            index=index,
            provider=provider,
            model=name,
            voices=voices(provider, preset, name, item.version, row.max_output),
            price=price,
            catalogue=row,
            weight=item.weight,
            regions=item.regions or provider.regions,
            requests=policies.requests,
            tokens=policies.tokens,
            in_flight=item.limits.in_flight or 0,
        )

    # -- the whole -----------------------------------------------------------------------------------------------------

    def finish(self, tenants: tuple[m.Tenant, ...], ledger: m.Ledger, consumers: bytes) -> ModelsPlan:
        """The plan. *consumers*: the lines of the generation."""
        self.models = with_tasks(self.models)
        patterns = [(name[:-1], model) for name, model in self.models.items() if name.endswith("*")]
        self.built.plan = ModelsPlan(
            models={name: model for name, model in self.models.items() if not name.endswith("*")},
            patterns=tuple(sorted(patterns, key=lambda found: (-len(found[0]), found[0]))),
            providers=self.providers,
            callers=ModelCallers(consumers, tenants, self._limits),
            several_tenants=several_tenants(tenants, consumers),
            dialects=self._dialects,
            facts=self.facts,
            durability=ledger.durability,
            keep=ledger.keep,
        )
        return self.built.plan


def with_tasks(models: dict[str, ModelPlan]) -> dict[str, ModelPlan]:
    """*models* with their targets made for what any model that has them is made for: a model that mixes targets can
    then choose by task. A pattern's target is every model of its provider that the pattern takes."""
    named: dict[tuple[str, str], tuple[str, ...]] = {}
    patterns: list[tuple[str, str, tuple[str, ...]]] = []
    for model in models.values():
        for target in model.targets if model.tasks else ():
            if target.model:
                key = (target.provider.name, target.model)
                named[key] = tuple(dict.fromkeys(named.get(key, ()) + model.tasks))
            else:
                patterns.append((target.provider.name, model.name.rstrip("*"), model.tasks))
    if not named and not patterns:
        return models

    def made_for(model: ModelPlan, target: ModelTargetPlan) -> tuple[str, ...]:
        found = model.tasks + named.get((target.provider.name, target.model), ())
        for provider, prefix, tasks in patterns:
            if target.model and provider == target.provider.name and target.model.startswith(prefix):
                found += tasks
        return tuple(dict.fromkeys(found))

    return {
        name: replace(model, targets=tuple(replace(each, tasks=made_for(model, each)) for each in model.targets))
        for name, model in models.items()
    }


def _state(file: str) -> tuple[int, ...]:
    """What tells the state of *file* from another."""
    try:
        found = Path(file).stat() if file else None
    except OSError:
        found = None
    return () if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


_TENANT: Final = re.compile(rb'"tenant":"([^"\\\\]+)"').findall


def several_tenants(tenants: tuple[m.Tenant, ...], consumers: bytes) -> bool:
    """Whether consumers, as they stand in a generation, belong to more than one tenant, or more than one is named."""
    named = _TENANT(consumers)
    found = {name.decode() for name in named} | {tenant.name for tenant in tenants}
    if consumers and len(named) < consumers.count(b'{"name":'):
        found.add("default")
    return len(found) > 1


def _shared(limits: Limits, owner: str, item: m.ModelLimits, slots: bool = False) -> Policies:
    return shared(Policies(limits, owner, item, slots))


def price_row(price: Any, id: str) -> PriceRow:
    """A price of the config: ``free``, or n$ by unit."""
    if price == "free":
        return PriceRow(id, {}, free=True)
    units = {str(unit): amount for unit, amount in price.items() if unit != "request"}
    return PriceRow(id, units, per_request=price.get("request", 0))


def voices(provider: ProviderPlan, preset: type[Preset], model: str, version: str, max_output: int) -> dict[str, Voice]:
    """The target in the words of each dialect that its provider's doors speak. How a vendor differs is said of its
    main dialect and that one's relatives; another vendor's dialect it speaks as that vendor does."""
    found: dict[str, Voice] = {}
    main = next((door.dialect.name for door in provider.chat_doors if door.dialect is not None), "")
    for door in provider.doors.values():
        if door.dialect is None or door.dialect.name in found:
            continue
        name = door.dialect.name
        own = name == main or (name.startswith("openai_") and main.startswith("openai_")) or not main
        plain = Voice(
            vendor=provider.vendor,
            model=model,
            addressed=tuple(dict.fromkeys((provider.name, provider.preset, name))),
            accepts=frozenset(preset.accepts),
            lacks=frozenset(preset.lacks),
            max_output=max_output or LEAST_OUTPUT,
            version=version or (preset.version if own else ""),
        )
        found[name] = plain if not own else msgspec.structs.replace(
            plain,
            rename=preset.rename,
            thinking=preset.thinking,
            usage=preset.usage,
            usage_chunk=preset.usage_chunk,
            thinking_style=preset.thinking_style,
            id_size=preset.id_size,
        )  # fmt: skip
    return found


# -- routes ------------------------------------------------------------------------------------------------------------


def llm_plan(item: m.Llm, times: tuple[float, float], most: int | None) -> LlmPlan:
    """A route's ``llm:``. *most*: what a filter ``body_limit`` allows, JSON and multipart alike."""
    return LlmPlan(
        raw=item.raw or "",
        direct=item.direct,
        provider=item.provider or "",
        loss=item.loss,
        expose=item.expose,
        hold=item.hold,
        query_key=item.query_key,
        fetch_media=bool(item.fetch_media),
        media_hosts=item.fetch_media if isinstance(item.fetch_media, tuple) else (),
        emulate=item.emulate,
        bill=item.bill,
        body=item.body if most is None else min(item.body, most),
        multipart=item.multipart if most is None else min(item.multipart, most),
        first=times[0],
        idle=times[1],
    )


# -- pipelines ---------------------------------------------------------------------------------------------------------


def pieces(text: str) -> tuple[str, ...]:
    """A template of a step's input, split: texts at even places, names of steps at odd ones."""
    return tuple(PLACE.split(text))


def pipeline(item: m.PipelineMap | tuple[m.PipelineStep, ...]) -> PipelinePlan:
    """As the engine runs it. What its names lead to is ``check``'s business."""
    if isinstance(item, tuple):
        return PipelinePlan("sequence", steps=tuple(
            StepPlan(
                step.step,
                step.model,
                "",
                tuple((name, pieces(text)) for name, text in step.input.items()),
                (step.stop_if or {}).get("text", ""),
                step.then or "",
            )
            for step in item
        ))  # fmt: skip
    if item.route is None:
        return PipelinePlan(
            "parallel", models=item.parallel, quorum=item.quorum, deadline=item.deadline or 0.0, merge=item.merge
        )
    route = item.route
    rules = []
    for rule in route.rules:
        words = {"task": rule.task, "contains": rule.contains, "longer": str(rule.longer) if rule.longer else ""}
        rules.append(({name: value for name, value in words.items() if value}, rule.model))
    return PipelinePlan(
        "route",
        classifier=route.model if route.by == "classifier" else "",
        labels=route.labels if route.by == "classifier" else {},
        rules=tuple(rules) if route.by == "rules" else (),
        default=route.default,
    )
