"""What gives way when a conversation grows too long: in one step, in the order of its policy (CRP 8.2, 8.3).

Whatever was elided stays so until the items themselves are gone: a window that slid back and forth would cost the cache
each time. Nothing here looks at the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tidegate.exchange.context import Elided, Item, item_type
from tidegate.exchange.context_policy import ContextPolicy, Keep, Step
from tidegate.exchange.fault import CLIENT, Fault

PLACEHOLDER: Final = "placeholder"
DROPPED: Final = "dropped"
PLACEHOLDER_TOKENS: Final = 30
"""What a placeholder costs, about."""


class Reduction:
    """``elided``: all that is now left out, item -> way; ``told``: what this step added to it; ``used`` tokens then."""

    __slots__ = ("elided", "told", "used")

    def __init__(self, elided: dict[str, str], told: list[Elided], used: int) -> None:
        self.elided: dict[str, str] = elided
        self.told: list[Elided] = told
        self.used: int = used


def limit_of(max_input: int, window: int, reserve: int) -> int:
    """Tokens a prompt may have; 0 for no limit known. *max_input* 0 is the *window* of the target at hand."""
    most = min(max_input, window) if max_input and window else max_input or window
    return max(1, most - reserve) if most else 0


def is_due(used: int, limit: int, policy: ContextPolicy) -> bool:
    """Has the prompt outgrown its trigger?"""
    return bool(limit) and used > policy.budget.trigger * limit


def reduce(
    history: Sequence[Item], elided: Mapping[str, str], used: int, limit: int, policy: ContextPolicy
) -> Reduction:
    """What is left out of *history*, so that a prompt of *used* tokens comes to ``target * limit`` or as near as the
    policy allows. Raises 413 ``context_overflow`` where what must stay exceeds *limit*."""
    work = _Work(history, elided, used, limit, policy)
    for step in policy.order:
        if work.used <= work.goal:
            break
        work.step(step)
    if work.used > limit and policy.on_overflow == "truncate":
        work.force()
    if work.used > limit:
        raise Fault(
            "context_overflow", f"What must be kept is {work.used} tokens; the model takes {limit}.", side=CLIENT
        )
    return Reduction(work.elided, list(work.told.values()), work.used)


def turns_of(history: Sequence[Item]) -> list[int]:
    """Where turns begin: at each message of the user."""
    return [place for place, item in enumerate(history) if item.type == "message" and item.role == "user"]


def protected(history: Sequence[Item], keep: Keep) -> set[int]:
    """The places that a reduction leaves alone: the first turns, the last turns, what is pinned or never elided, and
    the other half of such a pair."""
    starts = turns_of(history)
    places: set[int] = set()
    if keep.first_turns and starts:
        end = starts[keep.first_turns] if keep.first_turns < len(starts) else len(history)
        places.update(range(end))
    if keep.last_turns and starts:
        places.update(range(starts[max(0, len(starts) - keep.last_turns)], len(history)))
    for place, item in enumerate(history):
        if (item.pinned and keep.pinned == "always") or _elide(item) == "never":
            places.add(place)
    return _with_partners(history, places)


def _with_partners(history: Sequence[Item], places: set[int]) -> set[int]:
    calls = {history[place].call_id for place in places if history[place].call_id}
    if calls:
        places |= {place for place, item in enumerate(history) if item.call_id in calls}
    return places


def _elide(item: Item) -> str:
    """How *item* gives way: its own word, else its type's."""
    if item.elide:
        return item.elide
    row = item_type(item.type)
    return row.elide if row is not None else "drop"


def cost(item: Item, way: str | None) -> int:
    """Tokens of *item* in the history, elided in this *way* (None: not at all)."""
    if way is None:
        return item.tokens
    return min(item.tokens, PLACEHOLDER_TOKENS) if way == PLACEHOLDER else 0


class _Work:
    def __init__(
        self, history: Sequence[Item], elided: Mapping[str, str], used: int, limit: int, policy: ContextPolicy
    ) -> None:
        self.history = history
        self.elided: dict[str, str] = dict(elided)
        self.told: dict[str, Elided] = {}
        self.used = used
        self.limit = limit
        self.goal = int(policy.budget.target * limit)
        self.policy = policy
        self.kept: set[int] = protected(history, policy.keep)
        self.pairs: dict[str, list[int]] = {}
        for place, item in enumerate(history):
            if item.call_id:
                self.pairs.setdefault(item.call_id, []).append(place)

    def step(self, step: Step) -> None:
        """One step, unless it frees too little to be worth a new prefix."""
        plan = self._plan(step)
        could = sum([self._frees(place, way) for place, way in plan])
        if not could or (could < self.policy.min_reclaim * self.limit and self.used <= self.limit):
            return
        self._take(plan, step, self.goal)

    def force(self) -> None:
        """The prompt exceeds the limit and may be cut (``on_overflow: truncate``): kept turns go, the oldest first;
        then, only as far as the limit asks, what is pinned or never elided."""
        firm = {
            place for place, item in enumerate(self.history)
            if (item.pinned and self.policy.keep.pinned == "always") or _elide(item) == "never"
        }  # fmt: skip
        firm = _with_partners(self.history, firm)
        loose = [place for place in range(len(self.history)) if place not in firm]
        self._take([(place, DROPPED) for place in loose], "overflow", self.goal)
        if self.used > self.limit:
            self._take(self._in_order(firm, DROPPED), "overflow", self.limit)

    def _plan(self, step: Step) -> list[tuple[int, str]]:
        """What *step* would elide, the first victim first."""
        free = [place for place in range(len(self.history)) if place not in self.kept]
        if step == "clear_tool_results":
            return [(place, PLACEHOLDER) for place in free if self.history[place].type == "tool_result"]
        if step == "drop_reasoning":
            return [(place, DROPPED) for place in free if self.history[place].type == "reasoning"]
        if step == "dedupe_documents":
            return [(place, PLACEHOLDER) for place in self._doubles(free)]
        if step == "drop_oldest":
            return self._in_order(free, "") + self._in_order(free, DROPPED)
        return []  # ``summarize`` happens between turns; this turn falls back to the next step (CRP 8.5)

    def _in_order(self, places: Iterable[int], way: str) -> list[tuple[int, str]]:
        """By (pinned, priority, rank of the type, age). *way* "" is each item's own."""
        found: list[tuple[bool, int, int, int]] = []
        for place in places:
            item = self.history[place]
            row = item_type(item.type)
            found.append((item.pinned, item.priority, row.rank if row is not None else 0, place))
        found.sort()
        return [(row[3], way or self._own_way(self.history[row[3]])) for row in found]

    def _own_way(self, item: Item) -> str:
        return PLACEHOLDER if _elide(item) == "placeholder" else DROPPED

    def _doubles(self, free: list[int]) -> list[int]:
        """Documents that stand again further down."""
        last: dict[bytes, int] = {}
        for place, item in enumerate(self.history):
            if item.type == "document":
                last[item.content] = place
        return [
            place for place in free
            if self.history[place].type == "document" and last[self.history[place].content] != place
        ]  # fmt: skip

    def _frees(self, place: int, way: str) -> int:
        item = self.history[place]
        return max(0, cost(item, self.elided.get(item.id)) - cost(item, way))

    def _take(self, plan: list[tuple[int, str]], reason: str, goal: int) -> None:
        for place, way in plan:
            if self.used <= goal:
                return
            item = self.history[place]
            if item.call_id and (way == DROPPED or item.type == "tool_call"):
                for each in self.pairs[item.call_id]:  # halves of a pair go the same way
                    self._elide(each, way, reason)
            else:
                self._elide(place, way, reason)

    def _elide(self, place: int, way: str, reason: str) -> None:
        item = self.history[place]
        if self.elided.get(item.id) in (way, DROPPED):
            return
        self.used -= self._frees(place, way)
        self.elided[item.id] = way
        self.told[item.id] = Elided(item.id, item.type, item.tokens, way, reason)  # type: ignore[arg-type]
