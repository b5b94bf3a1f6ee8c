"""The sliding window of ``window: N/W`` (S9.2): at most N units in *any* time W. Nothing else lives here.

Time is cut into sub-buckets of W/60, the oldest counts whole. A lease (S9.4) is booked where its life ends, which is
never earlier than the spending of its last unit: so the window is longer by the lease life, and by no more. When the
lease ends sooner, what was spent moves to the moment of its end.
"""

from __future__ import annotations

from typing import Final

PIECES: Final = 60


class SlidingWindow:
    """One window. Its whole mutable state: units ``spent`` and ``lent`` by sub-bucket, and their ``total``.

    amount  N units
    per     W in nanoseconds
    """

    __slots__ = ("amount", "lent", "per", "spent", "total", "width")

    def __init__(self, amount: int, per: int) -> None:
        self.amount: int = amount
        self.per: int = per
        self.width: int = -(-per // PIECES)
        self.spent: dict[int, int] = {}
        self.lent: dict[int, int] = {}
        self.total: int = 0

    def take(self, cost: int, now: int) -> bool:
        """Charge *cost* units if they fit; a refusal stores nothing."""
        if cost > self.free(now):
            return False
        self._add(self.spent, now // self.width, cost)
        return True

    def free(self, now: int) -> int:
        """Whole units that could be taken or lent at *now*."""
        self._forget(now)
        return max(0, self.amount - self.total)

    def wait(self, cost: int, now: int) -> int:
        """Nanoseconds until *cost* units fit, 0 when they fit now. ``cost`` over N never fits: ask before."""
        missing = cost - self.free(now)
        if missing <= 0:
            return 0
        for piece in sorted(self.spent.keys() | self.lent.keys()):
            missing -= self.spent.get(piece, 0) + self.lent.get(piece, 0)
            if missing <= 0:
                return (piece + PIECES + 1) * self.width - now
        return self.per

    def more(self, now: int) -> int:
        """When the next units come free; *now* itself when none is in use."""
        self._forget(now)
        pieces = self.spent.keys() | self.lent.keys()
        return (min(pieces) + PIECES + 1) * self.width if pieces else now

    def lend(self, count: int, now: int, until: int) -> int:
        """Put *count* units on lease till *until*; they must be ``free``. The result is the lease's tag."""
        piece = max(now, until - 1) // self.width
        self._add(self.lent, piece, count)
        return piece

    def settle(self, count: int, rest: int, tag: int, now: int) -> None:
        """The lease *tag* of *count* units has ended; *rest* of them come back unspent."""
        self._remove(self.lent, tag, count)
        if count > rest:
            self._add(self.spent, min(tag, now // self.width), count - rest)
        self._forget(now)

    def refund(self, count: int, now: int) -> None:
        """Take back a charge of *count* units. The oldest go: who knows when they were spent, and those are safe."""
        self._forget(now)
        for piece in sorted(self.spent):
            back = min(count, self.spent[piece])
            self._remove(self.spent, piece, back)
            count -= back
            if count == 0:
                return

    def resize(self, amount: int, per: int, now: int) -> None:
        """New figures for the same window (a reload). With another W what is used counts as spent now."""
        self.amount = amount
        if per != self.per:
            spent = sum(self.spent.values())
            lent = dict(self.lent)
            width = self.width
            self.per = per
            self.width = -(-per // PIECES)
            self.spent = {}
            self.lent = {}
            self.total = 0
            self._add(self.spent, now // self.width, spent)
            for piece, count in lent.items():
                self._add(self.spent, max(now, (piece + 1) * width - 1) // self.width, count)

    def idle(self, now: int) -> bool:
        """Nothing in use: a new window is the same."""
        self._forget(now)
        return self.total == 0

    def state(self) -> list[dict[int, int]]:
        """What a journal has to keep."""
        return [dict(self.spent), dict(self.lent)]

    def restore(self, state: list[dict[int, int]]) -> None:
        """Take over what :meth:`state` gave."""
        self.spent = dict(state[0])
        self.lent = dict(state[1])
        self.total = sum(self.spent.values()) + sum(self.lent.values())

    def _add(self, pieces: dict[int, int], piece: int, count: int) -> None:
        if count > 0:
            pieces[piece] = pieces.get(piece, 0) + count
            self.total += count

    def _remove(self, pieces: dict[int, int], piece: int, count: int) -> None:
        here = pieces.get(piece, 0)
        gone = min(here, count)
        if gone == here:
            pieces.pop(piece, None)
        else:
            pieces[piece] = here - gone
        self.total -= gone

    def _forget(self, now: int) -> None:
        """Drop sub-buckets that no window ending now or later can touch."""
        if self.total == 0:
            return
        oldest = now // self.width - PIECES
        for pieces in (self.spent, self.lent):
            for piece in [piece for piece in pieces if piece < oldest]:
                self.total -= pieces.pop(piece)
