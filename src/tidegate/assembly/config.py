"""The structure of a config, as pydantic models that mirror ``ports/plan`` by name. Values and their bounds only:

reading files is in ``read``, what one item says about another in ``check``, the settings of parts in the parts.
Every field says its unit, why its default is what it is, and the row of SEMANTICS that owns its meaning; the reference
(``docs/reference``) and the JSON Schema for editors are printed from here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from tidegate.assembly.config_contexts import ContextPolicy, PlaneContexts, Repository
from tidegate.assembly.config_models import (
    Budgets,
    ConsumerKey,
    Ledger,
    Llm,
    Model,
    ModelLimits,
    Pattern,
    Provider,
    Tenant,
    key_or_words,
)
from tidegate.assembly.config_words import (
    By,
    Condition,
    FieldName,
    FieldValue,
    Host,
    IdentitySource,
    Key,
    ListenAddress,
    Method,
    Moment,
    Name,
    Network,
    Part,
    Section,
    Statuses,
    Url,
    unique,
    words,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.settings import Duration, Share, Size, parse_duration
from tidegate.rules.canonical import canonical_path

LATER: Final = {
    "gateway": frozenset({
        "prompts", "contexts", "store", "authority", "secrets", "budgets", "records", "alerts", "teams", "guardrails",
        "embedders", "prices",
    }),
    "route": frozenset({"grpc", "prompt", "cache", "records", "guardrails"}),
    "model": frozenset({"shadow"}),
    "upstream": frozenset({"grpc", "descriptors"}),
    "split": frozenset({"schedule", "rollback"}),
}  # fmt: skip
"""Words the design knows and this version does not: the error says so, instead of guessing at a typing error."""


# -- listeners ---------------------------------------------------------------------------------------------------------


class Certificate(Section):
    cert: str
    """PEM file with the certificate and its chain; relative to the config file."""
    key: str
    """PEM file with the private key; should be readable by its owner only."""


class ListenerTls(Section):
    """TLS on a listener (S3.11): version 1.2 and up; SNI picks the certificate."""

    certificates: Annotated[tuple[Certificate, ...], Field(min_length=1, max_length=1000)]
    """Certificates, picked by the name a client asks for. New files are taken up on reload without cutting anyone."""
    default: bool = True
    """Serve the first certificate to clients that ask for an unknown name or none; false ends those
    handshakes (S3.11)."""
    client_ca: str = ""
    """PEM file with the CAs that client certificates must come from (S7.15)."""
    client_certificates: Literal["", "optional", "require"] = ""
    """Ask for client certificates: not at all (the default), ``optional`` or ``require`` (S7.15)."""
    crl: str = ""
    """PEM file with revoked client certificates (S7.15)."""

    @model_validator(mode="after")
    def _consistent(self) -> ListenerTls:
        if self.client_certificates and not self.client_ca:
            raise ValueError("client_certificates needs client_ca, the file with the CAs to trust")
        return self


class Listener(Section):
    """One address that takes traffic."""

    address: ListenAddress
    """IP address and port, like ``127.0.0.1:8080``, ``[::1]:8080``, or ``0.0.0.0:8080`` for every interface."""
    tls: ListenerTls | None = None
    """Certificates; without them the listener speaks plain HTTP."""
    proxy_protocol: bool = False
    """Expect PROXY protocol v1 or v2 before anything else; a connection without it is closed (S4.5). Off: whoever
    can reach the port could name any address."""
    h2c: bool = True
    """Does nothing yet, for there is no HTTP/2: whoever begins with its preface gets 505. Reserved for allowing HTTP/2
    without TLS by prior knowledge (S17.6)."""
    slashes: Literal["refuse", "merge"] = "refuse"
    """What ``//`` in a path gets: 400, because two readers read it differently, or ``merge`` into one (S4.9)."""


class Admin(Section):
    """The admin API (CONTROL 3). Without this section there is no admin port, only the socket in the data folder."""

    address: ListenAddress = "127.0.0.1:9080"
    """Where the admin API, ``/healthz``, ``/readyz`` and ``/metrics`` are served. Loopback by default: it can change
    everything."""
    token: str = Field("", repr=False, json_schema_extra={"format": "password"})
    """The admin token. Empty: ``TIDEGATE_ADMIN_TOKEN``, else a random one, printed once and kept in the data folder.
    Off loopback a token of at least 16 characters must be set (S23.3)."""


# -- upstreams ---------------------------------------------------------------------------------------------------------


class Target(Section):
    """One address, or a name that stands for several, of an upstream."""

    url: Url
    """``http://`` or ``https://`` with host, port and, if wanted, a path put before every request's path."""
    weight: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 1.0
    """Share of the traffic in proportion to the other targets; 0 gets nothing (S5.8)."""
    priority: Annotated[int, Field(ge=0, le=15)] = 0
    """Tier: 0 is used first, the next takes what spills over (S11.10)."""
    zone: Annotated[str, StringConstraints(max_length=64)] = ""
    """Where it stands; endpoints of the upstream's own zone are preferred (S11.10)."""
    location: tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-180, le=180)]] | None = None
    """Latitude and longitude in degrees, for ``geo_proximity`` (S11.8)."""


class Health(Section):
    """Active checks (S12.2): one prober per machine asks each endpoint."""

    tcp: bool = False
    """Only connect, do not ask anything."""
    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=2048)] = "/"
    """What to ask for."""
    method: Method = "GET"
    """How to ask."""
    host: Annotated[str, StringConstraints(max_length=255)] = ""
    """The Host field of a check; empty: the endpoint's own name."""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Ask on this port; 0: the target's own."""
    expect: Statuses = ("200-299",)
    """Statuses that pass; redirects are not followed (S12.4)."""
    body: Annotated[str, StringConstraints(max_length=1024)] = ""
    """Text that must occur in the first 1 KiB of the answer; empty: any."""
    interval: Annotated[Duration, Field(ge=0.1, le=3600)] = 1.0
    """Time between two checks of an endpoint, ±10 % so that checks never come in bursts (S12.2)."""
    timeout: Annotated[Duration, Field(ge=0.01, le=60)] = 0.5
    """A check that takes longer has failed."""
    fall: Annotated[int, Field(ge=1, le=100)] = 3
    """Failures in a row until an endpoint is down: one lost packet is not an outage."""
    rise: Annotated[int, Field(ge=1, le=100)] = 2
    """Passes in a row until it is up again."""


class Outlier(Section):
    """Passive detection: endpoints that answer badly are left out for a while (S12.6, S12.7)."""

    enabled: bool = True
    """Watch the answers of real requests."""
    consecutive_gateway: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Connect failures, resets, timeouts, 502, 503 or 504 in a row that eject an endpoint (Envoy's figure)."""
    consecutive_5xx: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Answers 5xx in a row that eject it (Envoy's figure)."""
    failure_share: Share = 85.0
    """Percent of failures within 10 s that ejects it, given enough requests."""
    failure_volume: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """Requests within 10 s below which ``failure_share`` says nothing."""
    stdev_factor: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1.9
    """Ejects endpoints whose success rate is so many standard deviations under the mean (Envoy's figure)."""
    eject_for: Annotated[Duration, Field(ge=0.1)] = 30.0
    """First ejection; the n-th in a row lasts n times as long (S12.7)."""
    max_eject_for: Annotated[Duration, Field(ge=0.1)] = 300.0
    """Longest ejection."""
    max_ejected: Share = 10.0
    """Percent of a tier that may be ejected at once; one endpoint always may, the last usable one never."""


class Breaker(Section):
    """Circuit breaker (S13.1 to S13.5), in the words of resilience4j."""

    failure_rate: Annotated[Share, Field(gt=0)] = 50.0
    """Percent of failures at which it opens."""
    slow_rate: Annotated[Share, Field(gt=0)] = 50.0
    """Percent of slow calls at which it opens."""
    slow_after: Annotated[Duration, Field(gt=0)] = 2.0
    """A call is slow when it takes longer than this."""
    window: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Results it judges by: the latest so many calls, or seconds with ``window_type: time``."""
    window_type: Literal["count", "time"] = "count"
    """Count calls or seconds."""
    min_calls: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Results below which it never opens: a dead upstream opens it within 20 failures, noise does not (S13.3)."""
    open_for: Annotated[Duration, Field(ge=0.1, le=3600)] = 4.0
    """How long it stays open before it lets test calls through (S13.4)."""
    half_open_calls: Annotated[int, Field(ge=1, le=1000)] = 4
    """Test calls it judges by when half open."""
    half_open_for: Annotated[Duration, Field(ge=0.1, le=3600)] = 10.0
    """Without all test results after this time it opens again."""
    scope: Literal["upstream", "endpoint"] = "upstream"
    """``upstream`` refuses calls when open; ``endpoint`` ejects the endpoint instead (S13.1)."""
    mode: Literal["auto", "disabled", "forced_open", "metrics_only"] = "auto"
    """``disabled`` never opens, ``forced_open`` always is, ``metrics_only`` counts without acting."""
    failure_statuses: Statuses = ("500-599",)
    """Answers that count as failures; 4xx, 429 and a client's own short deadline never do (S13.6)."""

    @model_validator(mode="after")
    def _consistent(self) -> Breaker:
        if self.window_type == "count" and self.min_calls > self.window:
            raise ValueError("min_calls is above window, so the breaker could never open (S13.3)")
        return self


class Retry(Section):
    """Retries (S14): only where nothing went to the client and the request may be repeated."""

    attempts: Annotated[int, Field(ge=0, le=4)] = 1
    """Tries after the first one. One: more amplifies an outage (S14.3)."""
    budget: Share = 10.0
    """Retries and hedges, in percent of first attempts over 10 s (S14.4)."""
    budget_floor: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 3.0
    """Retries a second that are always allowed, so that quiet upstreams can be retried at all."""
    base: Annotated[Duration, Field(le=60)] = 0.025
    """Longest wait before the first retry; it doubles each time, full jitter (S14.3)."""
    cap: Annotated[Duration, Field(le=60)] = 0.25
    """Longest wait before any retry."""
    on: Annotated[tuple[Annotated[int, Field(ge=500, le=599)], ...], Field(max_length=16)] = (502, 503, 504)
    """Answers that are tried again, besides failed connections and timeouts; never 500 by itself (S14.2)."""


def _after(value: object) -> float:
    return 0.0 if value == "p95" else parse_duration(value)


class Hedge(Section):
    """A second attempt when the first is slow; the first good answer wins (S14.7). Idempotent requests only."""

    after: Annotated[
        float,
        BeforeValidator(_after),
        PlainSerializer(lambda v: f"{v!r}s" if v else "p95", return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "examples": ["p95", "200ms"]}),
    ] = 0.0
    """When to start it: ``p95`` of the upstream (after 100 samples), or a fixed duration."""
    share: Share = 5.0
    """Percent of requests that may be hedged, so that a slow upstream never gets twice the load."""


class Bulkhead(Section):
    """How much of the gateway one upstream may hold (S13.9, S22.1)."""

    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Exchanges at once over all workers (Envoy's figure)."""
    max_waiting: Annotated[int, Field(ge=0, le=1_000_000)] = 1024
    """Exchanges that may wait for their turn; the next one is refused with 503."""
    max_wait: Annotated[Duration, Field(ge=0, le=60)] = 1.0
    """Longest wait; who waits longer is refused with 503 (S22.1)."""
    strict: bool = False
    """Serve priority 0 before all others instead of 8:4:2:1, which lets every level move."""
    adaptive: bool = True
    """Lower the limit by itself while the upstream gets slower (S22.6)."""


class SlowStart(Section):
    """New and recovered endpoints get traffic gradually, because their caches are cold (S12.9)."""

    window: Annotated[Duration, Field(le=3600)] = 10.0
    """Time until the full weight; 0 turns it off."""
    aggression: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] = 1.0
    """1 grows in a straight line, more grows faster at first."""
    floor: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.10
    """Fraction of the weight it starts with."""


class Timeouts(Section):
    """S15. The clock of ``request`` runs from the request's head to the answer's head."""

    connect: Annotated[Duration, Field(gt=0, le=60)] = 1.0
    """For one TCP connection; then the next endpoint is tried (S15.1)."""
    tls: Annotated[Duration, Field(gt=0, le=60)] = 2.0
    """For one TLS handshake (S15.1)."""
    attempt: Duration = 0.0
    """For one attempt; 0: only ``request`` bounds it (S15.2)."""
    request: Annotated[Duration, Field(gt=0)] = 30.0
    """For queue, attempts and waits together, up to the head of the answer; then 504 (S15.3)."""
    idle: Annotated[Duration, Field(gt=0)] = 300.0
    """Between two pieces of a body (S15.4)."""
    total: Duration = 0.0
    """For everything; 0: none, because it would cut long downloads (S15.5)."""


class RouteTimeouts(Section):
    """A route's own times; what is not given is the upstream's."""

    connect: Annotated[Duration, Field(gt=0, le=60)] | None = None
    """As ``upstreams[].timeouts.connect``."""
    tls: Annotated[Duration, Field(gt=0, le=60)] | None = None
    """As ``upstreams[].timeouts.tls``."""
    attempt: Duration | None = None
    """As ``upstreams[].timeouts.attempt``."""
    request: Annotated[Duration, Field(gt=0)] | None = None
    """As ``upstreams[].timeouts.request``."""
    idle: Annotated[Duration, Field(gt=0)] | None = None
    """As ``upstreams[].timeouts.idle``."""
    total: Duration | None = None
    """As ``upstreams[].timeouts.total``."""
    first: Annotated[Duration, Field(gt=0, le=3600)] | None = None
    """With ``llm`` only: until the first content of a target, then the next one is tried; unset: the provider's."""


class UpstreamTls(Section):
    """TLS toward ``https`` targets (S16.6): verified by default."""

    ca: str = ""
    """PEM file with the CAs to trust; empty: the system's."""
    cert: str = ""
    """PEM file with our certificate, when the upstream asks for one."""
    key: str = ""
    """PEM file with its private key."""
    server_name: Annotated[str, StringConstraints(max_length=255)] = ""
    """Name to ask for and to verify; empty: the target's host."""
    verify: bool = True
    """False accepts any certificate: for tests only."""

    @model_validator(mode="after")
    def _consistent(self) -> UpstreamTls:
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key belong together")
        return self


class Respond(Section):
    """A fixed answer. At most one of ``json``, ``text`` and ``body``."""

    model_config = ConfigDict(protected_namespaces=())

    status: Annotated[int, Field(ge=200, le=599)] = 200
    """Status of the answer."""
    json_: Annotated[JsonValue, Field(alias="json")] = None
    """Body as JSON, sent as ``application/json``."""
    text: str | None = None
    """Body as text, sent as ``text/plain; charset=utf-8``."""
    body: str | None = None
    """Body as it is; set ``content-type`` in ``headers``."""
    headers: dict[FieldName, FieldValue] = Field(default_factory=dict, max_length=64)
    """Fields of the answer."""

    @model_validator(mode="after")
    def _consistent(self) -> Respond:
        given = [n for n, v in (("json", "json_" in self.model_fields_set and self.json_ is not None),
                                ("text", self.text is not None), ("body", self.body is not None)) if v]  # fmt: skip
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: one body is enough")
        if given and self.status in (204, 205, 304):
            raise ValueError(f"an answer {self.status} has no body")
        for name in self.headers:
            if name in ("content-length", "transfer-encoding", "connection", "date", "upgrade", "trailer"):
                raise ValueError(f"{name} is the gateway's own field")
        return self


class Fallback(Section):
    """What is answered instead of a failure (S13.8). Exactly one of ``upstream`` and ``respond``."""

    on: Annotated[
        tuple[Literal["open", "no_healthy", "bulkhead", "timeout", "502", "503", "504"], ...],
        BeforeValidator(words),
        Field(min_length=1),
    ]
    """Failures it stands in for: an ``open`` breaker, ``no_healthy`` endpoint, a full ``bulkhead``, a ``timeout``, or
    an answer 502, 503 or 504."""
    upstream: Name | None = None
    """Ask this upstream instead."""
    respond: Respond | None = None
    """Give this answer instead."""

    @model_validator(mode="after")
    def _consistent(self) -> Fallback:
        if (self.upstream is None) == (self.respond is None):
            raise ValueError("a fallback has exactly one of upstream and respond")
        return self


class Batch(Section):
    """Upstream micro-batches (S22.8): POSTs to ``path`` become one POST of an array."""

    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=2048)]
    """Path whose POSTs are joined; each body is one JSON value."""
    max: Annotated[int, Field(ge=2, le=1024)] = 16
    """Requests in one batch."""
    wait: Annotated[Duration, Field(gt=0, le=1)] = 0.005
    """Longest wait for company; it is added to the latency."""


class Upstream(Section):
    """A named service and everything about how it is called."""

    name: Name
    """Unique among upstreams; routes refer to it."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=10_000)]
    """Its addresses."""
    balancer: Part = Part(use="power_of_two")
    """How an endpoint is chosen; ``power_of_two`` is near the best spread without a scan (S11.1)."""
    discovery: Part | None = None
    """Where endpoints come from: ``static``, or ``dns`` to follow the names in ``targets``. Unset: names are resolved
    by DNS, addresses stay as they are (S16.7)."""
    health: Health | None = None
    """Active checks; unset: endpoints count as up, and passive detection alone watches them."""
    outlier: Outlier = Outlier()
    """Passive detection; on by default."""
    breaker: Breaker = Breaker()
    """Circuit breaker; on by default."""
    retry: Retry = Retry()
    """Retries."""
    hedge: Hedge | None = None
    """Hedged requests; off by default, because they cost load."""
    bulkhead: Bulkhead = Bulkhead()
    """Concurrency limit and queue."""
    slow_start: SlowStart = SlowStart()
    """Gradual traffic for new endpoints."""
    timeouts: Timeouts = Timeouts()
    """Times."""
    tls: UpstreamTls = UpstreamTls()
    """TLS toward ``https`` targets."""
    fallback: Annotated[tuple[Fallback, ...], Field(max_length=16)] = ()
    """Stand-ins for failures, the first that fits."""
    batch: Batch | None = None
    """Micro-batches; off by default."""
    host: Annotated[str, StringConstraints(max_length=255)] = ""
    """The Host field it gets: ``preserve`` the client's, ``upstream`` for the target's name, or a fixed name. Empty:
    the client's, but the target's name for ``https`` targets given by DNS name (S4.8)."""
    warm: Annotated[int, Field(ge=0, le=256)] = 1
    """Connections opened to each endpoint before the gateway is ready (S16.2)."""
    max_connections: Annotated[int, Field(ge=1, le=65_535)] = 256
    """HTTP/1.1 connections to one endpoint from one worker (S16.1)."""
    panic: Share = 50.0
    """Percent of usable endpoints under which a tier of five or more is used whole, because the few healthy ones
    would break next (S12.8); 0 turns it off."""
    at_zero: Literal["fail", "try_all"] = "fail"
    """With no usable endpoint: answer 503 at once, or try all of them (S12.8)."""
    zone: Annotated[str, StringConstraints(max_length=64)] = ""
    """Where this gateway stands: with six or more endpoints, those of this zone are preferred (S11.10)."""


# -- consumers ---------------------------------------------------------------------------------------------------------


class Consumer(Section):
    """A caller with credentials of its own. More are made at run time through the admin API."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")]
    """Unique among consumers; what limits, records and upstreams know it by."""
    keys: tuple[
        Annotated[Annotated[Key, Tag("key")] | Annotated[ConsumerKey, Tag("words")], Discriminator(key_or_words)], ...
    ] = Field((), max_length=64, repr=False)
    """API keys, in clear here, as digests everywhere else (S7.8). 8 to 4096 visible ASCII characters each; or
    mappings, for keys that may do less than their consumer."""
    tags: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    """Groups it belongs to, for ``authorize`` (S8.1)."""
    scopes: Annotated[tuple[str, ...], Field(max_length=256)] = ()
    """What its keys may do, for ``authorize`` (S8.1)."""
    tenant: Name = "default"
    """Whose consumer it is; the first element of every key of a limit."""
    priority: Annotated[int, Field(ge=0, le=3)] | None = None
    """Its level in queues: 0 critical, 1 high, 2 normal, 3 low; unset: the route's (S22.2)."""
    basic: Annotated[str, StringConstraints(max_length=1024)] | None = Field(None, repr=False)
    """argon2id hash of its password for the filter ``basic`` (S7.17), as ``$argon2id$...``."""
    hmac: Annotated[str, StringConstraints(min_length=16, max_length=4096)] | None = Field(None, repr=False)
    """Shared secret for the filter ``hmac`` (S7.16), at least 16 characters; better as ``${file:...}``."""
    expires: Moment | None = None
    """When its credentials end, like ``2027-01-31T12:00:00Z``; unset: never."""
    disabled: bool = False
    """Refuse its credentials without forgetting them."""
    team: Name | None = None
    """Its team within its tenant; unset: none."""
    models: Annotated[tuple[Pattern, ...], Field(max_length=1024)] | None = None
    """Models it may use, by name or by beginning; unset: all its tenant sees; empty: none."""
    aliases: dict[Annotated[str, StringConstraints(min_length=1, max_length=200)],
                  Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(
        default_factory=dict, max_length=64)  # fmt: skip
    """Names of its own for models: as it asks → the model meant."""
    budget: Budgets = ()
    """Money it may spend on models."""
    limits: ModelLimits = ModelLimits()
    """What it may ask of models."""
    regions: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """Regions its calls of models never leave; empty: its tenant's."""

    @property
    def key_texts(self) -> list[str]:
        """Its keys in clear."""
        return [key if isinstance(key, str) else key.key for key in self.keys]


# -- routes ------------------------------------------------------------------------------------------------------------


class Match(Section):
    """Which requests a route takes. Of several that fit, the most particular wins (S5.2)."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=4096)] = "/"
    """A path takes itself and everything under it, by segments: ``/v2`` takes ``/v2/x``, not ``/v2x`` (S5.3)."""
    exact: bool = False
    """Take only this very path."""
    template: bool = False
    """``path`` is a template: ``/users/{id}``, ``*`` for one segment, ``**`` for the rest (S18.5)."""
    regex: bool = False
    """``path`` is an RE2 expression that must fit the whole path (S5.3)."""
    hosts: Annotated[tuple[Host, ...], AfterValidator(unique), Field(max_length=1000)] = ()
    """Host names, ``*.api.example`` for any depth under it; empty: every host (S5.1)."""
    methods: Annotated[tuple[Method, ...], AfterValidator(unique), Field(max_length=64)] = ()
    """Methods; empty: every known one. Listing an unknown method makes it known. GET also takes HEAD (S5.5)."""
    headers: dict[FieldName, Condition] = Field(default_factory=dict, max_length=32)
    """Request fields that must have exactly these values (S5.4)."""
    query: dict[str, Condition] = Field(default_factory=dict, max_length=32)
    """Query parameters whose first value must be this one (S5.4)."""

    @model_validator(mode="after")
    def _consistent(self) -> Match:
        if self.exact + self.template + self.regex > 1:
            raise ValueError("exact, template and regex exclude each other")
        if not self.regex and not self.path.startswith("/"):
            raise ValueError("a path begins with /")
        if self.kind in ("prefix", "exact"):
            if "{" in self.path or "}" in self.path:
                raise ValueError("a path with {variables} needs template: true beside it")
            try:
                canonical, _ = canonical_path(self.path)
            except Fault as fault:
                raise ValueError(f"no request has this path (S4.9): {fault.detail}") from None
            if canonical != self.path:
                raise ValueError(f"no request has this path in this spelling (S4.9): write {canonical}")
        return self

    @property
    def kind(self) -> Literal["prefix", "exact", "template", "regex"]:
        """How ``path`` is read."""
        if self.exact:
            return "exact"
        return "template" if self.template else "regex" if self.regex else "prefix"


class Arm(Section):
    upstream: Name
    """The upstream of this arm."""
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Share of the traffic in proportion to the other arms; 0 gets nothing."""
    header: dict[FieldName, FieldValue] = Field(default_factory=dict, max_length=16)
    """Fields added to what this arm's upstream receives."""


class Split(Section):
    """Canary and A/B (S23.7): the same unit always meets the same arm."""

    by: By = "consumer"
    """The unit: ``consumer``, ``ip``, ``path``, ``header:NAME`` or ``cookie:NAME``; a request without it gets a sealed
    cookie."""
    arms: Annotated[tuple[Arm, ...], Field(min_length=1, max_length=32)]
    """The upstreams and their weights."""
    force: FieldName | None = None
    """Name of a request field with which a client may pick an arm by its upstream's name; off by default (C7.3)."""

    @model_validator(mode="after")
    def _consistent(self) -> Split:
        if not any(arm.weight for arm in self.arms):
            raise ValueError("every weight is 0, so nothing would ever be served (S5.8)")
        unique(tuple(arm.upstream for arm in self.arms))
        return self


class Redirect(Section):
    """A redirect (S5.6); what is not given stays as the request has it, the query always does."""

    status: Literal[301, 302, 303, 307, 308] = 302
    """302: nothing is remembered by clients, so a mistake can be undone."""
    scheme: Literal["http", "https"] | None = None
    """New scheme."""
    host: Host | None = None
    """New host."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """New port; left out of the address when it is the scheme's own."""
    path: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=2048)] | None = None
    """New path."""
    prefix: Annotated[str, StringConstraints(pattern=r"^/[!-~]*$", max_length=2048)] | None = None
    """What the matched prefix is replaced by."""

    @model_validator(mode="after")
    def _consistent(self) -> Redirect:
        if self.path is not None and self.prefix is not None:
            raise ValueError("path and prefix exclude each other")
        if (self.scheme, self.host, self.port, self.path, self.prefix) == (None,) * 5:
            raise ValueError("a redirect that changes nothing would never end")
        return self


ACTIONS: Final = ("upstream", "split", "respond", "redirect", "llm", "contexts")


class Route(Section):
    """What happens to the requests it takes: ``match`` and exactly one of ``upstream split respond redirect llm
    contexts``."""

    name: Name
    """Unique among routes; what records and metrics call it."""
    match: Match
    """Which requests it takes."""
    filters: Annotated[tuple[Part, ...], Field(max_length=64)] = ()
    """What is done to a request, in this order, and to its answer, in the reverse order."""
    upstream: Name | None = None
    """Ask this upstream. WebSocket upgrades are tunnelled to it."""
    split: Split | None = None
    """Ask one of several upstreams, by weight."""
    respond: Respond | None = None
    """Give this answer."""
    redirect: Redirect | None = None
    """Send the client elsewhere."""
    llm: Llm | None = None
    """Serve model surfaces under the path: ``{}`` for all of them. Its ``timeouts`` are those of calls to models:
    ``request`` is 10 minutes by default."""
    contexts: PlaneContexts | None = None
    """Serve the context plane under the path: ``{}``. With it come, beside the path and with the same filters,
    ``context-templates`` and ``context-dictionaries``, and ``/.well-known/crp`` for everyone."""
    priority: Annotated[int, Field(ge=0, le=3)] = 2
    """Level in queues: 0 critical, 1 high, 2 normal, 3 low; a consumer's own wins (S22.2)."""
    timeouts: RouteTimeouts | None = None
    """Times that differ from the upstream's."""
    encoded_slash: Literal["refuse", "keep"] = "refuse"
    """What ``%2F`` in a path gets: 400, because two readers read it differently, or ``keep`` (S4.9)."""
    path_params: Literal["refuse", "keep"] = "refuse"
    """What ``;`` in a path gets: 400, or ``keep`` it as part of its segment (S4.10)."""
    request_trailers: Literal["drop", "forward"] = "drop"
    """What becomes of fields after a chunked request body (S2.7)."""
    propagate_deadline: bool = False
    """Tell the upstream the time left as ``X-Request-Timeout`` (S15.7)."""
    finish_on_disconnect: bool = False
    """Let the upstream finish when the client has gone (S15.8); off: it is cancelled."""
    allow_idempotency_key: bool = True
    """Take ``Idempotency-Key`` as the client's word that a POST may be retried (S14.1)."""
    identity_fields: dict[FieldName, IdentitySource] = Field(default_factory=dict, max_length=16)
    """Fields that tell the upstream who calls: ``{x-consumer-id: consumer, x-email: "claim:email"}``; clients cannot
    forge them (S7.6)."""
    log_query: Annotated[tuple[Annotated[str, StringConstraints(min_length=1, max_length=64)], ...],
                        Field(max_length=16)] = ()  # fmt: skip
    """Query parameters that may stand in records; others never do (S26.11)."""

    @model_validator(mode="after")
    def _consistent(self) -> Route:
        given = [name for name in ACTIONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            words = f"{', '.join(ACTIONS[:-1])} and {ACTIONS[-1]}"
            raise ValueError(f"a route has exactly one of {words}; here: {found}")
        if self.redirect is not None and self.redirect.prefix is not None and self.match.kind != "prefix":
            raise ValueError("redirect.prefix needs a match on a path prefix")
        if self.llm is not None and self.match.kind != "prefix":
            raise ValueError("llm needs a match on a path prefix: what follows says which surface is meant")
        if self.contexts is not None and self.match.kind != "prefix":
            raise ValueError("contexts needs a match on a path prefix: what follows says which context is meant")
        if self.llm is None and self.timeouts is not None and self.timeouts.first is not None:
            raise ValueError("timeouts.first is for routes with llm; here, timeouts.request bounds the answer's head")
        return self

    @property
    def lane(self) -> Literal["http", "respond", "redirect", "llm", "contexts"]:
        """Which lane of the engine carries it."""
        if self.contexts is not None:
            return "contexts"
        if self.llm is not None:
            return "llm"
        return "respond" if self.respond is not None else "redirect" if self.redirect is not None else "http"

    @property
    def upstreams(self) -> list[str]:
        """The upstreams it may ask."""
        if self.split is not None:
            return [arm.upstream for arm in self.split.arms]
        return [self.upstream] if self.upstream is not None else []


# -- the gateway -------------------------------------------------------------------------------------------------------


class Forwarded(Section):
    """Client addresses and what upstreams and clients are told about the way (S4.3 to S4.5)."""

    source: Annotated[
        str, StringConstraints(pattern=r"^(x-forwarded-for|forwarded|field:[A-Za-z0-9-]{1,64}|right:[1-9][0-9]?)$")
    ] = "x-forwarded-for"
    """Where a trusted proxy names the client: ``x-forwarded-for``, ``forwarded``, ``field:NAME``, or ``right:N`` for
    the n-th entry from the right."""
    send: bool = False
    """Also send ``Forwarded`` (RFC 7239) upstream."""
    via: bool = True
    """Append ``Via`` to requests, which also finds loops; RFC 9110 demands it (S4.3)."""


class Tracing(Section):
    """W3C trace context (S26.9)."""

    trust: bool = True
    """Continue traces of clients that are not trusted proxies; false starts new ones."""
    share: Share = 100.0
    """Percent of new traces that are sampled."""


class Limits(Section):
    """Sizes and times of client connections (S2, S3). Each default stands well above what honest clients need."""

    request_line: Annotated[Size, Field(ge=256, le=1 << 20)] = 8192
    """Request line; RFC 9112 asks for 8,000 bytes (S3.1)."""
    field_count: Annotated[int, Field(ge=8, le=10_000)] = 100
    """Fields of a head (S3.2)."""
    field_size: Annotated[Size, Field(ge=256, le=1 << 20)] = 16 * 1024
    """One field; above real cookies and tokens (S3.2)."""
    head_size: Annotated[Size, Field(ge=1024, le=1 << 20)] = 32 * 1024
    """All fields together (S3.2)."""
    head_timeout: Annotated[Duration, Field(gt=0, le=600)] = 10.0
    """For a whole head, after its first byte (S3.6)."""
    body_rate: Annotated[Size, Field(le=1 << 30)] = 1024
    """Bytes a second that a request body must keep up (S3.7)."""
    body_rate_window: Annotated[Duration, Field(gt=0, le=600)] = 10.0
    """Time over which ``body_rate`` is measured."""
    keep_alive: Annotated[Duration, Field(gt=0, le=3600)] = 75.0
    """Idle time of a connection: over the 60 s of common balancers in front, so that they close first (S3.10)."""
    keep_alive_requests: Annotated[int, Field(ge=1)] = 10_000
    """Requests on one connection (S3.10)."""
    stuck_client: Annotated[Duration, Field(gt=0, le=3600)] = 30.0
    """A client that takes nothing for so long is cut off (S3.8)."""
    tls_handshake: Annotated[Duration, Field(gt=0, le=600)] = 10.0
    """For the TLS handshake of a client (S3.11)."""
    response_buffer: Annotated[Size, Field(ge=1024, le=1 << 30)] = 10 * 1024 * 1024
    """Answer body, where a filter must hold it whole (S3.12)."""
    per_address: Share = 75.0
    """Percent of a worker's connections that one client address may hold; trusted proxies are exempt (S3.9)."""


class Drain(Section):
    """How a stop goes (S23.5); together they fit the usual 30 s of grace."""

    accept: Annotated[Duration, Field(le=3600)] = 5.0
    """Go on accepting while balancers in front learn that this gateway is leaving."""
    finish: Annotated[Duration, Field(le=3600)] = 20.0
    """Then let exchanges finish; what is left is aborted."""


class Faults(Section):
    """Fault injection (S25.2)."""

    allow: bool = False
    """Let the filter ``fault_injection`` act; off: it never does."""


class Gateway(Section):
    """The whole config."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = "tidegate"
    """This gateway's name in ``Via`` and ``Proxy-Status``; give each gateway of a chain its own (S4.3)."""
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1, max_length=64)]
    """Addresses that take traffic."""
    admin: Admin | None = None
    """Admin API; unset: no port, only the socket in the data folder (S23.3)."""
    data: Annotated[str, StringConstraints(min_length=1, max_length=4096)] = "./tidegate-data"
    """Folder for everything the gateway keeps; relative to the config file. One gateway a folder."""
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Worker processes; 0: one for each CPU."""
    upstreams: tuple[Upstream, ...] = ()
    """Services behind the gateway."""
    providers: Annotated[tuple[Provider, ...], Field(max_length=1000)] = ()
    """Accounts with vendors of models."""
    models: Annotated[tuple[Model, ...], Field(max_length=10_000)] = ()
    """Names that clients ask for, and who answers."""
    tenants: Annotated[tuple[Tenant, ...], Field(max_length=10_000)] = ()
    """Whose consumers those are; only needed for what a tenant's consumers share."""
    ledger: Ledger = Ledger()
    """Where costs of model calls are written down."""
    repository: Repository | None = None
    """Where conversations are kept; unset: ``sqlite`` in the data folder, once a route has contexts."""
    context_policies: Annotated[tuple[ContextPolicy, ...], Field(max_length=1000)] = ()
    """What gives way when conversations do not fit; ``chat-default``, ``agent-default``, ``verbatim`` are there."""
    consumers: tuple[Consumer, ...] = ()
    """Callers with credentials."""
    routes: tuple[Route, ...] = ()
    """What is served."""
    include: Annotated[tuple[str, ...], Field(max_length=256)] = ()
    """More files (YAML, or JSON for big lists), relative to this one; their lists are appended to these."""
    trusted_proxies: Annotated[tuple[Network, ...], Field(max_length=10_000)] = ()
    """Networks whose forwarding fields are believed. Nobody by default: a client could name any address (S4.4)."""
    forwarded: Forwarded = Forwarded()
    """Client addresses, ``Forwarded`` and ``Via``."""
    tracing: Tracing = Tracing()
    """Trace context."""
    limits: Limits = Limits()
    """Sizes and times of client connections."""
    drain: Drain = Drain()
    """How a stop goes."""
    sinks: Annotated[tuple[Part, ...], Field(max_length=16)] = ()
    """Where records go. Empty: ``access_log``, one JSON line for each exchange in the data folder (S26.11)."""
    faults: Faults = Faults()
    """Fault injection; forbidden by default."""
    debug_scope: Annotated[str, StringConstraints(min_length=1, max_length=128)] = "debug"
    """Scope a caller needs to see ``Server-Timing`` and the decision trace (S26.10)."""
