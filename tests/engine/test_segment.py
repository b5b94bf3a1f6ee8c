"""Single-writer rows that everybody reads (ARCHITECTURE 11)."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.engine.segment import (
    DOWN,
    EJECTED,
    IN_FLIGHT,
    MASK,
    UP,
    Segment,
    SlotTable,
    ejection_parts,
    ejection_word,
    endpoint_key,
    health_parts,
    health_word,
    row_words,
)


@pytest.fixture
def shared() -> Segment:
    segment = Segment.create(2, endpoints=4, upstreams=2, ring=8)
    yield segment
    os.close(segment.fd)


def test_what_one_process_writes_another_reads(shared: Segment) -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        row = shared.row(1)
        row.words[row.base + row.endpoint(3) + IN_FLIGHT] = 7
        row.beat(12.5)
        row.set_connections(9)
        os.write(write, b"x")
        os._exit(0)
    assert os.read(read, 1) == b"x"
    assert os.waitpid(pid, 0)[1] == 0
    other = Segment.attach(shared.fd)
    row = other.row(0)
    assert [row.words[base + row.endpoint(3) + IN_FLIGHT] for base in row.others] == [7]
    assert other.connections() == [0, 9]
    assert other.heartbeats() == [0, 12500, 0]
    os.close(read)
    os.close(write)


def test_attach_learns_the_shape_from_the_segment_itself(shared: Segment) -> None:
    other = Segment.attach(shared.fd)
    assert (other.rows, other.endpoints, other.upstreams, other.ring) == (3, 4, 2, 8)
    assert other.control == 2


@pytest.mark.parametrize("content", [b"", b"x" * 64, struct.pack("8Q", 0x7469646567617465, 1, 9, 9, 9, 9, 0, 0)])
def test_attach_refuses_what_is_no_segment(content: bytes) -> None:
    fd = os.memfd_create("other", 0)
    os.write(fd, content)
    with pytest.raises(ValueError, match="not a tidegate segment"):
        Segment.attach(fd)
    os.close(fd)


def test_a_freed_row_is_zero_and_the_others_are_untouched() -> None:
    segment = Segment.local(2, 4, 2, 8)
    for index in range(3):
        row = segment.row(index)
        row.set_working_on(index + 1)
        for slot in range(4):
            row.words[row.base + row.endpoint(slot) + EJECTED] = 5
    segment.free(1)
    rows = [segment.row(index) for index in range(3)]
    assert [segment.working_on(index) for index in range(3)] == [1, 0, 3]
    assert [[row.words[row.base + row.endpoint(slot) + EJECTED] for slot in range(4)] for row in rows] == [
        [5] * 4, [0] * 4, [5] * 4,
    ]  # fmt: skip


def test_no_two_words_of_a_row_lie_on_each_other() -> None:
    segment = Segment.local(1, endpoints=3, upstreams=2, ring=8)
    row = segment.row(0)
    places = [range(8), *(range(row.endpoint(s), row.endpoint(s) + 4) for s in range(3))]
    places += [range(row.upstream(s), row.upstream(s) + 12) for s in range(2)]
    words = [word for place in places for word in place]
    assert len(words) == len(set(words)) and max(words) < segment.row_words
    assert segment.row_words == row_words(3, 2, 8) == 48
    assert len(segment.words) == 8 + 2 * 48


@pytest.mark.parametrize("slot", [-1, 3, 100])
def test_slots_out_of_range_have_no_place(slot: int) -> None:
    row = Segment.local(1, endpoints=3, upstreams=3, ring=8).row(0)
    assert row.endpoint(slot) == -1 and row.upstream(slot) == -1


def test_rows_out_of_range_do_not_exist() -> None:
    segment = Segment.local(2)
    for index in (-1, 3):
        with pytest.raises(IndexError):
            segment.row(index)


def test_a_worker_row_knows_the_others_and_control() -> None:
    segment = Segment.local(3, 4, 2, 8)
    row = segment.row(1)
    assert row.others == (segment.row(0).base, segment.row(2).base)
    assert row.control == segment.row(segment.control).base
    assert segment.row(segment.control).others == tuple(segment.row(index).base for index in range(3))


def test_a_hash_of_any_size_fits_its_word() -> None:
    segment = Segment.local(1)
    segment.row(0).set_working_on(-1)
    assert segment.working_on(0) == MASK


@given(st.sampled_from([0, UP, DOWN]), st.integers(0, 10**10), st.integers(0, 300), st.integers(0, 70000))
def test_health_words_read_back(state: int, ms: int, run: int, passes: int) -> None:
    word = health_word(state, ms / 1000, run, passes)
    assert 0 <= word <= MASK
    found, since, run_back, passes_back = health_parts(word)
    assert (found, run_back, passes_back) == (state, min(run, 255), passes & 0xFFFF)
    assert since == pytest.approx(ms / 1000, abs=0.0011)


@given(st.integers(0, 10**10), st.floats(0, 301), st.integers(0, 7), st.integers(0, 300))
def test_ejection_words_read_back(ms: int, seconds: float, reason: int, times: int) -> None:
    word = ejection_word(ms / 1000, seconds, reason, times)
    assert 0 <= word <= MASK
    start, length, reason_back, times_back = ejection_parts(word)
    assert (reason_back, times_back) == (reason, min(times, 255))
    assert start == pytest.approx(ms / 1000, abs=0.0011) and 0 <= seconds - length < 0.125


def test_slots_stay_with_their_keys_over_reloads() -> None:
    table = SlotTable(8)
    assert table.assign(["a", "b", "c"]) == [0, 1, 2]
    assert table.assign(["c", "d", "a"]) == [3]
    assert table.export_slots() == {"a": 0, "c": 2, "d": 3}
    assert table.get("b") == -1


def test_a_slot_given_up_is_used_again_only_when_no_fresh_one_is_left() -> None:
    table = SlotTable(3)
    table.assign(["a", "b"])
    table.assign(["b"])
    assert table.assign(["b", "c"]) == [2] and table.get("c") == 2
    assert table.assign(["b", "c", "d"]) == [0] and table.get("d") == 0
    assert table.assign(["b", "c", "d", "e"]) == [] and table.get("e") == -1


def test_an_exported_table_is_taken_over_whole() -> None:
    table, other = SlotTable(4), SlotTable(4)
    table.assign([endpoint_key("orders", f"10.0.0.{number}:80") for number in range(4)])
    table.assign([endpoint_key("orders", "10.0.0.3:80")])
    other.import_slots(table.export_slots())
    assert other.export_slots() == {"orders 10.0.0.3:80": 3}
    assert other.assign(["orders 10.0.0.3:80", "x"]) == [0]
    other.import_slots({"far": 99})
    assert other.export_slots() == {}
