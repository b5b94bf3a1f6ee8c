"""Differences between views and what a log says as ops (CRP 4.3, 4.4; #16)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.exchange.context import (
    Added,
    Append,
    Change,
    Compact,
    Ended,
    EpochBegun,
    Item,
    Mark,
    Marked,
    Merge,
    Op,
    Patch,
    PolicyChanged,
    Privacy,
    Put,
    Remove,
    Removed,
    Revised,
    SetPolicy,
    SettingsChanged,
    StateChanged,
    Summed,
    View,
)
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.rules.context_delta import Stamp, apply
from tidegate.rules.context_diff import current_items, diff, ops_of, patch_between
from tidegate.rules.context_fold import fold
from tidegate.rules.json_patch import apply_patch, read_patch, same
from tidegate.wire.json_text import dumps, from_python, loads

EMPTY = View(context="ctx")


def say(id: str, content: bytes = b'"x"', **members: Any) -> Item:
    return msgspec.structs.replace(Item(id=id, type="message", role="user", content=content), **members)


def fact(key: str, content: bytes = b'"x"', id: str = "", **members: Any) -> Item:
    return msgspec.structs.replace(Item(id=id, type="fact", key=key, content=content), **members)


def stamp(prefix: str = "n", **wanted: Any) -> Stamp:
    numbers = iter(range(100_000))
    return Stamp(
        now=9, version="cv_2", mint=lambda: f"{prefix}{next(numbers)}", tokens=lambda item: len(item.content),
        limits=ContextLimits(), **wanted,
    )  # fmt: skip


def after(view: View, *ops: Op, prefix: str = "n") -> View:
    return apply(view, ops, stamp(prefix)).view


def seen(view: View) -> tuple[Any, ...]:
    """What two views must have in common to be equal: unkeyed items in their order, keyed ones by key, the state.
    Revisions, times of recording and what was superseded are how they came to be so."""
    plain = [
        (msgspec.structs.replace(item, id="" if item.key else item.id, rev=0, recorded=0, digest=b"", supersedes="",
                                 tokens=0, content=b""), valued(loads(item.content)))
        for item in current_items(view)
    ]  # fmt: skip
    return (
        [pair for pair in plain if not pair[0].key],
        {pair[0].key: pair for pair in plain if pair[0].key},
        valued(loads(view.state)),
    )


def by_id(pair: tuple[Item, Any]) -> str:
    return pair[0].id


def valued(value: Any) -> Any:
    """JSON by value: numbers however they are written, members in any order, true not 1."""
    if isinstance(value, dict):
        return {name: valued(member) for name, member in value.items()}
    if isinstance(value, list):
        return [valued(each) for each in value]
    return Decimal(bytes(value).decode()) if isinstance(value, msgspec.Raw) else repr(value)


A = fold(
    EMPTY,
    (
        Added((say("m1"), fact("k.a", b'{"n":1}', "f1"), fact("k.b", b"1", "f2"), say("m2"), say("m3"))),
        StateChanged("set", 0, b'{"a":1,"b":{"c":[1,2]}}'),
    ),
    "cv_1",
    1,
)


# -- JSON --------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "/", "~"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "/", "~0", ""]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_the_patch_between_two_values_leads_from_one_to_the_other(one: Any, two: Any) -> None:
    before, after_ = from_python(one), from_python(two)
    patch = patch_between(before, after_)
    assert same(apply_patch(from_python(one), read_patch(loads(dumps(patch)))), after_)
    assert (patch == []) == same(before, after_)


def test_equal_numbers_are_no_difference_however_they_are_written() -> None:
    assert patch_between(loads(b'{"a":1.0}'), loads(b'{"a":1}')) == []


# -- diff --------------------------------------------------------------------------------------------------------------


def test_the_ops_of_a_diff_come_in_the_order_of_crp_4_4() -> None:
    b = after(
        A, Append(items=(say("m4"), say("m5"))), Merge(on="state", value=b'{"a":2}'), Mark(id="m2", pinned=True),
        Patch(on="m3", patch=b'[{"op":"replace","path":"/content","value":"y"}]'), Put(item=fact("k.a", b'{"n":2}')),
        Remove(key="k.b"), Remove(id="m1"),
    )  # fmt: skip
    assert diff(A, b) == (
        Remove(id="m1"),
        Remove(id="f2"),
        Put(item=fact("k.a", b'{"n":2}', "it_n0")),
        Patch(on="m3", patch=b'[{"op":"replace","path":"/content","value":"y"}]'),
        Mark(id="m2", pinned=True),
        Append(items=(say("m4"), say("m5"))),
        Patch(on="state", patch=b'[{"op":"replace","path":"/a","value":2}]'),
    )
    assert seen(after(A, *diff(A, b))) == seen(b)


def test_views_that_are_equal_differ_by_nothing() -> None:
    assert diff(A, A) == ()
    assert diff(A, after(A, Put(item=fact("k.a", b'{"n":1.0}')))) == ()


def test_a_revision_of_a_keyed_item_is_patched_and_keeps_its_id() -> None:
    b = after(A, Merge(on="f1", value=b'{"m":1}'))
    assert diff(A, b) == (Patch(on="f1", patch=b'[{"op":"add","path":"/content/m","value":1}]'),)


def test_one_key_of_two_branches_is_put() -> None:
    left, right = (
        after(EMPTY, Put(item=fact("k", b"1")), prefix="l"),
        after(EMPTY, Put(item=fact("k", b"2")), prefix="r"),
    )
    assert diff(left, right) == (Put(item=fact("k", b"2", "it_r0")),)
    same_said = after(EMPTY, Put(item=fact("k", b"1", pinned=True)), prefix="r")
    assert diff(left, same_said) == (Mark(id="it_l0", pinned=True),)


def test_a_lower_class_on_another_branch_is_a_removal_and_an_append() -> None:
    left = after(EMPTY, Put(item=fact("k", b"1", privacy="personal")), prefix="l")
    right = after(EMPTY, Put(item=fact("k", b"2")), prefix="r")
    assert diff(left, right) == (Remove(id="it_l0"), Append(items=(fact("k", b"2", "it_r0"),)))


def test_what_was_superseded_is_no_difference() -> None:
    b = after(A, Put(item=fact("k.a", b"5")), Put(item=fact("k.a", b"6")))
    assert [type(op) for op in diff(A, b)] == [Put]
    assert diff(b, fold(b, (EpochBegun("trim", 1),), "cv_3", 1)) == ()


def test_a_struck_item_is_not_told_as_new() -> None:
    assert diff(EMPTY, fold(EMPTY, (Added((Item(id="r", type="redacted"),)),), "cv", 1)) == ()


def test_more_items_than_a_request_may_bring_come_in_several_appends() -> None:
    many = fold(EMPTY, (Added(tuple(say(f"m{n}") for n in range(1025))),), "cv", 1)
    assert [len(op.items) for op in diff(EMPTY, many) if isinstance(op, Append)] == [1024, 1]


KEYS = st.sampled_from(["k.a", "k.b", "k.c"])
IDS = st.sampled_from(["m1", "m2", "m3", "f1", "f2"])
CONTENTS = st.sampled_from([b"1", b"1.0", b'"text"', b'{"n":1}', b'{"n":2,"deep":{"x":[1]}}'])
CLASSES: st.SearchStrategy[Privacy] = st.sampled_from(["public", "internal", "personal"])
OPS = st.one_of(
    st.builds(lambda key, content, privacy, pinned: Put(item=fact(key, content, privacy=privacy, pinned=pinned)),
              KEYS, CONTENTS, CLASSES, st.booleans()),
    st.builds(lambda content, about: Append(items=(say("", content, about=about),)), CONTENTS,
              st.sampled_from([(), ("a",), ("a", "b")])),
    st.builds(lambda id: Remove(id=id), IDS),
    st.builds(lambda key: Remove(key=key), KEYS),
    st.builds(lambda id, pinned, priority: Mark(id=id, pinned=pinned, priority=priority), IDS,
              st.none() | st.booleans(), st.none() | st.integers(0, 9)),
    st.builds(lambda id, value: Merge(on=id, value=value), IDS,
              st.sampled_from([b'{"n":3}', b'{"n":null}', b'{"z":{}}'])),
    st.builds(lambda id, value: Patch(on=id, patch=b'[{"op":"add","path":"/content","value":' + value + b"}]"), IDS,
              CONTENTS),
    st.builds(lambda id, value: Patch(on=id, patch=b'[{"op":"add","path":"/about","value":' + value + b"}]"), IDS,
              st.sampled_from([b'["x"]', b"[]"])),
    st.builds(lambda value: Merge(on="state", value=value),
              st.sampled_from([b'{"a":2}', b'{"a":null}', b'{"b":{"c":3}}', b'{"b":{"d":{"e":[]}}}', b'{"b":7}'])),
)  # fmt: skip


def walked(ops: list[Op], prefix: str) -> View:
    """*A* after those of *ops* that hold."""
    view = A
    for number, op in enumerate(ops):
        try:
            view = apply(view, (op,), stamp(f"{prefix}{number}_")).view
        except Fault:
            continue
    return view


@settings(max_examples=300)
@given(st.lists(OPS, max_size=8))
def test_a_diff_to_what_a_view_became_leads_there_16(ops: list[Op]) -> None:
    b = walked(ops, "b")
    assert seen(after(A, *diff(A, b))) == seen(b)
    assert diff(after(A, *diff(A, b)), b) == ()


@settings(max_examples=300)
@given(st.lists(OPS, max_size=6), st.lists(OPS, max_size=6))
def test_a_diff_between_two_branches_leads_over_where_classes_allow_16(left: list[Op], right: list[Op]) -> None:
    a, b = walked(left, "a"), walked(right, "b")
    ops = diff(a, b)
    try:
        found = after(a, *ops)
    except Fault as fault:
        assert fault.extra is not None
        assert fault.extra["errors"][0]["reason"] == "class_lowered"  # type: ignore[index]
        return
    plain, keyed, state = seen(found)
    assert (sorted(plain, key=by_id), keyed, state) == (sorted(seen(b)[0], key=by_id), *seen(b)[1:])


# -- ops of a log ------------------------------------------------------------------------------------------------------


def test_each_change_is_told_as_the_op_that_makes_it() -> None:
    summary = Item(id="s", type="summary", covers=("m2", "m3"))
    changes: tuple[Change, ...] = (
        Added((say("m4"),)),
        Ended("f1", 9),
        Added((fact("k.a", b"2", "f3", supersedes="f1"),)),
        Revised(say("m1", b'"y"', rev=1)),
        Marked("m1", True, 5, "", "personal"),
        Removed(("f2",)),
        Summed(("m2", "m3"), summary),
        StateChanged("merge", 1, b'{"a":2}'),
        StateChanged("patch", 2, b"[]"),
        StateChanged("set", 3, b'{"z":1.0}'),
        StateChanged("set", 4, b""),
        SettingsChanged(0, b"{}"),
        PolicyChanged(b'"p"'),
        EpochBegun("trim", 1),
    )
    assert ops_of(changes, A) == (
        Append(items=(say("m4"),)),
        Put(item=fact("k.a", b"2", "f3", supersedes="f1")),
        Patch(on="m1", patch=b'[{"op":"replace","path":"/content","value":"y"}]'),
        Mark(id="m1", pinned=True, privacy="personal"),
        Remove(id="f2"),
        Compact(first="m2", last="m3", summary=summary),
        Merge(on="state", value=b'{"a":2}'),
        Patch(on="state", patch=b"[]"),
        Patch(on="state", patch=b'[{"op":"replace","path":"","value":{"z":1.0}}]'),
        SetPolicy(policy=b'"p"'),
    )


def test_a_revision_that_changes_hints_is_told_as_a_mark_too() -> None:
    changes = (Revised(say("m1", b'"y"', rev=1, priority=2, privacy="personal")),)
    assert ops_of(changes, A) == (
        Patch(on="m1", patch=b'[{"op":"replace","path":"/content","value":"y"}]'),
        Mark(id="m1", priority=2, privacy="personal"),
    )


def test_nothing_is_told_of_what_was_struck_or_changes_nothing() -> None:
    changes = (
        Added((Item(id="r", type="redacted"),)),
        Revised(say("m1", rev=1)),
        Marked("m1", False, 5, "", "internal"),
    )
    assert ops_of(changes, A) == ()


@settings(max_examples=200)
@given(st.lists(OPS, max_size=8))
def test_the_ops_of_a_log_make_again_what_it_made(ops: list[Op]) -> None:
    view, changes = A, list[Change]()
    for number, op in enumerate(ops):
        try:
            applied = apply(view, (op,), stamp(f"b{number}_"))
        except Fault:
            continue
        view = applied.view
        changes += applied.changes
    assert seen(after(A, *ops_of(changes, A))) == seen(view)
