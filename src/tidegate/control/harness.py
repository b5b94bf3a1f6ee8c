"""What ``--test-profile`` adds for the test harness (RELIABILITY 5.2): figures of a process, and traps in which a
worker dies. A normal start makes none of this.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from tidegate.exchange.exchange import Exchange

LOOK: Final = 0.01
"""Seconds between two looks at the loop."""
BLOCK: Final = 16 << 20
ENOUGH: Final = 512 << 20
"""Bytes a worker takes before we play the kernel's killer: the machine of the test has to survive it."""


class Gauge:
    """Figures of this process; runs on its loop from the first :meth:`look` on."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.worst = 0.0
        self.expected = 0.0

    def look(self) -> None:
        """Note how late this turn of the loop is, and come again."""
        self.note()
        asyncio.get_running_loop().call_later(LOOK, self.look)

    def note(self) -> None:
        """One look."""
        now = self.clock()
        if self.expected:
            self.worst = max(self.worst, now - self.expected)
        self.expected = now + LOOK

    def read(self) -> dict[str, Any]:
        """Tasks, descriptors, worst stall of the loop since the last reading."""
        worst, self.worst = self.worst, 0.0
        return {
            "tasks": len(asyncio.all_tasks()),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "worst_stall_ms": round(worst * 1000.0, 1),
        }


class Traps:
    """Stands before the filters of every route and ends the worker when it meets what it was told to wait for."""

    stage = "other"
    stepped = True

    def __init__(self, die: Callable[[str], None] | None = None) -> None:
        self.die = die if die is not None else end
        self.targets: dict[str, str] = {}
        self.bodies: dict[str, str] = {}
        """SHA-256 in hex → way to die: ``crash`` or ``memory``."""

    def set(self, targets: dict[str, str], bodies: dict[str, str]) -> None:
        """Wait for exactly these from now on."""
        self.targets, self.bodies = dict(targets), dict(bodies)

    def on_request_head(self, x: Exchange) -> None:
        way = self.targets.get(x.head.target)
        if way is not None:
            self.die(way)

    def wants_request_body(self, x: Exchange) -> bool:
        return bool(self.bodies)

    def on_request_body(self, x: Exchange, body: bytes) -> None:
        way = self.bodies.get(hashlib.sha256(body).hexdigest())
        if way is not None:
            self.die(way)


def end(way: str) -> None:
    """Die: ``memory`` like one that the kernel kills because it took too much, else by a fault of one's own."""
    held: list[bytes] = []
    while way == "memory" and len(held) * BLOCK < ENOUGH:
        held.append(b"\1" * BLOCK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.kill(os.getpid(), signal.SIGKILL if held else signal.SIGSEGV)
