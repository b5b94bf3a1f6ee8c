"""Items and entries of conversations: the table of types, and values that travel as they are (CRP 4.1, 4.2)."""

from __future__ import annotations

import msgspec
import pytest

from tidegate.exchange.context import (
    ITEM_TYPES,
    PRIVACY,
    VENDOR_TYPE,
    Added,
    Append,
    Change,
    Entry,
    Item,
    Op,
    OpError,
    Remove,
    StateChanged,
    View,
    item_type,
)


def test_every_type_of_the_protocol_has_its_row_and_only_facts_need_a_key() -> None:
    assert set(ITEM_TYPES) == {
        "message", "tool_call", "tool_result", "reasoning", "fact", "preference", "document", "summary", "event",
        "place", "media", "template", "redacted",
    }  # fmt: skip
    assert {name for name, row in ITEM_TYPES.items() if row.keyed} == {"fact", "preference"}
    assert sorted(ITEM_TYPES, key=lambda name: ITEM_TYPES[name].rank)[0] == "tool_result"


@pytest.mark.parametrize(("name", "row"), [("message", ITEM_TYPES["message"]), ("acme:card", VENDOR_TYPE),
                                           ("massage", None), ("", None)])  # fmt: skip
def test_17_types_of_vendors_are_known_by_their_colon(name: str, row: object) -> None:
    assert item_type(name) == row


def test_classes_rise_from_public_to_secret() -> None:
    assert PRIVACY == ("public", "internal", "personal", "sensitive", "secret")


def test_ops_are_told_apart_by_their_name_on_the_wire() -> None:
    ops = (Append(items=(Item(type="message", role="user", content=b'"hi"'),)), Remove(id="it_1"))
    there = msgspec.msgpack.encode(ops)
    assert msgspec.msgpack.decode(there, type=tuple[Op, ...]) == ops
    assert msgspec.msgpack.decode(there)[1] == {"op": "remove", "id": "it_1", "key": ""}


def test_changes_and_entries_come_back_as_they_were() -> None:
    changes: tuple[Change, ...] = (
        Added((Item(id="it_1", type="fact", key="a.b", content=b"1"),)),
        StateChanged("merge", 1, b"{}"),
    )
    entry = Entry(kind="delta", version="cv_1", changes=changes)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=Entry) == entry
    assert (entry.v, entry.seq, entry.parents) == (1, 0, ())


def test_views_share_nothing_they_were_not_given() -> None:
    one, two = View(context="ctx_1"), View(context="ctx_2")
    assert one.by_id is not two.by_id
    assert (one.state, one.settings, one.items) == (b"{}", b"", ())


def test_an_error_of_an_op_says_where() -> None:
    assert msgspec.to_builtins(OpError(2, "patch_failed", "/items/0")) == {
        "op": 2, "reason": "patch_failed", "pointer": "/items/0",
    }  # fmt: skip
