"""The authority of limits of one node (S9.4): it owns every bucket and lends shares of them to the workers.

Its clock runs only while it runs: a restart or a stop (SIGSTOP) gives no credit for the gap, in which the workers
spent shares of their own (S9.6). Quotas alone follow the wall clock (S9.10). The messages are described in
``authorities/local``; the journal, in ``limits_journal``.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from tidegate.control.limits_journal import Journal
from tidegate.rules.gcra import Gcra
from tidegate.rules.lease import Book, grant_size, lease_life
from tidegate.rules.quota_window import CountedWindow, window_of
from tidegate.rules.sliding_window import SlidingWindow

Message = dict[str, Any]

SECOND: Final = 1_000_000_000
HOMEWARD: Final = 20_000_000
"""Nanoseconds after its end by which a lease has usually come back."""
GRACE: Final = 250_000_000
"""Nanoseconds after its end at which a lease that nobody returned counts as spent."""
RECALL: Final = 30_000_000
"""Nanoseconds that a "no" waits for recalled leases: less than a worker's patience."""
STALL: Final = 500_000_000
"""Nanoseconds between two ticks after which we have been stopped."""
ADOPTION: Final = 5 * SECOND
"""Nanoseconds after a restart in which a worker may say that it still holds its slots."""
MOST_OVERDUE: Final = 10_000
"""Leases remembered after they counted as spent."""
SWEEP: Final = 200
"""Buckets looked at by each tick, to forget those that are full."""


class _Lease:
    """Units lent to one worker. ``policy`` is the worker's own number for the policy."""

    __slots__ = ("count", "policy", "recalled", "row", "tag", "until")

    def __init__(self, row: int, policy: int, count: int, until: int, tag: int) -> None:
        self.row = row
        self.policy = policy
        self.count = count
        self.until = until
        self.tag = tag
        self.recalled = False


class _Ask:
    """A want that waits for recalled leases until ``deadline``."""

    __slots__ = ("cost", "deadline", "need", "policy", "row")

    def __init__(self, row: int, policy: int, cost: int, need: int, deadline: int) -> None:
        self.row = row
        self.policy = policy
        self.cost = cost
        self.need = need
        self.deadline = deadline


class _Bucket:
    """One bucket: its figures as last told, its account, what is lent, and who waits.

    ``slots`` (``concurrent``; there ``book`` is None): by row, how many it holds, its number for the policy (-1: not
    yet confirmed after a restart) and whether it was asked for those it does not use.
    """

    __slots__ = ("asks", "book", "figures", "key", "leases", "slots")

    def __init__(self, key: tuple[str, str], figures: list[Any], book: Book | None) -> None:
        self.key = key
        self.figures = figures
        self.book = book
        self.leases: dict[int, _Lease] = {}
        self.slots: dict[int, list[int]] = {}
        self.asks: list[_Ask] = []

    def free(self, now: int) -> int:
        if self.book is not None:
            return self.book.free(now)
        return max(0, int(self.figures[3]) - sum(held[0] for held in self.slots.values()))

    def state(self) -> list[Any]:
        """What the journal keeps."""
        return [
            *self.key,
            self.figures,
            self.book.state() if self.book is not None else [],  # type: ignore[attr-defined]
            [[number, e.row, e.policy, e.count, e.until, e.tag] for number, e in self.leases.items()],
            [[row, held[0]] for row, held in self.slots.items()],
        ]


class LimitAuthority:
    """Decides for all workers of the node. Call :meth:`tick` each 10 ms.

    journal  file that lets limits survive a restart; None: they do not
    now      monotonic seconds
    wall     seconds since the epoch
    send     sends one message to the worker of a row (grants that had to wait, recalls)
    workers  workers of the node; may be set anew
    most     buckets known at a time: about 0.6 KB each. Over it the one known longest is forgotten, which fills it
    """

    def __init__(
        self,
        journal: Path | None,
        now: Callable[[], float],
        wall: Callable[[], float],
        send: Callable[[int, Message], object] = lambda row, message: None,
        workers: int = 1,
        most: int = 200_000,
    ) -> None:
        self.now = now
        self.wall = wall
        self.send = send
        self.workers = workers
        self.most = most
        self.buckets: dict[tuple[str, str], _Bucket] = {}
        self.rows: dict[int, dict[int, _Bucket]] = {}
        """Leases by row: number → bucket."""
        self.ends: list[tuple[int, int, _Bucket]] = []
        """When leases count as spent, a heap; settled ones stay in it until then."""
        self.overdue: dict[int, tuple[_Bucket, _Lease]] = {}
        """Leases that nobody returned in time: a worker that was held up, or lost its link, may still do so."""
        self.waiting: dict[tuple[str, str], _Bucket] = {}
        """Buckets with asks."""
        self.recalls: dict[int, list[list[Any]]] = {}
        self.changed: dict[tuple[str, str], _Bucket] = {}
        """Buckets to journal before anything more is said."""
        self.lease_number = int(now() * SECOND)
        """Never one that an authority before us has given: workers return those too."""
        self.lost = 0
        """Nanoseconds by which our clock is behind the machine's: all the time that we did not run."""
        self.latest = 0.0
        """The latest wall time seen: for quotas a clock stepped back stands still (S9.10)."""
        self.ticked = -1
        self.adopt_until = 0
        self.sweep: list[tuple[str, str]] = []
        self.zones: dict[str, ZoneInfo] = {}
        self.forgotten = 0
        """Buckets given up for want of room."""
        self.journal = Journal(journal) if journal is not None else None
        if self.journal is not None:
            self._restore(self.journal)

    # -- clock ------------------------------------------------------------------------------------------------------

    def _clock(self) -> int:
        """Our own nanoseconds."""
        real = int(self.now() * SECOND)
        if 0 <= self.ticked < real - STALL:
            self.lost += real - self.ticked
            self.ticked = real
        return real - self.lost

    # -- messages ---------------------------------------------------------------------------------------------------

    def handle(self, row: int, message: Message) -> Message | None:
        """Take a ``want``, ``back``, ``refund`` or ``hold`` of the worker *row*; the result, if any, is to be sent to
        it. Other kinds are skipped."""
        kind = message["kind"]
        now = self._clock()
        answers: list[list[Any]] = []
        if kind == "want":
            for policy, name, partition, *figures, cost, need, lease, rest in message["items"]:
                bucket = self._bucket((name, partition), figures, now)
                if lease:
                    self._take_back(row, bucket, lease, rest, now)
                ask = _Ask(row, policy, cost, need, now + RECALL)
                answer = self._decide(bucket, ask, now, final=False)
                if answer is None:
                    bucket.asks.append(ask)
                    self.waiting[bucket.key] = bucket
                else:
                    answers.append(answer)
        elif kind == "back":
            for name, partition, lease, rest in message["items"]:
                known = self.buckets.get((name, partition))
                if known is not None:
                    self._turn(known, now)
                    self._take_back(row, known, lease, rest, now)
        elif kind == "refund":
            for name, partition, rest, taken in message["items"]:
                known = self.buckets.get((name, partition))
                if known is not None:
                    self._turn(known, now)
                    if taken - self.lost >= self._begun(known, now):
                        self._take_back(row, known, 0, rest, now)
        elif kind == "hold":
            self._hold(row, message["items"], now)
        self._serve(now, row, answers)
        return {"kind": "grant", "items": answers} if answers or kind == "hold" else None

    def worker_gone(self, row: int) -> None:
        """The process of *row* is dead: its leases count as spent, its slots are free. (A worker that only lost its
        link goes on spending; its leases end by themselves.)"""
        now = self._clock()
        for number, bucket in list(self.rows.pop(row, {}).items()):
            self._settle(bucket, number, 0, now)
        for bucket in self.buckets.values():
            if bucket.slots and bucket.slots.pop(row, None) is not None:
                self.changed[bucket.key] = bucket
            if bucket.asks:
                bucket.asks = [ask for ask in bucket.asks if ask.row != row]
        self._serve(now, -1, [])

    def tick(self) -> None:
        """Leases nobody returned are spent, waiting asks get their "no", full buckets are forgotten."""
        now = self._clock()
        self.ticked = now + self.lost
        while self.ends and self.ends[0][0] <= now:
            _, number, bucket = heappop(self.ends)
            lease = bucket.leases.get(number)
            if lease is not None:
                self.overdue[number] = (bucket, lease)
                self._settle(bucket, number, 0, now)
        while len(self.overdue) > MOST_OVERDUE:
            del self.overdue[next(iter(self.overdue))]
        if self.adopt_until and now >= self.adopt_until:
            self.adopt_until = 0
            for bucket in self.buckets.values():
                for row in [row for row, held in bucket.slots.items() if held[1] < 0]:
                    del bucket.slots[row]
        self._serve(now, -1, [])
        self._sweep(now)
        if self.journal is not None and self.buckets:
            self.journal.tick(now, self.buckets)

    def sync(self) -> None:
        """Bring the journal to the disk itself (a power cut); blocks, so call it on a thread."""
        if self.journal is not None:
            self.journal.sync()

    def close(self) -> None:
        """Let go of the journal."""
        if self.journal is not None:
            self.journal.write([bucket.state() for bucket in self.changed.values()], self._clock())
            self.journal.close()

    # -- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, bucket: _Bucket, ask: _Ask, now: int, final: bool) -> list[Any] | None:
        """The answer to *ask*, or None when recalled leases may change it (never when *final*)."""
        amount, per, capacity = bucket.figures[1:4]
        free = bucket.free(now)
        if free < max(1, ask.cost) and not final and self._recall(bucket, ask.row, now):
            return None
        book = bucket.book
        if book is None:
            return self._lend_slots(bucket, ask, free, now)
        count = lease = until = 0
        if free >= max(1, ask.cost):
            count = grant_size(free, ask.need, self.workers, amount, per)
            until = now + lease_life(free, capacity, self.workers, per)
            if isinstance(book, CountedWindow):
                until = min(until, book.ends)
            self.lease_number += 1
            lease = self.lease_number
            tag = book.lend(count, now, until)
            bucket.leases[lease] = _Lease(ask.row, ask.policy, count, until, tag)
            self.rows.setdefault(ask.row, {})[lease] = bucket
            heappush(self.ends, (until + GRACE, lease, bucket))
            self.changed[bucket.key] = bucket
        wait = 0
        if count < ask.need:
            wait = max(1, book.wait(min(max(1, ask.cost), capacity), now))
        return [
            ask.policy, bucket.key[1], lease, count, until + self.lost, free - count, book.more(now) + self.lost, wait,
            self._stands(bucket, lease, wait, now),
        ]  # fmt: skip

    def _stands(self, bucket: _Bucket, granted: int, wait: int, now: int) -> int:
        """How long the "no" of *wait* stands: units on lease elsewhere (not the one just *granted*) may come back
        before."""
        ends = [lease.until for number, lease in bucket.leases.items() if number != granted]
        return min(wait, max(HOMEWARD, min(ends) + HOMEWARD - now)) if ends else wait

    def _lend_slots(self, bucket: _Bucket, ask: _Ask, free: int, now: int) -> list[Any]:
        count = 0
        if free >= max(1, ask.cost):
            count = grant_size(free, ask.need, self.workers, 0, 0)
            held = bucket.slots.setdefault(ask.row, [0, ask.policy, 0])
            held[0] += count
            held[1] = ask.policy
            self.changed[bucket.key] = bucket
        wait = 0 if count >= ask.need else 1
        until = now + lease_life(free, bucket.figures[3], self.workers, 0)
        return [ask.policy, bucket.key[1], 0, count, until + self.lost, free - count, 0, wait, wait]

    def _recall(self, bucket: _Bucket, row: int, now: int) -> bool:
        """Ask the long leases of other workers back; whether any may still come."""
        asked = False
        for number, lease in bucket.leases.items():
            if lease.row == row:
                continue
            if not lease.recalled and lease.until - now > RECALL:
                lease.recalled = True
                self.recalls.setdefault(lease.row, []).append([lease.policy, bucket.key[1], number])
            asked = asked or (lease.recalled and lease.until > now)
        for holder, held in bucket.slots.items():
            if holder != row and held[1] > 0:
                if not held[2]:
                    held[2] = 1
                    self.recalls.setdefault(holder, []).append([held[1], bucket.key[1], -1])
                asked = True
        return asked

    def _serve(self, now: int, row: int, answers: list[list[Any]]) -> None:
        """Answer asks that no longer have to wait (those of *row* into *answers*); journal; then send."""
        grants: dict[int, list[list[Any]]] = {row: answers}
        for key, bucket in list(self.waiting.items()):
            self._turn(bucket, now)
            asks = bucket.asks
            bucket.asks = []
            for ask in asks:
                final = now >= ask.deadline or not self._outstanding(bucket, ask)
                if final or bucket.free(now) >= max(1, ask.cost):
                    answer = self._decide(bucket, ask, now, final=True)
                    assert answer is not None
                    grants.setdefault(ask.row, []).append(answer)
                else:
                    bucket.asks.append(ask)
            if not bucket.asks:
                del self.waiting[key]
        if self.changed:
            if self.journal is not None:
                self.journal.write([bucket.state() for bucket in self.changed.values()], now)
            self.changed = {}
        for receiver, items in grants.items():
            if receiver != row and items:
                self.send(receiver, {"kind": "grant", "items": items})
        recalls = self.recalls
        self.recalls = {}
        for receiver, items in recalls.items():
            self.send(receiver, {"kind": "recall", "items": items})

    def _outstanding(self, bucket: _Bucket, ask: _Ask) -> bool:
        """Whether something recalled for *ask* may still come."""
        return any(e.recalled and e.row != ask.row for e in bucket.leases.values()) or any(
            held[2] and row != ask.row for row, held in bucket.slots.items()
        )

    # -- coming back ------------------------------------------------------------------------------------------------

    def _take_back(self, row: int, bucket: _Bucket, lease: int, rest: int, now: int) -> None:
        if lease > 0:
            known = bucket.leases.get(lease)
            if known is not None and known.row == row:
                self._settle(bucket, lease, rest, now)
            elif lease in self.overdue:
                self._take_overdue(row, bucket, lease, rest, now)
        elif lease == 0:
            if bucket.book is not None and rest > 0:
                bucket.book.refund(rest, now)
                self.changed[bucket.key] = bucket
        else:
            held = bucket.slots.get(row)
            if held is not None:
                held[0] -= max(0, rest)
                held[2] = 0
                if held[0] <= 0:
                    del bucket.slots[row]

    def _take_overdue(self, row: int, bucket: _Bucket, number: int, rest: int, now: int) -> None:
        """Units of a lease that counted as spent were not. Those of a window that is over are worth nothing now."""
        lent_by, lease = self.overdue.pop(number)
        book = bucket.book
        if lent_by is not bucket or lease.row != row or book is None:
            return
        if not isinstance(book, CountedWindow) or lease.tag == book.number:
            book.refund(max(0, min(rest, lease.count)), now)
            self.changed[bucket.key] = bucket

    def _settle(self, bucket: _Bucket, number: int, rest: int, now: int) -> None:
        lease = bucket.leases.pop(number, None)
        if lease is None:
            return
        self.rows.get(lease.row, {}).pop(number, None)
        if bucket.book is not None:
            bucket.book.settle(lease.count, max(0, min(rest, lease.count)), lease.tag, now)
            if rest > 0:  # not in the journal it would count as spent after a restart: nobody returns it again
                self.changed[bucket.key] = bucket

    def _hold(self, row: int, items: list[list[Any]], now: int) -> None:
        """All slots that the worker *row* has; what the link lost on its way is put right."""
        for bucket in self.buckets.values():
            if bucket.slots and bucket.slots.pop(row, None) is not None:
                self.changed[bucket.key] = bucket
        for policy, name, partition, *figures, held in items:
            if held > 0:
                bucket = self._bucket((name, partition), figures, now)
                mine = bucket.slots.setdefault(row, [0, policy, 0])
                mine[0] += held
                self.changed[bucket.key] = bucket

    # -- buckets ----------------------------------------------------------------------------------------------------

    def _bucket(self, key: tuple[str, str], figures: list[Any], now: int) -> _Bucket:
        bucket = self.buckets.get(key)
        if bucket is None or bucket.figures[0] != figures[0]:
            if len(self.buckets) >= self.most:
                self._make_room()
            bucket = _Bucket(key, figures, _book(figures))
            self.buckets[key] = bucket
        elif bucket.figures != figures:
            self._resize(bucket, figures, now)
        self._turn(bucket, now)
        return bucket

    def _resize(self, bucket: _Bucket, figures: list[Any], now: int) -> None:
        """A reload changed the figures of a policy: the bucket stays (S23.2)."""
        _, amount, per, capacity, calendar, zone = figures
        book = bucket.book
        if isinstance(book, Gcra):
            book.resize(amount, per, capacity, now)
        elif isinstance(book, SlidingWindow):
            book.resize(amount, per, now)
        elif isinstance(book, CountedWindow):
            if [per, calendar, zone] != [bucket.figures[2], *bucket.figures[4:]]:
                book.number = -1
            book.amount = amount
        bucket.figures = figures

    def _turn(self, bucket: _Bucket, now: int) -> None:
        """Tell a counted window which window it is."""
        book = bucket.book
        if not isinstance(book, CountedWindow):
            return
        kind, _, per, _, calendar, zone = bucket.figures
        if kind == "fixed":
            number = now // per
            book.advance(number, (number + 1) * per)
            return
        wall = self.wall()
        self.latest = max(self.latest, wall)
        start, end = window_of(self.latest, calendar, self._zone(zone))
        book.advance(start, now + int((end - wall) * SECOND))

    def _begun(self, bucket: _Bucket, now: int) -> int:
        """When the window that counts now has begun, 0 where there is none."""
        book = bucket.book
        if not isinstance(book, CountedWindow):
            return 0
        if bucket.figures[0] == "fixed":
            return book.number * int(bucket.figures[2])
        return now - int((self.wall() - book.number) * SECOND)

    def _zone(self, name: str) -> ZoneInfo:
        zone = self.zones.get(name)
        if zone is None:
            zone = self.zones[name] = ZoneInfo(name)
        return zone

    def _make_room(self) -> None:
        for key, bucket in islice(self.buckets.items(), 1000):
            if not bucket.leases and not bucket.slots and not bucket.asks:
                del self.buckets[key]
                self.forgotten += 1
                return

    def _sweep(self, now: int) -> None:
        if not self.sweep:
            self.sweep = list(self.buckets)
        for key in self.sweep[-SWEEP:]:
            bucket = self.buckets.get(key)
            if bucket is None or bucket.leases or bucket.slots or bucket.asks:
                continue
            self._turn(bucket, now)
            if bucket.book is None or bucket.book.idle(now):
                del self.buckets[key]
        del self.sweep[-SWEEP:]

    def _restore(self, journal: Journal) -> None:
        """Buckets as the journal has them; our clock goes on where it stopped."""
        stopped = 0
        for moment, state in journal.read():
            stopped = max(stopped, moment)
            if not state:
                continue
            name, partition, figures, book_state, leases, slots = state
            book = _book(figures)
            bucket = _Bucket((name, partition), figures, book)
            if book is not None:
                book.restore(book_state)  # type: ignore[attr-defined]
            for number, row, policy, count, until, tag in leases:
                bucket.leases[number] = _Lease(row, policy, count, until, tag)
                self.lease_number = max(self.lease_number, number)
            for row, held in slots:
                bucket.slots[row] = [held, -1, 0]
            self.buckets[bucket.key] = bucket
        for bucket in self.buckets.values():
            for number, lease in bucket.leases.items():
                self.rows.setdefault(lease.row, {})[number] = bucket
                heappush(self.ends, (lease.until + GRACE, number, bucket))
            if isinstance(bucket.book, CountedWindow) and bucket.figures[0] == "quota":
                self.latest = max(self.latest, float(bucket.book.number))
        self.lost = int(self.now() * SECOND) - stopped
        self.adopt_until = stopped + ADOPTION


def _book(figures: list[Any]) -> Book | None:
    kind, amount, per, capacity, _, _ = figures
    if kind == "rate":
        return Gcra(amount, per, capacity)
    if kind == "window":
        return SlidingWindow(amount, per)
    if kind == "concurrent":
        return None
    return CountedWindow(amount)
