"""The journal of the limit authority: what limits must not forget when the process dies.

A file of records, each ``length, crc32, msgpack [time, state]``; the last state of a bucket counts. A record is
written before the grant it allows is sent, so a restart never knows less than the workers. Reading stops at the first
record that is not whole. A journal grown too long is written anew beside the old one, a slice a tick, and then renamed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

HEAD: Final = struct.Struct(">II")
LONGEST: Final = 1 << 20
"""Bytes of a record; the largest window has two maps of 61 sub-buckets."""
TOO_LONG: Final = 4 << 20
"""Bytes from which a journal of four times its last fresh size is written anew."""
SLICE: Final = 1000
"""Buckets copied a tick: about 2 ms."""
ALIVE: Final = 1_000_000_000
"""Nanoseconds between records that only say that we still run."""
RETRY: Final = 5_000_000_000
"""Nanoseconds until a journal that could not be written is tried anew."""


class Stateful(Protocol):
    """A bucket."""

    def state(self) -> list[Any]: ...


class Journal:
    """One journal file. Trouble with the disk stops the journal, not the limits: ``trouble`` tells, and a fresh file
    is tried later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh_path = path.with_name(path.name + ".new")
        self.encoder = msgspec.msgpack.Encoder()
        self.file = -1
        self.size = 0
        self.base = 0
        """Size when last written anew."""
        self.fresh = -1
        """The file being written anew, -1 when none is."""
        self.fresh_size = 0
        self.keys: list[Any] = []
        self.alive = 0
        self.retry_at = 0
        self.trouble = ""

    def read(self) -> Iterator[tuple[int, list[Any]]]:
        """Every record (time, state) of the file, oldest first; what follows the last whole one is cut off. Then the
        file is open for writing."""
        self.fresh_path.unlink(missing_ok=True)
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        data = self.path.read_bytes()
        decoder = msgspec.msgpack.Decoder(tuple[int, list[Any]])
        place = 0
        while place + HEAD.size <= len(data):
            length, check = HEAD.unpack_from(data, place)
            body = data[place + HEAD.size : place + HEAD.size + length]
            if length > LONGEST or len(body) < length or zlib.crc32(body) != check:
                break
            yield decoder.decode(body)
            place += HEAD.size + length
        os.ftruncate(self.file, place)
        self.size = place

    def write(self, states: list[list[Any]], now: int) -> None:
        """Append *states*, in one write."""
        frames = b"".join([self._frame(now, state) for state in states])
        self._append(frames)

    def tick(self, now: int, buckets: Mapping[Any, Stateful]) -> None:
        """Say that we live; write the journal anew when it is too long, a slice at a time."""
        if self.file < 0 and now >= self.retry_at:
            self.retry_at = now + RETRY
            self._start(buckets)
        if now - self.alive >= ALIVE:
            self.alive = now
            self._append(self._frame(now, []))
        if self.fresh < 0:
            if self.size > max(TOO_LONG, 4 * self.base):
                self._start(buckets)
            return
        frames = []
        for key in self.keys[-SLICE:]:
            bucket = buckets.get(key)
            if bucket is not None:
                frames.append(self._frame(now, bucket.state()))
        del self.keys[-SLICE:]
        try:
            _write(self.fresh, b"".join(frames))
            self.fresh_size += sum(map(len, frames))
            if not self.keys:
                self._finish()
        except OSError as error:
            self._failed(error)

    def sync(self) -> None:
        """Wait until the disk has it. May be called on another thread."""
        file = self.file
        try:
            if file >= 0:
                os.fdatasync(file)
        except OSError:
            pass  # closed or renamed meanwhile: the next call has the new file

    def close(self) -> None:
        """Let go of the files."""
        for file in (self.file, self.fresh):
            if file >= 0:
                os.close(file)
        self.file = self.fresh = -1

    def _frame(self, now: int, state: list[Any]) -> bytes:
        body = self.encoder.encode((now, state))
        return HEAD.pack(len(body), zlib.crc32(body)) + body

    def _append(self, frames: bytes) -> None:
        try:
            if self.file >= 0:
                _write(self.file, frames)
                self.size += len(frames)
            if self.fresh >= 0:
                _write(self.fresh, frames)
                self.fresh_size += len(frames)
        except OSError as error:
            self._failed(error)

    def _start(self, buckets: Mapping[Any, Stateful]) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            self.fresh = os.open(self.fresh_path, flags, 0o600)
        except OSError as error:
            self._failed(error)
            return
        self.fresh_size = 0
        self.keys = list(buckets)

    def _finish(self) -> None:
        os.rename(self.fresh_path, self.path)
        if self.file >= 0:
            os.close(self.file)
        self.file, self.fresh = self.fresh, -1
        self.size = self.base = self.fresh_size
        self.trouble = ""

    def _failed(self, error: OSError) -> None:
        """A half-written file is of no use: begin anew later."""
        self.trouble = error.strerror or "the journal cannot be written"
        self.close()


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
