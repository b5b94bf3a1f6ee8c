"""``books.sqlite``: all or nothing, and made anew when it is damaged (LLM 10.1)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.control.books_store import DIMENSIONS, FIGURES, REMEMBERED, BookStore, Changes, OpenCall, hour_of

CALL = OpenCall("a", "k3f9", 1.5, 61.5, 100, "fast", (("default/key/k", "2026-11"),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BookStore]:
    store = BookStore(tmp_path / "books.sqlite")
    yield store
    store.close()


def some() -> Changes:
    changes = Changes()
    changes.spent = {("default/key/k", "2026-11"): 70}
    changes.opened = {"a": CALL}
    changes.settled = ["x", "y"]
    changes.positions = {"s1": 512}
    changes.latest = 99.5
    return changes


def used(hour: str, model: str, consumer: str, requests: int, cost: int) -> Changes:
    changes = Changes()
    key = tuple({"model": model, "consumer": consumer, "tenant": "default"}.get(name, "") for name in DIMENSIONS)
    figures = {"requests": requests, "cost": cost}
    changes.usage = {(hour, *key): [figures.get(name, 0) for name in FIGURES]}
    return changes


def test_what_was_applied_is_known_after_a_restart(store: BookStore, tmp_path: Path) -> None:
    assert store.apply(some()) == {("default/key/k", "2026-11"): 70}
    assert store.apply(some()) == {("default/key/k", "2026-11"): 140}
    again = BookStore(tmp_path / "books.sqlite")
    assert again.spent("default/key/k", "2026-11") == 140
    assert again.spent("default/key/k", "2026-12") == 0
    assert again.known() == ({"s1": 512}, {"a": CALL}, ["x", "y", "x", "y"], 99.5)
    closing = Changes()
    closing.closed = {"a"}
    closing.removed = ["s1"]
    again.apply(closing)
    assert again.known() == ({}, {}, ["x", "y", "x", "y"], 99.5)
    again.close()


def test_the_file_is_ours_alone_and_every_commit_reaches_the_disk(store: BookStore) -> None:
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_change_that_cannot_be_applied_whole_is_not_applied_at_all(store: BookStore) -> None:
    store.apply(some())
    broken = some()
    broken.usage = {("too", "short"): [1]}
    with pytest.raises(sqlite3.Error):
        store.apply(broken)
    assert store.spent("default/key/k", "2026-11") == 70
    assert store.apply(some()) == {("default/key/k", "2026-11"): 140}


def test_only_so_many_settled_calls_are_remembered(store: BookStore) -> None:
    changes = Changes()
    changes.settled = [str(number) for number in range(REMEMBERED + 10)]
    store.apply(changes)
    known = store.known().settled
    assert (len(known), known[0], known[-1]) == (REMEMBERED, "10", str(REMEMBERED + 9))


@pytest.mark.parametrize("damage", [b"not a database at all, by far", b"SQLite format 3\x00" + b"\xff" * 8000])
def test_damage_is_set_aside_and_the_books_begin_anew(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "books.sqlite"
    path.write_bytes(damage)
    store = BookStore(path)
    assert store.known() == ({}, {}, [], 0.0)
    assert (tmp_path / "books.sqlite.damaged").read_bytes() == damage
    store.close()


def test_periods_long_past_are_forgotten_and_what_never_ends_is_not(store: BookStore) -> None:
    changes = Changes()
    periods = ["2025-09", "2025-09-30", "2025-10", "2025-10-01", "2024-W50", "2025-W01", "total"]
    changes.spent = {("l", period): 1 for period in periods}
    store.apply(changes)
    store.forget("2025-10")
    assert [period for period in periods if store.spent("l", period)] == ["2025-10", "2025-10-01", "2025-W01", "total"]


def test_usage_is_told_by_whatever_was_asked_for(store: BookStore) -> None:
    for changes in (
        used("2026-11-20T23", "fast", "a", 1, 10),
        used("2026-11-21T00", "fast", "a", 2, 20),
        used("2026-11-21T00", "fast", "b", 4, 40),
        used("2026-11-21T07", "slow", "a", 8, 80),
        used("2026-11-21T07", "slow", "a", 8, 80),
        used("2026-11-22T00", "slow", "a", 9, 90),
    ):
        store.apply(changes)

    def told(by: tuple[str, ...], bucket: str = "", begin: str = "2026-11-21T00") -> list[tuple[object, ...]]:
        rows = store.usage(begin, "2026-11-22T00", by, bucket)
        return [(*[row[name] for name in (*(("at",) if bucket else ()), *by)], row["requests"], row["cost"])
                for row in rows]  # fmt: skip

    assert told(("model",)) == [("slow", 16, 160), ("fast", 6, 60)]
    assert told(("consumer", "model")) == [("a", "slow", 16, 160), ("b", "fast", 4, 40), ("a", "fast", 2, 20)]
    assert told(()) == [(22, 220)]
    assert told((), "hour") == [("2026-11-21T00", 6, 60), ("2026-11-21T07", 16, 160)]
    assert told((), "day", "2026-11-01T00") == [("2026-11-20", 1, 10), ("2026-11-21", 22, 220)]
    assert told(("model",), "month", "2026-11-01T00") == [("2026-11", "slow", 16, 160), ("2026-11", "fast", 7, 70)]
    assert store.usage("2027-01-01T00", "2027-01-02T00", ("model",), "") == []


def test_an_hour_has_a_name() -> None:
    assert hour_of(1_763_700_000.0) == "2025-11-21T04"
