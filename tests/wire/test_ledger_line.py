"""Lines of a ledger segment: each is whole or it is none (LLM 10.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.chat import Usage
from tidegate.exchange.ledger import DoneLine, FixLine, HeadLine, LedgerRecord, Line, MarkLine, OpenLine
from tidegate.wire.ledger_line import decode_line, encode_line, whole_lines

LINES: list[Line] = [
    HeadLine("k3f9", 0, 71, "0.1.0"),
    OpenLine("01A", 5.0, 65.0, 12, "fast", (("default/key/a", "2026-11"),)),
    MarkLine("01A", Usage(input=3, output=1)),
    DoneLine(LedgerRecord(id="01A", ts=5.0, cost=9, asked="fa\nst", usage=Usage(input=3, output=4))),
    FixLine("01A", 9.0, -3, (("default/key/a", "2026-11"),), "batch"),
]


def test_a_line_looks_as_it_is_written_down() -> None:
    assert encode_line(OpenLine("01A", 5.0, 65.0, 12)) == (
        b'85832287 {"kind":"open","id":"01A","ts":5.0,"deadline":65.0,"amount":12}\n'
    )


@pytest.mark.parametrize("line", LINES)
def test_what_is_written_is_read(line: Line) -> None:
    written = encode_line(line)
    assert written.count(b"\n") == 1
    assert decode_line(written[:-1]) == line


@given(st.text(), st.integers(0, 10**15))
def test_any_text_stays_on_its_line(text: str, cost: int) -> None:
    record = DoneLine(LedgerRecord(id="a", ts=1.5, cost=cost, user=text, raw_usage=text))
    (raw,) = whole_lines(encode_line(record))
    assert decode_line(raw) == record


def test_a_file_cut_at_every_byte_gives_the_lines_before_the_cut() -> None:
    data = b"".join(encode_line(line) for line in LINES)
    ends = [0]
    for line in LINES:
        ends.append(ends[-1] + len(encode_line(line)))
    for cut in range(len(data) + 1):
        whole = whole_lines(data[:cut])
        assert [decode_line(raw) for raw in whole] == LINES[: sum(end <= cut for end in ends) - 1]


def test_one_damaged_byte_costs_one_line_or_two_never_more_and_never_lies() -> None:
    data = b"".join(encode_line(line) for line in LINES)
    for place in range(len(data)):
        damaged = data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :]
        found = [decode_line(raw) for raw in whole_lines(damaged)]
        good = [line for line in found if line is not None]
        assert all(line in LINES for line in good)
        assert len(good) >= len(LINES) - 2


@pytest.mark.parametrize(
    "raw", [b"", b"00000000", b"00000000 ", b"zzzzzzzz {}", b"a3c1f0b2 []", b'0bdb4a9c {"kind":"new"}', b"\xff" * 40]
)
def test_what_is_no_line_is_none(raw: bytes) -> None:
    assert decode_line(raw) is None


def test_a_kind_of_tomorrow_is_no_line_of_today() -> None:
    import zlib

    body = b'{"kind":"later","id":"x"}'
    assert decode_line(b"%08x %b" % (zlib.crc32(body), body)) is None
