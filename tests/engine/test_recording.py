"""From an exchange to its line (S26.11)."""

from __future__ import annotations

import msgspec

from fakes import exchange
from tidegate.engine.recording import AGENT_SIZE, PATH_SIZE, record_of
from tidegate.exchange.identity import Identity


def test_every_field_of_the_row_is_carried_over() -> None:
    x = exchange("POST", "/a", [("user-agent", "me")], query="key=secret", host="gw", client_ip="192.0.2.9")
    x.identity = Identity("bob", "jwt", tenant="t", key_id="k1")
    x.request_id, x.trace_id, x.route, x.variant = "rid", "tid", "orders", "canary"
    x.status, x.code, x.reason, x.flag, x.end = 503, "overloaded", "queue_full", "UO", "complete"
    x.upstream, x.endpoint, x.upstream_status, x.attempts, x.retry_reason, x.hedged = (
        "up",
        "1:80",
        502,
        2,
        "reset",
        True,
    )
    x.bytes_in, x.bytes_out, x.first_byte_at, x.deadline = 3, 4, 1000.25, 1030.0
    x.priority, x.queue_us, x.limits, x.breaker, x.fallback, x.fault, x.batched = 1, 7, "l", "b", "fb", "ft", 5
    assert msgspec.to_builtins(record_of(x, 9, 0.5)) == {
        "ts": 1_700_000_000.0, "request_id": "rid", "method": "POST", "host": "gw", "path": "/a", "status": 503,
        "duration_us": 500_000, "route": "orders", "trace_id": "tid", "listener": "test",
            "proto": "HTTP/1.1", "tls": "TLSv1.3",
        "peer_ip": "192.0.2.9", "client_ip": "192.0.2.9", "variant": "canary", "generation": 9, "tenant": "t",
        "consumer": "bob", "key_id": "k1", "auth": "jwt", "code": "overloaded", "reason": "queue_full", "flag": "UO",
        "upstream": "up", "endpoint": "1:80", "upstream_status": 502, "attempts": 2, "retry_reason": "reset",
        "hedged": True, "bytes_in": 3, "bytes_out": 4, "first_byte_us": 250_000, "deadline_ms": 30_000, "priority": 1,
        "queue_us": 7, "limits": "l", "breaker": "b", "fallback": "fb", "fault": "ft", "user_agent": "me", "batched": 5,
    }  # fmt: skip


def test_what_a_client_chooses_is_cut_and_its_query_and_credentials_never_kept() -> None:
    x = exchange(
        "GET", "/" + "p" * 5000, [("user-agent", "a" * 5000), ("authorization", "Bearer s3cret")], query="s3cret"
    )
    record = record_of(x, 1, 0.0)
    assert (len(record.path), len(record.user_agent)) == (PATH_SIZE, AGENT_SIZE)
    line = msgspec.json.encode(record)
    assert b"s3cret" not in line
    assert len(line) < 4096


def test_a_plain_line_says_nothing_it_does_not_know() -> None:
    known = msgspec.to_builtins(record_of(exchange(), 1, 0.001))
    assert set(known) == {
        "ts", "request_id", "method", "host", "path", "status", "duration_us", "listener", "proto", "tls", "peer_ip",
        "client_ip",
        "generation",
    }  # fmt: skip
