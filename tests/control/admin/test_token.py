"""The admin token: chosen, kept, strong enough, compared (C3.1, S23.3, ID6)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tidegate.control.admin.token import Token, WeakToken, check_strength, find_token, matches
from tidegate.control.data_folder import DataFolder


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder(tmp_path)
    folder.make()
    return folder


def test_config_goes_before_environment_before_the_kept_one(folder: DataFolder) -> None:
    (folder.path / "admin-token").write_text("kept\n")
    environment = {"TIDEGATE_ADMIN_TOKEN": "from-environment"}
    assert find_token("configured", environment, folder) == Token("configured", False)
    assert find_token("", environment, folder) == Token("from-environment", False)
    assert find_token("", {"TIDEGATE_ADMIN_TOKEN": ""}, folder) == Token("kept", False)


def test_a_token_is_made_once_with_256_random_bits_and_kept_private(folder: DataFolder) -> None:
    made = find_token("", {}, folder)
    assert made.made
    assert made.value.startswith("tga_") and len(made.value) == 4 + 43
    assert find_token("", {}, folder) == Token(made.value, False)
    assert stat.S_IMODE(os.stat(folder.path / "admin-token").st_mode) == 0o600
    os.unlink(folder.path / "admin-token")
    assert find_token("", {}, folder).value != made.value


def test_a_link_in_the_place_of_the_file_is_not_followed(folder: DataFolder, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("planted")
    os.symlink(tmp_path / "other", folder.path / "admin-token")
    assert find_token("", {}, folder).made
    assert (tmp_path / "other").read_text() == "planted"


@pytest.mark.parametrize(
    "value",
    ["short", "changemechangeme", "password12345678!", "tidegate", "aaaaaaaaaaaaaaaaaaaa", "1234567890123456",
     "Secret-SECRET"],
)  # fmt: skip
def test_a_guessable_token_guards_no_address_that_others_reach(value: str) -> None:
    with pytest.raises(WeakToken) as refused:
        check_strength(value, "0.0.0.0")
    assert value not in str(refused.value)
    check_strength(value, "127.0.0.1")


def test_a_random_token_may_guard_any_address(folder: DataFolder) -> None:
    check_strength(find_token("", {}, folder).value, "0.0.0.0")
    check_strength("correct horse battery staple", "::")


@pytest.mark.parametrize(
    ("token", "value", "expected"),
    [
        ("secret", "Bearer secret", True),
        ("secret", "BEARER secret", True),
        ("secret", "Bearer  secret", True),
        ("secret", "Bearer secre", False),
        ("secret", "Bearer secrets", False),
        ("secret", "Bearersecret", False),
        ("secret", "", False),
        ("", "Bearer ", False),
        ("sécret", "Bearer sécret", True),
    ],
)
def test_only_the_whole_token_matches(token: str, value: str, expected: bool) -> None:
    assert matches(token, value) is expected
