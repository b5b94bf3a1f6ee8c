"""The real gateway under test: started by ``tidegate run`` in processes of its own, watched from outside.

Nothing here imports gateway code. Figures come from where an operator would read them: the admin listener, ``/proc``,
the logs.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from abuse.talk import Answer, request

START = 15.0
"""Seconds until a gateway must be ready."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port below the range that connects draw from: there a socket can meet itself."""
    while True:
        number = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, number))
            return number


def until(condition: Callable[[], Any], timeout: float, what: str = "") -> Any:
    """Poll *condition* until it holds; its value. Raises ``AssertionError`` after *timeout* seconds."""
    end = time.monotonic() + timeout
    while True:
        with contextlib.suppress(OSError):
            if found := condition():
                return found
        assert time.monotonic() < end, f"not within {timeout} s: {what or condition}"
        time.sleep(0.02)


class Gateway:
    """One gateway: ``config`` is what its file says, ``port`` where traffic goes, ``admin`` where the operator goes."""

    def __init__(
        self, config: dict[str, Any], environment: dict[str, str] | None = None, workers: int = 2, probed: bool = False
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-abuse-"))
        self.port = free_port()
        self.admin = free_port()
        self.token = "operator-" + os.urandom(16).hex()
        self.config = {
            "name": "abuse-gateway",
            "listeners": [{"address": f"127.0.0.1:{self.port}"}],
            "admin": {"address": f"127.0.0.1:{self.admin}", "token": self.token},
            "data": "./data",
            "workers": workers,
            "drain": {"accept": "0s", "finish": "2s"},
            **config,
        }
        self.environment = environment or {}
        self.probed = probed
        """Whether it is started with ``--test-profile``, which brings the probe and its traps."""
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.folder / "stderr.log"
        self.warm = False
        """Whether every worker has served something, and so opened what it opens once."""
        self.descriptors = 0
        """RLIMIT_NOFILE of the gateway, when it should not be the machine's."""
        self.address_space = 0
        """RLIMIT_AS of the gateway, likewise."""

    # -- start and stop ----------------------------------------------------------------------------------------------

    @property
    def file(self) -> Path:
        return self.folder / "tidegate.json"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def write(self, config: dict[str, Any] | None = None) -> None:
        """Write the config file, whole at once."""
        if config is not None:
            self.config = config
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.config))
        fresh.rename(self.file)

    def changed(self, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """A copy of the config with a change."""
        config = copy.deepcopy(self.config)
        change(config)
        return config

    def launch(self, keep_file: bool = False) -> subprocess.Popen[bytes]:
        """Start the process without waiting for anything."""
        if not keep_file:
            self.write()
        environment = {**os.environ, **self.environment}
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "tidegate", "run", "-c", str(self.file)]
            if self.probed:
                command.append("--test-profile")
            if self.descriptors:
                command = ["prlimit", f"--nofile={self.descriptors}", *command]
            if self.address_space:
                command = ["prlimit", f"--as={self.address_space}:unlimited", *command]
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=environment, start_new_session=True)
        return self.process

    def start(self) -> Gateway:
        """Start, and wait until it is ready. Raises ``AssertionError`` with the log."""
        self.launch()
        end = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError, TimeoutError):
                ready = request(self.admin, target="/readyz", timeout=1)
                if ready.status == 200 and len(self.workers()) == self.config["workers"]:
                    return self
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "not ready: " + self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Drain; kill what stays; take the folder away."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill_all(self) -> None:
        """SIGKILL the whole tree, by the pids that are its own."""
        assert self.process is not None
        pids = self.tree()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Gateway:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- what the operator sees --------------------------------------------------------------------------------------

    def ask(self, target: str, method: str = "GET", timeout: float = 5.0) -> Answer:
        """A call to the admin listener with the operator's token."""
        body = b"" if method == "POST" else None
        return request(self.admin, method, target, [("Authorization", f"Bearer {self.token}")], body, timeout=timeout)

    def trap(self, targets: dict[str, str]) -> None:
        """Let workers die of these request targets, each in its way: ``crash`` or ``memory``."""
        fields = [("Authorization", f"Bearer {self.token}"), ("Content-Type", "application/json")]
        body = json.dumps({"targets": targets}).encode()
        answer = request(self.admin, "PUT", "/api/v1/probe/traps", fields, body)
        assert answer.status == 204, answer

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("/api/v1/status").json()
        return found

    def workers(self) -> list[int]:
        """Pids of the workers that serve, by row."""
        return [w["pid"] for w in self.status()["workers"] if w["state"] == "ready"]

    def reload(self, timeout: float = 20.0) -> Answer:
        return self.ask("/api/v1/reload", "POST", timeout)

    def metrics(self) -> str:
        return request(self.admin, target="/metrics").body.decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of a metric that carry these labels."""
        total = 0.0
        for line in self.metrics().splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == f"tidegate_{name}":
                has = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
                if all(has.get(k) == v for k, v in labels.items()):
                    total += float(match[3])
        return total

    # -- what the machine sees ---------------------------------------------------------------------------------------

    def tree(self) -> list[int]:
        """The gateway's processes: the supervisor and its children."""
        assert self.process is not None
        root = self.process.pid
        try:
            children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
        except OSError:
            children = []
        return [root, *map(int, children)]

    def rss(self) -> int:
        """Bytes of the workers' own memory."""
        total = 0
        for pid in self.workers():
            found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            total += int(found[1]) * 1024 if found else 0
        return total

    def cpu(self) -> float:
        """CPU seconds of the workers so far, all threads."""
        total = 0
        for pid in self.workers():
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def all_log(self) -> bool:
        """Has every worker opened its access log?"""
        for pid in self.workers():
            names = []
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    names.append(os.readlink(fd))
            if not any(name.endswith("access.log") for name in names):
                return False
        return True

    def open_sockets(self, pool_ports: set[int]) -> tuple[int, int]:
        """(client connections, other descriptors) of the workers; pooled upstream connections are left out."""
        local: dict[str, int] = {}
        remote: dict[str, int] = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            columns = line.split()
            local[columns[9]] = int(columns[1].rpartition(":")[2], 16)
            remote[columns[9]] = int(columns[2].rpartition(":")[2], 16)
        clients = others = 0
        for pid in self.workers():
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    name = os.readlink(fd)
                except OSError:
                    continue
                inode = name[8:-1] if name.startswith("socket:[") else ""
                if inode in local and local[inode] == self.port and remote[inode]:
                    clients += 1
                elif not (inode in remote and remote[inode] in pool_ports):
                    others += 1
        return clients, others

    def records(self) -> list[dict[str, Any]]:
        """Every line of the access log."""
        try:
            text = (self.data / "logs" / "access.log").read_text()
        except OSError:
            return []
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def outputs(self) -> dict[str, bytes]:
        """Everything the gateway writes that people or programs read: logs, metrics, status."""
        found = {
            "stderr": self.log.read_bytes(),
            "metrics": self.metrics().encode(),
            "status": self.ask("/api/v1/status").body,
        }
        for path in (self.data / "logs").glob("*"):
            found[path.name] = path.read_bytes()
        return found
