"""A config of models becomes the plan; ``examples/llm.yaml`` is the golden."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.assembly import generation
from tidegate.assembly import models as a
from tidegate.assembly.build import Builder, BuildError, Built
from tidegate.assembly.check import check
from tidegate.assembly.config import Gateway
from tidegate.assembly.config_models import PipelineMap, Tenant
from tidegate.assembly.facts import Clause, Fact, FactTable
from tidegate.assembly.inert import InertTools
from tidegate.ports.models import CatalogueRow, ModelsPlan
from tidegate.strategies.sticky_context import StickyContext

EXAMPLE = Path(__file__).parents[2] / "examples" / "llm.yaml"
FACTS = FactTable("table", "2026-11-22", {
    "o": (Fact("gpt", Clause("begins", "gpt"), {"input": 5, "output": 7}, window=1000),),
})  # fmt: skip
BASE: dict[str, Any] = {
    "listeners": [{"address": "127.0.0.1:8080"}],
    "providers": [{"name": "o", "use": "openai", "api_key": "sk-o"}],
    "models": [{"name": "fast", "targets": [{"provider": "o", "model": "gpt-x"}]}],
    "routes": [{"name": "llm", "match": {"path": "/v1"}, "llm": {}}],
}


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def content(number: int = 1, **more: Any) -> bytes:
    config = Gateway.model_validate({**BASE, **more})
    return generation.write(config, {}, number, Path("/gw"), digest, msgspec.json.encode(FACTS))


def built(before: Built | None = None, number: int = 1, **more: Any) -> Built:
    return BUILDER.build(content(number, **more), lambda scope: InertTools(scope, Path("/data")), before)


def plan(**more: Any) -> ModelsPlan:
    found = built(**more).plan.models
    assert found is not None
    return found


BUILDER = Builder({})


def test_a_target_is_made_for_what_every_model_that_has_it_is_made_for() -> None:
    providers = [*BASE["providers"], {"name": "l", "use": "openai_compatible", "base_url": "http://l/v1"}]
    found = plan(providers=providers, models=[
        {"name": "mixed", "targets": [{"provider": "o", "model": "gpt-x"}, {"provider": "l", "model": "c-7b"},
                                      {"provider": "o", "model": "c-7b"}]},
        {"name": "coder", "tasks": ["code"], "targets": [{"provider": "l", "model": "c-7b"}]},
        {"name": "c-*", "tasks": ["review", "code"], "targets": [{"provider": "l"}]},
        {"name": "own", "tasks": ["talk"], "targets": [{"provider": "o", "model": "gpt-y"}]},
    ])  # fmt: skip
    assert [target.tasks for target in found.models["mixed"].targets] == [(), ("code", "review"), ()]
    assert found.models["coder"].targets[0].tasks == ("code", "review")
    assert found.models["own"].targets[0].tasks == ("talk",)
    ((_, pattern),) = found.patterns
    assert pattern.targets[0].tasks == ("review", "code")


def test_only_a_strategy_that_wants_conversations_is_told_them() -> None:
    def asks(**strategy: Any) -> bool:
        return plan(models=[{**BASE["models"][0], "strategy": strategy}]).models["fast"].by_conversation

    assert asks(use="sticky_context") is True
    assert asks(use="weighted") is False


# -- the example -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def example() -> ModelsPlan:
    """As a worker builds it, from the generation that control writes."""
    checked = check(EXAMPLE, {"OPENAI_API_KEY": "sk-test"})
    data = checked.generation(1, digest)
    found = Builder({"OPENAI_API_KEY": "sk-test"}).build(data, lambda scope: InertTools(scope, Path("/data"))).plan
    assert found.models is not None
    assert [route.lane for route in found.routes] == ["llm", "llm"]
    return found.models


def test_the_example_is_unchanged_from_the_design_and_passes() -> None:
    checked = check(EXAMPLE, {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "GEMINI_API_KEY": "c"})
    assert checked.warnings == []


def test_every_model_of_the_example_has_its_targets_in_order(example: ModelsPlan) -> None:
    found = {
        model.name: [(target.provider.name, target.model) for target in model.targets]
        for model in [*example.models.values(), *[model for _, model in example.patterns]]
    }
    assert found == {
        "fast": [("openai", "gpt-4o-mini"), ("anthropic", "claude-haiku-4-5"), ("local", "smollm2")],
        "gemini-2.5-flash": [("gemini", "gemini-2.5-flash")],
        "embed": [("openai", "text-embedding-3-small")],
        "claude-*": [("anthropic", "")],
    }
    assert [prefix for prefix, _ in example.patterns] == ["claude-"]


def test_every_target_of_the_example_has_a_price_and_a_window(example: ModelsPlan) -> None:
    first, second, third = example.models["fast"].targets
    assert first.price is not None and second.price is not None and third.price is not None
    assert (first.price.units["input"], first.price.units["output"]) == (150_000_000, 600_000_000)
    assert (first.catalogue.window, second.catalogue.window) == (128_000, 200_000)
    assert second.price.units["output"] == 5_000_000_000
    assert (third.price.free, third.price.units) == (True, {})
    (pattern,) = example.patterns[0][1].targets
    assert pattern.price is None
    price, row = example.facts.of("anthropic", "claude-opus-4-1")
    assert price is not None and (price.units["input"], row.window) == (15_000_000_000, 200_000)


def test_a_provider_of_the_example_without_a_key_is_out_of_the_choice(example: ModelsPlan) -> None:
    assert {name: found.needs_credential for name, found in example.providers.items()} == {
        "openai": False, "anthropic": True, "gemini": True, "local": False}  # fmt: skip
    (credential,) = example.providers["openai"].credentials
    assert credential.fields == (("authorization", "Bearer sk-test"),)


def test_the_callers_of_the_example_have_their_limits(example: ModelsPlan) -> None:
    caller = example.callers.get("team-a")
    assert caller is not None
    assert caller.models == (("fast", "claude-*", "embed"),)
    assert [level.limit for level in caller.budgets] == [10_000_000_000]
    assert [policy.spec.amount for policy in (*caller.requests, *caller.tokens, *caller.slots)] == [600, 200_000, 50]


# -- providers ---------------------------------------------------------------------------------------------------------


def test_a_key_of_the_environment_never_stands_in_a_generation() -> None:
    config = Gateway.model_validate(BASE)
    references = {("providers", 0, "api_key"): "${KEY:-}", ("models", 0, "budget", "usd"): "${USD}"}
    config = Gateway.model_validate({**BASE, "models": [{**BASE["models"][0], "budget": {"usd": 7}}]})
    data = generation.write(config, references, 1, Path("/gw"), digest)
    assert b"sk-o" not in data and b"${KEY:-}" in data and b"${USD}" in data
    found = Builder({"KEY": "sk-live", "USD": "3"}).build(data, lambda scope: InertTools(scope, Path("/data"))).plan
    assert found.models is not None
    assert found.models.providers["o"].credentials[0].fields == (("authorization", "Bearer sk-live"),)
    assert found.models.models["fast"].budgets[0].limit == 3_000_000_000
    found = Builder({"USD": "3"}).build(data, lambda scope: InertTools(scope, Path("/data"))).plan
    assert found.models is not None and found.models.providers["o"].needs_credential


def test_a_provider_is_an_upstream_like_any_other() -> None:
    found = built(upstreams=[{"name": "u", "targets": [{"url": "http://10.0.0.1"}]}]).plan.upstreams
    assert list(found) == ["u", "provider:o"]
    assert found["provider:o"].targets[0].base_path == "/v1"


def test_a_providers_bounds_are_shared_by_all_who_ask_it() -> None:
    provider = plan(providers=[{
        "name": "o", "use": "openai", "regions": ["us"],
        "limits": {"requests": "9/s", "tokens": "1k/m", "in_flight": 4},
        "timeouts": {"first": "7s", "idle": "3s"},
    }]).providers["o"]  # fmt: skip
    assert provider.requests is not None and provider.tokens is not None
    assert (provider.requests.spec.name, provider.requests.spec.amount) == ("llm/provider/o/requests", 9)
    assert (provider.tokens.spec.per, provider.in_flight) == (60.0, 4)
    assert (provider.first, provider.idle, provider.regions) == (7.0, 3.0, ("us",))
    assert (provider.quota_fields, provider.vendor, provider.preset) == ("openai", "openai", "openai")


def test_a_target_that_names_no_provider_of_the_config_cannot_be_built() -> None:
    with pytest.raises(BuildError, match="there is no provider x") as caught:
        built(models=[{"name": "m", "targets": [{"provider": "x"}]}])
    assert caught.value.path == ("models", 0, "targets", 0, "provider")


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "model", "provider", "price"),
    [
        ({}, {}, {}, ("o/gpt", {"input": 5, "output": 7})),
        ({}, {}, {"price": {"input": 3}}, ("config/o/gpt-x", {"input": 3_000_000_000})),
        ({}, {"price": {"input": 2}}, {"price": {"input": 3}}, ("config/o/gpt-x", {"input": 2_000_000_000})),
        ({"price": "free"}, {"price": {"input": 2}}, {}, ("config/o/gpt-x", {})),
    ],
)
def test_the_nearest_price_wins(target: Any, model: Any, provider: Any, price: Any) -> None:
    (found,) = (
        plan(
            providers=[{"name": "o", "use": "openai", **provider}],
            models=[{"name": "fast", "targets": [{"provider": "o", "model": "gpt-x", **target}], **model}],
        )
        .models["fast"]
        .targets
    )
    assert found.price is not None
    assert (found.price.id, found.price.units) == price
    assert found.catalogue == CatalogueRow(window=1000)


def test_a_price_a_request_is_no_unit() -> None:
    row = a.price_row({"request": 10, "images": 3}, "x")
    assert (row.units, row.per_request, row.free) == ({"images": 3}, 10, False)


def test_a_target_without_a_model_is_asked_for_the_name_itself() -> None:
    found = plan(models=[{"name": "gpt-y", "targets": [{"provider": "o"}]},
                         {"name": "g*", "targets": [{"provider": "o"}]}])  # fmt: skip
    assert found.models["gpt-y"].targets[0].model == "gpt-y"
    assert found.models["gpt-y"].targets[0].catalogue.window == 1000
    assert found.patterns[0][1].targets[0].model == ""


def test_the_longest_pattern_comes_first() -> None:
    names = ["a*", "abc*", "*", "ab*", "b*"]
    found = plan(models=[{"name": name, "targets": [{"provider": "o"}]} for name in names])
    assert [prefix for prefix, _ in found.patterns] == ["abc", "ab", "a", "b", ""]
    assert found.models == {}


def test_what_a_model_says_reaches_the_engine() -> None:
    model = plan(models=[{
        "name": "fast", "targets": [{"provider": "o", "weight": 2, "regions": ["eu"], "limits": {"in_flight": 2}}],
        "strategy": {"use": "weighted", "sticky": "user", "retry": 2, "cooldown": "9s", "on": ["length"],
                     "hedge": {"after": "3s", "share": 7}, "cross": True},
        "default_output": 5, "clamp": {"max_output": 9, "n": 2, "clamp": True}, "budget": {"usd": 1},
        "limits": {"requests": "9/s", "in_flight": 3}, "tasks": ["code"], "voices": {"a": "b"}, "echo": "asked",
        "loss": "refuse", "tenant": "acme", "retires": "2027-01-31",
    }]).models["fast"]  # fmt: skip
    assert (type(model.strategy).__name__, model.strategy_use, model.sticky) == ("Weighted", "weighted", "user")
    assert (model.retry, model.cooldown, model.on, model.cross) == (2, 9.0, frozenset({"length"}), True)
    assert (model.hedge_after, model.hedge_share, model.default_output) == (3.0, 7.0, 5)
    clamp = model.clamp
    assert (clamp.max_output, clamp.max_input, clamp.n, clamp.best_of, clamp.lower) == (9, 0, 2, 0, True)
    assert [level.id for level in model.budgets] == ["acme/model/fast/month"]
    assert model.requests is not None and model.slots is not None and model.tokens is None
    assert (model.requests.spec.name, model.slots.spec.amount) == ("llm/model/fast/requests", 3)
    assert (model.tasks, model.voices, model.echo, model.loss) == (("code",), {"a": "b"}, "asked", "refuse")
    assert (model.tenant, model.retires) == ("acme", 1801353600.0)
    (target,) = model.targets
    assert (target.weight, target.regions, target.in_flight) == (2.0, ("eu",), 2)


def test_a_model_without_words_falls_back_and_does_not_hedge() -> None:
    model = plan().models["fast"]
    assert (model.strategy_use, model.retry, model.cooldown, model.hedge_after) == ("fallback", 1, 30.0, -1.0)
    assert (model.echo, model.loss, model.tenant, model.budgets) == ("provider", "report", "", ())


def test_each_dialect_hears_the_vendor_in_its_own_words() -> None:
    found = plan(
        providers=[{"name": "d", "use": "deepseek"}],
        models=[{"name": "m", "targets": [{"provider": "d", "model": "deepseek-chat"}]}],
    )
    voices = found.models["m"].targets[0].voices
    chat, messages = voices["openai_chat"], voices["anthropic_messages"]
    assert (chat.vendor, chat.model, chat.addressed) == ("deepseek", "deepseek-chat", ("d", "deepseek", "openai_chat"))
    assert chat.rename == {"max_completion_tokens": "max_tokens", "developer": "system"}
    assert chat.thinking is not None and chat.thinking.toggle == "thinking.type"
    assert chat.usage == {"prompt_cache_hit_tokens": "cache_read"}
    assert (messages.rename, messages.thinking, messages.usage) == ({}, None, {})
    assert messages.lacks == chat.lacks != frozenset()


def test_the_version_of_a_target_wins_over_the_presets() -> None:
    found = plan(
        providers=[{"name": "an", "use": "anthropic"}],
        models=[{"name": "m", "targets": [{"provider": "an"}, {"provider": "an", "version": "2023-06-01"}]}],
    )
    versions = [target.voices["anthropic_messages"].version for target in found.models["m"].targets]
    assert versions == ["2026-10-21", "2023-06-01"]


# -- pipelines ---------------------------------------------------------------------------------------------------------


def test_a_sequence_of_steps_has_its_texts_split() -> None:
    pipeline = plan(models=[*BASE["models"], {"name": "p", "pipeline": [
        {"step": "draft", "model": "fast"},
        {"step": "check", "model": "fast", "input": {"text": "Is this right? {{ draft.text }} Say OK."},
         "stop_if": {"text": "OK"}, "then": "draft"},
    ]}]).models["p"].pipeline  # fmt: skip
    assert pipeline is not None and pipeline.kind == "sequence"
    first, second = pipeline.steps
    assert (first.step, first.model, first.input, first.stop_if, first.then) == ("draft", "fast", (), "", "")
    assert second.input == (("text", ("Is this right? ", "draft", " Say OK.")),)
    assert (second.stop_if, second.then) == ("OK", "draft")


def test_models_side_by_side_and_by_choice() -> None:
    found = plan(models=[*BASE["models"],
        {"name": "panel", "pipeline": {"parallel": ["fast", "fast"], "quorum": 2, "deadline": "8s", "merge": "vote"}},
        {"name": "smart", "pipeline": {"route": {"by": "classifier", "model": "fast", "labels": {"code": "fast"},
                                                 "default": "fast"}}},
        {"name": "ruled", "pipeline": {"route": {"by": "rules", "default": "fast", "rules": [
            {"task": "code", "model": "fast"}, {"contains": "sql", "longer": 9, "model": "fast"}]}}},
    ]).models  # fmt: skip
    panel, smart, ruled = (found[name].pipeline for name in ("panel", "smart", "ruled"))
    assert panel is not None and smart is not None and ruled is not None
    assert (panel.models, panel.quorum, panel.deadline, panel.merge) == (("fast", "fast"), 2, 8.0, "vote")
    assert (smart.classifier, smart.labels, smart.default, smart.rules) == ("fast", {"code": "fast"}, "fast", ())
    assert ruled.rules == (({"task": "code"}, "fast"), ({"contains": "sql", "longer": "9"}, "fast"))
    assert (found["panel"].strategy, found["panel"].targets) == (None, ())


def test_a_parallel_pipeline_without_a_deadline_has_the_calls_own() -> None:
    assert a.pipeline(PipelineMap(parallel=("x",))).deadline == 0.0


# -- routes ------------------------------------------------------------------------------------------------------------


def test_a_route_to_models_waits_as_long_as_official_sdks() -> None:
    (route,) = built().plan.routes
    assert route.timeouts is not None and route.llm is not None
    assert (route.timeouts.request, route.timeouts.idle, route.encoded_slash) == (600.0, 60.0, True)
    assert (route.llm.first, route.llm.idle, route.llm.hold) == (120.0, 60.0, 10.0)
    assert (route.body_limit, route.llm.body, route.llm.multipart) == (512 << 20, 32 << 20, 512 << 20)


def test_a_routes_own_words_reach_the_engine() -> None:
    (route,) = built(routes=[{
        "name": "llm", "match": {"path": "/v1"}, "filters": [{"use": "body_limit", "size": "1MiB"}],
        "timeouts": {"first": "5s", "request": "9s"},
        "llm": {"direct": True, "provider": "o", "loss": "refuse", "expose": "full", "hold": "2s", "query_key": True,
                "fetch_media": True, "emulate": True, "bill": "all"},
    }]).plan.routes  # fmt: skip
    llm = route.llm
    assert llm is not None and route.timeouts is not None
    assert (llm.direct, llm.provider, llm.loss, llm.expose, llm.hold) == (True, "o", "refuse", "full", 2.0)
    assert (llm.query_key, llm.fetch_media, llm.emulate, llm.bill) == (True, True, True, "all")
    assert (route.timeouts.request, route.timeouts.connect, llm.first) == (9.0, 1.0, 5.0)
    assert (llm.body, llm.multipart, route.body_limit) == (1 << 20, 1 << 20, 1 << 20)


def test_a_route_may_name_the_hosts_that_media_come_from() -> None:
    hosts = ["images.example.com", "*.cdn.example.com"]
    (route,) = built(routes=[{"name": "llm", "match": {"path": "/v1"}, "llm": {"fetch_media": hosts}}]).plan.routes
    assert route.llm is not None
    assert (route.llm.fetch_media, route.llm.media_hosts) == (True, tuple(hosts))


def test_the_slowest_provider_sets_the_time_of_a_route_that_sets_none() -> None:
    slow = [{"name": "o", "use": "openai", "timeouts": {"first": "300s"}}]
    before = built()
    (route,) = built(before, 2, providers=slow).plan.routes
    assert route.llm is not None and route.llm.first == 300.0


# -- reloads -----------------------------------------------------------------------------------------------------------


def test_a_reload_keeps_upstreams_and_strategies_whose_words_did_not_change() -> None:
    model = {**BASE["models"][0], "strategy": {"use": "sticky_context"}}
    one = built(models=[model])
    two = built(one, 2, models=[{**model, "echo": "asked"}])
    assert one.plan.models is not None and two.plan.models is not None
    assert isinstance(one.plan.models.models["fast"].strategy, StickyContext)
    assert one.plan.models.models["fast"].strategy is two.plan.models.models["fast"].strategy
    assert one.plan.upstreams["provider:o"] is two.plan.upstreams["provider:o"]
    assert two.plan.models.models["fast"].echo == "asked"
    three = built(two, 3, models=[{**model, "strategy": {"use": "sticky_context", "warm": "9s"}}],
                  providers=[{"name": "o", "use": "openai", "timeouts": {"connect": "3s"}}])  # fmt: skip
    assert three.plan.models is not None
    assert three.plan.models.models["fast"].strategy is not two.plan.models.models["fast"].strategy
    assert three.plan.upstreams["provider:o"].timeouts.connect == 3.0


def test_a_config_without_models_has_no_plan_of_them() -> None:
    found = built(providers=[], models=[], routes=[])
    assert (found.plan.models, found.plan.upstreams) == (None, {})


def test_the_ledgers_words_reach_the_worker() -> None:
    found = plan()
    assert (found.durability, found.keep) == ("process", 90 * 86_400.0)
    found = plan(ledger={"durability": "full", "keep": "1d"})
    assert (found.durability, found.keep) == ("full", 86_400.0)


def test_several_tenants_are_noticed() -> None:
    one = b'{"name":"a","tenant":"x"},\n{"name":"b","tenant":"x"}'
    assert not a.several_tenants((), b"")
    assert not a.several_tenants((), one)
    assert not a.several_tenants((), b'{"name":"a"},\n{"name":"b"}')
    assert a.several_tenants((), one + b',\n{"name":"c"}')
    assert a.several_tenants((), one + b',\n{"name":"c","tenant":"y"}')
    assert a.several_tenants((Tenant(name="x"), Tenant(name="y")), b"")
