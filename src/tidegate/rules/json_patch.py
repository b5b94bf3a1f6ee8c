"""Changes to a JSON value: pointers (RFC 6901), patches (RFC 6902), merge patches (RFC 7396), and members kept,
dropped, renamed and set by pointer (S10.3).

Values are those of ``wire/json_text``. Everything works on the value it is given and returns the new root. Whatever a
change brings in is copied first, so no two requests ever share a container.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tidegate.wire.json_text import from_python, is_number, same_number

Pointer = tuple[str, ...]

_INDEX: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_COPIED_AT_MOST: Final = 100_000
"""Values that the copies of one patch may add. A patch that copies the root into itself doubles it each time."""
_OPERATIONS: Final = {
    "add": "value", "replace": "value", "test": "value", "remove": "", "move": "from", "copy": "from",
}  # fmt: skip
_MISSING: Final = object()


class CannotApply(Exception):
    """A change does not fit the value: a place that is not there, or a ``test`` that fails. The message names the place
    as the config writes it, never what the value holds."""


# -- pointers -------------------------------------------------------------------------------------------------------


def parse_pointer(text: str) -> Pointer:
    """The steps of *text* (RFC 6901); "" is the root. ``ValueError`` for what is no pointer."""
    if text == "":
        return ()
    if not text.startswith("/") or _BAD_ESCAPE.search(text) is not None:
        raise ValueError(f"{text!r} is no JSON pointer: write /a/b, with ~1 for / and ~0 for ~")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text[1:].split("/"))


def write_pointer(steps: Pointer | list[str | int]) -> str:
    """*steps* as text."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def get(root: Any, pointer: Pointer) -> Any:
    """The value at *pointer*, or ``CannotApply``."""
    value = _find(root, pointer)
    if value is _MISSING:
        raise CannotApply(f"There is nothing at {write_pointer(pointer)}.")
    return value


def find(root: Any, pointer: Pointer, default: Any = None) -> Any:
    """The value at *pointer*, or *default*."""
    value = _find(root, pointer)
    return default if value is _MISSING else value


def _find(value: Any, pointer: Pointer) -> Any:
    for step in pointer:
        if isinstance(value, dict):
            value = value.get(step, _MISSING)
        elif isinstance(value, list) and _INDEX.match(step) is not None and int(step) < len(value):
            value = value[int(step)]
        else:
            return _MISSING
    return value


# -- RFC 6902 -------------------------------------------------------------------------------------------------------


class Operation:
    """One operation of a patch, read once."""

    __slots__ = ("at", "name", "source", "value")

    def __init__(self, name: str, at: Pointer, source: Pointer, value: Any) -> None:
        self.name: str = name
        self.at: Pointer = at
        self.source: Pointer = source
        self.value: Any = value


def read_patch(operations: list[dict[str, Any]]) -> list[Operation]:
    """A patch of a config, ready to apply. ``ValueError`` says what is wrong with which operation."""
    patch = []
    for number, operation in enumerate(operations):
        name = operation.get("op")
        needs = _OPERATIONS.get(name) if isinstance(name, str) else None
        if needs is None or not isinstance(operation.get("path"), str):
            raise ValueError(f"operation {number}: op is one of {', '.join(_OPERATIONS)}, and path is a pointer")
        if needs and needs not in operation:
            raise ValueError(f"operation {number}: {name} needs {needs}")
        at = parse_pointer(operation["path"])
        source: Pointer = ()
        if needs == "from":
            if not isinstance(operation["from"], str):
                raise ValueError(f"operation {number}: from is a pointer")
            source = parse_pointer(operation["from"])
            if name == "move" and at[: len(source)] == source and at != source:
                raise ValueError(f"operation {number}: a value cannot move into itself")
        value = from_python(operation["value"]) if needs == "value" else None
        patch.append(Operation(str(name), at, source, value))
    return patch


def apply_patch(root: Any, patch: list[Operation]) -> Any:
    """*root* after every operation of *patch*, or ``CannotApply``."""
    budget = [_COPIED_AT_MOST]
    for operation in patch:
        name, at = operation.name, operation.at
        if name == "add":
            root = _add(root, at, _copy(operation.value, budget))
        elif name == "remove":
            root = _remove(root, at)
        elif name == "replace":
            get(root, at)
            root = _put(root, at, _copy(operation.value, budget))
        elif name == "test":
            if not same(get(root, at), operation.value):
                raise CannotApply(f"The test of {write_pointer(at)} failed.")
        else:
            value = get(root, operation.source)
            if name == "copy":
                value = _copy(value, budget)
            elif at == operation.source:
                continue
            else:
                root = _remove(root, operation.source)
            root = _add(root, at, value)
    return root


def same(one: Any, two: Any) -> bool:
    """Equality as RFC 6902 4.6 has it: numbers by value, objects in any order, and true is not 1."""
    if is_number(one) or is_number(two):
        return is_number(one) and is_number(two) and same_number(one, two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return isinstance(two, list) and len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and bool(one == two)


def _place(root: Any, at: Pointer) -> Any:
    """The container of *at*, or ``CannotApply``."""
    parent = get(root, at[:-1])
    if not isinstance(parent, (dict, list)):
        raise CannotApply(f"There is no container at {write_pointer(at[:-1])}.")
    return parent


def _index(step: str, end: int, at: Pointer) -> int:
    """*step* as an index of at most *end*."""
    if _INDEX.match(step) is None or int(step) > end:
        raise CannotApply(f"There is no such place in the array: {write_pointer(at)}.")
    return int(step)


def _add(root: Any, at: Pointer, value: Any) -> Any:
    if not at:
        return value
    parent, last = _place(root, at), at[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif last == "-":
        parent.append(value)
    else:
        parent.insert(_index(last, len(parent), at), value)
    return root


def _put(root: Any, at: Pointer, value: Any) -> Any:
    """*value* in the place of what is at *at*, which is there."""
    if not at:
        return value
    parent, last = _place(root, at), at[-1]
    if isinstance(parent, dict):
        parent[last] = value
    else:
        parent[_index(last, len(parent) - 1, at)] = value
    return root


def _remove(root: Any, at: Pointer) -> Any:
    if not at:
        return None
    parent, last = _place(root, at), at[-1]
    if isinstance(parent, list):
        del parent[_index(last, len(parent) - 1, at)]
    elif last in parent:
        del parent[last]
    else:
        raise CannotApply(f"There is nothing at {write_pointer(at)}.")
    return root


def _copy(value: Any, budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0:
        raise CannotApply("The patch makes the body too large.")
    if isinstance(value, dict):
        return {key: _copy(member, budget) for key, member in value.items()}
    if isinstance(value, list):
        return [_copy(item, budget) for item in value]
    return value


# -- RFC 7396 -------------------------------------------------------------------------------------------------------


def merge(root: Any, patch: Any) -> Any:
    """*root* with the merge patch *patch* in it: members set, null members removed, everything else replaced."""
    if not isinstance(patch, dict):
        return _copy(patch, [_COPIED_AT_MOST])
    if not isinstance(root, dict):
        root = {}
    for key, value in patch.items():
        if value is None:
            root.pop(key, None)
        else:
            root[key] = merge(root.get(key), value)
    return root


# -- by pointer -----------------------------------------------------------------------------------------------------
# In these a step ``*`` stands for every element of an array. Places that are not there are passed over.


def drop(root: Any, pointer: Pointer) -> Any:
    """*root* without what is at *pointer*."""
    if not pointer:
        return None
    last = pointer[-1]
    for parent in _parents(root, pointer):
        if isinstance(parent, dict):
            parent.pop(last, None)
        elif last == "*":
            parent.clear()
        elif _INDEX.match(last) is not None and int(last) < len(parent):
            del parent[int(last)]
    return root


def keep(root: Any, pointers: list[Pointer]) -> Any:
    """Only what is at *pointers*, in the containers that lead there. A root that is no container keeps nothing."""
    if () in pointers:
        return root
    if isinstance(root, dict):
        kept: dict[str, Any] = {}
        for key, value in root.items():
            below = [pointer[1:] for pointer in pointers if pointer[0] == key]
            if below and (() in below or isinstance(value, (dict, list))):
                kept[key] = keep(value, below)
        return kept
    if isinstance(root, list):
        items = []
        for number, value in enumerate(root):
            below = [pointer[1:] for pointer in pointers if pointer[0] in ("*", str(number))]
            if below and (() in below or isinstance(value, (dict, list))):
                items.append(keep(value, below))
        return items
    return None


def rename(root: Any, pointer: Pointer, name: str) -> Any:
    """The member at *pointer* under another *name* in the same object; a member that has the name already goes."""
    for parent in _parents(root, pointer):
        if isinstance(parent, dict) and pointer[-1] in parent:
            parent[name] = parent.pop(pointer[-1])
    return root


def put(root: Any, pointer: Pointer, value: Any) -> Any:
    """*value* at *pointer*; objects that are missing on the way are made. ``CannotApply`` when something else stands in
    the way."""
    parent = root
    for depth, step in enumerate(pointer[:-1]):
        if isinstance(parent, dict):
            parent = parent.setdefault(step, {})
        else:
            parent = get(parent, (step,)) if isinstance(parent, list) else None
        if not isinstance(parent, (dict, list)):
            raise CannotApply(f"There is no container at {write_pointer(pointer[: depth + 1])}.")
    return _add(root, pointer, value) if isinstance(parent, dict) else _put(root, pointer, value)


def _parents(root: Any, pointer: Pointer) -> list[Any]:
    """The containers of *pointer*: none, one, or with ``*`` several."""
    level = [root]
    for step in pointer[:-1]:
        following: list[Any] = []
        for value in level:
            if isinstance(value, list) and step == "*":
                following.extend(value)
            else:
                found = _find(value, (step,))
                if found is not _MISSING:
                    following.append(found)
        level = following
    return [value for value in level if isinstance(value, (dict, list))]
