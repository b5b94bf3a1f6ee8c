"""The process guard: lag, memory, descriptors (S22.9)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.engine import guard as guard_module
from tidegate.engine.guard import Guard, memory_limit, near, resident
from tidegate.rules.overload_gate import CALM, SHEDDING, WATCHING, OverloadGate


class Worker:
    """What the guard reads and sets of a runtime."""

    def __init__(self) -> None:
        self.connections: set[int] = set()
        self.pressed = False
        self.drowning = False
        self.shed_left = 0
        self.gate = OverloadGate()
        self.guarded = False
        self.held: list[Any] = []
        self.released: list[float] = []
        self.logged: list[str] = []

    def release_held(self, now: float) -> None:
        self.released.append(now)

    def log(self, level: str, event: str, **fields: Any) -> None:
        self.logged.append(event)


@pytest.fixture
def worker() -> Any:
    return Worker()


def looks(guard: Guard, worker: Any, *steps: float) -> None:
    now = 1000.0
    guard.look(now, worker)
    for step in steps:
        now += step
        guard.look(now, worker)


def test_a_loop_on_time_is_not_pressed(worker: Any) -> None:
    guard = Guard()
    looks(guard, worker, *[0.1] * 30)
    assert guard.lag < 1e-9
    assert not worker.pressed


def test_a_loop_that_is_late_in_more_than_a_tenth_of_its_looks_is(worker: Any) -> None:
    guard = Guard()
    looks(guard, worker, *[0.1] * 18, 0.2, 0.2)
    assert worker.pressed
    looks(guard, worker, *[0.1] * 40)
    assert not worker.pressed


def test_one_late_look_in_twenty_is_no_pressure(worker: Any) -> None:
    guard = Guard()
    looks(guard, worker, *[0.1] * 19, 5.0)
    assert not worker.pressed


@pytest.mark.parametrize(
    ("share", "pressed", "drowning"), [(0.5, False, False), (0.93, True, False), (0.96, True, True)]
)
def test_memory_presses_at_92_percent_and_drowns_at_95(
    worker: Any, monkeypatch: pytest.MonkeyPatch, share: float, pressed: bool, drowning: bool
) -> None:
    guard = Guard()
    guard.memory_limit = 1000
    monkeypatch.setattr(guard_module, "resident", lambda: int(1000 * share))
    looks(guard, worker, 0.1)
    assert (worker.pressed, worker.drowning, worker.shed_left) == (pressed, drowning, 100)


def test_memory_is_given_back_under_pressure_and_then_it_is_over(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """OV-mem-pressure: freed bodies stay with the allocator, so that a worker would count them for ever."""
    used = [940]
    given: list[float] = []

    def give() -> None:
        given.append(guard.last)
        used[0] = 940 if len(given) < 3 else 500

    monkeypatch.setattr(guard_module, "resident", lambda: used[0])
    monkeypatch.setattr(guard_module, "give_memory_back", give)
    guard = Guard()
    guard.memory_limit = 1000
    looks(guard, worker, *[0.1] * 15)
    assert worker.pressed
    assert len(given) == 2  # not at every look: it costs milliseconds
    looks(guard, worker, *[0.1] * 30)
    assert len(given) == 3
    assert not worker.pressed


def test_giving_memory_back_returns_what_is_free_to_the_system() -> None:
    pieces = [bytes(100_000) for _ in range(400)]
    kept = pieces[::40]  # so that the heap cannot simply shrink from its end
    del pieces
    guard_module.give_memory_back()
    before = resident()
    more = [bytes(100_000) for _ in range(400)]
    grown = resident()
    assert grown - before > 20_000_000
    kept.append(more.pop())
    del more
    guard_module.give_memory_back()
    assert resident() - before < (grown - before) // 2


def test_descriptors_press_at_90_percent_and_are_counted_only_where_it_may_be_true(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module.resource, "getrlimit", lambda which: (100, 100))
    monkeypatch.setattr(guard_module.os, "listdir", lambda path: ["fd"] * 90)
    guard = Guard()
    guard.memory_limit = 0
    looks(guard, worker)
    assert not near(worker, 100)
    assert not worker.pressed
    worker.connections = set(range(26))
    looks(guard, worker, 1.0)
    assert worker.pressed


def ticks(guard: Guard, worker: Any, *steps: float, busy: float = 1.0) -> None:
    """Ticks that come *steps* seconds after one another; of each the worker had its core for the share *busy*."""
    now, used = guard.ticked or 1000.0, guard.used
    steps = steps if guard.ticked else (0.0, *steps)
    for step in steps:
        now += step
        used += step * busy
        guard.processor_time = lambda used=used: used  # type: ignore[misc]
        guard.tick(now, worker)


def test_a_loop_that_stays_late_is_guarded_until_it_has_been_calm_for_a_second(worker: Any) -> None:
    guard = Guard()
    ticks(guard, worker, *[0.01] * 20)
    assert (worker.guarded, worker.gate.state) == (False, CALM)
    ticks(guard, worker, 0.1)
    assert (worker.guarded, worker.gate.state, worker.logged) == (True, WATCHING, [])
    ticks(guard, worker, 0.1, 0.1, 0.1)
    assert (worker.guarded, worker.gate.state, worker.logged) == (True, SHEDDING, ["overload_begins"])
    ticks(guard, worker, *[0.01] * 125)
    assert (worker.guarded, worker.gate.state) == (False, CALM)
    assert worker.logged == ["overload_begins", "overload_ends"]


def test_only_the_lateness_of_its_own_making_counts(worker: Any) -> None:
    guard = Guard()
    ticks(guard, worker, *[0.2] * 20, busy=0.1)  # a neighbour takes nine tenths of the core
    assert (worker.guarded, worker.gate.state) == (False, CALM)
    ticks(guard, worker, *[0.08] * 20, busy=0.5)  # two neighbours on two cores: with the core to itself, 40 ms
    assert (worker.guarded, worker.gate.state) == (False, CALM)
    ticks(guard, worker, *[0.2] * 4)
    assert worker.gate.state == SHEDDING
    ticks(guard, worker, 0.02, busy=0.4)
    assert worker.gate.late_sum == pytest.approx(0.01 * 0.5)


def test_one_stall_however_long_is_no_overload(worker: Any) -> None:
    guard = Guard()
    ticks(guard, worker, 0.01, 10.0, 0.01)
    assert (worker.guarded, worker.gate.state, worker.logged) == (False, CALM, [])


def test_who_was_held_is_asked_again_at_each_tick(worker: Any) -> None:
    guard = Guard()
    ticks(guard, worker, 0.01)
    assert worker.released == []
    worker.held.append(object())
    ticks(guard, worker, 0.01)
    assert worker.released == [guard.ticked]


def test_a_worker_without_memory_is_guarded_however_calm_its_loop_is(
    worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard()
    guard.memory_limit = 1000
    monkeypatch.setattr(guard_module, "resident", lambda: 960)
    looks(guard, worker, 0.1)
    assert worker.guarded
    monkeypatch.setattr(guard_module, "resident", lambda: 100)
    looks(guard, worker, 0.1)
    assert not worker.guarded


def test_what_the_system_says_is_read() -> None:
    assert 1 << 20 < resident() < 1 << 40
    assert memory_limit() >= 0
