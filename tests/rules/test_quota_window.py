"""Calendar windows and their counts (S9.10, S9.3)."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.rules.quota_window import CALENDARS, CountedWindow, window_of

UTC_ZONE = ZoneInfo("UTC")


def at(text: str, zone: ZoneInfo = UTC_ZONE) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("calendar", "zone", "moment", "start", "end"),
    [
        ("minute", "UTC", "2026-03-05T10:11:12", "2026-03-05T10:11:00", "2026-03-05T10:12:00"),
        ("hour", "UTC", "2026-03-05T10:11:12", "2026-03-05T10:00:00", "2026-03-05T11:00:00"),
        ("hour", "Asia/Kolkata", "2026-03-05T10:11:12", "2026-03-05T10:00:00", "2026-03-05T11:00:00"),
        ("day", "UTC", "2026-03-05T00:00:00", "2026-03-05T00:00:00", "2026-03-06T00:00:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00:00", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
        ("week", "UTC", "2026-03-05T10:11:12", "2026-03-02T00:00:00", "2026-03-09T00:00:00"),
        ("month", "UTC", "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("month", "America/New_York", "2028-02-29T23:59:59", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
    ],
)
def test_s9_10_a_window_is_that_of_the_calendar_and_the_zone(
    calendar: str, zone: str, moment: str, start: str, end: str
) -> None:
    place = ZoneInfo(zone)
    assert window_of(at(moment, place), calendar, place) == (at(start, place), at(end, place))


def test_s9_10_the_days_of_the_clock_change_have_23_and_25_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = window_of(at("2026-03-29T12:00:00", berlin), "day", berlin)
    autumn = window_of(at("2026-10-25T12:00:00", berlin), "day", berlin)
    assert (spring[1] - spring[0], autumn[1] - autumn[0]) == (23 * 3600, 25 * 3600)


@given(
    st.floats(0, 4e9),
    st.sampled_from(CALENDARS),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana"]),
)
def test_s9_10_windows_hold_their_moment_and_leave_no_gap(wall: float, calendar: str, name: str) -> None:
    zone = ZoneInfo(name)
    start, end = window_of(wall, calendar, zone)
    assert start <= wall < end
    if calendar not in ("minute", "hour"):
        assert window_of(end, calendar, zone)[0] == end
        assert window_of(start - 1, calendar, zone)[1] == start


def test_an_unknown_calendar_is_refused() -> None:
    with pytest.raises(ValueError, match="minute, hour, day"):
        window_of(0.0, "fortnight", UTC)


def test_s9_10_the_count_begins_anew_with_the_window_and_never_goes_back() -> None:
    window = CountedWindow(5)
    window.advance(100, 60)
    window.lend(5, 0, 60)
    assert (window.free(10), window.wait(1, 10), window.more(10)) == (0, 50, 60)
    window.advance(99, 60)
    assert window.free(10) == 0
    window.advance(101, 120)
    assert (window.free(61), window.wait(5, 61)) == (5, 0)


def test_s9_10_what_comes_back_after_the_boundary_belongs_to_the_window_before() -> None:
    window = CountedWindow(5)
    window.advance(1, 60)
    tag = window.lend(3, 0, 60)
    window.advance(2, 120)
    window.lend(2, 61, 120)
    window.settle(3, 3, tag, 62)
    assert window.free(62) == 3
    window.settle(2, 1, 2, 63)
    assert window.free(63) == 4


def test_s9_7_a_refund_never_lifts_a_window_above_full() -> None:
    window = CountedWindow(5)
    window.advance(1, 60)
    window.lend(2, 0, 60)
    window.refund(9, 1)
    assert window.free(1) == 5


def test_the_state_survives_a_journal() -> None:
    window = CountedWindow(5)
    window.advance(7, 60)
    window.lend(2, 0, 60)
    other = CountedWindow(5)
    other.restore(window.state())
    assert (other.number, other.ends, other.free(0)) == (7, 60, 3)
    assert not other.idle(59)
    assert other.idle(60)
