"""Settings of ``quota`` become policies (S9.10)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.filters.quota import Config, Quota
from tidegate.ports.authority import LimitSpec, Verdict


@pytest.fixture
def tools() -> FakeTools:
    tools = FakeTools()
    tools.scope = "orders/2"  # type: ignore[attr-defined]
    return tools


def build(tools: FakeTools, **settings: Any) -> Quota:
    return Quota(Config.model_validate(settings), tools)


def test_a_quota_counts_calendar_windows_of_its_zone_s9_10(tools: FakeTools) -> None:
    x = exchange()
    x.identity = Identity("ann", "jwt", tenant="acme")
    build(tools, amount=1000, every="month", zone="Europe/Berlin", by="tenant").on_request_head(x)
    policy = tools.limits.policies["orders/2"]
    assert policy.spec == LimitSpec("orders/2", "quota", 1000, calendar="month", zone="Europe/Berlin")
    assert policy.taken == [("acme|tenant", 1)]
    assert x.answer_fields is not None
    assert x.answer_fields[0] == ("ratelimit-policy", '"orders/2";q=1000;w=2592000')


def test_tenant_team_consumer_and_key_are_one_step_s9_10(tools: FakeTools) -> None:
    x = exchange()
    x.identity = Identity("ann", "jwt", tenant="acme", key_id="k1", claims={"team": "red"})
    quota = build(
        tools,
        policies=[
            {"amount": 9, "by": "tenant", "name": "tenant"},
            {"amount": 8, "by": "claim:team", "name": "team"},
            {"amount": 7, "by": "consumer", "name": "consumer"},
            {"amount": 6, "by": "key", "name": "key"},
        ],
    )
    tools.limits.policies["key"].verdicts = [Verdict(False, 0, 7200.0, 7200.0)]
    with pytest.raises(Fault) as refused:
        quota.on_request_head(x)
    assert (refused.value.code, refused.value.retry_after) == ("quota_exceeded", 7200.0)
    assert refused.value.extra == {"violated-policies": ["key"]}
    assert [len(tools.limits.policies[name].returned) for name in ("tenant", "team", "consumer", "key")] == [1, 1, 1, 0]


def test_only_a_quota_by_caller_reads_the_identity(tools: FakeTools) -> None:
    assert build(tools, amount=1, by="ip").reads_identity is False
    assert build(tools, amount=1, by="key").reads_identity is True


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "at least 1"),
        ({"policies": [{"by": "ip"}]}, "at least 1"),
        ({"amount": 5, "cost": 6}, "never pass"),
        ({"amount": 5, "every": "year"}, "Input should be"),
        ({"amount": 5, "zone": "Mars/Base"}, "no time zone"),
        ({"amount": 5, "zone": "../../etc/passwd"}, "no time zone"),
        ({"amount": 5, "by": "user"}, "by is one of"),
        ({"amount": 1, "name": "a", "policies": [{"amount": 2, "name": "a"}]}, "same name"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_config_time(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Config.model_validate(settings)
