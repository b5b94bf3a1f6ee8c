"""Journeys as conversations over an in-memory transport, on a clock the test moves.

``House`` is one worker's engine without sockets: ``client()`` opens a client connection, ``upstreams`` are the
connections the engine opened, in order. A test reads as what each side says and hears.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from fakes import FakeConsumers, FakeKeySets
from tidegate.engine.downstream.http1_connection import Http1Connection
from tidegate.engine.engine import Engine
from tidegate.engine.runtime import Runtime
from tidegate.engine.tools import EngineTools
from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.record import Record
from tidegate.ports.balancer import Endpoint
from tidegate.ports.plan import LimitsPlan, ListenerPlan, Plan, RetryPlan, RoutePlan, TargetPlan, UpstreamPlan
from tidegate.rules.match_route import RouteEntry, build


class Socket:
    """What a connection asks the kernel: the TCP state (1 is ESTABLISHED, 8 CLOSE_WAIT), and the age of the last data
    in ms. It has no send queue."""

    def __init__(self) -> None:
        self.state = 1
        self.age = 0

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return (bytes([self.state]) + bytes(51) + self.age.to_bytes(4, sys.byteorder))[:size]

    def fileno(self) -> int:
        raise OSError


class Transport:
    """One end of an in-memory connection. ``sent`` is what the engine wrote and the test has not read yet;
    ``stuck`` is what ``get_write_buffer_size`` then says."""

    def __init__(self, peer: str = "192.0.2.7") -> None:
        self.protocol: Any = None
        self.sent = b""
        self.reading = True
        self.closing = False
        self.aborted = False
        self.ended = False
        self.peer = peer
        self.socket = Socket()
        self.stuck = 0

    def write(self, data: bytes) -> None:
        assert not self.closing or self.aborted, "the engine wrote to a connection it had closed"
        self.sent += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int, low: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return self.stuck

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return self.socket
        return (self.peer, 40000) if name == "peername" else ("127.0.0.1", 8080) if name == "sockname" else default

    def get_protocol(self) -> Any:
        return self.protocol


class Side:
    """What one peer of the engine can do."""

    def __init__(self, transport: Transport, protocol: Any) -> None:
        self.transport = transport
        self.protocol = protocol

    def says(self, data: bytes | str) -> None:
        """Bytes arrive at the engine."""
        self.protocol.data_received(data.encode("latin-1") if isinstance(data, str) else data)

    def hears(self) -> bytes:
        """Everything the engine has sent since the last call."""
        sent, self.transport.sent = self.transport.sent, b""
        return sent

    def leaves(self, error: BaseException | None = None) -> None:
        """The connection ends: by FIN, or by reset when *error* is given."""
        if error is None and not self.protocol.eof_received():
            self.transport.closing = True
        self.transport.closing = True
        self.protocol.connection_lost(error)

    def is_stuck(self, size: int) -> None:
        """The peer does not read: *size* bytes wait in our buffer, which is over its mark."""
        self.transport.stuck = size
        self.protocol.pause_writing()

    def reads_on(self) -> None:
        """The buffer is under its mark again."""
        self.transport.stuck = 0
        self.protocol.resume_writing()

    @property
    def closed(self) -> bool:
        return self.transport.closing or self.transport.ended


class Loop:
    """The test's loop, except that connecting makes in-memory connections and timers wait for ``House.pass_time``."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.later: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []

    def create_task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(work)

    def call_later(self, delay: float, work: Callable[..., Any], *arguments: Any) -> None:
        self.later.append((self.house.now + delay, work, arguments))

    def call_soon(self, work: Callable[..., Any], *arguments: Any) -> None:
        asyncio.get_running_loop().call_soon(work, *arguments)

    def run_in_executor(self, executor: Any, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        """Done at once; told in another turn."""
        self.house.aside += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int, **_: Any) -> None:
        while f"{host}:{port}" in self.house.holding:
            await asyncio.sleep(0)
        refusal = self.house.refusing.get(f"{host}:{port}")
        if refusal is not None:
            raise refusal
        transport = Transport()
        protocol = factory()
        transport.protocol = protocol
        protocol.connection_made(transport)
        side = Side(transport, protocol)
        self.house.upstreams.append(side)
        self.house.connected.append(f"{host}:{port}")


class First:
    """A balancer that always takes the first candidate."""

    def pick(self, x: Exchange, endpoints: Sequence[Endpoint]) -> Endpoint:
        return endpoints[0]


class Kept:
    """A sink that keeps its records."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def flush(self) -> None: ...

    def close(self) -> None: ...


class NoLimits:
    def policy(self, spec: Any) -> Any:
        raise NotImplementedError


class House:
    """One engine. ``now`` is monotonic and wall time at once; ``refusing`` maps ``host:port`` to what connecting
    raises, and connecting to one in ``holding`` takes until it is not; ``defects`` are exceptions no journey should
    have let out."""

    def __init__(self, routes: Sequence[RoutePlan], upstreams: Sequence[UpstreamPlan] = (), **plan: Any) -> None:
        self.now = 1000.0
        self.upstreams: list[Side] = []
        self.connected: list[str] = []
        self.refusing: dict[str, BaseException] = {}
        self.holding: set[str] = set()
        self.aside = 0
        """Pieces of work that were given to a thread."""
        self.sink = Kept()
        self.loop = Loop(self)
        self.defects: list[BaseException] = []
        self.tools = EngineTools(
            loop=self.loop, config_folder=Path(), data_folder=Path("/nonexistent"), consumers=FakeConsumers(),
            limits=NoLimits(), key_sets=FakeKeySets(), clock=lambda: self.now, wall=lambda: self.now + 1_700_000_000.0,
            report=self.defects.append,
        )  # fmt: skip
        self.engine = Engine(self.tools, None, 0, 1)
        entries = [
            RouteEntry(route, route.name, route.prefix, "prefix", (), frozenset(), (), (), number)
            for number, route in enumerate(routes)
        ]
        self.listener_plan = ListenerPlan("test", "127.0.0.1", 8080)
        self.plan = Plan(
            generation=1, name="tidegate", listeners=(), router=build(entries), routes=tuple(routes),
            upstreams={u.name: u for u in upstreams}, sinks=(self.sink,), **plan,
        )  # fmt: skip

    async def open(self) -> House:
        await self.engine.start(self.plan, {})
        self.runtime.steps.post = None  # a side hears what is written at once; ``test_sockets`` has the real way
        await settle()
        return self

    @property
    def runtime(self) -> Runtime:
        return self.engine.running()

    @property
    def record(self) -> Record:
        """The one record so far."""
        assert len(self.sink.records) == 1, self.sink.records
        return self.sink.records[0]

    def client(self, ip: str = "192.0.2.7", *, trusted: bool = False) -> Side:
        """A client connects."""
        transport = Transport(ip)
        protocol = Http1Connection(self.runtime, _Door(self, ip, trusted))
        transport.protocol = protocol
        protocol.connection_made(transport)
        return Side(transport, protocol)

    def at_rest(self) -> None:
        """Nothing is under way any more, and nothing has leaked (S1 row 17)."""
        assert self.defects == []
        runtime = self.runtime
        assert runtime.in_flight == 0
        assert [stats.in_flight for stats in runtime.metrics.routes.values() if stats.in_flight] == []
        open_sides = sum(1 for side in self.upstreams if not side.transport.closing)
        pooled = 0
        for name, one in runtime.upstreams.items():
            assert (one.admission.in_flight, one.admission.waiting, one.admission.held) == (0, 0, {}), name
            assert [e.own_active for e in one.endpoints if e.own_active] == [], name
            assert one.batches == {}
            for pool in one.pools.values():
                assert (len(pool.waiters), pool.opening) == (0, 0), pool
                assert pool.open == len(pool.idle), pool
                assert [c.pieces for c in pool.idle if c.pieces] == []
                pooled += pool.open
        assert pooled == open_sides
        assert runtime.tunnels == set()

    def pass_time(self, seconds: float) -> None:
        """Move the clock in steps of 10 ms or coarser, with everything that hangs on it."""
        end = self.now + seconds
        step = max(0.01, seconds / 500)
        while self.now < end:
            self.now = min(end, self.now + step)
            due = [item for item in self.loop.later if item[0] <= self.now]
            self.loop.later = [item for item in self.loop.later if item[0] > self.now]
            for _, work, arguments in due:
                work(*arguments)


class _Door:
    """Stands for a listener."""

    def __init__(self, house: House, ip: str, trusted: bool) -> None:
        self.plan = house.listener_plan
        self.ip = ip
        self.trusted = trusted
        self.gone: list[Any] = []

    def peer_of(self, transport: Any) -> Peer:
        return Peer("test", self.ip, 40000, 8080, trusted=self.trusted)

    def closed(self, connection: Any) -> None:
        self.gone.append(connection)


async def settle() -> None:
    """Let Tasks (connecting) run as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def upstream(name: str = "up", *targets: str, **settings: Any) -> UpstreamPlan:
    """An upstream of http targets ``host:port``; without a warm connection unless asked for."""
    made = []
    for target in targets or ("10.0.0.1:80",):
        host, _, port = target.partition(":")
        made.append(TargetPlan("http", host, int(port)))
    settings.setdefault("warm", 0)
    settings.setdefault("balancer", First())
    return UpstreamPlan(name, tuple(made), **settings)


def route(prefix: str = "/", to: str = "up", **settings: Any) -> RoutePlan:
    """A route with that prefix to that upstream."""
    settings.setdefault("name", prefix.strip("/") or "root")
    settings.setdefault("lane", "http")
    return RoutePlan(upstream=to, prefix=prefix, **settings)


def scene(
    play: Callable[[House, Side], Coroutine[Any, Any, None]],
    *,
    of_route: Any = None,
    limits: LimitsPlan | None = None,
    trusted: bool = False,
    **settings: Any,
) -> None:
    """Let *play* run in a house of one route to one upstream, and see that all is at rest behind it."""

    async def run() -> None:
        settings.setdefault("retry", RetryPlan(attempts=0))
        plan = {"limits": limits} if limits is not None else {}
        house = await House([route(**(of_route or {}))], [upstream(**settings)], **plan).open()
        await play(house, house.client(trusted=trusted))
        if house.runtime.in_flight == 0:
            house.at_rest()
        assert house.defects == []

    asyncio.run(run())
