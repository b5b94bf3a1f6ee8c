"""The official SDKs' own types, held against goldens: what a vendor's types do not know, we must not say."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any

import pydantic
import typing_extensions

LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)


def faults_of(kind: Any, value: Any, path: str = "") -> list[str]:
    """Where *value*, out of JSON, is not as *kind* says: made of TypedDicts, as the SDKs' request types are."""
    origin = typing.get_origin(kind)
    if origin in (typing.Required, typing.NotRequired, typing.Annotated) or origin in (
        typing_extensions.Required,
        typing_extensions.NotRequired,
    ):
        return faults_of(typing.get_args(kind)[0], value, path)
    if origin in (typing.Union, types.UnionType):
        return min((faults_of(one, value, path) for one in typing.get_args(kind)), key=len)
    if origin in (typing.Literal, typing_extensions.Literal):
        return [] if value in typing.get_args(kind) else [f"{path} = {value!r}"]
    if kind in (Any, object):
        return []
    if kind is None or kind is type(None):
        return [] if value is None else [f"{path} is not null"]
    if typing_extensions.is_typeddict(kind):
        return _faults_of_object(kind, value, path)
    if origin in LISTS:
        if not isinstance(value, list):
            return [f"{path} is no list"] * 2
        inner = typing.get_args(kind)[0]
        return [fault for at, one in enumerate(value) for fault in faults_of(inner, one, f"{path}[{at}]")]
    if origin in (dict, collections.abc.Mapping):
        inner = typing.get_args(kind)[1]
        if not isinstance(value, dict):
            return [f"{path} is no object"]
        return [fault for name, one in value.items() for fault in faults_of(inner, one, f"{path}.{name}")]
    if kind is float:
        kind = (int, float)
    if isinstance(kind, (type, tuple)):
        return [] if isinstance(value, kind) else [f"{path} is no {kind}"] * 2
    return []


def _faults_of_object(kind: Any, value: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} is no object"] * 3
    hints = typing_extensions.get_type_hints(kind, include_extras=True)
    found = [f"{path}.{name} is missing" for name in kind.__required_keys__ if name not in value]
    for name, one in value.items():
        found += faults_of(hints[name], one, f"{path}.{name}") if name in hints else [f"{path}.{name} is unknown"]
    return found


def extra_members(model: Any, path: str = "") -> list[str]:
    """Paths in a read pydantic *model* that its type does not have."""
    found: list[str] = []
    if isinstance(model, pydantic.BaseModel):
        found += [f"{path}.{name}" for name in model.model_extra or {}]
        for name in type(model).model_fields:
            found += extra_members(getattr(model, name), f"{path}.{name}")
    elif isinstance(model, list):
        for at, one in enumerate(model):
            found += extra_members(one, f"{path}[{at}]")
    return sorted(found)
