"""``{use: dns}``: every A and AAAA record of the targets' names is an endpoint (S16.7).

The system's resolver tells no lifetime, so a name is asked again each ``ttl``. While the resolver fails the last good
addresses serve; a name that is unknown twice in a row has none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from tidegate.ports.discovery import Found
from tidegate.ports.settings import Duration

NEVER: Final = 300.0
"""Seconds to the next question where there is no name to ask for: the longest that may be said."""
AT_ONCE: Final = 16
"""Look-ups under way at a time, below what the thread pool they run in holds."""
MISSES: Final = 2
"""Times in a row that a name must be unknown before its endpoints go: one odd answer is not the end of a service."""
MOST: Final = 256
"""Addresses of one name that become endpoints; plain DNS over TCP can carry thousands."""

Look = Callable[[str, int], Awaitable[list[str]]]


class Unknown(Exception):
    """The name does not exist. Anything else that goes wrong is the resolver's trouble."""


class Config(BaseModel):
    """Settings of ``dns``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttl: Duration = Field(5.0, ge=1, le=300, description="How long an answer holds before the names are asked again.")
    timeout: Duration = Field(5.0, gt=0, le=60, description="How long one look-up may take.")
    keep: Duration = Field(
        600.0, le=86_400, description="How long the last good addresses serve while the resolver fails."
    )


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of *host*, in the resolver's order. Raises ``Unknown`` or ``OSError``."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            raise Unknown(host) from None
        raise
    except UnicodeError:
        raise Unknown(host) from None
    return [str(entry[4][0]) for entry in found]


class _Name:
    """What is known of one name. ``good_at`` is when it was last resolved."""

    __slots__ = ("addresses", "good_at", "misses")

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.good_at = 0.0
        self.misses = 0


class Dns:
    """*look* and *now* are arguments for tests only."""

    def __init__(
        self, config: Config, targets: Sequence[Found], look: Look = look_up, now: Callable[[], float] = monotonic
    ) -> None:
        self._config = config
        self._targets = list(targets)
        self._look = look
        self._now = now
        self._names = {(t.host, t.port): _Name() for t in targets if not _is_address(t.host)}

    async def find(self) -> tuple[list[Found], float]:
        """The endpoints now. A name that has never been resolved is asked again after 1 s."""
        if not self._names:
            return list(self._targets), NEVER
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._ask(host, port, name, gate) for (host, port), name in self._names.items()))
        found: dict[tuple[str, int], Found] = {}
        for target in self._targets:
            name = self._names.get((target.host, target.port))
            for address in [target.host] if name is None else name.addresses:
                # Two targets may lead to one address: it is one endpoint, with the settings written first.
                found.setdefault((address, target.port), msgspec.structs.replace(target, address=address))
        waiting = any(not name.addresses for name in self._names.values())
        return list(found.values()), 1.0 if waiting else self._config.ttl

    async def _ask(self, host: str, port: int, name: _Name, gate: asyncio.Semaphore) -> None:
        try:
            async with gate, asyncio.timeout(self._config.timeout):
                addresses = await self._look(host, port)
        except Unknown:
            name.misses += 1
            if name.misses >= MISSES:
                name.addresses = []
        except (OSError, TimeoutError):
            # Trouble in between does not start the count of misses again: it says nothing about the name.
            if self._now() - name.good_at > self._config.keep:
                name.addresses = []
        else:
            name.misses = 0
            name.good_at = self._now()
            # Resolvers turn the order at will; sorted, the same answer is the same list.
            name.addresses = sorted(set(addresses))[:MOST]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
