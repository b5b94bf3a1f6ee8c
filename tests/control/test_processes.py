"""The whole house as real processes: start, serve, reload, die in every way, upgrade, drain (S23, C3, PF, CF).

No test waits for a fixed time: each polls for what must come, within the bound its row names.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidegate.control.reload import ask

PROGRAM = """
import os, sys
from pathlib import Path
if "TIDEGATE_CHECK_START" in os.environ and Path("broken").exists():
    sys.exit(3)
from tidegate.control.supervisor import run
sys.exit(run(Path("c.yaml"), workers=int(sys.argv[1])))
"""

CONFIG = """
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "127.0.0.1:0", token: a-token-for-the-tests}
drain: {accept: 300ms, finish: 5s}
upstreams: []
routes:
  - {name: hello, match: {path: /hello, exact: true}, respond: {status: 200, text: hello}}
"""


class Gateway:
    """A running gateway in *folder*; ``said`` is what it wrote to stderr."""

    def __init__(self, folder: Path, workers: int = 2, config: str = CONFIG) -> None:
        self.folder = folder
        (folder / "c.yaml").write_text(config)
        (folder / "program.py").write_text(PROGRAM)
        self.log = folder / "stderr"
        self.begun = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "program.py", str(workers)], cwd=folder, stderr=log, stdin=subprocess.DEVNULL
            )
        self.port = 0
        self.admin = 0

    @property
    def said(self) -> str:
        return self.log.read_bytes()[self.begun :].decode()

    def started(self) -> Gateway:
        until(lambda: "admin on" in self.said or self.process.poll() is not None, 20, lambda: self.said)
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+).*admin on http://127\.0\.0\.1:(\d+)", self.said)
        assert found is not None, self.said
        self.port, self.admin = int(found.group(1)), int(found.group(2))
        until(lambda: self.ready() == "ready", 10, lambda: self.said)
        return self

    def get(self, path: str = "/hello", port: int = 0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"authorization": "Bearer a-token-for-the-tests"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ready(self) -> str:
        try:
            return str(json.loads(self.get("/readyz", self.admin)[1])["status"])
        except (OSError, http.client.HTTPException):
            return "no answer"

    def status(self) -> dict[str, Any]:
        status, body = self.get("/api/v1/status", self.admin)
        assert status == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def workers(self) -> list[int]:
        return [w["pid"] for w in self.status()["workers"] if w["state"] == "ready"]

    def children(self) -> list[int]:
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    def reload(self) -> tuple[int, dict[str, Any]]:
        return ask(self.folder / "c.yaml", None, {})

    def ended(self, within: float = 15.0) -> int:
        return self.process.wait(within)

    def kill(self) -> None:
        """For the end of a test, whatever state it left."""
        pids = self.children() if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def until(true: Callable[[], Any], within: float, explain: Callable[[], str] = str) -> float:
    """Wait for *true*; the seconds it took."""
    begun = time.monotonic()
    while not true():
        assert time.monotonic() - begun < within, explain()
        time.sleep(0.01)
    return time.monotonic() - begun


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    running: list[Gateway] = []

    def make(**settings: Any) -> Gateway:
        running.append(Gateway(tmp_path, **settings))
        return running[-1]

    yield make
    for gateway in running:
        gateway.kill()


class Load:
    """Clients that ask all the time, half of them connecting well before they send; ``failed`` must stay empty."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.port = port
        self.ending = threading.Event()
        self.answered = 0
        self.failed: list[str] = []
        self.threads = [threading.Thread(target=self._ask, args=(n % 2,), daemon=True) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self, slow: int) -> None:
        while not self.ending.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                    self.ending.wait(0.05 * slow)
                    connection.sendall(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    answer = b""
                    while data := connection.recv(4096):
                        answer += data
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.failed.append(repr(answer[:60]))
            except OSError as error:
                self.failed.append(repr(error))
            self.answered += 1
            self.ending.wait(0.002)

    def end(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()


def test_it_starts_says_where_serves_and_a_connection_made_before_sigterm_is_answered(start: Any) -> None:
    gateway = start().started()
    assert gateway.get() == (200, b"hello")
    assert gateway.get("/healthz", gateway.admin) == (200, b'{"status":"alive"}')
    waiting = socket.create_connection(("127.0.0.1", gateway.port), 5)
    gateway.process.send_signal(signal.SIGTERM)
    until(lambda: gateway.ready() != "ready", 2)
    assert gateway.get() == (200, b"hello")  # S23.5: it keeps accepting for a while
    with waiting:
        waiting.sendall(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = waiting.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200") and b"connection: close" in answer.lower()
    assert gateway.ended() == 0


def test_a_bad_config_at_start_is_exit_78_with_file_and_line(start: Any) -> None:
    gateway = start(config=CONFIG + "  - {name: x, match: {path: /x}, upstream: nowhere}\n")
    assert gateway.ended() == 78
    assert gateway.said.count("c.yaml:8: routes[1].upstream: there is no upstream nowhere") == 1
    assert not (gateway.folder / "tidegate-data").exists()


def test_no_second_gateway_uses_the_folder_and_no_taken_address_is_shared(start: Any, tmp_path: Path) -> None:
    gateway = start().started()
    second = start()
    assert second.ended() == 1
    assert f"another gateway (pid {gateway.process.pid}) already uses the data folder" in second.said
    config = CONFIG.replace('"127.0.0.1:0"', f'"127.0.0.1:{gateway.port}"', 1) + "data: ./other\n"
    third = start(config=config)
    assert third.ended() == 1
    assert f"cannot listen on 127.0.0.1:{gateway.port}: another program is using it" in third.said
    assert gateway.get() == (200, b"hello")


def test_a_killed_worker_is_replaced_within_a_second_and_nobody_waits_for_it(start: Any) -> None:
    gateway = start().started()
    before = gateway.workers()
    load = Load(gateway.port, 2)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: before[0] not in gateway.workers() and len(gateway.workers()) == 2, 1.0)
    load.end()
    assert len(load.failed) <= 1  # at most what this very worker had in hand
    assert gateway.get("/metrics", gateway.admin)[1].find(b"tidegate_worker_restarts_total 1\n") > 0


def test_a_worker_that_stands_still_is_replaced_within_5_s_while_the_other_serves(start: Any) -> None:
    gateway = start().started()
    stuck, other = gateway.workers()
    os.kill(stuck, signal.SIGSTOP)
    load = Load(gateway.port, 2)
    took = until(lambda: stuck not in gateway.children(), 5.5)
    until(lambda: len(gateway.workers()) == 2, 1.5)
    load.end()
    assert took > 2.0 and other in gateway.workers()
    assert "gave no sign of life" in gateway.said


def test_workers_serve_without_control_and_a_new_one_takes_over(start: Any) -> None:
    gateway = start().started()
    workers = gateway.workers()
    control = next(pid for pid in gateway.children() if pid not in workers)
    os.kill(control, signal.SIGKILL)
    assert gateway.get() == (200, b"hello")
    until(lambda: gateway.ready() == "ready", 5, lambda: gateway.said)
    assert gateway.workers() == workers
    status, answer = gateway.reload()
    assert (status, answer["workers"]) == (200, {"applied": 2, "of": 2})


def test_a_reload_is_served_by_all_workers_when_it_answers_and_a_bad_one_changes_nothing(start: Any) -> None:
    gateway = start().started()
    config = gateway.folder / "c.yaml"
    good = CONFIG + '  - {name: new, match: {path: /new}, respond: {status: 200, text: "new"}}\n'
    config.write_text(good)
    assert gateway.reload()[0] == 200
    assert [gateway.get("/new") for _ in range(20)] == [(200, b"new")] * 20
    config.write_text(CONFIG + "nonsense: 1\n")
    status, problem = gateway.reload()
    assert status == 422
    assert "c.yaml:8: nonsense:" in problem["detail"]
    until(lambda: "config_error" in gateway.status(), 5)
    assert gateway.get("/new") == (200, b"new")
    config.write_text(good)
    gateway.process.send_signal(signal.SIGHUP)
    until(lambda: "config_error" not in gateway.status(), 5)


def test_a_changed_file_is_taken_up_by_itself(start: Any) -> None:
    gateway = start().started()
    changed = gateway.folder / "next"
    changed.write_text(CONFIG.replace("text: hello", "text: bye"))
    until(lambda: gateway.get() == (200, b"hello"), 1)
    os.replace(changed, gateway.folder / "c.yaml")
    until(lambda: gateway.get() == (200, b"bye"), 5, lambda: gateway.said)


def soon_refused(gateway: Any, port: int) -> bool:
    """Does nobody listen on *port*, now or in a moment? The workers let go first, the supervisor right after."""
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        try:
            gateway.get(port=port)
        except ConnectionRefusedError:
            return True
        except OSError:
            continue
    return False


def test_listeners_come_and_go_with_a_reload_and_the_others_notice_nothing(start: Any) -> None:
    gateway = start().started()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    two = CONFIG.replace('"127.0.0.1:0"}]', f'"127.0.0.1:0"}}, {{address: "127.0.0.1:{port}"}}]', 1)
    load = Load(gateway.port, 2)
    (gateway.folder / "c.yaml").write_text(two)
    assert gateway.reload()[0] == 200
    assert gateway.get(port=port) == (200, b"hello")
    (gateway.folder / "c.yaml").write_text(CONFIG)
    assert gateway.reload()[0] == 200
    assert soon_refused(gateway, port)
    load.end()
    assert load.failed == []


def test_reloads_under_load_lose_nothing(start: Any) -> None:
    gateway = start().started()
    load = Load(gateway.port)
    for turn in range(10):
        (gateway.folder / "c.yaml").write_text(CONFIG + f"#{turn}\n")
        assert gateway.reload()[0] == 200
    load.end()
    assert load.failed == []
    assert load.answered > 10


def test_when_the_supervisor_is_killed_everybody_leaves_and_the_next_start_takes_over(start: Any) -> None:
    gateway = start().started()
    children = gateway.children()
    gateway.process.kill()
    gateway.process.wait()
    again = start().started()
    assert again.get() == (200, b"hello")
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 10)


def test_workers_that_cannot_start_are_called_degraded_while_the_old_one_serves(start: Any) -> None:
    gateway = start().started()
    plan = max((gateway.folder / "tidegate-data" / "plans").glob("*.json"))
    whole = plan.read_bytes()
    plan.write_bytes(b"{}")
    victim, _ = gateway.workers()
    load = Load(gateway.port, 2)
    os.kill(victim, signal.SIGKILL)
    until(lambda: gateway.ready() == "degraded" and "keep dying" in str(gateway.status()["reasons"]), 10)
    assert gateway.get() == (200, b"hello")
    plan.write_bytes(whole)
    until(lambda: len(gateway.workers()) == 2, 10)
    load.end()
    assert len(load.failed) <= 2  # both connections may have been the victim's


def test_an_upgrade_keeps_pid_and_port_and_refuses_nobody(start: Any) -> None:
    gateway = start().started()
    before = set(gateway.children())
    load = Load(gateway.port)
    gateway.process.send_signal(signal.SIGUSR2)
    until(lambda: "the old workers finish" in gateway.said, 15, lambda: gateway.said)
    until(lambda: not before & set(gateway.children()), 10)
    load.end()
    assert load.failed == []
    assert gateway.get() == (200, b"hello")
    until(lambda: gateway.ready() == "ready", 10)
    assert gateway.reload()[0] == 200
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.ended() == 0


def test_a_new_program_that_does_not_start_leaves_the_old_one_in_place(start: Any) -> None:
    gateway = start().started()
    children = gateway.children()
    (gateway.folder / "broken").touch()
    gateway.process.send_signal(signal.SIGUSR2)
    until(lambda: "the old one goes on" in gateway.said, 10, lambda: gateway.said)
    assert gateway.children() == children
    assert gateway.get() == (200, b"hello")


def test_a_second_signal_does_not_wait(start: Any) -> None:
    gateway = start(config=CONFIG.replace("accept: 300ms", "accept: 60s")).started()
    gateway.process.send_signal(signal.SIGTERM)
    until(lambda: gateway.ready() != "ready", 2)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.ended(4) == 0


def test_sigint_does_not_keep_accepting(start: Any) -> None:
    gateway = start(config=CONFIG.replace("accept: 300ms", "accept: 60s")).started()
    gateway.process.send_signal(signal.SIGINT)
    assert gateway.ended(4) == 0


def test_nothing_in_the_data_folder_is_open_to_others_and_no_log_holds_the_token(start: Any) -> None:
    gateway = start(config=CONFIG.replace(", token: a-token-for-the-tests", "")).started()
    found = re.findall(r"admin token \(kept in .*\): (tga_\S{43})\n", gateway.said)
    assert len(found) == 1
    data = gateway.folder / "tidegate-data"
    for path in [data, *data.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    holders = [p for p in data.rglob("*") if p.is_file() and found[0].encode() in p.read_bytes()]
    assert holders == [data / "admin-token"]
