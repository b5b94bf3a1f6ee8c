"""The loop over targets (LLM 9, 5.11)."""

from __future__ import annotations

import pytest
from conversation import House, Side, settle
from model_house import (
    CHAT,
    DONE,
    END,
    ONE,
    STREAM_HEAD,
    TWO,
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

from tidegate.ports.models import CatalogueRow, CredentialPlan, ModelPlan

BAD = {"error": {"message": "no", "type": "server_error"}}


def test_the_same_target_is_tried_again_as_often_as_the_model_says_then_the_next() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(500, BAD))
        await settle()
        assert house.connected == ["10.0.0.1:80"]
        house.pass_time(0.2)
        await settle()
        house.upstreams[0].says(whole(500, BAD))
        await settle()
        assert house.connected == ["10.0.0.1:80", "10.0.0.2:80"]
        house.upstreams[1].says(whole(200, completion()))
        got = client.hears()
        assert b"x-tidegate-attempts: 3\r\n" in got and b"server-timing: upstream;dur=" in got
        assert [(a.provider, a.status) for a in books.records[0].attempts] == [("p1", 502), ("p1", 502), ("p2", 200)]

    scene(play, TWO, expose="full")


def test_a_target_that_cannot_be_reached_is_left_for_the_next() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.refusing["10.0.0.1:80"] = ConnectionRefusedError()
        client.says(ask(chat()))
        for _ in range(4):
            await settle()
            house.pass_time(0.2)
        await settle()
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert house.connected == ["10.0.0.2:80"]

    scene(play, TWO)


def test_four_attempts_are_the_most() -> None:
    plan = models(model("fast", *[target(provider(n), index=n) for n in (1, 2, 3, 4, 5)], retry=0))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        for number in range(4):
            await settle()
            house.upstreams[number].says(whole(500, BAD))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 502 ") and b"x-should-retry: true\r\n" in got
        assert body_of(got)["error"]["type"] == "server_error"
        assert len(house.connected) == 4

    scene(play, plan)


def test_a_dead_kept_connection_is_replaced_without_counting_as_a_try() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(200, completion()))
        client.hears()
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].leaves(ConnectionResetError())
        await settle()
        house.upstreams[1].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert len(books.records[1].attempts) == 1

    scene(play, ONE)


def test_credentials_take_turns_and_one_that_was_refused_rests_while_another_serves() -> None:
    keys = tuple(CredentialPlan(f"c{n}", (("authorization", f"Bearer k{n}"),)) for n in (1, 2, 3))
    plan = models(model("fast", target(provider(1, credentials=keys)), retry=0))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        used = []

        async def next_answer(status: int, body: object) -> None:
            heard = house.upstreams[-1].hears()
            used.append(heard[heard.index(b"Bearer ") + 7 :][:2].decode())
            house.upstreams[-1].says(whole(status, body))
            await settle()

        for turn in range(7):
            client.says(ask(chat()))
            await settle()
            if turn == 3:
                await next_answer(401, BAD)
            await next_answer(200, completion())
            assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert used == ["k1", "k2", "k3", "k1", "k2", "k3", "k2", "k2"]
        assert [a.reason for a in books.records[3].attempts] == ["upstream_auth", ""]

    scene(play, plan)


def test_a_key_that_may_not_use_one_model_rests_for_that_model_alone() -> None:
    one = provider(1)
    plan = models(model("new", target(one, "up-new"), retry=0), model("fast", target(one), retry=0))
    denied = {"error": {"message": "Project has no access to model up-new", "code": "model_not_found"}}

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("new")))
        await settle()
        house.upstreams[-1].says(whole(403, denied))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 502 ") and b"x-should-retry: false" in got and b"up-new" not in got
        client.says(ask(chat("fast")))
        await settle()
        house.upstreams[-1].says(whole(200, completion()))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        assert house.runtime.models.cooldowns.explain(house.runtime.clock()) == {"p1|c1|up-new": 1.0}

    scene(play, plan)


def test_a_key_that_has_asked_too_often_leaves_the_call_to_the_other_at_once() -> None:
    keys = tuple(CredentialPlan(f"c{n}", (("authorization", f"Bearer k{n}"),)) for n in (1, 2))
    plan = models(model("fast", target(provider(1, credentials=keys)), retry=0))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[-1].says(whole(429, BAD, "retry-after: 30"))
        await settle()
        assert b"Bearer k2\r\n" in house.upstreams[-1].hears()
        house.upstreams[-1].says(whole(429, BAD, "retry-after: 20"))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 429 ") and house.upstreams[-1].hears() == b""

    scene(play, plan)


def test_a_provider_has_no_more_calls_than_its_bulkhead() -> None:
    plan = models(model("fast", target(provider(1, in_flight=1)), target(provider(2), "other", 1)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        second = house.client()
        second.says(ask(chat()))
        await settle()
        assert house.connected == ["10.0.0.1:80", "10.0.0.2:80"]
        house.upstreams[1].says(whole(200, completion()))
        house.upstreams[0].says(whole(200, completion()))
        assert second.hears().startswith(b"HTTP/1.1 200 ") and client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, plan)


@pytest.mark.parametrize("body", ["<html>oops</html>", "", "[1]"])
def test_an_answer_that_is_none_is_a_fault_of_the_target(body: str) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(200, body))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 502 ")

    plan = models(ModelPlan("fast", (target(provider(1)),), retry=0))
    scene(play, plan)


def test_an_empty_stream_is_a_fault_of_the_target() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        house.upstreams[0].says(STREAM_HEAD + END)
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 502 ")

    scene(play, models(ModelPlan("fast", (target(provider(1)),), retry=0)))


def test_a_whole_answer_to_a_call_for_a_stream_becomes_one() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        house.upstreams[0].says(whole(200, completion("hello")))
        said = unchunked(client.hears().partition(b"\r\n\r\n")[2])
        assert b"hello" in said and said.endswith(DONE.encode())
        assert books.records[0].cost == 20_000

    scene(play, ONE)


def test_the_deadline_of_the_route_holds_for_all_tries_together() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.pass_time(5.1)
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 504 ")
        assert house.connected == ["10.0.0.1:80"]
        assert body_of(got)["error"]["type"] == "server_error"

    scene(play, TWO, request=5.0)


def test_figures_of_a_target_are_kept() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        house.pass_time(1.0)
        house.upstreams[0].says(STREAM_HEAD + piece(chunk({"content": "a"})))
        house.pass_time(1.0)
        house.upstreams[0].says(piece(USAGE + DONE) + END)
        figures = house.runtime.models.of("p1/up-model")
        assert (round(figures.ttft, 1), round(figures.rate, 1)) == (1.0, 5.0)

    scene(play, ONE)
    assert CHAT.name == "openai_chat"


def test_a_provider_that_says_it_has_no_room_left_is_left_alone_before_it_refuses() -> None:
    plan = models(model("fast", target(provider(1, quota_fields="openai")), target(provider(2), "other", 1)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        used = []
        for seconds in (0.0, 5.0, 6.0):
            house.pass_time(seconds)
            client.says(ask(chat()))
            await settle()
            answering = house.upstreams[-1] if house.upstreams[-1].hears() else house.upstreams[0]
            answering.says(
                whole(200, completion(), "x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 10s")
            )
            got = client.hears()
            used.append(b"x-tidegate-provider: p1" in got)
        assert used == [True, False, True]

    scene(play, plan)


@pytest.mark.parametrize(("on", "asked"), [(frozenset(), ["10.0.0.3:80"]), (frozenset({"length"}), ["10.0.0.2:80"])])
def test_what_is_too_long_is_asked_of_a_larger_window_unless_the_model_wants_any(
    on: frozenset[str], asked: list[str]
) -> None:
    windows = (100_000, 50_000, 200_000)
    targets = [target(provider(n + 1), index=n, catalogue=CatalogueRow(window=size)) for n, size in enumerate(windows)]
    error = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(400, error))
        await settle()
        assert house.connected[1:] == asked
        house.upstreams[1].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, models(model("fast", *targets, on=on)))
