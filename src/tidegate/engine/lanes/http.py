"""The lane to an HTTP upstream: choose the arm, queue if need be, reach it, relay the answer, fall back (S1 14-16)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from tidegate.engine.lanes.respond import send_answer
from tidegate.engine.lanes.shaped import send_shaped
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.engine.steps import in_task
from tidegate.engine.upstream.attempts import Reached, reach
from tidegate.engine.upstream.batching import TYPE as BATCH_TYPE
from tidegate.engine.upstream.batching import reach_in_batch
from tidegate.engine.upstream.gatherer import Gatherer, too_large_answer
from tidegate.engine.upstream.hedge import reach_hedged
from tidegate.engine.upstream.upstream import Upstream
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import GATEWAY, Fault
from tidegate.exchange.head import NO_BODY, Answer, ResponseHead
from tidegate.ports.plan import FallbackPlan, RoutePlan
from tidegate.rules.hop_headers import request_text, response_fields, response_text
from tidegate.wire.content_coding import decode
from tidegate.wire.http1 import announced_length, field_lines

STREAMS: Final = frozenset(
    {"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq",
     "multipart/x-mixed-replace"}
)  # fmt: skip


def serve(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, body: RequestBody | None
) -> Coroutine[Any, Any, None]:
    """Serve *x* from the route's upstream. Raises the last Fault when nothing, fallbacks included, could answer."""
    name = choose_upstream(route, x)
    upstream: Upstream = runtime.upstreams.get(name) or runtime.removed[name]
    if upstream.plan.fallback:
        return serve_or_fall_back(runtime, client, route, x, body, name)
    return serve_from(runtime, client, route, x, body, name)


async def serve_or_fall_back(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, body: RequestBody | None, name: str
) -> None:
    """As :func:`serve_from`, with the upstream's fallbacks behind it (S13.8)."""
    try:
        await serve_from(runtime, client, route, x, body, name)
        return
    except Fault as fault:
        if client.head_sent:
            raise
        fallback = find_fallback(runtime.upstreams.get(name) or runtime.removed[name], fault)
        if fallback is None:
            raise
        if fallback.answer is None and body is not None and not body.keeping:
            raise
        x.fallback = fault.reason or fault.code
        field = ("x-tidegate-fallback", x.fallback)
        x.add_answer_field(*field)
        if fallback.answer is not None:
            send_answer(client, x, route, fallback.answer)
            return
        first = fault
    # not inside the handler: compiled code that waits in one never lets go of its exception
    try:
        await serve_from(runtime, client, route, x, body, fallback.upstream)
    except Fault:
        x.fallback = ""
        if x.answer_fields is not None and field in x.answer_fields:
            x.answer_fields.remove(field)
        raise first from None  # S13.8: the fallback failed too, the first error counts


def choose_upstream(route: RoutePlan, x: Exchange) -> str:
    """The route's upstream, or the arm of its split (S23.7)."""
    split = route.split
    if split is None:
        return route.upstream
    assert split.pick is not None
    number = split.pick(x)
    if number < 0:
        raise Fault("upstream_unavailable", "No arm of the split has a weight.", reason="no_healthy", side=GATEWAY,
                    retry_after=1.0)  # fmt: skip
    arm = split.arms[number]
    x.variant = arm.upstream
    for field_name, value in arm.fields:
        x.set_field(field_name, value)
    return arm.upstream


async def serve_from(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, body: RequestBody | None, name: str
) -> None:
    """One upstream: a place in its bulkhead, the attempts, the answer."""
    upstream: Upstream = runtime.upstreams.get(name) or runtime.removed[name]
    x.upstream = name
    now = runtime.clock()
    admission = upstream.admission
    place = admission.enter(x, now)
    entered = now
    if place is not None:
        await place
        entered = runtime.clock()
        runtime.metrics.observe("queue_wait_seconds", (str(x.priority),), ("level",), entered - now)
    seconds = -1.0
    timed_out = False
    try:
        plan = upstream.plan
        if plan.batch is not None and x.path == plan.batch.path:
            x.set_field("content-type", BATCH_TYPE)
            x.remove_field("content-encoding")
            x.remove_field("expect")
        lines = upstream_lines(runtime, upstream, route, x)
        if plan.batch is not None and x.method == "POST" and x.path == plan.batch.path and body is not None:
            reached: Reached | Answer = await reach_in_batch(runtime, upstream, route, x, lines, body, client)
        elif upstream.hedge is not None:
            reached = await reach_hedged(runtime, upstream, route, x, lines, body, client)
        else:
            reached = await reach(runtime, upstream, route, x, lines, body, client, begun=entered)
        if isinstance(reached, Answer):
            seconds = runtime.clock() - entered
            send_answer(client, x, route, reached)
            return
        seconds = reached.at - entered
        if plan.fallback and 502 <= reached.head.status <= 504:
            fallback = find_status_fallback(plan.fallback, reached.head.status)
            if fallback is not None:
                reached.done(runtime.clock(), "")
                raise Fault("bad_upstream", "The upstream answered with an error.", reason=str(reached.head.status))
        if is_whole(route, x, reached):
            answer_whole(runtime, client, x, reached)
        else:
            await answer(runtime, client, route, x, reached)
    except Fault as fault:
        if fault.code == "upstream_timeout" and fault.reason != "connect_timeout":
            timed_out = True
            seconds = runtime.clock() - entered
        raise
    finally:
        admission.leave(x, runtime.clock(), seconds, timed_out)


def upstream_lines(runtime: Runtime, upstream: Upstream, route: RoutePlan, x: Exchange) -> str:
    """The request's field lines as the upstream will see them, but for what differs by attempt."""
    identity = x.identity
    if route.identity_fields and identity is not None:
        for field_name, source in route.identity_fields:
            x.set_field(field_name, identity_value(x, source))
    if route.propagate_deadline:
        x.set_field("x-request-timeout", f"{max(0.001, x.deadline - runtime.clock() - 0.005):.3f}")
    host = x.upstream_host or upstream.host_for(x)
    return request_text(x, runtime.hop_rules, host)


def identity_value(x: Exchange, source: str) -> str:
    """S7.6; a value with a control byte is refused."""
    identity = x.identity
    assert identity is not None
    if source == "consumer":
        value = identity.consumer
    elif source == "tenant":
        value = identity.tenant
    else:
        value = str(identity.claims.get(source.removeprefix("claim:"), ""))
    if not value.isprintable() or not value.isascii():
        raise Fault("unauthenticated", "The credential carries a value that cannot be forwarded.")
    return value


def nobody_looks(route: RoutePlan, x: Exchange) -> bool:
    """Does the answer pass as it is: no hook wants it, no debug field comes with it, no shape is imposed?"""
    return not (route.on_response_head or route.on_response_body or route.on_response_chunk or x.debug or x.shape)


def is_whole(route: RoutePlan, x: Exchange, reached: Reached) -> bool:
    """Has an answer that passes as it is come whole with its head? Then nothing is left to wait for."""
    connection = reached.connection
    return connection.ended and not connection.trailers and nobody_looks(route, x)


def answer_whole(runtime: Runtime, client: ClientSide, x: Exchange, reached: Reached) -> None:
    """Head and body to the client in one go: the common case of :func:`answer`, without a coroutine."""
    connection = reached.connection
    kind = "cancelled"
    try:
        prepare(x, reached)
        client.send_whole(x, reached.head, connection.taken())
        kind = ""
    except BaseException:
        connection.close()
        raise
    finally:
        reached.done(runtime.clock(), kind)


def prepare(x: Exchange, reached: Reached) -> None:
    """The head of an answer whose fields nobody looks at: what the upstream sent travels as one piece of text."""
    head = reached.head
    x.first_byte_at = reached.at
    head.body_length = told_length(x, head)
    text, head.dated = response_text(head)
    if x.answer_fields is not None:
        text += field_lines(x.answer_fields)
    head.text = f"{text}x-request-id: {x.request_id}\r\n"
    x.status = head.status


def told_length(x: Exchange, head: ResponseHead) -> int:
    """The length of the body, or of the one that is not sent (HEAD, 304) as the upstream announces it."""
    if head.body_length == NO_BODY and (x.method == "HEAD" or head.status == 304):
        return announced_length(head.fields)
    return head.body_length


async def answer(runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, reached: Reached) -> None:
    """Answer hooks, then the head and the body to the client: at once, through the relay, or gathered first."""
    connection = reached.connection
    head = reached.head
    kind = "cancelled"
    try:
        if nobody_looks(route, x):
            prepare(x, reached)
            await send_on(runtime, client, route, x, reached, None)
            kind = ""
            return
        x.first_byte_at = reached.at
        head.body_length = told_length(x, head)
        coding = head.get("content-encoding") or ""
        head.fields = response_fields(head.fields)
        if x.answer_fields is not None:
            head.fields.extend(x.answer_fields)
        for hook in route.on_response_head:
            verdict = hook(x, head)
            if verdict is not None:
                kind = ""
                send_answer(client, x, None, verdict)
                return
        if route.on_response_body and await gathered(runtime, client, route, x, reached, coding):
            kind = ""
            return
        head.fields.append(("x-request-id", x.request_id))
        if x.debug:
            head.fields.append(("server-timing", server_timing(x, reached)))
        x.status = head.status
        transform = chunk_hooks(route, x) if route.on_response_chunk else None
        await send_on(runtime, client, route, x, reached, transform)
        kind = ""
    except Fault as fault:
        kind = "gateway" if fault.side == "upstream" else ""
        connection.close()
        raise
    except BaseException:
        connection.close()
        raise
    finally:
        reached.done(runtime.clock(), kind)


async def send_on(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, reached: Reached, transform: Any
) -> None:
    """The head, then the body: at once when it has come whole, through the relay otherwise."""
    connection = reached.connection
    if connection.ended and not connection.trailers and x.shape is None:
        client.send_whole(x, reached.head, remade(x, reached.head, transform, connection.taken()))
        return
    timeouts = route.timeouts or reached.upstream.plan.timeouts
    client.watch_idle(timeouts.idle, timeouts.total, x.shape is None and not is_stream(reached.head))
    if x.shape is not None:
        await send_shaped(runtime, client, x, reached.head, connection, transform)
        return
    client.send_head(x, reached.head, connection, transform)
    await connection.relay(client)


def remade(x: Exchange, head: ResponseHead, transform: Any, body: bytes) -> bytes:
    """A whole *body* after the chunk hooks, while a problem can still be answered: our head is not out."""
    if transform is None or x.method == "HEAD" or head.status in (204, 304):
        return body
    first: bytes = transform(body, False) if body else b""
    last: bytes = transform(b"", True)
    return first + last


def is_stream(head: ResponseHead) -> bool:
    """Does the answer come when it comes: events, lines, or what its upstream wants unbuffered (S15.4, S18.17)?"""
    kind = head.get("content-type")
    if kind is not None and kind.partition(";")[0].strip().lower() in STREAMS:
        return True
    return head.get("x-accel-buffering") == "no"


async def gathered(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, reached: Reached, coding: str
) -> bool:
    """If some hook must see the whole answer: hold it, show it, send it. False when none wants this one. *coding*: the
    upstream's own, whatever hooks have made of the head since."""
    head = reached.head
    hooks = [hook for hook, wants in route.on_response_body if wants is None or wants(x, head)]
    if not hooks:
        return False
    limit = runtime.plan.limits.response_buffer
    if head.body_length > limit:
        raise too_large_answer()
    gatherer = Gatherer(reached.connection, limit)
    await reached.connection.relay(gatherer)
    body = gatherer.body()
    seen = decode_answer(coding, body, limit) if coding and x.method != "HEAD" else body
    original = seen
    for hook in hooks:
        verdict = hook.call(x, head, seen)
        if verdict is not None and not isinstance(verdict, (bytes, Answer)):
            verdict = await (in_task(runtime.steps, verdict) if hook.task else verdict)
        if isinstance(verdict, Answer):
            send_answer(client, x, None, verdict)
            return True
        if verdict is not None:
            seen = verdict
    if seen is not original:
        head.remove("content-encoding")
        body = seen
    if x.method != "HEAD" and head.status != 304:
        head.body_length = len(body)
    head.fields.append(("x-request-id", x.request_id))
    x.status = head.status
    transform = chunk_hooks(route, x) if route.on_response_chunk else None
    if x.shape is None:
        client.send_whole(x, head, remade(x, head, transform, body))
    else:
        await send_shaped(runtime, client, x, head, reached.connection, transform, body)
    return True


def decode_answer(coding: str, body: bytes, limit: int) -> bytes:
    """S20.3: an upstream that lies about its coding, or inflates past the limit, is a bad upstream."""
    try:
        return decode(coding, body, limit)
    except Fault as fault:
        if fault.code == "body_too_large":
            raise too_large_answer() from None
        raise Fault("bad_upstream", "The upstream's answer does not match its encoding.", reason="protocol",
                    side="upstream") from None  # fmt: skip


def chunk_hooks(route: RoutePlan, x: Exchange) -> Any:
    """One function that runs every chunk hook that wants this answer, or None."""
    hooks = [hook for hook, wants in route.on_response_chunk if wants is None or wants(x)]
    if not hooks:
        return None

    def transform(chunk: bytes, last: bool) -> bytes:
        for hook in hooks:
            chunk = hook(x, chunk, last)
        return chunk

    return transform


def server_timing(x: Exchange, reached: Reached) -> str:
    """S26.10, for callers with the debug scope."""
    total = (x.first_byte_at - x.started) * 1000
    return (
        f"upstream;dur={reached.first_byte * 1000:.1f}, queue;dur={x.queue_us / 1000:.1f}, "
        f'total;dur={total:.1f}, route;desc="{x.route}", attempts;desc="{x.attempts}"'
    )


def find_fallback(upstream: Upstream, fault: Fault) -> FallbackPlan | None:
    """The first fallback whose triggers name this fault (S13.8)."""
    triggers = {str(fault.status)}
    if fault.reason == "circuit_open":
        triggers.add("open")
    elif fault.reason == "no_healthy":
        triggers.add("no_healthy")
    elif fault.code == "overloaded":
        triggers.add("bulkhead")
    elif fault.code in ("upstream_timeout", "deadline_exceeded"):
        triggers.add("timeout")
    if fault.reason in ("502", "503", "504"):
        triggers = {fault.reason}
    for fallback in upstream.plan.fallback:
        if not triggers.isdisjoint(fallback.on):
            return fallback
    return None


def find_status_fallback(fallbacks: tuple[FallbackPlan, ...], status: int) -> FallbackPlan | None:
    for fallback in fallbacks:
        if str(status) in fallback.on:
            return fallback
    return None
