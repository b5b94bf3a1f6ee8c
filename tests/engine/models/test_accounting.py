"""The money of one call (LLM 10): reserved before, settled before the end, whatever happens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    DONE,
    END,
    ONE,
    STREAM_HEAD,
    TWO,
    USAGE,
    MemoryBooks,
    ask,
    body_of,
    caller,
    chat,
    chunk,
    completion,
    model,
    models,
    piece,
    provider,
    scene,
    target,
    unchunked,
    whole,
)

from tidegate.exchange.fault import Fault
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.books import BudgetLevel
from tidegate.ports.models import DoorPlan, PriceRow

LEVEL = BudgetLevel("default/consumer/bob/month", 10**9)
BUDGET = models(model("fast", target(provider(1))), callers=caller(budgets=(LEVEL,)))
DEAR = PriceRow("dear", {"input": 10**12, "output": 10**12})


def test_an_empty_purse_is_told_before_any_work_and_no_sdk_tries_again() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 429 ") and b"x-should-retry: false\r\n" in got
        error = body_of(got)["error"]
        assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
        assert house.connected == []

    scene(play, BUDGET, limit=0, who="bob")


def test_the_worst_case_of_the_dearest_target_is_set_aside() -> None:
    plan = models(
        model("fast", target(provider(1)), target(provider(2), price=DEAR, index=1)), callers=caller(budgets=(LEVEL,))
    )

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        body = json.dumps(chat(max_tokens=7))
        client.says(ask(body))
        await settle()
        assert books.reservations[0].amount == (len(body) + 7) * 1_000_000
        house.upstreams[0].says(whole(200, completion()))
        assert books.records[0].reserved == books.reservations[0].amount

    scene(play, plan, who="bob")


def test_what_does_not_fit_into_the_budget_is_refused_before_a_provider_hears_of_it() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 429 ") and house.connected == []

    scene(play, BUDGET, limit=1000, who="bob")


def test_a_ledger_that_cannot_be_written_ends_a_stream_with_an_error_and_a_unary_call_with_503() -> None:
    trouble = Fault("ledger_unavailable", "No.", retry_after=1.0)

    async def stream(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        books.broken = trouble
        house.upstreams[0].says(STREAM_HEAD + piece(chunk({"content": "a"}) + USAGE + DONE) + END)
        said = unchunked(client.hears().partition(b"\r\n\r\n")[2])
        assert b'"error"' in said and b"[DONE]" not in said

    async def unary(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        books.broken = trouble
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 503 ")

    scene(stream, ONE)
    scene(unary, ONE)


def test_usage_that_nobody_told_is_our_own_count_and_says_so() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        answer = completion()
        del answer["usage"]
        house.upstreams[0].says(whole(200, answer))
        record = books.records[0]
        assert record.flags == ("estimated",)
        assert record.usage is not None and record.usage.source == "estimated"

    scene(play, ONE)


def test_usage_far_above_what_was_possible_is_not_believed() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=5)))
        await settle()
        usage = {"prompt_tokens": 10**9, "completion_tokens": 5, "total_tokens": 10**9}
        house.upstreams[0].says(whole(200, completion(usage=usage)))
        record = books.records[0]
        assert "usage_suspect" in record.flags and record.cost < record.reserved

    scene(play, BUDGET, who="bob")


def test_a_failed_call_costs_nothing_and_is_written_all_the_same() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(401, {"error": {"message": "bad key sk-12345678901234567890"}}))
        await settle()
        house.upstreams[1].says(whole(401, {"error": {"message": "bad key"}}))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 502 ") and b"sk-" not in got and b"x-should-retry: false\r\n" in got
        record = books.released[0]
        assert record is not None
        assert (record.cost, record.code, record.reason) == (0, "bad_upstream", "upstream_auth")
        assert [a.provider for a in record.attempts] == ["p1", "p2"]

    scene(play, TWO)


def test_a_long_stream_is_marked_on_its_way() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        up = house.upstreams[0]
        up.says(STREAM_HEAD + piece(chunk({"content": "a"})))
        up.says(piece(chunk({"content": "b" * 5000})))
        house.pass_time(2.5)
        up.says(piece(chunk({"content": "c"})))
        assert [mark.output for mark in books.reservations[0].marks] == [2, 3]
        up.says(piece(USAGE + DONE) + END)

    scene(play, ONE)


def test_a_client_that_leaves_before_the_target_has_heard_anything_pays_nothing() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.holding.add("10.0.0.1:80")
        client.says(ask(chat()))
        await settle()
        client.leaves()
        house.holding.clear()
        await settle()
        assert books.records == [] and [r.end for r in books.released if r] == ["cancelled"]

    scene(play, ONE)


def test_a_client_that_leaves_while_the_model_thinks_pays_for_the_question() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        client.leaves()
        assert house.upstreams[0].closed
        assert [(r.end, r.flags) for r in books.records] == [("cancelled", ("estimated",))]

    scene(play, ONE)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (chat("nobody"), 404, "model_not_found"),
        (chat("secret"), 403, "forbidden"),
        ({"model": 7}, 400, "invalid_request"),
        (chat(), 429, "budget_exceeded"),
    ],
)
def test_a_refusal_of_somebody_we_know_is_in_the_ledger(body: dict[str, Any], status: int, code: str) -> None:
    plan = models(
        model("fast", target(provider(1))),
        model("secret", target(provider(1))),
        callers=caller(models=(("fast", "nobody"),), budgets=(BudgetLevel("default/consumer/bob", 10),)),
    )

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(body))
        await settle()
        assert client.hears().startswith(f"HTTP/1.1 {status} ".encode())
        (record,) = books.released
        assert record is not None and (record.consumer, record.status, record.code) == ("bob", status, code)
        assert record.cost == 0 and record.attempts == ()

    scene(play, plan, who="bob", limit=10)


def test_a_refusal_of_somebody_we_do_not_know_is_not() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("nobody")))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 404 ")
        assert books.released == []

    scene(play, ONE)


PAINTED = PriceRow("painted", {"input": 5 * 10**9, "image_out": 40 * 10**9})


def test_pictures_are_billed_as_told_though_little_text_asked_for_them() -> None:
    doors = {"images": DoorPlan("images", None, "provider:p1", "/v1/images/generations")}
    plan = models(model("fast", target(provider(1, doors=doors), price=PAINTED)), callers=caller(budgets=(LEVEL,)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "fast", "prompt": "x", "n": 2}, "/v1/images/generations"))
        await settle()
        assert books.reservations[0].amount >= 2 * 8192 * 40_000
        usage = {"input_tokens": 10, "output_tokens": 12_000, "total_tokens": 12_010}
        house.upstreams[0].says(whole(200, {"data": [{}, {}], "usage": usage}))
        assert books.records[0].cost == 10 * 5000 + 12_000 * 40_000
        assert books.records[0].flags == ()

    scene(play, plan, who="bob")


@pytest.mark.parametrize(
    ("members", "least"),
    [({"max_tokens": -(10**12)}, 4096), ({"max_tokens": 10, "n": -50}, 10), ({"max_tokens": 10, "n": 7}, 70)],
)
def test_no_bound_of_a_client_makes_its_worst_case_smaller_than_it_is(members: dict[str, int], least: int) -> None:
    plan = models(model("fast", target(provider(1), price=PriceRow("o", {"output": 10**6}))),
                  callers=caller(budgets=(LEVEL,)))  # fmt: skip

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({**chat(), **members}))
        await settle()
        assert books.reservations[0].amount == least
        house.upstreams[0].says(whole(200, completion()))

    scene(play, plan, who="bob")


@pytest.mark.parametrize(("limit", "status"), [(9_000_000, 200), (8_000_000, 429)])
def test_a_call_that_does_not_fit_by_its_bytes_may_fit_by_its_count(limit: int, status: int) -> None:
    """8,000 output tokens' worth is the answer; 600 bytes are 600 tokens by bytes and 150 and a margin by count."""

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        body = {**chat(max_tokens=4_200), "messages": [{"role": "user", "content": "word" * 250}]}
        client.says(ask(body))
        await settle()
        if status == 200:
            house.upstreams[0].says(whole(200, completion()))
            (kept,) = books.reservations
            assert 8_400_000 < kept.amount <= 9_000_000 < 8_400_000 + 1_000 * len(json.dumps(body))
        assert client.hears().startswith(f"HTTP/1.1 {status} ".encode())

    scene(play, BUDGET, who="bob", limit=limit)


class TokenLimit:
    """A limit that sums up what is taken."""

    def __init__(self) -> None:
        self.spec = LimitSpec("llm/t", "window", 10**6, 60.0)
        self.taken: list[int] = []

    def take(self, partition: str, cost: int = 1) -> Verdict:
        self.taken.append(cost)
        return Verdict(True, 1, 1.0, 0.0)

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        self.taken.append(-cost)


def test_when_one_limit_of_tokens_refuses_the_others_have_theirs_back() -> None:
    """A team's limit must not pay for what a key's would not let pass."""
    first, second = TokenLimit(), TokenLimit()
    second.take = lambda partition, cost=1: Verdict(False, 0, 1.0, 9.0)  # type: ignore[method-assign]
    plan = models(model("fast", target(provider(1))), callers=caller(tokens=(first, second)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=5_000)))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 429 ")
        assert len(first.taken) == 2 and sum(first.taken) == 0 and first.taken[0] >= 5_000

    scene(play, plan, who="bob")


def test_the_limits_of_targets_and_providers_are_charged_what_was_used_and_of_failed_tries_nothing() -> None:
    """Tokens in two phases, there too (LLM 10): 15 were used."""
    first, second, shared = TokenLimit(), TokenLimit(), TokenLimit()
    house = provider(1, tokens=shared)
    plan = models(model("fast", target(house, tokens=first), target(house, "other", 1, tokens=second), retry=1))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=5_000)))
        await settle()
        for _ in range(2):
            house.upstreams[-1].says(whole(500, {"error": {"message": "no"}}))
            await settle()
            house.pass_time(0.2)
            await settle()
        house.upstreams[-1].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert [sum(limit.taken) for limit in (first, second, shared)] == [0, 15, 15]
        assert [len(limit.taken) for limit in (first, second, shared)] == [4, 2, 6]

    scene(play, plan)


def test_a_call_without_money_takes_no_tokens_of_the_callers_limit() -> None:
    tokens = TokenLimit()
    plan = models(
        model("fast", target(provider(1), price=DEAR)), callers=caller(budgets=(LEVEL,), tokens=(tokens,))
    )  # fmt: skip

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(messages=[{"role": "user", "content": "x" * 200_000}])))
        await settle()
        assert b"budget_exceeded" in client.hears() and house.connected == []
        assert tokens.taken and sum(tokens.taken) == 0

    scene(play, plan, limit=1000, who="bob")


def test_what_an_upstream_calls_itself_is_kept_in_the_ledger_up_to_a_bound() -> None:
    from model_house import SPOKEN

    plan = models(model("fast", target(provider(1))), dialects=SPOKEN)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=3), "/v1/messages", anthropic_version="2023-06-01"))
        await settle()
        answer = completion(model="m" * 1_000_000, service_tier="t" * 1_000_000)
        answer["choices"][0]["finish_reason"] = "s" * 1_000_000
        house.upstreams[0].says(whole(200, answer, "x-request-id: " + "r" * 4000))
        await settle()
        client.hears()
        record = books.records[0]
        assert record.served == "m" * 128 and record.upstream_request_id == "r" * 128
        assert len(record.tier) <= 128 and len(record.stop) <= 128

    scene(play, plan, who="bob")
