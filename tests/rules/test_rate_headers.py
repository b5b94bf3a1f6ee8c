"""Fields of S9.9, letter by letter."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.rate_headers import limit_member, limit_prefix, policy_member, sf_string

SF_STRING = re.compile(r'"(?:[ !#-\[\]-~]|\\["\\])*"')


@pytest.mark.parametrize(
    ("text", "written"),
    [("orders", '"orders"'), ('a"b', '"a\\"b"'), ("a\\b", '"a\\\\b"'), ("ü", '"%C3%BC"'), ("a\nb", '"a%0Ab"')],
)
def test_names_become_structured_field_strings(text: str, written: str) -> None:
    assert sf_string(text) == written


@given(st.text(max_size=40))
def test_any_name_gives_a_well_formed_structured_field_string(text: str) -> None:
    assert SF_STRING.fullmatch(sf_string(text))


def test_the_policy_has_quota_and_window_s9_9() -> None:
    assert policy_member("orders", 100, 1.0) == '"orders";q=100;w=1'
    assert policy_member("orders", 600, 60.0) == '"orders";q=600;w=60'


def test_a_window_that_is_no_whole_second_is_left_out() -> None:
    assert policy_member("fast", 5, 0.5) == '"fast";q=5'
    assert policy_member("odd", 5, 1.5) == '"odd";q=5'


def test_another_unit_is_named() -> None:
    assert policy_member("slots", 8, unit="concurrent-requests") == '"slots";q=8;qu="concurrent-requests"'


@pytest.mark.parametrize(
    ("remaining", "reset", "written"),
    [(99, 0.01, '"p";r=99;t=1'), (0, 2.0, '"p";r=0;t=2'), (3, 0.0, '"p";r=3;t=0'), (-1, -4.0, '"p";r=0;t=0')],
)
def test_the_limit_is_rounded_up_to_whole_seconds(remaining: int, reset: float, written: str) -> None:
    assert limit_member(limit_prefix("p"), remaining, reset) == written
