"""SQLite after kill -9 at any point: nothing acknowledged is lost, nothing doubled, nothing torn (57, K4 K6 K7)."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any, cast

from fakes import FakeTools
from repositories.kill import TRIALS, Arm, Open, after_a_moment, die, kill_and_retry, stop_past_the_lease
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


def opened_in(folder: Path) -> Open:
    async def opened() -> ContextStore:
        tools = FakeTools(data_folder=folder)
        tools.wall = time.time  # type: ignore[method-assign]
        tools.token = os.urandom  # type: ignore[method-assign]
        store = Sqlite(Config(), tools)
        await store.open()
        return store

    return opened


def test_a_worker_frozen_past_its_lease_cannot_commit(tmp_path: Path) -> None:  # I7, 29
    assert stop_past_the_lease(tmp_path, opened_in(tmp_path)) == {
        "begun": "ok", "early": "busy", "follows": True, "done": "ok", "late": "fenced", "renewed": False, "head": True,
        "log": [
            ("reserve", "in_progress"), ("commit", "incomplete"), ("reserve", "in_progress"), ("commit", "completed"),
        ],
    }  # fmt: skip


def test_nothing_acknowledged_is_lost_nothing_doubled_nothing_torn(tmp_path: Path) -> None:  # 57
    folder = tmp_path / "data"
    folder.mkdir()

    def found(text: str) -> bool:
        return any(text.encode() in file.read_bytes() for file in folder.iterdir())

    tally = kill_and_retry(tmp_path, opened_in(folder), ARMS, found=found)
    print(tally)
    assert tally.trials == TRIALS
    assert tally.killed > TRIALS // 4
    assert tally.acknowledged > TRIALS
