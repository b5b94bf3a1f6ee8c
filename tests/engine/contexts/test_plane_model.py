"""Twin of engine/contexts/plane_model.py (CRP 2.2, #49): the prompt explained, a compaction now."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from context_house import chat, one_model, open_contexts, speaker, texts, turn
from conversation import House, Side, settle
from model_house import completion, model, models, target, whole

from tidegate.ports.contexts import RouteContexts
from tidegate.rules.match_route import RouteEntry, build

BASE = "/v1/contexts"


def play(scene: Callable[[House, Side], Coroutine[Any, Any, None]], plan: Any = None) -> None:
    """A house whose models keep contexts, with a plane beside them."""

    async def run() -> None:
        house = await open_contexts(plan or one_model())
        llm = house.plan.routes[0]
        plane = dataclasses.replace(llm, name="plane", prefix=BASE, lane="contexts", llm=None,
                                    contexts=RouteContexts(plane=True))  # fmt: skip
        entries = [RouteEntry(route, route.name, route.prefix, "prefix", (), frozenset(), (), (), number)
                   for number, route in enumerate((llm, plane))]  # fmt: skip
        house.runtime.plan = dataclasses.replace(house.runtime.plan, routes=(llm, plane), router=build(entries))
        await scene(house, house.client())
        assert house.defects == []

    asyncio.run(run())


async def asked(client: Side, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    said(client, method, path, body)
    await settle()
    return answer(client)


def said(client: Side, method: str, path: str, body: Any = None) -> None:
    text = "" if body is None else json.dumps(body)
    more = f"content-type: application/json\r\ncontent-length: {len(text)}\r\n" if body is not None else ""
    client.says(f"{method} {path} HTTP/1.1\r\nHost: gw\r\n{more}\r\n{text}")


def answer(client: Side) -> tuple[int, Any]:
    head, _, rest = client.hears().partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(rest)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini_generate", "openai_responses"])
def test_what_is_rendered_is_byte_for_byte_what_the_next_call_sends_49(dialect: str) -> None:
    async def scene(house: House, client: Side) -> None:
        _, made = await asked(client, "POST", BASE, {"items": [
            {"type": "message", "role": "user", "content": "hello"},
            {"type": "message", "role": "assistant", "content": "hi"},
            {"type": "fact", "key": "k", "content": "v"}]})  # fmt: skip
        next_call = {"model": "fast", "messages": [{"role": "user", "content": "and now?"}]}
        status, told = await asked(client, "POST", f"{BASE}/{made['id']}/render", next_call)
        assert status == 200, told
        assert house.upstreams == []
        client.says(call_on(made["id"], next_call))
        await settle()
        sent = house.upstreams[-1].hears().partition(b"\r\n\r\n")[2]
        assert json.loads(sent) == told["body"]
        assert len(sent) == told["body_bytes"]
        assert told["dialect"] == dialect and told["tokens"]["total"] > 0
        house.upstreams[-1].leaves()
        client.leaves()
        await settle()

    play(scene, one_model(dialect))


def call_on(id: str, body: dict[str, Any]) -> str:
    text = json.dumps({**body, "context_id": id})
    return (f"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\ncontent-length: {len(text)}\r\n"
            f"content-type: application/json\r\n\r\n{text}")  # fmt: skip


def test_a_rendering_writes_nothing_and_says_what_was_weighed() -> None:
    async def scene(house: House, client: Side) -> None:
        _, _, told, _ = await turn(house, client, chat("hello", store=True), "hi")
        id = told["context"]["id"]
        before = await asked(client, "GET", f"{BASE}/{id}/log")
        status, rendered = await asked(client, "POST", f"{BASE}/{id}/render", {})
        assert status == 200, rendered
        assert texts(rendered["body"]) == ["hello", "hi"]
        assert rendered["model"] == "fast" and rendered["version"] == told["context"]["version"]
        assert set(rendered["tokens"]) >= {"tools", "system", "history", "new", "total", "limit"}
        assert rendered["elided"] == [] and rendered["body_digest"].startswith("sha256:")
        assert await asked(client, "GET", f"{BASE}/{id}/log") == before

    play(scene)


def test_a_rendering_for_a_model_that_is_not_there() -> None:
    async def scene(house: House, client: Side) -> None:
        _, made = await asked(client, "POST", BASE, {})
        status, told = await asked(client, "POST", f"{BASE}/{made['id']}/render", {"model": "none"})
        assert (status, told["code"]) == (404, "model_not_found")
        status, told = await asked(client, "POST", f"{BASE}/{made['id']}/render", {"modle": "fast"})
        assert (status, told["code"]) == (400, "invalid_body")

    play(scene)


def long_dialogue() -> dict[str, Any]:
    items = []
    for number in range(12):
        items.append({"type": "message", "role": "user", "content": f"question {number}"})
        items.append({"type": "message", "role": "assistant", "content": f"answer {number} " + "x" * 200})
    return {"items": items}


def test_a_compaction_now_is_a_version_that_rollback_undoes_51() -> None:
    async def scene(house: House, client: Side) -> None:
        _, made = await asked(client, "POST", BASE, long_dialogue())
        url = f"{BASE}/{made['id']}"
        _, before = await asked(client, "GET", url)
        status, dry = await asked(client, "POST", url + "/compact", {"dry_run": True})
        assert status == 200 and dry["dry_run"] is True and len(dry["items"]) >= 2 and dry["tokens"] > 0
        assert (await asked(client, "GET", url))[1] == before
        said(client, "POST", url + "/compact", {"model": "fast"})
        await settle()
        house.upstreams[-1].says(whole(200, completion("They spoke of many things.")))
        await settle()
        status, done = answer(client)
        assert status == 200, done
        assert done["parent"] == before["version"] != done["version"]
        _, after = await asked(client, "GET", url)
        assert after["version"] == done["version"] and len(after["items"]) < len(before["items"])
        assert [item["type"] for item in after["items"]].count("summary") == 1
        await asked(client, "POST", url + "/rollback", {"to": before["version"]})
        assert (await asked(client, "GET", url))[1] == before

    play(scene)


def test_a_failing_summariser_changes_nothing() -> None:
    async def scene(house: House, client: Side) -> None:
        _, made = await asked(client, "POST", BASE, long_dialogue())
        url = f"{BASE}/{made['id']}"
        _, before = await asked(client, "GET", url)
        said(client, "POST", url + "/compact", {"model": "fast"})
        await settle()
        house.upstreams[-1].says(whole(400, {"error": {"message": "no", "type": "invalid_request_error"}}))
        await settle()
        status, _ = answer(client)
        assert status >= 400
        assert (await asked(client, "GET", url))[1] == before

    play(scene)


def test_no_summary_of_sensitive_contents_is_asked_for_on_a_route_that_is_not_tagged_CRP_10() -> None:
    async def scene(house: House, client: Side) -> None:
        items = long_dialogue()["items"]
        items[0]["privacy"] = "sensitive"
        _, made = await asked(client, "POST", BASE, {"items": items})
        for verb in ("compact", "render"):
            status, told = await asked(client, "POST", f"{BASE}/{made['id']}/{verb}", {"model": "fast"})
            assert (status, told["code"], house.upstreams) == (422, "policy_forbidden", [])

    play(scene)


def test_without_a_route_to_models_there_is_nobody_to_ask() -> None:
    async def scene(house: House, client: Side) -> None:
        _, made = await asked(client, "POST", BASE, {})
        plan = house.runtime.plan
        llm = dataclasses.replace(plan.routes[0], contexts=None)
        entries = [RouteEntry(route, route.name, route.prefix, "prefix", (), frozenset(), (), (), number)
                   for number, route in enumerate((llm, plan.routes[1]))]  # fmt: skip
        house.runtime.plan = dataclasses.replace(plan, routes=(llm, plan.routes[1]), router=build(entries))
        status, told = await asked(client, "POST", f"{BASE}/{made['id']}/render", {"model": "fast"})
        assert (status, told["code"]) == (404, "not_found")

    play(scene, models(model("fast", target(speaker(1)))))
