"""Ledgers become books: once, whatever is torn, damaged, said twice or cut short (LLM 10.1)."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.control import ledger_shipping
from tidegate.control.books import Read
from tidegate.control.books_store import BookStore, Changes, Known
from tidegate.control.ledger_shipping import Shipping
from tidegate.exchange.chat import Usage
from tidegate.exchange.ledger import DoneLine, FixLine, HeadLine, LedgerRecord, Line, MarkLine, OpenLine
from tidegate.wire.ledger_line import encode_line

TS = 1_763_700_000.0
KEY = ("default/key/k", "2025-11")
TEAM = ("default/team/t", "2025-11")
FIRST = "20251121T044000Z-boot1-w0-000001.log"
SECOND = "20251121T044000Z-boot1-w0-000002.log"
OTHER = "20251121T044000Z-boot2-w1-000001.log"


def opened(id: str, amount: int = 100, *levels: tuple[str, str]) -> Line:
    return OpenLine(id, TS, TS + 60.0, amount, "fast", levels or (KEY,))


def done(id: str, cost: int, *levels: tuple[str, str], status: int = 200) -> Line:
    usage = Usage(input=10, output=cost, cache_read=3)
    return DoneLine(
        LedgerRecord(id=id, ts=TS, asked="fast", consumer="c", cost=cost, status=status, usage=usage,
                     levels=levels or (KEY,), saved=1, waste=2)
    )  # fmt: skip


class Room:
    """A ledger folder and its books."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path / "ledger"
        self.folder.mkdir()
        self.time = TS
        self.locks: list[int] = []
        self.start()

    def start(self) -> None:
        self.store = BookStore(self.path / "books.sqlite")
        self.shipping = Shipping(self.folder, self.store, lambda: self.time, 3600.0)

    def restart(self) -> None:
        self.store.close()
        self.start()

    def write(self, name: str, *lines: Line | bytes) -> None:
        with (self.folder / name).open("ab") as file:
            if file.tell() == 0:
                file.write(encode_line(HeadLine(name.split("-")[1], 0, 71)))
            for line in lines:
                file.write(line if isinstance(line, bytes) else encode_line(line))

    def lock(self, name: str) -> None:
        """Its writer lives."""
        file = os.open(self.folder / name, os.O_RDONLY | os.O_CREAT)
        fcntl.flock(file, fcntl.LOCK_EX)
        self.locks.append(file)

    def unlock(self) -> None:
        for file in self.locks:
            os.close(file)
        self.locks = []

    def run(self, cuts: dict[str, tuple[str, int]] | None = None, dead: frozenset[str] = frozenset()) -> Read:
        return self.shipping.run(cuts or {}, dead, frozenset())

    def spent(self, key: tuple[str, str] = KEY) -> int:
        return self.store.spent(*key)

    def usage(self) -> tuple[int, ...]:
        (row,) = self.store.usage("2025-11-21T00", "2025-11-22T00", (), "")
        return tuple(row[name] for name in ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens",
                                            "cost", "saved", "waste", "estimated"))  # fmt: skip


class Adding:
    """Books that only add up."""

    def __init__(self) -> None:
        self.spent: dict[tuple[str, str], int] = {}

    def known(self) -> Known:
        return Known({}, {}, [], 0.0)

    def forget(self, before: str) -> None:
        assert before == "2024-10"

    def apply(self, changes: Changes) -> dict[tuple[str, str], int]:
        for key, nusd in changes.spent.items():
            self.spent[key] = self.spent.get(key, 0) + nusd
        return self.spent


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.unlock()
    room.store.close()


def test_a_call_is_charged_to_every_level_and_counted_once(room: Room) -> None:
    room.write(FIRST, opened("a", 100, KEY, TEAM), MarkLine("a", Usage()), done("a", 70, KEY, TEAM))
    room.write(OTHER, opened("b"), done("b", 5, status=502))
    read = room.run()
    assert read.spent == {KEY: 75, TEAM: 70}
    assert read.costs == {("boot1", *KEY): 70, ("boot1", *TEAM): 70, ("boot2", *KEY): 5}
    assert (read.after, read.buried, read.whole) == ({}, {"boot1", "boot2"}, True)
    assert room.usage() == (2, 1, 20, 75, 6, 75, 2, 4, 0)
    assert room.run() == ({}, {}, {}, frozenset(), True, {})
    room.restart()
    assert room.run().spent == {}
    assert (room.spent(), room.usage()[0]) == (75, 2)


def test_any_line_said_twice_changes_nothing(room: Room) -> None:
    lines = [opened("a"), done("a", 70), FixLine("z", TS, 3, (KEY,)), opened("b"), FixLine("b", TS, 0, (KEY,))]
    room.lock(FIRST)
    room.write(FIRST, *lines)
    room.run()
    before = (room.spent(), room.usage())
    assert before[0] == 73
    room.write(FIRST, *lines)
    room.run()
    room.restart()
    room.write(SECOND, *lines)
    room.run()
    assert (room.spent(), room.usage()) == before
    assert room.shipping.open == {}


def test_a_segment_cut_at_every_byte_charges_each_whole_line_and_books_what_it_left_open(tmp_path: Path) -> None:
    lines = [opened("a", 100), done("a", 70), opened("b", 50), MarkLine("b", Usage(output=1)), done("b", 20)]
    data = b"".join(encode_line(line) for line in [HeadLine("boot1", 0, 71), *lines])
    ends = [len(encode_line(HeadLine("boot1", 0, 71)))]
    for line in lines:
        ends.append(ends[-1] + len(encode_line(line)))
    expected = [0, 100, 70, 120, 120, 90]
    for cut in range(len(data) + 1):
        (tmp_path / FIRST).write_bytes(data[:cut])
        store: Any = Adding()
        Shipping(tmp_path, store, lambda: TS, 3600.0).run({}, (), ())
        whole = sum(end <= cut for end in ends)
        assert store.spent.get(KEY, 0) == (expected[whole - 1] if whole else 0), cut


def test_a_line_that_is_being_written_waits_for_its_end(room: Room) -> None:
    line = encode_line(done("a", 70))
    room.lock(FIRST)
    room.write(FIRST, line[:20])
    room.run()
    assert (room.spent(), room.shipping.damaged) == (0, 0)
    room.write(FIRST, line[20:])
    room.run()
    assert (room.spent(), room.shipping.damaged) == (70, 0)


def test_a_damaged_line_costs_itself_and_its_call_is_booked_whole(room: Room) -> None:
    bad = bytearray(encode_line(done("a", 70)))
    bad[30] ^= 1
    room.write(FIRST, opened("a", 100), bytes(bad), opened("b"), done("b", 5))
    room.run()
    assert (room.spent(), room.shipping.damaged) == (105, 1)
    assert room.usage()[0] == 2 and room.usage()[-1] == 1


def test_bytes_without_end_are_damage_and_no_burden(room: Room) -> None:
    room.write(FIRST, b"x" * (3 << 20), b"\n", done("a", 7))
    room.run()
    assert room.spent() == 7
    assert room.shipping.damaged >= 1


def test_open_calls_of_the_living_wait_and_of_the_dead_are_booked_at_their_reserve(room: Room) -> None:
    room.lock(FIRST)
    room.write(FIRST, opened("a", 100, KEY, TEAM))
    room.write(OTHER, opened("b", 30))
    read = room.run()
    assert (read.buried, room.spent(), room.spent(TEAM)) == ({"boot2"}, 30, 0)
    read = room.run(dead=frozenset({"boot1"}))
    assert (read.buried, room.spent(), room.spent(TEAM)) == ({"boot1"}, 130, 100)
    assert room.usage() == (2, 0, 0, 0, 0, 130, 0, 0, 2)


def test_a_lock_that_ends_is_a_death_that_nobody_has_to_report(room: Room) -> None:
    room.lock(FIRST)
    room.write(FIRST, opened("a", 100))
    assert room.run().buried == frozenset()
    room.write(SECOND, done("x", 1))  # its first segment is still locked
    assert room.run().buried == frozenset()
    room.unlock()
    assert room.run().buried == {"boot1"}
    assert room.spent() == 101


def test_a_call_open_long_after_its_deadline_is_booked_and_put_right_when_its_end_comes(room: Room) -> None:
    room.lock(FIRST)
    room.write(FIRST, opened("a", 100))
    room.time = TS + 119.0
    room.run()
    assert room.spent() == 0
    room.time = TS + 121.0
    assert room.run().costs == {("boot1", *KEY): 100}
    room.restart()
    room.write(FIRST, done("a", 60))
    read = room.run()
    assert (room.spent(), read.costs) == (60, {})
    assert room.usage() == (1, 0, 10, 60, 3, 60, 1, 2, 0)
    assert room.store.known().open == {}


def test_what_was_booked_whole_is_forgotten_after_a_day(room: Room) -> None:
    room.write(FIRST, opened("a", 100))
    room.run()
    room.time = TS + 60.0 + 86_401.0
    room.run()
    assert (room.store.known().open, room.spent()) == ({}, 100)


def test_a_later_settlement_adds_to_what_was_booked(room: Room) -> None:
    room.lock(FIRST)
    room.write(FIRST, opened("a"), done("a", 70), FixLine("a", TS + 1.0, -20, (KEY,), "batch"))
    read = room.run()
    assert (room.spent(), read.costs) == (50, {("boot1", *KEY): 70})
    assert room.usage()[5] == 50


def test_lines_behind_the_place_of_a_hello_are_told_apart_even_if_they_were_read_before(room: Room) -> None:
    room.lock(FIRST)
    room.write(FIRST, opened("a"), done("a", 70))
    place = (room.folder / FIRST).stat().st_size
    room.write(FIRST, opened("b"), done("b", 5))
    assert room.run({"boot1": (FIRST, place)}).after == {("boot1", *KEY): 5}
    room.write(SECOND, opened("c"), done("c", 3))
    read = room.run({"boot1": (FIRST, place)})
    assert (read.costs, read.after) == ({("boot1", *KEY): 3}, {("boot1", *KEY): 8})
    assert room.run({"boot1": ("", 0)}).after == {("boot1", *KEY): 78}


def test_thousands_of_lines_go_in_several_transactions(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_shipping, "LINES", 10)
    for number in range(57):
        room.write(FIRST, opened(str(number)), done(str(number), 1))
    room.run()
    assert (room.spent(), room.usage()[0]) == (57, 57)


def test_when_the_books_cannot_be_written_what_was_committed_counts_and_the_rest_is_read_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_shipping, "LINES", 10)
    for number in range(20):
        room.write(FIRST, opened(str(number)), done(str(number), 1))
    real = room.store.apply
    count = [0]

    def apply(changes: Changes) -> object:
        count[0] += 1
        if count[0] == 3:
            raise sqlite3.OperationalError("database or disk is full")
        return real(changes)

    monkeypatch.setattr(room.store, "apply", apply)
    read = room.run()
    assert (read.whole, read.buried) == (False, frozenset())
    assert read.spent == {KEY: 9} or read.spent == {KEY: 10}
    assert room.shipping.trouble == "database or disk is full"
    assert room.run().whole
    assert (room.spent(), room.usage()[0], room.shipping.trouble) == (20, 20, "")


def test_segments_go_when_they_are_read_dead_and_kept_long_enough(room: Room) -> None:
    room.write(FIRST, opened("a"), done("a", 70))
    room.lock(OTHER)
    room.write(OTHER, opened("b"), done("b", 5))
    for name in (FIRST, OTHER):
        os.utime(room.folder / name, (TS, TS))
    room.time = TS + 3500.0
    room.run()
    room.time = TS + 3590.0
    room.run()
    assert sorted(os.listdir(room.folder)) == [FIRST, OTHER]
    room.time = TS + 3700.0
    room.run()
    assert os.listdir(room.folder) == [OTHER]
    assert list(room.store.known().positions) == [OTHER]
    assert room.spent() == 75


def test_books_that_are_gone_are_made_anew_from_what_is_kept(room: Room) -> None:
    room.write(FIRST, opened("a"), done("a", 70), opened("b", 40))
    room.run()
    before = (room.spent(), room.usage())
    room.store.close()
    for name in ("books.sqlite", "books.sqlite-wal", "books.sqlite-shm"):
        (room.path / name).unlink(missing_ok=True)
    room.start()
    assert room.run().whole
    assert (room.spent(), room.usage()) == before == (110, (2, 0, 10, 70, 3, 110, 1, 2, 1))


def test_other_files_are_none_of_ours(room: Room) -> None:
    (room.folder / "notes.txt").write_text("hello")
    (room.folder / "20251121T044000Z-Boot-w0-000001.log").write_text("hello")
    assert room.run().whole


def test_what_workers_of_another_supervisor_have_set_aside_is_told_until_it_is_settled(room: Room) -> None:
    """The supervisor was killed, another started at once: the first one's workers still bring their calls to an end."""
    room.lock(FIRST)
    room.write(FIRST, opened("a", 100, KEY, TEAM), opened("b", 40, KEY))
    room.lock(OTHER)
    room.write(OTHER, opened("c", 7))
    assert room.shipping.run({}, (), {"boot2"}).foreign == {KEY: 140, TEAM: 100}
    room.write(FIRST, done("a", 70, KEY, TEAM))
    read = room.shipping.run({}, (), {"boot2"})
    assert (read.foreign, read.spent) == ({KEY: 40}, {KEY: 70, TEAM: 70})
    room.unlock()
    read = room.run()
    assert (read.foreign, read.spent) == ({}, {KEY: 117})  # its worker has died with b open


# -- batches ----------------------------------------------------------------------------------------------------------


def made(id: str, consumer: str, cost: int = 0) -> Line:
    """The call that made the batch."""
    return DoneLine(LedgerRecord(id=id, ts=TS, consumer=consumer, surface="batches", provider="p", batch="p/batch_1"))


def batch(consumer: str = "poller", cost: int = 70) -> Line:
    """What one worker was told of it."""
    usage = Usage(input=20, output=5, tier="batch")
    return DoneLine(
        LedgerRecord(id="batch:p/batch_1", ts=TS, consumer=consumer, surface="batches", provider="p", model="m",
                     asked="m", cost=cost, usage=usage, batch="p/batch_1")
    )  # fmt: skip


def of_batches(room: Room) -> dict[str, tuple[int, int]]:
    """Consumer -> (requests, cost)."""
    rows = room.store.usage("2025-11-01T00", "2025-12-01T00", ["consumer"], "")
    return {row["consumer"]: (row["requests"], row["cost"]) for row in rows}


def test_a_batch_is_booked_once_for_ever_whoever_polls_and_to_who_made_it(room: Room) -> None:
    opened_batch = OpenLine("batch:p/batch_1", TS, TS, 0, "m", ())
    room.write(FIRST, made("1", "maker"))
    room.run()
    room.write(FIRST, opened_batch, batch(), batch())
    room.write(OTHER, opened_batch, batch("other"))
    room.run()
    assert of_batches(room) == {"maker": (2, 70)}
    for number in range(ledger_shipping.REMEMBERED + 1):
        room.shipping._first_time(f"later {number}")
    room.shipping.changes = Changes()
    assert "batch:p/batch_1" not in room.shipping.settled
    room.write(SECOND, opened_batch, batch())
    room.run()
    room.restart()
    room.write(SECOND, opened_batch, batch())
    room.run()
    assert of_batches(room) == {"maker": (2, 70)}
    assert room.shipping.open == {}


def test_a_batch_that_was_made_elsewhere_is_his_who_polls(room: Room) -> None:
    room.write(FIRST, batch(), made("2", "late"))
    room.run()
    assert of_batches(room) == {"poller": (1, 70), "late": (1, 0)}
