"""Keeps the books of the node (LLM 10.1): reads the ledgers each second on a thread, lends money on the loop.

What is said before the books are open waits; nothing is lent before they are.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tidegate.control.books import BudgetAuthority, Message
from tidegate.control.books_store import BooksError, BookStore
from tidegate.control.ledger_shipping import Shipping
from tidegate.control.usage_reading import FINER, PriceOf, read_usage

EACH: Final = 1.0
"""Seconds between two passes over the ledgers."""
KEEP: Final = 90 * 86_400.0
"""Seconds for which segments are kept."""
LOCK_TRIES: Final = 50
LOCK_WAIT: Final = 0.02
"""Seconds between two tries; the thread of the books waits, nobody else."""
BEHIND: Final = 10.0
"""Seconds since the ledgers were last read to their ends after which operators hear of it."""
MOST_EARLY: Final = 100_000
"""Messages that may wait for the books to open."""


class Usage(NamedTuple):
    """Figures, and the time (seconds since the epoch) up to which they are whole."""

    rows: list[dict[str, Any]]
    as_of: float


class Standing(NamedTuple):
    """How the books are.

    open     whether budgets can be lent from
    trouble  why they cannot be kept, "" for nothing
    behind   seconds since every ledger was read to its end
    damaged  lines of ledgers that could not be read
    overrun  times that a budget was passed by a call that cost more than was set aside
    """

    open: bool
    trouble: str
    behind: float
    damaged: int
    overrun: int

    def doubt(self) -> str:
        """What operators should hear of, in words; "" when all is well."""
        if self.trouble:
            return f"the books cannot be kept: {self.trouble}"
        return f"the books are {self.behind:.0f} s behind" if self.behind > BEHIND else ""


class Bookkeeper:
    """State: NEW until ``start``, OPENING, OPEN (``authority`` is there), CLOSED.

    data  the data folder: ``books.sqlite`` and ``ledger/`` in it
    send  sends one message to the worker of a row
    say   tells the operator
    fresh  the gateway is starting: no worker can hold money of an earlier control
    """

    def __init__(
        self,
        data: Path,
        now: Callable[[], float],
        wall: Callable[[], float],
        send: Callable[[int, Message], object],
        workers: int = 1,
        keep: float = KEEP,
        say: Callable[[str], None] = lambda text: None,
        replace: Callable[[int], object] | None = None,
        fresh: bool = False,
    ) -> None:
        self.data = data
        self.now = now
        self.wall = wall
        self.send = send
        self.workers = workers
        self.keep = keep
        self.say = say
        self.replace = replace or kill
        self.started = False
        self.closed = False
        self.store: BookStore | None = None
        self.shipping: Shipping | None = None
        self.authority: BudgetAuthority | None = None
        self.hellos: dict[int, tuple[int, Message | None]] = {}
        """Row → pid and what it holds, as said before the books were open."""
        self.pids: Mapping[int, bool] | None = {} if fresh else None
        self.early: list[tuple[int, Message]] = []
        self.dead: set[str] = set()
        """Boots whose process is gone, to be buried."""
        self.passing: asyncio.Task[None] | None = None
        self.passed_at = float("-inf")
        self.wanted = False
        self.as_of = 0.0
        self.whole_at = 0.0
        """When the last pass began that read every ledger to its end, by *now*."""
        self.trouble = ""
        self.lock = -1
        self.reading = asyncio.Lock()

    def has_books(self) -> bool:
        """Whether money was spent here before."""
        return (self.data / "books.sqlite").exists() or any((self.data / "ledger").glob("*.log"))

    def set_keep(self, keep: float) -> None:
        """Keep segments for *keep* seconds from now on."""
        self.keep = keep
        if self.shipping is not None:
            self.shipping.keep = keep

    def start(self) -> None:
        """Open the books and begin to read. Later calls do nothing."""
        if self.started:
            return
        self.whole_at = self.now()
        self.started = True
        self.wanted = True

    # -- what is heard ------------------------------------------------------------------------------------------------

    def crew(self, pids: Mapping[int, bool]) -> None:
        """These workers live, as the supervisor says; True: and are ready."""
        if self.pids is None:
            self.pids = pids
        if self.authority is not None:
            self.authority.crew(pids)

    def gone(self, row: int, pid: int) -> None:
        """The worker *pid* is dead."""
        if row in self.hellos and self.hellos[row][0] == pid:
            del self.hellos[row]
        if self.authority is not None:
            self.dead.update(self.authority.gone(pid))
            self.wanted = True

    def hello(self, row: int, pid: int, told: Message | None) -> None:
        """A worker is there."""
        if self.authority is None:
            self.hellos[row] = (pid, told)
            self.early = [each for each in self.early if each[0] != row]
        else:
            self.authority.hello(row, pid, told)
            self.wanted = True

    def handle(self, row: int, message: Message) -> None:
        """Take a message of the worker *row*; kinds that are not about money are skipped."""
        if self.authority is not None:
            self.authority.handle(row, message)
        elif self.started and len(self.early) < MOST_EARLY:
            self.early.append((row, message))

    # -- time ---------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Each 10 ms."""
        if not self.started or self.closed:
            return
        if self.authority is not None:
            self.authority.tick()
        now = self.now()
        if self.passing is None and (now - self.passed_at >= EACH or (self.wanted and not self.trouble)):
            self.passed_at = now
            self.wanted = False
            self.passing = asyncio.get_running_loop().create_task(self._pass())

    async def _pass(self) -> None:
        try:
            if self.authority is None:
                await asyncio.to_thread(self._open)
                self._opened()
            authority, shipping = self.authority, self.shipping
            assert authority is not None and shipping is not None
            cuts = authority.cuts()
            dead = frozenset(self.dead)
            live = frozenset(authority.rows.values()) - dead
            begun, clock = self.wall(), self.now()
            read = await asyncio.to_thread(shipping.run, cuts, dead, live)
            if read.whole:
                self.as_of, self.whole_at = begun, clock
            authority.passed(read, cuts)
            self.dead -= read.buried
            self._note(shipping.trouble)
        except (OSError, BooksError) as error:
            self._note(str(error) or type(error).__name__)
        except Exception as error:
            traceback.print_exc()
            self._note(type(error).__name__)
        finally:
            self.passing = None

    def _open(self) -> None:
        folder = self.data / "ledger"
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.lock < 0:
            self.lock = lock_ledgers(folder)
        store = BookStore(self.data / "books.sqlite")
        self.shipping = Shipping(folder, store, self.wall, self.keep)
        self.store = store

    def _opened(self) -> None:
        """The books are open: say to them what came before."""
        assert self.store is not None and self.shipping is not None
        self.shipping.keep = self.keep  # it may have been set while they were opened
        authority = BudgetAuthority(
            self.store.spent, self.now, self.wall, self.send, self.workers, self.replace, self.shipping.latest
        )
        for row, (pid, told) in self.hellos.items():
            authority.hello(row, pid, told)
        if self.pids is not None:
            authority.crew(self.pids)
        for row, message in self.early:
            authority.handle(row, message)
        self.hellos = {}
        self.early = []
        self.authority = authority

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            self.say(f"the books cannot be kept: {trouble}")
        elif self.trouble and not trouble:
            self.say("the books are kept again")
        self.trouble = trouble

    # -- operators ----------------------------------------------------------------------------------------------------

    def standing(self) -> Standing | None:
        """How the books are; None when there are none."""
        if not self.started:
            return None
        damaged = self.shipping.damaged if self.shipping is not None else 0
        opened = self.authority is not None
        overrun = self.authority.over if self.authority is not None else 0
        return Standing(opened, self.trouble, max(0.0, self.now() - self.whole_at), damaged, overrun)

    async def usage(
        self, begin: str, end: str, by: Sequence[str], bucket: str, price_of: PriceOf | None = None
    ) -> Usage:
        """As ``books_store.BookStore.usage``; nothing while the books are closed. What only the ledgers tell
        (``usage_reading``) is read from them, one report at a time. Raises ``OSError``."""
        if price_of is not None or not set(FINER).isdisjoint(by):
            async with self.reading:
                begun = self.wall()
                rows = await asyncio.to_thread(
                    read_usage, self.data / "ledger", begin, end, by, bucket, price_of
                )  # fmt: skip
                return Usage(rows, begun)
        if self.store is None:
            return Usage([], self.wall() if not self.started else self.as_of)
        return Usage(await asyncio.to_thread(self.store.usage, begin, end, by, bucket), self.as_of)

    async def close(self) -> None:
        """Let go of the files, after the pass that is under way."""
        self.closed = True
        if self.passing is not None:
            await self.passing
        if self.store is not None:
            self.store.close()
        if self.lock >= 0:
            os.close(self.lock)


def lock_ledgers(folder: Path) -> int:
    """The descriptor of *folder*, held for us alone: two that read ledgers would book each line twice. Raises
    ``OSError`` when another control keeps the books for longer than it may take to end."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_WAIT)
        else:
            return file
    os.close(file)
    raise OSError("another control still keeps them")


def kill(pid: int) -> None:
    """The worker *pid* holds money and does not say how much: the supervisor starts another."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
