"""Rebase and merge: what commutes, what unites, what is a conflict (CRP 5.5; #30)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
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
    Put,
    Remove,
    Removed,
    Revised,
    Rollback,
    SetPolicy,
    SettingsChanged,
    Splice,
    StateChanged,
    Summed,
    TemplateChanged,
    View,
)
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import Fault
from tidegate.rules.context_delta import Stamp, apply
from tidegate.rules.context_fold import fold
from tidegate.rules.context_merge import merge, rebases
from tidegate.wire.json_text import dumps, loads

Raw = msgspec.Raw


def say(id: str, content: bytes = b'"x"', **members: Any) -> Item:
    return msgspec.structs.replace(Item(id=id, type="message", role="user", content=content), **members)


def fact(key: str, content: bytes = b'"x"', id: str = "", **members: Any) -> Item:
    return msgspec.structs.replace(Item(id=id, type="fact", key=key, content=content), **members)


BASE = fold(
    View(context="ctx"),
    (
        Added((say("m1"), fact("k.a", b'{"n":1}', "f1"), fact("k.b", b"1", "f2"), say("m2"))),
        StateChanged("set", 0, b'{"a":{"x":1,"y":1},"list":[1,2],"s":"t"}'),
    ),
    "cv_1",
    1,
)


def patch(*operations: dict[str, Any], on: str = "state") -> Patch:
    return Patch(on=on, patch=msgspec.json.encode(operations))


def changed(*ops: Op, view: View = BASE, prefix: str = "t") -> tuple[tuple[Change, ...], View]:
    numbers = iter(range(1000))
    stamp = Stamp(
        now=9, version="cv_2", mint=lambda: f"{prefix}{next(numbers)}", tokens=lambda item: 0, limits=ContextLimits(),
        may_set_policy=lambda policy: True,
    )  # fmt: skip
    applied = apply(view, ops, stamp)
    return applied.changes, applied.view


# -- rebase ------------------------------------------------------------------------------------------------------------

COMMUTE: list[tuple[Op, Op]] = [
    (Put(item=fact("k.c")), Put(item=fact("k.d"))),
    (Put(item=fact("k.a")), Put(item=fact("k.b"))),
    (Append(items=(fact("k.c"),)), Append(items=(fact("k.d"), fact("k.e")))),
    (Put(item=fact("k.a")), Append(items=(say(""),))),
    (Append(items=(say(""),)), Put(item=fact("k.c"))),
    (Merge(on="state", value=b'{"a":{"x":2}}'), Merge(on="state", value=b'{"a":{"y":2}}')),
    (Merge(on="state", value=b'{"a":{"x":2}}'), patch({"op": "add", "path": "/a/z", "value": 2})),
    (patch({"op": "remove", "path": "/s"}), patch({"op": "add", "path": "/list/-", "value": 2})),
    (Merge(on="state", value=b'{"s":null}'), Put(item=fact("k.a"))),
    (Mark(id="m1", pinned=True), Mark(id="m2", pinned=True)),
    (Splice(id="m1", at=0, insert="a"), Splice(id="m2", at=0, insert="b")),
    (Remove(id="m1"), Remove(key="k.a")),
    (Compact(first="m1", last="m1", summary=Item(type="summary")), Append(items=(say(""),))),
    (Merge(on="f1", value=b'{"n":2}'), Put(item=fact("k.b"))),
    (SetPolicy(policy=b'"p"'), Put(item=fact("k.b"))),
]
COLLIDE: list[tuple[Op, Op]] = [
    (Put(item=fact("k.c")), Put(item=fact("k.c", b'"y"'))),
    (Put(item=fact("k.a")), Remove(key="k.a")),
    (Put(item=fact("k.a")), Remove(id="f1")),
    (Put(item=fact("k.a")), Mark(id="f1", pinned=True)),
    (Append(items=(say(""),)), Append(items=(say(""),))),
    (Append(items=(say(""),)), Append(items=(Item(type="document", content=b'"d"'),))),
    (Append(items=(fact("k.c", id="same"),)), Append(items=(fact("k.d", id="same"),))),
    (Merge(on="state", value=b'{"a":{"x":2}}'), Merge(on="state", value=b'{"a":{"x":3}}')),
    (Merge(on="state", value=b'{"a":{"x":2}}'), Merge(on="state", value=b'{"a":null}')),
    (Merge(on="state", value=b'{"a":{"x":2}}'), patch({"op": "test", "path": "/a", "value": {"x": 1, "y": 1}})),
    (patch({"op": "replace", "path": "", "value": {}}), Merge(on="state", value=b'{"new":1}')),
    (patch({"op": "add", "path": "/list/-", "value": 3}), patch({"op": "add", "path": "/list/-", "value": 4})),
    (patch({"op": "remove", "path": "/list/0"}), patch({"op": "replace", "path": "/list/1", "value": 4})),
    (patch({"op": "move", "from": "/s", "path": "/t"}), Merge(on="state", value=b'{"s":"u"}')),
    (patch({"op": "copy", "from": "/s", "path": "/t"}), Merge(on="state", value=b'{"s":"u"}')),
    (Splice(id="m1", at=0, insert="a"), Splice(id="m1", at=0, insert="b")),
    (Splice(id="m1", at=0, insert="a"), Remove(id="m1")),
    (Merge(on="f1", value=b'{"n":2}'), patch({"op": "add", "path": "/about", "value": []}, on="f1")),
    (Remove(id="m1"), Mark(id="m1", priority=1)),
    (Compact(first="m1", last="m1", summary=Item(type="summary")), Mark(id="m1", pinned=True)),
    (Mark(id="f1", pinned=True), Compact(first="m1", last="m2", summary=Item(type="summary"))),
    (SetPolicy(policy=b'"p"'), SetPolicy(policy=b'"q"')),
    (Put(item=fact("k.a")), Rollback(to="cv_1")),
]


@pytest.mark.parametrize(("theirs", "mine"), COMMUTE)
def test_what_touches_nothing_of_the_others_rebases_and_either_order_makes_the_same_30(theirs: Op, mine: Op) -> None:
    changes, first = changed(theirs)
    assert rebases(changes, (mine,), BASE)
    one = changed(mine, view=first, prefix="m")[1]
    two = changed(theirs, view=changed(mine, prefix="m")[1])[1]
    assert {item.id: item for item in one.items} == {item.id: item for item in two.items}
    assert loads(one.state) == loads(two.state) or sorted(one.state) == sorted(two.state)
    assert (one.by_key.keys(), one.policy) == (two.by_key.keys(), two.policy)


@pytest.mark.parametrize(("theirs", "mine"), COLLIDE)
def test_what_touches_the_same_does_not_rebase_30(theirs: Op, mine: Op) -> None:
    assert not rebases(changed(theirs)[0], (mine,), BASE)


@pytest.mark.parametrize(("mine", "theirs"), [pair for pair in COLLIDE if not isinstance(pair[1], Rollback)])
def test_it_does_not_matter_who_came_first_30(mine: Op, theirs: Op) -> None:
    assert not rebases(changed(theirs)[0], (mine,), BASE)


def test_one_op_of_many_that_collides_is_enough() -> None:
    theirs, _ = changed(Put(item=fact("k.c")), Mark(id="m2", pinned=True))
    assert rebases(theirs, (Put(item=fact("k.d")), Mark(id="m1", pinned=True)), BASE)
    assert not rebases(theirs, (Put(item=fact("k.d")), Mark(id="m2", pinned=True)), BASE)


def test_epochs_and_settings_stand_in_nobodys_way_and_a_struck_state_does() -> None:
    mine = (Merge(on="state", value=b'{"a":{"x":2}}'), Append(items=(say(""),)))
    assert rebases((EpochBegun("trim", 1), SettingsChanged(0, b"{}"), TemplateChanged("t@1")), mine, BASE)
    assert not rebases((StateChanged("merge", 1, b""),), mine, BASE)
    assert not rebases((Summed(("m1",), Item(type="summary", id="s")),), (Splice(id="m1", at=0),), BASE)


# -- merge -------------------------------------------------------------------------------------------------------------


def union(ours: View, theirs: View, strategy: Any = "") -> View:
    merged = merge(BASE, ours, theirs, strategy, now=77)
    assert merged.conflicts == ()
    return fold(ours, merged.changes, "cv_9", 9)


def conflicts(ours: View, theirs: View) -> list[tuple[str, Any, Any]]:
    merged = merge(BASE, ours, theirs)
    assert merged.changes == ()
    assert all(conflict["op"] == "test" for conflict in merged.conflicts)
    return [(each["path"], each.get("value"), each.get("theirs")) for each in merged.conflicts]


def ours_and_theirs(ours: list[Op], theirs: list[Op]) -> tuple[View, View]:
    return changed(*ours, prefix="o")[1], changed(*theirs, prefix="t")[1]


def test_items_unite_ours_before_theirs() -> None:
    pair = ours_and_theirs(
        [Append(items=(say("o1"), say("o2"))), Put(item=fact("k.o"))],
        [Append(items=(say("t1"), say("t2"))), Put(item=fact("k.t"))],
    )
    view = union(*pair)
    assert [item.id for item in view.items if not item.key] == ["m1", "m2", "o1", "o2", "t1", "t2"]
    assert view.by_key.keys() == {"k.a", "k.b", "k.o", "k.t"}


def test_what_one_side_changed_is_taken_over() -> None:
    ours, theirs = ours_and_theirs(
        [Remove(id="m1"), Put(item=fact("k.a", b"8"))],
        [Splice(id="m2", at=0, insert="y"), Put(item=fact("k.b", b"9")), Mark(id="m2", pinned=True),
         SetPolicy(policy=b'"p"')],
    )  # fmt: skip
    for one, two in ((ours, theirs), (theirs, ours)):
        view = union(one, two)
        found = {item.id: item for item in view.items}
        assert "m1" not in found
        assert (found["m2"].content, found["m2"].pinned) == (b'"yx"', True)
        assert [view.items[view.by_key[key]].content for key in ("k.a", "k.b")] == [b"8", b"9"]
        assert view.policy == b'"p"'


def test_a_fact_of_theirs_supersedes_the_one_both_knew() -> None:
    ours, theirs = ours_and_theirs([Append(items=(say("o1"),))], [Put(item=fact("k.b", b"9"))])
    assert merge(BASE, ours, theirs, now=77).changes == (
        Ended("f2", 77), Added((fact("k.b", b"9", "it_t0", supersedes="f2", recorded=9),)),
    )  # fmt: skip


def test_the_state_merges_three_ways() -> None:
    ours, theirs = ours_and_theirs(
        [Merge(on="state", value=b'{"a":{"x":2},"o":1.10}')],
        [Merge(on="state", value=b'{"a":{"y":3,"z":{}},"s":null}')],
    )
    assert loads(union(ours, theirs).state) == loads(b'{"a":{"x":2,"y":3,"z":{}},"list":[1,2],"o":1.10}')
    assert merge(BASE, ours, theirs).changes == (
        StateChanged(
            "patch", ours.revs[0],
            dumps([{"op": "remove", "path": "/s"}, {"op": "replace", "path": "/a/y", "value": loads(b"3")},
                   {"op": "add", "path": "/a/z", "value": {}}]),
        ),
    )  # fmt: skip


def test_equal_changes_on_both_sides_are_no_conflict() -> None:
    ops: list[Op] = [
        Put(item=fact("k.a", b"8")), Put(item=fact("k.n", b"8")), Remove(id="m1"), Splice(id="m2", at=0, insert="y"),
        Merge(on="state", value=b'{"list":[3],"s":null}'), Mark(id="m2", priority=1), SetPolicy(policy=b'"p"'),
    ]  # fmt: skip
    assert merge(BASE, *ours_and_theirs(ops, ops)).changes == ()
    assert merge(BASE, *ours_and_theirs(ops, ops)).conflicts == ()


def test_what_both_changed_differently_is_told_as_tests_of_what_holds() -> None:
    assert conflicts(
        *ours_and_theirs(
            [Put(item=fact("k.c", b"1")), Merge(on="state", value=b'{"a":{"x":2},"s":null}'), SetPolicy(policy=b'"p"')],
            [Put(item=fact("k.c", b"2")), Merge(on="state", value=b'{"a":{"x":3},"s":"u"}'), SetPolicy(policy=b'"q"')],
        )
    ) == [
        ("/keys/k.c", {"id": "it_o0", "type": "fact", "key": "k.c", "content": Raw(b"1"), "recorded": RECORDED},
         {"id": "it_t0", "type": "fact", "key": "k.c", "content": Raw(b"2"), "recorded": RECORDED}),
        ("/state/a/x", Raw(b"2"), Raw(b"3")),
        ("/state/s", None, "u"),
        ("/policy", Raw(b'"p"'), Raw(b'"q"')),
    ]  # fmt: skip


RECORDED = "1970-01-01T00:00:00.009Z"


@pytest.mark.parametrize(
    ("ours", "theirs", "path"),
    [
        (Splice(id="m1", at=0, insert="a"), Splice(id="m1", at=0, insert="b"), "/items/m1"),
        (Splice(id="m1", at=0, insert="a"), Remove(id="m1"), "/items/m1"),
        (Remove(id="m1"), Splice(id="m1", at=0, insert="a"), "/items/m1"),
        (Put(item=fact("k.a", b"1")), Put(item=fact("k.a", b"2")), "/keys/k.a"),
        (Put(item=fact("k.a", b"1")), Merge(on="f1", value=b'{"n":2}'), "/keys/k.a"),
        (Merge(on="f1", value=b'{"n":2}'), Put(item=fact("k.a", b"1")), "/keys/k.a"),
        (Remove(key="k.a"), Put(item=fact("k.a", b"1")), "/keys/k.a"),
        (Put(item=fact("k.a", b"1")), Remove(key="k.a"), "/keys/k.a"),
        (Mark(id="m1", priority=1), Mark(id="m1", priority=2), "/items/m1"),
        (patch({"op": "add", "path": "/list/-", "value": 3}), patch({"op": "add", "path": "/list/-", "value": 4}),
         "/state/list"),
    ],
)  # fmt: skip
def test_conflicts_are_found_and_a_strategy_decides_them(ours: Op, theirs: Op, path: str) -> None:
    one, two = ours_and_theirs([ours], [theirs])
    assert [conflict[0] for conflict in conflicts(one, two)] == [path]
    assert said(union(one, two, "ours")) == said(one)
    if not isinstance(ours, Remove) or isinstance(theirs, Put):
        assert said(union(one, two, "theirs")) == said(two)


def said(view: View) -> tuple[Any, ...]:
    """What holds in *view*: contents and hints of what is current, and the state."""
    current = [item for place, item in enumerate(view.items) if not item.key or view.by_key.get(item.key) == place]
    return (
        sorted((item.key or item.id, item.content, item.pinned, item.priority) for item in current),
        msgspec.json.decode(view.state),
    )


def test_a_class_is_the_higher_of_both_sides_15() -> None:
    ours, theirs = ours_and_theirs([Mark(id="m1", privacy="personal")], [Mark(id="m1", privacy="sensitive")])
    assert union(ours, theirs, "ours").items[0].privacy == "sensitive"
    ours, theirs = ours_and_theirs([Mark(id="f2", privacy="personal")], [Put(item=fact("k.b", b"2"))])
    assert union(ours, theirs, "theirs").items[-1].privacy == "personal"


def test_what_lies_plain_on_our_side_is_sealed_where_theirs_is_personal_CRP_10() -> None:
    ours, theirs = ours_and_theirs([Mark(id="m1", pinned=True)], [Mark(id="m1", privacy="personal")])
    (change,) = merge(BASE, ours, theirs).changes
    mine = ours.items[ours.by_id["m1"]]
    assert change == Revised(msgspec.structs.replace(mine, rev=2, privacy="personal"))


def test_removals_and_marks_are_changes_of_their_own() -> None:
    ours, theirs = ours_and_theirs([], [Remove(id="m1"), Mark(id="m2", elide="drop")])
    assert merge(BASE, ours, theirs).changes == (Marked("m2", False, 5, "drop", "internal"), Removed(("m1",)))
    ours, theirs = ours_and_theirs([Splice(id="m1", at=0, insert="a")], [Splice(id="m1", at=0, insert="b")])
    (change,) = merge(BASE, ours, theirs, "theirs").changes
    assert isinstance(change, Revised)
    assert (change.item.rev, change.item.content) == (2, b'"bx"')


def test_policy_and_template_follow_the_side_that_changed_them() -> None:
    theirs = fold(BASE, (TemplateChanged("t@2"), PolicyChanged(b'"p"')), "cv_2", 1)
    assert merge(BASE, BASE, theirs).changes == (PolicyChanged(b'"p"'), TemplateChanged("t@2"))
    ours = fold(BASE, (TemplateChanged("t@1"),), "cv_2", 1)
    assert conflicts(ours, theirs) == [("/template", "t@1", "t@2")]


OPS = st.one_of(
    st.builds(lambda key, content: Put(item=fact(key, content)), st.sampled_from(["k.a", "k.c"]),
              st.sampled_from([b"1", b"2"])),
    st.builds(lambda id: Remove(id=id), st.sampled_from(["m1", "m2", "f1"])),
    st.builds(lambda id, insert: Splice(id=id, at=0, insert=insert), st.sampled_from(["m1", "m2"]),
              st.sampled_from("ab")),
    st.builds(lambda value: Merge(on="state", value=value),
              st.sampled_from([b'{"a":{"x":2}}', b'{"a":{"x":3}}', b'{"a":null}', b'{"n":{"m":1}}', b'{"n":2}'])),
    st.builds(lambda id: Append(items=(say(id),)), st.sampled_from(["p", "q"])),
)  # fmt: skip


def walked(ops: list[Op], prefix: str) -> View:
    view = BASE
    for number, op in enumerate(ops):
        if isinstance(op, Append):
            op = Append(items=tuple(say(f"{prefix}{number}{item.id}") for item in op.items))
        try:
            view = changed(op, view=view, prefix=f"{prefix}{number}")[1]
        except Fault:
            continue
    return view


@settings(max_examples=300)
@given(st.lists(OPS, max_size=5), st.lists(OPS, max_size=5))
def test_a_merge_without_conflicts_is_the_same_from_both_sides(left: list[Op], right: list[Op]) -> None:
    ours, theirs = walked(left, "o"), walked(right, "t")
    one, two = merge(BASE, ours, theirs), merge(BASE, theirs, ours)
    assert bool(one.conflicts) == bool(two.conflicts)
    if not one.conflicts:
        assert holding(fold(ours, one.changes, "cv", 1)) == holding(fold(theirs, two.changes, "cv", 1))


def holding(view: View) -> Any:
    current = [item for place, item in enumerate(view.items) if not item.key or view.by_key.get(item.key) == place]
    return sorted((item.key or item.id, item.content) for item in current), msgspec.json.decode(view.state)


@settings(max_examples=200)
@given(st.lists(OPS, max_size=5), st.lists(OPS, max_size=5))
def test_nothing_to_merge_changes_nothing_and_a_fast_forward_takes_all(left: list[Op], right: list[Op]) -> None:
    ours = walked(left, "o")
    assert merge(BASE, ours, BASE).changes == ()
    assert merge(BASE, ours, ours).changes == ()
    forward = merge(BASE, BASE, ours)
    assert forward.conflicts == ()
    assert holding(fold(BASE, forward.changes, "cv", 1)) == holding(ours)
    assert merge(BASE, ours, walked(right, "t"), "theirs").conflicts == ()
