"""tidegate as the benchmarks run it: configs of any size, the interpreted and the compiled build, start and stop.

    python benchmarks/gateway.py [--build interpreted|compiled] [--routes N] [--keys N] [--workers N]

The compiled build is the newest wheel in ``dist/`` for this Python, unpacked; or the folder that the variable
``TIDEGATE_COMPILED`` names. The interpreted one is the checkout, or the folder in ``TIDEGATE_INTERPRETED``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import PROXY_CORE, children, pinned, tree
from upstream import PORTS, must_be_free, wait_until_answered

HERE = Path(__file__).resolve().parent
CHECKOUT = Path(os.environ.get("TIDEGATE_INTERPRETED", HERE.parent / "src")).resolve()
PORT = 28480
SERVER = "tidegate"


@dataclass(frozen=True)
class Build:
    """One build: its name and the folder that holds the package."""

    name: str
    folder: Path

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONSAFEPATH": "1"}


def builds() -> list[Build]:
    """What can be measured here: the compiled build first, where there is one."""
    found = compiled()
    return [*([found] if found else []), Build("interpreted", CHECKOUT)]


def build(name: str) -> Build:
    """The build called *name*, or the best there is for an empty one. ``SystemExit`` when it is not there."""
    for each in builds():
        if name in ("", each.name):
            return each
    raise SystemExit(f"there is no {name} build: make wheel, or set TIDEGATE_COMPILED")


def compiled() -> Build | None:
    """The compiled build, None without one."""
    given = os.environ.get("TIDEGATE_COMPILED", "")
    if given:
        return Build("compiled", Path(given).resolve())
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}-"
    wheels = [each for each in (HERE.parent / "dist").glob("tidegate-*.whl") if tag in each.name]
    if not wheels:
        return None
    newest = max(wheels, key=lambda each: each.stat().st_mtime)
    folder = HERE.parent / ".make" / "compiled" / f"{newest.stem}-{newest.stat().st_mtime_ns}"
    if not folder.is_dir():
        with zipfile.ZipFile(newest) as wheel:
            wheel.extractall(folder)
    return Build("compiled", folder)


def key(number: int) -> str:
    return f"bench-key-{number:07d}"


def path(number: int) -> str:
    return f"/service-{number}/api"


def policy(routes: int = 200, keys: int = 1000, keys_each: int = 1) -> dict[str, Any]:
    """The config of P1: *routes* routes, each with key and limit, over one upstream of two targets, and *keys* API
    keys. The limit is too high to refuse anybody, so that every request takes the whole way."""
    return {
        "listeners": [{"address": f"127.0.0.1:{PORT}"}],
        "limits": {"keep_alive_requests": 1_000_000_000, "per_address": 100},
        "upstreams": [
            {
                "name": "up",
                "targets": [{"url": f"http://127.0.0.1:{port}"} for port in PORTS],
                "balancer": {"use": "peak_ewma"},
                "breaker": {"window": 100},
            }
        ],
        "consumers": [
            {"name": f"caller-{first}", "keys": [key(n) for n in range(first, min(keys, first + keys_each))]}
            for first in range(0, keys, keys_each)
        ],
        "routes": [
            {
                "name": f"service-{n}",
                "match": {"path": path(n)},
                "filters": [
                    {"use": "api_key"},
                    {"use": "rate_limit", "rate": "10000000/s", "burst": 10_000_000, "by": "consumer"},
                ],
                "upstream": "up",
            }
            for n in range(routes)
        ],
    }


class Gateway:
    """One gateway in a temporary folder, on the proxy's core unless *core* says another (None: any), for a ``with``
    block."""

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        build: Build | None = None,
        workers: int = 1,
        core: int | None = PROXY_CORE,
        limit: float = 30.0,
        probe: tuple[str, str] = (path(0), key(0)),
    ) -> None:
        self.config = config if config is not None else policy()
        self.build = build or builds()[0]
        self.name = f"tidegate, {self.build.name}"
        self.port = PORT
        self.workers = workers
        self.core = core
        self.limit = limit
        self.probe = probe
        self.started = 0.0
        """Seconds from the start of the program to the first answer."""

    def write(self, config: dict[str, Any]) -> None:
        """Replace the config file whole."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(config))
        new.replace(self.file)

    def __enter__(self) -> Gateway:
        must_be_free(self.port)
        self.folder = tempfile.TemporaryDirectory(prefix="tidegate-bench-")
        self.file = Path(self.folder.name) / "tidegate.json"
        self.write(self.config)
        self.log = (Path(self.folder.name) / "stderr").open("w+b")
        command = [sys.executable, "-m", "tidegate", "run", "-c", str(self.file), "--workers", str(self.workers)]
        begun = time.monotonic()
        self.process = subprocess.Popen(
            command,
            env=self.build.environment(),
            cwd=self.folder.name,
            preexec_fn=None if self.core is None else pinned(self.core),
            stdout=self.log,
            stderr=self.log,
        )
        where, with_key = self.probe
        try:
            wait_until_answered(
                f"http://127.0.0.1:{self.port}{where}", {"x-api-key": with_key}, self.process, self.limit
            )
        except BaseException:
            self.log.seek(0)
            sys.stderr.write(self.log.read().decode("utf-8", "replace")[-4000:])
            self.__exit__()
            raise
        self.started = time.monotonic() - begun
        return self

    def __exit__(self, *_: object) -> None:
        family = tree(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def said(self) -> str:
        """What it wrote to stdout and stderr so far."""
        return Path(self.log.name).read_text("utf-8", "replace")

    def refused(self) -> dict[str, int]:
        """Answers other than 2xx, by status, code and reason, as its access log tells: why a run is no result."""
        found: dict[str, int] = {}
        for log in Path(self.folder.name).rglob("access.log*"):
            for line in log.read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError):
                    told = json.loads(line)
                    if not 200 <= told["status"] < 300:
                        name = " ".join(str(told.get(each, "")) for each in ("status", "code", "reason", "end"))
                        found[name] = found.get(name, 0) + 1
        return found

    def pids(self) -> list[int]:
        """Supervisor, control and workers: what the gateway costs is what they cost together."""
        return tree(self.process.pid)

    def worker_pids(self) -> list[int]:
        """The children that hold the listening socket."""
        wanted = f":{self.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        sockets = {f"socket:[{row[9]}]" for row in lines if row[1].endswith(wanted) and row[3] == "0A"}
        found = []
        for pid in children(self.process.pid):
            with contextlib.suppress(OSError):
                if any(os.readlink(each) in sockets for each in Path(f"/proc/{pid}/fd").iterdir()):
                    found.append(pid)
        return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="")
    parser.add_argument("--routes", type=int, default=200)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    with Gateway(policy(given.routes, given.keys), build(given.build), given.workers) as gateway:
        print(f"{gateway.name}: 127.0.0.1:{gateway.port}, started in {gateway.started:.2f} s; Ctrl-C ends it")
        print(f"curl -H 'x-api-key: {key(0)}' http://127.0.0.1:{gateway.port}{path(0)}")
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(1)
