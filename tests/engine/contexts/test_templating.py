"""Turns under a template and under policies (CRP 3.1, 8.1, 9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from context_house import SlowStore, chat, one_model, play, texts, turn
from conversation import House

TEMPLATE = {
    "name": "desk",
    "slots": {"tier": {"type": "string", "default": "standard"}, "now": {"from": "clock", "stable": False}},
    "system": "You serve {{tier}}.", "tail": "Now: {{now}}.",
}  # fmt: skip


async def put(store: SlowStore, n: int, **more: Any) -> None:
    await store.inner.template("default", "desk", n, json.dumps({**TEMPLATE, **more}).encode())


def wish(ref: str, **vars: str) -> dict[str, Any]:
    return {"context": {"template": {"ref": ref, "vars": vars}}}


def test_the_system_text_of_a_template_leads_the_prompt_and_its_tail_comes_last() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        await put(store, 1)
        body = chat("one", session_id="s", **wish("desk@1", tier="gold"))
        _, _, _, asked = await turn(house, house.client(), body, "first")
        assert asked["messages"][0] == {"role": "system", "content": "You serve gold."}
        assert "Now: 2023-11-14T22:30Z." in json.dumps(asked["messages"][1:])
        # a later turn on the same session inherits what it leaves out
        _, _, _, asked = await turn(house, house.client(), chat("two", session_id="s"), "second")
        assert texts(asked)[0] == "You serve gold." and "Now:" not in json.dumps(asked)

    play(scene, one_model(), store=store)


def test_latest_is_resolved_and_a_default_fills_a_slot() -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        await put(store, 1)
        await put(store, 2, system="Second: {{tier}}.")
        _, _, body, asked = await turn(house, house.client(), chat("one", **wish("desk@latest")), "first")
        assert texts(asked)[0] == "Second: standard."
        held = await house.runtime.contexts.load(house_asker(), body["context"]["id"])
        assert held.view(body["context"]["version"]).template == "desk@2"

    play(scene, one_model(), store=store)


def house_asker() -> Any:
    from tidegate.exchange.context_log import Asker

    return Asker("default", all=True)


@pytest.mark.parametrize("ref", ["desk@2", "desk@latest", "nothing@1", "desk", "desk@0"])
def test_a_template_that_is_not_there_is_404(ref: str) -> None:
    store = SlowStore()

    async def scene(house: House) -> None:
        if ref != "desk@latest":
            await put(store, 1)
        status, _, body, asked = await turn(house, house.client(), chat("one", **wish(ref)), "")
        assert (status, body["error"]["code"], asked) == (404, "template_not_found", None)

    play(scene, one_model(), store=store)


def test_a_policy_that_nobody_knows_is_422_before_a_provider_hears() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        status, _, body, asked = await turn(house, client, chat("one", context={"store": "durable", "policy": "x"}), "")
        assert (status, body["error"]["code"], asked) == (422, "policy_forbidden", None)
        ops = [{"op": "set_policy", "policy": "x"}]
        status, _, body, asked = await turn(house, client, chat("one", delta_updates=ops), "")
        assert (status, body["error"]["code"], asked) == (422, "delta_invalid", None)
        assert body["error"]["errors"][0]["reason"] == "policy_forbidden"
        ops = [{"op": "set_policy", "policy": {"budget": {"trigger": 0.9}}}]
        assert (await turn(house, client, chat("one", delta_updates=ops), "first"))[0] == 200

    play(scene, one_model())


def test_a_bad_delta_is_422_with_op_reason_and_pointer_and_changes_nothing_11() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, _, body, _ = await turn(house, client, chat("one", store=True), "first")
        context = body["context"]
        ops = [{"op": "put", "item": {"type": "fact", "key": "a", "content": 1}}, {"op": "remove", "key": "nothing"}]
        status, _, body, asked = await turn(house, client, chat("two", context_id=context["id"], delta_updates=ops), "")
        assert (status, body["error"]["code"], asked) == (422, "delta_invalid", None)
        (error,) = body["error"]["errors"]
        assert (error["op"], error["reason"]) == (1, "target_missing")
        _, _, body, asked = await turn(house, client, chat("two", context_id=context["id"]), "second")
        assert (texts(asked), body["context"]["parent"]) == (["one", "first", "two"], context["version"])

    play(scene, one_model())
