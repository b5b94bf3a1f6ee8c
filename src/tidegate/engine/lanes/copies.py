"""Mirrored requests: sent to another upstream, their answers dropped; nobody waits for them (S23.9).

A copy is one try of its own, not an attempt as of ``upstream/attempts``: it says nothing to the target's breaker,
retry budget, outlier detection or balancer averages, for it is no traffic. It only obeys them, and counts as in flight.
"""

from __future__ import annotations

from typing import Final

from tidegate.engine.clock import Timer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import Side
from tidegate.engine.steps import Stepper
from tidegate.engine.upstream.attempts import pick
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.engine.upstream.pool import Pool
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import NO_BODY, Fields, RequestHead
from tidegate.ports.balancer import Endpoint
from tidegate.wire.http1 import encode_request, field_lines

IN_FLIGHT: Final = 64

UNHURT: Final = ("closed", "disabled", "metrics_only")
"""States of a target's breaker in which it gets copies."""


class Copies:
    """Mutable state: how many copies are ``under_way``."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.under_way = 0

    def send(self, upstream: str, method: str, path: str, fields: Fields, body: bytes, timeout: float) -> bool:
        """False when it was not sent: unknown upstream, its breaker not closed, or too many under way."""
        target = self.runtime.upstreams.get(upstream)
        if target is None or self.under_way >= IN_FLIGHT:
            return False
        if target.breaker.state(self.runtime.clock()) not in UNHURT:
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
        connection: Http1Client | None = None
        endpoint: Endpoint | None = None
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
            endpoint = pick(runtime, upstream, x, [], x.started)
            upstream.health.started(endpoint)
            pool: Pool = endpoint.state  # type: ignore[assignment]
            connection = pool.take(x.started) or await pool.connect()
            assert connection is not None
            target = upstream.base_paths[endpoint.key] + path
            length = carried.length if carried is not None else NO_BODY
            await connection.send(encode_request(method, target, field_lines(fields), length), method, carried, None)
            await connection.relay(Side())
        except Fault:
            runtime.metrics.add("mirror_failures_total", (upstream.plan.name,), ("upstream",))
        finally:
            self.under_way -= 1
            if endpoint is not None:
                upstream.health.ended(endpoint, runtime.clock(), 0.0, "cancelled")
            if connection is not None:
                connection.release()
