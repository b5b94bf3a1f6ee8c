"""Real programs for the tests of this folder: nginx, the gateway as its users start it, and a network of their own.

Nothing in here waits for a fixed time: what must come is polled for, within a bound.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

FULL: Final = bool(os.environ.get("TIDEGATE_FULL"))
"""Run at the size of the figures (F11, F12, F17) rather than at the size of a coffee break."""
ROOT: Final = Path(__file__).parents[2]
TOKEN: Final = "a-token-for-real-tests-0123456789"
CLONE_NEWNET: Final = 0x40000000


def until(condition: Callable[[], Any], seconds: float, said: Callable[[], str] = str, each: float = 0.01) -> float:
    """Poll until *condition* holds; the seconds that took. Fails after *seconds* with what *said* says."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s: {said()}"
        time.sleep(each)
    return time.monotonic() - begun


# -- a network of our own -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def own_network() -> Iterator[bool]:
    """A network namespace with a loopback of its own for this thread and all that it starts, so that fixed ports meet
    nobody. True inside it; False where the system does not let us, and the machine's own ports are used."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            yield False
            return
        try:
            _raise_loopback()
            yield True
        finally:
            if libc.setns(home, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot return to the machine's network")
    finally:
        os.close(home)


def _raise_loopback() -> None:
    up_and_running = 0x1 | 0x40
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh22x", b"lo", up_and_running))  # SIOCSIFFLAGS


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether somebody accepts connections on *port*."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


# -- nginx ----------------------------------------------------------------------------------------------------------


def find_nginx() -> str:
    """The path of nginx; installed where we may, else the test is skipped with the reason."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found:
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("nginx is not installed, and only root may install it (apt-get install nginx-light)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "nginx-light"]):
        done = subprocess.run(["apt-get", "-qq", *command], env=environment, capture_output=True, text=True)
        if done.returncode != 0 and command[0] == "install":
            say = pytest.fail if os.environ.get("CI") else pytest.skip
            say(f"nginx could not be installed: {done.stderr[-500:]}")
    return "/usr/sbin/nginx"


class Nginx:
    """An nginx in *folder* with *servers*, its ``server`` blocks; listening when ``start`` returns."""

    def __init__(self, program: str, folder: Path, servers: str, port: int) -> None:
        self.program = program
        self.folder = folder
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "nginx.conf").write_text(
            f"""
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type text/plain;
  client_max_body_size 16m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {servers}
}}
"""
        )

    def start(self) -> Nginx:
        self.process = subprocess.Popen(
            [self.program, "-p", str(self.folder), "-e", str(self.folder / "error.log"), "-c", "nginx.conf"],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: listening(self.port), 10, lambda: (self.folder / "error.log").read_text())
        return self

    def kill(self) -> None:
        """SIGKILL to master and workers: an upstream that is gone from one moment to the next."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
            self.process = None


# -- the gateway ----------------------------------------------------------------------------------------------------


class Gateway:
    """``tidegate run -c CONFIG`` with a data folder of its own; ``said`` is what it wrote to stderr."""

    def __init__(self, config: Path, folder: Path, admin: int, workers: int = 0) -> None:
        self.config = config
        self.data = folder / "data"
        self.admin = admin
        self.log = folder / "gateway.log"
        command = [sys.executable, "-m", "tidegate", "run", "-c", str(config), "--data", str(self.data)]
        if workers:
            command += ["--workers", str(workers)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "TIDEGATE_ADMIN_TOKEN": TOKEN},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self) -> Gateway:
        """Wait until ``/readyz`` says so."""
        until(lambda: self.process.poll() is not None or self._ready(), 30, lambda: self.said)
        assert self.process.poll() is None, self.said
        return self

    def _ready(self) -> bool:
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        """Ask the admin API; status and document."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        code, document = self.get("/api/v1/status")
        assert code == 200, document
        return document

    def workers(self) -> dict[int, int]:
        """The pid that serves each row now."""
        return {w["row"]: w["pid"] for w in self.status()["workers"] if w["state"] == "ready"}

    def children(self) -> set[int]:
        """The supervisor's processes: control and workers."""
        return {int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()}

    def reload(self) -> subprocess.CompletedProcess[str]:
        """``tidegate reload``."""
        command = [sys.executable, "-m", "tidegate", "reload", "-c", str(self.config), "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=90)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it without the wait for balancers (SIGINT); its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.abandon()
        return self.process.returncode

    def abandon(self) -> None:
        """Leave no process behind, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(5)


def held_by(pid: int, port: int) -> set[int]:
    """The far ports of the connections to our *port* that the process holds.

    What still waits in the shared accept queue belongs to nobody, so it is not among them.
    """
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(entry)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    ports = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port and fields[9] in inodes:
            ports.add(int(fields[2].partition(":")[2], 16))
    return ports


def stand_still(pid: int) -> None:
    """SIGSTOP, and wait until it stands."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", 5)
