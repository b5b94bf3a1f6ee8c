"""S7.7: failing tries are slowed down by address; S7.2: one 401 for every bad credential."""

from __future__ import annotations

from fakes import exchange
from tidegate.exchange.fault import CLIENT
from tidegate.rules.failed_logins import FailedLogins, refusal, unauthenticated, unavailable


def test_a_hundred_failures_a_minute_pass_and_the_next_wait_for_the_window() -> None:
    failures = FailedLogins()
    assert [failures.failed("192.0.2.1", 5.0) for _ in range(100)] == [0.0] * 100
    assert failures.failed("192.0.2.1", 25.0) == 40.0
    assert failures.failed("192.0.2.2", 25.0) == 0.0
    assert failures.failed("192.0.2.1", 65.0) == 0.0


def test_an_attack_that_goes_on_does_not_lengthen_the_window() -> None:
    failures = FailedLogins()
    for tick in range(600):
        failures.failed("192.0.2.1", tick * 0.1, allowed=1)
    assert failures.failed("192.0.2.1", 60.0, allowed=1) == 0.0


def test_one_ipv6_network_is_one_client() -> None:
    failures = FailedLogins()
    assert failures.failed("2001:db8::1", 0.0, allowed=1) == 0.0
    assert failures.failed("2001:db8::ffff", 0.0, allowed=1) == 60.0
    assert failures.failed("2001:db8:0:1::1", 0.0, allowed=1) == 0.0
    assert failures.failed("fe80::1%eth0", 0.0, allowed=1) == 0.0
    assert failures.failed("not:an:address", 0.0, allowed=1) == 0.0


def test_the_table_is_bounded_and_forgets_who_failed_first() -> None:
    failures = FailedLogins(largest=3)
    for number in range(4):
        failures.failed(f"192.0.2.{number}", 0.0, allowed=1)
    assert len(failures) == 3
    assert failures.failed("192.0.2.3", 0.0, allowed=1) == 60.0
    assert failures.failed("192.0.2.0", 0.0, allowed=1) == 0.0


def test_a_refusal_is_401_then_429_with_the_wait() -> None:
    failures, x = FailedLogins(), exchange()
    first = refusal(failures, x, 10.0, 1, "Bearer")
    second = refusal(failures, x, 20.0, 1, "Bearer")
    assert (first.status, first.fields, first.side) == (401, [("www-authenticate", "Bearer")], CLIENT)
    assert (second.status, second.code, second.retry_after, second.fields) == (429, "rate_limited", 50.0, [])


def test_every_scheme_offered_gets_its_challenge() -> None:
    fault = unauthenticated(("Bearer", 'Basic realm="x"'))
    assert fault.fields == [("www-authenticate", "Bearer"), ("www-authenticate", 'Basic realm="x"')]


def test_a_verifier_in_trouble_is_503() -> None:
    assert (unavailable().status, unavailable().code, unavailable().retry_after) == (503, "auth_unavailable", 1.0)
