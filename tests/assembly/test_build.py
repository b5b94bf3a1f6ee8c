from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tidegate.assembly import generation
from tidegate.assembly.build import Builder, BuildError, Built, answer
from tidegate.assembly.config import Gateway, Respond
from tidegate.assembly.inert import InertTools
from tidegate.exchange.exchange import Exchange
from tidegate.ports.plan import ArmPlan, DiscoveryPlan, RedirectPlan, RoutePlan, TimeoutsPlan

FOLDER = Path("/etc/gw")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Whole:
    """Every hook, and every asking method."""

    stage = "other"

    def __init__(self, config: Open, tools: Any) -> None:
        self.tools = tools
        self.config = config

    def on_request_head(self, x: object) -> None: ...
    async def on_request_body(self, x: object, body: bytes) -> None: ...
    def wants_request_body(self, x: object) -> bool:
        return True

    def on_attempt(self, x: object, number: int) -> None: ...
    def on_response_head(self, x: object, head: object) -> None: ...
    def on_response_chunk(self, x: object, chunk: bytes, last: bool) -> bytes:
        return chunk

    def wants_chunks(self, x: object) -> bool:
        return True

    async def on_response_body(self, x: object, head: object, body: bytes) -> None: ...
    def wants_body(self, x: object, head: object) -> bool:
        return True

    def on_done(self, x: object, record: object) -> None: ...


class Stepped:
    stage = "auth"
    stepped = True
    body_limit = 2048

    def __init__(self, config: Open, tools: Any) -> None:
        self.tools = tools

    async def on_request_head(self, x: object) -> None: ...
    def on_response_head(self, x: object, head: object) -> None: ...


class Refusing:
    def __init__(self, config: Open, tools: Any) -> None:
        raise ValueError("not like this")


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for use, part in (("whole", Whole), ("stepped", Stepped), ("refusing", Refusing)):
        module = ModuleType(f"tidegate.filters.{use}")
        vars(module).update({"Config": Open, part.__name__: part})
        monkeypatch.setitem(sys.modules, module.__name__, module)


UPSTREAM = {"name": "u", "targets": [{"url": "http://10.0.0.1:80"}]}


def route(name: str = "r", **more: Any) -> dict[str, Any]:
    action = {} if {"split", "respond", "redirect"} & set(more) else {"upstream": "u"}
    return {"name": name, "match": {"path": f"/{name}"}, **action, **more}


def written(number: int = 1, references: Any = None, **more: Any) -> bytes:
    config = {"listeners": [{"address": "127.0.0.1:8080"}], "upstreams": [UPSTREAM], "routes": [route()], **more}
    return generation.write(Gateway.model_validate(config), references or {}, number, FOLDER, lambda key: key)


def tools_for(scope: str) -> InertTools:
    return InertTools(scope, Path("/data"))


def build(previous: Built | None = None, builder: Builder | None = None, **more: Any) -> Built:
    return (builder or Builder({})).build(written(**more), tools_for, previous)


def only(**more: Any) -> RoutePlan:
    return build(routes=[route(**more)]).plan.routes[0]


# -- one config, one plan ----------------------------------------------------------------------------------------------


def test_hooks_of_requests_run_as_written_and_of_answers_in_reverse() -> None:
    built = build(routes=[route(filters=[{"use": "whole", "n": 1}, {"use": "stepped"}, {"use": "whole", "n": 2}])])
    plan = built.plan.routes[0]
    a, b, c = (built.filters[f"r/{i}"].part for i in range(3))
    assert [h.call for h in plan.on_request_head] == [a.on_request_head, b.on_request_head, c.on_request_head]
    assert [h.call for h in plan.on_request_body] == [a.on_request_body, c.on_request_body]
    assert plan.wants_request_body == (a.wants_request_body, c.wants_request_body)
    assert plan.on_attempt == (a.on_attempt, c.on_attempt)
    assert plan.on_response_head == (c.on_response_head, b.on_response_head, a.on_response_head)
    assert plan.on_response_chunk == (
        (c.on_response_chunk, c.wants_chunks), (a.on_response_chunk, a.wants_chunks))  # fmt: skip
    assert [(h.call, wants) for h, wants in plan.on_response_body] == [
        (c.on_response_body, c.wants_body), (a.on_response_body, a.wants_body)]  # fmt: skip
    assert plan.on_done == (a.on_done, c.on_done)
    assert plan.filters == ("whole", "stepped", "whole")
    assert [h.filter for h in plan.on_request_head] == ["whole", "stepped", "whole"]


def test_what_a_part_waits_for_runs_in_a_task_unless_it_is_stepped() -> None:
    plan = only(filters=[{"use": "whole"}, {"use": "stepped"}])
    assert [h.task for h in plan.on_request_head] == [True, False]
    assert [h.task for h in plan.on_request_body] == [True]


def test_s7_1_a_route_is_open_until_a_filter_authenticates() -> None:
    assert only(filters=[{"use": "whole"}]).open is True
    assert only(filters=[{"use": "stepped"}]).open is False


def test_s3_3_the_body_limit_is_the_filters_else_ten_mebibytes() -> None:
    assert only().body_limit == 10 * 1024 * 1024
    assert only(filters=[{"use": "stepped"}]).body_limit == 2048


def test_parts_learn_their_place_and_surroundings() -> None:
    built = build(name="edge", routes=[route(filters=[{"use": "whole"}, {"use": "stepped"}])])
    tools = built.filters["r/1"].part.tools
    assert (tools.scope, tools.name, tools.config_folder, tools.cleartext) == ("r/1", "edge", FOLDER, True)


def test_the_plan_has_what_the_routes_together_need() -> None:
    plan = build(routes=[
        route("a", match={"path": "/a", "methods": ["PURGE", "GET"]}, identity_fields={"X-Who": "consumer"}),
        route("b", identity_fields={"x-mail": "claim:email"}, log_query=["page"], priority=0),
    ]).plan  # fmt: skip
    assert "PURGE" in plan.methods and "QUERY" in plan.methods and len(plan.methods) == 9
    assert plan.identity_names == {"x-who", "x-mail"}
    assert plan.routes[1].log_query == ("page",) and plan.routes[1].priority == 0
    assert plan.routes[1].identity_fields == (("x-mail", "claim:email"),)


def test_a_route_inherits_the_times_it_does_not_set() -> None:
    upstream = {**UPSTREAM, "timeouts": {"connect": "300ms", "request": "9s"}}
    plan = build(upstreams=[upstream], routes=[route(timeouts={"request": "5s"}), route("s")]).plan
    assert plan.routes[0].timeouts == TimeoutsPlan(connect=0.3, request=5.0)
    assert plan.routes[1].timeouts is None


def test_fixed_answers_and_redirects() -> None:
    plan = only(respond={"status": 404, "text": "gone", "headers": {"X-A": "1"}})
    assert plan.lane == "respond" and plan.respond is not None
    assert (plan.respond.status, plan.respond.fields, plan.respond.body) == (
        404, [("x-a", "1"), ("content-type", "text/plain; charset=utf-8")], b"gone")  # fmt: skip
    plan = only(redirect={"status": 308, "scheme": "https", "host": "New.example"})
    assert plan.lane == "redirect" and plan.redirect == RedirectPlan(308, "https", "new.example")
    assert plan.prefix == "/r"


def test_an_answer_keeps_a_content_type_that_is_given() -> None:
    made = answer(Respond.model_validate({"json": {"a": [1]}, "headers": {"Content-Type": "application/x+json"}}))
    assert made.fields == [("content-type", "application/x+json")] and made.body == b'{"a":[1]}'
    assert answer(Respond.model_validate({"body": "x"})).fields == []


def test_s23_7_a_split_knows_its_arms_and_picks_one() -> None:
    two = [UPSTREAM, {**UPSTREAM, "name": "v"}]
    arms = [{"upstream": "u", "weight": 90}, {"upstream": "v", "weight": 10, "header": {"X-Canary": "1"}}]
    plan = build(upstreams=two, routes=[route(split={"arms": arms, "by": "ip", "force": "X-Arm"})]).plan.routes[0]
    split = plan.split
    assert split is not None and split.pick is not None
    assert split.arms == (ArmPlan("u", 90), ArmPlan("v", 10, (("x-canary", "1"),)))
    assert (split.by, split.salt, split.force, plan.upstream) == ("ip", "r", "x-arm", "")
    from fakes import exchange

    def picked(x: Exchange) -> int:
        assert split.pick is not None
        return split.pick(x)

    assert picked(exchange(fields=[("x-arm", "v")])) == 1
    assert {picked(exchange(client_ip=f"192.0.2.{i}")) for i in range(200)} == {0, 1}


def test_paths_of_files_are_relative_to_the_config() -> None:
    upstream = {**UPSTREAM, "tls": {"ca": "ca.pem", "cert": "/abs/c.pem", "key": "k.pem"}}
    tls = {"certificates": [{"cert": "c.pem", "key": "k.pem"}], "default": False}
    plan = build(upstreams=[upstream], listeners=[{"address": "[::1]:443", "tls": tls}]).plan
    assert plan.upstreams["u"].tls.ca == "/etc/gw/ca.pem" and plan.upstreams["u"].tls.cert == "/abs/c.pem"
    (listener,) = plan.listeners
    assert listener.tls is not None and listener.tls.certificates[0].cert == "/etc/gw/c.pem"
    assert (listener.name, listener.host, listener.port, listener.tls.default) == ("[::1]:443", "::1", 443, False)


def test_references_are_put_in_by_the_worker() -> None:
    data = written(references={("routes", 0, "respond", "text"): "${T}"}, routes=[route(respond={"text": "x"})])
    plan = Builder({"T": "from here"}).build(data, tools_for).plan
    assert plan.routes[0].respond is not None and plan.routes[0].respond.body == b"from here"
    with pytest.raises(BuildError, match="T is not set") as caught:
        Builder({}).build(data, tools_for)
    assert caught.value.path == ("routes", 0)


# -- reload ------------------------------------------------------------------------------------------------------------


def test_s23_2_what_did_not_change_is_the_same_object() -> None:
    builder = Builder({})
    routes = [route("a", filters=[{"use": "whole"}]), route("b", filters=[{"use": "whole"}])]
    one = build(builder=builder, routes=routes)
    changed = [route("a", filters=[{"use": "whole"}]), route("b", filters=[{"use": "whole"}], priority=1)]
    two = build(one, builder, number=2, routes=changed)
    assert two.plan.generation == 2
    assert two.plan.routes[0] is one.plan.routes[0] and two.plan.upstreams["u"] is one.plan.upstreams["u"]
    assert two.plan.routes[1] is not one.plan.routes[1] and two.plan.routes[1].priority == 1
    assert two.filters["b/0"] is one.filters["b/0"], "a filter lives on in a route that changed around it"
    assert two.plan.sinks[0] is one.plan.sinks[0]
    assert two.plan.router is not one.plan.router


def test_the_router_stays_when_no_route_changed() -> None:
    builder = Builder({})
    one = build(builder=builder)
    two = build(one, builder, number=2, upstreams=[UPSTREAM, {**UPSTREAM, "name": "v"}])
    assert two.plan.router is one.plan.router and set(two.plan.upstreams) == {"u", "v"}


def test_routes_that_moved_keep_their_parts_and_get_a_new_router() -> None:
    builder = Builder({})
    a, b = route("a", filters=[{"use": "whole"}]), route("b", filters=[{"use": "whole"}])
    one = build(builder=builder, routes=[a, b])
    two = build(one, builder, number=2, routes=[b, a])
    assert [r.name for r in two.plan.routes] == ["b", "a"]
    assert two.plan.routes[0] is one.plan.routes[1] and two.plan.router is not one.plan.router
    three = build(two, builder, number=3, routes=[b, a])
    assert three.plan.router is two.plan.router and three.filters["a/0"] is one.filters["a/0"]


def test_a_balancer_lives_on_in_an_upstream_that_changed_around_it() -> None:
    builder = Builder({})
    one = build(builder=builder)
    two = build(one, builder, number=2, upstreams=[{**UPSTREAM, "retry": {"attempts": 2}}])
    assert two.plan.upstreams["u"] is not one.plan.upstreams["u"]
    assert two.plan.upstreams["u"].balancer is one.plan.upstreams["u"].balancer
    three = build(two, builder, number=3, upstreams=[{**UPSTREAM, "retry": {"attempts": 2}}])
    assert three.plan.upstreams["u"] is two.plan.upstreams["u"] and three.balancers["u"] is one.balancers["u"]


def test_a_changed_upstream_time_reaches_the_routes_that_inherit_it() -> None:
    builder = Builder({})
    routes = [route(timeouts={"connect": "2s"})]
    one = build(builder=builder, routes=routes)
    two = build(one, builder, number=2, routes=routes, upstreams=[{**UPSTREAM, "timeouts": {"request": "9s"}}])
    assert one.plan.routes[0].timeouts == TimeoutsPlan(connect=2.0)
    assert two.plan.routes[0].timeouts == TimeoutsPlan(connect=2.0, request=9.0)


def test_what_parts_may_have_read_from_their_tools_makes_them_anew() -> None:
    builder = Builder({})
    one = build(builder=builder, routes=[route(filters=[{"use": "whole"}])])
    two = build(one, builder, number=2, name="other", routes=[route(filters=[{"use": "whole"}])])
    assert two.filters["r/0"].part is not one.filters["r/0"].part
    assert two.filters["r/0"].part.tools.name == "other"


def test_a_rotated_secret_makes_its_part_anew() -> None:
    references = {("routes", 0, "filters", 0, "key"): "${K}"}
    data = written(references=references, routes=[route(filters=[{"use": "whole", "key": "x"}])])
    one = Builder({"K": "old"}).build(data, tools_for)
    two = Builder({"K": "new"}).build(data, tools_for, one)
    assert two.filters["r/0"].part.config.key == "new"


# -- time and trouble --------------------------------------------------------------------------------------------------


def test_s23_1_a_build_stops_every_few_milliseconds() -> None:
    ticks = iter(range(1_000_000))
    builder = Builder({}, clock=lambda: next(ticks) * 0.003)
    steps = builder.steps(written(routes=[route(f"r{i}") for i in range(20)]), tools_for)
    pauses = 0
    while True:
        try:
            next(steps)
            pauses += 1
        except StopIteration as end:
            assert len(end.value.plan.routes) == 20
            break
    assert pauses >= 18


@pytest.mark.parametrize(
    ("config", "path", "message"),
    [
        ({"routes": [route(filters=[{"use": "nope"}])]}, ("routes", 0, "filters", 0, "use"), "there is no filter"),
        ({"routes": [route(filters=[{"use": "refusing"}])]}, ("routes", 0, "filters", 0, "use"), "not like this"),
        ({"upstreams": [{**UPSTREAM, "balancer": {"use": "nope"}}]}, ("upstreams", 0, "balancer", "use"),
         "there is no balancer"),
        ({"sinks": [{"use": "nope"}]}, ("sinks", 0, "use"), "there is no sink"),
        ({"routes": [route("a"), route("b", match={"path": "/a"})]}, ("routes", 1, "match"),
         "matches the same requests as the route a"),
        ({"routes": [route(match={"path": "(", "regex": True})]}, ("routes", 0, "match", "path"), "path regex"),
        ({"routes": [route(match={"path": "/a/{b={c}}", "template": True})]}, ("routes", 0, "match", "path"), ""),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said_with_its_place(config: dict[str, Any], path: Any, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        build(**config)
    assert caught.value.path == path and message in str(caught.value)


def test_a_proof_reports_everything_at_once() -> None:
    found: list[BuildError] = []
    config = Gateway.model_validate({
        "listeners": [{"address": ":80"}], "upstreams": [UPSTREAM],
        "routes": [route("a", filters=[{"use": "refusing"}]), route("b"), route("c", match={"path": "/b"})],
    })  # fmt: skip
    built = Builder({}, report=found.append).prove(config, FOLDER, tools_for)
    assert [error.path for error in found] == [("routes", 0, "filters", 0, "use"), ("routes", 2, "match")]
    assert [r.name for r in built.plan.routes] == ["b", "c"]


def test_garbage_is_refused_as_a_value() -> None:
    with pytest.raises(ValueError, match="this is no generation file"):
        Builder({}).build(b"garbage", tools_for)


def test_the_plan_says_where_addresses_come_from_and_unsaid_names_are_followed_s16_7() -> None:
    assert build().plan.upstreams["u"].discovery == DiscoveryPlan("dns", b"{}")
    ours = {**UPSTREAM, "discovery": {"use": "dns", "ttl": "30s"}}
    assert build(upstreams=[ours]).plan.upstreams["u"].discovery == DiscoveryPlan("dns", b'{"ttl":"30s"}')
    ours = {**UPSTREAM, "discovery": {"use": "static"}}
    assert build(upstreams=[ours]).plan.upstreams["u"].discovery == DiscoveryPlan("static", b"{}")


def test_an_upstream_is_another_one_when_a_file_of_its_tls_side_has_changed_s3_11(tmp_path: Path) -> None:
    anchor = tmp_path / "ca.pem"
    anchor.write_text("one")
    items = [{**UPSTREAM, "tls": {"ca": str(anchor)}}, {**UPSTREAM, "name": "v"}]
    builder = Builder({})
    one = build(None, builder, upstreams=items)
    two = build(one, builder, upstreams=items)
    assert all(two.plan.upstreams[name] is one.plan.upstreams[name] for name in "uv")
    anchor.write_text("another")
    three = build(two, builder, upstreams=items)
    assert three.plan.upstreams["u"].tls != one.plan.upstreams["u"].tls
    assert three.plan.upstreams["u"].balancer is one.plan.upstreams["u"].balancer
    assert three.plan.upstreams["v"] is one.plan.upstreams["v"]
    anchor.unlink()
    assert build(three, builder, upstreams=items).plan.upstreams["u"].tls.files == ((0, 0, 0),)
