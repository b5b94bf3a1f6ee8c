"""The exchange: one request with its answer, and everything decided about it on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tidegate.exchange.head import Fields, RequestHead
from tidegate.exchange.identity import Identity


class Peer:
    """The client's side of one connection. Lives as long as the connection.

    peer_ip      the socket peer (after PROXY protocol, the address it named)
    socket_host  the socket peer itself
    trusted      the peer is one of ``trusted_proxies`` (S4.4)
    scheme       ``http`` or ``https``
    tls          ``TLSv1.3`` ... or "" on cleartext
    forwarding   the ``x-forwarded-*`` lines for the host asked for last (``rules/hop_headers`` keeps them here)
    certificate  the verified client certificate in DER form, or b"" (S7.15)
    """

    __slots__ = ("asked_host", "asked_port", "certificate", "forwarding", "listener", "local_port", "peer_ip",
                 "peer_port", "scheme", "server_name", "socket_host", "tls", "trusted")  # fmt: skip

    def __init__(
        self,
        listener: str,
        peer_ip: str,
        peer_port: int = 0,
        local_port: int = 80,
        *,
        trusted: bool = False,
        scheme: str = "http",
        tls: str = "",
        certificate: bytes = b"",
        server_name: str = "",
    ) -> None:
        self.listener = listener
        self.peer_ip = peer_ip
        self.peer_port = peer_port
        self.local_port = local_port
        self.trusted = trusted
        self.scheme = scheme
        self.tls = tls
        self.certificate = certificate
        self.server_name = server_name
        self.socket_host = peer_ip
        self.asked_host = ""
        self.asked_port = -1
        self.forwarding = ""


class Shape(NamedTuple):
    """How an upstream's answer is spoilt on purpose (S25.1): ``rate`` bytes of its body a second, 0 for as fast as it
    comes; broken off after ``cut_after`` bytes, below 0 never."""

    rate: int = 0
    cut_after: int = -1


class Exchange:
    """One request on its way. Filters read and edit it through the methods; the engine fills the rest.

    What was asked
      peer, head         the connection and the head as parsed
      method             ``head.method``
      host, port         canonical host without port (S4.7); the port asked for, 0 when none
      path               canonical path (S4.9): routing, auth, limits, log and the upstream all see this one string
      query              raw query without ``?``, byte for byte; "" when there is none
      client_ip          the client address (S4.4), used by every limit, list and hash
      captures           variables of the matched path template, {} otherwise
      body               the whole decoded body, once a stage asked the engine to gather it; else None

    What was decided
      identity           set by an authentication filter, else None
      priority           0 critical ... 3 low (S22.1)
      deadline           monotonic second at which the answer head must be out
      upstream_path, upstream_query, upstream_host   what the upstream will be asked; "" host: as S4.8 says
      answer_fields      fields added to whatever answer goes out, refusals included (rate limit, CORS ...)
      refunds            called, newest first, when a later stage refuses (S9.7); each undoes one charge
      shape              how the upstream's answer is to be spoilt, None: not at all
      releases           called once when the exchange ends, whatever happened (concurrency slots)
      notes              a part's own per-exchange state, keyed by the part instance

    How it went: the remaining attributes feed the Record (S26.11).
    """

    __slots__ = (
        "added", "answer_fields", "attempts", "auth", "batched", "body", "breaker", "bytes_in", "bytes_out", "cache",
        "captures", "client_ip", "code", "deadline", "debug", "dropped", "end", "endpoint", "fallback", "fault",
        "first_byte_at", "flag", "head", "hedged", "host", "identity", "limits", "method", "notes", "path", "peer",
        "port", "priority", "query", "queue_us", "reason", "refunds", "releases", "request_id", "retry_reason",
        "route", "sampled", "shape", "span_id", "started", "status", "trace_id", "trace_parent", "trace_state",
        "upstream", "upstream_host", "upstream_path", "upstream_query", "upstream_status", "variant", "wall",
    )  # fmt: skip

    def __init__(self, peer: Peer, head: RequestHead, started: float, wall: float) -> None:
        self.peer = peer
        self.head = head
        self.method = head.method
        self.started = started
        self.wall = wall
        self.host = ""
        self.port = 0
        self.path = ""
        self.query = ""
        self.client_ip = peer.peer_ip
        self.captures: dict[str, str] = {}
        self.body: bytes | None = None
        self.identity: Identity | None = None
        self.priority = 2
        self.deadline = 0.0
        self.upstream_path = ""
        self.upstream_query = ""
        self.upstream_host = ""
        self.added: Fields | None = None
        self.dropped: set[str] | None = None
        self.answer_fields: Fields | None = None
        self.refunds: list[Callable[[], None]] | None = None
        self.releases: list[Callable[[], None]] | None = None
        self.notes: dict[object, Any] | None = None
        self.shape: Shape | None = None
        self.request_id = ""
        self.trace_id = ""
        self.span_id = ""
        self.trace_parent = ""
        self.trace_state = ""
        self.sampled = False
        self.debug = False
        self.route = ""
        self.variant = ""
        self.status = 0
        self.code = ""
        self.reason = ""
        self.flag = ""
        self.end = "complete"
        self.upstream = ""
        self.endpoint = ""
        self.upstream_status = 0
        self.attempts = 0
        self.retry_reason = ""
        self.hedged = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.first_byte_at = 0.0
        self.queue_us = 0
        self.auth = ""
        self.limits = ""
        self.cache = ""
        self.breaker = ""
        self.fallback = ""
        self.fault = ""
        self.batched = 0

    # -- the request as the upstream will see it ------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """The value of request field *name* (lower case), edits of earlier filters included."""
        if self.added is not None:
            for field_name, value in self.added:
                if field_name == name:
                    return value
        if self.dropped is not None and name in self.dropped:
            return None
        return self.head.index.get(name)

    def set_field(self, name: str, value: str) -> None:
        """Send *name* (lower case) upstream with this one value, whatever the client sent."""
        self.remove_field(name)
        self.add_field(name, value)

    def add_field(self, name: str, value: str) -> None:
        """Send one more line of *name* (lower case) upstream."""
        if self.added is None:
            self.added = []
        self.added.append((name, value))

    def remove_field(self, name: str) -> None:
        """Do not send *name* (lower case) upstream."""
        if self.dropped is None:
            self.dropped = set()
        self.dropped.add(name)
        if self.added is not None:
            self.added = [f for f in self.added if f[0] != name]

    # -- the answer, whoever makes it -----------------------------------------------------------------------------

    def add_answer_field(self, name: str, value: str) -> None:
        """Add a field (lower case) to the answer, be it the upstream's or a refusal."""
        if self.answer_fields is None:
            self.answer_fields = []
        self.answer_fields.append((name, value))

    # -- charges ---------------------------------------------------------------------------------------------------

    def on_refusal(self, undo: Callable[[], None]) -> None:
        """Remember how to undo a charge in case a later stage refuses (S9.7)."""
        if self.refunds is None:
            self.refunds = []
        self.refunds.append(undo)

    def on_end(self, release: Callable[[], None]) -> None:
        """Remember what to give back when the exchange ends, whatever happens."""
        if self.releases is None:
            self.releases = []
        self.releases.append(release)

    def note(self, part: object, value: Any) -> None:
        """Keep *value* for *part* until the exchange ends."""
        if self.notes is None:
            self.notes = {}
        self.notes[part] = value

    def noted(self, part: object) -> Any:
        """What *part* kept with :meth:`note`, or None."""
        return None if self.notes is None else self.notes.get(part)

    def __repr__(self) -> str:
        return f"<Exchange {self.method} {self.host}{self.path} route={self.route or '-'} status={self.status}>"
