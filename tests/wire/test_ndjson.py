from __future__ import annotations

import pytest

from tidegate.exchange.fault import Fault
from tidegate.wire.ndjson import LINE_SIZE, NdjsonDecoder, encode_line


def test_lines_come_out_whole_however_the_bytes_are_cut() -> None:
    raw = '{"a":"\U0001f600"}\r\n\n {"b":2} \n{"c":3}'.encode()
    lines = [("", '{"a":"\U0001f600"}'.encode()), ("", b'{"b":2}'), ("", b'{"c":3}')]
    for cut in range(len(raw) + 1):
        decoder = NdjsonDecoder()
        assert decoder.feed(raw[:cut]) + decoder.feed(raw[cut:]) + decoder.close() == lines
    decoder = NdjsonDecoder()
    assert [line for byte in raw for line in decoder.feed(bytes([byte]))] + decoder.close() == lines


def test_what_is_written_is_read_again() -> None:
    assert NdjsonDecoder().feed(encode_line(b"{}") + encode_line(b'{"a":1}')) == [("", b"{}"), ("", b'{"a":1}')]


def test_a_line_without_end_is_refused_at_a_megabyte() -> None:
    decoder = NdjsonDecoder()
    decoder.feed(b"x" * LINE_SIZE)
    with pytest.raises(Fault, match="event_too_large"):
        decoder.feed(b"x")
