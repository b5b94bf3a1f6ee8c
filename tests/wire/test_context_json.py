"""Twin of wire/context_json.py: shapes of CRP/1 in, values out, and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context import (
    Append,
    Compact,
    Geo,
    Item,
    Mark,
    Merge,
    Patch,
    Provenance,
    Put,
    Remove,
    Rollback,
    Selector,
    SetPolicy,
    Splice,
)
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.wire.context_json import (
    OPS,
    item_object,
    op_object,
    read_item,
    read_ops,
    read_selector,
    read_time,
    write_time,
)
from tidegate.wire.json_text import loads

LIMITS = ContextLimits()


def text_of(value: object) -> Any:
    """*value* as a client would read it: written to JSON and decoded."""
    return msgspec.json.decode(msgspec.json.encode(value))


def refused(op: Any, limits: ContextLimits = LIMITS) -> tuple[str, str]:
    with pytest.raises(Fault) as caught:
        read_ops([op], limits)
    assert (caught.value.code, caught.value.status) == ("delta_invalid", 422)
    assert caught.value.extra is not None
    errors: Any = caught.value.extra["errors"]
    assert errors[0]["op"] == 0 and len(errors) == 1
    return errors[0]["reason"], errors[0]["pointer"]


# -- times


@pytest.mark.parametrize(
    ("text", "ms"),
    [("1970-01-01T00:00:00Z", 0), ("2026-11-22T09:02:00.1239Z", 1795338120123), ("1969-12-31T23:59:59.999Z", -1),
     ("2026-11-22t10:02:00+01:00", 1795338120000), ("0001-01-01T00:00:00Z", -62135596800000)],
)  # fmt: skip
def test_times_are_rfc_3339(text: str, ms: int) -> None:
    assert read_time(text) == ms
    assert read_time(write_time(ms)) == ms


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-11-22T09:02:00", "2026-13-22T09:02:00Z", "1795338120", "2026-11-22T09:02:60Z",
     "2026-11-22T09:02:00+24:00", "٢026-11-22T09:02:00Z"],
)  # fmt: skip
def test_a_time_without_a_zone_or_off_the_calendar_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        read_time(text)


def test_times_beyond_the_calendar_are_written_as_its_ends() -> None:
    assert write_time(10**18).startswith("9999-12-31T23:59:59")
    assert write_time(-(10**18)).startswith("0001-01-01T00:00:00")


@given(st.integers(-62135596800000, 253402300799999))
def test_every_millisecond_survives(ms: int) -> None:
    assert read_time(write_time(ms)) == ms


# -- items


def test_unknown_members_and_vendor_types_survive_17() -> None:
    value = loads(b'{"type":"acme:widget","colour":"teal","size":1.10,"content":{"b":2.50,"a":[1e2]}}')
    item = read_item(value, LIMITS)
    assert item.extra == {"colour": b'"teal"', "size": b"1.10"}
    assert item.content == b'{"b":2.50,"a":[1e2]}'
    written = msgspec.json.encode(item_object(item))
    assert b'"content":{"b":2.50,"a":[1e2]}' in written and b'"size":1.10' in written
    assert read_item(loads(written), LIMITS) == item


def test_every_member_is_read_and_written_back() -> None:
    told = {
        "type": "event", "id": "it_1", "key": "trip.start", "role": "user", "content": "go", "status": "done",
        "pinned": True, "priority": 9, "elide": "never", "ttl": 60, "valid_from": "2026-01-01T00:00:00Z",
        "valid_to": "2027-01-01T00:00:00Z", "at": "2026-06-01T12:00:00Z", "geo": {"point": [8.68, 50.11]},
        "about": ["trip"], "privacy": "personal", "schema": "urn:x:1", "must_understand": True, "name": "n",
        "call_id": "c", "supersedes": "it_0", "covers": ["a", "b"], "provenance": {"by": "tool", "source": "s"},
    }  # fmt: skip
    item = read_item(told, LIMITS)
    assert item == Item(
        type="event", id="it_1", key="trip.start", role="user", content=b'"go"', status="done", pinned=True, priority=9,
        elide="never", ttl=60, valid_from=1767225600000, valid_to=1798761600000, at=1780315200000,
        geo=Geo(point=(8.68, 50.11)), about=("trip",), privacy="personal", schema="urn:x:1", must_understand=True,
        name="n", call_id="c", supersedes="it_0", covers=("a", "b"), provenance=Provenance("tool", source="s"),
    )  # fmt: skip
    assert read_item(text_of(item_object(item)), LIMITS) == item


def test_what_only_the_gateway_says_is_shown_and_passed_over_on_the_way_in() -> None:
    item = Item(type="message", id="it_1", rev=2, tokens=7, recorded=0, digest=b"\x01" * 32)
    shown = text_of(item_object(item))
    assert shown == {"id": "it_1", "type": "message", "rev": 2, "tokens": 7, "digest": "sha256:" + "01" * 32}
    assert read_item(shown, LIMITS) == Item(type="message", id="it_1")


def test_a_client_cannot_claim_to_be_the_model_or_the_gateway() -> None:
    for by in ("model", "gateway", "recall", "compaction", 3):
        item = read_item({"type": "message", "provenance": {"by": by, "vendor": "v", "model": "m"}}, LIMITS)
        assert item.provenance == Provenance()


def test_arguments_of_a_tool_call_are_its_content() -> None:
    item = read_item({"type": "tool_call", "call_id": "c", "name": "book", "arguments": {"train": "9:02"}}, LIMITS)
    assert item.content == b'"{\\"train\\":\\"9:02\\"}"'
    shown = text_of(item_object(item))
    assert shown["arguments"] == '{"train":"9:02"}' and "content" not in shown
    assert read_item(shown, LIMITS) == item


def test_a_developer_is_the_system_and_a_geojson_point_is_a_point() -> None:
    item = read_item(
        {"type": "place", "role": "developer", "geo": {"type": "Point", "coordinates": [1, -2.5, 100]}}, LIMITS
    )
    assert (item.role, item.geo) == ("system", Geo(point=(1.0, -2.5)))


@pytest.mark.parametrize(
    ("member", "value"),
    [("id", "it 1"), ("id", 5), ("key", "a..b"), ("key", "a" * 257), ("role", "root"), ("role", {}), ("pinned", 1),
     ("priority", 10), ("priority", -1), ("priority", 1.5), ("priority", True), ("elide", ""), ("elide", "later"),
     ("ttl", -1), ("ttl", 2**60), ("at", 5), ("at", "yesterday"), ("geo", {}), ("geo", {"point": [181, 0]}),
     ("geo", {"point": [0, 91]}), ("geo", {"bbox": [0, 1, 0, 0]}), ("geo", {"point": [0, 0], "bbox": [0, 0, 1, 1]}),
     ("about", ["x"] * 17), ("about", "x"), ("privacy", "open"), ("schema", "x" * 2049), ("covers", ["a"]),
     ("provenance", "me"), ("call_id", "x" * 257)],
)  # fmt: skip
def test_a_member_of_the_wrong_shape_is_a_bad_item_with_a_pointer(member: str, value: object) -> None:
    reason, pointer = refused({"op": "append", "items": [{"type": "message"}, {"type": "message", member: value}]})
    assert reason == "bad_item"
    assert pointer.startswith(f"/items/1/{member}")


def test_a_content_one_byte_beyond_the_limit_is_too_large_41() -> None:
    limits = ContextLimits(content=20)
    assert read_item({"type": "message", "content": "x" * 18}, limits).content == b'"' + b"x" * 18 + b'"'
    with pytest.raises(Fault, match="too_large"):
        read_item({"type": "message", "content": "x" * 19}, limits)
    with pytest.raises(Fault, match="too_large"):
        read_item({"type": "message", "more": "x" * 19}, limits)


# -- ops

OBJECTS = [
    ({"op": "append", "items": [{"id": "a", "type": "message", "role": "user", "content": "hi"}]},
     Append(items=(Item(id="a", type="message", role="user", content=b'"hi"'),))),
    ({"op": "put", "item": {"id": "", "type": "fact", "key": "k", "content": 1}}, None),
    ({"op": "remove", "id": "it_1"}, Remove(id="it_1")),
    ({"op": "remove", "key": "a.b"}, Remove(key="a.b")),
    ({"op": "patch", "on": "state", "patch": [{"op": "add", "path": "/a", "value": 1}]},
     Patch(on="state", patch=b'[{"op":"add","path":"/a","value":1}]')),
    ({"op": "merge", "on": "state", "value": {"a": None}}, Merge(on="state", value=b'{"a":null}')),
    ({"op": "splice", "id": "it_1", "at": 2, "del": 1, "ins": "x", "path": "/0", "was": "0" * 64},
     Splice(id="it_1", at=2, delete=1, insert="x", path="/0", was="0" * 64)),
    ({"op": "mark", "id": "it_1", "pinned": False, "priority": 0, "elide": "drop", "privacy": "secret"},
     Mark(id="it_1", pinned=False, priority=0, elide="drop", privacy="secret")),
    ({"op": "compact", "from": "a", "to": "b", "summary": {"id": "c", "type": "summary", "content": "s"}},
     Compact(first="a", last="b", summary=Item(id="c", type="summary", content=b'"s"'))),
    ({"op": "rollback", "to": "cv_1"}, Rollback(to="cv_1")),
    ({"op": "set_policy", "policy": {"keep": {"last_turns": 3}}}, SetPolicy(policy=b'{"keep":{"last_turns":3}}')),
    ({"op": "set_policy", "policy": "verbatim"}, SetPolicy(policy=b'"verbatim"')),
]  # fmt: skip


@pytest.mark.parametrize(("told", "op"), [pair for pair in OBJECTS if pair[1] is not None])
def test_an_op_is_read_and_written_back_as_it_came(told: dict[str, Any], op: Any) -> None:
    assert read_ops([told], LIMITS) == (op,)
    assert text_of(op_object(op)) == told


def test_put_and_the_short_forms() -> None:
    assert read_ops([{"op": "put", "item": {"type": "fact", "key": "k", "content": 1}}], LIMITS) == (
        Put(item=Item(type="fact", key="k", content=b"1")),
    )
    assert read_ops([{"op": "compact", "from": "a", "to": "b", "summary": "s"}], LIMITS) == (
        Compact(first="a", last="b", summary=Item(type="summary", content=b'"s"')),
    )
    assert op_object(Splice(id="i", at=0)) == {"op": "splice", "id": "i", "at": 0, "del": 0, "ins": ""}


def test_all_ten_ops_are_known() -> None:
    assert OPS == ("append", "put", "remove", "patch", "merge", "splice", "mark", "compact", "rollback", "set_policy")


@pytest.mark.parametrize(
    ("op", "reason", "pointer"),
    [
        (None, "unknown_op", "/op"),
        ({"op": ["append"]}, "unknown_op", "/op"),
        ({"op": "explode"}, "unknown_op", "/op"),
        ({"op": "append"}, "bad_item", "/items"),
        ({"op": "append", "items": ["hi"]}, "bad_item", "/items/0"),
        ({"op": "append", "items": [{"role": "user"}]}, "bad_item", "/items/0/type"),
        ({"op": "put", "item": {"type": "fact"}}, "key_missing", "/item/key"),
        ({"op": "remove"}, "target_missing", "/id"),
        ({"op": "remove", "id": "a", "key": "b"}, "target_missing", "/id"),
        ({"op": "patch", "on": "state", "patch": {}}, "patch_failed", "/patch"),
        ({"op": "patch", "patch": []}, "target_missing", "/on"),
        ({"op": "merge", "on": "state"}, "not_object", "/value"),
        ({"op": "splice", "id": "a", "at": -1}, "out_of_range", "/at"),
        ({"op": "splice", "id": "a", "at": 1, "del": "1"}, "out_of_range", "/del"),
        ({"op": "splice", "id": "a", "at": 1, "ins": 5}, "not_text", "/ins"),
        ({"op": "splice", "id": "a", "at": 1, "was": "beef"}, "was_mismatch", "/was"),
        ({"op": "mark", "id": "a", "priority": 11}, "bad_value", "/priority"),
        ({"op": "mark", "id": "a", "privacy": None}, "bad_value", "/privacy"),
        ({"op": "compact", "to": "b", "summary": "s"}, "bad_range", "/from"),
        ({"op": "compact", "from": "a", "to": "b", "summary": {"type": "message"}}, "bad_item", "/summary/type"),
        ({"op": "rollback"}, "not_ancestor", "/to"),
        ({"op": "set_policy", "policy": 3}, "policy_forbidden", "/policy"),
    ],
)
def test_an_op_of_the_wrong_shape_says_why_and_where_11(op: Any, reason: str, pointer: str) -> None:
    assert refused(op) == (reason, pointer)


def test_the_index_is_that_of_the_first_op_that_fails() -> None:
    with pytest.raises(Fault) as caught:
        read_ops([{"op": "remove", "id": "a"}, {"op": "nope"}, {"op": "nope"}], LIMITS)
    assert caught.value.extra == {"errors": [{"op": 1, "reason": "unknown_op", "pointer": "/op"}]}


def test_limits_of_a_delta_are_enforced_at_limit_and_one_41() -> None:
    limits = ContextLimits(ops=2, items_per_request=2, patch_ops=3)
    step = {"op": "test", "path": "", "value": {}}
    item = {"type": "message"}
    assert len(read_ops([{"op": "append", "items": [item]}] * 2, limits)) == 2
    assert len(read_ops([{"op": "patch", "on": "state", "patch": [step] * 3}], limits)) == 1
    assert refused({"op": "patch", "on": "state", "patch": [step] * 4}, limits) == ("too_many_ops", "/patch")
    with pytest.raises(Fault) as caught:
        read_ops([{"op": "append", "items": []}] * 3, limits)
    assert caught.value.extra == {"errors": [{"op": 2, "reason": "too_many_ops", "pointer": ""}]}
    put = {"op": "put", "item": {"type": "fact", "key": "k"}}
    for ops in ([{"op": "append", "items": [item] * 3}], [{"op": "append", "items": [item] * 2}, put]):
        with pytest.raises(Fault) as caught:
            read_ops(ops, limits)
        assert caught.value.code == "too_large"


def test_what_is_no_list_is_an_invalid_body() -> None:
    with pytest.raises(Fault) as caught:
        read_ops({"op": "append"}, LIMITS)
    assert (caught.value.code, caught.value.status) == ("invalid_body", 400)


# -- selectors


def test_a_selector_with_all_its_members() -> None:
    found = read_selector({
        "ids": ["a"], "type": "fact", "key": "travel.*", "about": ["x"], "as_of": "1970-01-01T00:00:01Z",
        "between": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:02Z"], "near": {"point": [8.68, 50.11], "radius_m": 500},
        "bbox": [170, -10, -170, 10], "text": "train",
    })  # fmt: skip
    assert found == Selector(
        ids=("a",), type=("fact",), key="travel.*", about=("x",), as_of=1000, between=(0, 2000),
        near=(8.68, 50.11, 500.0), bbox=(170.0, -10.0, -170.0, 10.0), text="train",
    )  # fmt: skip
    assert read_selector({}) == Selector()


@pytest.mark.parametrize("value", [None, [], {"typ": "fact"}, {"ids": "a"}, {"key": "a b"}, {"near": {"point": [0, 0]}},
                                   {"near": {"point": [0, 0], "radius_m": -1}}, {"bbox": [0, 1, 2]},
                                   {"between": ["1970-01-01T00:00:00Z"]}, {"as_of": "now"}])  # fmt: skip
def test_a_selector_that_could_be_misread_is_refused(value: Any) -> None:
    with pytest.raises(Fault) as caught:
        read_selector(value)
    assert caught.value.code == "invalid_body"
