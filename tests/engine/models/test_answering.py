"""What the gateway says itself on a model route, in the client's own words (LLM 5.11, 15)."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    DONE,
    END,
    ONE,
    SPOKEN,
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

from tidegate.engine.models.answering import helps, loss_text
from tidegate.exchange.fault import UPSTREAM, Fault
from tidegate.filters.compress import Compress
from tidegate.filters.compress import Config as CompressConfig
from tidegate.ports.authority import LimitSpec, Verdict
from tidegate.ports.models import CatalogueRow, ClampPlan

PLAN = models(model("fast", target(provider(1))), dialects=SPOKEN)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", lambda b: b["error"]["code"] == "model_not_found"),
        ("/v1/responses", lambda b: b["error"]["code"] == "model_not_found"),
        ("/v1/messages", lambda b: b["type"] == "error" and b["error"]["type"] == "not_found_error"),
        ("/v1beta/models/no:generateContent", lambda b: b["error"]["status"] == "NOT_FOUND"),
        ("/model/no/converse", lambda b: "message" in b),
        ("/v1/embeddings", lambda b: b["error"]["code"] == "model_not_found"),
    ],
)
def test_a_fault_of_ours_has_the_shape_of_the_clients_dialect(path: str, shape: Any) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "no", "max_tokens": 1}, path))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 404 ") and b"content-type: application/json\r\n" in got
        assert b"x-should-retry: false\r\n" in got and shape(body_of(got))

    scene(play, PLAN)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/nothing", "/chat/completions"])
def test_so_has_one_of_a_path_that_nobody_serves(path: str) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({}, path))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 404 ") and "error" in body_of(got)

    scene(play, PLAN)


@pytest.mark.parametrize(
    ("expose", "some", "more"), [("none", False, False), ("basic", True, False), ("full", True, True)]
)
def test_the_route_decides_how_much_is_told(expose: str, some: bool, more: bool) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(200, completion()))
        got = client.hears()
        assert (b"x-tidegate-model" in got, b"x-tidegate-cost" in got) == (some, some)
        assert (b"x-tidegate-attempts" in got) is more
        if not some:
            assert b"x-tidegate" not in got

    scene(play, ONE, expose=expose)


def test_what_was_lowered_is_said() -> None:
    plan = models(model("fast", target(provider(1), catalogue=CatalogueRow(max_output=7))))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=9)))
        await settle()
        assert b'"max_completion_tokens":7' in house.upstreams[0].hears().replace(
            b'"max_tokens":7', b'"max_completion_tokens":7'
        )
        house.upstreams[0].says(whole(200, completion()))
        assert b"\r\nx-tidegate-clamped: max_output=7\r\n" in client.hears()

    scene(play, plan)


def test_a_model_may_refuse_instead() -> None:
    plan = models(model("fast", target(provider(1)), clamp=ClampPlan(max_output=7)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=9)))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play, plan)


def test_losses_are_a_structured_list_of_a_kilobyte_at_most() -> None:
    assert loss_text(("temperature", 'a"b\n')) == '"temperature", "ab?"'
    long = loss_text(tuple(f"messages[{n}].thinking" for n in range(200)))
    assert len(long) <= 1024 and long.endswith('"') and ', "+' in long


def test_losses_are_told_and_a_strict_route_refuses_them() -> None:
    from model_house import ANTHROPIC

    plan = models(model("fast", target(provider(1, ANTHROPIC), "claude")))

    async def told(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(seed=3)))
        await settle()
        answer = {
            "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "stop_reason": "end_turn",
            "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
        }  # fmt: skip
        house.upstreams[0].says(whole(200, answer))
        assert b'\r\nx-tidegate-loss: "seed"\r\n' in client.hears()
        assert books.records[0].losses == ("seed",)

    async def refused(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(seed=3)))
        await settle()
        got = client.hears()
        assert (got.startswith(b"HTTP/1.1 400 ") and b"translation_loss" in got) or b"seed" in got
        for side in house.upstreams:
            assert side.hears() == b""

    scene(told, plan)
    scene(refused, plan, loss="refuse")


@pytest.mark.parametrize(
    ("fault", "status", "wanted"),
    [
        (Fault("rate_limited", retry_after=1.0), 429, True),
        (Fault("budget_exceeded"), 429, False),
        (Fault("overloaded", side=UPSTREAM), 529, True),
        (Fault("bad_upstream", reason="upstream_auth", side=UPSTREAM), 502, False),
        (Fault("bad_upstream", reason="upstream_denied", side=UPSTREAM), 502, False),
        (Fault("bad_upstream", reason="reset", side=UPSTREAM), 502, True),
        (Fault("invalid_request"), 400, False),
        (Fault("model_not_found", side=UPSTREAM), 404, False),
    ],
)
def test_sdks_are_told_whether_another_try_can_help(fault: Fault, status: int, wanted: bool) -> None:
    assert helps(fault, status) is wanted


@pytest.mark.parametrize("stream", [False, True])
def test_whole_answers_are_compressed_where_the_route_says_so(stream: bool) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        compress = Compress(CompressConfig(min_size=1), house.tools.for_part("llm/1"))
        route = house.plan.routes[0]
        object.__setattr__(route, "on_response_head", (compress.on_response_head,))
        object.__setattr__(route, "on_response_chunk", ((compress.on_response_chunk, compress.wants_chunks),))
        client.says(ask(chat(stream=stream), accept_encoding="gzip"))
        await settle()
        if stream:
            events = chunk({"content": "a"}) + chunk({}, "stop") + USAGE + DONE
            house.upstreams[0].says(STREAM_HEAD + piece(events) + END)
        else:
            house.upstreams[0].says(whole(200, completion("hello " * 400)))
        head, _, body = client.hears().partition(b"\r\n\r\n")
        if stream:  # events are never compressed (S20.2)
            assert b"content-encoding" not in head and b"[DONE]" in unchunked(body)
            return
        assert b"content-encoding: gzip\r\n" in head
        assert b"hello hello" in zlib.decompress(body, 31)

    scene(play, ONE)


class Window:
    """A limit that says *left* of *amount*."""

    def __init__(self, what: str, amount: int, left: int, allowed: bool = True) -> None:
        self.spec = LimitSpec(f"llm/{what}", "window", amount, 60.0)
        self.verdict = Verdict(allowed, left, 30.0, 0.0 if allowed else 30.0)
        self.taken: list[int] = []

    def take(self, partition: str, cost: int = 1) -> Verdict:
        self.taken.append(cost)
        return self.verdict

    def give_back(self, partition: str, cost: int = 1, taken: float = 0.0) -> None:
        self.taken.append(-cost)


def test_answers_carry_our_limits_and_none_of_the_providers() -> None:
    plan = models(ONE.models["fast"], callers=caller(requests=(Window("r", 100, 99),), tokens=(Window("t", 5000, 10),)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(200, completion(), "x-ratelimit-remaining-requests: 7"))
        got = client.hears()
        assert b'ratelimit: "requests";r=99;t=30, "tokens";r=10;t=30\r\n' in got
        assert b"x-ratelimit-limit-requests: 100\r\n" in got and b"x-ratelimit-remaining-tokens: 10\r\n" in got
        assert got.count(b"x-ratelimit-remaining-requests") == 1

    scene(play, plan, who="bob")


def test_a_refusal_says_what_is_left_and_when_to_come_back() -> None:
    plan = models(ONE.models["fast"], callers=caller(requests=(Window("r", 100, 0, allowed=False),)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 429 ") and b"retry-after: 30\r\n" in got and b"x-should-retry: true" in got
        assert got.count(b'ratelimit: "requests";r=0;t=30\r\n') == 1

    scene(play, plan, who="bob")


def test_wishes_are_kept_refused_when_they_make_no_sense_and_never_travel() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(), tidegate_timeout="2s", tidegate_tags="eval, run=7", tidegate_task="code"))
        await settle()
        assert b"tidegate-" not in house.upstreams[0].hears()
        house.pass_time(2.1)
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 504 ")
        released = books.released[0]
        assert released is not None and released.tags == ("eval", "run=7")
        for wish in ({"tidegate_timeout": "soon"}, {"tidegate_tags": "a b"}, {"tidegate_provider": "nobody"}):
            client.says(ask(chat(), **wish))
            await settle()
            assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play, ONE)


def test_when_all_targets_rest_the_client_hears_when_the_first_is_back() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(429, {"error": {"message": "slow"}}, "retry-after: 40"))
        await settle()
        house.upstreams[1].says(whole(429, {"error": {"message": "slow"}}, "retry-after: 90"))
        await settle()
        assert b"retry-after: 40\r\n" in client.hears()

    scene(play, models(replace(TWO.models["fast"], retry=0)))
