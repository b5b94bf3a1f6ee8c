"""Which fields an operator may edit (S10.1)."""

from __future__ import annotations

import pytest

from tidegate.rules.field_names import UNTOUCHABLE, editable


@pytest.mark.parametrize("name", sorted(UNTOUCHABLE))
def test_framing_hop_by_hop_and_host_cannot_be_edited_s10_1(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be edited"):
        editable(name.title())


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "a\n", ":path", "x" * 257])
def test_what_is_no_field_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no field name"):
        editable(name)


def test_any_other_name_is_taken_in_lower_case() -> None:
    assert editable("X-From") == "x-from"
