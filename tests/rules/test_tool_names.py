from __future__ import annotations

import pytest

from tidegate.exchange.fault import Fault
from tidegate.rules.tool_names import name_aliases


def test_only_what_does_not_fit_gets_an_alias() -> None:
    assert name_aliases(["get_weather", "fs.read", "größe", "x" * 70]) == {
        "fs.read": "fs_read",
        "größe": "gr__e",
        "x" * 70: "x" * 64,
    }


def test_the_same_tool_twice_is_one() -> None:
    assert name_aliases(["fs.read", "fs.read"]) == {"fs.read": "fs_read"}


def test_two_that_become_one_are_refused() -> None:
    with pytest.raises(Fault) as caught:
        name_aliases(["fs.read", "fs_read"])
    assert caught.value.code == "invalid_request"
    assert caught.value.detail == "The tools 'fs.read' and 'fs_read' look alike to this model."
