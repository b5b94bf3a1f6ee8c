"""The shared segment: what all workers of a machine should see alike and need not be exact (ARCHITECTURE 11).

A memfd of aligned 64-bit words, made by the supervisor before it forks. Every row has **one writer**: each worker
writes its own row, control (with the prober) the last one, and everybody reads all rows and adds them up. There is no
lock and no atomic instruction: a store is one aligned copy of 8 bytes, so a reader sees the old word or the new one,
never half of each. When a process dies, the supervisor frees its row.

In here is only where a word lies and what its bits mean; what follows from the words is decided by their readers.
Times in words are monotonic (one clock for the whole machine), so they can be compared between processes.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from typing import Final

MAGIC: Final = 0x7469646567617465
VERSION: Final = 1
PREFACE: Final = 8
"""Words before the first row: magic, version, rows, endpoint slots, upstream slots, ring."""

ROW_HEAD: Final = 8
HEARTBEAT: Final = 0
CONNECTIONS: Final = 1
WORKING_ON: Final = 2

ENDPOINT_WORDS: Final = 4
IN_FLIGHT: Final = 0
AVERAGE: Final = 1
AVERAGE_AT: Final = 2
EJECTED: Final = 3
HEALTH: Final = 0
"""In control's row the first word of an endpoint's slot is its active check, see :func:`health_word`."""

UPSTREAM_WORDS: Final = 4
BREAKER: Final = 0
PROBES: Final = 1
RETRIES: Final = 2
RING: Final = UPSTREAM_WORDS
"""Words of an upstream's slot before its ring of results."""

MASK: Final = (1 << 64) - 1


class Segment:
    """The whole segment. Make one with :meth:`create` (memfd), :meth:`attach` (an inherited memfd) or :meth:`local`
    (plain memory: tests, single-process engines)."""

    __slots__ = ("endpoints", "fd", "memory", "ring", "row_words", "rows", "upstreams", "words")

    def __init__(
        self, memory: bytearray | mmap.mmap, fd: int, rows: int, endpoints: int, upstreams: int, ring: int
    ) -> None:
        self.memory = memory
        self.fd = fd
        self.rows = rows
        self.endpoints = endpoints
        self.upstreams = upstreams
        self.ring = ring
        self.row_words = row_words(endpoints, upstreams, ring)
        self.words: memoryview[int] = memoryview(memory).cast("Q")

    @staticmethod
    def create(workers: int, endpoints: int = 4096, upstreams: int = 512, ring: int = 256) -> Segment:
        """A new segment in a memfd, with a row for each of *workers* and one for control. Pages that nobody writes
        cost nothing. The descriptor survives an exec."""
        rows = workers + 1
        size = 8 * (PREFACE + rows * row_words(endpoints, upstreams, ring))
        fd = os.memfd_create("tidegate-segment", 0)
        os.ftruncate(fd, size)
        segment = Segment(mmap.mmap(fd, size), fd, rows, endpoints, upstreams, ring)
        segment._sign()
        return segment

    @staticmethod
    def local(workers: int = 1, endpoints: int = 256, upstreams: int = 64, ring: int = 256) -> Segment:
        """The same in plain memory of this process."""
        rows = workers + 1
        size = 8 * (PREFACE + rows * row_words(endpoints, upstreams, ring))
        segment = Segment(bytearray(size), -1, rows, endpoints, upstreams, ring)
        segment._sign()
        return segment

    @staticmethod
    def attach(fd: int) -> Segment:
        """The segment behind an inherited descriptor. Raises ``ValueError`` when it is none of this version."""
        size = os.fstat(fd).st_size
        if size < 8 * PREFACE:
            raise ValueError("not a tidegate segment")
        memory = mmap.mmap(fd, size)
        with memoryview(memory).cast("Q") as words:
            magic, version, rows, endpoints, upstreams, ring = words[:6].tolist()
        if (magic, version) != (MAGIC, VERSION) or size != 8 * (PREFACE + rows * row_words(endpoints, upstreams, ring)):
            memory.close()
            raise ValueError("not a tidegate segment of this version")
        return Segment(memory, fd, rows, endpoints, upstreams, ring)

    def _sign(self) -> None:
        words = self.words
        words[2] = self.rows
        words[3] = self.endpoints
        words[4] = self.upstreams
        words[5] = self.ring
        words[1] = VERSION
        words[0] = MAGIC

    @property
    def control(self) -> int:
        """Index of control's row, the last."""
        return self.rows - 1

    def row(self, index: int) -> Row:
        """The row of worker *index*, or control's (``control``)."""
        if not 0 <= index < self.rows:
            raise IndexError(index)
        return Row(self, index)

    def free(self, index: int) -> None:
        """Zero a row whose process has died. Only the supervisor does this."""
        start = PREFACE + index * self.row_words
        self.words[start : start + self.row_words] = memoryview(bytes(8 * self.row_words)).cast("Q")

    def connections(self) -> list[int]:
        """Open client connections of each worker."""
        first = PREFACE + CONNECTIONS
        return [self.words[first + row * self.row_words] for row in range(self.rows - 1)]

    def heartbeats(self) -> list[int]:
        """Last heartbeat of each row in monotonic milliseconds, control's last; 0: none yet."""
        first = PREFACE + HEARTBEAT
        return [self.words[first + row * self.row_words] for row in range(self.rows)]

    def working_on(self, index: int) -> int:
        """Hash of what worker *index* works on (S23.6), 0 for nothing."""
        return self.words[PREFACE + index * self.row_words + WORKING_ON]

    def __repr__(self) -> str:
        where = "LOCAL" if self.fd < 0 else "SHARED"
        return f"<Segment {where} {self.rows} rows, {self.endpoints} endpoints, {self.upstreams} upstreams>"


class Row:
    """One row, for its one writer; and from there the way to the others' rows.

    ``words``    the whole segment
    ``base``     index of the row's first word
    ``others``   bases of the other workers' rows
    ``control``  base of control's row
    """

    __slots__ = ("base", "control", "index", "others", "segment", "words")

    def __init__(self, segment: Segment, index: int) -> None:
        self.segment = segment
        self.index = index
        self.words: memoryview[int] = segment.words
        self.base = PREFACE + index * segment.row_words
        self.control = PREFACE + segment.control * segment.row_words
        self.others: tuple[int, ...] = tuple(
            PREFACE + row * segment.row_words for row in range(segment.rows - 1) if row != index
        )

    def beat(self, now: float) -> None:
        """Say that this process lives, at *now* (monotonic seconds)."""
        self.words[self.base + HEARTBEAT] = int(now * 1000.0)

    def set_connections(self, count: int) -> None:
        self.words[self.base + CONNECTIONS] = count

    def set_working_on(self, digest: int) -> None:
        """Hash of the request worked on now, 0 when between requests (S23.6)."""
        self.words[self.base + WORKING_ON] = digest & MASK

    def endpoint(self, slot: int) -> int:
        """Offset from a row's base to the words of endpoint *slot*; -1 when there is no such slot."""
        if not 0 <= slot < self.segment.endpoints:
            return -1
        return ROW_HEAD + slot * ENDPOINT_WORDS

    def upstream(self, slot: int) -> int:
        """Offset from a row's base to the words of upstream *slot*; -1 when there is no such slot."""
        segment = self.segment
        if not 0 <= slot < segment.upstreams:
            return -1
        return ROW_HEAD + segment.endpoints * ENDPOINT_WORDS + slot * (UPSTREAM_WORDS + segment.ring)


def row_words(endpoints: int, upstreams: int, ring: int) -> int:
    """Words of one row, a whole number of 64-byte lines, so that no two writers share a cache line."""
    words = ROW_HEAD + endpoints * ENDPOINT_WORDS + upstreams * (UPSTREAM_WORDS + ring)
    return (words + 7) // 8 * 8


UNKNOWN: Final = 0
UP: Final = 1
DOWN: Final = 2


def health_word(state: int, since: float, run: int, passes: int) -> int:
    """What the prober says of one endpoint (S12.2): *state* ``UNKNOWN UP DOWN`` since monotonic second *since*,
    *run* results in a row against that state, *passes* probes passed in all (modulo 65,536)."""
    return int(since * 1000.0) << 26 | (passes & 0xFFFF) << 10 | min(run, 255) << 2 | state


def health_parts(word: int) -> tuple[int, float, int, int]:
    """(state, since, run, passes): the other way round."""
    return word & 3, (word >> 26) / 1000.0, word >> 2 & 0xFF, word >> 10 & 0xFFFF


def ejection_word(start: float, seconds: float, reason: int, times: int) -> int:
    """An ejection (S12.7): from *start* for *seconds*, by the detector numbered *reason*, the *times*-th in a row."""
    return int(start * 1000.0) << 24 | min(int(seconds * 8.0), 4095) << 12 | (reason & 15) << 8 | min(times, 255)


def ejection_parts(word: int) -> tuple[float, float, int, int]:
    """(start, seconds, reason, times): the other way round, to the millisecond and the eighth of a second."""
    return (word >> 24) / 1000.0, (word >> 12 & 0xFFF) / 8.0, word >> 8 & 15, word & 0xFF


def retries_word(second: int, firsts: int, extras: int) -> int:
    """What one worker has asked of an upstream in the 10 s up to monotonic *second* (S14.4): *firsts* first attempts
    and *extras* further ones."""
    return (second & 0xFFFFFF) << 40 | min(firsts, 0xFFFFFF) << 16 | min(extras, 0xFFFF)


def retries_parts(word: int) -> tuple[int, int, int]:
    """(second modulo 2^24, firsts, extras): the other way round."""
    return word >> 40, word >> 16 & 0xFFFFFF, word & 0xFFFF


class SlotTable:
    """Which key has which slot. Control keeps one table for endpoints and one for upstreams; workers get its export.

    A slot stays with its key over reloads. A slot given up is used again only when no fresh one is left, the longest
    free first: workers that still finish exchanges on a removed endpoint then write where nobody reads. Keys that find
    no slot get -1 and live with what each worker sees alone.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.slots: dict[str, int] = {}
        self.fresh = 0
        self.freed: list[int] = []

    def assign(self, keys: Iterable[str]) -> list[int]:
        """Make *keys* the whole set: known ones keep their slot, new ones get one, the rest is given up. Returns the
        slots given out now: control zeroes their words in its row, so that nothing is said of a key but by itself."""
        wanted = dict.fromkeys(keys)
        for key in [key for key in self.slots if key not in wanted]:
            self.freed.append(self.slots.pop(key))
        given: list[int] = []
        for key in wanted:
            if key in self.slots:
                continue
            if self.fresh < self.size:
                slot = self.fresh
                self.fresh += 1
            elif self.freed:
                slot = self.freed.pop(0)
            else:
                continue
            self.slots[key] = slot
            given.append(slot)
        return given

    def get(self, key: str) -> int:
        """The slot of *key*, -1 when it has none."""
        return self.slots.get(key, -1)

    def export_slots(self) -> dict[str, int]:
        """Plain data for JSON or msgpack."""
        return dict(self.slots)

    def import_slots(self, slots: dict[str, int]) -> None:
        """Take over an exported table (a worker; control after its own restart). Slots out of range are left out."""
        self.slots = {key: slot for key, slot in slots.items() if 0 <= slot < self.size}
        used = set(self.slots.values())
        self.fresh = max(used, default=-1) + 1
        self.freed = [slot for slot in range(self.fresh) if slot not in used]


def endpoint_key(upstream: str, key: str) -> str:
    """The slot key of an endpoint: upstream, address and port (S12.1)."""
    return f"{upstream} {key}"
