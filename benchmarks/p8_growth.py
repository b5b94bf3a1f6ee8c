"""P8: what a request costs as the config and the crowd grow: routes 10 → 100,000, API keys 1 → 1,000,000, idle
connections 100 → 10,000.

    python benchmarks/p8_growth.py [--quick] [--runs N] [--seconds S]

Each pair is measured in turn (small, large, small, large ...) with all else as in P1: 200 routes, 1,000 keys. Requests
are spread over the whole config, so that a large one cannot hide behind a few warm entries.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import load
import uvloop
from gateway import PORT, Gateway, build, policy
from measure import LOAD_CORE, resident
from results import Gate, Result, arguments, begin, finish, middle
from upstream import Upstream

START = 300.0
"""Seconds that the largest config may take to load."""


class Crowd:
    """Idle connections, each of which has had one answer, in a process of its own, for a ``with`` block."""

    def __init__(self, count: int, port: int = PORT) -> None:
        self.command = [sys.executable, str(Path(__file__).resolve()), "--crowd", str(count), "--port", str(port)]

    def __enter__(self) -> Crowd:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise SystemExit("the idle connections could not be opened")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


class Idle(asyncio.Protocol):
    """A connection that asks once and then stays."""

    def __init__(self) -> None:
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(b"GET /nowhere HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_exception(ConnectionError("closed"))


async def crowd(count: int, port: int) -> None:
    """Open *count* connections from several loopback addresses, say so, and hold them until stdin ends."""
    loop = asyncio.get_running_loop()
    for first in range(0, count, 100):
        batch = []
        for n in range(first, min(count, first + 100)):
            _, idle = await loop.create_connection(Idle, "127.0.0.1", port, local_addr=(f"127.0.1.{n % 200 + 1}", 0))
            batch.append(idle.answered)
        await asyncio.wait_for(asyncio.gather(*batch), 30)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


def pair(
    result: Result, what: str, small: dict[str, Any], large: dict[str, Any], given: Any, runs: int, seconds: float
) -> None:
    """Measure both sizes of *what* in turn, and add the rows and the gate."""
    costs: dict[str, list[float]] = {"small": [], "large": []}
    started: dict[str, float] = {}
    memory: dict[str, float] = {}
    for _ in range(runs):
        for name, size in (("small", small), ("large", large)):
            routes, keys = size.get("routes", 200), size.get("keys", 1000)
            with ExitStack() as stack:
                gateway = stack.enter_context(Gateway(policy(routes, keys), build(given.build), limit=START))
                if "connections" in size:
                    stack.enter_context(Crowd(size["connections"]))
                load.run(gateway.port, gateway.pids(), 1, routes=routes, keys=keys)
                workers = gateway.worker_pids()
                costs[name].append(load.run(gateway.port, workers, seconds, routes=routes, keys=keys).microseconds)
                started[name], memory[name] = gateway.started, resident(workers) / (1 << 20)
    for name, size in (("small", small), ("large", large)):
        label = f"{next(iter(size.values())):,} {what}"
        result.rows.append([label, middle(costs[name]), max(costs[name]), started[name], memory[name]])
    growth = (middle(costs["large"]) / middle(costs["small"]) - 1) * 100
    sizes = [f"{next(iter(size.values())):,}" for size in (small, large)]
    result.gates.append(
        Gate(f"{what} {sizes[0]} → {sizes[1]}: CPU of the worker a request", growth, "% more", 25, 10, 3)
    )


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default="", help="routes, keys or connections")
    parser.add_argument(
        "--crowd", type=int, default=0, help="hold so many idle connections (used by the script itself)"
    )
    parser.add_argument("--port", type=int, default=PORT)
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.crowd:
        os.sched_setaffinity(0, {LOAD_CORE})
        uvloop.run(crowd(given.crowd, given.port))
        sys.exit()
    begun = time.monotonic()
    result = begin("p8", "P8: growth of config and crowd", given.quick)
    runs, seconds = (1, 2.0) if given.quick else (given.runs, given.seconds)
    result.columns = ["size", "CPU µs of the worker", "worst", "start, s", "memory of the worker, MiB"]
    shrink = 10 if given.quick else 1
    with Upstream():
        for what, small, large in (
            ("routes", {"routes": 10}, {"routes": 100_000 // shrink}),
            ("keys", {"keys": 1}, {"keys": 1_000_000 // shrink}),
            ("connections", {"connections": 100}, {"connections": 10_000 // shrink}),
        ):
            if given.only in ("", what):
                # A config that takes minutes to load is loaded once: its cost a request is what is asked.
                pair(result, what, small, large, given, runs if what == "connections" else min(runs, 2), seconds)
    result.notes.append(f"{build(given.build).name} build; wrk as in P1, {runs} runs of {seconds:.0f} s, in turn.")
    if given.quick:
        result.notes.append("Large sizes are a tenth in a short run.")
    finish(result)
