"""One try of one target, and the race of two when the first is late (LLM 9).

A trial does its own bookkeeping: who is busy, who rests, what the record keeps of it. Of a race, whoever has the first
content wins; the other is cancelled at once and what it cost is waste.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tidegate.engine.clock import Timer
from tidegate.engine.models.accounting import Account
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.calls import Words
from tidegate.engine.models.choosing import Candidate
from tidegate.engine.models.relaying import Stream
from tidegate.engine.runtime import Runtime
from tidegate.engine.steps import Stepper, Wait
from tidegate.exchange.chat import Usage
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import CallAttempt
from tidegate.ports.models import CredentialPlan, ModelPlan
from tidegate.rules.hedging import Hedging

HEDGES = 4096


class Cut:
    """An answer in one piece whose head came and whose body broke off: the vendor made all of it. ``usage`` if that
    came before the cut, ``pieces`` tokens of text that came."""

    __slots__ = ("pieces", "usage")

    def __init__(self, usage: Usage | None, pieces: int) -> None:
        self.usage = usage
        self.pieces = pieces


class Trial:
    """Mutable state: ``words``, the request as it was sent; ``stream``, its answer as far as it has come; ``cut``, what
    came of a whole one that broke off; ``fault`` or ``answer``, how it ended; ``told``, the call's record has it."""

    __slots__ = ("answer", "begun", "candidate", "cut", "fault", "keys", "position", "stream", "told", "words")

    def __init__(self, candidate: Candidate, position: int, begun: float) -> None:
        self.candidate = candidate
        self.position = position
        self.begun = begun
        self.keys: list[str] = []
        """What is half open and waits for the end of this very try."""
        self.words: Words | None = None
        self.stream: Stream | None = None
        self.cut: Cut | None = None
        self.fault: Fault | None = None
        self.answer: Any = None
        self.told = False

    @property
    def credential(self) -> CredentialPlan | None:
        """Who was to pay."""
        return self.words.credential if self.words is not None else None

    @property
    def sent(self) -> bool:
        """The target has heard the request."""
        return self.words is not None and self.words.sent

    def tell(self, call: ModelCall, account: Account, ended: float, *, lost: bool = False) -> None:
        """Note the try in the call's record, once. *lost*: another one was faster."""
        if self.told:
            return
        self.told = True
        cut = self.cut
        usage = self.stream.usage if self.stream is not None else cut.usage if cut is not None else None
        waste = 0
        if self.sent and (lost or (self.answer is None and (usage is not None or cut is not None))):
            waste = account.wasted(self.candidate, usage, cut.pieces if cut is not None else 0)
        fault = self.fault
        call.attempts.append(
            CallAttempt(
                self.candidate.target.provider.name,
                self.candidate.model,
                0 if lost else 200 if fault is None else fault.status,
                "" if fault is None else fault.code,
                "hedge_lost" if lost else "" if fault is None else fault.reason,
                int((ended - self.begun) * 1e6),
                waste,
            )
        )


Run = Callable[[Trial], Coroutine[Any, Any, None]]


class TrialRace:
    """Two trials at once. Mutable state: ``trials`` that have begun, the ``winner``; ``over`` completes with the first
    answer, or when nobody is left."""

    def __init__(self, runtime: Runtime, run: Run) -> None:
        self.runtime = runtime
        self.run = run
        self.trials: list[Trial] = []
        self.runners: list[Stepper] = []
        self.winner: Trial | None = None
        self.open = 0
        self.over = Wait(runtime.steps)
        self.over.withdraw = self.stop

    def enter(self, trial: Trial) -> None:
        """One more runner."""
        self.open += 1
        self.trials.append(trial)
        runner = Stepper(self.runtime.steps, self._run(trial))
        self.runners.append(runner)
        self.runtime.steps.go(runner)

    async def _run(self, trial: Trial) -> None:
        await self.run(trial)
        self.open -= 1
        if trial.answer is not None and self.over.done:
            drop(trial)  # its whole answer came in the turn in which another won
        elif trial.answer is not None or self.open == 0:
            self.over.complete(trial)

    def stop(self) -> None:
        """Nobody waits for the rest."""
        for runner in self.runners:
            runner.cancel()

    async def held(self, first: Trial, after: float, second: Callable[[], Trial | None]) -> Trial:
        """Run *first*; when it has said nothing after *after* seconds, what *second* gives begins beside it. The trial
        that has an answer, or when none is left, the one that failed last."""

        def late() -> None:
            trial = None if self.over.done else second()
            if trial is not None:
                self.enter(trial)

        runtime = self.runtime
        timer = Timer(late)
        runtime.wheel.set(timer, runtime.clock() + after)
        self.enter(first)
        try:
            winner: Trial = await self.over
            self.winner = winner
            return winner
        finally:
            runtime.wheel.clear(timer)
            self.stop()


def drop(trial: Trial) -> None:
    """An answer that nobody wants."""
    if trial.stream is not None:
        trial.stream.stop()


def share_of(hedges: dict[str, Hedging], plan: ModelPlan) -> Hedging:
    """Counts the calls of a model and those of them that were hedged."""
    found = hedges.get(plan.name)
    if found is None or found.share != plan.hedge_share / 100.0:
        if len(hedges) >= HEDGES:
            hedges.clear()
        found = hedges[plan.name] = Hedging(plan.hedge_after, plan.hedge_share)
    return found


def pace_of(hedges: dict[str, Hedging], candidate: Candidate) -> Hedging:
    """How long a target takes to its first content; its key cannot be a model's."""
    key = candidate.key + "#"
    found = hedges.get(key)
    if found is None:
        if len(hedges) >= HEDGES:
            hedges.clear()
        found = hedges[key] = Hedging()
    return found
