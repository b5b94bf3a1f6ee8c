"""Who waits, in which order, and who gives way, while an upstream is full (S22.1-S22.5).

Four levels served by deficit round robin; inside a level 16 sub-queues, of which a tenant hashes to two and joins the
shorter one. A queue that stays long turns: newest first, and the low levels lose their old entries (S22.5).
"""

from __future__ import annotations

from collections import deque
from typing import Final

LEVELS: Final = 4
SHARES: Final = (8, 4, 2, 1)
SUB_QUEUES: Final = 16

TARGET: Final = 0.005
INTERVAL: Final = 0.1
OLD: Final = 0.1
LOW: Final = 2
"""From this level on, entries older than ``OLD`` are dropped while the queue is turned."""
LEAST_WAIT: Final = 1.0
MOST_WAIT: Final = 30.0
NEVER: Final = float("inf")


class Entry:
    """One that waits. *item* is the owner's; *deadline* 0.0: none."""

    __slots__ = ("deadline", "item", "level", "place", "since", "tenant")

    def __init__(self, item: object, level: int, tenant: str, since: float, deadline: float = 0.0) -> None:
        self.item = item
        self.level = min(max(level, 0), LEVELS - 1)
        self.tenant = tenant
        self.since = since
        self.deadline = deadline
        self.place = -1
        """Its sub-queue, -1 while it is in none."""


class PriorityQueue:
    """At most *max_waiting* entries, each level a quarter of them, none longer than *max_wait* seconds.

    A level is NORMAL or TURNED (``turned``), decided each 100 ms by the shortest wait of those that left it. Levels are
    judged apart, because the first ones wait little however long the last ones stand.
    """

    __slots__ = (
        "bound", "credits", "depth", "interval_end", "max_wait", "max_waiting", "queues", "rate", "served",
        "served_since", "shortest", "strict", "total", "turned", "turns",
    )  # fmt: skip

    def __init__(self, max_waiting: int, max_wait: float, strict: bool = False) -> None:
        self.configure(max_waiting, max_wait, strict)
        self.queues: list[list[deque[Entry]]] = [[deque() for _ in range(SUB_QUEUES)] for _ in range(LEVELS)]
        self.depth = [0] * LEVELS
        self.total = 0
        self.turns = [0] * LEVELS
        self.credits = list(SHARES)
        self.turned = [False] * LEVELS
        self.shortest = [NEVER] * LEVELS
        self.interval_end = [NEVER] * LEVELS
        self.served = 0
        self.served_since = 0.0
        self.rate = 0.0

    def configure(self, max_waiting: int, max_wait: float, strict: bool) -> None:
        """New settings on a reload; who waits, waits on."""
        self.max_waiting = max_waiting
        self.max_wait = max_wait
        self.strict = strict
        self.bound = max(1, max_waiting // LEVELS)

    # -- in ------------------------------------------------------------------------------------------------------

    def offer(self, entry: Entry, now: float) -> Entry | None:
        """Let *entry* wait. Returns who has to go for it: an entry that gives way, the newcomer itself, or None.

        A full level takes its place from the newest entry of the lowest level below it (S22.3).
        """
        level = entry.level
        loser: Entry | None = None
        if self.depth[level] >= self.bound or self.total >= self.max_waiting:
            loser = self._newest_below(level)
            if loser is None:
                return entry
            self.remove(loser)
        if self.depth[level] == 0:
            self.interval_end[level] = now + INTERVAL
            self.shortest[level] = NEVER
        if self.total == 0:
            self.served = 0
            self.served_since = now
        queues = self.queues[level]
        digest = hash(entry.tenant)
        first = digest & 15
        second = (first + 1 + (digest >> 4) % 15) & 15
        place = first if len(queues[first]) <= len(queues[second]) else second
        entry.place = place
        queues[place].append(entry)
        self.depth[level] += 1
        self.total += 1
        return loser

    def _newest_below(self, level: int) -> Entry | None:
        for lower in range(LEVELS - 1, level, -1):
            if self.depth[lower]:
                newest: Entry | None = None
                for queue in self.queues[lower]:
                    if queue and (newest is None or queue[-1].since >= newest.since):
                        newest = queue[-1]
                return newest
        return None

    # -- out -----------------------------------------------------------------------------------------------------

    def take(self, now: float, held: dict[str, int], half: int) -> Entry | None:
        """The next to be served, or None. Entries of a tenant that holds at least *half* (``held`` counts by tenant)
        are passed over; ask again with *half* 0, which passes over nobody, when nobody else waits (S13.9)."""
        self._pulse(now)
        if self.total == 0:
            return None
        if self.strict and self.depth[0]:
            entry = self._from(0, held, half)
            if entry is not None:
                return self._served(entry, now)
        for _ in range(2):
            for level in range(LEVELS):
                if self.depth[level] and self.credits[level] > 0:
                    entry = self._from(level, held, half)
                    if entry is not None:
                        self.credits[level] -= 1
                        return self._served(entry, now)
            self.credits = list(SHARES)
        return None

    def _from(self, level: int, held: dict[str, int], half: int) -> Entry | None:
        """The next of *level*: sub-queues take turns; the oldest of one, or the newest while the queue is turned."""
        queues = self.queues[level]
        turn = self.turns[level]
        for step in range(1, SUB_QUEUES + 1):
            place = (turn + step) % SUB_QUEUES
            queue = queues[place]
            if queue:
                entry = queue[-1] if self.turned[level] else queue[0]
                if half and held.get(entry.tenant, 0) >= half:
                    continue
                self.turns[level] = place
                return entry
        return None

    def _served(self, entry: Entry, now: float) -> Entry:
        wait = now - entry.since
        if wait < self.shortest[entry.level]:
            self.shortest[entry.level] = wait
        self.served += 1
        self.remove(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """Take *entry* out, wherever it stands (withdrawn, given way). Nothing happens when it is in no queue."""
        place = entry.place
        if place < 0:
            return
        queue = self.queues[entry.level][place]
        if queue[0] is entry:
            queue.popleft()
        elif queue[-1] is entry:
            queue.pop()
        else:
            queue.remove(entry)
        entry.place = -1
        self.total -= 1
        left = self.depth[entry.level] - 1
        self.depth[entry.level] = left
        if left == 0:
            self.turned[entry.level] = False
            self.interval_end[entry.level] = NEVER

    def expire(self, now: float) -> list[tuple[Entry, str]]:
        """Who has waited long enough, each with the reason ``queue_timeout`` or, while turned, ``shed``."""
        self._pulse(now)
        gone: list[tuple[Entry, str]] = []
        if self.total == 0:
            return gone
        for level in range(LEVELS):
            if not self.depth[level]:
                continue
            turned = self.turned[level] and level >= LOW
            longest = min(OLD, self.max_wait) if turned else self.max_wait
            for queue in self.queues[level]:
                while queue and now - queue[0].since >= longest:
                    entry = queue[0]
                    self.remove(entry)
                    gone.append((entry, "queue_timeout" if now - entry.since >= self.max_wait else "shed"))
        return gone

    # -- how it goes ---------------------------------------------------------------------------------------------

    def _pulse(self, now: float) -> None:
        """Each 100 ms: a shortest wait over 5 ms means that the level stands (CoDel). It stays turned until it has run
        empty: newest first makes short waits by itself, so they no longer prove anything."""
        for level in range(LEVELS):
            if now >= self.interval_end[level]:
                if self.shortest[level] > TARGET:
                    self.turned[level] = True
                self.shortest[level] = NEVER
                self.interval_end[level] = now + INTERVAL
        elapsed = now - self.served_since
        if self.total and elapsed >= 0.5:
            fresh = self.served / elapsed
            self.rate = fresh if self.rate == 0.0 else 0.5 * self.rate + 0.5 * fresh
            self.served = 0
            self.served_since = now

    def estimate(self, level: int) -> float:
        """Seconds that a newcomer of *level* would wait, within 1-30: for ``Retry-After``."""
        ahead = sum(self.depth[: min(max(level, 0), LEVELS - 1) + 1])
        if self.rate <= 0.0:
            return LEAST_WAIT
        return min(MOST_WAIT, max(LEAST_WAIT, ahead / self.rate))
