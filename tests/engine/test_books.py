"""A worker's books whose control is played by the test, by hand (LLM 10.1). With a real one: control/test_books."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from books_fakes import WALL, inline
from tidegate.engine.books import LocalBooks, Reserved
from tidegate.engine.ledger import LARGEST, Ledger
from tidegate.engine.steps import Stepper, Steps, Wait
from tidegate.exchange.chat import Usage
from tidegate.exchange.fault import Fault
from tidegate.exchange.ledger import DoneLine, FixLine, LedgerRecord, Line, MarkLine, OpenLine
from tidegate.ports.books import BudgetLevel, Refused
from tidegate.wire.ledger_line import decode_line, whole_lines

TEAM = BudgetLevel("default/team/a/month", 1000, "month")
KEY = BudgetLevel("default/key/k/day", 300, "day")
MONTH = "2025-11"
DAY = "2025-11-21"


class Hand:
    def __init__(self, folder: Path, full: bool = False) -> None:
        self.folder = folder
        self.time = 50.0
        self.step = 0.0
        self.link = True
        self.sent: list[dict[str, Any]] = []
        self.turn: list[Callable[[], None]] = []
        self.slow: list[tuple[Callable[[], None], Callable[[OSError | None], None]]] = []
        self.errors: list[BaseException] = []
        self.steps = Steps(self.errors.append)
        aside = inline if not full else lambda work, done: self.slow.append((work, done))
        self.ledger = Ledger(folder, 0, "k3f9", lambda: self.time, self.wall, self.turn.append, aside, full)
        self.books = LocalBooks(
            self.ledger, lambda: self.time, self.wall, self.send, lambda: Wait(self.steps), self.turn.append
        )

    def wall(self) -> float:
        return WALL + self.time - 50.0 + self.step

    def send(self, message: dict[str, Any]) -> bool:
        if self.link:
            self.sent.append(message)
        return self.link

    def end_turn(self) -> list[dict[str, Any]]:
        while self.turn:
            self.turn.pop(0)()
        sent, self.sent = self.sent, []
        return sent

    def sync(self) -> None:
        for work, done in self.slow:
            work()
            done(None)
        self.slow = []

    def grant(self, number: int, *items: list[Any], refused: list[Any] | None = None) -> None:
        self.books.receive(
            {"kind": "money_grant", "number": number, "clock": 0.0, "items": list(items), "refused": refused}
        )

    def reserve(self, levels: tuple[BudgetLevel, ...], amount: int, id: str = "a") -> list[Any]:
        said: list[Any] = []

        async def journey() -> None:
            try:
                found = self.books.reserve(id, levels, amount, "fast", WALL + 60.0)
                said.append(found if isinstance(found, (Reserved, Refused)) else await found)  # type: ignore[misc]
            except Fault as fault:
                said.append(fault)

        self.stepper = Stepper(self.steps, journey())
        self.stepper.advance()
        assert self.errors == []
        return said

    def lines(self) -> list[Line | None]:
        found: list[Line | None] = []
        for file in sorted(self.folder.iterdir()):
            found += [decode_line(raw) for raw in whole_lines(file.read_bytes())[1:]]
        return found

    def with_money(self, amount: int = 100) -> None:
        """Leases of so much of team and key."""
        said = self.reserve((TEAM, KEY), 0, "none")
        if not said:
            self.end_turn()
        said[0].release()
        self.books.leases[TEAM.id].free = amount
        self.books.leases[KEY.id].free = amount
        self.end_turn()


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand(tmp_path)


def settled(reserved: Any, cost: int) -> LedgerRecord:
    record = LedgerRecord(id=reserved.id, ts=WALL, cost=cost)
    assert reserved.settle(record) is None
    return record


def test_what_a_call_may_cost_is_written_before_and_what_it_did_when_settle_returns(hand: Hand) -> None:
    hand.with_money()
    (reserved,) = hand.reserve((TEAM, KEY), 60)
    levels = ((TEAM.id, MONTH), (KEY.id, DAY))
    assert hand.lines()[-1] == OpenLine("a", WALL, WALL + 60.0, 60, "fast", levels)
    assert [lease.free for lease in hand.books.leases.values()] == [40, 40]
    reserved.mark(Usage(output=3))
    record = settled(reserved, 25)
    assert hand.lines()[-2:] == [MarkLine("a", Usage(output=3)), DoneLine(record)]
    assert (record.reserved, record.levels) == (60, levels)
    assert [lease.free for lease in hand.books.leases.values()] == [75, 75]
    assert hand.books.standing(TEAM) == (25, 975)


def test_an_end_comes_once(hand: Hand) -> None:
    hand.with_money()
    (reserved,) = hand.reserve((TEAM,), 60)
    record = settled(reserved, 25)
    lines = hand.lines()
    assert reserved.settle(record) is None
    reserved.release(record)
    reserved.mark(Usage())
    hand.end_turn()
    assert hand.lines() == lines
    assert hand.books.leases[TEAM.id].free == 75


def test_without_levels_nothing_is_taken_and_all_is_written(hand: Hand) -> None:
    (reserved,) = hand.reserve((), 0)
    record = settled(reserved, 9)
    assert hand.lines() == [OpenLine("a", WALL, WALL + 60.0, 0, "fast"), DoneLine(record)]
    assert (hand.sent, hand.books.leases) == ([], {})


def test_a_release_gives_all_back_and_closes_the_line(hand: Hand) -> None:
    hand.with_money()
    (reserved,) = hand.reserve((TEAM,), 60)
    reserved.release()
    assert hand.books.leases[TEAM.id].free == 100
    hand.end_turn()
    assert hand.lines()[-1] == FixLine("a", WALL, 0, ((TEAM.id, MONTH),), "released")
    (reserved,) = hand.reserve((TEAM,), 60, "b")
    record = LedgerRecord(id="b", ts=WALL, status=429, cost=5)
    reserved.release(record)
    hand.end_turn()
    assert (hand.lines()[-1], record.cost) == (DoneLine(record), 0)


def test_where_there_is_not_enough_control_is_asked_once_for_all_and_what_is_left_goes_home(hand: Hand) -> None:
    hand.with_money(50)
    hand.books.leases[TEAM.id].free = 90
    said = hand.reserve((TEAM, KEY), 70)
    other = hand.reserve((KEY,), 5, "b")
    assert (said, other) == ([], [])
    assert hand.end_turn() == [
        {"kind": "money_want", "number": 2, "model": "fast", "items": [[KEY.id, "day", DAY, 300, 70, 50]]},
        {"kind": "money_want", "number": 3, "model": "fast", "items": [[KEY.id, "day", DAY, 300, 5, 0]]},
    ]
    assert hand.books.leases[TEAM.id].held == 70
    hand.grant(2, [KEY.id, DAY, 100, 7])
    assert said[0].amount == 70
    assert hand.books.leases[KEY.id].free == 30
    hand.grant(3, [KEY.id, DAY, 5, 7])
    assert other[0].amount == 5
    assert hand.books.standing(KEY) == (7, 293)


def test_a_no_gives_back_what_other_levels_had_set_aside(hand: Hand) -> None:
    hand.with_money(90)
    hand.books.leases[KEY.id].free = 10
    said = hand.reserve((TEAM, KEY), 70)
    hand.end_turn()
    hand.grant(2, refused=[KEY.id, 300])
    assert said == [Refused(KEY.id, 300, 300, 86_400 - (4 * 60 + 40) * 60)]
    team = hand.books.leases[TEAM.id]
    assert (team.free, team.held) == (90, 0)
    assert hand.books.exhausted((TEAM, KEY)) == said[0]
    assert hand.books.exhausted((TEAM,)) is None
    assert [one for one in hand.lines() if isinstance(one, OpenLine) and one.id == "a"] == []


def test_a_grant_that_comes_late_is_free_for_the_next(hand: Hand) -> None:
    hand.with_money(0)
    said = hand.reserve((TEAM,), 70)
    hand.end_turn()
    hand.time += 1.0
    hand.books.tick()
    assert (said[0].code, said[0].status) == ("limiter_unavailable", 503)
    hand.grant(2, [TEAM.id, MONTH, 80, 0])
    assert hand.reserve((TEAM,), 80, "b")[0].amount == 80


def test_a_grant_for_a_period_that_is_over_goes_home(hand: Hand) -> None:
    hand.with_money(0)
    hand.reserve((KEY,), 70)
    hand.stepper.cancel()
    hand.step = 86_400.0
    hand.reserve((KEY,), 5, "b")
    (old, new) = hand.end_turn()
    assert (old["items"][0][2], new["items"][0][2]) == (DAY, "2025-11-22")
    hand.grant(2, [KEY.id, DAY, 70, 0])
    assert hand.end_turn() == [{"kind": "money_back", "items": [[KEY.id, DAY, 70]]}]


def test_a_recall_is_always_answered(hand: Hand) -> None:
    hand.with_money(40)
    hand.reserve((TEAM,), 30)
    hand.books.receive(
        {"kind": "money_recall", "items": [[TEAM.id, MONTH], [KEY.id, "2025-11-20"], ["unknown", MONTH]]}
    )
    hand.books.receive({"kind": "of tomorrow"})
    assert hand.end_turn() == [
        {"kind": "money_back", "items": [[TEAM.id, MONTH, 10], [KEY.id, "2025-11-20", 0], ["unknown", MONTH, 0]]}
    ]
    assert hand.books.leases[KEY.id].free == 40


def test_the_hello_tells_all_that_is_held_and_open_asks_are_asked_again(hand: Hand) -> None:
    hand.with_money(40)
    hand.reserve((TEAM,), 30)
    hand.reserve((KEY,), 41, "b")
    hand.link = False
    hand.end_turn()
    assert hand.books.hello() == {
        "boot": "k3f9",
        "segment": hand.ledger.name,
        "offset": hand.ledger.size,
        "clock": WALL,
        "items": [[TEAM.id, "month", MONTH, 1000, 40]],
    }
    hand.link = True
    hand.books.connected()
    (want,) = hand.end_turn()
    assert want["items"] == [[KEY.id, "day", DAY, 300, 41, 0]]


def test_a_ledger_that_cannot_be_written_refuses_before_and_remembers_after(hand: Hand) -> None:
    hand.with_money(100)
    (reserved,) = hand.reserve((TEAM,), 30)
    hand.ledger.size, hand.ledger.retry_at = LARGEST, hand.time + 1.0
    (fault,) = hand.reserve((TEAM,), 20, "b")
    assert fault.code == "ledger_unavailable"
    assert (hand.books.leases[TEAM.id].free, hand.books.leases[TEAM.id].held) == (70, 30)
    with pytest.raises(Fault):
        reserved.settle(LedgerRecord(id="a", ts=WALL, cost=10))
    assert reserved.settle(LedgerRecord(id="a", ts=WALL, cost=10)) is None
    assert hand.books.leases[TEAM.id].free == 90
    hand.time += 1.0
    hand.books.tick()
    done = hand.lines()[-1]
    assert isinstance(done, DoneLine) and (done.record.id, done.record.cost) == ("a", 10)


def test_full_durability_waits_for_the_disk_before_and_after(tmp_path: Path) -> None:
    hand = Hand(tmp_path, full=True)
    said = hand.reserve((), 0)
    assert said == []
    hand.sync()
    record = LedgerRecord(id="a", ts=WALL, cost=3)
    work = said[0].settle(record)
    ended: list[str] = []

    async def journey() -> None:
        await work
        ended.append("on the disk")

    Stepper(hand.steps, journey()).advance()
    assert (ended, hand.lines()[-1]) == ([], DoneLine(record))
    hand.sync()
    assert ended == ["on the disk"]


def test_a_client_that_leaves_while_the_disk_works_takes_nothing_along(tmp_path: Path) -> None:
    hand = Hand(tmp_path, full=True)
    said = hand.reserve((), 0)
    hand.stepper.cancel()
    hand.end_turn()
    assert said == []
    assert [type(line) for line in hand.lines()] == [OpenLine, FixLine]


def test_a_sync_that_fails_refuses_the_call_or_tells_the_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand(tmp_path, full=True)
    waits = hand.reserve((), 0)
    hand.sync()
    said = hand.reserve((), 0, "b")
    told: list[str] = []

    async def journey() -> None:
        try:
            await waits[0].settle(LedgerRecord(id="a", ts=WALL, cost=3))
        except Fault as fault:
            told.append(fault.code)

    Stepper(hand.steps, journey()).advance()
    monkeypatch.setattr("tidegate.engine.ledger.os.fdatasync", broken_disk)
    while hand.slow:
        (_, done) = hand.slow.pop(0)
        done(OSError(5, "input/output error"))
    assert said[0].code == "ledger_unavailable"
    assert told == ["ledger_unavailable"]
    assert len(hand.ledger.owed) == 1


def broken_disk(file: int) -> None:
    raise OSError(5, "input/output error")


def test_what_has_run_far_past_its_deadline_counts_as_spent_here_too(hand: Hand) -> None:
    hand.with_money(100)
    (reserved,) = hand.reserve((TEAM,), 30)
    hand.time += 121.0
    hand.books.tick()
    assert hand.books.open == {}
    late = settled(reserved, 10)
    assert hand.lines()[-1] == DoneLine(late)
    team = hand.books.leases.get(TEAM.id)
    assert team is None or team.held == 0


def test_the_same_level_twice_is_paid_twice_or_not_at_all(hand: Hand) -> None:
    hand.with_money(100)
    hand.reserve((TEAM, TEAM), 60)
    team = hand.books.leases[TEAM.id]
    assert team.free + team.held <= 100


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 150)), max_size=20))
def test_money_is_neither_made_nor_lost(calls: list[tuple[int, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        hand = Hand(Path(folder))
        hand.with_money(500)
        spent = 0
        open_calls: list[tuple[Any, int]] = []
        for number, (amount, cost) in enumerate(calls):
            said = hand.reserve((TEAM, KEY), amount, str(number))
            if said:
                open_calls.append((said[0], cost))
            else:
                hand.stepper.cancel()
            if len(open_calls) > 3:
                reserved, paid = open_calls.pop(0)
                settled(reserved, paid)
                spent += paid
            home = sum(item[5] for message in hand.end_turn() for item in message["items"] if item[0] == TEAM.id)
            team = hand.books.leases[TEAM.id]
            team.free += home  # as control would lend it again
            assert team.free + team.held + spent == 500
            assert team.held == sum(reserved.amount for reserved, _ in open_calls)
            hand.books.leases[KEY.id].free = team.free
        hand.ledger.close()


def test_after_the_end_of_the_supervisor_what_is_only_held_is_not_spent(hand: Hand) -> None:
    hand.with_money()
    (reserved,) = hand.reserve((TEAM, KEY), 60)
    hand.books.abandon()
    hand.link = False
    settled(reserved, 20)
    last = hand.lines()[-1]
    assert isinstance(last, DoneLine) and last.record.cost == 20
    said = hand.reserve((TEAM, KEY), 1, "b")
    hand.end_turn()
    assert said == []
    hand.time += 1.1
    hand.books.tick()
    assert [fault.code for fault in said] == ["limiter_unavailable"]
