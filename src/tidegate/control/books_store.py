"""``books.sqlite`` (LLM 10.1): what was spent, which calls are open, how far each ledger was read, usage by the hour.

One transaction holds what some lines of ledgers came to and the place behind them, so no line counts twice. A file
that is damaged is set aside and made anew from the ledgers that are kept.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

DIMENSIONS: Final = ("tenant", "team", "consumer", "key", "model", "served", "provider", "route", "surface")
"""What usage can be told by. ``model`` is the name that was asked for, ``served`` the provider's."""
FIGURES: Final = (
    "requests", "errors", "input_tokens", "output_tokens", "cached_tokens", "cost", "saved", "waste", "estimated",
)  # fmt: skip
"""``cost saved waste`` in n$; ``estimated``: calls booked at what was set aside for them."""
REMEMBERED: Final = 50_000
"""Ids of settled calls that are remembered, to know a line that was written twice."""
SPAN: Final = {"hour": 13, "day": 10, "month": 7, "": 0}
"""Characters of ``2026-11-21T22`` that name a bucket."""

Key = tuple[str, str]

BooksError = sqlite3.Error
"""The books cannot be read or written."""

_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS spent (level TEXT, period TEXT, nusd INTEGER NOT NULL, PRIMARY KEY (level, period))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open (id TEXT PRIMARY KEY, boot TEXT, ts REAL, deadline REAL, amount INTEGER, model TEXT,
  levels TEXT, estimated INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settled (number INTEGER PRIMARY KEY, id TEXT);
CREATE TABLE IF NOT EXISTS batch (name TEXT PRIMARY KEY, whose TEXT, booked INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS position (segment TEXT PRIMARY KEY, offset INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (period TEXT PRIMARY KEY, latest REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (hour TEXT, {", ".join(f'"{name}" TEXT' for name in DIMENSIONS)},
  {", ".join(f'"{name}" INTEGER NOT NULL' for name in FIGURES)},
  PRIMARY KEY (hour, {", ".join(f'"{name}"' for name in DIMENSIONS)})) WITHOUT ROWID;
"""
_levels: Final = msgspec.json.Decoder(tuple[Key, ...]).decode
_whose: Final = msgspec.json.Decoder(tuple[str, ...]).decode
_ADD_USAGE: Final = (
    f"INSERT INTO usage VALUES ({', '.join('?' * (1 + len(DIMENSIONS) + len(FIGURES)))}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f'"{name}" = "{name}" + excluded."{name}"' for name in FIGURES)
)


class OpenCall(NamedTuple):
    """A call that is open: what was set aside for it, by which boot. ``estimated``: booked at that, until its end is
    heard of after all."""

    id: str
    boot: str
    ts: float
    deadline: float
    amount: int
    model: str
    levels: tuple[Key, ...]
    estimated: bool = False


class Batch(NamedTuple):
    """A batch at a provider, remembered for ever: ``whose`` it is, as :data:`DIMENSIONS`, and whether it is booked."""

    whose: tuple[str, ...]
    booked: bool


class Known(NamedTuple):
    """What the store remembers of the ledgers."""

    positions: dict[str, int]
    open: dict[str, OpenCall]
    settled: list[str]
    latest: float


class Changes:
    """What some lines came to; applied as one."""

    def __init__(self) -> None:
        self.lines = 0
        self.spent: dict[Key, int] = {}
        self.opened: dict[str, OpenCall] = {}
        self.closed: set[str] = set()
        self.settled: list[str] = []
        self.positions: dict[str, int] = {}
        self.removed: list[str] = []
        """Segments that are no more."""
        self.usage: dict[tuple[str, ...], list[int]] = {}
        """(hour, *DIMENSIONS) → FIGURES."""
        self.batches: dict[str, Batch] = {}
        self.latest = 0.0

    def empty(self) -> bool:
        return not (self.spent or self.opened or self.closed or self.settled or self.positions or self.removed)


class BookStore:
    """One ``books.sqlite``. ``apply`` and ``known`` belong to one thread, ``spent`` to another; ``usage`` opens what it
    needs. Raises ``BooksError``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = self._open()
        self.reader = self._reading()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # the disk, or somebody else's lock: not damage
            for suffix in ("", "-wal", "-shm"):
                damaged = Path(f"{self.path}{suffix}")
                if damaged.exists():
                    damaged.rename(f"{self.path}.damaged{suffix}")
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _reading(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only = 1")
        return connection

    def known(self) -> Known:
        """All that the reader of ledgers goes on with."""
        run = self.writer.execute
        rows = run("SELECT id, boot, ts, deadline, amount, model, levels, estimated FROM open").fetchall()
        open_calls = {
            id: OpenCall(id, boot, ts, deadline, amount, model, _levels(levels), bool(estimated))
            for id, boot, ts, deadline, amount, model, levels, estimated in rows
        }
        latest = run("SELECT latest FROM clock WHERE period = 'latest'").fetchone()
        return Known(
            dict(run("SELECT segment, offset FROM position").fetchall()),
            open_calls,
            [row[0] for row in run("SELECT id FROM settled ORDER BY number")],
            latest[0] if latest else 0.0,
        )

    def spent(self, level: str, period: str) -> int:
        """n$ spent at *level* in *period*."""
        row = self.reader.execute("SELECT nusd FROM spent WHERE level = ? AND period = ?", (level, period)).fetchone()
        return int(row[0]) if row else 0

    def batch(self, name: str) -> Batch | None:
        """What is known of the batch *name*."""
        row = self.writer.execute("SELECT whose, booked FROM batch WHERE name = ?", (name,)).fetchone()
        return None if row is None else Batch(_whose(row[0]), bool(row[1]))

    def apply(self, changes: Changes) -> dict[Key, int]:
        """Remember *changes*, all or none; what each level that changed has spent in all."""
        many = self.writer.executemany
        run = self.writer.execute
        run("BEGIN IMMEDIATE")
        try:
            many(
                "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET nusd = nusd + excluded.nusd",
                [(*key, nusd) for key, nusd in changes.spent.items()],
            )
            many("DELETE FROM open WHERE id = ?", [(id,) for id in changes.closed])
            many(
                "INSERT OR REPLACE INTO open VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(*call[:6], msgspec.json.encode(call.levels).decode(), call.estimated)
                 for call in changes.opened.values()],
            )  # fmt: skip
            many("INSERT INTO settled (id) VALUES (?)", [(id,) for id in changes.settled])
            if changes.settled:
                run("DELETE FROM settled WHERE number <= (SELECT max(number) FROM settled) - ?", (REMEMBERED,))
            many(
                "INSERT OR REPLACE INTO batch VALUES (?, ?, ?)",
                [(name, msgspec.json.encode(one.whose).decode(), one.booked) for name, one in changes.batches.items()],
            )
            many("INSERT OR REPLACE INTO position VALUES (?, ?)", list(changes.positions.items()))
            many("DELETE FROM position WHERE segment = ?", [(name,) for name in changes.removed])
            many(_ADD_USAGE, [(*key, *figures) for key, figures in changes.usage.items()])
            if changes.latest:
                run("INSERT OR REPLACE INTO clock VALUES ('latest', ?)", (changes.latest,))
            totals = {
                key: int(run("SELECT nusd FROM spent WHERE level = ? AND period = ?", key).fetchone()[0])
                for key in changes.spent
            }
            run("COMMIT")
        except BaseException:
            if self.writer.in_transaction:
                run("ROLLBACK")
            raise
        return totals

    def forget(self, before: str) -> None:
        """Forget what was spent in days and months before *before* (``2026-11``), and in weeks of earlier years."""
        self.writer.execute("DELETE FROM spent WHERE period < ? AND period != 'total'", (before,))

    def usage(self, begin: str, end: str, by: Sequence[str], bucket: str) -> list[dict[str, Any]]:
        """Figures from hour *begin* to before hour *end* (``2026-11-21T22``), by *by* (names of :data:`DIMENSIONS`),
        and by *bucket* (a key of :data:`SPAN`) as ``at``. Ordered by bucket, then by cost, the dearest first."""
        names = [f'"{name}"' for name in by if name in DIMENSIONS]
        columns = [f"substr(hour, 1, {SPAN[bucket]}) AS at"] if SPAN[bucket] else []
        columns += names
        group = ", ".join((["at"] if SPAN[bucket] else []) + names)
        sums = ", ".join(f'coalesce(sum("{name}"), 0) AS "{name}"' for name in FIGURES)
        order = ("at, " if SPAN[bucket] else "") + "cost DESC" + "".join(f", {name}" for name in names)
        query = (
            f"SELECT {', '.join([*columns, sums])} FROM usage WHERE hour >= ? AND hour < ?"
            + (f" GROUP BY {group}" if group else "")
            + f" ORDER BY {order} LIMIT 100000"
        )
        connection = self._reading()
        try:
            cursor = connection.execute(query, (begin, end))
            keys = [column[0] for column in cursor.description]
            return [dict(zip(keys, row, strict=True)) for row in cursor]
        finally:
            connection.close()

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


def hour_of(ts: float) -> str:
    """The hour of *ts* (seconds since the epoch) as the usage table names it."""
    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%dT%H}"
