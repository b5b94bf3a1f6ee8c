"""W3C trace context (S26.9): a valid parent is continued, anything else starts a new trace and is never an error."""

from __future__ import annotations

import re
from typing import Final

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch
_KEY: Final = r"(?:[a-z0-9][_0-9a-z\-*/]{0,255}|[a-z0-9][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13})"
_MEMBER: Final = re.compile(_KEY + r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]").fullmatch
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_MAX_MEMBERS: Final = 32

RANDOM_BITS: Final = 192
"""Random bits :func:`continue_trace` needs: 128 for a trace id, 64 for a span id."""


class TraceContext:
    """The trace an exchange belongs to.

    trace_id, span_id  lower-case hex; the span is ours
    parent             span id of the caller, "" for a new trace
    sampled            the caller's decision, or what was decided for a new trace
    state              the ``tracestate`` to pass on, "" for none
    """

    __slots__ = ("parent", "sampled", "span_id", "state", "trace_id")

    def __init__(self, trace_id: str, span_id: str, parent: str, sampled: bool, state: str) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent = parent
        self.sampled = sampled
        self.state = state


def continue_trace(traceparent: str | None, tracestate: str | None, random: int, sample_new: bool) -> TraceContext:
    """The context of a request with these two fields; None where a field is absent (or its sender not trusted).

    *random* holds ``RANDOM_BITS`` unpredictable bits, *sample_new* is the decision for a trace that begins here. Two
    ``traceparent`` lines arrive joined and therefore start a new trace.
    """
    ids = f"{random:048x}"
    span_id = ids[32:48]
    if span_id == _NO_SPAN:
        span_id = "0000000000000001"
    if traceparent is not None:
        parent = parse_parent(traceparent)
        if parent is not None:
            state = parse_state(tracestate) if tracestate else ""
            return TraceContext(parent[0], span_id, parent[1], parent[2], state)
    trace_id = ids[:32]
    if trace_id == _NO_TRACE:
        trace_id = "00000000000000000000000000000001"
    return TraceContext(trace_id, span_id, "", sample_new, "")


def parse_parent(value: str) -> tuple[str, str, bool] | None:
    """(trace id, span id, sampled) of a ``traceparent``, or None. A later version may carry more behind its flags."""
    match = _PARENT(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return trace_id, span_id, int(flags, 16) & 1 == 1


def parse_state(value: str) -> str:
    """A ``tracestate`` as it travels on: order kept, blank members dropped; "" when a member is malformed or there
    are more than 32."""
    members = [member for member in [m.strip(" \t") for m in value.split(",")] if member]
    if len(members) > _MAX_MEMBERS:
        return ""
    for member in members:
        if _MEMBER(member) is None:
            return ""
    return ",".join(members)
