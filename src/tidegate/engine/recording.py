"""From an exchange that has ended to its Record (S26.11)."""

from __future__ import annotations

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.record import Record

AGENT_SIZE = 256
PATH_SIZE = 1024
PROTOCOLS = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}


def record_of(x: Exchange, generation: int, seconds: float) -> Record:
    """One line of truth about *x*, which took *seconds*."""
    identity = x.identity
    peer = x.peer
    record = Record(
        x.wall,
        x.request_id,
        x.method,
        x.host,
        x.path[:PATH_SIZE],
        x.status,
        int(seconds * 1e6),
        x.route,
        x.trace_id,
        peer.listener,
        PROTOCOLS[x.head.version],
        peer.tls,
        peer.peer_ip,
        x.client_ip,
        generation,
        x.code,
        x.reason,
        x.flag,
        x.end,
        x.upstream,
        x.endpoint,
        x.upstream_status,
        x.attempts,
        x.bytes_in,
        x.bytes_out,
        x.priority,
        x.head.index.get("user-agent", "")[:AGENT_SIZE],
        int((x.first_byte_at - x.started) * 1e6) if x.first_byte_at else 0,
        int((x.deadline - x.started) * 1000) if x.deadline else 0,
        x.limits,
        identity.tenant if identity is not None else "",
        identity.consumer if identity is not None else "",
        identity.key_id if identity is not None else "",
        identity.method if identity is not None else "",
    )
    if x.attempts > 1 or x.retry_reason:
        record.retry_reason = x.retry_reason
        record.hedged = x.hedged
    if x.variant:
        record.variant = x.variant
    if x.queue_us:
        record.queue_us = x.queue_us
    if x.breaker:
        record.breaker = x.breaker
    if x.fallback:
        record.fallback = x.fallback
    if x.fault:
        record.fault = x.fault
    if x.batched:
        record.batched = x.batched
    return record
