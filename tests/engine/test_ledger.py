"""A worker's ledger: what is acknowledged is in the file, whatever the disk does (LLM 10.1)."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.engine.ledger import LARGEST, LONGEST, MOST_OWED, Ledger
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import FixLine, HeadLine
from tidegate.wire.ledger_line import decode_line, encode_line, whole_lines


def line(id: str) -> bytes:
    return encode_line(FixLine(id, 1.0))


class Synced:
    def __init__(self) -> None:
        self.said: list[object] = []

    def complete(self, value: object = None) -> None:
        self.said.append("done")

    def fail(self, fault: BaseException) -> None:
        assert isinstance(fault, Fault)
        self.said.append(fault.code)


class Disk:
    """The system's calls, which can be made to fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.broken: dict[str, int] = {}
        """Call → errno."""
        self.piece = 0
        """Bytes of the next write that fit."""
        self.calls: list[str] = []
        for name in ("open", "write", "fsync", "fdatasync", "ftruncate"):
            patch.setattr(os, name, self.watched(name, getattr(os, name)))

    def watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append(name)
            if name in self.broken:
                raise OSError(self.broken[name], os.strerror(self.broken[name]))
            if name == "write" and self.piece:
                piece, self.piece = self.piece, 0
                return real(arguments[0], arguments[1][:piece])
            return real(*arguments)

        return call


class Hand:
    def __init__(self, folder: Path, disk: Disk, full: bool = False) -> None:
        self.folder = folder
        self.disk = disk
        self.time = 100.0
        self.turn: list[Callable[[], None]] = []
        self.slow: list[tuple[Callable[[], None], Callable[[OSError | None], None]]] = []
        self.ledger = Ledger(
            folder, 0, "k3f9", lambda: self.time, lambda: 1_763_700_000.0 + self.time, self.turn.append,
            lambda work, done: self.slow.append((work, done)), full, "0.1",
        )  # fmt: skip

    def end_turn(self) -> None:
        while self.turn:
            self.turn.pop(0)()

    def do_slow(self) -> None:
        while self.slow:
            work, done = self.slow.pop(0)
            try:
                work()
            except OSError as error:
                done(error)
            else:
                done(None)

    def files(self) -> list[str]:
        return sorted(os.listdir(self.folder))

    def ids(self) -> list[list[str]]:
        """The lines of every file, without heads."""
        found: list[list[str]] = []
        for name in self.files():
            head, *rest = [decode_line(raw) for raw in whole_lines((self.folder / name).read_bytes())]
            assert isinstance(head, HeadLine)
            assert (head.boot, head.slot, head.build, head.format) == ("k3f9", 0, "0.1", 1)
            found.append([one.id if isinstance(one, FixLine) else str(one) for one in rest])
        return found


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def hand(tmp_path: Path, disk: Disk) -> Hand:
    return Hand(tmp_path, disk)


@pytest.fixture
def full(tmp_path: Path, disk: Disk) -> Hand:
    return Hand(tmp_path, disk, full=True)


def test_there_is_no_file_before_the_first_line_and_its_name_says_when_who_and_which(hand: Hand) -> None:
    assert (hand.files(), hand.ledger.position()) == ([], ("", 0))
    hand.ledger.write(line("a"))
    (name,) = hand.files()
    assert name == "20251121T044140Z-k3f9-w0-000001.log"
    assert (hand.folder / name).stat().st_mode & 0o777 == 0o600
    assert hand.ledger.position() == (name, (hand.folder / name).stat().st_size)
    assert hand.ids() == [["a"]]


def test_a_line_is_in_the_file_when_write_returns_and_those_put_aside_go_along(hand: Hand) -> None:
    hand.ledger.put(line("a"))
    hand.ledger.put(line("b"))
    assert hand.files() == []
    hand.disk.calls.clear()
    hand.ledger.write(line("c"))
    assert hand.ids() == [["a", "b", "c"]]
    assert hand.disk.calls == ["open", "write", "write"]  # the head, and everything else at once
    hand.ledger.put(line("d"))
    hand.end_turn()
    assert hand.ids() == [["a", "b", "c", "d"]]


def test_the_lock_lasts_as_long_as_the_process_through_every_file(hand: Hand) -> None:
    hand.ledger.write(line("a"))
    hand.ledger.size = LARGEST
    hand.ledger.write(line("b"))
    hand.do_slow()
    first, second = hand.files()

    def locked(name: str) -> bool:
        with open(hand.folder / name, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    assert (locked(first), locked(second)) == (True, True)
    hand.ledger.close()
    assert (locked(first), locked(second)) == (False, False)


def test_a_segment_is_sealed_when_it_is_large_or_old(hand: Hand) -> None:
    hand.ledger.write(line("a"))
    hand.ledger.size = LARGEST
    hand.ledger.write(line("b"))
    assert hand.disk.calls.count("fsync") == 0
    hand.do_slow()
    assert hand.disk.calls.count("fsync") == 1
    hand.time += LONGEST - 0.1
    hand.ledger.tick()
    hand.ledger.write(line("c"))
    hand.time += 0.1
    hand.ledger.tick()
    hand.ledger.write(line("d"))
    assert hand.ids() == [["a"], ["b", "c"], ["d"]]


def test_a_write_that_fits_only_in_part_leaves_no_torn_line_and_goes_into_a_new_file(hand: Hand) -> None:
    hand.ledger.write(line("a"))
    hand.disk.piece = 10
    hand.ledger.write(line("b"))
    assert hand.ids() == [["a"], ["b"]]
    assert all(data.endswith(b"\n") for data in [(hand.folder / name).read_bytes() for name in hand.files()])


def test_a_disk_that_is_full_is_503_and_tried_again_each_second(hand: Hand) -> None:
    hand.ledger.write(line("a"))
    hand.disk.broken = {"write": errno.ENOSPC}
    for _ in range(3):
        with pytest.raises(Fault) as raised:
            hand.ledger.write(line("b"))
        assert (raised.value.code, raised.value.retry_after) == ("ledger_unavailable", 1.0)
    assert hand.disk.calls.count("open") == 2  # not once a call
    hand.ledger.owe(line("c"))
    assert hand.ledger.state() == ("No space left on device", 1, 0)
    hand.disk.broken = {}
    hand.time += 0.9
    with pytest.raises(Fault):
        hand.ledger.write(line("b"))
    hand.time += 0.2
    hand.ledger.tick()
    hand.ledger.write(line("d"))
    assert hand.ids() == [["a"], ["c", "d"]]


def test_a_broken_ledger_finds_out_by_itself_that_the_disk_is_well_again(hand: Hand) -> None:
    hand.disk.broken = {"open": errno.EROFS}
    with pytest.raises(Fault):
        hand.ledger.write(line("a"))
    hand.time += 1.1
    hand.ledger.tick()
    assert hand.ledger.state() == ("Read-only file system", 0, 0)
    hand.disk.broken = {}
    hand.ledger.tick()  # not before a second has gone by
    assert hand.ledger.state()[0] == "Read-only file system"
    hand.time += 1.1
    hand.ledger.tick()
    assert hand.ledger.state() == ("", 0, 0)
    hand.ledger.close()
    assert hand.ids() == [[]]


def test_what_was_put_aside_on_a_broken_disk_is_owed_and_the_debt_is_bounded(hand: Hand) -> None:
    hand.disk.broken = {"open": errno.EROFS}
    hand.ledger.put(line("a"))
    hand.end_turn()
    assert hand.ledger.owed == [line("a")]
    for _ in range(MOST_OWED + 4):
        hand.ledger.owe(line("x"))
    assert (len(hand.ledger.owed), hand.ledger.lost) == (MOST_OWED, 5)
    hand.time += 1.0
    hand.ledger.tick()
    assert len(hand.ledger.owed) == MOST_OWED
    hand.disk.broken = {}
    hand.time += 1.0
    hand.ledger.tick()
    assert hand.ledger.owed == []
    assert hand.ids() == [["a"] + ["x"] * (MOST_OWED - 1)]


def test_the_end_writes_what_is_left_and_syncs(hand: Hand) -> None:
    hand.ledger.put(line("a"))
    hand.ledger.owe(line("b"))
    hand.ledger.close()
    assert hand.ids() == [["a", "b"]]
    assert "fsync" in hand.disk.calls
    hand.ledger.close()
    with pytest.raises(Fault):
        hand.ledger.write(line("c"))


def test_full_durability_syncs_in_groups_off_the_loop(full: Hand) -> None:
    waits = [Synced() for _ in range(4)]
    full.ledger.write(line("a"))
    assert full.disk.calls.count("fsync") == 2  # the file and its folder
    full.ledger.synced(waits[0])
    full.ledger.write(line("b"))
    full.ledger.synced(waits[1])
    full.ledger.write(line("c"))
    full.ledger.synced(waits[2])
    assert len(full.slow) == 1  # one at a time; b and c ride the next
    assert [wait.said for wait in waits[:3]] == [[], [], []]
    work, done = full.slow.pop()
    work()
    done(None)
    assert [wait.said for wait in waits[:3]] == [["done"], [], []]
    full.do_slow()
    assert [wait.said for wait in waits[:3]] == [["done"], ["done"], ["done"]]
    assert full.disk.calls.count("fdatasync") == 2


def test_a_sync_that_fails_seals_the_file_and_says_its_lines_again_in_a_new_one(full: Hand) -> None:
    waits = [Synced(), Synced()]
    full.ledger.write(line("a"))
    full.ledger.synced(waits[0])
    full.ledger.write(line("b"))
    full.ledger.synced(waits[1])
    (_, done) = full.slow.pop()
    done(OSError(errno.EIO, "gone"))
    assert waits[0].said == ["done"]
    full.do_slow()
    assert waits[1].said == ["done"]
    assert full.ids() == [["a", "b"], ["a", "b"]]


def test_a_sync_that_fails_twice_acknowledges_nothing(full: Hand) -> None:
    wait = Synced()
    full.ledger.write(line("a"))
    full.ledger.synced(wait)
    full.disk.broken = {"fdatasync": errno.EIO}
    full.do_slow()
    assert wait.said == ["ledger_unavailable"]


def test_a_segment_that_grows_too_large_between_two_syncs_takes_its_lines_along(full: Hand) -> None:
    wait = Synced()
    full.ledger.write(line("a"))
    full.ledger.size = LARGEST
    full.ledger.write(line("b"))
    full.ledger.synced(wait)
    full.do_slow()
    assert full.ids() == [["a"], ["a", "b"]]
    assert wait.said == ["done"]


def test_no_name_of_a_segment_is_used_twice(hand: Hand) -> None:
    for number in range(5):
        hand.ledger.size = LARGEST
        hand.ledger.write(line(str(number)))
    assert [re.sub(r".*-w0-|\.log", "", name) for name in hand.files()] == [f"{n:06d}" for n in range(1, 6)]
