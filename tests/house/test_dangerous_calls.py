"""What the build searches for: code from data, shells, and identities made elsewhere (RELIABILITY V5, invariant 7)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tidegate"
FILES = sorted(SOURCE.rglob("*.py"))

CALLS = frozenset({"eval", "exec", "compile", "__import__", "input", "breakpoint"})
METHODS = re.compile(
    r"os\.(system|popen|startfile|(exec|spawn|posix_spawn)\w*)|yaml\.(unsafe_|full_)?load(_all)?"
    r"|(asyncio|loop|self\.loop)\.(create_)?subprocess_\w+|builtins\.\w+"
)
MODULES = frozenset(
    {"pickle", "cPickle", "dill", "shelve", "marshal", "subprocess", "sqlite3", "pty", "code", "ctypes"}
)
HIDING = frozenset({"os", "yaml", "builtins"})
"""Modules whose dangerous names would not be seen if they were imported one by one."""

ALLOWED = {
    "control/upgrade.py: os.execve": "the same program with the same arguments, for an upgrade in place",
    "control/upgrade.py: os.posix_spawn": "the same program, to see whether the new version starts",
    "engine/guard.py: ctypes": "malloc_trim, which Python does not offer; no data goes in",
    "control/demo.py: subprocess": "starts the demo's own upstreams and gateway; no argument comes from outside",
    "control/local_model.py: subprocess": "starts the demo's small model; no argument comes from outside",
    "control/token_child.py: subprocess": "starts this program's own counter; texts go in by a pipe, in frames",
    "control/books_store.py: sqlite3": "statements are constants and names of columns; every value is a parameter",
    "repositories/sqlite.py: sqlite3": "as the books: statements are constants, every value is a parameter",
    "repositories/_sqlite_tables.py: sqlite3": "as the books: statements are constants, every value is a parameter",
    "control/reload.py: yaml.load": "with CSafeLoader, of the operator's own file",
}
"""Place: finding → why it is harmless."""

VERIFIERS = {"filters/api_key.py", "filters/basic.py", "filters/hmac.py", "filters/jwt.py", "filters/mtls.py"}
"""The only files that may build an Identity."""


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def findings(name: str, text: str) -> Iterator[str]:
    """What *text*, the source file *name*, does that it should not."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and (called(node) in CALLS or METHODS.fullmatch(called(node))):
            yield f"{name}: {called(node)}"
        elif isinstance(node, ast.Call) and any(k.arg == "shell" for k in node.keywords):
            yield f"{name}: shell="
        elif isinstance(node, ast.Import):
            yield from (f"{name}: {alias.name}" for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES | HIDING:
            yield f"{name}: {node.module}"


def all_findings() -> set[str]:
    return {line for file in FILES for line in findings(file.relative_to(SOURCE).as_posix(), file.read_text())}


def test_v5_nothing_turns_data_into_code_or_a_command() -> None:
    assert sorted(all_findings() - ALLOWED.keys()) == []


def test_v5_what_is_allowed_is_still_there() -> None:
    assert sorted(ALLOWED.keys() - all_findings()) == []


def test_the_search_finds_what_it_looks_for() -> None:
    text = "import pickle\nfrom subprocess import run\nfrom os import system\neval('1')\nyaml.load(x)\nos.execv(x, y)\n"
    text += "run('x', shell=True)\nasyncio.create_subprocess_exec(x)\nre.compile(x)\n"
    assert sorted(findings("bad.py", text)) == [
        "bad.py: asyncio.create_subprocess_exec", "bad.py: eval", "bad.py: os", "bad.py: os.execv", "bad.py: pickle",
        "bad.py: shell=", "bad.py: subprocess", "bad.py: yaml.load",
    ]  # fmt: skip


def test_only_a_verifier_builds_an_identity() -> None:
    builders = {
        file.relative_to(SOURCE).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and called(node).rpartition(".")[2] == "Identity"
    }
    assert builders == VERIFIERS


def test_nobody_knows_the_identity_by_another_name() -> None:
    renamed = [
        file.relative_to(SOURCE).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and any(a.name == "Identity" and a.asname for a in node.names)
    ]
    assert renamed == []
