"""Alive, ready, degraded: what follows from what control hears (S23.4, CF-worker-skew)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.control.admin.desk import Outcome, Readiness
from tidegate.control.bookkeeper import Standing
from tidegate.control.status import StatusBook


def crew(*workers: list[Any], **changes: Any) -> dict[str, Any]:
    news = {"workers": list(workers), "degraded": [], "stopping": False, "upgrading": False, "seats": 2, "refused": 0}
    return news | changes


@pytest.fixture
def book() -> StatusBook:
    """Two workers that serve generation 5."""
    book = StatusBook(lambda: 1000.0)
    book.generation = 5
    book.crew(crew([0, 100, True, False, 0], [1, 101, True, False, 0]))
    for pid in (100, 101):
        book.report(pid, {"generation": 5})
    return book


def test_two_workers_on_the_wanted_generation_are_ready(book: StatusBook) -> None:
    assert book.readiness() == Readiness(True, ())


def test_a_stop_is_unready_at_once(book: StatusBook) -> None:
    book.crew(crew([0, 100, True, False, 0], stopping=True))
    assert book.readiness() == Readiness(False, ("the gateway is stopping",))


def test_without_a_ready_worker_nothing_is_ready_and_the_crash_loop_is_named(book: StatusBook) -> None:
    book.crew(crew([0, 102, False, False, 3], degraded=["1 of 2 workers keep dying at start"]))
    assert book.readiness() == Readiness(False, ("no worker is ready", "1 of 2 workers keep dying at start"))


def test_leaving_workers_do_not_count(book: StatusBook) -> None:
    book.crew(crew([0, 100, True, True, 0], [1, 101, True, True, 0]))
    assert book.readiness().ready is False


def test_each_missing_part_keeps_it_unready(book: StatusBook) -> None:
    book.missing = [lambda: "", lambda: "the first round of health checks is not done"]
    assert book.readiness() == Readiness(False, ("the first round of health checks is not done",))
    book.missing = []
    book.generation = 6
    assert book.readiness() == Readiness(False, ("no worker serves generation 6 yet",))


def test_a_crash_loop_beside_a_serving_worker_is_degraded_and_ready(book: StatusBook) -> None:
    gone = book.crew(crew([1, 101, True, False, 4], degraded=["1 of 2 workers keep dying at start"]))
    assert [view.pid for view in gone] == [100]
    assert book.readiness() == Readiness(True, ("1 of 2 workers keep dying at start", "1 of 2 workers are ready"))


def test_one_worker_behind_is_seen(book: StatusBook) -> None:
    book.generation = 6
    book.report(100, {"generation": 6})
    assert book.readiness() == Readiness(True, ("1 workers do not serve generation 6",))
    assert [w["generation"] for w in book.document([], 0.0)["workers"]] == [6, 5]


def test_it_is_alive_while_one_loop_has_turned_within_two_seconds() -> None:
    assert StatusBook.live([0.0, 98.0], now=100.0) is True
    assert StatusBook.live([0.0, 97.9], now=100.0) is False
    assert StatusBook.live([0.0, 0.0], now=1.0) is False
    assert StatusBook.live([], now=1.0) is False


def test_a_refused_reload_stays_in_the_status_until_one_succeeds(book: StatusBook) -> None:
    book.reloaded(Outcome("refused", 5, 2, 2, 0.01, "c.yaml:3: bad"), "file")
    refused = book.document([], 0.0)
    assert refused["config_error"]["error"] == "c.yaml:3: bad"
    assert refused["last_reload"] == refused["config_error"]
    book.reloaded(Outcome("applied", 6, 2, 2, 0.0123), "admin")
    document = book.document([], 0.0)
    assert "config_error" not in document
    assert document["last_reload"] == {
        "at": 1000.0, "by": "admin", "result": "applied", "generation": 6, "milliseconds": 12.3,
    }  # fmt: skip


def test_the_page_shows_heartbeats_and_each_upstream_by_worker(book: StatusBook) -> None:
    book.report(100, {"generation": 5, "in_flight": 3, "explain": {"orders": {"breaker": "closed"}}})
    document = book.document([9.5, 0.0], now=10.0)
    assert document["workers"][0] == {
        "row": 0, "pid": 100, "state": "ready", "generation": 5, "in_flight": 3, "restarts": 0, "heartbeat_ms": 500,
    }  # fmt: skip
    assert "heartbeat_ms" not in document["workers"][1]
    assert document["upstreams"] == {"orders": {"0": {"breaker": "closed"}}}


def test_a_report_of_a_worker_nobody_knows_is_nothing(book: StatusBook) -> None:
    book.report(999, {"generation": 9})
    assert 999 not in book.workers


def test_control_counts_reloads_checks_workers_and_the_generation_all_serve(book: StatusBook) -> None:
    book.report(101, {"generation": 4})
    metrics = book.own_metrics({"applied": 3, "refused": 1}, {("a", "passed"): 5, ("a", "timeout"): 2})
    assert metrics["config_generation"]["series"] == [[[], 4]]
    assert metrics["config_reloads_total"]["series"] == [[["applied"], 3], [["refused"], 1]]
    assert metrics["health_checks_total"] == {
        "type": "counter", "labels": ["upstream", "result"], "series": [[["a", "passed"], 5], [["a", "timeout"], 2]],
    }  # fmt: skip
    assert metrics["workers"]["series"] == [[["ready"], 2], [["starting"], 0], [["leaving"], 0]]


# -- money (LLM 10.1) -------------------------------------------------------------------------------------------------


def test_books_that_are_kept_are_on_the_page_and_no_reason(book: StatusBook) -> None:
    assert "books" not in book.document([], 0.0)
    assert not any("books" in name or "ledger" in name for name in book.own_metrics({}, {}))
    book.books = lambda: Standing(True, "", 0.84, 3, 1)
    assert book.readiness() == Readiness(True, ())
    assert book.document([], 0.0)["books"] == {
        "open": True, "behind_seconds": 0.8, "error": "", "damaged_lines": 3, "overruns": 1,
    }  # fmt: skip
    metrics = book.own_metrics({}, {})
    found = {name: each["series"][0][1] for name, each in metrics.items() if "book" in name or "ledger" in name}
    assert found == {
        "books_open": 1, "books_behind_seconds": 0.84, "ledgers_broken": 0, "ledger_lines_owed": 0,
        "ledger_lines_lost_total": 0, "ledger_lines_damaged_total": 3,
    }  # fmt: skip
    assert metrics["budget_overruns_total"]["series"] == [[[], 1]]


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Standing(False, "database or disk is full", 1.0, 0, 0), "the books cannot be kept: database or disk is full"),
        (Standing(True, "", 12.3, 0, 0), "the books are 12 s behind"),
    ],
)
def test_books_that_cannot_be_kept_or_lag_are_degraded(book: StatusBook, standing: Standing, reason: str) -> None:
    book.books = lambda: standing
    assert book.readiness() == Readiness(True, (reason,))
    assert book.own_metrics({}, {})["books_open"]["series"] == [[[], int(standing.open)]]


def test_a_worker_that_cannot_write_its_ledger_is_degraded_and_its_lost_lines_are_counted_for_good(
    book: StatusBook,
) -> None:
    book.books = lambda: Standing(True, "", 0.0, 0, 0)
    book.report(100, {"generation": 5, "ledger": ["No space left on device", 12, 5]})
    book.report(100, {"generation": 5})  # a hello says nothing of it
    assert book.readiness() == Readiness(
        True, ("the ledger of 1 of 2 workers cannot be written: No space left on device",)
    )
    assert book.document([], 0.0)["workers"][0]["ledger_error"] == "No space left on device"
    assert book.document([], 0.0)["workers"][0]["ledger_lines_lost"] == 5
    metrics = book.own_metrics({}, {})
    assert [metrics[name]["series"][0][1] for name in ("ledgers_broken", "ledger_lines_owed")] == [1, 12]
    book.crew(crew([1, 101, True, False, 1]))
    assert book.own_metrics({}, {})["ledger_lines_lost_total"]["series"] == [[[], 5]]
    assert book.readiness() == Readiness(True, ("1 of 2 workers are ready",))
