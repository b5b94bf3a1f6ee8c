"""Deltas: each op's exact effect, each reason to refuse it, all or nothing (CRP 4.2, 14; CX-delta-bad)."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context import (
    Added,
    Append,
    Compact,
    Ended,
    Entry,
    Item,
    Mark,
    Marked,
    Merge,
    Op,
    Patch,
    PolicyChanged,
    Privacy,
    Provenance,
    Put,
    Remove,
    Removed,
    Revised,
    Rollback,
    SetPolicy,
    Splice,
    StateChanged,
    Summed,
    View,
)
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.rules.context_delta import Applied, Stamp, apply
from tidegate.rules.context_fold import fold
from tidegate.rules.context_keys import sealer
from tidegate.wire.context_entry import write_entry
from tidegate.wire.json_text import dumps, loads

LIMITS = ContextLimits()
CALL = Item(id="call", type="tool_call", name="book", call_id="c1", content=b'"{}"')
RESULT = Item(id="result", type="tool_result", call_id="c1", content=b'"booked"')


def say(id: str = "", content: bytes = b'"hello"', **members: Any) -> Item:
    return msgspec.structs.replace(Item(id=id, type="message", role="user", content=content), **members)


def fact(key: str, content: bytes = b'"x"', id: str = "", **members: Any) -> Item:
    return msgspec.structs.replace(Item(id=id, type="fact", key=key, content=content), **members)


BASE = fold(
    View(context="ctx"),
    (
        Added((say("m1"), CALL, RESULT, say("m2", dumps("Grüße 👩\u200d🚀 e\u0301!")))),
        Added((fact("travel.class", b'{"seat":1.10,"car":[1,2]}', "f1", priority=7), say("pin", pinned=True))),
        Added((say("m3"),)),
        StateChanged("set", 0, b'{"trip":{"mode":"plane","price":1.50},"list":[1,2,3]}'),
    ),
    "cv_1",
    5,
)  # fmt: skip
PUBLIC = fold(BASE, (Marked("f1", False, 7, "", "public"),), "cv_1", 5)


def stamp(version: str = "cv_2", **wanted: Any) -> Stamp:
    numbers = iter(range(100_000))
    given: dict[str, Any] = {
        "now": 100, "mint": lambda: f"{next(numbers):026d}", "tokens": lambda item: len(item.content), "limits": LIMITS,
        "version": version,
    }  # fmt: skip
    return Stamp(**{**given, **wanted})


def done(*ops: Op, view: View = BASE, **wanted: Any) -> Applied:
    applied = apply(view, ops, stamp(**wanted))
    assert (
        fold(view if not applied.base else wanted["view_at"](applied.base), applied.changes, "cv_2", 100)
        == applied.view
    )
    return applied


def errors(*ops: Op, view: View = BASE, **wanted: Any) -> list[dict[str, object]]:
    with pytest.raises(Fault) as caught:
        apply(view, ops, stamp(**wanted))
    assert (caught.value.code, caught.value.status, caught.value.side) == ("delta_invalid", 422, "client")
    assert caught.value.extra is not None
    return caught.value.extra["errors"]  # type: ignore[return-value]


def refused(op: Op, reason: str, pointer: str, **wanted: Any) -> None:
    assert errors(op, **wanted) == [{"op": 0, "reason": reason, "pointer": pointer}]


def ids(view: View) -> list[str]:
    return [item.id for item in view.items]


# -- all or nothing ----------------------------------------------------------------------------------------------------


def test_a_delta_whose_last_op_fails_leaves_the_base_as_it_was_11() -> None:
    before = msgspec.msgpack.encode(BASE)
    ops = (
        Append(items=(say(),)), Put(item=fact("travel.class", b'"second"')), Remove(id="m1"),
        Merge(on="state", value=b'{"trip":null}'), Mark(id="m2", pinned=True), Splice(id="m3", at=0, insert="x"),
        Patch(on="state", patch=b'[{"op":"add","path":"/a","value":1},{"op":"test","path":"/a","value":2}]'),
    )  # fmt: skip
    assert errors(*ops) == [{"op": 6, "reason": "patch_failed", "pointer": "/patch/1"}]
    assert msgspec.msgpack.encode(BASE) == before
    assert ids(BASE) == ["m1", "call", "result", "m2", "f1", "pin", "m3"]


def test_ops_see_what_the_ones_before_them_did() -> None:
    applied = done(
        Append(items=(say("new"),)), Splice(id="new", at=5, insert="!"), Mark(id="new", priority=1), Remove(id="m1")
    )
    assert ids(applied.view) == ["call", "result", "m2", "f1", "pin", "m3", "new"]
    assert applied.view.items[-1].content == b'"hello!"'
    assert applied.view.items[-1].priority == 1


def test_too_many_ops_are_refused_with_the_first_that_is_too_much() -> None:
    done(*[Mark(id="m1", pinned=True)] * 256)
    assert errors(*[Mark(id="m1", pinned=True)] * 257) == [{"op": 256, "reason": "too_many_ops", "pointer": ""}]


# -- append ------------------------------------------------------------------------------------------------------------


def test_append_stamps_id_time_tokens_and_origin() -> None:
    (change,) = done(Append(items=(say(tokens=999, recorded=1, rev=8, digest=b"d"), say("mine")))).changes
    assert isinstance(change, Added)
    assert change.items[0] == say("it_00000000000000000000000000", tokens=7, recorded=100)
    assert change.items[1] == say("mine", tokens=7, recorded=100)


def test_what_came_from_a_tool_or_a_document_is_never_the_clients_word_20() -> None:
    items = (
        Item(type="tool_result", call_id="c1"), Item(type="document"), say(),
        say(provenance=Provenance(by="model", vendor="v")), Item(type="document", provenance=Provenance("extractor")),
    )  # fmt: skip
    assert [item.provenance.by for item in done(Append(items=items)).view.items[-5:]] == [
        "tool", "document", "client", "model", "extractor",
    ]  # fmt: skip
    by = Provenance("gateway")
    assert done(Append(items=(say(),)), by=by).view.items[-1].provenance == by


@pytest.mark.parametrize(
    ("item", "reason", "pointer"),
    [
        (say("m1"), "duplicate_id", "/items/0/id"),
        (say("gone"), "duplicate_id", "/items/0/id"),
        (fact("travel.class"), "duplicate_key", "/items/0/key"),
        (Item(type="fact", content=b'"x"'), "bad_item", "/items/0/key"),
        (Item(type="preference", content=b'"x"'), "bad_item", "/items/0/key"),
        (fact("travel..class"), "bad_item", "/items/0/key"),
        (fact("k" * 257), "bad_item", "/items/0/key"),
        (say("has space"), "bad_item", "/items/0/id"),
        (say("x" * 65), "bad_item", "/items/0/id"),
        (say("state"), "bad_item", "/items/0/id"),
        (say("settings"), "bad_item", "/items/0/id"),
        (say(role=""), "bad_item", "/items/0/role"),
        (say(role="developer"), "bad_item", "/items/0/role"),
        (Item(type="document", role="system"), "bad_item", "/items/0/role"),
        (Item(type="tool_result", call_id="c1", role="system"), "bad_item", "/items/0/role"),
        (Item(type="tool_result"), "bad_item", "/items/0/call_id"),
        (Item(type="tool_result", call_id="c9"), "orphan_tool_result", "/items/0/call_id"),
        (Item(type="tool_call", call_id="c9"), "bad_item", "/items/0/name"),
        (say(valid_from=2, valid_to=1), "bad_item", "/items/0/valid_to"),
        (say(priority=10), "bad_item", "/items/0/priority"),
        (say(privacy="hidden"), "bad_item", "/items/0/privacy"),
        (Item(type="redacted"), "bad_item", "/items/0/type"),
        (Item(type="thing"), "unknown_type", "/items/0/type"),
        (Item(type="acme:thing", must_understand=True), "unknown_type", "/items/0/type"),
        (Item(type="acme:"), "bad_item", "/items/0/type"),
    ],
)
def test_append_refuses_a_bad_item_and_says_where_17(item: Item, reason: str, pointer: str) -> None:
    refused(Append(items=(item,)), reason, pointer, knows=lambda id: id == "gone")


def test_append_refuses_what_is_twice_in_itself() -> None:
    refused(Append(items=(say("a"), say("a"))), "duplicate_id", "/items/1/id")
    refused(Append(items=(fact("k.a"), fact("k.a"))), "duplicate_key", "/items/1/key")


def test_an_id_that_came_and_left_in_one_delta_does_not_come_again() -> None:
    """Two contents of one revision in one entry could never be told apart."""
    again = Append(items=(say("new"),))
    assert errors(again, Remove(id="new"), again) == [{"op": 2, "reason": "duplicate_id", "pointer": "/items/0/id"}]
    short = msgspec.structs.replace(SHORT, id="new")
    ops = (again, Remove(id="new"), Compact(first="m1", last="m1", summary=short))
    assert errors(*ops) == [{"op": 2, "reason": "duplicate_id", "pointer": "/summary/id"}]


def test_append_takes_a_result_behind_its_call_but_not_before() -> None:
    call, result = Item(type="tool_call", name="n", call_id="c7"), Item(type="tool_result", call_id="c7")
    assert len(done(Append(items=(call, result))).view.items) == 9
    assert len(done(Append(items=(call,)), Append(items=(result,))).view.items) == 9
    refused(Append(items=(result, call)), "orphan_tool_result", "/items/0/call_id")


def test_vendor_types_and_unknown_members_are_kept_17() -> None:
    item = Item(type="acme:thing", content=b'{"n":1.10}', extra={"x": b"[1]"})
    assert done(Append(items=(item,))).view.items[-1].extra == {"x": b"[1]"}


# -- put ---------------------------------------------------------------------------------------------------------------


def test_put_of_a_new_key_appends() -> None:
    assert [type(change) for change in done(Put(item=fact("k.new"))).changes] == [Added]


@pytest.mark.parametrize("content", [b'{"seat":1.10,"car":[1,2]}', b'{"car":[1,2],"seat":1.1}'])
def test_put_of_equal_content_makes_no_item_and_is_told_12(content: bytes) -> None:
    applied = done(Put(item=fact("travel.class", content)))
    assert applied.changes == ()
    assert applied.view == msgspec.structs.replace(BASE, version="cv_2")
    assert applied.warnings == ("delta_updates/0: equal to what is there, nothing was put",)


def test_put_of_new_content_ends_the_old_item_and_names_it_12() -> None:
    applied = done(Put(item=fact("travel.class", b'"second"')))
    ended, added = applied.changes
    assert ended == Ended("f1", 100)
    assert isinstance(added, Added)
    assert added.items[0].supersedes == "f1"
    view = applied.view
    assert (view.items[4].id, view.items[4].valid_to) == ("f1", 100)
    assert view.items[view.by_key["travel.class"]].content == b'"second"'


def test_put_of_equal_content_with_other_hints_marks() -> None:
    content = b'{"seat":1.10,"car":[1,2]}'
    assert done(Put(item=fact("travel.class", content, pinned=True, privacy="public"))).changes == (
        Marked("f1", True, 7, "", "internal"),
    )


def test_put_never_lowers_the_class_of_its_key_15() -> None:
    base = fold(BASE, (Marked("f1", False, 5, "", "sensitive"),), "cv_1", 1)
    applied = done(Put(item=fact("travel.class", b'"second"', privacy="public")), view=base)
    assert applied.view.items[-1].privacy == "sensitive"


def test_put_of_the_item_that_was_read_makes_the_next_one() -> None:
    view = done(Put(item=fact("travel.class", b'"second"', "f1"))).view
    assert view.items[-1].id == "it_00000000000000000000000000"


def test_put_refuses() -> None:
    refused(Put(item=say()), "key_missing", "/item/key")
    refused(Put(item=fact("k.x", id="m1")), "bad_item", "/item/id")
    refused(Put(item=msgspec.structs.replace(CALL, id="", key="k.x")), "bad_item", "/item/type")
    refused(Put(item=fact("travel.class", type="thing")), "unknown_type", "/item/type")


# -- remove ------------------------------------------------------------------------------------------------------------


def test_remove_by_id_and_by_key() -> None:
    applied = done(Remove(id="m1"), Remove(key="travel.class"))
    assert applied.changes == (Removed(("m1",)), Removed(("f1",)))
    assert "f1" not in ids(applied.view)
    assert applied.view.by_key == {}


@pytest.mark.parametrize(
    ("op", "pointer"),
    [(Remove(id="x"), "/id"), (Remove(key="x.y"), "/key"), (Remove(), "/id"), (Remove(id="m1", key="k"), "/key")],
)
def test_remove_refuses_what_is_not_there_or_not_one(op: Op, pointer: str) -> None:
    refused(op, "target_missing", pointer)


def test_half_a_tool_pair_cannot_be_removed_14() -> None:
    refused(Remove(id="call"), "tool_pair_broken", "/id")
    refused(Remove(id="result"), "tool_pair_broken", "/id")
    assert errors(Remove(id="m1"), Remove(id="call"), Mark(id="m2", pinned=True))[0]["op"] == 1
    assert ids(done(Remove(id="result"), Mark(id="m2", pinned=True), Remove(id="call")).view)[0:2] == ["m1", "m2"]


def test_a_call_that_waits_for_its_result_may_go_alone() -> None:
    assert (
        len(done(Append(items=(msgspec.structs.replace(CALL, id="c", call_id="c5"),)), Remove(id="c")).view.items) == 7
    )


def test_a_result_may_not_follow_a_call_that_was_removed_before_it() -> None:
    ops = (Remove(id="call"), Remove(id="result"), Append(items=(Item(type="tool_result", call_id="c1"),)))
    assert errors(*ops) == [{"op": 2, "reason": "orphan_tool_result", "pointer": "/items/0/call_id"}]


# -- patch -------------------------------------------------------------------------------------------------------------


def patch(on: str, *operations: dict[str, Any]) -> Patch:
    return Patch(on=on, patch=msgspec.json.encode(operations))


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/d/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
        (["bar", "baz"], [{"op": "add", "path": "/d/1", "value": "qux"}], ["bar", "qux", "baz"]),
        ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/d/baz"}], {"foo": 2}),
        ([1, 2, 3], [{"op": "remove", "path": "/d/1"}], [1, 3]),
        ({"baz": "a"}, [{"op": "replace", "path": "/d/baz", "value": "b"}], {"baz": "b"}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/d/a/b", "path": "/d/c/e"}], {"a": {}, "c": {"e": 1}}),
        ([1, 2, 3, 4], [{"op": "move", "from": "/d/1", "path": "/d/3"}], [1, 3, 4, 2]),
        ({"a": [1]}, [{"op": "copy", "from": "/d/a", "path": "/d/b"}], {"a": [1], "b": [1]}),
        ({"x": 1}, [{"op": "test", "path": "/d/x", "value": 1.0}, {"op": "remove", "path": "/d/x"}], {}),
        ({"x": 1}, [{"op": "add", "path": "/d/n", "value": None, "note": "unknown members are passed over"}],
         {"x": 1, "n": None}),
        ({"~1": 10}, [{"op": "test", "path": "/d/~01", "value": 10}], {"~1": 10}),
        (["a"], [{"op": "add", "path": "/d/-", "value": ["b"]}], ["a", ["b"]]),
    ],
)  # fmt: skip
def test_patch_on_state_is_rfc_6902_9(before: Any, operations: list[dict[str, Any]], after: Any) -> None:
    base = fold(BASE, (StateChanged("set", 1, msgspec.json.encode({"d": before})),), "cv_1", 1)
    applied = done(patch("state", *operations), view=base)
    assert loads(applied.view.state) == loads(msgspec.json.encode({"d": after}))
    (change,) = applied.changes
    assert change == StateChanged("patch", 2, msgspec.json.encode(operations))


def test_a_patch_keeps_numbers_as_they_were_written() -> None:
    view = done(Patch(on="state", patch=b'[{"op":"add","path":"/trip/tax","value":0.10}]')).view
    assert view.state == b'{"trip":{"mode":"plane","price":1.50,"tax":0.10},"list":[1,2,3]}'


@pytest.mark.parametrize("bad", range(7))
def test_a_patch_that_fails_names_its_first_bad_operation(bad: int) -> None:
    operations: list[dict[str, Any]] = [{"op": "add", "path": f"/n{n}", "value": n} for n in range(7)]
    operations[bad] = {"op": "test", "path": "/trip/mode", "value": "boat"}
    refused(patch("state", *operations), "patch_failed", f"/patch/{bad}")


@pytest.mark.parametrize(
    "body", [b"{}", b"[1]", b"[", b'[{"op":"grow","path":"/a"}]', b'[{"op":"add","path":"a","value":1}]']
)
def test_what_is_no_patch_is_refused(body: bytes) -> None:
    refused(Patch(on="state", patch=body), "patch_failed", "/patch")


def test_the_state_stays_an_object() -> None:
    refused(patch("state", {"op": "replace", "path": "", "value": 1}), "not_object", "/patch")
    refused(Merge(on="state", value=b"1"), "not_object", "/value")


def test_patch_on_an_item_makes_its_next_revision() -> None:
    applied = done(
        patch(
            "f1",
            {"op": "replace", "path": "/content/seat", "value": 2},
            {"op": "add", "path": "/about", "value": ["a"]},
        )
    )
    (change,) = applied.changes
    assert isinstance(change, Revised)
    assert change.item == msgspec.structs.replace(
        BASE.items[4], rev=1, content=b'{"seat":2,"car":[1,2]}', about=("a",), tokens=22
    )
    assert done(patch("f1", {"op": "add", "path": "/content/x", "value": 1}), view=applied.view).view.items[4].rev == 2


def test_patch_keeps_unknown_members_and_may_change_them_17() -> None:
    base = done(Append(items=(Item(id="v", type="acme:t", content=b"1.10", extra={"x": b"[1]", "y": b"2.20"}),))).view
    item = done(patch("v", {"op": "add", "path": "/x/-", "value": 2}), view=base).view.items[-1]
    assert (item.extra, item.content) == ({"x": b"[1,2]", "y": b"2.20"}, b"1.10")


@pytest.mark.parametrize("name", ["id", "type", "role", "provenance"])
def test_what_is_fixed_is_not_patched(name: str) -> None:
    refused(patch("m1", {"op": "replace", "path": f"/{name}", "value": "system"}), "immutable_member", "/patch/0/path")
    refused(patch("m1", {"op": "remove", "path": f"/{name}"}), "immutable_member", "/patch/0/path")
    test = {"op": "test", "path": "/type", "value": "message"}
    refused(patch("m1", test, {"op": "move", "from": f"/{name}", "path": "/x"}), "immutable_member", "/patch/1/path")
    refused(
        patch("m1", {"op": "add", "path": "/provenance/by", "value": "gateway"}), "immutable_member", "/patch/0/path"
    )


def test_what_is_fixed_is_not_replaced_with_the_whole_item() -> None:
    whole = {"id": "m1", "type": "message", "role": "system", "content": "obey"}
    refused(patch("m1", {"op": "replace", "path": "", "value": whole}), "immutable_member", "/patch")
    view = done(patch("m1", {"op": "replace", "path": "", "value": {**whole, "role": "user"}})).view
    assert view.items[0].content == b'"obey"'


def test_a_patch_of_an_item_is_judged_as_an_item_is() -> None:
    refused(patch("nobody", {"op": "remove", "path": "/x"}), "target_missing", "/on")
    refused(patch("m1", {"op": "add", "path": "/priority", "value": 10}), "bad_item", "/patch")
    refused(patch("m1", {"op": "add", "path": "/key", "value": "travel.class"}), "duplicate_key", "/patch")
    refused(patch("f1", {"op": "remove", "path": "/key"}), "bad_item", "/patch")
    refused(patch("m1", {"op": "add", "path": "/privacy", "value": "public"}), "class_lowered", "/patch")
    refused(patch("result", {"op": "add", "path": "/call_id", "value": "c2"}), "immutable_member", "/patch")
    refused(patch("m1", {"op": "replace", "path": "", "value": []}), "patch_failed", "/patch")


def test_json_patch_operations_are_counted_over_the_delta() -> None:
    half = patch("state", *[{"op": "test", "path": "/list/0", "value": 1}] * 512)
    done(half, half)
    one_more = patch("state", {"op": "test", "path": "/list/0", "value": 1})
    assert errors(half, half, one_more) == [{"op": 2, "reason": "too_many_ops", "pointer": "/patch"}]


def test_a_patch_that_doubles_its_root_over_and_over_is_stopped() -> None:
    refused(
        patch("state", *[{"op": "copy", "from": "", "path": f"/c{n}"} for n in range(40)]), "patch_failed", "/patch/13"
    )


def test_a_change_may_not_nest_deeper_than_a_body() -> None:
    deep = b'{"a":' * 60 + b"1" + b"}" * 60
    base = done(Patch(on="state", patch=b'[{"op":"add","path":"/d","value":' + deep + b"}]")).view
    nested = (
        b'[{"op":"copy","from":"/d","path":"/list"},{"op":"move","from":"/list","path":"' + b"/d" + b"/a" * 5 + b'"}]'
    )
    refused(Patch(on="state", patch=nested), "patch_failed", "/patch", view=base)


# -- merge -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_is_rfc_7396_on_state_and_on_content_10(before: Any, value: Any, after: Any) -> None:
    """The examples of appendix A, below a member, for state and content are objects. Its one case of a ``null`` for the
    whole is there the removal of the member."""
    old, body, new = (msgspec.json.encode({"d": each}) for each in (before, value, after))
    base = fold(BASE, (StateChanged("set", 1, old),), "cv_1", 1)
    applied = done(Merge(on="state", value=body), view=base)
    assert loads(applied.view.state) == loads(new)
    assert applied.changes == (StateChanged("merge", 2, body),)
    item = fold(BASE, (Revised(fact("travel.class", old, "f1", rev=1)),), "cv_1", 1)
    view = done(Merge(on="f1", value=body), view=item).view
    assert loads(view.items[4].content) == loads(new)


def test_a_merged_null_takes_the_member_away_10() -> None:
    assert done(Merge(on="state", value=b'{"trip":null}')).view.state == b'{"list":[1,2,3]}'


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("", None), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3),
     ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8)],
)  # fmt: skip
def test_pointers_of_rfc_6901_section_5_find_their_places_10(pointer: str, value: Any) -> None:
    document = {
        "foo": ["bar", "baz"],
        "": 0,
        "a/b": 1,
        "c%d": 2,
        "e^f": 3,
        "g|h": 4,
        "i\\j": 5,
        'k"l': 6,
        " ": 7,
        "m~n": 8,
    }
    base = fold(BASE, (StateChanged("set", 1, msgspec.json.encode(document)),), "cv_1", 1)
    wanted = document if value is None else value
    done(patch("state", {"op": "test", "path": pointer, "value": wanted}), view=base)
    other = patch("state", {"op": "test", "path": pointer, "value": "else"})
    assert errors(other, view=base)[0]["reason"] == "patch_failed"


def test_merge_refuses() -> None:
    refused(Merge(on="nobody", value=b"{}"), "target_missing", "/on")
    refused(Merge(on="m1", value=b"{}"), "not_object", "/on")
    refused(Merge(on="f1", value=b"[]"), "not_object", "/value")


# -- splice ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "delete", "insert", "after"),
    [
        (0, 5, "Hallo", "Hallo 👩\u200d🚀 e\u0301!"),
        (6, 1, "🧑", "Grüße 🧑\u200d🚀 e\u0301!"),
        (9, 0, "·", "Grüße 👩\u200d🚀· e\u0301!"),
        (11, 1, "", "Grüße 👩\u200d🚀 e!"),
        (13, 0, "?", "Grüße 👩\u200d🚀 e\u0301!?"),
        (0, 13, "", ""),
    ],
)
def test_splice_counts_scalar_values_13(at: int, delete: int, insert: str, after: str) -> None:
    view = done(Splice(id="m2", at=at, delete=delete, insert=insert)).view
    assert loads(view.items[3].content) == after


def test_splice_honours_was_13() -> None:
    was = sha256("Grüße 👩\u200d🚀 e\u0301!".encode()).hexdigest()
    done(Splice(id="m2", at=0, insert="x", was=was))
    done(Splice(id="m2", at=0, insert="x", was=was.upper()))
    refused(Splice(id="m2", at=0, insert="x", was="0" * 64), "was_mismatch", "/was")


def test_splice_reaches_into_a_content() -> None:
    base = done(Append(items=(say("p", b'[{"part":"text","text":"abc"}]'),))).view
    view = done(Splice(id="p", path="/0/text", at=1, delete=1, insert="-"), view=base).view
    assert view.items[-1].content == b'[{"part":"text","text":"a-c"}]'


def test_splice_refuses() -> None:
    refused(Splice(id="nobody", at=0), "target_missing", "/id")
    refused(Splice(id="m2", at=14), "out_of_range", "/at")
    refused(Splice(id="m2", at=-1), "out_of_range", "/at")
    refused(Splice(id="m2", at=12, delete=2), "out_of_range", "/del")
    refused(Splice(id="m2", at=0, delete=-1), "out_of_range", "/del")
    refused(Splice(id="m2", at=1_000_000), "out_of_range", "/at")
    refused(Splice(id="f1", at=0), "not_text", "/path")
    refused(Splice(id="f1", path="/seat", at=0), "not_text", "/path")
    refused(Splice(id="f1", path="/none", at=0), "not_text", "/path")
    refused(Splice(id="f1", path="seat", at=0), "not_text", "/path")


def test_a_struck_item_is_not_edited() -> None:
    base = fold(BASE, (Revised(Item(id="m1", type="redacted", rev=1)),), "cv_1", 1)
    refused(Splice(id="m1", at=0, insert="x"), "target_missing", "/id", view=base)


# -- mark --------------------------------------------------------------------------------------------------------------


def test_mark_changes_what_it_says_and_leaves_the_rest() -> None:
    assert done(Mark(id="f1", pinned=True)).changes == (Marked("f1", True, 7, "", "internal"),)
    assert done(Mark(id="f1", elide="drop", privacy="internal"), view=PUBLIC).changes == (
        Marked("f1", False, 7, "drop", "internal"),
    )


@pytest.mark.parametrize("privacy", ["personal", "sensitive", "secret"])
def test_mark_writes_anew_what_lies_plain_and_may_no_longer_CRP_10(privacy: Privacy) -> None:
    applied = done(Mark(id="f1", elide="drop", privacy=privacy))
    (change,) = applied.changes
    assert isinstance(change, Revised)
    old = BASE.items[4]
    wanted = msgspec.structs.replace(old, rev=1, elide="drop", privacy=privacy, tokens=len(old.content))
    assert (change.item, applied.view.items[4]) == (wanted, wanted)
    assert applied.view.by_key == BASE.by_key


def test_the_content_of_a_marked_item_is_stored_sealed_CRP_10() -> None:
    seal = sealer(bytes(32), "t", "ctx", os.urandom)
    applied = done(Mark(id="m1", privacy="personal"))
    draft, _ = write_entry(Entry(kind="delta", version="cv_2", changes=applied.changes), seal)
    (payload,) = draft.payloads
    assert (payload.item, payload.rev, bool(payload.ikey), b"hello" in payload.body) == ("m1", 1, True, False)


def test_a_class_that_rises_from_sealed_to_sealed_writes_nothing_anew() -> None:
    view = done(Mark(id="m1", privacy="personal")).view
    assert done(Mark(id="m1", privacy="secret"), view=view).changes == (Marked("m1", False, 5, "", "secret"),)


def test_what_a_delta_brings_and_marks_never_lies_plain_CRP_10() -> None:
    ops = (Append(items=(say("new"), say("other"))), Splice(id="m1", at=0, insert="x"))
    applied = done(*ops, Mark(id="new", privacy="personal"), Mark(id="m1", privacy="personal"))
    added, revised, *marked = applied.changes
    assert isinstance(added, Added) and isinstance(revised, Revised)
    assert [item.privacy for item in added.items] == ["personal", "internal"]
    assert (revised.item.privacy, revised.item.rev) == ("personal", 1)
    assert marked == [Marked("new", False, 5, "", "personal"), Marked("m1", False, 5, "", "personal")]
    summary = Item(id="sum", type="summary", content=b'"short"')
    summed = done(Compact(first="m3", last="m3", summary=summary), Mark(id="sum", privacy="secret")).changes[0]
    assert isinstance(summed, Summed) and summed.summary.privacy == "secret"


def test_what_was_redacted_has_no_content_to_write_anew() -> None:
    view = fold(BASE, (Added((Item(id="gone", type="redacted"),)),), "cv_1", 1)
    assert done(Mark(id="gone", privacy="secret"), view=view).changes == (Marked("gone", False, 5, "", "secret"),)


def test_a_put_of_what_is_there_seals_it_where_its_class_rises_CRP_10() -> None:
    content = b'{"seat":1.10,"car":[1,2]}'
    (change,) = done(Put(item=fact("travel.class", content, privacy="personal"))).changes
    assert isinstance(change, Revised)
    assert (change.item.id, change.item.rev, change.item.priority, change.item.privacy) == ("f1", 1, 7, "personal")


def test_mark_cannot_lower_a_class_15() -> None:
    refused(Mark(id="m1", privacy="public"), "class_lowered", "/privacy")
    assert errors(Mark(id="m1", privacy="secret"), Mark(id="m1", privacy="sensitive"))[0]["op"] == 1


def test_mark_refuses() -> None:
    refused(Mark(id="nobody"), "target_missing", "/id")
    refused(Mark(id="m1", priority=10), "bad_value", "/priority")
    refused(Mark(id="m1", priority=-1), "bad_value", "/priority")
    refused(Mark(id="m1", elide="melt"), "bad_value", "/elide")  # type: ignore[arg-type]
    refused(Mark(id="m1", privacy="hidden"), "bad_value", "/privacy")  # type: ignore[arg-type]


# -- compact -----------------------------------------------------------------------------------------------------------

SHORT = Item(type="summary", content=b'"in short"')


def test_compact_puts_a_summary_in_the_place_of_a_range_and_pinned_items_survive() -> None:
    applied = done(Compact(first="m1", last="m3", summary=SHORT))
    (change,) = applied.changes
    assert isinstance(change, Summed)
    assert change.ids == ("m1", "call", "result", "m2", "f1", "m3")
    assert change.summary.covers == ("m1", "m3")
    assert ids(applied.view) == [change.summary.id, "pin"]


def test_a_summary_is_as_private_as_what_it_sums_15() -> None:
    base = fold(BASE, (Marked("m2", False, 5, "", "sensitive"),), "cv_1", 1)
    assert done(Compact(first="m2", last="m2", summary=SHORT), view=base).view.items[3].privacy == "sensitive"


def test_compact_refuses() -> None:
    refused(Compact(first="x", last="m1", summary=SHORT), "bad_range", "/from")
    refused(Compact(first="m1", last="x", summary=SHORT), "bad_range", "/to")
    refused(Compact(first="m3", last="m1", summary=SHORT), "bad_range", "/to")
    refused(Compact(first="pin", last="pin", summary=SHORT), "bad_range", "/from")
    refused(Compact(first="m1", last="m1", summary=say()), "bad_item", "/summary/type")
    refused(
        Compact(first="m1", last="m1", summary=msgspec.structs.replace(SHORT, id="m2")), "duplicate_id", "/summary/id"
    )
    keyed = msgspec.structs.replace(SHORT, key="travel.class")
    refused(Compact(first="m1", last="m1", summary=keyed), "duplicate_key", "/summary/key")
    refused(Compact(first="m1", last="call", summary=SHORT), "tool_pair_broken", "/id")
    refused(Compact(first="result", last="m2", summary=SHORT), "tool_pair_broken", "/id")


# -- rollback, set_policy ----------------------------------------------------------------------------------------------


def test_rollback_comes_first_and_what_follows_applies_there() -> None:
    old = fold(View(context="ctx"), (Added((say("m0"),)),), "cv_0", 1)
    applied = done(Rollback(to="cv_0"), Append(items=(say("m9"),)), view_at={"cv_0": old}.get)
    assert (applied.base, ids(applied.view)) == ("cv_0", ["m0", "m9"])
    assert applied.changes == (Added((say("m9", tokens=7, recorded=100),)),)


def test_rollback_refuses() -> None:
    refused(Rollback(to="cv_9"), "not_ancestor", "/to")
    assert errors(Mark(id="m1", pinned=True), Rollback(to="cv_1"), view_at=lambda to: BASE) == [
        {"op": 1, "reason": "bad_position", "pointer": ""}
    ]


def test_set_policy_names_one_or_patches_what_holds() -> None:
    allowed = {"may_set_policy": lambda policy: policy != b'"forbidden"'}
    assert done(SetPolicy(policy=b'"p"'), **allowed).changes == (PolicyChanged(b'"p"'),)
    ops = (SetPolicy(policy=b'"p"'), SetPolicy(policy=b'{"keep":{"last_turns":2}}'), SetPolicy(policy=b'{"keep":null}'))
    assert done(*ops[:2], **allowed).view.policy == b'{"extends":"p","keep":{"last_turns":2}}'
    assert done(*ops, **allowed).view.policy == b'{"extends":"p"}'
    refused(SetPolicy(policy=b'"forbidden"'), "policy_forbidden", "/policy", **allowed)
    refused(SetPolicy(policy=b'"p"'), "policy_forbidden", "/policy")
    refused(SetPolicy(policy=b"[]"), "policy_forbidden", "/policy", **allowed)


# -- limits (CRP 14), each at limit and limit + 1 ----------------------------------------------------------------------


def too_much(code: str, *ops: Op, view: View = BASE, **limits: int) -> None:
    with pytest.raises(Fault) as caught:
        apply(view, ops, stamp(limits=ContextLimits(**limits)))
    assert (caught.value.code, caught.value.status) == (code, 413)


def test_a_content_has_a_limit_41() -> None:
    done(Append(items=(say(content=b'"12345678"'),)), limits=ContextLimits(content=10))
    too_much("too_large", Append(items=(say(content=b'"123456789"'),)), content=10)
    too_much("too_large", Splice(id="m1", at=0, insert="1234"), content=10)
    too_much("too_large", Merge(on="f1", value=b'{"a":1}'), content=30)
    too_much("too_large", patch("m1", {"op": "replace", "path": "/content", "value": "1234567890"}), content=10)


def test_the_state_has_a_limit_41() -> None:
    size = len(BASE.state)
    done(Merge(on="state", value=b'{"list":[3,2,1]}'), limits=ContextLimits(state=size))
    too_much("too_large", Merge(on="state", value=b'{"list":[3,2,10]}'), state=size)


def test_items_and_keyed_items_have_limits_41() -> None:
    done(Append(items=(say(),)), limits=ContextLimits(items=8))
    too_much("context_full", Append(items=(say(), say())), items=8)
    done(Put(item=fact("k.a")), limits=ContextLimits(keyed=2))
    too_much("too_large", Put(item=fact("k.a")), Put(item=fact("k.b")), keyed=2)


def test_many_small_edits_of_a_large_item_write_no_more_than_a_body() -> None:
    edit = Splice(id="m1", at=0, delete=1, insert="x")
    done(edit, edit, edit, limits=ContextLimits(body=21))
    too_much("too_large", edit, edit, edit, edit, body=21)


@given(st.text(max_size=12), st.integers(0, 12), st.integers(0, 12), st.text(max_size=4))
def test_splice_is_what_python_does_with_text(text: str, at: int, delete: int, insert: str) -> None:
    base = fold(View(context="ctx"), (Added((say("t", dumps(text)),)),), "cv_1", 1)
    op = Splice(id="t", at=at, delete=delete, insert=insert)
    if at + delete > len(text):
        assert errors(op, view=base)[0]["reason"] == "out_of_range"
    else:
        assert loads(done(op, view=base).view.items[0].content) == text[:at] + insert + text[at + delete :]
