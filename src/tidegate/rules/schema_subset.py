"""A JSON Schema as vendors with the OpenAPI subset take it, and back (LLM 5.4).

``$ref`` is inlined, ``const`` becomes an ``enum`` of one, a union with null becomes ``nullable``; what the subset does
not know is dropped and named.
"""

from __future__ import annotations

from typing import Final

import msgspec

DEPTH: Final = 16
"""How deep references are followed, one inside another: beyond it, and in a circle, an object of any shape stands."""
NODES: Final = 10_000
"""Schemas in the result: references multiply, an answer must not."""
LEVELS: Final = 100
"""Schemas one inside another in the result."""

_KNOWN: Final = frozenset((
    "type", "format", "title", "description", "nullable", "enum", "items", "properties", "required", "minItems",
    "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "pattern", "example", "anyOf", "default",
    "minimum", "maximum", "propertyOrdering",
))  # fmt: skip
_DEFINITIONS: Final = ("$defs", "definitions")
_TYPES: Final = frozenset(("string", "number", "integer", "boolean", "array", "object", "null"))

_decode = msgspec.json.Decoder().decode


class _Subset:
    """Mutable: ``losses``, keywords that were dropped; ``_room``, schemas that may still be made; ``_level``, how deep
    in the result the one being made lies."""

    def __init__(self, root: dict[str, object]) -> None:
        self._root = root
        self._room = NODES
        self._level = 0
        self.losses: list[str] = []

    def lose(self, keyword: str) -> None:
        if keyword not in self.losses:
            self.losses.append(keyword)

    def schema(self, given: object, depth: int) -> dict[str, object]:
        self._room -= 1
        if self._room < 0 or self._level >= LEVELS:
            self.lose("size")
            return {"type": "object"}
        self._level += 1
        made = self._schema(given, depth)
        self._level -= 1
        return made

    def _schema(self, given: object, depth: int) -> dict[str, object]:
        if not isinstance(given, dict):
            if given is not True:
                self.lose("false")
            return {}
        reference = given.get("$ref")
        if isinstance(reference, str):
            return self._inlined(given, reference, depth)
        made: dict[str, object] = {}
        for keyword, value in given.items():
            self._keyword(keyword, value, made, depth)
        return made

    def _inlined(self, given: dict[str, object], reference: str, depth: int) -> dict[str, object]:
        target = self._find(reference)
        if target is None or depth >= DEPTH:
            self.lose("$ref")
            return {"type": "object"}
        made = self.schema(target, depth + 1)
        for keyword, value in given.items():
            if keyword != "$ref":
                self._keyword(keyword, value, made, depth)
        return made

    def _find(self, reference: str) -> object:
        if not reference.startswith("#"):
            return None
        found: object = self._root
        for step in reference[1:].split("/")[1:]:
            if not isinstance(found, dict):
                return None
            found = found.get(step.replace("~1", "/").replace("~0", "~"))
        return found

    def _keyword(self, keyword: str, value: object, made: dict[str, object], depth: int) -> None:
        if keyword in _DEFINITIONS or keyword in ("$schema", "$id"):
            return
        if keyword == "const":
            made["enum"] = [value]
        elif keyword == "type" and isinstance(value, list):
            self._types(value, made)
        elif keyword in ("anyOf", "oneOf") and isinstance(value, list):
            self._union(keyword, value, made, depth)
        elif keyword == "properties" and isinstance(value, dict):
            made["properties"] = {name: self.schema(one, depth) for name, one in value.items()}
        elif keyword == "items":
            made["items"] = self.schema(value, depth)
        elif keyword in _KNOWN:
            made[keyword] = value
        else:
            self.lose(keyword)

    def _types(self, value: list[object], made: dict[str, object]) -> None:
        kinds = [kind for kind in value if kind != "null"]
        if len(kinds) < len(value):
            made["nullable"] = True
        if len(kinds) == 1:
            made["type"] = kinds[0]
        elif kinds:
            made["anyOf"] = [{"type": kind} for kind in kinds]

    def _union(self, keyword: str, value: list[object], made: dict[str, object], depth: int) -> None:
        kept = [one for one in value if not (isinstance(one, dict) and one.get("type") == "null")]
        if len(kept) < len(value):
            made["nullable"] = True
        if keyword == "oneOf":
            self.lose("oneOf")
        if len(kept) == 1:
            for name, one in self.schema(kept[0], depth).items():
                made.setdefault(name, one)
        elif kept:
            made["anyOf"] = [self.schema(one, depth) for one in kept]


def to_subset(schema: bytes) -> tuple[bytes, list[str]]:
    """*schema* in the subset, and the keywords that were dropped. A schema that is no object is one of any shape."""
    try:
        given = _decode(schema)
    except msgspec.DecodeError:
        given = None
    if not isinstance(given, dict):
        return b'{"type":"object"}', ["false"]
    subset = _Subset(given)
    made = subset.schema(given, 0)
    return msgspec.json.encode(made), subset.losses


def from_subset(schema: bytes) -> bytes:
    """A schema in the subset as JSON Schema: types in lower case, ``nullable`` as a union. One that holds neither is
    returned as it is."""
    try:
        given = _decode(schema)
    except msgspec.DecodeError:
        return schema
    made = _plain(given)
    return schema if made == given else msgspec.json.encode(made)


def _plain(given: object) -> object:
    if not isinstance(given, dict):
        return given
    made: dict[str, object] = {}
    for keyword, value in given.items():
        if keyword == "type" and isinstance(value, str) and value.lower() in _TYPES:
            made["type"] = value.lower()
        elif keyword == "properties" and isinstance(value, dict):
            made[keyword] = {name: _plain(one) for name, one in value.items()}
        elif keyword in ("items", "additionalProperties"):
            made[keyword] = _plain(value)
        elif keyword in ("anyOf", "oneOf", "allOf") and isinstance(value, list):
            made[keyword] = [_plain(one) for one in value]
        elif keyword != "nullable":
            made[keyword] = value
    if given.get("nullable") is True:
        if "type" in made:
            made["type"] = [made["type"], "null"]
        elif isinstance(made.get("anyOf"), list):
            made["anyOf"] = [*made["anyOf"], {"type": "null"}]  # type: ignore[misc]
    return made
