"""Items of an older schema, read as the newer one says it (CRP 4.5).

An item's ``schema`` is a URI with a version. Upcasters lead from one to the next, are pure, and run when an item is
read: the log keeps what was written. Which there are is the caller's registry, so that two tenants need not agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from tidegate.exchange.context import Item
from tidegate.wire.json_text import dumps, loads

Upcaster = Callable[[Any], Any]
"""The content of one schema -> that of the next, values of ``wire/json_text``. It may change what it is given, and
raises ``ValueError`` or ``LookupError`` for a content it cannot read."""

STEPS: Final = 64
"""Schemas one item may pass."""


class Upcasters:
    """A registry: schema -> (the next one, how to get there). ``ValueError`` for one that leads in a circle or too
    far."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Mapping[str, tuple[str, Upcaster]]) -> None:
        self._steps: dict[str, tuple[str, Upcaster]] = dict(steps)
        for start in self._steps:
            at, passed = start, 0
            while at in self._steps:
                at = self._steps[at][0]
                passed += 1
                if passed > STEPS:
                    raise ValueError(f"upcasters lead nowhere from {start}")

    def latest(self, schema: str) -> str:
        """The schema that *schema* is read as."""
        while schema in self._steps:
            schema = self._steps[schema][0]
        return schema

    def item(self, item: Item) -> Item:
        """*item* as its latest schema has it. One whose content an upcaster cannot read stays at the last schema that
        could be reached: it is returned, not lost."""
        if item.schema not in self._steps or not item.content:
            return item
        content, schema = item.content, item.schema
        while schema in self._steps:
            following, upcast = self._steps[schema]
            try:
                content = dumps(upcast(loads(content)))
            except (ValueError, LookupError, TypeError, AttributeError):
                break
            schema = following
        if schema == item.schema:
            return item
        return msgspec.structs.replace(item, content=content, schema=schema)

    def items(self, items: Iterable[Item]) -> tuple[Item, ...]:
        """Each of *items*, in their order."""
        return tuple([self.item(item) for item in items])
