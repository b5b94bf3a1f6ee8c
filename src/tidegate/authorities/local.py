"""Limits from leases: the worker's side of the node's authority (S9.4, S9.6). The other side is ``control/limits``.

The asks of one loop turn travel in one message; the policies themselves stand in ``leased``.

Messages are maps with ``kind`` and ``items`` (lists, in the order of the unpackings below):

    want    policy, name, partition, kind, amount, per, burst, calendar, zone, cost, need, lease, rest
    back    name, partition, lease, rest          lease 0: a refund; lease -1: slots no longer used
    hold    policy, name, partition, kind, amount, per, burst, calendar, zone, held      (all slots; after a gap)
    grant   policy, partition, lease, count, until, free, more, wait
    recall  policy, partition, lease

``policy`` is this worker's own number for a policy, ``until`` and ``more`` are monotonic nanoseconds of the machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakValueDictionary

from tidegate.authorities.leased import NOT_ASKED, Bucket, LeasedPolicy, SlotPolicy, Waiter
from tidegate.ports.authority import LimitSpec

Message = dict[str, Any]

PATIENCE: Final = 0.05
"""Seconds until an ask counts as failed (S9.6)."""
FAILURES: Final = 5
"""Failed asks in a row after which the authority counts as gone."""
PROBE: Final = 1.0
"""Seconds between asks of an authority that is gone."""


class LocalLimits:
    """The worker's door to the authority of its node (``ports/authority.Limits``).

    now       monotonic seconds
    send      sends one message; False when there is no way to the authority
    waiter    makes what a take waits on: ``lambda: Wait(steps)``
    soon      calls a function at the end of this loop turn: ``loop.call_soon``
    workers   workers of the node
    most      buckets known at a time, a policy
    """

    def __init__(
        self,
        now: Callable[[], float],
        send: Callable[[Message], bool],
        waiter: Callable[[], Waiter],
        soon: Callable[[Callable[[], None]], object],
        workers: int = 1,
        most: int = 100_000,
    ) -> None:
        self.now = now
        self.send = send
        self.waiter = waiter
        self.soon = soon
        self.workers = workers
        self.most = most
        self.numbers = 0
        self.policies: WeakValueDictionary[int, LeasedPolicy] = WeakValueDictionary()
        self.by_spec: WeakValueDictionary[LimitSpec, LeasedPolicy] = WeakValueDictionary()
        self.asking: list[Bucket] = []
        """Buckets whose ask goes out at the end of this turn."""
        self.flights: deque[tuple[float, Bucket]] = deque()
        """Asks under way, oldest first."""
        self.backs: list[list[Any]] = []
        self.refunds: dict[tuple[str, str], int] = {}
        self.slot = int(now() * 100)
        self.watched: dict[int, list[Bucket]] = {}
        """Buckets to look at, by hundredth of a second."""
        self.failures = 0
        self.gone = False
        self.probe_at = 0.0

    def policy(self, spec: LimitSpec) -> LeasedPolicy:
        """The shared policy object for *spec*; it lives as long as somebody holds it."""
        policy = self.by_spec.get(spec)
        if policy is None:
            self.numbers += 1
            policy = (SlotPolicy if spec.kind == "concurrent" else LeasedPolicy)(self, spec, self.numbers)
            self.by_spec[spec] = policy
            self.policies[policy.number] = policy
        return policy

    # -- out --------------------------------------------------------------------------------------------------------

    def reachable(self) -> bool:
        """Whether to ask. An authority that is gone is asked once a second."""
        if not self.gone:
            return True
        now = self.now()
        if now < self.probe_at:
            return False
        self.probe_at = now + PROBE
        return True

    def ask(self, bucket: Bucket) -> None:
        """Ask for *bucket* at the end of this turn, unless that is under way."""
        if bucket.asked != NOT_ASKED:
            return
        bucket.asked = self.now()
        if not self.asking:
            self.asking.append(bucket)
            self.soon(self._send_asks)
        else:
            self.asking.append(bucket)

    def _send_asks(self) -> None:
        asking = self.asking
        self.asking = []
        self._send_backs()
        now = self.now()
        items = []
        for bucket in asking:
            bucket.asked = now
            self.flights.append((now, bucket))
            items.append(bucket.policy.want(bucket))
        if not self.send({"kind": "want", "items": items}):
            self.disconnected()

    def give(self, name: str, partition: str, lease: int, rest: int) -> None:
        """Return *rest* units of *lease* (0: a refund) with the next message."""
        if lease:
            self.backs.append([name, partition, lease, rest])
        else:
            key = (name, partition)
            self.refunds[key] = self.refunds.get(key, 0) + rest

    def _send_backs(self) -> None:
        """Backs go before asks: an ask must not be refused for units that are on their way."""
        if not self.backs and not self.refunds:
            return
        items = self.backs
        items.extend([name, partition, 0, count] for (name, partition), count in self.refunds.items())
        self.backs = []
        self.refunds = {}
        self.send({"kind": "back", "items": items})

    # -- in ---------------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take a ``grant`` or a ``recall``; other kinds are skipped."""
        kind = message["kind"]
        if kind == "grant":
            self._answered()
            for number, partition, lease, count, until, free, more, wait in message["items"]:
                policy = self.policies.get(number)
                if policy is not None:
                    policy.granted(policy.bucket(partition), lease, count, until, free, more, wait)
        elif kind == "recall":
            for number, partition, lease in message["items"]:
                policy = self.policies.get(number)
                if policy is not None:
                    policy.recall(partition, lease)
            self._send_backs()

    def connected(self) -> None:
        """The way to the authority is open (again): ask it from now on, and tell it which slots are held here."""
        self._answered()
        items = []
        for policy in list(self.policies.values()):
            if isinstance(policy, SlotPolicy):
                for bucket in policy.buckets.values():
                    bucket.granted = max(bucket.granted, bucket.used)
                    self.watch(bucket, self.now())
                    items.append(
                        [policy.number, policy.spec.name, bucket.partition, *policy.figures, bucket.granted]
                    )  # fmt: skip
        self.send({"kind": "hold", "items": items})

    def disconnected(self) -> None:
        """There is no way to the authority: decide alone at once (S9.6)."""
        self.gone = True
        self.probe_at = self.now() + PROBE
        flights = self.flights
        self.flights = deque()
        for _, bucket in flights:
            bucket.policy.late(bucket, True)

    def _answered(self) -> None:
        self.failures = 0
        if self.gone:
            self.gone = False
            for policy in list(self.policies.values()):
                for bucket in policy.buckets.values():
                    if bucket.own is not None:
                        bucket.own = None  # the gap gives no credit
                        bucket.debt = 0
                        self.watch(bucket, self.now())

    # -- time -------------------------------------------------------------------------------------------------------

    def watch(self, bucket: Bucket, when: float) -> None:
        """Look at *bucket* soon after *when*."""
        slot = max(int(when * 100), self.slot) + 1
        if bucket.watched == slot:
            return
        bucket.watched = slot
        here = self.watched.get(slot)
        if here is None:
            self.watched[slot] = [bucket]
        else:
            here.append(bucket)

    def pardon(self, seconds: float) -> None:
        """This worker itself stood still for so long: what was answered meanwhile may lie unread in its link, so the
        time does not count against the authority."""
        flights = self.flights
        for number, (asked, bucket) in enumerate(flights):
            if bucket.asked == asked:
                bucket.asked = asked + seconds
            flights[number] = (asked + seconds, bucket)

    def tick(self, now: float) -> None:
        """Each 10 ms: leases that ended go home, answers that did not come are given up."""
        flights = self.flights
        while flights and now - flights[0][0] > PATIENCE:
            asked, bucket = flights.popleft()
            if bucket.asked == asked:
                self.failures += 1
                if self.failures >= FAILURES and not self.gone:
                    self.gone = True
                    self.probe_at = now + PROBE
                bucket.policy.late(bucket, self.gone)
        while flights and flights[0][1].asked != flights[0][0]:
            flights.popleft()
        slot = int(now * 100)
        if slot - self.slot > 10_000:
            due = sorted(at for at in self.watched if at <= slot)
        else:
            due = [at for at in range(self.slot + 1, slot + 1) if at in self.watched]
        self.slot = max(self.slot, slot)
        for at in due:
            for bucket in self.watched.pop(at):
                bucket.watched = -1
                bucket.policy.look(bucket, now)
        self._send_backs()
