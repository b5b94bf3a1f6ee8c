"""Settings of ``rate_limit`` become policies (S9)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.filters.rate_limit import Config, RateLimit
from tidegate.ports.authority import LimitSpec, Verdict


@pytest.fixture
def tools() -> FakeTools:
    tools = FakeTools()
    tools.scope = "orders/1"  # type: ignore[attr-defined]
    return tools


def build(tools: FakeTools, **settings: Any) -> RateLimit:
    return RateLimit(Config.model_validate(settings), tools)


def specs(tools: FakeTools) -> list[LimitSpec]:
    return [policy.spec for policy in tools.limits.policies.values()]


def test_the_example_limits_a_consumer_to_a_rate_with_a_burst(tools: FakeTools) -> None:
    limit = build(tools, rate="100/s", burst=200, by="consumer")
    assert specs(tools) == [LimitSpec("orders/1", "rate", 100, 1.0, burst=200)]
    x = exchange()
    x.identity = Identity("mobile", "api_key")
    assert limit.on_request_head(x) is None
    assert tools.limits.policies["orders/1"].taken == [("default|consumer:mobile", 1)]
    assert x.answer_fields == [("ratelimit-policy", '"orders/1";q=100;w=1'), ("ratelimit", '"orders/1";r=99;t=1')]
    assert tools.count("limit_decisions_total", policy="orders/1", decision="allow") == 1


def test_each_measure_is_a_policy_and_they_are_told_apart(tools: FakeTools) -> None:
    build(tools, rate="10/s", window="600/m", fixed="9/h", concurrent=4, name="api", on_store_error="deny")
    assert specs(tools) == [
        LimitSpec("api:rate", "rate", 10, 1.0, on_store_error="deny"),
        LimitSpec("api:window", "window", 600, 60.0, on_store_error="deny"),
        LimitSpec("api:fixed", "fixed", 9, 3600.0, on_store_error="deny"),
        LimitSpec("api:concurrent", "concurrent", 4, on_store_error="deny"),
    ]


def test_policies_are_decided_together_s9_7(tools: FakeTools) -> None:
    limit = build(tools, policies=[{"rate": "5/s", "by": "ip", "name": "each"}, {"window": "50/m", "by": "ip"}])
    assert [spec.name for spec in specs(tools)] == ["each", "orders/1:1"]
    tools.limits.policies["orders/1:1"].verdicts = [Verdict(False, 0, 9.0, 9.0)]
    with pytest.raises(Fault) as refused:
        limit.on_request_head(exchange())
    assert refused.value.retry_after == 9.0
    assert tools.limits.policies["each"].returned == [("default|ip:192.0.2.1", 1)]


def test_slots_are_told_in_their_own_unit(tools: FakeTools) -> None:
    x = exchange()
    build(tools, concurrent=8, by="ip").on_request_head(x)
    assert x.answer_fields is not None
    assert x.answer_fields[0] == ("ratelimit-policy", '"orders/1";q=8;qu="concurrent-requests"')


def test_the_cost_is_taken_each_time(tools: FakeTools) -> None:
    build(tools, rate="100/s", cost=5, by="ip").on_request_head(exchange())
    assert tools.limits.policies["orders/1"].taken == [("default|ip:192.0.2.1", 5)]


def test_before_authentication_it_reads_no_caller_s9_11(tools: FakeTools) -> None:
    limit = build(tools, rate="1/s", by="ip", stage="pre_auth")
    assert (limit.stage, limit.reads_identity) == ("pre_auth", False)
    assert build(tools, rate="1/s", by="tenant").reads_identity is True


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "at least one of"),
        ({"by": "ip"}, "at least one of"),
        ({"policies": [{"by": "ip"}]}, "at least one of"),
        ({"burst": 5, "window": "5/s"}, "burst needs a rate"),
        ({"rate": "5/s", "cost": 6}, "rate holds 5 at most"),
        ({"rate": "5/s", "burst": 3, "cost": 4}, "rate holds 3 at most"),
        ({"concurrent": 1, "cost": 2}, "concurrent holds 1 at most"),
        ({"rate": "5/s", "stage": "pre_auth"}, "knows no caller yet"),
        ({"rate": "5/s", "by": "user"}, "by is one of"),
        ({"rate": "fast"}, "a rate is written like"),
        ({"rate": "5/s", "bursts": 3}, "Extra inputs"),
        ({"policies": [{"rate": "5/s", "name": "a"}, {"rate": "6/s", "name": "a"}]}, "the same name"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_config_time(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Config.model_validate(settings)
