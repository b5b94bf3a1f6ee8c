"""Windows that begin and end at fixed moments: calendar quotas (S9.10) and the ``compat`` fixed window (S9.3).

Which window a moment lies in, and the count within it. The zone is an argument; no clock is read here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

CALENDARS: Final = ("minute", "hour", "day", "week", "month")

LONGEST: Final[dict[str, int]] = {
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 30 * 86_400,
}
"""Usual seconds of a calendar window, for figures that need no exact end (``w=`` of S9.9, the local share of S9.6)."""


def window_of(wall: float, calendar: str, zone: tzinfo) -> tuple[int, int]:
    """First second and end (seconds since the epoch) of the *calendar* window of *zone* that holds *wall*.

    A week begins on Monday. Minutes and hours follow the zone's offset; a day may have 23 or 25 hours.
    ``ValueError`` for an unknown calendar.
    """
    second = int(wall // 1)
    local = datetime.fromtimestamp(second, zone)
    if calendar in ("minute", "hour"):
        length = LONGEST[calendar]
        offset = local.utcoffset() or timedelta(0)
        start = second - (second + int(offset.total_seconds())) % length
        return start, start + length
    day = datetime(local.year, local.month, local.day)
    if calendar == "day":
        after = day + timedelta(days=1)
    elif calendar == "week":
        day -= timedelta(days=day.weekday())
        after = day + timedelta(days=7)
    elif calendar == "month":
        day = day.replace(day=1)
        after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1)
    else:
        raise ValueError(f"a calendar is one of {', '.join(CALENDARS)}")
    return _epoch(day, zone), _epoch(after, zone)


def _epoch(local: datetime, zone: tzinfo) -> int:
    return int(local.replace(tzinfo=zone).astimezone(UTC).timestamp())


class CountedWindow:
    """The count of one window after the other. Its whole mutable state: the window's ``number`` (any figure that
    grows), its end ``ends`` (nanoseconds of the caller's clock) and the units ``used`` (lent ones included).
    """

    __slots__ = ("amount", "ends", "number", "used")

    def __init__(self, amount: int) -> None:
        self.amount: int = amount
        self.number: int = -1
        self.ends: int = 0
        self.used: int = 0

    def advance(self, number: int, ends: int) -> None:
        """The clock says that window *number*, ending at *ends*, is now. Never goes back (S9.10): an older number is
        ignored, so a clock stepped back opens no window twice."""
        if number > self.number:
            self.number = number
            self.used = 0
            self.ends = ends
        elif number == self.number:
            self.ends = ends

    def free(self, now: int) -> int:
        """Whole units that could be lent now."""
        return max(0, self.amount - self.used)

    def wait(self, cost: int, now: int) -> int:
        """Nanoseconds until *cost* units fit, 0 when they fit now. ``cost`` over N never fits: ask before."""
        return 0 if cost <= self.free(now) else max(1, self.ends - now)

    def more(self, now: int) -> int:
        """The window's end."""
        return self.ends

    def lend(self, count: int, now: int, until: int) -> int:
        """Put *count* units on lease; *until* must not lie behind ``ends``. The result is the lease's tag."""
        self.used += count
        return self.number

    def settle(self, count: int, rest: int, tag: int, now: int) -> None:
        """The lease *tag* has ended; *rest* units come back, if its window is still the one that counts."""
        if tag == self.number:
            self.used = max(0, self.used - rest)

    def refund(self, count: int, now: int) -> None:
        """Take back a charge; never lifts the window above full."""
        self.used = max(0, self.used - count)

    def idle(self, now: int) -> bool:
        """Nothing used, or the window is over: a new one is the same. (The number is told anew by the clock.)"""
        return self.used == 0 or now >= self.ends

    def state(self) -> list[int]:
        """What a journal has to keep."""
        return [self.number, self.ends, self.used]

    def restore(self, state: list[int]) -> None:
        """Take over what :meth:`state` gave."""
        self.number, self.ends, self.used = state
