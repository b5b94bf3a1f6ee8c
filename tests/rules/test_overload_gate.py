"""When a late loop is overloaded, how much it then lets in, and whom (S22.9, S22.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.overload_gate import (
    ADMIT,
    CALM,
    HOLD,
    LAG,
    LEAST_RATE,
    REFUSE,
    SHEDDING,
    TARGET,
    WATCHING,
    OverloadGate,
    divide,
)


def shedding(rate: float = 200.0, now: float = 1000.0) -> OverloadGate:
    """A gate that has just begun to turn requests away, with *rate* as its guess."""
    gate = OverloadGate()
    gate.tick(now - 0.4, 0.1)
    gate.served = round(rate * 0.4)
    gate.tick(now - 0.2, 0.1)
    gate.tick(now - 0.1, 0.1)
    gate.tick(now, 0.1)
    assert (gate.state, gate.rate) == (SHEDDING, pytest.approx(rate))
    gate.climbing = False
    return gate


def test_a_calm_gate_lets_everybody_in_and_counts_nothing() -> None:
    gate = OverloadGate()
    assert [gate.judge(level, 1.0) for level in (0, 1, 2, 3)] == [ADMIT] * 4
    assert (gate.asked, gate.refused) == ([0] * 4, [0] * 4)


def test_overload_is_a_loop_late_without_a_break_s22_9() -> None:
    gate = OverloadGate()
    gate.tick(1.0, LAG + 0.01)
    assert gate.state == WATCHING
    gate.tick(1.07, LAG + 0.01)
    gate.tick(1.14, LAG + 0.01)
    assert gate.state == WATCHING
    gate.served = 40
    gate.tick(1.2, LAG + 0.01)
    assert (gate.state, gate.rate) == (SHEDDING, pytest.approx(200.0))


def test_turns_that_grow_are_overload_before_four_of_them_have_passed() -> None:
    gate = OverloadGate()
    gate.tick(1.0, 0.06)
    gate.served = 30
    assert gate.judge(2, 1.29) == ADMIT
    assert gate.judge(2, 1.31) == REFUSE
    assert (gate.state, gate.rate) == (SHEDDING, pytest.approx(30 / 0.31))


def test_a_first_guess_that_was_too_low_is_left_quickly() -> None:
    gate = OverloadGate()
    gate.tick(1.0, 0.06)
    gate.judge(2, 1.31)
    assert gate.rate == LEAST_RATE
    windows(gate, 1.31, 0.0, 8, 10)
    assert gate.rate > 200.0


def test_one_tick_in_time_and_it_was_none() -> None:
    gate = OverloadGate()
    for late in (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, LAG):
        gate.tick(1.0, late)
        assert gate.judge(3, 1.0) == ADMIT
    assert gate.state == CALM


def test_many_clients_that_each_wait_for_their_answer_are_none() -> None:
    """P1's load: 256 connections of a closed loop make turns of 30 ms even in an interpreted build."""
    gate = OverloadGate()
    for turn in range(1000):
        gate.tick(turn * 0.03, 0.02)
        assert gate.state == CALM


def test_the_rate_of_admissions_holds_whatever_is_asked() -> None:
    gate = shedding(200.0, 1000.0)
    verdicts = [gate.judge(2, 1000.0 + n / 1000) for n in range(100)]
    assert verdicts.count(ADMIT) == 19  # 200/s for 99 ms
    assert verdicts.count(REFUSE) == 81
    assert gate.refused == [0, 0, 81, 0]


def test_what_even_refusing_cannot_keep_up_with_is_held() -> None:
    gate = shedding(20.0, 1000.0)
    verdicts = [gate.judge(2, 1000.0) for _ in range(100)]
    assert (verdicts.count(REFUSE), verdicts.count(HOLD)) == (80, 20)
    assert gate.asked[2] == 80
    assert gate.room(1000.0) == 0
    assert gate.room(1000.00505) == 40


def test_who_waited_too_long_leaves_the_place_to_the_next() -> None:
    gate = shedding(200.0, 1000.0)
    gate.tokens = [0.0, 0.0, 1.0, 0.0]
    assert gate.judge(2, 1000.0) == ADMIT
    gate.came_too_late(2)
    assert gate.judge(2, 1000.0) == ADMIT
    assert gate.judge(2, 1000.0) == REFUSE
    assert gate.refused[2] == 2


def windows(gate: OverloadGate, now: float, late: float, count: int, turned_away: int) -> float:
    for _ in range(count):
        for _ in range(10):
            now += 0.0101
            gate.asked[2] = 100
            gate.turned_away = turned_away
            gate.tick(now, late)
    return now


def test_the_rate_falls_while_the_loop_is_later_than_it_should_be_and_rises_while_it_is_not() -> None:
    gate = shedding(200.0, 1000.0)
    now = windows(gate, 1000.0, 5 * TARGET, 3, 10)
    low = gate.rate
    assert 60.0 < low < 200.0
    windows(gate, now, 0.0, 10, 10)
    assert gate.rate > 1.3 * low


def test_the_rate_never_falls_to_nothing() -> None:
    gate = shedding(200.0, 1000.0)
    windows(gate, 1000.0, 1.0, 50, 10)
    assert gate.rate == LEAST_RATE


def test_the_rate_does_not_grow_while_nobody_is_turned_away() -> None:
    gate = shedding(200.0, 1000.0)
    gate.lag = 0.0
    windows(gate, 1000.0, 0.0, 5, 0)
    assert gate.rate == pytest.approx(200.0)


def test_a_second_without_a_refusal_ends_it() -> None:
    gate = shedding(200.0, 1000.0)
    now = windows(gate, 1000.0, 0.0, 9, 0)
    assert gate.state == SHEDDING
    windows(gate, now, 0.0, 2, 0)
    assert gate.state == CALM


@pytest.mark.parametrize("cost", [0.001, 0.003])
def test_five_times_the_peak_keeps_nine_tenths_of_the_core_busy_and_the_queue_short_p11(cost: float) -> None:
    """A core, simulated: each admitted request takes *cost*, each refusal 20 us; five times the capacity is offered
    evenly. A turn begins what has come in the meantime, and works off what the turn before began."""
    gate = OverloadGate()
    peak = 1.0 / cost
    now = 0.0
    due = 0.0
    ticked = 0.0
    begun = 0
    served = 0
    turns: list[float] = []
    while now < 10.0:
        spent = 0.00005 + begun * cost
        gate.served += begun
        served += begun if now > 2.0 else 0
        begun = 0
        while due <= now:
            due += 1.0 / (5 * peak)
            if gate.judge(2, now) == ADMIT:
                begun += 1
            else:
                spent += 0.00002
        now += spent
        if now - ticked >= 0.01:
            gate.tick(now, now - ticked - 0.01)
            ticked = now
        if now > 2.0:
            turns.append(spent)
    assert served / 8.0 >= 0.9 * peak
    assert sorted(turns)[int(len(turns) * 0.99)] < 0.03
    assert gate.state == SHEDDING


def test_what_is_there_is_divided_by_weight_and_nobody_gets_more_than_wanted_s22_1() -> None:
    assert divide(150.0, [1000.0, 1000.0, 1000.0, 1000.0]) == pytest.approx([80.0, 40.0, 20.0, 10.0])
    assert divide(100.0, [10.0, 0.0, 1000.0, 0.0]) == pytest.approx([10.0, 1.0, 90.0, 1.0])


def test_a_flood_of_low_requests_leaves_the_high_ones_alone_s22_3() -> None:
    shares = divide(100.0, [0.0, 60.0, 0.0, 1200.0])
    assert shares[1] == 60.0
    assert shares[3] == 40.0


def test_what_nobody_wants_whoever_comes_may_have() -> None:
    assert divide(100.0, [0.0, 0.0, 30.0, 0.0]) == [70.0, 70.0, 100.0, 70.0]


@given(st.floats(20.0, 1e5), st.lists(st.floats(0.0, 1e6), min_size=4, max_size=4))
def test_no_more_than_the_rate_is_divided_and_every_level_moves(rate: float, wanted: list[float]) -> None:
    shares = divide(rate, wanted)
    taken = sum(min(share, want) for share, want in zip(shares, wanted, strict=True))
    assert taken <= rate * (1 + 1e-9) + 4.0
    assert min(shares) >= 1.0
    if sum(wanted) >= rate:
        assert taken >= rate * (1 - 1e-9) - 4.0
