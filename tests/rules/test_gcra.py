"""GCRA against a float token bucket, and its lease algebra (S9.1, S9.4)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.gcra import Gcra

SECOND = 1_000_000_000

figures = st.tuples(
    st.integers(1, 10_000), st.sampled_from([1, 1000, SECOND, 60 * SECOND, 86_400 * SECOND]), st.integers(1, 1000)
)
steps = st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(1, 50)), max_size=60)


@given(figures, steps)
def test_s9_1_it_decides_like_a_token_bucket(figures: tuple[int, int, int], steps: list[tuple[int, int]]) -> None:
    amount, per, burst = figures
    bucket = Gcra(amount, per, burst)
    level, now = Fraction(burst), 10**15
    for pause, cost in steps:
        now += pause
        level = min(Fraction(burst), level + Fraction(pause * amount, per))
        assert bucket.free(now) == int(level)
        allowed = level >= cost
        assert bucket.take(cost, now) is allowed
        if allowed:
            level -= cost
        float_level = float(level)
        assert float_level >= 0.0
        assert bucket.free(now) == int(level)


@given(figures, steps, st.integers(1, 1000))
def test_s9_1_after_the_wait_it_names_the_cost_passes_and_not_a_nanosecond_earlier(
    figures: tuple[int, int, int], steps: list[tuple[int, int]], cost: int
) -> None:
    bucket = Gcra(*figures)
    cost = min(cost, bucket.burst)
    now = 10**15
    for pause, units in steps:
        now += pause
        bucket.take(units, now)
    wait = bucket.wait(cost, now)
    if wait == 0:
        assert bucket.take(cost, now)
    else:
        assert not bucket.take(cost, now + wait - 1)
        assert bucket.take(cost, now + wait)


def test_s9_1_remaining_and_the_time_of_the_next_unit_are_exact() -> None:
    bucket = Gcra(10, SECOND, 5)
    now = 77 * SECOND
    assert (bucket.free(now), bucket.more(now)) == (5, now)
    assert bucket.take(2, now)
    assert (bucket.free(now), bucket.more(now)) == (3, now + SECOND // 10)
    later = now + SECOND // 20
    assert (bucket.free(later), bucket.more(later)) == (3, now + SECOND // 10)
    assert (bucket.free(now + SECOND // 10), bucket.more(now + SECOND // 10)) == (4, now + SECOND // 5)


def test_s9_1_a_refusal_stores_nothing() -> None:
    bucket = Gcra(1, SECOND, 3)
    assert bucket.take(2, 0)
    before = bucket.state()
    assert not bucket.take(2, 0)
    assert bucket.state() == before


@given(
    figures,
    st.lists(st.tuples(st.integers(0, SECOND), st.integers(0, 30), st.floats(0, 1), st.integers(0, 3)), max_size=60),
)
def test_s9_4_whatever_is_lent_spent_and_returned_the_promise_of_the_bucket_holds(
    figures: tuple[int, int, int], steps: list[tuple[int, int, float, int]]
) -> None:
    """Leases are spent as late as can be, which is the worst for the bucket; the sum must pass a plain bucket."""
    book = Gcra(*figures)
    plain = Gcra(*figures)
    leases: list[tuple[int, int]] = []
    now = 10**15
    for pause, count, part, settled in steps:
        now += pause
        for _ in range(min(settled, len(leases))):
            lent, tag = leases.pop(0)
            spent = round(lent * part)
            assert spent == 0 or plain.take(spent, now)
            book.settle(lent, lent - spent, tag, now)
        count = min(count, book.free(now))
        if count:
            leases.append((count, book.lend(count, now, now + 5 * SECOND)))
    assert book.out == sum(count for count, _ in leases)


@given(figures, st.integers(1, 50), st.integers(0, 100), st.integers(0, SECOND))
def test_s9_7_a_refund_never_lifts_a_bucket_above_full(
    figures: tuple[int, int, int], cost: int, back: int, pause: int
) -> None:
    bucket = Gcra(*figures)
    bucket.take(cost, 0)
    bucket.refund(back, pause)
    assert bucket.free(pause) <= bucket.burst
    lent = bucket.free(pause)
    bucket.lend(lent, pause, pause)
    bucket.refund(back, pause)
    assert bucket.free(pause) == 0 or lent < bucket.burst


def test_s9_6_a_bucket_can_start_with_one_unit() -> None:
    bucket = Gcra(10, SECOND, 5)
    bucket.start_with(1, 50 * SECOND)
    assert bucket.take(1, 50 * SECOND)
    assert not bucket.take(1, 50 * SECOND)
    assert bucket.take(1, 50 * SECOND + SECOND // 10)


def test_s23_2_new_figures_keep_what_is_used() -> None:
    bucket = Gcra(10, SECOND, 10)
    bucket.take(6, 0)
    bucket.resize(100, 60 * SECOND, 20, 0)
    assert bucket.free(0) == 14
    bucket.resize(10, SECOND, 4, 0)
    assert bucket.free(0) == 0


@pytest.mark.parametrize("amount", [3, 7, 999_999_999_999])
def test_the_state_survives_a_journal_exactly(amount: int) -> None:
    bucket = Gcra(amount, SECOND, 5)
    bucket.lend(2, 123_456_789_012_345, 0)
    other = Gcra(amount, SECOND, 5)
    other.restore(bucket.state())
    assert (other.tat, other.out) == (bucket.tat, bucket.out)
    assert not other.idle(123_456_789_012_345)
    assert Gcra(1, 1, 1).idle(0)
