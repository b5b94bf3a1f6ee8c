"""Resting after failures (LLM 9)."""

from __future__ import annotations

from tidegate.rules.cooldown import KEYS, Cooldowns


def fail(c: Cooldowns, now: float, key: str = "k", delay: float = 0.0, at_once: bool = True) -> float:
    return c.failed(key, now, delay=delay, longest=8.0, at_once=at_once)


def test_a_rest_doubles_from_one_second_to_its_bound_and_success_ends_it() -> None:
    c = Cooldowns()
    now = 100.0
    rests = []
    for _ in range(5):
        rest = fail(c, now)
        rests.append(rest)
        assert c.ready_in("k", now) == rest
        now += rest
        assert c.ready_in("k", now) == 0.0
        assert c.called("k", now)
    assert rests == [1.0, 2.0, 4.0, 8.0, 8.0]
    c.succeeded("k")
    assert not c.called("k", now)
    assert fail(c, now) == 1.0


def test_half_open_lets_one_call_through() -> None:
    c = Cooldowns()
    fail(c, 0.0)
    assert c.ready_in("k", 1.0) == 0.0
    assert not c.called("k", 0.5)
    assert c.called("k", 1.0) and not c.called("k", 1.0)
    assert c.ready_in("k", 1.0) == 2.0
    c.withdrawn("k")
    assert c.ready_in("k", 1.0) == 0.0


def test_the_vendors_delay_counts_and_calls_begun_before_do_not_double_the_rest() -> None:
    c = Cooldowns()
    assert fail(c, 0.0, delay=30.0) == 30.0
    assert fail(c, 1.0) == 2.0
    assert c.ready_in("k", 1.0) == 29.0
    assert fail(c, 2.0) == 2.0


def test_a_target_rests_after_three_failures_in_thirty_seconds() -> None:
    c = Cooldowns()
    assert [fail(c, t, at_once=False) for t in (0.0, 10.0, 29.0)] == [0.0, 0.0, 1.0]
    d = Cooldowns()
    assert [fail(d, t, at_once=False) for t in (0.0, 20.0, 40.0, 60.0)] == [0.0, 0.0, 0.0, 0.0]


def test_a_target_rests_when_more_than_half_of_its_last_twenty_calls_failed() -> None:
    c = Cooldowns()
    rests = []
    for turn in range(11):
        rests.append(fail(c, turn * 100.0, at_once=False))
        c.succeeded("k")
    assert rests == [0.0] * 11
    rests = [fail(c, 2000.0 + turn * 100.0, at_once=False) for turn in range(2)]
    assert rests == [0.0, 1.0]


def test_a_half_open_target_rests_again_after_one_failure() -> None:
    c = Cooldowns()
    for t in (0.0, 1.0, 2.0):
        fail(c, t, at_once=False)
    c.called("k", 50.0)
    assert fail(c, 50.0, at_once=False) == 2.0


def test_keys_are_bounded() -> None:
    c = Cooldowns()
    for number in range(KEYS + 10):
        c.failed(str(number), 0.0, delay=100.0, longest=8.0, at_once=True)
    assert len(c.keys) <= KEYS
    assert c.explain(0.0) == {str(n): 100.0 for n in range(KEYS, KEYS + 10)}


def test_one_that_has_no_room_rests_without_having_failed() -> None:
    cooldowns = Cooldowns()
    cooldowns.slow("a", 10.0, 5.0)
    assert cooldowns.ready_in("a", 12.0) == 3.0
    assert cooldowns.ready_in("a", 15.0) == 0.0
    assert cooldowns.failed("a", 16.0, delay=0.0, longest=30.0, at_once=True) == 1.0
