"""Counters of one worker: plain integers on the path, one plain snapshot for control when it asks (S26).

Labels come from the config or from closed sets; nothing a client chooses is ever a label. A metric that would pass
its share of series puts the rest under ``_other`` and counts that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

BUCKETS: Final[list[float]] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0]
"""Upper bounds of the twelve duration buckets in seconds (S26.1)."""

MAX_SERIES: Final = 2000
"""Series one metric may hold on a node (S26)."""

OTHER: Final = "_other"


Series = dict[tuple[str, ...], float]
"""Label values → value."""


class Histogram:
    """Twelve cumulative-ready buckets, a count and a sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        place = 0
        for bound in BUCKETS:  # most stop at the third; compiled, this costs a tenth of bisect
            if seconds <= bound:
                break
            place += 1
        self.counts[place] += 1
        self.sum += seconds


class RouteStats:
    """What one route counts. ``counts`` is keyed by (method, status)."""

    __slots__ = ("counts", "durations", "in_flight", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: dict[tuple[str, int], int] = {}
        self.durations: list[Histogram] = [Histogram() for _ in range(5)]
        self.in_flight = 0

    def count(self, method: str, status: int, seconds: float) -> None:
        """One exchange ended. *method* is a known one or ``other``."""
        key = (method, status)
        counts = self.counts
        counts[key] = counts.get(key, 0) + 1
        group = status // 100 - 1
        self.durations[group if 0 <= group < 5 else 4].observe(seconds)


class Count:
    """One counter's addend since the last snapshot."""

    __slots__ = ("labels", "name", "names", "value")

    def __init__(self, name: str, names: tuple[str, ...], labels: tuple[str, ...]) -> None:
        self.name = name
        self.names = names
        self.labels = labels
        self.value = 0

    def add(self, amount: int = 1) -> None:
        self.value += amount


class Metrics:
    """All of a worker's counters. ``snapshot`` is what control merges."""

    def __init__(self) -> None:
        self.routes: dict[str, RouteStats] = {}
        self.counters: dict[str, dict[tuple[str, ...], int]] = {}
        self.labels: dict[str, tuple[str, ...]] = {}
        self.bound: dict[tuple[str, tuple[str, ...]], Count] = {}
        """What :meth:`adder` gave out, folded into ``counters`` when a snapshot is taken."""
        self.histograms: dict[str, dict[tuple[str, ...], Histogram]] = {}
        self.gauges: dict[str, Callable[[], Series]] = {}
        self.totals: dict[str, Callable[[], Series]] = {}

    def route(self, name: str) -> RouteStats:
        """The stats of route *name*; they live on over reloads."""
        stats = self.routes.get(name)
        if stats is None:
            if len(self.routes) >= MAX_SERIES:
                name = OTHER
                stats = self.routes.get(name)
            if stats is None:
                stats = self.routes[name] = RouteStats(name)
        return stats

    def add(self, name: str, labels: tuple[str, ...], names: tuple[str, ...], amount: int = 1) -> None:
        """Add to counter *name*; *names* are the label names, the same on every call."""
        series = self.counters.get(name)
        if series is None:
            series = self.counters[name] = {}
            self.labels[name] = names
        if labels not in series and len(series) >= MAX_SERIES:
            dropped = self.counters.setdefault("series_dropped_total", {})
            self.labels.setdefault("series_dropped_total", ("metric",))
            dropped[(name,)] = dropped.get((name,), 0) + amount
            labels = (OTHER,) * len(names)
        series[labels] = series.get(labels, 0) + amount

    def adder(self, name: str, **labels: str) -> Callable[[int], None]:
        """A counter with its labels already bound, for parts: one addition a call."""
        names, values = tuple(labels), tuple(labels.values())
        count = self.bound.get((name, values))
        if count is None:
            count = self.bound[(name, values)] = Count(name, names, values)
        return count.add

    def observe(self, name: str, labels: tuple[str, ...], names: tuple[str, ...], seconds: float) -> None:
        """One value of histogram *name*."""
        series = self.histograms.get(name)
        if series is None:
            series = self.histograms[name] = {}
            self.labels[name] = names
        histogram = series.get(labels)
        if histogram is None:
            if len(series) >= MAX_SERIES:
                labels = (OTHER,) * len(names)
            histogram = series.setdefault(labels, Histogram())
        histogram.observe(seconds)

    def histogram(self, name: str, labels: tuple[str, ...], names: tuple[str, ...]) -> Histogram:
        """The histogram of *labels* itself, for who observes often; it lives on over reloads."""
        self.labels[name] = names
        series = self.histograms.setdefault(name, {})
        if labels not in series and len(series) >= MAX_SERIES:
            labels = (OTHER,) * len(names)
        return series.setdefault(labels, Histogram())

    def gauge(self, name: str, names: tuple[str, ...], read: Callable[[], Series]) -> None:
        """*read* gives the current series of gauge *name* when a snapshot is taken."""
        self.labels[name] = names
        self.gauges[name] = read

    def total(self, name: str, names: tuple[str, ...], read: Callable[[], Series]) -> None:
        """The same for a counter that somebody else keeps."""
        self.labels[name] = names
        self.totals[name] = read

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """``{name: {"type", "labels": [...], "series": [[[label values], value], ...]}}``; names without the
        ``tidegate_`` prefix. A histogram's value is ``[bucket counts ..., sum]`` over :data:`BUCKETS` and +Inf."""
        out: dict[str, dict[str, Any]] = {}
        requests: list[Any] = []
        durations: list[Any] = []
        flights: list[Any] = []
        for stats in self.routes.values():
            for (method, status), count in stats.counts.items():
                requests.append([[stats.name, method, str(status)], count])
            for group, histogram in enumerate(stats.durations):
                if any(histogram.counts):
                    durations.append([[stats.name, f"{group + 1}xx"], [*histogram.counts, histogram.sum]])
            flights.append([[stats.name], stats.in_flight])
        out["requests_total"] = {"type": "counter", "labels": ["route", "method", "status"], "series": requests}
        out["request_duration_seconds"] = {"type": "histogram", "labels": ["route", "class"], "series": durations}
        out["requests_in_flight"] = {"type": "gauge", "labels": ["route"], "series": flights}
        for bound in self.bound.values():
            if bound.value:
                self.add(bound.name, bound.labels, bound.names, bound.value)
                bound.value = 0
        for name, series in self.counters.items():
            rows = [[list(labels), value] for labels, value in series.items()]
            out[name] = {"type": "counter", "labels": list(self.labels[name]), "series": rows}
        for name, histograms in self.histograms.items():
            rows = [[list(labels), [*h.counts, h.sum]] for labels, h in histograms.items()]
            out[name] = {"type": "histogram", "labels": list(self.labels[name]), "series": rows}
        for name, read in self.gauges.items():
            gauge_rows = [[list(labels), value] for labels, value in read().items()]
            out[name] = {"type": "gauge", "labels": list(self.labels[name]), "series": gauge_rows}
        for name, read in self.totals.items():
            total_rows = [[list(labels), value] for labels, value in read().items()]
            out[name] = {"type": "counter", "labels": list(self.labels[name]), "series": total_rows}
        return out
