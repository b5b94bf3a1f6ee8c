"""Prompts of turns on a whole engine: the prefix survives in the log, epochs are logged once (CRP 7; #42, I6)."""

from __future__ import annotations

from typing import Any

from context_house import CHAT, RESPONSES, heard, one_model, play, speaker
from conversation import House, settle
from model_house import SPOKEN, ask, asked_of, completion, model, models, target, whole

from tidegate.engine.contexts.prompting import frozen_at
from tidegate.exchange.context import EpochBegun


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "fast", "messages": [{"role": "user", "content": text}], **more}


async def turn(house: House, client: Any, body: dict[str, Any], said: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what the client was told, what the provider was asked)."""
    client.says(ask(body, CHAT))
    await settle()
    side = house.upstreams[-1]
    _, _, asked = asked_of(side)
    side.says(whole(200, completion(said)))
    await settle()
    status, _, told = heard(client)
    assert status == 200, told
    return told, asked


def held_of(house: House) -> Any:
    return next(iter(house.runtime.contexts._held.values()))


def epochs(house: House) -> list[str]:
    history = held_of(house).history
    return [change.reason for entry in history.log() for change in entry.changes if isinstance(change, EpochBegun)]


def test_an_epoch_is_logged_once_and_a_fact_that_changes_stands_in_the_tail_44() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        fact = {"op": "put", "item": {"type": "fact", "key": "city", "content": "Ulm"}}
        told, asked = await turn(house, client, chat("one", session_id="s", delta_updates=[fact]), "first")
        block = '<context-data>\ncity: "Ulm"\n</context-data>'
        assert [m["content"] for m in asked["messages"]] == [block, "one"]
        fact = {"op": "put", "item": {"type": "fact", "key": "city", "content": "Bonn"}}
        told, asked = await turn(house, client, chat("two", session_id="s", delta_updates=[fact]), "second")
        changed = '<context-data since="last block">\ncity: "Bonn"\n</context-data>'
        assert [m["content"] for m in asked["messages"]] == [block, "one", "first", changed, "two"]
        told, asked = await turn(house, client, chat("three", session_id="s", context={"return": "full"}), "third")
        assert [m["content"] for m in asked["messages"]] == [
            block, "one", "first", "two", "second", changed, "three",
        ]  # fmt: skip
        assert epochs(house) == ["created"]
        assert told["context"]["cache"]["reason"] == "below_minimum"

    play(scene, one_model())


def test_another_system_text_begins_an_epoch_and_it_is_logged_why() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        await turn(house, client, chat("one", session_id="s"), "first")
        body = chat("two", session_id="s")
        body["messages"].insert(0, {"role": "system", "content": "Be brief."})
        _, asked = await turn(house, client, body, "second")
        assert [m["content"] for m in asked["messages"]] == ["Be brief.", "one", "first", "two"]
        _, asked = await turn(house, client, chat("three", session_id="s"), "third")
        assert [m["content"] for m in asked["messages"]] == ["Be brief.", "one", "first", "two", "second", "three"]
        assert epochs(house) == ["created", "system"]

    play(scene, one_model())


def test_a_worker_that_knows_nothing_folds_the_same_prefix_i6() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        for number in range(6):
            await turn(house, client, chat(f"say {number}", session_id="s"), f"said {number}")
        held = held_of(house)
        known = frozen_at(held, held.head("main"))
        held.prefixes.clear()
        fresh = frozen_at(held, held.head("main"))
        assert known is not None and fresh is not None and known is not fresh
        assert [item.id for item in known.told.items[: known.count]] == [item.id for item in fresh.told.items]
        assert (known.tokens, known.facts, known.begun) == (fresh.tokens, fresh.facts, fresh.begun)
        _, asked = await turn(house, client, chat("last", session_id="s"), "end")
        assert len(asked["messages"]) == 13

    play(scene, one_model())


def test_a_policy_of_the_request_is_a_patch_and_an_unknown_one_is_refused() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        for number in range(4):
            await turn(house, client, chat(f"say {number} " + "x" * 400, session_id="s"), "said " + "y" * 400)
        patch = {"budget": {"max_input": 500, "reserve_output": 0}, "keep": {"first_turns": 0, "last_turns": 1},
                 "recall": {"share": 0}}  # fmt: skip
        told, asked = await turn(
            house, client, chat("now", session_id="s", context={"policy": patch, "return": "full"}), "ok"
        )
        assert [m["content"][:5] for m in asked["messages"]] == ["say 3", "said ", "now"]
        assert [one["as"] for one in told["context"]["elided"]] == ["dropped"] * 6
        told, asked = await turn(house, client, chat("then", session_id="s"), "ok")
        assert [m["content"][:5] for m in asked["messages"]] == ["say 3", "said ", "now", "ok", "then"]
        assert epochs(house) == ["created", "reduced"]

    play(scene, one_model())


def test_a_bill_corrects_the_estimates_of_the_next_turn() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        client.says(ask(chat("x" * 8000, session_id="s"), CHAT))
        await settle()
        asked_of(house.upstreams[-1])
        usage = {"prompt_tokens": 3000, "completion_tokens": 1, "total_tokens": 3001}
        house.upstreams[-1].says(whole(200, completion("ok", usage=usage)))
        await settle()
        heard(client)
        policy = {"budget": {"max_input": 3000, "reserve_output": 0, "trigger": 0.9}, "recall": {"share": 0},
                  "keep": {"first_turns": 0, "last_turns": 0}}  # fmt: skip
        _, asked = await turn(house, client, chat("two", session_id="s", context={"policy": policy}), "ok")
        assert [m["content"] for m in asked["messages"]] == ["ok", "two"], "2,000 by our count, 3,000 by the bill"

    play(scene, one_model())


class Noting:
    """A strategy that takes targets as they come, and notes what each conversation is known by."""

    by_conversation = True

    def __init__(self) -> None:
        self.names: list[str] = []

    def order(self, standings: Any, ask: Any, random: Any) -> list[int]:
        self.names.append(ask.context)
        return list(range(len(standings)))

    def served(self, standing: Any, ask: Any) -> None:
        pass


def test_a_conversation_is_named_by_its_context_however_it_is_addressed_r6() -> None:
    noting = Noting()

    async def scene(house: House) -> None:
        client = house.client()
        told, _ = await turn(house, client, chat("one", session_id="s"), "first")
        await turn(house, client, chat("two", context_id=told["context"]["id"]), "second")
        await turn(house, client, chat("three", context={"parent": told["context"]["version"]}), "third")

    to = speaker(1)
    plan = model("fast", target(to), target(to, "other", 1), strategy=noting, by_conversation=True)
    play(scene, models(plan, dialects=SPOKEN))
    assert len(noting.names) == 3 and len(set(noting.names)) == 1 and noting.names[0]


def test_r5_a_vendor_is_told_not_to_keep_what_is_kept_here() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        for number, include in enumerate((None, ["web_search_call.results"])):
            body: dict[str, Any] = {"model": "fast", "input": "one", "store": True, "temperature": 1}
            if include:
                body["include"] = include
            client.says(ask(body, RESPONSES))
            await settle()
            _, _, asked = asked_of(house.upstreams[-1])
            assert asked["store"] is False and "previous_response_id" not in asked
            assert asked["include"] == (include or []) + ["reasoning.encrypted_content"], number
            answer = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": []}
            house.upstreams[-1].says(whole(200, answer))
            await settle()
            heard(client)

    play(scene, one_model("openai_responses"))
