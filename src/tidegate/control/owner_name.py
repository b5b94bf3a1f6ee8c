"""What a worker calls itself to stores, so that a later one can tell that it has died (CRP 5.2).

A pid is used anew and means another process in another container or on another machine: the name bears when the process
started and where its pid counts. Who is in doubt counts as living: its lease ends by itself.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

_PROC = Path("/proc")


def owner_name() -> str:
    """Of this process: ``pid:start:place:host``. Without ``/proc`` start and place are empty, and nobody is told
    dead."""
    pid = os.getpid()
    return f"{pid}:{_start(pid)}:{_place()}:{socket.gethostname()}"


def has_died(owner: str) -> bool:
    """Is *owner* the name of a process of this machine, this boot and this pid namespace that is no more?"""
    parts = owner.split(":", 3)
    if len(parts) != 4:
        return False
    number, start, place, host = parts
    if not (number.isascii() and number.isdigit() and start and place):
        return False
    if (place, host) != (_place(), socket.gethostname()):
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    now = _start(int(number))
    return bool(now) and now != start


def _start(pid: int) -> str:
    """Ticks from boot to the start of process *pid*; "" where it cannot be known. See proc(5), ``stat``: the name of
    the program is in parentheses and may hold anything."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, ValueError, IndexError):
        return ""


def _place() -> str:
    """Where pids count: the boot and the pid namespace; "" where they cannot be known."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return ""
