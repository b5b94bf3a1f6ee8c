"""The adaptive limit on a toy upstream (S22.6)."""

from __future__ import annotations

import pytest

from tidegate.rules.load_shedding import AdaptiveLimit

STEP = 0.1001
"""A span of the test: just over that of the rule, so that rounding decides nothing."""


def feed(limit: AdaptiveLimit, begin: float, spans: int, seconds: float, used: float = 1.0, each: int = 25) -> float:
    """*spans* spans of 100 ms with *each* samples of *seconds*, *used* of the limit in flight."""
    for span in range(spans):
        for number in range(each):
            now = begin + span * STEP + (number + 1) * STEP / each
            limit.sample(now, seconds, int(limit.limit * used), False)
    return begin + spans * STEP


def serve(limit: AdaptiveLimit, begin: float, seconds: float, capacity: int, latency: float = 0.01) -> float:
    """An upstream that works on *capacity* requests at once and always has as many as the limit lets through."""
    spans = int(seconds / STEP)
    now = begin
    for _ in range(spans):
        now = feed(limit, now, 1, latency * max(1.0, limit.limit / capacity))
    return now


def test_it_starts_at_50_and_grows_by_its_square_root_when_used() -> None:
    limit = AdaptiveLimit()
    assert limit.limit == 50
    feed(limit, 0.0, 1, 0.01)
    assert limit.exact == pytest.approx(0.8 * 50 + 0.2 * (50 + 50**0.5))


def test_it_does_not_grow_while_less_than_half_is_used() -> None:
    limit = AdaptiveLimit()
    feed(limit, 0.0, 50, 0.01, used=0.4)
    assert limit.limit == 50


def test_fewer_than_25_samples_decide_nothing() -> None:
    limit = AdaptiveLimit()
    feed(limit, 0.0, 1, 0.01, each=24)
    assert limit.exact == 50.0
    limit.sample(0.2, 0.01, 50, False)
    assert limit.exact > 50.0


def test_latency_over_one_and_a_half_times_the_average_shrinks_it() -> None:
    limit = AdaptiveLimit()
    now = feed(limit, 0.0, 20, 0.01)
    before = limit.exact
    feed(limit, now, 1, 0.03)
    assert 0.80 * before < limit.exact < 0.93 * before


def test_a_timeout_takes_a_tenth_once_in_a_span() -> None:
    limit = AdaptiveLimit()
    for _ in range(40):
        limit.sample(0.05, 1.0, 10, True)
    limit.sample(0.1, 1.0, 10, True)
    assert limit.exact == pytest.approx(45.0)


@pytest.mark.parametrize(
    ("workers", "start", "lowest", "highest"), [(1, 50, 20, 1024), (4, 12, 5, 256), (16, 4, 4, 64)]
)
def test_bounds_are_divided_by_the_workers_but_never_under_four(
    workers: int, start: int, lowest: int, highest: int
) -> None:
    limit = AdaptiveLimit(workers)
    assert limit.limit == start
    now = 0.0
    for _ in range(100):
        now += 0.1
        limit.sample(now, 1.0, 1, True)
    assert limit.limit == lowest
    feed(limit, now, 3000, 0.01)
    assert limit.limit == highest


def test_when_capacity_halves_it_settles_within_ten_seconds() -> None:
    limit = AdaptiveLimit()
    now = serve(limit, 0.0, 60.0, 200)
    before = limit.exact
    now = serve(limit, now, 10.0, 100)
    after = limit.exact
    serve(limit, now, 5.0, 100)
    assert after < 0.75 * before
    # what then remains is the slow rise that the long average, which learns from overload too, allows
    assert abs(limit.exact - after) < 0.10 * after
