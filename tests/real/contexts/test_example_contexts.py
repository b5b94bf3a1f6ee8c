"""``examples/contexts.yaml``, unchanged: one dialogue over two vendors, the plane beside it, nothing across teams."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from real.contexts.dialogue import Answered, body_of, marks, new_mark, post, script
from real.llm.fake_provider import FakeProvider
from real.processes import ROOT, Gateway, until

pytestmark = pytest.mark.timeout(120)

DOOR: Final = 8080
A: Final = {"authorization": "Bearer tg-team-a"}
B: Final = {"authorization": "Bearer tg-team-b"}


@pytest.fixture
def vendors(network: bool) -> Iterator[tuple[FakeProvider, FakeProvider]]:
    with (
        FakeProvider("openai", "sk-of-openai", script=script) as openai,
        FakeProvider("anthropic", "sk-of-anthropic", script=script) as anthropic,
    ):
        yield openai, anthropic


def ask(method: str, path: str, fields: dict[str, str]) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", DOOR, timeout=20)
    try:
        connection.request(method, path, headers=fields)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def serves() -> bool:
    try:
        return ask("GET", "/.well-known/crp", {})[0] != 0
    except (OSError, http.client.HTTPException):
        return False


def turn(dialect: str, fields: dict[str, str], mark: str, model: str, **more: Any) -> Answered:
    return post(DOOR, dialect, {**body_of(dialect, mark, **more), "model": model}, fields)


def test_the_example_keeps_a_dialogue_over_two_vendors(
    vendors: tuple[FakeProvider, FakeProvider], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai, anthropic = vendors
    for name, value in (
        ("OPENAI_BASE_URL", openai.url + "/v1"), ("OPENAI_API_KEY", openai.key),
        ("ANTHROPIC_BASE_URL", anthropic.url), ("ANTHROPIC_API_KEY", anthropic.key),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    gateway = Gateway(ROOT / "examples" / "contexts.yaml", tmp_path, 0)
    try:
        until(lambda: gateway.process.poll() is not None or serves(), 30, lambda: gateway.said)
        assert gateway.process.poll() is None, gateway.said

        one, two, three = new_mark(), new_mark(), new_mark()
        first = turn("responses", A, one, "fast")
        assert first.status == 200, first.body
        second = turn("messages", A, two, "claude-sonnet-4-5", context={"parent": first.context["version"]})
        assert second.status == 200, second.body
        assert marks(anthropic) == [one, first.mark, two]
        third = turn("chat", A, three, "fast", context_id=first.context["id"])
        assert third.status == 200, third.body
        assert marks(openai) == [one, first.mark, two, second.mark, three]

        # The plane tells what was said, to its team only (#5).
        status, view = ask("GET", f"/v1/contexts/{first.context['id']}", A)
        assert status == 200, view
        assert [item["role"] for item in view["items"]] == ["user", "assistant"] * 3
        assert view["version"] == third.context["version"]
        status, own = ask("GET", "/v1/contexts", A)
        assert [each["id"] for each in own["data"]] == [first.context["id"]], (status, own)
        status, foreign = ask("GET", f"/v1/contexts/{first.context['id']}", B)
        _, unknown = ask("GET", "/v1/contexts/ctx_01J9ZK3V7Q2M8N4R6T0W5X1Y3B", B)
        assert (status, foreign["detail"]) == (404, unknown["detail"])
        assert ask("GET", "/v1/contexts", B)[1]["data"] == []
        assert ask("GET", "/v1/contexts", {})[0] == 401
        stolen = turn("responses", B, new_mark(), "fast", previous_response_id=third.id.replace("chatcmpl-", "resp_"))
        assert (stolen.status, stolen.body["error"]["code"]) == (400, "previous_response_not_found")

        status, found = ask("GET", "/.well-known/crp", {})
        assert (status, found["crp"]) == (200, ["1"])
        assert set(found["policies"]) == {"chat-default", "agent-default", "verbatim"}
        assert (gateway.data / "contexts.sqlite").stat().st_size > 0
    finally:
        assert gateway.stop() == 0, gateway.said
    assert "Traceback" not in gateway.said, gateway.said
