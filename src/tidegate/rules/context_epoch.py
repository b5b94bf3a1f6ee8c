"""What is frozen of a conversation's prompt while an epoch lasts, and why the next one must begin (CRP 7.2, 7.4).

A function of the log alone: whoever folds the same entries has the same prefix, on any worker, at any time (I6).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tidegate.exchange.context import (
    Added,
    Change,
    EpochBegun,
    Item,
    Marked,
    Removed,
    Revised,
    Summed,
    TemplateChanged,
    View,
)
from tidegate.rules.context_words import RENDERERS
from tidegate.rules.item_messages import SAID
from tidegate.rules.item_selector import alive, valid_at

FACTS: Final = frozenset({"fact", "preference", "event", "place"})
"""Types that stand in the block of the epoch, or in the tail when they have changed since."""
TOLD: Final = SAID | {"document", "media"}
"""Types that stand in the history, where they were added."""


class Told:
    """The history of an epoch as it is sent. Lines of versions that continue each other share one, which only grows;
    a fork has its own. ``cuts``: where the assistant begins to speak; ``segments``: what writers made of it, by
    target (``context_segments``)."""

    __slots__ = ("cuts", "items", "segments")

    def __init__(self, items: list[Item]) -> None:
        self.items: list[Item] = items
        self.cuts: list[int] = []
        self.segments: dict[str, object] = {}
        self.cut(0)

    def cut(self, first: int) -> None:
        """Find the beginnings among the items from *first* on."""
        items = self.items
        for place in range(max(first, 1), len(items)):
            if _by_assistant(items[place]) and not _by_assistant(items[place - 1]):
                self.cuts.append(place)


def _by_assistant(item: Item) -> bool:
    return item.role == "assistant" or item.type in ("tool_call", "reasoning")


class Frozen:
    """The prefix of one epoch, as of one version. Never changes; ``after`` makes the next one.

    begun   how the epoch began
    facts   what its block says, by id, in the revision it was written with
    sums    its summaries
    told    the history, each item in the revision it was first sent with, elided ones as what is left of them
    count   how many of ``told.items`` are of this version; ``tokens`` of those
    stale   ids of items whose words have changed since: the tail has the new ones
    broken  why a new epoch must begin, "" for no reason
    ends    when the first of its items outlives its ``ttl``, in milliseconds; 0 for never
    """

    __slots__ = ("begun", "broken", "count", "ends", "facts", "stale", "sums", "tokens", "told")

    def __init__(
        self, begun: EpochBegun, facts: dict[str, Item], sums: tuple[Item, ...], told: Told, count: int, tokens: int,
        stale: frozenset[str], broken: str, ends: int,
    ) -> None:  # fmt: skip
        self.begun: EpochBegun = begun
        self.facts: dict[str, Item] = facts
        self.sums: tuple[Item, ...] = sums
        self.told: Told = told
        self.count: int = count
        self.tokens: int = tokens
        self.stale: frozenset[str] = stale
        self.broken: str = broken
        self.ends: int = ends

    def last_chunk(self) -> int:
        """Where the last turn of the assistant begins, 0 without one: what stands before it is written once."""
        cuts = self.told.cuts
        at = bisect_left(cuts, self.count)
        return cuts[at - 1] if at else 0

    def after(self, changes: Iterable[Change], tell: Callable[[Item], Item | None]) -> Frozen:
        """This prefix once *changes* have been logged; ``EpochBegun`` is passed over (``begin`` is for that). *tell*
        says how an item stands in the history."""
        added: list[Item] = []
        stale = self.stale
        broken = self.broken
        known: set[str] | None = None
        for change in changes:
            if isinstance(change, Added):
                for item in change.items:
                    told = tell(item) if item.type in TOLD else None
                    if told is not None:
                        added.append(told)
                    elif item.type == "summary":
                        broken = broken or "compaction"
            elif isinstance(change, Revised):
                if change.item.type == "redacted":
                    broken = broken or "redaction"
                elif change.item.privacy == "secret":
                    broken = broken or "privacy"  # what stands in the prefix may not be sent again
                if not self._says(change.item):
                    stale = stale | {change.item.id}
            elif isinstance(change, Marked):
                if change.privacy == "secret":
                    broken = broken or "privacy"
            elif isinstance(change, Summed):
                broken = broken or "compaction"
            elif isinstance(change, Removed):
                if known is None:
                    known = {item.id for item in self.told.items[: self.count]} | {item.id for item in self.sums}
                    known.update([item.id for item in added])
                if not known.isdisjoint(change.ids):
                    broken = broken or "removed"
            elif isinstance(change, TemplateChanged):
                broken = broken or "template"
        told_now = self.told
        ends = self.ends
        tokens = self.tokens
        if added:
            if len(told_now.items) != self.count:
                told_now = Told(told_now.items[: self.count])  # another version continued this one
            told_now.items += added
            told_now.cut(self.count)
            ends = first_end(added, ends)
            tokens += sum([item.tokens for item in added])
        return Frozen(self.begun, self.facts, self.sums, told_now, self.count + len(added), tokens, stale, broken, ends)

    def _says(self, item: Item) -> bool:
        """Does the prefix hold the words of *item* as they are? One whose class has risen is only written anew."""
        return item.id not in self.stale and any(
            told.id == item.id and (told.content, told.name) == (item.content, item.name)
            for told in self.told.items[: self.count]
        )

    def reason(self, dialect: str, system: str, tools: str, now: int) -> str:
        """Why the next call must begin an epoch, "" when it need not. *dialect* "": it is no matter."""
        begun = self.begun
        if self.broken:
            return self.broken
        if begun.renderer not in RENDERERS:
            return "renderer"
        if dialect and begun.dialect != dialect:
            return "dialect"
        if begun.system != system:
            return "system"
        if begun.tools != tools:
            return "tools"
        if self.ends and now >= self.ends:
            return "expired"
        return ""


def begin(view: View, begun: EpochBegun, told: Sequence[Item]) -> Frozen:
    """The prefix of the epoch that *begun* began, over *view*; *told* is its history, as it stands there."""
    facts: dict[str, Item] = {}
    sums: list[Item] = []
    for item in view.items:
        if item.type == "summary":
            if alive(item, begun.at):
                sums.append(item)
        elif (
            item.type in FACTS
            and alive(item, begun.at)
            and valid_at(item, begun.at)
            and (not item.key or view.by_key.get(item.key) == view.by_id[item.id])
        ):
            facts[item.id] = item
    turns = [item for item in told if not item.ttl or alive(item, begun.at)]
    ends = first_end((*facts.values(), *sums, *turns), 0)
    tokens = sum([item.tokens for item in turns])
    return Frozen(begun, facts, tuple(sums), Told(turns), len(turns), tokens, frozenset(), "", ends)


def first_end(items: Iterable[Item], ends: int) -> int:
    """The earliest of *ends* and of the times at which *items* outlive their ``ttl``; 0 for none."""
    for item in items:
        if item.ttl:
            end = item.recorded + item.ttl * 1000
            if not ends or end < ends:
                ends = end
    return ends


def begun_in(changes: Iterable[Change]) -> EpochBegun | None:
    """The epoch among *changes*."""
    for change in changes:
        if isinstance(change, EpochBegun):
            return change
    return None
