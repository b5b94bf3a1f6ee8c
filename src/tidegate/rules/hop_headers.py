"""Which fields travel from hop to hop and which do not (S4.1-S4.3, S4.6). Runs for every request: one pass."""

from __future__ import annotations

import re
from typing import Final

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Fields, ResponseHead
from tidegate.rules.forwarded import FORWARDING, MADE, forwarding_fields
from tidegate.wire.http1_encode import field_lines, has_date

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "proxy-connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "trailer",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-authentication-info",
    }
)
"""For this hop only; dropped in both directions, always (S4.1)."""

_FRAMING: Final = HOP_BY_HOP | {"content-length"}
_OURS: Final = MADE | {"host", "via", "x-request-id", "traceparent", "tracestate"}
_MADE_HERE: Final = _FRAMING | MADE | {"host", "via", "x-request-id", "traceparent", "tracestate"}
_NOT_SENT_BACK: Final = _FRAMING | {"x-request-id"}
_NO_NAMES: Final[frozenset[str]] = frozenset()
_PLAIN_OPTIONS: Final = frozenset({"keep-alive", "close", "Keep-Alive", "Close", "upgrade", "Upgrade"})
_OPTION: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++").fullmatch

_PROTECTED: Final = FORWARDING | {
    "host",
    "content-length",
    "transfer-encoding",
    "content-type",
    "content-encoding",
    "content-range",
    "content-digest",
    "expect",
    "authorization",
    "x-api-key",
    "cookie",
    "set-cookie",
    "via",
    "traceparent",
    "tracestate",
    "x-request-id",
    "idempotency-key",
    "x-tenant-id",
}
_PROTECTED_PREFIXES: Final = ("x-forwarded-", "x-tidegate-", "x-consumer-", "x-user-", "content-", "sec-websocket-")
_GUARDED_PREFIXES: Final = ("x-forwarded-", "x-tidegate-")


class HopRules:
    """What the Plan says about hops, prepared once.

    name       the gateway's name in ``Via`` and ``Forwarded``
    via        append ``Via`` to requests (on: RFC 9110 demands it)
    forwarded  also send ``Forwarded`` (RFC 7239)
    identity   lower-case names configured to carry identity: removed from untrusted peers, never nominated (S4.6)
    """

    __slots__ = ("drop_trusted", "drop_untrusted", "forwarded", "identity", "name", "via", "via_10", "via_11")

    def __init__(
        self,
        name: str = "tidegate",
        *,
        via: bool = True,
        forwarded: bool = False,
        identity: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.via = via
        self.forwarded = forwarded
        self.identity = identity
        self.via_11 = f"via: 1.1 {name}\r\n" if via else ""
        self.via_10 = f"via: 1.0 {name}\r\n" if via else ""
        own = _MADE_HERE | {"forwarded"} if forwarded else _MADE_HERE
        self.drop_trusted: frozenset[str] = own if via else own - {"via"}
        self.drop_untrusted: frozenset[str] = self.drop_trusted | FORWARDING | identity


def nominated(connection: str, identity: frozenset[str] = _NO_NAMES) -> frozenset[str]:
    """The field names that a request's ``Connection`` value nominates for this hop (S4.2).

    Raises ``bad_request`` when a protected name is among them, *identity* names included, or a name is no token: such
    a nomination exists to strip what a later reader relies on.
    """
    if connection in _PLAIN_OPTIONS:
        return _NO_NAMES
    names = _options(connection)
    for name in names:
        if _is_protected(name) or name in identity or _OPTION(name) is None:
            raise Fault(
                "bad_request", "Connection names a protected field.", reason="bad_framing", side=CLIENT, close=True
            )
    return names


def request_fields(x: Exchange, rules: HopRules, host: str) -> Fields:
    """The fields the upstream gets for *x*, with *host* as its Host (S4.8): ready for ``encode_request``.

    Gone are hop-by-hop, nominated and framing fields, what filters removed, and - from untrusted peers - forwarding,
    identity and ``x-tidegate-*`` fields. Added are ours (``x-forwarded-*``, ``via``, ``x-request-id``,
    ``traceparent``, ``tracestate``; ``connection`` and ``upgrade`` for a WebSocket) and what filters added. A filter
    that removed or replaced one of ours has its way. Raises ``bad_request`` as :func:`nominated` does.
    """
    head = x.head
    index = head.index
    peer = x.peer
    drop = rules.drop_trusted if peer.trusted else rules.drop_untrusted
    connection = index.get("connection")
    if connection is not None and connection not in _PLAIN_OPTIONS:
        drop = drop | nominated(connection, rules.identity)
    if not peer.trusted:
        names = " ".join(index)
        if "x-tidegate-" in names or "x-forwarded-" in names:
            drop = drop.union([name for name in index if name.startswith(_GUARDED_PREFIXES)])
    dropped = x.dropped
    if dropped is not None:
        drop = drop | dropped
    fields = [("host", host)]
    fields += [field for field in head.fields if field[0] not in drop]
    made = forwarding_fields(peer, index, x.host, x.port, rules.forwarded, rules.name)
    if rules.via:
        before = index.get("via")
        version = "1.1" if head.version == 11 else "1.0" if head.version == 10 else "2"
        made.append(("via", f"{version} {rules.name}" if before is None else f"{before}, {version} {rules.name}"))
    if x.request_id:
        made.append(("x-request-id", x.request_id))
    if x.trace_id:
        made.append(("traceparent", f"00-{x.trace_id}-{x.span_id}-{'01' if x.sampled else '00'}"))
        if x.trace_state:
            made.append(("tracestate", x.trace_state))
    if dropped is not None:
        made = [field for field in made if field[0] not in dropped]
    fields += made
    if x.added is not None:
        fields += [field for field in x.added if field[0] not in _FRAMING and field[0] != "host"]
    if head.upgrade:
        fields.append(("connection", "Upgrade"))
        fields.append(("upgrade", head.upgrade))
    return fields


def request_text(x: Exchange, rules: HopRules, host: str) -> str:
    """The field lines of :func:`request_fields`, ready to be written.

    What the client sent travels as one piece of text, kept with its field block: a client that sends the same block
    again on a kept connection pays for the selection once.
    """
    head = x.head
    memo = head.memo
    peer = x.peer
    dropped = x.dropped
    if (
        memo is None
        or head.upgrade
        or peer.trusted
        or rules.forwarded
        or not x.request_id
        or not x.trace_id
        or "connection" in head.index
        or "via" in head.index
        or (dropped is not None and not dropped.isdisjoint(_OURS))
    ):
        return field_lines(request_fields(x, rules, host))
    if memo.key is not rules or memo.dropped != dropped:
        drop = rules.drop_untrusted
        guarded = [name for name in head.index if name.startswith(_GUARDED_PREFIXES)]
        if dropped is not None:
            drop = drop | dropped
        memo.text = field_lines([f for f in head.fields if f[0] not in drop and f[0] not in guarded])
        memo.dropped = None if dropped is None else set(dropped)
        memo.key = rules
    if peer.asked_host != x.host or peer.asked_port != x.port:
        peer.asked_host = x.host
        peer.asked_port = x.port
        peer.forwarding = field_lines(forwarding_fields(peer, head.index, x.host, x.port))
    via = rules.via_11 if head.version == 11 else rules.via_10
    text = (
        f"host: {host}\r\n{memo.text}{peer.forwarding}{via}x-request-id: {x.request_id}\r\n"
        f"traceparent: 00-{x.trace_id}-{x.span_id}-{'01' if x.sampled else '00'}\r\n"
    )
    if x.trace_state:
        text += f"tracestate: {x.trace_state}\r\n"
    if x.added is not None:
        text += field_lines([f for f in x.added if f[0] not in _FRAMING and f[0] != "host"])
    return text


def response_text(head: ResponseHead) -> tuple[str, bool]:
    """The field lines of :func:`response_fields` for an answer that no part has edited, and whether one is ``date``."""
    memo = head.memo
    if memo is None or memo.fields is not head.fields:
        fields = response_fields(head.fields)
        return field_lines(fields), has_date(fields)
    if memo.key is None:
        fields = response_fields(head.fields)
        memo.text = field_lines(fields)
        memo.dated = has_date(fields)
        memo.key = memo
    return memo.text, memo.dated


def response_fields(fields: Fields) -> Fields:
    """The fields of an upstream's answer that travel on: no hop-by-hop, nominated or framing ones, and no
    ``x-request-id``, because ours goes back in its place (S4.12).

    A nomination of a protected name is ignored (S4.2): an upstream cannot make us lose ``set-cookie``.
    """
    kept: Fields = []
    connection = ""
    for field in fields:
        name = field[0]
        if name in _NOT_SENT_BACK:
            if name == "connection":
                connection = f"{connection},{field[1]}" if connection else field[1]
        else:
            kept.append(field)
    if connection and connection not in _PLAIN_OPTIONS:
        names = [name for name in _options(connection) if not _is_protected(name)]
        kept = [field for field in kept if field[0] not in names]
    return kept


def check_loop(via: str, name: str) -> None:
    """Refuse a request that has passed this gateway twice already (S4.3); one lawful re-entry is allowed.

    Raises ``loop_detected``.
    """
    if name not in via:
        return
    seen = 0
    for hop in via.split(","):
        words = hop.split()
        if len(words) >= 2 and words[1] == name:
            seen += 1
    if seen >= 2:
        raise Fault("loop_detected", "The request has passed this gateway twice already.", close=True)


def _options(connection: str) -> frozenset[str]:
    return frozenset([name for name in [o.strip(" \t") for o in connection.lower().split(",")] if name])


def _is_protected(name: str) -> bool:
    return name in _PROTECTED or name.startswith(_PROTECTED_PREFIXES)
