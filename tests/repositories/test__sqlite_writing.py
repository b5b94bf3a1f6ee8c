"""What the writer does within one transaction: all of it or nothing. Behaviour is in the suite (``test_sqlite``)."""

from __future__ import annotations

import sqlite3

from repositories.conformance import Place, Talk
from tidegate.repositories._sqlite_tables import SCHEMA
from tidegate.repositories._sqlite_writing import Writing


async def _unused() -> None:
    raise AssertionError


def test_whatever_statement_fails_nothing_of_a_begin_is_left() -> None:
    """CX-kill9-append: as if the process died there."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    writing = Writing(connection, lambda: 1_000_000, bytes)
    talk = Talk(Place(_unused), writing)  # type: ignore[arg-type]
    assert writing.begin(talk.asker, talk.id, talk.request(b"0"), "").outcome == "ok"
    before = list(connection.iterdump())
    left = 0

    class Refuses(Exception):
        pass

    real = connection.execute

    class Counting:
        def execute(self, statement: str, values: object = ()) -> sqlite3.Cursor:
            nonlocal left
            left -= 1
            if left == 0:
                raise Refuses
            return real(statement, values)  # type: ignore[arg-type]

    stops = 0
    writing.connection = Counting()  # type: ignore[assignment]
    supersede = talk.request(b"2", supersede=True, key="k", scope="ep:x:ann")
    for at in range(1, 100):
        left = at
        real("BEGIN IMMEDIATE")
        try:
            writing.begin(talk.asker, talk.id, supersede, "")
        except Refuses:
            stops += 1
            real("ROLLBACK")
            assert list(connection.iterdump()) == before
            continue
        break
    assert stops > 8
    real("COMMIT")
    assert [row[0] for row in real("SELECT kind FROM entry ORDER BY seq")] == [0, 1, 0]
    assert real("SELECT count(*) FROM idem").fetchone() == (2,)
