"""Patches, merge patches and edits by pointer (S10.3); the examples of RFC 6901, 6902 and 7396 among them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.json_patch import (
    CannotApply,
    apply_patch,
    drop,
    find,
    get,
    keep,
    merge,
    parse_pointer,
    put,
    read_patch,
    rename,
    same,
    write_pointer,
)
from tidegate.wire.json_text import dumps, from_python, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab~/", max_size=3),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text("ab~/", max_size=2), v, max_size=4),
    max_leaves=12,
)


def value(text: str) -> Any:
    return loads(text.encode())


def patched(text: str, *operations: dict[str, Any]) -> str:
    return dumps(apply_patch(value(text), read_patch(list(operations)))).decode()


# -- pointers -------------------------------------------------------------------------------------------------------

DOCUMENT = '{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2," ":7,"m~n":8}'


@pytest.mark.parametrize(
    ("pointer", "found"),
    [("/foo", '["bar","baz"]'), ("/foo/0", '"bar"'), ("/", "0"), ("/a~1b", "1"), ("/c%d", "2"), ("/ ", "7"),
     ("/m~0n", "8"), ("", DOCUMENT)],
)  # fmt: skip
def test_pointers_find_what_they_name(pointer: str, found: str) -> None:
    assert dumps(get(value(DOCUMENT), parse_pointer(pointer))).decode() == found


@pytest.mark.parametrize("pointer", ["foo", "/a~", "/a~2", "#/a"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(ValueError, match="no JSON pointer"):
        parse_pointer(pointer)


@pytest.mark.parametrize("pointer", ["/none", "/foo/2", "/foo/00", "/foo/-", "/foo/-1", "/foo/0/x", "/foo/1e0"])
def test_nothing_is_found_where_nothing_is(pointer: str) -> None:
    assert find(value(DOCUMENT), parse_pointer(pointer), "nothing") == "nothing"
    with pytest.raises(CannotApply):
        get(value(DOCUMENT), parse_pointer(pointer))


@given(st.lists(st.text(max_size=4), max_size=4))
def test_pointers_are_written_as_they_are_read(steps: list[str]) -> None:
    assert parse_pointer(write_pointer(tuple(steps))) == tuple(steps)


# -- RFC 6902 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "operation", "after"),
    [
        ('{"foo":1}', {"op": "add", "path": "/baz", "value": "q"}, '{"foo":1,"baz":"q"}'),
        ('{"foo":[1,3]}', {"op": "add", "path": "/foo/1", "value": 2}, '{"foo":[1,2,3]}'),
        ('{"foo":[1]}', {"op": "add", "path": "/foo/1", "value": [2]}, '{"foo":[1,[2]]}'),
        ('{"foo":[1]}', {"op": "add", "path": "/foo/-", "value": None}, '{"foo":[1,null]}'),
        ('{"foo":1}', {"op": "add", "path": "/foo", "value": 2}, '{"foo":2}'),
        ('{"foo":1}', {"op": "add", "path": "", "value": [1]}, "[1]"),
        ('{"a":1,"b":2}', {"op": "remove", "path": "/b"}, '{"a":1}'),
        ("[1,2,3]", {"op": "remove", "path": "/1"}, "[1,3]"),
        ('{"a":1}', {"op": "remove", "path": ""}, "null"),
        ('{"a":1,"b":2}', {"op": "replace", "path": "/a", "value": 3}, '{"a":3,"b":2}'),
        ("[1,2]", {"op": "replace", "path": "/1", "value": 3}, "[1,3]"),
        ("1", {"op": "replace", "path": "", "value": 3}, "3"),
        ('{"a":{"b":1},"c":{}}', {"op": "move", "from": "/a/b", "path": "/c/d"}, '{"a":{},"c":{"d":1}}'),
        ("[1,2,3,4]", {"op": "move", "from": "/1", "path": "/3"}, "[1,3,4,2]"),
        ('{"a":1}', {"op": "move", "from": "/a", "path": "/a"}, '{"a":1}'),
        ('{"a":[1]}', {"op": "copy", "from": "/a", "path": "/b"}, '{"a":[1],"b":[1]}'),
        ('{"a":1.0}', {"op": "test", "path": "/a", "value": 1}, '{"a":1.0}'),
        ('{"a":{"x":1,"y":[2]}}', {"op": "test", "path": "/a", "value": {"y": [2], "x": 1}},
         '{"a":{"x":1,"y":[2]}}'),
        ('{"/":9,"~1":10}', {"op": "test", "path": "/~01", "value": 10}, '{"/":9,"~1":10}'),
    ],
)  # fmt: skip
def test_operations_do_what_rfc_6902_says(before: str, operation: dict[str, Any], after: str) -> None:
    assert patched(before, operation) == after


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        ('{"q":{"bar":2}}', {"op": "add", "path": "/a/b", "value": 1}),
        ("[1]", {"op": "add", "path": "/2", "value": 1}),
        ("[1]", {"op": "add", "path": "/01", "value": 1}),
        ("[1]", {"op": "add", "path": "/a", "value": 1}),
        ('"text"', {"op": "add", "path": "/0", "value": 1}),
        ('{"a":1}', {"op": "remove", "path": "/b"}),
        ("[1]", {"op": "remove", "path": "/1"}),
        ("[1]", {"op": "remove", "path": "/-"}),
        ('{"a":1}', {"op": "replace", "path": "/b", "value": 1}),
        ('{"a":1}', {"op": "move", "from": "/b", "path": "/c"}),
        ('{"a":1}', {"op": "copy", "from": "/b", "path": "/c"}),
        ('{"a":1}', {"op": "test", "path": "/a", "value": "1"}),
        ('{"a":1}', {"op": "test", "path": "/a", "value": True}),
        ('{"a":[1,2]}', {"op": "test", "path": "/a", "value": [2, 1]}),
        ('{"a":null}', {"op": "test", "path": "/b", "value": None}),
    ],
)
def test_what_does_not_fit_cannot_be_applied(before: str, operation: dict[str, Any]) -> None:
    with pytest.raises(CannotApply):
        patched(before, operation)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "grow", "path": "/a"},
        {"path": "/a"},
        {"op": ["add"], "path": "/a", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": None, "value": 1},
        {"op": "copy", "path": "/a"},
        {"op": "copy", "path": "/a", "from": 1},
        {"op": "move", "path": "/a/b", "from": "/a"},
    ],
)
def test_a_patch_that_means_nothing_is_refused_at_config_time(operation: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"operation 0|no JSON pointer"):
        read_patch([operation])


def test_no_two_requests_share_what_a_patch_brings_in() -> None:
    patch = read_patch([{"op": "add", "path": "/a", "value": {"list": []}}])
    first = apply_patch({}, patch)
    first["a"]["list"].append("mine")
    assert apply_patch({}, patch) == {"a": {"list": []}}
    copied = apply_patch({"a": []}, read_patch([{"op": "copy", "from": "/a", "path": "/b"}]))
    copied["a"].append(1)
    assert copied["b"] == []


def test_a_patch_cannot_blow_a_body_up() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(64)]
    with pytest.raises(CannotApply, match="too large"):
        patched('{"a":[1,2,3]}', *doubling)


@given(VALUES, VALUES)
def test_adding_and_removing_leaves_no_trace(document: Any, added: Any) -> None:
    root = from_python({"kept": document})
    patch = [{"op": "add", "path": "/new", "value": added}, {"op": "remove", "path": "/new"}]
    assert same(apply_patch(root, read_patch(patch)), from_python({"kept": document}))


@given(VALUES, VALUES)
def test_sameness_is_that_of_json(one: Any, two: Any) -> None:
    def spelled(value: Any) -> str:
        return json.dumps(value, sort_keys=True)

    assert same(from_python(one), from_python(two)) is (spelled(one) == spelled(two))


# -- RFC 7396 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ('{"a":"b"}', {"a": "c"}, '{"a":"c"}'),
        ('{"a":"b"}', {"b": "c"}, '{"a":"b","b":"c"}'),
        ('{"a":"b","b":"c"}', {"a": None}, '{"b":"c"}'),
        ('{"a":["b"]}', {"a": "c"}, '{"a":"c"}'),
        ('{"a":{"b":"c"}}', {"a": {"b": "d", "c": None}}, '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', {"a": [1]}, '{"a":[1]}'),
        ('["a","b"]', ["c"], '["c"]'),
        ('{"a":"b"}', None, "null"),
        ('{"e":null}', {"a": 1}, '{"e":null,"a":1}'),
        ("[1,2]", {"a": "b", "c": None}, '{"a":"b"}'),
        ("{}", {"a": {"bb": {"ccc": None}}}, '{"a":{"bb":{}}}'),
    ],
)
def test_merging_does_what_rfc_7396_says(before: str, patch: Any, after: str) -> None:
    assert dumps(merge(value(before), from_python(patch))).decode() == after


@given(VALUES, VALUES)
def test_merging_twice_is_merging_once(document: Any, patch: Any) -> None:
    once = merge(from_python(document), from_python(patch))
    assert same(merge(loads(dumps(once)), from_python(patch)), once)


# -- by pointer -----------------------------------------------------------------------------------------------------

ORDER = '{"id":1.50,"user":{"name":"a","mail":"m"},"items":[{"sku":"x","cost":3},{"sku":"y","cost":4}]}'


def edited(edit: Any, *arguments: Any, text: str = ORDER) -> str:
    return dumps(edit(value(text), *arguments)).decode()


def test_members_are_dropped_also_in_every_element() -> None:
    assert edited(drop, ("items", "*", "cost")) == (
        '{"id":1.50,"user":{"name":"a","mail":"m"},"items":[{"sku":"x"},{"sku":"y"}]}'
    )
    assert edited(drop, ("items", "0")) == ('{"id":1.50,"user":{"name":"a","mail":"m"},"items":[{"sku":"y","cost":4}]}')
    assert edited(drop, ("items", "*"), text='{"items":[1,2]}') == '{"items":[]}'
    assert edited(drop, ("none", "deep")) == ORDER
    assert edited(drop, ("items", "7")) == ORDER
    assert edited(drop, ()) == "null"


def test_only_what_is_named_is_kept() -> None:
    pointers = [("user", "name"), ("items", "*", "sku"), ("none",)]
    assert edited(keep, pointers) == '{"user":{"name":"a"},"items":[{"sku":"x"},{"sku":"y"}]}'
    assert edited(keep, [("items", "1")]) == '{"items":[{"sku":"y","cost":4}]}'
    assert edited(keep, [("id", "deep")]) == "{}"
    assert edited(keep, [()]) == ORDER
    assert edited(keep, [("a",)], text='"secret"') == "null"


def test_members_are_renamed_in_their_object() -> None:
    assert edited(rename, ("items", "*", "sku"), "code", text='{"items":[{"sku":1,"code":2},{"a":3}]}') == (
        '{"items":[{"code":1},{"a":3}]}'
    )
    assert edited(rename, ("a",), "a", text='{"a":1}') == '{"a":1}'


def test_a_value_is_put_where_it_belongs() -> None:
    assert edited(put, ("meta", "by"), "ann", text="{}") == '{"meta":{"by":"ann"}}'
    assert edited(put, ("a", "0", "b"), True, text='{"a":[{}]}') == '{"a":[{"b":true}]}'
    assert edited(put, ("a", "0"), True, text='{"a":[1,2]}') == '{"a":[true,2]}'
    assert edited(put, (), True) == "true"
    for pointer in (("id", "deep"), ("items", "9", "x"), ("items", "x")):
        with pytest.raises(CannotApply):
            edited(put, pointer, 1)
