"""Selectors return the documented items, poles and antimeridian included (#19)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.context import Geo, Item, Selector
from tidegate.rules.item_selector import distance, select

NOW = 1_000_000


def fact(id: str, **members: object) -> Item:
    return Item(id=id, type="fact", key=str(members.pop("key", id)), content=b'"x"', **members)  # type: ignore[arg-type]


def ids(items: list[Item], **members: object) -> list[str]:
    return [item.id for item in select(items, Selector(**members), NOW)]  # type: ignore[arg-type]


def place(id: str, point: tuple[float, float]) -> Item:
    return Item(id=id, type="place", geo=Geo(point=point))


def area(id: str, bbox: tuple[float, float, float, float]) -> Item:
    return Item(id=id, type="place", geo=Geo(bbox=bbox))


def test_19_members_are_anded_and_an_empty_selector_means_all() -> None:
    items = [fact("a", about=("x", "y")), fact("b", about=("y",)), Item(id="c", type="message", about=("y",))]
    assert ids(items) == ["a", "b", "c"]
    assert ids(items, about=("y",), type=("fact",)) == ["a", "b"]
    assert ids(items, about=("x", "q")) == ["a"]
    assert ids(items, ids=("b", "c"), type=("message", "event")) == ["c"]


def test_19_a_key_may_end_in_a_star() -> None:
    items = [
        fact("a", key="travel.class"),
        fact("b", key="travel.seat.side"),
        fact("c", key="travels"),
        fact("d", key="travel"),
    ]
    assert ids(items, key="travel.*") == ["a", "b"]
    assert ids(items, key="travel") == ["d"]
    assert ids([*items, Item(id="m", type="message")], key="*") == ["a", "b", "c", "d"]


def test_19_as_of_includes_the_beginning_and_not_the_end() -> None:
    items = [
        fact("a", valid_from=10, valid_to=20),
        fact("b", valid_from=20),
        fact("c"),
        fact("d", supersedes="a", recorded=20),
    ]
    assert ids(items, as_of=9) == ["c"]
    assert ids(items, as_of=10) == ["a", "c"]
    assert ids(items, as_of=19) == ["a", "c"]
    assert ids(items, as_of=20) == ["b", "c", "d"]


def test_19_between_looks_at_the_time_it_was_then_at_its_validity_then_at_when_it_was_recorded() -> None:
    items = [fact("a", at=10), fact("b", valid_from=5, valid_to=10), fact("c", recorded=19), fact("d", valid_to=11)]
    assert ids(items, between=(10, 20)) == ["a", "c", "d"]
    assert ids(items, between=(0, 10)) == ["b", "d"]


def test_a_ttl_is_hard_to_the_millisecond() -> None:
    assert ids([fact("a", ttl=1, recorded=NOW - 999)]) == ["a"]
    assert ids([fact("a", ttl=1, recorded=NOW - 1000)]) == []


def test_19_text_wants_every_word_case_aside() -> None:
    items = [fact("a", about=("Trains",)), Item(id="b", type="message", content=b'"By TRAIN to Ulm"')]
    assert ids(items, text="train") == ["a", "b"]
    assert ids(items, text="ulm train") == ["b"]


def test_19_near_counts_metres_on_the_sphere() -> None:
    frankfurt, mainz = place("f", (8.68, 50.11)), place("m", (8.27, 50.0))
    assert ids([frankfurt, mainz, fact("x")], near=(8.68, 50.11, 500.0)) == ["f"]
    assert ids([frankfurt, mainz], near=(8.68, 50.11, 32_000.0)) == ["f", "m"]


def test_19_near_reaches_over_the_antimeridian_and_the_poles() -> None:
    assert ids([place("a", (-179.99, 0.0))], near=(179.99, 0.0, 2_300.0)) == ["a"]
    assert ids([place("a", (180.0, 89.99))], near=(0.0, 89.99, 2_300.0)) == ["a"]
    assert ids([place("a", (77.0, -90.0))], near=(-12.0, -90.0, 1.0)) == ["a"]


def test_19_near_an_area_is_near_its_nearest_edge() -> None:
    box = Geo(bbox=(8.0, 49.0, 9.0, 51.0))
    assert distance(box, 8.5, 50.0) == 0.0
    assert distance(box, 8.5, 52.0) == pytest.approx(111_195, abs=5)
    assert distance(box, 10.0, 50.0) == pytest.approx(71_474, abs=20)
    assert distance(Geo(bbox=(170.0, -1.0, -170.0, 1.0)), -169.0, 0.0) == pytest.approx(111_195, abs=5)
    assert distance(Geo(bbox=(0.0, 80.0, 10.0, 85.0)), -175.0, 85.0) == (distance(Geo(point=(0.0, 85.0)), -175.0, 85.0))


def test_19_a_box_holds_points_and_touches_areas_over_the_antimeridian_too() -> None:
    items = [place("w", (-179.0, 0.0)), place("e", (179.0, 0.0)), place("o", (0.0, 0.0))]
    assert ids(items, bbox=(178.0, -1.0, -178.0, 1.0)) == ["w", "e"]
    assert ids(items, bbox=(-1.0, -1.0, 1.0, 1.0)) == ["o"]
    assert ids(items, bbox=(-180.0, -90.0, 180.0, 90.0)) == ["w", "e", "o"]
    assert ids([place("l", (-180.0, 0.0))], bbox=(170.0, -1.0, 180.0, 1.0)) == ["l"]
    assert ids([area("a", (170.0, -5.0, -170.0, 5.0))], bbox=(-175.0, 0.0, -160.0, 1.0)) == ["a"]
    assert ids([area("a", (170.0, -5.0, -170.0, 5.0))], bbox=(-169.0, 0.0, -160.0, 1.0)) == []
    assert ids([area("a", (0.0, 0.0, 2.0, 2.0))], bbox=(1.0, 3.0, 4.0, 4.0)) == []


def test_19_at_a_pole_every_longitude_is_the_same_place() -> None:
    assert ids([place("p", (123.0, 90.0))], bbox=(0.0, 80.0, 1.0, 90.0)) == ["p"]
    assert ids([place("p", (123.0, 89.0))], bbox=(0.0, 80.0, 1.0, 90.0)) == []
    assert ids([area("p", (100.0, -90.0, 110.0, -80.0))], bbox=(0.0, -90.0, 1.0, -85.0)) == ["p"]


degrees = st.floats(-180, 180), st.floats(-90, 90)


@given(*degrees, st.floats(-180, 180), st.floats(-180, 180), st.floats(-90, 90), st.floats(-90, 90))
def test_19_no_corner_or_middle_of_an_area_is_nearer_than_the_area(
    east: float, north: float, west: float, edge: float, one: float, other: float
) -> None:
    south, top = sorted((one, other))
    nearest = distance(Geo(bbox=(west, south, edge, top)), east, north)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        longitude = west + share * ((edge - west) % 360.0)
        for latitude in (south, south + share * (top - south), top):
            assert nearest <= distance(Geo(point=((longitude + 180) % 360 - 180, latitude)), east, north) + 0.5
