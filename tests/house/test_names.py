"""Names, sizes and signs on the doors (ARCHITECTURE 2, 9, 10)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tidegate"
FILES = sorted(SOURCE.rglob("*.py"))

NOBODY_KNOWS = {"util", "utils", "common", "core", "helper", "helpers", "misc", "manager", "managers", "base", "shared"}
"""Names that say nothing of what is inside."""

LONGEST = 700
"""Lines of a source file; above 500 it should be cut at the next change."""
LONG = {
    "assembly/config.py": "one model for each section a config may have, in the order of the reference",
}

KINDS = ("filters", "balancers", "discoveries", "sinks", "authorities", "repositories")


def name_of(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def test_no_file_and_no_folder_has_a_name_that_says_nothing() -> None:
    assert [name_of(f) for f in FILES if NOBODY_KNOWS & {*f.relative_to(SOURCE).parent.parts, f.stem}] == []


def test_no_class_is_a_manager_or_a_helper() -> None:
    classes = [
        f"{name_of(file)}: {node.name}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?|Util)$", node.name)
    ]
    assert classes == []


def test_no_source_file_is_a_book() -> None:
    long = {name_of(file): len(file.read_text().splitlines()) for file in FILES}
    assert {name: lines for name, lines in long.items() if lines > LONGEST and name not in LONG} == {}


def test_every_module_says_at_its_door_what_may_be_in_it() -> None:
    silent = [
        name_of(file) for file in FILES if file.stat().st_size and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert silent == []


def test_every_folder_of_parts_has_a_short_readme() -> None:
    for kind in KINDS:
        readme = SOURCE / kind / "README.md"
        assert readme.exists(), kind
        assert len(readme.read_text().splitlines()) <= 15, kind


def test_field_names_are_lower_case_wherever_a_head_is_read() -> None:
    wrong = [
        f"{name_of(file)}:{number}"
        for file in FILES
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"""\.index\.get\(["'][^"']*[A-Z]""", line)
    ]
    assert wrong == []


DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign,
               ast.AnnAssign, ast.If, ast.Try)  # fmt: skip
REGISTERS_ON_ITS_OWN_CLASS = {"assembly/read.py"}


def test_importing_never_does_work() -> None:
    """At module level stand definitions and values; no loop, no ``with``, no call for its effect."""
    busy = {
        name_of(file)
        for file in FILES
        if file.name != "__main__.py"
        for node in ast.parse(file.read_text()).body
        if not isinstance(node, DEFINITIONS)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    }
    assert {name for name in busy - REGISTERS_ON_ITS_OWN_CLASS if not name.startswith("cli")} == set()


def test_no_file_tells_of_the_machine_it_was_written_on() -> None:
    told = re.compile(r"/work/|/root/|/home/[a-z]+/|/tmp/[a-z]+/")
    assert [name_of(file) for file in FILES if told.search(file.read_text())] == []
