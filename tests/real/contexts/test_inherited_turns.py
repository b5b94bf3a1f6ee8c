"""A worker that is killed -9 leaves a turn in flight: who takes its place ends it, and nobody waits out the lease of
15 seconds (CRP 5.2; I4)."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from real.contexts.dialogue import Answered, body_of, marks, new_mark, post, script
from real.contexts.test_slice import house_of
from real.llm.fake_provider import FakeProvider
from real.llm.house import ModelHouse

pytestmark = pytest.mark.timeout(60)

AGAIN = 2.0
"""Seconds within which the next turn has begun."""


def owner(house: ModelHouse) -> str:
    """Whose turn is in flight."""
    (file,) = house.folder.rglob("contexts.sqlite")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT owner FROM ref WHERE pending <> ''").fetchall()
    return rows[0][0] if rows else ""


def speak(port: int, text: str) -> None:
    """A turn that nobody hears the end of."""
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, IndexError, AssertionError):
        post(port, "chat", body_of("chat", text, session_id="s", stream=True))


def test_the_turn_of_a_killed_worker_holds_nobody_up(tmp_path: Path) -> None:
    with FakeProvider(script=script) as fake:
        house = house_of(tmp_path, "sqlite", ("openai", fake)).ready()
        try:
            first = post(house.door, "chat", body_of("chat", one := new_mark(), session_id="s"))
            assert first.status == 200, first.body
            fake.pause = 30.0
            threading.Thread(target=speak, args=(house.door, two := new_mark()), daemon=True).start()
            until = time.monotonic() + 10.0
            while not (name := owner(house)) or len(fake.heard) < 2:
                assert time.monotonic() < until
                time.sleep(0.01)
            fake.pause = 0.0
            os.kill(int(name.partition(":")[0]), signal.SIGKILL)
            killed = time.monotonic()
            answered: Answered | None = None
            while answered is None or answered.status != 200:
                assert time.monotonic() - killed < 20.0, answered
                with contextlib.suppress(OSError, http.client.HTTPException):
                    answered = post(house.door, "chat", body_of("chat", three := new_mark(), session_id="s"))
                time.sleep(0.02)
            waited = time.monotonic() - killed
            print(f"{waited:.2f} s")
            assert waited < AGAIN
            heard = marks(fake)
            assert heard[:3] == [one, first.mark, two]
            assert heard[-1] == three
        finally:
            house.leave()
