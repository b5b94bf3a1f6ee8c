"""A worker's ledger: segments of lines that are on the disk before anybody acts on them (LLM 10.1).

One process, one file at a time, never appended to by another. A lock on the file lasts as long as the process, so that
control sees who is dead. Lines that others wait for are written at once, with all that has been put aside in the turn.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from time import gmtime, strftime
from typing import Final, Protocol

from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import HeadLine
from tidegate.wire.ledger_line import encode_line

LARGEST: Final = 16 << 20
"""Bytes after which a segment is sealed."""
LONGEST: Final = 3600.0
"""Seconds after which a segment is sealed."""
RETRY: Final = 1.0
"""Seconds until a ledger that cannot be written is tried again."""
MOST_OWED: Final = 10_000
"""Lines of what has happened already that wait for a disk that can be written again."""

Aside = Callable[[Callable[[], None], Callable[[OSError | None], None]], None]
"""Does the first on a thread, then calls the second on the loop with what went wrong."""


class Synced(Protocol):
    """Somebody who waits for the disk (``steps.Wait``)."""

    def complete(self, value: object = None) -> None: ...
    def fail(self, fault: BaseException) -> None: ...


class Ledger:
    """State: EMPTY until the first line, WRITING (``file`` is open), BROKEN until ``retry_at``, CLOSED.

    folder  where segments lie
    boot    names this life of this process; unique on the node
    now     monotonic seconds; *wall* seconds since the epoch
    soon    calls a function at the end of this loop turn
    aside   does slow disk work on a thread
    full    ``durability: full``: who waits for a line waits for the disk itself
    """

    def __init__(
        self,
        folder: Path,
        slot: int,
        boot: str,
        now: Callable[[], float],
        wall: Callable[[], float],
        soon: Callable[[Callable[[], None]], object],
        aside: Aside,
        full: bool = False,
        build: str = "",
    ) -> None:
        self.folder: Path = folder
        self.slot: int = slot
        self.boot: str = boot
        self.now = now
        self.wall = wall
        self.soon = soon
        self.aside = aside
        self.full: bool = full
        self.build: str = build
        self.file: int = -1
        self.alive: int = -1
        """The first segment again: its lock says that we live, whatever becomes of the file."""
        self.name: str = ""
        self.size: int = 0
        self.number: int = 0
        self.begun: float = 0.0
        self.retry_at: float = 0.0
        self.trouble: str = ""
        self.aside_lines: list[bytes] = []
        """Lines nobody waits for: they go with the next write, at the latest at the end of this turn."""
        self.flushing: bool = False
        self.owed: list[bytes] = []
        """Lines that could not be written and must not be forgotten."""
        self.lost: int = 0
        """Lines that were forgotten all the same: too many were owed."""
        self.waiting: list[Synced] = []
        """Who waits for the sync after the one under way."""
        self.unsynced: list[bytes] = []
        self.syncing: list[Synced] | None = None
        self.closed: bool = False

    # -- lines ------------------------------------------------------------------------------------------------------

    def write(self, line: bytes) -> None:
        """Write *line*, and what was put aside before it, now. Raises ``Fault`` ``ledger_unavailable``; then *line* is
        not in the ledger, and what was put aside is tried again."""
        aside = self.aside_lines
        data = b"".join([*aside, line]) if aside else line
        if self.file < 0 or self.size >= LARGEST:
            self._open()
        if not self._append(data):
            # Once more in a file of its own; readers know a line by its id, should it stand in both.
            self._open()
            if not self._append(data):
                self._broken(self.trouble or "the segment cannot be written")
        if aside:
            self.aside_lines = []
        if self.full:
            self.unsynced.append(data)

    def put(self, line: bytes) -> None:
        """Write *line* with the next one, or at the end of this turn: nobody waits for it."""
        self.aside_lines.append(line)
        if not self.flushing:
            self.flushing = True
            self.soon(self._flush)

    def owe(self, line: bytes) -> None:
        """*line* tells of what has happened and could not be written: try each second."""
        if len(self.owed) < MOST_OWED:
            self.owed.append(line)
        else:
            self.lost += 1

    def synced(self, wait: Synced) -> None:
        """Complete *wait* once everything written so far is on the disk; fail it with ``ledger_unavailable``."""
        self.waiting.append(wait)
        if self.syncing is None:
            self._sync()

    def position(self) -> tuple[str, int]:
        """The segment, and how far it is written; ("", 0) when nothing is."""
        return self.name, self.size

    def state(self) -> tuple[str, int, int]:
        """What is wrong with the disk ("" for nothing), lines that wait for it, lines that were given up."""
        return self.trouble, len(self.owed), self.lost

    def tick(self) -> None:
        """Each second or so: seal what is old, write what is owed; a ledger that broke is tried even when nobody calls,
        so that :meth:`state` tells how the disk is now."""
        now = self.now()
        if self.file < 0 and self.trouble and not self.closed and now >= self.retry_at:
            try:
                self._open()
            except Fault:
                return
        if self.file >= 0 and now - self.begun >= LONGEST:
            self._seal()
        if self.owed and now >= self.retry_at:
            lines = self.owed
            self.owed = []
            try:
                self.write(b"".join(lines))
            except Fault:
                self.owed = lines

    def close(self) -> None:
        """Write what is left, and let the disk have it."""
        if self.closed:
            return
        lines = self.aside_lines + self.owed
        self.aside_lines = []
        self.owed = []
        if lines:
            try:
                self.write(b"".join(lines))
            except Fault:
                self.lost += len(lines)
        self.closed = True
        if self.file >= 0:
            try:
                os.fsync(self.file)
            except OSError as error:
                self.trouble = error.strerror or "the segment cannot be synced"
            os.close(self.file)
            self.file = -1
        if self.alive >= 0:
            os.close(self.alive)
            self.alive = -1

    # -- files ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self.flushing = False
        if self.aside_lines and not self.closed:
            lines = self.aside_lines
            self.aside_lines = []
            try:
                self.write(b"".join(lines))
            except Fault:
                for line in lines:
                    self.owe(line)

    def _append(self, data: bytes) -> bool:
        """Whether *data* is wholly in the file; a file that took a piece is cut back and sealed."""
        try:
            count = os.write(self.file, data)
            if count == len(data):
                self.size += count
                return True
            self.trouble = "the disk took a piece of a line"
        except OSError as error:
            self.trouble = error.strerror or "the segment cannot be written"
        try:
            os.ftruncate(self.file, self.size)
        except OSError:
            pass  # a torn line is none to whoever reads it
        self._seal()
        return False

    def _open(self) -> None:
        """Begin a segment; the one before is let go once this one is locked. Raises ``Fault``."""
        if self.closed:
            raise Fault("ledger_unavailable", "This worker is ending.", retry_after=RETRY)
        now = self.now()
        if now < self.retry_at:
            raise Fault("ledger_unavailable", "The ledger cannot be written.", retry_after=RETRY)
        self.number += 1
        name = f"{strftime('%Y%m%dT%H%M%SZ', gmtime(self.wall()))}-{self.boot}-w{self.slot}-{self.number:06d}.log"
        head = encode_line(HeadLine(self.boot, self.slot, os.getpid(), self.build))
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(self.folder / name, flags, 0o600)
        except OSError as error:
            self._broken(error.strerror or "no segment can be made")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.write(file, head) != len(head):
                raise OSError(28, "No space left on device")
            if self.full:
                os.fsync(file)
                folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            os.close(file)
            try:
                os.unlink(self.folder / name)
            except OSError:
                pass  # an empty segment harms nobody
            self._broken(error.strerror or "no segment can be made")
        self._seal()
        if self.alive < 0:
            self.alive = os.dup(file)
        self.file = file
        self.name = name
        self.size = len(head)
        self.begun = now
        self.trouble = ""
        # What the file before has not brought to the disk yet is said again: its own sync may fail unheard.
        if self.unsynced and not self._append(b"".join(self.unsynced)):
            self._broken(self.trouble or "the segment cannot be written")

    def _broken(self, trouble: str) -> None:
        self.retry_at = self.now() + RETRY
        self.trouble = trouble
        raise Fault("ledger_unavailable", "The ledger cannot be written.", retry_after=RETRY)

    def _seal(self) -> None:
        """No line goes into this file any more; the disk gets it, and the lock ends."""
        file = self.file
        if file < 0:
            return
        self.file = -1

        def sync() -> None:
            try:
                os.fsync(file)
            finally:
                os.close(file)

        self.aside(sync, self._sealed)

    def _sealed(self, error: OSError | None) -> None:
        if error is not None:
            self.trouble = error.strerror or "a segment cannot be synced"

    # -- the disk itself --------------------------------------------------------------------------------------------

    def _sync(self) -> None:
        """Begin a sync for all who wait; who comes meanwhile rides the next."""
        waiting = self.waiting
        self.waiting = []
        lines = self.unsynced
        if self.file < 0:
            self._again(waiting)
            return
        self.unsynced = []
        self.syncing = waiting
        file = os.dup(self.file)

        def sync() -> None:
            try:
                os.fdatasync(file)
            finally:
                os.close(file)

        def done(error: OSError | None) -> None:
            self.syncing = None
            if error is None:
                for wait in waiting:
                    wait.complete()
            else:
                # The kernel may have dropped what it could not write: this file is of no more use.
                self.trouble = error.strerror or "the segment cannot be synced"
                self._seal()
                self.unsynced = lines + self.unsynced
                self._again(waiting)
            if self.waiting and self.syncing is None:
                self._sync()

        self.aside(sync, done)

    def _again(self, waiting: list[Synced]) -> None:
        """What a sealed file did not bring to the disk goes into a new one, once."""
        fault: Fault | None = None
        try:
            self._open()
            os.fdatasync(self.file)
            self.unsynced = []
        except Fault as refused:
            fault = refused
        except OSError as error:
            self.trouble = error.strerror or "the segment cannot be synced"
            self._seal()
            fault = Fault("ledger_unavailable", "The ledger cannot be written.", retry_after=RETRY)
        if fault is not None:
            self.unsynced = []
        for wait in waiting:
            if fault is None:
                wait.complete()
            else:
                wait.fail(fault)
