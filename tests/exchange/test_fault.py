"""Faults: the table of S6, and the three questions a fault answers."""

from __future__ import annotations

import re

import pytest

from tidegate.exchange.fault import (
    CLIENT,
    CODES,
    GATEWAY,
    IF_IDEMPOTENT,
    NEVER,
    NOT_PROCESSED,
    REASON_FLAG,
    REASON_PROXY_STATUS,
    UPSTREAM,
    Fault,
)

GRPC = {
    "INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND", "DEADLINE_EXCEEDED",
    "ABORTED", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "UNAVAILABLE", "CANCELLED", "INTERNAL",
}  # fmt: skip

PROXY_STATUS = {
    "dns_error", "destination_ip_prohibited", "destination_unavailable", "connection_refused", "connection_terminated",
    "connection_timeout", "connection_limit_reached", "tls_certificate_error", "http_protocol_error",
    "http_request_error", "http_request_denied", "http_response_body_size", "http_response_timeout",
    "proxy_configuration_error", "proxy_internal_error", "proxy_loop_detected",
}  # fmt: skip
"""Registered by RFC 9209, of those in use here."""


@pytest.mark.parametrize("code", CODES)
def test_every_code_can_be_put_into_an_answer(code: str) -> None:
    """S6.2"""
    row = CODES[code]
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    assert 400 <= row.status <= 599
    assert row.title and row.title[0].isupper() and not row.title.endswith(".")
    assert row.grpc in GRPC
    assert row.proxy_status in PROXY_STATUS | {""}
    assert re.fullmatch(r"[A-Z]{2}", row.flag)


def test_s6_6_every_503_says_when_to_come_again() -> None:
    assert {code for code, row in CODES.items() if row.wait} == {c for c, row in CODES.items() if row.status == 503}


def test_s6_6_every_fault_beyond_us_has_its_proxy_status() -> None:
    silent = {code for code, row in CODES.items() if row.status in (502, 503, 508) and not row.proxy_status}
    assert silent == set()


@pytest.mark.parametrize(
    ("code", "status"),
    [("bad_request", 400), ("unauthenticated", 401), ("forbidden", 403), ("route_not_found", 404),
     ("body_too_large", 413), ("rate_limited", 429), ("headers_too_large", 431), ("client_closed", 499),
     ("bad_upstream", 502), ("overloaded", 503), ("upstream_timeout", 504)],
)  # fmt: skip
def test_the_status_of_a_fault_is_that_of_its_row(code: str, status: int) -> None:
    assert Fault(code).status == status


def test_a_fault_may_be_raised_and_says_nothing_it_was_not_told() -> None:
    with pytest.raises(Fault) as caught:
        raise Fault("bad_request")
    fault = caught.value
    assert (fault.detail, fault.reason, fault.side, fault.retry) == ("", "", GATEWAY, NEVER)
    assert (fault.retry_after, fault.close, fault.fields, fault.extra) == (0.0, False, [], None)
    assert repr(fault) == "<Fault 400 bad_request  (gateway)>"


def test_faults_made_without_fields_share_no_list() -> None:
    first, second = Fault("rate_limited"), Fault("rate_limited")
    first.fields.append(("retry-after", "1"))
    assert second.fields == []


def test_the_three_ways_of_trying_again_grow_more_generous() -> None:
    assert NEVER < IF_IDEMPOTENT < NOT_PROCESSED


@pytest.mark.parametrize(
    ("code", "reason", "proxy_status", "flag"),
    [
        ("bad_upstream", "", "http_protocol_error", "UF"),
        ("bad_upstream", "reset", "connection_terminated", "UF"),
        ("bad_upstream", "bad_framing", "http_protocol_error", "UF"),
        ("upstream_unavailable", "", "destination_unavailable", "UH"),
        ("upstream_unavailable", "circuit_open", "destination_unavailable", "CO"),
        ("upstream_unavailable", "dns_failed", "dns_error", "UF"),
        ("upstream_unavailable", "connect_failed", "connection_refused", "UF"),
        ("upstream_timeout", "connect_timeout", "connection_timeout", "UT"),
    ],
)
def test_a_finer_reason_makes_proxy_status_and_flag_finer(code: str, reason: str, proxy_status: str, flag: str) -> None:
    """S6.6"""
    fault = Fault(code, reason=reason, side=UPSTREAM)
    assert (fault.proxy_status, fault.flag) == (proxy_status, flag)


def test_a_fault_of_the_client_has_no_proxy_status() -> None:
    """S6.6: only for faults beyond us."""
    assert Fault("bad_request", side=CLIENT).proxy_status == ""
    assert Fault("bad_request", side=GATEWAY).proxy_status == "http_request_error"


def test_finer_reasons_use_registered_names_too() -> None:
    assert set(REASON_PROXY_STATUS.values()) <= PROXY_STATUS
    assert all(re.fullmatch(r"[A-Z]{2}", flag) for flag in REASON_FLAG.values())


def test_a_code_that_is_in_no_row_has_no_status() -> None:
    with pytest.raises(KeyError, match="teapot"):
        _ = Fault("teapot").status
