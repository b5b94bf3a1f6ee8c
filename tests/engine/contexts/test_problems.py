"""Twin of engine/contexts/problems.py (CRP 3.7): SDKs repeat a 409 unless they are told not to."""

from __future__ import annotations

import json

import pytest

from fakes import exchange
from tidegate.engine.contexts.problems import context_problem
from tidegate.exchange.fault import CLIENT, Fault


def test_a_conflict_is_not_to_be_repeated() -> None:
    answer = context_problem(Fault("context_conflict", "", side=CLIENT), exchange(), "gw")
    fields = dict(answer.fields)
    assert answer.status == 409
    assert fields["x-should-retry"] == "false" and "retry-after" not in fields


@pytest.mark.parametrize(("wait", "told"), [(0.2, "1"), (1.2, "2"), (0.0, "1")])
def test_a_turn_in_flight_says_when_to_come_again(wait: float, told: str) -> None:
    answer = context_problem(Fault("turn_in_progress", "", side=CLIENT, retry_after=wait), exchange(), "gw")
    fields = dict(answer.fields)
    assert (fields["x-should-retry"], fields["retry-after"]) == ("true", told)


def test_a_full_context_is_spelt_as_on_the_wire() -> None:
    answer = context_problem(Fault("context_full", "", side=CLIENT), exchange(), "gw")
    told = json.loads(answer.body)
    assert (answer.status, told["code"], told["type"]) == (413, "quota_exceeded", "urn:tidegate:problem:quota_exceeded")


def test_what_is_missing_may_be_longer_than_other_problems() -> None:
    extra: dict[str, object] = {"context": {"missing": ["x" * 250_000]}}
    answer = context_problem(Fault("context_conflict", "", side=CLIENT, extra=extra), exchange(), "gw")
    assert json.loads(answer.body)["context"] == extra["context"]
    huge: dict[str, object] = {"context": "x" * 600_000}
    answer = context_problem(Fault("context_conflict", "", side=CLIENT, extra=huge), exchange(), "gw")
    assert "context" not in json.loads(answer.body)
