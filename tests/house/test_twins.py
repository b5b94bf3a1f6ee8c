"""Every source file has its twin test (ARCHITECTURE 8)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tidegate"
TESTS = ROOT / "tests"

WITHOUT_TWIN = {
    "__main__.py": "calls cli; the journeys start it",
    "control/birth.py": "values only",
    "ports/authority.py": "promises only",
    "ports/balancer.py": "promises only",
    "ports/books.py": "promises only",
    "ports/consumers.py": "promises only",
    "ports/context_store.py": "promises only",
    "ports/contexts.py": "values only",
    "ports/dialect.py": "promises only",
    "ports/discovery.py": "promises only",
    "ports/filter.py": "promises only",
    "ports/models.py": "values only",
    "ports/plan.py": "values only",
    "ports/provider.py": "values only",
    "ports/sink.py": "promises only",
    "ports/strategy.py": "promises only",
    "ports/tokens.py": "promises only",
    "ports/tools.py": "promises only",
    "exchange/chat.py": "values only",
    "exchange/context_policy.py": "values only",
    "exchange/identity.py": "values only",
    "exchange/ledger.py": "values only",
    "exchange/record.py": "values only",
}
"""Source file → why it needs no test of its own."""


def twin(file: Path) -> Path:
    place = file.relative_to(SOURCE)
    return TESTS / place.parent / f"test_{place.name}"


TOGETHER = {"providers": "providers/test_every_provider.py"}
"""Folder of data → the one test that reads every file in it: a new one touches no other file."""


def test_every_source_file_has_its_twin() -> None:
    assert [test for test in TOGETHER.values() if not (TESTS / test).exists()] == []
    missing = [
        f"{file.relative_to(SOURCE).as_posix()} wants {twin(file).relative_to(ROOT).as_posix()}"
        for file in sorted(SOURCE.rglob("*.py"))
        if file.name != "__init__.py"
        and file.parent.name not in TOGETHER
        and file.relative_to(SOURCE).as_posix() not in WITHOUT_TWIN
        and not twin(file).exists()
    ]
    assert missing == []


def test_what_needs_no_twin_is_still_there() -> None:
    assert [name for name in WITHOUT_TWIN if name != "__main__.py" and not (SOURCE / name).exists()] == []


def test_an_init_file_holds_a_docstring_and_nothing_to_test() -> None:
    long = [file for file in SOURCE.rglob("__init__.py") if len(file.read_text().splitlines()) > 8]
    assert [file.relative_to(SOURCE).as_posix() for file in long] == []


def test_no_folder_of_tests_is_a_package() -> None:
    assert list(TESTS.rglob("__init__.py")) == []
