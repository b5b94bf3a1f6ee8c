from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.json_splice import replaced, spans, with_member

NAMES = st.sampled_from(["model", "stream", "mod\\el", 'a"b', "é", "messages", "x"]) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(NAMES, v),
    max_leaves=9,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
LAYOUT = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")])


def model_of(body: bytes) -> bytes:
    start, end = spans(body, ("model",))["model"]
    return body[start:end]


def test_only_the_top_level_counts() -> None:
    body = b'{"a":{"model":"no"},"s":"\\"model\\":\\"no\\"","model" : "yes" ,"z":[{"model":1}]}'
    assert model_of(body) == b'"yes"'


def test_a_name_may_be_written_with_escapes() -> None:
    assert model_of(b'{"\\u006dodel":"m"}') == b'"m"'


def test_a_value_is_replaced_in_place() -> None:
    body = b'{ "model" : "fast", "n":1.50 }'
    assert replaced(body, [(*spans(body, ("model",))["model"], b'"gpt"')]) == b'{ "model" : "gpt", "n":1.50 }'


@given(OBJECTS, LAYOUT, st.booleans())
def test_spans_hold_the_values(value: dict[str, Any], layout: tuple[str, str], escaped: bool) -> None:
    body = json.dumps(value, separators=layout, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    found = spans(body, tuple(value))
    assert {name: json.loads(body[start:end]) for name, (start, end) in found.items()} == value


@given(OBJECTS, LAYOUT)
def test_a_member_is_put_in(value: dict[str, Any], layout: tuple[str, str]) -> None:
    value.pop("new", None)
    body = json.dumps(value, separators=layout).encode()
    grown = with_member(body, "new", b'{"a":[1]}')
    assert json.loads(grown) == {**value, "new": {"a": [1]}}


@pytest.mark.parametrize("body", [b"{}", b"{ }", b' {"a":1} '])
def test_what_is_not_there_is_not_found(body: bytes) -> None:
    assert spans(body, ("model",)) == {}
