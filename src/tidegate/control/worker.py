"""A worker's body: everything around the engine that lives as long as the process.

Opened after the fork, in this order: loop, generation, engine, then the link. A worker starts and serves without
control; it watches the supervisor's channel and drains when that ends (ARCHITECTURE 1).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import uvloop

import tidegate
from tidegate.assembly.build import Builder, Built
from tidegate.assembly.consumers import Callers, WorkerConsumers
from tidegate.assembly.generation import consumers, split
from tidegate.assembly.worker_key_sets import WorkerKeySets
from tidegate.authorities.local import LocalLimits
from tidegate.control.channel import Channel
from tidegate.control.context_keeper import ContextKeeper
from tidegate.control.data_folder import DataFolder, FolderError
from tidegate.control.harness import Gauge, Traps
from tidegate.control.link import LinkClient, Message
from tidegate.control.listening import adopt
from tidegate.control.node_secrets import load_peppers
from tidegate.control.token_child import TokenChild
from tidegate.control.upstream_keeper import kept_slots
from tidegate.engine.books import LocalBooks
from tidegate.engine.engine import Engine
from tidegate.engine.lanes.tunnel import GOING_AWAY
from tidegate.engine.ledger import Ledger
from tidegate.engine.models.access_tokens import AccessTokens
from tidegate.engine.segment import Segment
from tidegate.engine.steps import Wait
from tidegate.engine.tools import EngineTools

SLICE: Final = 0.004
"""Seconds of work on a plan between two turns of the loop (ARCHITECTURE 11)."""
LET_GO: Final = 10_000
"""Callers of the generation before that are forgotten between two turns: some 3 ms."""
BEAT: Final = 0.25
"""Seconds between heartbeats; the watchdog waits for sixteen of them."""
TICK: Final = 0.01
"""Seconds between two looks at leases that end."""
REPORT: Final = 1.0
"""Seconds between reports (C8.4)."""
LOOK: Final = 0.02
"""Seconds between two looks at what is still in flight while draining."""
LAST_REQUEST: Final = 5.0
"""Seconds idle connections have for one last request after an upgrade; the same as in a stop (S23.5)."""
RESTART: Final = 1012
"""What tunnels are told when another worker has taken over: come back at once (RFC 6455 7.4, service restart)."""
FLUSH: Final = 0.1
"""Seconds that aborted exchanges have to settle and to be recorded."""
MEET: Final = 1.0
"""Seconds that a worker waits for the authority of limits before it says that it is ready (S9.4)."""
STALE: Final = 900.0
"""Seconds without control after which only keys of the config are trusted (S7.4)."""


YOUNG: Final = 10_000
"""Objects that may come before the collector looks at them: nearly all are gone by then without it."""


class Birth:
    """What the supervisor gives a worker."""

    def __init__(
        self,
        row: int,
        workers: int,
        generation: int,
        folder: DataFolder,
        config_folder: Path,
        sockets: dict[str, socket.socket],
        segment: Segment | None,
        refused: list[int],
        test_profile: bool,
        channel: Channel,
    ) -> None:
        self.row = row
        self.workers = workers
        self.generation = generation
        self.folder = folder
        self.config_folder = config_folder
        self.sockets = sockets
        self.segment = segment
        self.refused = refused
        self.test_profile = test_profile
        self.channel = channel


def serve(birth: Birth) -> int:
    """Be a worker until the end; the exit code."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(Worker(birth).run())
    finally:
        loop.close()


class Worker:
    """State: STARTING, SERVING (``engine`` is there), DRAINING (``leaving``), ENDED (``ended`` holds the code)."""

    def __init__(self, birth: Birth) -> None:
        self.birth = birth
        self.loop = asyncio.get_event_loop()
        self.channel = birth.channel
        self.sockets = birth.sockets
        self.row = birth.segment.row(birth.row) if birth.segment is not None else None
        self.gauge = Gauge() if birth.test_profile else None
        self.traps = Traps() if birth.test_profile else None
        self.builder = Builder(os.environ, before=[self.traps] if self.traps is not None else [],
                               workers=birth.workers)  # fmt: skip
        self.consumers = WorkerConsumers(load_peppers(birth.folder, os.environ), time.time)
        self.limits = LocalLimits(time.monotonic, self._ask, self._waiter, self.loop.call_soon, birth.workers)
        self.key_sets = WorkerKeySets(time.monotonic, self._want_keys)
        self.tools = EngineTools(
            loop=self.loop,
            config_folder=birth.config_folder,
            data_folder=birth.folder.path,
            consumers=self.consumers,
            limits=self.limits,
            key_sets=self.key_sets,
        )
        self.tools.tokens = TokenChild(self.tools.report)
        self.tools.want_addresses = self._want_addresses
        self.tools.access_tokens = AccessTokens(time.monotonic, self._want_token)
        self.disk = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        """One thing at a time for the disk; the thread is born when there is something to do."""
        self.ledger = Ledger(
            birth.folder.path / "ledger", birth.row, os.urandom(5).hex(), time.monotonic, time.time,
            self.loop.call_soon, self._aside, build=tidegate.__version__,
        )  # fmt: skip
        self.books = LocalBooks(
            self.ledger, time.monotonic, time.time, self._ask, self._waiter, self.loop.call_soon
        )  # fmt: skip
        self.tools.books = self.books
        self.contexts = ContextKeeper(self.loop, self.tools.log)
        self.engine: Engine | None = None
        self.built: Built | None = None
        self.generation = 0
        self.wanted = birth.generation
        self.building = False
        self.refusal = ""
        """Why the newest generation could not be taken."""
        self.leaving: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[int] = self.loop.create_future()
        self.link = LinkClient(lambda: birth.folder.socket("link.sock"), self._hello, self._told, self._link_changed)
        self.met = asyncio.Event()
        """Set once the authority of limits has answered."""
        self.away_since = time.monotonic()
        self.ticked = self.away_since
        self.tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> int:
        """Start, serve, drain; the exit code."""
        self._take_signals()
        self.loop.add_reader(self.channel.fileno(), self._hear)
        self._beat()
        if self.gauge is not None:
            self.gauge.look()
        await self._start()
        assert self.engine is not None
        self.tasks = [self.loop.create_task(self.link.run()), self.loop.create_task(self._report())]
        self._tick()
        # Control may live and die as it likes, but as a rule it is there in a moment: no client shall notice who of us
        # was first.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.met.wait(), MEET)
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG)
        self.channel.send("ready", generation=self.generation)
        code = await self.ended
        self.link.send("report", **self._figures(last=True))
        self.link.close()
        for task in self.tasks:
            task.cancel()
        self.engine.close()
        await self.contexts.close()
        self.books.close()
        # The last report and what the sinks wrote leave with this turn of the loop.
        await asyncio.sleep(0)
        return code

    # -- start and reload -----------------------------------------------------------------------------------------

    async def _start(self) -> None:
        content = self.birth.folder.plan(self.wanted).read_bytes()
        built = await self._build(content)
        callers = await self._read_consumers(built)
        self.engine = Engine(self.tools, self.birth.segment, self.birth.row, self.birth.workers)
        if callers is not None:
            self.consumers.configure(callers)
        # Control tells them too, but may be away just now: without them no endpoint would count as checked.
        self.engine.set_slots(kept_slots(self.birth.folder))
        self._take_durability(built)
        await self.contexts.prepare(built.plan.contexts)
        await self.engine.start(built.plan, self._listeners(built))
        # The listeners are heard in the next turn of the loop.
        self.contexts.take(self.engine.running(), built.plan.contexts)
        self.built = built
        self.generation = self.wanted
        self._refuse(self.birth.refused)

    async def _build(self, content: bytes) -> Built:
        """The Plan of a generation, made in slices between turns of the loop."""
        steps = self.builder.steps(content, self.tools.for_part, self.built)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                built: Built = end.value
                return built
            await asyncio.sleep(0)

    async def _read_consumers(self, built: Built) -> Callers | None:
        """The callers of a generation, read in slices. None when they are those of the generation before: then no
        credential that is remembered becomes void."""
        generation = built.generation
        assert generation is not None
        before = self.built.generation if self.built is not None else None
        if before is not None and before.consumers == generation.consumers and b"${" not in generation.consumers:
            return None
        found = Callers()
        begun = time.perf_counter()
        for each in consumers(generation, os.environ):
            found.add(each)
            if time.perf_counter() - begun > SLICE:
                await asyncio.sleep(0)
                begun = time.perf_counter()
        return found

    def _take_durability(self, built: Built) -> None:
        models = built.plan.models
        if models is not None:
            self.ledger.full = models.durability == "full"

    def _listeners(self, built: Built) -> dict[str, socket.socket]:
        """The listening sockets of a plan, by name. Raises ``LookupError`` when one has not come."""
        self._hear()
        missing = [each.name for each in built.plan.listeners if each.name not in self.sockets]
        if missing:
            raise LookupError(f"no socket for {', '.join(missing)}")
        return {each.name: self.sockets[each.name] for each in built.plan.listeners}

    def _want(self, number: int) -> None:
        """Control says that *number* is the generation to serve."""
        self.wanted = max(self.wanted, number)
        if self.wanted == self.generation:
            self._acknowledge()
        elif not self.building and self.engine is not None:
            self.building = True
            self.tasks.append(self.loop.create_task(self._take_wanted()))

    async def _take_wanted(self) -> None:
        """Take the newest generation; what comes meanwhile is taken right after."""
        failed = 0
        try:
            while self.generation < self.wanted and failed != self.wanted and self.leaving is None:
                number = self.wanted
                try:
                    await self._apply(number)
                    self.refusal = ""
                except Exception as error:
                    # The old plan serves on; control hears why, and asks no more of this generation.
                    failed = number
                    self.refusal = f"{type(error).__name__}: {error}"
                    traceback.print_exc()
                self._acknowledge()
        finally:
            self.building = False

    async def _apply(self, number: int) -> None:
        assert self.engine is not None
        built = await self._build(self.birth.folder.plan(number).read_bytes())
        callers = await self._read_consumers(built)
        await self.contexts.prepare(built.plan.contexts)
        listeners = self._listeners(built)
        # One turn of the loop: no exchange sees the new plan with the old keys.
        before = self.consumers.configure(callers) if callers is not None else None
        self._take_durability(built)
        self.engine.apply(built.plan, listeners)
        self.contexts.take(self.engine.running(), built.plan.contexts)
        self.built = built
        self.generation = number
        for name in [name for name in self.sockets if name not in listeners]:
            self.sockets.pop(name).close()
        while before is not None and before.let_go(LET_GO):
            await asyncio.sleep(0)

    def _acknowledge(self) -> None:
        self.link.send("ack", generation=self.generation, wanted=self.wanted, error=self.refusal)

    # -- the supervisor -------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Take everything that waits on the channel."""
        while True:
            try:
                parcel = self.channel.receive()
            except EOFError:
                # The supervisor has died, and another may start at once. It knows us by our ledger alone: what our
                # calls have set aside is kept for them, what we only hold is not.
                self.loop.remove_reader(self.channel.fileno())
                self.link.close()
                self.books.abandon()
                self.leave(accept=False)
                return
            if parcel is None:
                return
            message = parcel.message
            kind = message["kind"]
            if kind == "sockets":
                for name, fd in zip(message["names"], parcel.fds, strict=True):
                    self.sockets[name] = adopt(fd)
            elif kind == "drain":
                self.leave(bool(message["accept"]), float(message["finish"]))
            elif kind == "stop":
                self.stop()
            elif kind == "refuse":
                self._refuse(message["works"])

    def _refuse(self, works: list[int]) -> None:
        """Requests with these hashes ended two workers (S23.6)."""
        if self.engine is not None:
            self.engine.refuse(works)

    def _take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        self.loop.add_signal_handler(signal.SIGTERM, self._terminated)

    def _terminated(self) -> None:
        """SIGTERM came here directly, as from a service manager that signals every process of the group."""
        if self.leaving is None:
            self.leave(accept=True)

    # -- the end --------------------------------------------------------------------------------------------------

    def leave(self, accept: bool, finish: float = -1.0) -> None:
        """Drain and end (S23.5); *finish* below 0: as long as the plan says. Later calls do nothing."""
        if self.leaving is None:
            self.leaving = self.loop.create_task(self._leave(accept, finish))

    async def _leave(self, accept: bool, finish: float) -> None:
        engine = self.engine
        if engine is None or self.built is None:
            self._end(0)
            return
        plan = self.built.plan
        engine.begin_drain()
        code = GOING_AWAY
        if accept:
            await asyncio.sleep(plan.drain_accept)
        elif finish > LAST_REQUEST:
            code = RESTART
            # New workers have the listeners already, so there is time: a client that has just connected, or keeps its
            # connection, may send one more request and hears in its answer that the connection ends.
            for listener in engine.listeners.values():
                listener.stop()
            patience = time.monotonic() + LAST_REQUEST
            while engine.in_flight() and time.monotonic() < patience:
                await asyncio.sleep(LOOK)
        engine.stop_accepting(code)
        for opened in self.sockets.values():
            opened.close()
        deadline = time.monotonic() + (plan.drain_finish if finish < 0.0 else finish)
        while engine.in_flight() and time.monotonic() < deadline:
            await asyncio.sleep(LOOK)
        if engine.in_flight():
            engine.abort_all()
            await asyncio.sleep(FLUSH)
        self._end(0)

    def stop(self) -> None:
        """Flush and end now: the second signal."""
        if self.engine is not None:
            self.engine.stop_accepting()
            self.engine.abort_all()
        self.loop.call_later(FLUSH, self._end, 0)

    def _end(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)

    # -- control --------------------------------------------------------------------------------------------------

    def _hello(self) -> Message:
        return {
            "slot": self.birth.row,
            "pid": os.getpid(),
            "generation": self.generation,
            "seq": self.consumers.seq(),
            "money": self.books.hello(),
        }

    def _told(self, message: Message) -> None:
        """A message of control; a kind nobody knows is skipped (C8.4)."""
        kind = message["kind"]
        if kind in ("grant", "recall"):
            self.limits.receive(message)
            self.met.set()
        elif kind in ("money_grant", "money_recall"):
            self.books.receive(message)
        elif kind == "ping":
            self.link.send("pong", at=message.get("at"))
        elif kind == "generation":
            self._want(int(message["number"]))
        elif kind == "key_set":
            self.key_sets.put(message["url"], message["key_set"], float(message["age"]))
        elif kind == "token":
            self.tools.access_tokens.put(str(message["key"]), str(message["value"]), float(message["life"]))
        elif kind == "slots" and self.engine is not None:
            self.engine.set_slots(message["slots"])
        elif kind == "addresses" and self.engine is not None:
            self.engine.set_addresses({n: [tuple(a) for a in found] for n, found in message["upstreams"].items()})
        elif kind == "traps" and self.traps is not None:
            self.traps.set(message["targets"], message["bodies"])
        elif kind == "collect":
            self.link.send("report", **self._figures(explain=bool(message.get("explain")), asked=message.get("asked")))

    def _link_changed(self, up: bool) -> None:
        if up:
            self.consumers.set_stale(False)
            self.limits.connected()
            self.books.connected()
        else:
            self.away_since = time.monotonic()
            self.limits.disconnected()

    def _want_keys(self, url: str) -> None:
        self.link.send("want_keys", url=url)

    def _want_token(self, key: str, refused: bool) -> None:
        self.link.send("want_token", key=key, refused=refused)

    def _want_addresses(self, upstream: str) -> None:
        self.link.send("want_addresses", upstream=upstream)

    def _ask(self, message: Message) -> bool:
        connection = self.link.connection
        return connection is not None and connection.send_message(message)

    def _waiter(self) -> Wait:
        return Wait(self.tools.steps)

    def _aside(self, work: Callable[[], None], done: Callable[[OSError | None], None]) -> None:
        """Do *work* on the disk's thread, then tell what went wrong."""

        def ended(future: asyncio.Future[None]) -> None:
            error = future.exception()
            done(error if error is None or isinstance(error, OSError) else OSError(str(error)))

        self.loop.run_in_executor(self.disk, work).add_done_callback(ended)

    def _figures(self, explain: bool = False, last: bool = False, asked: object = None) -> Message:
        """What a report says."""
        assert self.engine is not None
        figures: Message = {
            "pid": os.getpid(),
            "generation": self.generation,
            "in_flight": self.engine.in_flight(),
            "draining": self.leaving is not None,
            "refusal": self.refusal,
            "ledger": self.ledger.state(),
            "counters": self.engine.counters(),
            "last": last,
        }
        if explain:
            figures["explain"] = self.engine.explain()
        if asked is not None:
            figures["asked"] = asked
            if self.gauge is not None:
                figures["probe"] = self.gauge.read()
        return figures

    # -- time -----------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Say that the loop turns."""
        if self.row is not None:
            self.row.beat(time.monotonic())
        self.loop.call_later(BEAT, self._beat)

    def _tick(self) -> None:
        now = time.monotonic()
        stood_still = now - self.ticked - TICK
        self.ticked = now
        if stood_still > TICK:
            self.limits.pardon(stood_still)
        self.limits.tick(now)
        self.books.tick()
        self.loop.call_later(TICK, self._tick)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(REPORT)
            if self.link.connection is not None:
                self.link.send("report", **self._figures())
            elif time.monotonic() - self.away_since > STALE:
                self.consumers.set_stale(True)


def rehearse(folder: DataFolder) -> int:
    """Load and build the newest generation without serving it: what a new program must be able to do before an
    upgrade. 0, or 1 with the reason on stderr."""
    from tidegate.assembly.inert import InertTools

    number = folder.newest()
    try:
        content = folder.plan(number).read_bytes()
        Builder(os.environ).build(content, lambda scope: InertTools(scope, folder.path))
        load_peppers(folder, os.environ)
        for _ in consumers(split(content), os.environ):
            pass
    except (OSError, FolderError, ValueError) as error:
        sys.stderr.write(f"tidegate: generation {number} cannot be served by this program: {error}\n")
        return 1
    return 0
