"""Every provider is data and nothing else, and every one of them makes sense (LLM 8, rule 10)."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from tidegate.ports import provider as port
from tidegate.ports.doors import OPENAI_SHAPED
from tidegate.providers.presets import PLAIN, Plain

FOLDER = Path(__file__).parents[2] / "src" / "tidegate" / "providers"
FILES = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in ("__init__", "presets"))
SURFACES = set(port.Surface.__args__)  # type: ignore[attr-defined]
DIALECTS = {
    "", "openai_chat", "openai_responses", "openai_completions", "openai_embeddings", "anthropic_messages",
    "gemini_generate", "gemini_embeddings", "cohere_embeddings", "ollama_embeddings", "bedrock_converse", "cohere_chat",
    "ollama_chat",
}  # fmt: skip


ADDRESS = re.compile(r"(https://[a-z0-9.{}_-]+(:\d+)?|http://127\.0\.0\.1:\d+)(/[\w.{}/-]*)?|\{base_url\}").fullmatch


def preset(name: str) -> type[port.Preset]:
    module = importlib.import_module(f"tidegate.providers.{name}")
    found = getattr(module, "".join(word.capitalize() for word in name.split("_")))
    assert issubclass(found, port.Preset)
    return found


def test_there_are_more_than_a_hundred() -> None:
    names = [*FILES, *(row.name for row in PLAIN)]
    assert len(names) >= 150
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", FILES)
def test_a_provider_is_about_twenty_lines_without_a_function(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 40
    tree = ast.parse(text)
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda, ast.If, ast.For))]
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 1
    known = set(port.Preset.__annotations__)
    set_here = {target.id for node in classes[0].body if isinstance(node, ast.Assign)
                for target in node.targets if isinstance(target, ast.Name)}  # fmt: skip
    assert set_here <= known


@pytest.mark.parametrize("name", FILES)
def test_its_addresses_doors_and_date_make_sense(name: str) -> None:
    p = preset(name)
    assert p.title
    assert re.fullmatch(
        r"(https://[a-z0-9.{}_-]+(:\d+)?|http://127\.0\.0\.1:\d+)(/[\w.{}/-]*)?|\{base_url\}", p.base_url
    )
    assert not p.base_url.endswith("/")
    assert p.doors
    assert set(p.doors) <= SURFACES
    for door in p.doors.values():
        assert door.dialect in DIALECTS
        assert re.fullmatch(r"(/[\w.{}:-]+)*", door.path)
    assert p.checked[0] == "2026-11"
    assert p.checked[1] in (0, 1, 2)
    asked = set(re.findall(r"\{(\w+)\}", p.base_url)) | {
        inner for _, value in p.query for inner in re.findall(r"\{(\w+)\}", value)
    }
    assert set(p.defaults) >= asked - {"base_url", "region", "location", "project", "resource", "account", "host",
                                       "endpoint"}  # fmt: skip


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
def test_a_plain_row_makes_sense(row: Plain) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", row.name)
    assert re.fullmatch(r"https://[a-z0-9.-]+(/[\w./-]*[\w])?", row.base_url)
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", row.environment)
    assert set(row.serves.split()) <= {*OPENAI_SHAPED, "v"}
    assert row.seen in (0, 1, 2)
