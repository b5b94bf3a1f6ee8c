"""The circuit breaker of one upstream, one for the whole node (S13.7).

``rules/circuit_window`` decides. In here is what makes the workers of a node act as one: results lie in every worker's
ring in the shared segment and are merged only after a failed or slow call; whoever changes the state says so in its own
row, and the newest word of all rows is what holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final

from tidegate.engine.segment import BREAKER, PROBES, RING, Row
from tidegate.exchange.fault import NOT_PROCESSED, Fault
from tidegate.ports.plan import BreakerPlan
from tidegate.rules.circuit_window import (
    CLOSED,
    DISABLED,
    HALF_OPEN,
    HALF_OPEN_WAIT,
    OPEN,
    PERMITTED,
    STATES,
    CircuitWindow,
    Results,
)

NEVER: Final = float("inf")
REREAD: Final = 0.005
"""Seconds between two looks at the other rows' states (ARCHITECTURE 11)."""
SAME_CHANGE: Final = 0.1
"""Two workers that move to the same state within this time mean the same change."""

AskPermit = Callable[[float], "bool | None"]
"""Asked at a time for one half-open permit of the node: True granted, False not (yet), None when the authority cannot
be reached. Never waits: its owner asks over the link and says False until the answer is there."""


class SharedCount(Results):
    """The last *size* results over all rows. A word is the time in microseconds, a slow bit and a failed bit; every row
    keeps its own last *size*, so the node's last *size* are always among them."""

    __slots__ = ("at", "floor", "others", "own", "size", "words")

    def __init__(self, row: Row, offset: int, size: int) -> None:
        self.words: memoryview[int] = row.words
        self.own = row.base + offset + RING
        self.others: tuple[int, ...] = tuple(base + offset + RING for base in row.others)
        self.size = max(1, min(size, row.segment.ring))
        self.at = 0
        self.floor = 0
        """Words up to this one were written before the window began."""

    def add(self, now: float, failed: bool, slow: bool) -> None:
        at = self.at
        self.words[self.own + at] = int(now * 1e6) << 2 | (2 if slow else 0) | (1 if failed else 0)
        at += 1
        self.at = at if at < self.size else 0

    def totals(self, now: float) -> tuple[int, int, int]:
        words, size, floor = self.words, self.size, self.floor
        found = words[self.own : self.own + size].tolist()
        for start in self.others:
            found += words[start : start + size].tolist()
        # the newest first of all: what is left to look at is then no longer than one window
        found.sort()
        found = found[-size:]
        if found[0] <= floor:
            found = found[bisect_right(found, floor) :]
        flags = [word & 3 for word in found]
        both = flags.count(3)
        return len(flags), flags.count(1) + both, flags.count(2) + both

    def restart(self, now: float) -> None:
        self.floor = (int(now * 1e6) << 2) - 1

    def keep(self, old: SharedCount) -> None:
        """Go on in the same ring with another size. A smaller one takes the newest of our own to its front; what a
        larger one finds behind the old end is older than ``floor`` or was read as old before."""
        own = sorted(self.words[self.own : self.own + old.size].tolist())[-self.size :]
        own = [word for word in own if word]
        room = max(self.size, old.size)
        for place in range(room):
            self.words[self.own + place] = own[place] if place < len(own) else 0
        self.floor = old.floor
        self.at = len(own) % self.size


class SharedTime(Results):
    """The results of the last *size* seconds over all rows, in buckets of two words: second ‖ calls, failed ‖ slow.
    Where the ring has no room for so many buckets of one second, they are longer."""

    __slots__ = ("buckets", "calls", "current", "failed", "floor", "others", "own", "slow", "width", "words")

    def __init__(self, row: Row, offset: int, size: int) -> None:
        self.words: memoryview[int] = row.words
        self.own = row.base + offset + RING
        self.others: tuple[int, ...] = tuple(base + offset + RING for base in row.others)
        room = max(1, row.segment.ring // 2)
        self.width = -(-max(1, size) // room)
        self.buckets = max(1, size // self.width)
        self.current = -1
        self.floor = 0
        self.calls = 0
        self.failed = 0
        self.slow = 0

    def add(self, now: float, failed: bool, slow: bool) -> None:
        number = int(now) // self.width
        if number != self.current:
            self.current = number
            self.calls = self.failed = self.slow = 0
        self.calls += 1
        self.failed += 1 if failed else 0
        self.slow += 1 if slow else 0
        place = self.own + number % self.buckets * 2
        self.words[place + 1] = self.failed << 32 | self.slow
        self.words[place] = number << 32 | self.calls

    def totals(self, now: float) -> tuple[int, int, int]:
        oldest = max(int(now) // self.width - self.buckets + 1, self.floor)
        span = self.buckets * 2
        calls = failed = slow = 0
        for start in (self.own, *self.others):
            words = self.words[start : start + span].tolist()
            for place in range(0, span, 2):
                head = words[place]
                if head >> 32 >= oldest and head:
                    calls += head & 0xFFFFFFFF
                    failed += words[place + 1] >> 32
                    slow += words[place + 1] & 0xFFFFFFFF
        return calls, failed, slow

    def restart(self, now: float) -> None:
        # a bucket that was begun before the change is left out whole: its second counts for neither state
        self.floor = int(now) // self.width + 1


class SharedProbes(Results):
    """Half-open results over all rows, one word each: begin of this half-open in ms ‖ calls ‖ failed ‖ slow."""

    __slots__ = ("calls", "failed", "others", "own", "reach", "slow", "tag", "words")

    def __init__(self, row: Row, offset: int, open_for: float) -> None:
        self.words: memoryview[int] = row.words
        self.own = row.base + offset + PROBES
        self.others: tuple[int, ...] = tuple(base + offset + PROBES for base in row.others)
        self.reach = int(open_for * 500.0)
        """Workers enter the same half-open some ms apart; the one before lies at least ``open_for`` back."""
        self.tag = 0
        self.calls = 0
        self.failed = 0
        self.slow = 0

    def add(self, now: float, failed: bool, slow: bool) -> None:
        self.calls = min(self.calls + 1, 255)
        self.failed = min(self.failed + (1 if failed else 0), 255)
        self.slow = min(self.slow + (1 if slow else 0), 255)
        self.words[self.own] = self.tag << 24 | self.calls << 16 | self.failed << 8 | self.slow

    def totals(self, now: float) -> tuple[int, int, int]:
        oldest = max(self.tag - self.reach, 0)
        calls = failed = slow = 0
        for place in (self.own, *self.others):
            word = self.words[place]
            if word and word >> 24 >= oldest:
                calls += word >> 16 & 0xFF
                failed += word >> 8 & 0xFF
                slow += word & 0xFF
        return calls, failed, slow

    def restart(self, now: float) -> None:
        self.tag = int(now * 1000.0)
        self.calls = self.failed = self.slow = 0


class Breaker:
    """Permission before each attempt, its result after it. One per upstream and worker.

    With ``scope: endpoint`` this one never opens: ``Health`` keeps a window per endpoint and ejects (S13.1).
    """

    __slots__ = (
        "ask_permit", "calls", "generation", "offset", "own", "plan", "published", "read_at", "row", "seen", "shared",
        "slots", "upstream", "window",
    )  # fmt: skip

    def __init__(
        self,
        plan: BreakerPlan,
        row: Row | None = None,
        slot: int = -1,
        *,
        upstream: str = "",
        ask_permit: AskPermit | None = None,
        now: float = 0.0,
    ) -> None:
        self.plan = plan
        self.upstream = upstream
        self.ask_permit = ask_permit
        self.row = row
        offset = -1 if row is None else row.upstream(slot)
        self.offset = offset
        self.seen = 0
        """The newest state word met or written."""
        self.calls: dict[str, int] = {"failed": 0, "slow": 0, "late": 0, "not_permitted": 0}
        """For ``breaker_calls_total``. Good calls are not counted here: they are the attempts less these."""
        self.shared = False
        self.own = -1
        self.slots: tuple[int, ...] = ()
        if row is not None and offset >= 0:
            self.own = row.base + offset + BREAKER
            self.slots = tuple(base + offset + BREAKER for base in row.others)
        self._start(plan, now)

    def _start(self, plan: BreakerPlan, now: float) -> None:
        row = self.row
        if plan.scope == "endpoint":
            self.shared = False
            self.window = CircuitWindow(plan, now)
            self.window.state = DISABLED
        elif row is None or self.own < 0:
            self.shared = False
            self.window = CircuitWindow(plan, now)
        else:
            self.shared = True
            probes = SharedProbes(row, self.offset, plan.open_for)
            self.window = CircuitWindow(plan, now, self._results(row, plan), probes)
        self.read_at = 0.0 if self.shared else NEVER
        self.published = self.window.generation

    def _results(self, row: Row, plan: BreakerPlan) -> Results:
        if plan.window_type == "time":
            return SharedTime(row, self.offset, plan.window)
        return SharedCount(row, self.offset, plan.window)

    # -- one attempt ---------------------------------------------------------------------------------------------

    def permit(self, now: float, draw: float) -> int:
        """A token for :meth:`record` or :meth:`release`; exactly one of them must follow. *draw* in [0, 1). Raises
        ``Fault`` ``upstream_unavailable`` / ``circuit_open`` with the remaining wait."""
        if now >= self.read_at:
            self._read_rows(now)
        window = self.window
        if window.state == CLOSED:
            return window.generation
        wait = self._shared_gate(now, draw) if self.shared else PERMITTED
        if wait < 0.0:
            wait = window.permit(now, draw)
            self._publish()
        if wait < 0.0:
            return window.generation
        self.calls["not_permitted"] += 1
        raise Fault(
            "upstream_unavailable",
            "The circuit breaker is open",
            reason="circuit_open",
            retry=NOT_PROCESSED,
            retry_after=wait,
        )

    def record(self, permit: int, now: float, seconds: float, failed: bool) -> None:
        """The attempt of *permit* ended after *seconds*; *failed* by S13.6 (the caller leaves out what is ignored there
        and calls :meth:`release` instead)."""
        window = self.window
        if permit != window.generation:
            self.calls["late"] += 1
            return
        slow = seconds > window.slow_after
        if self.shared and not failed and not slow and window.state == CLOSED:
            # a good call cannot pass a threshold: nothing is merged (S13.7)
            window.results.add(now, False, False)
            return
        if failed:
            self.calls["failed"] += 1
        if slow:
            self.calls["slow"] += 1
        window.record(permit, now, seconds, failed)
        if window.generation != self.published:
            self._publish()

    def release(self, permit: int, now: float) -> None:
        """The attempt was cancelled by its client, or its outcome is ignored (S13.5, S13.6)."""
        self.window.release(permit, now)

    # -- the node ------------------------------------------------------------------------------------------------

    def _shared_gate(self, now: float, draw: float) -> float:
        """Half-open permits are the node's, not this worker's: ``PERMITTED`` or the wait."""
        window = self.window
        state = window.state
        if state == OPEN:
            wait = window.wait(now, draw)
            if wait > 0.0:
                return wait
        elif state != HALF_OPEN:
            return PERMITTED
        granted: bool | None = None
        if self.ask_permit is not None:
            granted = self.ask_permit(now)
        if granted is False:
            return HALF_OPEN_WAIT
        if granted is None and state == HALF_OPEN and self.slots and window.granted > window.returned:
            # no authority: one probe per worker, then wait for its result; but not for ever
            return PERMITTED if now - window.heard >= window.half_open_for else HALF_OPEN_WAIT
        return PERMITTED

    def _read_rows(self, now: float) -> None:
        """Take over the newest change of state that another worker has made."""
        self.read_at = now + REREAD
        row = self.row
        if row is None:
            return
        words = row.words
        newest = self.seen
        for place in self.slots:
            word = words[place]
            if word > newest:
                newest = word
        if newest == self.seen:
            return
        self.seen = newest
        state, since = newest & 7, (newest >> 3) / 1e6
        window = self.window
        if window.state > OPEN or state > OPEN or (state == window.state and since - window.since < SAME_CHANGE):
            return
        window.move(state, since)
        self.published = window.generation

    def _publish(self) -> None:
        """Say the new state in our own row."""
        window = self.window
        if window.generation == self.published:
            return
        self.published = window.generation
        row = self.row
        if row is not None and self.shared:
            word = int(window.since * 1e6) << 3 | window.state
            row.words[self.own] = word
            self.seen = max(self.seen, word)

    def force(self, state: int, now: float) -> None:
        """The operator's hand: enter *state* and tell the node."""
        self.window.move(state, now)
        self._publish()

    # -- for people and reloads ----------------------------------------------------------------------------------

    def state(self, now: float = 0.0) -> str:
        """``closed half_open open forced_open disabled metrics_only``; with *now*, after a look at the other rows."""
        if now >= self.read_at:
            self._read_rows(now)
        return STATES[self.window.state]

    def explain(self, now: float) -> dict[str, Any]:
        """JSON-ready: state, seconds in it, rates (-1: too few calls), calls in the window, wait."""
        state = self.state(now)
        window = self.window
        calls, failed, slow = window.results.totals(now)
        failure_rate, slow_rate = window.rates(now)
        return {
            "state": state,
            "since_s": round(now - window.since, 3),
            "calls": calls,
            "failed": failed,
            "slow": slow,
            "failure_rate": round(failure_rate, 2),
            "slow_rate": round(slow_rate, 2),
            "retry_after_s": round(max(0.0, window.wait(now, 0.0)), 3) if window.state == OPEN else 0.0,
            "not_permitted": self.calls["not_permitted"],
        }

    def apply(self, plan: BreakerPlan, now: float) -> None:
        """A reload: state and results stay, changed thresholds judge the kept window anew (S13.7). A window of another
        size keeps its newest results, one of another type begins empty."""
        before = self.plan
        if plan == before:
            return
        self.plan = plan
        window = self.window
        if "endpoint" in (plan.scope, before.scope):
            if plan.scope != before.scope:
                self._start(plan, now)
            return
        if self.row is not None and self.shared:
            if (plan.window, plan.window_type) != (before.window, before.window_type):
                old = window.results
                window.results = self._results(self.row, plan)
                if isinstance(old, SharedCount) and isinstance(window.results, SharedCount):
                    window.results.keep(old)
                else:
                    window.results.restart(now)
            if isinstance(window.probes, SharedProbes):
                window.probes.reach = int(plan.open_for * 500.0)
        window.configure(plan, now)
        self._publish()
