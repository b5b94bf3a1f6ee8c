"""Parts by name: the only place that imports what a config names. Built-ins and strangers use the same door.

Kind = folder, ``use:`` = file name, class = its CamelCase, settings = ``Config`` in the same file. A name without a
file is looked for among the entry points of the group ``tidegate.<kind>``, whose value is a module made the same way.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from importlib import metadata
from typing import Any, Final, NamedTuple

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tidegate.assembly.problems import FieldPath, did_you_mean
from tidegate.ports.filter import HOOKS

KINDS: Final = {
    "filters": "filter", "balancers": "balancer", "discoveries": "discovery", "sinks": "sink", "strategies": "strategy",
    "repositories": "repository",
}  # fmt: skip
"""Kind (folder, entry point group) → what one is called."""
TOOLLESS: Final = frozenset({"strategies"})
"""Kinds that decide from values alone: their class is made from its ``Config`` and nothing else."""
BARE: Final = {"providers": "provider", "dialects": "dialect"}
"""The same of kinds that have no settings of their own: a file is one class, no more."""
REMEMBERED: Final = 100_000
"""Checked settings a shelf keeps; a worker's shelf sees every reload of its life."""
WAITING_HOOKS: Final = frozenset({"on_request_head", "on_request_body", "on_response_body"})
"""Hooks that may wait; the others run inside the relay or after the end."""


class PartError(Exception):
    """A part that cannot be used. ``path`` leads to the setting from where ``use`` stands."""

    def __init__(self, message: str, fix: str = "", path: FieldPath = ("use",)) -> None:
        super().__init__(message)
        self.fix: str = fix
        self.path: FieldPath = path


class PartErrors(Exception):
    """Everything that is wrong with one part's settings."""

    def __init__(self, errors: list[PartError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors: list[PartError] = errors


class Loaded(NamedTuple):
    """``Class(config, tools)`` makes a part from a ``Config``."""

    config: type[BaseModel]
    part: Callable[..., Any]


def class_name(use: str) -> str:
    """``rate_limit`` → ``RateLimit``."""
    return "".join(word.capitalize() for word in use.split("_"))


def known(kind: str) -> list[str]:
    """The names that ``use:`` may have for *kind*, without importing any of them."""
    try:
        package = importlib.import_module(f"tidegate.{kind}")
    except ModuleNotFoundError:
        return []
    files = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.ispkg and not m.name.startswith("_")]
    return sorted({*files, *(point.name for point in metadata.entry_points(group=f"tidegate.{kind}"))})


def load(kind: str, use: str) -> Loaded:
    """The part *use* of *kind*. ``PartError`` when there is none, or when it breaks the promises of its kind."""
    module = _import(kind, use)
    config = getattr(module, "Config", None)
    part = getattr(module, class_name(use), None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)) or not isinstance(part, type):
        raise PartError(f"the {KINDS[kind]} {use} lacks Config or {class_name(use)}", "mend its file")
    if kind == "filters":
        _check_hooks(use, part)
    return Loaded(config, part)


def load_class(kind: str, use: str) -> type:
    """The class *use* of a kind without settings. ``PartError`` when there is none."""
    found = getattr(_import(kind, use), class_name(use), None)
    if not isinstance(found, type):
        raise PartError(f"the {BARE[kind]} {use} lacks {class_name(use)}", "mend its file")
    return found


def _import(kind: str, use: str) -> Any:
    called = KINDS.get(kind) or BARE[kind]
    if not re.fullmatch("[a-z][a-z0-9_]{0,62}", use):
        raise PartError(f"there is no {called} called {use}", did_you_mean(use, known(kind)))
    name = f"tidegate.{kind}.{use}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing not in (name, f"tidegate.{kind}"):
            raise PartError(f"the {called} {use} needs {missing}, which is not installed",
                            _pip_line(missing)) from None  # fmt: skip
    for point in metadata.entry_points(group=f"tidegate.{kind}", name=use):
        try:
            return point.load()
        except ModuleNotFoundError as error:
            raise PartError(f"the {called} {use} needs {error.name}, which is not installed",
                            f"pip install {point.dist.name if point.dist else error.name}") from None  # fmt: skip
    raise PartError(f"there is no {called} called {use}", did_you_mean(use, known(kind)))


def _pip_line(module: str) -> str:
    """How to install *module*: the extra of ours that brings it, or its own name."""
    wanted = module.partition(".")[0].replace("_", "-").lower()
    try:
        requirements = metadata.requires("tidegate") or []
    except metadata.PackageNotFoundError:
        requirements = []
    for line in requirements:
        found = re.match(r"""([A-Za-z0-9._-]+)[^;]*;.*extra\s*==\s*["']([a-z0-9-]+)["']""", line)
        if found and found.group(1).replace("_", "-").lower() == wanted and found.group(2) not in ("all", "dev"):
            return f"pip install 'tidegate[{found.group(2)}]'"
    return f"pip install {wanted}"


def _check_hooks(use: str, part: type) -> None:
    for name in dir(part):
        if not name.startswith("on_"):
            continue
        if name not in HOOKS:
            raise PartError(f"the filter {use} has a hook {name}, which nothing calls", did_you_mean(name, HOOKS))
        if inspect.iscoroutinefunction(getattr(part, name)) and name not in WAITING_HOOKS:
            raise PartError(f"the hook {name} of the filter {use} must not be async", "make it a plain def")


class Shelf:
    """Parts already imported, and settings already checked: once for each distinct JSON (ARCHITECTURE 5)."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str], Loaded] = {}
        self._configs: dict[tuple[str, bytes], BaseModel] = {}
        self._encode = msgspec.json.Encoder().encode

    def load(self, kind: str, use: str) -> Loaded:
        """As the function :func:`load`, once."""
        loaded = self._loaded.get((kind, use))
        if loaded is None:
            loaded = self._loaded[kind, use] = load(kind, use)
        return loaded

    def key(self, use: str, settings: dict[str, Any]) -> bytes:
        """Equal for equal parts with equal settings."""
        return use.encode() + self._encode(settings)

    def config(self, kind: str, use: str, settings: dict[str, Any], key: bytes = b"") -> BaseModel:
        """The checked settings; *key* is that of :meth:`key`, if known. ``PartError`` or ``PartErrors``."""
        remembered = (kind, key or self.key(use, settings))
        config = self._configs.get(remembered)
        if config is None:
            model = self.load(kind, use).config
            try:
                config = model.model_validate(settings)
            except ValidationError as error:
                raise PartErrors([_part_error(model, e) for e in found_in(error)]) from None
            if len(self._configs) >= REMEMBERED:
                self._configs.clear()
            self._configs[remembered] = config
        return config

    def make(self, kind: str, use: str, settings: dict[str, Any], tools: Any, key: bytes = b"") -> Any:
        """One part. ``PartError`` or ``PartErrors``; what the part's constructor refuses is a ``PartError`` too."""
        config = self.config(kind, use, settings, key)
        part = self.load(kind, use).part
        try:
            return part(config) if kind in TOOLLESS else part(config, tools)
        except ValueError as error:
            raise PartError(str(error)) from None


def found_in(error: ValidationError) -> list[ErrorDetails]:
    """The errors in *error*, but for a list that is only too short because its items are bad."""
    errors = error.errors(include_url=False)
    inner = {e["loc"][:depth] for e in errors for depth in range(len(e["loc"]))}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in inner]


def describe(model: type[BaseModel] | None, error: ErrorDetails) -> tuple[FieldPath, str, str]:
    """(path, message, fix) of one pydantic *error* of *model*, in our words where they are plainer. The offending
    value is not repeated: it may be a secret."""
    path: FieldPath = tuple(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return path, "is not known here", did_you_mean(str(path[-1]), fields_at(model, path[:-1]))
    if kind == "missing":
        return path, "is missing", "add it"
    if kind == "value_error":
        return path, str(context.get("error", error["msg"])), ""
    if kind == "literal_error":
        return path, f"must be one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}", ""
    if kind == "string_pattern_mismatch":
        return path, f"must look like the pattern {context['pattern']}", ""
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return path, "must be a mapping", ""
    if kind in ("list_type", "tuple_type"):
        return path, "must be a list", ""
    if kind == "too_short":
        return path, f"needs at least {context['min_length']}, has {context['actual_length']}", ""
    if kind == "too_long":
        return path, f"may have at most {context['max_length']}", ""
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return path, message[:1].lower() + message[1:], ""


def fields_at(model: type[BaseModel] | None, path: FieldPath) -> list[str]:
    """The fields that a mapping at *path* of *model* may have; none when it is no model."""
    for step in path:
        if model is None:
            return []
        if isinstance(step, int):
            continue
        field = next((f for n, f in model.model_fields.items() if step in (n, f.alias)), None)
        model = _model_in(field.annotation) if field is not None else None
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model somewhere inside ``list[X]``, ``X | None``, ``Annotated[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        model = _model_in(inner)
        if model is not None:
            return model
    return None


def _part_error(model: type[BaseModel], error: ErrorDetails) -> PartError:
    path, message, fix = describe(model, error)
    return PartError(message, fix, path)
