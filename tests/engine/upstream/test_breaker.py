"""One breaker for all workers of a node (S13.4, S13.5, S13.7)."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tidegate.engine.segment import Segment
from tidegate.engine.upstream.breaker import Breaker
from tidegate.exchange.fault import NOT_PROCESSED, Fault
from tidegate.ports.plan import BreakerPlan
from tidegate.rules.circuit_window import FORCED_OPEN

PLAN = BreakerPlan()


def node(workers: int = 4, plan: BreakerPlan = PLAN, ring: int = 256) -> list[Breaker]:
    segment = Segment.local(workers, ring=ring)
    return [Breaker(plan, segment.row(index), 1) for index in range(workers)]


def call(breaker: Breaker, now: float, failed: bool = False, seconds: float = 0.01) -> bool:
    try:
        permit = breaker.permit(now, 0.0)
    except Fault:
        return False
    breaker.record(permit, now, seconds, failed)
    return True


def refusal(breaker: Breaker, now: float) -> Fault:
    with pytest.raises(Fault) as caught:
        breaker.permit(now, 0.0)
    return caught.value


@pytest.mark.parametrize("window_type", ["count", "time"])
def test_four_workers_trip_as_one_s13_7(window_type: str) -> None:
    breakers = node(plan=replace(PLAN, window_type=window_type))
    for number in range(19):
        call(breakers[number % 4], 10.0 + number * 0.01, failed=True)
    assert {breaker.state(10.2) for breaker in breakers} == {"closed"}
    call(breakers[3], 10.2, failed=True)
    assert breakers[3].state() == "open"
    assert {breaker.state(10.21) for breaker in breakers} == {"open"}


def test_four_processes_trip_as_one_s13_7() -> None:
    segment = Segment.create(4, endpoints=1, upstreams=2, ring=128)
    for index in range(4):
        pid = os.fork()
        if pid == 0:
            worker = Breaker(PLAN, segment.row(index), 1)
            for number in range(5):
                call(worker, 10.0 + index + number * 0.01, failed=True)
            os._exit(0 if worker.state() == ("open" if index == 3 else "closed") else 1)
        assert os.waitpid(pid, 0)[1] == 0
    assert Breaker(PLAN, segment.row(0), 1).state(14.0) == "open"
    os.close(segment.fd)


def test_good_calls_of_other_workers_are_in_the_window_s13_7() -> None:
    breakers = node(2)
    for number in range(30):
        call(breakers[0], 10.0 + number * 0.001)
    for number in range(20):
        call(breakers[1], 10.1 + number * 0.001, failed=True)
    assert breakers[1].explain(10.2)["failure_rate"] == 40.0
    assert breakers[1].state() == "closed"


def test_the_window_is_the_latest_results_of_all_s13_7() -> None:
    breakers = node(2)
    for number in range(100):
        call(breakers[0], 10.0 + number * 0.001, failed=number % 4 == 0)
    for number in range(100):
        call(breakers[1], 11.0 + number * 0.001)
    explained = breakers[0].explain(12.0)
    assert (explained["calls"], explained["failed"]) == (100, 0)


def test_an_open_breaker_refuses_in_every_worker_with_the_remaining_wait_s13_1() -> None:
    breakers = node(2)
    for _ in range(20):
        call(breakers[0], 10.0, failed=True)
    fault = refusal(breakers[1], 11.0)
    assert (fault.status, fault.code, fault.reason, fault.flag) == (503, "upstream_unavailable", "circuit_open", "CO")
    assert fault.retry == NOT_PROCESSED
    assert fault.retry_after == pytest.approx(3.0)
    assert breakers[1].calls["not_permitted"] == 1


def test_without_an_authority_each_worker_has_one_probe_out_and_waits_s13_7() -> None:
    breakers = node(3)
    for _ in range(20):
        call(breakers[0], 10.0, failed=True)
    permits = [breaker.permit(14.0 + 0.01 * place, 0.0) for place, breaker in enumerate(breakers)]
    assert {breaker.state(14.1) for breaker in breakers} == {"half_open"}
    for breaker in breakers:
        assert refusal(breaker, 14.1).retry_after == 1.0
    for breaker, permit in zip(breakers, permits, strict=True):
        breaker.record(permit, 14.2, 0.1, False)
    assert {breaker.state(14.3) for breaker in breakers} == {"half_open"}
    assert call(breakers[1], 14.3)
    assert breakers[1].state() == "closed"
    assert {breaker.state(14.4) for breaker in breakers} == {"closed"}
    assert breakers[0].explain(14.4)["calls"] == 0


def test_failed_probes_of_several_workers_open_it_again_s13_4() -> None:
    breakers = node(2)
    for _ in range(20):
        call(breakers[0], 10.0, failed=True)
    results = [call(breakers[number % 2], 14.0 + number * 0.02, failed=number >= 2) for number in range(4)]
    assert results == [True] * 4
    assert {breaker.state(14.2) for breaker in breakers} == {"open"}
    assert refusal(breakers[0], 14.2).retry_after == pytest.approx(14.06 + 4.0 - 14.2, abs=0.001)


def test_probes_of_the_half_open_before_do_not_count() -> None:
    breakers = node(2)
    for _ in range(20):
        call(breakers[0], 10.0, failed=True)
    for number in range(4):
        call(breakers[number % 2], 14.0 + number * 0.02, failed=True)
    for number in range(3):
        assert call(breakers[number % 2], 18.1 + number * 0.02)
    assert breakers[0].state(18.2) == "half_open"
    assert call(breakers[1], 18.3)
    assert breakers[0].state(18.4) == "closed"


def test_with_an_authority_it_says_who_may_probe_s13_7() -> None:
    answers: list[bool | None] = [False, True, True, None]
    segment = Segment.local(2)
    breakers = [Breaker(PLAN, segment.row(n), 0, ask_permit=lambda now: answers.pop(0)) for n in range(2)]
    for _ in range(20):
        call(breakers[0], 10.0, failed=True)
    assert refusal(breakers[0], 14.0).retry_after == 1.0
    breakers[0].permit(14.1, 0.0)
    breakers[0].permit(14.1, 0.0)
    refusal(breakers[0], 14.2)
    assert answers == []


def test_a_probe_that_never_comes_back_opens_it_after_ten_seconds_s13_4() -> None:
    (breaker, other) = node(2)
    for _ in range(20):
        call(breaker, 10.0, failed=True)
    breaker.permit(14.0, 0.0)
    refusal(breaker, 23.9)
    assert breaker.state() == "half_open"
    refusal(breaker, 24.0)
    assert (breaker.state(), other.state(24.1)) == ("open", "open")


def test_late_results_do_not_move_the_new_state_s13_5() -> None:
    breaker, other = node(2)
    late = other.permit(9.0, 0.0)
    for _ in range(20):
        call(breaker, 10.0, failed=True)
    assert other.state(10.1) == "open"
    other.record(late, 10.2, 0.1, False)
    assert other.calls["late"] == 1
    assert other.explain(10.3)["calls"] == 20


def test_a_dead_workers_row_does_not_open_or_close_anything() -> None:
    segment = Segment.local(2)
    breaker, other = (Breaker(PLAN, segment.row(index), 0) for index in range(2))
    for _ in range(20):
        call(breaker, 10.0, failed=True)
    assert other.state(10.1) == "open"
    segment.free(0)
    assert other.state(10.2) == "open"
    assert Breaker(PLAN, segment.row(0), 0).state(10.3) == "closed"


@pytest.mark.parametrize("slot", [-1, 10_000])
def test_without_a_slot_a_worker_judges_alone(slot: int) -> None:
    segment = Segment.local(2)
    breaker, other = (Breaker(PLAN, segment.row(index), slot) for index in range(2))
    for _ in range(20):
        call(breaker, 10.0, failed=True)
    assert (breaker.state(10.1), other.state(10.1)) == ("open", "closed")


def test_alone_four_probes_may_be_out_at_once_s13_4() -> None:
    breaker = Breaker(PLAN)
    for _ in range(20):
        call(breaker, 10.0, failed=True)
    permits = [breaker.permit(14.0, 0.0) for _ in range(4)]
    refusal(breaker, 14.0)
    breaker.release(permits[0], 14.1)
    permits[0] = breaker.permit(14.1, 0.0)
    for permit in permits:
        breaker.record(permit, 14.2, 0.1, False)
    assert breaker.state() == "closed"


def test_changed_thresholds_re_judge_the_kept_window_s13_7() -> None:
    breaker, other = node(2)
    for number in range(20):
        call(breaker, 10.0 + number * 0.001, failed=number < 9)
    assert breaker.state(10.1) == "closed"
    breaker.apply(replace(PLAN, failure_rate=40.0), 10.2)
    assert (breaker.state(10.2), other.state(10.3)) == ("open", "open")


def test_a_reload_in_each_state_keeps_it_s12_1() -> None:
    changed = replace(PLAN, slow_after=3.0)
    closed, opened, half = Breaker(PLAN), Breaker(PLAN), Breaker(PLAN)
    call(closed, 10.0, failed=True)
    for breaker in (opened, half):
        for _ in range(20):
            call(breaker, 10.0, failed=True)
    half.permit(14.0, 0.0)
    for breaker in (closed, opened, half):
        breaker.apply(changed, 14.0)
    assert [breaker.state() for breaker in (closed, opened, half)] == ["closed", "open", "half_open"]
    assert closed.explain(14.0)["failed"] == 1
    assert refusal(opened, 13.0).retry_after == pytest.approx(1.0)


@pytest.mark.parametrize("size", [30, 200])
def test_a_window_of_another_size_keeps_the_newest_results(size: int) -> None:
    breaker = node(1)[0]
    for number in range(150):
        call(breaker, 10.0 + number * 0.001, failed=number % 10 == 0)
    breaker.apply(replace(PLAN, window=size), 11.0)
    explained = breaker.explain(11.0)
    assert (explained["calls"], explained["failed"]) == (min(size, 100), min(size, 100) // 10)
    for number in range(size):
        call(breaker, 12.0 + number * 0.001)
    explained = breaker.explain(13.0)
    assert (explained["calls"], explained["failed"]) == (size, 0)


def test_time_buckets_grow_where_the_ring_has_no_room_for_seconds() -> None:
    breaker = node(1, replace(PLAN, window=60, window_type="time"), ring=20)[0]
    for second in range(60):
        call(breaker, 600.0 + second, failed=second < 12)
    explained = breaker.explain(659.0)
    assert (explained["calls"], explained["failed"]) == (60, 12)
    explained = breaker.explain(670.0)
    assert 48 <= explained["calls"] < 60 and explained["failed"] < 12


def test_scope_endpoint_leaves_the_upstream_alone_s13_1() -> None:
    breaker = node(1, replace(PLAN, scope="endpoint"))[0]
    for _ in range(100):
        assert call(breaker, 10.0, failed=True)
    assert breaker.state(10.1) == "disabled"


def test_what_the_operator_forced_no_other_worker_changes() -> None:
    breaker, other = node(2)
    breaker.force(FORCED_OPEN, 10.0)
    for _ in range(20):
        call(other, 10.1, failed=True)
    assert (breaker.state(10.2), other.state(10.2)) == ("forced_open", "open")
    assert refusal(breaker, 10.2).retry_after == 4.0
