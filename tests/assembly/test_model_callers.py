from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tidegate.assembly import generation
from tidegate.assembly.config import Gateway
from tidegate.assembly.inert import InertLimits
from tidegate.assembly.model_callers import ModelCallers, Policies, Shared, narrowed
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.books import BudgetLevel
from tidegate.ports.models import CallerPlan

BASE: dict[str, Any] = {"listeners": [{"address": "127.0.0.1:8080"}]}


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def callers(consumers: list[dict[str, Any]], tenants: list[dict[str, Any]] | None = None) -> ModelCallers:
    config = Gateway.model_validate({**BASE, "consumers": consumers, "tenants": tenants or []})
    lines = generation.split(generation.write(config, {}, 1, Path("/"), digest)).consumers
    return ModelCallers(lines, config.tenants, InertLimits())


def of(found: ModelCallers, key: str) -> CallerPlan:
    plan = found.get(key)
    assert plan is not None
    return plan


def specs(policies: tuple[Any, ...]) -> list[tuple[str, str, int, float]]:
    return [(p.spec.name, p.spec.kind, p.spec.amount, p.spec.per) for p in policies]


def test_a_consumer_may_what_the_config_says() -> None:
    plan = of(callers([{
        "name": "team-a", "models": ["fast", "claude-*"], "aliases": {"gpt-4": "fast"},
        "budget": [{"usd": 10}, {"usd": 1, "per": "day"}], "tags": ["gold"],
        "limits": {"requests": "600/m", "tokens": "200k/m", "in_flight": 50}, "regions": ["eu"],
    }]), "team-a")  # fmt: skip
    assert (plan.consumer, plan.tenant, plan.team) == ("team-a", "default", "")
    assert plan.models == (("fast", "claude-*"),)
    assert (plan.aliases, plan.regions, plan.tags) == ({"gpt-4": "fast"}, ("eu",), ("gold",))
    assert plan.budgets == (
        BudgetLevel("default/consumer/team-a/month", 10_000_000_000, "month"),
        BudgetLevel("default/consumer/team-a/day", 1_000_000_000, "day"),
    )
    assert specs(plan.requests) == [("llm/consumer/team-a/requests", "window", 600, 60.0)]
    assert specs(plan.tokens) == [("llm/consumer/team-a/tokens", "window", 200_000, 60.0)]
    assert specs(plan.slots) == [("llm/consumer/team-a/in_flight", "concurrent", 50, 1.0)]
    assert (plan.surfaces, plan.tenant_models) == (None, None)


def test_no_list_is_everything_and_an_empty_one_is_nothing() -> None:
    found = callers([{"name": "all"}, {"name": "none", "models": []}])
    assert of(found, "all").models == ()
    assert of(found, "none").models == ((),)


def test_a_key_only_narrows_and_is_found_by_its_name_or_its_digest() -> None:
    found = callers([{
        "name": "c", "models": ["a*"], "budget": {"usd": 5}, "limits": {"requests": "9/s"},
        "keys": ["plain-key", {"key": "named-key", "name": "ci", "models": ["ab"], "budget": {"usd": 1},
                               "limits": {"requests": "2/s"}, "surfaces": ["embeddings"]}, {"key": "nameless-key"}],
    }])  # fmt: skip
    key = of(found, "c/ci")
    assert key.models == (("a*",), ("ab",))
    assert key.budgets == (
        BudgetLevel("default/key/c/ci/month", 1_000_000_000, "month"),
        BudgetLevel("default/consumer/c/month", 5_000_000_000, "month"),
    )
    assert [spec[0] for spec in specs(key.requests)] == ["llm/key/c/ci/requests", "llm/consumer/c/requests"]
    assert key.surfaces == ("embeddings",)
    assert of(found, f"c/{digest(b'nameless-key')[:4].hex()}").models == (("a*",),)
    assert found.get(f"c/{digest(b'plain-key')[:4].hex()}") is None
    assert of(found, "c").surfaces is None


def test_team_and_tenant_stand_over_the_consumer() -> None:
    found = callers(
        [{"name": "c", "tenant": "acme", "team": "red", "regions": ["eu", "us"]}, {"name": "d", "tenant": "acme"}],
        [{"name": "acme", "models": ["fast"], "regions": ["eu"], "budget": {"usd": 100}, "limits": {"in_flight": 3},
          "teams": [{"name": "red", "budget": {"usd": 50, "per": "week"}, "limits": {"tokens": "1k/m"}}]}],
    )  # fmt: skip
    plan = of(found, "c")
    assert [level.id for level in plan.budgets] == ["acme/team/red/week", "acme/tenant/acme/month"]
    assert specs(plan.tokens) == [("llm/team/red/tokens", "window", 1000, 60.0)]
    assert specs(plan.slots) == [("llm/tenant/acme/in_flight", "concurrent", 3, 1.0)]
    assert (plan.tenant_models, plan.regions) == (("fast",), ("eu",))
    assert of(found, "d").slots == plan.slots
    assert of(found, "d").team == ""


def test_a_stranger_is_bound_by_his_tenant() -> None:
    found = callers([], [{"name": "acme", "budget": {"usd": 100}, "models": ["fast"]}])
    plan = found.of("somebody", "", "acme")
    assert (plan.consumer, plan.tenant, plan.tenant_models) == ("somebody", "acme", ("fast",))
    assert [level.id for level in plan.budgets] == ["acme/tenant/acme/month"]
    assert found.of("somebody", "", "acme") is plan
    assert found.of("somebody", "", "other").budgets == ()
    assert found.get("somebody") is None


def test_a_caller_has_the_rights_of_its_name_key_and_tenant_together() -> None:
    found = callers([{"name": "c", "models": ["a*"], "budget": {"usd": 1},
                      "keys": [{"key": "named-key", "name": "ci", "models": ["ab"]}, "plain-key"]}])  # fmt: skip
    assert found.of("c", "ci", "default").models == (("a*",), ("ab",))
    assert found.of("c", "01234567", "default") == found.of("c", "", "default") == of(found, "c")
    assert found.of("c", "ci", "default") is found.of("c", "ci", "default")


def test_a_name_of_another_tenant_or_with_a_slash_is_a_stranger() -> None:
    found = callers(
        [{"name": "c", "models": ["a*"], "budget": {"usd": 1}, "keys": [{"key": "named-key", "name": "ci"}]}]
    )
    for consumer, tenant in (("c", "other"), ("c/ci", "default"), ("", "default"), ("c\n", "default")):
        plan = found.of(consumer, "", tenant)
        assert (plan.consumer, plan.tenant, plan.budgets, plan.models) == (consumer, tenant, (), ())


def test_rights_are_read_once() -> None:
    found = callers([{"name": f"c{number}", "models": [f"m{number}"]} for number in range(300)])
    assert of(found, "c123") is of(found, "c123")
    assert [of(found, f"c{number}").models for number in range(300)] == [((f"m{number}",),) for number in range(300)]
    assert [found.get(name) for name in ("", "c", "c300", "zz", "c1/x")] == [None] * 5


def test_regions_with_nothing_in_common_are_nowhere_rather_than_everywhere() -> None:
    assert narrowed((), ()) == ()
    assert narrowed(("eu",), ()) == narrowed((), ("eu",)) == ("eu",)
    assert narrowed(("eu",), ("us", "eu")) == ("eu",)
    assert narrowed(("eu",), ("us",)) == ("nowhere",)


class Counted:
    """A policy that notes who asked."""

    def __init__(self) -> None:
        self.spec = LimitSpec("x", "window", 1)
        self.told: list[Any] = []

    def take(self, partition: str, cost: int = 1) -> Verdict:
        self.told.append(("take", partition, cost))
        return Verdict(True, 0, 0.0)

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        self.told.append(("give_back", partition, cost, taken))


def test_what_all_tenants_share_is_one_count() -> None:
    counted = Counted()
    policy = Shared(counted)
    assert policy.spec is counted.spec
    policy.take("acme", 3)
    policy.give_back("other", 2, 1.5)
    assert counted.told == [("take", "", 3), ("give_back", "", 2, 1.5)]


def test_an_owner_without_limits_has_no_policy() -> None:
    config = Gateway.model_validate({**BASE, "tenants": [{"name": "t"}]})
    policies = Policies(InertLimits(), "tenant/t", config.tenants[0].limits)
    assert (policies.requests, policies.tokens, policies.slots) == (None, None, None)
