"""The Plan: everything decided, frozen. The only thing the engine is given; names mirror ``assembly/config.py``.

Times are seconds (float), sizes bytes, shares percent. Objects of parts (filters, balancers, sinks) are in here
already built. A reload builds another Plan and swaps one reference; an exchange ends on the Plan it began with.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import Answer
from tidegate.ports.balancer import Balancer
from tidegate.ports.contexts import ContextsPlan, RouteContexts
from tidegate.ports.models import LlmPlan, ModelsPlan
from tidegate.ports.sink import Sink


@dataclass(frozen=True, slots=True)
class CertificatePlan:
    cert: str
    key: str


@dataclass(frozen=True, slots=True)
class ListenerTlsPlan:
    """``client_certificates``: ``""``, ``optional`` or ``require``. The first certificate is the default one when
    ``default`` is true; otherwise an unknown SNI is refused (S3.11)."""

    certificates: tuple[CertificatePlan, ...]
    client_ca: str = ""
    client_certificates: str = ""
    crl: str = ""
    default: bool = True


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """``name`` is the address as written; identity of its socket over reloads."""

    name: str
    host: str
    port: int
    tls: ListenerTlsPlan | None = None
    proxy_protocol: bool = False
    h2c: bool = True
    merge_slashes: bool = False


@dataclass(frozen=True, slots=True)
class TimeoutsPlan:
    """S15. ``attempt`` and ``total`` 0.0: none of its own."""

    connect: float = 1.0
    tls: float = 2.0
    attempt: float = 0.0
    request: float = 30.0
    idle: float = 300.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class TargetPlan:
    scheme: str
    host: str
    port: int
    weight: float = 1.0
    priority: int = 0
    zone: str = ""
    location: tuple[float, float] | None = None
    base_path: str = ""


@dataclass(frozen=True, slots=True)
class HealthPlan:
    """Active checks (S12.2, S12.4). ``kind`` is ``http`` or ``tcp``."""

    kind: str = "http"
    path: str = "/"
    method: str = "GET"
    host: str = ""
    port: int = 0
    expect: tuple[tuple[int, int], ...] = ((200, 299),)
    body: str = ""
    interval: float = 1.0
    timeout: float = 0.5
    fall: int = 3
    rise: int = 2


@dataclass(frozen=True, slots=True)
class OutlierPlan:
    """Passive detection (S12.6, S12.7); ``enabled: false`` turns it off."""

    enabled: bool = True
    consecutive_gateway: int = 5
    consecutive_5xx: int = 5
    failure_share: float = 85.0
    failure_volume: int = 50
    stdev_factor: float = 1.9
    eject_for: float = 30.0
    max_eject_for: float = 300.0
    max_ejected: float = 10.0


@dataclass(frozen=True, slots=True)
class BreakerPlan:
    """S13.1-S13.5 in resilience4j's words. ``window_type`` is ``count`` or ``time``; ``scope`` ``upstream`` or
    ``endpoint``; ``mode`` ``auto disabled forced_open metrics_only``."""

    failure_rate: float = 50.0
    slow_rate: float = 50.0
    slow_after: float = 2.0
    window: int = 100
    window_type: str = "count"
    min_calls: int = 20
    open_for: float = 4.0
    half_open_calls: int = 4
    half_open_for: float = 10.0
    scope: str = "upstream"
    mode: str = "auto"
    failure_statuses: tuple[tuple[int, int], ...] = ((500, 599),)


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """S14. ``budget`` percent of first attempts over 10 s, at least ``budget_floor`` a second."""

    attempts: int = 1
    budget: float = 10.0
    budget_floor: float = 3.0
    base: float = 0.025
    cap: float = 0.25
    on: tuple[int, ...] = (502, 503, 504)


@dataclass(frozen=True, slots=True)
class HedgePlan:
    """S14.7. ``after`` 0.0: the upstream's p95."""

    after: float = 0.0
    share: float = 5.0


@dataclass(frozen=True, slots=True)
class BulkheadPlan:
    """S13.9, S22.1."""

    max_in_flight: int = 1024
    max_waiting: int = 1024
    max_wait: float = 1.0
    strict: bool = False
    adaptive: bool = True


@dataclass(frozen=True, slots=True)
class SlowStartPlan:
    """S12.9. ``window`` 0.0: off."""

    window: float = 10.0
    aggression: float = 1.0
    floor: float = 0.10


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """S22.8: JSON bodies of POSTs to ``path`` become one array."""

    path: str
    max: int = 16
    wait: float = 0.005


@dataclass(frozen=True, slots=True)
class FallbackPlan:
    """S13.8. ``on``: ``open no_healthy bulkhead timeout 502 503 504``; exactly one of ``upstream`` (its name) and
    ``answer``."""

    on: frozenset[str]
    upstream: str = ""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class UpstreamTlsPlan:
    """``files``: what tells the state of its files from another, so that a new certificate is a new plan (S3.11)."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    server_name: str = ""
    verify: bool = True
    files: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DiscoveryPlan:
    """Where an upstream's addresses come from, for control; the engine only hears addresses. ``settings`` are JSON."""

    use: str = "dns"
    settings: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class UpstreamPlan:
    """A named service. ``host``: ``preserve``, ``upstream`` or a fixed name; "" for the rule of S4.8."""

    name: str
    targets: tuple[TargetPlan, ...]
    balancer: Balancer
    balancer_use: str = "power_of_two"
    health: HealthPlan | None = None
    outlier: OutlierPlan = field(default_factory=OutlierPlan)
    breaker: BreakerPlan = field(default_factory=BreakerPlan)
    retry: RetryPlan = field(default_factory=RetryPlan)
    hedge: HedgePlan | None = None
    bulkhead: BulkheadPlan = field(default_factory=BulkheadPlan)
    slow_start: SlowStartPlan = field(default_factory=SlowStartPlan)
    timeouts: TimeoutsPlan = field(default_factory=TimeoutsPlan)
    tls: UpstreamTlsPlan = field(default_factory=UpstreamTlsPlan)
    fallback: tuple[FallbackPlan, ...] = ()
    batch: BatchPlan | None = None
    host: str = ""
    warm: int = 1
    max_connections: int = 256
    panic: float = 50.0
    at_zero: str = "fail"
    zone: str = ""
    discovery: DiscoveryPlan = field(default_factory=DiscoveryPlan)


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """One arm of a split; ``fields`` are added to what its upstream receives."""

    upstream: str
    weight: int
    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """S23.7. ``by``: ``consumer``, ``ip``, ``header:NAME`` or ``cookie:NAME``; ``salt`` is the route's name;
    ``force`` names a header with which a client may pick an arm."""

    arms: tuple[ArmPlan, ...]
    by: str = "consumer"
    salt: str = ""
    force: str = ""
    pick: Callable[[Exchange], int] | None = None
    """Built by assembly from ``rules/traffic_split``: the arm's index."""


@dataclass(frozen=True, slots=True)
class RedirectPlan:
    """S5.6. None keeps that piece of the request's own URL."""

    status: int = 302
    scheme: str | None = None
    host: str | None = None
    port: int | None = None
    path: str | None = None
    prefix: str | None = None


Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class HookPlan:
    """One hook of one filter, ready to call. ``task``: an ``async def`` of a part that is not ``stepped``."""

    call: Hook
    filter: str
    task: bool = False


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """One route, everything on it decided. Hooks are tuples of bound methods picked at build time.

    ``lane``   ``http`` (upstream or split), ``llm``, ``contexts``, ``respond``, ``redirect``
    ``open``   no authentication filter: anyone may call (S7.1)
    ``wants_chunks`` / ``wants_body`` hold, for each filter with such a hook, its optional asking method or None
    """

    name: str
    lane: str
    upstream: str = ""
    split: SplitPlan | None = None
    respond: Answer | None = None
    redirect: RedirectPlan | None = None
    on_request_head: tuple[HookPlan, ...] = ()
    on_request_body: tuple[HookPlan, ...] = ()
    wants_request_body: tuple[Hook | None, ...] = ()
    """One entry for each of ``on_request_body``: its filter's asking method, or None (always wanted)."""
    on_attempt: tuple[Hook, ...] = ()
    on_response_head: tuple[Hook, ...] = ()
    on_response_chunk: tuple[tuple[Hook, Hook | None], ...] = ()
    on_response_body: tuple[tuple[HookPlan, Hook | None], ...] = ()
    on_done: tuple[Hook, ...] = ()
    filters: tuple[str, ...] = ()
    prefix: str = "/"
    """The path of ``match`` when its kind is prefix (redirects and rewrites swap it)."""
    open: bool = True
    priority: int = 2
    timeouts: TimeoutsPlan | None = None
    """None: the upstream's own."""
    body_limit: int = 10 * 1024 * 1024
    methods: frozenset[str] = frozenset()
    encoded_slash: bool = False
    path_params: bool = False
    request_trailers: bool = False
    propagate_deadline: bool = False
    finish_on_disconnect: bool = False
    allow_idempotency_key: bool = True
    identity_fields: tuple[tuple[str, str], ...] = ()
    """S7.6: (field to set upstream, ``consumer`` | ``tenant`` | ``claim:NAME``)."""
    log_query: tuple[str, ...] = ()
    llm: LlmPlan | None = None
    """With ``lane`` ``llm``. ``timeouts`` is then always set (``request`` 600 s by default: what SDKs wait)."""
    contexts: RouteContexts | None = None
    """With ``lane`` ``contexts``, and with ``llm`` where its calls may use contexts."""


class Router(Protocol):
    """``rules/match_route``, built."""

    def find(
        self, host: str, path: str, method: str, index: dict[str, str], query: str
    ) -> tuple[RoutePlan, dict[str, str] | None] | tuple[str, ...]:
        """(route, captures) or the allowed methods when only the method was wrong; () when nothing matches."""

    def find_preflight(
        self, host: str, path: str, announced: str, index: dict[str, str], announced_headers: Set[str], query: str
    ) -> tuple[RoutePlan, dict[str, str] | None] | tuple[str, ...]:
        """The route of the request that a CORS preflight announces (S21.1)."""


@dataclass(frozen=True, slots=True)
class TracingPlan:
    """``trust``: continue the trace of untrusted peers too. ``share``: percent of new traces sampled."""

    trust: bool = True
    share: float = 100.0


@dataclass(frozen=True, slots=True)
class LimitsPlan:
    """Sizes and times of the connection side (S2, S3)."""

    request_line: int = 8192
    field_count: int = 100
    field_size: int = 16 * 1024
    head_size: int = 32 * 1024
    head_timeout: float = 10.0
    body_rate: int = 1024
    body_rate_window: float = 10.0
    keep_alive: float = 75.0
    keep_alive_requests: int = 10_000
    stuck_client: float = 30.0
    tls_handshake: float = 10.0
    response_buffer: int = 10 * 1024 * 1024
    per_address: float = 75.0
    """Percent of a worker's connections that one client address may hold (S3.9)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One generation."""

    generation: int
    name: str
    """The gateway's name in ``Via`` and ``Proxy-Status``."""
    listeners: tuple[ListenerPlan, ...]
    router: Router
    routes: tuple[RoutePlan, ...]
    upstreams: dict[str, UpstreamPlan]
    sinks: tuple[Sink, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    forwarded_source: str = "x-forwarded-for"
    """S4.4: ``x-forwarded-for``, ``forwarded``, ``field:NAME`` or ``right:N``."""
    send_forwarded: bool = False
    via: bool = True
    identity_names: frozenset[str] = frozenset()
    """Fields configured to carry identity: removed on arrival from untrusted peers (S4.6)."""
    methods: frozenset[str] = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
    tracing: TracingPlan = field(default_factory=TracingPlan)
    limits: LimitsPlan = field(default_factory=LimitsPlan)
    drain_accept: float = 5.0
    drain_finish: float = 20.0
    debug_scope: str = "debug"
    models: ModelsPlan | None = None
    """None where no route has an ``llm``."""
    contexts: ContextsPlan | None = None
    """None where no route has contexts."""
    faults_allowed: bool = False
    """S25.2: the operator's ``faults: {allow: true}``."""
