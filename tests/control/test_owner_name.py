"""A worker's name says which process it was: only one that is surely dead is told so (CRP 5.2)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tidegate.control import owner_name as module
from tidegate.control.owner_name import has_died, owner_name

NAME = "from tidegate.control.owner_name import owner_name; print(owner_name(), flush=True); input()"


def test_a_process_is_told_dead_once_it_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        name = child.stdout.readline().decode().strip()
        assert name.startswith(f"{child.pid}:")
        assert has_died(name) is False
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert has_died(name) is True


def test_who_lives_is_not_dead() -> None:
    assert has_died(owner_name()) is False


def test_a_pid_that_is_used_anew_was_another_process() -> None:
    pid, _, rest = owner_name().split(":", 2)
    assert has_died(f"{pid}:1:{rest}") is True


@pytest.mark.parametrize(
    "owner", ["", "host:77", "x:1:p:h", "-1:5:p:h", "0:1:elsewhere/1:h", "4000000:1:elsewhere/1:h", "9" * 40 + ":1:p:h"]
)
def test_who_cannot_be_judged_from_here_counts_as_living(owner: str) -> None:
    assert has_died(owner) is False


def test_another_machine_of_the_same_name_is_not_judged() -> None:
    _, start, place, host = owner_name().split(":", 3)
    assert has_died(f"4194304999:{start}:other/1:{host}") is False
    assert has_died(f"4194304:{start}:{place}:other") is False


def test_without_proc_nobody_is_told_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PROC", tmp_path)
    name = owner_name()
    assert name.startswith(f"{os.getpid()}:::")
    assert has_died(name) is False
