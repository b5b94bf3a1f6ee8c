"""GCRA, the rate limit of ``rate: N/W, burst: B`` (S9.1), with the lease algebra of S9.4. Nothing else lives here.

Times are whole nanoseconds of a clock that never goes back. Inside, time is counted in *ticks*: a nanosecond has N of
them and a unit costs W (in nanoseconds), so T = W/N is a whole number, and no sum here is ever rounded.
"""

from __future__ import annotations


class Gcra:
    """One bucket. Its whole mutable state is ``tat`` (theoretical arrival time, in ticks) and ``out`` (units lent).

    amount  N units
    per     W in nanoseconds
    burst   B units
    """

    __slots__ = ("amount", "burst", "out", "per", "tat")

    def __init__(self, amount: int, per: int, burst: int) -> None:
        self.amount: int = amount
        self.per: int = per
        self.burst: int = burst
        self.tat: int = 0
        self.out: int = 0

    def take(self, cost: int, now: int) -> bool:
        """Charge *cost* units if they fit (S9.1); a refusal stores nothing."""
        start = now * self.amount
        tat = max(start + self.out * self.per, self.tat) + cost * self.per
        if tat - start > self.burst * self.per:
            return False
        self.tat = tat
        return True

    def free(self, now: int) -> int:
        """Whole units that could be taken or lent at *now*."""
        used = max(self.out * self.per, self.tat - now * self.amount)
        return max(0, (self.burst * self.per - used) // self.per)

    def wait(self, cost: int, now: int) -> int:
        """Nanoseconds until *cost* units fit, 0 when they fit now. ``cost`` over B never fits: ask before."""
        used = max(self.out * self.per, self.tat - now * self.amount)
        return max(0, -((self.burst * self.per - used - cost * self.per) // self.amount))

    def more(self, now: int) -> int:
        """When one unit more than now will be free; *now* itself when the bucket is full."""
        used = max(self.out * self.per, self.tat - now * self.amount)
        return now - -((used - 1) % self.per + 1 if used > 0 else 0) // self.amount

    def start_with(self, units: int, now: int) -> None:
        """Forget everything: *units* are free at *now* (the local bucket of S9.6 starts with one)."""
        self.out = 0
        self.tat = now * self.amount + (self.burst - units) * self.per

    def lend(self, count: int, now: int, until: int) -> int:
        """Put *count* units on lease; they must be ``free``. The result is the lease's tag (unused here)."""
        self._anchor(now)
        self.tat += count * self.per
        self.out += count
        return 0

    def settle(self, count: int, rest: int, tag: int, now: int) -> None:
        """A lease of *count* units has ended; *rest* of them come back unspent."""
        self._anchor(now)
        self.out -= count
        self.tat -= rest * self.per

    def refund(self, count: int, now: int) -> None:
        """Take back a charge of *count* units; never lifts the bucket above full (S9.7)."""
        self._anchor(now)
        self.tat = max(now * self.amount + self.out * self.per, self.tat - count * self.per)

    def resize(self, amount: int, per: int, burst: int, now: int) -> None:
        """New figures for the same bucket (a reload): what is used stays used."""
        used = max(0, self.tat - now * self.amount)
        self.tat = now * amount - (-used * per // self.per)
        self.amount = amount
        self.per = per
        self.burst = burst

    def idle(self, now: int) -> bool:
        """Full and nothing lent: a new bucket is the same."""
        return self.out == 0 and self.tat <= now * self.amount

    def state(self) -> list[str | int]:
        """What a journal has to keep."""
        return [str(self.tat), self.out]

    def restore(self, state: list[str | int]) -> None:
        """Take over what :meth:`state` gave."""
        self.tat = int(state[0])
        self.out = int(state[1])

    def _anchor(self, now: int) -> None:
        """S9.4: time fills nothing that is out on lease."""
        self.tat = max(self.tat, now * self.amount + self.out * self.per)
