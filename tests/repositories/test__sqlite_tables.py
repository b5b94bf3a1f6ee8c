"""The tables of SQLite: what one transaction does. Behaviour is in the suite (``test_sqlite``)."""

from __future__ import annotations

import sqlite3

from tidegate.exchange.context_log import Asker
from tidegate.repositories._sqlite_tables import SCHEMA, Tables


def test_versions_are_found_by_an_index_and_not_by_a_walk() -> None:  # 4
    seen: list[str] = []
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    tables = Tables(connection, lambda: 5, bytes)
    connection.set_trace_callback(seen.append)
    assert tables.lookup("t", "cv", "ctx") is None
    assert tables.resolve(Asker("t"), "cv_01ARZ3NDEKTSV4RRFFQ69G5FAV") is None
    connection.set_trace_callback(None)
    assert len(seen) == 2
    for statement in seen:
        plan = connection.execute("EXPLAIN QUERY PLAN " + statement).fetchall()
        assert [row[3] for row in plan] == ["SEARCH entry USING INDEX entry_ver (tenant=? AND ver=?)"]


def test_reads_are_counted_statement_by_statement() -> None:
    tables = Tables(sqlite3.connect(":memory:"), lambda: 5, bytes)
    tables.connection.executescript(SCHEMA)
    assert tables.latest("t", "lesson") == 0
    assert tables.context("t", "ctx") is None
    assert tables.reads == 2
