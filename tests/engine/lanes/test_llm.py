"""One model call through the lane, as its client and its provider hear it (LLM 9.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    ANTHROPIC,
    DONE,
    END,
    ONE,
    STREAM_HEAD,
    TWO,
    USAGE,
    MemoryBooks,
    ask,
    asked_of,
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


def test_bytes_pass_but_for_the_models_name() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        body = '{"messages": [{"role":"user","content":"hi"}],  "model" : "fast", "x_unknown": 1.50}'
        client.says(ask(body, authorization="Bearer mine"))
        await settle()
        heard = house.upstreams[0].hears()
        head, _, sent = heard.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 10.0.0.1\r\n")
        assert b"authorization: Bearer key-1\r\n" in head and b"mine" not in head
        assert sent == body.replace('"fast"', '"up-model"').encode()
        answer = json.dumps(completion(), indent=1)
        house.upstreams[0].says(whole(200, answer, "x-request-id: req-9", "x-ratelimit-limit: 5", "set-cookie: a=b"))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"\r\n\r\n" + answer.encode())
        assert b"\r\nx-tidegate-model: up-model\r\nx-tidegate-provider: p1\r\n" in got
        assert b"\r\nx-tidegate-upstream-request-id: req-9\r\n" in got
        assert b"\r\nx-tidegate-cost: 0.00002\r\n" in got
        assert b"set-cookie" not in got and b"ratelimit" not in got
        record = books.records[0]
        assert (record.cost, record.provider, record.model, record.asked) == (20_000, "p1", "up-model", "fast")
        assert record.usage is not None and (record.usage.input, record.usage.output) == (10, 5)

    scene(play, ONE)


def test_a_stream_passes_and_its_usage_chunk_is_asked_for_and_hidden() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        up = house.upstreams[0]
        _, _, sent = asked_of(up)
        assert sent["stream_options"] == {"include_usage": True}
        up.says(STREAM_HEAD)
        up.says(piece(chunk({"role": "assistant", "content": ""})))
        assert client.hears() == b""
        up.says(piece(chunk({"content": "hel"})))
        head, _, body = client.hears().partition(b"\r\n\r\n")
        assert b"content-type: text/event-stream" in head and b"x-tidegate-provider: p1" in head
        assert unchunked(body).decode() == chunk({"role": "assistant", "content": ""}) + chunk({"content": "hel"})
        up.says(piece(chunk({"content": "lo"})[:20]))
        assert client.hears() == b""
        up.says(piece(chunk({"content": "lo"})[20:] + chunk({}, "stop")))
        assert unchunked(client.hears()).decode() == chunk({"content": "lo"}) + chunk({}, "stop")
        assert books.records == []
        up.says(piece(USAGE + DONE) + END)
        rest = client.hears()
        assert unchunked(rest).decode() == ": x-tidegate-cost: 0.00002\n\n" + DONE
        assert rest.endswith(b"0\r\n\r\n")
        assert books.records[0].cost == 20_000

    scene(play, ONE)


def test_a_client_that_asks_for_usage_gets_it() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True, stream_options={"include_usage": True})))
        await settle()
        house.upstreams[0].says(STREAM_HEAD + piece(chunk({"content": "a"}) + chunk({}, "stop") + USAGE + DONE) + END)
        assert USAGE in unchunked(client.hears().partition(b"\r\n\r\n")[2]).decode()

    scene(play, ONE, expose="none")


@pytest.mark.parametrize("status", [500, 503, 429, 401, 404])
def test_a_fault_before_content_goes_to_the_next_target(status: int) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        for _ in range(2):
            if house.connected[-1] != "10.0.0.1:80" or not (heard := house.upstreams[-1].hears()):
                break
            assert b'"model": "up-model"' in heard
            house.upstreams[-1].says(whole(status, {"error": {"message": "no", "type": "x", "code": None}}))
            await settle()
            house.pass_time(0.2)
            await settle()
        assert house.connected[-1] == "10.0.0.2:80"
        house.upstreams[-1].says(whole(200, completion()))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 ") and b"x-tidegate-provider: p2\r\n" in got
        attempts = books.records[0].attempts
        assert [a.provider for a in attempts][-1] == "p2" and len(attempts) == (3 if status in (500, 503, 429) else 2)

    scene(play, TWO)


def test_an_invalid_request_is_not_tried_on_five_vendors() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(400, {"error": {"message": "bad temperature", "type": "invalid_request_error"}}))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 400 ") and b"x-should-retry: false\r\n" in got
        assert body_of(got)["error"]["type"] == "invalid_request_error"
        assert house.connected == ["10.0.0.1:80"]
        assert books.records == [] and len(books.released) == 1

    scene(play, TWO)


def test_another_dialect_is_translated_both_ways() -> None:
    plan = models(model("fast", target(provider(1, ANTHROPIC), "claude")))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        line, _, sent = asked_of(house.upstreams[0])
        assert line == "POST /v1/messages HTTP/1.1"
        assert (sent["model"], sent["messages"][0]["role"]) == ("claude", "user")
        house.upstreams[0].says(
            whole(200, {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1",
                        "content": [{"type": "text", "text": "bonjour"}], "stop_reason": "end_turn",
                        "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 5}})
        )  # fmt: skip
        got = client.hears()
        said = body_of(got)
        assert said["object"] == "chat.completion" and said["choices"][0]["message"]["content"] == "bonjour"
        assert books.records[0].served == "claude-1" and books.records[0].cost == 20_000

    scene(play, plan)


def events(*items: tuple[str, Any]) -> str:
    return "".join(f"event: {name}\ndata: {json.dumps({'type': name, **body})}\n\n" for name, body in items)


MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1", "content": [], "stop_reason": None,
    "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1},
}  # fmt: skip
START = ("message_start", {"message": MESSAGE})
OPEN = ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})


def text(said: str) -> tuple[str, Any]:
    return ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": said}})


CLOSE = ("content_block_stop", {"index": 0})
STOP = ("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 5}})
LAST = ("message_stop", {})


def test_a_translated_stream_is_event_by_event_and_ends_behind_the_books() -> None:
    plan = models(model("fast", target(provider(1, ANTHROPIC), "claude")))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        up = house.upstreams[0]
        up.hears()
        up.says(STREAM_HEAD + piece(events(START, OPEN)))
        assert client.hears() == b""
        up.says(piece(events(text("bon"))))
        assert b'"bon"' in client.hears()
        up.says(piece(events(text("jour"), CLOSE, STOP, LAST)) + END)
        rest = client.hears()
        assert b"[DONE]" in rest and rest.endswith(b"0\r\n\r\n")
        assert rest.index(b"x-tidegate-cost: 0.00002") < rest.index(b"[DONE]")
        record = books.records[0]
        assert (record.stop, record.served, record.cost) == ("stop", "claude-1", 20_000)

    scene(play, plan)


def test_an_error_behind_an_early_start_still_goes_to_the_next_target() -> None:
    plan = models(
        model("fast", target(provider(1, ANTHROPIC), "claude"), target(provider(2, ANTHROPIC), "other", index=1))
    )

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True, max_tokens=9), "/v1/messages"))
        await settle()
        error = ("error", {"error": {"type": "overloaded_error", "message": "busy"}})
        house.upstreams[0].says(STREAM_HEAD + piece(events(START, error)) + END)
        await settle()
        house.pass_time(0.2)
        await settle()
        house.upstreams[0].says(STREAM_HEAD + piece(events(START, error)) + END)
        await settle()
        assert house.connected == ["10.0.0.1:80", "10.0.0.2:80"]
        good = events(START, OPEN, text("yes"), CLOSE, STOP)
        house.upstreams[1].says(STREAM_HEAD + piece(good))
        body = unchunked(client.hears().partition(b"\r\n\r\n")[2]).decode()
        assert body == good
        house.upstreams[1].says(piece(events(LAST)) + END)
        assert b"message_stop" in client.hears()

    scene(play, plan)


@pytest.mark.parametrize("dialect", ["pass", "translate"])
def test_a_stream_that_breaks_ends_with_an_error_event_of_the_clients_dialect(dialect: str) -> None:
    plan = ONE if dialect == "pass" else models(model("fast", target(provider(1, ANTHROPIC), "claude")))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        up = house.upstreams[0]
        said = chunk({"content": "a"}) if dialect == "pass" else events(START, OPEN, text("a"))
        up.says(STREAM_HEAD + piece(said + 'data: {"half"'))
        client.hears()
        up.leaves(ConnectionResetError())
        rest = client.hears()
        assert b'"half"' not in rest
        assert b'"error"' in rest and b"[DONE]" not in rest and rest.endswith(b"0\r\n\r\n")
        assert house.record.end == "cut"
        assert books.records[0].end == "cut" and "estimated" in books.records[0].flags if dialect == "pass" else True

    scene(play, plan)


def test_a_client_that_leaves_frees_the_target_at_once_and_is_billed_for_what_came() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        up = house.upstreams[0]
        up.says(STREAM_HEAD + piece(chunk({"content": "a"}) + chunk({"content": "b"})))
        client.leaves()
        assert up.closed
        record = books.records[0]
        assert record.end == "cancelled" and record.cost > 0 and record.usage is not None
        assert record.usage.source == "estimated"

    scene(play, ONE)


def test_the_status_line_waits_ten_seconds_at_most_and_a_fallback_is_possible_even_then() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        house.pass_time(9.5)
        assert client.hears() == b""
        house.pass_time(1.0)
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        house.pass_time(15.1)
        assert unchunked(client.hears()).startswith(b":")
        house.upstreams[0].says(whole(500, {"error": {"message": "x"}}))
        await settle()
        house.pass_time(0.2)
        await settle()
        house.upstreams[0].says(whole(500, {"error": {"message": "x"}}))
        await settle()
        house.upstreams[1].says(STREAM_HEAD + piece(chunk({"content": "b"}) + chunk({}, "stop") + USAGE + DONE) + END)
        assert b"[DONE]" in client.hears()

    scene(play, TWO)


def test_a_target_without_content_in_time_is_left_for_the_next() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        house.upstreams[0].says(STREAM_HEAD + piece(chunk({"role": "assistant"})))
        house.pass_time(5.1)
        await settle()
        assert house.upstreams[0].closed and house.connected[-1] == "10.0.0.2:80"
        house.upstreams[1].says(STREAM_HEAD + piece(chunk({"content": "b"}) + chunk({}, "stop") + USAGE + DONE) + END)
        assert b"[DONE]" in client.hears()

    scene(play, TWO, first=5.0)


def test_a_stream_that_falls_silent_is_ended() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(stream=True)))
        await settle()
        house.upstreams[0].says(STREAM_HEAD + piece(chunk({"content": "a"})))
        client.hears()
        house.pass_time(61.0)
        assert b'"error"' in client.hears()
        assert books.records[0].code == "upstream_timeout"

    scene(play, TWO)
