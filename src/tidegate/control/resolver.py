"""Names of upstreams become addresses, once per node, off the data path (S16.7).

``getaddrinfo`` tells no lifetime, so every name is asked again each :data:`AGAIN` seconds. While the resolver fails the
last good addresses serve; a name that is gone for good loses them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

AGAIN: Final = 5.0
"""Seconds between two look-ups of a name; within the 1-300 s of S16.7 and what most service meshes use."""
ANSWER_TIME: Final = 5.0
"""Seconds a look-up may take."""
KEPT: Final = 600.0
"""Seconds for which the last good addresses serve while the resolver fails."""
MISSES: Final = 2
"""Times in a row that a name must be unknown before it loses its addresses."""
MOST: Final = 64
"""Addresses of one name that become endpoints."""
AT_ONCE: Final = 16
"""Look-ups at a time."""

Name = tuple[str, int]
Addresses = dict[Name, list[str]]
LookUp = Callable[[str, int], Awaitable[list[str]]]


class Unknown(Exception):
    """The name does not exist; anything else that goes wrong is the resolver's trouble."""


async def look_up(host: str, port: int) -> list[str]:
    """All addresses of *host* in the resolver's order. Raises ``Unknown``, ``OSError`` or ``TimeoutError``."""
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), ANSWER_TIME)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            raise Unknown(host) from error
        raise
    except UnicodeError as error:
        raise Unknown(host) from error
    return list(dict.fromkeys(str(each[4][0]) for each in found))[:MOST]


class _Entry:
    __slots__ = ("addresses", "good_at", "misses")

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.good_at = 0.0
        self.misses = 0


class Resolver:
    """Keeps the addresses of the names it was told to follow; calls *changed* with all of them when one changes."""

    def __init__(
        self,
        changed: Callable[[Addresses], None],
        look: LookUp = look_up,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.changed = changed
        self.look = look
        self.clock = clock
        self.entries: dict[Name, _Entry] = {}
        self.gate = asyncio.Semaphore(AT_ONCE)

    def follow(self, names: Iterable[Name]) -> None:
        """Follow exactly *names*; IP addresses among them need no look-up."""
        wanted = {name for name in names if not is_address(name[0])}
        self.entries = {name: self.entries.get(name) or _Entry() for name in wanted}

    def addresses(self) -> Addresses:
        """What is known now, by (host, port)."""
        return {name: entry.addresses for name, entry in self.entries.items() if entry.addresses}

    async def run(self) -> None:
        """Ask for ever; cancel to end."""
        while True:
            await self.turn()
            await asyncio.sleep(AGAIN)

    async def turn(self) -> None:
        """Ask for every name once."""
        if not self.entries:
            return
        before = self.addresses()
        await asyncio.gather(*(self._ask(name, entry) for name, entry in list(self.entries.items())))
        now = self.addresses()
        if now != before:
            self.changed(now)

    async def _ask(self, name: Name, entry: _Entry) -> None:
        try:
            async with self.gate:
                found = await self.look(*name)
        except Unknown:
            entry.misses += 1
            if entry.misses >= MISSES:
                entry.addresses = []
            return
        except (OSError, TimeoutError):
            if self.clock() - entry.good_at > KEPT:
                entry.addresses = []
            return
        entry.misses = 0
        entry.good_at = self.clock()
        # The resolver turns the order at will; sorted, only a real change is one.
        entry.addresses = sorted(found)


def is_address(host: str) -> bool:
    """Whether *host* is an IP address already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
