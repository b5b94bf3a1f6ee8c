"""Periods of budgets in UTC (LLM 10)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.budget_periods import ENDLESS, Calendar, period_at


def wall(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("per", "at", "name", "starts", "ends"),
    [
        ("day", "2026-11-21T23:59:59.999", "2026-11-21", "2026-11-21", "2026-11-22"),
        ("day", "2026-11-22", "2026-11-22", "2026-11-22", "2026-11-23"),
        ("week", "2026-11-22T12:00", "2026-W47", "2026-11-16", "2026-11-23"),
        ("week", "2026-11-23", "2026-W48", "2026-11-23", "2026-11-30"),
        ("week", "2027-01-01", "2026-W53", "2026-12-28", "2027-01-04"),
        ("month", "2026-12-31T23:59", "2026-12", "2026-12-01", "2027-01-01"),
        ("month", "2028-02-29", "2028-02", "2028-02-01", "2028-03-01"),
    ],
)
def test_a_period_has_a_name_a_start_and_an_end(per: str, at: str, name: str, starts: str, ends: str) -> None:
    assert period_at(per, wall(at)) == (name, wall(starts), wall(ends))


def test_total_never_ends_and_others_are_unknown() -> None:
    assert period_at("total", 0.0) == ("total", 0.0, ENDLESS)
    with pytest.raises(ValueError):
        period_at("year", 0.0)


def test_a_clock_set_back_gives_no_second_allowance() -> None:
    calendar = Calendar()
    assert calendar.now("day", wall("2026-11-22T00:00:01")).id == "2026-11-22"
    assert calendar.now("day", wall("2026-11-21T23:00")).id == "2026-11-22"
    assert calendar.now("month", wall("2026-10-01")).id == "2026-11"
    calendar.learn(wall("2026-11-23T01:00"))
    calendar.learn(wall("2026-11-01"))
    assert calendar.now("day", wall("2026-11-22T02:00")).id == "2026-11-23"


@given(st.floats(0, 4e9), st.sampled_from(["day", "week", "month"]))
def test_each_moment_lies_in_one_period_and_the_next_begins_where_it_ends(at: float, per: str) -> None:
    period = period_at(per, at)
    assert period.starts <= at < period.ends
    following = period_at(per, period.ends)
    assert following.starts == period.ends
    assert following.id > period.id
