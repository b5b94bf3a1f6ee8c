"""Policies that are paid from leases, as a worker keeps them (S9.4): the hot path of every limit.

``take`` on a live lease is a subtraction. Otherwise it returns a coroutine that waits for a grant; a bucket has one ask
under way, and a "no" stands for the wait it names. Who is asked, and how, is not known here: see :class:`Door`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Protocol

from tidegate.exchange.fault import Fault
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.rules.gcra import Gcra
from tidegate.rules.quota_window import LONGEST

SLOT_WAIT: Final = 0.02
"""Seconds for which a "no" to a slot stands: nobody knows when one comes free."""
SLOT_RETRY: Final = 1.0
"""Seconds that a client refused a slot is told to wait."""
IDLE_SLOTS: Final = 1.0
"""Seconds that unused slots stay with the worker that had them."""
GAPS: Final = 8
"""Times without an authority that are remembered."""
SAME_GAP: Final = 1.0
"""Seconds between two takes admitted here that belong to one of them."""
STALE: Final = 3
"""Grants in a row that come after their end, until those who wait are answered here: the node is too busy to lend."""
SECOND: Final = 1_000_000_000
NOT_ASKED: Final = -1.0


class Waiter(Protocol):
    """One take that waits: ``engine/steps.Wait`` has this form."""

    done: bool

    def complete(self, value: Any = None) -> None: ...
    def fail(self, fault: BaseException) -> None: ...
    def __await__(self) -> Generator[Any, None, Any]: ...


class Door(Protocol):
    """What policies need of the worker's side of their authority; ``local`` has the meaning of each."""

    now: Callable[[], float]
    waiter: Callable[[], Waiter]
    workers: int
    most: int

    def reachable(self) -> bool: ...
    def ask(self, bucket: Bucket) -> None: ...
    def give(self, name: str, partition: str, lease: int, rest: int, taken: int = 0, sure: bool = False) -> None: ...
    def returning(self) -> bool: ...
    def hold(self, bucket: Bucket) -> None: ...
    def watch(self, bucket: Bucket, when: float) -> None: ...


class Bucket:
    """What the worker knows of one bucket.

    lease, granted, left, until   the lease: its id (0: none), its size, what is left of it, when it ends
    free, since, more             what the authority had left, when it said so, when more comes
    no_until, no_cost             asks of that cost or more are refused until then without a new ask
    pass_at                       when one of those can pass, as a client refused is told
    asked                         when the ask under way was sent; NOT_ASKED without one
    waiting                       takes that wait for it
    debt                          units admitted on our own while an answer was late; the next grant pays
    used                          slots in use (``concurrent``), ``granted`` being the slots held
    own                           the bucket of S9.6 while the authority is gone
    stale                         grants in a row that were over when they came
    watched                       the last hundredth of a second in which to look at it
    """

    __slots__ = (
        "asked", "debt", "free", "granted", "lease", "left", "more", "no_cost", "no_until", "own", "partition",
        "pass_at", "policy", "since", "stale", "until", "used", "waiting", "watched",
    )  # fmt: skip

    def __init__(self, policy: LeasedPolicy, partition: str) -> None:
        self.policy = policy
        self.partition = partition
        self.lease = 0
        self.granted = 0
        self.left = 0
        self.until = 0.0
        self.free = 0
        self.since = 0.0
        self.more = 0.0
        self.no_until = 0.0
        self.no_cost = 0
        self.pass_at = 0.0
        self.asked = NOT_ASKED
        self.debt = 0
        self.used = 0
        self.waiting: list[tuple[Waiter, int]] = []
        self.own: Gcra | None = None
        self.watched = -1
        self.stale = 0


class LeasedPolicy:
    """One policy of one worker. Its buckets come and go with their leases."""

    def __init__(self, limits: Door, spec: LimitSpec, number: int) -> None:
        self.limits = limits
        self.spec = spec
        self.number = number
        self.now = limits.now
        self.buckets: dict[str, Bucket] = {}
        self.capacity = (spec.burst or spec.amount) if spec.kind == "rate" else spec.amount
        """Units of a full bucket."""
        seconds = float(LONGEST[spec.calendar]) if spec.kind == "quota" else spec.per
        self.per = 0 if spec.kind == "concurrent" else max(1, round(seconds * SECOND))
        """W in nanoseconds."""
        self.windowed = spec.kind in ("fixed", "quota")
        """Its windows end at fixed moments, and what was charged in one is worth nothing in the next (S9.10)."""
        self.flow = spec.amount / spec.per if spec.kind == "rate" else 0.0
        """Units a second that come back by themselves."""
        self.step = spec.per / spec.amount if spec.kind == "rate" else 0.0
        """Seconds a unit (T), 0.0 where units come back otherwise."""
        self.alone: list[list[float]] = []
        """When takes were admitted here, at nobody's account: [from, to], the last ones."""
        self.figures = [spec.kind, spec.amount, self.per, self.capacity, spec.calendar, spec.zone]

    # -- the hot path ---------------------------------------------------------------------------------------------

    def take(self, partition: str, cost: int = 1) -> Verdict | Coroutine[Any, Any, Verdict]:
        """See ``ports/authority``. *cost* is not negative."""
        bucket = self.buckets.get(partition)
        if bucket is None:
            return self._take_later(partition, cost)
        left = bucket.left - cost
        if left >= 0:
            now = self.now()
            if now < bucket.until:
                return self._spend(bucket, left, cost, now)
        if cost >= bucket.no_cost:
            now = self.now()
            if now < bucket.no_until:
                return self._no(bucket, now)
        return self._take_later(partition, cost)

    def _spend(self, bucket: Bucket, left: int, cost: int, now: float) -> Verdict:
        bucket.left = left
        remaining = left + bucket.free
        step = self.step
        if step:
            remaining += int((now - bucket.since) * self.flow)
            most = self.capacity - cost
            return Verdict(True, remaining if remaining < most else most, step)
        reset = bucket.more - now
        return Verdict(True, remaining, reset if reset > 0.0 else 0.0)

    def _no(self, bucket: Bucket, now: float) -> Verdict:
        wait = bucket.pass_at - now
        remaining = bucket.left + bucket.free
        if self.step:
            return Verdict(False, remaining, min(self.step, wait), wait)
        return Verdict(False, remaining, max(0.0, min(bucket.more - now, wait)), wait)

    # -- asking -----------------------------------------------------------------------------------------------------

    def _take_later(self, partition: str, cost: int) -> Verdict | Coroutine[Any, Any, Verdict]:
        if cost > self.capacity:
            bucket = self.buckets.get(partition)
            remaining = self.capacity if bucket is None else bucket.left + bucket.free
            return Verdict(False, remaining, self.step, 0.0)
        bucket = self.bucket(partition)
        if self.limits.reachable():
            return self._wait(bucket, cost, self.limits.ask)
        verdict = self._alone(bucket, cost)
        if self._stands(verdict, cost):
            return verdict
        return self._wait(bucket, cost, self.limits.hold)

    async def _wait(self, bucket: Bucket, cost: int, ask: Callable[[Bucket], None]) -> Verdict:
        waiter = self.limits.waiter()
        bucket.waiting.append((waiter, cost))
        ask(bucket)
        verdict: Verdict = await waiter
        return verdict

    def _stands(self, verdict: Verdict, cost: int) -> bool:
        """Whether what we decide alone is said at once: a local share begins with one unit, so its "no" to several
        says nothing of the limit. An authority that may be back soon is waited for."""
        return verdict.allowed or cost <= 1 or not self.limits.returning()

    def bucket(self, partition: str) -> Bucket:
        bucket = self.buckets.get(partition)
        if bucket is None:
            if len(self.buckets) >= self.limits.most:
                self._make_room()
            bucket = Bucket(self, partition)
            self.buckets[partition] = bucket
        return bucket

    def _make_room(self) -> None:
        """Forget the bucket known longest that nobody waits for; its lease goes back."""
        for partition, bucket in self.buckets.items():
            if not bucket.waiting and not bucket.used and bucket.asked == NOT_ASKED:
                self.hand_back(bucket)
                del self.buckets[partition]
                return

    def want(self, bucket: Bucket) -> list[Any]:
        """The item that asks for what the waiting takes need; what is left of the lease travels along."""
        cost = 0
        need = bucket.debt
        for waiter, units in bucket.waiting:
            if not waiter.done:
                cost = cost or units
                need += units
        first = min(cost + bucket.debt, self.capacity)
        lease, rest = bucket.lease, bucket.left
        bucket.lease = bucket.left = 0
        return [self.number, self.spec.name, bucket.partition, *self.figures, first, need, lease, rest]

    def keep(self, bucket: Bucket, item: list[Any]) -> None:
        """Undo :meth:`want`: its *item* could not be sent."""
        bucket.lease, bucket.left = item[-2:]

    def granted(
        self, bucket: Bucket, lease: int, count: int, until: int, free: int, more: int, wait: int, stands: int
    ) -> None:
        """The authority's answer."""
        now = self.now()
        bucket.asked = NOT_ASKED
        bucket.free = free
        bucket.since = now
        bucket.more = more / SECOND
        bucket.own = None
        ends = until / SECOND
        if count and now >= ends:
            self.limits.give(self.spec.name, bucket.partition, lease, count)
            bucket.stale += 1
            if bucket.stale >= STALE:
                bucket.stale = 0
                self.late(bucket, False)
                return
            count = 0
        returned = 0
        if count:
            bucket.stale = 0
            # Two grants are there when an ask was given up and its answer came after all.
            returned = bucket.left
            self.hand_back(bucket)
            bucket.free += returned
            paid = min(count, bucket.debt)
            bucket.debt -= paid
            bucket.lease = lease
            bucket.granted = count
            bucket.left = count - paid
            bucket.until = ends
            self.limits.watch(bucket, ends)
        refuse = wait > 0 and not returned
        bucket.no_until = now + stands / SECOND if refuse else 0.0
        bucket.pass_at = now + wait / SECOND
        bucket.no_cost = 0
        self._serve(bucket, now, refuse)

    def _serve(self, bucket: Bucket, now: float, refuse: bool) -> None:
        """Answer those who wait, in the order they came: from the lease, and with *refuse* those it leaves over."""
        waiting = bucket.waiting
        bucket.waiting = []
        for number, (waiter, cost) in enumerate(waiting):
            if waiter.done:
                continue
            if bucket.left >= cost and now < bucket.until:
                verdict = self._spend(bucket, bucket.left - cost, cost, now)
            elif refuse:
                bucket.no_cost = min(bucket.no_cost or cost, cost)
                verdict = self._no(bucket, now)
            else:
                bucket.waiting = waiting[number:] + bucket.waiting
                break
            waiter.complete(verdict)
        if bucket.no_until > now:
            bucket.no_cost = bucket.no_cost or bucket.left + 1
            self.limits.watch(bucket, bucket.no_until)
        if bucket.waiting:
            self.limits.ask(bucket)

    # -- giving back ------------------------------------------------------------------------------------------------

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        """See ``ports/authority``. *taken*: when the units were taken; 0.0 says that it was just now, in the decision
        that is still going on. A unit of an earlier lease goes to the authority, which knows what it is worth now."""
        bucket = self.buckets.get(partition)
        if bucket is not None and bucket.lease and bucket.left + cost <= bucket.granted:
            now = self.now()
            if now < bucket.until and (taken == 0.0 or taken >= bucket.since):
                bucket.left += cost
                return
        if bucket is not None:
            bucket.no_until = 0.0  # a "no" does not outlive the units it missed
        sure = taken > 0.0 and not any(begin <= taken <= end for begin, end in self.alone)
        moment = int((taken or self.now()) * SECOND) if self.windowed else 0
        self.limits.give(self.spec.name, partition, 0, cost, moment, sure)

    def hand_back(self, bucket: Bucket) -> None:
        """The lease ends: what is left of it returns."""
        if bucket.lease:
            self.limits.give(self.spec.name, bucket.partition, bucket.lease, bucket.left)
            bucket.lease = bucket.left = 0

    def look(self, bucket: Bucket, now: float) -> None:
        """Called when something of *bucket* may be over."""
        if self.buckets.get(bucket.partition) is not bucket:
            return  # forgotten since; the one of that name now is another
        if bucket.lease and now >= bucket.until:
            self.hand_back(bucket)
        if bucket.lease or bucket.waiting or now < bucket.no_until:
            return
        if bucket.own is not None and not bucket.own.idle(int(now * SECOND)):
            self.limits.watch(bucket, now + 1.0)
        elif bucket.debt:
            self.limits.ask(bucket)
        else:
            self.buckets.pop(bucket.partition, None)

    def recall(self, partition: str, lease: int) -> None:
        """The authority needs the lease for another worker."""
        bucket = self.buckets.get(partition)
        if bucket is not None and bucket.lease == lease:
            self.hand_back(bucket)

    # -- alone (S9.6) -----------------------------------------------------------------------------------------------

    def _alone(self, bucket: Bucket, cost: int) -> Verdict:
        """Decide without the authority."""
        self.limits.watch(bucket, self.now() + 1.0)
        if self.spec.on_store_error == "deny":
            raise Fault("limiter_unavailable", "The limit of this request cannot be checked.", retry_after=1.0)
        if self.spec.on_store_error == "allow":
            self._note_alone()
            return Verdict(True, self.capacity, 0.0)
        verdict = self._own(bucket, cost)
        if verdict.allowed:
            self._note_alone()
        return verdict

    def _note_alone(self) -> None:
        now = self.now()
        if self.alone and now < self.alone[-1][1] + SAME_GAP:
            self.alone[-1][1] = now
        else:
            self.alone = [*self.alone[1 - GAPS :], [now, now]]

    def _own(self, bucket: Bucket, cost: int) -> Verdict:
        now = self.now()
        share = bucket.own
        workers = self.limits.workers
        moment = int(now * SECOND)
        if share is None:
            share = bucket.own = Gcra(self.spec.amount, self.per * workers, max(1, self.capacity // workers))
            # What was told to be used up stays so: one unit more would be one too many.
            share.start_with(0 if bucket.free == 0 and now < bucket.more else 1, moment)
        wait = share.wait(cost, moment) / SECOND
        if share.take(cost, moment):
            return Verdict(True, share.free(moment), share.per / share.amount / SECOND)
        return Verdict(False, share.free(moment), min(wait, share.per / share.amount / SECOND), wait)

    def late(self, bucket: Bucket, gone: bool) -> None:
        """No answer can be had in time: decide here, for those who wait now. Unless the authority is *gone*, what is
        admitted is owed to it."""
        bucket.asked = NOT_ASKED
        waiting = bucket.waiting
        bucket.waiting = []
        for waiter, cost in waiting:
            if waiter.done:
                continue
            try:
                verdict = self._alone(bucket, cost)
            except Fault as fault:
                waiter.fail(fault)
                continue
            if gone and not self._stands(verdict, cost):
                bucket.waiting.append((waiter, cost))
                self.limits.hold(bucket)
                continue
            if verdict.allowed and not gone and self.spec.on_store_error == "local_share":
                bucket.debt += cost
            waiter.complete(verdict)
        if bucket.debt:
            self.limits.watch(bucket, self.now() + 1.0)


class SlotPolicy(LeasedPolicy):
    """``concurrent`` (S9.3): the worker holds slots, lends them to exchanges, and returns those nobody uses."""

    def take(self, partition: str, cost: int = 1) -> Verdict | Coroutine[Any, Any, Verdict]:
        """See ``ports/authority``."""
        bucket = self.buckets.get(partition)
        if bucket is not None:
            left = bucket.granted - bucket.used - cost
            if left >= 0:
                bucket.used += cost
                return Verdict(True, left + bucket.free, SLOT_RETRY)
            if cost >= bucket.no_cost and self.now() < bucket.no_until:
                return Verdict(False, left + cost + bucket.free, SLOT_RETRY, SLOT_RETRY)
        return self._take_later(partition, cost)

    def want(self, bucket: Bucket) -> list[Any]:
        spare = max(0, bucket.granted - bucket.used)
        bucket.granted -= spare
        owed = bucket.used - bucket.granted  # taken while nobody answered
        costs = [cost for waiter, cost in bucket.waiting if not waiter.done]
        first = min(owed + (costs[0] if costs else 0), self.capacity)
        return [self.number, self.spec.name, bucket.partition, *self.figures, first, sum(costs) + owed, -1, spare]

    def keep(self, bucket: Bucket, item: list[Any]) -> None:
        bucket.granted += item[-1]

    def granted(
        self, bucket: Bucket, lease: int, count: int, until: int, free: int, more: int, wait: int, stands: int
    ) -> None:
        now = self.now()
        bucket.asked = NOT_ASKED
        bucket.free = free
        bucket.own = None
        bucket.granted += count
        bucket.until = min(until / SECOND, now + IDLE_SLOTS)
        if wait:
            bucket.no_until = now + SLOT_WAIT
        self._serve(bucket, now, wait > 0)
        self.limits.watch(bucket, bucket.until)

    def _serve(self, bucket: Bucket, now: float, refuse: bool) -> None:
        waiting = bucket.waiting
        bucket.waiting = []
        bucket.no_cost = 0
        for number, (waiter, cost) in enumerate(waiting):
            if waiter.done:
                continue
            spare = bucket.granted - bucket.used
            if spare >= cost:
                bucket.used += cost
                verdict = Verdict(True, spare - cost + bucket.free, SLOT_RETRY)
            elif refuse:
                bucket.no_cost = min(bucket.no_cost or cost, cost)
                verdict = Verdict(False, spare + bucket.free, SLOT_RETRY, SLOT_RETRY)
            else:
                bucket.waiting = waiting[number:] + bucket.waiting
                self.limits.ask(bucket)
                return
            waiter.complete(verdict)

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        """The end of *cost* slots. While slots are scarce they return at the next tick."""
        bucket = self.buckets.get(partition)
        if bucket is None:
            return
        bucket.used = max(0, bucket.used - cost)
        now = self.now()
        scarce = 2 * bucket.free <= self.capacity
        bucket.until = now if scarce else now + IDLE_SLOTS
        self.limits.watch(bucket, bucket.until)

    def hand_back(self, bucket: Bucket) -> None:
        spare = bucket.granted - bucket.used
        if spare > 0:
            bucket.granted = bucket.used
            self.limits.give(self.spec.name, bucket.partition, -1, spare)

    def look(self, bucket: Bucket, now: float) -> None:
        if bucket.asked != NOT_ASKED or self.buckets.get(bucket.partition) is not bucket:
            return
        if now >= bucket.until:
            self.hand_back(bucket)
        if not bucket.granted and not bucket.used and now >= bucket.no_until and not bucket.waiting:
            self.buckets.pop(bucket.partition, None)

    def recall(self, partition: str, lease: int) -> None:
        """Spare slots go back; without any, that is the answer."""
        bucket = self.buckets.get(partition)
        spare = 0 if bucket is None else max(0, bucket.granted - bucket.used)
        if bucket is not None:
            bucket.granted -= spare
        self.limits.give(self.spec.name, partition, -1, spare)

    def _alone(self, bucket: Bucket, cost: int) -> Verdict:
        verdict = super()._alone(bucket, cost)
        if verdict.allowed:
            bucket.used += cost
        return verdict

    def _own(self, bucket: Bucket, cost: int) -> Verdict:
        left = max(1, self.capacity // self.limits.workers) - bucket.used - cost
        if left < 0:
            return Verdict(False, max(0, left + cost), SLOT_RETRY, SLOT_RETRY)
        return Verdict(True, left, SLOT_RETRY)

    def late(self, bucket: Bucket, gone: bool) -> None:
        super().late(bucket, True)  # slots taken meanwhile are owed as such, see ``want``
