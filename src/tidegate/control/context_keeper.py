"""The context store of one worker: opened after the fork, rid of what the dead left in flight, tried again while it is
out, swept, closed at the end.

A store that cannot be opened keeps no worker from serving: calls that need it get 503 until it is there (I9).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tidegate.control.owner_name import has_died, owner_name
from tidegate.engine.contexts.repository import Repository
from tidegate.engine.runtime import Runtime
from tidegate.exchange.fault import Fault
from tidegate.ports.context_store import ContextStore
from tidegate.ports.contexts import ContextsPlan
from tidegate.wire.context_dictionary import SHIPPED, shipped

PATIENCE: Final = 5.0
"""Seconds that a start or a reload waits for a store; it goes on without, and the store is tried again."""
AGAIN: Final = 1.0
"""Seconds between two tries to open a store."""
SWEEP_EACH: Final = 60.0
"""Seconds between two looks for what has expired. Nothing depends on it: an expired context is gone at once."""
SWEPT: Final = 100
"""Contexts that one sweep strikes; a sweep that finds as many is followed by another."""
RETIRED: Final = 900.0
"""Seconds a store of an older plan stays open: calls that began on it may last that long."""


class ContextKeeper:
    """State: NEW, then OPEN or SEEKING (some store is not open yet) after each ``take``, CLOSED."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: Callable[..., None]) -> None:
        self._loop = loop
        self._log = log
        self._owner = owner_name()
        self._open: dict[ContextStore, ContextsPlan] = {}
        """Stores that are open."""
        self._plan: ContextsPlan | None = None
        self._runtime: Runtime | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def prepare(self, plan: ContextsPlan | None) -> None:
        """Open what *plan* names, before it is taken: at most ``PATIENCE``."""
        if plan is not None:
            for store in _stores(plan):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._try(store, plan), PATIENCE)

    def take(self, runtime: Runtime, plan: ContextsPlan | None) -> None:
        """From now on *plan* counts. A repository whose stores stay keeps what it has at hand."""
        before, self._plan, self._runtime = self._plan, plan, runtime
        if before is None and plan is not None:
            self._spawn(self._sweep())
        if plan is None:
            runtime.contexts = None
        elif all(store in self._open for store in _stores(plan)):
            self._serve(plan)
        else:
            runtime.contexts = None
            self._spawn(self._seek(plan))
        kept = _stores(plan) if plan is not None else []
        for store in _stores(before) if before is not None else []:
            if store not in kept:
                self._loop.call_later(RETIRED, self._retire, store)

    async def close(self) -> None:
        """Close every store; what was handed over is durable afterwards."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        for store in list(self._open):
            await self._shut(store)

    def _serve(self, plan: ContextsPlan) -> None:
        runtime = self._runtime
        assert runtime is not None
        serving: Repository | None = runtime.contexts
        if serving is None or (serving.plan.store, serving.plan.session) != (plan.store, plan.session):
            repository = runtime.contexts = Repository(runtime, plan)
            repository.offer(SHIPPED, shipped())
        else:
            serving.plan = plan

    async def _try(self, store: ContextStore, plan: ContextsPlan) -> bool:
        if store in self._open:
            return True
        store.owner = self._owner
        try:
            await store.open()
        except (Fault, OSError) as error:
            self._log("error", "the context store cannot be opened", store=store.name, error=str(error))
            return False
        self._open[store] = plan
        self._spawn(self._inherit(store))
        return True

    async def _inherit(self, store: ContextStore) -> None:
        """End the turns of workers that were killed: nobody waits out their leases (CRP 5.2). Whoever dies is replaced,
        and the one who takes its place comes here."""
        with contextlib.suppress(Fault):
            held: dict[str, list[tuple[str, str]]] = {}
            for owner, tenant, id in await store.in_flight():
                held.setdefault(owner, []).append((tenant, id))
            for owner in [owner for owner in held if has_died(owner)]:
                count = await store.settle(owner, held[owner])
                self._log("warning", "turns of a worker that died were ended", store=store.name, turns=count)

    async def _seek(self, plan: ContextsPlan) -> None:
        while plan is self._plan:
            await asyncio.sleep(AGAIN)
            if all([await self._try(store, plan) for store in _stores(plan)]) and plan is self._plan:
                self._serve(plan)
                return

    async def _sweep(self) -> None:
        """Strike what has expired, as long as there is a plan."""
        while self._plan is not None:
            await asyncio.sleep(SWEEP_EACH)
            for store in _stores(self._plan) if self._plan is not None else []:
                with contextlib.suppress(Fault):
                    while store in self._open and await store.sweep(SWEPT) >= SWEPT:
                        await asyncio.sleep(0)

    def _retire(self, store: ContextStore) -> None:
        if not self._closed and (self._plan is None or store not in _stores(self._plan)):
            self._spawn(self._shut(store))

    async def _shut(self, store: ContextStore) -> None:
        if self._open.pop(store, None) is not None:
            try:
                await store.close()
            except (Fault, OSError) as error:
                self._log("error", "the context store cannot be closed", store=store.name, error=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _stores(plan: ContextsPlan) -> list[ContextStore]:
    return [plan.store] if plan.session is None else [plan.store, plan.session]
