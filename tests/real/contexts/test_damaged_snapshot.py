"""A flipped byte in a snapshot costs nothing: the log is read instead, and the next snapshot is whole (I5)."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from real.contexts.dialogue import body_of, marks, new_mark, post, script
from real.contexts.test_slice import house_of
from real.llm.fake_provider import FakeProvider

pytestmark = pytest.mark.timeout(60)

TURNS = 20
"""Two entries each, and a snapshot is taken after 32."""


def test_a_flipped_byte_in_a_snapshot_costs_no_turn_I5(tmp_path: Path) -> None:
    with FakeProvider(script=script) as fake:
        house = house_of(tmp_path, "sqlite", ("openai", fake)).ready()
        try:
            said: list[str] = []
            for _ in range(TURNS):
                answered = post(house.door, "chat", body_of("chat", mark := new_mark(), session_id="s"))
                assert answered.status == 200, answered.body
                said += [mark, answered.mark]
            os.killpg(house.gateway.pid, signal.SIGKILL)
            house.gateway.process.wait(5)
            (file,) = tmp_path.rglob("contexts.sqlite")
            with contextlib.closing(sqlite3.connect(file)) as connection, connection:
                ((seq, body),) = connection.execute("SELECT seq, body FROM snap").fetchall()
                broken = bytearray(body)
                broken[len(body) // 2] ^= 1
                connection.execute("UPDATE snap SET body = ?", (bytes(broken),))
            house = house_of(tmp_path, "sqlite", ("openai", fake)).ready()
            answered = post(house.door, "chat", body_of("chat", last := new_mark(), session_id="s"))
            assert answered.status == 200, answered.body
            assert marks(fake) == [*said, last]
            assert "context_snapshot_damaged" in house.gateway.said
            house.leave()
            with contextlib.closing(sqlite3.connect(file)) as connection:
                assert connection.execute("SELECT seq > ? FROM snap", (seq,)).fetchall() == [(1,)]
        finally:
            house.leave()
