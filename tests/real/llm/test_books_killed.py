"""The books of a whole gateway whose workers, control and supervisor are killed -9 under load (LLM 10.1, F14 to F16).

The fake provider keeps books of its own. Afterwards every answered call is in the ledger, the provider's bill is not
more than what was spent, and that not more than the budget.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest

from real.llm.fake_provider import FakeProvider
from real.llm.house import INPUT_PRICE, KEY, OUTPUT_PRICE, ModelHouse, model, provider
from real.processes import FULL, Gateway, until
from tidegate.rules.pricing import dollars

pytestmark = pytest.mark.timeout(300)

CLIENTS = 4
WORKERS = 2
ROUNDS = 40 if FULL else 8
BUDGET = 600_000_000 if FULL else 60_000_000
"""n$; used up before the end on most machines: then everybody hears 429."""
BODY = json.dumps(
    {"model": "fast", "max_tokens": 200, "messages": [{"role": "user", "content": "What is the weather like?"}]}
).encode()


class Client(threading.Thread):
    """Asks one call after the other until told to stop; ``answered`` holds the request ids of whole answers."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.answered: list[str] = []
        self.statuses: dict[int, int] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            try:
                while not self.ended.is_set():
                    connection.request(
                        "POST", "/v1/chat/completions", BODY,
                        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
                    )  # fmt: skip
                    answer = connection.getresponse()
                    answer.read()
                    self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
                    if answer.status == 200:
                        self.answered.append(answer.getheader("x-request-id") or "")
                    else:
                        time.sleep(0.01)
            except (OSError, http.client.HTTPException):
                time.sleep(0.01)
            finally:
                connection.close()


def children(pid: int) -> list[int]:
    """Workers and control of the supervisor *pid*."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_supervisor(house: ModelHouse) -> None:
    """SIGKILL to the supervisor alone, as the kernel does it when memory is short, and a service manager that starts
    it again at once: what it left behind is still ending then."""
    house.gateway.process.kill()
    house.gateway.process.wait(5)
    house.gateway = Gateway(house.gateway.config, house.folder, house.gateway.admin, WORKERS)


def test_f14_f16_killed_under_load_every_answer_is_booked_and_the_budget_holds(tmp_path: Path) -> None:
    chance = random.Random(3)
    usd = dollars(BUDGET)
    with FakeProvider() as fake:
        house = ModelHouse(
            tmp_path,
            {
                "providers": [provider("openai", fake)],
                "models": [model("fast", "openai")],
                "consumers": [{"name": "tester", "keys": [KEY], "budget": {"usd": usd, "per": "total"}}],
            },
            WORKERS,
        ).ready()
        clients = [Client(house.door) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            for number in range(ROUNDS):
                time.sleep(0.3 + chance.random() * 0.5)
                if number % 4 == 3:
                    kill_supervisor(house)
                    house.ready()
                else:
                    os.kill(chance.choice(children(house.gateway.pid)), signal.SIGKILL)
            until(lambda: all(client.statuses for client in clients), 10)
            time.sleep(1.5)
        finally:
            for client in clients:
                client.ended.set()
            for client in clients:
                client.join(15)
        answered = {id for client in clients for id in client.answered}
        time.sleep(2.5)
        until(lambda: house.gateway._ready(), 10)
        spent = house.spent()
        booked = {record["request_id"] for record in house.records()}
        read, written = fake.billed()
        statuses = [client.statuses for client in clients]
        print(
            f"{len(answered)} answered, {statuses}, billed {read * INPUT_PRICE + written * OUTPUT_PRICE}, spent {spent}"
        )
        assert len(answered) > 50, statuses
        assert answered <= booked
        assert read * INPUT_PRICE + written * OUTPUT_PRICE <= spent <= BUDGET
        assert house.gateway.stop() == 0, house.gateway.said
