"""Numbers kept as text (S10.3)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.wire.json_text import dumps, from_python, is_number, loads, number_text, same_number


@pytest.mark.parametrize("number", ["0", "-0", "1.10", "1e5", "1E+05", "-0.0", "9007199254740993", "1" * 400, "1e400"])
def test_a_number_leaves_as_it_came_s10_3(number: str) -> None:
    body = f'{{"a":[{number}]}}'.encode()
    assert dumps(loads(body)) == body
    value = loads(body)["a"][0]
    assert (is_number(value), number_text(value)) == (True, number)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_everything_else_is_the_usual_json(value: object) -> None:
    assert json.loads(dumps(loads(json.dumps(value).encode()))) == value


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [("1", "1.0", True), ("1e2", "100", True), ("-0", "0", True), ("0.1", "0.10000000000000001", False),
     ("9007199254740993", "9007199254740992", False), ("1e999999999", "1e999999998", False)],
)  # fmt: skip
def test_numbers_are_equal_by_value(one: str, two: str, same: bool) -> None:
    assert same_number(loads(one.encode()), loads(two.encode())) is same


def test_a_config_value_takes_the_same_form() -> None:
    assert dumps(from_python({"a": [1, 2.5, None, True, "x"]})) == b'{"a":[1,2.5,null,true,"x"]}'
    with pytest.raises(ValueError, match="no JSON value"):
        from_python({"a": object()})
