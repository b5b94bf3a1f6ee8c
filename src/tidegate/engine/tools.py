"""The tools of parts, on the engine's own loop, wheel and counters (``ports/tools``)."""

from __future__ import annotations

import asyncio
import hmac
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from tidegate.engine.clock import Wheel
from tidegate.engine.metrics import Metrics
from tidegate.engine.models.access_tokens import AccessTokens
from tidegate.engine.steps import Steps
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import Fields
from tidegate.ports.authority import Limits
from tidegate.ports.books import Books
from tidegate.ports.consumers import Consumers, KeySets
from tidegate.ports.tokens import Tokens

WAITING: Final = 64
"""Calls that may wait for one thread pool."""

LOG_BURST: Final = 50
LOG_RATE: Final = 10.0
"""Program log lines a second, after a burst: an error storm must not eat the CPU (S26.12)."""


class EngineTools:
    """What all parts of a worker share. Made before the engine, on the worker's loop."""

    def __init__(
        self,
        *,
        loop: Any,
        config_folder: Path,
        data_folder: Path,
        consumers: Consumers,
        limits: Limits,
        key_sets: KeySets,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        report: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.wall = wall
        self.config_folder = config_folder
        self.data_folder = data_folder
        self.consumers = consumers
        self.limits = limits
        self.key_sets = key_sets
        self.random = Random(int.from_bytes(os.urandom(16), "big"))
        self.told = report
        """Told about defects in place of the program log."""
        self.steps = Steps(self.report)
        self.wheel = Wheel(self.steps, clock(), self.report)
        self.metrics = Metrics()
        self.upstreams: dict[str, Any] = {}
        """name → ``engine.upstream.upstream.Upstream``, filled by the engine."""
        self.copies: Callable[[str, str, str, Fields, bytes, float], bool] | None = None
        """Set by the engine: sends a mirrored request."""
        self.books: Books | None = None
        """Set by the worker: the ledger and the budgets of model calls. None: nothing is booked."""
        self.access_tokens = AccessTokens(clock, _no_control)
        """Replaced by the worker: tokens of providers that sell no keys, from control."""
        self.tokens: Tokens = RoughTokens()
        """Replaced by the worker: counts tokens of texts."""
        self.want_addresses: Callable[[str], None] = _nobody
        """Set by the worker: asks for the addresses of this upstream to be looked up again (S16.7)."""
        self.faults_allowed = False
        self.pools: dict[str, ThreadPoolExecutor] = {}
        self.waiting: dict[str, int] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.log_allowance = float(LOG_BURST)
        self.log_at = 0.0
        self.log_lost = 0

    def for_part(self, scope: str) -> PartTools:
        """The tools of the part at *scope*."""
        return PartTools(self, scope)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """A Task of its own, kept from the collector; what it raises is reported."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self.report(error)

    def report(self, error: BaseException) -> None:
        """A defect: its traceback goes to the program log, never to a client."""
        if self.told is not None:
            self.told(error)
            return
        text = "".join(traceback.format_exception(error))
        self.log("error", "defect", error=type(error).__name__, where=text[-4000:])

    def log(self, level: str, event: str, **fields: object) -> None:
        """One JSON line on stderr, as long as the allowance lasts; lost lines are counted in the next."""
        now = self.clock()
        self.log_allowance = min(float(LOG_BURST), self.log_allowance + (now - self.log_at) * LOG_RATE)
        self.log_at = now
        if self.log_allowance < 1.0:
            self.log_lost += 1
            return
        self.log_allowance -= 1.0
        line: dict[str, object] = {"ts": round(self.wall(), 3), "level": level, "event": event, "pid": os.getpid()}
        if self.log_lost:
            line["lost"] = self.log_lost
            self.log_lost = 0
        line.update(fields)
        try:
            sys.stderr.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
        except (OSError, ValueError):
            self.log_lost += 1  # a full disk under the program log must not end what is being served

    async def offload(self, work: Callable[..., Any], arguments: tuple[Any, ...], pool: str, size: int) -> Any:
        executor = self.pools.get(pool)
        if executor is None:
            executor = self.pools[pool] = ThreadPoolExecutor(size, thread_name_prefix=pool)
        waiting = self.waiting.get(pool, 0)
        if waiting >= WAITING + size:
            raise Fault("overloaded", "Too many checks wait already.", reason="queue_full", retry_after=1.0)
        self.waiting[pool] = waiting + 1
        try:
            return await self.loop.run_in_executor(executor, work, *arguments)
        finally:
            self.waiting[pool] -= 1

    def aside(self, work: Callable[[], Any], done: Callable[[Any], None], pool: str, most: int) -> bool:
        """Do *work* on the one thread of *pool*, then call *done* on the loop with what came of it: None where it
        failed. False: *most* wait already."""
        executor = self.pools.get(pool)
        if executor is None:
            executor = self.pools[pool] = ThreadPoolExecutor(1, thread_name_prefix=pool)
        if self.waiting.get(pool, 0) >= most:
            return False
        self.waiting[pool] = self.waiting.get(pool, 0) + 1

        def ended(future: asyncio.Future[Any]) -> None:
            self.waiting[pool] -= 1
            error = None if future.cancelled() else future.exception()
            if error is not None:
                self.report(error)
            done(None if error is not None or future.cancelled() else future.result())

        self.loop.run_in_executor(executor, work).add_done_callback(ended)
        return True

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        for pool in self.pools.values():
            pool.shutdown(wait=False, cancel_futures=True)


class PartTools:
    """The tools of one part at one place; the builder sets ``name``, ``config_folder`` and ``cleartext``."""

    def __init__(self, base: EngineTools, scope: str) -> None:
        self.base = base
        self.scope = scope
        self.name = ""
        self.config_folder = base.config_folder
        self.data_folder = base.data_folder
        self.limits = base.limits
        self.consumers = base.consumers
        self.key_sets = base.key_sets
        self.cleartext = False
        self.upstream = scope.removeprefix("upstream/")
        self.now = base.clock
        self.wall = base.wall
        self.random = base.random.random

    def weights_version(self) -> int:
        upstream = self.base.upstreams.get(self.upstream)
        return int(upstream.health.weights_version) if upstream is not None else 0

    def token(self, size: int) -> bytes:
        return os.urandom(size)

    async def sleep(self, seconds: float) -> None:
        await self.base.wheel.sleep(self.base.clock() + seconds)

    async def offload(self, work: Callable[..., Any], *arguments: Any, pool: str = "default", size: int = 4) -> Any:
        return await self.base.offload(work, arguments, pool, size)

    def send_copy(self, upstream: str, method: str, path: str, fields: Fields, body: bytes, timeout: float) -> bool:
        copies = self.base.copies
        return copies is not None and copies(upstream, method, path, fields, body, timeout)

    def faults_allowed(self) -> bool:
        return self.base.faults_allowed

    def counter(self, name: str, **labels: str) -> Callable[[int], None]:
        return self.base.metrics.adder(name, **labels)

    def spawn(self, work: Awaitable[Any]) -> None:
        self.base.spawn(_wrapped(work))

    def log(self, level: str, event: str, **fields: object) -> None:
        self.base.log(level, event, scope=self.scope, **fields)

    def secret(self, reference: str) -> str:
        """``cookies`` and ``contexts`` are derived from the node's root key, which control makes before the first
        worker is born: OSError when it cannot be read. Anything else is the value itself, read by assembly."""
        if reference not in ("cookies", "contexts"):
            return reference
        root = (self.data_folder / "root.key").read_bytes()
        return hmac.digest(root, reference.encode(), "sha256").hex()


class RoughTokens:
    """``ports/tokens.Tokens`` where no tokenizer is there."""

    def count(self, text: str, tokenizer: str = "") -> int:
        return len(text) // 4


def _nobody(upstream: str) -> None:
    """Where no resolver is there to ask."""


def _no_control(key: str, refused: bool) -> None:
    """Where no control is there to ask."""


async def _wrapped(work: Awaitable[Any]) -> Any:
    return await work
