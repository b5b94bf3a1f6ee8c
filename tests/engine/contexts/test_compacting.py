"""Summaries are made between turns, cost no turn, and are undone by going back (CRP 8.5; #51)."""

from __future__ import annotations

import json
from typing import Any

from context_house import CHAT, heard, one_model, play
from conversation import House, settle
from model_house import ask, completion, whole

POLICY = {"budget": {"max_input": 2000, "reserve_output": 0}, "keep": {"first_turns": 1, "last_turns": 1},
          "compact": {"keep_user_verbatim": False}, "recall": {"share": 0}}  # fmt: skip


def chat(text: str, **more: Any) -> dict[str, Any]:
    context = {"policy": POLICY}
    return {
        "model": "fast",
        "messages": [{"role": "user", "content": text}],
        "session_id": "s",
        "context": context,
        **more,
    }


async def turn(house: House, client: Any, body: dict[str, Any], said: str) -> tuple[dict[str, Any], list[str]]:
    client.says(ask(body, CHAT))
    await settle()
    side = house.upstreams[-1]
    sent = side.hears()
    house.asked = sent.partition(b"\r\n\r\n")[2]  # type: ignore[attr-defined]
    asked = json.loads(house.asked)  # type: ignore[attr-defined]
    side.says(whole(200, completion(said)))
    await settle()
    status, _, told = heard(client)
    assert status == 200, told
    return told, [message["content"] for message in asked["messages"]]


async def until_due(house: House, client: Any) -> tuple[dict[str, Any], str]:
    """Talk until a summary is asked for; (what the last turn was told, the request of the summariser)."""
    for number in range(12):
        told, _ = await turn(house, client, chat(f"{number} " + "q" * 400), "a" * 400)
        waiting = house.upstreams[-1].hears()
        if waiting:
            return told, waiting.partition(b"\r\n\r\n")[2].decode()
    raise AssertionError("no summary was asked for")


def test_51_a_summary_comes_between_turns_and_is_a_version() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        told, request = await until_due(house, client)
        asked = json.loads(request)
        assert asked["messages"][-1]["content"].startswith(
            "This is not from the user. Summarise the conversation above"
        )
        before = json.loads(house.asked)["messages"]
        assert asked["messages"][: len(before)] == before, "what the provider has in its cache"
        assert len(asked["messages"]) == len(before) + 2
        house.upstreams[-1].says(whole(200, completion("They spoke of q.")))
        await settle()
        after, messages = await turn(house, client, chat("and?"), "so")
        assert messages[0] == "<summary>\nThey spoke of q.\n</summary>"
        assert len(messages) == 1 + 2 + 2 + 1
        assert after["context"]["parent"] != told["context"]["version"]
        _, messages = await turn(
            house, client, chat("back", session_id=None, context={"parent": told["context"]["version"]}), "x"
        )
        assert messages[0].startswith("0 q") and len(messages) > 8

    play(scene, one_model())


def test_51_a_summariser_that_fails_fails_no_turn() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        told, _ = await until_due(house, client)
        house.upstreams[-1].says(whole(400, {"error": {"message": "no"}}))
        await settle()
        after, messages = await turn(house, client, chat("and?"), "so")
        assert after["context"]["parent"] == told["context"]["version"]
        assert messages[0].startswith("0 q")
        house.upstreams[-1].says(whole(200, completion("")))
        await settle()

    play(scene, one_model())


def test_8_5_while_nobody_talks_it_is_summarised_shortly_before_the_cache_lapses() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        policy = {**POLICY, "budget": {"max_input": 1700, "reserve_output": 0, "trigger": 1.0}}
        for number in range(5):
            body = chat(f"{number} " + "q" * 400, context={"policy": policy})
            told, _ = await turn(house, client, body, "a" * 400)
        side = house.upstreams[-1]
        house.pass_time(570.0)
        await settle()
        assert side.hears() == b""
        house.pass_time(15.0)
        await settle()
        assert b"Summarise the conversation above" in house.upstreams[-1].hears()
        house.upstreams[-1].says(whole(200, completion("In short.")))
        await settle()
        after, messages = await turn(house, house.client(), chat("and?"), "so")
        assert messages[0] == "<summary>\nIn short.\n</summary>"
        assert after["context"]["parent"] != told["context"]["version"]

    play(scene, one_model())
