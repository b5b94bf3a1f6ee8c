"""Reads the workers' ledgers and brings what they say into the books (LLM 10.1). Runs on a thread of its own.

A pass reads every segment from where the last one stopped. A boot whose lock is free is dead: once its segments are
read to the end, what it left open is booked at what was set aside for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from tidegate.control.books import Key, Read
from tidegate.control.books_store import REMEMBERED, Batch, BooksError, BookStore, Changes, OpenCall, hour_of
from tidegate.exchange.ledger import DoneLine, FixLine, LedgerRecord, Line, OpenLine
from tidegate.rules.batch_objects import MARK
from tidegate.wire.ledger_line import LONGEST, decode_line, whole_lines

LINES: Final = 5000
"""Lines in one transaction."""
CHUNK: Final = 1 << 20
OVERTIME: Final = 60.0
"""Seconds past its deadline after which a call that is still open is booked."""
LATE: Final = 86_400.0
"""Seconds for which the end of a call that was booked so may still be heard of."""
LONG_PAST: Final = 400 * 86_400.0
"""Seconds after which nobody asks what a period has cost: budgets never go back to it."""
TIDY: Final = 60.0
"""Seconds between two looks for segments that are kept long enough."""

OWNERS: Final = 4
"""Of the dimensions of usage, those that tell whose it is: tenant, team, consumer, key."""

NAME: Final = re.compile(r"\d{8}T\d{6}Z-([0-9a-z]+)-w\d+-(\d{6,})\.log").fullmatch


class Shipping:
    """The reader of one ledger folder.

    keep  seconds for which a segment is kept after its last line
    wall  seconds since the epoch
    """

    def __init__(self, folder: Path, store: BookStore, wall: Callable[[], float], keep: float) -> None:
        self.folder = folder
        self.store = store
        self.wall = wall
        self.keep = keep
        self.positions: dict[str, int] = {}
        self.open: dict[str, OpenCall] = {}
        self.settled: dict[str, None] = {}
        self.latest = 0.0
        self.over: set[str] = set()
        """Boots that are dead and read to the end."""
        self.damaged = 0
        """Lines that could not be read."""
        self.lines = 0
        self.trouble = ""
        """Why the last pass came to nothing."""
        self.tidied = 0.0
        self.read = Read({}, {}, {})
        self.changes = Changes()
        self.costs: dict[tuple[str, str, str], int] = {}
        self.after: dict[tuple[str, str, str], int] = {}
        self.recall()

    def recall(self) -> None:
        """Go on with what the store knows."""
        known = self.store.known()
        self.positions = known.positions
        self.open = known.open
        self.settled = dict.fromkeys(known.settled)
        self.latest = known.latest

    def run(self, cuts: dict[str, tuple[str, int]], dead: Collection[str], live: Collection[str]) -> Read:
        """One pass. *cuts*: boot → place; costs of lines behind it are told apart. *dead*: boots whose process is gone
        for sure; *live*: boots that are connected."""
        read = self.read = Read({}, {}, {})
        self._begin()
        buried = set(dead)
        try:
            boots = self._segments()
            # Looked at before reading: who is dead now writes nothing more.
            buried |= {
                boot
                for boot, names in boots.items()
                if boot not in live and boot not in self.over and not any(self._locked(name) for name in names)
            }
            for boot, cut in cuts.items():
                self._look_back(boot, boots.get(boot, []), cut)
            for boot, names in boots.items():
                if boot not in self.over:
                    for name in names:
                        self._read(boot, name, cuts.get(boot), boot in buried)
            self._book_late(buried)
            self._tidy(boots)
            self._commit()
            self.over |= buried
            self.trouble = ""
            foreign = self._foreign(boots.keys() - self.over - set(live))
        except (OSError, BooksError) as error:
            # What has been committed counts; the rest is read again.
            self.trouble = str(error) or type(error).__name__
            with contextlib.suppress(BooksError):
                self.recall()
            return read._replace(whole=False)
        return read._replace(buried=frozenset(buried), foreign=foreign)

    # -- segments -----------------------------------------------------------------------------------------------------

    def _segments(self) -> dict[str, list[str]]:
        """Boot → its segments, in the order in which they were written."""
        found: dict[str, list[tuple[int, str]]] = {}
        for name in os.listdir(self.folder):
            match = NAME(name)
            if match is not None:
                found.setdefault(match[1], []).append((int(match[2]), name))
        return {boot: [name for _, name in sorted(numbered)] for boot, numbered in sorted(found.items())}

    def _locked(self, name: str) -> bool:
        """Whether the process that wrote *name* lives."""
        file = os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def _read(self, boot: str, name: str, cut: tuple[str, int] | None, dead: bool) -> None:
        place = self.positions.get(name, 0)
        path = self.folder / name
        if path.stat().st_size <= place:
            return
        number = number_of(name)
        with path.open("rb", buffering=0) as file:
            file.seek(place)
            rest = b""
            while data := file.read(CHUNK):
                data = rest + data
                for raw in whole_lines(data):
                    place += len(raw) + 1
                    line = decode_line(raw)
                    if line is None:
                        self.damaged += 1
                        continue
                    behind = cut is not None and (number, place) > (number_of(cut[0]), cut[1])
                    self._take(line, boot, behind)
                    self.changes.lines += 1
                    if self.changes.lines >= LINES:
                        self._place(name, place)
                        self._commit()
                rest = data[data.rfind(b"\n") + 1 :]
                if len(rest) > LONGEST:
                    place += len(rest)
                    rest = b""
                    self.damaged += 1
            if rest and dead:
                place += len(rest)
                self.damaged += 1
        self._place(name, place)

    def _look_back(self, boot: str, names: list[str], cut: tuple[str, int]) -> None:
        """Passes before this one may have read past the place of which the hello speaks: it was under way meanwhile."""
        for name in names:
            read = self.positions.get(name, 0)
            begin = cut[1] if name == cut[0] else 0
            if number_of(name) < number_of(cut[0]) or begin >= read:
                continue
            with (self.folder / name).open("rb") as file:
                file.seek(begin)
                for raw in whole_lines(file.read(read - begin)):
                    line = decode_line(raw)
                    if isinstance(line, DoneLine):
                        for level, period in line.record.levels:
                            key = (boot, level, period)
                            self.after[key] = self.after.get(key, 0) + max(0, line.record.cost)

    def _place(self, name: str, place: int) -> None:
        self.positions[name] = place
        self.changes.positions[name] = place

    # -- lines --------------------------------------------------------------------------------------------------------

    def _take(self, line: Line, boot: str, behind: bool) -> None:
        """What *line* changes; nothing when it has been taken before."""
        if isinstance(line, DoneLine):
            record = line.record
            if not self._first_time(record.id) or (record.batch and not self._heed_batch(record)):
                return
            cost = max(0, record.cost)
            if not self._close(record.id, record.levels, cost):
                for level, period in record.levels:
                    self._charge(boot, level, period, cost, behind)
            self._count(record)
        elif isinstance(line, OpenLine):
            if line.id not in self.settled and line.id not in self.open:
                call = OpenCall(line.id, boot, line.ts, line.deadline, line.amount, line.model, line.levels)
                self.open[line.id] = call
                self.changes.opened[line.id] = call
        elif isinstance(line, FixLine):
            self._fix(line, boot, behind)

    def _heed_batch(self, record: LedgerRecord) -> bool:
        """Remember whose batch it is that *record* names, and book it once for ever; False when *record* counts for
        nothing: another poll has booked it."""
        name = record.batch
        known = self.changes.batches.get(name) or self.store.batch(name)
        usage = record.id == MARK + name
        if not usage:
            if known is None:
                self.changes.batches[name] = Batch(dimensions_of(record), False)
            return True
        self._close(record.id, record.levels, 0)  # each of its lines has been opened
        if known is not None and known.booked:
            return False
        whose = known.whose if known is not None else dimensions_of(record)
        self.changes.batches[name] = Batch(whose, True)
        # The tenant to the key: of who made it; what was used, and where, of the record.
        self._add_usage(record.ts, whose[:OWNERS] + dimensions_of(record)[OWNERS:], figures_of(record))
        return False

    def _fix(self, line: FixLine, boot: str, behind: bool) -> None:
        if not self._first_time(f"{line.id} {line.ts} {line.cost}"):
            return
        if line.id in self.open:
            self._first_time(line.id)
            if self._close(line.id, line.levels, line.cost):
                return
            boot_pays = boot
        else:
            boot_pays = ""  # the money left what that worker held when the call was settled
        for level, period in line.levels:
            self._charge(boot_pays, level, period, line.cost, behind)
        if line.cost:
            levels = line.levels
            self._add_usage(line.ts, dimensions(tenant_of(levels)), [0, 0, 0, 0, 0, line.cost, 0, 0, 0])

    def _first_time(self, id: str) -> bool:
        if id in self.settled:
            return False
        self.settled[id] = None
        self.changes.settled.append(id)
        if len(self.settled) > REMEMBERED:
            del self.settled[next(iter(self.settled))]
        return True

    def _close(self, id: str, levels: tuple[Key, ...], cost: int) -> bool:
        """The call *id* is over; True when it was booked at its reserve, which is now put right."""
        call = self.open.pop(id, None)
        if call is None:
            return False
        if self.changes.opened.pop(id, None) is None or call.estimated:
            self.changes.closed.add(id)
        if not call.estimated:
            return False
        for level, period in call.levels:
            self._charge("", level, period, -call.amount, False)
        for level, period in levels:
            self._charge("", level, period, cost, False)
        self._add_usage(call.ts, estimated_as(call), [-1, 0, 0, 0, 0, -call.amount, 0, 0, -1])
        return True

    def _charge(self, boot: str, level: str, period: str, cost: int, behind: bool) -> None:
        """*cost* was spent, out of what *boot* held ("": out of nobody's)."""
        spent = self.changes.spent
        spent[level, period] = spent.get((level, period), 0) + cost
        if boot:
            key = (boot, level, period)
            self.costs[key] = self.costs.get(key, 0) + cost
            if behind:
                self.after[key] = self.after.get(key, 0) + cost

    def _book_late(self, buried: Collection[str]) -> None:
        """Book what dead boots left open, and what is open long after its deadline; forget what is settled for good."""
        now = self.wall()
        for call in list(self.open.values()):
            if call.estimated:
                if call.deadline + LATE < now:
                    del self.open[call.id]
                    self.changes.closed.add(call.id)
                continue
            dead = call.boot in buried or call.boot in self.over
            if not dead and call.deadline + OVERTIME >= now:
                continue
            booked = call._replace(estimated=True)
            self.open[call.id] = booked
            self.changes.opened[call.id] = booked
            for level, period in call.levels:
                self._charge(call.boot, level, period, call.amount, True)
            self._add_usage(call.ts, estimated_as(call), [1, 0, 0, 0, 0, call.amount, 0, 0, 1])

    def _foreign(self, boots: Collection[str]) -> dict[Key, int]:
        """What *boots* have set aside: they live and are not connected. A moment after their start our own workers are
        among them; what they were lent is told by what they hold."""
        found: dict[Key, int] = {}
        for call in self.open.values() if boots else ():
            if call.boot in boots and not call.estimated:
                for level, period in call.levels:
                    found[level, period] = found.get((level, period), 0) + call.amount
        return found

    # -- usage --------------------------------------------------------------------------------------------------------

    def _count(self, record: LedgerRecord) -> None:
        self._add_usage(record.ts, dimensions_of(record), figures_of(record))

    def _add_usage(self, ts: float, key: tuple[str, ...], figures: list[int]) -> None:
        known = self.changes.usage.setdefault((hour_of(ts), *key), [0] * len(figures))
        for number, figure in enumerate(figures):
            known[number] += figure

    # -- the store ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.changes = Changes()
        self.costs = {}
        self.after = {}

    def _commit(self) -> None:
        """Everything taken since the last time becomes true at once; only then does anybody hear of it."""
        changes = self.changes
        if not changes.empty():
            self.latest = max(self.latest, self.wall())
            changes.latest = self.latest
            self.read.spent.update(self.store.apply(changes))
        for told, found in ((self.read.costs, self.costs), (self.read.after, self.after)):
            for key, cost in found.items():
                told[key] = told.get(key, 0) + cost
        self.lines += changes.lines
        self._begin()

    def _tidy(self, boots: dict[str, list[str]]) -> None:
        """Remove segments that are read and kept long enough, of boots that are dead."""
        now = self.wall()
        if now - self.tidied < TIDY:
            return
        self.tidied = now
        self.store.forget(hour_of(max(self.latest, now) - LONG_PAST)[:7])
        for name in [name for names in boots.values() for name in names]:
            found = (self.folder / name).stat()
            read = self.positions.get(name, 0) >= found.st_size
            if read and now - found.st_mtime > self.keep and not self._locked(name):
                (self.folder / name).unlink()
        for name in [name for name in self.positions if not (self.folder / name).exists()]:
            del self.positions[name]
            self.changes.positions.pop(name, None)
            self.changes.removed.append(name)


def dimensions_of(record: LedgerRecord) -> tuple[str, ...]:
    """Where *record* is counted, as ``books_store.DIMENSIONS``."""
    return (
        record.tenant, record.team, record.consumer, record.key_id, record.asked or record.model, record.model,
        record.provider, record.route, record.surface,
    )  # fmt: skip


def figures_of(record: LedgerRecord) -> list[int]:
    """What *record* adds, as ``books_store.FIGURES``."""
    usage = record.usage
    return [
        1,
        1 if record.status >= 400 else 0,
        max(0, usage.input) if usage is not None else 0,
        max(0, usage.output) if usage is not None else 0,
        max(0, usage.cache_read) if usage is not None else 0,
        max(0, record.cost),
        record.saved,
        record.waste,
        1 if "estimated" in record.flags else 0,
    ]


def number_of(segment: str) -> int:
    """The how-manieth of its boot *segment* is; 0 for none."""
    match = NAME(segment)
    return int(match[2]) if match is not None else 0


def tenant_of(levels: tuple[Key, ...]) -> str:
    """The tenant whose levels these are."""
    return levels[0][0].partition("/")[0] if levels else ""


def dimensions(tenant: str, model: str = "") -> tuple[str, ...]:
    """Where usage is counted of which no more is known."""
    return (tenant, "", "", "", model, "", "", "", "")


def estimated_as(call: OpenCall) -> tuple[str, ...]:
    """Where a call is counted whose end nobody has heard of."""
    return dimensions(tenant_of(call.levels), call.model)
