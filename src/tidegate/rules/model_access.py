"""Which model a name means, and who may use it (LLM 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def matches(pattern: str, name: str) -> bool:
    """*pattern* is a name, or a name with one ``*`` that stands for anything."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == name
    return len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after)


def allowed(lists: Sequence[Sequence[str]], name: str) -> bool:
    """Every list has a pattern for *name*: a key only narrows what its consumer may. No list: everything."""
    return all(any(matches(pattern, name) for pattern in patterns) for patterns in lists)


def longest(patterns: Sequence[tuple[str, T]], name: str) -> T | None:
    """What stands behind the longest prefix of *name*; *patterns* are (prefix, value), the longest first."""
    for prefix, value in patterns:
        if name.startswith(prefix):
            return value
    return None


def within(bound: Sequence[str], regions: Sequence[str]) -> bool:
    """May a caller bound to the regions *bound* be served from *regions*? A target that names none serves only those
    who are bound to none."""
    return not bound or any(region in bound for region in regions)
