"""Is a list of messages the history sent again (CRP 3.1 ``on_resend``)? A client that only names a context in a field
still sends all it knows; what is kept already must not be added a second time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tidegate.exchange.context import Item

SAID: Final = frozenset({"message", "tool_call", "tool_result"})
"""Types that any client sends back. Reasoning is not compared: most clients drop it."""

ENOUGH: Final = 2
"""Equal items at the start that make a list the history and no chance."""


class Resent(NamedTuple):
    """``known``: how many of the sent items are kept already. ``diverged``: the list begins as the history does, and
    then goes another way or stops short of it."""

    known: int
    diverged: bool


NEW: Final = Resent(0, False)


def resent(kept: Sequence[Item], sent: Sequence[Item]) -> Resent:
    """How *sent* relates to the *kept* items of the branch, both in order. A single message that equals a single kept
    one is history only when more follows it: people say the same thing twice."""
    stored = (item for item in kept if item.type in SAID)
    expected = next(stored, None)
    known = place = 0
    for item in sent:
        if item.type not in SAID:
            known += 1
            continue
        if expected is None or not _same(expected, item):
            break
        expected = next(stored, None)
        place += 1
        known += 1
    whole = expected is None
    if place < ENOUGH and not (place and whole and known < len(sent)):
        return NEW
    if not whole or known == len(sent):
        return Resent(known, True)
    return Resent(known, False)


def _same(one: Item, two: Item) -> bool:
    return (
        one.type == two.type
        and one.role == two.role
        and one.call_id == two.call_id
        and one.name == two.name
        and one.content == two.content
    )
