"""Secrets the node makes for itself (C9.1): the peppers under which keys are kept, and the root key.

From the environment, or from files of the data folder that are made at first need. Control makes them, workers read.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Final

from tidegate.control.data_folder import DataFolder, FolderError
from tidegate.rules.credentials import read_peppers

PEPPER: Final = "pepper"
PEPPER_VARIABLE: Final = "TIDEGATE_PEPPER"
ROOT_KEY: Final = "root.key"


def make_secrets(folder: DataFolder, environment: Mapping[str, str]) -> None:
    """Make what is not there yet: 32 random bytes each. Raises ``OSError``."""
    if not environment.get(PEPPER_VARIABLE) and not (folder.path / PEPPER).exists():
        folder.replace(PEPPER, secrets.token_hex(32).encode() + b"\n")
    if not (folder.path / ROOT_KEY).exists():
        folder.replace(ROOT_KEY, secrets.token_bytes(32))


def load_peppers(folder: DataFolder, environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """All peppers, oldest first. Raises ``FolderError`` when they are missing or damaged, naming no content."""
    text = environment.get(PEPPER_VARIABLE, "")
    source = PEPPER_VARIABLE
    if not text:
        source = str(folder.path / PEPPER)
        text = _read(folder)
    try:
        peppers = read_peppers(text)
    except ValueError as error:
        raise FolderError(f"{source}: {error}") from None
    if not peppers:
        raise FolderError(f"{source} holds no pepper: restore it from a backup, without it every key is unknown")
    return peppers


def _read(folder: DataFolder) -> str:
    path = folder.path / PEPPER
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {error.strerror}") from None
    with open(fd, "rb") as file:
        return file.read(1 << 16).decode("ascii", "replace")
