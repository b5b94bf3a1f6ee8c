"""How long an input is (LLM 11)."""

from __future__ import annotations

from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    ANTHROPIC,
    CHAT,
    SPOKEN,
    FakeTokens,
    MemoryBooks,
    ask,
    asked_of,
    body_of,
    caller,
    model,
    models,
    provider,
    scene,
    target,
    whole,
)

from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.models import DoorPlan

MESSAGE = {"model": "fast", "messages": [{"role": "user", "content": "x" * 400}]}


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/messages/count_tokens", MESSAGE, "input_tokens"),
        ("/v1/responses/input_tokens", {"model": "fast", "input": "x" * 400}, "input_tokens"),
        ("/v1beta/models/fast:countTokens", {"contents": [{"parts": [{"text": "x" * 400}]}]}, "totalTokens"),
        (
            "/v1beta/models/fast:countTokens",
            {"generateContentRequest": {"contents": [{"parts": [{"text": "x" * 400}]}]}},
            "totalTokens",
        ),
        (
            "/model/fast/count-tokens",
            {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "x" * 400}]}]}}},
            "inputTokens",
        ),
        ("/tokenize", {"model": "fast", "input": "x" * 400}, "count"),
        ("/tokenize", MESSAGE, "count"),
    ],
)
def test_a_target_that_cannot_count_is_counted_for(path: str, body: Any, name: str) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = FakeTokens()
        client.says(ask(body, path))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 ") and b"x-tidegate-tokens: estimated\r\n" in got
        assert 400 <= body_of(got)[name] <= 420
        assert house.connected == []

    scene(play, models(model("fast", target(provider(1))), dialects={"openai_chat": CHAT, **SPOKEN}))


def test_a_target_that_can_is_asked_and_nobody_pays() -> None:
    door = DoorPlan("count_tokens", ANTHROPIC, "provider:p1", "/v1/messages/count_tokens")
    plan = models(model("fast", target(provider(1, ANTHROPIC, doors={"count_tokens": door}), "claude", price=None)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(MESSAGE, "/v1/messages/count_tokens"))
        await settle()
        line, _, sent = asked_of(house.upstreams[0])
        assert line.startswith("POST /v1/messages/count_tokens ") and sent["model"] == "claude"
        house.upstreams[0].says(whole(200, {"input_tokens": 77}))
        assert body_of(client.hears()) == {"input_tokens": 77}
        assert books.records[0].cost == 0

    scene(play, plan)


def test_a_response_is_counted_where_its_vendor_counts() -> None:
    door = DoorPlan("count_tokens", SPOKEN["openai_responses"], "provider:p1", "/v1/responses/input_tokens")
    to = target(provider(1, doors={"count_tokens": door}), "gpt")
    plan = models(model("fast", to), dialects={"openai_chat": CHAT, **SPOKEN})

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "fast", "input": "hi"}, "/v1/responses/input_tokens"))
        await settle()
        line, _, sent = asked_of(house.upstreams[0])
        assert line.startswith("POST /v1/responses/input_tokens ") and sent == {"model": "gpt", "input": "hi"}
        house.upstreams[0].says(whole(200, {"object": "response.input_tokens", "input_tokens": 9}))
        assert body_of(client.hears())["input_tokens"] == 9
        assert books.records[0].cost == 0

    scene(play, plan)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/model/fast/count-tokens", {"input": {"invokeModel": {"body": "e30="}}}),
        ("/model/fast/count-tokens", {"input": {"converse": 3}}),
        ("/v1beta/models/fast:countTokens", {"generateContentRequest": 3}),
    ],
)
def test_what_nobody_could_count_is_refused(path: str, body: Any) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(body, path))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 400 ")
        assert house.connected == []

    scene(play, models(model("fast", target(provider(1))), dialects={"openai_chat": CHAT, **SPOKEN}))


class Window:
    """A limit that remembers what was taken and given back."""

    def __init__(self, allowed: bool = True) -> None:
        self.spec = LimitSpec("llm/w", "window", 100, 60.0)
        self.verdict = Verdict(allowed, 0, 30.0, 30.0)
        self.taken: list[int] = []

    def take(self, partition: str, cost: int = 1) -> Verdict:
        self.taken.append(cost)
        return self.verdict

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        self.taken.append(-cost)


@pytest.mark.parametrize(("allowed", "status"), [(True, b"HTTP/1.1 200 "), (False, b"HTTP/1.1 429 ")])
def test_counting_here_is_a_request_to_the_callers_limits_and_takes_no_tokens(allowed: bool, status: bytes) -> None:
    requests, tokens = Window(allowed), Window()
    plan = models(model("fast", target(provider(1))), callers=caller(requests=(requests,), tokens=(tokens,)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "fast", "input": "x" * 100}, "/tokenize"))
        await settle()
        assert client.hears().startswith(status) and requests.taken[0] == 1
        assert sum(tokens.taken) == 0 and bool(tokens.taken) is allowed

    scene(play, plan, who="bob")
