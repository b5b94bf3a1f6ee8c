"""The authority over budgets with real workers' books and ledgers, on a fake clock (LLM 10.1, F16)."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from books_fakes import Node
from tidegate.control.books import Read
from tidegate.exchange.fault import Fault
from tidegate.ports.books import BudgetLevel, Refused

USD = 1_000_000_000
TEAM = BudgetLevel("default/team/a/total", 1000, "total")
KEY = BudgetLevel("default/key/k/total", 300, "total")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path, 2)
    yield node
    node.close()


def test_money_is_taken_from_every_level_or_from_none(two: Node) -> None:
    worker = two.workers[0]
    (reserved,) = worker.reserve((TEAM, KEY), 200)
    assert reserved.amount == 200
    (refused,) = worker.reserve((TEAM, KEY), 200)
    assert refused == Refused(KEY.id, 300, 0, 0.0)
    (third,) = worker.reserve((TEAM,), 800)
    assert third.amount == 800
    assert worker.reserve((TEAM,), 1)[0].level == TEAM.id
    worker.settle(reserved, 120)
    assert worker.reserve((TEAM, KEY), 80)[0].amount == 80


def test_the_last_cent_can_be_spent_by_any_worker(two: Node) -> None:
    first, second = two.workers
    for _ in range(8):
        first.settle(first.reserve((TEAM,), 50)[0], 10)
    idle = first.books.leases[TEAM.id].free
    assert idle > 40
    (found,) = second.reserve((TEAM,), 1000 - 80)
    assert found.amount == 920
    assert first.books.leases[TEAM.id].free == 0
    assert isinstance(first.reserve((TEAM,), 1)[0], Refused)


def test_a_lease_lasts_for_many_calls(tmp_path: Path) -> None:
    node = Node(tmp_path, 2)
    level = BudgetLevel("default/team/a/total", 1000 * USD, "total")
    worker = node.workers[0]
    for number in range(10_000):
        worker.settle(worker.reserve((level,), 2_000_000)[0], 1_000_000)
        node.time += 0.001
        if number % 1000 == 999:
            node.pass_over()
    assert node.count < 100
    node.close()


def test_a_refusal_says_who_refused_what_is_spent_and_when_there_is_more(two: Node) -> None:
    day = BudgetLevel("default/consumer/c/day", 100, "day")
    worker = two.workers[0]
    worker.settle(worker.reserve((day,), 100)[0], 100)
    two.run(1.0)
    two.pass_over()
    (refused,) = worker.reserve((day,), 1)
    assert (refused.level, refused.limit, refused.spent) == (day.id, 100, 100)
    assert refused.reset == pytest.approx(86_400 - (4 * 3600 + 40 * 60) - 1.0, abs=0.1)
    asked = two.count
    assert worker.books.exhausted((TEAM, day)) == refused
    assert two.count == asked
    two.run(1.1)
    assert worker.books.exhausted((TEAM, day)) is None  # a limit may have been raised: ask again
    assert worker.books.standing(day) == (100, 0)
    assert worker.books.standing(TEAM) == (0, 1000)


def test_a_new_period_is_a_new_allowance_and_a_clock_set_back_is_none(two: Node) -> None:
    day = BudgetLevel("default/consumer/c/day", 100, "day")
    worker, other = two.workers
    late = worker.reserve((day,), 100)[0]
    two.wall_step += 86_400.0
    fresh = worker.reserve((day,), 60)[0]
    worker.settle(late, 90)
    worker.settle(fresh, 50)
    two.run(1.0)
    two.pass_over()
    assert (two.spent(day, "2025-11-21"), two.spent(day, "2025-11-22")) == (90, 50)
    two.wall_step -= 86_400.0
    assert worker.reserve((day,), 51)[0].level == day.id
    assert other.reserve((day,), 51)[0].level == day.id
    two.control_dies()
    two.control_starts()
    two.crew()
    for each in two.workers:
        each.connect()
    assert worker.reserve((day,), 51)[0].level == day.id


def test_a_limit_that_changes_counts_at_once(two: Node) -> None:
    worker = two.workers[0]
    worker.settle(worker.reserve((TEAM,), 900)[0], 500)
    assert isinstance(worker.reserve((TEAM,), 600)[0], Refused)
    raised = BudgetLevel(TEAM.id, 1200, "total")
    assert worker.reserve((raised,), 600)[0].amount == 600
    lowered = BudgetLevel(TEAM.id, 400, "total")
    assert isinstance(worker.reserve((lowered,), 1)[0], Refused)
    assert worker.books.exhausted((BudgetLevel("none", 0),)) is not None


def test_what_costs_more_than_it_reserved_is_booked_in_full_and_paid_by_who_comes_next(two: Node) -> None:
    first, second = two.workers
    first.settle(first.reserve((TEAM,), 300)[0], 700)
    two.run(1.0)
    two.pass_over()
    assert two.spent(TEAM) == 700
    assert isinstance(second.reserve((TEAM,), 301)[0], Refused)
    assert second.reserve((TEAM,), 300)[0].amount == 300
    assert isinstance(first.reserve((TEAM,), 1)[0], Refused)
    second.settle(second.open[0], 0)
    assert first.reserve((TEAM,), 300)[0].amount == 300


def test_a_worker_that_dies_leaves_its_lease_and_what_was_open_is_booked_whole(two: Node) -> None:
    first, second = two.workers
    first.settle(first.reserve((TEAM,), 100)[0], 70)
    first.reserve((TEAM,), 200)
    two.worker_dies(0)
    two.pass_over()
    assert two.spent(TEAM) == 270
    assert isinstance(second.reserve((TEAM,), 731)[0], Refused)
    assert second.reserve((TEAM,), 730)[0].amount == 730


def test_a_control_that_dies_stops_nobody_who_has_money_and_lends_again_once_all_have_spoken(two: Node) -> None:
    first, second = two.workers
    for _ in range(6):
        first.settle(first.reserve((TEAM,), 20)[0], 20)
    left = first.books.leases[TEAM.id].free
    two.control_dies()
    assert first.reserve((TEAM,), left)[0].amount == left
    waits = first.reserve((TEAM,), 10)
    two.control_starts()
    two.crew()
    two.pass_over()
    first.connect()
    two.run(0.2)
    assert waits == []
    second.connect()
    assert waits[0].amount == 10
    assert two.committed() == 120 + left + 10
    assert isinstance(second.reserve((TEAM,), 1000 - two.committed() + 1)[0], Refused)
    assert second.reserve((TEAM,), 1000 - two.committed())[0].amount > 0


def test_a_worker_that_never_speaks_to_a_new_control_is_replaced(two: Node) -> None:
    two.control_dies()
    two.control_starts()
    two.crew()
    two.workers[0].connect()
    two.run(4.9)
    assert two.replaced == []
    two.run(0.2)
    assert two.replaced == [two.workers[1].pid]
    waits = two.workers[0].reserve((TEAM,), 10)
    two.worker_dies(1)
    two.pass_over()
    assert waits[0].amount == 10


def test_a_worker_that_is_still_starting_is_waited_for_and_left_alone(two: Node) -> None:
    two.control_dies()
    two.control_starts()
    assert two.authority is not None
    two.authority.crew({two.workers[0].pid: True, two.workers[1].pid: False})
    two.workers[0].connect()
    two.run(4.5)
    waits = two.workers[0].reserve((TEAM,), 10)
    two.run(0.4)
    assert waits == []
    two.run(0.3)
    assert (waits[0].amount, two.replaced) == (10, [])


def test_without_control_a_call_waits_a_second_for_money_and_then_gets_503_never_a_free_ride(two: Node) -> None:
    two.control_dies()
    waits = two.workers[0].reserve((TEAM,), 10)
    two.run(0.98)
    assert waits == []
    two.run(0.04)
    assert isinstance(waits[0], Fault)
    assert (waits[0].code, waits[0].retry_after) == ("limiter_unavailable", 1.0)
    two.control_starts()
    two.crew()
    for worker in two.workers:
        worker.connect()
    two.pass_over()
    assert two.workers[0].books.leases[TEAM.id].held == 0
    assert two.workers[1].reserve((TEAM,), 1000)[0].amount == 1000


def test_a_client_that_leaves_while_it_waits_takes_no_money_along(two: Node) -> None:
    worker = two.workers[0]
    worker.reserve((TEAM,), 700)
    two.control_dies()
    waits = worker.reserve((KEY, TEAM), 200)
    worker.waiting[-1].cancel()
    assert (waits, worker.books.asks) == ([], {})
    two.control_starts()
    two.crew()
    for each in two.workers:
        each.connect()
    assert worker.books.leases[KEY.id].held == 0
    assert two.workers[1].reserve((TEAM, KEY), 300)[0].amount == 300


def test_everything_killed_at_once_is_read_from_the_disk(two: Node) -> None:
    first, second = two.workers
    first.settle(first.reserve((TEAM,), 100)[0], 60)
    first.reserve((TEAM,), 40)
    second.reserve((TEAM,), 30)
    two.control_dies()
    first.die()
    second.die()
    two.workers = [two.born(0), two.born(1)]
    two.control_starts()
    two.crew()
    for worker in two.workers:
        worker.connect()
    two.pass_over()
    assert two.spent(TEAM) == 130
    assert isinstance(two.workers[0].reserve((TEAM,), 871)[0], Refused)
    assert two.workers[0].reserve((TEAM,), 870)[0].amount == 870


def test_who_dies_before_it_told_a_new_control_what_it_holds_is_booked_first(two: Node) -> None:
    """Its calls are open in its ledger only: nothing is lent before a pass has found that it is dead."""
    first, second = two.workers
    first.reserve((TEAM,), 700)
    two.control_dies()
    two.delay = 0.05
    two.control_starts()
    two.crew()
    second.connect()
    two.run(0.1)
    two.pass_over()
    assert two.authority is not None and two.authority.read and not two.authority.ready()
    two.worker_dies(0)
    said = second.reserve((TEAM,), 1000)
    two.deliver()
    two.time += 0.06
    two.deliver()
    assert said == []
    two.run(0.5)
    assert isinstance(said[0], Refused)
    assert two.committed() == 700


def test_books_that_are_deleted_are_made_anew_from_the_ledgers(two: Node) -> None:
    first, second = two.workers
    first.settle(first.reserve((TEAM,), 100)[0], 60)
    second.settle(second.reserve((TEAM,), 100)[0], 70)
    second.reserve((TEAM,), 25)
    two.pass_over()
    two.control_dies()
    for name in ("books.sqlite", "books.sqlite-wal", "books.sqlite-shm"):
        (two.path / name).unlink(missing_ok=True)
    two.control_starts()
    two.crew()
    for worker in two.workers:
        worker.connect()
    two.pass_over()
    assert two.spent(TEAM) == 130
    assert isinstance(first.reserve((TEAM,), 846)[0], Refused)
    assert first.reserve((TEAM,), 845)[0].amount == 845


def test_a_call_far_past_its_deadline_is_booked_and_its_end_still_counts(two: Node) -> None:
    worker = two.workers[0]
    worker.reserve((TEAM,), 200, deadline=5.0)
    two.run(66.5, 0.5)
    two.pass_over()
    assert two.spent(TEAM) == 200
    assert worker.books.open == {}
    assert isinstance(two.workers[1].reserve((TEAM,), 801)[0], Refused)
    assert two.workers[1].reserve((TEAM,), 800)[0].amount == 800


def test_leases_nobody_uses_go_home(two: Node) -> None:
    worker = two.workers[0]
    worker.settle(worker.reserve((TEAM,), 200)[0], 10)
    two.run(32.0, 0.5)
    assert worker.books.leases == {}
    assert two.authority is not None
    two.pass_over()
    account = two.authority.accounts[TEAM.id, "total"]
    assert (account.spent, sum(account.out.values())) == (10, 0)


def test_a_thousand_calls_at_once_on_four_workers_never_pass_a_budget_of_ten(tmp_path: Path) -> None:
    """F16."""
    node = Node(tmp_path, 4, delay=0.004, seed=5)
    node.run(0.05)
    node.pass_over()
    level = BudgetLevel("default/consumer/c/total", 10 * 777, "total")
    said = [node.workers[number % 4].reserve((level,), 777) for number in range(1000)]
    node.run(1.0)
    granted = [one[0] for one in said if one and not isinstance(one[0], (Refused, Fault))]
    assert len(granted) == 10
    assert node.committed() == 7770
    assert all(one for one in said)
    node.close()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([0.0, 0.003, 0.03]))
def test_whatever_happens_no_budget_is_passed_and_the_books_are_right_in_the_end(
    seed: int, workers: int, delay: float
) -> None:
    """Random calls, passes, deaths of workers, of control and of links."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), workers, delay, seed)
        levels = (TEAM, KEY, BudgetLevel("default/model/m/total", 700, "total"))
        for _ in range(150):
            what = chance.random()
            worker = chance.choice(node.workers)
            if what < 0.45:
                chosen = tuple(level for level in levels if level is TEAM or chance.random() < 0.5)
                worker.reserve(chosen, chance.randrange(60))
            elif what < 0.75 and worker.open:
                reserved = chance.choice(worker.open)
                worker.settle(reserved, chance.randrange(reserved.amount + 1))
            elif what < 0.78 and worker.open:
                reserved = worker.open.pop()
                reserved.release()
            elif what < 0.85:
                node.pass_over()
            elif what < 0.88 and worker.waiting:
                chance.choice(worker.waiting).cancel()
            elif what < 0.90:
                node.worker_dies(worker.row)
                if node.authority is not None:
                    node.workers[worker.row].connect()
            elif what < 0.92 and node.authority is not None:
                node.control_dies()
                node.control_starts()
                node.crew()
                for each in node.workers:
                    each.connect()
            elif what < 0.94 and node.authority is not None:
                worker.disconnect()
                worker.connect()
            else:
                node.run(chance.random() * 0.2)
            assert node.committed() <= TEAM.limit
        node.run(2.0)
        for worker in node.workers:
            for reserved in list(worker.open):
                worker.settle(reserved, reserved.amount)
        node.pass_over()
        node.pass_over()
        assert node.spent(TEAM) == node.committed() <= TEAM.limit
        assert node.spent(KEY) <= KEY.limit
        node.run(35.0, 0.5)
        node.pass_over()
        left = TEAM.limit - node.committed()
        if left:
            found = node.workers[0].reserve((TEAM,), left)
            node.run(0.5)
            node.pass_over()
            node.run(0.5)
            assert found[0].amount == left
        node.close()


def test_what_strangers_have_set_aside_is_lent_to_nobody(tmp_path: Path) -> None:
    """Workers of a supervisor that was killed bring their calls to an end beside the ones of the next."""
    node = Node(tmp_path, 1)
    authority = node.authority
    assert authority is not None
    worker = node.workers[0]
    worker.settle(worker.reserve((TEAM, KEY), 10)[0], 10)
    node.pass_over()
    authority.passed(Read({}, {}, {}, foreign={(TEAM.id, "total"): 500}), {})
    assert authority.accounts[TEAM.id, "total"].foreign == 500
    assert isinstance(worker.reserve((TEAM,), 491)[0], Refused)
    (found,) = worker.reserve((TEAM,), 490)
    assert found.amount == 490
    late = BudgetLevel("default/team/late/total", 100, "total")
    authority.passed(Read({}, {}, {}, foreign={(late.id, "total"): 60}), {})
    assert isinstance(worker.reserve((late,), 41)[0], Refused)
    authority.passed(Read({}, {}, {}), {})
    assert worker.reserve((late,), 100)[0].amount == 100
    node.close()
