"""From the words of a config to plans of conversations (CRP 8.1, 2.2, 11.4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidegate.assembly import generation
from tidegate.assembly.build import Builder, BuildError, Built
from tidegate.assembly.check import check
from tidegate.assembly.config import Gateway
from tidegate.assembly.config_contexts import ContextPolicy
from tidegate.assembly.contexts import policies
from tidegate.assembly.inert import InertTools
from tidegate.assembly.parts import PartError
from tidegate.assembly.problems import ConfigError
from tidegate.exchange.context_policy import ContextPolicy as Plan
from tidegate.exchange.context_policy import Keep, Recall, TokenBudget

PLANE = {"name": "ctx", "match": {"path": "/v1/contexts"}, "filters": [{"use": "api_key"}], "contexts": {}}
CALLS = {"name": "v1", "match": {"path": "/v1"}, "llm": {"contexts": {}}}


def found(*items: dict[str, Any]) -> dict[str, Plan]:
    return policies([ContextPolicy.model_validate(item) for item in items])


def build(
    routes: list[dict[str, Any]], previous: Built | None = None, workers: int = 1, builder: Builder | None = None,
    **more: Any,
) -> Built:  # fmt: skip
    config = Gateway.model_validate({"listeners": [{"address": "127.0.0.1:8080"}], "routes": routes, **more})
    written = generation.write(config, {}, 1, Path("/etc/gw"), lambda key: key)
    tools = lambda scope: InertTools(scope, Path("/data"))  # noqa: E731
    return (builder or Builder({}, workers=workers)).build(written, tools, previous)


def at(built: Built, path: str, host: str = "any", method: str = "GET") -> Any:
    found = built.plan.router.find(host, path, method, {}, "")
    return found[0] if found else None


# -- policies ----------------------------------------------------------------------------------------------------------


def test_three_policies_are_built_in() -> None:
    known = found()
    assert list(known) == ["chat-default", "agent-default", "verbatim"]
    assert known["chat-default"] == Plan("chat-default")
    assert known["agent-default"] == Plan("agent-default", keep=Keep(last_turns=12), recall=Recall(share=0.10))
    assert known["verbatim"] == Plan("verbatim", order=(), recall=Recall(share=0.0), on_overflow="error")


def test_a_policy_of_a_built_in_name_changes_it_and_what_extends_it() -> None:
    known = found({"name": "chat-default", "keep": {"first_turns": 3}, "min_reclaim": 0.5})
    assert known["chat-default"].keep == Keep(first_turns=3)
    assert known["agent-default"].keep == Keep(first_turns=3, last_turns=12)
    assert known["agent-default"].min_reclaim == 0.5


def test_extending_merges_deeply_and_auto_is_the_window_at_hand() -> None:
    known = found(
        {"name": "a", "extends": "agent-default", "budget": {"max_input": 8000, "trigger": 0.6}, "caps": ["keep"]},
        {"name": "b", "extends": "a", "budget": {"max_input": "auto", "target": 0.3}, "keep": {"tool_pairs": "atomic"}},
    )
    assert known["a"].budget == TokenBudget(max_input=8000, trigger=0.6)
    # A child that says ``auto`` means it, whatever its parent says.
    assert known["b"].budget == TokenBudget(trigger=0.6, target=0.3)
    assert known["b"].keep == Keep(last_turns=12)
    assert known["b"].caps == {"keep"}


@pytest.mark.parametrize(
    ("items", "path", "message"),
    [
        ([{"name": "a", "extends": "b"}], (0, "extends"), "there is no context policy b"),
        ([{"name": "a", "extends": "b"}, {"name": "b", "extends": "a"}], (1, "extends"), "a > b > a"),
        ([{"name": "a", "extends": "a"}], (0, "extends"), "a > a"),
        ([{"name": "a"}, {"name": "a"}], (1, "name"), "taken already"),
        ([{"name": "chat-default", "extends": "verbatim"}], (0, "extends"), "circle"),
        ([{"name": "a", "budget": {"target": 0.9}}], (0, "budget"), "more than what it reduces at"),
    ],
)
def test_a_policy_that_leads_nowhere_is_refused(items: list[dict[str, Any]], path: Any, message: str) -> None:
    with pytest.raises(PartError, match=message) as raised:
        found(*items)
    assert raised.value.path == path


# -- the store ---------------------------------------------------------------------------------------------------------


def test_without_a_route_that_keeps_conversations_there_is_no_store() -> None:
    built = build([{"name": "r", "match": {"path": "/"}, "respond": {}}], repository={"use": "memory"})
    assert built.plan.contexts is None
    assert at(built, "/.well-known/crp").name == "r"


def test_by_default_it_is_sqlite_and_the_durability_reaches_it() -> None:
    plan = build([CALLS]).plan.contexts
    assert plan is not None
    assert (plan.store.name, plan.durability, plan.root) == ("sqlite", "process", bytes(16))
    plan = build([CALLS], repository={"durability": "full", "on_outage": "degrade", "ttl": "1d"}).plan.contexts
    assert plan is not None
    assert (plan.durability, plan.outage, plan.ttl) == ("full", "degrade", 86_400.0)


def test_the_store_outlives_a_reload_until_its_settings_change() -> None:
    builder = Builder({}, workers=1)
    one = build([CALLS], builder=builder, repository={"use": "memory"})
    two = build([CALLS, PLANE], one, builder=builder, repository={"use": "memory", "ttl": "1d"})
    three = build([CALLS], two, builder=builder, repository={"use": "memory", "max_size": "2MiB"})
    stores = [each.plan.contexts.store for each in (one, two, three) if each.plan.contexts is not None]
    assert stores[0] is stores[1]
    assert stores[1] is not stores[2]


@pytest.mark.parametrize(("workers", "there"), [(1, True), (2, False), (0, False)])
def test_contexts_of_a_session_need_a_single_worker(workers: int, there: bool) -> None:
    plan = build([CALLS], workers=workers).plan.contexts
    assert plan is not None
    assert (plan.session is not None) is there


@pytest.mark.parametrize(
    ("repository", "path", "message"),
    [
        ({"use": "nowhere"}, ("repository", "use"), "there is no repository called nowhere"),
        ({"use": "memory", "colour": 1}, ("repository", "colour"), "is not known here"),
        ({"use": "memory", "durability": "full"}, ("repository", "durability"), "knows one durability only"),
    ],
)
def test_a_store_that_cannot_be_made_is_told_with_its_place(repository: Any, path: Any, message: str) -> None:
    with pytest.raises(BuildError, match=message) as raised:
        build([CALLS], repository=repository)
    assert raised.value.path == path


# -- routes ------------------------------------------------------------------------------------------------------------


def test_a_plane_comes_with_its_siblings_and_discovery_2_2() -> None:
    built = build([PLANE])
    for path in ("/v1/contexts", "/v1/contexts/x/log", "/v1/context-templates/a@1", "/v1/context-dictionaries/x"):
        route = at(built, path)
        assert (route.name, route.lane, route.filters, route.open, route.body_limit) == (
            "ctx", "contexts", ("api_key",), False, 8 << 20)  # fmt: skip
    discovery = at(built, "/.well-known/crp")
    assert (discovery.lane, discovery.open, discovery.filters) == ("contexts", True, ())
    assert built.plan.router.find("any", "/.well-known/crp", "POST", {}, "") == ("GET", "HEAD")
    assert at(built, "/v1/context-templatesx") is None
    assert [route.name for route in built.plan.routes] == ["ctx", "crp-discovery"]


def test_calls_with_contexts_open_discovery_and_nothing_else() -> None:
    built = build([CALLS])
    assert at(built, "/.well-known/crp").name == "crp-discovery"
    assert at(built, "/v1/contexts").name == "v1"
    kept = at(built, "/v1/responses").contexts
    assert (kept.plane, kept.policy, kept.implicit) == (False, "chat-default", "hints")


def test_routes_of_the_config_stay_what_they_are() -> None:
    own = {"name": "mine", "match": {"path": "/.well-known/crp", "exact": True, "methods": ["GET"]}, "respond": {}}
    other = {"name": "other", "match": {"path": "/v1/context-templates"}, "respond": {}}
    built = build([PLANE, own, other])
    assert at(built, "/.well-known/crp").name == "mine"
    assert at(built, "/v1/context-templates/a@1").name == "other"
    assert at(built, "/v1/context-dictionaries/x").name == "ctx"


def test_discovery_answers_on_the_hosts_of_its_routes() -> None:
    match = {"path": "/v1/contexts", "hosts": ["a.example", "b.example"]}
    built = build([{**PLANE, "match": match}, {**CALLS, "match": {"path": "/v1", "hosts": ["b.example"]}}])
    assert at(built, "/.well-known/crp", "a.example").name == "crp-discovery"
    assert at(built, "/.well-known/crp", "b.example").name == "crp-discovery"
    assert at(built, "/.well-known/crp", "c.example") is None


def test_the_router_and_discovery_are_kept_while_no_route_changes() -> None:
    builder = Builder({}, workers=1)
    one = build([PLANE], builder=builder)
    two = build([PLANE], one, builder=builder, limits={"field_count": 99})
    assert two.plan.router is one.plan.router
    assert two.plan.routes == one.plan.routes


def test_a_smaller_body_limit_of_the_route_counts() -> None:
    built = build([{**PLANE, "filters": [{"use": "body_limit", "size": "1MiB"}]}])
    assert at(built, "/v1/contexts").body_limit == 1 << 20


# -- checks ------------------------------------------------------------------------------------------------------------

HEAD = """\
listeners: [{address: "127.0.0.1:8080"}]
workers: WORKERS
repository: {use: memory}
context_policies:
  - {name: mine, compact: {model: MODEL}}
routes:
  - {name: c, match: {path: /v1/contexts}, filters: [{use: api_key}], contexts: {policy: POLICY}}
"""


@pytest.mark.parametrize(
    ("workers", "model", "policy", "problem"),
    [
        ("1", "same", "mine", ""),
        ("2", "same", "mine", "gw.yaml:3: repository.use: "
         "2 workers would not see each other's conversations in memory  "
         "fix: use: sqlite, which several workers share; or workers: 1"),
        ("1", "tiny", "mine", "gw.yaml:5: context_policies[0].compact.model: there is no model tiny  "
         "fix: add it under models:"),
        ("1", "same", "their", "gw.yaml:7: routes[0].contexts.policy: there is no context policy their  "
         "fix: known here: agent-default chat-default mine verbatim"),
    ],
)  # fmt: skip
def test_what_names_lead_to_is_checked(tmp_path: Path, workers: str, model: str, policy: str, problem: str) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text(HEAD.replace("WORKERS", workers).replace("MODEL", model).replace("POLICY", policy))
    if not problem:
        plan = check(file, {}).built.plan
        assert plan.contexts is not None
        assert "mine" in plan.contexts.policies
        return
    with pytest.raises(ConfigError) as raised:
        check(file, {})
    assert [str(each) for each in raised.value.problems] == [problem]


def test_workers_of_the_command_line_count_more_than_those_of_the_config(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text(HEAD.replace("WORKERS", "4").replace("MODEL", "same").replace("POLICY", "mine"))
    assert check(file, {}, 1).config.workers == 4
    with pytest.raises(ConfigError):
        check(file, {}, 0)
