"""Upstream micro-batches: the JSON bodies of several POSTs become one array, its answer array is split (S22.8).

A batch holds one tenant and one route. If it fails as a whole, each request that may be repeated goes alone.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tidegate.engine.clock import Timer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide, Side
from tidegate.engine.steps import Stepper, Wait
from tidegate.engine.upstream.attempts import Reached, reach
from tidegate.engine.upstream.gatherer import Gatherer
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import IF_IDEMPOTENT, NEVER, UPSTREAM, Fault
from tidegate.exchange.head import Answer, Fields
from tidegate.ports.plan import RoutePlan
from tidegate.rules.retrying import idempotent
from tidegate.wire.json_scan import scan

ITEM_LIMIT: Final = 1 << 20
ANSWER_LIMIT: Final = 10 << 20
TYPE: Final = "application/json"


class Batch:
    """Requests that wait to travel together. Mutable state: ``items`` and their ``waits``; ``left`` once sent."""

    __slots__ = ("fields", "items", "left", "route", "timer", "waits", "x")

    def __init__(self, route: RoutePlan, x: Exchange, fields: Fields) -> None:
        self.route = route
        self.x = x
        self.fields = fields
        self.items: list[bytes] = []
        self.waits: list[Wait] = []
        self.left = False
        self.timer: Timer | None = None


async def reach_in_batch(
    runtime: Runtime,
    upstream: Upstream,
    route: RoutePlan,
    x: Exchange,
    fields: Fields,
    body: RequestBody,
    client: ClientSide,
) -> Reached | Answer:
    """Join the batch of this tenant and route; the answer is this request's own item."""
    plan = upstream.plan.batch
    assert plan is not None
    if x.body is None:
        await body.gather()
        x.body = body.whole()
    scan(x.body, max_size=ITEM_LIMIT)
    tenant = x.identity.tenant if x.identity is not None else ""
    consumer = x.identity.consumer if x.identity is not None else ""
    key = (tenant, consumer, route.name)
    batch = upstream.batches.get(key)
    if batch is None or batch.left:
        batch = upstream.batches[key] = Batch(route, x, fields)
        batch.timer = Timer(lambda b=batch: send(runtime, upstream, key, b))  # type: ignore[misc]
        if plan.wait < 0.01:
            runtime.loop.call_later(plan.wait, send, runtime, upstream, key, batch)
        else:
            runtime.wheel.set(batch.timer, runtime.clock() + plan.wait)
    wait = Wait(runtime.steps)
    batch.items.append(x.body)
    batch.waits.append(wait)
    if len(batch.items) >= plan.max:
        send(runtime, upstream, key, batch)
    try:
        item, size = await wait
    except Fault as fault:
        if len(batch.items) > 1 and (fault.retry > NEVER and idempotent(x.method, "idempotency-key" in x.head.index)):
            body.length = len(x.body)
            return await reach(runtime, upstream, route, x, fields, body, client)
        raise
    x.batched = size
    return Answer(200, [("content-type", TYPE)], item)


def send(runtime: Runtime, upstream: Upstream, key: tuple[str, str, str], batch: Batch) -> None:
    """Off with it, by a journey of its own: the client whose request came first may leave meanwhile."""
    if batch.left:
        return
    batch.left = True
    if upstream.batches.get(key) is batch:
        del upstream.batches[key]
    runtime.steps.go(Stepper(runtime.steps, travel(runtime, upstream, batch)))


async def travel(runtime: Runtime, upstream: Upstream, batch: Batch) -> None:
    """One POST with all items; each wait gets its item or the Fault of the whole."""
    whole = b"[" + b",".join(batch.items) + b"]"
    try:
        body = RequestBody(runtime.steps, Side(), len(whole), len(whole))
        body.gathering = True
        body.feed(whole)
        body.finish([])
        fields = [f for f in batch.fields if f[0] not in ("content-type", "content-encoding")]
        fields.append(("content-type", TYPE))
        reached = await reach(runtime, upstream, batch.route, batch.x, fields, body, None)
        kind = "gateway"
        try:
            answers = await items_of(reached, len(batch.items))
            kind = ""
        finally:
            if kind:
                reached.connection.close()
            reached.done(runtime.clock(), kind)
    except Fault as fault:
        for wait in batch.waits:
            wait.fail(fault)
        return
    for wait, item in zip(batch.waits, answers, strict=True):
        wait.complete((item, len(answers)))


async def items_of(reached: Reached, count: int) -> list[bytes]:
    """The answer's array, split by position."""
    gatherer = Gatherer(reached.connection, ANSWER_LIMIT)
    await reached.connection.relay(gatherer)
    if reached.head.status != 200:
        raise Fault(
            "bad_upstream", "The upstream refused the batch.", reason="batch", side=UPSTREAM, retry=IF_IDEMPOTENT
        )
    try:
        raw = msgspec.json.decode(gatherer.body(), type=list[msgspec.Raw])
    except msgspec.DecodeError:
        raw = []
    if len(raw) != count:
        raise Fault("bad_upstream", "The upstream's answer does not match the batch.", reason="batch", side=UPSTREAM,
                    retry=IF_IDEMPOTENT)  # fmt: skip
    return [bytes(item) for item in raw]
