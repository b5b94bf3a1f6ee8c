"""Mirrored requests: sent to another upstream, their answers dropped; nobody waits for them (S23.9)."""

from __future__ import annotations

from typing import Final

from tidegate.engine.clock import Timer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import Side
from tidegate.engine.steps import Stepper
from tidegate.engine.upstream.attempts import reach
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import NO_BODY, Fields, RequestHead
from tidegate.ports.plan import RoutePlan
from tidegate.wire.http1 import field_lines

IN_FLIGHT: Final = 64


class Copies:
    """Mutable state: how many copies are ``under_way``."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.under_way = 0
        self.route = RoutePlan(name="", lane="http")

    def send(self, upstream: str, method: str, path: str, fields: Fields, body: bytes, timeout: float) -> bool:
        """False when it was not sent: unknown upstream, or too many under way."""
        target = self.runtime.upstreams.get(upstream)
        if target is None or self.under_way >= IN_FLIGHT:
            return False
        self.under_way += 1
        steps = self.runtime.steps
        stepper = Stepper(steps, self._travel(target, method, path, fields, body, timeout))
        timer = Timer(stepper.cancel)
        self.runtime.wheel.set(timer, self.runtime.clock() + timeout)
        steps.go(stepper)
        return True

    async def _travel(
        self, upstream: Upstream, method: str, path: str, fields: Fields, body: bytes, timeout: float
    ) -> None:  # fmt: skip
        runtime = self.runtime
        try:
            raw, _, query = path.partition("?")
            head = RequestHead(method, path, 11, fields, dict(fields), len(body) or NO_BODY)
            x = Exchange(Peer("", ""), head, runtime.clock(), runtime.wall())
            x.upstream_path, x.upstream_query = raw, query
            x.deadline = x.started + timeout
            carried: RequestBody | None = None
            if body:
                carried = RequestBody(runtime.steps, Side(), len(body), len(body))
                carried.feed(body)
                carried.finish([])
            lines = field_lines(fields)
            reached = await reach(runtime, upstream, self.route, x, lines, carried, None, may_repeat=False)
            try:
                await reached.connection.relay(Side())
            finally:
                reached.done(runtime.clock(), "")
        except Fault:
            runtime.metrics.add("mirror_failures_total", (upstream.plan.name,), ("upstream",))
        finally:
            self.under_way -= 1
