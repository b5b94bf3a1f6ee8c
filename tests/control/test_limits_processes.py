"""Limits over real processes and sockets, one of them killed -9 in the middle (S9.4)."""

from __future__ import annotations

import mmap
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable

from tidegate.authorities.local import LocalLimits, Message
from tidegate.control.limits import LimitAuthority
from tidegate.control.link import Frames, encode
from tidegate.engine.steps import Stepper, Steps, Wait
from tidegate.exchange.fault import Fault
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.rules.gcra import Gcra

SPEC = LimitSpec("all", "rate", 20_000, 1.0, 1000, on_store_error="deny")
WORKERS = 4
SECONDS = 0.6
ROOM = 20_000


def work(link: socket.socket, stamps: mmap.mmap, row: int, start: float) -> None:
    """A worker that takes as fast as it can; every admission leaves its time in *stamps*."""
    frames, turn, count = Frames(), list[Callable[[], None]](), 0
    steps = Steps(lambda error: os._exit(9))

    def send(message: Message) -> bool:
        link.sendall(encode(message))
        return True

    def note(verdict: Verdict) -> None:
        nonlocal count
        if verdict.allowed and count < ROOM:
            struct.pack_into("q", stamps, (row * ROOM + count) * 8, time.monotonic_ns())
            count += 1

    async def wait_for(said: object) -> None:
        try:
            note(await said)  # type: ignore[misc]
        except Fault:
            pass

    limits = LocalLimits(time.monotonic, send, lambda: Wait(steps), turn.append, WORKERS)
    policy = limits.policy(SPEC)
    ticked = start
    while (now := time.monotonic()) < start + SECONDS:
        for _ in range(20 * (1 + row % 2)):
            said = policy.take("a")
            if isinstance(said, Verdict):
                note(said)
            else:
                Stepper(steps, wait_for(said)).advance()
        while turn:
            turn.pop(0)()
        if select.select([link], [], [], 0.0005)[0]:
            for message in frames.feed(link.recv(1 << 16)):
                limits.receive(message)
        if now - ticked > 0.01:
            ticked = now
            limits.tick(now)


def test_s9_4_four_processes_under_flood_one_killed_admit_never_more_than_the_rate() -> None:
    stamps = mmap.mmap(-1, WORKERS * ROOM * 8)
    start = time.monotonic()
    links: dict[int, socket.socket] = {}
    pids: dict[int, int] = {}
    for row in range(WORKERS):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                work(theirs, stamps, row, start)
            finally:
                os._exit(0)
        theirs.close()
        links[row], pids[row] = ours, pid
    authority = LimitAuthority(
        None, time.monotonic, time.time, lambda row, message: links[row].sendall(encode(message)), WORKERS
    )
    frames = {row: Frames() for row in links}
    while links:
        if 0 in pids and time.monotonic() > start + SECONDS / 2:
            os.kill(pids[0], signal.SIGKILL)
            os.waitpid(pids.pop(0), 0)
        for ready in select.select(list(links.values()), [], [], 0.01)[0]:
            row = next(row for row, link in links.items() if link is ready)
            try:
                data = ready.recv(1 << 16)
                for message in frames[row].feed(data):
                    reply = authority.handle(row, message)
                    if reply is not None:
                        ready.sendall(encode(reply))
            except OSError:
                data = b""
            if not data:
                links.pop(row).close()
                authority.worker_gone(row)
        authority.tick()
    for pid in pids.values():
        os.waitpid(pid, 0)
    moments = sorted(moment for (moment,) in struct.iter_unpack("q", stamps[:]) if moment)
    bucket = Gcra(SPEC.amount, 1_000_000_000, SPEC.burst)
    assert sum(not bucket.take(1, moment) for moment in moments) == 0
    assert len(moments) > SPEC.burst
