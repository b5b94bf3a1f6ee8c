"""Stepping: waits are completed once, cancellation loses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from tidegate.engine.steps import Cancelled, Stepper, Steps, Wait, in_task


class Bench:
    def __init__(self) -> None:
        self.defects: list[BaseException] = []
        self.steps = Steps(self.defects.append)
        self.trail: list[Any] = []

    def wait(self) -> Wait:
        return Wait(self.steps)

    def run(self, coroutine: Any) -> Stepper:
        stepper = Stepper(self.steps, coroutine)
        self.steps.go(stepper)
        return stepper


async def takes(bench: Bench, *waits: Wait) -> None:
    try:
        for wait in waits:
            bench.trail.append(await wait)
    except BaseException as error:
        bench.trail.append(type(error).__name__)
        raise
    finally:
        bench.trail.append("end")


def test_a_wait_hands_its_value_over_and_later_completions_do_nothing() -> None:
    bench = Bench()
    wait = bench.wait()
    stepper = bench.run(takes(bench, wait))
    assert bench.trail == []
    wait.complete(7)
    wait.complete(8)
    wait.fail(ValueError())
    assert bench.trail == [7, "end"]
    assert stepper.ended
    stepper.cancel()
    stepper.advance()
    assert bench.defects == []


def test_a_wait_that_is_done_before_it_is_awaited_costs_no_step() -> None:
    bench = Bench()
    wait = bench.wait()
    wait.complete("early")
    assert bench.run(takes(bench, wait)).ended
    assert bench.trail == ["early", "end"]


def test_a_failed_wait_raises_where_it_is_awaited_and_what_nobody_catches_is_reported() -> None:
    bench = Bench()
    wait = bench.wait()
    bench.run(takes(bench, wait))
    error = KeyError("x")
    wait.fail(error)
    assert bench.trail == ["KeyError", "end"]
    assert bench.defects == [error]


def test_resuming_never_nests() -> None:
    bench = Bench()
    first, second = bench.wait(), bench.wait()

    async def wakes() -> None:
        await first
        second.complete("woken")
        bench.trail.append("still running")

    bench.run(wakes())
    bench.run(takes(bench, second))
    first.complete()
    assert bench.trail == ["still running", "woken", "end"]


def test_cancelling_withdraws_the_wait_and_raises_there() -> None:
    bench = Bench()
    wait = bench.wait()
    wait.withdraw = lambda: bench.trail.append("withdrawn")
    stepper = bench.run(takes(bench, wait))
    stepper.cancel()
    assert bench.trail == ["withdrawn", "Cancelled", "end"]
    assert stepper.ended
    wait.complete("too late")
    assert bench.trail == ["withdrawn", "Cancelled", "end"]
    assert bench.defects == []


def test_a_cancelled_coroutine_may_clean_up_with_waits_of_its_own() -> None:
    bench = Bench()
    wait, tidy = bench.wait(), bench.wait()

    async def tidies() -> None:
        try:
            await wait
        except Cancelled:
            bench.trail.append(await tidy)

    stepper = bench.run(tidies())
    stepper.cancel()
    assert not stepper.ended
    tidy.complete("tidied")
    assert stepper.ended
    assert bench.trail == ["tidied"]


def test_what_was_given_before_the_cancellation_is_still_taken() -> None:
    """A pool's connection or a bulkhead's place handed over in the same turn must reach who gives it back."""
    bench = Bench()
    given, after = bench.wait(), bench.wait()
    stepper = Stepper(bench.steps, takes(bench, given, after))

    async def gives_then_cancels() -> None:
        given.complete("connection")
        stepper.cancel()

    bench.steps.go(stepper)
    bench.run(gives_then_cancels())
    assert bench.trail == ["connection", "Cancelled", "end"]
    assert stepper.ended


def test_a_coroutine_that_is_cancelled_while_it_runs_stops_at_its_next_wait() -> None:
    bench = Bench()
    wait = bench.wait()
    wait.withdraw = lambda: bench.trail.append("withdrawn")
    holder: list[Stepper] = []

    async def cancels_itself() -> None:
        holder[0].cancel(ValueError("first"))
        holder[0].cancel(KeyError("second"))
        bench.trail.append("runs on")
        try:
            await wait
        except ValueError as error:
            bench.trail.append(str(error))

    holder.append(Stepper(bench.steps, cancels_itself()))
    bench.steps.go(holder[0])
    assert bench.trail == ["runs on", "withdrawn", "first"]
    assert holder[0].ended


def test_a_foreign_awaitable_is_a_defect_of_who_awaits_it() -> None:
    bench = Bench()

    class Foreign:
        def __await__(self) -> Any:
            yield "something"

    async def wrong() -> None:
        await Foreign()

    bench.run(wrong())
    assert [str(error) for error in bench.defects] == ["a stepped coroutine awaited str: it needs a Task"]


def test_in_task_brings_the_result_the_error_and_the_cancellation() -> None:
    async def scene() -> None:
        bench = Bench()
        gate = asyncio.Event()

        async def work(value: Any) -> Any:
            await gate.wait()
            if isinstance(value, BaseException):
                raise value
            return value

        async def journey(value: Any) -> None:
            try:
                bench.trail.append(await in_task(bench.steps, work(value)))
            except BaseException as error:
                bench.trail.append(type(error).__name__)

        bench.run(journey(3))
        bench.run(journey(KeyError()))
        left = bench.run(journey(4))
        await asyncio.sleep(0)
        left.cancel()
        assert bench.trail == ["Cancelled"]
        gate.set()
        for _ in range(4):
            await asyncio.sleep(0)
        assert bench.trail == ["Cancelled", 3, "KeyError"]
        assert bench.defects == []

    asyncio.run(scene())
