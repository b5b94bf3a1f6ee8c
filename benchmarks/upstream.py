"""The service behind every proxy: a protocol on uvloop that answers each request head with the same 244 bytes of JSON.

    python benchmarks/upstream.py PORT... [--delay SECONDS] [--size BYTES]

It reads nothing but the end of heads, so it serves GET only. With ``--delay`` the answers come later; with ``--size``
the body is that large. It must cost little, because it shares a core with the load generator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import cast

import uvloop
from measure import LOAD_CORE, pinned

PORTS = (28401, 28402)
SIZE = 244


def answer(size: int) -> bytes:
    """One whole answer; a large body is text that packs like text, not like zeros."""
    chance = random.Random(1)
    filler = "".join(chance.choices("etaoin shrdlu", k=size))
    body = ('{"id":1,"name":"' + filler)[: size - 2].encode() + b'"}'
    assert len(body) == size and json.loads(body)
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size + body


class Service(asyncio.Protocol):
    """One connection."""

    def __init__(self, whole: bytes, delay: float) -> None:
        self.whole = whole
        self.delay = delay
        self.rest = b""
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        heads = data.count(b"\r\n\r\n")
        self.rest = b"" if data.endswith(b"\r\n\r\n") else data[data.rfind(b"\r\n\r\n") + 4 :] if heads else data
        if not heads:
            return
        if self.delay:
            self.loop.call_later(self.delay, self.give, heads)
        else:
            self.transport.write(self.whole * heads)

    def give(self, heads: int) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.whole * heads)


async def serve(ports: list[int], delay: float, size: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    whole = answer(size)
    for port in ports:
        await loop.create_server(lambda: Service(whole, delay), "127.0.0.1", port, backlog=4096)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()


class Upstream:
    """The service as a process on the load's core, for a ``with`` block."""

    def __init__(
        self, ports: tuple[int, ...] = PORTS, delay: float = 0.0, size: int = SIZE, core: int = LOAD_CORE
    ) -> None:
        self.command = [sys.executable, str(Path(__file__).resolve()), *map(str, ports)]
        self.command += ["--delay", str(delay), "--size", str(size)]
        self.ports = ports
        self.core = core

    def __enter__(self) -> Upstream:
        for port in self.ports:
            must_be_free(port)
        self.process = subprocess.Popen(self.command, preexec_fn=pinned(self.core))
        try:
            for port in self.ports:
                wait_until_answered(f"http://127.0.0.1:{port}/", {}, self.process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(5)


def must_be_free(port: int) -> None:
    """``SystemExit`` when somebody listens there: another's answers would be measured as ours."""
    with socket.socket() as trial:
        if trial.connect_ex(("127.0.0.1", port)) == 0:
            raise SystemExit(f"127.0.0.1:{port} is in use: is another benchmark running?")


def wait_until_answered(
    url: str, fields: dict[str, str], process: subprocess.Popen[bytes] | None = None, limit: float = 30.0
) -> float:
    """Ask until the answer is 200; the seconds it took. ``SystemExit`` when it never is."""
    begun = time.monotonic()
    last = "no answer"
    while time.monotonic() - begun < limit:
        if process is not None and process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=fields), timeout=5) as got:
                if got.status == 200:
                    return time.monotonic() - begun
        except OSError as error:
            last = str(error)
        time.sleep(0.005)
    raise SystemExit(f"{url} was not ready within {limit:.0f} s: {last}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--size", type=int, default=SIZE)
    given = parser.parse_args()
    uvloop.run(serve(given.ports, given.delay, given.size))
