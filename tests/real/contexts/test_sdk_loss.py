"""Official SDKs that lose connections and try again by themselves never say a thing twice (CRP 5.6; #32, #33)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.contexts.dialogue import marks, new_mark, script
from real.contexts.lossy_line import Loss, LossyLine
from real.contexts.test_slice import house_of
from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY, ModelHouse
from real.llm.sdks import PYTHON, environment, need_python

pytestmark = pytest.mark.timeout(180)

SCRIPT = Path(__file__).parent / "sdk" / "use_contexts.py"
LOSSES: list[Loss] = ["", "answer", "", "request", "answer", "", "request", "request", ""]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider(script=script, pause=0.01) as started:
        yield started


@pytest.fixture(scope="module")
def house(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHouse]:
    need_python()
    started = house_of(tmp_path_factory.mktemp("loss"), "sqlite", ("openai", fake), workers=2).ready()
    yield started
    started.leave()


@pytest.mark.parametrize("keys", [False, True], ids=["bare", "keyed"])
@pytest.mark.parametrize("how", ["chat", "responses", "messages", "messages_stream"])
def test_a_lost_connection_never_doubles_what_was_said_33(
    house: ModelHouse, fake: FakeProvider, how: str, keys: bool
) -> None:  # fmt: skip
    fake.heard.clear()
    line = LossyLine(house.door)
    line.losses.extend(LOSSES)
    asked = [new_mark() for _ in range(4)]
    job: dict[str, Any] = {
        "base": f"http://127.0.0.1:{line.port}", "key": KEY, "how": how, "say": asked, "keys": keys,
        "session": f"{how}-{keys}",
    }  # fmt: skip
    try:
        done = subprocess.run([str(PYTHON), str(SCRIPT), json.dumps(job)], capture_output=True, text=True, timeout=90,
                              env=environment())  # fmt: skip
    finally:
        line.close()
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(text) for text in done.stdout.splitlines()]
    assert len(answers) == 4 and line.requests == 4 + sum(1 for loss in LOSSES if loss)
    said = [mark for ask, answer in zip(asked, answers, strict=True) for mark in (ask, answer.partition("and")[0])]
    assert marks(fake) == said[:-1]
    for mark in asked[:-1]:
        assert marks(fake).count(mark) == 1
