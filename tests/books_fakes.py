"""The whole money path in one process: real ledgers, books and authority, a fake clock, a link that takes its time."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidegate.control.books import BudgetAuthority, Message
from tidegate.control.books_store import BookStore
from tidegate.control.ledger_shipping import Shipping
from tidegate.engine.books import LocalBooks, Reserved
from tidegate.engine.ledger import Ledger
from tidegate.engine.steps import Stepper, Steps, Wait
from tidegate.exchange.chat import Usage
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import LedgerRecord
from tidegate.ports.books import BudgetLevel, Refused

WALL = 1_763_700_000.0
"""2025-11-21T04:40:00Z."""


def inline(work: Callable[[], None], done: Callable[[OSError | None], None]) -> None:
    """Slow disk work, done here and now."""
    try:
        work()
    except OSError as error:
        done(error)
    else:
        done(None)


class Worker:
    """One life of a worker."""

    def __init__(self, node: Node, row: int, pid: int) -> None:
        self.node = node
        self.row = row
        self.pid = pid
        self.ledger = Ledger(node.folder, row, f"b{pid}", node.now, node.wall, lambda work: work(), inline)
        self.steps = Steps(node.errors.append)
        self.books = LocalBooks(
            self.ledger, node.now, node.wall, self.send, lambda: Wait(self.steps), lambda work: work()
        )
        self.linked = False
        self.heard = False
        """Whether control has our hello of this connection: only then it writes to it."""
        self.open: list[Reserved] = []
        self.waiting: list[Stepper] = []

    def send(self, message: Message) -> bool:
        if not self.linked:
            return False
        self.node.post("control", self.row, message)
        return True

    def connect(self) -> None:
        self.linked = True
        self.node.post("control", self.row, {"kind": "hello", "pid": self.pid, "money": self.books.hello()})
        self.books.connected()

    def disconnect(self) -> None:
        self.linked = self.heard = False
        self.node.letters = [letter for letter in self.node.letters if letter[3] != self.row]

    def reserve(self, levels: tuple[BudgetLevel, ...], amount: int, deadline: float = 60.0) -> list[Any]:
        """What comes of an ask, in time: a reservation, a refusal or a Fault."""
        said: list[Any] = []
        id = self.node.id()

        async def journey() -> None:
            try:
                found = self.books.reserve(id, levels, amount, "fast", self.node.wall() + deadline)
                if not isinstance(found, (Reserved, Refused)):
                    found = await found  # type: ignore[misc]
            except Fault as fault:
                found = fault  # type: ignore[assignment]
            if isinstance(found, Reserved):
                self.open.append(found)
            said.append(found)

        stepper = Stepper(self.steps, journey())
        self.waiting = [one for one in self.waiting if not one.ended] + [stepper]
        stepper.advance()
        return said

    def settle(self, reserved: Reserved, cost: int) -> None:
        self.open.remove(reserved)
        found = reserved.settle(
            LedgerRecord(id=reserved.id, ts=self.node.wall(), asked="fast", cost=cost, usage=Usage(input=cost))
        )
        assert found is None
        self.node.paid += cost

    def held(self) -> int:
        return sum(reserved.amount for reserved in self.open)

    def die(self) -> None:
        """SIGKILL: what is written is written, everything else is gone."""
        self.disconnect()
        for file in (self.ledger.file, self.ledger.alive):
            if file >= 0:
                os.close(file)
        self.node.lost += self.held()
        self.open = []


class Node:
    """Workers, a control that can die too, and the letters between them."""

    def __init__(self, path: Path, workers: int = 1, delay: float = 0.0, seed: int = 0) -> None:
        self.path = path
        self.folder = path / "ledger"
        self.folder.mkdir(exist_ok=True)
        self.time = 1000.0
        self.wall_step = 0.0
        self.random = random.Random(seed)
        self.delay = delay
        self.errors: list[BaseException] = []
        self.letters: list[tuple[float, int, str, int, Message]] = []
        self.count = 0
        self.last: dict[tuple[str, int], float] = {}
        self.ids = 0
        self.pids = 70
        self.paid = 0
        """n$ that providers were paid."""
        self.lost = 0
        """n$ set aside by calls whose worker died."""
        self.replaced: list[int] = []
        self.passed_at = 0.0
        self.size = workers
        self.workers: list[Worker] = []
        self.authority: BudgetAuthority | None = None
        for row in range(workers):
            self.workers.append(self.born(row))
        self.control_starts()
        self.crew()
        for worker in self.workers:
            worker.connect()
        self.pass_over()

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return WALL + self.time - 1000.0 + self.wall_step

    def id(self) -> str:
        self.ids += 1
        return f"01K{self.ids:023d}"

    def born(self, row: int) -> Worker:
        self.pids += 1
        return Worker(self, row, self.pids)

    def control_starts(self) -> None:
        self.store = BookStore(self.path / "books.sqlite")
        self.shipping = Shipping(self.folder, self.store, self.wall, 90 * 86_400.0)
        self.authority = BudgetAuthority(
            self.store.spent, self.now, self.wall, self.to_worker, self.size, self.replaced.append, self.shipping.latest
        )
        self.dead: set[str] = set()

    def crew(self) -> None:
        assert self.authority is not None
        self.authority.crew({worker.pid: True for worker in self.workers})

    def control_dies(self) -> None:
        self.authority = None
        self.store.close()
        for worker in self.workers:
            worker.disconnect()
        self.letters = []

    def worker_dies(self, row: int) -> None:
        """And another one is born in its place."""
        worker = self.workers[row]
        worker.die()
        if self.authority is not None:
            self.dead.update(self.authority.gone(worker.pid))
        self.workers[row] = self.born(row)

    def pass_over(self) -> None:
        """Read the ledgers once."""
        if self.authority is None:
            return
        self.passed_at = self.time
        cuts = self.authority.cuts()
        live = frozenset(self.authority.rows.values()) - self.dead
        read = self.shipping.run(cuts, frozenset(self.dead), live)
        assert read.whole, self.shipping.trouble
        self.authority.passed(read, cuts)
        self.dead -= read.buried
        self.deliver()

    # -- letters ----------------------------------------------------------------------------------------------------

    def to_worker(self, row: int, message: Message) -> None:
        if self.workers[row].heard:
            self.post("worker", row, message)

    def post(self, to: str, row: int, message: Message) -> None:
        at = max(self.time + self.random.random() * self.delay, self.last.get((to, row), 0.0))
        self.last[to, row] = at
        self.count += 1
        self.letters.append((at, self.count, to, row, message))
        if self.delay == 0.0:
            self.deliver()

    def deliver(self) -> None:
        while True:
            due = [letter for letter in self.letters if letter[0] <= self.time]
            if not due:
                return
            letter = min(due, key=lambda one: one[:2])
            self.letters.remove(letter)
            _, _, to, row, message = letter
            if to == "worker":
                self.workers[row].books.receive(message)
            elif self.authority is not None:
                if message["kind"] == "hello":
                    self.workers[row].heard = True
                    self.authority.hello(row, message["pid"], message["money"])
                    if self.delay == 0.0:
                        self.pass_over()
                else:
                    self.authority.handle(row, message)

    def run(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass."""
        end = self.time + seconds
        while self.time < end:
            self.time += step
            self.deliver()
            if self.authority is not None:
                self.authority.tick()
                if self.authority.cuts() or self.dead or self.time - self.passed_at >= 1.0:
                    self.pass_over()
            for worker in self.workers:
                worker.books.tick()

    # -- truth ------------------------------------------------------------------------------------------------------

    def committed(self) -> int:
        """n$ that are paid, or may have to be."""
        return self.paid + self.lost + sum(worker.held() for worker in self.workers)

    def spent(self, level: BudgetLevel, period: str = "total") -> int:
        return self.store.spent(level.id, period)

    def close(self) -> None:
        """Nothing went wrong unseen."""
        for worker in self.workers:
            worker.ledger.close()
        if self.authority is not None:
            self.store.close()
        assert self.errors == []
