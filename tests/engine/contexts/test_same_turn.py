"""Two calls that are one turn, and two that are not (CRP 5.2, 5.6; #32, #33)."""

from __future__ import annotations

import pytest
from context_house import chat, one_model, play, turn
from conversation import House

from tidegate.engine.contexts.same_turn import answer_of, retried
from tidegate.exchange.chat import Choice, Text
from tidegate.exchange.context_log import Asker


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("12", True), ("0", False), ("", False), ("-1", False), ("x", False),
                           ("1" * 10, False)],
)  # fmt: skip
def test_an_sdk_counts_its_own_retries_33(text: str, expected: bool) -> None:
    assert retried({"x-stainless-retry-count": text}) is expected
    assert retried({}) is False


def test_another_address_or_another_word_is_another_turn_32() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, _, first, _ = await turn(house, client, chat("one", store=True), "first")
        id = first["context"]["id"]
        mark = {"x_stainless_retry_count": "1"}
        assert (await turn(house, client, chat("two"), "a", context_id=id, **mark))[3] is not None
        assert (await turn(house, client, chat("two"), "", context_id=id, **mark))[3] is None
        assert (await turn(house, client, chat("two "), "b", context_id=id, **mark))[3] is not None
        by_member = chat("two", context_id=id)
        assert (await turn(house, client, by_member, "c", **mark))[3] is not None

    play(scene, one_model())


def test_the_answer_is_made_of_the_log() -> None:
    async def scene(house: House) -> None:
        client = house.client()
        _, _, first, _ = await turn(house, client, chat("one", store=True), "first")
        context = first["context"]
        held = await house.runtime.contexts.load(Asker("default", all=True), context["id"])
        answer = answer_of(held, context["version"], "chatcmpl-x")
        assert (answer.id, answer.model, answer.choices) == (
            "chatcmpl-x", "up-model-2026", (Choice(0, (Text(text="first"),)),),
        )  # fmt: skip
        assert answer.usage is not None and (answer.usage.input, answer.usage.output) == (10, 5)

    play(scene, one_model())
