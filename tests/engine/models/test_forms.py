"""Surfaces whose bytes nobody reads: pictures, sound, vectors (LLM 6)."""

from __future__ import annotations

import json

from conversation import House, Side, settle
from model_house import MemoryBooks, ask, body_of, model, models, provider, scene, target, unchunked, whole

from tidegate.ports.models import DoorPlan, PriceRow

PATHS = {
    "embeddings": "/v1/embeddings", "speech": "/v1/audio/speech", "transcriptions": "/v1/audio/transcriptions",
    "images": "/v1/images/generations", "moderations": "/v1/moderations",
}  # fmt: skip
DOORS = {kind: DoorPlan(kind, None, "provider:p1", path) for kind, path in PATHS.items()}
UNITS = PriceRow("row", {"input": 10**9, "characters": 10**9, "images": 10**12, "seconds_in": 10**12})
PLAN = models(model("all", target(provider(1, doors=DOORS), price=UNITS)))
FORM = (
    '--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nall\r\n'
    '--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
)


def post(path: str, length: int, kind: str = "multipart/form-data; boundary=b") -> str:
    return f"POST {path} HTTP/1.1\r\nHost: gw\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"


def test_vectors_pass_and_are_billed_by_what_the_provider_counted() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "all", "input": "hi", "encoding_format": "base64"}, PATHS["embeddings"]))
        await settle()
        assert b'{"model": "up-model", "input": "hi", "encoding_format": "base64"}' in house.upstreams[0].hears()
        answer = json.dumps({"data": [{"embedding": "AAAA"}], "usage": {"prompt_tokens": 3, "total_tokens": 3}})
        house.upstreams[0].says(whole(200, answer))
        assert client.hears().endswith(answer.encode())
        assert (books.records[0].cost, books.records[0].surface) == (3000, "embeddings")

    scene(play, PLAN)


def test_speech_leaves_as_it_comes_and_costs_its_characters() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "all", "input": "hello", "voice": "x"}, PATHS["speech"]))
        await settle()
        up = house.upstreams[0]
        up.says(
            "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n3\r\n\xff\xfb\x00\r\n"
        )
        head, _, body = client.hears().partition(b"\r\n\r\n")
        assert b"content-type: audio/mpeg" in head and unchunked(body) == b"\xff\xfb\x00"
        up.says("1\r\nz\r\n0\r\n\r\n")
        assert client.hears().endswith(b"z\r\n0\r\n\r\n")
        assert books.records[0].cost == 5000

    scene(play, PLAN)


def test_a_voice_is_named_as_the_provider_does_and_an_unknown_one_is_told_as_lost() -> None:
    voices = {"alloy": "Kore", "default": "Puck"}
    plan = models(model("all", target(provider(1, doors=DOORS), price=UNITS), voices=voices))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        for voice, spoken in (("alloy", "Kore"), ("Kore", "Kore"), ("nova", "Puck")):
            client.says(ask({"model": "all", "input": "hello", "voice": voice}, PATHS["speech"]))
            await settle()
            assert f'{{"model": "up-model", "input": "hello", "voice": "{spoken}"}}'.encode() in (
                house.upstreams[0].hears().replace(b'"voice":"', b'"voice": "')
            )
            house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 1\r\n\r\nz")
            await settle()
            assert (b'x-tidegate-loss: "voice"\r\n' in client.hears()) is (voice == "nova")
        assert [record.losses for record in books.records] == [(), (), ("voice",)]
        client.says(ask({"model": "all", "input": "hello", "voice": "nova"}, PATHS["speech"], tidegate_loss="refuse"))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 400 ") and body_of(got)["error"]["code"] == "translation_loss"

    scene(play, plan)


def test_sound_that_breaks_off_is_cut_so_that_nobody_takes_it_for_whole() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "all", "input": "hello"}, PATHS["speech"]))
        await settle()
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 9\r\n\r\nabc")
        house.upstreams[0].leaves(ConnectionResetError())
        assert client.transport.aborted
        assert books.records[0].end == "cut"
        client.leaves(ConnectionResetError())

    scene(play, PLAN)


def test_a_form_streams_through_with_another_model_in_its_place() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        sound = "s" * 200_000
        whole_form = FORM + sound + "\r\n--b--\r\n"
        client.says(post(PATHS["transcriptions"], len(whole_form)) + whole_form[:30])
        await settle()
        assert house.connected == []
        client.says(whole_form[30:500])
        await settle()
        first = house.upstreams[0].hears()
        assert f"content-length: {len(whole_form) + 5}\r\n".encode() in first
        assert b"content-type: multipart/form-data; boundary=b\r\n" in first
        assert b"\r\n\r\nup-model\r\n--b" in first
        client.says(whole_form[500:100_000])
        assert len(house.upstreams[0].hears()) == 99_500
        client.says(whole_form[100_000:])
        assert house.upstreams[0].hears().endswith(b"--b--\r\n")
        house.upstreams[0].says(whole(200, {"text": "hi", "usage": {"type": "duration", "seconds": 2}}))
        got = client.hears()
        assert body_of(got)["text"] == "hi"
        assert books.records[0].asked == "all"

    scene(play, PLAN)


def test_a_form_without_a_model_or_for_an_unknown_one_is_refused() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        form = FORM.replace('"model"', '"other"') + "\r\n--b--\r\n"
        client.says(post(PATHS["transcriptions"], len(form)) + form)
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 400 ")
        form = FORM.replace("all", "no") + "\r\n--b--\r\n"
        client.says(post(PATHS["transcriptions"], len(form)) + form)
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 404 ")
        assert house.connected == []

    scene(play, PLAN)


def test_pictures_as_events_pass_and_their_usage_is_heard() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "all", "prompt": "x", "stream": True}, PATHS["images"]))
        await settle()
        data = '{"b64_json":"AA","usage":{"input_tokens":4,"output_tokens":0}}'
        event = f"event: image_generation.completed\ndata: {data}\n\n"
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        house.upstreams[0].says(f"{head}content-length: {len(event)}\r\n\r\n{event}")
        assert event.encode() in client.hears()
        assert books.records[0].cost == 4000

    scene(play, PLAN)


def test_a_model_without_that_door_is_told_so() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "all", "input": "x"}, "/v1/rerank"))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play, PLAN)


def test_a_form_that_names_a_second_model_behind_its_file_never_reaches_its_end() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        second = '\r\n--b\r\ncontent-disposition: form-data; name="model"\r\n\r\ndear'
        form = FORM + "s" * 100_000 + second + "\r\n--b--\r\n"
        client.says(post(PATHS["transcriptions"], len(form)) + form[:1000])
        await settle()
        assert house.connected == ["10.0.0.1:80"]
        client.says(form[1000:])
        await settle()
        heard = house.upstreams[0].hears()
        assert b"dear" not in heard and house.upstreams[0].transport.closing
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play, PLAN)
