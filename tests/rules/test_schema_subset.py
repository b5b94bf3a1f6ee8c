"""JSON Schema <-> the OpenAPI subset (LLM 5.4)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.rules.schema_subset import DEPTH, LEVELS, NODES, from_subset, to_subset


def subset(schema: Any) -> tuple[Any, list[str]]:
    made, lost = to_subset(json.dumps(schema).encode())
    return json.loads(made), lost


@pytest.mark.parametrize(
    ("schema", "wanted", "lost"),
    [
        ({"type": "object", "properties": {"const": {"type": "string"}}},
         {"type": "object", "properties": {"const": {"type": "string"}}}, []),
        ({"const": "x"}, {"enum": ["x"]}, []),
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}, []),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, []),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"},
         {"type": "string", "nullable": True, "description": "d"}, []),
        ({"anyOf": [{"type": "string"}, {"const": 1}]}, {"anyOf": [{"type": "string"}, {"enum": [1]}]}, []),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]},
         {"anyOf": [{"type": "string"}, {"type": "integer"}]}, ["oneOf"]),
        ({"type": "object", "additionalProperties": False, "not": {}}, {"type": "object"},
         ["additionalProperties", "not"]),
        ({"type": "array", "items": {"type": "string", "uniqueItems": True}},
         {"type": "array", "items": {"type": "string"}}, ["uniqueItems"]),
        ({"$schema": "s", "$id": "i", "type": "object"}, {"type": "object"}, []),
        ({"properties": {"a": True, "b": False}}, {"properties": {"a": {}, "b": {}}}, ["false"]),
    ],
)  # fmt: skip
def test_what_the_subset_knows_stays_and_the_rest_is_named(schema: Any, wanted: Any, lost: list[str]) -> None:
    assert subset(schema) == (wanted, lost)


def test_references_are_inlined_with_their_neighbours() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/$defs/x~1y", "description": "mine"}, "b": {"$ref": "#/definitions/z"}},
        "$defs": {"x/y": {"type": "string", "description": "theirs"}},
        "definitions": {"z": {"$ref": "#/$defs/x~1y"}},
    }
    assert subset(schema) == (
        {"properties": {"a": {"type": "string", "description": "mine"},
                        "b": {"type": "string", "description": "theirs"}}}, [],
    )  # fmt: skip


def test_a_circle_ends_after_its_depth_and_a_lost_reference_at_once() -> None:
    made, lost = subset({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}}}})
    assert lost == ["$ref"]
    levels = 0
    while "properties" in made:
        made = made["properties"]["n"]
        levels += 1
    assert (levels, made) == (DEPTH, {"type": "object"})
    assert subset({"$ref": "https://elsewhere"}) == ({"type": "object"}, ["$ref"])
    assert subset({"$ref": "#/$defs/absent"}) == ({"type": "object"}, ["$ref"])


def test_references_that_multiply_are_bounded() -> None:
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for at in range(1, 15):
        definitions[f"d{at}"] = {"properties": {name: {"$ref": f"#/$defs/d{at - 1}"} for name in "abcdef"}}
    made, lost = to_subset(json.dumps({"$ref": "#/$defs/d14", "$defs": definitions}).encode())
    assert "size" in lost
    assert len(made) < NODES * 40


def test_a_deep_schema_ends() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(LEVELS + 50):
        schema = {"items": schema}
    _, lost = subset(schema)
    assert lost == ["size"]


def test_what_is_no_schema_is_one_of_any_shape() -> None:
    assert to_subset(b"7") == (b'{"type":"object"}', ["false"])
    assert to_subset(b"{") == (b'{"type":"object"}', ["false"])
    assert from_subset(b"{") == b"{"


def test_the_subset_reads_as_json_schema_and_plain_ones_keep_their_bytes() -> None:
    given = {"type": "OBJECT", "nullable": True, "properties": {"type": {"type": "ARRAY", "items": {"type": "STRING"}}},
             "anyOf": [{"type": "NUMBER"}]}  # fmt: skip
    assert json.loads(from_subset(json.dumps(given).encode())) == {
        "type": ["object", "null"], "properties": {"type": {"type": "array", "items": {"type": "string"}}},
        "anyOf": [{"type": "number"}],
    }  # fmt: skip
    assert json.loads(from_subset(b'{"anyOf":[{"type":"STRING"}],"nullable":true}')) == {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }
    plain = b'{ "type" : "object" }'
    assert from_subset(plain) is plain
