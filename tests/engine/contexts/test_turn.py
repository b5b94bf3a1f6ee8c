"""Turns of kept conversations on a whole engine: three dialects, plain and streamed (CRP 3, 5; #1, #2, #3, #21)."""

from __future__ import annotations

import json

from context_house import MESSAGES, RESPONSES, chat, one_model, play, turn
from conversation import House, settle
from model_house import DONE, END, STREAM_HEAD, USAGE, ask, asked_of, chunk, piece, unchunked


def test_two_chat_turns_a_response_and_a_message_are_one_conversation_1_2() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        status, fields, first, asked = await turn(house, client, chat("one", store=True), "first")
        assert (status, asked["messages"]) == (200, [{"role": "user", "content": "one"}])
        context = first["context"]
        ulid = context["version"][3:]
        assert (first["id"], fields["context-version"]) == ("chatcmpl-" + ulid, "cv_" + ulid)
        assert (fields["context-id"], context["status"], context["level"]) == (context["id"], "completed", "id")
        assert "parent" not in context and "store" not in asked

        _, fields, second, asked = await turn(house, client, chat("two", context_id=context["id"]), "second")
        assert [m["content"] for m in asked["messages"]] == ["one", "first", "two"]
        assert second["context"]["parent"] == fields["context-parent"] == context["version"]

        body = {"model": "fast", "input": "three", "previous_response_id": second["id"].replace("chatcmpl-", "resp_")}
        _, _, third, asked = await turn(house, client, body, "third", RESPONSES)
        assert [m["content"] for m in asked["messages"]] == ["one", "first", "two", "second", "three"]
        assert third["id"] == "resp_" + third["context"]["version"][3:]
        assert third["previous_response_id"] == body["previous_response_id"]
        assert third["conversation"] == {"id": "conv_" + context["id"][4:]}

        body = {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "four"}],
                "context": {"parent": third["context"]["version"]}}  # fmt: skip
        _, _, fourth, asked = await turn(house, client, body, "fourth", MESSAGES)
        assert [m["content"] for m in asked["messages"]] == [
            "one", "first", "two", "second", "three", "third", "four",
        ]  # fmt: skip
        assert fourth["id"] == "msg_" + fourth["context"]["version"][3:]
        assert fourth["context"]["id"] == context["id"]
        assert "context" not in asked

    play(scene, one_model())


def test_the_id_of_the_first_event_is_that_of_the_committed_version_3() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        client.says(ask(chat("one", store=True, stream=True)))
        await settle()
        side = house.upstreams[0]
        assert asked_of(side)[2]["messages"] == [{"role": "user", "content": "one"}]
        side.says(STREAM_HEAD + piece(chunk({"role": "assistant", "content": "fir"})))
        await settle()
        head, _, body = client.hears().partition(b"\r\n\r\n")
        first = json.loads(unchunked(body).split(b"\n\n")[0][6:])
        version = head.partition(b"context-version: ")[2][:29].decode()
        assert first["id"] == "chatcmpl-" + version[3:]
        side.says(piece(chunk({"content": "st"}) + chunk({}, "stop") + USAGE + DONE) + END)
        await settle()
        events = unchunked(client.hears()).split(b"\n\n")
        last = [json.loads(e[6:]) for e in events if b'"finish_reason":"stop"' in e]
        assert last[0]["context"]["version"] == version and last[0]["context"]["status"] == "completed"
        assert events[-2] == b"data: [DONE]"
        _, _, _, asked = await turn(house, client, chat("two", context={"parent": version}), "second")
        assert [m["content"] for m in asked["messages"]] == ["one", "first", "two"]

    play(scene, one_model())
