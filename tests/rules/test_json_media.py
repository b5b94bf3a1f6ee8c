"""JSON by its content type (S10.4)."""

from __future__ import annotations

import pytest

from tidegate.rules.json_media import is_json


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        ("application/json", True),
        ("Application/JSON; Charset=UTF-8", True),
        ('application/json;charset="utf-8"', True),
        ("application/problem+json", True),
        ("application/vnd.a.b+json; version=2; charset=utf-8", True),
        ('application/json; a="b c"', True),
        ("application/json;", True),
        ("application/json; charset=latin-1", False),
        ("application/json; charset=utf-16", False),
        ("application/json; charset=utf-8; charset=utf-16", False),
        ("application/json; charset=", False),
        ("application/jsonp", False),
        ("text/json", False),
        ("text/plain", False),
        ("application/json, text/plain", False),
        ("", False),
        (None, False),
        ("application/json; a=" + "b" * 300, False),
    ],
)
def test_json_is_told_by_type_and_charset(content_type: str | None, json: bool) -> None:
    assert is_json(content_type) is json


def test_a_hostile_type_ends_at_once() -> None:
    assert not is_json("application/json" + "; a=b" * 40 + " x")
    assert not is_json("application/json" + ' ;a="' * 39)
