"""The record: what one exchange was, in one line (S26.11). Logs, metrics, traces and alerts derive from it."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, omit_defaults=True, gc=False):
    """One per exchange, always one. No body, credential or cookie is ever in it.

    ``end`` is ``complete`` (the client got all), ``cancelled`` (the client left) or ``cut`` (we or the upstream
    broke off after the head was out). ``query`` holds only the keys that the route names (``log_query``). Times in
    microseconds, sizes in bytes, ``ts`` seconds since the epoch.
    """

    # Always told, in the order in which ``engine/recording`` hands them over.
    ts: float
    request_id: str
    method: str
    host: str
    path: str
    status: int
    duration_us: int
    route: str = ""
    trace_id: str = ""
    listener: str = ""
    proto: str = "HTTP/1.1"
    tls: str = ""
    peer_ip: str = ""
    client_ip: str = ""
    generation: int = 0
    code: str = ""
    reason: str = ""
    flag: str = ""
    end: str = "complete"
    upstream: str = ""
    endpoint: str = ""
    upstream_status: int = 0
    attempts: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    priority: int = 2
    user_agent: str = ""
    first_byte_us: int = 0
    deadline_ms: int = 0
    limits: str = ""
    tenant: str = ""
    consumer: str = ""
    key_id: str = ""
    auth: str = ""
    # Told where there is something to tell.
    variant: str = ""
    retry_reason: str = ""
    hedged: bool = False
    queue_us: int = 0
    cache: str = ""
    breaker: str = ""
    fallback: str = ""
    fault: str = ""
    batched: int = 0
    query: dict[str, str] = {}
