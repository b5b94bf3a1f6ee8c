"""Limits from leases: the worker's side of the node's authority (S9.4, S9.6). The other side is ``control/limits``.

The asks of one loop turn travel in one message; the policies themselves stand in ``leased``.

Messages are maps with ``kind`` and ``items`` (lists, in the order of the unpackings below):

    want    policy, name, partition, kind, amount, per, burst, calendar, zone, cost, need, lease, rest
    back    name, partition, lease, rest          lease 0: a refund; lease -1: slots no longer used
    refund  name, partition, rest, taken          a refund that is worth something only in the window it was taken in
    hold    policy, name, partition, kind, amount, per, burst, calendar, zone, held      (all slots; after a gap)
    grant   policy, partition, lease, count, until, free, more, wait, stands
    recall  policy, partition, lease

``policy`` is this worker's own number for a policy; ``until``, ``more`` and ``taken`` are monotonic nanoseconds of the
machine, ``wait`` and ``stands`` nanoseconds from now: what a client refused is told, and how long a "no" needs no new
ask. A ``hold`` is answered by a ``grant``, an empty one if need be: that is how a worker knows that somebody listens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from tidegate.authorities.leased import NOT_ASKED, Bucket, LeasedPolicy, SlotPolicy, Waiter
from tidegate.ports.authority import LimitSpec

Message = dict[str, Any]

PATIENCE: Final = 0.045
"""Seconds until an ask counts as failed, and again while there is no answer (S9.6)."""
FAILURES: Final = 5
"""Failed asks in a row after which the authority counts as gone."""
SILENCES: Final = 2
"""Failures of one ask after which it is answered here, at the authority's account: within 100 ms, also a lone one."""
TICK: Final = 0.01
"""Seconds between two looks at what is under way."""
PROBE: Final = 1.0
"""Seconds between asks of an authority that is gone."""
RETURN: Final = 1.0
"""Seconds that a take of several units waits for an authority that has gone: control is started anew meanwhile."""
OPENING: Final = 1.0
"""Seconds that the first asks of a new worker wait for an authority that has never answered: it may be starting too."""


class Flight(NamedTuple):
    """One ask under way; ``asked`` is when it was sent, or last found unanswered."""

    asked: float
    bucket: Bucket
    failures: int


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
        self.flights: deque[Flight] = deque()
        """Asks under way, oldest first."""
        self.backs: list[list[Any]] = []
        self.refunds: dict[tuple[str, str, int, bool], int] = {}
        """Units to refund, by policy, partition, when they were taken (0: that does not matter), and whether it is sure
        that the authority counted them."""
        self.gone_at = 0.0
        self.held: list[Bucket] = []
        """Buckets with takes that wait for the authority to return."""
        self.slot = int(now() * 100)
        self.watched: dict[int, list[Bucket]] = {}
        """Buckets to look at, by hundredth of a second."""
        self.failures = 0
        self.gone = False
        self.probe_at = 0.0
        self.met = False
        """Whether the authority has ever answered, or the time for its first answer is over."""
        self.opening_ends = 0.0
        """When that time is over; 0.0 until somebody asks."""

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
        if not self.met and not self.opening_ends:
            self.opening_ends = bucket.asked + OPENING
        if not self.asking:
            self.asking.append(bucket)
            self.soon(self._send_asks)
        else:
            self.asking.append(bucket)

    def _send_asks(self) -> None:
        asking = self.asking
        self.asking = []
        self._send_backs()
        if not asking:
            return
        now = self.now()
        items = []
        for bucket in asking:
            bucket.asked = now
            self.flights.append(Flight(now, bucket, 0))
            items.append(bucket.policy.want(bucket))
        if not self.send({"kind": "want", "items": items}):
            for bucket, item in zip(asking, items, strict=True):
                bucket.policy.keep(bucket, item)
            self.disconnected()

    def give(self, name: str, partition: str, lease: int, rest: int, taken: int = 0, sure: bool = False) -> None:
        """Return *rest* units of *lease* (0: a refund) with the next message. *taken*: the nanosecond in whose window
        they were charged, where a refund counts only there; *sure*: the authority has charged them."""
        if lease:
            self.backs.append([name, partition, lease, rest])
        else:
            key = (name, partition, taken, sure)
            self.refunds[key] = self.refunds.get(key, 0) + rest

    def _send_backs(self) -> None:
        """Backs go before asks: an ask must not be refused for units that are on their way. What cannot be sent now
        goes when the way is open again; but slots are told anew then (``hold``), and what may have been taken in a gap
        is no charge of the authority's."""
        if not self.backs and not self.refunds:
            return
        backs = self.backs
        refunds = self.refunds
        items = list(backs)
        dated = []
        plain: dict[tuple[str, str], int] = {}
        for (name, partition, taken, _), count in refunds.items():
            if taken:
                dated.append([name, partition, count, taken])
            else:
                plain[name, partition] = plain.get((name, partition), 0) + count
        items += [[*bucket, 0, count] for bucket, count in plain.items()]
        self.backs = []
        self.refunds = {}
        if dated and not self.send({"kind": "refund", "items": dated}):
            self.refunds = {key: count for key, count in refunds.items() if key[3] and key[2]}
        if items and not self.send({"kind": "back", "items": items}):
            self.backs = [item for item in backs if item[2] > 0]
            self.refunds |= {key: count for key, count in refunds.items() if key[3] and not key[2]}

    def returning(self) -> bool:
        """Whether an authority that is gone may be back at any moment: control is started anew when it dies."""
        return self.gone and self.now() < self.gone_at + RETURN

    def hold(self, bucket: Bucket) -> None:
        """Ask for *bucket* when the authority is back; it is answered here when that is not soon."""
        if bucket not in self.held:
            self.held.append(bucket)

    # -- in ---------------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        """Take a ``grant`` or a ``recall``; other kinds are skipped."""
        kind = message["kind"]
        if kind == "grant":
            self._answered()
            for number, partition, *answer in message["items"]:
                policy = self.policies.get(number)
                if policy is not None:
                    policy.granted(policy.bucket(partition), *answer)
        elif kind == "recall":
            for number, partition, lease in message["items"]:
                policy = self.policies.get(number)
                if policy is not None:
                    policy.recall(partition, lease)
            self._send_backs()

    def connected(self) -> None:
        """The way to the authority is open (again): tell it which slots are held here, and ask what waits. Whether it
        listens shows in its answer: control may have just been born, and be busy with that."""
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
        if self.asking:
            self._send_asks()

    def disconnected(self) -> None:
        """There is no way to the authority: decide alone at once (S9.6). A worker that has not heard of it yet waits
        instead, until it is :data:`OPENING` old."""
        self.asking.extend(bucket for asked, bucket, _ in self.flights if bucket.asked == asked)
        self.flights.clear()
        if self.met:
            self._alone()

    def _alone(self) -> None:
        """The authority is gone; all who wait for it are answered here."""
        now = self.now()
        if not self.gone:
            self.gone_at = now
        self.gone = True
        self.probe_at = now + PROBE
        asking = self.asking
        self.asking = []
        asking.extend(bucket for asked, bucket, _ in self.flights if bucket.asked == asked)
        self.flights.clear()
        for bucket in asking:
            bucket.policy.late(bucket, True)

    def _answered(self) -> None:
        self.failures = 0
        self.met = True
        if self.gone:
            self.gone = False
            held = self.held
            self.held = []
            for bucket in held:
                self.ask(bucket)
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
        for number, (asked, bucket, failures) in enumerate(flights):
            if bucket.asked == asked:
                bucket.asked = asked + seconds
            flights[number] = Flight(asked + seconds, bucket, failures)

    def _count_failures(self, now: float) -> None:
        """An authority that is merely late is waited for: only its "no" refuses (S9.4), and what we admitted in its
        place might be one unit too many. The link loses no message, so nothing is asked twice."""
        flights = self.flights
        while flights and (flights[0].bucket.asked != flights[0].asked or now - flights[0].asked > PATIENCE):
            asked, bucket, failures = flights.popleft()
            if bucket.asked != asked:
                continue  # answered
            if self.met:
                failures += 1
                self.failures += 1
            # From when it failed, not from when that was seen: looks come in steps.
            bucket.asked = max(asked + PATIENCE, now - TICK)
            flights.append(Flight(bucket.asked, bucket, failures))
            if self.gone or self.failures >= FAILURES:
                self._alone()
            elif failures >= SILENCES:
                bucket.policy.late(bucket, False)

    def tick(self, now: float) -> None:
        """Each 10 ms: leases that ended go home, answers that do not come are counted."""
        if not self.met and 0.0 < self.opening_ends <= now:
            self.met = True
            self._alone()
        self._count_failures(now)
        if self.held and not self.returning():
            held = self.held
            self.held = []
            for bucket in held:
                bucket.policy.late(bucket, True)
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
