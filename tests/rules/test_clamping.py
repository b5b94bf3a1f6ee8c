"""Bounds of a model (LLM 10)."""

from __future__ import annotations

from typing import Any

import pytest

from tidegate.exchange.fault import Fault
from tidegate.rules.clamping import Clamped, clamp

NONE: dict[str, Any] = {"most_output": 0, "most_choices": 0, "most_input": 0, "known": 0, "lower": False}


def test_without_bounds_nothing_changes() -> None:
    assert clamp(10**9, 99, 10**9, **NONE) == Clamped(10**9, 99, "")


@pytest.mark.parametrize("bounds", [{"most_output": 5}, {"most_choices": 1}, {"most_input": 5}])
def test_what_is_above_is_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(Fault) as caught:
        clamp(6, 2, 6, **{**NONE, **bounds})
    assert (caught.value.code, caught.value.reason) == ("invalid_request", "clamp")


def test_what_is_above_is_lowered_where_the_model_says_so_and_input_never_is() -> None:
    lower = {**NONE, "most_output": 5, "most_choices": 1, "lower": True}
    assert clamp(6, 2, 6, **lower) == Clamped(5, 1, "n=1, max_output=5")
    with pytest.raises(Fault):
        clamp(1, 1, 6, **{**lower, "most_input": 5})


def test_nobody_can_write_more_than_the_catalogue_says() -> None:
    assert clamp(6, 1, 0, **{**NONE, "known": 4}) == Clamped(4, 1, "max_output=4")
    assert clamp(6, 1, 0, **{**NONE, "known": 4, "most_output": 5, "lower": True}) == Clamped(4, 1, "max_output=4")
    assert clamp(0, 1, 0, **{**NONE, "known": 4}) == Clamped(0, 1, "")


@pytest.mark.parametrize("lower", [False, True])
def test_a_call_that_names_no_output_gets_the_bound(lower: bool) -> None:
    assert clamp(0, 1, 0, **{**NONE, "most_output": 5, "lower": lower}) == Clamped(5, 1, "max_output=5")


@pytest.mark.parametrize("lower", [False, True])
def test_more_candidates_than_the_bound_are_refused(lower: bool) -> None:
    with pytest.raises(Fault, match="clamp"):
        clamp(1, 1, 0, **{**NONE, "lower": lower}, candidates=3, most_candidates=2)
    assert clamp(1, 1, 0, **NONE, candidates=2, most_candidates=2) == Clamped(1, 1, "")
