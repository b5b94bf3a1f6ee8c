"""Faults as the OpenAI family says them, both ways (LLM 5.11)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.exchange.fault import CODES, Fault
from tidegate.rules.error_object import error_body, error_object, error_status, error_words, read_error


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_type_and_a_sentence(code: str) -> None:
    told = error_object(Fault(code))
    assert told["message"] and set(told) == {"message", "type", "param", "code"}
    kinds = ("invalid_request_error", "permission_error", "rate_limit_error", "insufficient_quota", "server_error")
    assert told["type"] in kinds
    assert (told["type"] == "server_error") == (CODES[code].status >= 500)


def test_the_member_and_the_reason_are_told_where_a_client_can_act() -> None:
    fault = Fault("invalid_request", "n must be a whole number.", extra={"param": "n"})
    assert json.loads(error_body(fault))["error"]["param"] == "n"
    assert error_object(Fault("forbidden", reason="model_denied"))["code"] == "model_denied"
    assert error_object(Fault("bad_upstream", reason="upstream_auth"))["code"] is None


@pytest.mark.parametrize(
    ("body", "words", "message"),
    [
        ({"error": {"message": "m", "type": "T", "code": "C"}}, "t c", "m"),
        ({"error": {"message": "m", "code": 429, "status": "RESOURCE_EXHAUSTED"}}, "429 resource_exhausted", "m"),
        ({"error": "m"}, "", "m"),
        ({"message": "m", "type": "T"}, "t", "m"),
        ({"detail": "m"}, "", "m"),
        ([{"error": {"message": "m"}}], "", "m"),
        ({"error": {"message": None, "type": None}}, "", ""),
        ([], "", ""),
        (3, "", ""),
    ],
)
def test_words_of_vendors(body: Any, words: str, message: str) -> None:
    assert error_words(json.dumps(body).encode()) == (words, message)


def test_what_is_no_json_has_no_words() -> None:
    assert error_words(b"<html>502</html>") == ("", "")
    fault = read_error(502, {}, b"<html>", 0.0)
    assert (fault.code, fault.side) == ("bad_upstream", "upstream")


def test_a_long_sentence_is_cut() -> None:
    assert len(error_words(json.dumps({"error": "x" * 9000}).encode())[1]) == 2000


@pytest.mark.parametrize(
    ("body", "status"), [(b'{"code":429}', 429), (b'{"code":"x"}', 500), (b'{"code":7}', 500), (b"3", 500)]
)
def test_an_error_in_a_stream_may_name_its_status(body: bytes, status: int) -> None:
    assert error_status(body, 500) == status


def test_the_delay_of_a_refusal_is_read_from_its_fields() -> None:
    fault = read_error(429, {"retry-after": "7"}, b'{"error":{"code":"rate_limit_exceeded","message":"x"}}', 0.0)
    assert (fault.code, fault.retry_after) == ("rate_limited", 7.0)
