"""The worker's counters and their snapshot."""

from tidegate.engine.metrics import BUCKETS, MAX_SERIES, Metrics


def test_a_route_counts_by_method_and_status_and_times_by_class() -> None:
    metrics = Metrics()
    stats = metrics.route("orders")
    stats.count("GET", 200, 0.004)
    stats.count("GET", 200, 40.0)
    stats.count("POST", 503, 0.0001)
    snapshot = metrics.snapshot()
    assert snapshot["requests_total"]["series"] == [[["orders", "GET", "200"], 2], [["orders", "POST", "503"], 1]]
    durations = {row[0][1]: row[1] for row in snapshot["request_duration_seconds"]["series"]}
    assert durations["2xx"] == [0, 0, 1] + [0] * 9 + [1, 40.004]
    assert durations["5xx"][0] == 1
    assert len(durations["2xx"]) == len(BUCKETS) + 2


def test_series_past_the_bound_go_to_other_and_are_counted() -> None:
    metrics = Metrics()
    for n in range(MAX_SERIES + 5):
        metrics.add("rejects_total", (str(n),), ("code",))
    rows = metrics.snapshot()["rejects_total"]["series"]
    assert len(rows) == MAX_SERIES + 1
    assert [["_other"], 5] in rows
    assert metrics.snapshot()["series_dropped_total"]["series"] == [[["rejects_total"], 5]]


def test_an_adder_has_its_labels_bound_and_a_gauge_is_read_at_the_snapshot() -> None:
    metrics = Metrics()
    metrics.adder("auth_total", method="api_key", outcome="ok")(3)
    metrics.gauge("connections", ("listener",), lambda: {("a",): 7.0})
    snapshot = metrics.snapshot()
    assert snapshot["auth_total"] == {
        "type": "counter", "labels": ["method", "outcome"], "series": [[["api_key", "ok"], 3]],
    }  # fmt: skip
    assert snapshot["connections"]["series"] == [[["a"], 7.0]]
