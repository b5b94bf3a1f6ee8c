"""Load at a constant rate, whatever the answers do, with latency counted from the moment a request should have left:
a stall of the proxy is seen by every request that it delays, not by one.

    python benchmarks/open_loop.py PORT RATE SECONDS [--connections N] [--fresh]

Clients are protocols on uvloop on the load's core. A request takes an idle connection, opens one when there is none and
fewer than ``connections`` are open, or waits for one. ``fresh``: every request opens a connection of its own. Every
answer is read whole and counted by what it was; a failure is never tried again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop
from measure import LOAD_CORE

WAITING_AT_MOST = 50_000
"""Requests that may wait for a connection; the next one is counted as not sent."""
PATIENCE = 10.0
"""Seconds until a request is given up."""


@dataclass
class Seen:
    """What clients saw."""

    rate: float
    seconds: float
    offered: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """``200``, ``503`` ... for answers, words for failures."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from the intended moment to the end of each 2xx answer."""
    in_time: int = 0
    """2xx answers that ended while the load was still on."""

    @property
    def served(self) -> int:
        """Answers 2xx."""
        return len(self.latencies)

    @property
    def goodput(self) -> float:
        """Answers 2xx a second, as long as the load was on; what a backlog yields afterwards is not counted."""
        return self.in_time / self.seconds

    def failures(self) -> dict[str, int]:
        """Everything that was not a 2xx answer."""
        return {name: count for name, count in sorted(self.counts.items()) if not name.startswith("2")}

    def percentile(self, share: float) -> float:
        """Milliseconds that *share* percent of the served stayed under."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share / 100))] * 1e3 if ordered else float("nan")


class Client(asyncio.Protocol):
    """One connection. ``due`` is the intended moment of the request under way, 0 when idle."""

    def __init__(self, owner: OpenLoop) -> None:
        self.owner = owner
        self.due = 0.0
        self.buffer = b""
        self.missing = -1
        """Bytes of the answer still to come; -1 until its head is whole."""
        self.status = ""
        self.begun = False
        self.keep = True
        self.chunked = False
        self.tail = b""
        """The latest bytes of a chunked answer."""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, due: float, request: bytes) -> None:
        assert self.transport is not None
        self.due = due
        self.missing = -1
        self.begun = self.chunked = False
        self.tail = b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.begun = True
        if self.missing < 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            self.status = head[9:12].decode()
            self.keep = b"\r\nconnection: close" not in head
            at = head.find(b"\r\ncontent-length:")
            if at >= 0:
                length = int(head[at + 17 :].split(b"\r\n", 1)[0])
                self.missing = length - (len(self.buffer) - end - 4)
            elif b"\r\ntransfer-encoding: chunked" in head:
                self.chunked = True
                self.missing = 1
                data = self.buffer[end + 2 :]
            self.buffer = b""
            if at < 0 and not self.chunked:
                self.finish("no length")
                return
        elif not self.chunked:
            self.missing -= len(data)
        if self.chunked:
            # One answer at a time comes here, so its last chunk is the last thing in it.
            self.tail = (self.tail + data)[-7:]
            self.missing = int(self.tail != b"\r\n0\r\n\r\n")
        if self.missing == 0:
            self.finish(self.status)
        elif self.missing < 0:
            self.finish("too long")

    def finish(self, what: str) -> None:
        """The answer is whole, or wrong."""
        due, self.due = self.due, 0.0
        self.missing = -1
        self.owner.ended(due, what)
        if self.owner.fresh or not self.keep or not what.isdigit():
            self.close()
        else:
            self.owner.idle(self)

    def close(self) -> None:
        assert self.transport is not None
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self.due:
            due, self.due = self.due, 0.0
            self.owner.ended(due, "cut in the answer" if self.begun else "closed before the answer")
        self.owner.lost(self)


class OpenLoop:
    """*rate* requests a second to 127.0.0.1:*port*; ``requests`` are sent in turn."""

    def __init__(
        self, port: int, requests: list[bytes], rate: float, connections: int = 256, fresh: bool = False
    ) -> None:
        self.port = port
        self.requests = requests
        self.rate = rate
        self.connections = connections
        self.fresh = fresh
        self.open: set[Client] = set()
        self.free: list[Client] = []
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.opening = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.seen = Seen(rate, 0.0)
        self.since = 0.0
        self.over = False

    async def run(self, seconds: float, warm: float = 1.0, until: Callable[[], bool] | None = None) -> Seen:
        """Load for *seconds* after *warm*, or until *until* says so; then wait for what is under way."""
        gc.collect()
        gc.disable()
        begun = time.monotonic()
        self.since = begun + warm
        ends = self.since + seconds
        sent = 0
        gap = 1.0 / self.rate
        looked = begun
        try:
            while True:
                now = time.monotonic()
                if now >= ends or (until is not None and until()):
                    break
                while begun + sent * gap <= now:
                    self.offer(begun + sent * gap, self.requests[sent % len(self.requests)])
                    sent += 1
                if now - looked > 0.5:
                    looked = now
                    self.give_up(now)
                await asyncio.sleep(0.001)
            self.over = True
            self.seen.seconds = time.monotonic() - self.since
            late = time.monotonic() + PATIENCE
            while (self.waiting or any(each.due for each in self.open) or self.opening) and time.monotonic() < late:
                await asyncio.sleep(0.005)
            self.give_up(time.monotonic() + PATIENCE)
        finally:
            gc.enable()
            for client in list(self.open):
                client.close()
            await asyncio.sleep(0.01)
        return self.seen

    def offer(self, due: float, request: bytes) -> None:
        """A request is due."""
        if due >= self.since:
            self.seen.offered += 1
        while self.free:
            client = self.free.pop()
            if client.transport is not None and not client.transport.is_closing():
                client.send(due, request)
                return
        if len(self.waiting) >= WAITING_AT_MOST:
            self.ended(due, "not sent")
            return
        self.waiting.append((due, request))
        if len(self.open) + self.opening < self.connections:
            self.begin_connect()

    def begin_connect(self) -> None:
        self.opening += 1
        task = asyncio.get_running_loop().create_task(self.connect())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, client = await asyncio.wait_for(
                loop.create_connection(lambda: Client(self), "127.0.0.1", self.port), PATIENCE
            )
        except (OSError, TimeoutError):
            if self.waiting:
                self.ended(self.waiting.popleft()[0], "no connection")
            return
        finally:
            self.opening -= 1
        self.open.add(client)
        self.idle(client)

    def idle(self, client: Client) -> None:
        """*client* may take the next request."""
        if client.transport is None or client.transport.is_closing():
            return
        if self.waiting:
            client.send(*self.waiting.popleft())
        else:
            self.free.append(client)

    def lost(self, client: Client) -> None:
        self.open.discard(client)
        if client in self.free:
            self.free.remove(client)
        if self.waiting and len(self.open) + self.opening < self.connections:
            self.begin_connect()

    def ended(self, due: float, what: str) -> None:
        """The request that was due then came to this end."""
        if due >= self.since:
            self.seen.counts[what] += 1
            if what.startswith("2"):
                now = time.monotonic()
                self.seen.latencies.append(now - due)
                self.seen.in_time += not self.over

    def give_up(self, now: float) -> None:
        """Count what waits for longer than ``PATIENCE`` as timed out."""
        while self.waiting and self.waiting[0][0] + PATIENCE <= now:
            self.ended(self.waiting.popleft()[0], "timed out waiting for a connection")
        for client in list(self.open):
            if client.due and client.due + PATIENCE <= now:
                due, client.due = client.due, 0.0
                self.ended(due, "timed out")
                client.close()


def get(path: str, key: str = "", close: bool = False) -> bytes:
    """A GET, written out."""
    fields = f"x-api-key: {key}\r\n" if key else ""
    fields += "connection: close\r\n" if close else ""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}user-agent: open-loop\r\naccept: */*\r\n\r\n".encode()


def drive(port: int, requests: list[bytes], rate: float, seconds: float, connections: int = 256,
          fresh: bool = False, warm: float = 1.0) -> Seen:  # fmt: skip
    """One run, on the load's core."""
    os.sched_setaffinity(0, {LOAD_CORE})
    return uvloop.run(OpenLoop(port, requests, rate, connections, fresh).run(seconds, warm))


if __name__ == "__main__":
    from gateway import key, path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    wanted = [get(f"{path(n % 200)}/items", key(n % 1000)) for n in range(1000)]
    seen = drive(given.port, wanted, given.rate, given.seconds, given.connections, given.fresh)
    print(f"offered {seen.offered}, served {seen.served} ({seen.goodput:.0f}/s), failures {seen.failures()}")
    print("ms: " + ", ".join(f"p{share} {seen.percentile(share):.2f}" for share in (50, 95, 99, 99.9)))
