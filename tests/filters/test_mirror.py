"""Copies of requests (S23.9)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.head import CHUNKED
from tidegate.filters.mirror import Config, Mirror

MARK = ("x-tidegate-mirror", "1")


def run(x: Exchange, body: bytes | None = None, tools: FakeTools | None = None, **settings: Any) -> FakeTools:
    """Lead *x* through the hooks as the engine does."""
    tools = tools or FakeTools()
    filter = Mirror(Config.model_validate({"upstream": "shadow"} | settings), tools)
    filter.on_request_head(x)
    if filter.wants_request_body(x):
        x.body = body
        filter.on_request_body(x, body or b"")
    filter.on_attempt(x, 1)
    filter.on_attempt(x, 2)
    return tools


def test_the_copy_is_marked_and_sent_once_however_many_attempts_there_are() -> None:
    x = exchange(path="/orders", query="a=1", fields=[("accept", "*/*")])
    x.upstream_path = "/v2/orders"
    tools = run(x, timeout="2s")
    assert tools.copies == [("shadow", "GET", "/v2/orders?a=1", [("accept", "*/*"), MARK], b"", 2.0)]
    assert tools.count("mirrored_total", upstream="shadow", result="sent") == 1


def test_credentials_and_claims_about_the_caller_stay_here() -> None:
    secrets = ["authorization", "cookie", "x-api-key", "proxy-authorization", "api-key", "x-goog-api-key"]
    claims = ["x-forwarded-for", "forwarded", "x-consumer-id", "x-user-id", "x-tenant-id", "x-tidegate-mirror", "via"]
    hop = ["connection", "te", "upgrade", "expect"]
    x = exchange(fields=[(name, "v") for name in (*secrets, *claims, *hop)] + [("x-kept", "1"), ("x-old", "1")])
    x.remove_field("x-old")
    x.add_field("x-new", "1")
    x.add_field("authorization", "upstream secret")
    assert run(x).copies[0][3] == [("x-kept", "1"), ("x-new", "1"), MARK]


@pytest.mark.parametrize("length", [1, 65536])
def test_a_small_body_is_copied_decoded(length: int) -> None:
    x = exchange("POST", fields=[("content-encoding", "gzip"), ("content-type", "a/b")], body_length=length)
    tools = run(x, b"plain")
    assert tools.copies[0][3:5] == ([("content-type", "a/b"), MARK], b"plain")


@pytest.mark.parametrize("length", [65537, CHUNKED])
def test_a_larger_body_is_not_held_and_not_copied_but_counted(length: int) -> None:
    x = exchange("POST", body_length=length)
    tools = run(x)
    assert (tools.copies, x.body) == ([], None)
    assert tools.count("mirrored_total", upstream="shadow", result="not_sent") == 1


def test_only_the_share_that_is_drawn_is_copied() -> None:
    tools = FakeTools()
    tools.chance = [0.0, 0.24, 0.25, 0.9]
    for _ in range(4):
        run(exchange(), tools=tools, percent=25)
    assert len(tools.copies) == 2


def test_nothing_is_copied_at_zero_percent() -> None:
    tools = FakeTools()
    tools.chance = [0.0]
    assert run(exchange(), tools=tools, percent=0).copies == []


def test_too_many_under_way_is_counted_and_nothing_more() -> None:
    tools = FakeTools()
    tools.copies_taken = False
    run(exchange(), tools=tools)
    assert tools.count("mirrored_total", upstream="shadow", result="not_sent") == 1


@pytest.mark.parametrize("settings", [{"upstream": ""}, {"percent": 101}, {"timeout": 0}, {"retries": 1}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"upstream": "shadow"} | settings)
