"""Every part keeps the promises of its kind, and every setting is explained where it is defined."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from types import ModuleType

import pytest
from pydantic import BaseModel

from tidegate.assembly import config, config_contexts, config_models, parts
from tidegate.ports.filter import HOOKS

PARTS = [(kind, use) for kind in parts.KINDS for use in parts.known(kind)]


def inside(kind: object) -> Iterator[type[BaseModel]]:
    """Every model that an annotation mentions."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for argument in typing.get_args(kind):
        yield from inside(argument)


def models(first: type[BaseModel], known: set[type[BaseModel]]) -> set[type[BaseModel]]:
    if first not in known:
        known.add(first)
        for field in first.model_fields.values():
            for model in inside(field.annotation):
                models(model, known)
    return known


def unexplained(model: type[BaseModel]) -> list[str]:
    return [
        f"{model.__module__}.{model.__name__}.{name}" for name, f in model.model_fields.items() if not f.description
    ]


@pytest.mark.parametrize(("kind", "use"), PARTS)
def test_every_part_loads_and_explains_its_settings(kind: str, use: str) -> None:
    loaded = parts.load(kind, use)
    assert loaded.config.model_config.get("frozen") is True
    assert loaded.config.model_config.get("extra") == "forbid"
    assert [line for model in models(loaded.config, set()) for line in unexplained(model)] == []


@pytest.mark.parametrize("use", parts.known("filters"))
def test_every_hook_of_a_filter_is_one_that_is_called(use: str) -> None:
    part = parts.load("filters", use).part
    assert [name for name in dir(part) if name.startswith("on_") and name not in HOOKS] == []


@pytest.mark.parametrize("home", [config, config_contexts, config_models], ids=lambda home: home.__name__)
def test_every_setting_of_the_gateway_is_explained(home: ModuleType) -> None:
    known = {m for _, m in inspect.getmembers(home, inspect.isclass) if issubclass(m, BaseModel)}
    assert known
    assert sorted(line for model in known if model.__module__ == home.__name__ for line in unexplained(model)) == []
