from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tidegate.assembly import config as c
from tidegate.assembly.config_words import Section, parse_statuses
from tidegate.assembly.parts import found_in
from tidegate.ports import plan


def messages(model: type[BaseModel], value: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return [str(e.get("ctx", {}).get("error", e["msg"])) for e in found_in(caught.value)]


# -- small grammars ----------------------------------------------------------------------------------------------------


def test_a_moment_is_a_date_a_time_or_seconds() -> None:
    read = c.Consumer.model_validate
    assert read({"name": "a", "expires": "2027-01-31T12:00:00Z"}).expires == 1801396800.0
    assert read({"name": "a", "expires": "2027-01-31"}).expires == 1801353600.0
    assert read({"name": "a", "expires": 12.5}).expires == 12.5
    assert messages(c.Consumer, {"name": "a", "expires": "soon"}) == [
        "a moment is written like 2027-01-31 or 2027-01-31T12:00:00Z"
    ]


# -- items -------------------------------------------------------------------------------------------------------------


def test_unknown_keys_are_refused_at_every_depth() -> None:
    with pytest.raises(ValidationError) as caught:
        c.Gateway.model_validate({
            "listeners": [{"address": ":1", "tlz": 1}], "routez": [], "upstreams": [
                {"name": "a", "targets": [{"url": "http://x", "wait": 1}], "breaker": {"windw": 1}}]})  # fmt: skip
    assert {(e["type"], e["loc"]) for e in found_in(caught.value)} == {
        ("extra_forbidden", ("routez",)),
        ("extra_forbidden", ("listeners", 0, "tlz")),
        ("extra_forbidden", ("upstreams", 0, "targets", 0, "wait")),
        ("extra_forbidden", ("upstreams", 0, "breaker", "windw")),
    }


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ({}, "a route has exactly one of upstream, split, respond, redirect, llm and contexts; here: none of them"),
        ({"upstream": "a", "respond": {}},
         "a route has exactly one of upstream, split, respond, redirect, llm and contexts; here: upstream and respond"),
        ({"redirect": {"prefix": "/x"}, "match": {"path": "/a", "exact": True}},
         "redirect.prefix needs a match on a path prefix"),
        ({"redirect": {}}, "a redirect that changes nothing would never end"),
        ({"redirect": {"path": "/a", "prefix": "/b"}}, "path and prefix exclude each other"),
        ({"respond": {"json": 1, "text": "x"}}, "json and text exclude each other: one body is enough"),
        ({"respond": {"status": 204, "body": "x"}}, "an answer 204 has no body"),
        ({"respond": {"headers": {"Content-Length": "3"}}}, "content-length is the gateway's own field"),
        ({"respond": {"headers": {"x": "a\r\nb"}}}, "the value of an HTTP field is printable ASCII"),
        ({"respond": {"headers": {"a b": "c"}}}, "this is not the name of an HTTP field"),
        ({"split": {"arms": [{"upstream": "a", "weight": 0}]}},
         "every weight is 0, so nothing would ever be served (S5.8)"),
        ({"split": {"arms": [{"upstream": "a"}, {"upstream": "a"}]}}, "'a' stands here twice"),
        ({"match": {"exact": True, "regex": True}, "upstream": "a"}, "exact, template and regex exclude each other"),
        ({"match": {"path": "orders"}, "upstream": "a"}, "a path begins with /"),
        ({"match": {"path": "/a/{id}"}, "upstream": "a"}, "a path with {variables} needs template: true beside it"),
        ({"match": {"path": "/%61"}, "upstream": "a"},
         "no request has this path in this spelling (S4.9): write /a"),
        ({"match": {"methods": ["get"]}, "upstream": "a"}, "a method is written in capitals, like GET"),
        ({"match": {"methods": ["TRACE"]}, "upstream": "a"}, "CONNECT and TRACE are never served (S2.2)"),
        ({"match": {"hosts": ["api.example:80"]}, "upstream": "a"},
         "a host is written like api.example or *.api.example, without a port"),
    ],
)  # fmt: skip
def test_impossible_routes_are_refused(route: dict[str, Any], message: str) -> None:
    assert messages(c.Route, {"name": "r", "match": {}, **route}) == [message]


@pytest.mark.parametrize("path", ["/a//b", "/a/../b", "/a/%2e/b", "/a b", "/a\\b", "/a%zz"])
def test_s4_9_a_path_that_no_request_has_is_refused(path: str) -> None:
    assert messages(c.Match, {"path": path})[0].startswith("no request has this path (S4.9): ")


@pytest.mark.parametrize(
    ("upstream", "message"),
    [
        ({"breaker": {"window": 10, "min_calls": 20}}, "min_calls is above window, so the breaker could never open "
         "(S13.3)"),
        ({"tls": {"cert": "c.pem"}}, "cert and key belong together"),
        ({"fallback": [{"on": ["open"]}]}, "a fallback has exactly one of upstream and respond"),
        ({"timeouts": {"request": "fast"}}, "a duration is written like 500ms, 1s, 5m, 1h or 2d"),
        ({"health": {"expect": ["ok"]}}, "a status is written like 200 or 200-299"),
        ({"targets": [{"url": "10.0.0.5:80"}]}, "a target is written like http://10.0.0.5:8000 or https://api.example"),
    ],
)  # fmt: skip
def test_impossible_upstreams_are_refused(upstream: dict[str, Any], message: str) -> None:
    assert messages(c.Upstream, {"name": "u", "targets": [{"url": "http://x"}], **upstream}) == [message]


def test_negative_limits_are_refused() -> None:
    assert messages(c.Retry, {"attempts": -1}) == ["Input should be greater than or equal to 0"]
    assert messages(c.Gateway, {"listeners": [{"address": ":1"}], "workers": -1}) == [
        "Input should be greater than or equal to 0"
    ]


def test_statuses_may_stand_as_numbers_among_the_words_of_a_fallback() -> None:
    fallback = c.Fallback.model_validate({"on": ["open", 502], "upstream": "b"})
    assert fallback.on == ("open", "502")


def test_hedging_waits_for_the_p95_or_a_fixed_time() -> None:
    assert c.Hedge.model_validate({"after": "p95"}).after == 0.0
    assert c.Hedge.model_validate({"after": "200ms"}).after == 0.2
    assert c.Hedge.model_validate_json(c.Hedge(after=0.2).model_dump_json()).after == 0.2


def test_the_kind_of_a_match_follows_its_flags() -> None:
    assert c.Match.model_validate({}).kind == "prefix"
    for flag in ("exact", "template", "regex"):
        assert c.Match.model_validate({flag: True}).kind == flag


def test_secrets_do_not_show() -> None:
    consumer = c.Consumer(name="a", keys=("tg-secret-key",), basic="$argon2id$x", hmac="0123456789abcdef")
    assert "secret" not in repr(consumer) and "argon" not in repr(consumer) and "0123456789" not in repr(consumer)
    assert "hunter2" not in repr(c.Admin(token="hunter2"))


# -- house -------------------------------------------------------------------------------------------------------------


def sections() -> list[type[Section]]:
    found = [getattr(c, name) for name in dir(c)]
    return [m for m in found if isinstance(m, type) and issubclass(m, Section) and m is not Section]


def test_every_setting_says_what_it_means_where_the_name_does_not() -> None:
    silent = [f"{m.__name__}.{n}" for m in sections() for n, f in m.model_fields.items() if not f.description]
    assert silent == []


@pytest.mark.parametrize(
    "name",
    [
        "Outlier",
        "Breaker",
        "Retry",
        "Hedge",
        "Bulkhead",
        "SlowStart",
        "Timeouts",
        "Tracing",
        "Limits",
        "Batch",
        "Health",
    ],
)
def test_defaults_of_the_config_and_of_the_plan_are_the_same(name: str) -> None:
    model, mirror = getattr(c, name), getattr(plan, f"{name}Plan")
    for field, info in model.model_fields.items():
        if info.is_required() or field == "tcp":
            continue
        default = info.default
        if field in ("expect", "failure_statuses"):
            default = tuple(map(parse_statuses, default))
        assert mirror.__dataclass_fields__[field].default == default, field
