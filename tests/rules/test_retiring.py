from __future__ import annotations

import pytest

from tidegate.rules.retiring import day_of, is_retired, retiring_fields

AT = 1_801_353_600.0  # 2027-01-31


def test_a_model_that_goes_says_when_in_both_fields() -> None:
    assert retiring_fields(AT) == [("deprecation", "@1801353600"), ("sunset", "Sun, 31 Jan 2027 00:00:00 GMT")]
    assert day_of(AT) == "2027-01-31"


@pytest.mark.parametrize("at", [1e11, 1e300])
def test_a_day_after_the_last_year_is_the_last_day(at: float) -> None:
    if at > 1e12:
        assert retiring_fields(at)[1] == ("sunset", "Fri, 31 Dec 9999 23:59:59 GMT")
        assert day_of(at) == "9999-12-31"
    else:
        assert retiring_fields(at)[0] == ("deprecation", "@100000000000")


@pytest.mark.parametrize(("retires", "now", "gone"), [(0.0, 5.0, False), (5.0, 4.9, False), (5.0, 5.0, True)])
def test_it_has_gone_from_its_moment_on(retires: float, now: float, gone: bool) -> None:
    assert is_retired(retires, now) is gone
