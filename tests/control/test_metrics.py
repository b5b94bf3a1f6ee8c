"""The node's metrics: snapshots added up, bounded, and readable by Prometheus' own parser (S26)."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tidegate.control.metrics import HELP, MOST_SERIES, Merged, NodeMetrics, Series, render
from tidegate.engine.metrics import MAX_SERIES, Metrics


def counter(labels: list[str], *rows: tuple[list[str], float]) -> dict[str, Any]:
    return {"type": "counter", "labels": labels, "series": [list(row) for row in rows]}


def gauge(labels: list[str], *rows: tuple[list[str], float]) -> dict[str, Any]:
    return {"type": "gauge", "labels": labels, "series": [list(row) for row in rows]}


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_two_workers_add_up_and_the_text_is_what_prometheus_reads() -> None:
    node = NodeMetrics()
    for pid in (1, 2):
        worker = Metrics()
        worker.route("orders").count("GET", 200, 0.004)
        worker.route("orders").count("GET", 503, 40.0)
        worker.add("rejects_total", ("bad_request",), ("code",), pid)
        worker.gauge("connections", ("listener", "state"), lambda: {("a", "open"): 3.0})
        node.report(pid, worker.snapshot())
    text = node.text({"config_generation": gauge([], ([], 7))})
    found = samples(text)
    assert found["tidegate_requests_total", (("method", "GET"), ("route", "orders"), ("status", "200"))] == 2
    assert found["tidegate_rejects_total", (("code", "bad_request"),)] == 3
    assert found["tidegate_connections", (("listener", "a"), ("state", "open"))] == 6
    assert found["tidegate_config_generation", ()] == 7
    name = "tidegate_request_duration_seconds"
    ok, bad = (("class", "2xx"), ("route", "orders")), (("class", "5xx"), ("route", "orders"))
    assert found[name + "_bucket", (ok[0], ("le", "0.0025"), ok[1])] == 0
    assert found[name + "_bucket", (ok[0], ("le", "0.005"), ok[1])] == 2
    assert found[name + "_bucket", (bad[0], ("le", "30.0"), bad[1])] == 0
    assert found[name + "_bucket", (bad[0], ("le", "+Inf"), bad[1])] == 2
    assert found[name + "_count", ok] == 2
    assert found[name + "_sum", bad] == 80.0


def test_what_every_worker_sees_alike_is_not_added() -> None:
    merged = Merged()
    merged.add({"breaker_state": gauge(["upstream"], (["a"], 0)), "queue_depth": gauge(["upstream"], (["a"], 4))})
    merged.add({"breaker_state": gauge(["upstream"], (["a"], 2)), "queue_depth": gauge(["upstream"], (["a"], 5))})
    assert merged.metrics["breaker_state"].values == {("a",): 2}
    assert merged.metrics["queue_depth"].values == {("a",): 9}


def test_a_worker_that_has_gone_leaves_its_counters_and_takes_its_gauges() -> None:
    node = NodeMetrics()
    node.report(1, {"rejects_total": counter(["code"], (["x"], 5)), "connections": gauge(["listener"], (["a"], 9))})
    node.leave(1)
    node.leave(1)
    assert samples(node.text({})) == {("tidegate_rejects_total", (("code", "x"),)): 5}
    node.report(2, {"rejects_total": counter(["code"], (["x"], 1))})
    assert samples(node.text({})) == {("tidegate_rejects_total", (("code", "x"),)): 6}


def test_a_snapshot_of_another_build_is_left_out_rather_than_added_wrongly() -> None:
    merged = Merged()
    merged.add({"shed_total": counter(["level"], (["0"], 1))})
    merged.add({"shed_total": counter(["level", "reason"], (["0", "full"], 1))})
    merged.add({"shed_total": gauge(["level"], (["0"], 1))})
    assert merged.metrics["shed_total"].values == {("0",): 1}


def test_the_union_of_the_workers_keeps_the_bound_of_a_metric() -> None:
    node = NodeMetrics()
    node.report(1, {"rejects_total": counter(["code"], *(([f"a{n}"], 1) for n in range(MAX_SERIES)))})
    node.report(2, {"rejects_total": counter(["code"], *(([f"b{n}"], 1) for n in range(10)))})
    found = samples(node.text({}))
    assert found["tidegate_rejects_total", (("code", "_other"),)] == 10
    assert found["tidegate_series_dropped_total", (("metric", "rejects_total"),)] == 10
    assert sum(name == "tidegate_rejects_total" for name, _ in found) == MAX_SERIES + 1


def test_all_metrics_together_are_bounded_too() -> None:
    merged = Merged()
    for metric in range(6):
        rows = ((([f"{n}"], 1)) for n in range(MAX_SERIES))
        merged.add({f"m{metric}_total": counter(["x"], *rows)})
    assert merged.size == MOST_SERIES + 1
    assert merged.metrics["m5_total"].values == {("_other",): MAX_SERIES}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=20))
def test_a_label_says_what_it_is_whatever_is_in_it(value: str) -> None:
    series = Series("counter", ("route",))
    series.values[(value,)] = 1
    lines = render({"requests_total": series}).split("\n# ")[-1]
    assert "\n" not in lines.partition("\n")[2].rstrip("\n")
    if all(char.isprintable() or char == "\n" for char in value):
        assert samples(render({"requests_total": series})) == {("tidegate_requests_total", (("route", value),)): 1}


def test_every_metric_of_s26_has_a_help_line() -> None:
    assert {
        "requests_total", "request_duration_seconds", "requests_in_flight", "upstream_attempts_total",
        "upstream_phase_seconds", "endpoints", "health_checks_total", "ejections_total", "breaker_state",
        "breaker_calls_total", "retries_total", "retry_budget_left", "hedges_total", "pool_connections",
        "pool_events_total", "auth_total", "limit_decisions_total", "cache_requests_total", "cache_bytes",
        "queue_depth", "queue_wait_seconds", "shed_total", "concurrency_limit", "loop_lag_seconds", "connections",
        "rejects_total", "h2_floods_total", "config_generation", "config_reloads_total", "records_dropped_total",
        "series_dropped_total",
    } <= HELP.keys()  # fmt: skip
