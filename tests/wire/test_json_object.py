from __future__ import annotations

import pytest

from tidegate.wire import json_object as j


def test_members_keep_their_order_and_bytes() -> None:
    assert j.members(b'{"b": 1.50, "a": {"x":[1, 2]}}') == {"b": b"1.50", "a": b'{"x":[1, 2]}'}
    assert list(j.members(b'{"b":1,"a":2}')) == ["b", "a"]


def test_items_are_bytes() -> None:
    assert j.items(b'[1, "a", {"b":null}]') == [b"1", b'"a"', b'{"b":null}']


@pytest.mark.parametrize(
    ("read", "raw", "words"),
    [
        (j.members, b"[]", "an object"),
        (j.items, b"{}", "an array"),
        (j.string, b"1", "a string"),
        (j.strings, b'["a", 1]', "an array of strings"),
        (j.integer, b"1.5", "a whole number"),
        (j.number, b'"1"', "a number"),
        (j.flag, b"0", "true or false"),
    ],
)
def test_another_shape_is_named_with_its_path(read: object, raw: bytes, words: str) -> None:
    with pytest.raises(j.WrongShape) as caught:
        read(raw, "messages[2].content")  # type: ignore[operator]
    assert str(caught.value) == f"messages[2].content must be {words}."


def test_scalars() -> None:
    assert j.string(b'"\\u00e9"') == "é"
    assert j.strings(b'["a"]') == ["a"]
    assert j.integer(b"3.0") == 3
    assert j.number(b"2") == 2.0
    assert j.flag(b"true") is True


def test_the_first_byte_tells_the_kind() -> None:
    assert j.is_string(b'"a"') and j.is_object(b"{}") and j.is_array(b"[]")
    assert not j.is_string(b"null")


@pytest.mark.parametrize(
    ("raw", "counted"),
    [(None, 0), (b"null", 0), (b"-3", 0), (b'"7"', 0), (b"7", 7), (b"7.9", 7), (b"1e300", 1 << 53), (b"{}", 0)],
)
def test_a_count_from_upstream_is_hostile_input(raw: bytes | None, counted: int) -> None:
    assert j.count(raw) == counted


def test_raw_goes_out_untouched() -> None:
    assert j.encode({"a": j.raw_of(b'{"x": 1.0}')}) == b'{"a":{"x": 1.0}}'


def test_objects_are_members_that_are_objects() -> None:
    assert j.objects(b'{"a": {"x": 1}, "b": {}}', "o") == {"a": b'{"x": 1}', "b": b"{}"}
    with pytest.raises(j.WrongShape, match=r"o\.b must be an object"):
        j.objects(b'{"a": {}, "b": 1}', "o")
