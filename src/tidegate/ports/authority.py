"""The promise of limits: exact across workers, integers on the hot path (S9).

A filter asks ``tools.limits.policy(spec)`` once at build time and ``policy.take(...)`` on every request. ``take``
answers at once while the worker's lease holds; otherwise it returns a coroutine that asks the authority.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Literal, Protocol

import msgspec


class LimitSpec(msgspec.Struct, frozen=True):
    """One policy. Bucket identity is (``name``, partition), never a route or worker, so two places that name the same
    policy share its buckets.

    kind     ``rate`` GCRA (S9.1), ``window`` sliding (S9.2), ``fixed`` (S9.3), ``concurrent`` (S9.3), ``quota`` (S9.10)
    amount   N units
    per      W in seconds (``quota``: ignored, see ``calendar``)
    burst    B units (``rate`` only); 0 means N
    calendar ``minute hour day week month`` (``quota`` only)
    on_store_error  ``local_share allow deny`` (S9.6)
    """

    name: str
    kind: Literal["rate", "window", "fixed", "concurrent", "quota"]
    amount: int
    per: float = 1.0
    burst: int = 0
    calendar: str = ""
    zone: str = "UTC"
    on_store_error: Literal["local_share", "allow", "deny"] = "local_share"


class Verdict(msgspec.Struct, gc=False):
    """What a policy says.

    remaining    units left now (S9.1)
    reset        seconds until more is available (``RateLimit`` t=, S9.9)
    retry_after  seconds after which the same ask can pass; 0.0 when it never can
    """

    allowed: bool
    remaining: int
    reset: float
    retry_after: float = 0.0


class Policy(Protocol):
    """One limit, ready for use."""

    spec: LimitSpec

    def take(self, partition: str, cost: int = 1) -> Verdict | Coroutine[Any, Any, Verdict]:
        """Charge *cost* units of *partition* (tenant first). A refusal charges nothing. May raise ``Fault``
        ``limiter_unavailable``."""

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        """Return units: a refund (never lifts a bucket above full), or the end of a ``concurrent`` slot. *taken*: a
        monotonic time not after the units were taken; 0.0 says just now, in the decision that is still going on."""


class Limits(Protocol):
    """The worker's door to the authority."""

    def policy(self, spec: LimitSpec) -> Policy:
        """The shared policy object for *spec*."""
