"""The key table (C8.3): a map from 32-byte digests to packed records in one run of bytes that workers map read-only.

Header, then one row a digest in ascending order, then the records the rows point at. What a digest is made of and
what a record means is the reader's business (``assembly/consumers``). All integers are little-endian.

    header  magic 8 | seq u64 | rows u64 | bytes in all u64
    row     digest 32 | offset u64 (from the start of the file) | length u32 | 4 bytes of zero
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from operator import itemgetter
from typing import Final, Protocol

MAGIC: Final = b"tgkeys\x00\x01"
DIGEST_SIZE: Final = 32
LARGEST_RECORD: Final = 64 * 1024
"""A record is one credential; more than this is damage."""

_HEADER: Final = struct.Struct("<8sQQQ")
_ROW: Final = struct.Struct("<32sQI4x")
_PLACE: Final = struct.Struct("<QI")
_HEADER_SIZE: Final = 32
_ROW_SIZE: Final = 48


class Bytes(Protocol):
    """What a table is read from: ``bytes`` or an ``mmap``."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


def write(rows: Iterable[tuple[bytes, bytes]], seq: int) -> bytes:
    """The file for (digest, record) *rows* as of change *seq*. ``ValueError`` for a digest that is not 32 bytes or
    comes twice, and for a record above 64 KiB."""
    ordered = sorted(rows, key=itemgetter(0))
    offset = _HEADER_SIZE + _ROW_SIZE * len(ordered)
    index: list[bytes] = []
    records: list[bytes] = []
    previous = b""
    for digest, record in ordered:
        if len(digest) != DIGEST_SIZE or digest == previous:
            raise ValueError("every row needs a digest of 32 bytes of its own")
        if len(record) > LARGEST_RECORD:
            raise ValueError("a record is at most 64 KiB")
        previous = digest
        index.append(_ROW.pack(digest, offset, len(record)))
        records.append(record)
        offset += len(record)
    return b"".join([_HEADER.pack(MAGIC, seq, len(ordered), offset), *index, *records])


class KeyTable:
    """A written table, read in place. ``ValueError`` when *data* is not a whole table."""

    def __init__(self, data: Bytes) -> None:
        if len(data) < _HEADER_SIZE:
            raise ValueError("not a key table: too short")
        magic, seq, rows, size = _HEADER.unpack(data[0:_HEADER_SIZE])
        if magic != MAGIC:
            raise ValueError("not a key table: wrong magic")
        if size != len(data) or _HEADER_SIZE + _ROW_SIZE * rows > size:
            raise ValueError("the key table is cut short or too long")
        self.seq: int = seq
        """The last change that is in the table."""
        self._rows: int = rows
        self._data: Bytes = data

    def __len__(self) -> int:
        return self._rows

    def find(self, digest: bytes) -> bytes | None:
        """The record of *digest*, or None; by bisection."""
        data = self._data
        low = 0
        high = self._rows
        while low < high:
            middle = (low + high) >> 1
            start = _HEADER_SIZE + _ROW_SIZE * middle
            found = data[start : start + DIGEST_SIZE]
            if found < digest:
                low = middle + 1
            elif found > digest:
                high = middle
            else:
                offset, length = _PLACE.unpack(data[start + DIGEST_SIZE : start + DIGEST_SIZE + 12])
                record = data[offset : offset + length]
                return record if length <= LARGEST_RECORD and len(record) == length else None
        return None

    def __repr__(self) -> str:
        return f"<KeyTable {self._rows} rows as of change {self.seq}>"
