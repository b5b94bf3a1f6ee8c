"""Hedging: a second target when the first is late (LLM 9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    DONE,
    END,
    STREAM_HEAD,
    USAGE,
    MemoryBooks,
    ask,
    body_of,
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

from tidegate.ports.models import ModelsPlan

BAD = {"error": {"message": "no", "type": "server_error"}}


def plan(**settings: Any) -> ModelsPlan:
    settings = {"hedge_after": 1.0, "hedge_share": 100.0, **settings}
    return models(model("fast", target(provider(1)), target(provider(2), "other", 1), **settings))


async def late(house: House, client: Side, **more: Any) -> None:
    """A call whose first target says nothing for a second."""
    client.says(ask({**chat(**more), "messages": [{"role": "user", "content": "four" * 10}]}))
    await settle()
    assert house.connected == ["10.0.0.1:80"]
    house.pass_time(1.1)
    await settle()
    assert house.connected == ["10.0.0.1:80", "10.0.0.2:80"]


def test_the_second_target_is_asked_when_the_first_is_late_and_the_loser_hears_that_at_once() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await late(house, client)
        house.upstreams[1].says(whole(200, completion()))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 ") and b"x-tidegate-provider: p2\r\n" in got
        assert house.upstreams[0].closed
        record = books.records[0]
        assert (record.provider, record.end, record.cost) == ("p2", "complete", 20_000)
        assert [(a.provider, a.status, a.reason) for a in record.attempts] == [("p1", 0, "hedge_lost"), ("p2", 200, "")]
        assert record.waste == record.attempts[0].waste == 10_000

    scene(play, plan())


def test_the_first_may_still_win() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await late(house, client)
        house.upstreams[0].says(whole(200, completion()))
        assert b"x-tidegate-provider: p1\r\n" in client.hears()
        assert house.upstreams[1].closed and books.records[0].provider == "p1"

    scene(play, plan())


def test_of_two_streams_the_first_content_wins_not_the_first_head() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await late(house, client, stream=True)
        house.upstreams[0].says(STREAM_HEAD + piece(chunk({"role": "assistant"})))
        house.upstreams[1].says(STREAM_HEAD + piece(chunk({"content": "two"})))
        await settle()
        house.upstreams[1].says(piece(chunk({}, "stop") + USAGE + DONE) + END)
        got = client.hears()
        assert b"x-tidegate-provider: p2\r\n" in got and b"two" in got
        assert unchunked(got.partition(b"\r\n\r\n")[2]).endswith(DONE.encode())
        assert house.upstreams[0].closed and books.records[0].provider == "p2"

    scene(play, plan())


def test_what_the_loser_cost_is_paid_where_everything_is_billed() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await late(house, client)
        house.upstreams[1].says(whole(200, completion()))
        client.hears()
        record = books.records[0]
        assert record.cost == 20_000 + record.waste == sum(part.nusd for part in record.parts)

    scene(play, plan(), bill="all")


def test_one_that_fails_leaves_the_race_to_the_other() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await late(house, client)
        house.upstreams[0].says(whole(500, BAD))
        await settle()
        assert client.hears() == b""
        house.upstreams[1].says(whole(200, completion()))
        assert b"x-tidegate-provider: p2\r\n" in client.hears()
        assert [(a.provider, a.status) for a in books.records[0].attempts] == [("p1", 502), ("p2", 200)]

    scene(play, plan())


def test_when_both_fail_nobody_is_asked_twice() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await late(house, client)
        house.upstreams[1].says(whole(500, BAD))
        house.upstreams[0].says(whole(500, BAD))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 502 ") and body_of(got)["error"]["type"] == "server_error"
        assert len(house.connected) == 2

    scene(play, plan())


def test_a_client_that_leaves_ends_both() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        await late(house, client)
        client.leaves()
        await settle()
        assert house.upstreams[0].closed and house.upstreams[1].closed
        record = books.records[0]
        assert record.end == "cancelled" and [a.reason for a in record.attempts] == ["hedge_lost"]

    scene(play, plan())


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"hedge_after": -1.0}, {}),
        ({"hedge_share": 0.0}, {}),
        ({"hedge_after": 0.0}, {}),
        ({}, {"store": True}),
    ],
)
def test_no_hedge_without_the_word_the_share_a_p95_or_a_call_that_may_be_repeated(
    settings: dict[str, Any], more: dict[str, Any]
) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(**more)))
        await settle()
        house.pass_time(5.0)
        await settle()
        assert house.connected == ["10.0.0.1:80"]
        house.upstreams[0].says(whole(200, completion()))
        client.hears()

    scene(play, plan(**settings))


def test_the_p95_of_the_target_is_learnt_from_its_answers() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        for _ in range(150):
            client.says(ask(chat()))
            await settle()
            house.upstreams[0].says(whole(200, completion()))
            client.hears()
        client.says(ask(chat()))
        await settle()
        house.pass_time(0.5)
        await settle()
        assert house.connected == ["10.0.0.1:80", "10.0.0.2:80"]
        house.upstreams[1].says(whole(200, completion()))
        client.hears()

    scene(play, plan(hedge_after=0.0))


@pytest.mark.parametrize(
    ("left", "waste"),
    [
        (1, 10_000 + 10_000),  # its bill came: 10 tokens in, 5 out
        (len('"total_tokens": 15}}'), 10_000 + 10_000),
        (len('"completion_tokens": 5, "total_tokens": 15}}'), 10_000 + 6_000),
        (len(', "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}'), 10_000 + 6_000),
        (len(json.dumps(completion("hello there"))), 10_000),
    ],
)
def test_a_whole_answer_that_breaks_off_is_waste_by_its_bill_or_by_what_came(left: int, waste: int) -> None:
    """Without its bill it is a token for four letters: ten of the question, three of "hello there" (LLM 10)."""

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({**chat(), "messages": [{"role": "user", "content": "four" * 10}]}))
        await settle()
        answer = whole(200, completion("hello there"))
        house.upstreams[0].says(answer[: len(answer) - left])
        await settle()
        house.upstreams[0].leaves()
        await settle()
        house.upstreams[1].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        record = books.records[0]
        assert (record.provider, record.cost) == ("p2", 20_000)
        assert record.waste == record.attempts[0].waste == waste

    scene(play, models(model("fast", target(provider(1)), target(provider(2), "other", 1), retry=0)))


def test_a_head_that_never_came_costs_nothing() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-")
        house.upstreams[0].leaves()
        await settle()
        house.upstreams[1].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert books.records[0].waste == 0

    scene(play, models(model("fast", target(provider(1)), target(provider(2), "other", 1), retry=0)))
