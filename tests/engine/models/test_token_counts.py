"""Our own counts, off the loop, and what bills teach about them (LLM 11)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    ANTHROPIC,
    FakeTokens,
    MemoryBooks,
    ask,
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

from tidegate.engine.models.standing import TARGETS, ModelStates
from tidegate.engine.models.token_counts import EACH, WAITING
from tidegate.ports.books import BudgetLevel
from tidegate.ports.models import CatalogueRow, ModelsPlan, ModelTargetPlan
from tidegate.rules.token_count import LearnedFactor

LEVEL = BudgetLevel("default/consumer/bob/month", 10**9)
KEY = "p1/up-model"


def plan(*targets: ModelTargetPlan) -> ModelsPlan:
    return models(model("fast", *(targets or (target(provider(1)),))), callers=caller(budgets=(LEVEL,)))


def says(text: str, **more: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": text}], max_tokens=1, **more)


def billed(tokens: int) -> dict[str, Any]:
    return completion(usage={"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1})


async def call(house: House, body: Any, tokens: int = 0, path: str = "/v1/chat/completions") -> bytes:
    """One call, which bills so many tokens of input; what the client hears."""
    client = house.client()
    client.says(ask(body, path))
    await settle()
    for side in house.upstreams:
        if side.hears():
            side.says(whole(200, billed(tokens)))
    await settle()
    heard = client.hears()
    client.leaves()
    return heard


def test_a_call_far_from_its_limits_is_not_counted() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = tokens = FakeTokens()
        assert b" 200 " in await call(house, says("word " * 300), 300)
        assert (tokens.asked, house.aside, house.runtime.models.counting) == ([], 0, False)

    scene(play, plan(), who="bob")


@pytest.mark.parametrize("size", [2000, 200_000])
def test_a_call_that_does_not_fit_by_its_bytes_is_counted_on_a_thread(size: int) -> None:
    counted = size // 8 + 7
    reserve = (counted + counted * 15 // 100 + 15) * 1000 + 2000

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = FakeTokens(lambda text: len(text) // 8)
        assert b" 200 " in await call(house, says("x" * size), 100)
        assert house.aside == 1 and house.runtime.models.counting

    books = scene(play, plan(), who="bob", limit=reserve)
    assert [kept.amount for kept in books.reservations] == [reserve]


def test_what_fits_by_no_count_is_refused_and_what_cannot_be_counted_too() -> None:
    def broken(text: str) -> int:
        raise ValueError("ranks")

    for count in (len, broken):

        async def play(house: House, client: Side, books: MemoryBooks, count: Any = count) -> None:
            house.tools.tokens = FakeTokens(count)
            assert body_of(await call(house, says("x" * 5000)))["error"]["code"] == "budget_exceeded"
            assert house.connected == [] and len(house.defects) == (count is broken)
            house.defects.clear()

        scene(play, plan(), who="bob", limit=1_000_000)


def test_only_so_many_wait_for_the_thread() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.waiting["counting"] = WAITING
        got = await call(house, says("x" * 5000))
        assert got.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in got

    scene(play, plan(), who="bob", limit=1_000_000)


def test_a_model_nobody_knows_is_reserved_by_what_it_billed_before() -> None:
    text = "x" * 4000  # a token each ten: 400 and 7 around it

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = FakeTokens(lambda text: len(text) // 10)
        for _ in range(100):
            books.limit = books.spent + 1_000_000
            assert b" 200 " in await call(house, says(text), 2 * 407)
        factor = house.runtime.models.factors[KEY]
        assert factor.value == pytest.approx(2.0, abs=0.001)
        assert books.reservations[-1].amount == (814 + 814 * 15 // 100 + 15) * 1000 + 2000
        assert house.runtime.models.explain(0.0)["token_factors"] == {KEY: 2.0}

    scene(play, plan(), who="bob")


def test_a_known_tokenizer_is_never_corrected() -> None:
    known = target(provider(1), catalogue=CatalogueRow(tokenizer="o200k"))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = tokens = FakeTokens(lambda text: len(text) // 10)
        house.runtime.models.factor(KEY).value = 2.0
        assert b" 200 " in await call(house, says("x" * 4000), 4000)
        assert house.runtime.models.factors[KEY].value == 2.0
        assert tokens.asked == ["o200k"]
        assert books.reservations[0].amount == (407 + 407 * 15 // 100 + 15) * 1000 + 2000

    scene(play, plan(known), who="bob", limit=1_000_000)


def test_each_target_is_reserved_by_its_own_tokenizer_and_factor() -> None:
    known = target(provider(1), "known", catalogue=CatalogueRow(tokenizer="cl100k"))
    other = target(provider(2), "other", 1)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = tokens = FakeTokens(lambda text: len(text) // 10)
        house.runtime.models.factor("p2/other").value = 1.5
        assert b" 200 " in await call(house, says("x" * 4000), 407)
        assert sorted(tokens.asked) == ["", "cl100k"]
        dear = int(407 * 1.5 + 0.5)
        assert books.reservations[0].amount == (dear + dear * 15 // 100 + 15) * 1000 + 2000

    scene(play, plan(known, other), who="bob", limit=1_000_000)


@pytest.mark.parametrize("answer", ["lies", "silence", "failure"])
def test_what_is_no_honest_bill_teaches_nothing(answer: str) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = FakeTokens(lambda text: len(text) // 10)
        body = {"lies": billed(10**8), "silence": completion(usage=None), "failure": {"error": {"message": "no"}}}
        client.says(ask(says("x" * 4000)))
        await settle()
        house.upstreams[0].says(whole(400 if answer == "failure" else 200, body[answer]))
        await settle()
        assert house.runtime.models.factors == {}

    scene(play, plan(), who="bob", limit=1_000_000)


def test_pictures_teach_nothing_about_text() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://e.example/i.png"}}
    content = [{"type": "text", "text": "x" * 40_000}, picture]

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = FakeTokens(lambda text: len(text) // 10)
        assert b" 200 " in await call(house, chat(messages=[{"role": "user", "content": content}], max_tokens=1), 9999)
        assert house.runtime.models.factors == {} and house.aside == 1

    scene(play, plan(), who="bob", limit=20_000_000)


def test_where_a_worker_counts_one_call_of_many_is_counted_to_learn_from_it() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = tokens = FakeTokens(lambda text: 93)
        house.runtime.models.counting = True
        for _ in range(2 * EACH):
            assert b" 200 " in await call(house, says("hello"), 150)
        assert house.aside == len(tokens.asked) == 2
        assert house.runtime.models.factors[KEY].value == pytest.approx(1.0 + 0.1 * 0.5 + 0.1 * 0.45)

    scene(play, plan(), who="bob")


def test_a_count_that_is_answered_here_is_corrected_too() -> None:
    messages = says("x" * 400)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = FakeTokens(lambda text: len(text))
        house.runtime.models.factor(KEY).value = 1.5
        got = await call(house, messages, path="/v1/messages/count_tokens")
        assert body_of(got) == {"input_tokens": int(407 * 1.5 + 0.5)}
        house.tools.tokens = FakeTokens(lambda text: 1 // 0)
        assert (await call(house, says("x" * 4000), path="/v1/messages/count_tokens")).startswith(b"HTTP/1.1 503 ")
        assert len(house.defects) == 1
        house.defects.clear()

    scene(play, plan(target(provider(1))))


def test_a_call_of_another_dialect_is_counted_from_its_conversation() -> None:
    body = {"model": "fast", "max_tokens": 1, "messages": [{"role": "user", "content": "x" * 4000}], "system": "be"}
    answer = {
        "id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "yes"}], "usage": {"input_tokens": 411, "output_tokens": 1},
    }  # fmt: skip

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.tools.tokens = FakeTokens(lambda text: len(text) // 10)
        client.says(ask(body, "/v1/messages"))
        await settle()
        house.upstreams[0].says(whole(200, json.dumps(answer)))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert house.runtime.models.factors["p1/up-model"].value == pytest.approx(1.0)

    books = scene(play, plan(target(provider(1, ANTHROPIC))), who="bob", limit=1_000_000)
    counted = 3 + 4 + 400 + 4
    assert books.reservations[0].amount == (counted + counted * 15 // 100 + 15) * 1000 + 2000


def test_factors_are_bounded_and_the_oldest_goes() -> None:
    states = ModelStates()
    for number in range(TARGETS + 1):
        states.factor(str(number))
    assert len(states.factors) == TARGETS and "0" not in states.factors
    assert isinstance(states.factor("1"), LearnedFactor) and states.factor("1") is states.factors["1"]
