"""Answers the gateway gives itself: fixed ones, redirects, refusals. All pass the route's answer hooks."""

from __future__ import annotations

from typing import Final

from tidegate.engine.sides import ClientSide
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer, ResponseHead
from tidegate.ports.plan import RoutePlan
from tidegate.rules.canonical import canonical_path
from tidegate.wire.http1_encode import REASONS

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def respond_head(route: RoutePlan | None, x: Exchange, answer: Answer) -> ResponseHead:
    """The head of *answer* after the answer hooks of *route*, with what filters added for whatever goes out."""
    status = answer.status
    head = ResponseHead(status, REASONS.get(status, ""), list(answer.fields), len(answer.body))
    if x.answer_fields is not None:
        head.fields.extend(x.answer_fields)
    if route is not None:
        for hook in route.on_response_head:
            hook(x, head)
    if x.request_id:
        head.fields.append(("x-request-id", x.request_id))
    x.status = head.status
    return head


def send_answer(client: ClientSide, x: Exchange, route: RoutePlan | None, answer: Answer) -> None:
    """Send *answer* whole, or break the connection off where that is the answer."""
    if answer.reset:
        x.end = "cut"
        client.cut()
        return
    if answer.close:
        client.close_after(True)
    client.send_whole(x, respond_head(route, x, answer), answer.body)


def redirect_answer(route: RoutePlan, x: Exchange) -> Answer:
    """S5.6: an absolute ``Location``, query kept, the scheme's own port dropped."""
    plan = route.redirect
    assert plan is not None
    scheme = plan.scheme or x.peer.scheme
    host = plan.host or x.host
    if plan.port is not None:
        port = plan.port
    elif plan.scheme is not None or plan.host is not None:
        port = 0
    else:
        port = x.port
    path = x.path
    if plan.path is not None:
        path = plan.path
    elif plan.prefix is not None:
        path = swap_prefix(path, route.prefix, plan.prefix)
    where = f"{scheme}://{host}"
    if port and port != DEFAULT_PORTS.get(scheme):
        where += f":{port}"
    where += path
    if x.query:
        where += "?" + x.query
    return Answer(plan.status, [("location", where)])


def swap_prefix(path: str, old: str, new: str) -> str:
    """*path* with its first segments *old* replaced by *new*."""
    rest = path[len(old.rstrip("/")) :]
    made = new.rstrip("/") + rest or "/"
    try:
        return canonical_path(made)[0]
    except Fault:
        raise Fault("ambiguous_path", "The redirect would lead to an invalid path.", side=CLIENT) from None
