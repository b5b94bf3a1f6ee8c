"""One upstream as a worker runs it: its endpoints with their pools, its health, breaker, queue and retry budget.

Everything here is keyed by identity and carried over a reload (S23.2): the upstream by its name, an endpoint by
address and port.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

from tidegate.engine.runtime import Runtime
from tidegate.engine.upstream.admission import Admission
from tidegate.engine.upstream.breaker import Breaker
from tidegate.engine.upstream.health import Health
from tidegate.engine.upstream.node_budget import NodeBudget
from tidegate.engine.upstream.pool import Pool
from tidegate.exchange.exchange import Exchange
from tidegate.ports.balancer import Endpoint
from tidegate.ports.plan import UpstreamPlan
from tidegate.rules.hedging import Hedging

SECURE: Final = ("https",)
ASK_EACH: Final = 1.0
"""Least seconds between two questions to the resolver after failed connects."""

BREAKER_FIGURES: Final = {
    "closed": 0, "half_open": 1, "open": 2, "forced_open": 3, "disabled": 4, "metrics_only": 5,
}  # fmt: skip
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Upstream:
    """Mutable state: ``plan`` (replaced by a reload), ``endpoints`` (replaced when addresses change), the rest lives
    on."""

    def __init__(self, runtime: Runtime, plan: UpstreamPlan, addresses: dict[tuple[str, int], list[str]]) -> None:
        self.runtime = runtime
        self.plan = plan
        now = runtime.clock()
        self.addresses = addresses
        self.context = client_context(plan)
        self.host = own_host(plan)
        self.endpoints: list[Endpoint] = []
        self.pools: dict[str, Pool] = {}
        self.pool_events = {"opened": 0, "failed": 0, "reused": 0, "stale": 0, "closed": 0}
        """Of all its pools, gone ones included (S26.4)."""
        self.base_paths: dict[str, str] = {}
        self.asked_at = -ASK_EACH
        """When the resolver was last asked to look again."""
        self._make_endpoints({})
        self.health = Health(plan, self.endpoints, runtime.row, now)
        self.breaker = Breaker(plan.breaker, runtime.row, runtime.slots.get(plan.name, -1), upstream=plan.name, now=now)
        self.admission = Admission(plan.bulkhead, runtime.steps, runtime.workers, now)
        self.budget = NodeBudget(
            plan.retry.budget, plan.retry.budget_floor, runtime.row, runtime.slots.get(plan.name, -1), runtime.workers
        )
        self.hedge = Hedging(plan.hedge.after, plan.hedge.share) if plan.hedge is not None else None
        self.outcomes: dict[str, int] = {}
        """Attempts by how they ended (S26.2)."""
        self.first_byte = runtime.metrics.histogram(
            "upstream_phase_seconds", (plan.name, "first_byte"), ("upstream", "phase")
        )
        self.batches: dict[tuple[str, str, str], Any] = {}
        """Batches that wait for company, by tenant, consumer and route (S22.8)."""
        self.observe: Any = getattr(plan.balancer, "observe", None)

    def _make_endpoints(self, old: dict[str, Endpoint]) -> None:
        plan = self.plan
        endpoints: list[Endpoint] = []
        pools: dict[str, Pool] = {}
        for target in plan.targets:
            for address in self.addresses.get((target.host, target.port)) or [target.host]:
                endpoint = Endpoint(
                    plan.name, target.scheme, target.host, target.port, address=address, weight=target.weight,
                    priority=target.priority, zone=target.zone, location=target.location, index=len(endpoints),
                )  # fmt: skip
                if endpoint.key in pools:
                    continue
                known = old.get(endpoint.key)
                if known is not None and known.scheme == endpoint.scheme:
                    carry(known, endpoint)
                    endpoint = known
                endpoints.append(endpoint)
                self.base_paths[endpoint.key] = target.base_path
                pools[endpoint.key] = self.pools.get(endpoint.key) or self._pool(endpoint)
        for key, pool in self.pools.items():
            if pools.get(key) is not pool:
                pool.close()
        self.endpoints = endpoints
        self.pools = pools
        for endpoint in endpoints:
            endpoint.state = pools[endpoint.key]
            endpoint.slot = self.runtime.slots.get(f"{plan.name}|{endpoint.key}", -1)

    def _pool(self, endpoint: Endpoint) -> Pool:
        plan = self.plan
        runtime = self.runtime
        return Pool(
            runtime.loop,
            runtime.steps,
            endpoint,
            context=self.context if endpoint.scheme in SECURE else None,
            server_name=plan.tls.server_name or endpoint.host,
            connect_timeout=plan.timeouts.connect,
            tls_timeout=plan.timeouts.tls,
            max_connections=plan.max_connections,
            warm=plan.warm,
            limits=runtime.head_limits,
            clock=runtime.clock,
            events=self.pool_events,
            draw=runtime.random.random,
            unreachable=self._unreachable,
        )

    def apply(self, plan: UpstreamPlan) -> None:
        """A reload: take up *plan*, keep state by identity."""
        old = self.plan
        if plan is old:
            return
        self.plan = plan
        transport = (plan.tls, plan.timeouts, plan.max_connections, plan.warm)
        if transport != (old.tls, old.timeouts, old.max_connections, old.warm):
            self.context = client_context(plan)
            for pool in self.pools.values():
                pool.close()
            self.pools = {}
        self.host = own_host(plan)
        now = self.runtime.clock()
        self.breaker.apply(plan.breaker, now)
        self.admission.apply(plan.bulkhead, now)
        self.budget.configure(plan.retry.budget, plan.retry.budget_floor)
        if plan.hedge != old.hedge:
            self.hedge = Hedging(plan.hedge.after, plan.hedge.share) if plan.hedge is not None else None
        self.observe = getattr(plan.balancer, "observe", None)
        self._replace_endpoints()

    def set_addresses(self, addresses: dict[tuple[str, int], list[str]]) -> None:
        """The resolver has news."""
        if addresses != self.addresses:
            self.addresses = addresses
            self._replace_endpoints()

    def _unreachable(self) -> None:
        """A connect failed: the address may be an old one, so the resolver is asked, once a second (S16.7)."""
        now = self.runtime.clock()
        if now >= self.asked_at + ASK_EACH:
            self.asked_at = now
            self.runtime.tools.want_addresses(self.plan.name)

    def _replace_endpoints(self) -> None:
        self._make_endpoints({e.key: e for e in self.endpoints})
        now = self.runtime.clock()
        health = Health(self.plan, self.endpoints, self.runtime.row, now)
        health.carry_over(self.health, now)
        self.health = health
        self.keep_warm()

    def host_for(self, x: Exchange) -> str:
        """The Host field for the upstream (S4.8): the client's, but the upstream's own name for ``https`` upstreams
        given by a DNS name."""
        host = self.host
        if host:
            return host
        return x.head.index.get("host") or x.host

    def keep_warm(self) -> None:
        for pool in self.pools.values():
            pool.keep_warm()

    def sweep(self, now: float) -> None:
        """Each second."""
        self.health.sweep(now, self.runtime.random.random())

    def sweep_pools(self, now: float) -> None:
        """Each five seconds."""
        for pool in self.pools.values():
            pool.sweep(now)

    def take_slots(self) -> None:
        """Control has given out places in the shared segment."""
        runtime = self.runtime
        now = runtime.clock()
        breaker = Breaker(
            self.plan.breaker, runtime.row, runtime.slots.get(self.plan.name, -1), upstream=self.plan.name, now=now
        )
        if breaker.offset != self.breaker.offset:
            self.breaker = breaker
        self.budget.take_place(runtime.slots.get(self.plan.name, -1))
        self._replace_endpoints()

    def breaker_figure(self) -> float:
        """The gauge of S26.3: 0 closed, 1 half open, 2 open, 3 forced, 4 disabled, 5 metrics only."""
        return float(BREAKER_FIGURES.get(self.breaker.state(self.runtime.clock()), 0))

    def explain(self, now: float) -> dict[str, Any]:
        """JSON-ready: why each endpoint is used or not, and what stands before them."""
        return {
            "endpoints": self.health.explain(now),
            "breaker": self.breaker.explain(now),
            "admission": self.admission.explain(),
            "balancer": self.plan.balancer_use,
            "pools": {
                key: {"idle": len(pool.idle), "open": pool.open, "waiting": len(pool.waiters)}
                for key, pool in self.pools.items()
            },
        }

    def close(self) -> None:
        """Gone from the Plan: exchanges under way finish."""
        for pool in self.pools.values():
            pool.close()

    def __repr__(self) -> str:
        return f"<Upstream {self.plan.name} {len(self.endpoints)} endpoints>"


def carry(known: Endpoint, fresh: Endpoint) -> None:
    """What the config says of an endpoint, onto the object that holds its state."""
    known.host = fresh.host
    known.base_weight = fresh.base_weight
    known.weight = fresh.weight
    known.priority = fresh.priority
    known.zone = fresh.zone
    known.location = fresh.location
    known.index = fresh.index


def own_host(plan: UpstreamPlan) -> str:
    """The fixed Host for this upstream, or "" where the client's is preserved (S4.8)."""
    first = plan.targets[0]
    name = first.host if first.port == DEFAULT_PORTS[first.scheme] else f"{first.host}:{first.port}"
    if plan.host == "preserve":
        return ""
    if plan.host == "upstream":
        return name
    if plan.host:
        return plan.host
    named = not first.host.replace(".", "").isdigit() and ":" not in first.host
    return name if first.scheme in SECURE and named and first.host != "localhost" else ""


def client_context(plan: UpstreamPlan) -> ssl.SSLContext | None:
    """The TLS side of an upstream (S16.6): verified by default, 1.2 and up. None when no target is secure."""
    if not any(target.scheme in SECURE for target in plan.targets):
        return None
    tls = plan.tls
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key or None)
    context.set_alpn_protocols(["http/1.1"])
    return context
