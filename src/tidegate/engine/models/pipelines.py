"""A model made of models: steps in order, branches side by side, a choice by classifier or rule (LLM 14).

Each call of a part has its own account and record, with the id of the whole as its parent; what the caller pays is
their sum. Only the last step may stream.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.models.accounting import Account
from tidegate.engine.models.asking import ModelCall
from tidegate.engine.models.choosing import candidates_of
from tidegate.engine.models.trying import Whole, first_answer
from tidegate.engine.runtime import Runtime
from tidegate.engine.steps import Stepper, Wait
from tidegate.exchange.chat import ChatAnswer, ChatRequest
from tidegate.exchange.fault import Fault
from tidegate.ports.models import ModelPlan, PipelinePlan
from tidegate.rules.composing import (
    elected,
    joined,
    label_in,
    label_request,
    normal,
    plain_request,
    rule_fits,
    step_request,
    text_of,
    words_of,
)
from tidegate.rules.model_access import longest
from tidegate.rules.surfaces import Surface

CLASSIFYING: Final = 0.3
"""Seconds a classifier has."""

DEPTH: Final = 2


async def compose(call: ModelCall, whole: Account) -> ChatAnswer | None:
    """Run the pipeline of *call* as far as nobody hears it. The answer; or None when *call* now means the last step,
    which is then served like any other call."""
    for _ in range(DEPTH):
        plan = call.plan
        pipe = plan.pipeline if plan is not None else None
        if pipe is None:
            return None
        if pipe.kind == "route":
            lead(call, await routed(call, pipe, whole))
            continue
        if pipe.kind == "parallel":
            return await merged(call, pipe, whole)
        answer = await stepped(call, pipe, whole)
        if answer is not None:
            return answer
    if call.plan is not None and call.plan.pipeline is not None:
        raise Fault("upstream_unavailable", "The model is made of too many others.", reason="depth")
    return None


def lead(call: ModelCall, name: str) -> None:
    """*call* means the model *name* from now on."""
    call.name = name
    call.plan = plan_of(call, name)


def plan_of(call: ModelCall, name: str) -> ModelPlan:
    plan = call.models.models.get(name) or longest(call.models.patterns, name)
    if plan is None:
        raise Fault("upstream_unavailable", "A part of the model does not exist.", reason="no_target")
    return plan


async def routed(call: ModelCall, pipe: PipelinePlan, whole: Account) -> str:
    """The model that rules or a classifier name, else the default."""
    words = words_of(call.whole_request())
    for conditions, model in pipe.rules:
        if rule_fits(conditions, words, call.wish("task")):
            return model
    if not pipe.classifier:
        return pipe.default
    labels = tuple(pipe.labels)
    race = Race(call.runtime, 1)
    asked = label_request(pipe.classifier, words, labels)
    found = await race.run([ask_part(call, pipe.classifier, asked, whole)], call.runtime.clock() + CLASSIFYING)
    answer = found[0]
    label = label_in(text_of(answer), labels) if answer is not None else ""
    return pipe.labels[label] if label else pipe.default


async def stepped(call: ModelCall, pipe: PipelinePlan, whole: Account) -> ChatAnswer | None:
    """Every step but the last; that one too when what it says may send the answer elsewhere."""
    request = call.whole_request()
    outputs: dict[str, str] = {}
    answers: dict[str, ChatAnswer] = {}
    last = pipe.steps[-1]
    for step in pipe.steps:
        asked = step_request(request, step.input, outputs)
        if step is last and not step.stop_if:
            lead(call, step.model)
            call.ask_instead(asked)
            return None
        answer = await ask_part(call, step.model, plain_request(asked), whole)
        text = text_of(answer)
        outputs[step.step] = text
        answers[step.step] = answer
        if step.stop_if and normal(text) == normal(step.stop_if):
            return answers.get(step.then, answer)
    return answers[last.step]


async def merged(call: ModelCall, pipe: PipelinePlan, whole: Account) -> ChatAnswer:
    """All branches side by side; a failed one is dropped while the quorum holds."""
    asked = plain_request(call.whole_request())
    until = call.runtime.clock() + pipe.deadline if pipe.deadline else NEVER
    enough = pipe.quorum if pipe.merge == "first" else len(pipe.models)
    race = Race(call.runtime, enough)
    found = await race.run([ask_part(call, name, asked, whole) for name in pipe.models], min(until, call.deadline))
    answers = [answer for answer in found if answer is not None]
    if len(answers) < pipe.quorum:
        raise race.fault or Fault("upstream_timeout", "Too few branches of the model answered.", reason="quorum")
    if pipe.merge == "vote":
        return answers[elected([text_of(answer) for answer in answers])]
    if pipe.merge == "concat":
        return joined(answers)
    return race.first or answers[0]


async def ask_part(call: ModelCall, name: str, request: ChatRequest, whole: Account) -> ChatAnswer:
    """One whole answer of the model *name*, paid for by the caller of *call*."""
    part = ModelCall(call.runtime, call.client, call.route, call.x, Surface("chat", call.surface.dialect), call.dialect)
    part.asked = part.name = name
    part.plan = plan_of(call, name)
    part.ask_instead(request)
    part.deadline = call.deadline
    account = Account(part)
    account.parent = whole.id
    candidates = candidates_of(part, call.runtime.models)
    await account.open(candidates)
    fault: Fault | None = None
    try:
        found = await first_answer(part, account, candidates, None)
        account.take(found)
        work = account.settle()
        if work is not None:
            await work
        whole.children += account.cost
        assert isinstance(found, Whole) and found.answer is not None
        return found.answer
    except Fault as raised:
        fault = raised
        raise
    finally:
        account.close(fault)


class Race:
    """Several calls at once. Mutable state: ``answers`` in the order of the calls, ``first`` of all, the last
    ``fault``, how many are ``open``; ``over`` completes when *enough* have answered, none is open, or time is up."""

    def __init__(self, runtime: Runtime, enough: int) -> None:
        self.runtime = runtime
        self.enough = enough
        self.answers: list[ChatAnswer | None] = []
        self.first: ChatAnswer | None = None
        self.fault: Fault | None = None
        self.steppers: list[Stepper] = []
        self.open = 0
        self.over = Wait(runtime.steps)
        self.over.withdraw = self.stop

    async def run(self, works: list[Coroutine[Any, Any, ChatAnswer]], until: float) -> list[ChatAnswer | None]:
        """The answers that came in time, None for the others; who is not done then is cancelled."""
        steps = self.runtime.steps
        self.answers = [None] * len(works)
        self.open = len(works)
        self.steppers = [Stepper(steps, self._one(number, work)) for number, work in enumerate(works)]
        for stepper in self.steppers:
            steps.go(stepper)
        timer = Timer(self.over.complete)
        if until != NEVER:
            self.runtime.wheel.set(timer, until)
        try:
            await self.over
        finally:
            timer.when = NEVER
            self.stop()
        return self.answers

    async def _one(self, number: int, work: Coroutine[Any, Any, ChatAnswer]) -> None:
        answer: ChatAnswer | None = None
        try:
            answer = await work
        except Fault as fault:
            self.fault = fault
        self.open -= 1
        if answer is not None:
            self.answers[number] = answer
            self.enough -= 1
            if self.first is None:
                self.first = answer
        if self.enough <= 0 or self.open == 0:
            self.over.complete()

    def stop(self) -> None:
        """Nobody waits for the rest."""
        for stepper in self.steppers:
            stepper.cancel()
