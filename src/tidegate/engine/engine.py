"""The engine of one worker: runs a Plan, swaps it, drains, counts, explains."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Final

from tidegate.engine.clock import Timer
from tidegate.engine.downstream.listener import Listener
from tidegate.engine.figures import show_figures
from tidegate.engine.guard import TICK, Guard
from tidegate.engine.lanes.copies import Copies
from tidegate.engine.lanes.tunnel import GOING_AWAY
from tidegate.engine.post import Post
from tidegate.engine.runtime import Runtime
from tidegate.engine.segment import Segment
from tidegate.engine.steps import Wait
from tidegate.engine.tools import EngineTools
from tidegate.engine.upstream.upstream import Upstream
from tidegate.ports.plan import Plan

SWEEP_EACH: Final = 1.0
POOL_SWEEP_EACH: Final = 5.0
ASK_EACH: Final = 0.1
FLUSH_EACH: Final = 0.1

REMEMBER_REMOVED: Final = 600.0
"""Seconds after which no exchange is taken to be older than the reload that took its upstream away."""

Addresses = dict[tuple[str, int], list[str]]


class Engine:
    """State: NEW until ``start``, then SERVING, DRAINING after ``begin_drain``, CLOSED."""

    def __init__(self, tools: EngineTools, segment: Segment | None, row: int, workers: int) -> None:
        self.tools = tools
        self.row = segment.row(row) if segment is not None else None
        self.workers = workers
        self.runtime: Runtime | None = None
        self.listeners: dict[str, Listener] = {}
        self.addresses: dict[str, Addresses] = {}
        self.slots: dict[str, int] = {}
        self.refused: frozenset[int] = frozenset()
        self.guard = Guard()
        self.swept = 0.0
        self.pools_swept = 0.0
        self.asked = 0.0
        self.flushed = 0.0
        self.removed_at = 0.0
        self.closed = False

    async def start(self, plan: Plan, sockets: dict[str, socket.socket]) -> None:
        """Take up *plan*, warm the pools, begin to accept on *sockets* (listener name → listening socket)."""
        self.tools.steps.post = Post(self.tools.loop.call_soon, self.tools.report)
        runtime = self.runtime = Runtime(self.tools, self.row, self.workers, plan)
        runtime.refused = self.refused
        runtime.slots = self.slots
        self.tools.copies = Copies(runtime).send
        self._take_upstreams(plan)
        show_figures(self.tools.metrics, runtime, self.listeners, self.guard)
        self._tick()
        self._take_listeners(plan, sockets)

    def apply(self, plan: Plan, sockets: dict[str, socket.socket]) -> None:
        """A reload: one reference is swapped; state goes on by identity (S23.2)."""
        runtime = self.running()
        old = runtime.plan
        self._take_upstreams(plan)
        runtime.take_plan(plan)
        self._take_listeners(plan, sockets)
        for sink in old.sinks:
            if sink not in plan.sinks:
                sink.close()

    def running(self) -> Runtime:
        assert self.runtime is not None, "the engine has not been started"
        return self.runtime

    def _take_upstreams(self, plan: Plan) -> None:
        runtime = self.running()
        upstreams = runtime.upstreams
        for name, wanted in plan.upstreams.items():
            known = upstreams.get(name)
            if known is None:
                upstreams[name] = upstream = Upstream(runtime, wanted, self.addresses.get(name, {}))
                upstream.keep_warm()
            else:
                known.apply(wanted)
        for name in [name for name in upstreams if name not in plan.upstreams]:
            runtime.removed[name] = upstreams.pop(name)
            runtime.removed[name].close()
            self.removed_at = self.tools.clock()

    def _take_listeners(self, plan: Plan, sockets: dict[str, socket.socket]) -> None:
        runtime = self.running()
        wanted = {listener.name: listener for listener in plan.listeners}
        for name in [name for name in self.listeners if name not in wanted]:
            self.listeners.pop(name).stop()
        for name, listener_plan in wanted.items():
            known = self.listeners.get(name)
            if known is not None:
                known.apply(listener_plan)
            else:
                listener = self.listeners[name] = Listener(runtime, listener_plan, sockets[name])
                listener.listen()

    def set_addresses(self, addresses: dict[str, list[tuple[Any, ...]]]) -> None:
        """The resolver's news: upstream → [(host, port, address), ...]."""
        for name, found in addresses.items():
            by_target: Addresses = {}
            for host, port, address in found:
                by_target.setdefault((host, port), []).append(address)
            self.addresses[name] = by_target
            if self.runtime is not None:
                upstream = self.runtime.upstreams.get(name)
                if upstream is not None:
                    upstream.set_addresses(by_target)

    def set_slots(self, slots: dict[str, int]) -> None:
        """Places in the shared segment: ``<upstream>`` and ``<upstream>|<address:port>`` → slot."""
        self.slots.clear()
        self.slots.update(slots)
        if self.runtime is not None:
            for upstream in self.runtime.upstreams.values():
                upstream.take_slots()

    def refuse(self, works: list[int]) -> None:
        """Requests with these hashes have ended two workers: they get 503 ``quarantined`` (S23.6)."""
        self.refused = frozenset(works)
        if self.runtime is not None:
            self.runtime.refused = self.refused

    def waiter(self) -> Wait:
        """A wait for a part's stepped coroutine."""
        return Wait(self.tools.steps)

    # -- time ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Every 10 ms: the wheel and what hangs on it."""
        if self.closed:
            return
        runtime = self.running()
        now = self.tools.clock()
        runtime.loop.call_later(TICK, self._tick)
        self.guard.tick(now, runtime)
        runtime.wheel.tick(now)
        for upstream in runtime.upstreams.values():
            if upstream.admission.waiting:
                upstream.admission.tick(now)
        if now - self.flushed >= FLUSH_EACH:
            self.flushed = now
            for sink in runtime.plan.sinks:
                sink.flush()
        if now - self.asked >= ASK_EACH:
            self.asked = now
            for connection in list(runtime.deaf):
                connection.ask_state()
            self.guard.look(now, runtime)
        if now - self.swept >= SWEEP_EACH:
            self.swept = now
            if runtime.removed and now - self.removed_at > REMEMBER_REMOVED:
                runtime.removed.clear()
            if self.row is not None:
                self.row.set_connections(len(runtime.connections))
            for upstream in runtime.upstreams.values():
                upstream.sweep(now)
        if now - self.pools_swept >= POOL_SWEEP_EACH:
            self.pools_swept = now
            for upstream in runtime.upstreams.values():
                upstream.sweep_pools(now)

    # -- the end ---------------------------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        """From now on answers close their connections (S23.5)."""
        if self.runtime is not None:
            self.runtime.draining = True

    def stop_accepting(self, code: int = GOING_AWAY) -> None:
        """Take what waits on the listeners, then leave them; idle connections close. Tunnels are told *code* (1001, or
        1012 when another worker takes over), spread over half of the drain so that their clients do not all come back
        at once."""
        for listener in self.listeners.values():
            listener.stop()
        if self.runtime is not None:
            self.runtime.loop.call_later(0.2, self._close_idle)
            spread = self.runtime.plan.drain_finish / 2.0
            for tunnel in list(self.runtime.tunnels):
                timer = Timer(partial(tunnel.go_away, code))
                self.runtime.wheel.set(timer, self.tools.clock() + spread * self.runtime.random.random())

    def _close_idle(self) -> None:
        if self.runtime is not None:
            for connection in list(self.runtime.connections):
                if connection.is_idle():
                    connection.close()

    def in_flight(self) -> int:
        """Exchanges under way and connections that may still bring one, from the moment they were accepted."""
        if self.runtime is None:
            return 0
        return self.runtime.in_flight + self.runtime.starting + len(self.runtime.connections)

    def abort_all(self) -> None:
        """Cut what still runs, by S6.5."""
        if self.runtime is not None:
            for connection in list(self.runtime.connections):
                connection.abort()

    def close(self) -> None:
        """Flush and let go."""
        self.closed = True
        if self.runtime is not None:
            for sink in self.runtime.plan.sinks:
                sink.close()
            for upstream in self.runtime.upstreams.values():
                upstream.close()
        self.tools.close()

    # -- figures ---------------------------------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """Everything this worker has counted, as plain data (``engine/metrics``)."""
        return self.tools.metrics.snapshot()

    def explain(self) -> dict[str, Any]:
        """For ``/api/v1/status``: why each endpoint is used or not, breaker, queue and pools."""
        if self.runtime is None:
            return {}
        now = self.tools.clock()
        return {name: upstream.explain(now) for name, upstream in self.runtime.upstreams.items()}
