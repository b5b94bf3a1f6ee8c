"""The retry budget of one upstream over all workers of a node, by way of the shared segment (S14.4)."""

from __future__ import annotations

from tidegate.engine.segment import RETRIES, Row, retries_parts, retries_word
from tidegate.rules.retry_budget import SECONDS, RetryBudget


class NodeBudget(RetryBudget):
    """A worker tells its own sums in its row and adds those of the others to its own. Two that look at the same moment
    may both take the last unit. Without a place in the segment a worker has its part of *floor* for itself."""

    __slots__ = ("floor_of_node", "others", "own", "row", "workers")

    def __init__(self, percent: float, floor: float, row: Row | None, slot: int, workers: int) -> None:
        super().__init__(percent, floor)
        self.floor_of_node = floor
        self.row = row
        self.workers = workers
        self.own = -1
        self.others: tuple[int, ...] = ()
        self.take_place(slot)

    def take_place(self, slot: int) -> None:
        """*slot*: the upstream's place in the segment, -1 when it has none."""
        row = self.row
        offset = -1 if row is None else row.upstream(slot)
        if row is None or offset < 0:
            self.own = -1
            self.others = ()
        else:
            self.own = row.base + offset + RETRIES
            self.others = tuple(base + offset + RETRIES for base in row.others)
        self.configure(self.share * 100.0, self.floor_of_node)

    def configure(self, percent: float, floor: float) -> None:
        self.floor_of_node = floor
        super().configure(percent, floor if self.own >= 0 else floor / self.workers)

    def left(self, now: float) -> int:
        """This worker's part of what could be made now: the parts of all are added up in metrics."""
        left = super().left(now)
        return left // self.workers if self.own >= 0 else left

    def elsewhere(self, second: int) -> tuple[int, int]:
        firsts = extras = 0
        row = self.row
        if row is not None:
            for place in self.others:
                told, first, extra = retries_parts(row.words[place])
                if (second - told) & 0xFFFFFF < SECONDS:
                    firsts += first
                    extras += extra
        return firsts, extras

    def tell(self) -> None:
        row = self.row
        if row is not None and self.own >= 0:
            row.words[self.own] = retries_word(self.second, self.first, self.extra)
