"""Every client's dialect before every provider's, over the whole lane (LLM 16, pairs)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    DIALECTS,
    PATHS,
    SPOKEN,
    MemoryBooks,
    ask,
    asked_of,
    body_of,
    model,
    models,
    provider,
    scene,
    target,
    unchunked,
    whole,
)
from msgspec.structs import replace

from tidegate.engine.models.frames import decoder_of
from tidegate.exchange.chat import (
    END,
    ChatAnswer,
    ChatRequest,
    Choice,
    Close,
    Message,
    Open,
    Piece,
    Start,
    Stopped,
    Text,
    Usage,
    Used,
)
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import MEDIA_TYPES, Voice
from tidegate.ports.models import DoorPlan, ProviderPlan
from tidegate.rules.chat_assembly import Assembler

ASKED = ChatRequest("fast", (Message("user", (Text(text="hi"),)),), max_output=50)
USAGE = Usage(input=10, output=5)
ANSWER = ChatAnswer("a1", "served", 1, (Choice(0, (Text(text="hello"),)),), USAGE)
DELTAS = [
    Start("a1", "served", 1), Open(0, 0, "text", Text(text="")), Piece(0, 0, "hel"), Piece(0, 0, "lo"), Close(0, 0),
    Stopped(0, "stop"), Used(USAGE), END,
]  # fmt: skip


def request_of(name: str, stream: bool) -> bytes:
    """The call as a client of *name* sends it."""
    dialect = SPOKEN[name]
    asked = replace(ASKED, stream=stream, want_usage=stream)
    body = dialect.write_request(asked, Voice(model="fast")).body
    path = dialect.path(PATHS[name], "fast", stream)
    head = f"POST {path} HTTP/1.1\r\nHost: gw\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer_of(name: str, stream: bool) -> bytes:
    """The answer as a provider of *name* sends it."""
    dialect = SPOKEN[name]
    if not stream:
        body = dialect.write_answer(ANSWER, ASKED, 1).body
        kind = "application/json"
    else:
        writer = dialect.events_writer(replace(ASKED, stream=True, want_usage=True), "a1", 1, dialect.framing)
        body = b"".join(writer.write(delta) for delta in DELTAS)
        kind = MEDIA_TYPES[dialect.framing]
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def read_by(name: str, got: bytes, stream: bool) -> ChatAnswer:
    """What a client of *name* understands."""
    dialect = SPOKEN[name]
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), got
    if not stream:
        answer: ChatAnswer = dialect.read_answer(body, Voice(), {})
        return answer
    decoder = decoder_of(dialect.framing)
    reader = dialect.events_reader(Voice(), {})
    assembler = Assembler()
    for event, data in decoder.feed(unchunked(body)) + decoder.close():
        for delta in reader.feed(event, data):
            assembler.take(delta)
    for delta in reader.close():
        assembler.take(delta)
    return assembler.answer()


def served_by(name: str) -> ProviderPlan:
    door = DoorPlan("chat", SPOKEN[name], "provider:p1", PATHS[name])
    plain = provider(1)
    return ProviderPlan("p1", "x", "x", {"chat": door}, (door,), plain.credentials)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("upstream", sorted(SPOKEN))
@pytest.mark.parametrize("client_name", sorted(SPOKEN))
def test_every_client_understands_every_provider(client_name: str, upstream: str, stream: bool) -> None:
    plan = models(model("fast", target(served_by(upstream))), dialects={**DIALECTS, **SPOKEN})

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request_of(client_name, stream))
        await settle()
        heard = house.upstreams[0].hears()
        assert b"up-model" in heard and b'"hi"' in heard
        assert upstream != "openai_chat" or (b"include_usage" in heard) == stream
        house.upstreams[0].says(answer_of(upstream, stream))
        answer = read_by(client_name, client.hears(), stream)
        assert [p.text for p in answer.choices[0].parts if isinstance(p, Text)] == ["hello"]
        assert answer.choices[0].stop == "stop"
        assert answer.usage is not None and (answer.usage.input, answer.usage.output) == (10, 5)
        record = books.records[0]
        assert (record.cost, record.dialect, record.flags) == (20_000, client_name, ())

    scene(play, plan)


@pytest.mark.parametrize("upstream", sorted(SPOKEN))
@pytest.mark.parametrize("client_name", sorted(SPOKEN))
def test_every_client_gets_every_providers_refusal_in_its_own_words(client_name: str, upstream: str) -> None:
    plan = models(model("fast", target(served_by(upstream))), dialects={**DIALECTS, **SPOKEN})

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request_of(client_name, False))
        await settle()
        fault = Fault("invalid_request", "bad words", side="client")
        written = SPOKEN[upstream].write_fault(fault, "r1")
        head = "".join(f"{name}: {value}\r\n" for name, value in written.fields)
        house.upstreams[0].says(
            f"HTTP/1.1 {written.status} X\r\n{head}content-length: {len(written.body)}\r\n\r\n".encode() + written.body
        )
        got = client.hears()
        head_, _, body = got.partition(b"\r\n\r\n")
        assert head_.startswith(b"HTTP/1.1 400 "), got
        fields = dict(line.split(": ", 1) for line in head_.decode().split("\r\n")[1:])
        read = SPOKEN[client_name].read_fault(400, fields, body, 0.0)
        assert (read.code, "bad words" in read.detail) == ("invalid_request", True)

    scene(play, plan)


@pytest.mark.parametrize("upstream", sorted(SPOKEN))
@pytest.mark.parametrize("client_name", sorted(SPOKEN))
def test_a_stream_that_breaks_is_an_error_to_every_client(client_name: str, upstream: str) -> None:
    plan = models(model("fast", target(served_by(upstream))), dialects={**DIALECTS, **SPOKEN})

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request_of(client_name, True))
        await settle()
        dialect = SPOKEN[upstream]
        writer = dialect.events_writer(ASKED, "a1", 1, dialect.framing)
        body = b"".join(writer.write(delta) for delta in DELTAS[:4])
        kind = MEDIA_TYPES[dialect.framing]
        house.upstreams[0].says(
            f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 99999\r\n\r\n".encode() + body
        )
        first = client.hears()
        house.upstreams[0].leaves(ConnectionResetError())
        rest = client.hears()
        assert rest.endswith(b"0\r\n\r\n")
        dialect = SPOKEN[client_name]
        reader = dialect.events_reader(Voice(), {})
        decoder = decoder_of(dialect.framing)
        kinds = []
        for event, data in decoder.feed(unchunked(first.partition(b"\r\n\r\n")[2] + rest)) + decoder.close():
            kinds += [type(delta).__name__ for delta in reader.feed(event, data)]
        assert "Failed" in kinds and "Stopped" not in kinds

    scene(play, plan)


def test_vectors_are_translated_between_dialects_that_have_them() -> None:
    from tidegate.dialects.gemini_embeddings import GeminiEmbeddings
    from tidegate.dialects.openai_embeddings import OpenaiEmbeddings

    gemini = GeminiEmbeddings()
    door = DoorPlan("embeddings", gemini, "provider:p1", "/v1beta/models/{model}:{action}")  # type: ignore[arg-type]
    spoken = {**DIALECTS, "openai_embeddings": OpenaiEmbeddings(), "gemini_embeddings": gemini}
    plan = models(model("fast", target(provider(1, doors={"embeddings": door}))), dialects=spoken)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "fast", "input": ["a", "b"]}, "/v1/embeddings"))
        await settle()
        line, _, _ = asked_of(house.upstreams[0])
        assert line == "POST /v1beta/models/up-model:batchEmbedContents HTTP/1.1"
        house.upstreams[0].says(whole(200, {"embeddings": [{"values": [0.5]}, {"values": [0.25]}]}))
        assert [row["embedding"] for row in body_of(client.hears())["data"]] == [[0.5], [0.25]]
        client.says(ask({"content": {"parts": [{"text": "a"}]}}, "/v1beta/models/fast:embedContent"))
        await settle()
        line, _, _ = asked_of(house.upstreams[0])
        assert line == "POST /v1beta/models/up-model:embedContent HTTP/1.1"
        house.upstreams[0].says(whole(200, {"embedding": {"values": [0.5]}}))
        assert body_of(client.hears()) == {"embedding": {"values": [0.5]}}

    scene(play, plan)


EMBEDDERS = ("openai_embeddings", "gemini_embeddings", "cohere_embeddings", "ollama_embeddings")
EMBED_PATHS = {
    "openai_embeddings": "/v1/embeddings", "gemini_embeddings": "/v1beta/models/fast:batchEmbedContents",
    "cohere_embeddings": "/v2/embed", "ollama_embeddings": "/api/embed",
}  # fmt: skip


@pytest.mark.parametrize("upstream", EMBEDDERS)
@pytest.mark.parametrize("client_name", EMBEDDERS)
def test_every_client_gets_vectors_of_every_provider(client_name: str, upstream: str) -> None:
    from tidegate.assembly.models import dialects
    from tidegate.exchange.embeddings import EmbeddingInput, EmbeddingsAnswer, EmbeddingsRequest, Vector

    spoken: dict[str, Any] = dict(dialects())
    asker, speaker = spoken[client_name], spoken[upstream]
    path = EMBED_PATHS[upstream].replace("fast:batchEmbedContents", "{model}:{action}").replace("models/fast", "models")
    door = DoorPlan("embeddings", speaker, "provider:p1", path)
    plan = models(model("fast", target(provider(1, doors={"embeddings": door}))), dialects=spoken)
    asked = EmbeddingsRequest("fast", (EmbeddingInput(text="a"), EmbeddingInput(text="b")), purpose="query")
    vectors = (Vector(0, b"[0.5]"), Vector(1, b"[0.25]"))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(asker.write_request(asked, Voice(model="fast")).body.decode(), EMBED_PATHS[client_name]))
        await settle()
        _, _, heard = asked_of(house.upstreams[0])
        told = json.dumps(heard)
        assert '"a"' in told and '"b"' in told and "up-model" in told
        made = speaker.write_answer(EmbeddingsAnswer("up", "i", vectors, Usage(input=7)), asked, 0)
        house.upstreams[0].says(whole(200, made.body.decode()))
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 "), got
        assert asker.read_answer(got.partition(b"\r\n\r\n")[2], Voice(), {}).vectors == vectors
        assert books.records[0].cost == 7_000

    scene(play, plan)


def test_a_clients_own_words_for_vectors_find_the_second_door() -> None:
    from tidegate.assembly.models import dialects

    spoken: dict[str, Any] = dict(dialects())
    doors = {
        "embeddings": DoorPlan("embeddings", spoken["openai_embeddings"], "provider:p1", "/v1/embeddings"),
        "embed": DoorPlan("embed", spoken["ollama_embeddings"], "provider:p1", "/api/embed"),
    }
    plan = models(model("fast", target(provider(1, doors=doors))), dialects=spoken)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        for path in ("/api/embed", "/v1/embeddings"):
            client.says(ask('{"model":"fast","input":"a", "odd":1}', path))
            await settle()
            heard = house.upstreams[0].hears()
            assert heard.startswith(f"POST {path} ".encode()) and heard.endswith(b'"input":"a", "odd":1}')
            house.upstreams[0].says(whole(200, {"embeddings": [[1]], "data": [], "prompt_eval_count": 1}))
            assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, plan)
