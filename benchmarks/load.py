"""Load on the config of P1. Requests differ, so that routes and keys are looked for as in life: 1,000 of them are
written out beforehand and sent in turn.

:func:`run` is closed-loop load with wrk, for capacity and cost only: its latencies are those of a client that waits
politely. One run is one ``Load``; a run with a wrong answer or a socket error is no result and raises.
:func:`while_busy` is open-loop load during which something is done to the gateway, for what that costs clients.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from gateway import key, path
from measure import LOAD_CORE, Usage, counted, instructions, pinned, usage
from open_loop import OpenLoop, Seen, get

CONNECTIONS = 64
SCRIPT = """
local requests = {}
local at = 0
function init(args)
  for n = 0, %(count)d - 1 do
    local path = string.format("/service-%%d/api/items?x=%%d", n * %(route_step)d %% %(routes)d, n)
    local key = string.format("bench-key-%%07d", n * %(key_step)d %% %(keys)d)
    requests[n + 1] = wrk.format("GET", path, {["x-api-key"] = key, ["accept"] = "*/*", ["user-agent"] = "wrk"})
  end
end
function request()
  at = at %% %(count)d + 1
  return requests[at]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("FIGURES %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, summary.bytes,
    e.connect + e.read + e.write, e.timeout, e.status))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run showed; costs are those of the processes that were watched."""

    requests: int
    seconds: float
    bytes: int
    cpu: Usage
    instructions: tuple[float, float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    @property
    def microseconds(self) -> float:
        """CPU time a request."""
        return self.cpu.total / self.requests * 1e6

    @property
    def split(self) -> tuple[float, float]:
        """User and system µs a request; the kernel's clock ticks make these coarse."""
        return self.cpu.user / self.requests * 1e6, self.cpu.system / self.requests * 1e6


class Failed(Exception):
    """Some answer was not what it should be."""


def run(
    port: int,
    pids: list[int],
    seconds: float,
    connections: int = CONNECTIONS,
    routes: int = 200,
    keys: int = 1000,
    core: int = LOAD_CORE,
) -> Load:
    """Load 127.0.0.1:*port* and watch *pids* meanwhile."""
    wrk = shutil.which("wrk")
    if not wrk:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    count = 1000
    steps = {"route_step": max(1, routes // count) | 1, "key_step": max(1, keys // count) | 1}
    with tempfile.TemporaryDirectory(prefix="tidegate-wrk-") as folder:
        script = Path(folder) / "requests.lua"
        script.write_text(SCRIPT % {"count": count, "routes": routes, "keys": keys, **steps})
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "5s"]
        command, counting = counted(pids, [*command, "-s", str(script), f"http://127.0.0.1:{port}"])
        before = usage(pids)
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + 30, preexec_fn=pinned(core), check=False
        )
        cpu = usage(pids) - before
    found = re.search(r"FIGURES (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise Failed(f"wrk said: {done.stdout}{done.stderr}")
    requests, duration, size, sockets, late, wrong = map(int, found.groups())
    if not requests or sockets or late or wrong:
        raise Failed(f"{requests} requests: {sockets} socket errors, {late} timeouts, {wrong} not 2xx or 3xx")
    told = instructions(done.stderr) if counting else (0.0, 0.0)
    return Load(requests, duration / 1e6, size, cpu, (told[0] / requests, told[1] / requests))


async def while_busy(port: int, rate: float, disturb: Callable[[], Awaitable[None]]) -> tuple[Seen, Seen]:
    """What clients saw while *disturb* ran: *rate* requests a second, nine of ten on kept connections, the others with
    a new connection each. Clients never try again."""
    wanted = [get(f"{path(n % 200)}/items", key(n % 1000)) for n in range(1000)]
    closing = [get(f"{path(n % 200)}/items", key(n % 1000), close=True) for n in range(1000)]
    kept = OpenLoop(port, wanted, rate * 0.9)
    fresh = OpenLoop(port, closing, rate * 0.1, fresh=True)
    over = False
    runs = [asyncio.create_task(each.run(3600, 0.5, lambda: over)) for each in (kept, fresh)]
    await asyncio.sleep(0.6)
    try:
        await disturb()
        await asyncio.sleep(0.5)
    finally:
        over = True
    seen = await asyncio.gather(*runs)
    return seen[0], seen[1]
