"""The promise of the books: what a call may cost is written before the provider hears it, what it did cost before the
client hears the end (LLM 10.1). The worker's side; ``control`` holds the other end.

Money is integers in n$. A *level* is one budget of one owner (a key, consumer, team, tenant, model), counted per
period. The charge lands in the period of admission.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Literal, Protocol

import msgspec

from tidegate.exchange.chat import Usage
from tidegate.exchange.ledger import LedgerRecord


class BudgetLevel(msgspec.Struct, frozen=True):
    """``id`` is unique on the node and tenant first: ``default/consumer/team-a``, ``default/model/fast/month``.
    ``limit`` in n$ a period; periods are UTC, weeks begin on Monday, ``total`` never ends."""

    id: str
    limit: int
    per: Literal["day", "week", "month", "total"] = "month"


class Refused(msgspec.Struct, frozen=True):
    """Why no money was set aside: the level that has too little, its figures in n$, seconds until it has more (0.0:
    never by itself)."""

    level: str
    limit: int
    spent: int
    reset: float = 0.0


class Reservation(Protocol):
    """Money set aside for one call; exactly one of ``settle`` and ``release`` ends it. ``amount`` in n$."""

    id: str
    amount: int

    def mark(self, usage: Usage) -> None:
        """Note how far the stream has come (each 4 KB or 2 s): what a crash would book."""

    def settle(self, record: LedgerRecord) -> Coroutine[Any, Any, None] | None:
        """Book ``record.cost``, give the rest back, write the record; before the terminal event. None: it is written;
        a coroutine with ``durability: full``. Raises ``Fault`` ``ledger_unavailable`` when it cannot be written.
        A second call changes nothing."""

    def release(self, record: LedgerRecord | None = None) -> None:
        """Nothing was spent: all of it back. The record, if any, is written all the same (a refusal, a failure)."""


class Books(Protocol):
    """The worker's door to the ledger and to the authority over budgets."""

    def exhausted(self, levels: tuple[BudgetLevel, ...]) -> Refused | None:
        """Known to have nothing left, without asking anybody: the quick refusal before any work."""

    def reserve(
        self, id: str, levels: tuple[BudgetLevel, ...], amount: int, model: str, deadline: float
    ) -> Reservation | Refused | Coroutine[Any, Any, Reservation | Refused]:
        """Take *amount* from every level or from none, and write the ``open`` line. Answers at once while the leases
        hold. Without levels nothing is taken, and the record is written all the same. Raises ``Fault``
        ``limiter_unavailable`` (the authority is away and the lease is empty) or ``ledger_unavailable``.
        *deadline*: seconds since the epoch until which the call may run."""

    def standing(self, level: BudgetLevel) -> tuple[int, int]:
        """(spent, left) in n$ as far as this worker knows; for headers only."""
