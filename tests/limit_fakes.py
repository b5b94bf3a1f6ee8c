"""A worker's side of limits whose authority is played by the test, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegate.authorities.leased import LeasedPolicy
from tidegate.authorities.local import LocalLimits, Message
from tidegate.engine.steps import Stepper, Steps, Wait
from tidegate.exchange.fault import Fault
from tidegate.ports.authority import LimitSpec, Verdict

SECOND = 1_000_000_000
RATE = LimitSpec("rate", "rate", 100, 1.0, 200)


class Hand:
    """A worker whose authority is the test. *met*: that has answered before, as it has soon after every start."""

    def __init__(self, workers: int = 1, most: int = 100_000, met: bool = True) -> None:
        self.time = 50.0
        self.link = True
        self.sent: list[Message] = []
        self.turn: list[Callable[[], None]] = []
        self.errors: list[BaseException] = []
        self.steps = Steps(self.errors.append)
        self.limits = LocalLimits(
            lambda: self.time, self.send, lambda: Wait(self.steps), self.turn.append, workers, most
        )
        if met:
            self.limits.receive({"kind": "grant", "items": []})

    def send(self, message: Message) -> bool:
        if self.link:
            self.sent.append(message)
        return self.link

    def end_turn(self) -> list[Message]:
        """The end of a loop turn; what went out in it."""
        while self.turn:
            self.turn.pop(0)()
        sent, self.sent = self.sent, []
        return sent

    def take(self, policy: LeasedPolicy, partition: str = "a", cost: int = 1) -> list[Any]:
        said: list[Any] = []

        async def journey() -> None:
            try:
                verdict = policy.take(partition, cost)
                said.append(verdict if isinstance(verdict, Verdict) else await verdict)
            except Fault as fault:
                said.append(fault)

        self.stepper = Stepper(self.steps, journey())
        self.stepper.advance()
        assert not self.errors
        return said

    def grant(self, policy: LeasedPolicy, count: int, partition: str = "a", **of: Any) -> None:
        lease = of.get("lease", 7)
        until = int(of.get("until", self.time + 5.0) * SECOND)
        more = int(of.get("more", 0) * SECOND)
        wait = int(of.get("wait", 0) * SECOND)
        stands = int(of.get("stands", of.get("wait", 0)) * SECOND)
        item = [policy.number, partition, lease if count else 0, count, until, of.get("free", 0), more, wait, stands]
        self.limits.receive({"kind": "grant", "items": [item]})

    def tick(self, seconds: float = 0.01) -> list[Message]:
        self.time += seconds
        self.limits.tick(self.time)
        sent, self.sent = self.sent, []
        return sent
