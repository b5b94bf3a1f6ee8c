"""What a worker shows of itself in metrics beyond what is counted on the path: read when a snapshot is taken (S26)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegate.engine.downstream.listener import Listener
from tidegate.engine.guard import Guard
from tidegate.engine.metrics import Metrics, Series
from tidegate.engine.runtime import Runtime
from tidegate.engine.upstream.upstream import Upstream


def show_figures(metrics: Metrics, runtime: Runtime, listeners: dict[str, Listener], guard: Guard) -> None:
    """Register every gauge and every total that parts of the engine keep for themselves."""

    def each(read: Callable[[Upstream], dict[str, Any]]) -> Callable[[], Series]:
        return lambda: {
            (name, label): value
            for name, upstream in runtime.upstreams.items()
            for label, value in read(upstream).items()
        }

    def one(read: Callable[[Upstream], float]) -> Callable[[], Series]:
        return lambda: {(name,): read(upstream) for name, upstream in runtime.upstreams.items()}

    def shed() -> Series:
        found: Series = {(str(level), "lag"): count for level, count in enumerate(runtime.gate.refused) if count}
        for upstream in runtime.upstreams.values():
            for (level, reason), count in upstream.admission.refused.items():
                key = (str(level), reason)
                found[key] = found.get(key, 0) + count
        return found

    def connections() -> Series:
        return {(name, "open"): listener.open for name, listener in listeners.items()}

    metrics.gauge("connections", ("listener", "state"), connections)
    metrics.gauge("loop_lag_seconds", (), lambda: {(): guard.lag})
    metrics.gauge("retry_budget_left", ("upstream",), one(lambda u: u.budget.left(runtime.clock())))
    metrics.gauge("queue_depth", ("upstream",), one(lambda u: u.admission.waiting))
    metrics.gauge("concurrency_limit", ("upstream",), one(lambda u: u.admission.limit))
    metrics.gauge("breaker_state", ("upstream",), one(lambda u: u.breaker_figure()))
    metrics.gauge("pool_connections", ("upstream", "state"), each(pooled))
    metrics.gauge("endpoints", ("upstream", "state"), each(lambda u: usable(u, runtime.clock())))
    metrics.total("upstream_attempts_total", ("upstream", "outcome"), each(lambda u: u.outcomes))
    metrics.total("pool_events_total", ("upstream", "event"), each(lambda u: u.pool_events))
    metrics.total("ejections_total", ("upstream", "reason"), each(lambda u: u.health.ejections))
    metrics.total("breaker_calls_total", ("upstream", "kind"), each(lambda u: u.breaker.calls))
    metrics.total("shed_total", ("level", "reason"), shed)


def pooled(upstream: Upstream) -> dict[str, int]:
    return {
        "idle": sum(len(pool.idle) for pool in upstream.pools.values()),
        "busy": sum(pool.busy() for pool in upstream.pools.values()),
    }


def usable(upstream: Upstream, now: float) -> dict[str, int]:
    fit = sum(1 for line in upstream.health.explain(now) if line.get("usable"))
    return {"usable": fit, "unusable": len(upstream.endpoints) - fit}
