"""The edits of one direction, read from a config once and applied in a fixed order (S10.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import Fields, ResponseHead
from tidegate.rules.field_template import BadValue, FieldTemplate, compile_template
from tidegate.rules.json_patch import (
    Operation,
    Pointer,
    apply_patch,
    drop,
    find,
    keep,
    merge,
    parse_pointer,
    put,
    read_patch,
    rename,
)
from tidegate.wire.json_text import from_python, is_number, number_text

_CONTROLS: Final = frozenset(map(chr, [*range(0x20), 0x7F])) - {"\t"}

Setting = tuple[Pointer, Callable[[Exchange, ResponseHead | None], Any]]


class JsonEdits:
    """Keep, drop, rename, set, merge, patch: in this order. ``ValueError`` for settings that mean nothing.

    *settings* maps a pointer to a JSON value; text in it is a template (S10.2). *fields* maps a field name to the
    pointer of the text, number or truth value that it carries.
    """

    __slots__ = ("_drop", "_fields", "_keep", "_merge", "_patch", "_rename", "_settings")

    def __init__(
        self,
        *,
        keep: tuple[str, ...] = (),
        drop: tuple[str, ...] = (),
        rename: dict[str, str] | None = None,
        settings: dict[str, Any] | None = None,
        merge: Any = None,
        patch: list[dict[str, Any]] | None = None,
        fields: dict[str, str] | None = None,
        response: bool = False,
    ) -> None:
        self._keep: list[Pointer] = [parse_pointer(text) for text in keep]
        self._drop: list[Pointer] = [parse_pointer(text) for text in drop]
        self._rename: list[tuple[Pointer, str]] = [
            (_member(text), name) for text, name in (rename or {}).items()
        ]  # fmt: skip
        self._settings: list[Setting] = [
            (parse_pointer(text), _maker(value, response)) for text, value in (settings or {}).items()
        ]
        self._merge: Any = from_python(merge) if merge is not None else None
        self._patch: list[Operation] = read_patch(patch or [])
        self._fields: list[tuple[str, Pointer]] = [
            (name, parse_pointer(text)) for name, text in (fields or {}).items()
        ]  # fmt: skip

    def apply(self, root: Any, x: Exchange, head: ResponseHead | None = None) -> Any:
        """The new root. Raises ``CannotApply``, or ``BadValue`` of a template."""
        if self._keep:
            root = keep(root, self._keep)
        for pointer in self._drop:
            root = drop(root, pointer)
        for pointer, name in self._rename:
            root = rename(root, pointer, name)
        for pointer, make in self._settings:
            root = put(root, pointer, make(x, head))
        if self._merge is not None:
            root = merge(root, self._merge)
        return apply_patch(root, self._patch) if self._patch else root

    def fields(self, root: Any) -> Fields:
        """The fields that *root* fills. What is missing, null or a container gives none; ``BadValue`` for text that no
        field may carry."""
        lines: Fields = []
        for name, pointer in self._fields:
            value = find(root, pointer)
            if isinstance(value, bool):
                lines.append((name, "true" if value else "false"))
            elif is_number(value):
                lines.append((name, number_text(value)))
            elif isinstance(value, str):
                if not _CONTROLS.isdisjoint(value):
                    raise BadValue(f"The value for {name} holds a control character.")
                lines.append((name, value.encode("utf-8").decode("latin-1").strip(" \t")))
        return lines


def _member(text: str) -> Pointer:
    pointer = parse_pointer(text)
    if not pointer:
        raise ValueError("the root has no name that could change")
    return pointer


def _maker(value: Any, response: bool) -> Callable[[Exchange, ResponseHead | None], Any]:
    """What makes *value* for an exchange: the same each time, or text from a template."""
    if not isinstance(value, str):
        same = from_python(value)
        if not isinstance(same, (dict, list)):
            return lambda x, head: same
        # A container is made anew each time: whoever edits it later must not edit the next request's.
        return lambda x, head: from_python(value)
    template: FieldTemplate = compile_template(value.encode("utf-8").decode("latin-1"), response=response)
    return lambda x, head: template.render(x, head).encode("latin-1").decode("utf-8", "replace")
