"""A new part touches no other file: it is dropped into its folder, and a config names it (ARCHITECTURE 5)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tidegate.assembly import parts
from tidegate.assembly.check import check

TEMPLATES = Path(__file__).parent / "templates"
NAME, CLASS = "brand_new_part", "BrandNewPart"

CONFIG = """
listeners: [{{address: "127.0.0.1:8080"}}]
data: {data}
upstreams:
  - name: one
    targets: [{{url: "http://127.0.0.1:9001"}}]
    balancer: {{use: {balancer}}}
routes:
  - name: all
    match: {{path: /}}
    filters: [{filters}]
    upstream: one
"""


def from_template(name: str) -> str:
    return (TEMPLATES / f"{name}.txt").read_text().replace("NAME", NAME).replace("CLASS", CLASS)


@pytest.fixture(params=sorted(parts.KINDS))
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A kind with one part more, in a folder of its own on the kind's path."""
    folder = str(request.param)
    package = importlib.import_module(f"tidegate.{folder}")
    (tmp_path / f"{NAME}.py").write_text(from_template(folder))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop(f"tidegate.{folder}.{NAME}", None)
    if hasattr(package, NAME):
        delattr(package, NAME)


def test_a_part_dropped_into_its_folder_is_known_and_loads(kind: str) -> None:
    assert NAME in parts.known(kind)
    loaded = parts.load(kind, NAME)
    assert (loaded.config.__name__, loaded.part.__name__) == ("Config", CLASS)


@pytest.mark.parametrize("kind", ["balancers", "filters"], indirect=True)
def test_a_config_that_names_it_is_built_with_it(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        CONFIG.format(
            data=tmp_path / "data",
            balancer=NAME if kind == "balancers" else "round_robin",
            filters=f"{{use: {NAME}}}" if kind == "filters" else "",
        )
    )
    plan = check(file, {}).built.plan
    if kind == "filters":
        assert plan.routes[0].filters == (NAME,)
        assert len(plan.routes[0].on_request_head) == 1
    else:
        assert type(plan.upstreams["one"].balancer).__name__ == CLASS


def test_the_test_that_make_new_writes_passes(kind: str) -> None:
    module = ModuleType(f"test_{NAME}")
    exec(compile(from_template(f"test_{kind}"), module.__name__, "exec"), module.__dict__)
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


# -- models ------------------------------------------------------------------------------------------------------------

MODELS = """
listeners: [{{address: "127.0.0.1:8080"}}]
data: {data}
providers:
  - {{name: mine, use: {provider}, api_key: a-key, price: free}}
models:
  - name: fast
    targets: [{{provider: mine, model: m}}]
    strategy: {{use: {strategy}}}
routes:
  - name: llm
    match: {{path: /v1}}
    llm: {{}}
"""

PROVIDER = '''"""Brand new, as data."""

from tidegate.ports.doors import openai_doors
from tidegate.ports.provider import Bearer, Preset


class BrandNewPart(Preset):
    title = "Brand new"
    base_url = "https://api.brand-new.example/v2"
    auth = Bearer(("BRAND_NEW_KEY",))
    doors = openai_doors("c")
'''


@pytest.mark.parametrize("kind", ["strategies"], indirect=True)
def test_a_model_is_tried_in_the_order_of_a_new_strategy(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "tidegate.yaml"
    file.write_text(MODELS.format(data=tmp_path / "data", provider="openai", strategy=NAME))
    plan = check(file, {}).built.plan.models
    assert plan is not None
    assert type(plan.models["fast"].strategy).__name__ == CLASS


def test_a_new_provider_is_one_file_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.import_module("tidegate.providers")
    (tmp_path / f"{NAME}.py").write_text(PROVIDER)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"tidegate.providers.{NAME}", raising=False)
    importlib.invalidate_caches()
    file = tmp_path / "tidegate.yaml"
    file.write_text(MODELS.format(data=tmp_path / "data", provider=NAME, strategy="fallback"))
    plan = check(file, {}).built.plan
    assert plan.models is not None
    assert plan.models.providers["mine"].doors["chat"].path == "/chat/completions"
    (target,) = plan.upstreams["provider:mine"].targets
    assert (target.scheme, target.host, target.port, target.base_path) == (
        "https", "api.brand-new.example", 443, "/v2")  # fmt: skip
