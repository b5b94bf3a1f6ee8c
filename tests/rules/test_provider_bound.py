"""What is bound to a provider goes back to it alone (R7; #45)."""

from __future__ import annotations

import pytest

from tidegate.exchange.chat import Image, Opaque, Origin, Part, SealedThought, Text, Thought, ToolCall
from tidegate.exchange.context import Item, Provenance
from tidegate.rules.provider_bound import BOUND, for_target, kind_of

A = Origin("a")
MADE = Item(type="reasoning", provenance=Provenance("model", "a", "m", "chat"))
CALL = ToolCall(id="c", name="n", signature=b"s", origin=A)
BARE = ToolCall(id="c", name="n")


@pytest.mark.parametrize(
    ("part", "kind", "same", "elsewhere", "stranger"),
    [
        (Text(text="t"), "", True, True, True),
        (Thought(text="t", origin=A), "thought", True, True, False),
        (Thought(text="t", signature=b"s", origin=A), "signed_thought", True, False, False),
        (SealedThought(data=b"s", origin=A), "sealed_thought", True, False, False),
        (Image(file_id="f"), "file_id", True, True, False),
        (BARE, "", True, True, True),
    ],
)
def test_45_the_table_says_who_sees_what(part: Part, kind: str, same: bool, elsewhere: bool, stranger: bool) -> None:
    assert kind_of(part) == kind and (not kind or kind in BOUND)
    for vendor, dialect, seen in (("a", "chat", same), ("a", "other", elsewhere), ("b", "chat", stranger)):
        assert for_target(MADE, (part,), vendor, dialect) == ((part,) if seen else ())


def test_45_a_call_loses_its_seal_and_stays() -> None:
    assert for_target(MADE, (CALL,), "a", "chat") == (CALL,)
    assert for_target(MADE, (CALL,), "b", "chat") == (BARE,)


def test_45_words_of_one_dialect_stay_in_it() -> None:
    part = Opaque(dialect="chat", kind="k", value=b"{}")
    assert for_target(MADE, (part,), "a", "chat") == (part,)
    assert for_target(MADE, (part,), "a", "other") == ()


def test_what_a_client_brought_without_saying_whose_it_is_goes_to_whom_it_asks() -> None:
    own = Item(type="message", provenance=Provenance("client"))
    for part in (Thought(text="t"), Image(file_id="f")):
        assert for_target(own, (part,), "b", "chat") == (part,)
    assert for_target(own, (SealedThought(data=b"s"),), "b", "chat") == ()


def test_nothing_is_copied_where_all_may_be_seen() -> None:
    parts = (Text(text="t"), Thought(text="t", origin=A))
    assert for_target(MADE, parts, "a", "chat") is parts
