"""Rewrites on an exchange (S5.7)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.filters.rewrite import Config, Rewrite


def rewritten(x: Exchange, **settings: Any) -> Exchange:
    Rewrite(Config.model_validate(settings), FakeTools()).on_request_head(x)
    return x


@pytest.mark.parametrize(("path", "asked"), [("/catalog/7", "/7"), ("/catalog", "/"), ("/catalogs", "/catalogs")])
def test_the_example_strips_its_prefix(path: str, asked: str) -> None:
    x = rewritten(exchange(path=path), strip_prefix="/catalog")
    assert (x.upstream_path, x.path) == (asked, path)


def test_a_prefix_is_replaced() -> None:
    assert rewritten(exchange(path="/a/b"), replace_prefix={"from": "/a/", "to": "/c/d/"}).upstream_path == "/c/d/b"
    assert rewritten(exchange(path="/a/b"), replace_prefix={"from": "/a", "to": "/"}).upstream_path == "/b"
    assert rewritten(exchange(path="/a/b"), replace_prefix={"from": "/", "to": "/v1"}).upstream_path == "/v1/a/b"


def test_the_whole_path_comes_from_a_template() -> None:
    x = exchange(path="/item/7")
    x.captures = {"id": "7"}
    assert rewritten(x, path="/v2/{capture.id}/{method}").upstream_path == "/v2/7/GET"


def test_two_rewrites_work_on_each_other() -> None:
    x = rewritten(exchange(path="/a/b/c"), strip_prefix="/a")
    assert rewritten(x, strip_prefix="/b").upstream_path == "/c"


def test_host_and_query_are_rewritten() -> None:
    edits = {"remove": ["secret"], "set": {"v": "2"}, "add": {"who": "{client_ip}"}}
    x = rewritten(exchange(query="v=1&secret=x&q=%20"), host="Shop.Example", query=edits)
    assert (x.upstream_host, x.upstream_query, x.query) == (
        "shop.example", "q=%20&v=2&who=192.0.2.1", "v=1&secret=x&q=%20",
    )  # fmt: skip


def test_a_result_that_is_no_path_is_400_s5_7() -> None:
    with pytest.raises(Fault) as refused:
        rewritten(exchange(), path="/v2/{capture.id}/x")
    assert (refused.value.code, refused.value.status) == ("ambiguous_path", 400)


def test_a_required_query_value_that_is_missing_is_400() -> None:
    with pytest.raises(Fault) as refused:
        rewritten(exchange(), query={"set": {"who": "{consumer|required}"}})
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strip_prefix": "catalog"},
        {"strip_prefix": "/a/../b"},
        {"strip_prefix": "/a;b"},
        {"strip_prefix": "/a", "path": "/b"},
        {"replace_prefix": {"from": "/a"}},
        {"path": "v2"},
        {"path": "/a//b"},
        {"path": "/{user}"},
        {"host": "a b"},
        {"query": {"set": {"a": "{"}}},
        {"regex": "x"},
    ],
)
def test_what_makes_no_path_is_refused_at_config_time(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)
