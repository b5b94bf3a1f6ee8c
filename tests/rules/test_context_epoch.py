"""What is frozen while an epoch lasts is a function of the log (CRP 7.2, 7.4; I6)."""

from __future__ import annotations

import msgspec

from rules.talk import tell
from tidegate.exchange.context import (
    Added,
    EpochBegun,
    Item,
    Marked,
    Removed,
    Revised,
    Summed,
    TemplateChanged,
    View,
)
from tidegate.rules.context_epoch import begin, begun_in
from tidegate.rules.context_fold import fold

BEGUN = EpochBegun("created", 1, 100, "d", "s", "t")


def turn(id: str, role: str = "user", **more: object) -> Item:
    return Item(id=id, type="message", role=role, content=b'"x"', tokens=3, **more)  # type: ignore[arg-type]


def view_of(*items: Item) -> View:
    return fold(View(context="c"), [Added(items)], "v", 1)


def test_the_block_has_what_holds_at_its_hour() -> None:
    view = view_of(
        Item(id="a", type="fact", key="a"),
        Item(id="b", type="fact", key="b", valid_from=101),
        Item(id="c", type="fact", key="c", valid_to=100),
        Item(id="d", type="event", ttl=1, recorded=1),
        Item(id="e", type="place"),
        Item(id="f", type="summary"),
        turn("g"),
    )
    frozen = begin(view, BEGUN, [view.items[-1]])
    assert (list(frozen.facts), [item.id for item in frozen.sums]) == (["a", "d", "e"], ["f"])
    assert (frozen.count, frozen.tokens, frozen.ends) == (1, 3, 1001)


def test_lines_that_continue_each_other_share_their_history_and_a_fork_does_not() -> None:
    first = begin(view_of(), BEGUN, [turn("a")])
    second = first.after([Added((turn("b", "assistant"),))], tell)
    assert second.told is first.told and (first.count, second.count) == (1, 2)
    other = first.after([Added((turn("c"),))], tell)
    assert other.told is not first.told
    assert [item.id for item in other.told.items] == ["a", "c"]
    assert (first.last_chunk(), second.last_chunk(), other.last_chunk()) == (0, 1, 0)


def test_why_the_next_epoch_begins() -> None:
    frozen = begin(view_of(), BEGUN, [turn("a"), turn("b", ttl=1, recorded=1)])
    assert frozen.reason("d", "s", "t", 200) == ""
    assert frozen.reason("x", "s", "t", 200) == "dialect" and frozen.reason("", "s", "t", 200) == ""
    assert frozen.reason("d", "x", "t", 200) == "system"
    assert frozen.reason("d", "s", "x", 200) == "tools"
    assert frozen.reason("d", "s", "t", 1001) == "expired"
    for change, reason in (
        (Removed(("a",)), "removed"),
        (Removed(("z",)), ""),
        (Summed(("a",), Item(id="s", type="summary")), "compaction"),
        (Added((Item(id="s", type="summary"),)), "compaction"),
        (TemplateChanged("t@2"), "template"),
        (Revised(Item(id="a", type="redacted")), "redaction"),
        (Revised(turn("a", rev=1)), ""),
        (Revised(turn("a", rev=1, privacy="secret")), "privacy"),
        (Marked("a", False, 5, "", "secret"), "privacy"),
        (Marked("a", True, 5, "", "personal"), ""),
        (EpochBegun("x", 1), ""),
    ):
        assert frozen.after([change], tell).reason("d", "s", "t", 200) == reason
    other = msgspec.structs.replace(turn("a", rev=1), content=b'"y"')
    assert frozen.after([Revised(other)], tell).stale == {"a"}
    assert frozen.after([Revised(other), Revised(turn("a", rev=2))], tell).stale == {"a"}
    assert frozen.after([Revised(turn("a", rev=1, privacy="personal"))], tell).stale == frozenset()
    old = begin(view_of(), EpochBegun("created", 0, 100, "d", "s", "t"), [])
    assert old.reason("d", "s", "t", 200) == "renderer"


def test_an_epoch_is_found_among_changes() -> None:
    assert begun_in([Removed(("a",)), BEGUN]) is BEGUN
    assert begun_in([]) is None
