"""A PostgreSQL server for tests: a real one, on a free port of the loopback, its data in a folder that goes with it.

It does not wait for the disk: what it wrote outlives its own death, and no test brings about the machine's."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from servers.redis import free_port


def _programs() -> Path | None:
    """The folder that ``initdb`` really lies in, the newest first."""
    found = shutil.which("initdb")
    if found is not None:
        folder = Path(found).resolve().parent
        if (folder / "postgres").exists():
            return folder
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: -float(folder.parent.name))
    return folders[0] if folders else None


def _user() -> str | None:
    """As whom it runs, since it refuses root; None for whoever we are."""
    if os.getuid():
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


PROGRAMS: Final = _programs()
WHY: Final = "no postgresql here: make debian installs it"
LEFT_OUT: Final = PROGRAMS is None and not os.environ.get("CI")
"""In CI a server that is missing is a failure."""


class PostgresServer:
    """One server; with ``with`` it ends with the block. ``url`` is that of ``app``, who is no superuser and owns the
    database; ``root_url`` is that of one who is."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-postgres-"))
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://app@127.0.0.1:{self.port}/tidegate"

    @property
    def root_url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/tidegate"

    def _run(self, program: str, *words: str) -> subprocess.CompletedProcess[bytes]:
        assert PROGRAMS is not None, WHY
        return subprocess.run([PROGRAMS / program, *words], user=_user(), cwd=self.folder, capture_output=True,
                              check=True, timeout=60, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})  # fmt: skip

    def make(self) -> None:
        if _user() is not None:
            shutil.chown(self.folder, _user())
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")

    def start(self) -> None:
        """Returns once it answers."""
        assert PROGRAMS is not None, WHY
        self.process = subprocess.Popen(
            [PROGRAMS / "postgres", "-D", str(self.folder / "data"), "-p", str(self.port), "-h", "127.0.0.1", "-k",
             str(self.folder), "-c", "logging_collector=off", "-c", "fsync=off", "-c", "full_page_writes=off",
             "-c", "max_connections=60", *self.options],
            user=_user(), cwd=self.folder, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"),
        )  # fmt: skip
        end = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Does it take connections? It says ``R`` to a start-up message once it does."""
        words = b"user\0postgres\0database\0postgres\0\0"
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2.0) as plug:
            plug.sendall((len(words) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + words)
            return plug.recv(1) == b"R"
        return False

    def sql(self, text: str, database: str = "tidegate") -> str:
        return self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database, "-tAc",
                         text).stdout.decode().strip()  # fmt: skip

    def freeze(self) -> list[int]:
        """It stops answering, all of it, until it is thawed."""
        assert self.process is not None
        main = self.process.pid
        pids = [main, *(int(pid) for pid in Path(f"/proc/{main}/task/{main}/children").read_text().split())]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return pids

    def thaw(self, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def dying(self) -> bool:
        """Does it no longer take connections, or will it stop to at once?"""
        return self.process is None or self.process.poll() is not None or not self._answers()

    def kill(self) -> None:
        """All of it at once, with nothing said or saved."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGQUIT)  # its children end with it, at once
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def __enter__(self) -> PostgresServer:
        self.make()
        self.start()
        self.sql("CREATE ROLE app LOGIN", "postgres")
        self.sql("CREATE DATABASE tidegate OWNER app", "postgres")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
