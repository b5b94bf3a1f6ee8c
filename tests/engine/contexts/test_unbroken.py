"""Work that goes on when nobody waits for it any more."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.engine.contexts.unbroken import unbroken
from tidegate.engine.steps import Stepper, Steps, Wait
from tidegate.exchange.fault import Fault


def run(work: Any) -> tuple[Steps, Stepper, list[str]]:
    """A journey that awaits *work*, and what came of it."""
    steps = Steps(lambda error: pytest.fail(repr(error)))
    told: list[str] = []

    async def journey() -> None:
        try:
            await unbroken(steps, work(steps))
            told.append("done")
        except Fault as fault:
            told.append(fault.code)

    stepper = Stepper(steps, journey())
    steps.go(stepper)
    return steps, stepper, told


def test_whoever_waits_hears_of_the_end() -> None:
    gate: list[Wait] = []

    async def work(steps: Steps) -> None:
        gate.append(Wait(steps))
        await gate[0]

    _, _, told = run(work)
    assert told == []
    gate[0].complete()
    assert told == ["done"]


def test_a_fault_is_raised_where_it_is_waited_for() -> None:
    async def work(steps: Steps) -> None:
        raise Fault("commit_failed")

    assert run(work)[2] == ["commit_failed"]


def test_a_cancelled_journey_stops_waiting_and_the_work_goes_on() -> None:
    gate: list[Wait] = []
    finished: list[bool] = []

    async def work(steps: Steps) -> None:
        gate.append(Wait(steps))
        await gate[0]
        finished.append(True)

    _, stepper, told = run(work)
    stepper.cancel()
    assert stepper.ended and finished == []
    gate[0].complete()
    assert finished == [True] and told == []
