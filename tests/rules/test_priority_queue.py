"""Who waits, in which order, and who gives way (S22.1-S22.5)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.priority_queue import Entry, PriorityQueue

NOBODY: dict[str, int] = {}


def add(queue: PriorityQueue, level: int, now: float, tenant: str = "t", count: int = 1) -> list[Entry]:
    entries = [Entry(None, level, tenant, now) for _ in range(count)]
    for entry in entries:
        assert queue.offer(entry, now) is None
    return entries


def drain(queue: PriorityQueue, now: float, count: int) -> list[Entry]:
    taken = [queue.take(now, NOBODY, 0) for _ in range(count)]
    return [entry for entry in taken if entry is not None]


def test_full_levels_are_served_8_4_2_1_s22_1() -> None:
    queue = PriorityQueue(1024, 1.0)
    for level in range(4):
        add(queue, level, 0.0, count=100)
    assert Counter(entry.level for entry in drain(queue, 0.001, 150)) == {0: 80, 1: 40, 2: 20, 3: 10}


def test_an_empty_level_leaves_its_share_to_the_others() -> None:
    queue = PriorityQueue(1024, 1.0)
    add(queue, 1, 0.0, count=100)
    add(queue, 3, 0.0, count=100)
    assert Counter(entry.level for entry in drain(queue, 0.001, 50)) == {1: 40, 3: 10}


def test_strict_serves_level_0_before_all_s22_1() -> None:
    queue = PriorityQueue(1024, 1.0, strict=True)
    add(queue, 1, 0.0, count=50)
    add(queue, 0, 0.0, count=50)
    assert [entry.level for entry in drain(queue, 0.001, 51)] == [0] * 50 + [1]


def test_within_a_tenant_first_come_is_first_served() -> None:
    queue = PriorityQueue(64, 1.0)
    for number in range(10):
        add(queue, 2, number / 10_000)
    taken = drain(queue, 0.002, 10)
    by_place: dict[int, list[float]] = {}
    for entry in taken:
        by_place.setdefault(0, []).append(entry.since)
    assert len(taken) == 10
    # two sub-queues of one tenant alternate, so nobody is overtaken by more than one place
    assert all(abs(round(since * 10_000) - place) <= 1 for place, since in enumerate(by_place[0]))


def test_a_full_level_takes_the_place_of_the_newest_entry_of_the_lowest_s22_3() -> None:
    queue = PriorityQueue(8, 1.0)
    for level in range(4):
        add(queue, level, 0.0, tenant=f"a{level}")
        add(queue, level, 0.1, tenant=f"b{level}")
    newcomer = Entry(None, 0, "c", 0.2)
    loser = queue.offer(newcomer, 0.2)
    assert loser is not None and (loser.level, loser.since) == (3, 0.1)
    assert (queue.total, queue.depth) == (8, [3, 2, 2, 1])


def test_with_nobody_below_the_newcomer_is_refused_s22_3() -> None:
    queue = PriorityQueue(8, 1.0)
    add(queue, 3, 0.0, count=2)
    newcomer = Entry(None, 3, "c", 0.1)
    assert queue.offer(newcomer, 0.1) is newcomer
    assert (queue.total, newcomer.place) == (2, -1)


def test_a_flood_of_low_entries_takes_nothing_from_a_higher_level_s22_3() -> None:
    queue = PriorityQueue(1024, 1.0)
    refused = 0
    for number in range(12_000):
        entry = Entry(None, 3, "batch", number / 10_000)
        refused += queue.offer(entry, number / 10_000) is entry
        if number % 12 == 0:
            add(queue, 1, number / 10_000, tenant="people")
            served = queue.take(number / 10_000, NOBODY, 0)
            assert served is not None and served.level in (1, 3)
    assert refused > 10_000 and queue.depth[1] <= 256


def test_a_tenant_hashes_to_two_of_sixteen_and_joins_the_shorter_s22_4() -> None:
    queue = PriorityQueue(1024, 1.0)
    entries = add(queue, 2, 0.0, tenant="one", count=100)
    assert sorted(Counter(entry.place for entry in entries).values()) == [50, 50]


def test_a_quiet_tenant_is_served_in_turn_beside_a_loud_one_s22_4() -> None:
    queue = PriorityQueue(1024, 1.0)
    add(queue, 2, 0.0, tenant="loud", count=250)
    loud = {entry.place for entry in (Entry(None, 2, "loud", 0.0),)} | {
        place for place, one in enumerate(queue.queues[2]) if one
    }
    quiet = next(name for name in map(str, range(1000)) if hash(name) & 15 not in loud)
    (entry,) = add(queue, 2, 0.0, tenant=quiet)
    assert any(taken is entry for taken in drain(queue, 0.001, 3))


def test_a_tenant_with_half_of_the_slots_is_passed_over_s13_9() -> None:
    queue = PriorityQueue(1024, 1.0)
    add(queue, 0, 0.0, tenant="greedy", count=20)
    other = next(
        name for name in map(str, range(1000))
        if not queue.queues[3][hash(name) & 15] and not queue.queues[0][hash(name) & 15]
    )  # fmt: skip
    (entry,) = add(queue, 3, 0.0, tenant=other)
    assert queue.take(0.001, {"greedy": 5}, 5) is entry
    assert queue.take(0.001, {"greedy": 5}, 5) is None
    greedy = queue.take(0.001, {"greedy": 5}, 0)
    assert greedy is not None and greedy.tenant == "greedy"


def test_a_wait_ends_after_max_wait_s22_1() -> None:
    queue = PriorityQueue(64, 1.0)
    (first,) = add(queue, 2, 0.0)
    (second,) = add(queue, 1, 0.5)
    assert queue.expire(0.04) == []
    assert queue.expire(1.0)[0] == (first, "queue_timeout")
    assert queue.expire(1.5) == [(second, "queue_timeout")]
    assert queue.total == 0


def test_a_standing_level_turns_to_newest_first_s22_5() -> None:
    queue = PriorityQueue(1024, 1.0)
    old = add(queue, 0, 0.0, count=3)
    for step in range(1, 10):
        add(queue, 0, step * 0.01)
        assert queue.take(step * 0.01, NOBODY, 0) is not None
    (newest,) = add(queue, 0, 0.101)
    taken = drain(queue, 0.101, 2)
    assert queue.turned == [True, False, False, False]
    assert newest in taken and not any(entry in taken for entry in old)


def test_a_standing_low_level_loses_what_waited_100_ms_and_a_high_one_does_not_s22_5() -> None:
    queue = PriorityQueue(1024, 1.0)
    high = add(queue, 1, 0.0, count=3)
    low = add(queue, 2, 0.0, count=3)
    (young,) = add(queue, 2, 0.05)
    gone = queue.expire(0.1)
    assert queue.turned == [False, True, True, False]
    assert sorted(map(id, low)) == sorted(id(entry) for entry, _ in gone)
    assert {reason for _, reason in gone} == {"shed"}
    assert (queue.depth, young.place >= 0, high[0].place >= 0) == ([0, 3, 1, 0], True, True)


def test_a_queue_that_ran_empty_is_calm_again_s22_5() -> None:
    queue = PriorityQueue(64, 1.0)
    add(queue, 0, 0.0, count=2)
    queue.expire(0.2)
    assert queue.turned[0]
    drain(queue, 0.3, 2)
    assert not queue.turned[0]


def test_short_waits_do_not_turn_the_queue() -> None:
    queue = PriorityQueue(1024, 1.0)
    add(queue, 2, 0.0)
    for step in range(1, 1000):
        now = step / 1000
        add(queue, 2, now)
        assert queue.take(now, NOBODY, 0) is not None
    assert not any(queue.turned)


def test_the_estimate_is_depth_ahead_over_rate_within_1_and_30_s22_3() -> None:
    queue = PriorityQueue(10_000, 10.0)
    assert queue.estimate(2) == 1.0
    add(queue, 1, 0.0, count=1850)
    drain(queue, 0.2, 50)
    queue.expire(0.5)
    assert queue.rate == pytest.approx(100.0)
    assert queue.estimate(1) == pytest.approx(18.0)
    assert queue.estimate(0) == 1.0
    queue.rate = 1.0
    assert queue.estimate(1) == 30.0


@given(
    st.lists(
        st.tuples(st.sampled_from(["offer", "take", "remove", "expire"]), st.integers(0, 3), st.integers(0, 5)),
        max_size=150,
    )
)
def test_whatever_happens_the_bounds_hold_and_the_counts_agree(steps: list[tuple[str, int, int]]) -> None:
    queue = PriorityQueue(16, 0.3)
    waiting: list[Entry] = []
    for number, (what, level, tenant) in enumerate(steps):
        now = number * 0.01
        if what == "offer":
            entry = Entry(None, level, str(tenant), now)
            loser = queue.offer(entry, now)
            waiting.append(entry)
            if loser is not None:
                waiting.remove(loser)
        elif what == "take":
            taken = queue.take(now, NOBODY, 0)
            assert (taken is None) == (not waiting)
            if taken is not None:
                waiting.remove(taken)
        elif what == "remove" and waiting:
            queue.remove(waiting.pop(tenant % len(waiting)))
        elif what == "expire":
            for entry, _ in queue.expire(now):
                waiting.remove(entry)
        assert queue.total == len(waiting) <= 16
        assert queue.depth == [sum(entry.level == level for entry in waiting) for level in range(4)]
        assert queue.total == sum(len(one) for level in queue.queues for one in level)
