"""Work of a turn that goes on when whoever waits for it is cancelled."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from tidegate.engine.steps import Stepper, Steps, Wait


async def unbroken(steps: Steps, work: Coroutine[Any, Any, None]) -> None:
    """Await *work*. A client that goes away meanwhile stops the waiting, never the work: a store must not be left in
    the middle of what a turn says to it."""
    wait = Wait(steps)
    steps.go(Stepper(steps, _told(work, wait)))
    await wait


async def _told(work: Coroutine[Any, Any, None], wait: Wait) -> None:
    try:
        await work
    except Exception as error:
        wait.fail(error)
        return
    wait.complete()
