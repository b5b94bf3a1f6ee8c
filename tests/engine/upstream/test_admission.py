"""The bulkhead, its queue, and the journeys that wait in it (S13.9, S22.1-S22.6)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.engine.steps import Cancelled, Stepper, Steps
from tidegate.engine.upstream.admission import Admission
from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.fault import NOT_PROCESSED, Fault
from tidegate.exchange.head import RequestHead
from tidegate.exchange.identity import Identity
from tidegate.ports.plan import BulkheadPlan


def unexpected(error: BaseException) -> None:
    raise AssertionError(repr(error)) from error


class Journey:
    """One request: enters, is admitted or not, and leaves when told to. ``log`` says what happened to it."""

    def __init__(self, world: World, level: int, tenant: str, deadline: float) -> None:
        self.world = world
        self.x = Exchange(Peer("here", "192.0.2.1"), RequestHead("GET", "/", 11, [], {}), world.now, 0.0)
        self.x.priority = level
        self.x.deadline = deadline
        if tenant:
            self.x.identity = Identity("someone", "api_key", tenant=tenant)
        self.log: list[str] = []
        self.fault: Fault | None = None
        self.stepper = Stepper(world.steps, self.run())
        world.steps.go(self.stepper)

    async def run(self) -> None:
        try:
            wait = self.world.admission.enter(self.x, self.world.now)
            if wait is not None:
                self.log.append("waits")
                await wait
            self.log.append("admitted")
        except Fault as fault:
            self.fault = fault
            self.log.append(fault.reason)
        except Cancelled:
            self.log.append("cancelled")
            raise

    def leave(self, seconds: float = -1.0, timed_out: bool = False) -> None:
        self.world.admission.leave(self.x, self.world.now, seconds, timed_out)


class World:
    """An admission, its queue of journeys, and a clock."""

    def __init__(self, workers: int = 1, **plan: Any) -> None:
        self.now = 10.0
        self.steps = Steps(unexpected)
        settings = {"adaptive": False, **plan}
        self.admission = Admission(BulkheadPlan(**settings), self.steps, workers, self.now)

    def enter(self, level: int = 2, tenant: str = "", deadline: float = 0.0) -> Journey:
        return Journey(self, level, tenant, deadline)

    def at(self, now: float) -> None:
        self.now = now
        self.admission.tick(now)


def test_below_the_bound_everybody_goes_straight_through() -> None:
    world = World(max_in_flight=3)
    assert [world.enter().log for _ in range(3)] == [["admitted"]] * 3
    assert (world.admission.in_flight, world.admission.waiting) == (3, 0)


def test_at_the_bound_one_waits_until_another_leaves() -> None:
    world = World(max_in_flight=1)
    first, second = world.enter(), world.enter()
    assert second.log == ["waits"]
    world.now = 10.25
    first.leave()
    assert second.log == ["waits", "admitted"]
    assert (second.x.queue_us, world.admission.in_flight) == (250_000, 1)


def test_nobody_overtakes_a_queue_that_stands() -> None:
    world = World(max_in_flight=2)
    first, _, third = world.enter(), world.enter(), world.enter(level=0)
    world.admission.limit = 3
    fourth = world.enter()
    assert third.log == ["waits", "admitted"]
    assert fourth.log == ["waits"]
    first.leave()
    assert fourth.log == ["waits", "admitted"]


def test_a_wait_ends_after_max_wait_with_503_s22_1() -> None:
    world = World(max_in_flight=1, max_wait=1.0)
    world.enter()
    # level 0: low levels may go earlier, see S22.5
    waiting = world.enter(level=0)
    world.at(10.99)
    assert waiting.log == ["waits"]
    world.at(11.0)
    assert waiting.log == ["waits", "queue_timeout"]
    fault = waiting.fault
    assert fault is not None
    assert (fault.status, fault.code, fault.retry, fault.flag) == (503, "overloaded", NOT_PROCESSED, "UO")
    assert 1.0 <= fault.retry_after <= 30.0
    assert waiting.x.queue_us == 1_000_000


def test_a_standing_low_level_is_shed_after_100_ms_s22_5() -> None:
    world = World(max_in_flight=1)
    world.enter()
    low, high = world.enter(level=2), world.enter(level=1)
    world.at(10.101)
    assert low.log == ["waits", "shed"] and high.log == ["waits"]
    assert world.admission.refused == {(2, "shed"): 1}


def test_a_full_queue_refuses_or_gives_way_to_a_higher_level_s22_3() -> None:
    world = World(max_in_flight=1, max_waiting=4)
    world.enter()
    low = world.enter(level=3)
    assert world.enter(level=3).log == ["queue_full"]
    high = [world.enter(level=1), world.enter(level=1)]
    assert [one.log for one in high] == [["waits"], ["waits"]]
    assert low.log == ["waits", "queue_full"]
    assert world.admission.waiting == 2


def test_without_a_queue_the_bulkhead_itself_refuses_s13_9() -> None:
    world = World(max_in_flight=1, max_waiting=0)
    world.enter()
    refused = world.enter()
    assert refused.log == ["bulkhead_full"]
    assert refused.fault is not None and refused.fault.retry_after == 1.0


def test_a_client_that_leaves_takes_its_place_along_s22_5() -> None:
    world = World(max_in_flight=1)
    first, second, third = world.enter(), world.enter(), world.enter()
    second.stepper.cancel()
    assert second.log == ["waits", "cancelled"] and world.admission.waiting == 1
    first.leave()
    assert third.log == ["waits", "admitted"]


def test_one_admitted_and_cancelled_before_it_ran_on_keeps_its_slot_until_it_leaves() -> None:
    world = World(max_in_flight=1)
    first, second = world.enter(), world.enter()

    async def at_once() -> None:
        first.leave()
        second.stepper.cancel()

    world.steps.go(Stepper(world.steps, at_once()))
    assert second.log == ["waits", "admitted"]
    second.leave()
    assert (world.admission.in_flight, world.admission.held) == (0, {})


def test_nothing_is_served_after_its_deadline_s22_5() -> None:
    world = World(max_in_flight=1)
    first = world.enter()
    late, good = world.enter(level=0, deadline=10.04), world.enter(deadline=20.0)
    world.now = 10.05
    first.leave()
    assert late.fault is not None and late.fault.code == "deadline_exceeded"
    assert late.log == ["waits", "queue"]
    assert good.log == ["waits", "admitted"]


def test_one_tenant_holds_at_most_half_while_another_waits_s13_9() -> None:
    world = World(max_in_flight=4)
    greedy = [world.enter(level=0, tenant="greedy") for _ in range(4)]
    more = [world.enter(level=0, tenant="greedy") for _ in range(3)]
    # a tenant whose sub-queues are its own
    taken = {place for place, queue in enumerate(world.admission.queue.queues[0]) if queue}
    name = next(name for name in map(str, range(1000)) if hash(name) & 15 not in taken)
    other = [world.enter(level=1, tenant=name) for _ in range(2)]
    greedy[0].leave()
    assert sorted(one.log[-1] for one in other) == ["admitted", "waits"]
    greedy[1].leave()
    assert [one.log[-1] for one in other] == ["admitted", "admitted"]
    greedy[2].leave()
    assert [one.log[-1] for one in more].count("admitted") == 1


def test_alone_a_tenant_may_have_everything() -> None:
    world = World(max_in_flight=4)
    first = [world.enter(tenant="only") for _ in range(4)]
    more = world.enter(tenant="only")
    first[0].leave()
    assert more.log == ["waits", "admitted"] and world.admission.held == {"only": 4}


@pytest.mark.parametrize(("workers", "share", "waiting"), [(1, 1000, 2000), (4, 250, 500), (2000, 1, 4)])
def test_bounds_of_the_node_are_divided_by_its_workers(workers: int, share: int, waiting: int) -> None:
    admission = World(workers, max_in_flight=1000, max_waiting=2000).admission
    assert (admission.limit, admission.queue.max_waiting) == (share, waiting)


def test_the_adaptive_limit_holds_below_the_share_s22_6() -> None:
    world = World(adaptive=True, max_in_flight=1024)
    journeys = [world.enter() for _ in range(51)]
    assert [one.log[-1] for one in journeys].count("admitted") == 50
    for _ in range(4):
        world.now += 0.101
        journeys[0].leave(1.0, timed_out=True)
        journeys[0] = next(one for one in journeys[1:] if one.log[-1] == "admitted")
    assert world.admission.limit == int(50 * 0.9**4)
    assert world.admission.explain()["limit"] == 32


def test_what_says_nothing_about_the_upstream_is_no_sample() -> None:
    world = World(adaptive=True)
    for _ in range(100):
        world.enter().leave(-1.0, timed_out=True)
        world.now += 0.01
    assert world.admission.limit == 50


def test_a_reload_with_more_room_lets_the_waiting_in_at_once() -> None:
    world = World(max_in_flight=1)
    _, second = world.enter(), world.enter()
    world.admission.apply(BulkheadPlan(max_in_flight=2, adaptive=False), 10.1)
    assert second.log == ["waits", "admitted"]


def test_held_slots_add_up_whatever_happens() -> None:
    world = World(max_in_flight=8, max_waiting=40, max_wait=0.2)
    alive: list[Journey] = []
    for number in range(2000):
        world.at(10.0 + number * 0.003)
        journey = world.enter(level=number % 4, tenant=f"t{number % 7}", deadline=world.now + 0.05 * (number % 5))
        alive.append(journey)
        if number % 11 == 0:
            alive[number % len(alive)].stepper.cancel()
        inside = [one for one in alive if one.log[-1] == "admitted"]
        if number % 3 and inside:
            inside[number % len(inside)].leave()
            alive.remove(inside[number % len(inside)])
        alive = [one for one in alive if one.log[-1] in ("waits", "admitted")]
        inside = [one for one in alive if one.log[-1] == "admitted"]
        admission = world.admission
        assert admission.in_flight == len(inside) == sum(admission.held.values()) <= 8
        assert admission.waiting == len(alive) - len(inside) <= 40
