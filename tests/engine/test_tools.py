"""The tools of parts on the engine's loop (S26.12)."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from conversation import NoLimits

from fakes import FakeConsumers, FakeKeySets
from tidegate.engine.tools import LOG_BURST, WAITING, EngineTools
from tidegate.exchange.fault import Fault


def tools(folder: Path = Path(), now: list[float] | None = None, report: Any = None) -> EngineTools:
    clock = now if now is not None else [1000.0]
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    return EngineTools(
        loop=loop, config_folder=folder, data_folder=folder, consumers=FakeConsumers(), limits=NoLimits(),
        key_sets=FakeKeySets(), clock=lambda: clock[0], wall=lambda: clock[0], report=report,
    )  # fmt: skip


def test_an_error_storm_is_cut_to_a_burst_and_ten_lines_a_second_s26_12(capsys: pytest.CaptureFixture[str]) -> None:
    now = [1000.0]
    base = tools(now=now)
    for _ in range(500):
        base.log("error", "storm", what="x")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == LOG_BURST
    now[0] += 0.5
    for _ in range(500):
        base.log("error", "storm", what="x")
    later = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(later) == 5
    assert (later[0]["lost"], later[0]["event"], later[0]["level"]) == (450, "storm", "error")
    assert "lost" not in later[1]


def test_a_log_that_cannot_be_written_breaks_nothing_and_is_told_of_later(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    base = tools(now=[1000.0])
    with monkeypatch.context() as patched:
        patched.setattr("sys.stderr", Full())
        base.log("error", "lost")
    base.log("error", "heard")
    assert json.loads(capsys.readouterr().err)["lost"] == 1


def test_a_defect_goes_to_the_log_or_to_whom_the_tools_were_told(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[BaseException] = []
    error = ValueError("inside")
    tools(now=[0.0], report=told.append).report(error)
    assert told == [error]
    tools(now=[1000.0]).report(error)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["error"]) == ("defect", "ValueError")
    assert "inside" in line["where"]


def test_blocking_work_goes_to_a_bounded_pool() -> None:
    async def run() -> None:
        base = tools(now=[0.0])
        part = base.for_part("filters/basic")
        assert await part.offload(lambda a, b: a + b, 1, 2, pool="sums", size=2) == 3
        assert base.waiting == {"sums": 0}
        base.waiting["sums"] = WAITING + 2
        with pytest.raises(Fault) as caught:
            await part.offload(lambda: None, pool="sums", size=2)
        assert (caught.value.code, caught.value.reason) == ("overloaded", "queue_full")
        with pytest.raises(ZeroDivisionError):
            await part.offload(lambda: 1 / 0, pool="other")
        assert base.waiting["other"] == 0
        base.close()

    asyncio.run(run())


def test_spawned_work_is_kept_and_what_it_raises_is_reported() -> None:
    async def run() -> None:
        told: list[BaseException] = []
        base = tools(now=[0.0], report=told.append)

        async def breaks() -> None:
            raise KeyError("lost")

        base.for_part("x").spawn(breaks())
        hangs = asyncio.Event()
        base.spawn(hangs.wait())
        assert len(base.tasks) == 2
        await asyncio.sleep(0.01)
        assert [type(error) for error in told] == [KeyError]
        base.close()
        await asyncio.sleep(0.01)
        assert (len(base.tasks), len(told)) == (0, 1)

    asyncio.run(run())


def test_the_secret_of_cookies_comes_from_the_root_key_and_others_are_values(tmp_path: Path) -> None:
    async def run() -> None:
        part = tools(tmp_path, now=[0.0]).for_part("x")
        with pytest.raises(FileNotFoundError):
            part.secret("cookies")
        (tmp_path / "root.key").write_bytes(b"k" * 32)
        assert len(part.secret("cookies")) == 64
        assert part.secret("plain") == "plain"
        assert len(part.token(12)) == 12

    asyncio.run(run())


def test_counters_copies_weights_and_faults_reach_the_engine() -> None:
    async def run() -> None:
        base = tools(now=[5.0])
        part = base.for_part("upstream/up")
        part.counter("auth_total", method="jwt")(2)
        assert base.metrics.snapshot()["auth_total"]["series"] == [[["jwt"], 2]]
        assert not part.send_copy("up", "GET", "/", [], b"", 1.0)
        base.copies = lambda *arguments: True
        assert part.send_copy("up", "GET", "/", [], b"", 1.0)
        assert part.weights_version() == 0
        assert not part.faults_allowed()
        assert (part.now(), part.wall(), 0.0 <= part.random() < 1.0) == (5.0, 5.0, True)

    asyncio.run(run())


def test_work_aside_is_told_on_the_loop_a_failure_as_none_and_only_so_many_wait() -> None:
    async def run() -> None:
        told: list[Any] = []
        defects: list[BaseException] = []
        base = tools(report=defects.append)
        over = asyncio.Event()
        gate = threading.Event()

        def done(found: Any) -> None:
            told.append((found, threading.current_thread() is threading.main_thread()))
            if len(told) == 2:
                over.set()

        assert base.aside(lambda: gate.wait(5) and 7, done, "counting", 2)
        assert base.aside(lambda: 1 // 0, done, "counting", 2)
        assert not base.aside(lambda: 9, done, "counting", 2)
        gate.set()
        await over.wait()
        assert told == [(7, True), (None, True)]
        assert [type(error) for error in defects] == [ZeroDivisionError]
        assert base.waiting["counting"] == 0
        base.close()

    asyncio.run(run())
