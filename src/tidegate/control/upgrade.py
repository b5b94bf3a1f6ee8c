"""Upgrade in place (S23.6): what crosses an ``exec``, and how a new program is tried before it.

The supervisor starts its own command line once as a child with :data:`CHECK` set; that child imports everything and
builds the serving generation. If it exits 0 the supervisor writes what it holds into a memfd, lets the descriptors
survive and replaces itself: same pid, children and sockets stay.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import msgspec

CHECK: Final = "TIDEGATE_CHECK_START"
"""Environment: the data folder whose newest generation is to be loaded and built; nothing is served."""
RESUME: Final = "TIDEGATE_RESUME"
"""Environment: the number of the descriptor that holds the state of the program before."""
PROBE_TIME: Final = 60.0
"""Seconds the new program has to prove itself."""
READY_TIME: Final = 60.0
"""Seconds the new workers have to become ready before the old ones are kept."""


class HeldSocket(msgspec.Struct, frozen=True):
    """A listening socket by its configured name."""

    name: str
    fd: int
    text: str


class HeldMember(msgspec.Struct, frozen=True):
    """A child process and its channel."""

    kind: str
    row: int
    pid: int
    fd: int
    ready: bool


class Held(msgspec.Struct, frozen=True):
    """Everything a supervisor holds. Unknown fields are skipped, so that builds of different age meet."""

    version: str
    data: str
    generation: int
    workers: int
    lock: int
    segment: int
    sockets: list[HeldSocket]
    members: list[HeldMember]
    drain: float = 25.0
    admin: str = ""
    announced: bool = True
    refused: list[int] = []


def descriptors(held: Held) -> list[int]:
    """Every descriptor that must survive the ``exec``."""
    return [held.lock, held.segment, *(s.fd for s in held.sockets), *(m.fd for m in held.members if m.fd >= 0)]


def put(held: Held) -> int:
    """Write *held* into a memfd that survives an ``exec``; its descriptor."""
    fd = os.memfd_create("tidegate-state", os.MFD_CLOEXEC)
    content = msgspec.msgpack.encode(held)
    written = 0
    while written < len(content):
        written += os.write(fd, content[written:])
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    return fd


def take(fd: int) -> Held:
    """Read what :func:`put` wrote, and close it. Descriptors stop being inheritable again."""
    with open(fd, "rb") as file:
        held = msgspec.msgpack.decode(file.read(), type=Held)
    for kept in descriptors(held):
        os.set_inheritable(kept, False)
    return held


def command() -> list[str]:
    """The command line that started this program, as it can be started again."""
    return [sys.executable, *sys.orig_argv[1:]]


def environment(**changes: str) -> dict[str, str]:
    """Our environment with *changes* and without what an earlier upgrade left."""
    kept = {name: value for name, value in os.environ.items() if name not in (CHECK, RESUME)}
    kept.update(changes)
    return kept


def probe(data: str) -> int:
    """Start the new program as a child that only proves that it could start; its pid."""
    return os.posix_spawn(sys.executable, command(), environment(**{CHECK: data}), setsigmask=[])


def become(held: Held) -> None:
    """Replace this process by the new program. Returns only by raising ``OSError``."""
    fd = put(held)
    kept = descriptors(held)
    try:
        for each in kept:
            os.set_inheritable(each, True)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, command(), environment(**{RESUME: str(fd)}))
    finally:
        for each in kept:
            os.set_inheritable(each, False)
        os.close(fd)
