"""Attempts: reaching an upstream, the only loop in the house.

One turn: permission from the breaker, an endpoint from the balancer, a connection from the pool, the request out, the
answer head back. A Fault or a gateway status goes to ``rules/retrying``, which may send it round again.
"""

from __future__ import annotations

from typing import Final

from tidegate.engine.clock import Timer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.engine.upstream.http1_client import Http1Client, Tunnel
from tidegate.engine.upstream.pool import Pool
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import IF_IDEMPOTENT, NOT_PROCESSED, UPSTREAM, Fault
from tidegate.exchange.head import NO_BODY, ResponseHead
from tidegate.ports.balancer import Endpoint
from tidegate.ports.plan import RoutePlan
from tidegate.rules.retrying import idempotent, may_retry
from tidegate.wire.http1 import encode_request

CONNECT_REASONS: Final = frozenset({"connect_failed", "connect_timeout", "dns_failed", "tls"})


class Reached:
    """An upstream that has answered: its connection stands behind the head, the body still to be taken."""

    __slots__ = ("at", "connection", "endpoint", "first_byte", "head", "upstream")

    def __init__(
        self,
        upstream: Upstream,
        endpoint: Endpoint,
        connection: Http1Client,
        head: ResponseHead,
        first_byte: float,
        at: float,
    ) -> None:
        self.at = at
        """When the head came."""
        self.upstream = upstream
        self.endpoint = endpoint
        self.connection = connection
        self.head = head
        self.first_byte = first_byte

    def done(self, now: float, kind: str) -> None:
        """The exchange with it is over: *kind* as ``Health.ended`` wants it, "" for what the status says."""
        if not kind:
            status = self.head.status
            kind = "ok" if status < 500 else "gateway" if 502 <= status <= 504 else "5xx"
        outcomes = self.upstream.outcomes
        outcomes[kind] = outcomes.get(kind, 0) + 1
        self.upstream.first_byte.observe(self.first_byte)
        self.upstream.health.ended(self.endpoint, now, self.first_byte, kind)
        self.connection.release()


async def reach(
    runtime: Runtime,
    upstream: Upstream,
    route: RoutePlan,
    x: Exchange,
    lines: str,
    body: RequestBody | None,
    client: ClientSide | None,
    tunnel: Tunnel | None = None,
    avoid: list[Endpoint] | None = None,
    may_repeat: bool = True,
    begun: float = 0.0,
) -> Reached:
    """The first acceptable answer head, or the last Fault. *lines* are the request's fields, but for what differs by
    attempt. *may_repeat* False: one attempt only (hedges). *begun*: the time, where the caller knows it."""
    plan = upstream.plan
    retry = plan.retry
    tried: list[Endpoint] = avoid if avoid is not None else []
    has_key = route.allow_idempotency_key and "idempotency-key" in x.head.index
    arrived_retried = not may_repeat or (x.peer.trusted and "x-tidegate-attempt" in x.head.index)
    number = 0
    fresh = tunnel is not None
    stale_spent = False
    body_length = body.length if body is not None else NO_BODY
    draw = runtime.random.random
    now = begun or runtime.clock()
    upstream.budget.count(now)
    while True:
        if number > 0:
            now = runtime.clock()
        number += 1
        permit = upstream.breaker.permit(now, draw())
        fault: Fault | None = None
        reached: Reached | None = None
        connection: Http1Client | None = None
        try:
            endpoint = pick(runtime, upstream, x, tried, now)
        except BaseException:
            upstream.breaker.release(permit, now)
            raise
        health = upstream.health
        health.started(endpoint)
        x.attempts += 1
        try:
            for hook in route.on_attempt:
                hook(x, number)
            attempt_lines = lines
            if number > 1:
                attempt_lines += f"x-tidegate-attempt: {number}\r\n"
            target = upstream.base_paths[endpoint.key] + x.upstream_path
            if x.upstream_query:
                target += "?" + x.upstream_query
            head_bytes = encode_request(x.method, target, attempt_lines, body_length)
            pool: Pool = endpoint.state  # type: ignore[assignment]
            if not fresh:
                connection = pool.take(now)
            if connection is None:
                connection = await (pool.fresh() if fresh else pool.connect())
                assert connection is not None
            connection.tunnel = tunnel
            wait = connection.send(head_bytes, x.method, body, client)
            if plan.timeouts.attempt:
                timer = Timer(lambda c=connection: give_up(c))  # type: ignore[misc]
                runtime.wheel.set(timer, runtime.clock() + plan.timeouts.attempt)
                head = await wait
                timer.when = float("inf")
            else:
                head = await wait
            ended = runtime.clock()
            reached = Reached(upstream, endpoint, connection, head, ended - now, ended)
        except Fault as raised:
            fault = raised
            if connection is not None:
                connection.close()
            ended = runtime.clock()
            kind = failure_kind(raised)
            upstream.outcomes[kind] = upstream.outcomes.get(kind, 0) + 1
            health.ended(endpoint, ended, ended - now, kind)
        except BaseException:
            if connection is not None:
                connection.close()
            ended = runtime.clock()
            upstream.breaker.release(permit, ended)
            health.ended(endpoint, ended, ended - now, "cancelled")
            raise
        if reached is not None:
            status = reached.head.status
            x.upstream_status = status
            failed = status >= 500 and counts_as_failure(plan.breaker.failure_statuses, status)
            upstream.breaker.record(permit, ended, ended - now, failed)
            if upstream.observe is not None:
                upstream.observe(endpoint, ended - now, failed, reached.head)
            if upstream.hedge is not None and not failed:
                upstream.hedge.observe(ended - now)
            if status < 500 or status not in retry.on:
                return reached
            asked = retry_after(reached.head)
            reason = str(status)
        else:
            assert fault is not None
            stale = fault.reason == "stale_connection"
            if stale or fault.side != UPSTREAM or fault.code == "deadline_exceeded":
                upstream.breaker.release(permit, ended)
            else:
                upstream.breaker.record(permit, ended, ended - now, True)
                if upstream.observe is not None:
                    upstream.observe(endpoint, ended - now, True, None)
            asked = 0.0
            reason = fault.reason or fault.code
            if stale and not stale_spent and idempotent(x.method, has_key) and body_again(body):
                stale_spent = True
                fresh = True
                number -= 1
                x.retry_reason = reason
                detach(body)
                continue
        delay = may_retry(
            retry,
            number,
            x.method,
            has_key,
            body_again(body) and (client is None or not client.head_sent),
            x.deadline - ended,
            draw(),
            fault,
            x.upstream_status if reached is not None else 0,
            asked,
            arrived_retried,
        )
        if delay >= 0.0 and not upstream.budget.take(ended):
            delay = -1.0
        if delay < 0.0:
            if reached is not None:
                return reached
            assert fault is not None
            raise fault
        if reached is not None:
            reached.done(ended, "")
        tried.append(endpoint)
        x.retry_reason = reason
        runtime.metrics.add("retries_total", (plan.name, reason), ("upstream", "reason"))
        detach(body)
        fresh = tunnel is not None
        if delay > 0.0:
            await runtime.wheel.sleep(ended + delay)


def body_again(body: RequestBody | None) -> bool:
    return body is None or body.keeping


def detach(body: RequestBody | None) -> None:
    if body is not None:
        body.detach()


def give_up(connection: Http1Client) -> None:
    """The attempt's own time is over (S15.2)."""
    connection.fail(
        Fault("upstream_timeout", "The upstream took too long.", reason="attempt", side=UPSTREAM, retry=IF_IDEMPOTENT)
    )


def pick(runtime: Runtime, upstream: Upstream, x: Exchange, tried: list[Endpoint], now: float) -> Endpoint:
    """An endpoint that may be used, not yet tried while others remain (S11); 503 when there is none (S12.1)."""
    candidates = upstream.health.candidates(now, runtime.random.random())
    if not candidates:
        raise Fault("upstream_unavailable", "No healthy upstream is left.", reason="no_healthy", side=UPSTREAM,
                    retry=NOT_PROCESSED, retry_after=1.0)  # fmt: skip
    if tried:
        others = tuple(e for e in candidates if e not in tried)
        if others:
            candidates = others
    endpoint = upstream.plan.balancer.pick(x, candidates)
    x.endpoint = endpoint.key
    return endpoint


def failure_kind(fault: Fault) -> str:
    """What ``Health.ended`` is told of a fault: nothing, when it was the client's, ours, or the client's own hurry."""
    if fault.reason in CONNECT_REASONS:
        return "connect"
    if fault.side != UPSTREAM or fault.reason == "stale_connection" or fault.code == "deadline_exceeded":
        return "cancelled"
    return "gateway"


def counts_as_failure(ranges: tuple[tuple[int, int], ...], status: int) -> bool:
    return any(low <= status <= high for low, high in ranges)


def retry_after(head: ResponseHead) -> float:
    """Seconds the upstream asks us to wait, 0.0 when it does not say so in plain digits."""
    value = head.get("retry-after")
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > 9:
        return 0.0
    return float(value)
