"""The wheel's list of modules: what is compiled, what is not and why."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tidegate"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """hatch_build.py, with a stand-in for the build tool, which is only there while building."""
    stand_in = ModuleType("hatchling.builders.hooks.plugin.interface")
    stand_in.BuildHookInterface = type("BuildHookInterface", (), {"__class_getitem__": classmethod(lambda c, _: c)})  # type: ignore[attr-defined]
    for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_exception_is_a_file_that_exists_and_gives_its_reason(hook: ModuleType) -> None:
    assert [name for name in hook.INTERPRETED if not (SOURCE / name).exists()] == []
    assert all(hook.INTERPRETED.values())


def test_what_is_compiled_lies_in_the_compiled_rooms(hook: ModuleType) -> None:
    found = hook.modules(SOURCE)
    assert "tidegate/rules/gcra.py" in found
    assert not {name for name in found if name.split("/")[1] not in hook.ROOMS}
    assert not {f"tidegate/{name}" for name in hook.INTERPRETED} & set(found)


def test_a_wheel_is_pure_when_asked_to_be(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    build = object.__new__(hook.CustomBuildHook)
    build.target_name = "wheel"
    build.app = ModuleType("app")
    build.app.display_info = said.append
    monkeypatch.setenv("TIDEGATE_PURE", "1")
    data: dict[str, object] = {}
    build.initialize("standard", data)
    assert (data, said) == ({}, ["tidegate: pure wheel, because TIDEGATE_PURE is set"])
    assert build.dependencies() == []


def test_what_msgspec_or_pydantic_makes_is_not_compiled(hook: ModuleType) -> None:
    """mypyc passes over the options of their metaclasses without a word."""
    made = re.compile(r"^class \w+\((msgspec\.Struct|Struct|BaseModel)\b", re.M)
    files = [SOURCE.parent / name for name in hook.modules(SOURCE)]
    assert [file.name for file in files if made.search(file.read_text())] == []


def test_nothing_waits_inside_a_handler_that_is_compiled(hook: ModuleType) -> None:
    """mypyc leaves the exception with the thread then: every later one hangs on to it, and a worker grows for ever."""
    found = []
    for file in (SOURCE.parent / name for name in hook.modules(SOURCE)):
        for each in ast.walk(ast.parse(file.read_text())):
            if isinstance(each, ast.Try):
                inside = [line for handler in each.handlers for line in handler.body] + each.finalbody
                waits = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncWith, ast.AsyncFor)
                found += [f"{file.name}:{w.lineno}" for one in inside for w in ast.walk(one) if isinstance(w, waits)]
    assert found == []


def test_no_interpreted_class_derives_from_a_compiled_one(hook: ModuleType) -> None:
    """It cannot: making one of them is a TypeError, in a wheel only. Protocols promise, they are no parents."""
    compiled = {name.removesuffix(".py").replace("/", ".") for name in hook.modules(SOURCE)}
    found = []
    for file in SOURCE.rglob("*.py"):
        if f"tidegate.{'.'.join(file.relative_to(SOURCE).with_suffix('').parts)}" in compiled:
            continue
        tree = ast.parse(file.read_text())
        parents: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in compiled:
                parents |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        for node in ast.walk(tree):
            for base in node.bases if isinstance(node, ast.ClassDef) else ():
                parent = parents.get(ast.unparse(base).partition("[")[0])
                if parent is not None and not protocol(parent):
                    found.append(f"{file.name}: {parent}")
    assert found == []


def protocol(parent: str) -> bool:
    module, _, name = parent.rpartition(".")
    return bool(getattr(getattr(import_module(module), name), "_is_protocol", False))
