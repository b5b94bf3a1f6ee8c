"""Admission: may this request be in flight to its upstream now, or does it wait, or is it refused (S13.9, S22).

The rules decide (``rules/priority_queue``, ``rules/load_shedding``); here they meet the journeys that wait.

The node-wide ``max_in_flight`` and ``max_waiting`` are divided by the number of workers. In-flight sums of the shared
segment are not used: they are up to 5 ms old, and a bound that a burst can pass in 5 ms is none.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.engine.steps import Steps, Wait
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import NOT_PROCESSED, Fault
from tidegate.ports.plan import BulkheadPlan
from tidegate.rules.load_shedding import AdaptiveLimit
from tidegate.rules.priority_queue import LEVELS, Entry, PriorityQueue

DETAILS: Final = {
    "bulkhead_full": "The upstream has all the requests it may have.",
    "queue_full": "Too many requests wait for the upstream.",
    "queue_timeout": "The request waited too long for the upstream.",
    "shed": "The upstream is overloaded and the request had waited long already.",
}


class Ticket:
    """One exchange in the queue."""

    __slots__ = ("admission", "entry", "exchange", "wait")

    def __init__(self, admission: Admission, x: Exchange, wait: Wait) -> None:
        self.admission = admission
        self.exchange = x
        self.wait = wait
        self.entry: Entry | None = None

    def withdraw(self) -> None:
        """The journey was cancelled while it waited. (One admitted meanwhile goes on to its next wait, and leaves.)"""
        entry = self.entry
        if entry is not None:
            self.entry = None
            self.admission.queue.remove(entry)


class Admission:
    """The bulkhead of one upstream in one worker, its queue and its adaptive limit.

    Whole mutable state: ``in_flight`` and ``held`` (the same by tenant), the queue, the adaptive limit, and a counter
    for metrics: ``refused`` by (level, reason).
    """

    __slots__ = (
        "adaptive", "held", "in_flight", "limit", "plan", "queue", "refused", "share", "steps", "workers",
    )  # fmt: skip

    def __init__(self, plan: BulkheadPlan, steps: Steps, workers: int = 1, now: float = 0.0) -> None:
        self.steps = steps
        self.workers = max(1, workers)
        self.in_flight = 0
        self.held: dict[str, int] = {}
        self.refused: dict[tuple[int, str], int] = {}
        self.adaptive: AdaptiveLimit | None = AdaptiveLimit(self.workers, now) if plan.adaptive else None
        self.queue = PriorityQueue(self._waiting(plan), plan.max_wait, plan.strict)
        self.plan = plan
        self.share = self._share(plan)
        self.limit = self._limit()
        """What holds now: the smaller of the worker's share and the adaptive limit."""

    def _share(self, plan: BulkheadPlan) -> int:
        return max(1, plan.max_in_flight // self.workers)

    def _waiting(self, plan: BulkheadPlan) -> int:
        return max(LEVELS, plan.max_waiting // self.workers) if plan.max_waiting > 0 else 0

    def _limit(self) -> int:
        adaptive = self.adaptive
        return self.share if adaptive is None else min(self.share, adaptive.limit)

    def apply(self, plan: BulkheadPlan, now: float) -> None:
        """A reload: new bounds; who is in flight or waits, stays."""
        self.plan = plan
        self.share = self._share(plan)
        self.queue.configure(self._waiting(plan), plan.max_wait, plan.strict)
        if plan.adaptive != (self.adaptive is not None):
            self.adaptive = AdaptiveLimit(self.workers, now) if plan.adaptive else None
        self.limit = self._limit()
        self._serve(now)

    # -- the way in ----------------------------------------------------------------------------------------------

    def enter(self, x: Exchange, now: float) -> Wait | None:
        """None: admitted at once. Otherwise await what is returned, and then you are admitted; if that await raises,
        you are not, and :meth:`leave` must not be called. Raises ``Fault`` ``overloaded``: ``queue_full``,
        ``bulkhead_full``; the wait may raise it with ``queue_timeout``, ``queue_full`` (gave way) or ``shed``, or
        ``deadline_exceeded``."""
        tenant = "" if x.identity is None else x.identity.tenant
        if self.in_flight < self.limit and not self.queue.total:
            self.in_flight += 1
            self.held[tenant] = self.held.get(tenant, 0) + 1
            return None
        queue = self.queue
        if queue.max_waiting == 0:
            raise self._refusal(x.priority, "bulkhead_full")
        wait = Wait(self.steps)
        ticket = Ticket(self, x, wait)
        entry = Entry(ticket, x.priority, tenant, now, x.deadline)
        loser = queue.offer(entry, now)
        if loser is entry:
            raise self._refusal(entry.level, "queue_full")
        ticket.entry = entry
        wait.withdraw = ticket.withdraw
        if loser is not None:
            self._fail(loser, "queue_full", now)
        if self.in_flight < self.limit:
            self._serve(now)
        return wait

    def leave(self, x: Exchange, now: float, seconds: float, timed_out: bool = False) -> None:
        """An admitted exchange is over. *seconds* its time to the answer head for the adaptive limit, below 0.0 when it
        says nothing about the upstream (stream, tunnel, cancelled, refused before it was sent)."""
        adaptive = self.adaptive
        if adaptive is not None and seconds >= 0.0:
            adaptive.sample(now, seconds, self.in_flight, timed_out)
            self.limit = adaptive.limit if adaptive.limit < self.share else self.share
        self.give_back("" if x.identity is None else x.identity.tenant, now)

    def give_back(self, tenant: str, now: float) -> None:
        """One slot is free again; the next in the queue may have it."""
        self.in_flight -= 1
        left = self.held.get(tenant, 0) - 1
        if left > 0:
            self.held[tenant] = left
        else:
            self.held.pop(tenant, None)
        if self.queue.total:
            self._serve(now)

    # -- the queue -----------------------------------------------------------------------------------------------

    def _serve(self, now: float) -> None:
        queue = self.queue
        while queue.total and self.in_flight < self.limit:
            # S13.9: one tenant holds at most half while another waits
            entry = queue.take(now, self.held, max(1, self.limit // 2))
            if entry is None:
                entry = queue.take(now, self.held, 0)
                if entry is None:
                    return
            if entry.deadline and now >= entry.deadline:
                self._fail(entry, "deadline", now)
                continue
            self.in_flight += 1
            self.held[entry.tenant] = self.held.get(entry.tenant, 0) + 1
            ticket = entry.item
            assert isinstance(ticket, Ticket)
            ticket.exchange.queue_us = int((now - entry.since) * 1e6)
            ticket.wait.complete()

    def tick(self, now: float) -> None:
        """Each 10 ms while ``waiting``: waits that are over end with 503."""
        if not self.queue.total:
            return
        for entry, reason in self.queue.expire(now):
            self._fail(entry, reason, now)
        self._serve(now)

    @property
    def waiting(self) -> int:
        return self.queue.total

    def _fail(self, entry: Entry, reason: str, now: float) -> None:
        ticket = entry.item
        assert isinstance(ticket, Ticket)
        ticket.entry = None
        ticket.exchange.queue_us = int((now - entry.since) * 1e6)
        if reason == "deadline":
            ticket.wait.fail(
                Fault("deadline_exceeded", "The deadline passed while the request waited.", reason="queue")
            )
        else:
            ticket.wait.fail(self._refusal(entry.level, reason))

    def _refusal(self, level: int, reason: str) -> Fault:
        key = (level, reason)
        self.refused[key] = self.refused.get(key, 0) + 1
        return Fault(
            "overloaded",
            DETAILS[reason],
            reason=reason,
            retry=NOT_PROCESSED,
            retry_after=self.queue.estimate(level),
        )

    def explain(self) -> dict[str, Any]:
        """JSON-ready figures for ``/api/v1/status``."""
        return {
            "in_flight": self.in_flight,
            "limit": self.limit,
            "share": self.share,
            "waiting": list(self.queue.depth),
            "turned": list(self.queue.turned),
            "refused": {f"{level} {reason}": count for (level, reason), count in sorted(self.refused.items())},
        }
