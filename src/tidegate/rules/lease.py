"""Leases of limits (S9.4): how much an authority hands out at once, and for how long. Nothing else lives here.

What a lease does to a bucket stands with the bucket (``gcra``, ``sliding_window``, ``quota_window``); :class:`Book`
is what they have in common.
"""

from __future__ import annotations

from typing import Final, Protocol

LONG: Final = 5_000_000_000
"""Nanoseconds: sparse keys must not pay a round trip a request."""
SHORT: Final = 100_000_000
"""Nanoseconds: what one worker strands while another one needs it."""
SHORTEST: Final = 10_000_000
"""Nanoseconds: a worker looks at its leases each 10 ms; a shorter one would be over when it arrives."""


class Book(Protocol):
    """The account of one bucket, as the authority keeps it. Times are nanoseconds of the authority's clock."""

    def free(self, now: int) -> int: ...
    def wait(self, cost: int, now: int) -> int: ...
    def more(self, now: int) -> int: ...
    def lend(self, count: int, now: int, until: int) -> int: ...
    def settle(self, count: int, rest: int, tag: int, now: int) -> None: ...
    def refund(self, count: int, now: int) -> None: ...
    def idle(self, now: int) -> bool: ...


def grant_size(free: int, need: int, workers: int, amount: int, per: int) -> int:
    """Units to grant: a share of what is free, at most what flows in 0.1 s (one worker: without that bound), at least
    what is waited for, never more than is free. ``per`` 0 means that nothing flows (slots in flight)."""
    share = max(1, free // (2 * workers))
    if workers > 1 and per > 0:
        share = min(share, -(-amount * SHORT // per))
    return min(free, max(share, need))


def lease_life(free: int, capacity: int, workers: int, per: int) -> int:
    """Nanoseconds that a grant may be spent: long with one worker or while more than half of *capacity* is free."""
    if workers == 1 or 2 * free > capacity:
        return LONG
    return max(SHORTEST, min(SHORT, per // 60))
