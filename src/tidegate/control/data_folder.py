"""The data folder (ARCHITECTURE 11, CONTROL 9): who may be in it, where things lie, and how a file is replaced whole.

One gateway a folder: the supervisor holds ``lock`` for as long as it lives. Folders are 0700 and files 0600; what is
written here is either the old file or the new one, byte for byte, whenever the machine stops.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

FOLDERS: Final = ("plans", "keys", "authority", "secrets", "logs", "descriptors", "ledger")
LONGEST_SOCKET_PATH: Final = 100
"""Bytes. ``sun_path`` holds 108; past this a socket lies in a private temporary folder (C3.1)."""
KEPT_PLANS: Final = 5


class FolderError(Exception):
    """The data folder cannot be used; the text says why and is meant for the operator."""


class DataFolder:
    """One data folder at an absolute *path*. Making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.plans = self.path / "plans"
        self.keys = self.path / "keys"

    def make(self) -> None:
        """Make the folder and its rooms, or tighten what is there. Raises ``FolderError``."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            own(self.path)
            for name in FOLDERS:
                folder = self.path / name
                folder.mkdir(mode=0o700, exist_ok=True)
                own(folder)
        except OSError as error:
            raise FolderError(f"cannot use the data folder {self.path}: {error.strerror}") from error

    def lock(self) -> int:
        """Take the folder for this gateway; returns the descriptor that holds the lock. Raises ``FolderError``
        naming the pid that has it."""
        path = self.path / "lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise FolderError(f"cannot open {path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise FolderError(f"another gateway (pid {holder}) already uses the data folder {self.path}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        return fd

    def replace(self, name: str, content: bytes) -> Path:
        """Write *content* to the file *name* (relative) so that a reader or a crash sees the old file or the new one
        (C2): temporary file beside it, fsync, rename, fsync of the folder."""
        target = self.path / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
        return target

    def plan(self, generation: int) -> Path:
        """Where generation *generation* lies."""
        return self.plans / f"{generation}.json"

    def generations(self) -> list[int]:
        """The numbers of the generations on disk, oldest first."""
        try:
            names = os.listdir(self.plans)
        except OSError:
            return []
        return sorted(int(n[:-5]) for n in names if n.endswith(".json") and n[:-5].isascii() and n[:-5].isdigit())

    def newest(self) -> int:
        """The last good generation, 0 when there is none (S23.3)."""
        numbers = self.generations()
        return numbers[-1] if numbers else 0

    def forget_old_plans(self, serving: int) -> None:
        """Keep the last :data:`KEPT_PLANS` generations and the one that is *serving*."""
        for number in self.generations()[:-KEPT_PLANS]:
            if number != serving:
                self.plan(number).unlink(missing_ok=True)

    def socket(self, name: str) -> Path:
        """Where the Unix socket *name* lies now: in the folder, or where ``<name>.path`` says (C3.1)."""
        path = self.path / name
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        try:
            return Path((self.path / f"{name}.path").read_text("utf-8").strip())
        except OSError:
            return path

    def place_socket(self, name: str) -> Path:
        """A path short enough to bind the Unix socket *name* to; a long folder gets a private temporary one."""
        path = self.path / name
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        known = self.socket(name)
        if known != path and known.parent.is_dir() and private(known.parent):
            return known
        short = Path(tempfile.mkdtemp(prefix="tidegate-")) / name
        self.replace(f"{name}.path", os.fsencode(short) + b"\n")
        return short


def own(folder: Path) -> None:
    """Make *folder* ours alone: 0700. Raises ``FolderError`` when it is somebody else's or no folder."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) and not folder.is_dir():
        raise FolderError(f"{folder} is not a folder")
    found = os.stat(folder)
    if found.st_uid != os.geteuid():
        raise FolderError(f"{folder} belongs to another user (uid {found.st_uid})")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(folder, 0o700)


def private(folder: Path) -> bool:
    """Whether *folder* is ours and closed to everybody else."""
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def sync_folder(folder: Path) -> None:
    """Make renames in *folder* durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
