"""Who works here: seats, restarts, silence and charges (S23.6, C3, PF-crash-loop), without a process."""

from __future__ import annotations

import signal

import pytest

from tidegate.control.crew import CONTROL, WORKER, Charges, Crew, Member, Restarts, charged


def join(crew: Crew, row: int, pid: int, now: float, ready: bool = True) -> Member:
    member = Member(WORKER, row, pid, None, now)
    crew.joined(member)
    if ready:
        member.ready_at = max(now, 0.001)
    return member


def test_every_seat_is_due_at_once_and_taken_by_who_joins() -> None:
    crew = Crew()
    crew.staff([0, 1], now=10.0)
    assert crew.rows_due(10.0) == [0, 1]
    join(crew, 0, 100, 10.0)
    assert crew.rows_due(10.0) == [1]
    assert not crew.all_ready()
    join(crew, 1, 101, 10.0)
    assert crew.all_ready()
    assert crew.next_due() == float("inf")


def test_a_worker_that_had_settled_is_replaced_at_once_however_often() -> None:
    crew = Crew()
    crew.staff([0], now=0.0)
    for turn in range(20):
        now = 2.0 * turn
        join(crew, 0, 100 + turn, now)
        crew.died(100 + turn, now + 1.5)
        assert crew.rows_due(now + 1.5) == [0]
    assert crew.degraded() == []


def test_a_crash_loop_waits_longer_and_longer_to_over_5_s_and_is_called_degraded() -> None:
    restarts = Restarts()
    assert [restarts.died(0.0) for _ in range(9)] == [0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert restarts.total == 9
    assert restarts.died(1.0) == 0.0
    assert restarts.unsettled == 0

    crew = Crew()
    crew.staff([0, 1], now=0.0)
    for pid in (1, 2, 3):
        join(crew, 0, pid, 0.0, ready=False)
        crew.died(pid, 0.0)
    assert crew.degraded() == ["1 of 2 workers keep dying at start"]


def test_one_that_was_asked_to_leave_did_not_crash() -> None:
    crew = Crew()
    crew.staff([0], now=0.0)
    member = join(crew, 0, 1, 0.0, ready=False)
    member.retiring = True
    crew.died(1, 5.0)
    assert crew.due == {0: 5.0}
    assert crew.seats[0].total == 0


def test_an_old_worker_in_a_row_without_a_seat_is_not_replaced() -> None:
    crew = Crew()
    crew.staff([0], now=0.0)
    join(crew, 0, 1, 0.0)
    crew.unstaff([0])
    assert crew.died(1, 1.0) is not None
    assert crew.due == {}
    assert crew.died(999, 1.0) is None


def test_control_has_its_own_delay_and_a_retiring_one_is_no_controller() -> None:
    crew = Crew()
    member = Member(CONTROL, -1, 7, None, 0.0)
    crew.joined(member)
    assert crew.controller() is member
    member.retiring = True
    assert crew.controller() is None
    crew.died(7, 1.0)
    assert crew.control_due == 1.0


def test_four_seconds_of_silence_are_one_too_many_and_are_told_once() -> None:
    crew = Crew()
    crew.staff([0], now=0.0)
    member = join(crew, 0, 1, 0.0)
    member.heard = 10.0
    assert crew.silent(14.0) == []
    assert crew.silent(14.1) == [member]
    assert member.hung
    assert crew.silent(20.0) == []


def test_a_worker_has_a_minute_to_become_ready() -> None:
    crew = Crew()
    member = join(crew, 0, 1, 0.0, ready=False)
    assert crew.silent(60.0) == []
    assert crew.silent(60.1) == [member]


def test_a_supervisor_that_stood_still_itself_blames_nobody() -> None:
    crew = Crew()
    member = join(crew, 0, 1, 0.0)
    crew.forgive(30.0)
    assert crew.silent(33.9) == []
    assert crew.silent(34.1) == [member]


def test_who_was_to_be_gone_by_now_has_overstayed() -> None:
    crew = Crew()
    member = join(crew, 0, 1, 0.0)
    assert crew.overstayed(1e9) == []
    member.leave_by = 5.0
    assert crew.overstayed(5.0) == []
    assert crew.overstayed(5.1) == [member]


@pytest.mark.parametrize(
    ("code", "hung", "expected"),
    [
        (-signal.SIGSEGV, False, True),
        (-signal.SIGBUS, False, True),
        (-signal.SIGILL, False, True),
        (-signal.SIGFPE, False, True),
        (-signal.SIGABRT, False, True),
        (-signal.SIGKILL, True, True),
        (-signal.SIGKILL, False, False),
        (-signal.SIGTERM, False, False),
        (1, False, False),
        (0, False, False),
    ],
)
def test_only_faults_and_the_watchdog_are_charged(code: int, hung: bool, expected: bool) -> None:
    assert charged(code, hung) is expected


def test_two_deaths_refuse_a_hash_and_nothing_is_charged_to_no_work() -> None:
    charges = Charges()
    assert charges.charge(0) is False
    assert charges.charge(5) is False
    assert charges.charge(6) is False
    assert charges.charge(5) is True
    assert charges.refused == [5]
    assert charges.charge(5) is False
    assert charges.deaths == {6: 1}


def test_hashes_with_one_death_are_bounded_and_the_oldest_goes_first() -> None:
    charges = Charges()
    for work in range(1, 1026):
        charges.charge(work)
    assert len(charges.deaths) == 1024
    assert 1 not in charges.deaths and 2 in charges.deaths
