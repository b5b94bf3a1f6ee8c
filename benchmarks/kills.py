"""Requests lost while workers are killed with SIGKILL, 100 times under load (F12).

    python benchmarks/kills.py [--quick] [--count N] [--rate R] [--workers N]

One worker after another, each once the crew is whole again, while an open loop on kept connections and one with a new
connection for each request run. A killed worker takes with it what is in flight on it: those are lost by its death, and
counted. What waits in the listening socket, or comes on another worker, must not be touched. Clients here never try
again, though every request could be.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time

import load
import uvloop
from gateway import Gateway, build, policy
from measure import LOAD_CORE
from open_loop import Seen
from results import Gate, arguments, begin, finish
from upstream import Upstream

PACE = 0.6
"""Seconds from one kill to the next, at least: restarts must not be taken for a crash loop."""


async def kill_one(gateway: Gateway, number: int) -> float:
    """Kill a worker; seconds until there are as many as before."""
    before = gateway.worker_pids()
    begun = time.monotonic()
    os.kill(before[number % len(before)], signal.SIGKILL)
    while True:
        await asyncio.sleep(0.01)
        now = gateway.worker_pids()
        if len(now) == len(before) and now != before:
            return time.monotonic() - begun
        if time.monotonic() - begun > 60:
            raise SystemExit(f"no worker came back: {gateway.said()[-2000:]}")


async def measure(gateway: Gateway, count: int, rate: float) -> tuple[Seen, Seen, list[float]]:
    """Both loads' answers and how long each restart took."""
    took: list[float] = []

    async def kill_all() -> None:
        for number in range(count):
            took.append(await kill_one(gateway, number))
            await asyncio.sleep(max(0.1, PACE - took[-1]))

    return *await load.while_busy(gateway.port, rate, kill_all), took


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    count = 10 if given.quick else given.count
    result = begin("kills", f"F12: {count:,} workers killed under load", given.quick)
    with Upstream(), Gateway(policy(), build(given.build), given.workers, core=None) as gateway:
        os.sched_setaffinity(0, {LOAD_CORE})
        kept, fresh, took = uvloop.run(measure(gateway, count, given.rate))
    result.columns = ["clients", "requests", "answered 200", "failed", "by class", "failed a kill", "p99 ms"]
    elsewhere = 0
    dying = ("closed before the answer", "cut in the answer")
    for name, seen in (("kept connections", kept), ("a connection each", fresh)):
        failed = seen.failures()
        elsewhere += sum(number for what, number in failed.items() if what not in dying)
        classes = ", ".join(f"{what}: {number:,}" for what, number in failed.items()) or "none"
        lost = sum(failed.values())
        result.rows.append([name, seen.offered, seen.served, lost, classes, lost / count, seen.percentile(99)])
    in_flight = sum(row[3] for row in result.rows) - elsewhere
    took.sort()
    result.gates += [
        Gate("lost other than in flight on the killed worker", float(elsewhere), "", 0),
        Gate("lost in flight, a kill", in_flight / count, "", None, 0),
    ]
    result.notes.append(
        f"{build(given.build).name} build, {given.workers} workers, {given.rate:,.0f} requests/s offered; a"
        f" worker was back"
        f" after {took[len(took) // 2] * 1e3:.0f} ms (median), {took[-1] * 1e3:.0f} ms (worst)."
    )
    finish(result)
