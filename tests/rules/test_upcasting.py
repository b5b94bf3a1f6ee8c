"""Items of older schemas are read as the newest says (CRP 4.5)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.exchange.context import Item
from tidegate.rules.upcasting import STEPS, Upcasters

V1, V2, V3 = "urn:acme:seat:1", "urn:acme:seat:2", "urn:acme:seat:3"


def in_an_object(value: Any) -> Any:
    return {"class": value}


def with_a_list(value: Any) -> Any:
    return {"classes": [value.pop("class")], **value}


def fails(value: Any) -> Any:
    raise ValueError("not today")


UPCASTERS = Upcasters({V1: (V2, in_an_object), V2: (V3, with_a_list)})


def seat(schema: str, content: bytes) -> Item:
    return Item(id="f", type="fact", key="k", schema=schema, content=content, rev=3)


def test_an_item_passes_every_schema_up_to_the_latest_and_numbers_keep_their_text() -> None:
    assert UPCASTERS.item(seat(V1, b"1.10")) == seat(V3, b'{"classes":[1.10]}')
    assert UPCASTERS.item(seat(V2, b'{"class":"a","x":1}')) == seat(V3, b'{"classes":["a"],"x":1}')
    assert UPCASTERS.latest(V1) == V3


@pytest.mark.parametrize("item", [seat(V3, b"1"), seat("urn:other:1", b"1"), seat("", b"1"), seat(V1, b"")])
def test_what_is_of_no_older_schema_stays_as_it_is(item: Item) -> None:
    assert UPCASTERS.item(item) is item


def test_what_an_upcaster_cannot_read_stays_at_the_last_schema_that_was_reached() -> None:
    broken = Upcasters({V1: (V2, in_an_object), V2: (V3, fails)})
    assert broken.item(seat(V1, b'"a"')) == seat(V2, b'{"class":"a"}')
    wrong = seat(V2, b"[1]")
    assert UPCASTERS.item(wrong) is wrong
    missing = seat(V2, b'{"seat":1}')
    assert UPCASTERS.item(missing) is missing


def test_items_keep_their_order() -> None:
    assert [item.schema for item in UPCASTERS.items([seat(V1, b"1"), seat("", b"2"), seat(V3, b"3")])] == [V3, "", V3]


def test_a_registry_that_leads_in_a_circle_or_too_far_is_refused() -> None:
    with pytest.raises(ValueError, match="lead nowhere"):
        Upcasters({V1: (V2, in_an_object), V2: (V1, in_an_object)})
    Upcasters({str(n): (str(n + 1), in_an_object) for n in range(STEPS)})
    with pytest.raises(ValueError, match="lead nowhere"):
        Upcasters({str(n): (str(n + 1), in_an_object) for n in range(STEPS + 1)})
