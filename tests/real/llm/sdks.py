"""Official SDKs, each in a program of its own: where their environments are, and how a job is given to one.

``make sdks`` makes the environments; ``TIDEGATE_SDKS``, ``TIDEGATE_SDKS_OLDER`` (a virtual environment) and
``TIDEGATE_SDKS_NPM`` (a folder with ``node_modules``) name others.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from real.processes import ROOT

SCRIPTS: Final = Path(__file__).parent / "sdk"
PATIENCE: Final = 90.0


def _python(variable: str, folder: str) -> Path:
    return Path(os.environ.get(variable) or ROOT / folder) / "bin" / "python"


PYTHON: Final = _python("TIDEGATE_SDKS", ".venv-sdks")
OLDER: Final = _python("TIDEGATE_SDKS_OLDER", ".venv-sdks-older")
NPM: Final = Path(os.environ.get("TIDEGATE_SDKS_NPM") or ROOT / ".npm-sdks")
LLMOCK: Final = PYTHON.parent / "llmock"
AIMOCK: Final = NPM / "node_modules" / ".bin" / "aimock"


def _need(there: bool, what: str) -> None:
    """Skip with the reason; in CI nothing is skipped."""
    if not there:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"{what}: make sdks")


def need_python() -> None:
    _need(PYTHON.exists(), "no environment with the official SDKs")


def need_older() -> None:
    _need(OLDER.exists(), "no environment with the older SDKs")


def need_npm() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    _need((NPM / "node_modules").is_dir(), "no folder with npm's SDKs")


def environment() -> dict[str, str]:
    """Nothing of the machine's own that an SDK would read."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "*"}


def run_python(script: str, job: dict[str, Any], python: Path = PYTHON) -> list[dict[str, Any]]:
    """What ``sdk/use_<script>.py`` says of each thing of *job*."""
    return _run([str(python), str(SCRIPTS / f"use_{script}.py"), json.dumps(job)], job, environment())


def run_node(script: str, job: dict[str, Any]) -> list[dict[str, Any]]:
    """What ``sdk/use_<script>.mjs`` says of each thing of *job*. Modules are found from where the script lies."""
    for name in ("job.mjs", f"use_{script}.mjs"):
        (NPM / name).write_text((SCRIPTS / name).read_text())
    place = NPM / f"use_{script}.mjs"
    return _run(["node", str(place), json.dumps(job)], job, environment())


def _run(command: list[str], job: dict[str, Any], env: dict[str, str]) -> list[dict[str, Any]]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(told) == len(job["do"]), f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return told
