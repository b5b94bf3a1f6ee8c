"""What is said of a model that goes (LLM 13): ``Deprecation`` (RFC 9745) and ``Sunset`` (RFC 8594) until its day, and
why there is none afterwards."""

from __future__ import annotations

from email.utils import formatdate
from typing import Final

from tidegate.exchange.head import Fields
from tidegate.rules.limit_fields import moment

LATEST: Final = 253_402_300_799.0
"""The last second of the year 9999: dates have four digits."""


def retiring_fields(retires: float) -> Fields:
    """The fields of answers of a model that goes at *retires* (seconds since the epoch). When it was decided nobody has
    written down; from its end on it is surely not to be built upon, so that is the moment of ``Deprecation`` too."""
    at = min(retires, LATEST)
    return [("deprecation", f"@{int(at)}"), ("sunset", formatdate(at, usegmt=True))]


def is_retired(retires: float, now: float) -> bool:
    """Whether it has gone. *retires*: 0.0 for never."""
    return 0.0 < retires <= now


def day_of(retires: float) -> str:
    """The day it goes, in UTC: ``2027-01-31``."""
    return moment(min(retires, LATEST))[:10]
