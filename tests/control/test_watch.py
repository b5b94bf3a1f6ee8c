"""Watching the files of a config: real events on a real folder, and what counts as a change (S23.1)."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tidegate.assembly.check import check
from tidegate.control.watch import Watch, files_of, state_of


def test_every_file_a_config_depends_on_is_watched(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("routes: [{name: b, match: {path: /b}, respond: {status: 204}}]")
    (tmp_path / "secret").write_text("a-secret-of-some-length")
    os.chmod(tmp_path / "secret", 0o600)
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "c.yaml").write_text(
        """
listeners: [{address: 127.0.0.1:8080}]
include: [more.yaml]
consumers: [{name: a, keys: ["${file:secret}"]}]
upstreams: [{name: u, targets: [{url: "https://127.0.0.1:9"}], tls: {ca: ca.pem}}]
routes: [{name: u, match: {path: /u}, upstream: u}]
"""
    )
    checked = check(tmp_path / "c.yaml", {})
    found = files_of(checked.source, checked.built.plan)
    assert found == [tmp_path / name for name in ("c.yaml", "ca.pem", "more.yaml", "secret")]


def test_another_file_other_content_or_none_is_a_change_and_a_look_is_not(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("one")
    states = [state_of(path)]
    path.read_text()
    assert state_of(path) == states[0]
    path.write_text("other")
    states.append(state_of(path))
    (tmp_path / "new").write_text("other")
    os.replace(tmp_path / "new", path)
    states.append(state_of(path))
    path.unlink()
    states.append(state_of(path))
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "c.yaml").write_text("linked")
    path.symlink_to(tmp_path / "..data" / "c.yaml")
    states.append(state_of(path))
    assert len(set(states)) == 5


def test_a_replaced_file_is_reported_and_a_neighbour_is_not(tmp_path: Path) -> None:
    async def scenario() -> int:
        changed = asyncio.Event()
        reports = 0

        async def report() -> None:
            nonlocal reports
            reports += 1
            watch.note()
            changed.set()

        path = tmp_path / "c.yaml"
        path.write_text("one")
        watch = Watch(report)
        watch.follow([path])
        task = asyncio.get_running_loop().create_task(watch.run())
        async with asyncio.timeout(10):
            # The kernel's watch begins some time after the task does: repeat until it has.
            for turn in range(1000):
                (tmp_path / "neighbour").write_text(str(turn))
                (tmp_path / "new").write_text(f"turn {turn}")
                os.replace(tmp_path / "new", path)
                try:
                    await asyncio.wait_for(changed.wait(), 0.2)
                    break
                except TimeoutError:
                    continue
            seen = reports
            (tmp_path / "neighbour").write_text("again")
            await watch.look()
            assert reports == seen
        task.cancel()
        return reports

    assert asyncio.run(scenario()) >= 1


def test_what_changes_while_the_config_is_read_is_still_a_change(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        reports: list[str] = []

        async def report() -> None:
            watch.note()
            reports.append("changed")

        path = tmp_path / "c.yaml"
        path.write_text("one")
        watch = Watch(report)
        watch.follow([path])
        path.write_text("three")
        watch.note()
        await watch.look()
        path.write_text("fourth")
        watch.follow([path, tmp_path / "other"])
        await watch.look()
        await watch.look()
        return reports

    assert asyncio.run(scenario()) == ["changed"]


def test_files_are_unchanged_only_if_their_times_can_tell(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("one")
    watch = Watch(lambda: asyncio.sleep(0))
    assert watch.unchanged() is False
    watch.follow([path])
    watch.note()
    assert watch.unchanged() is False  # written in the same tick as it was noted, for all we know
    os.utime(path, ns=(0, watch.noted_at - 100_000_000))
    watch.note()
    assert watch.unchanged() is True
    os.utime(path, ns=(0, watch.noted_at - 50_000_000))
    assert watch.unchanged() is False
