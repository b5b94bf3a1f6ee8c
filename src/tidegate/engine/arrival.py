"""What is computed once about a request before it is routed: host, path, client address, ids, deadline (S4, S15.6).

Everything behind this sees one canonical value of each (S0: one canonical value is computed once).
"""

from __future__ import annotations

from typing import Final

from tidegate.engine.runtime import Runtime
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.rules.canonical import canonical_host, canonical_path, split_target
from tidegate.rules.forwarded import client_address
from tidegate.rules.hop_headers import check_loop, nominated
from tidegate.rules.request_id import is_good_request_id
from tidegate.rules.trace_context import RANDOM_BITS, TraceContext, continue_trace

ALLOW: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, QUERY"


def arrive(runtime: Runtime, x: Exchange, merge_slashes: bool) -> tuple[int, Answer | None]:
    """Fill host, path, query, client address, ids and trace of *x*. Returns the path flags of ``canonical_path`` and
    an Answer when the gateway answers for itself (``OPTIONS *``, ``Max-Forwards: 0``). Raises Faults of S4."""
    head = x.head
    index = head.index
    peer = x.peer
    draw = runtime.random
    if peer.trusted:
        x.client_ip = client_address(peer.peer_ip, index, runtime.plan.forwarded_source, runtime.proxies)
        given = index.get("x-request-id")
        x.request_id = given if given is not None and is_good_request_id(given) else ""
    if not x.request_id:
        x.request_id = runtime.request_ids.make(x.wall)
    tracing = runtime.plan.tracing
    share = tracing.share
    sample = share >= 100.0 or draw.random() * 100.0 < share
    trace: TraceContext
    if tracing.trust or peer.trusted:
        trace = continue_trace(index.get("traceparent"), index.get("tracestate"), draw.getrandbits(RANDOM_BITS), sample)
    else:
        trace = continue_trace(None, None, draw.getrandbits(RANDOM_BITS), sample)
    x.trace_id = trace.trace_id
    x.span_id = trace.span_id
    x.trace_parent = trace.parent
    x.sampled = trace.sampled
    x.trace_state = trace.state
    authority, raw_path, query = split_target(head.target, head.method)
    host = index.get("host")
    if host is not None:
        x.host, x.port = canonical_host(host)
        if authority and canonical_host(authority) != (x.host, x.port):
            raise Fault("bad_request", "The request target names another host than the Host field.",
                        side=CLIENT, close=True)  # fmt: skip
    elif authority:
        x.host, x.port = canonical_host(authority)
    if "connection" in index:
        nominated(index["connection"], runtime.hop_rules.identity)  # S4.2: refused before anybody looks at credentials
    if "via" in index:
        check_loop(index["via"], runtime.plan.name)
    if raw_path == "*":
        return 0, Answer(204, [("allow", ALLOW)])
    x.path, flags = canonical_path(raw_path, merge_slashes)
    x.query = query
    x.upstream_path = x.path
    x.upstream_query = query
    if head.method == "OPTIONS" and "max-forwards" in index:
        value = index["max-forwards"]
        if not (value.isascii() and value.isdigit()) or len(value) > 9:
            raise Fault("bad_request", "Max-Forwards is not a number.", side=CLIENT)
        if int(value) == 0:
            return flags, Answer(204, [("allow", ALLOW)])
        x.set_field("max-forwards", str(int(value) - 1))
    return flags, None


def set_deadline(x: Exchange, request_timeout: float) -> bool:
    """S15.3 and S15.6: the second at which the answer head must be out. True when the client made it shorter than the
    route. Raises Faults for a malformed or spent deadline."""
    x.deadline = x.started + request_timeout
    given = x.head.index.get("x-request-timeout")
    if given is None:
        return False
    number = given.replace(".", "", 1)
    if not (number.isascii() and number.isdigit()) or len(given) > 12:
        raise Fault("bad_request", "X-Request-Timeout is not a number of seconds.", reason="bad_deadline", side=CLIENT)
    seconds = float(given)
    if seconds <= 0.0:
        raise Fault("deadline_exceeded", "The deadline had passed on arrival.", side=CLIENT)
    if seconds >= request_timeout:
        return False
    x.deadline = x.started + seconds
    return True
