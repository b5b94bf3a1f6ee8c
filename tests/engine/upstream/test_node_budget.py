"""One retry budget for all workers of a node (S14.4)."""

from __future__ import annotations

from tidegate.engine.segment import Segment, retries_parts, retries_word
from tidegate.engine.upstream.node_budget import NodeBudget


def budgets(workers: int, slot: int = 3, floor: float = 3.0) -> list[NodeBudget]:
    segment = Segment.local(workers)
    return [NodeBudget(10.0, floor, segment.row(number), slot, workers) for number in range(workers)]


def test_the_floor_is_there_once_for_all_workers_s14_4() -> None:
    all_of_them = budgets(4)
    taken = [budget.take(1000.0) for _ in range(30) for budget in all_of_them]
    assert sum(taken) == 30
    assert [budget.left(1000.5) for budget in all_of_them] == [0, 0, 0, 0]
    assert all_of_them[0].left(1010.5) == 30 // 4
    assert all_of_them[0].take(1010.5)


def test_the_first_attempts_of_all_workers_pay_for_the_retries_of_one_s14_4() -> None:
    busy, failing = budgets(2, floor=0.0)
    for number in range(2000):
        busy.count(1000.0 + number / 1000)
    assert sum(failing.take(1001.9) for _ in range(500)) == 100  # what was told when the second began
    busy.count(1002.0)
    assert sum(failing.take(1002.0) for _ in range(500)) == 100
    assert not failing.take(1013.0)


def test_without_a_place_each_worker_has_its_part_and_takes_its_place_later() -> None:
    first, second = budgets(2, slot=-1)
    assert sum(first.take(50.0) for _ in range(100)) == 15
    assert first.left(50.0) == 0
    assert NodeBudget(10.0, 3.0, None, 5, 1).left(50.0) == 30
    for budget in (first, second):
        budget.take_place(0)
    first.take(50.0)
    assert (first.floor, sum(second.take(50.0) for _ in range(100))) == (30.0, 14)
    second.configure(50.0, 1.0)
    assert (second.share, second.floor, second.floor_of_node) == (0.5, 10.0, 1.0)


def test_a_word_says_what_was_put_into_it() -> None:
    assert retries_parts(retries_word(1234, 5678, 90)) == (1234, 5678, 90)
    assert retries_parts(retries_word(1 << 24 | 7, 1 << 30, 1 << 20)) == (7, 0xFFFFFF, 0xFFFF)
