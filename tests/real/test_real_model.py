"""A real language model behind the gateway: its answers in every client's shape, its tokens in the books.

What it says is never judged, only that it says something and that what was read, written and paid is told alike to the
client, to the ledger and to the operator. The model is what ``make test`` installs; without it these tests are skipped.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import pytest

from real.llm.sdks import need_python, run_python
from real.processes import Gateway, free_port, until
from tidegate.control.local_model import NAME, LocalModel, News

KEY: Final = "a-key-for-real-models"
QUESTION: Final = [{"role": "user", "content": "Name three colours."}]
INPUT_PRICE: Final = 150_000_000
"""n$ per million tokens of input at the provider ``priced``: 0.15 USD."""
OUTPUT_PRICE: Final = 600_000_000

CONFIG: Final = """\
listeners: [{{address: "127.0.0.1:{port}"}}]
admin: {{address: "127.0.0.1:{admin}"}}
workers: 2
providers:
  - {{name: local, use: xllamacpp, base_url: "http://127.0.0.1:{model}/v1", price: free}}
  - {{name: plain, use: openai_compatible, base_url: "http://127.0.0.1:{model}/v1", price: free}}
  - name: priced
    use: xllamacpp
    base_url: "http://127.0.0.1:{model}/v1"
    price: {{input: 0.15, output: 0.60}}
models:
  - {{name: small, targets: [{{provider: local, model: {name}}}], strategy: {{use: fallback, cooldown: 1s}}}}
  - {{name: translated, targets: [{{provider: plain, model: {name}}}]}}
  - {{name: paid, targets: [{{provider: priced, model: {name}}}]}}
consumers:
  - {{name: tester, keys: [{key}], budget: {{usd: 1, per: day}}}}
routes:
  - {{name: models, match: {{path: /v1}}, filters: [{{use: api_key}}], llm: {{direct: true}}}}
  - {{name: gemini, match: {{path: /v1beta}}, filters: [{{use: api_key}}], llm: {{}}}}
  - {{name: cohere, match: {{path: /v2}}, filters: [{{use: api_key}}], llm: {{}}}}
  - {{name: ollama, match: {{path: /api}}, filters: [{{use: api_key}}], llm: {{}}}}
  - {{name: converse, match: {{path: /model}}, filters: [{{use: api_key}}], llm: {{}}}}
"""


@pytest.fixture(scope="module")
def model(network: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    """The model, ready."""
    running = LocalModel(tmp_path_factory.mktemp("model"), free_port(), longest=24)
    try:
        begin(running)
        yield running
    finally:
        running.stop()


def begin(running: LocalModel) -> None:
    """Start it and wait until it is ready. Skips the test, with the reason, where there can be none."""
    said: list[News] = []

    def over() -> bool:
        said.extend(running.news())
        return running.ready or any(news.state == "failed" for news in said)

    running.start()
    until(over, 60, lambda: str(said))
    if not running.ready:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"no language model here: {said[-1].text}")


class Client:
    """What callers do, and what they are told."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.port = port

    def call(self, path: str, body: dict[str, Any] | None = None, **fields: str) -> Told:
        """A whole call."""
        connection = self.connection()
        try:
            sent = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
            sent |= {name.replace("_", "-"): value for name, value in fields.items()}
            connection.request("GET" if body is None else "POST", path, body and json.dumps(body), sent)
            answer = connection.getresponse()
            head = {name.lower(): value for name, value in answer.getheaders()}
            return Told(answer.status, head, answer.read())
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def lines(self) -> list[dict[str, Any]]:
        """Every line of every segment of the ledger, in no particular order of calls."""
        segments = sorted((self.gateway.data / "ledger").glob("*.log"))
        return [json.loads(line.partition(" ")[2]) for file in segments for line in file.read_text().splitlines()]

    def record(self, request_id: str) -> dict[str, Any]:
        """The one record of a call."""
        done = [line["record"] for line in self.lines() if line["kind"] == "done"]
        (found,) = [record for record in done if record.get("request_id") == request_id]
        return dict(found)


class Told(NamedTuple):
    """One answer."""

    status: int
    head: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.status == 200, self.body
        assert self.head["content-type"].startswith("application/json"), self.head
        return json.loads(self.body)

    @property
    def events(self) -> list[tuple[str, str]]:
        """(event, data) of a stream; a comment has the event ``:``."""
        assert self.status == 200, self.body
        assert self.head["content-type"].startswith("text/event-stream"), self.head
        found = []
        for block in self.body.decode().split("\n\n")[:-1]:
            name = data = ""
            for line in block.split("\n"):
                field, _, value = line.partition(":")
                if not field:
                    name, data = ":", value.strip()
                elif field == "event":
                    name = value.strip()
                elif field == "data":
                    data = value.strip()
            found.append((name, data))
        return found

    @property
    def id(self) -> str:
        return self.head["x-request-id"]


@pytest.fixture(scope="module")
def client(model: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("gateway")
    port, admin = free_port(), free_port()
    config = folder / "tidegate.yaml"
    config.write_text(CONFIG.format(port=port, admin=admin, model=model.port, name=NAME, key=KEY))
    gateway = Gateway(config, folder, admin)
    try:
        gateway.ready()
        yield Client(gateway, port)
        assert gateway.stop() == 0, gateway.said
    finally:
        gateway.abandon()


def booked_alike(client: Client, told: Told, read: int, written: int) -> None:
    """The books hold what the client was told, and that it was free."""
    record = client.record(told.id)
    assert (record["usage"]["input"], record["usage"]["output"]) == (read, written)
    assert read > 0 and written > 0 and record.get("cost", 0) == 0
    assert (record["consumer"], record["provider"], record["model"]) == (
        "tester", told.head["x-tidegate-provider"], NAME,
    )  # fmt: skip
    opened = [line for line in client.lines() if line["kind"] == "open" and line["id"] == record["id"]]
    assert len(opened) == 1 and opened[0]["amount"] == 0


def costs_nothing(told: Told, read: int, written: int) -> None:
    assert told.head["x-tidegate-cost"] == "0"
    assert told.head["x-tidegate-usage"] == f"input={read}, output={written}"


BOTH: Final = pytest.mark.parametrize("name", ["small", "translated"])
"""A target that speaks the client's dialect, and one that needs every word translated or has a door of its own."""


# -- OpenAI's shapes ---------------------------------------------------------------------------------------------------


@BOTH
def test_chat_in_one_piece(client: Client, name: str) -> None:
    told = client.call("/v1/chat/completions", {"model": name, "max_tokens": 16, "messages": QUESTION})
    answer = told.json
    (choice,) = answer["choices"]
    assert answer["object"] == "chat.completion" and choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] and choice["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert told.head["x-tidegate-model"] == NAME
    costs_nothing(told, usage["prompt_tokens"], usage["completion_tokens"])
    booked_alike(client, told, usage["prompt_tokens"], usage["completion_tokens"])


@BOTH
def test_chat_as_a_stream_comes_token_by_token_and_ends_with_its_cost(client: Client, name: str) -> None:
    body = {"model": name, "max_tokens": 16, "stream": True, "messages": QUESTION}
    told = client.call("/v1/chat/completions", body | {"stream_options": {"include_usage": True}})
    *events, cost, end = told.events
    assert (cost, end) == ((":", "x-tidegate-cost: 0"), ("", "[DONE]"))
    chunks = [json.loads(data) for _, data in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    pieces = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    assert len([piece for piece in pieces if piece]) >= 3
    stops = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert len(stops) == 1 and stops[0] in ("stop", "length")
    usage = chunks[-1]["usage"]
    assert chunks[-1]["choices"] == []
    booked_alike(client, told, usage["prompt_tokens"], usage["completion_tokens"])


def test_a_stream_shows_usage_only_to_who_asked_and_is_booked_all_the_same(client: Client) -> None:
    body = {"model": "small", "max_tokens": 4, "stream": True, "messages": QUESTION}
    told = client.call("/v1/chat/completions", body)
    chunks = [json.loads(data) for event, data in told.events if event != ":" and data != "[DONE]"]
    assert [chunk for chunk in chunks if chunk.get("usage") or not chunk["choices"]] == []
    record = client.record(told.id)
    assert record["usage"]["output"] == 4 and record["usage"].get("source", "upstream") == "upstream"


@BOTH
def test_responses_in_one_piece(client: Client, name: str) -> None:
    told = client.call("/v1/responses", {"model": name, "max_output_tokens": 16, "input": "Name three colours."})
    answer = told.json
    (message,) = [item for item in answer["output"] if item["type"] == "message"]
    assert answer["object"] == "response" and answer["status"] in ("completed", "incomplete")
    assert message["role"] == "assistant" and message["content"][0]["type"] == "output_text"
    assert message["content"][0]["text"]
    usage = answer["usage"]
    costs_nothing(told, usage["input_tokens"], usage["output_tokens"])
    booked_alike(client, told, usage["input_tokens"], usage["output_tokens"])


@BOTH
def test_responses_as_a_stream(client: Client, name: str) -> None:
    body = {"model": name, "max_output_tokens": 16, "stream": True, "input": "Name three colours."}
    told = client.call("/v1/responses", body)
    events = [(event, json.loads(data)) for event, data in told.events if event not in ("", ":")]
    kinds = [event for event, _ in events]
    assert kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete")
    assert kinds.count("response.output_text.delta") >= 3
    assert all(data["type"] == event for event, data in events)
    pieces = "".join(data["delta"] for event, data in events if event == "response.output_text.delta")
    (whole,) = [data["text"] for event, data in events if event == "response.output_text.done"]
    assert pieces == whole
    usage = events[-1][1]["response"]["usage"]
    booked_alike(client, told, usage["input_tokens"], usage["output_tokens"])


def test_a_model_may_be_asked_for_by_its_provider_at_that_providers_price(client: Client) -> None:
    body = {"max_tokens": 4, "messages": QUESTION}
    told = client.call("/v1/chat/completions", body | {"model": f"local/{NAME}"})
    usage = told.json["usage"]
    costs_nothing(told, usage["prompt_tokens"], usage["completion_tokens"])
    told = client.call("/v1/chat/completions", body | {"model": f"priced/{NAME}"})
    assert told.status == 200 and float(told.head["x-tidegate-cost"]) > 0


def test_completions(client: Client) -> None:
    told = client.call("/v1/completions", {"model": "small", "max_tokens": 8, "prompt": "Once upon a time"})
    answer = told.json
    assert answer["object"] == "text_completion" and answer["choices"][0]["text"]
    usage = answer["usage"]
    costs_nothing(told, usage["prompt_tokens"], usage["completion_tokens"])
    booked_alike(client, told, usage["prompt_tokens"], usage["completion_tokens"])


# -- others' shapes ----------------------------------------------------------------------------------------------------


@BOTH
def test_messages_in_one_piece(client: Client, name: str) -> None:
    told = client.call("/v1/messages", {"model": name, "max_tokens": 16, "messages": QUESTION}, x_api_key=KEY)
    answer = told.json
    assert (answer["type"], answer["role"]) == ("message", "assistant")
    assert answer["content"][0]["type"] == "text" and answer["content"][0]["text"]
    assert answer["stop_reason"] in ("end_turn", "max_tokens")
    usage = answer["usage"]
    read = usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0)
    costs_nothing(told, read, usage["output_tokens"])
    booked_alike(client, told, read, usage["output_tokens"])


@BOTH
def test_messages_as_a_stream(client: Client, name: str) -> None:
    told = client.call("/v1/messages", {"model": name, "max_tokens": 16, "stream": True, "messages": QUESTION})
    events = [(event, json.loads(data)) for event, data in told.events if event not in (":", "ping")]
    kinds = [event for event, _ in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"} and len(kinds) >= 8
    assert (":", "x-tidegate-cost: 0") in told.events
    record = client.record(told.id)
    assert record["usage"]["output"] == events[-2][1]["usage"]["output_tokens"] > 0


def test_tokens_are_counted_as_the_model_reads_them(client: Client) -> None:
    body = {"model": "small", "messages": QUESTION}
    counted = client.call("/v1/messages/count_tokens", body).json["input_tokens"]
    read = client.call("/v1/chat/completions", body | {"max_tokens": 1}).json["usage"]["prompt_tokens"]
    assert counted == read > 0


def test_gemini_asks_the_same_model(client: Client) -> None:
    body = {
        "contents": [{"role": "user", "parts": [{"text": "Name three colours."}]}],
        "generationConfig": {"maxOutputTokens": 16},
    }
    told = client.call("/v1beta/models/small:generateContent", body, x_goog_api_key=KEY)
    (candidate,) = told.json["candidates"]
    assert candidate["content"]["role"] == "model" and candidate["content"]["parts"][0]["text"]
    usage = told.json["usageMetadata"]
    booked_alike(client, told, usage["promptTokenCount"], usage["candidatesTokenCount"])
    stream = client.call("/v1beta/models/small:streamGenerateContent?alt=sse", body)
    chunks = [json.loads(data) for event, data in stream.events if event != ":"]
    texts = [part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"].get("parts", ())]
    assert len([text for text in texts if text]) >= 3


def test_cohere_asks_the_same_model(client: Client) -> None:
    body = {"model": "small", "max_tokens": 16, "messages": QUESTION}
    told = client.call("/v2/chat", body)
    answer = told.json
    assert answer["message"]["role"] == "assistant" and answer["message"]["content"][0]["text"]
    assert answer["finish_reason"] in ("COMPLETE", "MAX_TOKENS")
    tokens = answer["usage"]["tokens"]
    booked_alike(client, told, tokens["input_tokens"], tokens["output_tokens"])
    stream = client.call("/v2/chat", body | {"stream": True})
    kinds = [json.loads(data)["type"] for event, data in stream.events if event != ":" and data != "[DONE]"]
    assert (kinds[0], kinds[-1]) == ("message-start", "message-end") and kinds.count("content-delta") >= 3


def test_ollama_asks_the_same_model(client: Client) -> None:
    body = {"model": "small", "options": {"num_predict": 16}, "messages": QUESTION}
    told = client.call("/api/chat", body | {"stream": False})
    answer = told.json
    assert answer["done"] is True and answer["message"]["role"] == "assistant" and answer["message"]["content"]
    booked_alike(client, told, answer["prompt_eval_count"], answer["eval_count"])
    stream = client.call("/api/chat", body)
    assert stream.head["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in stream.body.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert len([line for line in lines if line["message"]["content"]]) >= 3
    assert client.record(stream.id)["usage"]["output"] == lines[-1]["eval_count"]


def test_converse_asks_the_same_model(client: Client) -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "Name three colours."}]}],
            "inferenceConfig": {"maxTokens": 16}}  # fmt: skip
    told = client.call("/model/small/converse", body)
    message = told.json["output"]["message"]
    assert message["role"] == "assistant" and message["content"][0]["text"]
    assert told.json["stopReason"] in ("end_turn", "max_tokens")
    usage = told.json["usage"]
    booked_alike(client, told, usage["inputTokens"] + usage.get("cacheReadInputTokens", 0), usage["outputTokens"])
    stream = client.call("/model/small/converse-stream", body)
    assert stream.head["content-type"] == "application/vnd.amazon.eventstream"
    assert stream.body.count(b"contentBlockDelta") >= 3 and stream.body.count(b"messageStop") == 1
    assert client.record(stream.id)["usage"]["output"] > 0


def test_the_list_of_models_has_the_shape_of_who_asks(client: Client) -> None:
    names = ["paid", "small", "translated"]
    assert [each["id"] for each in client.call("/v1/models").json["data"]] == names
    told = client.call("/v1/models", anthropic_version="2023-06-01").json
    assert [(each["type"], each["id"]) for each in told["data"]] == [("model", name) for name in names]
    assert [each["name"] for each in client.call("/v1beta/models").json["models"]] == [f"models/{n}" for n in names]


SDKS: Final = {
    "openai": ("chat", "chat_stream"),
    "anthropic": ("messages_helper",),
    "genai": ("generate_stream",),
    "mistralai": ("chat",),
    "cohere": ("chat_stream",),
    "ollama": ("chat_stream",),
}
"""Official SDK → what its script of ``llm/sdk`` does here; ``llm/test_sdks`` does everything, at a fake vendor. Events
of Responses pass as the model's server writes them, which openai's strict validation does not take."""


@pytest.mark.parametrize("sdk", SDKS)
def test_official_sdks_hear_the_real_model(client: Client, sdk: str) -> None:
    need_python()
    things = [{"do": name, "model": "small"} for name in SDKS[sdk]]
    for told in run_python(sdk, {"base": f"http://127.0.0.1:{client.port}", "key": KEY, "do": things}):
        assert "error" not in told, told
        assert told["text"] and told["calls"] == []
        assert all(count > 0 for count in told["usage"]), told


# -- money -------------------------------------------------------------------------------------------------------------


def dollars(nusd: int) -> str:
    return f"{nusd / 1e9:.9f}".rstrip("0").rstrip(".")


def test_a_price_is_charged_to_the_last_nano_dollar_and_told_everywhere(client: Client) -> None:
    body = {"model": "paid", "max_tokens": 12, "messages": QUESTION}
    whole = client.call("/v1/chat/completions", body)
    stream = client.call("/v1/chat/completions", body | {"stream": True})
    spent = 0
    for told in (whole, stream):
        record = client.record(told.id)
        usage = record["usage"]
        cost = (usage["input"] * INPUT_PRICE + usage["output"] * OUTPUT_PRICE + 500_000) // 1_000_000
        # Tokens out of the cache have no price of their own here, so they cost what input does.
        assert record["cost"] == cost > 0
        assert sum(part["nusd"] for part in record["parts"]) == cost <= record["reserved"]
        spent += cost
    assert whole.head["x-tidegate-cost"] == dollars(client.record(whole.id)["cost"])
    assert (":", f"x-tidegate-cost: {dollars(client.record(stream.id)['cost'])}") in stream.events

    def reported() -> bool:
        status, usage = client.gateway.get("/api/v1/usage?by=provider,model")
        assert status == 200
        found = [each for each in usage["items"] if (each["provider"], each["model"]) == ("priced", "paid")]
        return [(each["requests"], each["cost_usd"]) for each in found] == [(2, dollars(spent))]

    until(reported, 10)


def test_a_client_that_leaves_is_billed_for_what_was_said(client: Client) -> None:
    connection = client.connection()
    body = {"model": "paid", "max_tokens": 250, "stream": True,
            "messages": [{"role": "user", "content": "Write a long story about a lighthouse."}]}  # fmt: skip
    fields = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), fields)
    answer = connection.getresponse()
    id = answer.headers["x-request-id"]
    for _ in range(12):
        assert answer.readline()
    answer.close()
    connection.close()

    def booked() -> bool:
        return any(line["kind"] == "done" and line["record"].get("request_id") == id for line in client.lines())

    until(booked, 10)
    record = client.record(id)
    assert record["end"] == "cancelled" and 3 <= record["usage"]["output"] < 250 and record["cost"] > 0


# -- the model as it is ------------------------------------------------------------------------------------------------


def test_more_streams_than_it_can_take_at_once_all_end_well(client: Client) -> None:
    def one(number: int) -> Told:
        body = {"model": "small", "max_tokens": 8, "stream": True, "messages": QUESTION}
        return client.call("/v1/chat/completions" if number % 2 else "/v1/messages", body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(12)))
    for told in answers:
        assert told.events[-1] in [("", "[DONE]"), ("message_stop", '{"type":"message_stop"}')]
        assert 0 < client.record(told.id)["usage"]["output"] <= 8


def test_a_model_that_dies_is_an_error_in_the_clients_words_and_is_used_again_when_it_is_back(
    client: Client, model: LocalModel
) -> None:
    process = model._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    body = {"model": "small", "max_tokens": 4, "messages": QUESTION}
    told = client.call("/v1/chat/completions", body)
    assert told.status in (502, 503) and set(json.loads(told.body)["error"]) >= {"message", "type", "code"}
    told = client.call("/v1/messages", body)
    assert told.status in (502, 503, 529) and json.loads(told.body)["type"] == "error"
    seen: list[News] = []
    until(lambda: seen.extend(model.news()) or model.ready, 30, lambda: str(seen))  # type: ignore[func-returns-value]
    assert [news.state for news in seen] == ["again", "loading", "ready"]
    until(lambda: client.call("/v1/chat/completions", body).status == 200, 20, each=0.2)
