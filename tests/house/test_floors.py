"""The floors of the house hold: who may import whom, and what the quiet rooms may not know of (ARCHITECTURE 2, 6)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tidegate"

QUIET = ("exchange", "wire", "rules", "ports", "balancers")
"""Rooms that decide from values alone: time and chance are arguments."""
LOUD = frozenset({"asyncio", "socket", "ssl", "time", "random", "secrets", "select", "selectors", "threading",
                  "multiprocessing", "subprocess", "uvloop"})  # fmt: skip
ALLOWED: dict[str, str] = {}
"""File → why it may import a loud module all the same."""

SOCKETS = ("engine/", "control/")
"""Rooms that may open sockets: the engine for traffic, control for operators and the link."""


def sources(*rooms: str) -> Iterator[Path]:
    for room in rooms or ("",):
        yield from sorted((SOURCE / room).rglob("*.py"))


def imported(file: Path) -> set[str]:
    """Top-level names of what *file* imports, except for type checking alone."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def name_of(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def test_every_room_imports_only_from_floors_below_it() -> None:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(is_debug_mode=False))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_quiet_rooms_take_time_and_chance_as_arguments() -> None:
    guilty = {name_of(file): sorted(imported(file) & LOUD) for file in sources(*QUIET) if imported(file) & LOUD}
    assert {name: what for name, what in guilty.items() if name not in ALLOWED} == {}


def test_only_the_engine_and_control_import_sockets() -> None:
    guilty = [name_of(file) for file in sources() if imported(file) & {"socket", "uvloop", "selectors"}]
    assert [name for name in guilty if not name.startswith((*SOCKETS, "cli", "discoveries/"))] == []


def test_the_engine_never_sees_a_config_and_only_parts_py_imports_by_name() -> None:
    assert [name_of(file) for file in sources("engine") if "pydantic" in imported(file)] == []
    by_name = [name_of(file) for file in sources() if "import_module(" in file.read_text()]
    assert [name for name in by_name if not name.startswith(("assembly/parts.py", "cli", "control/"))] == []


def test_a_stepped_part_awaits_nothing_but_its_tools() -> None:
    """What asyncio offers needs a Task; a part that is stepped inline has none (ARCHITECTURE 11). Catching its
    ``CancelledError`` is no waiting."""
    stepped = [file for file in sources("filters") if "stepped = True" in file.read_text()]
    assert stepped
    waiting = re.compile(
        r"^\s*(?:import (asyncio|anyio|httpx)|from (asyncio|anyio|httpx) import (?!CancelledError$))", re.M
    )
    assert [name_of(file) for file in stepped if waiting.search(file.read_text())] == []
