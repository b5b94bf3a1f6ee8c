"""The supervisor's own decisions, with fakes for the processes it would fork. Real ones are in test_processes."""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tidegate.control import supervisor as module
from tidegate.control.channel import Channel, pair
from tidegate.control.crew import CONTROL, WORKER, Member
from tidegate.control.listening import ListenError, listen
from tidegate.control.supervisor import ADMIN, Settings, Supervisor, ending, open_patiently, run
from tidegate.control.upgrade import Held, HeldMember, HeldSocket

GONE = 2**22 + 1
"""A pid that no process can have."""


class Scene:
    """A supervisor whose control is this test and whose workers are ends of channels."""

    def __init__(self, folder: Path) -> None:
        self.supervisor = Supervisor(Settings(folder / "c.yaml", None, None, False))
        self.pids = GONE
        self.workers: dict[int, Channel] = {}
        self.supervisor._fork = self._fork  # type: ignore[method-assign]
        ours, self.control = pair()
        self.member = Member(CONTROL, -1, GONE, ours, time.monotonic())
        self.supervisor.crew.joined(self.member)

    def _fork(self, kind: str, row: int) -> Member | None:
        self.pids += 1
        ours, theirs = pair()
        member = Member(kind, row, self.pids, ours, time.monotonic())
        self.supervisor.crew.joined(member)
        if kind == WORKER:
            self.workers[row] = theirs
        return member

    def ask(self, kind: str, **fields: object) -> tuple[dict[str, Any], list[int]]:
        """What control is answered."""
        self.control.send(kind, **fields)
        self.supervisor._hear(self.member)
        parcel = self.control.receive()
        assert parcel is not None
        return parcel.message, parcel.fds

    def tell(self, kind: str, **fields: object) -> None:
        self.control.send(kind, **fields)
        self.supervisor._hear(self.member)

    def heard_by(self, row: int) -> dict[str, Any] | None:
        parcel = self.workers[row].receive()
        return None if parcel is None else parcel.message

    def serving(self, folder: Path, workers: int = 2) -> Scene:
        """Folder locked, one listener open, workers forked and ready."""
        assert self.ask("folder", path=str(folder / "data"))[0]["error"] == ""
        listeners = [["a", "127.0.0.1", 0, "http"]]
        answer, _ = self.ask("listen", listeners=listeners, admin=["127.0.0.1", 0], workers=workers)
        assert answer["error"] == ""
        self.tell("serve", generation=1, drain=25.0)
        self.supervisor._fill_seats(time.monotonic())
        for member in self.supervisor.crew.workers():
            self.supervisor._ready(member)
        return self


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_control_gets_folder_sockets_and_segment_and_then_workers_start(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    supervisor = scene.supervisor
    assert scene.ask("folder", path=str(tmp_path / "data"))[0] == {"kind": "folder", "error": ""}
    listeners = [["a", "127.0.0.1", 0, "https"]]
    answer, fds = scene.ask("listen", listeners=listeners, admin=["127.0.0.1", 0], workers=2)
    assert answer["error"] == "" and answer["workers"] == 2 and len(fds) == 2
    assert sorted(supervisor.sockets) == [ADMIN, "a"]
    assert supervisor.segment is not None and supervisor.segment.rows == 5
    supervisor._fill_seats(time.monotonic())
    assert scene.workers == {}
    scene.tell("serve", generation=7, drain=1.5)
    supervisor._fill_seats(time.monotonic())
    assert sorted(scene.workers) == [0, 1]
    for member in supervisor.crew.workers():
        supervisor._ready(member)
    said = capsys.readouterr().err
    admin, data = (supervisor.sockets[name].getsockname()[1] for name in (ADMIN, "a"))
    assert said == (
        f"tidegate 0.1.0 listening on https://127.0.0.1:{data}, 2 workers, admin on http://127.0.0.1:{admin}\n"
    )


def test_a_folder_that_is_taken_is_said_and_another_one_is_not_taken_later(scene: Scene, tmp_path: Path) -> None:
    other = Scene(tmp_path)
    assert other.ask("folder", path=str(tmp_path / "data"))[0]["error"] == ""
    assert "already uses the data folder" in scene.ask("folder", path=str(tmp_path / "data"))[0]["error"]
    assert "stays" in other.ask("folder", path=str(tmp_path / "elsewhere"))[0]["error"]


def test_addresses_are_opened_all_or_none(scene: Scene, tmp_path: Path) -> None:
    scene.serving(tmp_path)
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        wanted = [["a", "127.0.0.1", 0, "http"], ["b", "127.0.0.1", 0, "http"], ["c", "127.0.0.1", port, "http"]]
        answer, fds = scene.ask("listen", listeners=wanted, admin=None, workers=2)
    assert "another program is using it" in answer["error"] and fds == []
    assert sorted(scene.supervisor.sockets) == [ADMIN, "a"]
    assert scene.heard_by(0) is None


def test_new_sockets_go_to_every_worker_and_released_ones_close(scene: Scene, tmp_path: Path) -> None:
    scene.serving(tmp_path)
    wanted = [["a", "127.0.0.1", 0, "http"], ["b", "127.0.0.1", 0, "http"]]
    assert scene.ask("listen", listeners=wanted, admin=None, workers=2)[0]["error"] == ""
    for row in (0, 1):
        parcel = scene.workers[row].receive()
        assert parcel is not None and parcel.message == {"kind": "sockets", "names": ["b"]}
        with socket.socket(fileno=parcel.fds[0]) as received:
            assert received.getsockname() == scene.supervisor.sockets["b"].getsockname()
    released = scene.supervisor.sockets["a"]
    scene.tell("release", keep=["b"])
    assert sorted(scene.supervisor.sockets) == [ADMIN, "b"]
    assert released.fileno() == -1


def test_a_dead_workers_row_is_freed_and_its_request_charged(scene: Scene, tmp_path: Path) -> None:
    supervisor = scene.serving(tmp_path).supervisor
    assert supervisor.segment is not None
    for _ in range(2):
        row = supervisor.segment.row(0)
        row.set_working_on(4711)
        holder = supervisor.crew.holder(0)
        assert holder is not None
        member = supervisor.crew.died(holder.pid, time.monotonic())
        assert member is holder
        supervisor._buried(holder, -signal.SIGSEGV)
        assert supervisor.segment.working_on(0) == 0
        supervisor.crew.due[0] = 0.0
        supervisor._fill_seats(time.monotonic())
    assert supervisor.crew.charges.refused == [4711]
    assert scene.heard_by(1) == {"kind": "refuse", "works": [4711]}


def test_control_hears_of_the_crew_when_something_changed(scene: Scene, tmp_path: Path) -> None:
    scene.serving(tmp_path)
    scene.supervisor._tell_control()
    scene.supervisor._tell_control()
    parcel = scene.control.receive()
    assert parcel is not None
    assert parcel.message == {
        "kind": "crew", "workers": [[0, GONE + 1, True, False, 0], [1, GONE + 2, True, False, 0]], "degraded": [],
        "stopping": False, "upgrading": False, "seats": 2, "refused": 0,
    }  # fmt: skip
    assert scene.control.receive() is None


def test_the_first_signal_drains_the_second_flushes_and_control_leaves_last(scene: Scene, tmp_path: Path) -> None:
    supervisor = scene.serving(tmp_path).supervisor
    supervisor._signalled(signal.SIGTERM)
    assert scene.heard_by(0) == {"kind": "drain", "accept": True, "finish": -1.0}
    assert list(supervisor.sockets) == [ADMIN], "connections are queued only for workers that still listen"
    supervisor._signalled(signal.SIGTERM)
    assert scene.heard_by(0) == {"kind": "stop"}
    supervisor._signalled(signal.SIGTERM)
    assert scene.heard_by(0) is None
    now = time.monotonic()
    supervisor._follow_stop(now)
    assert scene.control.receive() is None
    for member in supervisor.crew.workers():
        supervisor.crew.died(member.pid, now)
        supervisor._buried(member, 0)
    supervisor._follow_stop(now)
    parcel = scene.control.receive()
    assert parcel is not None and parcel.message == {"kind": "stop"}
    assert supervisor.exit_code is None
    supervisor.crew.died(GONE, now)
    supervisor._follow_stop(now)
    assert supervisor.exit_code == 0


def test_sigint_drains_without_accepting_and_sighup_reloads(scene: Scene, tmp_path: Path) -> None:
    supervisor = scene.serving(tmp_path).supervisor
    supervisor._signalled(signal.SIGHUP)
    parcel = scene.control.receive()
    assert parcel is not None and parcel.message == {"kind": "reload"}
    supervisor._signalled(signal.SIGINT)
    assert scene.heard_by(1) == {"kind": "drain", "accept": False, "finish": -1.0}
    supervisor._signalled(signal.SIGHUP)
    assert scene.control.receive() is None


@pytest.mark.parametrize(("code", "expected"), [(78, 78), (1, 1), (-signal.SIGKILL, 1), (0, 1)])
def test_a_first_control_that_ends_ends_the_start(scene: Scene, code: int, expected: int) -> None:
    scene.supervisor.crew.died(GONE, 0.0)
    scene.supervisor._buried(scene.member, code)
    assert scene.supervisor.exit_code == expected


def resumed(folder: Path, scene: Scene) -> tuple[Supervisor, Channel, Channel]:
    """A supervisor after an exec: one old worker, an old control."""
    before = scene.serving(folder, workers=1).supervisor
    assert before.segment is not None and before.folder is not None
    (worker,) = before.crew.workers()
    assert worker.channel is not None and scene.member.channel is not None
    after = scene.supervisor = Supervisor(before.settings)
    after._fork = scene._fork  # type: ignore[method-assign]
    after.resume(
        Held(
            version="0.0.9",
            data=str(before.folder.path),
            generation=3,
            workers=1,
            lock=before.lock,
            segment=before.segment.fd,
            sockets=[HeldSocket(n, os.dup(s.fileno()), "http") for n, s in before.sockets.items()],
            members=[
                HeldMember(WORKER, 0, worker.pid, os.dup(worker.channel.fileno()), True),
                HeldMember(CONTROL, -1, GONE, os.dup(scene.member.channel.fileno()), True),
            ],
        )
    )
    return after, scene.workers[0], scene.control


def test_an_upgrade_ends_the_old_control_staffs_new_rows_and_then_drains_the_old(scene: Scene, tmp_path: Path) -> None:
    after, old_worker, old_control = resumed(tmp_path, scene)
    parcel = old_control.receive()
    assert parcel is not None and parcel.message == {"kind": "stop"}
    now = time.monotonic()
    after._fill_seats(now)
    assert [(m.row, m.old) for m in after.crew.workers()] == [(0, True), (1, False)]
    assert after.crew.controller() is None  # two controls would be two authorities
    after._follow_upgrade(now)
    assert old_worker.receive() is None
    new = after.crew.holder(1)
    assert new is not None
    after._ready(new)
    after._follow_upgrade(now)
    parcel = old_worker.receive()
    assert parcel is not None and parcel.message == {"kind": "drain", "accept": False, "finish": 600.0}
    assert after.upgrading_since == 0.0


def test_new_workers_that_do_not_get_ready_are_given_up_and_the_old_go_on(scene: Scene, tmp_path: Path) -> None:
    after, old_worker, _ = resumed(tmp_path, scene)
    now = time.monotonic()
    after._fill_seats(now)
    after._follow_upgrade(now + 61.0)
    assert old_worker.receive() is None
    assert [(m.row, m.old, m.retiring) for m in after.crew.workers()] == [(0, False, False), (1, False, True)]
    assert list(after.crew.seats) == [0] and after.crew.due == {}
    parcel = scene.workers[1].receive()
    assert parcel is not None and parcel.message == {"kind": "stop"}


def test_an_upgrade_waits_for_the_one_before(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[str] = []

    def probe(data: str) -> int:
        started.append(data)
        return GONE

    monkeypatch.setattr(module.upgrade, "probe", probe)
    scene.supervisor.begin_upgrade()
    assert started == [] and "still starting" in capsys.readouterr().err
    supervisor = scene.serving(tmp_path).supervisor
    supervisor.begin_upgrade()
    supervisor.begin_upgrade()
    assert started == [str(tmp_path / "data")]
    supervisor.probe = 0
    supervisor._probed(3)
    assert "the old one goes on" in capsys.readouterr().err


def test_without_a_config_the_way_to_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(None) == 78
    said = capsys.readouterr().err
    assert "tidegate init" in said and "tidegate demo" in said


def test_a_taken_address_is_tried_again_for_a_while() -> None:
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(ListenError):
        open_patiently("127.0.0.1", port, 2)
    taken.close()
    open_patiently("127.0.0.1", port, 2).close()


def test_ends_are_told_in_words() -> None:
    assert ending(-9) == "was ended by SIGKILL"
    assert ending(3) == "ended with code 3"
    assert ending(-99) == "was ended by signal 99"


def test_descriptors_are_raised_to_what_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))
    for soft, hard in [(1024, 4096), (4096, 4096), (1024, resource.RLIM_INFINITY), (resource.RLIM_INFINITY,) * 2]:
        monkeypatch.setattr(resource, "getrlimit", lambda which, found=(soft, hard): found)
        module.allow_connections()
    assert asked == [(4096, 4096), (1 << 20, resource.RLIM_INFINITY)]
