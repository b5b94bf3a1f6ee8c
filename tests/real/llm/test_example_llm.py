"""``examples/llm.yaml``, unchanged: vendors are named by the environment, as its users do it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from real.llm.fake_dialects import TEXT
from real.llm.fake_provider import FakeProvider
from real.llm.sdks import need_python, run_python
from real.processes import ROOT, Gateway, until

pytestmark = pytest.mark.timeout(180)

DOOR: Final = 8080
ADMIN: Final = 9080
KEY: Final = "tg-team-a"
KEYS: Final = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


class Vendors:
    """Those that the example names."""

    def __init__(self) -> None:
        self.openai = FakeProvider("openai", "sk-of-openai")
        self.anthropic = FakeProvider("anthropic", "sk-of-anthropic")
        self.gemini = FakeProvider("gemini", "sk-of-gemini")
        self.local = FakeProvider("local", "")

    @property
    def all(self) -> tuple[FakeProvider, ...]:
        return self.openai, self.anthropic, self.gemini, self.local

    def environment(self) -> dict[str, str]:
        return {
            "OPENAI_BASE_URL": self.openai.url + "/v1", "ANTHROPIC_BASE_URL": self.anthropic.url,
            "GEMINI_BASE_URL": self.gemini.url, "LOCAL_BASE_URL": self.local.url + "/v1",
        }  # fmt: skip

    def keys(self) -> dict[str, str]:
        return {
            "OPENAI_API_KEY": self.openai.key, "ANTHROPIC_API_KEY": self.anthropic.key,
            "GEMINI_API_KEY": self.gemini.key,
        }  # fmt: skip


@pytest.fixture(scope="module")
def vendors(network: bool) -> Iterator[Vendors]:
    made = Vendors()
    for vendor in made.all:
        vendor.start()
    yield made
    for vendor in made.all:
        vendor.close()


def run(
    vendors: Vendors, folder: Any, patch: pytest.MonkeyPatch, keys: dict[str, str]
) -> Gateway:  # fmt: skip
    for name in KEYS:
        patch.delenv(name, raising=False)
    for name, value in {**vendors.environment(), **keys}.items():
        patch.setenv(name, value)
    return Gateway(ROOT / "examples" / "llm.yaml", folder, ADMIN)


def ask(model: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", DOOR, timeout=20)
    try:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        fields = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), fields)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read())
    finally:
        connection.close()


def test_the_example_serves_sdks_falls_back_and_tells_what_it_cost(
    vendors: Vendors, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_python()
    gateway = run(vendors, tmp_path, monkeypatch, vendors.keys())
    try:
        gateway.ready()
        job = {"base": f"http://127.0.0.1:{DOOR}", "key": KEY}
        things = [("chat", "fast"), ("chat_stream", "fast"), ("responses", "fast"), ("chat", "claude-opus-4-8")]
        done = [{"do": thing, "model": model} for thing, model in things]
        told = run_python("openai", {**job, "do": [*done, {"do": "models"}, {"do": "embeddings", "model": "embed"}]})
        assert [answer.get("text") for answer in told[:4]] == [TEXT] * 4
        assert told[4] == {"ids": ["embed", "fast"]}
        assert told[5]["usage"] == 11
        done = [{"do": "messages", "model": "claude-sonnet-5"}, {"do": "messages_helper", "model": "fast"}]
        assert [answer.get("text") for answer in run_python("anthropic", {**job, "do": done})] == [TEXT] * 2
        asked = [heard.asked.model for heard in vendors.anthropic.heard if heard.asked is not None]
        assert asked == ["claude-opus-4-8", "claude-sonnet-5"], "a pattern passes the name on"
        # The consumer's list has no Gemini in it, and what it may not use it does not learn more about.
        (refused,) = run_python("genai", {**job, "do": [{"do": "generate", "model": "gemini-2.5-flash"}]})
        assert refused["status"] == 403 and vendors.gemini.heard == []
        # gpt-4o-mini: 0.15 and 0.60 dollars per million tokens, 11 in and 7 out.
        status, fields, _ = ask("fast")
        assert (status, fields["x-tidegate-provider"], fields["x-tidegate-cost"]) == (200, "openai", "0.00000585")
        vendors.openai.refuse()
        status, fields, _ = ask("fast")
        assert (status, fields["x-tidegate-provider"]) == (200, "anthropic")
        vendors.anthropic.refuse()
        status, fields, _ = ask("fast")
        assert (status, fields["x-tidegate-provider"], fields["x-tidegate-cost"]) == (200, "local", "0")
        calls = sum(len(vendor.bills) for vendor in vendors.all)
        until(lambda: gateway.get("/api/v1/usage?by=model")[1]["total"]["requests"] >= calls, 5)
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.said
    finally:
        gateway.abandon()
        vendors.openai.listen()
        vendors.anthropic.listen()


def test_without_any_key_the_example_answers_from_the_local_model(
    vendors: Vendors, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = run(vendors, tmp_path, monkeypatch, {})
    try:
        gateway.ready()
        status, fields, body = ask("fast")
        assert (status, fields["x-tidegate-provider"], fields["x-tidegate-cost"]) == (200, "local", "0")
        assert body["choices"][0]["message"]["content"] == TEXT
        assert ask("claude-opus-4-8")[0] == 503
        assert gateway.stop() == 0
    finally:
        gateway.abandon()
