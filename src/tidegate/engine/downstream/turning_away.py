"""What the door of a late worker asks about a request that has not begun, and what it says to turn one away (S22.9)."""

from __future__ import annotations

import socket
import sys
from functools import lru_cache
from typing import Any, Final

from tidegate.engine.runtime import NORMAL, Runtime
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import RequestHead
from tidegate.ports.plan import RoutePlan
from tidegate.rules.canonical import canonical_host, canonical_path, split_target
from tidegate.rules.client_priority import lowered
from tidegate.wire.http1 import canned

STALE: Final = 0.05
"""Seconds a request may have waited unread: whoever sent it may be gone, and whoever comes now is served in time."""

LAST_DATA_RECEIVED: Final = 52
"""Where ``struct tcp_info`` of Linux says how many milliseconds ago the last data came (tcpi_last_data_recv)."""

SIZE: Final = LAST_DATA_RECEIVED + 4


def level_of(runtime: Runtime, head: RequestHead, merge_slashes: bool) -> int:
    """0 critical ... 3 low: the level of its route, lowered by the client's own word (S22.2). What its key or tenant
    would make of it is not known yet: that takes the work that is to be saved."""
    index = head.index
    level = NORMAL
    if runtime.levelled:
        try:
            authority, raw_path, query = split_target(head.target, head.method)
            host, _ = canonical_host(index.get("host", authority))
            path, _ = canonical_path(raw_path, merge_slashes)
            found = runtime.plan.router.find(host, path, head.method, index, query)
        except Fault:
            return level  # its journey would refuse it, too
        if found:
            route = found[0]
            if isinstance(route, RoutePlan):
                level = route.priority
    if "priority" in index:
        level = lowered(level, index["priority"])
    return level


def age_of(transport: Any) -> float:
    """Seconds since the last bytes came in, as the kernel remembers; 0.0 where it does not say."""
    sock = transport.get_extra_info("socket")
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SIZE)
    except OSError:
        return 0.0
    if len(told) < SIZE:
        return 0.0
    return int.from_bytes(told[LAST_DATA_RECEIVED:SIZE], sys.byteorder) / 1000.0


@lru_cache(maxsize=2)
def kept_refusal(head_request: bool) -> bytes:
    """The canned 503 for a connection that stays; without its body in answer to HEAD."""
    head, _, body = canned("overloaded").replace(b"connection: close\r\n", b"").partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + (b"" if head_request else body)
