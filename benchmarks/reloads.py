"""Requests lost while the config is reloaded 1,000 times under load (F11).

    python benchmarks/reloads.py [--quick] [--count N] [--rate R] [--workers N]

Two open loops run the whole time, one on kept connections, one with a new connection for each request. Each reload
changes the config for real: every second one adds a route and changes a limit, so that plans are built and swapped, and
the next is asked for only when the one before is served everywhere. What a reload must lose is nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
import urllib.request
from typing import Any

import load
import uvloop
from gateway import Gateway, build, policy
from measure import LOAD_CORE
from open_loop import Seen
from results import Gate, arguments, begin, finish
from upstream import Upstream


def variant(number: int) -> dict[str, Any]:
    """The config of generation *number*: its marker route answers with that number."""
    config = policy()
    config["routes"].append(
        {
            "name": "marker",
            "match": {"path": "/marker", "exact": True},
            "respond": {"text": str(number)},
        }
    )
    if number % 2:
        config["routes"][number % 200]["filters"][1]["burst"] = 5_000_000 + number
        config["routes"].append(
            {"name": "extra", "match": {"path": f"/extra-{number}"}, "filters": [{"use": "api_key"}], "upstream": "up"}
        )
    return config


def marker(port: int) -> str:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/marker", timeout=2) as got:
        return str(got.read().decode())
    return ""


async def reload(gateway: Gateway, number: int, patience: float = 20.0) -> float:
    """Put generation *number* in service; seconds until a worker answers with it. ``SystemExit`` when it never does."""
    loop = asyncio.get_running_loop()
    gateway.write(variant(number))
    begun = time.monotonic()
    gateway.process.send_signal(signal.SIGHUP)
    while await loop.run_in_executor(None, marker, gateway.port) != str(number):
        if time.monotonic() - begun > patience:
            raise SystemExit(f"reload {number} was not taken up: {gateway.said()[-2000:]}")
        await asyncio.sleep(0.005)
    return time.monotonic() - begun


async def measure(gateway: Gateway, count: int, rate: float) -> tuple[Seen, Seen, list[float]]:
    """Both loads' answers and how long each reload took."""
    took: list[float] = []

    async def reload_all() -> None:
        for number in range(1, count + 1):
            took.append(await reload(gateway, number))

    return *await load.while_busy(gateway.port, rate, reload_all), took


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    count = 20 if given.quick else given.count
    result = begin("reloads", f"F11: {count:,} reloads under load", given.quick)
    with Upstream(), Gateway(variant(0), build(given.build), given.workers, core=None) as gateway:
        os.sched_setaffinity(0, {LOAD_CORE})
        kept, fresh, took = uvloop.run(measure(gateway, count, given.rate))
    result.columns = ["clients", "requests", "answered 200", "failed", "by class", "p50 ms", "p99 ms"]
    lost = 0
    for name, seen in (("kept connections", kept), ("a connection each", fresh)):
        failed = seen.failures()
        lost += sum(failed.values())
        classes = ", ".join(f"{what}: {number:,}" for what, number in failed.items()) or "none"
        row = [name, seen.offered, seen.served, sum(failed.values()), classes]
        result.rows.append([*row, seen.percentile(50), seen.percentile(99)])
    took.sort()
    result.gates.append(Gate(f"requests lost in {count:,} reloads", float(lost), "", 0, 0, 0))
    result.notes.append(
        f"{build(given.build).name} build, {given.workers} workers, {given.rate:,.0f} requests/s offered; 200"
        f" routes, 1,000"
        f" keys; from SIGHUP to the first answer of the new config: median {took[len(took) // 2] * 1e3:.0f} ms, worst"
        f" {took[-1] * 1e3:.0f} ms."
    )
    finish(result)
