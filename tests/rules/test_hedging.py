"""When a second attempt pays (S14.7)."""

from __future__ import annotations

import pytest

from tidegate.rules.hedging import Hedging


def test_without_a_hundred_samples_there_is_no_p95() -> None:
    hedging = Hedging()
    for _ in range(99):
        hedging.observe(0.01)
    assert hedging.delay() == -1.0
    hedging.observe(0.01)
    assert hedging.delay() == pytest.approx(0.01, rel=0.16)


def test_a_fixed_wait_needs_no_samples() -> None:
    assert Hedging(0.25).delay() == 0.25


@pytest.mark.parametrize("scale", [0.0005, 0.02, 1.0])
def test_the_p95_is_right_within_a_bucket(scale: float) -> None:
    hedging = Hedging()
    for number in range(1000):
        hedging.observe(scale * (1 + number % 100) / 100)
    assert 0.95 * scale <= hedging.delay() <= 0.95 * scale * 1.16


def test_it_follows_an_upstream_that_got_slower() -> None:
    hedging = Hedging()
    for _ in range(5000):
        hedging.observe(0.01)
    for _ in range(1000):
        hedging.observe(0.1)
    assert hedging.delay() == pytest.approx(0.1, rel=0.16)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9])
def test_odd_times_find_a_bucket(seconds: float) -> None:
    hedging = Hedging()
    for _ in range(100):
        hedging.observe(seconds)
    assert hedging.total == 100 and hedging.delay() > 0.0


def test_at_most_five_percent_of_requests_are_hedged_s14_7() -> None:
    hedging = Hedging(0.01, 5.0)
    taken = 0
    for _ in range(10_000):
        hedging.count()
        taken += hedging.take()
    assert 480 <= taken <= 500
