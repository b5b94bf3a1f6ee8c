"""The part of the Plan that model surfaces run on: providers, models and callers, everything decided (LLM 8 to 10).

Names mirror ``assembly/config_models``. Money is n$ (integers), prices n$ per million units, times seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from tidegate.ports.authority import Policy
from tidegate.ports.books import BudgetLevel
from tidegate.ports.dialect import Dialect, Voice
from tidegate.ports.provider import Auth
from tidegate.ports.strategy import Strategy


@dataclass(frozen=True, slots=True)
class PriceTier:
    """From *above* input tokens on, this price per million instead (n$)."""

    above: int
    price: int


@dataclass(frozen=True, slots=True)
class PriceRow:
    """What one model of one provider costs: n$ per million of each unit, () tiers by input length. A unit that is not
    in ``units`` is not priced apart: cached input costs as input, thinking as output, and so on. ``per_request`` n$.

    units: ``input output cache_read cache_write cache_write_1h thinking audio_in audio_out image_in image_out
    characters seconds_in seconds_out images searches pages``
    """

    id: str
    units: dict[str, int]
    tiers: dict[str, tuple[PriceTier, ...]] = field(default_factory=dict)
    services: dict[str, PriceRow] = field(default_factory=dict)
    """Service tier (``priority flex fast batch``) -> the whole row that holds there."""
    per_request: int = 0
    free: bool = False
    source: str = "config"
    as_of: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """What is known of one model (LLM 13); 0 and None are unknown, and unknown counts as yes unless ``strict``."""

    window: int = 0
    max_output: int = 0
    features: frozenset[str] | None = None
    """Of ``tools parallel schema thinking image audio file video logprobs n prefill``; None: unknown."""
    tokenizer: str = ""
    """Its vocabulary, where it is known for sure: counts are then right; "": they are estimates."""
    quality: int = 0
    created: int = 0
    retires: float = 0.0


@dataclass(frozen=True, slots=True)
class Carried:
    """A key as it is sent at the doors of one *surface* that want it elsewhere than the others."""

    surface: str
    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class CredentialPlan:
    """One way to pay. ``id`` is safe to log (a digest's first letters); ``fields`` and ``query`` are ready to send, at
    the surfaces in ``elsewhere`` those there instead;
    ``signer`` names the auth style that must work per call (``sigv4``, ``gcp``, ``oauth``) with ``secret``."""

    id: str
    fields: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    signer: Literal["", "sigv4", "gcp", "oauth"] = ""
    auth: Auth | None = None
    secret: str = field(default="", repr=False)
    region: str = ""
    elsewhere: tuple[Carried, ...] = ()

    def carried(self, surface: str) -> Carried | CredentialPlan:
        """The ``fields`` and ``query`` of a door of *surface*."""
        for each in self.elsewhere:
            if each.surface == surface:
                return each
        return self


@dataclass(frozen=True, slots=True)
class DoorPlan:
    """One surface of one provider: *dialect* None where bytes pass as they are. ``upstream``: the name of its
    ``UpstreamPlan`` (``provider:<name>`` or ``provider:<name>:<host>``); ``path`` without the upstream's base path."""

    surface: str
    dialect: Dialect | None
    upstream: str
    path: str
    stream_path: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ProviderPlan:
    """One provider, reachable. ``doors``: surface -> door; ``chat`` doors by dialect's name in ``chat_doors``, the main
    one first."""

    name: str
    preset: str
    vendor: str
    doors: dict[str, DoorPlan]
    chat_doors: tuple[DoorPlan, ...]
    credentials: tuple[CredentialPlan, ...]
    needs_credential: bool = False
    """Its preset wants a key and the config gave none: out of the choice, and status says so."""
    regions: tuple[str, ...] = ()
    quota_fields: Literal["", "openai", "anthropic"] = ""
    faults: dict[int, str] = field(default_factory=dict)
    stops_on_cancel: bool = True
    in_flight: int = 256
    requests: Policy | None = None
    tokens: Policy | None = None
    first: float = 120.0
    """Seconds to first content, and ``idle`` between two events; the shorter of these and the route's hold."""
    idle: float = 60.0


@dataclass(frozen=True, slots=True)
class ModelTargetPlan:
    """One target of a model. ``model`` "": the asked name is passed on (patterns); then ``price`` and ``catalogue`` are
    looked up by that name through ``ModelsPlan.facts``. ``voices``: dialect's name -> voice with ``model`` set, or ""
    to be replaced."""

    index: int
    provider: ProviderPlan
    model: str
    voices: dict[str, Voice]
    price: PriceRow | None
    catalogue: CatalogueRow
    weight: float = 1.0
    regions: tuple[str, ...] = ()
    requests: Policy | None = None
    tokens: Policy | None = None
    in_flight: int = 0
    tasks: tuple[str, ...] = ()
    """What it is made for, by any model of the config that has this target."""


@dataclass(frozen=True, slots=True)
class ClampPlan:
    """Bounds of a model; 0 for none. ``lower``: a value above is lowered and said in ``x-tidegate-clamped``; else it is
    refused with 400."""

    max_output: int = 0
    max_input: int = 0
    n: int = 0
    best_of: int = 0
    lower: bool = False


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step of a sequential pipeline. ``input``: name -> template of ``{{ step.text }}`` pieces, already split."""

    step: str
    model: str
    prompt: str = ""
    input: tuple[tuple[str, tuple[str, ...]], ...] = ()
    stop_if: str = ""
    then: str = ""


@dataclass(frozen=True, slots=True)
class PipelinePlan:
    """``kind`` ``sequence`` (steps), ``parallel`` (models, quorum, merge ``first vote concat``) or ``route`` (by
    ``classifier`` with model and labels, or by ``rules``)."""

    kind: Literal["sequence", "parallel", "route"]
    steps: tuple[StepPlan, ...] = ()
    models: tuple[str, ...] = ()
    quorum: int = 1
    deadline: float = 0.0
    merge: Literal["first", "vote", "concat"] = "first"
    classifier: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    rules: tuple[tuple[dict[str, str], str], ...] = ()
    default: str = ""


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """One name clients ask for; exactly one of ``targets`` and ``pipeline``. ``strategy`` None with a pipeline."""

    name: str
    targets: tuple[ModelTargetPlan, ...] = ()
    pipeline: PipelinePlan | None = None
    strategy: Strategy | None = None
    strategy_use: str = "fallback"
    retry: int = 1
    cooldown: float = 30.0
    on: frozenset[str] = frozenset()
    """Of ``length`` and ``policy``: faults that also send a call to the next target."""
    hedge_after: float = -1.0
    """Seconds; 0.0 for the target's p95; below 0: no hedging. ``hedge_share`` in percent."""
    hedge_share: float = 5.0
    sticky: str = ""
    by_conversation: bool = False
    """Its strategy asks which conversation a call belongs to."""
    cross: bool = False
    default_output: int = 0
    clamp: ClampPlan = field(default_factory=ClampPlan)
    budgets: tuple[BudgetLevel, ...] = ()
    requests: Policy | None = None
    tokens: Policy | None = None
    slots: Policy | None = None
    tasks: tuple[str, ...] = ()
    voices: dict[str, str] = field(default_factory=dict)
    echo: Literal["provider", "asked"] = "provider"
    loss: Literal["report", "refuse"] = "report"
    tenant: str = ""
    retires: float = 0.0


@dataclass(frozen=True, slots=True)
class CallerPlan:
    """What one consumer may do with models, or one key of it (``key_id`` set: only what narrows).

    models   patterns; None: inherited (all of the tenant); (): none
    budgets  levels of key, consumer, team and tenant, all of which are charged
    requests, tokens, slots  policies of every level that has them
    """

    consumer: str
    tenant: str = "default"
    team: str = ""
    models: tuple[tuple[str, ...], ...] = ()
    """Lists that all must allow a name (tenant's, consumer's, key's), each of patterns."""
    aliases: dict[str, str] = field(default_factory=dict)
    budgets: tuple[BudgetLevel, ...] = ()
    requests: tuple[Policy, ...] = ()
    tokens: tuple[Policy, ...] = ()
    slots: tuple[Policy, ...] = ()
    regions: tuple[str, ...] = ()
    surfaces: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    tenant_models: tuple[str, ...] | None = None
    """What its tenant can see, patterns too; None: everything. What is not seen is 404 to it, what ``models`` denies is
    403 (LLM 9)."""


@dataclass(frozen=True, slots=True)
class ModelsPlan:
    """Every model, provider and caller of one generation. ``patterns``: (prefix before ``*``, model), longest first.
    ``callers``: consumer, or ``consumer/key_id`` where a key has words of its own. ``facts``: (provider, model id) ->
    (price, catalogue) for patterns, filled by assembly for the names it knows; others are asked of ``match``."""

    models: dict[str, ModelPlan]
    patterns: tuple[tuple[str, ModelPlan], ...]
    providers: dict[str, ProviderPlan]
    callers: Callers
    dialects: dict[str, Dialect]
    facts: FactsOf
    several_tenants: bool = False
    """More than one tenant may ask: what a provider's account shows of all its objects is nobody's to see."""
    durability: Literal["process", "full"] = "process"
    """What the ledger's lines survive: a killed process, or a machine that loses power (LLM 10.1)."""
    keep: float = 90 * 86_400.0
    """Seconds for which ledger segments stay after everybody has read them."""


class Callers(Protocol):
    """Who may do what, found when first asked for."""

    def of(self, consumer: str, key_id: str, tenant: str) -> CallerPlan:
        """What a verified caller may do, with the bounds of its team and tenant. Somebody of *tenant* whom the config
        does not name, or names in another tenant, is bound by the tenant alone."""

    def get(self, key: str, /) -> CallerPlan | None:
        """*key*: a consumer, or ``consumer/key_id``. For names that come from the config only: a name that a token
        brings may hold a slash."""


class FactsOf(Protocol):
    """Price and catalogue row of a (provider, upstream model) that a pattern let through; remembered, bounded. Built by
    assembly; here so that the engine can name its type."""

    def of(self, provider: str, model: str) -> tuple[PriceRow | None, CatalogueRow]:
        """(None, unknown) for a name nobody knows."""

    def names(self, provider: str) -> tuple[str, ...]:
        """The models of *provider* that are known by name: what a pattern stands for in the catalogue."""


@dataclass(frozen=True, slots=True)
class LlmPlan:
    """A route's ``llm:`` (LLM 17). ``prefix``: the path of ``match``, so that the lane reads what follows the host."""

    raw: str = ""
    direct: bool = False
    provider: str = ""
    loss: Literal["report", "refuse"] = "report"
    expose: Literal["none", "basic", "full"] = "basic"
    hold: float = 10.0
    query_key: bool = False
    fetch_media: bool = False
    media_hosts: tuple[str, ...] = ()
    """Where from: names, ``*.example.com`` for all below; (): from anywhere public."""
    emulate: bool = False
    bill: Literal["winner", "all"] = "winner"
    body: int = 32 * 1024 * 1024
    multipart: int = 512 * 1024 * 1024
    first: float = 120.0
    idle: float = 60.0
    heartbeat: float = 15.0
