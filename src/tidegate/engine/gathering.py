"""Reading a request body whole, for stages that must see it (S3.4): gathered, decoded, shown to each hook in turn."""

from __future__ import annotations

from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.engine.steps import in_task
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.ports.plan import RoutePlan
from tidegate.wire.content_coding import decode


async def gather_request(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, body: RequestBody | None
) -> Answer | None:
    """Run the body hooks that want this exchange. An Answer ends the trip."""
    hooks = [
        hook
        for hook, wants in zip(route.on_request_body, route.wants_request_body, strict=True)
        if wants is None or wants(x)
    ]
    if not hooks:
        return None
    whole = b""
    coding = x.head.index.get("content-encoding", "")
    if body is not None:
        if x.head.expect_continue and not body.complete and body.received == 0:
            client.send_continue()
        await body.gather()
        whole = body.whole()
        body.length = len(whole)
        if coding:
            whole = decode(coding, whole, route.body_limit)
    x.body = whole
    changed = False
    for hook in hooks:
        verdict = hook.call(x, x.body)
        if verdict is None:
            continue
        if not isinstance(verdict, (bytes, Answer)):
            verdict = await (in_task(runtime.steps, verdict) if hook.task else verdict)
            if verdict is None:
                continue
        if isinstance(verdict, Answer):
            return verdict
        x.body = verdict
        changed = True
    if changed:
        if body is None:
            raise Fault("bad_request", "A body was made for a request that has none.", side=CLIENT)
        assert x.body is not None
        body.replace(x.body)
        x.remove_field("content-encoding")
    return None
