"""Upstreams that others wrote (Must show 1): ``llmock`` (PyPI), which also grades how we retry, and
``@copilotkit/aimock`` (npm). What they are told to say reaches official SDKs through the gateway, and their faults do
not, as long as nothing has been said."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from real.llm.house import KEY, PRICE, ModelHouse, model
from real.llm.sdks import AIMOCK, LLMOCK, environment, need_npm, need_python, run_python
from real.processes import free_port, listening, until

pytestmark = pytest.mark.timeout(300)

SAID: Final = "Hello, wörld 🌍. 你好."
CALLS: Final = [["get_weather", {"city": "Paris"}], ["get_weather", {"city": "Zürich 🏔"}]]


@contextlib.contextmanager
def program(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """A server of somebody else's, listening."""
    log = folder / "program.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or listening(port), 30, lambda: log.read_text(errors="replace"))
        assert process.poll() is None, log.read_text(errors="replace")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)


@contextlib.contextmanager
def gateway(folder: Path, providers: list[dict[str, Any]], **more: Any) -> Iterator[ModelHouse]:
    """One model for each provider, ``at-<name>``."""
    models = [model(f"at-{each['name']}", each["name"], **more) for each in providers]
    house = ModelHouse(folder / "gateway", {"providers": providers, "models": models})
    try:
        yield house.ready()
        house.leave()
    finally:
        house.gateway.abandon()


def job(house: ModelHouse, *things: tuple[str, str]) -> dict[str, Any]:
    return {"base": house.base, "key": KEY, "do": [{"do": thing, "model": asked} for thing, asked in things]}


# -- llmock ------------------------------------------------------------------------------------------------------------


class Llmock:
    """Its control plane."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, f"/_llmock/{path}", json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            assert answer.status in (200, 201), found
            return found
        finally:
            connection.close()

    def then(self, *behaviors: dict[str, Any]) -> None:
        """What the next calls meet, after a clean start."""
        self.ask("POST", "reset")
        if behaviors:
            self.ask("POST", "scenario", {"behaviors": list(behaviors)})

    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", "verdict")
        return found


@pytest.fixture(scope="module")
def mocked(network: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Llmock, ModelHouse]]:
    need_python()
    folder = tmp_path_factory.mktemp("llmock")
    port = free_port()
    at = f"http://127.0.0.1:{port}"
    common = {"api_key": "sk-mock", "price": PRICE}
    providers = [
        {"name": "openai", "use": "openai", "base_url": f"{at}/v1", **common},
        {"name": "anthropic", "use": "anthropic", "base_url": f"{at}/anthropic", **common},
        {"name": "gemini", "use": "gemini", "base_url": f"{at}/gemini", **common},
        {"name": "cohere", "use": "cohere", "base_url": f"{at}/cohere", **common},
    ]
    command = [str(LLMOCK), "serve", "--port", str(port), "--log-level", "warning", "--response-style", "hello"]
    with program(command, folder, port), gateway(folder, providers) as house:
        yield Llmock(port), house


SDKS: Final = {
    "openai": ("chat", "chat_stream"), "anthropic": ("messages", "messages_helper"),
    "genai": ("generate", "generate_stream"), "cohere": ("chat", "chat_stream"), "ollama": ("chat", "chat_stream"),
}  # fmt: skip
VENDORS: Final = ("openai", "anthropic", "gemini", "cohere")


@pytest.mark.parametrize("sdk", SDKS)
def test_llmocks_vendors_answer_every_sdk(mocked: tuple[Llmock, ModelHouse], sdk: str) -> None:
    mock, house = mocked
    mock.then({"type": "reply", "text": SAID, "times": None})
    asked = [(thing, f"at-{vendor}") for vendor in VENDORS for thing in SDKS[sdk]]
    told = run_python(sdk, job(house, *asked))
    assert [(name, answer.get("text"), answer.get("error")) for name, answer in zip(asked, told, strict=True)] == [
        (name, SAID, None) for name in asked
    ]
    assert all(answer["usage"][0] > 0 and answer["usage"][1] > 0 for answer in told)
    calls = [{"name": name, "arguments": given} for name, given in CALLS]
    mock.then({"type": "reply", "tool_calls": calls, "times": None})
    told = run_python(sdk, job(house, *[(thing, f"at-{v}") for v in VENDORS for thing in ("tools", "tools_stream")]))
    assert [[call[1:] for call in answer.get("calls", [answer])] for answer in told] == [CALLS] * len(told)


def ask(house: ModelHouse, name: str) -> tuple[int, dict[str, Any]]:
    """A call without an SDK, which would try again by itself."""
    connection = http.client.HTTPConnection("127.0.0.1", house.door, timeout=30)
    try:
        body = {"model": name, "messages": [{"role": "user", "content": "What is the weather?"}]}
        fields = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), fields)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_llmock_finds_no_fault_with_how_we_try_again(mocked: tuple[Llmock, ModelHouse]) -> None:
    """A 429 is waited out as long as its ``Retry-After`` says, a 5xx is tried again after a pause, a 400 never."""
    mock, house = mocked
    for vendor in VENDORS:
        for fail in ({"status": 429, "retry_after": 1}, {"status": 503}, {"status": 500}):
            mock.then({"type": "fail", **fail})
            status, told = ask(house, f"at-{vendor}")
            assert status == 200, (vendor, fail, told)
            verdict = mock.verdict()
            assert (verdict["passed"], verdict["findings"], verdict["attempts"]) == (True, [], 2), (vendor, verdict)
        mock.then({"type": "fail", "status": 400})
        assert ask(house, f"at-{vendor}")[0] == 400
        assert mock.verdict()["attempts"] == 1


@pytest.mark.parametrize("kind", ["disconnect", "truncate", "malformed"])
def test_llmocks_broken_streams_are_never_taken_for_whole_ones(mocked: tuple[Llmock, ModelHouse], kind: str) -> None:
    mock, house = mocked
    mock.then(
        {"type": "reply", "text": "one two three four five six seven eight", "times": None},
        {"type": "stream_fault", "kind": kind, "after_chunks": 4, "times": None},
    )
    for sdk, (_, thing) in SDKS.items():
        told = run_python(sdk, job(house, *[(thing, f"at-{vendor}") for vendor in VENDORS]))
        whole = [vendor for vendor, answer in zip(VENDORS, told, strict=True) if "error" not in answer]
        assert whole == [], (sdk, kind, told)


# -- aimock ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ai(network: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHouse]:
    need_python()
    need_npm()
    folder = tmp_path_factory.mktemp("aimock")
    port = free_port()
    calls = [{"name": name, "arguments": given} for name, given in CALLS]
    fixtures = [
        {"match": {"toolName": "get_weather", "hasToolResult": False}, "response": {"toolCalls": calls}},
        {"match": {"userMessage": "weather"}, "response": {"content": SAID}},
    ]
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    (folder / "aimock.json").write_text(json.dumps({"llm": {"fixtures": str(folder / "fixtures.json")}}))
    at = f"http://127.0.0.1:{port}"
    common = {"api_key": "sk-mock", "price": PRICE}
    providers = [
        {"name": "openai", "use": "openai", "base_url": f"{at}/v1", **common},
        {"name": "anthropic", "use": "anthropic", "base_url": at, **common},
        {"name": "gemini", "use": "gemini", "base_url": at, **common},
        {"name": "cohere", "use": "cohere", "base_url": at, **common},
        {"name": "ollama", "use": "ollama", "base_url": at, **common},
        {"name": "bedrock", "use": "bedrock", "base_url": at, **common},
    ]
    with (
        program([str(AIMOCK), "-c", "aimock.json", "-p", str(port)], folder, port),
        gateway(folder, providers) as house,
    ):
        yield house


@pytest.mark.parametrize("sdk", SDKS)
def test_aimocks_vendors_answer_every_sdk(ai: ModelHouse, sdk: str) -> None:
    vendors = ("openai", "anthropic", "gemini", "cohere", "ollama", "bedrock")
    texts = [(thing, f"at-{vendor}") for vendor in vendors for thing in SDKS[sdk]]
    tools = [(thing, f"at-{vendor}") for vendor in vendors for thing in ("tools", "tools_stream")]
    told = run_python(sdk, job(ai, *texts, *tools))
    wrong = []
    for (thing, asked), answer in zip(texts + tools, told, strict=True):
        right = [call[1:] for call in answer.get("calls", [])] == CALLS if "tools" in thing else None
        if right is False or (right is None and answer.get("text") != SAID):
            wrong.append(f"{thing} {asked}: {answer}")
    assert not wrong, "\n".join(wrong)
