"""What a client says to one provider only (LLM 5.12)."""

from __future__ import annotations

import json

import pytest

from tidegate.rules.addressed_options import merge_options, read_options
from tidegate.wire.json_object import WrongShape, encode, raw_of


def test_options_are_objects_by_name() -> None:
    assert read_options(b'{"a":{"x":1},"b":{}}') == {"a": b'{"x":1}', "b": b"{}"}
    with pytest.raises(WrongShape, match=r"provider_options\.a"):
        read_options(b'{"a":1}')
    with pytest.raises(WrongShape, match="provider_options"):
        read_options(b"[]")


def test_objects_merge_member_by_member_and_other_values_replace() -> None:
    body: dict[str, object] = {"raw": raw_of(b'{"in":{"a":1},"b":2}'), "plain": {"c": 3}, "one": 1}
    options = {"p": b'{"raw":{"in":{"z":9}},"plain":{"d":[4]},"one":{"two":2},"new":null}'}
    assert merge_options(body, options, ("p",)) == []
    assert json.loads(encode(body)) == {
        "raw": {"in": {"a": 1, "z": 9}, "b": 2}, "plain": {"c": 3, "d": [4]}, "one": {"two": 2}, "new": None,
    }  # fmt: skip


def test_only_the_addressed_are_merged_in_their_order() -> None:
    body: dict[str, object] = {}
    options = {"dialect": b'{"x":1,"y":1}', "name": b'{"x":2}', "other": b'{"z":1}'}
    assert merge_options(body, options, ("dialect", "name", "absent")) == []
    assert json.loads(encode(body)) == {"x": 2, "y": 1}


@pytest.mark.parametrize("name", ["model", "messages", "contents", "system", "stream", "api_key", "stream_options"])
def test_what_is_asked_of_whom_cannot_be_set(name: str) -> None:
    body: dict[str, object] = {name: 1}
    assert merge_options(body, {"p": json.dumps({name: 2}).encode()}, ("p",)) == [f"provider_options.p.{name}"]
    assert body == {name: 1}
