"""The data folder: private, one gateway at a time, files whole or not at all (CONTROL 9, S23.3, CF-reload-partial)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tidegate.control.data_folder import FOLDERS, DataFolder, FolderError


def mode(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_the_folder_and_its_rooms_are_ours_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "deep" / "data")
    folder.make()
    assert mode(folder.path) == 0o700
    assert sorted(os.listdir(folder.path)) == sorted(FOLDERS)
    assert {mode(folder.path / name) for name in FOLDERS} == {0o700}


def test_a_folder_open_to_others_is_tightened(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir(mode=0o755)
    os.chmod(path, 0o777)
    DataFolder(path).make()
    assert mode(path) == 0o700


def test_what_is_no_folder_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("a file")
    with pytest.raises(FolderError, match=str(path)):
        DataFolder(path).make()


def test_a_second_gateway_is_told_who_has_the_folder(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    held = folder.lock()
    with pytest.raises(FolderError, match=rf"pid {os.getpid()}\) already uses"):
        folder.lock()
    os.close(held)
    os.close(folder.lock())
    assert mode(tmp_path / "lock") == 0o600


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    folder.replace("plans/1.json", b"old")
    path = folder.replace("plans/1.json", b"new and longer")
    assert path.read_bytes() == b"new and longer"
    assert mode(path) == 0o600
    assert os.listdir(folder.plans) == ["1.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = DataFolder(tmp_path)
    folder.make()
    folder.replace("plans/1.json", b"old")

    def fail(fd: int) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="input/output"):
        folder.replace("plans/1.json", b"new")
    assert folder.plan(1).read_bytes() == b"old"
    assert os.listdir(folder.plans) == ["1.json"]


def test_generations_are_found_by_number_and_the_newest_five_are_kept(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    assert folder.newest() == 0
    folder.make()
    assert folder.newest() == 0
    for number in (2, 9, 10, 11, 12, 13, 100):
        folder.plan(number).write_text("{}")
    (folder.plans / ".14.json.123").write_text("half")
    (folder.plans / "notes.json").write_text("{}")
    assert folder.generations() == [2, 9, 10, 11, 12, 13, 100]
    folder.forget_old_plans(serving=2)
    assert folder.generations() == [2, 10, 11, 12, 13, 100]
    assert folder.newest() == 100


def test_a_short_folder_holds_its_sockets_and_a_long_one_says_where_they_are(tmp_path: Path) -> None:
    short = DataFolder(Path("/d"))
    assert short.socket("control.sock") == short.place_socket("control.sock") == Path("/d/control.sock")

    folder = DataFolder(tmp_path / ("x" * 90))
    folder.make()
    placed = folder.place_socket("control.sock")
    assert len(os.fsencode(placed)) <= 100
    assert mode(placed.parent) == 0o700
    assert folder.socket("control.sock") == placed
    assert folder.place_socket("control.sock") == placed
    assert (folder.path / "control.sock.path").read_text() == f"{placed}\n"
    placed.parent.rmdir()
    assert folder.place_socket("control.sock") != placed
    folder.socket("control.sock").parent.rmdir()
