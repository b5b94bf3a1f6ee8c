"""Twin of engine/contexts/mirror.py (CRP 2.3, #62): what SDKs of the Responses dialect ask of the same store."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from context_house import RESPONSES, heard, one_model, play, turn
from conversation import House, Side, settle

ULID = "01J9ZK3V7Q2M8N4R6T0W5X1Y3B"
Scene = Callable[[House, Side], Coroutine[Any, Any, None]]


def scene(acts: Scene) -> None:
    async def run(house: House) -> None:
        await acts(house, house.client())

    play(run, one_model())


async def asked(client: Side, method: str, path: str, body: Any = None, who: str = "") -> tuple[int, Any]:
    text = "" if body is None else json.dumps(body)
    more = f"x-who: {who}\r\n" if who else ""
    if body is not None:
        more += f"content-type: application/json\r\ncontent-length: {len(text)}\r\n"
    client.says(f"{method} {path} HTTP/1.1\r\nHost: gw\r\n{more}\r\n{text}")
    await settle()
    status, _, told = heard(client)
    return status, told


def responds(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "fast", "input": text, **more}


def test_a_response_is_read_back_as_it_was_told() -> None:
    async def acts(house: House, client: Side) -> None:
        _, _, told, _ = await turn(house, client, responds("hi"), "hello", RESPONSES)
        status, again = await asked(client, "GET", f"/v1/responses/{told['id']}")
        assert status == 200
        for name in ("id", "object", "status", "model", "output", "usage", "created_at", "conversation"):
            assert again[name] == told[name], name
        _, _, second, _ = await turn(house, client, responds("and?", previous_response_id=told["id"]), "so", RESPONSES)
        _, again = await asked(client, "GET", f"/v1/responses/{second['id']}")
        assert again["previous_response_id"] == told["id"]

    scene(acts)


def test_its_input_items_are_paged_newest_first() -> None:
    async def acts(house: House, client: Side) -> None:
        _, _, one, _ = await turn(house, client, responds("first"), "a", RESPONSES)
        _, _, two, _ = await turn(house, client, responds("second", previous_response_id=one["id"]), "b", RESPONSES)
        url = f"/v1/responses/{two['id']}/input_items"
        _, page = await asked(client, "GET", url)
        said = [item["content"][0]["text"] for item in page["data"]]
        assert said == ["second", "a", "first"] and page["has_more"] is False
        assert [item["role"] for item in page["data"]] == ["user", "assistant", "user"]
        assert page["data"][0]["content"][0]["type"] == "input_text"
        assert page["data"][1]["content"][0] == {"type": "output_text", "text": "a", "annotations": [], "logprobs": []}
        _, first = await asked(client, "GET", url + "?limit=1&order=asc")
        assert (first["data"][0]["content"][0]["text"], first["has_more"]) == ("first", True)
        _, rest = await asked(client, "GET", f"{url}?order=asc&after={first['last_id']}")
        assert [item["content"][0]["text"] for item in rest["data"]] == ["a", "second"]
        for bad in ("limit=0", "limit=101", "limit=x", "order=up"):
            assert (await asked(client, "GET", f"{url}?{bad}"))[0] == 400
        assert (await asked(client, "GET", f"{url}?after=it_none"))[0] == 404

    scene(acts)


def test_a_deleted_response_is_gone_and_so_is_what_it_said() -> None:
    async def acts(house: House, client: Side) -> None:
        _, _, told, _ = await turn(house, client, responds("my secret"), "hello", RESPONSES)
        url = f"/v1/responses/{told['id']}"
        status, gone = await asked(client, "DELETE", url)
        assert (status, gone) == (200, {"id": told["id"], "object": "response", "deleted": True})
        for path in (url, url + "/input_items"):
            assert (await asked(client, "GET", path))[0] == 404
        conversation = told["conversation"]["id"]
        _, items = await asked(client, "GET", f"/v1/conversations/{conversation}/items")
        assert items["data"] == []

    scene(acts)


def test_only_a_background_response_can_be_cancelled() -> None:
    async def acts(house: House, client: Side) -> None:
        _, _, told, _ = await turn(house, client, responds("hi"), "hello", RESPONSES)
        status, fault = await asked(client, "POST", f"/v1/responses/{told['id']}/cancel", {})
        assert status == 400 and "error" in fault

    scene(acts)


def test_a_conversation_lives_from_create_to_delete() -> None:
    async def acts(house: House, client: Side) -> None:
        body = {"metadata": {"topic": "demo"}, "items": [{"type": "message", "role": "user", "content": "hello"}]}
        status, made = await asked(client, "POST", "/v1/conversations", body)
        assert status == 200 and made["object"] == "conversation" and made["metadata"] == {"topic": "demo"}
        assert made["id"].startswith("conv_") and isinstance(made["created_at"], int)
        url = "/v1/conversations/" + made["id"]
        assert (await asked(client, "GET", url))[1] == made
        _, changed = await asked(client, "POST", url, {"metadata": {"topic": "other"}})
        assert changed["metadata"] == {"topic": "other"}
        assert (await asked(client, "GET", url))[1]["metadata"] == {"topic": "other"}
        _, _, told, sent = await turn(house, client, responds("and now", conversation=made["id"]), "so", RESPONSES)
        assert [message["content"] for message in sent["messages"]] == ["hello", "and now"]
        assert told["conversation"] == {"id": made["id"]}
        _, gone = await asked(client, "DELETE", url)
        assert gone == {"id": made["id"], "object": "conversation.deleted", "deleted": True}
        assert (await asked(client, "GET", url))[0] == 404

    scene(acts)


def test_items_of_a_conversation_are_brought_read_and_removed() -> None:
    async def acts(house: House, client: Side) -> None:
        _, made = await asked(client, "POST", "/v1/conversations", {})
        url = f"/v1/conversations/{made['id']}/items"
        brought = [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "book it"}]},
            {"type": "function_call", "call_id": "c1", "name": "book", "arguments": '{"n":1}'},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
        ]
        status, added = await asked(client, "POST", url, {"items": brought})
        assert status == 200 and [item["type"] for item in added["data"]] == [item["type"] for item in brought]
        call = added["data"][1]
        assert (call["call_id"], call["name"], call["arguments"], call["status"]) == (
            "c1", "book", '{"n":1}', "completed")  # fmt: skip
        assert added["data"][2]["output"] == "done"
        _, one = await asked(client, "GET", f"{url}/{call['id']}")
        assert one == call
        message = added["data"][0]["id"]
        _, after = await asked(client, "DELETE", f"{url}/{message}")
        assert after["id"] == made["id"]
        assert (await asked(client, "GET", f"{url}/{message}"))[0] == 404
        _, left = await asked(client, "GET", url + "?order=asc")
        assert [item["type"] for item in left["data"]] == ["function_call", "function_call_output"]
        for bad in ({}, {"items": "x"}, {"items": [{}] * 21}, {"items": [{"type": "message", "role": 5}]}):
            assert (await asked(client, "POST", url, bad))[0] == 400

    scene(acts)


@pytest.mark.parametrize("metadata", [[], {"k": 1}, {"k" * 65: "v"}, {"k": "v" * 513}, {str(n): "" for n in range(17)}])
def test_metadata_is_bounded(metadata: Any) -> None:
    async def acts(house: House, client: Side) -> None:
        status, fault = await asked(client, "POST", "/v1/conversations", {"metadata": metadata})
        assert status == 400 and fault["error"]["type"] == "invalid_request_error"

    scene(acts)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/v1/responses/{resp}", None), ("DELETE", "/v1/responses/{resp}", None),
     ("GET", "/v1/responses/{resp}/input_items", None), ("POST", "/v1/responses/{resp}/cancel", {}),
     ("GET", "/v1/conversations/{conv}", None), ("POST", "/v1/conversations/{conv}", {}),
     ("DELETE", "/v1/conversations/{conv}", None), ("GET", "/v1/conversations/{conv}/items", None),
     ("POST", "/v1/conversations/{conv}/items", {"items": [{"role": "user", "content": "x"}]})],
)  # fmt: skip
def test_a_foreign_object_is_told_like_one_that_never_was_5(method: str, path: str, body: Any) -> None:
    async def acts(house: House, client: Side) -> None:
        _, _, told, _ = await turn(house, client, responds("hi"), "hello", RESPONSES, x_who="ada")
        theirs = path.format(resp=told["id"], conv=told["conversation"]["id"])
        never = path.format(resp="resp_" + ULID, conv="conv_" + ULID)
        one = await asked(client, method, theirs, body, "bob")
        two = await asked(client, method, never, body, "bob")
        assert one[0] == two[0] == 404
        assert one[1]["error"]["code"] == two[1]["error"]["code"]
        assert one[1]["error"]["message"] == two[1]["error"]["message"]
        status, _ = await asked(client, "GET", f"/v1/responses/{told['id']}", who="ada")
        assert status == 200

    scene(acts)


def test_input_tokens_count_the_whole_conversation_and_write_nothing() -> None:
    async def acts(house: House, client: Side) -> None:
        _, _, told, _ = await turn(house, client, responds("hello " * 200), "hi " * 100, RESPONSES)
        url = "/v1/responses/input_tokens"
        status, alone = await asked(client, "POST", url, responds("and?"))
        assert status == 200 and alone["object"] == "response.input_tokens"
        status, kept = await asked(client, "POST", url, responds("and?", previous_response_id=told["id"]))
        assert status == 200 and kept["input_tokens"] > alone["input_tokens"] + 200
        _, named = await asked(client, "POST", url, responds("and?", conversation=told["conversation"]["id"]))
        assert named == kept
        status, _ = await asked(client, "POST", url, responds("and?", previous_response_id="resp_" + ULID))
        assert status == 400
        _, items = await asked(client, "GET", f"/v1/conversations/{told['conversation']['id']}/items")
        assert len(items["data"]) == 2

    scene(acts)
