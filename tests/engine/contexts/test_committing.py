"""How turns end: committed before the terminal event, or not told as a success; broken, left, superseded (CRP 5.3, 5.4;
#3, #22, #23, #29, #34; I4)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from context_house import (
    CHAT,
    MESSAGES,
    RESPONSES,
    SlowStore,
    answers,
    asks,
    chat,
    heard,
    one_model,
    play,
    texts,
    turn,
)
from conversation import House, Side, settle
from model_house import DONE, END, STREAM_HEAD, USAGE, MemoryBooks, chunk, completion, piece, unchunked, whole

BODIES: dict[str, dict[str, Any]] = {
    CHAT: chat("one", store=True, stream=True),
    RESPONSES: {"model": "fast", "input": "one", "stream": True},
    MESSAGES: {**chat("one", stream=True), "max_tokens": 9, "context": {"store": "durable"}},
}
TERMINAL = {
    CHAT: (b'"finish_reason":"stop"', b"[DONE]"),
    RESPONSES: (b"event: response.completed",),
    MESSAGES: (b"event: message_delta", b"event: message_stop"),
}
PATHS = [CHAT, RESPONSES, MESSAGES]


def starts(house: House, text: str = "first") -> Side:
    """The provider begins to stream."""
    side = house.upstreams[-1]
    side.says(STREAM_HEAD + piece(chunk({"role": "assistant", "content": text})))
    return side


FINISH = piece(chunk({}, "stop") + USAGE + DONE) + END


def events_of(data: bytes) -> bytes:
    return unchunked(data.partition(b"\r\n\r\n")[2] if data.startswith(b"HTTP") else data)


@pytest.mark.parametrize("path", PATHS)
def test_the_terminal_event_follows_the_commit_22_I4(path: str) -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        gate = store.hold("commit")
        assert texts(await asks(house, client, BODIES[path], path)) == ["one"]
        side = starts(house)
        await settle()
        side.says(FINISH)
        await settle()
        house.pass_time(0.5)
        await settle()
        early = events_of(client.hears())
        assert b"first" in early and not any(word in early for word in TERMINAL[path])
        gate.set()
        await settle()
        late = unchunked(client.hears())
        assert all(word in late for word in TERMINAL[path])
        assert b'"status":"completed"' in late and b'"context":{' in late

    play(scene, one_model(), store=store)


@pytest.mark.parametrize("path", PATHS)
def test_a_whole_answer_follows_the_commit_22(path: str) -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        gate = store.hold("commit")
        await asks(house, client, {**BODIES[path], "stream": False}, path)
        house.upstreams[-1].says(whole(200, completion("first")))
        await settle()
        assert client.hears() == b""
        gate.set()
        await settle()
        assert heard(client)[0] == 200

    play(scene, one_model(), store=store)


@pytest.mark.parametrize("path", PATHS)
def test_a_failed_commit_ends_the_stream_with_its_error_and_no_success_23(path: str) -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        await asks(house, client, BODIES[path], path)
        starts(house)
        await settle()
        store.failing = {"commit"}
        house.upstreams[-1].says(FINISH)
        await settle()
        told = events_of(client.hears())
        assert not any(word in told for word in TERMINAL[path])
        assert b"could not be recorded" in told
        assert b'"code":"commit_failed"' in told

    play(scene, one_model(), store=store)


def test_a_failed_commit_of_a_whole_answer_is_503_23() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        await asks(house, client, chat("one", store=True))
        store.failing = {"commit"}
        status, fields, body = await answers(house, client, "first")
        assert (status, body["error"]["code"]) == (503, "commit_failed")
        assert b"first" not in json.dumps(body).encode() and fields["x-should-retry"] == "true"

    books = MemoryBooks()
    play(scene, one_model(), store=store, books=books)
    assert [record.cost for record in books.records] == [20_000]


def test_the_commit_comes_before_the_ledger() -> None:
    store = SlowStore()
    books = MemoryBooks()

    async def scene(house: House) -> None:
        client = house.client()
        gate = store.hold("commit")
        await asks(house, client, chat("one", store=True))
        house.upstreams[-1].says(whole(200, completion("first")))
        await settle()
        assert books.records == []
        gate.set()
        await settle()
        assert heard(client)[0] == 200

    play(scene, one_model(), store=store, books=books)
    assert len(books.records) == 1


def test_a_client_that_leaves_keeps_what_was_said_and_its_turn_is_incomplete_34() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, _, body, _ = await turn(house, client, chat("one", store=True), "first")
        id = body["context"]["id"]
        await asks(house, client, chat("two", context_id=id, stream=True))
        starts(house, "half of")
        await settle()
        client.leaves()
        await settle()
        other = house.client()
        # another request goes on from what was kept
        _, _, body, asked = await turn(house, other, chat("three", context_id=id), "third")
        assert texts(asked) == ["one", "first", "two", "half of", "three"]

    play(scene, one_model())


def test_an_identical_resend_replaces_an_incomplete_turn_34() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, _, body, _ = await turn(house, client, chat("one", store=True), "first")
        id = body["context"]["id"]
        again = chat("two", context_id=id, stream=True)
        await asks(house, client, again)
        starts(house, "half of")
        await settle()
        client.leaves()
        await settle()
        other = house.client()
        assert texts(await asks(house, other, again)) == ["one", "first", "two"]
        starts(house, "second")
        house.upstreams[-1].says(FINISH)
        await settle()
        assert b'"parent":"%b"' % body["context"]["version"].encode() in events_of(other.hears())
        _, _, _, asked = await turn(house, other, chat("three", context_id=id), "third")
        assert texts(asked) == ["one", "first", "two", "second", "three"]

    play(scene, one_model())


def test_a_client_that_leaves_before_the_first_word_leaves_its_input() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        await asks(house, client, chat("one", session_id="s"))
        client.leaves()
        await settle()
        _, _, _, asked = await turn(house, house.client(), chat("two", session_id="s"), "second")
        assert texts(asked) == ["one", "two"]

    play(scene, one_model())


def test_a_client_that_leaves_while_the_turn_is_reserved_leaves_no_lease() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        gate = store.hold("begin")
        await asks(house, client, chat("one", session_id="s"))
        client.leaves()
        await settle()
        gate.set()
        await settle()
        assert house.upstreams == [] and store.calls[-1] == "commit"
        _, _, _, asked = await turn(house, house.client(), chat("two", session_id="s"), "second")
        assert texts(asked) == ["one", "two"]

    play(scene, one_model(), store=store)


def test_a_client_that_leaves_during_the_commit_leaves_a_whole_turn_I4() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        gate = store.hold("commit")
        await asks(house, client, chat("one", session_id="s"))
        house.upstreams[-1].says(whole(200, completion("first")))
        await settle()
        client.leaves()
        await settle()
        gate.set()
        await settle()
        assert store.calls.count("commit") == 1
        _, _, _, asked = await turn(house, house.client(), chat("two", session_id="s"), "second")
        assert texts(asked) == ["one", "first", "two"]

    play(scene, one_model(), store=store)


def test_with_a_key_the_model_finishes_though_the_client_has_left() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        body = chat("one", session_id="s")
        await asks(house, client, body, idempotency_key="k1")
        client.leaves()
        await settle()
        house.upstreams[-1].says(whole(200, completion("first")))
        await settle()
        status, fields, again, asked = await turn(house, house.client(), body, "", idempotency_key="k1")
        assert (status, asked, fields["context-replayed"]) == (200, None, "?1")
        assert again["choices"][0]["message"]["content"] == "first"

    play(scene, one_model())


def test_a_stream_finishes_too_where_the_client_wants_it() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        await asks(house, client, chat("one", session_id="s", stream=True, context={"on_disconnect": "finish"}))
        starts(house)
        await settle()
        client.leaves()
        await settle()
        house.upstreams[-1].says(piece(chunk({"content": " and last"})) + FINISH)
        await settle()
        _, _, _, asked = await turn(house, house.client(), chat("two", session_id="s"), "second")
        assert texts(asked) == ["one", "first and last", "two"]

    play(scene, one_model())


def test_a_provider_that_breaks_off_leaves_an_incomplete_turn() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        await asks(house, client, chat("one", session_id="s", stream=True))
        starts(house, "half of")
        await settle()
        house.upstreams[-1].leaves()
        await settle()
        assert b'"finish_reason":"stop"' not in client.hears()
        _, _, _, asked = await turn(house, house.client(), chat("two", session_id="s"), "second")
        assert texts(asked) == ["one", "half of", "two"]

    play(scene, one_model())


def test_a_call_that_was_broken_off_is_not_kept_for_nobody_will_answer_it() -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a'}}

    async def scene(house: House) -> None:
        client = house.client()
        await asks(house, client, chat("one", session_id="s", stream=True))
        side = starts(house, "wait")
        side.says(piece(chunk({"tool_calls": [call]})))
        await settle()
        client.leaves()
        await settle()
        _, _, _, asked = await turn(house, house.client(), chat("two", session_id="s"), "second")
        assert texts(asked) == ["one", "wait", "two"]

    play(scene, one_model())


def test_a_lease_is_renewed_with_what_has_been_said_29() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        await asks(house, client, chat("one", session_id="s", stream=True))
        starts(house, "so far")
        for _ in range(8):
            house.pass_time(5.1)
            await settle()
        assert store.calls.count("renew") == 8
        house.upstreams[-1].says(FINISH)
        await settle()
        assert b'"finish_reason":"stop"' in client.hears()

    play(scene, one_model(), store=store, idle=600.0, first=600.0)


def test_a_turn_that_is_left_renews_no_more() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        await turn(house, client, chat("one", session_id="s"), "first")
        house.pass_time(20.0)
        await settle()
        assert "renew" not in store.calls

    play(scene, one_model(), store=store)


def test_nothing_is_written_where_the_client_wants_nothing_stored() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        client = house.client()
        _, _, body, _ = await turn(house, client, chat("one", store=True), "first")
        context = body["context"]
        wish = {"model": "fast", "input": "two", "store": False,
                "previous_response_id": "resp_" + context["version"][3:]}  # fmt: skip
        store.calls.clear()
        status, _, body, asked = await turn(house, client, wish, "second", RESPONSES)
        assert (status, texts(asked)) == (200, ["one", "first", "two"])
        assert not {"begin", "commit"} & set(store.calls)
        _, _, _, asked = await turn(house, client, chat("three", context_id=context["id"]), "third")
        assert texts(asked) == ["one", "first", "three"]

    play(scene, one_model(), store=store)
