"""The process guard: before a worker drowns it takes no more on (S22.9, RELIABILITY O2, O3).

It refuses by *not accepting* first; what is in the house is served. A loop that stays late turns requests away on the
connections it has (``rules/overload_gate``).
"""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import time
from collections.abc import Callable
from typing import Final

from tidegate.engine.runtime import Runtime
from tidegate.rules.overload_gate import CALM, LAG, SHEDDING

EXPECTED: Final = 0.1
TICK: Final = 0.01
"""Seconds between two ticks of the engine, which say how late its loop is."""

MEMORY: Final = 0.92
DROWNING: Final = 0.95
SHED_EACH_LOOK: Final = 100
"""Canned refusals a tenth of a second: 1,000 a second."""

DESCRIPTORS: Final = 0.90
KEPT: Final = 20
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
LOOK_AT_DESCRIPTORS_EACH: Final = 1.0
GIVE_BACK_EACH: Final = 1.0


class Guard:
    """Mutable state: the last ``KEPT`` loop lags, and ``lag`` their 90th percentile."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.last = 0.0
        self.ticked = 0.0
        self.used = 0.0
        """Seconds of processor time this thread had used at the last tick."""
        self.processor_time: Callable[[], float] = time.thread_time
        self.lag = 0.0
        self.looked = 0.0
        self.gave_back = 0.0
        self.full = False
        self.memory_limit = memory_limit()

    def tick(self, now: float, runtime: Runtime) -> None:
        """Each ``TICK``: how late is it? Lets in again whom the gate held.

        Where this thread had its core for less than four fifths of the time, lateness counts only in proportion. What
        others on the machine take makes it late as well, but fewer requests would not make it less so.
        """
        passed = now - self.ticked
        used = self.processor_time()
        late = 0.0
        if self.ticked and passed > TICK:
            late = (passed - TICK) * min(1.0, 1.25 * (used - self.used) / passed)
        self.ticked = now
        self.used = used
        gate = runtime.gate
        before = gate.state
        if before != CALM or late > LAG:
            gate.tick(now, late)
            runtime.guarded = runtime.drowning or gate.state != CALM
            if (gate.state == SHEDDING) != (before == SHEDDING):
                event = "overload_begins" if gate.state == SHEDDING else "overload_ends"
                runtime.log("warning", event, lag=round(late, 3), rate=round(gate.rate))
        if runtime.held:
            runtime.release_held(now)

    def look(self, now: float, runtime: Runtime) -> None:
        """Each 100 ms: set ``runtime.pressed``."""
        if self.last:
            self.lags.append(max(0.0, now - self.last - EXPECTED))
            if len(self.lags) > KEPT:
                del self.lags[0]
            self.lag = sorted(self.lags)[len(self.lags) * 9 // 10]
        self.last = now
        if now - self.looked >= LOOK_AT_DESCRIPTORS_EACH:
            self.looked = now
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            self.full = len(os.listdir("/proc/self/fd")) >= soft * DESCRIPTORS if near(runtime, soft) else False
        used = resident() / self.memory_limit if self.memory_limit else 0.0
        if used >= MEMORY and now - self.gave_back >= GIVE_BACK_EACH:
            self.gave_back = now
            give_memory_back()
            used = resident() / self.memory_limit
        runtime.drowning = used >= DROWNING
        runtime.guarded = runtime.drowning or runtime.gate.state != CALM
        runtime.shed_left = SHED_EACH_LOOK
        runtime.pressed = self.full or used >= MEMORY or self.lag > LAG


def near(runtime: Runtime, soft: int) -> bool:
    """Counting descriptors costs a directory listing: only where connections alone make it likely."""
    return len(runtime.connections) > soft // 4


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE


def give_memory_back() -> None:
    """Return what is free to the system: the allocator keeps the pages of bodies that are long gone, and a worker that
    counts them would stay under pressure for ever (OV-mem-pressure)."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass  # another C library: it has its own ways


def memory_limit() -> int:
    """The smallest memory limit in force: RLIMIT_AS or the control group's; 0 when there is none."""
    found: list[int] = []
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft > 0:
        found.append(soft)
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            text = file.read().strip()
        if text.isdigit():
            found.append(int(text))
    except OSError:
        pass
    return min(found, default=0)
