"""Runs the discoveries of a node's upstreams, off the data path (S16.7).

How endpoints are found is a part's business (``discoveries/``). Here: one part for all upstreams that ask the same
question, asked again when it says so, and one piece of news for all changes that come together.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tidegate.assembly.parts import Shelf
from tidegate.ports.discovery import Discovery, Found
from tidegate.ports.plan import DiscoveryPlan, UpstreamPlan

AGAIN: Final = 5.0
"""Seconds until a discovery that failed is asked again; what it found before serves on."""
SOONEST: Final = 1.0
LATEST: Final = 300.0
"""Seconds between which a discovery may ask to be asked again (S16.7)."""
AT_ONCE: Final = 16
"""Discoveries asked at a time."""
MERGE: Final = 0.02
"""Seconds within which changes are one piece of news: at a start all upstreams have some."""

Addresses = dict[tuple[str, int], list[str]]
"""(host, port) of a target → its addresses, for those targets that discovery has an answer for."""
Make = Callable[[DiscoveryPlan, Sequence[Found]], Discovery]
Key = tuple[DiscoveryPlan, tuple[Found, ...]]


class _Search:
    """One discovery under way, for every upstream of ``names``."""

    __slots__ = ("addresses", "names", "part", "task", "wanted")

    def __init__(self, part: Discovery) -> None:
        self.part = part
        self.names: list[str] = []
        self.addresses: Addresses = {}
        self.task: asyncio.Task[None] | None = None
        self.wanted = asyncio.Event()
        """Somebody has reason to doubt the addresses: ask before it is time."""


class Resolver:
    """Keeps the addresses of the upstreams it was told to follow; calls *changed* after some have changed. Needs a
    running loop."""

    def __init__(self, changed: Callable[[], None], make: Make | None = None) -> None:
        self.changed = changed
        self.make = make if make is not None else from_shelf(Shelf())
        self.searches: dict[Key, _Search] = {}
        self.by_upstream: dict[str, _Search] = {}
        self.gate = asyncio.Semaphore(AT_ONCE)
        self.telling: asyncio.TimerHandle | None = None

    def follow(self, upstreams: Mapping[str, UpstreamPlan]) -> None:
        """Follow exactly *upstreams*; searches that go on keep what they found."""
        before = self.searches
        self.searches, self.by_upstream = {}, {}
        for name, upstream in upstreams.items():
            targets = tuple(
                Found(t.host, t.host, t.port, t.scheme, t.weight, t.priority, t.zone) for t in upstream.targets
            )
            key = (upstream.discovery, targets)
            search = self.searches.get(key)
            if search is None:
                search = before.pop(key, None) or _Search(self.make(*key))
                search.names = []
                self.searches[key] = search
            search.names.append(name)
            self.by_upstream[name] = search
        for search in before.values():
            _stop(search)
        for search in self.searches.values():
            if search.task is None:
                search.task = asyncio.get_running_loop().create_task(self._run(search))

    def addresses(self, upstream: str) -> Addresses:
        """What is known of *upstream* now."""
        search = self.by_upstream.get(upstream)
        return {} if search is None else search.addresses

    def hurry(self, upstream: str) -> None:
        """A worker could not connect: ask again now, though not within :data:`SOONEST` of the last time."""
        search = self.by_upstream.get(upstream)
        if search is not None:
            search.wanted.set()

    async def _run(self, search: _Search) -> None:
        while True:
            search.wanted.clear()
            again = await self.ask(search)
            await asyncio.sleep(SOONEST)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(search.wanted.wait(), again - SOONEST)

    async def ask(self, search: _Search) -> float:
        """Ask once; the seconds until the next time."""
        try:
            async with self.gate:
                found, again = await search.part.find()
        except Exception as error:
            # A part's trouble is not ours: what it said last holds (S16.7).
            sys.stderr.write(f"tidegate: discovery of {', '.join(search.names)}: {type(error).__name__}: {error}\n")
            return AGAIN
        addresses: Addresses = {}
        for each in found:
            # A target left as it was written is no news.
            if each.address != each.host:
                addresses.setdefault((each.host, each.port), []).append(each.address)
        if addresses != search.addresses:
            search.addresses = addresses
            if self.telling is None:
                self.telling = asyncio.get_running_loop().call_later(MERGE, self._tell)
        return min(max(again, SOONEST), LATEST)

    def _tell(self) -> None:
        self.telling = None
        self.changed()

    def close(self) -> None:
        """Stop asking."""
        if self.telling is not None:
            self.telling.cancel()
        for search in self.searches.values():
            _stop(search)
        self.searches, self.by_upstream = {}, {}


def _stop(search: _Search) -> None:
    if search.task is not None:
        search.task.cancel()


def from_shelf(shelf: Shelf) -> Make:
    """Makes discoveries by name, through the door of all parts."""

    def make(plan: DiscoveryPlan, targets: Sequence[Found]) -> Discovery:
        part: Any = shelf.make("discoveries", plan.use, msgspec.json.decode(plan.settings), targets)
        discovery: Discovery = part
        return discovery

    return make
