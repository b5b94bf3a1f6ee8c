"""Recall is lexical, bounded, and never touches what is sensitive (CRP 8.6; #50)."""

from __future__ import annotations

from math import log

import pytest

from tidegate.exchange.context import Item
from tidegate.rules.bm25 import K1, OVERHEAD, B, recall, scores, words_of


def item(id: str, text: str, tokens: int = 10, **more: object) -> Item:
    return Item(id=id, type="message", content=b'"%b"' % text.encode(), tokens=tokens, **more)  # type: ignore[arg-type]


def test_a_score_is_the_formula() -> None:
    found = scores("train ulm", ["train train to bonn", "the weather"])
    weight = log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    assert found[0] == pytest.approx(weight * 2 * (K1 + 1) / (2 + K1 * (1 - B + B * 4 / 3)))
    assert found[1] == 0.0


def test_words_are_compared_case_aside() -> None:
    assert words_of("Straße, ULM!") == ["strasse", "ulm"]


def test_nothing_is_found_in_nothing() -> None:
    assert scores("a", []) == [] and scores("a", ["", ""]) == [0.0, 0.0] and scores("", ["a"]) == [0.0]


def test_50_the_best_come_while_they_fit_and_stand_in_their_own_order() -> None:
    items = [item("a", "ulm"), item("b", "train to ulm", 50), item("c", "train ulm"), item("d", "cats")]
    assert [each.id for each in recall("train ulm", items, 1000, 16)] == ["a", "b", "c"]
    assert [each.id for each in recall("train ulm", items, 2 * (10 + OVERHEAD), 16)] == ["a", "c"]
    assert [each.id for each in recall("train ulm", items, 1000, 1)] == ["c"]
    assert recall("train ulm", items, 0, 16) == []


def test_50_sensitive_items_and_reasoning_never_come_back() -> None:
    items = [
        item("a", "ulm", privacy="sensitive"),
        item("b", "ulm", privacy="secret"),
        item("c", "ulm", privacy="personal"),
    ]
    assert [each.id for each in recall("ulm", items, 1000, 16)] == ["c"]
    assert recall("ulm", [Item(id="r", type="reasoning", content=b'"ulm"', tokens=1)], 1000, 16) == []
