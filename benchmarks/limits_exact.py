"""Whether four workers together ever let more through than a limit allows (F17).

    python benchmarks/limits_exact.py [--quick]

1,000 clients at once, each with a connection of its own, ask with one key as fast as they are answered. Two limits are
tried: `fixed` windows, whose count is exact by definition, and the steady rate with a burst (GCRA), where any stretch
of T seconds may hold burst + rate × T. The client notes when each request that passed was sent and answered: it was
let through somewhere between, so a stretch that holds both moments holds the decision. Each stretch that begins with
one of 300 requests spread over the run is checked.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from typing import Any

import uvloop
from gateway import Gateway, build, key, path, policy
from measure import LOAD_CORE
from open_loop import get
from results import Gate, arguments, begin, finish
from upstream import Upstream

CLIENTS = 1000
RATE, BURST = 200, 300


class Asking(asyncio.Protocol):
    """Asks again as soon as it is answered."""

    def __init__(self, request: bytes, passed: list[tuple[float, float]], seen: Counter[str], until: float) -> None:
        self.request = request
        self.passed = passed
        self.seen = seen
        self.until = until
        self.asked = 0.0
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.asked = time.monotonic()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        length = int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
        status = head[9:12].decode()
        if status not in ("200", "429"):
            found = re.search(rb'"code":"([a-z_]+)"', body)
            status += f" {found.group(1).decode()}" if found else ""
        now = time.monotonic()
        self.seen[status] += 1
        if status == "200":
            self.passed.append((self.asked, now))
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            self.seen["lost"] += 1


async def ask(port: int, seconds: float) -> tuple[list[tuple[float, float]], Counter[str]]:
    """When each request that passed was sent and answered, and all statuses."""
    loop = asyncio.get_running_loop()
    request = get(f"{path(1)}/items", key(1))
    passed: list[tuple[float, float]] = []
    seen: Counter[str] = Counter()
    until = time.monotonic() + seconds
    for first in range(0, CLIENTS, 50):
        await asyncio.gather(
            *(
                loop.create_connection(lambda: Asking(request, passed, seen, until), "127.0.0.1", port)
                for _ in range(first, first + 50)
            )
        )
    await asyncio.sleep(max(0.0, until - time.monotonic()) + 2.0)
    return passed, seen


def most_over(passed: list[tuple[float, float]], allowed: Any) -> float:
    """The largest excess over what *allowed* grants a stretch of that many seconds: requests that lie wholly in a
    stretch, from being sent to being answered, were certainly let through within it."""
    worst = float("-inf")
    answers = sorted(passed, key=lambda each: each[1])
    starts = sorted({each[0] for each in passed})
    step = max(1, len(starts) // 300)
    for begun in starts[::step]:
        count = 0
        for sent, answered in answers:
            if sent >= begun:
                count += 1
                worst = max(worst, count - allowed(answered - begun))
    return worst


def limited(limit: dict[str, Any]) -> dict[str, Any]:
    config = policy()
    for route in config["routes"]:
        route["filters"][1] = {"use": "rate_limit", "by": "consumer", "name": "one", **limit}
    return config


if __name__ == "__main__":
    parser = arguments(__doc__)
    given = parser.parse_args()
    seconds = 3.0 if given.quick else 10.0
    result = begin("limits", "F17: four workers and one limit", given.quick)
    result.columns = [
        "limit",
        "asked",
        "let through",
        "allowed in that time",
        "refused (429)",
        "anything else",
        "most over in any stretch",
    ]
    os.sched_setaffinity(0, {LOAD_CORE})
    cases = (
        (f"{RATE}/s, burst {BURST}", {"rate": f"{RATE}/s", "burst": BURST}, lambda t: BURST + RATE * t),
        ("500 a fixed hour", {"fixed": "500/h"}, lambda t: 500.0),
    )
    for name, limit, allowed in cases:
        with Upstream(), Gateway(limited(limit), build(given.build), 4, core=None, probe=(path(0), key(0))) as gateway:
            begun = time.monotonic()
            passed, seen = uvloop.run(ask(gateway.port, seconds))
            spent = (max(each[1] for each in passed) if passed else begun) - begun
        other = ", ".join(f"{what}: {count:,}" for what, count in seen.items() if what not in ("200", "429")) or "none"
        over = max(0.0, most_over(passed, allowed))
        result.rows.append([name, seen.total(), len(passed), round(allowed(spent)), seen["429"], other, over])
        result.gates.append(
            Gate(f"{name}: let through over the limit, in any stretch", over, "", 1.0 + 0.01 * BURST, 0)
        )
    result.notes.append(
        f"{build(given.build).name} build, 4 workers on this machine's cores, {CLIENTS:,} clients with one key for"
        f" {seconds:.0f} s; requests counted in a stretch were sent and answered within it."
    )
    finish(result)
