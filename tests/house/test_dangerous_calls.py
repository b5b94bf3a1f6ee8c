"""What the build searches for: code from data, shells, and identities made elsewhere (RELIABILITY V5, invariant 7)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "tidegate"
FILES = sorted(SOURCE.rglob("*.py"))

CALLS = frozenset({"eval", "exec", "compile", "__import__", "input", "breakpoint"})
METHODS = frozenset({"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads"})
MODULES = frozenset({"pickle", "cPickle", "dill", "shelve", "marshal", "subprocess", "sqlite3", "pty", "commands"})

ALLOWED = {
    "control/demo.py: subprocess": "starts the demo's own upstreams and gateway; no argument comes from outside",
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
        if isinstance(node, ast.Call) and (called(node) in CALLS or called(node) in METHODS):
            yield f"{name}: {called(node)}"
        elif isinstance(node, ast.Call) and any(k.arg == "shell" for k in node.keywords):
            yield f"{name}: shell="
        elif isinstance(node, ast.Import):
            yield from (f"{name}: {alias.name}" for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield f"{name}: {node.module}"


def all_findings() -> set[str]:
    return {line for file in FILES for line in findings(file.relative_to(SOURCE).as_posix(), file.read_text())}


def test_v5_nothing_turns_data_into_code_or_a_command() -> None:
    assert sorted(all_findings() - ALLOWED.keys()) == []


def test_v5_what_is_allowed_is_still_there() -> None:
    assert sorted(ALLOWED.keys() - all_findings()) == []


def test_the_search_finds_what_it_looks_for() -> None:
    text = "import pickle\nfrom subprocess import run\neval('1')\nyaml.load(x)\nrun('x', shell=True)\n"
    assert sorted(findings("bad.py", text)) == [
        "bad.py: eval", "bad.py: pickle", "bad.py: shell=", "bad.py: subprocess", "bad.py: yaml.load"
    ]  # fmt: skip


def test_only_a_verifier_builds_an_identity() -> None:
    builders = {
        file.relative_to(SOURCE).as_posix()
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and called(node).rpartition(".")[2] == "Identity"
    }
    assert builders == VERIFIERS
