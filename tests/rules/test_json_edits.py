"""Edits of one direction (S10.3)."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import exchange
from tidegate.exchange.head import ResponseHead
from tidegate.exchange.identity import Identity
from tidegate.rules.field_template import BadValue
from tidegate.rules.json_edits import JsonEdits
from tidegate.rules.json_patch import CannotApply
from tidegate.wire.json_text import dumps, loads


def edited(text: str, **edits: Any) -> str:
    x = exchange()
    x.identity = Identity("änn", "jwt", tenant="acme")
    return dumps(JsonEdits(**edits).apply(loads(text.encode()), x)).decode()


def test_the_order_is_keep_drop_rename_set_merge_patch() -> None:
    made = edited(
        '{"a":{"x":1.10,"y":2},"b":1,"c":1}',
        keep=("/a", "/b"),
        drop=("/a/y",),
        rename={"/a/x": "z"},
        settings={"/b": 2},
        merge={"d": 3},
        patch=[{"op": "test", "path": "/a/z", "value": 1.1}, {"op": "test", "path": "/d", "value": 3},
               {"op": "move", "from": "/b", "path": "/e"}],
    )  # fmt: skip
    assert made == '{"a":{"z":1.10},"d":3,"e":2}'


def test_text_that_is_set_is_a_template() -> None:
    assert edited("{}", settings={"/by": "{tenant}/{consumer} ü", "/n": 1, "/l": [None]}) == (
        '{"by":"acme/änn ü","n":1,"l":[null]}'
    )


def test_a_template_may_look_at_the_answer() -> None:
    edits = JsonEdits(settings={"/status": "{status}"}, response=True)
    assert edits.apply({}, exchange(), ResponseHead(201, "", [])) == {"status": "201"}


def test_a_container_that_is_set_is_nobody_elses() -> None:
    edits = JsonEdits(settings={"/l": []})
    edits.apply({}, exchange())["l"].append(1)
    assert edits.apply({}, exchange()) == {"l": []}


def test_fields_carry_text_numbers_and_truth() -> None:
    edits = JsonEdits(fields={"a": "/t", "b": "/n", "c": "/y", "d": "/none", "e": "/null", "f": "/l"})
    root = loads('{"t":" ä ","n":1.50,"y":true,"null":null,"l":[1]}'.encode())
    assert edits.fields(root) == [("a", "\xc3\xa4"), ("b", "1.50"), ("c", "true")]


@pytest.mark.parametrize("text", ["a\r\nx: 1", "a\nb", "a\x00", "\x7f"])
def test_no_body_can_write_a_field_of_its_own(text: str) -> None:
    with pytest.raises(BadValue):
        JsonEdits(fields={"a": "/t"}).fields({"t": text})


def test_what_stands_in_the_way_is_said() -> None:
    with pytest.raises(CannotApply):
        edited('{"a":1}', settings={"/a/b": 1})


@pytest.mark.parametrize(
    "edits",
    [{"keep": ("a",)}, {"drop": ("a",)}, {"rename": {"": "b"}}, {"settings": {"a": 1}}, {"settings": {"/a": "{none}"}},
     {"settings": {"/a": "{status}"}}, {"patch": [{"op": "x", "path": ""}]}, {"fields": {"a": "b"}}],
)  # fmt: skip
def test_what_means_nothing_is_refused(edits: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        JsonEdits(**edits)
