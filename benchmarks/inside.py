"""Where a request's time goes inside the engine: the whole policy chain of P1 driven through fake transports, no
kernel.

    python benchmarks/inside.py [--build compiled|interpreted] [--requests N] [--profile] [--whole]

Prints the CPU time of a request without its four socket calls: the best of seven rounds, which is the quietest moment
of a busy machine. ``--profile`` lists functions by their own time (cProfile triples the time of small Python
functions and sees compiled ones only as a whole); ``--whole`` sorts by cumulated time. ``--requests N`` runs exactly
N requests after 200 of warm-up and prints nothing but their number, for callgrind: the difference of two such runs is
the cost in instructions, see ``smoke.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import hmac
import json
import os
import pstats
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REQUEST = (
    "GET /service-{n}/api/items?x={n} HTTP/1.1\r\nHost: 127.0.0.1:28480\r\nx-api-key: bench-key-{n:07d}\r\n"
    "user-agent: wrk\r\naccept: */*\r\n\r\n"
)
ROUNDS = 7


class Transport:
    """Takes everything, counts the answers and keeps one that is not 200."""

    def __init__(self) -> None:
        self.answers = 0
        self.wrong = b""

    def write(self, data: bytes) -> None:
        self.answers += 1
        if data[9:12] != b"200":
            self.wrong = data

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 28480), "socket": Unknowing()}
        return known.get(name, default)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_protocol(self) -> None:
        return None

    def set_protocol(self, protocol: object) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    abort = pause_reading = resume_reading = close


class Unknowing:
    """A socket whose kernel does not say when its last bytes came: the guard at the door then lets them in."""

    def getsockopt(self, *_: int) -> bytes:
        return b""


class Inside:
    """An engine with one client connection and one idle connection to each endpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waited = 0
        """Requests that were not answered within their own call."""

    async def start(self) -> None:
        from gateway import policy
        from upstream import SIZE, answer

        from tidegate.assembly import generation
        from tidegate.assembly.build import Builder
        from tidegate.assembly.check import check
        from tidegate.assembly.consumers import Callers, WorkerConsumers
        from tidegate.assembly.worker_key_sets import WorkerKeySets
        from tidegate.authorities.local import LocalLimits
        from tidegate.control.limits import LimitAuthority
        from tidegate.engine.downstream.http1_connection import Http1Connection
        from tidegate.engine.engine import Engine
        from tidegate.engine.steps import Wait
        from tidegate.engine.tools import EngineTools
        from tidegate.engine.upstream.http1_client import Http1Client

        loop = asyncio.get_running_loop()
        config = self.folder / "tidegate.json"
        config.write_text(json.dumps(policy()))
        checked = check(config, os.environ)
        pepper = b"p" * 32
        data = checked.generation(1, lambda key: hmac.digest(pepper, key, "sha256"))
        consumers = WorkerConsumers((pepper,), time.time)
        authority = LimitAuthority(None, time.monotonic, time.time)

        def ask(message: Any) -> bool:
            loop.call_soon(grant, message)
            return True

        def grant(message: Any) -> None:
            answer = authority.handle(0, message)
            if answer is not None:
                self.limits.receive(answer)

        self.limits = LocalLimits(time.monotonic, ask, lambda: Wait(tools.steps), loop.call_soon, 1)
        tools = EngineTools(
            loop=loop,
            config_folder=self.folder,
            data_folder=self.folder,
            consumers=consumers,
            limits=self.limits,
            key_sets=WorkerKeySets(time.monotonic, lambda url: None),
        )
        built = Builder(os.environ).build(data, tools.for_part)
        consumers.configure(Callers(generation.consumers(built.generation, os.environ)))
        engine = Engine(tools, None, 0, 1)
        sockets = {}
        for listener in built.plan.listeners:
            opened = socket.socket()
            opened.bind(("127.0.0.1", 0))
            opened.listen(8)
            sockets[listener.name] = opened
        await engine.start(built.plan, sockets)
        tools.steps.post = None  # an answer is seen in the call that makes it, not at the end of the turn
        self.engine = engine
        runtime = engine.runtime
        self.client = Http1Connection(runtime, next(iter(engine.listeners.values())))
        self.transport = Transport()
        self.client.connection_made(self.transport)
        self.peers = []
        for pool in runtime.upstreams["up"].pools.values():
            peer = Http1Client(pool, runtime.steps, runtime.head_limits)
            peer.connection_made(Transport())
            peer.created = peer.idle_since = time.monotonic()
            pool.open += 1
            pool.idle.append(peer)
            self.peers.append(peer)
        self.requests = [REQUEST.format(n=n).encode() for n in range(200)]
        self.answer = answer(SIZE)
        for number in range(400):
            await self.many(1, number)

    def one(self, number: int) -> None:
        """One request through the whole chain."""
        self.client.data_received(self.requests[number % 200])
        self.upstreams_answer()

    def upstreams_answer(self) -> None:
        """Every request that has reached an endpoint is answered; those that waited behind it too."""
        busy = True
        while busy:
            busy = False
            for peer in self.peers:
                if peer.state == 1:
                    busy = True
                    peer.data_received(self.answer)

    async def many(self, count: int, first: int = 0) -> None:
        """So many requests, one after the other, with a turn of the loop after each fifty. One that has to wait, as for
        a lease of its limit, is waited for. ``SystemExit`` when one is not answered with 200."""
        wanted = self.transport.answers
        for number in range(first, first + count):
            self.one(number)
            wanted += 1
            if self.transport.answers != wanted:
                await self.settle(wanted)
            elif number % 50 == 49:
                await asyncio.sleep(0)
                self.limits.tick(time.monotonic())
        if self.transport.wrong:
            raise SystemExit(f"the engine answered {self.transport.wrong!r}")

    async def settle(self, wanted: int) -> None:
        """Turn the loop until so many answers have come."""
        self.waited += 1
        for pause in (*[0.0] * 20, *[0.001] * 1000):
            await asyncio.sleep(pause)
            self.upstreams_answer()
            if self.transport.answers == wanted:
                return
        raise SystemExit("a request was never answered")

    def fresh(self) -> None:
        """Connections that could go on for ever are as new."""
        self.client.requests = 0
        for peer in self.peers:
            peer.requests = 0

    async def rounds(self, count: int) -> float:
        """Best seconds of CPU a request."""
        best = 1.0
        for _ in range(ROUNDS):
            self.fresh()
            begun = time.process_time()
            await self.many(count)
            best = min(best, (time.process_time() - begun) / count)
            # The batches of records are written now, in a thread whose time counts in the next round.
            await asyncio.sleep(0.15)
            self.limits.tick(time.monotonic())
        return best


async def main(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="tidegate-inside-") as folder:
        inside = Inside(Path(folder))
        await inside.start()
        await inside.many(200 if given.requests else 3000)
        await asyncio.sleep(0.05)
        gc.collect()
        gc.freeze()
        inside.fresh()
        if given.requests:
            await inside.many(given.requests)
            print(given.requests, flush=True)
            os._exit(0)
        if given.profile:
            profile = cProfile.Profile()
            profile.enable()
            await inside.many(4000)
            profile.disable()
            pstats.Stats(profile).sort_stats("cumtime" if given.whole else "tottime").print_stats(45)
        else:
            print(f"{await inside.rounds(3000) * 1e6:.1f}")
        sys.stdout.flush()
        os._exit(0)


def again(build_name: str) -> None:
    """Start this script once more with the package of that build, and become it."""
    from gateway import build

    os.execve(
        sys.executable,
        [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:]],
        {**build(build_name).environment(), "TIDEGATE_INSIDE": "1", "PYTHONSAFEPATH": "", "PYTHONHASHSEED": "0"},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="")
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    if "TIDEGATE_INSIDE" not in os.environ:
        again(given.build)
    import uvloop

    uvloop.run(main(given))
