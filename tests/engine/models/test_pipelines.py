"""Models made of models, as their clients and providers hear them (LLM 14)."""

from __future__ import annotations

from typing import Any

from conversation import House, Side, settle
from model_house import (
    DONE,
    END,
    STREAM_HEAD,
    USAGE,
    MemoryBooks,
    ask,
    asked_of,
    body_of,
    chat,
    chunk,
    completion,
    model,
    models,
    piece,
    provider,
    scene,
    target,
    unchunked,
    whole,
)

from tidegate.ports.models import ModelPlan, ModelsPlan, PipelinePlan, StepPlan

PARTS = tuple(model(name, target(provider(number), name)) for number, name in ((1, "one"), (2, "two"), (3, "three")))


def made(**pipeline: Any) -> ModelsPlan:
    return models(*PARTS, ModelPlan("made", pipeline=PipelinePlan(**pipeline)))


def of(house: House, number: int) -> Side:
    """The newest connection to provider *number*."""
    place = max(n for n, where in enumerate(house.connected) if where == f"10.0.0.{number}:80")
    return house.upstreams[place]


DRAFT = StepPlan("draft", "one")
CHECK = StepPlan("check", "two", input=(("text", ("Check: ", "draft", "")),))


def test_steps_see_what_was_said_before_and_only_the_last_one_streams() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made", stream=True)))
        await settle()
        _, _, first = asked_of(of(house, 1))
        assert not first.get("stream") and first["model"] == "one"
        of(house, 1).says(whole(200, completion("a draft")))
        await settle()
        _, _, second = asked_of(of(house, 2))
        assert second["stream"] is True and second["messages"][-1]["content"] == "Check: a draft"
        of(house, 2).says(STREAM_HEAD + piece(chunk({"content": "fine"}) + chunk({}, "stop") + USAGE + DONE) + END)
        said = unchunked(client.hears().partition(b"\r\n\r\n")[2])
        assert b"fine" in said and b"a draft" not in said and b"x-tidegate-cost: 0.00004" in said
        child, parent = books.records
        assert child.parent == parent.id and (child.asked, parent.asked) == ("one", "made")
        assert (child.cost, parent.cost) == (20_000, 20_000)

    scene(play, made(kind="sequence", steps=(DRAFT, CHECK)))


def test_a_step_may_send_the_answer_back_to_an_earlier_one() -> None:
    steps = (DRAFT, StepPlan("check", "two", input=CHECK.input, stop_if="OK", then="draft"))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made")))
        await settle()
        of(house, 1).says(whole(200, completion("a draft")))
        await settle()
        of(house, 2).says(whole(200, completion("ok.")))
        got = client.hears()
        assert body_of(got)["choices"][0]["message"]["content"] == "a draft"
        assert b"x-tidegate-cost: 0.00004\r\n" in got
        assert [r.asked for r in books.records] == ["one", "two", "made"]

    scene(play, made(kind="sequence", steps=steps))


def test_branches_vote_and_a_dead_one_is_dropped_while_the_quorum_holds() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        house.refusing["10.0.0.3:80"] = ConnectionRefusedError()
        client.says(ask(chat("made")))
        for _ in range(7):
            await settle()
            house.pass_time(0.2)
        await settle()
        of(house, 1).says(whole(200, completion("Paris")))
        of(house, 2).says(whole(200, completion("paris.")))
        await settle()
        assert body_of(client.hears())["choices"][0]["message"]["content"] == "Paris"

    scene(play, made(kind="parallel", models=("one", "two", "three"), quorum=2, merge="vote"))


def test_without_a_quorum_the_fault_of_a_branch_is_told_and_a_slow_one_is_cancelled() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made")))
        await settle()
        of(house, 1).says(whole(400, {"error": {"message": "no", "type": "invalid_request_error"}}))
        house.pass_time(8.1)
        assert client.hears().startswith(b"HTTP/1.1 400 ")
        assert of(house, 2).closed

    scene(play, made(kind="parallel", models=("one", "two"), quorum=2, merge="concat", deadline=8.0))


def test_the_first_branch_wins_and_the_others_are_left() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made")))
        await settle()
        of(house, 2).says(whole(200, completion("quick")))
        assert body_of(client.hears())["choices"][0]["message"]["content"] == "quick"
        assert of(house, 1).closed

    scene(play, made(kind="parallel", models=("one", "two"), quorum=1, merge="first"))


def test_a_client_that_leaves_cancels_every_branch() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made")))
        await settle()
        client.leaves()
        assert of(house, 1).closed and of(house, 2).closed

    scene(play, made(kind="parallel", models=("one", "two"), quorum=2, merge="vote"))


ROUTE = {"kind": "route", "classifier": "one", "labels": {"code": "two", "chat": "three"}, "default": "three"}


def test_a_classifier_chooses_and_the_call_goes_on_as_it_came() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made", x_unknown=1)))
        await settle()
        _, _, asked = asked_of(of(house, 1))
        assert asked["response_format"]["type"] == "json_schema"
        of(house, 1).says(whole(200, completion('{"label":"code"}')))
        await settle()
        _, _, sent = asked_of(of(house, 2))
        assert sent == {**chat("two"), "x_unknown": 1}
        of(house, 2).says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, made(**ROUTE))


def test_a_classifier_that_is_late_is_not_waited_for() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made")))
        await settle()
        house.pass_time(0.35)
        await settle()
        assert house.connected[-1] == "10.0.0.3:80"
        of(house, 3).says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, made(**ROUTE))


def test_rules_choose_without_a_call() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("made"), tidegate_task="code"))
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        of(house, 2).says(whole(200, completion()))

    scene(play, made(kind="route", rules=(({"task": "code"}, "two"),), default="one"))
