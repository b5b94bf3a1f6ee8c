from __future__ import annotations

from time import process_time

import pytest

from tidegate.exchange.fault import IF_IDEMPOTENT, NEVER
from tidegate.rules.upstream_fault import public, told_delay, upstream_fault

NOW = 1_800_000_000.0

TABLE = [
    (400, "invalid_request_error", "bad temperature", "invalid_request", ""),
    (422, "", "bad", "invalid_request", ""),
    (400, "invalid_request_error context_length_exceeded", "", "context_length", ""),
    (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", "context_length", ""),
    (400, "invalid_argument", "The input token count (9) exceeds the maximum number of tokens", "context_length", ""),
    (413, "request_too_large", "", "context_length", ""),
    (400, "content_policy_violation", "no", "content_policy", ""),
    (401, "authentication_error", "", "bad_upstream", "upstream_auth"),
    (403, "permission_error", "", "bad_upstream", "upstream_auth"),
    (401, "invalid_request_error invalid_api_key", "Incorrect API key: no model", "bad_upstream", "upstream_auth"),
    (403, "unrecognizedclientexception", "The security token is invalid", "bad_upstream", "upstream_auth"),
    (403, "permission_denied service_disabled", "It is disabled, no model", "bad_upstream", "upstream_auth"),
    (403, "permission_denied", "Your API key was reported as leaked.", "bad_upstream", "upstream_auth"),
    (403, "invalid_request_error model_not_found", "", "bad_upstream", "upstream_denied"),
    (403, "permissions_error model_permission_blocked_org", "", "bad_upstream", "upstream_denied"),
    (401, "invalid_request_error", "Missing scopes: model.request", "bad_upstream", "upstream_denied"),
    (403, "permission_error", "No permission to use the specified resource.", "bad_upstream", "upstream_denied"),
    (
        403,
        "accessdeniedexception",
        "You don't have access to the model with that ID",
        "bad_upstream",
        "upstream_denied",
    ),
    (
        403,
        "accessdeniedexception",
        "User: u is not authorized to perform: bedrock:InvokeModel",
        "bad_upstream",
        "upstream_denied",
    ),
    (403, "permission_denied iam_permission_denied", "Permission 'x' denied", "bad_upstream", "upstream_denied"),
    (
        403,
        "permission_denied",
        "You do not have permission to access the File abc or it may not exist.",
        "invalid_request",
        "",
    ),
    (402, "", "", "bad_upstream", "upstream_quota"),
    (429, "insufficient_quota", "", "bad_upstream", "upstream_quota"),
    (400, "invalid_request_error", "Your credit balance is too low", "bad_upstream", "upstream_quota"),
    (429, "monthly_spend_limit_reached", "", "bad_upstream", "upstream_quota"),
    (404, "not_found_error", "model: x", "model_not_found", "upstream_unknown_model"),
    (429, "rate_limit_error", "", "rate_limited", "upstream_rate"),
    (429, "requests ramp_limit_exceeded", "", "rate_limited", "upstream_rate"),
    (429, "slow_down", "", "overloaded", "upstream_overloaded"),
    (429, "modelnotreadyexception", "", "overloaded", "upstream_overloaded"),
    (529, "overloaded_error", "", "overloaded", "upstream_overloaded"),
    (503, "", "", "overloaded", "upstream_overloaded"),
    (500, "server_error", "", "bad_upstream", "upstream_error"),
    (502, "", "<html>", "bad_upstream", "upstream_error"),
    (424, "modelerrorexception", "", "bad_upstream", "upstream_error"),
    (408, "modeltimeoutexception", "", "upstream_timeout", "upstream_timeout"),
    (504, "deadline_exceeded", "", "upstream_timeout", "upstream_timeout"),
]


@pytest.mark.parametrize(("status", "words", "message", "code", "reason"), TABLE)
def test_the_table_of_faults(status: int, words: str, message: str, code: str, reason: str) -> None:
    fault = upstream_fault(status, words, message, {}, NOW)
    assert (fault.code, fault.reason) == (code, reason)
    client_can_act = code in ("invalid_request", "context_length", "content_policy")
    assert fault.retry == (NEVER if client_can_act else IF_IDEMPOTENT)


def test_a_delay_of_more_than_ten_minutes_is_an_empty_purse() -> None:
    assert upstream_fault(429, "", "", {"retry-after": "601"}, NOW).reason == "upstream_quota"
    assert upstream_fault(429, "", "", {}, NOW, delay=601.0).reason == "upstream_quota"
    assert upstream_fault(429, "", "", {}, NOW, delay=30.0).retry_after == 30.0


@pytest.mark.parametrize(
    ("fields", "delay"),
    [
        ({}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
        ({"retry-after": "soon", "x-ratelimit-reset-requests": "1m30s"}, 90.0),
        ({"x-ratelimit-reset-tokens": "250ms", "x-ratelimit-reset-requests": "2s"}, 0.25),
        ({"x-ratelimit-reset": "1800000012"}, 12.0),
        ({"anthropic-ratelimit-tokens-reset": "2027-01-15T08:00:20Z"}, 20.0),
        ({"retry-after": "9" * 40}, 0.0),
    ],
)
def test_the_first_delay_that_can_be_read_counts(fields: dict[str, str], delay: float) -> None:
    assert told_delay(fields, NOW) == delay


def test_secrets_and_hosts_are_struck_out() -> None:
    said = "Key sk-proj-abcdef1234567890 of org-A1b2C3d4E5 at https://api.openai.com/v1 (10.0.0.7:443) is wrong"
    assert public(said) == "Key *** of *** at *** (***) is wrong"
    assert len(public("x" * 5000)) == 1000


def test_a_sentence_that_quotes_the_client_puts_no_credential_out() -> None:
    said = "Invalid value: 'insufficient balance'. Supported values are: 'low', 'high'."
    assert upstream_fault(400, "invalid_request_error invalid_value", said, {}, NOW).code == "invalid_request"
    said = "model: 'your credit balance is too low' does not match"
    assert upstream_fault(400, "invalid_request_error", said, {}, NOW).code == "invalid_request"


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "a-" * 500_000, "a." * 500_000, "_spend_limit" * 80_000, "sk-" * 300_000]
)
def test_what_an_upstream_says_costs_no_more_than_its_length(text: str) -> None:
    begun = process_time()
    upstream_fault(400, text, text, {}, NOW)
    assert process_time() - begun < 0.25  # the patterns before took minutes


def test_hosts_are_struck_out_wherever_their_end_stands() -> None:
    assert public("at llm.acme.internal.example or api.openai.com.cn.") == "at *** or ***."
    assert public("v1.5 of gpt-4.1 e.g. 0.25") == "v1.5 of gpt-4.1 e.g. 0.25"
    assert public("Authorization: Bearer abc.def/ghi= and ya29.a0AfB_byC1234567") == "Authorization: *** and ***"


def test_nobody_rests_for_years_because_an_upstream_says_so() -> None:
    assert upstream_fault(503, "", "", {"retry-after": "999999999999"}, NOW).retry_after == 600.0
