from __future__ import annotations

import pytest

from tidegate.rules.thinking_budget import budget_of, effort_of, fit_budget


@pytest.mark.parametrize(
    ("effort", "max_output", "budget"),
    [
        ("minimal", 64_000, 1024),
        ("low", 64_000, 2048),
        ("medium", 64_000, 8192),
        ("high", 64_000, 16_384),
        ("xhigh", 64_000, 32_768),
        ("max", 64_000, 63_999),
        ("high", 4096, 4095),
        ("low", 1024, 0),
        ("none", 64_000, 0),
    ],
)
def test_effort_becomes_a_budget_below_the_output(effort: str, max_output: int, budget: int) -> None:
    assert budget_of(effort, max_output) == budget


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(1, "minimal"), (1024, "minimal"), (2047, "minimal"), (2048, "low"), (10_000, "medium"), (10**6, "xhigh")],
)
def test_a_budget_becomes_the_nearest_effort_below(budget: int, effort: str) -> None:
    assert effort_of(budget) == effort


def test_a_budget_is_kept_within_what_vendors_take() -> None:
    assert [fit_budget(10, 4096), fit_budget(9000, 4096), fit_budget(2000, 4096), fit_budget(10, 1024)] == [
        1024, 4095, 2000, 0,
    ]  # fmt: skip
