"""The client's word on its own priority (S22.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.client_priority import lowered


@pytest.mark.parametrize(
    ("said", "levels"),
    [
        ("u=0", [0, 1, 2, 3]),
        ("u=3", [0, 1, 2, 3]),
        ("u=4", [1, 2, 3, 3]),
        ("u=5, i", [1, 2, 3, 3]),
        ("i, u=6", [3, 3, 3, 3]),
        ("u=7;a=1", [3, 3, 3, 3]),
        ("u=1, u=7", [3, 3, 3, 3]),
        ("u=7, u=1", [0, 1, 2, 3]),
        ("", [0, 1, 2, 3]),
        ("u=8", [0, 1, 2, 3]),
        ("u=-1", [0, 1, 2, 3]),
        ("u=77", [0, 1, 2, 3]),
        ("xu=7", [0, 1, 2, 3]),
        ("u=7" + " " * 300, [0, 1, 2, 3]),
    ],
)
def test_urgency_can_only_lower_s22_2(said: str, levels: list[int]) -> None:
    assert [lowered(level, said) for level in range(4)] == levels


@given(st.integers(0, 3), st.text(max_size=40))
def test_nothing_a_client_writes_raises_its_level(level: int, said: str) -> None:
    assert level <= lowered(level, said) <= 3
