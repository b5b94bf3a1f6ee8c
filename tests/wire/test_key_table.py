"""C8.3: sorted digests, fixed rows, packed records behind."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.key_table import LARGEST_RECORD, MAGIC, KeyTable, write


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def test_the_bytes_of_a_table_are_what_the_format_says() -> None:
    data = write([(b"b" * 32, b"second"), (b"a" * 32, b"first")], seq=7)
    assert data[:32] == MAGIC + (7).to_bytes(8, "little") + (2).to_bytes(8, "little") + (139).to_bytes(8, "little")
    assert data[32:80] == b"a" * 32 + (128).to_bytes(8, "little") + (5).to_bytes(4, "little") + bytes(4)
    assert data[128:] == b"firstsecond"


@given(st.dictionaries(st.binary(min_size=32, max_size=32), st.binary(max_size=80), max_size=60),
       st.binary(min_size=32, max_size=32), st.integers(0, 1 << 60))  # fmt: skip
def test_every_row_is_found_and_nothing_else(rows: dict[bytes, bytes], absent: bytes, seq: int) -> None:
    table = KeyTable(write(rows.items(), seq))
    assert (len(table), table.seq) == (len(rows), seq)
    assert {key: table.find(key) for key in rows} == rows
    assert table.find(absent) == rows.get(absent)


def test_a_mapped_file_reads_like_bytes(tmp_path: Path) -> None:
    path = tmp_path / "1.tab"
    path.write_bytes(write([(digest(n), str(n).encode()) for n in range(1000)], 1))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        table = KeyTable(mapped)
        assert [table.find(digest(n)) for n in (0, 500, 999)] == [b"0", b"500", b"999"]
        assert table.find(digest(1000)) is None


@pytest.mark.parametrize("size", [0, 31, 32, 79, 127, 138])
def test_a_table_cut_anywhere_is_refused(size: int) -> None:
    data = write([(b"b" * 32, b"second"), (b"a" * 32, b"first")], seq=7)
    with pytest.raises(ValueError, match="key table"):
        KeyTable(data[:size])


def test_a_table_with_bytes_behind_or_another_magic_is_refused() -> None:
    data = write([(b"a" * 32, b"first")], seq=7)
    for bad in (data + b"x", b"X" + data[1:]):
        with pytest.raises(ValueError, match="key table"):
            KeyTable(bad)


def test_a_row_that_points_outside_gives_nothing() -> None:
    data = bytearray(write([(b"a" * 32, b"first")], seq=7))
    data[64:72] = (1 << 40).to_bytes(8, "little")
    assert KeyTable(bytes(data)).find(b"a" * 32) is None


def test_a_digest_of_another_size_a_double_and_a_huge_record_are_not_written() -> None:
    for rows in ([(b"a", b"")], [(b"a" * 32, b"1"), (b"a" * 32, b"2")], [(b"a" * 32, bytes(LARGEST_RECORD + 1))]):
        with pytest.raises(ValueError):
            write(rows, 1)
