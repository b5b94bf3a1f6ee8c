"""Files become one tree: YAML or JSON, includes merged, ``${...}`` put in. Nothing in here knows what a field means.

Lines are looked up only when there is something to say about them: reading a good config costs nothing for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tidegate.assembly.problems import ConfigError, FieldPath, Problem, field_path

MAX_FILE: Final = 256 << 20
"""Bytes of one file: a million consumers fit, a wrong device file does not."""
MAX_SECRET: Final = 64 << 10
"""Bytes of a file named by ``${file:...}``."""
MAX_NODES: Final = 2_000_000
"""Values after every alias of a YAML file has been followed; aliases of aliases grow without bound."""
MAX_LINES: Final = 32 << 20
"""Bytes of a file whose lines are still looked up for a message."""
INCLUDED: Final = ("upstreams", "consumers", "routes", "trusted_proxies")
"""What an included file may bring."""

_REFERENCE: Final = re.compile(r"\$(\$?)\{([^{}]*)\}")
_NAME: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,254})(?::-(.*))?", re.DOTALL)


class BadReference(ValueError):
    """A ``${...}`` that leads nowhere. The text names it and never its value."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix: str = fix


class SourceFile:
    """One file as read; ``name`` is what messages call it."""

    def __init__(self, path: Path, name: str, data: bytes) -> None:
        self.path = path
        self.name = name
        self.data = data
        self._root: yaml.Node | None = None
        self._composed: bool = False

    def line_of(self, path: FieldPath) -> int:
        """The line of the field at *path*, or of the nearest thing around it; 0 when it cannot be told."""
        if not self._composed:
            self._composed = True
            try:
                self._root = yaml.compose(self.data, Loader=_Loader) if len(self.data) <= MAX_LINES else None
            except (yaml.YAMLError, RecursionError):
                self._root = None
        node = self._root
        if node is None:
            return 0
        line = node.start_mark.line + 1
        for step in path:
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == str(step)]
                if not found:
                    break
                line, node = found[-1][0].start_mark.line + 1, found[-1][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        return line


class Source:
    """A config as written: the merged tree, its files, and where what came from.

    tree        the merged config with every reference put in: to be validated
    references  path in the tree → the text as written, for every value with a ``${...}`` in it
    warnings    what is allowed but unwise
    """

    def __init__(self, main: SourceFile, tree: dict[str, Any]) -> None:
        self.main = main
        self.files: list[SourceFile] = [main]
        self.tree = tree
        self.references: dict[FieldPath, str] = {}
        self.warnings: list[Problem] = []
        self._origins: dict[str, list[tuple[int, SourceFile]]] = {}
        """List → (index of its first item in the merged list, file), ascending."""

    @property
    def folder(self) -> Path:
        """Relative paths start here."""
        return self.main.path.parent

    def own(self, path: FieldPath) -> tuple[SourceFile, FieldPath]:
        """The file that holds the field at *path* of the merged tree, and its path in there."""
        if len(path) > 1 and isinstance(path[1], int):
            for first, file in reversed(self._origins.get(str(path[0]), ())):
                if path[1] >= first:
                    return file, (path[0], path[1] - first, *path[2:])
        return self.main, path

    def problem(self, path: FieldPath, message: str, fix: str = "") -> Problem:
        """*message* about the field at *path* of the merged tree."""
        file, inner = self.own(path)
        return Problem(file.name, file.line_of(inner), field_path(inner), message, fix)

    def merge(self, file: SourceFile, tree: dict[str, Any]) -> list[Problem]:
        """Append the lists of an included *file*."""
        problems: list[Problem] = []
        self.files.append(file)
        for key, items in tree.items():
            if key not in INCLUDED:
                fix = f"keep {key} in {self.main.name}; included files hold {' '.join(INCLUDED)}"
                problems.append(Problem(file.name, file.line_of((key,)), key, "this cannot be included", fix))
            elif not isinstance(items, list):
                problems.append(Problem(file.name, file.line_of((key,)), key, "this must be a list"))
            else:
                present = self.tree.get(key)
                merged: list[Any] = present if isinstance(present, list) else []
                self.tree[key] = merged
                self._origins.setdefault(key, []).append((len(merged), file))
                merged += items
        return problems


def read(path: Path, environment: Mapping[str, str]) -> Source:
    """The config at *path*, whole. ``ConfigError`` when a file cannot be read, parsed, included or completed."""
    path = path.absolute()
    main = _open(path, path.name)
    tree = _parse(main)
    source = Source(main, tree)
    problems: list[Problem] = []
    _put_in(source, main, tree, (), environment, problems)
    included = tree.get("include") or []
    for number, name in enumerate(included if isinstance(included, list) else []):
        if not isinstance(name, str):
            continue
        try:
            file = _open(source.folder / name, name)
            part = _parse(file)
        except ConfigError as error:
            at = main.line_of(("include", number))
            problems += [p if p.line else Problem(main.name, at, f"include[{number}]", p.message, p.fix)
                         for p in error.problems]  # fmt: skip
            continue
        problems += source.merge(file, part)
        for key in INCLUDED:
            if isinstance(part.get(key), list):
                start = len(tree[key]) - len(part[key])
                _put_in(source, file, part[key], (key,), environment, problems, start)
    if problems:
        raise ConfigError(problems)
    return source


def _open(path: Path, name: str) -> SourceFile:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        fix = "tidegate init writes a first one" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError([Problem(name, 0, "", f"cannot be read: {error.strerror}", fix)]) from None
    if len(data) > MAX_FILE:
        raise ConfigError([Problem(name, 0, "", f"is larger than {MAX_FILE >> 20} MiB")])
    return SourceFile(path, name, data)


def _parse(file: SourceFile) -> dict[str, Any]:
    """The file's top-level mapping."""
    tree = _parse_json(file) if file.path.suffix == ".json" else _parse_yaml(file)
    if tree is None:
        raise ConfigError([Problem(file.name, 1, "", "is empty", "tidegate init writes a first one")])
    if not isinstance(tree, dict):
        raise ConfigError([Problem(file.name, 1, "", "must be a mapping of sections, like routes: and upstreams:")])
    return tree


# -- JSON --------------------------------------------------------------------------------------------------------------


class _Twice(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return result


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _parse_json(file: SourceFile) -> Any:
    try:
        return json.loads(file.data.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise ConfigError([Problem(file.name, error.lineno, "", f"is not JSON: {error.msg}")]) from None
    except _Twice as error:
        message = f"the key {error} stands twice in one object"
        raise ConfigError([Problem(file.name, _repeated(file, str(error)), "", message, "keep one")]) from None
    except UnicodeDecodeError as error:
        line = file.data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file.name, line, "", "is not UTF-8")]) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError([Problem(file.name, 1, "", f"is not JSON: {reason}")]) from None


def _repeated(file: SourceFile, name: str) -> int:
    """The line where the key *name* stands for the second time in one object."""
    if len(file.data) > MAX_LINES:
        return 1
    try:
        waiting = [yaml.compose(file.data, Loader=_Loader)]
    except yaml.YAMLError:
        return 1
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            again = [key for key, _ in node.value if key.value == name][1:]
            if again:
                return int(again[0].start_mark.line) + 1
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return 1


# -- YAML --------------------------------------------------------------------------------------------------------------


class _Loader(yaml.CSafeLoader):
    """YAML as people read it: the JSON-like words of YAML 1.2 (so ``on`` and ``off`` are words and 12:30 is no number),
    keys once, keys as text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        pairs = node.value
        keys = [key.value for key, _ in pairs]
        if len(set(map(str, keys))) != len(keys):
            seen: set[str] = set()
            for key, _ in pairs:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} stands twice in one mapping", key.start_mark
                    )
                seen.add(str(key.value))
        for key, _ in pairs:
            if key.tag == "tag:yaml.org,2002:merge":
                self.flatten_mapping(node)
                break
        construct = self.construct_object
        result: dict[Any, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            result[key.value] = construct(value, deep=True)
        return result

    def construct_yaml_map(self, node: yaml.MappingNode) -> Any:
        data: dict[Any, Any] = {}
        yield data
        data.update(self.construct_mapping(node))


_WORDS: Final[tuple[tuple[str, str, str], ...]] = (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"^[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", "-+0123456789"),
    ("tag:yaml.org,2002:merge", r"^<<$", "<"),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", "~nN"),
)
for _tag, _pattern, _first in _WORDS:
    for _letter in [*_first, *([""] if _tag.endswith("null") else [])]:
        _Loader.yaml_implicit_resolvers.setdefault(_letter, []).append((_tag, re.compile(_pattern)))
_Loader.yaml_constructors = {
    **yaml.CSafeLoader.yaml_constructors,
    "tag:yaml.org,2002:map": _Loader.construct_yaml_map,
}


def _parse_yaml(file: SourceFile) -> Any:
    loader: Any = None
    try:
        loader = _Loader(file.data)
        tree = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        message = error.problem or "is not YAML"
        if "recursive" in message:
            message = "an alias stands inside what it names"
        fix = "keep one" if "stands twice" in message else "look for tabs, a missing colon or quote, wrong indentation"
        raise ConfigError([Problem(file.name, line, "", message, fix)]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        at = getattr(error, "position", getattr(error, "start", 0)) or 0
        line = file.data.count(b"\n", 0, at) + 1
        raise ConfigError([Problem(file.name, line, "", "is not UTF-8 text", "save the file as UTF-8")]) from None
    except RecursionError:
        raise ConfigError([Problem(file.name, 1, "", "is nested too deeply")]) from None
    except ValueError as error:
        raise ConfigError([Problem(file.name, 1, "", f"is not YAML: {error}")]) from None
    finally:
        if loader is not None:
            loader.dispose()
    if b"&" in file.data and b"*" in file.data and _size(tree, {}) > MAX_NODES:
        raise ConfigError([Problem(file.name, 1, "", "its aliases make it too large", "write the values out")])
    return _unshared(tree) if b"&" in file.data else tree


def _size(value: Any, known: dict[int, int]) -> int:
    """Values under *value* when every alias is followed."""
    if not isinstance(value, (dict, list)):
        return 1
    size = known.get(id(value))
    if size is None:
        size = 1 + sum(_size(item, known) for item in (value.values() if isinstance(value, dict) else value))
        known[id(value)] = size
    return size


def _unshared(value: Any) -> Any:
    """A copy in which no two places share a mapping or list, so that each can be edited alone."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item) for item in value]
    return value


# -- references --------------------------------------------------------------------------------------------------------


def resolve(text: str, environment: Mapping[str, str], folder: Path, warn: Callable[[str], None] | None = None) -> str:
    """*text* with its references put in: ``${NAME}``, ``${NAME:-default}``, ``${file:/path}``; ``$${`` stands for
    ``${`` itself. Raises ``BadReference``: an unset or empty variable or file is an error, because a silent empty
    credential is worse."""

    def replace(match: re.Match[str]) -> str:
        if match.group(1):
            return match.group()[1:]
        inner = match.group(2)
        if inner.startswith("file:"):
            return _secret(folder / inner[5:], inner[5:], warn)
        named = _NAME.fullmatch(inner)
        if named is None:
            raise BadReference("a reference is written ${NAME}, ${NAME:-default} or ${file:/path}",
                               "write $${ for a literal ${")  # fmt: skip
        name, default = named.groups()
        value = environment.get(name, "")
        if value:
            return value
        if default is not None:
            return str(default)
        state = "is set but empty" if name in environment else "is not set"
        raise BadReference(f"the environment variable {name} {state}",
                           f"set {name}, or write ${{{name}:-default}}")  # fmt: skip

    return _REFERENCE.sub(replace, text)


def _secret(path: Path, name: str, warn: Callable[[str], None] | None) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SECRET + 1)
            mode = path.stat().st_mode
    except OSError as error:
        raise BadReference(f"the file {name} cannot be read: {error.strerror}", "check its path and mode") from None
    if warn is not None and mode & 0o004:
        warn(f"the file {name} can be read by every user of this machine")
    if len(data) > MAX_SECRET:
        raise BadReference(f"the file {name} is larger than {MAX_SECRET >> 10} KiB", "name the right file")
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise BadReference(f"the file {name} is not UTF-8 text", "name the right file") from None
    if not text:
        raise BadReference(f"the file {name} is empty", "write the secret into it")
    return text


def resolve_tree(value: Any, environment: Mapping[str, str], folder: Path) -> Any:
    """A copy of *value* with every reference in it put in. Raises ``BadReference``."""
    if isinstance(value, str):
        return resolve(value, environment, folder) if "${" in value else value
    if isinstance(value, dict):
        return {key: resolve_tree(item, environment, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve_tree(item, environment, folder) for item in value]
    return value


def _put_in(
    source: Source, file: SourceFile, tree: Any, path: FieldPath, environment: Mapping[str, str],
    problems: list[Problem], start: int = 0,
) -> None:  # fmt: skip
    """Put the references of *tree*, which stands at *path* of the merged config, in place."""
    if b"${" not in file.data:
        return

    def visit(container: Any, key: Any, value: Any, at: FieldPath) -> None:
        if isinstance(value, str):
            if "${" not in value:
                return

            def warn(message: str) -> None:
                source.warnings.append(source.problem(at, message, "chmod 600 it"))

            try:
                container[key] = resolve(value, environment, source.folder, warn)
                source.references[at] = value
            except BadReference as error:
                problems.append(source.problem(at, str(error), error.fix))
        elif isinstance(value, dict):
            for name in list(value):
                visit(value, name, value[name], (*at, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                visit(value, index, item, (*at, index))

    if isinstance(tree, dict):
        for name in list(tree):
            visit(tree, name, tree[name], (*path, name))
    else:
        merged = source.tree[str(path[0])]
        for index in range(start, start + len(tree)):
            visit(merged, index, merged[index], (*path, index))
