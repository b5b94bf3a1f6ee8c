"""Stepping: how a journey waits without a Task.

A journey is an ``async def`` driven by hand. It waits on a :class:`Wait`, which yields itself once and is completed
by its owner (pool, queue, authority, wheel, body). A wait costs a third of a microsecond, a Task with a future ten
times that. Resuming never nests: what completes while some journey runs is queued and taken when that one stops.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from tidegate.engine.post import Post


class Cancelled(BaseException):
    """Thrown into a journey whose client has gone, whose deadline has passed or whose worker stops."""


class Steps:
    """The worker's queue of journeys that may go on. One per worker."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self.running = False
        self.ready: deque[Stepper] = deque()
        self.report = report
        """Told about an exception that no journey should have let out."""
        self.post: Post | None = None
        """Where the writes of journeys wait for the end of the turn. None: they leave at once."""

    def go(self, stepper: Stepper) -> None:
        """Let *stepper* run now, or right after the journey that runs at the moment."""
        if self.running:
            self.ready.append(stepper)
            return
        self.running = True
        ready = self.ready
        try:
            stepper.advance()
            while ready:
                ready.popleft().advance()
        finally:
            self.running = False


class Wait:
    """One thing to wait for: awaited by one journey, completed or failed by its owner, once.

    ``withdraw``, if set, is called when the journey is cancelled, so that the owner forgets the wait.
    """

    __slots__ = ("done", "fault", "stepper", "steps", "value", "withdraw")

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.done = False
        self.value: Any = None
        self.fault: BaseException | None = None
        self.stepper: Stepper | None = None
        self.withdraw: Callable[[], None] | None = None

    def complete(self, value: Any = None) -> None:
        """Let the journey go on with *value*. Later calls do nothing."""
        if self.done:
            return
        self.done = True
        self.value = value
        stepper = self.stepper
        if stepper is not None:
            self.stepper = None
            self.steps.go(stepper)

    def fail(self, fault: BaseException) -> None:
        """Let the journey go on with *fault* raised at its ``await``. Later calls do nothing."""
        if self.done:
            return
        self.fault = fault
        self.complete()

    def withdrawn(self, reason: BaseException) -> None:
        """Whoever waits is cancelled with *reason*: the owner forgets this wait."""
        self.stepper = None
        self.done = True
        self.fault = reason
        if self.withdraw is not None:
            self.withdraw()

    def __await__(self) -> Generator[Wait, None, Any]:
        if not self.done:
            yield self
        if self.fault is not None:
            raise self.fault
        return self.value


class Stepper:
    """Drives one coroutine. State: NEW, RUNNING, WAITING (on ``wait``), ENDED.

    ``thrown`` is a cancellation that came while it ran: it strikes at the next unfinished wait.
    """

    __slots__ = ("coroutine", "ended", "steps", "thrown", "wait")

    def __init__(self, steps: Steps, coroutine: Coroutine[Any, Any, None]) -> None:
        self.steps = steps
        self.coroutine = coroutine
        self.wait: Wait | None = None
        self.thrown: BaseException | None = None
        self.ended = False

    def advance(self) -> None:
        """Run until the next unfinished wait or the end."""
        if self.ended:
            return
        coroutine = self.coroutine
        self.wait = None
        wrong: BaseException | None = None
        try:
            while True:
                if wrong is None:
                    wait = coroutine.send(None)
                else:
                    wait = coroutine.throw(wrong)
                    wrong = None
                if not isinstance(wait, Wait):
                    wrong = TypeError(f"a stepped coroutine awaited {type(wait).__name__}: it needs a Task")
                    continue
                if wait.done:
                    continue
                thrown = self.thrown
                if thrown is not None:
                    self.thrown = None
                    wait.withdrawn(thrown)
                    continue
                wait.stepper = self
                self.wait = wait
                return
        except StopIteration:
            self.ended = True
        except Cancelled:
            self.ended = True
        except BaseException as error:
            self.ended = True
            self.steps.report(error)

    def cancel(self, reason: BaseException | None = None) -> None:
        """Withdraw what it waits for and raise *reason* (default :class:`Cancelled`) there.

        What has been completed already is still taken: a connection or a place given to a journey is never lost, the
        journey gives it back. Then, as when it runs at the moment, *reason* strikes at its next unfinished wait.
        """
        if self.ended:
            return
        reason = reason if reason is not None else Cancelled()
        wait = self.wait
        if wait is None or wait.done:
            if self.thrown is None:
                self.thrown = reason
            return
        self.wait = None
        wait.withdrawn(reason)
        self.steps.go(self)


def task_of(steps: Steps, coroutine: Coroutine[Any, Any, Any]) -> tuple[asyncio.Task[Any], Wait]:
    """*coroutine* in an asyncio Task of its own, and what a journey waits on for it; withdrawn, it is cancelled."""
    task = asyncio.ensure_future(coroutine)
    wait = Wait(steps)
    wait.withdraw = task.cancel  # type: ignore[assignment]

    def ended(done: asyncio.Task[Any]) -> None:
        if done.cancelled():
            wait.fail(Cancelled())
            return
        error = done.exception()
        if error is not None:
            wait.fail(error)
        else:
            wait.complete(done.result())

    task.add_done_callback(ended)
    return task, wait


async def in_task(steps: Steps, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await *coroutine* in an asyncio Task of its own (parts that are not ``stepped``); cancelled with the journey."""
    return await task_of(steps, coroutine)[1]
