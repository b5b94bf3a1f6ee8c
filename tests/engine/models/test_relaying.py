"""Streams on their way: pressure, heartbeats, bounds, what comes after the end (LLM 4, 5.10, 9)."""

from __future__ import annotations

import json

from conversation import House, Side, settle
from model_house import (
    CHAT,
    DONE,
    END,
    ONE,
    SPOKEN,
    STREAM_HEAD,
    USAGE,
    MemoryBooks,
    ask,
    chat,
    chunk,
    model,
    models,
    piece,
    provider,
    scene,
    target,
    unchunked,
)

from tidegate.engine.models.relaying import without


async def begun(house: House, client: Side, **more: object) -> Side:
    client.says(ask(chat(stream=True, **more)))
    await settle()
    up = house.upstreams[0]
    up.hears()
    up.says(STREAM_HEAD + piece(chunk({"content": "a"})))
    client.hears()
    return up


def test_a_slow_client_slows_the_target_and_is_not_taken_for_a_silent_target() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        client.is_stuck(100_000)
        assert not up.transport.reading
        house.pass_time(20.0)
        client.transport.stuck = 20_000
        house.pass_time(20.0)
        client.reads_on()
        assert up.transport.reading
        up.says(piece(USAGE + DONE) + END)
        assert b"[DONE]" in client.hears()

    scene(play, ONE, idle=15.0)


def test_a_silence_is_filled_with_comments() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        house.pass_time(31.0)
        assert unchunked(client.hears()).count(b":") == 2
        up.says(piece(USAGE + DONE) + END)
        client.hears()

    scene(play, ONE)


def test_usage_may_come_behind_the_end_and_a_target_that_never_sends_it_is_not_waited_for_long() -> None:
    async def late(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        up.says(piece(DONE))
        assert client.hears() == b""
        up.says(piece(USAGE) + END)
        assert b"[DONE]" in client.hears()
        assert books.records[0].cost == 20_000

    async def never(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        up.says(piece(DONE))
        house.pass_time(1.1)
        assert b"[DONE]" in client.hears()
        assert books.records[0].flags == ("estimated",)
        house.pass_time(2.1)
        assert up.closed

    scene(late, ONE)
    scene(never, ONE)


def test_a_connection_is_used_again_when_its_body_ended_in_time() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        up.says(piece(USAGE + DONE))
        assert b"[DONE]" in client.hears()
        up.says(END)
        client.says(ask(chat(stream=True)))
        await settle()
        assert len(house.upstreams) == 1
        up.says(STREAM_HEAD + piece(chunk({"content": "a"}) + USAGE + DONE) + END)

    scene(play, ONE)


def test_an_event_without_end_is_refused() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        for _ in range(18):
            if not up.closed:
                up.says(piece("x" * 65_536))
        assert up.closed
        assert b'"error"' in client.hears()

    scene(play, ONE)


def test_an_error_that_the_target_tells_itself_is_told_in_our_words_and_is_the_last() -> None:
    """LLM 5.11: its text may name keys, accounts and hosts; and ``event: error`` makes both openai SDKs raise."""

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        error = 'data: {"error":{"message":"boom","type":"server_error"}}\n\n'
        up.says(piece(error) + END)
        said = unchunked(client.hears()).decode()
        assert said.startswith("event: error\ndata: ") and "boom" not in said and said.count("data: ") == 1
        assert json.loads(said.partition("data: ")[2])["error"]["type"] == "server_error"
        assert books.records[0].end == "cut" and house.record.end == "cut"

    scene(play, ONE)


def test_events_of_gemini_become_one_array_for_a_client_that_asked_for_none() -> None:
    from tidegate.ports.models import DoorPlan, ProviderPlan

    door = DoorPlan("chat", SPOKEN["gemini_generate"], "provider:p1", "/v1beta/models/{model}:{action}")
    speaks = ProviderPlan("p1", "gemini", "gemini", {"chat": door}, (door,), ())
    plan = models(model("fast", target(speaks)), dialects={**SPOKEN, "openai_chat": CHAT})

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"contents": []}, "/v1beta/models/fast:streamGenerateContent"))
        await settle()
        assert b":streamGenerateContent?alt=sse HTTP/1.1\r\n" in house.upstreams[0].hears()
        first = '{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}'
        stop = '{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}'
        last = f'{{"candidates":[{stop}],"usageMetadata":{{"promptTokenCount":10,"candidatesTokenCount":5}}}}'
        house.upstreams[0].says(STREAM_HEAD + piece(f"data: {first}\n\n") + piece(f"data: {last}\n\n") + END)
        head, _, body = client.hears().partition(b"\r\n\r\n")
        assert b"content-type: application/json" in head
        assert unchunked(body).decode() == f"[{first},\r\n{last}]"
        assert books.records[0].cost == 20_000

    scene(play, plan)


def test_hidden_events_leave_and_comments_between_them_stay() -> None:
    raw = b": hello\n\ndata: a\n\ndata: b\r\n\r\n"
    assert without(raw, 2, [0]) == b": hello\n\ndata: b\r\n\r\n"
    assert without(raw, 2, [1]) == b": hello\n\ndata: a\n\n"


def test_a_vendor_that_goes_on_when_its_client_leaves_is_read_to_its_usage_and_paid() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        client.leaves()
        assert not up.closed and books.records == []
        up.says(piece(chunk({"content": "b"}) + USAGE + DONE) + END)
        assert [(r.cost, r.end) for r in books.records] == [(20_000, "cancelled")]

    async def silent(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        client.leaves()
        house.pass_time(65.0)
        assert up.closed and [(r.flags, r.end) for r in books.records] == [(("estimated",), "cancelled")]

    plan = models(model("fast", target(provider(1, stops_on_cancel=False))))
    scene(play, plan)
    scene(silent, plan)


def test_half_an_event_is_not_passed_on_and_ends_the_stream() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await begun(house, client)
        up.says(piece('data: {"choices":[{"delta":{"content":"more"}}]}\n\ndata: {"choices":[{"ind\n\n') + END)
        said = unchunked(client.hears()).decode()
        assert said.startswith('data: {"choices":[{"delta":{"content":"more"}}]}\n\nevent: error\n')
        assert said.count("data: ") == 2
        assert books.records[0].end == "cut"
        assert books.records[0].flags == ("estimated",)

    scene(play, ONE)
