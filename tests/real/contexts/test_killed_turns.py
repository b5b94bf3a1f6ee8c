"""Workers that are killed -9 in the middle of turns, under clients that try again with the same key (CRP 11.8; I1, I3,
I4, #32, #57): nothing acknowledged is lost, nothing is said twice, and a turn that was answered is not asked anew."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from real.contexts.dialogue import MARK, body_of, new_mark, post, script
from real.contexts.test_slice import house_of
from real.llm.fake_provider import FakeProvider
from real.llm.house import ModelHouse
from real.llm.test_books_killed import children

pytestmark = pytest.mark.timeout(240)

SEED = int(os.environ.get("TIDEGATE_SEED", "7"))
CLIENTS = 10
ROUNDS = max(2, int(os.environ.get("TIDEGATE_TRIALS", "20")) // CLIENTS)
PATIENCE = 60.0


class Client(threading.Thread):
    """One conversation: says one thing after the other, each until it is answered. ``said``: marks in order, as
    acknowledged."""

    def __init__(self, port: int, name: str, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.session = name
        self.chance = chance
        self.said: list[str] = []
        self.tries = 0
        self.trouble = ""
        self.wanted = 0
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self.say()
                time.sleep(self.chance.random() * 0.2)
        except AssertionError as error:
            self.trouble = str(error)

    def say(self) -> None:
        mark = new_mark()
        until = time.monotonic() + PATIENCE
        body = body_of("chat", mark, session_id=self.session, stream=self.chance.random() < 0.5)
        while True:
            assert time.monotonic() < until, f"{mark} was never answered"
            self.tries += 1
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError, IndexError, AssertionError):
                answered = post(self.port, "chat", body, {"idempotency-key": mark}, timeout=20)
                if answered.status == 200 and answered.context:
                    self.said += [mark, answered.mark]
                    return
            time.sleep(0.1)


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(script=script, pause=0.02) as started:
        yield started


def kill_a_worker(house: ModelHouse, chance: random.Random) -> None:
    """Any child of the supervisor: a worker most of the time, control else."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(children(house.gateway.pid)), signal.SIGKILL)


def test_killed_workers_lose_nothing_that_was_acknowledged_I1_I3_I4(tmp_path: Path, fake: FakeProvider) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}, {CLIENTS} clients, {ROUNDS} kills")
    house = house_of(tmp_path, "sqlite", ("openai", fake), workers=2).ready()
    clients = [Client(house.door, f"s{number}", random.Random(chance.random())) for number in range(CLIENTS)]
    try:
        for client in clients:
            client.start()
        for _ in range(ROUNDS):
            time.sleep(1.0 + chance.random())
            kill_a_worker(house, chance)
        time.sleep(1.0)
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join(PATIENCE + 5)
        assert [client.trouble for client in clients if client.trouble] == []
        for client in clients:
            # the last word: what a provider is asked now is the log
            fake.heard.clear()
            last = new_mark()
            answered = post(house.door, "chat", body_of("chat", last, session_id=client.session))
            assert answered.status == 200, answered.body
            (heard,) = fake.heard
            log = [mark.decode() for mark in MARK.findall(heard.body)]
            assert len(log) == len(set(log)), log
            acknowledged = [mark for mark in log if mark in set(client.said)]
            assert acknowledged == client.said
            assert log[-1] == last
        assert sum(len(client.said) for client in clients) >= 4 * CLIENTS
    finally:
        for client in clients:
            client.ended.set()
        house.leave()
