"""Money over real processes (F13 to F16): no budget is passed by a thousand clients on four workers, and whoever is
killed, every answered call is in the ledger. The vendor's books judge.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from real.llm.fake_dialects import INPUT, PIECES
from real.llm.fake_provider import FakeProvider
from real.llm.house import NUSD, ModelHouse, model, nusd, provider, worth
from real.processes import FULL, until
from real.traffic import Answer, Lost, Talk

CLIENTS: Final = 1000
WORKERS: Final = 4
COST: Final = worth(INPUT, len(PIECES))
"""n$ of one call."""
BUDGET: Final = 80 * COST
ROUNDS: Final = 20 if FULL else 2
"""Times that a worker, and then control, is killed under load."""

pytestmark = pytest.mark.timeout(900 if FULL else 240)


def body(stream: bool, name: str = "fast") -> bytes:
    messages = [{"role": "user", "content": "hi"}]
    more = {"stream": True} if stream else {}
    return json.dumps({"model": name, "messages": messages, "max_tokens": 20, **more}).encode()


def worst(stream: bool) -> int:
    """What a call may cost at most: a token for each byte, and all the output it asks for (LLM 10)."""
    return worth(len(body(stream)), 20)


def dollars(amount: int) -> str:
    return f"{amount // NUSD}.{amount % NUSD:09d}"


@pytest.fixture
def fake(network: bool) -> Iterator[FakeProvider]:
    with FakeProvider() as made:
        yield made


def house_of(folder: Path, fake: FakeProvider, **consumer: Any) -> ModelHouse:
    config = {
        "providers": [provider("openai", fake, limits={"in_flight": 5000})],
        "models": [model("fast", "openai")],
        "consumers": [{"name": name, "keys": [f"tg-{name}-key"], **consumer} for name in ("ann", "bob")],
    }
    return ModelHouse(folder, config, WORKERS).ready()


async def call(door: int, key: str, stream: bool) -> Answer | str:
    """The answer, or why there is none."""
    try:
        talk = await Talk.open(door)
    except OSError as error:
        return type(error).__name__
    try:
        fields = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        return await talk.call("POST", "/v1/chat/completions", fields, body(stream))
    except (Lost, OSError) as error:
        return str(error)
    finally:
        talk.close()


# -- budgets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_f16_a_thousand_clients_on_four_workers_never_pass_a_budget(
    fake: FakeProvider, tmp_path: Path, stream: bool
) -> None:
    house = house_of(tmp_path, fake, budget={"usd": dollars(BUDGET), "per": "total"})
    try:
        fake.pause = 0.002

        async def wave() -> list[Answer | str]:
            return list(await asyncio.gather(*(call(house.door, "tg-ann-key", stream) for _ in range(CLIENTS))))

        answers = asyncio.run(wave())
        # What was set aside and not used is free again: later ones may have it, down to the last worst case.
        for _ in range(120):
            answers.append(asyncio.run(call(house.door, "tg-ann-key", stream)))
            if isinstance(answers[-1], Answer) and answers[-1].status == 429:
                break
        counts = Counter(answer if isinstance(answer, str) else answer.status for answer in answers)
        print(f"\n{counts}, most at once {fake.most_in_flight}")
        assert set(counts) <= {200, 429, 503}, counts
        assert counts[200] == len(fake.bills)
        read, written = fake.billed()
        assert worth(read, written) == counts[200] * COST <= BUDGET
        assert BUDGET - worth(read, written) < worst(stream) + COST, "the last of it can be spent"
        # Each call in flight has its worst case set aside; one that is settled may still be ending at the vendor.
        assert fake.most_in_flight <= 2 * (BUDGET // worst(stream))
        for answer in answers:
            if isinstance(answer, Answer) and answer.status == 429:
                refused = json.loads(answer.body)["error"]
                assert (refused["type"], refused["code"]) == ("insufficient_quota", "budget_exceeded")
                assert answer.fields["x-should-retry"] == "false"
        until(lambda: house.spent() == worth(read, written), 8, lambda: str(house.usage()["total"]))
        other = asyncio.run(call(house.door, "tg-bob-key", stream))
        assert isinstance(other, Answer) and other.status == 200, "another consumer has a budget of his own"
        house.leave()
    finally:
        house.gateway.abandon()


# -- kills ------------------------------------------------------------------------------------------------------------


class Load:
    """Clients that never rest; ``answered`` holds the request id of each answer that was read to its end."""

    def __init__(self, door: int) -> None:
        self.door = door
        self.answered: list[str] = []
        self.kinds: Counter[str] = Counter()
        self.over = False

    async def client(self, number: int) -> None:
        turn = number
        while not self.over:
            turn += 1
            stream = turn % 2 == 0
            found = await call(self.door, "tg-ann-key" if number % 2 else "tg-bob-key", stream)
            if isinstance(found, str):
                self.kinds[found] += 1
            elif found.status != 200:
                self.kinds[f"{found.status} {json.loads(found.body)['error']['code']}"] += 1
            elif stream and b"[DONE]" not in found.body[-20:]:
                self.kinds["a stream with an error at its end"] += 1
            else:
                self.answered.append(found.fields["x-request-id"])

    async def flowing(self, more: int) -> None:
        wanted = len(self.answered) + more
        async with asyncio.timeout(30):
            while len(self.answered) < wanted:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("victim", ["worker", "control"])
def test_f14_whoever_is_killed_every_answered_call_is_in_the_ledger(
    fake: FakeProvider, tmp_path: Path, victim: str
) -> None:
    house = house_of(tmp_path, fake, budget={"usd": 100, "per": "total"})
    fake.pause = 0.002
    load = Load(house.door)
    gateway = house.gateway

    def control() -> int:
        (pid,) = gateway.children() - set(gateway.workers().values())
        return pid

    async def play() -> None:
        clients = [asyncio.create_task(load.client(number)) for number in range(24)]
        for turn in range(ROUNDS):
            await load.flowing(100)
            if victim == "worker":
                workers = await asyncio.to_thread(gateway.workers)
                os.kill(workers[turn % WORKERS], signal.SIGKILL)
            else:
                os.kill(await asyncio.to_thread(control), signal.SIGKILL)
            await load.flowing(100)
            await asyncio.to_thread(until, lambda: ready(house), 15)
        load.over = True
        await asyncio.gather(*clients)

    try:
        asyncio.run(play())
        print(f"\n{len(load.answered)} answered, besides {dict(load.kinds)}")
        booked = {record["request_id"] for record in house.records()}
        assert set(load.answered) <= booked
        assert len(load.answered) == len(set(load.answered))
        if victim == "control":
            # Nobody who serves was touched: a call may have been told to come back, none was lost.
            assert {kind.split()[0] for kind in load.kinds} <= {"503"}
        read, written = fake.billed()
        until(lambda: settled(house) and house.spent() >= worth(read, written), 20, lambda: str(house.usage()))
        opened = [line for line in house.lines() if line["kind"] == "open"]
        assert worth(read, written) <= house.spent() <= sum(line["amount"] for line in opened)
        gateway.stop()
        assert "Traceback" not in gateway.said
    finally:
        gateway.abandon()


def ready(house: ModelHouse) -> bool:
    try:
        return len(house.gateway.workers()) == WORKERS
    except (OSError, AssertionError, ValueError, KeyError):
        return False


def settled(house: ModelHouse) -> bool:
    """Every call that was set aside for is booked: by its own record, or as what it might have cost at most."""
    lines = house.lines()
    opened = {line["id"] for line in lines if line["kind"] == "open"}
    return int(house.usage()["total"]["requests"]) >= len(opened)


# -- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_booked_once_to_who_made_it_through_kills_and_whoever_asks(
    fake: FakeProvider, tmp_path: Path
) -> None:
    """Each worker may be told of it, and control may be a new one: there is one bill at the vendor and one here."""
    house = house_of(tmp_path, fake)
    gateway = house.gateway

    async def said(key: str, method: str, path: str, body: bytes = b"") -> Any:
        talk = await Talk.open(house.door)
        try:
            fields = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            answer = await talk.call(method, path, fields, body)
            assert answer.status == 200, answer
            return json.loads(answer.body)
        finally:
            talk.close()

    def costs() -> dict[str, int]:
        return {row["consumer"]: nusd(row["cost_usd"]) for row in house.usage("consumer")["items"]}

    try:
        made = asyncio.run(said("tg-ann-key", "POST", "/v1/batches", b'{"input_file_id": "file-1"}'))
        until(lambda: house.usage()["total"]["requests"] == 1, 5)
        for round in range(3):
            for _ in range(2 * WORKERS):
                asked = asyncio.run(said("tg-bob-key", "GET", f"/v1/batches/{made['id']}"))
                assert asked["status"] == "completed" and asked["id"] == made["id"]
            workers = set(gateway.workers().values())
            if round == 0:
                (control,) = gateway.children() - workers
                os.kill(control, signal.SIGKILL)
            else:
                os.kill(min(workers), signal.SIGKILL)
            until(lambda: ready(house), 15)
        (bill,) = fake.bills
        worth_of_it = worth(bill.input, bill.output)
        until(lambda: house.spent() == worth_of_it, 8, lambda: str(house.usage("consumer")))
        told = [record for record in house.records() if record["id"].startswith("batch:")]
        assert len(told) >= 1 and {record["cost"] for record in told} == {worth_of_it}
        assert len({record["ts"] for record in told}) == 1
        until(lambda: house.usage()["total"]["requests"] == 2 + 6 * WORKERS, 8, lambda: str(house.usage()["total"]))
        assert house.spent() == worth_of_it
        assert costs() == {"ann": worth_of_it, "bob": 0}
        house.leave()
    finally:
        gateway.abandon()
