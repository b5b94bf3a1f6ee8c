"""Records as JSON lines, in a rotating file or on standard output (S26.11, S26.12).

The loop encodes records, a slice at a time, and hands the lines over each 100 ms. A thread writes: a disk that hangs
hangs the thread, the queue fills, and what comes then is dropped and counted. Requests do not notice. The thread does
nothing else, because a second thread that computes takes the interpreter from the loop hundreds of times a second.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import time
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Final, Literal, Protocol

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tidegate.exchange.record import Record
from tidegate.ports.settings import Size
from tidegate.ports.tools import Tools

WAITING_AT_MOST: Final = 10_000
"""Records held in memory (S26.12): half a second of a very busy worker."""
LINE_AT_MOST: Final = 4096
"""Bytes of one line (S26.11), its newline included: what a pipe still takes as one piece."""
ERRORS_A_SECOND: Final = 1000
"""Refusals and failures of our own logged in full; of those beyond, one in ``SAMPLE`` (S26.12)."""
SAMPLE: Final = 100
_SLICE: Final = 64
"""Records encoded in one go: about 0.05 ms."""
_PERIODS: Final = {"never": 0, "hour": 3600, "day": 86_400}
_CONTROL: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
"""Control and line-ending characters that JSON leaves as they are, and terminals and log readers do not."""


class Config(BaseModel):
    """Settings of ``access_log``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field("", description="Path of the file. Empty: logs/access.log in the data folder.")
    stdout: bool = Field(False, description="Write to standard output instead of a file.")
    max_size: Size = Field(100 * 1024 * 1024, ge=64 * 1024, description="A file this large is put aside as file.1.")
    every: Literal["never", "hour", "day"] = Field("never", description="Put the file aside also each UTC hour or day.")
    keep: int = Field(5, ge=0, le=1000, description="Files kept aside; older ones are deleted.")

    @model_validator(mode="after")
    def _one_place(self) -> Config:
        if self.stdout and self.file:
            raise ValueError("write file or stdout, not both")
        return self


class AccessLog:
    """The loop writes ``_waiting``, ``_encoded``, ``_lines`` and ``_handed``, the thread ``_done`` and ``_lost``; each
    reads the other's. They count records: ``_encoded`` those in ``_lines``, ``_handed`` all given to the thread."""

    def __init__(self, config: Config, tools: Tools) -> None:
        self._place: _Place
        if config.stdout:
            self._place = _Stream(1)
        else:
            path = tools.config_folder / config.file if config.file else tools.data_folder / "logs" / "access.log"
            self._place = _File(path, config.max_size, _PERIODS[config.every], config.keep)
        self._tools = tools
        self._dropped = tools.counter("records_dropped_total", sink="access_log")
        self._sampled = tools.counter("records_sampled_total", sink="access_log")
        self._waiting: list[Record] = []
        self._lines: list[bytes] = []
        self._encoded = 0
        self._handed = 0
        self._second = 0
        self._errors = 0
        self._queue: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._done = 0
        self._lost = 0
        self._lost_told = 0
        self._trouble = ""

    # -- the loop's side --------------------------------------------------------------------------------------------

    def write(self, record: Record) -> None:
        """Take *record*, unless an error storm is sampled or the queue is full."""
        if record.code and self._is_storm(record):
            return
        waiting = self._waiting
        if len(waiting) + self._encoded + self._handed - self._done >= WAITING_AT_MOST:
            self._dropped(1)
            return
        waiting.append(record)
        if len(waiting) >= _SLICE:
            self._encode()

    def _encode(self) -> None:
        self._lines.append(encode(self._waiting))
        self._encoded += len(self._waiting)
        self._waiting = []

    def _is_storm(self, record: Record) -> bool:
        second = int(record.ts)
        if second != self._second:
            self._second, self._errors = second, 0
        self._errors += 1
        if self._errors <= ERRORS_A_SECOND or self._errors % SAMPLE == 0:
            return False
        self._sampled(1)
        return True

    def flush(self) -> None:
        """Hand over what waits, and tell what the thread has lost since."""
        if self._waiting:
            self._encode()
        if self._encoded:
            self._handed += self._encoded
            self._queue.put((b"".join(self._lines), self._encoded))
            self._lines = []
            self._encoded = 0
            if self._thread is None:
                self._thread = Thread(target=self._run, name="access-log", daemon=True)
                self._thread.start()
        lost = self._lost - self._lost_told
        if lost:
            self._lost_told += lost
            self._dropped(lost)
            self._tools.log("error", "access log cannot be written", reason=self._trouble, lost=lost)

    def close(self) -> None:
        """Flush; a thread that hangs is left behind after 2 s."""
        self.flush()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(2.0)
            self._thread = None
            self.flush()

    # -- the thread's side ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            lines, count = batch
            try:
                self._place.write(lines)
            except OSError as error:
                self._trouble = error.strerror or type(error).__name__
                self._lost += count
            self._done += count
        self._place.close()


# -- lines ----------------------------------------------------------------------------------------------------------

_ENCODER: Final = msgspec.json.Encoder()


def encode(records: list[Record]) -> bytes:
    """*records* as lines of at most ``LINE_AT_MOST`` bytes, without a control character in them."""
    try:
        lines = _ENCODER.encode_lines(records)
    except UnicodeEncodeError:
        records = [_cleaned(record) for record in records]
        lines = _ENCODER.encode_lines(records)
    if not lines.isascii() or b"\x7f" in lines:
        lines = _CONTROL.sub(_escape, lines)
    if not _has_long_line(lines):
        return lines
    split = lines.split(b"\n")
    for number, record in enumerate(records):
        if len(split[number]) >= LINE_AT_MOST:
            split[number] = _shortened(record)
    return b"\n".join(split)


def _has_long_line(lines: bytes) -> bool:
    """Is some line of *lines* longer than ``LINE_AT_MOST``? Looks for one line end in each so many bytes."""
    at = 0
    while len(lines) - at > LINE_AT_MOST:
        at = lines.rfind(b"\n", at, at + LINE_AT_MOST) + 1
        if not at:
            return True
    return False


def _cleaned(record: Record) -> Record:
    """*record* with every lone surrogate (a token's claim may hold one) as a question mark."""
    texts = {
        name: value.encode("utf-8", "replace").decode("utf-8")
        for name in record.__struct_fields__
        if isinstance(value := getattr(record, name), str) and not value.isascii()
    }
    return msgspec.structs.replace(record, **texts)


def _shortened(record: Record) -> bytes:
    """The line of *record* with its longest texts cut, as little as does it."""
    line = b""
    for most in (512, 128, 32, 8):
        texts = {
            name: value[:most]
            for name in record.__struct_fields__
            if isinstance(value := getattr(record, name), str) and len(value) > most
        }
        line = _CONTROL.sub(_escape, _ENCODER.encode(msgspec.structs.replace(record, **texts)))
        if len(line) < LINE_AT_MOST:
            break
    return line


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match.group().decode("utf-8"))


# -- places ---------------------------------------------------------------------------------------------------------


class _Place(Protocol):
    def write(self, data: bytes) -> None:
        """Write all of *data*, or raise ``OSError``."""

    def close(self) -> None: ...


class _Stream:
    """A descriptor that was there before us, pipe or terminal; it may be non-blocking."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], 1.0)

    def close(self) -> None:
        pass


class _File:
    """One file that several workers append to. Who finds it full puts it aside; the others, and we when an operator's
    tool did it, notice by the inode and open the new one."""

    def __init__(self, path: Path, max_size: int, period: int, keep: int) -> None:
        self._path = path
        self._max_size = max_size
        self._period = period
        self._keep = keep
        self._descriptor = -1
        self._inode = 0
        self._opened_in = 0
        self._torn = False

    def write(self, data: bytes) -> None:
        self._make_ready()
        # After a full disk the last line may be half there: it ends here, so that the next one can be read.
        view = memoryview(b"\n" + data if self._torn else data)
        self._torn = True
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._torn = False

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _make_ready(self) -> None:
        """Have the right file open: the one at the path, not too large, not of an earlier hour or day."""
        if self._descriptor < 0 or self._moved():
            self._open()
        status = os.fstat(self._descriptor)
        if status.st_size and (status.st_size >= self._max_size or self._now() != self._opened_in):
            self._put_aside()

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        status = os.fstat(self._descriptor)
        self._inode = status.st_ino
        self._opened_in = int(status.st_mtime) // self._period if self._period and status.st_size else self._now()

    def _now(self) -> int:
        return int(time.time()) // self._period if self._period else 0

    def _moved(self) -> bool:
        try:
            return os.stat(self._path).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _put_aside(self) -> None:
        """Rename the file to ``.1``, ``.1`` to ``.2`` and so on, once: whoever waited for the lock finds it done."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        if not self._moved():
            for number in range(self._keep - 1, 0, -1):
                older = self._aside(number)
                if older.exists():
                    older.replace(self._aside(number + 1))
            if self._keep:
                self._path.replace(self._aside(1))
            else:
                self._path.unlink()
        self._open()

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
