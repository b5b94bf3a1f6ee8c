"""The journal: whole records count, whatever the disk and the clock of death did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.control import limits_journal
from tidegate.control.limits_journal import Journal


class Thing:
    def __init__(self, value: int) -> None:
        self.value = value

    def state(self) -> list[Any]:
        return ["thing", self.value]


def opened(path: Path) -> tuple[Journal, list[tuple[int, list[Any]]]]:
    journal = Journal(path)
    return journal, list(journal.read())


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    journal, found = opened(tmp_path / "j")
    assert found == []
    journal.write([["a", 1], ["b", {7: 8}]], 10)
    journal.write([["a", 2]], 20)
    journal.sync()
    journal.close()
    journal.sync()
    assert opened(tmp_path / "j")[1] == [(10, ["a", 1]), (10, ["b", {7: 8}]), (20, ["a", 2])]
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def test_a_journal_cut_anywhere_gives_the_records_before_the_cut_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal, _ = opened(path)
    ends = [0]
    for number in range(5):
        journal.write([["a", number]], number)
        ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal, found = opened(path)
        assert len(found) == sum(end <= cut for end in ends[1:])
        journal.write([["after"]], 9)
        journal.close()
        assert opened(path)[1][-1] == (9, ["after"])


def test_a_flipped_bit_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal, _ = opened(path)
    journal.write([["a", 1]], 1)
    size = path.stat().st_size
    journal.write([["a", 2]], 2)
    data = bytearray(path.read_bytes())
    data[size + 9] ^= 1
    path.write_bytes(data)
    assert opened(path)[1] == [(1, ["a", 1])]


def test_a_long_journal_is_written_anew_a_slice_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_journal, "TOO_LONG", 2000)
    monkeypatch.setattr(limits_journal, "SLICE", 3)
    things = {number: Thing(number) for number in range(10)}
    journal, _ = opened(tmp_path / "j")
    for _ in range(20):
        journal.write([thing.state() for thing in things.values()], 1)
    journal.tick(1, things)
    assert journal.fresh >= 0
    journal.tick(2, things)
    things[9].value = 99
    journal.write([things[9].state()], 3)
    for now in range(4, 8):
        journal.tick(now, things)
    assert journal.fresh < 0
    journal.close()
    found = dict(enumerate(state for _, state in opened(tmp_path / "j")[1] if state))
    assert sorted(state[1] for state in found.values() if state[1] < 9) == list(range(9))
    assert ["thing", 99] in found.values()
    assert len(found) == 11


def test_a_disk_that_fails_stops_the_journal_and_a_fresh_one_is_tried_later(tmp_path: Path) -> None:
    things = {0: Thing(5)}
    journal, _ = opened(tmp_path / "j")
    journal.write([["a", 1]], 1)
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    limits_journal.os.dup2(full.fileno(), journal.file)
    journal.write([["a", 2]], 2)
    assert journal.trouble == "No space left on device"
    assert journal.file == -1
    journal.write([["a", 3]], 3)
    journal.tick(6_000_000_000, things)
    journal.tick(6_000_000_001, things)
    assert journal.trouble == ""
    journal.close()
    full.close()
    assert [state for _, state in opened(tmp_path / "j")[1] if state] == [["thing", 5]]


def test_it_says_once_a_second_that_we_live(tmp_path: Path) -> None:
    journal, _ = opened(tmp_path / "j")
    for now in range(1_000_000_000, 3_000_000_000, 100_000_000):
        journal.tick(now, {})
    journal.close()
    assert opened(tmp_path / "j")[1] == [(1_000_000_000, []), (2_000_000_000, [])]
