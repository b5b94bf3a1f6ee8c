"""May this failed attempt go round again, and after how long (S14.1-S14.3, S14.6)."""

from __future__ import annotations

from typing import Final, Protocol

from tidegate.exchange.fault import IF_IDEMPOTENT, NOT_PROCESSED, Fault

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "QUERY", "PUT", "DELETE"})
"""Methods that may be repeated (RFC 9110 9.2.2; TRACE is never forwarded)."""
ATTEMPTS_CAP: Final = 4
PUSHBACK: Final = 1.0
"""An upstream that asks for more than this many seconds gets them: its answer is passed on (S14.3)."""
NO: Final = -1.0


class RetrySettings(Protocol):
    """What is read of a ``RetryPlan``."""

    @property
    def attempts(self) -> int: ...
    @property
    def base(self) -> float: ...
    @property
    def cap(self) -> float: ...
    @property
    def on(self) -> tuple[int, ...]: ...


def idempotent(method: str, has_key: bool) -> bool:
    """May *method* be repeated; *has_key*: the request carries an ``Idempotency-Key`` that the route accepts."""
    return has_key or method in IDEMPOTENT


def may_retry(
    plan: RetrySettings,
    attempt: int,
    method: str,
    has_key: bool,
    body_at_hand: bool,
    time_left: float,
    draw: float,
    fault: Fault | None = None,
    status: int = 0,
    retry_after: float = 0.0,
    arrived_retried: bool = False,
) -> float:
    """Seconds to wait before another attempt, or -1.0: pass on what there is.

    attempt          how many attempts were made (1 after the first)
    body_at_hand     the whole request body can be sent again
    time_left        seconds until the exchange's deadline
    fault, status    what went wrong: a fault, or the status of an answer of which nothing went to the client
    retry_after      seconds the upstream asked for, 0.0 when it did not
    arrived_retried  a trusted gateway sent ``x-tidegate-attempt``: it repeats, we do not (S14.6)

    The retry budget (S14.4) is asked afterwards, by the caller.
    """
    if attempt > min(plan.attempts, ATTEMPTS_CAP) or not body_at_hand or arrived_retried:
        return NO
    if fault is not None:
        if fault.retry != NOT_PROCESSED and not (fault.retry == IF_IDEMPOTENT and idempotent(method, has_key)):
            return NO
    elif status not in plan.on or not idempotent(method, has_key):
        return NO
    if retry_after > PUSHBACK:
        return NO
    delay = max(backoff(attempt, plan.base, plan.cap, draw), retry_after)
    return delay if delay < time_left else NO


def backoff(number: int, base: float, cap: float, draw: float) -> float:
    """Full jitter: between 0 and min(*cap*, *base* · 2^(number − 1)) seconds, *number* counted from 1."""
    exponent = min(max(number, 1) - 1, 30)
    ceiling: float = base * float(1 << exponent)
    return min(cap, ceiling) * draw
