"""The thin slice: one conversation through three dialects on a whole gateway, over every kind of provider, in memory
and in SQLite, plain and streamed (CRP 3, 5; #1, #2, #3, #24, I1)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.contexts.dialogue import Answered, body_of, marks, new_mark, post, script
from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY, ModelHouse, model, provider

pytestmark = pytest.mark.timeout(120)

TRIALS = int(os.environ.get("TIDEGATE_TRIALS", "200"))


def house_of(folder: Path, use: str, *fakes: tuple[str, FakeProvider], workers: int = 1) -> ModelHouse:
    """A gateway whose model ``fast`` asks the first of *fakes*; ``fast-2`` the second, and so on."""
    models = [model("fast" if number == 0 else f"fast-{number + 1}", f"p{number}") for number in range(len(fakes))]
    return ModelHouse(
        folder,
        {
            "repository": {"use": use},
            "providers": [provider(preset, fake, f"p{number}") for number, (preset, fake) in enumerate(fakes)],
            "models": models,
            "routes": [
                {"name": "v1", "match": {"path": "/v1"}, "filters": [{"use": "api_key"}], "llm": {"contexts": {}}}
            ],
        },
        workers,
    )


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(script=script) as started:
        yield started


def is_of(answered: Answered, prefix: str) -> None:
    """Its ids are one ULID."""
    assert answered.status == 200, answered.body
    version = answered.context["version"]
    assert answered.id == prefix + version[3:]
    assert answered.fields["context-version"] == version
    assert answered.context["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("preset", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("use", ["memory", "sqlite"])
def test_one_conversation_in_three_dialects_1_2_3(
    tmp_path: Path, fake: FakeProvider, use: str, preset: str, stream: bool
) -> None:  # fmt: skip
    house = house_of(tmp_path, use, (preset, fake)).ready()
    try:
        said: list[str] = []

        def turn(dialect: str, prefix: str, **more: Any) -> Answered:
            mark = new_mark()
            answered = post(house.door, dialect, body_of(dialect, mark, stream=stream, **more))
            is_of(answered, prefix)
            assert marks(fake) == [*said, mark]
            said.extend((mark, answered.mark))
            return answered

        first = turn("chat", "chatcmpl-", store=True)
        context = first.context["id"]
        second = turn("chat", "chatcmpl-", context_id=context)
        assert second.context["parent"] == first.context["version"]
        third = turn("responses", "resp_", previous_response_id="resp_" + second.id.removeprefix("chatcmpl-"))
        assert third.context["parent"] == second.context["version"]
        fourth = turn("messages", "msg_", context={"parent": third.context["version"]})
        assert fourth.context["id"] == context
        assert not [name for name in fourth.fields if name.startswith("mcp-")]
    finally:
        house.leave()


def test_another_worker_continues_at_once_24_I1(tmp_path: Path, fake: FakeProvider) -> None:
    house = house_of(tmp_path, "sqlite", ("openai", fake), workers=4).ready()
    try:
        said: list[str] = []
        last: dict[str, Any] = {"store": True}
        for number in range(TRIALS):
            mark = new_mark()
            answered = post(house.door, "chat", body_of("chat", mark, stream=number % 2 == 0, **last))
            assert answered.status == 200, answered.body
            assert marks(fake) == [*said, mark]
            said.extend((mark, answered.mark))
            last = {"context": {"parent": answered.context["version"]}}
    finally:
        house.leave()


def test_a_kill_between_turns_loses_nothing_I1(tmp_path: Path, fake: FakeProvider) -> None:
    house = house_of(tmp_path, "sqlite", ("anthropic", fake), workers=1).ready()
    try:
        first = post(house.door, "chat", body_of("chat", one := new_mark(), store=True))
        os.killpg(house.gateway.pid, signal.SIGKILL)
        house.gateway.process.wait(5)
        house = house_of(tmp_path, "sqlite", ("anthropic", fake)).ready()
        second = post(house.door, "responses",
                      body_of("responses", two := new_mark(), previous_response_id="resp_" + first.id[9:]))  # fmt: skip
        assert second.status == 200, second.body
        assert marks(fake) == [one, first.mark, two]
        assert KEY not in house.gateway.said
    finally:
        house.leave()
