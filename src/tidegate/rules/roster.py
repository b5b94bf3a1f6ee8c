"""Who belongs to a pool, seen only through those that can be used now.

A balancer is shown the usable endpoints. Where a client must stay with its endpoint while *another* one fails
(``ip_hash``, ``ring_hash``), or where it matters how many are missing (``geo_proximity``), it has to remember the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

_SLACK: Final = 64


class Member(Protocol):
    """As much of an endpoint as this rule looks at."""

    key: str
    index: int


E = TypeVar("E", bound=Member)


class Roster(Generic[E]):
    """Everyone seen so far.

    members   in the order of the config (``index``, then key)
    usable    the keys of those that were shown last
    version   changes whenever ``members`` does
    """

    __slots__ = ("_known", "_seen", "members", "usable", "version")

    def __init__(self) -> None:
        self.members: list[E] = []
        self.usable: frozenset[str] = frozenset()
        self.version = 0
        self._known: dict[str, E] = {}
        self._seen: Sequence[E] | None = None

    def look(self, endpoints: Sequence[E]) -> bool:
        """Take note of *endpoints*; True when they are not the same sequence as last time."""
        if endpoints is self._seen:
            return False
        self._seen = endpoints
        self.usable = frozenset([endpoint.key for endpoint in endpoints])
        changed = False
        for endpoint in endpoints:
            if self._known.get(endpoint.key) is not endpoint:
                self._known[endpoint.key] = endpoint
                changed = True
        if len(self._known) > 2 * len(endpoints) + _SLACK:
            # Discovery may bring new addresses for ever; those long gone are dropped together.
            self._known = {endpoint.key: endpoint for endpoint in endpoints}
            changed = True
        if changed:
            self.members = sorted(self._known.values(), key=_place)
            self.version += 1
        return True


def _place(member: Member) -> tuple[int, str]:
    return member.index, member.key
