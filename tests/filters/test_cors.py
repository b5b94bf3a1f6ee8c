"""Preflights and marks (S21)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.head import Answer, Fields, ResponseHead
from tidegate.filters.cors import Config, Cors

HERE = "https://app.example"
VARY = ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")


def build(**settings: Any) -> Cors:
    return Cors(Config.model_validate({"origins": [HERE]} | settings), FakeTools())


def preflight(origin: str = HERE, method: str = "PUT", headers: str = "") -> Exchange:
    fields = [("origin", origin), ("access-control-request-method", method)]
    if headers:
        fields.append(("access-control-request-headers", headers))
    return exchange("OPTIONS", "/catalog", fields)


def answer(filter: Cors, x: Exchange) -> Fields:
    verdict = filter.on_request_head(x)
    assert isinstance(verdict, Answer)
    assert (verdict.status, verdict.body) == (204, b"")
    return verdict.fields


def marked(filter: Cors, origin: str | None, fields: Fields | None = None) -> Fields:
    head = ResponseHead(200, "OK", fields or [])
    filter.on_response_head(exchange(fields=[("origin", origin)] if origin else []), head)
    return head.fields


def test_a_preflight_is_answered_here_s21_1() -> None:
    assert answer(build(), preflight(headers="x-a, X-B")) == [
        ("access-control-allow-origin", HERE),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "x-a, X-B"),
        ("access-control-max-age", "600"),
        VARY,
    ]


def test_the_settings_show_in_a_preflight() -> None:
    filter = build(methods=["GET", "PUT"], headers=["X-A"], credentials=True, max_age="1h")
    assert answer(filter, preflight(headers="x-a")) == [
        ("access-control-allow-origin", HERE),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-max-age", "3600"),
        VARY,
    ]


@pytest.mark.parametrize(
    "x",
    [
        preflight(origin="https://evil.example"),
        preflight(origin="null"),
        preflight(method="DELETE"),
        preflight(method="P T"),
        preflight(headers="x-b"),
        preflight(headers="x-a, x b"),
        preflight(headers=", ".join(["x-a"] * 65)),
    ],
)
def test_what_is_not_allowed_gets_204_without_any_cors_field_s21_1(x: Exchange) -> None:
    assert answer(build(methods=["GET", "PUT"], headers=["x-a"]), x) == [VARY]


def test_the_marks_of_a_preflight_survive_the_way_back() -> None:
    filter = build()
    x = preflight()
    head = ResponseHead(204, "No Content", answer(filter, x))
    filter.on_response_head(x, head)
    assert head.fields == answer(filter, x)


def test_options_that_announces_nothing_is_a_plain_request() -> None:
    assert build().on_request_head(exchange("OPTIONS", fields=[("origin", HERE)])) is None


def test_an_allowed_origin_is_echoed_and_the_upstreams_fields_are_replaced_s21_2() -> None:
    theirs = [("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true"), ("etag", "1")]
    assert marked(build(expose=["x-total"]), HERE, theirs) == [
        ("etag", "1"),
        ("access-control-allow-origin", HERE),
        ("access-control-expose-headers", "x-total"),
        ("vary", "Origin"),
    ]


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_anyone_else_is_served_without_cors_fields_s21_2(origin: str | None) -> None:
    assert marked(build(), origin, [("access-control-allow-origin", "*")]) == [("vary", "Origin")]


def test_a_star_is_told_as_a_star() -> None:
    assert marked(build(origins=["*"]), "https://any.example")[0] == ("access-control-allow-origin", "*")


@pytest.mark.parametrize("vary", ["Origin", "accept, ORIGIN", "*"])
def test_vary_names_the_origin_once(vary: str) -> None:
    assert marked(build(), None, [("vary", vary)]) == [("vary", vary)]


def test_another_vary_stays_beside_ours() -> None:
    assert marked(build(), None, [("vary", "x-origin")]) == [("vary", "x-origin"), ("vary", "Origin")]


def test_blocking_refuses_real_requests_from_elsewhere() -> None:
    filter = build(block=True)
    with pytest.raises(Fault) as refused:
        filter.on_request_head(exchange(fields=[("origin", "https://evil.example")]))
    assert refused.value.status == 403
    assert filter.on_request_head(exchange(fields=[("origin", HERE)])) is None
    assert filter.on_request_head(exchange()) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"origins": []},
        {"origins": ["*"], "credentials": True},
        {"origins": ["null"], "credentials": True},
        {"expose": ["*"], "credentials": True},
        {"origins": ["https://a.b/c"]},
        {"methods": ["G T"]},
        {"maxage": "5s"},
    ],
)
def test_unsafe_settings_are_refused_at_config_time_s21_2(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"origins": [HERE]} | settings)
