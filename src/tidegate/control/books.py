"""The authority over budgets of one node (LLM 10.1): what is spent, what is out on lease, who gets how much.

Decides in memory; ``books_store`` remembers, ``ledger_shipping`` tells what the workers' ledgers say. The messages are
described in ``engine/books``. What keeps a budget: spent + all that is out is never more than the limit, and a line of
the ledger moves its cost from what is out to what is spent, so that it does not matter how late it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tidegate.rules.budget_periods import Calendar, period_at
from tidegate.rules.grants import Spending, grant_of

Message = dict[str, Any]
Key = tuple[str, str]
"""(level, period)."""

RECALL: Final = 0.25
"""Seconds that a "no" waits for what is idle elsewhere."""
ASKED: Final = 1.5
"""Seconds after which nobody waits for an answer any more."""
SILENT: Final = 5.0
"""Seconds that a worker has to say what it holds, before it is replaced."""
SWEEP: Final = 5.0
"""Seconds between two looks for accounts that are over."""


class Account:
    """One level in one period. ``out``: by boot of a worker, what was lent to it and is neither back nor spent by what
    its ledger says; below zero when it spent more than it had. ``recalled``: boots that owe an answer to a recall.
    ``foreign``: set aside by workers that live and are none of ours, whose supervisor was killed."""

    __slots__ = ("ends", "foreign", "limit", "out", "per", "recalled", "spending", "spent", "used")

    def __init__(self, per: str, limit: int, ends: float, spent: int) -> None:
        self.per = per
        self.limit = limit
        self.ends = ends
        self.spent = spent
        self.out: dict[str, int] = {}
        self.foreign = 0
        self.recalled: set[str] = set()
        self.spending = Spending()
        self.used = 0.0

    def free(self, boot: str) -> int:
        """What *boot* could be lent; a debt of its own is part of what it asks for."""
        left = self.limit - self.spent - self.foreign
        for other, amount in self.out.items():
            if other == boot or amount > 0:
                left -= amount
        return left


class Ask:
    """One call's want, at every level that its worker lacks: (key, account, amount)."""

    __slots__ = ("asked", "boot", "items", "number", "recalling")

    def __init__(self, boot: str, number: int, asked: float) -> None:
        self.boot = boot
        self.number = number
        self.asked = asked
        self.items: list[tuple[Key, Account, int]] = []
        self.recalling = False


class Holder:
    """One life of a worker that has said hello. ``told``: until the ledger is read so far, what it holds is unknown;
    ``since``: what it has given back after that hello."""

    def __init__(self, boot: str, row: int, pid: int, told: Message | None) -> None:
        self.boot = boot
        self.row = row
        self.pid = pid
        self.told = told
        self.since: dict[Key, int] = {}


class Read(NamedTuple):
    """What a pass over the ledgers found.

    spent     (level, period) → n$ spent in all, for every one that changed
    costs     (boot, level, period) → n$ that left what the boot holds
    after     the same, only of lines behind the place that the boot named in its hello
    buried    boots that are dead and whose ledgers are read to the end
    whole     whether every ledger was read to its end
    foreign   (level, period) → n$ set aside by boots that live and are not connected
    """

    spent: dict[Key, int]
    costs: dict[tuple[str, str, str], int]
    after: dict[tuple[str, str, str], int]
    buried: frozenset[str] = frozenset()
    whole: bool = True
    foreign: Mapping[Key, int] = MappingProxyType({})


class BudgetAuthority:
    """State: CLOSED until ``ready``: the ledgers are read, and every live worker has said what it holds.

    spent    what the store knows of a (level, period)
    now      monotonic seconds; *wall* seconds since the epoch
    send     sends one message to the worker of a row
    workers  workers of the node
    replace  kills the process of a pid: it holds money and does not say how much
    """

    def __init__(
        self,
        spent: Callable[[str, str], int],
        now: Callable[[], float],
        wall: Callable[[], float],
        send: Callable[[int, Message], object],
        workers: int = 1,
        replace: Callable[[int], object] = lambda pid: None,
        latest: float = 0.0,
    ) -> None:
        self.spent = spent
        self.now = now
        self.wall = wall
        self.send = send
        self.workers = workers
        self.replace = replace
        self.calendar = Calendar(latest)
        self.accounts: dict[Key, Account] = {}
        self.holders: dict[str, Holder] = {}
        """By boot."""
        self.rows: dict[int, str] = {}
        """Row → boot that is connected there."""
        self.asks: list[Ask] = []
        self.awaited: dict[int, float] | None = None
        """Pid of a worker older than us that has not said hello → since when; None until the supervisor named them."""
        self.busy: set[int] = set()
        """Pids that are still starting: if they hold money at all, they were connected, and will be at once."""
        self.met: set[int] = set()
        """Pids that have said hello to us."""
        self.read = False
        """Whether the ledgers have been read once."""
        self.unheard: set[str] = set()
        """Workers older than us that died before they said what they held: what their ledgers leave open is not booked
        until a pass that began after their death."""
        self.foreign: Mapping[Key, int] = {}
        """As the last pass found it."""
        self.swept = 0.0
        self.over = 0
        """Calls that cost more than their level had left."""

    # -- who is there -------------------------------------------------------------------------------------------------

    def crew(self, pids: Mapping[int, bool]) -> None:
        """These workers live, as the supervisor says; True: and are ready. The first time it says so, they may hold
        money that an authority before us has lent; who comes later holds nothing."""
        if self.awaited is None:
            now = self.now()
            self.awaited = {pid: now for pid in pids if pid not in self.met}
            self._serve()
        self.busy = {pid for pid, ready in pids.items() if not ready}

    def hello(self, row: int, pid: int, told: Message | None) -> None:
        """A worker has said what it holds; None: it is of a build that holds nothing. What it holds counts once its
        ledger is read to the place that it names: ask for a pass."""
        self.met.add(pid)
        if self.awaited is not None:
            self.awaited.pop(pid, None)
        before = self.rows.pop(row, "")
        if told is not None:
            boot = str(told["boot"])
            self.rows[row] = boot
            new = not told["items"] and not told["segment"] and boot not in self.holders
            self.holders[boot] = Holder(boot, row, pid, None if new else told)
            self.calendar.learn(min(float(told["clock"]), self.wall() + 60.0))
            self.asks = [ask for ask in self.asks if ask.boot not in (boot, before)]
        self._serve()

    def gone(self, pid: int) -> list[str]:
        """The process *pid* is dead; its boots, to be buried by the next pass."""
        self.met.discard(pid)
        if self.awaited is None or self.awaited.pop(pid, None) is not None:
            self.unheard.add(f"pid {pid}")
        boots = [holder.boot for holder in self.holders.values() if holder.pid == pid]
        self.asks = [ask for ask in self.asks if ask.boot not in boots]
        return boots

    def cuts(self) -> dict[str, tuple[str, int]]:
        """Boot → the place in its ledger that its hello speaks of, for those whose hello does not count yet; and who
        died unheard, with no place."""
        return dict.fromkeys(self.unheard, ("", 0)) | {
            holder.boot: self._cut(holder) for holder in self.holders.values() if holder.told is not None
        }

    def ready(self) -> bool:
        """Whether money may be lent."""
        return (
            self.read
            and self.awaited is not None
            and not self.awaited
            and not self.unheard
            and not any(holder.told is not None for holder in self.holders.values())
        )

    def passed(self, read: Read, cuts: dict[str, tuple[str, int]]) -> None:
        """Take what a pass found; *cuts* as they were when it began."""
        now = self.now()
        for key, spent in read.spent.items():
            account = self.accounts.get(key)
            if account is not None:
                account.spending.add(max(0, spent - account.spent), now)
                if account.spent <= account.limit < spent:
                    self.over += 1
                account.spent = spent
        for (boot, level, period), cost in read.costs.items():
            account = self.accounts.get((level, period))
            if account is not None and boot in self.holders:
                account.out[boot] = account.out.get(boot, 0) - cost
        if read.whole and (read.foreign or self.foreign):
            self.foreign = read.foreign
            for key, account in self.accounts.items():
                account.foreign = read.foreign.get(key, 0)
        for boot in cuts if read.whole else ():
            self.unheard.discard(boot)
            holder = self.holders.get(boot)
            if holder is not None and holder.told is not None and self._cut(holder) == cuts[boot]:
                self._take_hello(holder, read)
        for boot in read.buried:
            self._bury(boot)
        self.read = self.read or read.whole
        self._serve()

    def _cut(self, holder: Holder) -> tuple[str, int]:
        assert holder.told is not None
        return str(holder.told["segment"]), int(holder.told["offset"])

    def _take_hello(self, holder: Holder, read: Read) -> None:
        """What *holder* holds is what it said, less what its ledger says since."""
        told = holder.told
        assert told is not None
        holder.told = None
        boot = holder.boot
        for account in self.accounts.values():
            account.out.pop(boot, None)
            account.recalled.discard(boot)
        for level, per, period, limit, held in told["items"]:
            account = self._account(level, per, period, limit)
            account.out[boot] = held - read.after.get((boot, level, period), 0)
        for key, amount in holder.since.items():
            known = self.accounts.get(key)
            if known is not None:
                known.out[boot] = known.out.get(boot, 0) - amount
        holder.since = {}

    def _bury(self, boot: str) -> None:
        holder = self.holders.pop(boot, None)
        if holder is not None and self.rows.get(holder.row) == boot:
            del self.rows[holder.row]
        for account in self.accounts.values():
            account.out.pop(boot, None)
            account.recalled.discard(boot)

    # -- asks ---------------------------------------------------------------------------------------------------------

    def handle(self, row: int, message: Message) -> None:
        """Take a ``money_want`` or ``money_back`` of the worker *row*; other kinds are skipped."""
        boot = self.rows.get(row)
        if boot is None:
            return
        kind = message["kind"]
        if kind == "money_want":
            self._want(boot, message)
        elif kind == "money_back":
            for level, period, amount in message["items"]:
                self._take_back(boot, (level, period), amount)
        self._serve()

    def _take_back(self, boot: str, key: Key, amount: int) -> None:
        """*boot* has given *amount* back (below zero: it owes that)."""
        account = self.accounts.get(key)
        if account is not None:
            account.recalled.discard(boot)
            account.out[boot] = account.out.get(boot, 0) - amount
        holder = self.holders[boot]
        if holder.told is not None:
            holder.since[key] = holder.since.get(key, 0) + amount

    def _want(self, boot: str, message: Message) -> None:
        now = self.now()
        ask = Ask(boot, int(message["number"]), now)
        for level, per, period, limit, amount, back in message["items"]:
            account = self._account(level, per, period, limit)
            self._take_back(boot, (level, period), back)
            account.spending.add(amount, now)
            account.used = now
            ask.items.append(((level, period), account, amount))
        self.asks.append(ask)

    def _account(self, level: str, per: str, period: str, limit: int) -> Account:
        key = (level, period)
        account = self.accounts.get(key)
        if account is None:
            current = period_at(per, max(self.wall(), self.calendar.latest))
            account = Account(per, limit, current.ends, self.spent(level, period))
            account.foreign = self.foreign.get(key, 0)
            self.accounts[key] = account
        account.limit = limit
        return account

    def _serve(self) -> None:
        """Answer what can be answered."""
        if not self.asks or not self.ready():
            return
        now = self.now()
        asks = self.asks
        self.asks = []
        recalls: dict[str, list[list[str]]] = {}
        for ask in asks:
            if now - ask.asked > ASKED:
                continue
            answer = self._decide(ask, now, recalls)
            if answer is None:
                self.asks.append(ask)
            else:
                self._send(ask.boot, answer)
        for boot, items in recalls.items():
            self._send(boot, {"kind": "money_recall", "items": items})

    def _decide(self, ask: Ask, now: float, recalls: dict[str, list[list[str]]]) -> Message | None:
        """The answer to *ask*; None when recalled money may change a "no"."""
        short: tuple[Key, Account] | None = None
        waits = False
        for key, account, amount in ask.items:
            if account.free(ask.boot) < amount:
                short = short or (key, account)
                waits = self._recall(ask, key, account, recalls) or waits
        wall = self.wall()
        self.calendar.learn(wall)
        answer: Message = {
            "kind": "money_grant", "number": ask.number, "clock": self.calendar.latest, "items": [], "refused": None,
        }  # fmt: skip
        if short is not None:
            if waits and now - ask.asked < RECALL:
                ask.recalling = True
                return None
            answer["refused"] = [short[0][0], short[1].spent]
            return answer
        for key, account, amount in ask.items:
            count = grant_of(amount, account.free(ask.boot), self.workers, account.spending.recent(now))
            account.out[ask.boot] = account.out.get(ask.boot, 0) + count
            answer["items"].append([key[0], key[1], count, account.spent])
        return answer

    def _recall(self, ask: Ask, key: Key, account: Account, recalls: dict[str, list[list[str]]]) -> bool:
        """Ask the others for what they do not use, once for each ask; whether an answer is awaited."""
        for boot, amount in account.out.items():
            if amount <= 0 or boot == ask.boot or boot in account.recalled or ask.recalling:
                continue
            if boot in self.holders:
                account.recalled.add(boot)
                recalls.setdefault(boot, []).append([*key])
        return bool(account.recalled - {ask.boot})

    def _send(self, boot: str, message: Message) -> None:
        holder = self.holders.get(boot)
        if holder is not None and self.rows.get(holder.row) == boot:
            self.send(holder.row, message)

    # -- time ---------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Each 10 ms: asks that waited long enough get their "no", silent workers are replaced."""
        if self.asks:
            self._serve()
        now = self.now()
        if self.awaited:
            for pid in [pid for pid, since in self.awaited.items() if now - since > SILENT]:
                if pid in self.busy:
                    del self.awaited[pid]
                else:
                    self.awaited[pid] = now
                    self.replace(pid)
        if now - self.swept < SWEEP:
            return
        self.swept = now
        wall = self.wall()
        asked = {key for ask in self.asks for key, _, _ in ask.items}
        for key, account in list(self.accounts.items()):
            idle = not any(account.out.values()) and now - account.used > 60.0
            if key not in asked and (idle or wall > account.ends + 3600.0):
                del self.accounts[key]
