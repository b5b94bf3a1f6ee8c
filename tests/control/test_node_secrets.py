"""Secrets the node makes for itself (C9.1)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tidegate.control.data_folder import DataFolder, FolderError
from tidegate.control.node_secrets import load_peppers, make_secrets


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path)
    folder.make()
    return folder


def test_both_are_made_once_random_and_private(folder: DataFolder) -> None:
    make_secrets(folder, {})
    peppers, root = load_peppers(folder, {}), (folder.path / "root.key").read_bytes()
    assert len(peppers) == 1 and len(peppers[0]) == len(root) == 32
    assert peppers[0] != root
    make_secrets(folder, {})
    assert load_peppers(folder, {}) == peppers
    assert (folder.path / "root.key").read_bytes() == root
    assert {stat.S_IMODE(os.stat(folder.path / name).st_mode) for name in ("pepper", "root.key")} == {0o600}


def test_the_environment_goes_first_and_then_no_file_is_made(folder: DataFolder) -> None:
    environment = {"TIDEGATE_PEPPER": f"{'11' * 32}\n{'22' * 32}"}
    make_secrets(folder, environment)
    assert load_peppers(folder, environment) == (b"\x11" * 32, b"\x22" * 32)
    assert not (folder.path / "pepper").exists()


@pytest.mark.parametrize("content", [None, "", "\n", "not-hex", "aa" * 31])
def test_a_missing_or_damaged_pepper_is_refused_by_its_file_not_its_content(
    folder: DataFolder, content: str | None
) -> None:
    if content is not None:
        (folder.path / "pepper").write_text(content)
    with pytest.raises(FolderError) as refused:
        load_peppers(folder, {})
    assert str(folder.path / "pepper") in str(refused.value)
    assert not content or not content.strip() or content not in str(refused.value)
