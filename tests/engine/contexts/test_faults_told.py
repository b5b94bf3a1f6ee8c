"""Every code of CRP 3.7 in the envelope of every dialect, with its status and whether SDKs may try again."""

from __future__ import annotations

import json

import pytest
from model_house import SPOKEN, models

from tidegate.engine.models.answering import shaped_fault
from tidegate.exchange.exchange import Exchange, Peer
from tidegate.exchange.fault import CODES as ALL
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import RequestHead
from tidegate.rules.context_told import CODES

AGAIN = {"turn_in_progress", "conversation_locked", "store_unavailable", "commit_failed", "entry_version_unsupported"}
PLAN = models(dialects=SPOKEN)


def told(path: str, fault: Fault) -> tuple[int, dict[str, str], dict[str, object]]:
    head = RequestHead("POST", path, 11, [("host", "gw")], {"host": "gw"})
    x = Exchange(Peer("l", "192.0.2.1", local_port=80), head, 0.0, 0.0)
    x.path = path
    answer = shaped_fault(PLAN, fault, x, "tidegate")
    return answer.status, dict(answer.fields), json.loads(answer.body)["error"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("code", sorted(CODES - {"context_overflow"}))
def test_a_code_is_told_with_its_status_in_the_dialects_envelope(code: str, path: str) -> None:
    status, fields, error = told(path, Fault(code, "why", retry_after=1.0))
    assert (status, error["code"]) == (ALL[code].status, "quota_exceeded" if code == "context_full" else code)
    assert error["message"] == "why"
    assert fields["x-should-retry"] == ("true" if code in AGAIN else "false")


def test_a_fenced_turn_is_not_to_be_tried_again() -> None:
    _, fields, _ = told("/v1/chat/completions", Fault("commit_failed", reason="fenced"))
    assert fields["x-should-retry"] == "false"


def test_an_overflow_is_what_openais_sdks_expect_and_413_elsewhere() -> None:
    fault = Fault("context_overflow", "too long")
    assert told("/v1/responses", fault)[0] == 400
    assert told("/v1/responses", fault)[2]["code"] == "context_length_exceeded"
    status, _, error = told("/v1/messages", fault)
    assert (status, error["code"]) == (413, "context_overflow")


def test_where_a_status_stands_as_the_code_it_stays() -> None:
    _, _, error = told("/v1beta/models/m:generateContent", Fault("context_conflict"))
    assert (error["code"], error["context_code"]) == (409, "context_conflict")


def test_what_the_client_lacks_comes_with_it() -> None:
    extra: dict[str, object] = {"errors": [{"op": 0, "reason": "bad_item", "pointer": "/items/0"}]}
    assert told("/v1/messages", Fault("delta_invalid", extra=extra))[2]["errors"] == extra["errors"]
