"""Who serves a call, and who may ask (LLM 9)."""

from __future__ import annotations

from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    ANTHROPIC,
    MemoryBooks,
    ask,
    asked_of,
    body_of,
    caller,
    chat,
    completion,
    model,
    models,
    provider,
    scene,
    target,
    whole,
)

from tidegate.ports.models import CatalogueRow, ModelsPlan


def refused(plan: ModelsPlan, body: Any, status: int, code: str, **settings: Any) -> None:
    """The call is refused with that status and error code, and nobody is asked."""

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(body))
        await settle()
        got = client.hears()
        assert got.startswith(f"HTTP/1.1 {status} ".encode()), got
        assert body_of(got)["error"]["code"] == code
        assert house.connected == []

    scene(play, plan, **settings)


def served_by(plan: ModelsPlan, body: Any, name: str, upstream_model: str, **settings: Any) -> None:
    """The call reaches *name* as *upstream_model*."""

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(body))
        await settle()
        assert house.connected == [f"10.0.0.{name[1:]}:80"]
        assert asked_of(house.upstreams[0])[2]["model"] == upstream_model
        client.leaves()

    scene(play, plan, **settings)


FAST = model("fast", target(provider(1)))
PATTERN = model("gpt-*", target(provider(2), ""))
LONGER = model("gpt-4-*", target(provider(3), ""))


def test_a_name_is_exact_then_an_alias_then_the_longest_pattern() -> None:
    plan = models(FAST, PATTERN, LONGER, callers=caller(aliases={"nice": "fast", "gpt-4-x": "fast"}))
    served_by(plan, chat("fast"), "p1", "up-model", who="bob")
    served_by(plan, chat("nice"), "p1", "up-model", who="bob")
    served_by(plan, chat("gpt-4-x"), "p1", "up-model", who="bob")
    served_by(plan, chat("gpt-4-mini"), "p3", "gpt-4-mini", who="bob")
    served_by(plan, chat("gpt-3"), "p2", "gpt-3", who="bob")


def test_a_provider_is_named_only_where_the_route_allows_it() -> None:
    plan = models(model("p1", target(provider(1), price=None)))
    refused(plan, chat("p1/m"), 404, "model_not_found")
    refused(plan, chat("p1/m"), 403, "price_unknown", direct=True)


def test_what_a_tenant_cannot_see_is_404_and_what_a_key_may_not_use_is_403() -> None:
    plan = models(FAST, PATTERN, callers=caller(models=(("gpt-*",),)))
    refused(plan, chat("fast"), 403, "model_denied", who="bob")
    plan = models(FAST, PATTERN, callers=caller(tenant_models=("gpt-*",)))
    refused(plan, chat("fast"), 404, "model_not_found", who="bob")
    refused(plan, chat("unknown"), 404, "model_not_found", who="bob")
    plan = models(model("fast", target(provider(1)), tenant="other"), callers=caller())
    refused(plan, chat("fast"), 404, "model_not_found", who="bob")


def test_a_keys_own_words_go_before_its_consumers() -> None:
    plan = models(FAST, callers={**caller("bob"), **caller("bob/k1", models=((),))})
    refused(plan, chat("fast"), 403, "model_denied", who="bob/k1")
    served_by(plan, chat("fast"), "p1", "up-model", who="bob/k2")


def test_without_a_price_or_a_credential_a_target_is_no_candidate() -> None:
    refused(models(model("fast", target(provider(1), price=None))), chat(), 403, "price_unknown")
    both = models(model("fast", target(provider(1, needs_credential=True)), target(provider(2), "other", 1)))
    served_by(both, chat(), "p2", "other")


def test_a_caller_bound_to_a_region_never_leaves_it() -> None:
    plan = models(
        model("fast", target(provider(1), regions=("us",)), target(provider(2), "eu-model", 1, regions=("eu",))),
        callers=caller(regions=("eu",)),
    )
    served_by(plan, chat(), "p2", "eu-model", who="bob")
    refused(models(FAST, callers=caller(regions=("eu",))), chat(), 403, "region", who="bob")


def test_only_those_are_asked_that_can_do_it() -> None:
    blind = target(provider(1), catalogue=CatalogueRow(features=frozenset({"tools"})))
    seeing = target(provider(2), "sees", 1, catalogue=CatalogueRow(features=frozenset({"image"})))
    picture = {"type": "image_url", "image_url": {"url": "https://e.example/i.png"}}
    body = {"model": "fast", "messages": [{"role": "user", "content": [picture]}]}
    served_by(models(model("fast", blind, seeing)), body, "p2", "sees")
    refused(models(model("fast", blind, blind)), body, 400, "no_capable_target")


def test_a_window_that_is_surely_too_small_is_left_out() -> None:
    small = target(provider(1), catalogue=CatalogueRow(window=10))
    large = target(provider(2), "large", 1, catalogue=CatalogueRow(window=10_000))
    body = chat(messages=[{"role": "user", "content": "x" * 800}])
    served_by(models(model("fast", small, large)), body, "p2", "large")
    refused(models(model("fast", small, small)), body, 400, "context_length_exceeded")


def test_a_client_may_wish_for_a_provider() -> None:
    plan = models(model("fast", target(provider(1)), target(provider(2), "other", 1)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(), tidegate_provider="p2"))
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        _, fields, _ = asked_of(house.upstreams[0])
        assert "tidegate-provider" not in fields
        house.upstreams[0].says(whole(200, completion()))

    scene(play, plan)


@pytest.mark.parametrize(("status", "code"), [(429, 429), (500, 503)])
def test_all_resting_is_told_at_once_with_the_soonest_end_unless_it_is_near(status: int, code: int) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        for _ in range(3):
            client.says(ask(chat()))
            await settle()
            for _ in range(3):
                if client.hears():
                    break
                house.upstreams[-1].says(whole(status, {"error": {"message": "x"}}, "retry-after: 20"))
                await settle()
                house.pass_time(0.2)
                await settle()
        before = len(house.connected)
        client.says(ask(chat()))
        await settle()
        got = client.hears()
        assert got.startswith(f"HTTP/1.1 {code} ".encode()), got
        assert b"\r\nretry-after: 20\r\n" in got or b"\r\nretry-after: 19\r\n" in got
        assert len(house.connected) == before
        house.pass_time(21.0)
        client.says(ask(chat()))
        await settle()
        house.upstreams[-1].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, models(model("fast", target(provider(1)), retry=0)))


def test_a_tool_loop_with_sealed_thoughts_stays_with_its_vendor() -> None:
    plan = models(model("fast", target(provider(1)), target(provider(2, ANTHROPIC), "claude", 1)))
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "1"}]},
    ]  # fmt: skip

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "fast", "max_tokens": 9, "messages": messages}, "/v1/messages"))
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        client.leaves()

    scene(play, plan)
