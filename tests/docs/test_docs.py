"""What the documents promise: configs that pass, commands that exist, links that lead somewhere, whole tables."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
import trustme

from docs import loss_table
from tidegate import cli
from tidegate.assembly import reference
from tidegate.assembly.check import Checked, check
from tidegate.control import demo
from tidegate.control.admin.app import make_app
from tidegate.control.admin.desk import Desk
from tidegate.control.data_folder import FOLDERS
from tidegate.exchange.record import Record
from tidegate.rules.surfaces import surface_of

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tidegate"
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("[!r]*/*.md")])
"""Everything people write; the configuration reference is written by a program."""
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
CURL_FLAGS = {"-i", "-k", "-N", "-H", "-s", "-X", "-d"}
TAKING_A_WORD = {"-H", "-X", "-d"}

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def blocks(file: Path, *kinds: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(file.read_text("utf-8")) if kind in kinds]


def prose(file: Path) -> str:
    return BLOCK.sub("", file.read_text("utf-8"))


def rows(file: Path, heading: str) -> list[list[str]]:
    """The cells of the first table under *heading*, without its two head lines."""
    section = file.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


# -- configs -----------------------------------------------------------------------------------------------------------

ADDED = {
    "listeners": "listeners: [{address: 127.0.0.1:8080}]",
    "consumers": "consumers: [{name: team-a, keys: [a-key-for-team-a]}]",
    "routes": "routes: [{name: models, match: {path: /}, filters: [{use: api_key}], llm: {}}]",
}
"""What a piece of a config about models is completed with, where it does not say it itself."""


def configs(file: Path) -> list[str]:
    """The configs of a document, whole: the pages about models show the part that they are about."""
    found = []
    for text in blocks(file, "yaml"):
        said = set(re.findall(r"^(\w+):", text, re.MULTILINE))
        if file.parent.name == "llm" and "listeners" not in said:
            text += "".join(f"{line}\n" for name, line in ADDED.items() if name not in said)
        found.append(text)
    return found


def keys_of(text: str) -> dict[str, str]:
    """An environment with every key that a config asks it for: without, targets are left out and ``check`` warns."""
    names = re.findall(r"\$\{(\w*(?:KEY|TOKEN|CREDENTIALS)\w*)(?::-)?\}", text)
    return dict.fromkeys(names, "a-key-of-a-provider")


CONFIGS = [
    pytest.param(text, id=f"{name_of(file)}-{number}") for file in WRITTEN for number, text in enumerate(configs(file))
]


def test_there_are_configs_to_check() -> None:
    assert len(CONFIGS) >= 5 and len(EXAMPLES) >= 6


@pytest.mark.parametrize("text", CONFIGS)
def test_every_config_in_the_documents_is_good(text: str, tmp_path: Path) -> None:
    file = tmp_path / "tidegate.yaml"
    file.write_text(text, "utf-8")
    assert check(file, keys_of(text)).warnings == []


def with_certificates(folder: Path) -> Path:
    """A copy of the examples with the certificates that ``tls.yaml`` tells its reader to make."""
    shutil.copytree(ROOT / "examples", folder, dirs_exist_ok=True)
    ca = trustme.CA()
    server = ca.issue_cert("localhost")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    server.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    (folder / "server.key").chmod(0o600)
    return folder


@pytest.mark.parametrize("example", [pytest.param(e, id=e.name) for e in EXAMPLES])
def test_every_example_is_good(example: Path, tmp_path: Path) -> None:
    environment = keys_of(example.read_text("utf-8"))
    assert check(with_certificates(tmp_path / "examples") / example.name, environment).warnings == []


def test_the_tls_example_tells_how_to_make_every_file_it_names() -> None:
    text = (ROOT / "examples" / "tls.yaml").read_text("utf-8")
    made = set(re.findall(r"-(?:out|keyout) (\S+)", text))
    named = set(re.findall(r"(?:cert|key|ca|client_ca): ([\w.]+)", text))
    assert named and named <= made


def test_every_example_is_listed_and_says_how_to_run_it() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    assert [e.name for e in EXAMPLES if f"(../examples/{e.name})" not in index] == []
    said = {e.name: f"{e.read_text('utf-8')}{index}" for e in EXAMPLES}
    assert [name for name, text in said.items() if not re.search(rf"(#   |`)tidegate run -c \S*{name}", text)] == []


# -- commands ----------------------------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, list[str]]]:
    """(where, words) of every command that a document or an example shows."""
    for file in WRITTEN:
        found = [line for block in blocks(file, "sh", "ini") for line in block.splitlines()]
        found += [text for text in QUOTED.findall(prose(file)) if re.match(r"(tidegate|make|curl) \S", text)]
        for line in found:
            line = re.sub(r"^Exec\w+=\S*/", "", line)
            for command in filter(None, line.split(" && ")):
                yield name_of(file), shlex.split(command)
    for example in EXAMPLES:
        for line in re.findall(r"^#   ((?:tidegate|curl) .*)", example.read_text("utf-8"), re.MULTILINE):
            yield name_of(example), shlex.split(line)


def flags_of(verb: str, rest: list[str]) -> set[str]:
    """The flags of *verb*, or of the verb under it that *rest* begins with (``keys show``)."""
    app = cli.app[verb]
    if app.default_command is None:
        if not rest or rest[0] not in app:
            return set()
        app = app[rest[0]]
    return {name for argument in app.assemble_argument_collection() for name in argument.names}


def test_every_verb_and_flag_shown_exists() -> None:
    verbs = {name for name in cli.app if not name.startswith("-")}
    wrong = []
    shown = [(where, words) for where, words in commands() if words[0] == "tidegate"]
    for where, (_, verb, *rest) in shown:
        flags = {word for word in rest if word.startswith("-")}
        if verb != "VERB" and (verb not in verbs or not flags <= flags_of(verb, rest) | {"--help"}):
            wrong.append((where, verb, flags))
    assert wrong == []
    assert {words[1] for _, words in shown} >= {"init", "check", "explain", "run", "reload"}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_make_target_shown_exists() -> None:
    shown = [(where, words[1]) for where, words in commands() if words[0] == "make"]
    assert len(shown) >= 8
    assert [(where, target) for where, target in shown if target not in targets()] == []


def test_every_module_that_is_run_exists() -> None:
    text = "\n".join(file.read_text("utf-8") for file in WRITTEN)
    modules = set(re.findall(r"python -m ([\w.]+)", text))
    assert "tidegate.assembly.reference" in modules
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


def test_the_first_two_commands_of_the_readme_are_run_and_test() -> None:
    first = [b.strip() for b in blocks(ROOT / "README.md", "sh") if b.startswith("make")]
    assert first == ["make run", "make test"] and {"run", "test"} <= targets()


def test_each_config_of_the_readme_is_read_in_a_minute() -> None:
    found = blocks(ROOT / "README.md", "yaml")
    assert len(found) == 2 and max(len(text.splitlines()) for text in found) <= 20


def admin_paths() -> set[str]:
    """What the admin API answers; making it asks its desk for nothing."""
    api = make_app(cast(Desk, None))
    return {*api.openapi()["paths"], str(api.openapi_url)}


def curl(words: list[str]) -> tuple[str, dict[str, str], str]:
    """The address, the fields and the body of a curl command."""
    address, fields, body = "", {}, ""
    rest = iter(words[1:])
    for word in rest:
        if word.startswith("-"):
            assert word in CURL_FLAGS, word
            value = next(rest) if word in TAKING_A_WORD else ""
            if word == "-H":
                name, _, text = value.partition(": ")
                fields[name.lower()] = text
            elif word == "-d":
                body = value
        else:
            address = word
    return address, fields, body


@pytest.fixture
def known(tmp_path: Path) -> dict[str, list[Checked]]:
    """For each document with curl lines the configs they may mean: the demo's and its own."""
    found: dict[str, list[Checked]] = {}
    for file in WRITTEN:
        if not any("curl " in block for block in blocks(file, "sh")):
            continue
        texts = [demo.CONFIG, *configs(file)]
        for number, text in enumerate(texts):
            path = tmp_path / f"{number}.yaml"
            path.write_text(text, "utf-8")
            found.setdefault(name_of(file), []).append(check(path, keys_of(text)))
    return found


def test_every_curl_line_reaches_something(known: dict[str, list[Checked]]) -> None:
    shown = [(where, *curl(words)) for where, words in commands() if words[0] == "curl" and where in known]
    assert len(shown) >= 10
    for where, address, fields, body in shown:
        parts = urlsplit(address)
        if parts.port == 9080:
            assert parts.path in admin_paths(), (where, address)
            continue
        assert parts.netloc == "127.0.0.1:8080", (where, address)
        plans = [checked.built.plan for checked in known[where]]
        method = "POST" if body else "GET"
        hits = [plan.router.find("127.0.0.1", parts.path, method, fields, parts.query) for plan in plans]
        assert any(hits) or parts.path == "/nothing", (where, address)


def test_every_call_of_a_model_shown_is_a_call_of_a_model_that_is_there(known: dict[str, list[Checked]]) -> None:
    count = 0
    for where, words in commands():
        address, _, body = curl(words) if words[0] == "curl" and where in known else ("", {}, "")
        if not body:
            continue
        path = urlsplit(address).path
        said = json.loads(body)
        name = surface_of("POST", path, {}).model or said["model"]
        configured = [model.name for checked in known[where] for model in checked.config.models]
        assert any(name == each or (each.endswith("*") and name.startswith(each[:-1])) for each in configured), where
        count += 1
    assert count >= 4


def test_keys_shown_in_the_readme_and_the_tutorial_are_keys_of_a_config_there(known: dict[str, list[Checked]]) -> None:
    for where, words in commands():
        if words[0] == "curl" and where in known:
            fields = curl(words)[1]
            key = fields.get("x-api-key") or fields.get("x-goog-api-key")
            if "authorization" in fields and "$(" not in fields["authorization"]:
                key = fields["authorization"].removeprefix("Bearer ")
            keys = {
                k if isinstance(k, str) else k.key
                for checked in known[where]
                for consumer in checked.config.consumers
                for k in consumer.keys
            }
            assert key is None or key in keys, (where, key)


# -- links, paths, tables ----------------------------------------------------------------------------------------------


def test_every_link_leads_somewhere() -> None:
    lost = []
    for file in WRITTEN:
        for link in LINK.findall(prose(file)):
            target = link.partition("#")[0]
            if target and "://" not in target and not (file.parent / target).exists():
                lost.append(f"{name_of(file)}: {link}")
    assert lost == []


def test_every_document_can_be_found_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text("utf-8")) if "://" not in link}
    documents = {*(ROOT / "docs").rglob("*.md")} - {index}
    assert sorted(name_of(d) for d in documents - linked) == []


def test_every_source_file_named_in_a_document_exists() -> None:
    files = {
        f.relative_to(ROOT).as_posix() for f in ROOT.rglob("*.py") if not f.relative_to(ROOT).parts[0].startswith(".")
    }
    made_up = {"src/tidegate/filters/my_filter.py"}
    lost = []
    for file in WRITTEN:
        for path in re.findall(r"`((?:[\w]+/)*[\w]+\.py)`", prose(file)):
            if path not in made_up and not any(f == path or f.endswith(f"/{path}") for f in files):
                lost.append(f"{name_of(file)}: {path}")
    assert lost == []


def test_the_configuration_reference_is_current() -> None:
    """As ``python -m tidegate.assembly.reference --check`` says."""
    assert (ROOT / "docs" / "reference" / "configuration.md").read_text("utf-8") == reference.page()


def test_the_table_of_losses_is_current_and_nothing_is_lost_in_silence() -> None:
    """As ``python tests/docs/loss_table.py`` prints it: a change of what gets lost is a change somebody reads."""
    page = loss_table.page()
    assert loss_table.IN_SILENCE not in page
    assert (ROOT / "docs" / "llm" / "losses.md").read_text("utf-8") == page


COUNTING = ("add", "gauge", "counter", "observe", "total", "histogram")


def exported() -> set[str]:
    """The names of all metrics that the code counts or reads."""
    found: set[str] = set()
    for file in SOURCE.rglob("*.py"):
        if file.is_relative_to(SOURCE / "rules"):
            continue  # rules only decide: what they add up are sums of their own
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in COUNTING and len(node.args) + len(node.keywords) > 1:
                    found.update(names_in(node.args[0]) if node.args else [])
            elif isinstance(node, ast.FunctionDef) and node.name in ("own_metrics", "_money_metrics"):
                found.update(
                    name for each in ast.walk(node) if isinstance(each, ast.Dict) for name in metric_keys(each)
                )
            elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "out":
                found.update(names_in(node.slice))
    return found | {"series_dropped_total"}


def names_in(node: ast.AST) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def metric_keys(node: ast.Dict) -> list[str]:
    """Keys whose values are made by ``gauge`` or ``counter``."""
    pairs = zip(node.keys, node.values, strict=True)
    return [name for key, value in pairs if key and isinstance(value, ast.Call) for name in names_in(key)]


def test_the_table_of_metrics_is_whole() -> None:
    table = {QUOTED.findall(cells[0])[0] for cells in rows(ROOT / "docs" / "operations.md", "Metrics")}
    assert table == exported()


def test_the_table_of_access_log_fields_is_whole() -> None:
    cells = rows(ROOT / "docs" / "operations.md", "The access log")
    named = [name for row in cells for name in QUOTED.findall(row[0])]
    assert sorted(named) == sorted(Record.__struct_fields__)


def test_the_table_of_the_data_folder_has_every_folder() -> None:
    cells: list[Any] = rows(ROOT / "docs" / "operations.md", "The data folder")
    named = " ".join(row[0] for row in cells)
    assert [folder for folder in FOLDERS if f"`{folder}/" not in named] == []


# -- words -------------------------------------------------------------------------------------------------------------


def test_no_figure_of_speed_stands_outside_the_results() -> None:
    speed = re.compile(r"\d\s?(?:µs|rps\b|req/s|krps|RPS)")
    assert [name_of(file) for file in WRITTEN if speed.search(file.read_text("utf-8"))] == []


def test_no_document_knows_where_it_was_written() -> None:
    place = re.compile(r"(?<![\w.])/(?:work|home|root|tmp|Users)/|pypi\.|files\.pythonhosted")
    assert [name_of(file) for file in [*WRITTEN, *EXAMPLES] if place.search(file.read_text("utf-8"))] == []


def test_decisions_are_numbered_without_gaps_and_have_their_four_parts() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [f.name[:4] for f in files] == [f"{n:04}" for n in range(1, len(files) + 1)]
    parts = ("**Faced.**", "**Chose.**", "**Refused.**", "**Would change our mind.**")
    assert [f.name for f in files if not all(p in f.read_text("utf-8") for p in parts)] == []
