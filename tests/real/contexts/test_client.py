"""The Python client against a whole gateway: deltas, dictionaries, conflicts, branches (#25, #40)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from real.contexts.dialogue import marks, new_mark, script
from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY, ModelHouse, model, provider
from tidegate.client.conversation import AsyncConversation, Conversation
from tidegate.client.door import Conflict, ContextError, Door

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(script=script) as started:
        yield started


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, fake: FakeProvider) -> Iterator[ModelHouse]:
    filters = [{"use": "api_key"}]
    made = ModelHouse(
        tmp_path_factory.mktemp("client"),
        {
            "providers": [provider("openai", fake, "p")],
            "models": [model("fast", "p")],
            "routes": [
                {"name": "v1", "match": {"path": "/v1"}, "filters": filters, "llm": {"contexts": {}}},
                {"name": "c", "match": {"path": "/v1/contexts"}, "filters": filters, "contexts": {}},
            ],
        },
        workers=2,
    ).ready()
    yield made
    made.leave()


def door(house: ModelHouse, compress: bool = True) -> Door:
    return Door(house.base, KEY, timeout=20, compress=compress)


def test_a_dialogue_sends_what_is_new_and_the_model_hears_all(house: ModelHouse, fake: FakeProvider) -> None:
    talk = Conversation(door(house), "fast")
    one, two = new_mark(), new_mark()
    first = talk.say(one)
    second = talk.put("travel.class", "second").state({"trip": {"mode": "train"}}).say(two)
    assert marks(fake) == [one, first.text.removesuffix("and more"), two]
    assert b"travel.class" in fake.heard[-1].body
    assert (second.context["parent"], talk.version) == (first.version, second.version)
    view = talk.view()
    assert view["state"] == {"trip": {"mode": "train"}}
    assert [item["type"] for item in view["items"]] == ["message", "message", "fact", "message", "message"]


def test_a_streamed_turn_is_kept_when_it_has_ended(house: ModelHouse) -> None:
    talk = Conversation(door(house), "fast", session="a-stream")
    text = "".join(talk.stream(new_mark()))
    assert text.endswith("and more")
    assert talk.view()["items"][-1]["content"] == text
    assert talk.say(new_mark()).context["id"] == talk.id


def test_bodies_go_compressed_with_the_dictionary_of_the_gateway_40(house: ModelHouse, fake: FakeProvider) -> None:
    long = "Could you please confirm the booking for tomorrow? " * 4
    plain, small = door(house, compress=False), door(house)
    Conversation(plain, "fast").say(long)
    before = plain.sent
    talk = Conversation(small, "fast")
    talk.say(long)
    assert 0 < small.sent < before / 2
    # An unknown dictionary is refused, and the resend without it succeeds.
    small._dictionary = b"a dictionary that nobody else has"
    assert talk.say(long).text
    assert small._dictionary is None


def test_who_comes_late_is_told_or_put_on_the_new_head_25(house: ModelHouse) -> None:
    one = Conversation(door(house), "fast")
    one.say(new_mark())
    two = Conversation(door(house), "fast", id=one.id, rebase=False)
    two.version = one.version
    three = Conversation(door(house), "fast", id=one.id)
    three.version = one.version
    head = one.put("a.b", 1).apply()
    with pytest.raises(Conflict) as raised:
        two.put("c.d", 2).apply()
    assert (raised.value.head, len(raised.value.missing)) == (head, 1)
    with pytest.raises(Conflict):
        two.say(new_mark())
    three.put("e.f", 3).say(new_mark())
    assert {item.get("key") for item in three.view()["items"]} >= {"a.b", "e.f"}


def test_going_back_and_branching_off(house: ModelHouse) -> None:
    talk = Conversation(door(house), "fast")
    first = talk.say(new_mark()).version
    talk.say(new_mark())
    other = talk.fork("other", first)
    other.say(new_mark())
    assert len(other.view()["items"]) == len(talk.view()["items"]) == 4
    assert [a["id"] == b["id"] for a, b in zip(other.view()["items"], talk.view()["items"], strict=True)] == [
        True, True, False, False]  # fmt: skip
    talk.rollback(first)
    assert len(talk.view()["items"]) == 2
    assert talk.delete()["object"] == "context.deletion"
    with pytest.raises(ContextError) as raised:
        talk.say(new_mark())
    assert (raised.value.status, raised.value.code) == (410, "context_deleted")


def test_a_program_with_a_loop_waits_without_standing_still(house: ModelHouse) -> None:
    async def work() -> int:
        talks = [AsyncConversation(Conversation(door(house), "fast")) for _ in range(3)]
        await asyncio.gather(*(talk.say(new_mark()) for talk in talks))
        return sum([len((await talk.view())["items"]) for talk in talks])

    assert asyncio.run(work()) == 6


def test_a_wrong_key_is_told(house: ModelHouse) -> None:
    with pytest.raises(ContextError) as raised:
        Conversation(Door(house.base, "tg-not-a-key", timeout=20), "fast").say("hi")
    assert raised.value.status == 401
