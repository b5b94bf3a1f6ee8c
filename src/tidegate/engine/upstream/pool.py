"""The keep-alive connections to one endpoint: last in, first out (S16.1-S16.4).

``take`` gives an idle connection at once or nothing; ``connect`` is a wait that brings the first connection to come
free, a new one or one given back; ``fresh`` one that nobody has used. Connecting is the pool's own Task, so an exchange
that is cancelled loses nothing. There are never more than ``max_connections``.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from tidegate.engine.steps import Steps, Wait
from tidegate.engine.upstream.http1_client import CLOSED, IDLE, Http1Client
from tidegate.exchange.fault import NOT_PROCESSED, UPSTREAM, Fault
from tidegate.ports.balancer import Endpoint
from tidegate.wire.http1 import HeadLimits

IDLE_LIFE: Final = 60.0
LIFE: Final = 3600.0
LIFE_SPREAD: Final = 0.1
"""Part of ``LIFE`` by which lives differ: connections opened in one rush must not all end in one (S16.3)."""
REQUESTS: Final = 10_000
SWEEP: Final = 5.0
TLS_ERRORS: Final = (ssl.SSLError, ConnectionResetError, ConnectionAbortedError, EOFError)
"""What a handshake that the other side does not like ends with. Refused and unreachable are not among them."""

USE_WINDOW: Final = 12
"""Sweeps over which the highest use is remembered: 60 s."""

AHEAD_FROM: Final = 10
"""Open connections from which one is opened ahead when all are busy: it is then a tenth of the need at most (S16.2)."""


class Pool:
    """Mutable state: ``idle`` stack, ``open`` connections in all, ``opening`` Tasks under way and how many of those are
    ``promised`` to a wait of their own, ``waiters`` in turn for any connection and ``newcomers`` for an unused one,
    ``peaks`` the highest use in each of the last sweeps, ``idle_cap`` the learned idle life (S16.3)."""

    __slots__ = ("clock", "closed", "connect_timeout", "context", "draw", "endpoint", "events", "idle", "idle_cap",
                 "limits", "loop", "max_connections", "newcomers", "open", "opening", "peak", "peaks", "promised",
                 "server_name", "steps", "tasks", "tls_timeout", "unreachable", "waiters", "warm")  # fmt: skip

    def __init__(
        self,
        loop: Any,
        steps: Steps,
        endpoint: Endpoint,
        *,
        context: ssl.SSLContext | None,
        server_name: str,
        connect_timeout: float,
        tls_timeout: float,
        max_connections: int,
        warm: int,
        limits: HeadLimits,
        clock: Callable[[], float],
        events: dict[str, int],
        draw: Callable[[], float],
        unreachable: Callable[[], None],
    ) -> None:
        """*unreachable* is told of each connect that failed."""
        self.loop = loop
        self.steps = steps
        self.endpoint = endpoint
        self.context = context
        self.server_name = server_name
        self.connect_timeout = connect_timeout
        self.tls_timeout = tls_timeout
        self.max_connections = max_connections
        self.warm = warm
        self.limits = limits
        self.clock = clock
        self.draw = draw
        self.unreachable = unreachable
        self.idle: list[Http1Client] = []
        self.open = 0
        self.opening = 0
        self.promised = 0
        self.waiters: deque[Wait] = deque()
        self.newcomers: deque[Wait] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.peak = 0
        self.peaks: deque[int] = deque(maxlen=USE_WINDOW)
        self.idle_cap = IDLE_LIFE
        self.closed = False
        self.events = events

    def take(self, now: float) -> Http1Client | None:
        """An idle connection that is fit for use, or None."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            life = connection.life if connection.life < self.idle_cap else self.idle_cap
            if connection.state != IDLE:
                continue
            if now - connection.idle_since > life:
                connection.close()
                continue
            self.events["reused"] += 1
            if not idle:  # all are busy; a pool too large for that shrinks until it is so
                busy = self.open
                if busy > self.peak:
                    self.peak = busy
                if busy >= AHEAD_FROM:
                    self._open_ahead()
            return connection
        return None

    def connect(self) -> Wait:
        """A wait for a connection: the next that opens or comes back. Fails with the Fault of a failed connect."""
        wait = self._queue(self.waiters)
        self._open_for_waiters()
        return wait

    def fresh(self) -> Wait:
        """A wait for a connection that nobody has used before (tunnels, the free retry of S14.5). Where there is no
        room for one more, an idle one makes it, else the next that comes free."""
        wait = self._queue(self.newcomers)
        self._open_for_waiters()
        while self.newcomers and self.idle:
            self.idle.pop(0).close()
        return wait

    def _queue(self, line: deque[Wait]) -> Wait:
        wait = Wait(self.steps)
        line.append(wait)

        def withdraw() -> None:
            try:
                line.remove(wait)
            except ValueError:
                pass

        wait.withdraw = withdraw
        return wait

    def _open_for_waiters(self) -> None:
        """One more connection, if somebody waits for one and it may be."""
        if self.open + self.opening >= self.max_connections:
            return
        if self.newcomers:
            self._open(self.newcomers.popleft())
        elif self.opening - self.promised < len(self.waiters):
            self._open()

    def _open_ahead(self) -> None:
        """All are busy: whoever comes next shall not wait for a handshake (S16.2)."""
        if not self.opening and self.open < self.max_connections and not self.closed:
            self._open()

    def _open(self, only: Wait | None = None) -> None:
        self.opening += 1
        if only is not None:
            self.promised += 1
        task: asyncio.Task[None] = self.loop.create_task(self._connect(only))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connect(self, only: Wait | None) -> None:
        fault: Fault | None = None
        connection = Http1Client(self, self.steps, self.limits)
        try:
            endpoint = self.endpoint
            async with asyncio.timeout(self.connect_timeout + (self.tls_timeout if self.context is not None else 0.0)):
                await self.loop.create_connection(
                    lambda: connection,
                    endpoint.address,
                    endpoint.port,
                    ssl=self.context,
                    server_hostname=self.server_name if self.context is not None else None,
                )
            if connection.state == CLOSED:
                raise ConnectionResetError
        except BaseException as error:
            fault = connect_fault(error, self.context is not None)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self.opening -= 1
            if only is not None:
                self.promised -= 1
            if fault is not None:
                self.events["failed"] += 1
                self.unreachable()
                if only is not None:
                    only.fail(fault)
                else:
                    self._fail_one(fault)
                self._open_for_waiters()
        now = self.clock()
        if fault is None:
            self.open += 1
            self.events["opened"] += 1
            connection.created = now
            connection.retires = now + LIFE * (1.0 - LIFE_SPREAD + 2.0 * LIFE_SPREAD * self.draw())
            connection.idle_since = now
            if only is not None:
                if only.done:
                    self.give_back(connection)
                else:
                    only.complete(connection)
            else:
                self.give_back(connection)
            self.peak = max(self.peak, self.busy())

    def _fail_one(self, fault: Fault) -> None:
        while self.waiters:
            wait = self.waiters.popleft()
            if not wait.done:
                wait.fail(fault)
                return

    def give_back(self, connection: Http1Client) -> None:
        """A clean connection comes home: to who waits longest, else on the stack."""
        if self.newcomers:
            if connection.requests:
                connection.close()  # its place goes to one that nobody has used
            else:
                self.newcomers.popleft().complete(connection)
            return
        waiters = self.waiters
        while waiters:
            wait = waiters.popleft()
            if not wait.done:
                wait.complete(connection)
                return
        now = self.clock()
        if self.closed or connection.requests >= REQUESTS or now > connection.retires:
            connection.close()
            return
        connection.idle_since = now
        self.idle.append(connection)

    def forget(self, connection: Http1Client) -> None:
        """A connection is gone."""
        if connection.created == 0.0:
            return
        connection.created = 0.0
        self.open -= 1
        self.events["closed"] += 1
        self._open_for_waiters()

    def went_stale(self, connection: Http1Client) -> None:
        """A reused connection was reset before any byte: learn how long this upstream keeps idle ones (S16.3)."""
        self.events["stale"] += 1
        age = self.clock() - connection.idle_since
        self.idle_cap = max(1.0, min(self.idle_cap, age / 2.0))

    def busy(self) -> int:
        return self.open - len(self.idle)

    def sweep(self, now: float) -> None:
        """Each 5 s: close what is too old and half of what has not been needed for a minute (S16.2, S16.3)."""
        self.idle_cap = min(IDLE_LIFE, self.idle_cap * (1.0 + 0.1 * SWEEP / 60.0))
        self.idle = [c for c in self.idle if c.state == IDLE]
        for connection in list(self.idle):
            if now - connection.idle_since > min(connection.life, self.idle_cap):
                self.idle.remove(connection)
                connection.close()
        self.peaks.append(max(self.peak, self.busy()))
        self.peak = self.busy()
        needed = max(self.peaks)
        if needed >= AHEAD_FROM:
            needed += 1  # the one opened ahead
        surplus = len(self.idle) + self.busy() - max(needed, self.warm)
        for _ in range((surplus + 1) // 2):
            if self.idle:
                self.idle.pop(0).close()

    def keep_warm(self) -> None:
        """Open what ``warm`` asks for (S16.2)."""
        for _ in range(self.warm - self.open - self.opening):
            self._open()

    def close(self) -> None:
        """The endpoint is gone from the Plan: idle connections close, busy ones when they come back."""
        self.closed = True
        for connection in self.idle:
            if connection.state != CLOSED:
                connection.close()
        self.idle = []

    def __repr__(self) -> str:
        return f"<Pool {self.endpoint.key} {len(self.idle)} idle of {self.open}, {len(self.waiters)} waiting>"


def connect_fault(error: BaseException, tls: bool) -> Fault:
    """What asyncio, ssl and the resolver raise, as ours; nothing was processed in any of these cases (S15.1, S16.6)."""
    if isinstance(error, TimeoutError):
        code, reason, detail = (
            "upstream_timeout",
            "connect_timeout",
            "The upstream did not accept a connection in time.",
        )
    elif isinstance(error, socket.gaierror):
        code, reason, detail = "upstream_unavailable", "dns_failed", "The upstream's name could not be resolved."
    elif tls and isinstance(error, TLS_ERRORS):
        code, reason, detail = "tls_error", "tls", "The upstream's certificate or TLS handshake was not acceptable."
    else:
        code, reason, detail = "upstream_unavailable", "connect_failed", "The upstream refused the connection."
    return Fault(code, detail, reason=reason, side=UPSTREAM, retry=NOT_PROCESSED, retry_after=1.0)
