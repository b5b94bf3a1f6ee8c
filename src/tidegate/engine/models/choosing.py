"""Who could serve a call, and in which order they are tried (LLM 9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.signing import credential_model_key, pick_credential
from tidegate.engine.models.standing import Figures, ModelStates
from tidegate.exchange.fault import CLIENT, GATEWAY, UPSTREAM, Fault
from tidegate.ports.dialect import Voice
from tidegate.ports.models import CatalogueRow, DoorPlan, ModelPlan, ModelTargetPlan, PriceRow, ProviderPlan
from tidegate.ports.strategy import Ask, Standing
from tidegate.rules.capability import lacking
from tidegate.rules.clamping import clamp
from tidegate.rules.emulated_output import wants_schema
from tidegate.rules.model_access import allowed, longest, matches, within
from tidegate.rules.owner_ids import owners_in, tag_of, untagged
from tidegate.rules.retiring import day_of, is_retired, retiring_fields

SOON = 1.0
"""When all rest, the one that is back within so many seconds is waited for."""

CHAT_KINDS = frozenset({"chat", "completions"})
"""Surfaces that the neutral conversation connects: a target with another dialect serves them too."""


EMBEDDINGS = "_embeddings"
"""How the dialects end whose neutral form is ``exchange/embeddings``: they translate into each other."""

FREE = PriceRow("free", {}, free=True)
"""What counting costs."""

UNPAID = frozenset({"count_tokens", "realtime_secrets"})
"""Surfaces that vendors do not bill."""


class Candidate:
    """One target that could serve the call.

    model      what the provider is asked for; ``key`` the same with the provider's name: whose figures these are
    passes     client and door speak the same dialect: bytes pass
    """

    __slots__ = ("catalogue", "door", "figures", "key", "model", "passes", "price", "target", "voice")

    def __init__(
        self, target: ModelTargetPlan, door: DoorPlan, model: str, passes: bool, voice: Voice, price: PriceRow,
        catalogue: CatalogueRow, figures: Figures,
    ) -> None:  # fmt: skip
        self.target = target
        self.door = door
        self.model = model
        self.key = f"{target.provider.name}/{model}"
        self.passes = passes
        self.voice = voice
        self.price = price
        self.catalogue = catalogue
        self.figures = figures


def resolve(call: ModelCall) -> ModelPlan:
    """The model that is asked for: exact name, the caller's alias, the longest pattern, ``provider/model`` (LLM 9).
    Raises ``model_not_found`` for what the tenant cannot see and for what has retired, ``forbidden`` for what this
    caller may not use. Answers of a model that is to retire say so."""
    models = call.models
    caller = call.caller
    name = call.asked
    plan = models.models.get(name)
    if plan is None:
        alias = caller.aliases.get(name)
        if alias is not None:
            name = alias
            plan = models.models.get(name)
    if plan is None:
        plan = longest(models.patterns, name)
    if plan is None and call.llm.direct:
        plan = direct(call, name)
    call.name = name
    if (
        plan is None
        or (plan.tenant and plan.tenant != caller.tenant)
        or (caller.tenant_models is not None and not any(matches(pattern, name) for pattern in caller.tenant_models))
    ):
        raise Fault("model_not_found", f"The model {call.asked[:64]!r} does not exist.", side=CLIENT)
    if not allowed(caller.models, name):
        raise Fault("forbidden", "This key may not use the model.", reason="model_denied", side=CLIENT)
    kind = "realtime" if call.surface.kind == "realtime_secrets" else call.surface.kind
    if caller.surfaces is not None and kind not in caller.surfaces:
        raise Fault("forbidden", "This key may not use this kind of call.", reason="surface_denied", side=CLIENT)
    if plan.retires:
        if is_retired(plan.retires, call.runtime.wall()):
            raise Fault("model_not_found", f"The model {call.asked[:64]!r} was retired on {day_of(plan.retires)}.",
                        reason="retired", side=CLIENT)  # fmt: skip
        tell_retirement(call, plan.retires)
    call.plan = plan
    return plan


def tell_retirement(call: ModelCall, retires: float) -> None:
    """``Deprecation`` and ``Sunset`` on whatever is answered; once, however many calls a socket carries."""
    x = call.x
    if call.llm.expose == "none" or (x.answer_fields and any(name == "sunset" for name, _ in x.answer_fields)):
        return
    for name, value in retiring_fields(retires):
        x.add_answer_field(name, value)


def direct(call: ModelCall, name: str) -> ModelPlan | None:
    """``provider/model`` where the route lets clients name providers."""
    provider_name, slash, model = name.partition("/")
    provider = call.models.providers.get(provider_name)
    if provider is None or not slash or not model:
        return None
    price, row = call.models.facts.of(provider_name, model)
    voices = {d.dialect.name: Voice(vendor=provider.vendor) for d in provider.chat_doors if d.dialect is not None}
    return ModelPlan(name, (ModelTargetPlan(0, provider, model, voices, price, row),))


def candidates_of(call: ModelCall, states: ModelStates) -> list[Candidate]:
    """Everybody who could serve the call, resting or not, in the order of the config. Raises the fault that says why
    there is nobody."""
    plan = call.plan
    assert plan is not None
    found: list[Candidate] = []
    why = Fault("upstream_unavailable", "The model has no target for this kind of call.", reason="no_target",
                retry_after=1.0)  # fmt: skip
    wished = call.wish("provider")
    if wished and all(target.provider.name != wished for target in plan.targets):
        raise Fault("invalid_request", "tidegate-provider names no provider of the model.", reason="provider",
                    side=CLIENT)  # fmt: skip
    for target in plan.targets:
        provider = target.provider
        if wished and provider.name != wished:
            continue
        if not within(call.caller.regions, target.regions or provider.regions):
            why = Fault("forbidden", "No target of the model is in a region of this caller.", reason="region")
            continue
        if provider.needs_credential:
            why = Fault("upstream_unavailable", "The provider has no credential.", reason="no_credential",
                        retry_after=60.0)  # fmt: skip
            continue
        door, passes = door_of(call, target)
        if door is None:
            why = Fault("invalid_request", "No target of the model serves this kind of call.", reason="no_door",
                        side=CLIENT)  # fmt: skip
            continue
        model = target.model or call.name
        price, row = target.price, target.catalogue
        if not target.model:
            told_price, told_row = call.models.facts.of(provider.name, model)
            price = price or told_price
            row = row if row.features is not None or row.window else told_row
        if call.surface.kind in UNPAID:
            price = FREE
        if price is None:
            why = Fault("price_unknown", "No price is known for the model.", reason="price_unknown")
            call.runtime.log("warning", "price_unknown", provider=provider.name, model=model,
                             fix="give the target, the model or the provider a price")  # fmt: skip
            continue
        found.append(Candidate(target, door, model, passes, voice_of(call, target, door, model), price, row,
                               states.of(f"{provider.name}/{model}")))  # fmt: skip
    if call.surface.kind == "chat" and call.llm.emulate:
        for candidate in found:
            if candidate.passes and emulates(call, candidate):
                candidate.passes = False
    if call.surface.kind in CHAT_KINDS and (len(found) > 1 or any(not c.passes for c in found)):
        found = capable(call, found)
    if not found:
        raise why
    tags = owners_in(call.body)
    if tags:
        found = [c for c in found if tags == {tag_of(c.target.provider.name, call.caller.tenant)}]
        if not found:
            raise Fault("invalid_request", "The files of the call belong to another provider.", reason="file_owner",
                        side=CLIENT)  # fmt: skip
        call.reread(untagged(call.body))
    if call.surface.dialect == "openai_responses" and is_stateful(call.members):
        found = [c for c in found if c.passes][:1]  # nobody else knows the id
        if not found:
            raise Fault("invalid_request", "No target of the model keeps responses.", reason="no_capable_target",
                        side=CLIENT)  # fmt: skip
    return found


def is_stateful(members: dict[str, Any]) -> bool:
    """The call builds on something its provider keeps (LLM 7)."""
    return bool(members.get("previous_response_id") or members.get("conversation") or members.get("background"))


def door_of(call: ModelCall, target: ModelTargetPlan) -> tuple[DoorPlan | None, bool]:
    """The door for this call, and whether bytes may pass through it."""
    kind = call.surface.kind
    provider = target.provider
    untouched = (
        not call.composed
        and "provider_options" not in call.members
        and (call.plan is None or call.plan.echo == "provider")
    )
    if kind == "chat":
        for door in provider.chat_doors:
            if door.dialect is not None and door.dialect.name == call.dialect.name:
                return door, untouched and not call.clamped
        return (provider.chat_doors[0], False) if provider.chat_doors else (None, False)
    if kind == "compact":
        for door in provider.chat_doors:
            if door.dialect is not None and door.dialect.name == call.dialect.name:
                return replace(door, path=door.path + "/compact", stream_path=""), untouched
        return None, False
    if kind == "realtime_secrets":
        tunnel = provider.doors.get("realtime")
        return (None if tunnel is None else replace(tunnel, path=tunnel.path + "/client_secrets")), True
    found = provider.doors.get(kind)
    second = provider.doors.get("embed") if kind == "embeddings" else None
    if second is not None and second.dialect is not None and second.dialect.name == call.dialect.name:
        found = second
    if found is not None and found.dialect is None and shapes_differ(call, provider):
        found = None
    if found is not None and (found.dialect is None or found.dialect.name == call.dialect.name):
        return found, untouched or found.dialect is None
    if kind == "embeddings" and found is not None and call.dialect.name.endswith(EMBEDDINGS):
        return found, False
    if kind == "completions" and provider.chat_doors:
        return provider.chat_doors[0], False
    return None, False


def shapes_differ(call: ModelCall, provider: ProviderPlan) -> bool:
    """A door without a dialect takes what its vendor's own clients send: Cohere's embeddings are not OpenAI's."""
    if call.surface.kind != "embeddings" or not provider.chat_doors or provider.chat_doors[0].dialect is None:
        return False
    return (provider.chat_doors[0].dialect.name == "cohere_chat") != (call.surface.dialect == "cohere_chat")


def voice_of(call: ModelCall, target: ModelTargetPlan, door: DoorPlan, model: str) -> Voice:
    """The target as its dialect must know it, with its model named."""
    name = door.dialect.name if door.dialect is not None else ""
    voice = target.voices.get(name) or Voice(vendor=target.provider.vendor)
    if voice.model == model and voice.emulate == call.llm.emulate:
        return voice
    return Voice(
        voice.vendor, model, voice.addressed, voice.rename, voice.accepts, voice.lacks, voice.thinking, voice.usage,
        voice.max_output, voice.version, call.llm.emulate, voice.usage_chunk, voice.thinking_style,
    )  # fmt: skip


def lacks_schema(candidate: Candidate) -> bool:
    """Has the target no structured output of its own (LLM 5.5)?"""
    features = candidate.catalogue.features
    return "output.schema" in candidate.voice.lacks or (features is not None and "schema" not in features)


def emulates(call: ModelCall, candidate: Candidate) -> bool:
    """Is a forced tool to stand for the structured output that the call wants?"""
    return (
        call.llm.emulate
        and lacks_schema(candidate)
        and "tools" not in candidate.voice.lacks
        and wants_schema(call.request)
    )


def capable(call: ModelCall, found: list[Candidate]) -> list[Candidate]:
    """Those that can serve what is asked; who has what is only wished for, comes alone where somebody has it. Raises
    ``context_length`` or ``invalid_request`` when nobody can."""
    needs = call.needs
    plan = call.plan
    assert plan is not None
    kept: list[Candidate] = []
    why = ""
    for candidate in found:
        row = candidate.catalogue
        window = row.window if call.turn is None else 0  # a kept conversation is made to fit
        lack = lacking(needs, row.features, window, call.llm.emulate)
        if not lack and "schema" in needs.features and lacks_schema(candidate) and not emulates(call, candidate):
            lack = "schema"
        vendor = candidate.target.provider.vendor
        if not lack and needs.vendors and not plan.cross and vendor not in needs.vendors:
            lack = "thinking"
        if lack:
            why = lack
        else:
            kept.append(candidate)
    if found and not kept:
        if why == "context_length":
            raise Fault("context_length", "The input is longer than any target of the model can read.", side=CLIENT)
        raise Fault("invalid_request", f"No target of the model can serve {why}.", reason="no_capable_target",
                    side=CLIENT)  # fmt: skip
    if needs.wishes:
        best = [c for c in kept if c.catalogue.features is None or needs.wishes <= c.catalogue.features]
        return best or kept
    return kept


BOUND_WORDS = (b"max_", b"axOutputTokens", b"maxTokens", b"num_predict", b'"n"', b"candidateCount")
"""One of these stands in every body that names a bound of its own."""


def clamped(call: ModelCall, found: list[Candidate]) -> None:
    """Hold the call to the bounds of its model, and to what the catalogue knows of all its targets (LLM 10)."""
    plan = call.plan
    if plan is None or call.surface.kind not in CHAT_KINDS:
        return
    bounds = plan.clamp
    known = min([c.catalogue.max_output for c in found])
    bounded = bounds.max_output or bounds.max_input or bounds.n or bounds.best_of
    if not bounded and not (known and any(word in call.body for word in BOUND_WORDS)):
        return
    needs = call.needs
    kept = clamp(
        needs.output, needs.choices, needs.input_tokens, most_output=bounds.max_output, most_choices=bounds.n,
        most_input=bounds.max_input, known=max([c.catalogue.max_output for c in found]) if known else 0,
        lower=bounds.lower, candidates=needs.best_of, most_candidates=bounds.best_of,
    )  # fmt: skip
    if kept.said:
        call.clamped = kept.said
        call.clamp(kept.output, kept.choices)
        for candidate in found:
            candidate.passes = False


def in_order(call: ModelCall, found: list[Candidate], states: ModelStates) -> list[Candidate]:
    """*found* as the model's strategy wants them tried; those that are made for the task that the call wishes for
    come before all others."""
    plan = call.plan
    assert plan is not None
    strategy = plan.strategy
    if strategy is None or len(found) == 1:
        return found
    standings = [standing_of(c) for c in found]
    ask = ask_of(call)
    order = strategy.order(standings, ask, call.runtime.random.random)
    if ask.task:
        order.sort(key=lambda position: ask.task not in standings[position].tasks)
    return [found[position] for position in order]


def standing_of(candidate: Candidate) -> Standing:
    """What a strategy sees of a target."""
    target = candidate.target
    figures = candidate.figures
    units = candidate.price.units
    price = units.get("input", 0)
    return Standing(
        target.index,
        target.provider.name,
        candidate.model,
        target.weight,
        figures.in_flight,
        figures.ttft,
        figures.rate,
        price,
        units.get("cache_read", price),
        units.get("output", 0),
        figures.cached_share,
        candidate.catalogue.window,
        candidate.catalogue.quality,
        target.tasks,
        target.regions,
    )


def ask_of(call: ModelCall) -> Ask:
    """What a strategy sees of a call."""
    plan = call.plan
    x = call.x
    user = call.members.get("user")
    keys = {"consumer": call.caller.consumer, "user": user if isinstance(user, str) else ""}
    if plan is not None and plan.sticky.startswith("header:"):
        keys[plan.sticky] = x.head.index.get(plan.sticky[7:].lower(), "")
    if call.surface.kind in CHAT_KINDS:
        needs = call.needs
        read, written = needs.input_tokens, needs.output
    else:
        read, written = len(call.body) // 4, 0
    conversation = call.conversation if plan is not None and plan.by_conversation else ""
    return Ask(
        call.runtime.clock(), call.name, call.wish("task"), call.stream, read, written, call.caller.tenant,
        call.caller.consumer, keys["user"], conversation, keys,
    )  # fmt: skip


def rest_of(candidate: Candidate, states: ModelStates, now: float) -> tuple[float, bool]:
    """(seconds until the target may be called, whether its vendor's rate is why)."""
    provider = candidate.target.provider
    cooldowns = states.cooldowns
    wait = max(cooldowns.ready_in(target_key(candidate), now), cooldowns.ready_in(candidate.key, now))
    credential, resting = pick_credential(provider, candidate.model, states, now)
    if not provider.credentials:
        resting = cooldowns.ready_in(credential_model_key(provider, None, candidate.model), now)
    limited = credential is not None and resting > wait
    return max(wait, resting), limited


def back_in(found: list[Candidate], states: ModelStates, now: float) -> float:
    """Seconds until the first of *found* may be called again."""
    return min([rest_of(candidate, states, now)[0] for candidate in found])


def target_key(candidate: Candidate) -> str:
    """What rests when a target fails."""
    return candidate.key + "#"


def awake(found: list[Candidate], states: ModelStates, now: float) -> tuple[list[Candidate], float]:
    """(those that do not rest, 0.0); or, when all do, (the one that is back first, the seconds until then). Raises 429
    or 503 when that is too far away."""
    kept: list[Candidate] = []
    soonest = 0.0
    first: Candidate | None = None
    limited = False
    for candidate in found:
        wait, by_rate = rest_of(candidate, states, now)
        if wait <= 0.0:
            kept.append(candidate)
        elif first is None or wait < soonest:
            first, soonest, limited = candidate, wait, by_rate
    if kept or first is None:
        return kept, 0.0
    if soonest <= SOON:
        return [first], soonest
    if limited:
        raise Fault("rate_limited", "The provider's rate is used up.", reason="cooling", side=UPSTREAM,
                    retry_after=soonest)  # fmt: skip
    raise Fault("overloaded", "Every target of the model rests after failures.", reason="cooling", side=GATEWAY,
                retry_after=soonest)  # fmt: skip
