from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tidegate import __version__
from tidegate.__main__ import main

EXAMPLE = str(Path(__file__).parents[1] / "examples" / "http.yaml")


def program(*words: str, cwd: Path | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", *words], capture_output=True, text=True, cwd=cwd, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_the_program_answers_for_its_version_without_the_command_line() -> None:
    code = "import sys; from tidegate.__main__ import main; main(['version']); print('cyclopts' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"tidegate {__version__}\nFalse\n"


def test_importing_the_command_line_imports_no_machinery() -> None:
    code = "import sys; import tidegate.cli; print({'pydantic', 'yaml', 'uvloop', 'fastapi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n"


def test_exit_codes_reach_the_shell(tmp_path: Path) -> None:
    assert program("check", "-q", "-c", EXAMPLE) == (0, "", "")
    code, out, err = program("run", cwd=tmp_path)
    assert (code, out) == (78, "") and "tidegate init" in err
    assert program("bogus")[0] == 2


def test_a_bad_config_stops_the_start_with_78_and_its_place(tmp_path: Path) -> None:
    (tmp_path / "tidegate.yaml").write_text("listeners: [\n")
    code, _, err = program("run", cwd=tmp_path)
    assert code == 78 and "tidegate.yaml:2: " in err


def test_main_takes_its_words_from_the_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tidegate", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"tidegate {__version__}\n"
