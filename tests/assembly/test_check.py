from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from tidegate.assembly.check import Checked, check
from tidegate.assembly.problems import ConfigError
from tidegate.exchange.head import Answer
from tidegate.ports.plan import (
    BreakerPlan,
    BulkheadPlan,
    HealthPlan,
    ListenerPlan,
    RetryPlan,
    RoutePlan,
    TargetPlan,
    TimeoutsPlan,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "http.yaml"

GOOD = """\
listeners: [{address: 127.0.0.1:8080}]
upstreams:
  - name: u
    targets: [{url: http://10.0.0.1:80}]
routes:
  - name: r
    match: {path: /r}
    upstream: u
"""


def good(folder: Path, text: str, **environment: str) -> Checked:
    path = folder / "gw.yaml"
    path.write_text(text)
    return check(path, environment)


def refusal(folder: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        good(folder, text, **environment)
    return [str(problem) for problem in caught.value.problems]


def route(text: str) -> str:
    return GOOD.replace("    upstream: u\n", text)


# -- the example -------------------------------------------------------------------------------------------------------


def test_the_example_becomes_exactly_this_plan() -> None:
    checked = check(EXAMPLE, {})
    plan = checked.built.plan
    assert checked.warnings == []
    assert plan.listeners == (ListenerPlan("127.0.0.1:8080", "127.0.0.1", 8080),)
    orders = plan.upstreams["orders"]
    assert orders.targets == (TargetPlan("http", "127.0.0.1", 9001), TargetPlan("http", "127.0.0.1", 9002, 2.0))
    assert (orders.balancer_use, type(orders.balancer).__name__) == ("peak_ewma", "PeakEwma")
    assert orders.health == HealthPlan(path="/healthz", interval=1.0, timeout=0.5, fall=3, rise=2)
    assert orders.breaker == BreakerPlan(50.0, 50.0, 2.0, 100, "count", 20, 4.0, 4)
    assert orders.retry == RetryPlan(1, 10.0)
    assert orders.bulkhead == BulkheadPlan(1000, 2000)
    assert orders.timeouts == TimeoutsPlan(connect=1.0, request=30.0, idle=60.0)
    assert plan.upstreams["catalog"].balancer_use == "power_of_two"
    one, two, three, four = plan.routes
    assert (one.name, one.lane, one.upstream, one.filters, one.open, one.prefix) == (
        "orders", "http", "orders", ("api_key", "rate_limit", "headers"), False, "/orders")  # fmt: skip
    assert one.methods == {"GET", "POST", "PUT", "DELETE"}
    assert [h.filter for h in one.on_request_head] == ["api_key", "rate_limit", "headers"]
    assert (two.filters, two.open) == (("cors", "rewrite"), True)
    assert three == RoutePlan("live", "http", "catalog", prefix="/ws")
    assert four.lane == "respond" and isinstance(four.respond, Answer)
    assert (four.respond.status, four.respond.fields, four.respond.body) == (
        200, [("content-type", "application/json")], b'{"hello":"world"}')  # fmt: skip
    index = {"x-version": "2"}
    assert plan.router.find("any", "/orders/7", "GET", {}, "") == (one, None)
    assert plan.router.find("any", "/catalog", "GET", index, "") == (two, None)
    assert plan.router.find("any", "/catalog", "GET", {}, "") == ()
    assert plan.router.find("any", "/hello", "GET", {}, "") == (four, None)
    assert plan.router.find("any", "/orders", "PATCH", {}, "") == ("DELETE", "GET", "HEAD", "POST", "PUT")


def test_the_example_is_the_one_of_the_design_in_a_generation_too() -> None:
    checked = check(EXAMPLE, {})
    data = checked.generation(3, lambda key: b"digest of " + key)
    assert b'"number":3' in data and b"tg-mobile-key" not in data
    assert checked.data == EXAMPLE.parent / "tidegate-data"


# -- golden messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (GOOD.replace("routes:", "routs:"), ["gw.yaml:5: routs: is not known here  fix: did you mean routes?"]),
        (GOOD.replace("match:", "mach:"), [
            "gw.yaml:6: routes[0].match: is missing  fix: add it",
            "gw.yaml:7: routes[0].mach: is not known here  fix: did you mean match?"]),
        (GOOD.replace("{path: /r}", "{path: /r, exakt: true}"),
         ["gw.yaml:7: routes[0].match.exakt: is not known here  fix: did you mean exact?"]),
        (GOOD + "prompts: []\n", ["gw.yaml:9: prompts: is not available in this version  fix: leave it out"]),
        (route("    grpc: {}\n"), [
            "gw.yaml:8: routes[0].grpc: is not available in this version  fix: leave it out"]),
        (GOOD + "workers: -1\n", ["gw.yaml:9: workers: should be greater than or equal to 0"]),
        (GOOD + "workers: many\n", [
            "gw.yaml:9: workers: should be a valid integer, unable to parse string as an integer"]),
        (GOOD + "tracing: 7\n", ["gw.yaml:9: tracing: must be a mapping"]),
        (GOOD + "include: a.yaml\n", ["gw.yaml:9: include: must be a list"]),
        (GOOD.replace("[{address: 127.0.0.1:8080}]", "[]"), ["gw.yaml:1: listeners: needs at least 1, has 0"]),
        (GOOD.replace("name: r", "name: R r"), [
            "gw.yaml:6: routes[0].name: must look like the pattern ^[a-z0-9][a-z0-9._-]{0,62}$"]),
        (route("    upstream: u\n    encoded_slash: yes\n"), [
            "gw.yaml:9: routes[0].encoded_slash: must be one of refuse, keep"]),
        (route("    upstream: x\n"), ["gw.yaml:8: routes[0].upstream: there is no upstream x  fix: known here: u"]),
        (route("    split: {arms: [{upstream: u}, {upstream: uu}]}\n"), [
            "gw.yaml:8: routes[0].split.arms[1].upstream: there is no upstream uu  fix: did you mean u?"]),
        (route("    upstream: u\n    filters: [{use: api_kay}]\n"), [
            "gw.yaml:9: routes[0].filters[0].use: there is no filter called api_kay  fix: did you mean api_key?"]),
        (route("    upstream: u\n    filters: [{use: api_key, optinal: true}]\n"), [
            "gw.yaml:9: routes[0].filters[0].optinal: is not known here  fix: did you mean optional?"]),
        (GOOD + "  - {name: r, match: {path: /s}, upstream: u}\n", [
            "gw.yaml:9: routes[1].name: the name r is taken already  fix: give it another name"]),
        (GOOD + "  - {name: s, match: {path: /r/}, upstream: u}\n", [
            "gw.yaml:9: routes[1].match: matches the same requests as the route r  fix: give one of them another path,"
            " host, method or header (S5.2)"]),
        (GOOD.replace("10.0.0.1:80", "localhost:8080"), [
            "gw.yaml:4: upstreams[0].targets[0].url: this is a listener of this very gateway  fix: name the service"
            " behind it (S4.3)"]),
        (GOOD + "admin: {address: 127.0.0.1:8080}\n", [
            "gw.yaml:9: admin.address: a listener has this address already  fix: give the admin API a port alone"]),
        (GOOD.replace("8080}]", "8080}, {address: 0.0.0.0:8080}]"), [
            "gw.yaml:1: listeners[1].address: another listener has this address already"]),
        (GOOD.replace("8080}]", "8080, tls: {certificates: [{cert: c.pem, key: k.pem}]}}]"), [
            "gw.yaml:1: listeners[0].tls.certificates[0].cert: the file c.pem cannot be read: No such file or directory"
            "  fix: check its path and mode",
            "gw.yaml:1: listeners[0].tls.certificates[0].key: the file k.pem cannot be read: No such file or directory"
            "  fix: check its path and mode"]),
        (GOOD + "consumers:\n- {name: a, keys: [same-key-1]}\n- {name: b, keys: [same-key-1]}\n", [
            "gw.yaml:11: consumers[1].keys[0]: the consumer a has this key already  fix: give every consumer a key of"
            " its own"]),
        (GOOD + "consumers:\n- {name: a, basic: hunter2}\n", [
            "gw.yaml:10: consumers[0].basic: must be an argon2id hash, like $argon2id$v=19$...  fix: hash the password;"
            " never write it here"]),
    ],
)  # fmt: skip
def test_every_mistake_is_said_with_its_place_and_remedy(tmp_path: Path, text: str, problems: list[str]) -> None:
    assert refusal(tmp_path, text) == problems


def test_many_mistakes_are_said_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("http://10", "ftp://10").replace("match: {path: /r}", "match: {path: r}") + "worker: 2\n"
    assert refusal(tmp_path, text) == [
        "gw.yaml:4: upstreams[0].targets[0].url: a target is written like http://10.0.0.5:8000 or https://api.example",
        "gw.yaml:7: routes[0].match: a path begins with /",
        "gw.yaml:9: worker: is not known here  fix: did you mean workers?",
    ]


def test_fallbacks_that_go_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = GOOD.replace("upstreams:\n", "upstreams:\n"
        "  - {name: a, targets: [{url: http://x}], fallback: [{on: [open], upstream: b}]}\n"
        "  - {name: b, targets: [{url: http://x}], fallback: [{on: [502], upstream: a}]}\n"
        "  - {name: c, targets: [{url: http://x}], fallback: [{on: [open], upstream: a}]}\n")  # fmt: skip
    assert refusal(tmp_path, text) == [
        "gw.yaml:3: upstreams[0].fallback: the fallbacks go in a circle: a > b > a  fix: end the chain with respond:",
        "gw.yaml:4: upstreams[1].fallback: the fallbacks go in a circle: b > a > b  fix: end the chain with respond:",
    ]


# -- the admin token ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "changeme", "sk-1234", "admin", "7777777", "aaaaaaaaaaaaaaaaaaaaaaaa"])
def test_au_admin_default_a_weak_token_off_loopback_is_refused(tmp_path: Path, token: str) -> None:
    text = GOOD + f"admin: {{address: 0.0.0.0:9080, token: '{token}'}}\n"
    (problem,) = refusal(tmp_path, text)
    assert problem.startswith("gw.yaml:9: admin.token: ") and "set TIDEGATE_ADMIN_TOKEN" in problem
    assert not token or (f"'{token}'" not in problem and f" {token} " not in problem)
    good(tmp_path, text.replace("0.0.0.0", "127.0.0.1"))


def test_a_strong_token_may_come_from_the_environment(tmp_path: Path) -> None:
    text = GOOD + "admin: {address: 0.0.0.0:9080}\n"
    good(tmp_path, text, TIDEGATE_ADMIN_TOKEN="1f0c9b6a7e2d4c58")
    assert len(refusal(tmp_path, text, TIDEGATE_ADMIN_TOKEN="changeme")) == 1


# -- order of work -----------------------------------------------------------------------------------------------------


def filters(*uses: str) -> str:
    return route("    upstream: u\n    filters:\n" + "".join(f"      - {{{use}}}\n" for use in uses))


RATE = "use: rate_limit, rate: 5/s"
READER = "use: json_reader"


class Nothing(BaseModel):
    pass


class JsonReader:
    stage = "body"

    def __init__(self, config: Nothing, tools: object) -> None: ...
    def on_request_body(self, x: object, body: bytes) -> None: ...


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("tidegate.filters.json_reader")
    vars(module).update({"Config": Nothing, "JsonReader": JsonReader})
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (RATE, "use: api_key", "rate_limit reads the identity before api_key has verified it"),
        ("use: authorize, tags: [gold]", "use: api_key", "authorize reads the identity before api_key has verified it"),
        (READER, "use: api_key", "json_reader reads the body before api_key has let the request in"),
        (READER, RATE, "json_reader reads the body before rate_limit has let the request in"),
    ],
)  # fmt: skip
def test_an_unsafe_order_is_refused(tmp_path: Path, first: str, second: str, message: str) -> None:
    name = second.partition(",")[0].removeprefix("use: ")
    assert refusal(tmp_path, filters(first, second)) == [
        f"gw.yaml:10: routes[0].filters[0]: {message}  fix: put {name} above it"
    ]
    assert good(tmp_path, filters(second, first)).warnings == []


def test_an_odd_order_is_warned_about(tmp_path: Path) -> None:
    checked = good(tmp_path, filters(RATE + ", by: ip", "use: api_key"))
    assert [str(w) for w in checked.warnings] == [
        "gw.yaml:10: routes[0].filters[0]: rate_limit runs before api_key, which usually comes first  fix: put api_key"
        " above it"
    ]


# -- advice ------------------------------------------------------------------------------------------------------------


def test_what_was_probably_not_meant_is_said(tmp_path: Path) -> None:
    text = GOOD.replace("[{url: http://10.0.0.1:80}]", "[{url: https://x, weight: 0}]\n    tls: {verify: false}")
    checked = good(tmp_path, text + "trusted_proxies: [10.0.0.0/8, 0.0.0.0/0]\n")
    assert [w.path for w in checked.warnings] == [
        "trusted_proxies[1]", "upstreams[0].tls.verify", "upstreams[0].targets"]  # fmt: skip


def test_a_private_key_that_all_can_read_is_warned_about(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("c")
    (tmp_path / "k.pem").write_text("k")
    (tmp_path / "k.pem").chmod(0o644)
    checked = good(tmp_path, GOOD.replace("8080}]", "8080, tls: {certificates: [{cert: c.pem, key: k.pem}]}}]"))
    assert [w.path for w in checked.warnings] == ["listeners[0].tls.certificates[0].key"]


# -- size --------------------------------------------------------------------------------------------------------------


def test_cf_huge_config_ten_thousand_routes_take_no_more_than_seconds(tmp_path: Path) -> None:
    import json

    routes: list[Any] = [
        {"name": f"r{i}", "match": {"path": f"/a{i % 100}/b{i}", "hosts": [f"h{i % 1000}.example"]},
         "filters": [{"use": "api_key"}, {"use": "rate_limit", "rate": "100/s"}], "upstream": "u"}
        for i in range(2000)
    ]  # fmt: skip
    (tmp_path / "more.json").write_text(json.dumps({"routes": routes}))
    begun = time.process_time()
    checked = good(tmp_path, GOOD + "include: [more.json]\n")
    assert time.process_time() - begun < 2.0, "2,000 routes; about 0.15 s on a free machine"
    for i in (0, 1000, 1999):
        found = checked.built.plan.router.find(f"h{i % 1000}.example", f"/a{i % 100}/b{i}", "GET", {}, "")
        assert isinstance(found[0], RoutePlan) and found[0].name == f"r{i}"


@pytest.mark.parametrize(("lane", "bad"), [("llm: {}", True), ("upstream: u", False)])
def test_no_filter_of_a_model_route_may_want_whole_answers(tmp_path: Path, lane: str, bad: bool) -> None:
    models = (
        "providers: [{name: p, use: openai, api_key: k}]\n"
        "models: [{name: fast, price: free, targets: [{provider: p}]}]\n"
    )
    text = (models if bad else "") + route(
        f"    {lane}\n    filters: [{{use: json_schema, response: {{schema: {{}}}}}},"
        " {use: json_schema, request: {schema: {}}}]\n"
    )
    if bad:
        assert refusal(tmp_path, text) == [
            "gw.yaml:11: routes[0].filters[0]: json_schema wants whole answers, and those of models leave as they come"
            "  fix: leave out its response"
        ]
    else:
        good(tmp_path, text)
