"""Fetching what a link of a client names, under guard (S16.8, RELIABILITY E1, E2): the place is checked after it was
looked up, and the address that was checked is the one that is connected to.

One request a connection, no redirects, no proxies of the environment, no credentials, bounded in size and time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from tidegate.engine.clock import NEVER, Timer
from tidegate.engine.runtime import Runtime
from tidegate.engine.steps import Wait
from tidegate.engine.upstream.gatherer import Gatherer
from tidegate.engine.upstream.http1_client import CLOSED, Http1Client
from tidegate.exchange.fault import CLIENT, GATEWAY, Fault
from tidegate.exchange.head import Fields
from tidegate.rules.egress import Link, checked, is_name
from tidegate.wire.http1 import encode_request, field_lines

CONNECT: Final = 5.0
"""Seconds for the look-up, the connection and its handshake together."""
AT_ONCE: Final = 16
"""Fetches of one worker under way."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
Connect = Callable[[Http1Client, str, Link], Awaitable[None]]


class NoPool:
    """Where a connection that is used once belongs to."""

    def forget(self, connection: Http1Client) -> None:
        """It is gone."""

    def give_back(self, connection: Http1Client) -> None:
        """It has served."""
        connection.close()

    def went_stale(self, connection: Http1Client) -> None:
        """Never reused, never stale."""


class Fetcher:
    """Of one worker. Mutable state: ``under_way``, fetches at the moment; ``context`` once TLS was wanted."""

    def __init__(self, runtime: Runtime, resolve: Resolve | None = None, connect: Connect | None = None) -> None:
        self.runtime = runtime
        self.under_way = 0
        self.context: ssl.SSLContext | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._resolve = resolve or self._look_up
        self._connect = connect or self._open

    async def fetch(self, link: Link, until: float, largest: int) -> bytes:
        """The bytes behind *link*. *until*: on the runtime's clock; *largest*: bytes. Raises ``egress_denied``,
        ``upstream_timeout``, ``overloaded``, and ``invalid_field`` for what is no such thing."""
        if self.under_way >= AT_ONCE:
            raise Fault("overloaded", "The gateway fetches too much at once.", reason="fetches", side=GATEWAY,
                        retry_after=1.0)  # fmt: skip
        self.under_way += 1
        connection = Http1Client(NoPool(), self.runtime.steps, self.runtime.head_limits)
        timer = Timer(lambda: connection.fail(late()))
        try:
            await self._connected(connection, link, min(CONNECT, until - self.runtime.clock()))
            self.runtime.wheel.set(timer, until)
            head = encode_request("GET", link.target, field_lines(fields_for(link)), 0)
            answer = await connection.send(head, "GET", None, None)
            if answer.status != 200 or answer.get("content-encoding") not in (None, "", "identity"):
                raise unfit()
            if answer.body_length > largest:
                raise unfit()
            gatherer = Gatherer(connection, largest)
            await connection.relay(gatherer)
            return gatherer.body()
        except Fault as fault:
            if fault.code in ("egress_denied", "upstream_timeout", "invalid_field"):
                raise
            raise unfit() from None
        finally:
            timer.when = NEVER
            self.under_way -= 1
            connection.close()

    async def _connected(self, connection: Http1Client, link: Link, seconds: float) -> None:
        if seconds <= 0.0:
            raise late()
        wait = Wait(self.runtime.steps)
        task: asyncio.Task[None] = self.runtime.loop.create_task(self._go(connection, link, seconds, wait))

        def withdraw() -> None:
            task.cancel()

        wait.withdraw = withdraw
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        await wait

    async def _go(self, connection: Http1Client, link: Link, seconds: float, wait: Wait) -> None:
        """Look up, check, connect to what was checked."""
        fault: Fault | None = None
        try:
            async with asyncio.timeout(seconds):
                found = await self._resolve(link.host, link.port) if is_name(link.host) else [link.host]
                await self._connect(connection, checked(found), link)
                if connection.state == CLOSED:
                    raise ConnectionResetError
        except Fault as refused:
            fault = refused
        except TimeoutError:
            fault = late()
        except (OSError, ValueError, UnicodeError):
            fault = unfit()
        if fault is None:
            wait.complete(None)
        else:
            wait.fail(fault)

    async def _look_up(self, host: str, port: int) -> list[str]:
        found: list[Any] = await self.runtime.loop.getaddrinfo(host, port, type=1)  # streams; on a thread
        return [each[4][0] for each in found]

    async def _open(self, connection: Http1Client, address: str, link: Link) -> None:
        context = None
        if link.scheme == "https":
            if self.context is None:
                self.context = ssl.create_default_context()
            context = self.context
        await self.runtime.loop.create_connection(
            lambda: connection, address, link.port, ssl=context,
            server_hostname=link.host if context is not None else None,
        )  # fmt: skip


def fields_for(link: Link) -> Fields:
    """Nothing in it tells who asked."""
    host = f"[{link.host}]" if ":" in link.host else link.host
    return [("host", host), ("user-agent", "tidegate"), ("accept", "*/*"), ("accept-encoding", "identity"),
            ("connection", "close")]  # fmt: skip


def late() -> Fault:
    return Fault("upstream_timeout", "A link of the call took too long.", reason="link", side=GATEWAY)


def unfit() -> Fault:
    """The same for everything: what is behind a link is nobody's to find out by asking us."""
    return Fault("invalid_field", "What a link of the call leads to cannot be used.", reason="link", side=CLIENT)
