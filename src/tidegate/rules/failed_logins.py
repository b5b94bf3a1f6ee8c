"""Failed tries by client address (S7.7), and the refusal they lead to. Guesses are slowed down, tenants are not:
only a *failing* try is ever counted or refused, a good credential works on an attacked address.

One table a worker: N workers let an address fail N times as often before they slow it down, which still bounds
guessing, and costs no message while an attack runs."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault

WINDOW: Final = 60.0
"""Seconds over which failures are counted."""
ALLOWED: Final = 100
"""Failing tries a minute and address: offices and carriers share addresses."""
LARGEST: Final = 10_000
"""Addresses remembered; past that the one that failed first is forgotten."""


class FailedLogins:
    """Counts of failing tries, bounded."""

    __slots__ = ("_largest", "_tries")

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest: int = largest
        self._tries: dict[str, tuple[float, int]] = {}
        """Address (IPv6: its /64) → (end of its window, failures in it), in the order the windows began."""

    def failed(self, address: str, now: float, allowed: int = ALLOWED) -> float:
        """Count one failing try from *address* at monotonic *now*. 0.0 while at most *allowed* fell into this
        minute, else the seconds until the next failing try would be heard again."""
        place = _network(address)
        end, count = self._tries.get(place, (0.0, 0))
        if now >= end:
            self._tries.pop(place, None)
            if len(self._tries) >= self._largest:
                del self._tries[next(iter(self._tries))]
            end, count = now + WINDOW, 0
        if count >= allowed:
            return end - now
        self._tries[place] = (end, count + 1)
        return 0.0

    def __len__(self) -> int:
        return len(self._tries)


def _network(address: str) -> str:
    """Who holds one IPv6 address holds its /64."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


def unauthenticated(challenges: Sequence[str]) -> Fault:
    """The one 401 (S7.2): missing, unknown, wrong, expired and revoked credentials all look like this."""
    return Fault(
        "unauthenticated",
        "The request needs valid credentials.",
        side=CLIENT,
        fields=[("www-authenticate", challenge) for challenge in challenges],
    )


def unavailable() -> Fault:
    """The verifier itself is in trouble: 503, never 401, never a guess (S7.4)."""
    return Fault("auth_unavailable", "Credentials cannot be checked at the moment.", retry_after=1.0)


def refusal(failures: FailedLogins, x: Exchange, now: float, allowed: int, challenge: str) -> Fault:
    """Count a failing try of *x*'s client and say what it gets: 401, or 429 past *allowed* a minute (S7.7)."""
    wait = failures.failed(x.client_ip, now, allowed)
    if wait > 0.0:
        return Fault("rate_limited", "Too many failed tries from this address.", side=CLIENT, retry_after=wait)
    return unauthenticated((challenge,))
