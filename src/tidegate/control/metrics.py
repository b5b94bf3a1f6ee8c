"""Metrics of the node: the workers' snapshots merged, bounded and written as Prometheus text (S26).

Counters of a worker that has gone stay in the sums, so that no total ever runs backwards while the gateway lives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tidegate.engine.metrics import BUCKETS, MAX_SERIES, OTHER

PREFIX: Final = "tidegate_"
MOST_SERIES: Final = 10_000
"""Series of all metrics together (S26)."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]
Snapshot = Mapping[str, Mapping[str, Any]]

HELP: Final[dict[str, str]] = {
    "requests_total": "Exchanges that ended.",
    "request_duration_seconds": "Time from a request's first byte to its answer's last.",
    "requests_in_flight": "Exchanges under way.",
    "upstream_attempts_total": "Tries at an endpoint.",
    "upstream_phase_seconds": "Time one phase of an attempt took.",
    "endpoints": "Endpoints by the state they are in.",
    "health_checks_total": "Active checks.",
    "ejections_total": "Endpoints taken out by passive detection.",
    "breaker_state": "0 closed, 1 half open, 2 open, 3 forced open, 4 disabled, 5 metrics only.",
    "breaker_calls_total": "Calls as the circuit breaker saw them.",
    "retries_total": "Attempts after the first.",
    "retry_budget_left": "Retries the budget would still pay for.",
    "hedges_total": "Second attempts sent because the first was slow.",
    "pool_connections": "Connections to upstreams.",
    "pool_events_total": "What happened to connections to upstreams.",
    "auth_total": "Authentication verdicts.",
    "limit_decisions_total": "Decisions of rate limits and quotas.",
    "cache_requests_total": "Cache look-ups.",
    "cache_bytes": "Bytes held by the cache.",
    "queue_depth": "Exchanges waiting for an upstream.",
    "queue_wait_seconds": "Time exchanges waited for an upstream.",
    "shed_total": "Exchanges refused to protect the rest.",
    "concurrency_limit": "What the adaptive limit allows at once.",
    "loop_lag_seconds": "How late the worst worker's loop runs.",
    "connections": "Client connections.",
    "rejects_total": "Refusals by code.",
    "h2_floods_total": "HTTP/2 connections closed for flooding.",
    "config_generation": "The generation every worker serves.",
    "config_reloads_total": "Reloads by result.",
    "records_dropped_total": "Access records a full sink dropped.",
    "series_dropped_total": "Updates that went to _other because a metric was full.",
    "books_open": "1 while the books of money are open and kept.",
    "books_behind_seconds": "Time since every ledger was read to its end.",
    "budget_overruns_total": "Budgets passed by a call that cost more than was set aside.",
    "ledgers_broken": "Workers that cannot write their ledger.",
    "ledger_lines_owed": "Lines of what has happened that wait for a disk.",
    "ledger_lines_lost_total": "Lines given up because too many waited for a disk.",
    "ledger_lines_damaged_total": "Lines of ledgers that could not be read.",
    "workers": "Worker processes by state.",
    "worker_restarts_total": "Workers that had to be replaced.",
}

GREATEST: Final = frozenset({"breaker_state", "endpoints", "loop_lag_seconds"})
"""Gauges every worker reports about the same thing: the greatest is shown. All others add up."""


class Series:
    """One metric of the node while it is put together."""

    def __init__(self, kind: str, labels: Labels) -> None:
        self.kind = kind
        self.labels = labels
        self.values: dict[Labels, Any] = {}


class Merged:
    """Snapshots added up. Bounds of S26 hold here again, because the union of what workers hold may pass them."""

    def __init__(self) -> None:
        self.metrics: dict[str, Series] = {}
        self.size = 0
        self.dropped: dict[str, int] = {}

    def add(self, snapshot: Snapshot, gauges: bool = True) -> None:
        """Add one worker's *snapshot*; without *gauges* only what lasts beyond its process."""
        for name, metric in snapshot.items():
            kind = metric["type"]
            if kind == "gauge" and not gauges:
                continue
            labels = tuple(metric["labels"])
            series = self.metrics.get(name)
            if series is None:
                series = self.metrics[name] = Series(kind, labels)
            elif series.kind != kind or series.labels != labels:
                # Two builds meet in an upgrade: one that counts otherwise must not spoil the sums.
                continue
            for values, value in metric["series"]:
                self._put(name, series, tuple(values), value)

    def _put(self, name: str, series: Series, labels: Labels, value: Any) -> None:
        known = series.values.get(labels)
        if known is None:
            if len(series.values) >= MAX_SERIES or self.size >= MOST_SERIES:
                self.dropped[name] = self.dropped.get(name, 0) + 1
                labels = (OTHER,) * len(series.labels)
                known = series.values.get(labels)
            if known is None:
                self.size += 1
                series.values[labels] = list(value) if series.kind == "histogram" else value
                return
        if series.kind == "histogram":
            if len(known) == len(value):
                for index, each in enumerate(value):
                    known[index] += each
        elif name in GREATEST and series.kind == "gauge":
            series.values[labels] = max(known, value)
        else:
            series.values[labels] = known + value

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """The sums in the form of a worker's snapshot."""
        return {
            name: {
                "type": series.kind,
                "labels": list(series.labels),
                "series": [[list(labels), value] for labels, value in series.values.items()],
            }
            for name, series in self.metrics.items()
        }


class NodeMetrics:
    """The last snapshot of each worker process, and the sums of those that have gone."""

    def __init__(self) -> None:
        self.latest: dict[int, Snapshot] = {}
        """Worker's pid → its last snapshot."""
        self.gone = Merged()

    def report(self, pid: int, snapshot: Snapshot) -> None:
        """Worker process *pid* says what it has counted since its start."""
        self.latest[pid] = snapshot

    def leave(self, pid: int) -> None:
        """Worker process *pid* has ended: its counters stay, its gauges go."""
        snapshot = self.latest.pop(pid, None)
        if snapshot is not None:
            self.gone.add(snapshot, gauges=False)

    def text(self, own: Snapshot) -> str:
        """Everything, with control's *own* metrics, as Prometheus text."""
        merged = Merged()
        merged.add(self.gone.snapshot())
        for snapshot in self.latest.values():
            merged.add(snapshot)
        merged.add(own)
        if merged.dropped:
            rows = [[[name], count] for name, count in merged.dropped.items()]
            merged.add({"series_dropped_total": {"type": "counter", "labels": ["metric"], "series": rows}})
        return render(merged.metrics)


def render(metrics: Mapping[str, Series]) -> str:
    """Prometheus text exposition, format 0.0.4; metrics by name, so that two scrapes can be compared by eye."""
    lines: list[str] = []
    for name in sorted(metrics):
        series = metrics[name]
        full = PREFIX + name
        lines.append(f"# HELP {full} {HELP.get(name, 'Counted by a part of this gateway.')}")
        lines.append(f"# TYPE {full} {series.kind}")
        for labels, value in series.values.items():
            pairs = [f'{key}="{escape(text)}"' for key, text in zip(series.labels, labels, strict=False)]
            if series.kind == "histogram":
                lines.extend(histogram_lines(full, pairs, value))
            else:
                lines.append(f"{full}{braces(pairs)} {number(value)}")
    lines.append("")
    return "\n".join(lines)


def histogram_lines(name: str, pairs: list[str], value: list[float]) -> Iterable[str]:
    """The lines of one histogram: *value* is the counts between the bounds, then the sum."""
    *counts, total = value
    seen = 0
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=False):
        seen += int(count)
        limit = f'le="{bound}"'
        yield f"{name}_bucket{braces([*pairs, limit])} {seen}"
    yield f"{name}_sum{braces(pairs)} {number(total)}"
    yield f"{name}_count{braces(pairs)} {seen}"


def braces(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def escape(text: str) -> str:
    """A label's value between its quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def number(value: float) -> str:
    """Whole numbers without a point, all others exactly."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))
