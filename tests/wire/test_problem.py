"""A Fault as RFC 9457 problem (S6.1, S6.2, S6.6, S9.9)."""

from __future__ import annotations

import json

import pytest

from tidegate.exchange.fault import CLIENT, CODES, UPSTREAM, Fault
from tidegate.wire.problem import problem


def field(answer_fields: list[tuple[str, str]], name: str) -> str | None:
    return dict(answer_fields).get(name)


def test_a_problem_has_all_members() -> None:
    """S6.2"""
    answer = problem(
        Fault("bad_upstream", "The answer was cut off.", reason="reset", side=UPSTREAM), "req", "trace", "tidegate"
    )
    assert answer.status == 502
    assert json.loads(answer.body) == {
        "type": "urn:tidegate:problem:bad_upstream",
        "title": "The upstream answered badly",
        "status": 502,
        "code": "bad_upstream",
        "detail": "The answer was cut off.",
        "reason": "reset",
        "request_id": "req",
        "trace_id": "trace",
    }
    assert answer.fields == [
        ("content-type", "application/problem+json"),
        ("proxy-status", "tidegate; error=connection_terminated"),
    ]
    assert answer.close is False


def test_what_is_not_known_is_left_out() -> None:
    answer = problem(Fault("route_not_found", side=CLIENT), "", "", "tidegate")
    assert set(json.loads(answer.body)) == {"type", "title", "status", "code"}


@pytest.mark.parametrize(
    ("fault", "seconds", "millis"),
    [
        (Fault("rate_limited", retry_after=1.2), "2", 1200),
        (Fault("rate_limited", retry_after=0.001), "1", 1),
        (Fault("rate_limited"), None, None),
        (Fault("overloaded"), "1", None),
        (Fault("upstream_unavailable", retry_after=3.0), "3", 3000),
        (Fault("bad_upstream", retry_after=3.0), None, 3000),
    ],
)
def test_a_wait_is_told_in_whole_seconds_where_waiting_helps(
    fault: Fault, seconds: str | None, millis: int | None
) -> None:
    """S6.6, S9.1"""
    answer = problem(fault, "", "", "g")
    assert field(answer.fields, "retry-after") == seconds
    assert json.loads(answer.body).get("retry_after_ms") == millis


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limited", "quota-exceeded"),
        ("quota_exceeded", "quota-exceeded"),
        ("budget_exceeded", "quota-exceeded"),
        ("overloaded", "temporary-reduced-capacity"),
    ],
)
def test_limits_use_the_registered_types(code: str, kind: str) -> None:
    """S9.9"""
    answer = problem(Fault(code, extra={"violated-policies": ["per-minute"]}), "", "", "g")
    body = json.loads(answer.body)
    assert body["type"] == "https://iana.org/assignments/http-problem-types#" + kind
    assert body["violated-policies"] == ["per-minute"]


def test_additions_cannot_overwrite_a_member() -> None:
    assert json.loads(problem(Fault("forbidden", extra={"status": 200}), "", "", "g").body)["status"] == 403


def test_fields_of_the_fault_travel_with_it() -> None:
    fault = Fault("method_not_allowed", side=CLIENT, fields=[("allow", "GET")])
    assert field(problem(fault, "", "", "g").fields, "allow") == "GET"


@pytest.mark.parametrize(
    ("side", "code", "expected"),
    [
        (CLIENT, "bad_request", None),
        ("gateway", "overloaded", "g; error=connection_limit_reached"),
        (UPSTREAM, "upstream_timeout", "g; error=http_response_timeout"),
    ],
)
def test_proxy_status_is_for_faults_beyond_the_client(side: str, code: str, expected: str | None) -> None:
    """S6.6"""
    assert field(problem(Fault(code, side=side), "", "", "g").fields, "proxy-status") == expected


@pytest.mark.parametrize(
    ("name", "item"),
    [("edge-1.example", "edge-1.example"), ("my edge", '"my edge"'), ('a"b\r\n', '"ab"'), ("1a", '"1a"')],
)
def test_the_name_is_a_token_or_a_string(name: str, item: str) -> None:
    """RFC 8941"""
    fields = problem(Fault("overloaded"), "", "", name).fields
    assert field(fields, "proxy-status") == f"{item}; error=connection_limit_reached"


def test_a_body_over_the_limit_closes() -> None:
    """S2.11"""
    assert problem(Fault("body_too_large", side=CLIENT), "", "", "g").close is True
    assert problem(Fault("bad_request", side=CLIENT, close=True), "", "", "g").close is True


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_problem_is_never_over_1_kib(code: str) -> None:
    """S6.2"""
    fault = Fault(code, "é\u2028" * 5000, reason="r" * 30, retry_after=5.0, extra={"more": "x" * 5000})
    answer = problem(fault, "i" * 128, "t" * 32, "tidegate")
    assert len(answer.body) <= 1024
    assert json.loads(answer.body)["status"] == CODES[code].status
    small = problem(Fault(code, "d", extra={"more": "x" * 100}), "i" * 128, "t" * 32, "g")
    assert json.loads(small.body)["more"] == "x" * 100
