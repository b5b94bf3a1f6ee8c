"""Google's error object, both ways (LLM 5.11)."""

from __future__ import annotations

import json

import pytest

from tidegate.rules.generate_faults import fault_body, fault_of, read_refusal


def test_a_fault_has_its_state_and_tells_its_delay() -> None:
    assert json.loads(fault_body(429, "rate_limited", "", 2.5)) == {"error": {
        "code": 429, "message": "Too many requests", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "2.5s"}]}}  # fmt: skip
    assert json.loads(fault_body(508, "loop_detected", "d", 0))["error"]["status"] == "INTERNAL"
    assert json.loads(fault_body(418, "bad_request", "d", 0))["error"]["status"] == "FAILED_PRECONDITION"


@pytest.mark.parametrize("delay", ["7", "s", "-1s", "1e3s", "1.s", ".5s", "٣s" * 20, "9" * 30 + "s"])
def test_what_is_no_delay_is_none(delay: str) -> None:
    body = json.dumps({"error": {"details": [{"retryDelay": delay}]}}).encode()
    assert read_refusal(429, {}, body, 0.0).retry_after == 0.0


def test_the_first_delay_counts_and_odd_details_are_skipped() -> None:
    body = json.dumps({"error": {"details": [7, {"reason": 7}, {"retryDelay": "3s"}, {"retryDelay": "9s"}]}}).encode()
    fault = read_refusal(429, {}, body, 0.0)
    assert (fault.code, fault.retry_after) == ("rate_limited", 3.0)


@pytest.mark.parametrize("body", [b"", b"[]", b"[7]", b"<html>", b'{"error":7}', b'{"error":{"details":7}}'])
def test_what_is_no_error_object_is_judged_by_its_status(body: bytes) -> None:
    assert read_refusal(503, {}, body, 0.0).code == "overloaded"


def test_a_key_that_is_not_valid_is_ours_to_mend() -> None:
    body = b'{"error":{"code":400,"details":[{"reason":"API_KEY_INVALID"}]}}'
    assert read_refusal(400, {}, body, 0.0).reason == "upstream_auth"


def test_an_error_inside_an_answer_brings_its_own_status() -> None:
    assert fault_of(b'{"code":404,"message":"m"}').code == "model_not_found"
    assert fault_of(b"7").code == "bad_upstream"
    assert fault_of(b'{"code":"x"}').code == "bad_upstream"
