"""The harness's figures and traps, which a normal start does not have (RELIABILITY 5.2)."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from pathlib import Path
from typing import Any

import pytest

from fakes import exchange
from tidegate.assembly.build import Builder
from tidegate.assembly.inert import InertTools
from tidegate.control import harness
from tidegate.control.data_folder import DataFolder
from tidegate.control.generations import Generations
from tidegate.control.harness import Gauge, Traps

CONFIG = """
listeners: [{address: 127.0.0.1:8080}]
routes: [{name: hello, match: {path: /hello}, respond: {status: 204}}]
"""


def test_the_worst_stall_is_told_once() -> None:
    async def scenario() -> None:
        now = [100.0]
        gauge = Gauge(lambda: now[0])
        for step in (0.0, 0.01, 0.26, 0.01):
            now[0] += step
            gauge.note()
        first, second = gauge.read(), gauge.read()
        assert (first["worst_stall_ms"], second["worst_stall_ms"]) == (250.0, 0.0)
        assert first["tasks"] == 1 and first["descriptors"] > 3

    asyncio.run(scenario())


def test_a_trap_waits_for_its_target_and_its_body_only() -> None:
    died: list[str] = []
    traps = Traps(died.append)
    x = exchange(path="/poison")
    traps.on_request_head(x)
    assert traps.wants_request_body(x) is False
    traps.set({"/poison": "crash"}, {hashlib.sha256(b"poison").hexdigest(): "memory"})
    assert traps.wants_request_body(x) is True
    traps.on_request_body(x, b"food")
    traps.on_request_body(x, b"poison")
    traps.on_request_head(exchange(path="/food"))
    traps.on_request_head(x)
    assert died == ["memory", "crash"]


@pytest.mark.parametrize(("before", "hooks"), [([], 0), ([Traps()], 1)])
def test_traps_stand_before_the_filters_of_every_route_and_in_no_normal_plan(
    tmp_path: Path, before: list[Any], hooks: int
) -> None:
    config, folder = tmp_path / "c.yaml", DataFolder(tmp_path / "data")
    folder.make()
    config.write_text(CONFIG)
    generations = Generations(config, {})
    generations.write(generations.check(), folder, bytes(32))
    built = Builder({}, before=before).build(generations.content, lambda scope: InertTools(scope, tmp_path))
    (route,) = built.plan.routes
    assert (len(route.on_request_head), len(route.on_request_body), route.filters) == (hooks, hooks, ())


@pytest.mark.parametrize(("way", "by"), [("crash", signal.SIGSEGV), ("memory", signal.SIGKILL)])
def test_a_crash_is_ones_own_fault_and_too_much_memory_is_the_kernels_s23_6(
    way: str, by: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[int] = []
    monkeypatch.setattr(harness, "ENOUGH", 2 * harness.BLOCK)
    monkeypatch.setattr(harness.os, "kill", lambda pid, number: ends.append(number))
    monkeypatch.setattr(harness.resource, "setrlimit", lambda kind, limits: None)
    harness.end(way)
    assert ends == [by]
