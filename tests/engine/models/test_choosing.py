"""Who serves a call, and who may ask (LLM 9)."""

from __future__ import annotations

import json
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

from tidegate.ports.models import CatalogueRow, ModelsPlan, ModelTargetPlan
from tidegate.strategies.capable import Capable
from tidegate.strategies.capable import Config as CapableConfig
from tidegate.strategies.fallback import Config as FallbackConfig
from tidegate.strategies.fallback import Fallback
from tidegate.strategies.sticky_context import Config as StickyConfig
from tidegate.strategies.sticky_context import StickyContext


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


# -- conversations and tasks -------------------------------------------------------------------------------------------


def talk(*turns: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(turns)]


async def reached(house: House, body: Any, status: int = 200, **fields: str) -> list[str]:
    """The models that are asked, in order, until one answers; all but the last fail where *status* is no 200."""
    client = house.client()
    client.says(ask(body, **fields))
    names: list[str] = []
    for _ in range(4):
        await settle()
        for side in house.upstreams:
            got = side.hears()
            if got:
                assert b"context-id" not in got and b"tidegate-task" not in got
                names.append(json.loads(got.partition(b"\r\n\r\n")[2])["model"])
                failing = status != 200 and len(names) == 1
                side.says(whole(status, {"error": {"message": "x"}}) if failing else whole(200, completion()))
        await settle()
        if client.hears():
            client.leaves()
            return names
        house.pass_time(0.2)
    raise AssertionError(names)


def sticky(*targets: ModelTargetPlan, **settings: Any) -> ModelsPlan:
    strategy = StickyContext(StickyConfig(**settings))
    return models(
        model("fast", *targets, strategy=strategy, by_conversation=True, retry=0),
        callers={**caller("bob"), **caller("eve", tenant="other")},
    )


PAIR = (target(provider(1), "first"), target(provider(2), "second", 1))


def test_a_conversation_stays_with_whoever_served_it_while_it_is_warm() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        hello = talk("Hello")
        assert await reached(house, chat(messages=hello), 500) == ["first", "second"]
        later = chat(messages=talk("Hello", "Hi!", "And then?"))
        assert await reached(house, later) == ["second"]
        assert await reached(house, chat(messages=talk("Something else"))) == ["first"]
        house.pass_time(200.0)
        assert await reached(house, later) == ["second"]
        house.pass_time(200.0)  # each answer keeps it warm
        assert await reached(house, later) == ["second"]
        house.pass_time(301.0)
        assert await reached(house, later) == ["first"]

    scene(play, sticky(*PAIR), who="bob")


def test_a_home_that_fails_or_rests_gives_the_conversation_to_another() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        hello = chat(messages=talk("Hello"))
        assert await reached(house, hello) == ["first"]
        house.runtime.models.cooldowns.slow("p1/first", house.runtime.clock(), 20.0)
        assert await reached(house, hello) == ["second"]
        house.pass_time(21.0)
        assert await reached(house, hello) == ["second"]
        assert await reached(house, hello, 500) == ["second", "first"]
        assert await reached(house, hello) == ["first"]

    scene(play, sticky(*PAIR), who="bob")


def test_an_id_names_a_conversation_whatever_it_says() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        assert await reached(house, chat(messages=talk("a")), 500, context_id="c1") == ["first", "second"]
        assert await reached(house, chat(messages=talk("b")), context_id="c1") == ["second"]
        assert await reached(house, chat(messages=talk("b"), session_id="c1")) == ["second"]
        assert await reached(house, chat(messages=talk("b")), context_id="c2") == ["first"]

    scene(play, sticky(*PAIR), who="bob")


def test_tenants_know_nothing_of_each_others_conversations() -> None:
    plan = sticky(*PAIR)
    for who, names in (("bob", ["first", "second"]), ("eve", ["first"]), ("bob", ["second"])):

        async def play(house: House, client: Side, books: MemoryBooks, names: list[str] = names) -> None:
            status = 500 if len(names) == 2 else 200
            assert await reached(house, chat(messages=talk("Hello")), status) == names

        scene(play, plan, who=who)


def test_only_a_strategy_that_asks_has_conversations_named() -> None:
    seen: list[str] = []

    class Noting(Fallback):
        def order(self, standings: Any, ask: Any, random: Any) -> list[int]:
            seen.append(ask.context)
            return [0, 1]

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await reached(house, chat(), context_id="c1")

    for wants in (False, True):
        scene(play, models(model("fast", *PAIR, strategy=Noting(FallbackConfig()), by_conversation=wants)))
    assert seen[0] == "" and len(seen[1]) == 32


def test_who_is_made_for_the_wished_task_comes_first_and_the_others_stay_behind() -> None:
    coder = target(provider(3), "coder", 2, tasks=("code", "review"))
    plan = models(model("fast", *PAIR, coder, retry=0))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        assert await reached(house, chat()) == ["first"]
        assert await reached(house, chat(), tidegate_task="code") == ["coder"]
        assert await reached(house, chat(), tidegate_task="poetry") == ["first"]
        assert await reached(house, chat(), 500, tidegate_task="review") == ["coder", "first"]

    scene(play, plan)


def test_the_smallest_that_fits_is_looked_for_among_those_made_for_the_task() -> None:
    small = target(provider(1), "small", catalogue=CatalogueRow(window=1000))
    large = target(provider(2), "large", 1, tasks=("code",), catalogue=CatalogueRow(window=100_000))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        assert await reached(house, chat()) == ["small"]
        assert await reached(house, chat(), tidegate_task="code") == ["large"]

    scene(play, models(model("fast", small, large, strategy=Capable(CapableConfig()))))
