"""SQLite after kill -9 at any point: nothing acknowledged is lost, nothing doubled, nothing torn (57, K4 K6 K7)."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any, cast

from fakes import FakeTools
from repositories.kill import TRIALS, Arm, after_a_moment, die, kill_and_retry
from tidegate.ports.context_store import ContextStore
from tidegate.repositories.sqlite import Config, Sqlite


class _Dies:
    """A connection that dies before or behind one of its next statements."""

    def __init__(self, connection: sqlite3.Connection, dice: random.Random) -> None:
        self.connection = connection
        self.left = dice.randrange(1, 30)
        self.before = dice.random() < 0.5

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self.left -= 1
        if self.left == 0 and self.before:
            die()
        cursor = self.connection.execute(*arguments)
        if self.left == 0:
            die()
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def at_a_statement(store: ContextStore, dice: random.Random) -> None:
    """Dies inside a transaction (K4)."""
    writer = cast(Sqlite, store)._writer
    assert writer is not None
    writer.tables.connection = cast(sqlite3.Connection, _Dies(writer.tables.connection, dice))


ARMS: tuple[Arm, ...] = (at_a_statement, at_a_statement, after_a_moment(0.004))


def test_nothing_acknowledged_is_lost_nothing_doubled_nothing_torn(tmp_path: Path) -> None:  # 57
    folder = tmp_path / "data"
    folder.mkdir()

    def tools() -> FakeTools:
        made = FakeTools(data_folder=folder)
        made.wall = time.time  # type: ignore[method-assign]
        made.token = os.urandom  # type: ignore[method-assign]
        return made

    async def opened() -> ContextStore:
        store = Sqlite(Config(), tools())
        await store.open()
        return store

    def found(text: str) -> bool:
        return any(text.encode() in file.read_bytes() for file in folder.iterdir())

    tally = kill_and_retry(tmp_path, opened, ARMS, found=found)
    print(tally)
    assert tally.trials == TRIALS
    assert tally.killed > TRIALS // 4
    assert tally.acknowledged > TRIALS
