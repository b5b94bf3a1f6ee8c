"""Redis servers for tests: real ones, on free ports of the loopback, their data in a folder that goes with them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

PROGRAM: Final = shutil.which("redis-server") or shutil.which("valkey-server")
WHY: Final = "no redis-server here: make debian installs it"
LEFT_OUT: Final = PROGRAM is None and not os.environ.get("CI")
"""In CI a server that is missing is a failure."""


def free_port(below: int = 55_000) -> int:
    """A port that nobody has now. A node of a cluster listens 10,000 above it, too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < below:
            return port


def talk(port: int, *command: str, timeout: float = 5.0) -> bytes:
    """One command, its raw answer."""
    with socket.create_connection(("127.0.0.1", port), timeout) as plug:
        parts = [b"*%d\r\n" % len(command)]
        parts += [b"$%d\r\n%s\r\n" % (len(part.encode()), part.encode()) for part in command]
        plug.sendall(b"".join(parts))
        return plug.recv(65536)


class RedisServer:
    """One server; with ``with`` it ends with the block."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-redis-"))
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Returns once it answers."""
        assert PROGRAM is not None, WHY
        self.process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
             "--appendonly", "yes", "--daemonize", "no", "--logfile", str(self.folder / "log"), *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 15
        while True:
            with suppress(OSError):
                if talk(self.port, "PING").startswith(b"+PONG"):
                    return
            assert self.process.poll() is None and time.monotonic() < end, "redis-server does not start"
            time.sleep(0.02)

    def dying(self) -> bool:
        """Does it no longer answer?"""
        with suppress(OSError):
            return not talk(self.port, "PING").startswith(b"+PONG")
        return True

    def kill(self) -> None:
        """As a power cut of the process: nothing is said or saved."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class RedisCluster:
    """Three nodes, each with a third of the slots."""

    def __init__(self) -> None:
        self.nodes = [RedisServer("--cluster-enabled", "yes", "--cluster-node-timeout", "2000") for _ in range(3)]

    @property
    def url(self) -> str:
        return "redis://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def __enter__(self) -> RedisCluster:
        for node in self.nodes:
            node.start()
        bounds = [0, 5461, 10923, 16384]
        for at, node in enumerate(self.nodes):
            talk(node.port, "CLUSTER", "ADDSLOTSRANGE", str(bounds[at]), str(bounds[at + 1] - 1))
            talk(node.port, "CLUSTER", "SET-CONFIG-EPOCH", str(at + 1))
            talk(node.port, "CLUSTER", "MEET", "127.0.0.1", str(self.nodes[0].port))
        end = time.monotonic() + 20
        while not all(b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info
                      for info in (talk(node.port, "CLUSTER", "INFO") for node in self.nodes)):  # fmt: skip
            assert time.monotonic() < end, "the cluster does not form"
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        for node in self.nodes:
            node.__exit__(kind, error, trace)


class Sentinel:
    """One sentinel that knows *server* by the name ``kept``."""

    def __init__(self, server: RedisServer) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-sentinel-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        (self.folder / "conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nsentinel monitor kept 127.0.0.1 {server.port} 1\n"
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Sentinel:
        assert PROGRAM is not None, WHY
        self.process = subprocess.Popen(
            [PROGRAM, str(self.folder / "conf"), "--sentinel"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 15
        while True:
            with suppress(OSError):
                if b"127.0.0.1" in talk(self.port, "SENTINEL", "get-master-addr-by-name", "kept"):
                    return self
            assert self.process.poll() is None and time.monotonic() < end, "the sentinel does not start"
            time.sleep(0.02)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
