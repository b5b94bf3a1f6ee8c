"""Which failed attempts go round again (S14.1-S14.3, S14.6)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import IF_IDEMPOTENT, NEVER, NOT_PROCESSED, UPSTREAM, Fault
from tidegate.ports.plan import RetryPlan
from tidegate.rules.retrying import backoff, idempotent, may_retry


def delay(
    method: str = "GET", has_key: bool = False, body: bool = True, attempt: int = 1, left: float = 10.0,
    draw: float = 0.5, plan: RetryPlan | None = None, **rest: Any,
) -> float:  # fmt: skip
    return may_retry(plan or RetryPlan(), attempt, method, has_key, body, left, draw, **rest)


def fault(retry: int) -> Fault:
    return Fault("bad_upstream", side=UPSTREAM, retry=retry)


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "QUERY", "PUT", "DELETE"])
def test_gateway_statuses_of_idempotent_requests_go_round_s14_2(method: str, status: int) -> None:
    assert delay(method, status=status) == 0.0125


@pytest.mark.parametrize("status", [200, 400, 404, 429, 499, 500, 501])
def test_other_statuses_do_not_s14_2(status: int) -> None:
    assert delay(status=status) == -1.0


@pytest.mark.parametrize("method", ["POST", "PATCH", "get", "UNKNOWN"])
def test_what_is_not_idempotent_goes_round_only_with_a_key_or_if_never_processed_s14_1(method: str) -> None:
    assert delay(method, status=503) == -1.0
    assert delay(method, fault=fault(IF_IDEMPOTENT)) == -1.0
    assert delay(method, has_key=True, status=503) == 0.0125
    assert delay(method, fault=fault(NOT_PROCESSED)) == 0.0125


def test_faults_that_cannot_get_better_do_not_go_round() -> None:
    assert delay(fault=fault(NEVER)) == -1.0


def test_a_body_that_cannot_be_sent_again_ends_it_s14_1() -> None:
    assert delay(body=False, fault=fault(NOT_PROCESSED)) == -1.0


@pytest.mark.parametrize(("attempts", "made", "again"), [(1, 1, True), (1, 2, False), (0, 1, False), (9, 4, True),
                                                         (9, 5, False)])  # fmt: skip
def test_attempts_are_counted_and_capped_at_four_more_s14_3(attempts: int, made: int, again: bool) -> None:
    assert (delay(plan=RetryPlan(attempts=attempts), attempt=made, status=503) >= 0.0) is again


@pytest.mark.parametrize(("asked", "expected"), [(0.5, 0.5), (1.0, 1.0), (1.001, -1.0)])
def test_an_upstream_that_asks_for_more_than_a_second_is_not_asked_again_s14_3(asked: float, expected: float) -> None:
    assert delay(status=503, retry_after=asked) == expected


def test_no_retry_that_would_begin_after_the_deadline_s14_1() -> None:
    assert delay(status=503, left=0.012) == -1.0
    assert delay(status=503, left=0.013) == 0.0125


def test_what_another_gateway_repeats_is_not_repeated_here_s14_6() -> None:
    assert delay(status=503, arrived_retried=True) == -1.0


def test_a_key_makes_any_method_repeatable() -> None:
    assert idempotent("GET", False) and idempotent("POST", True) and not idempotent("POST", False)


@pytest.mark.parametrize(("number", "ceiling"), [(1, 0.025), (2, 0.05), (3, 0.1), (4, 0.2), (5, 0.25), (99, 0.25)])
def test_the_ceiling_of_the_backoff_doubles_up_to_its_cap_s14_3(number: int, ceiling: float) -> None:
    assert backoff(number, 0.025, 0.25, 1.0) == ceiling


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_the_backoff_is_drawn_from_nothing_up_to_the_ceiling(number: int, draw: float) -> None:
    assert 0.0 <= backoff(number, 0.025, 0.25, draw) <= 0.25
