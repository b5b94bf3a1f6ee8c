"""The worker's books (``ports/books``): money on lease from control, open reservations, the ledger (LLM 10.1).

All amounts are plain integers in n$. A call takes its worst case from every level at once while the leases hold; else
it asks control, which answers for all levels or for none. The other side is ``control/books``; messages are maps with
``kind``, amounts n$, ``period`` as ``rules/budget_periods`` names it:

    money_want    number, model; items: level, per, period, limit, amount, back    back: what is left here goes home
    money_grant   number, clock, refused; items: level, period, amount, spent      refused: [level, spent] or nil
    money_recall  items: level, period
    money_back    items: level, period, amount                                     answers a recall, with 0 too
    (hello)       money: {boot, segment, offset, clock, items: level, per, period, limit, held}

``held`` is all that this worker has of a level, set aside or not: what control believed is void. *clock* is the latest
wall time seen: nobody goes back to an earlier period.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from tidegate.engine.ledger import Ledger
from tidegate.exchange.chat import Usage
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import DoneLine, FixLine, LedgerRecord, MarkLine, OpenLine
from tidegate.ports.books import BudgetLevel, Refused, Reservation
from tidegate.rules.budget_periods import Calendar, Period
from tidegate.wire.ledger_line import encode_line

Message = dict[str, Any]

PATIENCE: Final = 1.0
"""Seconds that a call waits for money before it gets 503."""
DRY: Final = 1.0
"""Seconds for which a level that control found empty is refused without asking again."""
OVERTIME: Final = 60.0
"""Seconds past its deadline after which a reservation counts as spent."""
IDLE: Final = 30.0
"""Seconds after which a lease that nobody uses goes home."""
SWEEP: Final = 1.0
"""Seconds between two looks at leases and reservations."""


class Waiter(Protocol):
    """What a journey waits on (``steps.Wait``)."""

    withdraw: Callable[[], None] | None

    def complete(self, value: Any = None) -> None: ...
    def fail(self, fault: BaseException) -> None: ...
    def __await__(self) -> Any: ...


class Lease:
    """What this worker holds of one level in one period: ``free`` to set aside (below zero: a call cost more than what
    was set aside), ``held`` set aside for calls."""

    __slots__ = ("dry_until", "ends", "free", "held", "id", "limit", "per", "period", "spent", "used")

    def __init__(self, level: BudgetLevel, period: Period) -> None:
        self.id: str = level.id
        self.per: str = level.per
        self.limit: int = level.limit
        self.period: str = period.id
        self.ends: float = period.ends
        self.free: int = 0
        self.held: int = 0
        self.spent: int = 0
        """As control told, and what was settled here since."""
        self.dry_until: float = 0.0
        """Monotonic seconds until which control has nothing more."""
        self.used: float = 0.0


class Ask:
    """A call that waits for money: ``covered`` leases have set its amount aside already, ``lacking`` ones have not."""

    __slots__ = ("amount", "covered", "deadline", "lacking", "model", "number", "wait")

    def __init__(self, number: int, amount: int, model: str, deadline: float, wait: Waiter) -> None:
        self.number: int = number
        self.amount: int = amount
        self.model: str = model
        self.deadline: float = deadline
        self.wait: Waiter = wait
        self.covered: list[Lease] = []
        self.lacking: list[Lease] = []


class Reserved:
    """Money set aside for one call (``ports/books.Reservation``). ``expired``: far past its deadline all of it counted
    as spent; what it did cost is still written."""

    __slots__ = ("amount", "books", "deadline", "ended", "expired", "id", "leases")

    def __init__(self, books: LocalBooks, id: str, leases: list[Lease], amount: int, deadline: float) -> None:
        self.books: LocalBooks = books
        self.id: str = id
        self.leases: list[Lease] = leases
        self.amount: int = amount
        self.deadline: float = deadline
        self.ended: bool = False
        self.expired: bool = False

    def mark(self, usage: Usage) -> None:
        if not self.ended:
            self.books.ledger.put(encode_line(MarkLine(self.id, usage)))

    def settle(self, record: LedgerRecord) -> Coroutine[Any, Any, None] | None:
        if self.ended:
            return None
        if record.cost < 0:
            record.cost = 0
        self._end(record.cost)
        line = self._line(record)
        books = self.books
        ledger = books.ledger
        try:
            ledger.write(line)
        except Fault:
            ledger.owe(line)
            # Control does not know of it yet: what it believes that we hold must not be less.
            for lease in self.leases:
                lease.held += record.cost
            raise
        return books.synced(line) if ledger.full else None

    def release(self, record: LedgerRecord | None = None) -> None:
        if self.ended:
            return
        self._end(0)
        if record is not None:
            record.cost = 0
            self.books.ledger.put(self._line(record))
        else:
            line = FixLine(self.id, self.books.wall(), 0, levels_of(self.leases), "released")
            self.books.ledger.put(encode_line(line))

    def _line(self, record: LedgerRecord) -> bytes:
        record.id = self.id
        record.reserved = self.amount
        record.levels = levels_of(self.leases)
        return encode_line(DoneLine(record))

    def expire(self) -> None:
        """Control books it just now, too."""
        self._pay(self.amount)
        self.expired = True

    def _end(self, cost: int) -> None:
        self.ended = True
        if not self.expired:
            self._pay(cost)

    def _pay(self, cost: int) -> None:
        amount = self.amount
        for lease in self.leases:
            lease.held -= amount
            lease.free += amount - cost
            lease.spent += cost
        self.books.open.pop(self.id, None)


class LocalBooks:
    """The worker's door to the ledger and to the authority over budgets (``ports/books.Books``).

    now     monotonic seconds; *wall* seconds since the epoch
    send    sends one message to control; False when there is no way
    waiter  makes what a journey waits on: ``lambda: Wait(steps)``
    soon    calls a function at the end of this loop turn: ``loop.call_soon``
    """

    def __init__(
        self,
        ledger: Ledger,
        now: Callable[[], float],
        wall: Callable[[], float],
        send: Callable[[Message], bool],
        waiter: Callable[[], Waiter],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.ledger: Ledger = ledger
        self.now = now
        self.wall = wall
        self.send = send
        self.waiter = waiter
        self.soon = soon
        self.calendar: Calendar = Calendar()
        self.leases: dict[str, Lease] = {}
        """By level; of the period that was last asked for."""
        self.open: dict[str, Reserved] = {}
        self.asks: dict[int, Ask] = {}
        """Asks under way, oldest first."""
        self.asking: list[tuple[Ask, list[list[Any]]]] = []
        """Asks that go out at the end of this turn."""
        self.numbers: int = 0
        self.swept: float = 0.0

    # -- for the lane -------------------------------------------------------------------------------------------------

    def exhausted(self, levels: tuple[BudgetLevel, ...]) -> Refused | None:
        now = -1.0
        for level in levels:
            if level.limit <= 0:
                return self._refusal(level, 0)
            lease = self.leases.get(level.id)
            if lease is not None and lease.dry_until:
                if now < 0.0:
                    now = self.now()
                if now < lease.dry_until and lease.limit == level.limit and self.wall() < lease.ends:
                    return self._refusal(level, lease.spent)
        return None

    def reserve(
        self, id: str, levels: tuple[BudgetLevel, ...], amount: int, model: str, deadline: float
    ) -> Reservation | Refused | Coroutine[Any, Any, Reservation | Refused]:
        wall = self.wall()
        leases: list[Lease] = []
        for level in levels:
            lease = self.leases.get(level.id)
            if lease is None or lease.free < amount or wall >= lease.ends or lease.limit != level.limit:
                for taken in leases:
                    taken.free += amount
                    taken.held -= amount
                return self._reserve_asking(id, levels, amount, model, deadline)
            lease.free -= amount
            lease.held += amount
            leases.append(lease)
        reserved = self._opened(id, leases, amount, model, deadline, wall)
        return self._synced(reserved) if self.ledger.full else reserved

    def standing(self, level: BudgetLevel) -> tuple[int, int]:
        lease = self.leases.get(level.id)
        if lease is None or self.wall() >= lease.ends:
            return 0, level.limit
        return lease.spent, max(0, level.limit - lease.spent)

    # -- setting aside ------------------------------------------------------------------------------------------------

    def _opened(self, id: str, leases: list[Lease], amount: int, model: str, deadline: float, wall: float) -> Reserved:
        """*leases* have set *amount* aside: write that down."""
        line = encode_line(OpenLine(id, wall, deadline, amount, model, levels_of(leases)))
        reserved = Reserved(self, id, leases, amount, deadline)
        try:
            self.ledger.write(line)
        except Fault:
            reserved._end(0)
            raise
        if leases:
            self.open[id] = reserved
            now = self.now()
            for lease in leases:
                lease.used = now
        return reserved

    async def _reserve_asking(
        self, id: str, levels: tuple[BudgetLevel, ...], amount: int, model: str, deadline: float
    ) -> Reservation | Refused:
        wall = self.wall()
        ask = self._ask(levels, amount, model, wall)
        if ask.lacking:
            refused: Refused | None = await ask.wait
            if refused is not None:
                return refused
        reserved = self._opened(id, ask.covered, amount, model, deadline, wall)
        return await self._synced(reserved) if self.ledger.full else reserved

    async def _synced(self, reserved: Reserved) -> Reserved:
        """*reserved*, once its line is on the disk."""
        wait = self.waiter()
        wait.withdraw = reserved.release
        self.ledger.synced(wait)
        failure: Fault | None = None
        try:
            await wait
        except Fault as fault:
            failure = fault
        if failure is not None:
            reserved.release()
            raise failure
        return reserved

    async def synced(self, line: bytes) -> None:
        """Wait until *line* is on the disk."""
        wait = self.waiter()
        self.ledger.synced(wait)
        try:
            await wait
        except Fault:
            self.ledger.owe(line)
            raise

    # -- asking -------------------------------------------------------------------------------------------------------

    def _lease(self, level: BudgetLevel, wall: float) -> Lease:
        """The lease of *level* for now, empty if there was none; one of a period that is over goes home."""
        lease = self.leases.get(level.id)
        if lease is not None and wall < lease.ends and lease.period == self.calendar.now(level.per, wall).id:
            if lease.limit != level.limit:
                lease.limit = level.limit
                lease.dry_until = 0.0
            return lease
        if lease is not None and lease.free:
            self.send({"kind": "money_back", "items": [[lease.id, lease.period, lease.free]]})
            lease.free = 0
        lease = Lease(level, self.calendar.now(level.per, wall))
        self.leases[level.id] = lease
        return lease

    def _ask(self, levels: tuple[BudgetLevel, ...], amount: int, model: str, wall: float) -> Ask:
        """Set *amount* aside where there is enough, ask for it where there is not. A level whose limit has changed is
        asked for too: control must hear of it."""
        now = self.now()
        self.numbers += 1
        ask = Ask(self.numbers, amount, model, now + PATIENCE, self.waiter())
        items: list[list[Any]] = []
        for level in levels:
            known = self.leases.get(level.id)
            changed = known is not None and known.limit != level.limit
            lease = self._lease(level, wall)
            lease.used = now
            if lease.free >= amount and not changed:
                lease.free -= amount
                lease.held += amount
                ask.covered.append(lease)
            else:
                items.append([lease.id, lease.per, lease.period, lease.limit, amount, lease.free])
                lease.free = 0
                ask.lacking.append(lease)
        if items:
            self.asks[ask.number] = ask
            ask.wait.withdraw = lambda: self._forget(ask)
            self.asking.append((ask, items))
            if len(self.asking) == 1:
                self.soon(self._send_asks)
        return ask

    def _send_asks(self) -> None:
        asking = self.asking
        self.asking = []
        for ask, items in asking:
            # Asks that nobody waits for any more go too: what they carry home must arrive. With no way to control they
            # stay among the asks, and go when there is one; it hears then what we hold.
            self.send({"kind": "money_want", "number": ask.number, "model": ask.model, "items": items})

    def _forget(self, ask: Ask) -> None:
        """Nobody waits for *ask* any more; what it is granted yet will be free."""
        self.asks.pop(ask.number, None)
        for lease in ask.covered:
            lease.free += ask.amount
            lease.held -= ask.amount
        ask.covered = []

    def receive(self, message: Message) -> None:
        """Take a ``money_grant`` or a ``money_recall``; other kinds are skipped."""
        kind = message["kind"]
        if kind == "money_grant":
            self._granted(message)
        elif kind == "money_recall":
            self._recalled(message["items"])

    def _granted(self, message: Message) -> None:
        self.calendar.learn(float(message["clock"]))
        ask = self.asks.pop(message["number"], None)
        homeward: list[list[Any]] = []
        for id, period, amount, spent in message["items"]:
            lease = self.leases.get(id)
            if ask is not None:
                # A call pays in the period in which it was admitted, even if that has ended while it asked.
                lease = next((one for one in ask.lacking if one.id == id), lease)
            if lease is None or lease.period != period:
                if amount:
                    homeward.append([id, period, amount])
                continue
            lease.free += amount
            lease.spent = spent
            if amount:
                lease.dry_until = 0.0
        if homeward:
            self.send({"kind": "money_back", "items": homeward})
        if ask is None:
            return
        refused = message["refused"]
        if refused is not None:
            self._forget(ask)
            ask.wait.complete(self._denied(ask, refused[0], refused[1]))
            return
        for lease in ask.lacking:
            lease.free -= ask.amount
            lease.held += ask.amount
        ask.covered += ask.lacking
        # Withdrawn from now on means that the journey has to give the reservation back.
        ask.wait.complete(None)

    def _denied(self, ask: Ask, id: str, spent: int) -> Refused:
        lease = next((one for one in ask.lacking if one.id == id), ask.lacking[0])
        lease.spent = spent
        if spent >= lease.limit:
            lease.dry_until = self.now() + DRY
        return Refused(lease.id, lease.limit, spent, self._reset(lease.per, lease.ends))

    def _refusal(self, level: BudgetLevel, spent: int) -> Refused:
        return Refused(
            level.id, level.limit, spent, self._reset(level.per, self.calendar.now(level.per, self.wall()).ends)
        )

    def _reset(self, per: str, ends: float) -> float:
        return 0.0 if per == "total" else max(1.0, ends - self.wall())

    def _recalled(self, items: list[list[Any]]) -> None:
        """Control needs what is idle here; it waits for an answer, so 0 is one too."""
        backs: list[list[Any]] = []
        for id, period in items:
            lease = self.leases.get(id)
            idle = 0
            if lease is not None and lease.period == period and lease.free > 0:
                idle = lease.free
                lease.free = 0
            backs.append([id, period, idle])
        self.send({"kind": "money_back", "items": backs})

    # -- coming and going ---------------------------------------------------------------------------------------------

    def hello(self) -> Message:
        """What control hears first on every connection."""
        segment, offset = self.ledger.position()
        return {
            "boot": self.ledger.boot,
            "segment": segment,
            "offset": offset,
            "clock": self.calendar.latest,
            "items": [
                [lease.id, lease.per, lease.period, lease.limit, lease.free + lease.held]
                for lease in self.leases.values()
                if lease.free or lease.held
            ],
        }

    def abandon(self) -> None:
        """Whoever lent the leases is gone for good: nothing more is spent out of them. What is set aside already is
        settled as ever; a call that has to ask waits in vain."""
        self.leases = {}

    def connected(self) -> None:
        """The way to control is open again, and it has our hello: ask once more. What those asks carried home is in
        the hello, as gone."""
        self.asking = []
        for ask in list(self.asks.values()):
            items = [[one.id, one.per, one.period, one.limit, ask.amount, 0] for one in ask.lacking]
            self.send({"kind": "money_want", "number": ask.number, "model": ask.model, "items": items})

    def tick(self) -> None:
        """Each 10 ms: who has waited long enough gets 503."""
        now = self.now()
        while self.asks:
            ask = next(iter(self.asks.values()))
            if ask.deadline > now:
                break
            self._forget(ask)
            fault = Fault("limiter_unavailable", "The budget cannot be checked now.", retry_after=1.0)
            ask.wait.fail(fault)
        if now - self.swept >= SWEEP:
            self.swept = now
            self.ledger.tick()
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Forget what has run far past its deadline (control books it), send idle leases home."""
        wall = self.wall()
        for reserved in [one for one in self.open.values() if one.deadline + OVERTIME < wall]:
            reserved.expire()
        needed = {lease.id for ask in self.asks.values() for lease in ask.lacking + ask.covered}
        backs: list[list[Any]] = []
        for lease in list(self.leases.values()):
            if lease.id in needed or (now - lease.used < IDLE and wall < lease.ends):
                continue
            if lease.free:
                backs.append([lease.id, lease.period, lease.free])
                lease.free = 0
            if not lease.held:
                del self.leases[lease.id]
        if backs:
            self.send({"kind": "money_back", "items": backs})

    def close(self) -> None:
        """The worker ends: everything written, leases home."""
        self.ledger.close()


def levels_of(leases: list[Lease]) -> tuple[tuple[str, str], ...]:
    """As lines of the ledger tell them."""
    return tuple([(lease.id, lease.period) for lease in leases])
