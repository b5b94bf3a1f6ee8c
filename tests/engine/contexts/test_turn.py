"""Turns of kept conversations on a whole engine: three dialects, plain and streamed (CRP 3, 5; #1, #2, #3, #21)."""

from __future__ import annotations

import json
from typing import Any

from context_house import MESSAGES, RESPONSES, chat, one_model, play, texts, turn
from conversation import House, settle
from model_house import DONE, END, STREAM_HEAD, USAGE, ask, asked_of, chunk, piece, unchunked

from tidegate.exchange.context import Added, Entry, Item
from tidegate.exchange.context_ids import item_id, version_id
from tidegate.exchange.context_log import Addition, Asker
from tidegate.ports.contexts import RouteContexts
from tidegate.wire.context_entry import write_entry


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


def test_what_a_turn_leaves_out_is_inherited_where_a_context_is_named() -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]

    async def scene(house: House) -> None:
        client = house.client()
        messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one"}]
        body = {"model": "fast", "store": True, "temperature": 0.5, "tools": tools, "messages": messages}
        _, _, first, _ = await turn(house, client, body, "first")
        id = first["context"]["id"]
        # not even the model is said again
        said = {"context_id": id, "messages": [{"role": "user", "content": "two"}]}
        status, _, second, asked = await turn(house, client, said, "second")
        assert (status, second["model"]) == (200, first["model"])
        assert texts(asked) == ["be brief", "one", "first", "two"]
        assert (asked["temperature"], len(asked["tools"]), asked["model"]) == (0.5, 1, "up-model")
        # null clears, and a version by its response's id inherits nothing
        said = {"context_id": id, "tools": None, "messages": [{"role": "user", "content": "three"}]}
        _, _, third, asked = await turn(house, client, said, "third")
        assert asked.get("tools") is None and asked["temperature"] == 0.5
        other = {"model": "fast", "input": "four", "previous_response_id": "resp_" + third["id"][9:]}
        _, _, _, asked = await turn(house, client, other, "fourth", RESPONSES)
        assert texts(asked)[0] == "one" and "temperature" not in asked
        status, _, wrong, asked = await turn(house, client, {"messages": said["messages"]}, "")
        assert (status, wrong["error"]["code"], asked) == (400, "model", None)

    play(scene, one_model())


def test_a_delta_needs_no_message_and_its_facts_reach_the_model_31() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, _, first, _ = await turn(house, client, chat("one", store=True), "first")
        ops = [{"op": "put", "item": {"type": "preference", "key": "travel.class", "content": "second"}},
               {"op": "append", "items": [{"type": "message", "role": "user", "content": "two"}]}]  # fmt: skip
        body = {"context_id": first["context"]["id"], "delta_updates": ops, "context": {"return": "full"}}
        status, _, said, asked = await turn(house, client, body, "second")
        assert (status, said["context"]["level"]) == (200, "delta")
        assert "travel.class" in json.dumps(asked["messages"]) and "second" in json.dumps(asked["messages"])
        told = said["context"]
        assert set(told) >= {"digest", "usage", "elided", "recalled", "cache", "warnings"}
        assert told["digest"].startswith("sha256:") and told["usage"]["sent"] == 10

    play(scene, one_model())


def test_sides_that_commute_are_rebased_and_others_are_409_30() -> None:
    def fact(key: str) -> dict[str, Any]:
        return {"op": "put", "item": {"type": "fact", "key": key, "content": key}}

    async def scene(house: House) -> None:
        client = house.client()
        _, _, first, _ = await turn(house, client, chat("one", store=True), "first")
        id, parent = first["context"]["id"], first["context"]["version"]
        repository = house.runtime.contexts
        theirs = await plane_put(house, id, "a")
        assert theirs != parent
        wish = {"context_id": id, "parent": parent, "context": {"on_conflict": "rebase"}}
        status, _, said, asked = await turn(house, client, {**wish, "delta_updates": [fact("a")]}, "")
        assert (status, said["error"]["code"], asked) == (409, "context_conflict", None)
        status, _, said, asked = await turn(house, client, {**wish, "delta_updates": [fact("b")]}, "second")
        assert (status, said["context"]["parent"]) == (200, theirs)
        held = await repository.load(Asker("default", all=True), id)
        assert {"a", "b"} <= set(held.view(said["context"]["version"]).by_key)

    play(scene, one_model())


async def plane_put(house: House, id: str, key: str) -> str:
    """Somebody else adds a fact meanwhile; the head afterwards."""
    repository = house.runtime.contexts
    asker = Asker("default", all=True)
    held = await repository.load(asker, id)
    version = version_id(repository.mint())
    item = Item(id=item_id(repository.mint()), type="fact", key=key, content=b"1")
    entry = Entry(kind="delta", version=version, ts=repository.now(), changes=(Added((item,)),))
    draft, entry = write_entry(entry, repository.seal(held.meta))
    parents = (held.head("main"),)
    digest = held.history.digest_with(version, draft.body, parents)
    record = Addition(kind="delta", version=version, entry=draft, digest=digest)
    appended, _ = await repository.append(asker, id, record, entry)
    assert appended.outcome == "ok"
    return version


def test_a_context_in_memory_alone_is_422_where_there_is_none() -> None:
    async def scene(house: House) -> None:
        body = chat("one", context={"store": "session"})
        status, _, said, asked = await turn(house, house.client(), body, "")
        assert (status, said["error"]["code"], asked) == (422, "policy_forbidden", None)

    play(scene, one_model())


def test_a_route_may_keep_what_names_no_context() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, fields, said, asked = await turn(house, client, chat("one"), "first")
        assert (texts(asked), said["context"]["level"]) == (["one"], "implicit")
        _, _, _, asked = await turn(house, client, chat("two", context_id=fields["context-id"]), "second")
        assert texts(asked) == ["one", "first", "two"]

    play(scene, one_model(), route_contexts=RouteContexts(implicit="store"))


def test_no_field_of_an_answer_begins_with_mcp_8() -> None:
    async def scene(house: House) -> None:
        _, fields, _, _ = await turn(house, house.client(), chat("one", store=True), "first")
        assert [name for name in fields if name.startswith("mcp")] == []
        assert fields["context-protocol"] == "1"
        assert fields["context-usage"].startswith("sent=10, cached=0, saved=")

    play(scene, one_model())
