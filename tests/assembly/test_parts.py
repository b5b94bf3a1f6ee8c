from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from tidegate.assembly import parts
from tidegate.assembly.parts import PartError, PartErrors, Shelf, class_name, fields_at, known, load


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    level: int = Field(1, ge=0)
    secret: str = ""


class Inner(BaseModel):
    rate: int = 1


class Outer(BaseModel):
    limits: list[Inner] = []
    one: Inner | None = None


def place(monkeypatch: pytest.MonkeyPatch, kind: str, use: str, part: type, config: Any = Settings) -> None:
    module = ModuleType(f"tidegate.{kind}.{use}")
    vars(module).update({"Config": config, class_name(use): part})
    monkeypatch.setitem(sys.modules, module.__name__, module)


def refusal(kind: str, use: str) -> tuple[str, str]:
    with pytest.raises(PartError) as caught:
        load(kind, use)
    return str(caught.value), caught.value.fix


def test_a_class_is_called_like_its_file_in_camel_case() -> None:
    assert [class_name(n) for n in ("jwt", "rate_limit", "weighted_least_connections")] == [
        "Jwt", "RateLimit", "WeightedLeastConnections"]  # fmt: skip


def test_a_part_is_found_by_its_file() -> None:
    loaded = load("filters", "api_key")
    assert loaded.config.__module__ == "tidegate.filters.api_key"
    assert loaded.part.__name__ == "ApiKey"  # type: ignore[attr-defined]


def test_the_names_of_a_kind_are_its_files() -> None:
    assert {"api_key", "rate_limit", "headers"} <= set(known("filters"))
    assert {"power_of_two", "peak_ewma"} <= set(known("balancers"))
    assert known("nothing_of_the_sort") == []


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    assert refusal("filters", "api_kay") == ("there is no filter called api_kay", "did you mean api_key?")
    assert refusal("balancers", "peak_ewmaa") == ("there is no balancer called peak_ewmaa", "did you mean peak_ewma?")


@pytest.mark.parametrize("use", ["../x", "os.path", "API_KEY", "__init__", ""])
def test_a_name_is_never_a_way_elsewhere(use: str) -> None:
    assert refusal("filters", use)[0] == f"there is no filter called {use}"


def test_every_built_in_part_keeps_the_promises_of_its_kind() -> None:
    for kind in parts.KINDS:
        for use in known(kind):
            assert issubclass(load(kind, use).config, BaseModel), (kind, use)


def test_an_unknown_hook_is_a_build_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def on_request_haed(self, x: object) -> None: ...

    place(monkeypatch, "filters", "odd", Odd)
    assert refusal("filters", "odd") == (
        "the filter odd has a hook on_request_haed, which nothing calls", "did you mean on_request_head?")  # fmt: skip


def test_a_hook_of_the_relay_must_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        async def on_response_chunk(self, x: object, chunk: bytes, last: bool) -> bytes:
            return chunk

    place(monkeypatch, "filters", "odd", Odd)
    assert refusal("filters", "odd")[0] == "the hook on_response_chunk of the filter odd must not be async"


def test_a_file_without_config_or_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, "sinks", "odd", type("Other", (), {}), config=None)
    assert refusal("sinks", "odd") == ("the sink odd lacks Config or Odd", "mend its file")


def test_a_missing_extra_names_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_module(name: str) -> Any:
        raise ModuleNotFoundError("no", name="jsonschema_rs.inner")

    monkeypatch.setattr(parts, "importlib", SimpleNamespace(import_module=no_such_module))
    message = "the filter json_schema needs jsonschema_rs.inner, which is not installed"
    assert refusal("filters", "json_schema") == (message, "pip install 'tidegate[schema]'")


def test_strangers_come_in_by_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    class Foreign:
        pass

    module = SimpleNamespace(Config=Settings, Foreign=Foreign)
    point = SimpleNamespace(name="foreign", dist=None, load=lambda: module)

    def points(group: str, name: str = "foreign") -> list[Any]:
        return [point] if (group, name) == ("tidegate.filters", "foreign") else []

    monkeypatch.setattr(parts.metadata, "entry_points", points)
    assert load("filters", "foreign") == (Settings, Foreign)
    assert "foreign" in known("filters")
    with pytest.raises(PartError):
        load("sinks", "foreign")


def test_settings_are_checked_once_for_each_distinct_json(monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, "sinks", "odd", type("Odd", (), {}))
    shelf = Shelf()
    first = shelf.config("sinks", "odd", {"level": 2})
    assert shelf.config("sinks", "odd", {"level": 2}) is first
    assert shelf.config("sinks", "odd", {"level": 3}) is not first


def test_what_a_shelf_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, "sinks", "odd", type("Odd", (), {}))
    monkeypatch.setattr(parts, "REMEMBERED", 2)
    shelf = Shelf()
    first = shelf.config("sinks", "odd", {"level": 1})
    shelf.config("sinks", "odd", {"level": 2})
    shelf.config("sinks", "odd", {"level": 3})
    assert shelf.config("sinks", "odd", {"level": 1}) is not first


def test_bad_settings_are_said_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, "sinks", "odd", type("Odd", (), {}))
    with pytest.raises(PartErrors) as caught:
        Shelf().config("sinks", "odd", {"level": -1, "levle": 2, "secret": ["hunter2"]})
    assert [(e.path, str(e), e.fix) for e in caught.value.errors] == [
        (("level",), "should be greater than or equal to 0", ""),
        (("secret",), "should be a valid string", ""),
        (("levle",), "is not known here", "did you mean level?"),
    ]


def test_what_a_constructor_refuses_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def __init__(self, config: Settings, tools: object) -> None:
            raise ValueError("the file is not there")

    place(monkeypatch, "sinks", "odd", Odd)
    with pytest.raises(PartError, match="the file is not there"):
        Shelf().make("sinks", "odd", {}, None)


def test_the_fields_of_a_nested_model_are_found_by_path() -> None:
    assert fields_at(Outer, ()) == ["limits", "one"]
    assert fields_at(Outer, ("limits", 3)) == ["rate"]
    assert fields_at(Outer, ("one",)) == ["rate"]
    assert fields_at(Outer, ("nothing",)) == []
    assert fields_at(None, ()) == []
