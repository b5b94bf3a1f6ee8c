"""The tables of SQLite: what one transaction does. Behaviour is in the suite (``test_sqlite``)."""

from __future__ import annotations

import sqlite3

from tidegate.repositories._sqlite_tables import SCHEMA, Tables


def test_versions_are_found_by_an_index_and_not_by_a_walk() -> None:  # 4
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    plans = [
        "SELECT id, branch FROM entry WHERE tenant = ? AND ver = ? LIMIT 1",
        "SELECT id, seq, branch, parents, status, fp, digest FROM entry WHERE tenant = ? AND ver = ? ORDER BY seq",
    ]
    for plan in plans:
        rows = connection.execute("EXPLAIN QUERY PLAN " + plan, ("t", "cv")).fetchall()
        assert "USING INDEX entry_ver (tenant=? AND ver=?)" in rows[0][3]


def test_reads_are_counted_statement_by_statement() -> None:
    tables = Tables(sqlite3.connect(":memory:"), lambda: 5, bytes)
    tables.connection.executescript(SCHEMA)
    assert tables.latest("t", "lesson") == 0
    assert tables.context("t", "ctx") is None
    assert tables.reads == 2
