"""The money path over real processes, real disks and SIGKILL (LLM 10.1, F14, F16).

The provider keeps books of its own: a file to which every call that it hears is added. So do the clients, with what
was answered to them. Afterwards every answered call is in the ledger, and provider ≤ spent ≤ what was set aside.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tidegate.control.bookkeeper import Bookkeeper
from tidegate.control.books_store import BookStore
from tidegate.control.ledger_shipping import Shipping
from tidegate.control.link import LinkClient, LinkConnection, LinkServer, Message
from tidegate.engine.books import LocalBooks, Reserved
from tidegate.engine.ledger import Ledger
from tidegate.engine.steps import Stepper, Steps, Wait
from tidegate.exchange.chat import Usage
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import DoneLine, LedgerRecord, OpenLine
from tidegate.ports.books import BudgetLevel, Refused
from tidegate.wire.ledger_line import decode_line, whole_lines

FULL = bool(os.environ.get("TIDEGATE_FULL"))
WORKERS = 3
ROUNDS = 200 if FULL else 14
LEVELS = (
    BudgetLevel("default/team/t/total", 200_000_000 if FULL else 14_000_000, "total"),
    BudgetLevel("default/key/k/total", 150_000_000 if FULL else 10_000_000, "total"),
)
AMOUNT = 1000


class Book:
    """A file to which lines are added by whoever lives."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, text: str) -> None:
        os.write(self.file, text.encode() + b"\n")


async def work(folder: Path, row: int) -> None:
    """A worker whose clients never rest."""
    loop = asyncio.get_running_loop()
    chance = random.Random(os.getpid())
    provider, clients = Book(folder / "provider"), Book(folder / "clients")
    steps = Steps(lambda error: os._exit(9))

    def aside(work: Callable[[], None], done: Callable[[OSError | None], None]) -> None:
        loop.run_in_executor(None, work).add_done_callback(lambda ended: done(None))

    ledger = Ledger(
        folder / "ledger",
        row,
        f"p{os.getpid()}t{time.monotonic_ns()}",
        time.monotonic,
        time.time,
        loop.call_soon,
        aside,
    )
    books = LocalBooks(
        ledger, time.monotonic, time.time, lambda message: link.connection is not None
        and link.connection.send_message(message), lambda: Wait(steps), loop.call_soon,
    )  # fmt: skip
    link = LinkClient(
        lambda: folder / "link.sock",
        lambda: {"slot": row, "pid": os.getpid(), "generation": 0, "seq": 0, "money": books.hello()},
        books.receive,
        lambda up: books.connected() if up else None,
    )
    number = 0

    async def call() -> None:
        nonlocal number
        number += 1
        id = f"{os.getpid()}-{number}"
        try:
            found = books.reserve(id, LEVELS, AMOUNT, "fast", time.time() + 60.0)
            if not isinstance(found, (Reserved, Refused)):
                found = await found  # type: ignore[misc]
        except Fault:
            loop.call_later(0.01, begin)
            return
        if isinstance(found, Refused):
            loop.call_later(0.01, begin)
            return
        cost = chance.randrange(AMOUNT + 1)
        provider.add(f"{id} {cost}")
        loop.call_later(chance.random() * 0.004, end, found, id, cost)

    def end(reserved: Reserved, id: str, cost: int) -> None:
        reserved.settle(LedgerRecord(id=id, ts=time.time(), asked="fast", cost=cost, usage=Usage(output=cost)))
        clients.add(id)
        begin()

    def begin() -> None:
        Stepper(steps, call()).advance()

    for _ in range(8):
        loop.call_soon(begin)
    running = loop.create_task(link.run())
    while True:
        await asyncio.sleep(0.01)
        books.tick()
        assert not running.done()


async def control(folder: Path) -> None:
    """Control's part of the money, with the crew as the test writes it down."""
    book = Bookkeeper(folder, time.monotonic, time.time, lambda row, message: send(row, message), WORKERS)
    crew: dict[str, int] = {}

    def send(row: int, message: Message) -> None:
        connection = server.workers.get(row)
        if connection is not None:
            connection.send_message(message)

    def hello(connection: LinkConnection, message: Message) -> None:
        book.hello(connection.slot, message["pid"], message["money"])

    server = LinkServer(hello, lambda connection, message: book.handle(connection.slot, message), lambda gone: None)
    book.start()
    await server.start(folder / "link.sock")
    while True:
        told: dict[str, int] = json.loads((folder / "crew").read_text())
        if told != crew:
            for row, pid in crew.items():
                if told.get(row) != pid:
                    book.gone(int(row), pid)
            crew = told
            book.crew(dict.fromkeys(told.values(), True))
        book.tick()
        await asyncio.sleep(0.005)


class House:
    """The supervisor: forks, kills, tells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: dict[int, int] = {}
        self.control = 0

    def fork(self, life: Callable[[], object]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(life())  # type: ignore[arg-type]
            finally:
                os._exit(1)
        return pid

    def start_worker(self, row: int) -> None:
        self.workers[row] = self.fork(lambda: work(self.folder, row))
        self.tell()

    def start_control(self) -> None:
        self.control = self.fork(lambda: control(self.folder))

    def tell(self) -> None:
        fresh = self.folder / "crew.new"
        fresh.write_text(json.dumps(self.workers))
        fresh.rename(self.folder / "crew")

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL, "it had ended by itself"

    def kill_worker(self, row: int) -> None:
        self.kill(self.workers.pop(row))
        self.tell()


def test_f14_f16_whoever_is_killed_every_answered_call_is_booked_and_no_budget_is_passed(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    chance = random.Random(7)
    house = House(tmp_path)
    house.tell()
    house.start_control()
    for row in range(WORKERS):
        house.start_worker(row)
    time.sleep(0.3)
    for _ in range(ROUNDS):
        what = chance.random()
        if what < 0.5:
            row = chance.randrange(WORKERS)
            house.kill_worker(row)
            house.start_worker(row)
        elif what < 0.85:
            house.kill(house.control)
            house.start_control()
        else:
            house.kill(house.control)
            for row in range(WORKERS):
                house.kill_worker(row)
            house.start_control()
            for row in range(WORKERS):
                house.start_worker(row)
        time.sleep(0.05 + chance.random() * 0.3)
    time.sleep(1.5)
    for row in range(WORKERS):
        house.kill_worker(row)
    house.kill(house.control)

    store = BookStore(tmp_path / "books.sqlite")
    assert Shipping(tmp_path / "ledger", store, time.time, 1e9).run({}, (), ()).whole
    lines = [
        decode_line(raw) for file in (tmp_path / "ledger").iterdir() for raw in whole_lines(file.read_bytes())
    ]  # fmt: skip
    set_aside = sum(line.amount for line in lines if isinstance(line, OpenLine))
    booked = {line.record.id for line in lines if isinstance(line, DoneLine)}
    answered = (tmp_path / "clients").read_text().split()
    heard = [line.split() for line in (tmp_path / "provider").read_text().splitlines()]
    provider = sum(int(cost) for _, cost in heard)
    assert len(answered) == len(set(answered)) > 500
    assert set(answered) <= booked
    for level in LEVELS:
        spent = store.spent(level.id, "total")
        assert provider <= spent <= min(set_aside, level.limit)
    assert {id for id, _ in heard} <= {line.id for line in lines if isinstance(line, OpenLine)}
    print(f"{len(answered)} answered, provider {provider}, spent {spent}, set aside {set_aside}")
    store.close()
