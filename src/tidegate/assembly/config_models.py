"""The part of a config that model surfaces run on: providers, models, tenants, budgets, the ledger (LLM 8 to 17).

As ``config``: values and their bounds only. Money is written in US dollars as a person would write it and kept as
nano-dollars; it never passes through a float's arithmetic.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from tidegate.assembly.config_contexts import LlmContexts
from tidegate.assembly.config_words import FieldName, FieldValue, Key, Moment, Name, Part, Section, unique
from tidegate.ports.settings import Duration, Rate, Share, Size, parse_duration
from tidegate.rules.pricing import dollars

NUSD: Final = 1_000_000_000
"""n$ in one US dollar."""
MOST_USD: Final = 1_000_000_000
"""A budget above a billion dollars is a typing error."""


def parse_usd(value: object) -> int:
    """Dollars as n$. A YAML number's shortest text is what was written, so nothing is lost."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise ValueError("an amount of dollars is written like 10 or 0.15")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("an amount of dollars is written like 10 or 0.15") from None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD:
        raise ValueError("an amount of dollars lies between 0 and a billion")
    nusd = amount * NUSD
    if nusd != nusd.to_integral_value():
        raise ValueError("an amount of dollars has at most nine decimals")
    return int(nusd)


Usd = Annotated[
    int,
    BeforeValidator(parse_usd),
    PlainSerializer(dollars, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}], "examples": [10, 0.15]}),
]
"""US dollars, kept as n$."""

Pattern = Annotated[str, StringConstraints(pattern=r"^[!-)+-~]{1,200}\*?$|^\*$")]
"""A model's name, or a beginning of names with ``*`` at its end."""
Unit = Literal[
    "input", "output", "cache_read", "cache_write", "cache_write_1h", "thinking", "audio_in", "audio_out", "image_in",
    "image_out", "characters", "seconds_in", "seconds_out", "images", "searches", "pages", "request",
]  # fmt: skip


def _free_or_units(value: object) -> str:
    return "units" if isinstance(value, dict) else "free"


Price = Annotated[
    Annotated[Literal["free"], Tag("free")] | Annotated[dict[Unit, Usd], Tag("units")],
    Discriminator(_free_or_units),
    Field(description="`free`, or US dollars per million units."),
]
"""``free``, or US dollars per million tokens (characters, seconds ...) by unit; ``request`` in dollars a request."""


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, dict) else value


class Budget(Section):
    """Money an owner may spend in a period (LLM 10)."""

    usd: Usd
    """US dollars."""
    per: Literal["day", "week", "month", "total"] = "month"
    """The period, in UTC; weeks begin on Monday; ``total`` never begins again."""


def _one_a_period(budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
    unique(tuple([budget.per for budget in budgets]))
    return budgets


Budgets = Annotated[
    tuple[Budget, ...],
    BeforeValidator(_one_or_many),
    Field(max_length=8),
    AfterValidator(_one_a_period),
]


class ModelLimits(Section):
    """How much an owner may ask for (LLM 10): requests and tokens in any period of that length, calls at once."""

    requests: Rate | None = None
    """Requests, like ``600/m``; unset: no bound."""
    tokens: Rate | None = None
    """Tokens, input and output, like ``200k/m``; the estimate is admitted, the difference settled."""
    in_flight: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Calls at once over all workers; unset: no bound."""


class ProviderLimits(ModelLimits):
    """What a provider is never asked to exceed."""

    in_flight: Annotated[int, Field(ge=1, le=1_000_000)] | None = 256
    """Calls at once: a bulkhead, so that one slow provider never holds all of the gateway."""


class ModelTimeouts(Section):
    """Times of calls to a model. Longer than those of services: official SDKs wait ten minutes."""

    connect: Annotated[Duration, Field(gt=0, le=60)] = 1.0
    """For one TCP connection; then the next target is tried."""
    tls: Annotated[Duration, Field(gt=0, le=60)] = 2.0
    """For one TLS handshake."""
    first: Annotated[Duration, Field(gt=0, le=3600)] = 120.0
    """Until the first content; then the next target is tried."""
    idle: Annotated[Duration, Field(gt=0, le=3600)] = 60.0
    """Between two events of a stream."""
    request: Annotated[Duration, Field(gt=0, le=86_400)] = 600.0
    """For the whole call: all its targets and its whole answer."""


class Provider(Section):
    """One account with one vendor. Besides these keys it takes those its preset asks for (``region`` ...)."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    name: Name
    """Unique among providers; targets refer to it."""
    use: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    """Its preset: ``openai``, ``anthropic``, ... or ``openai_compatible`` with a ``base_url``."""
    base_url: Annotated[str, StringConstraints(max_length=2048, pattern=r"^$|^https?://[!-~]+$")] = ""
    """Where it is; empty: the preset's address."""
    api_key: str = Field("", repr=False, json_schema_extra={"format": "password"}, max_length=16_384)
    """Its key; empty: from the environment variable the preset names. Best written as ``${NAME:-}``."""
    api_keys: Annotated[tuple[str, ...], Field(max_length=64, repr=False)] = ()
    """Several keys, taken in turn; each cools down by itself."""
    price: Price | None = None
    """Price of everything it serves: ``free``, or US dollars per million units. Unset: the catalogue's."""
    regions: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """Where it computes; consumers bound to a region never leave it."""
    headers: dict[FieldName, FieldValue] = Field(default_factory=dict, max_length=32)
    """Fields added to every call."""
    limits: ProviderLimits = ProviderLimits()
    """What it is never asked to exceed."""
    timeouts: ModelTimeouts = ModelTimeouts()
    """Times of its calls."""
    ca: str = ""
    """PEM file with the CAs to trust; empty: the system's."""
    verify: bool = True
    """False accepts any certificate: for tests only."""

    @property
    def settings(self) -> dict[str, Any]:
        """What its preset asks for."""
        return self.__pydantic_extra__ or {}

    @model_validator(mode="after")
    def _consistent(self) -> Provider:
        if self.api_key and self.api_keys:
            raise ValueError("api_key and api_keys exclude each other: write the one key into the list")
        return self


class ModelTarget(Section):
    """One provider's model that may answer."""

    provider: Name
    """The provider's name."""
    model: Annotated[str, StringConstraints(max_length=512)] = ""
    """What the provider calls the model; empty: the name that was asked for is passed on."""
    price: Price | None = None
    """Its price; unset: the model's, the provider's, the catalogue's."""
    weight: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 1.0
    """For strategies that weigh; 0 is only tried when all others cannot."""
    regions: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """Where it computes; empty: the provider's."""
    version: Annotated[str, StringConstraints(max_length=64)] = ""
    """API version to speak (``anthropic-version``); empty: the preset's."""
    limits: ModelLimits = ModelLimits()
    """What it is never asked to exceed."""


def _after(value: object) -> float:
    return 0.0 if value == "p95" else parse_duration(value)


class ModelHedge(Section):
    """A second target when the first is late; the first content wins (LLM 9)."""

    after: Annotated[
        float,
        BeforeValidator(_after),
        PlainSerializer(lambda v: f"{v!r}s" if v else "p95", return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "examples": ["p95", "3s"]}),
    ] = 0.0
    """When to start it: ``p95`` of the target's time to first content, or a fixed duration."""
    max: Literal[1] = 1
    """Targets besides the first."""
    share: Share = 5.0
    """Percent of calls that may be hedged: each is paid twice."""


class ModelStrategy(Part):
    """Which target first, and what happens when it fails (LLM 9)."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    retry: Annotated[int, Field(ge=0, le=3)] = 1
    """Tries of one target after its first, on faults that may pass."""
    cooldown: Annotated[Duration, Field(gt=0, le=3600)] = 30.0
    """Longest rest of a target that fails."""
    on: Annotated[tuple[Literal["length", "policy"], ...], Field(max_length=2)] = ()
    """Also try the next target when the input was too long for this one, or against its policy."""
    hedge: ModelHedge | None = None
    """A second target when the first is late; off by default."""
    cross: bool = False
    """Let a conversation in a loop of tools change its vendor, at the loss of sealed thoughts."""


class Clamp(Section):
    """Bounds on what a call may ask for; unset: none."""

    max_output: Annotated[int, Field(ge=1)] | None = None
    """Tokens of output."""
    max_input: Annotated[int, Field(ge=1)] | None = None
    """Tokens of input."""
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    """Choices of one call."""
    best_of: Annotated[int, Field(ge=1, le=128)] | None = None
    """Candidates of one text completion."""
    clamp: bool = False
    """Lower a value that is above, and say so in ``x-tidegate-clamped``; off: it is refused with 400."""


class PipelineStep(Section):
    """One step: it sees the request and what earlier steps said."""

    step: Name
    """Its name, for later steps."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The model it asks, by a concrete name."""
    input: dict[Name, Annotated[str, StringConstraints(max_length=16_384)]] = Field(default_factory=dict, max_length=16)
    """Texts for this step; ``{{ step.text }}`` stands for what a step said. Empty: the request as it is."""
    stop_if: dict[Literal["text"], str] | None = None
    """End the pipeline when this step says exactly this."""
    then: Name | None = None
    """The step whose output is the answer when ``stop_if`` holds; unset: this one."""


class PipelineRule(Section):
    """Everything that is given must hold."""

    task: str = ""
    """The wish ``tidegate-task``."""
    contains: str = ""
    """Text in the last user turn, in any case."""
    longer: Annotated[int, Field(ge=0)] = 0
    """More characters than this in the last user turn."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The model then."""


class PipelineRoute(Section):
    """Choice of a model by what is asked."""

    by: Literal["classifier", "rules"]
    """``classifier``: a model says which label fits; ``rules``: the first rule that holds."""
    model: str = ""
    """The classifier."""
    labels: dict[Name, str] = Field(default_factory=dict, max_length=64)
    """Label → model."""
    rules: Annotated[tuple[PipelineRule, ...], Field(max_length=64)] = ()
    """Rules, the first that holds."""
    default: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The model when nothing fits, or the classifier takes over 300 ms."""


class PipelineMap(Section):
    """Several models at once, or one chosen by what is asked. Exactly one of ``parallel`` and ``route``."""

    parallel: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """Models that are all asked."""
    quorum: Annotated[int, Field(ge=1, le=8)] = 1
    """Answers that are enough."""
    deadline: Annotated[Duration, Field(gt=0, le=3600)] | None = None
    """When those that have not answered are left out; unset: the call's own."""
    merge: Literal["first", "vote", "concat"] = "first"
    """``first`` answer, the one most agree on, or all of them one after the other."""
    route: PipelineRoute | None = None
    """Choose one model."""

    @model_validator(mode="after")
    def _consistent(self) -> PipelineMap:
        if bool(self.parallel) == (self.route is not None):
            raise ValueError("a pipeline has exactly one of parallel and route, or is a list of steps")
        if self.parallel and self.quorum > len(self.parallel):
            raise ValueError("quorum is above the number of models, so it could never be met")
        return self


def _map_or_steps(value: object) -> str:
    return "map" if isinstance(value, (dict, PipelineMap)) else "steps"


Steps = Annotated[tuple[PipelineStep, ...], Field(min_length=1, max_length=8)]


class Model(Section):
    """A name that clients ask for. Exactly one of ``targets`` and ``pipeline``."""

    name: Pattern
    """What clients ask for; ``*`` at the end takes every name that begins so, and passes it on."""
    targets: Annotated[tuple[ModelTarget, ...], Field(max_length=64)] = ()
    """Who may answer."""
    pipeline: (
        Annotated[Annotated[PipelineMap, Tag("map")] | Annotated[Steps, Tag("steps")], Discriminator(_map_or_steps)]
        | None
    ) = None
    """Steps one after the other, or a map of models side by side or by choice (LLM 14)."""
    strategy: ModelStrategy = ModelStrategy(use="fallback")
    """Which target first."""
    price: Price | None = None
    """Price of its targets that have none of their own."""
    default_output: Annotated[int, Field(ge=1)] | None = None
    """Output tokens counted on when a call names none; unset: the catalogue's maximum."""
    clamp: Clamp = Clamp()
    """Bounds on what a call may ask for."""
    budget: Budgets = ()
    """Money all calls of it together may cost."""
    limits: ModelLimits = ModelLimits()
    """What all calls of it together may ask for."""
    tasks: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """Tasks it is made for (``tidegate-task``)."""
    voices: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Voice of speech as clients name it → as the provider does; ``default``: of all others, told as a loss."""
    echo: Literal["provider", "asked"] = "provider"
    """What stands as ``model`` in answers."""
    loss: Literal["report", "refuse"] | None = None
    """What a target cannot say: reported in ``x-tidegate-loss``, or refused; unset: the route's."""
    tenant: Name | None = None
    """Only this tenant sees it; unset: all do."""
    retires: Moment | None = None
    """When it goes, like ``2027-01-31``: answers then say so in ``Sunset`` and ``Deprecation``; unset: never."""

    @model_validator(mode="after")
    def _consistent(self) -> Model:
        if bool(self.targets) == (self.pipeline is not None):
            raise ValueError("a model has exactly one of targets and pipeline")
        if not self.name.endswith("*") or self.pipeline is None:
            return self
        raise ValueError("a pattern cannot be a pipeline: it has no name to be priced by")


class ConsumerKey(Section):
    """One key of a consumer with words of its own: they only narrow what the consumer may."""

    key: Key = Field(repr=False)
    """The key, in clear here, as a digest everywhere else."""
    name: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._@-]{0,63})?$")] = ""
    """What it is called in records, unique among the consumer's keys; empty: by the first letters of its digest."""
    models: Annotated[tuple[Pattern, ...], Field(max_length=256)] | None = None
    """Models it may use; unset: the consumer's; empty: none."""
    budget: Budgets = ()
    """Money it may spend."""
    limits: ModelLimits = ModelLimits()
    """What it may ask for."""
    surfaces: Annotated[tuple[Name, ...], Field(max_length=32)] | None = None
    """Surfaces it may use (``chat``, ``embeddings`` ...); unset: all."""
    expires: Moment | None = None
    """When it ends, like ``2027-01-31T12:00:00Z``; unset: with its consumer."""


def key_or_words(value: object) -> str:
    """Which way of writing a key *value* is."""
    return "words" if isinstance(value, (dict, ConsumerKey)) else "key"


class Team(Section):
    """A group of consumers of a tenant."""

    name: Name
    """Unique within its tenant."""
    budget: Budgets = ()
    """Money its consumers together may spend."""
    limits: ModelLimits = ModelLimits()
    """What its consumers together may ask for."""


class Tenant(Section):
    """Whose consumers they are. Optional: a name used elsewhere makes a tenant without limits."""

    name: Name
    """Unique among tenants."""
    models: Annotated[tuple[Pattern, ...], Field(max_length=1024)] | None = None
    """Models it sees; unset: all."""
    budget: Budgets = ()
    """Money its consumers together may spend."""
    limits: ModelLimits = ModelLimits()
    """What its consumers together may ask for."""
    regions: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """Regions its calls never leave; empty: any."""
    teams: Annotated[tuple[Team, ...], Field(max_length=1000)] = ()
    """Its teams."""


class LedgerAuthority(Section):
    """Who lends budgets to workers."""

    use: Literal["local"] = "local"
    """``local``: the control process of this machine."""


class Ledger(Section):
    """Where costs are written down (LLM 10.1)."""

    durability: Literal["process", "full"] = "process"
    """``process``: a killed process loses nothing; ``full``: nor does a machine that loses power."""
    keep: Annotated[Duration, Field(ge=3600)] = 90 * 86_400.0
    """How long lines stay on disk after everybody has read them."""
    authority: LedgerAuthority = LedgerAuthority()
    """Who lends budgets to workers."""


MediaHost = Annotated[str, StringConstraints(pattern=r"^(\*\.)?([a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,62}$")]


class Llm(Section):
    """The model surfaces under a route's path (LLM 2)."""

    raw: Name | None = None
    """Pass everything under the path to this one provider, untouched: keys, limits and ledger only."""
    direct: bool = False
    """Let clients ask for ``provider/model`` besides the models of the config."""
    provider: Name | None = None
    """Owner of calls that name no model (files, batches); unset: the first provider that serves them."""
    loss: Literal["report", "refuse"] = "report"
    """What a target cannot say: reported in ``x-tidegate-loss``, or refused with 400."""
    expose: Literal["none", "basic", "full"] = "basic"
    """Fields of answers that tell model, cost and usage: none of them, the usual, or attempts and times too."""
    hold: Annotated[Duration, Field(gt=0, le=600)] = 10.0
    """How long the head of a stream waits for first content, so that another target can still answer."""
    query_key: bool = False
    """Take ``?key=`` as a credential, as old Gemini clients send it; it stands in logs of every proxy before."""
    fetch_media: bool | Annotated[tuple[MediaHost, ...], Field(max_length=64)] = False
    """Fetch media by URL for targets that take bytes only: from anywhere public, or from these hosts (``*.example.com``
    for all below)."""
    contexts: LlmContexts | None = None
    """Keep conversations: ``{}``. Clients then send what is new and the id of what it continues; unset: nothing is
    kept."""
    emulate: bool = False
    """Make structured output by a forced tool where a target has none."""
    bill: Literal["winner", "all"] = "winner"
    """Who pays for attempts that failed after bytes: the operator, or ``all`` by the client."""
    body: Annotated[Size, Field(ge=1024, le=1 << 30)] = 32 << 20
    """Largest JSON body."""
    multipart: Annotated[Size, Field(ge=1024, le=8 << 30)] = 512 << 20
    """Largest multipart body; it streams through and is never held whole."""
