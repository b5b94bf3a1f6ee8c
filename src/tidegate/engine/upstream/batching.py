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
from tidegate.exchange.fault import IF_IDEMPOTENT, NOT_PROCESSED, UPSTREAM, Fault
from tidegate.exchange.head import Answer
from tidegate.ports.plan import RoutePlan
from tidegate.rules.retrying import idempotent
from tidegate.wire.content_coding import decode
from tidegate.wire.json_scan import scan

ITEM_LIMIT: Final = 1 << 20
ANSWER_LIMIT: Final = 10 << 20
TYPE: Final = "application/json"


class Batch:
    """Requests that wait to travel together. Mutable state: ``items`` and their ``waits``; ``left`` once sent, by
    ``stepper``."""

    __slots__ = ("items", "left", "lines", "route", "stepper", "timer", "waits", "x")

    def __init__(self, route: RoutePlan, x: Exchange, lines: str) -> None:
        self.route = route
        self.x = x
        self.lines = lines
        self.items: list[bytes] = []
        self.waits: list[Wait] = []
        self.left = False
        self.timer: Timer | None = None
        self.stepper: Stepper | None = None

    def drop(self, wait: Wait) -> None:
        """A client has gone: its item does not travel; once all have gone, nothing does."""
        if not self.left:
            place = self.waits.index(wait)
            del self.waits[place], self.items[place]
        elif self.stepper is not None and all(other.done for other in self.waits):
            self.stepper.cancel()


async def reach_in_batch(
    runtime: Runtime,
    upstream: Upstream,
    route: RoutePlan,
    x: Exchange,
    lines: str,
    body: RequestBody,
    client: ClientSide,
) -> Reached | Answer:
    """Join the batch of this tenant and route; the answer is this request's own item."""
    plan = upstream.plan.batch
    assert plan is not None
    if x.body is None:
        if x.head.expect_continue and not body.complete and body.received == 0:
            client.send_continue()
        await body.gather()
        coding = x.head.index.get("content-encoding")
        x.body = decode(coding, body.whole(), ITEM_LIMIT) if coding else body.whole()
    scan(x.body, max_size=ITEM_LIMIT)
    tenant = x.identity.tenant if x.identity is not None else ""
    consumer = x.identity.consumer if x.identity is not None else ""
    key = (tenant, consumer, route.name)
    batch = upstream.batches.get(key)
    if batch is None or batch.left:
        batch = upstream.batches[key] = Batch(route, x, lines)
        batch.timer = Timer(lambda b=batch: send(runtime, upstream, key, b))  # type: ignore[misc]
        if plan.wait < 0.01:
            runtime.loop.call_later(plan.wait, send, runtime, upstream, key, batch)
        else:
            runtime.wheel.set(batch.timer, runtime.clock() + plan.wait)
    wait = Wait(runtime.steps)
    wait.withdraw = lambda: batch.drop(wait)
    batch.items.append(x.body)
    batch.waits.append(wait)
    if len(batch.items) >= plan.max:
        send(runtime, upstream, key, batch)
    item: bytes | None = None
    try:
        item = await wait
    except Fault as fault:
        has_key = route.allow_idempotency_key and "idempotency-key" in x.head.index
        again = fault.retry == NOT_PROCESSED or (fault.retry == IF_IDEMPOTENT and idempotent(x.method, has_key))
        if len(batch.items) < 2 or not again:
            raise
    if item is None:  # not inside the handler: compiled code that waits in one never lets go of its exception
        body.replace(x.body)
        return await reach(runtime, upstream, route, x, lines, body, client)
    first = batch.x
    x.batched = len(batch.items)
    x.attempts = first.attempts
    x.endpoint = first.endpoint
    x.upstream_status = first.upstream_status
    return Answer(200, [("content-type", TYPE)], item)


def send(runtime: Runtime, upstream: Upstream, key: tuple[str, str, str], batch: Batch) -> None:
    """Off with it, by a journey of its own: the client whose request came first may leave meanwhile."""
    if batch.left:
        return
    batch.left = True
    if upstream.batches.get(key) is batch:
        del upstream.batches[key]
    if batch.items:
        batch.stepper = Stepper(runtime.steps, travel(runtime, upstream, batch))
        runtime.steps.go(batch.stepper)


async def travel(runtime: Runtime, upstream: Upstream, batch: Batch) -> None:
    """One POST with all items; each wait gets its item or the Fault of the whole."""
    whole = b"[" + b",".join(batch.items) + b"]"
    try:
        body = RequestBody(runtime.steps, Side(), len(whole), len(whole))
        body.gathering = True
        body.feed(whole)
        body.finish([])
        reached = await reach(runtime, upstream, batch.route, batch.x, batch.lines, body, None)
        kind = "cancelled"
        try:
            answers = await items_of(reached, len(batch.items))
            kind = ""
        except Fault:
            kind = "gateway"
            raise
        finally:
            if kind:
                reached.connection.close()
            reached.done(runtime.clock(), kind)
    except Exception as error:
        for wait in batch.waits:
            wait.fail(error)
        return
    for wait, item in zip(batch.waits, answers, strict=True):
        wait.complete(item)


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
