"""Where a model call's time goes inside the engine: P2 to P4 driven through fake transports, no kernel but the ledger's
own writes.

    python benchmarks/inside_models.py [--build compiled|interpreted] [--call passed|translated|stream|turned]
        [--requests N] [--profile] [--whole]

Like ``inside.py``, for chat calls with virtual keys, budgets and a ledger: ``passed`` by bytes, ``translated`` from
another dialect's door, ``stream`` passed and ``turned`` translated event by event (then the figure is an event's). A
ledger in a temporary folder is written for real; what control would grant is granted here.
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

from inside import Transport

CHUNKS = 200
KEYS = 1000
ROUNDS = 150
"""Short ones: the quietest moment of a busy machine is what is told."""


class InsideModels:
    """An engine with one client connection and one idle connection to each model."""

    def __init__(self, folder: Path, call: str) -> None:
        self.folder = folder
        self.call = call
        self.streams = call in ("stream", "turned")

    async def start(self) -> None:
        from model_load import chat_body, config
        from model_upstream import chat, chat_stream, chunked, messages, messages_stream, whole

        from tidegate.assembly import generation
        from tidegate.assembly.build import Builder
        from tidegate.assembly.check import check
        from tidegate.assembly.consumers import Callers, WorkerConsumers
        from tidegate.assembly.worker_key_sets import WorkerKeySets
        from tidegate.authorities.local import LocalLimits
        from tidegate.engine.books import LocalBooks
        from tidegate.engine.downstream.http1_connection import Http1Connection
        from tidegate.engine.engine import Engine
        from tidegate.engine.ledger import Ledger
        from tidegate.engine.steps import Wait
        from tidegate.engine.tools import EngineTools
        from tidegate.engine.upstream.http1_client import Http1Client

        loop = asyncio.get_running_loop()
        file = self.folder / "tidegate.json"
        file.write_text(json.dumps(config()))
        (self.folder / "ledger").mkdir()
        checked = check(file, os.environ)
        pepper = b"p" * 32
        data = checked.generation(1, lambda key: hmac.digest(pepper, key, "sha256"))
        consumers = WorkerConsumers((pepper,), time.time)
        limits = LocalLimits(time.monotonic, lambda _: True, lambda: Wait(tools.steps), loop.call_soon, 1)
        tools = EngineTools(
            loop=loop, config_folder=self.folder, data_folder=self.folder, consumers=consumers, limits=limits,
            key_sets=WorkerKeySets(time.monotonic, lambda url: None),
        )  # fmt: skip
        ledger = Ledger(
            self.folder / "ledger", 0, "inside", time.monotonic, time.time, loop.call_soon,
            lambda work, done: done(work()),  # type: ignore[arg-type, func-returns-value]
        )  # fmt: skip

        def granted(message: dict[str, Any]) -> bool:
            if message["kind"] == "money_want":
                items = [[level, period, 10**12, 0] for level, _, period, _, _, _ in message["items"]]
                grant = {"kind": "money_grant", "number": message["number"], "clock": 0, "refused": None}
                books.receive({**grant, "items": items})
            return True

        books = tools.books = LocalBooks(
            ledger, time.monotonic, time.time, granted, lambda: Wait(tools.steps), loop.call_soon
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
        runtime = engine.runtime
        self.client = Http1Connection(runtime, next(iter(engine.listeners.values())))
        self.transport = Transport()
        self.client.connection_made(self.transport)
        self.peers = []
        for upstream in runtime.upstreams.values():
            for pool in upstream.pools.values():
                peer = Http1Client(pool, runtime.steps, runtime.head_limits)
                peer.connection_made(Transport())
                peer.created = peer.idle_since = time.monotonic()
                pool.open += 1
                pool.idle.append(peer)
                self.peers.append(peer)
        other = self.call in ("translated", "turned")
        body = chat_body(self.streams, "translated" if other else "fast")
        self.requests = [
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:28480\r\nauthorization: Bearer bench-key-%07d\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (n, len(body), body)
            for n in range(KEYS)
        ]
        if self.streams:
            self.answer = chunked((messages_stream if other else chat_stream)(CHUNKS))
        else:
            self.answer = [whole(messages() if other else chat())]
        await self.many(KEYS)

    async def many(self, count: int, first: int = 0) -> None:
        """So many calls, one after the other, with a turn of the loop after each ten. ``SystemExit`` when one is not
        answered with 200."""
        for number in range(first, first + count):
            told = self.transport.answers
            self.client.data_received(self.requests[number % KEYS])
            await self.answered(told)
            if number % 10 == 9:
                await asyncio.sleep(0)
        if self.transport.wrong and not self.streams:
            raise SystemExit(f"the engine answered {self.transport.wrong!r}")

    async def answered(self, told: int) -> None:
        for _ in range(20):
            for peer in self.peers:
                if peer.state == 1:
                    for piece in self.answer:
                        peer.data_received(piece)
            if self.transport.answers > told:
                return
            await asyncio.sleep(0)
        raise SystemExit("a call was never answered")

    def fresh(self) -> None:
        """Connections that could go on for ever are as new."""
        self.client.requests = 0
        for peer in self.peers:
            peer.requests = 1

    async def rounds(self, count: int) -> float:
        """Best seconds of CPU a call."""
        best = 1.0
        for _ in range(ROUNDS):
            self.fresh()
            begun = time.process_time()
            await self.many(count)
            best = min(best, (time.process_time() - begun) / count)
            await asyncio.sleep(0)
        return best


async def main(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="tidegate-inside-") as folder:
        inside = InsideModels(Path(folder), given.call)
        await inside.start()
        count = 10 if inside.streams else 600
        await inside.many(20 if inside.streams or given.requests else count)
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
            await inside.many(count)
            profile.disable()
            pstats.Stats(profile).sort_stats("cumtime" if given.whole else "tottime").print_stats(70)
        else:
            print(f"{await inside.rounds(1 if inside.streams else 20) * 1e6 / (CHUNKS if inside.streams else 1):.1f}")
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
    parser.add_argument("--call", default="passed", choices=("passed", "translated", "stream", "turned"))
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--whole", action="store_true")
    given = parser.parse_args()
    if "TIDEGATE_INSIDE" not in os.environ:
        again(given.build)
    import uvloop

    uvloop.run(main(given))
