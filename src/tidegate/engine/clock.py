"""Time in a worker: one timer wheel of 10 ms slots for every deadline, re-armed lazily.

Moving a deadline later only stores a number; the timer is looked at when its old slot comes round. So a busy
connection pays one attribute write per request for its timeouts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tidegate.engine.steps import Steps, Wait

SLOT: Final = 0.01
SLOTS: Final = 2048
NEVER: Final = float("inf")


class Timer:
    """One deadline with one callback. ``when`` is ``NEVER`` while it is not set. ``linked`` is the absolute slot
    number it hangs in, -1 when in none."""

    __slots__ = ("callback", "linked", "when")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.when = NEVER
        self.linked = -1


class Wheel:
    """All timers of a worker. ``tick`` is called every 10 ms by the engine (or by a test, with its own time)."""

    def __init__(self, steps: Steps, now: float, report: Callable[[BaseException], None]) -> None:
        self.steps = steps
        self.report = report
        self.current = int(now / SLOT)
        self.slots: list[list[Timer]] = [[] for _ in range(SLOTS)]

    def set(self, timer: Timer, when: float) -> None:
        """Fire *timer* at *when* (monotonic seconds), never early, at most two slots late."""
        timer.when = when
        linked = timer.linked
        slot = int(when / SLOT) + 1
        if linked < 0 or slot < linked:
            self._link(timer, slot)

    def clear(self, timer: Timer) -> None:
        """Do not fire. Costs one store; the slot forgets it when it comes round."""
        timer.when = NEVER

    def _link(self, timer: Timer, slot: int) -> None:
        current = self.current
        if slot <= current:
            slot = current + 1
        elif slot >= current + SLOTS:
            slot = current + SLOTS - 1
        timer.linked = slot
        self.slots[slot % SLOTS].append(timer)

    def tick(self, now: float) -> None:
        """Fire all that is due at *now*."""
        target = int(now / SLOT)
        if target - self.current >= SLOTS:
            self._catch_up(target)
        while self.current < target:
            self.current += 1
            current = self.current
            place = current % SLOTS
            timers = self.slots[place]
            if not timers:
                continue
            self.slots[place] = []
            for timer in timers:
                if timer.linked != current:
                    continue  # it was moved to an earlier slot meanwhile, or fired there
                timer.linked = -1
                when = timer.when
                if when == NEVER:
                    continue
                if when > now:
                    self._link(timer, int(when / SLOT) + 1)
                    continue
                timer.when = NEVER
                try:
                    timer.callback()
                except Exception as error:
                    self.report(error)

    def _catch_up(self, target: int) -> None:
        """After a stall of a whole turn (a stopped process): hang everything into the next slot."""
        waiting = {timer for timers in self.slots for timer in timers if timer.linked >= 0}
        self.slots = [[] for _ in range(SLOTS)]
        self.current = target - 1
        for timer in waiting:
            self._link(timer, target)

    def sleep(self, until: float) -> Wait:
        """A wait that completes at *until*."""
        wait = Wait(self.steps)
        timer = Timer(wait.complete)
        self.set(timer, until)

        def withdraw() -> None:
            timer.when = NEVER

        wait.withdraw = withdraw
        return wait


WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class HttpDate:
    """The ``Date`` field, remade at most once a second (RFC 9110 5.6.7)."""

    def __init__(self) -> None:
        self.second = -1
        self.text = ""

    def at(self, wall_seconds: float) -> str:
        second = int(wall_seconds)
        if second != self.second:
            t = time.gmtime(second)
            self.text = (
                f"{WEEKDAYS[t.tm_wday]}, {t.tm_mday:02d} {MONTHS[t.tm_mon]} {t.tm_year} "
                f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
            )
            self.second = second
        return self.text
