"""The ledger record: what one model call was and what it cost (LLM 10). Enough to compute any cost again later. And
the lines of a ledger, of which it is one (LLM 10.1).

Money is integers in nano-dollars (n$; 1 USD = 1,000,000,000). Times are seconds since the epoch, durations
microseconds.
"""

from __future__ import annotations

import msgspec

from tidegate.exchange.chat import Usage


class CostPart(msgspec.Struct, frozen=True, gc=False):
    """One priced quantity: ``name`` (``input``, ``cache_read`` ...), its amount, and n$."""

    name: str
    quantity: int
    nusd: int


class CallAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try of one target. ``waste``: n$ paid for nothing (failed after bytes, a hedge's loser)."""

    provider: str
    model: str
    status: int = 0
    code: str = ""
    reason: str = ""
    duration_us: int = 0
    waste: int = 0


class LedgerRecord(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One per exchange on a model surface. ``id`` is a ULID: writing it twice changes nothing."""

    id: str
    ts: float
    duration_us: int = 0
    tenant: str = "default"
    team: str = ""
    consumer: str = ""
    key_id: str = ""
    user: str = ""
    route: str = ""
    surface: str = ""
    dialect: str = ""
    asked: str = ""
    """The model as the client named it; ``model`` what the target was asked for; ``served`` what it said it was."""
    target: str = ""
    provider: str = ""
    model: str = ""
    served: str = ""
    credential: str = ""
    region: str = ""
    tier: str = ""
    stream: bool = False
    status: int = 200
    code: str = ""
    reason: str = ""
    stop: str = ""
    attempts: tuple[CallAttempt, ...] = ()
    ttft_us: int = 0
    usage: Usage | None = None
    raw_usage: str = ""
    price_id: str = ""
    cost: int = 0
    parts: tuple[CostPart, ...] = ()
    reserved: int = 0
    waste: int = 0
    saved: int = 0
    cache: str = ""
    prompt: str = ""
    context_id: str = ""
    losses: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    """``usage_suspect``, ``estimated``, ``tool_args_invalid``, ``client_retry`` ..."""
    arm: str = ""
    tags: tuple[str, ...] = ()
    request_id: str = ""
    upstream_request_id: str = ""
    parent: str = ""
    """The record of the pipeline this was a step of."""
    batch: str = ""
    """The batch that this call made or asked for, or whose usage this is: then ``id`` is ``batch:`` and this name."""
    end: str = "complete"
    """``complete``, ``cancelled`` (the client left), ``cut`` (we or the upstream broke off)."""
    levels: tuple[tuple[str, str], ...] = ()
    """(level id, period) that were charged."""


class HeadLine(msgspec.Struct, frozen=True, tag="head", tag_field="kind", gc=False):
    """The first line of a segment: who writes it. ``boot`` names one life of one process."""

    boot: str
    slot: int
    pid: int
    build: str = ""
    format: int = 1


class OpenLine(msgspec.Struct, frozen=True, tag="open", tag_field="kind", omit_defaults=True, gc=False):
    """A call may cost ``amount`` n$ at each of ``levels`` ((id, period) pairs) and ends by ``deadline``."""

    id: str
    ts: float
    deadline: float
    amount: int
    model: str = ""
    levels: tuple[tuple[str, str], ...] = ()


class MarkLine(msgspec.Struct, frozen=True, tag="mark", tag_field="kind", gc=False):
    """How far a stream has come."""

    id: str
    usage: Usage


class DoneLine(msgspec.Struct, frozen=True, tag="done", tag_field="kind", gc=False):
    """What the call was and cost."""

    record: LedgerRecord


class FixLine(msgspec.Struct, frozen=True, tag="fix", tag_field="kind", omit_defaults=True, gc=False):
    """A call that is still open ends with ``cost``; to one that is settled, ``cost`` n$ are added (batches,
    corrections; may be negative)."""

    id: str
    ts: float
    cost: int = 0
    levels: tuple[tuple[str, str], ...] = ()
    reason: str = ""


Line = HeadLine | OpenLine | MarkLine | DoneLine | FixLine
