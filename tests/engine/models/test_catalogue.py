"""The catalogue in three shapes (LLM 2, 13)."""

from __future__ import annotations

from typing import Any

from conversation import House, Side, settle
from model_house import (
    DONE,
    END,
    SPOKEN,
    STREAM_HEAD,
    USAGE,
    MemoryBooks,
    ask,
    body_of,
    caller,
    chat,
    chunk,
    completion,
    model,
    models,
    piece,
    provider,
    scene,
    target,
    whole,
)

from tidegate.ports.models import CatalogueRow

ROW = CatalogueRow(window=1000, max_output=100, created=1_700_000_000)
PLAN = models(
    model("fast", target(provider(1), catalogue=ROW)),
    model("secret", target(provider(1))),
    model("gone", target(provider(1)), retires=5.0),
    model("gpt-*", target(provider(1), "")),
    callers=caller(models=(("fast", "gone"),), aliases={"nice": "fast"}),
)


def get(path: str, *fields: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: gw\r\n" + "".join(f + "\r\n" for f in fields) + "\r\n"


def shown(request: str) -> tuple[int, Any]:
    kept: list[Any] = []

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request)
        got = client.hears()
        kept.extend((int(got[9:12]), body_of(got)))

    scene(play, PLAN, who="bob")
    return kept[0], kept[1]


def test_only_what_the_caller_may_use_is_listed_and_aliases_too() -> None:
    status, body = shown(get("/v1/models"))
    assert status == 200 and body["object"] == "list"
    assert [row["id"] for row in body["data"]] == ["fast", "nice"]
    assert body["data"][0] == {"id": "fast", "object": "model", "created": 1_700_000_000, "owned_by": "tidegate"}


def test_anthropics_and_geminis_clients_get_their_own_shape() -> None:
    _, body = shown(get("/v1/models", "anthropic-version: 2023-06-01"))
    assert (body["first_id"], body["last_id"], body["has_more"]) == ("fast", "nice", False)
    assert body["data"][0] == {
        "type": "model", "id": "fast", "display_name": "fast", "created_at": "2023-11-14T22:13:20Z",
        "lifecycle": "active",
    }  # fmt: skip
    _, body = shown(get("/v1beta/models"))
    assert body["models"][0]["name"] == "models/fast" and body["models"][0]["inputTokenLimit"] == 1000
    _, body = shown(get("/api/tags"))
    assert body["models"][0]["name"] == "fast"


def test_one_model_is_shown_and_another_does_not_exist() -> None:
    assert shown(get("/v1/models/fast"))[1]["id"] == "fast"
    assert shown(get("/v1beta/models/fast"))[1]["name"] == "models/fast"
    status, body = shown(get("/v1/models/secret"))
    assert status == 404 and body["error"]["code"] == "model_not_found"


def test_ollamas_clients_may_ask_for_one_model() -> None:
    path = "/api/show"
    row = CatalogueRow(window=1000, features=frozenset({"tools", "image"}))
    plan = models(model("fast", target(provider(1), catalogue=row)), dialects=SPOKEN)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "fast"}, path))
        shown = body_of(client.hears())
        assert shown["model_info"]["hosted.context_length"] == 1000
        assert shown["capabilities"] == ["completion", "tools", "vision"]
        for body in ({"model": "no"}, {"model": 7}, {}):
            client.says(ask(body, path))
            assert client.hears().startswith(b"HTTP/1.1 404 ")

    scene(play, plan)


LATER = 1_801_353_600.0  # 2027-01-31
RETIRING = models(
    model("fast", target(provider(1), catalogue=ROW), retires=LATER),
    model("gone", target(provider(1)), retires=5.0),
    model("hidden", target(provider(1)), retires=5.0, tenant="others"),
    dialects=SPOKEN,
)
SUNSET = b"\r\ndeprecation: @1801353600\r\nsunset: Sun, 31 Jan 2027 00:00:00 GMT\r\n"


def test_a_model_that_is_to_retire_says_so_in_each_shape_and_in_the_fields_of_its_own_page() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(get("/v1/models"))
        got = client.hears()
        assert [row["shutdown_date"] for row in body_of(got)["data"]] == ["2027-01-31"] and b"sunset" not in got
        client.says(get("/v1/models/fast", "anthropic-version: 2023-06-01"))
        got = client.hears()
        assert SUNSET in got
        shown = body_of(got)
        assert (shown["lifecycle"], shown["retires_at"]) == ("deprecated", "2027-01-31T00:00:00Z")
        client.says(get("/v1/models/gone"))
        assert client.hears().startswith(b"HTTP/1.1 404 ")

    scene(play, RETIRING)


def test_answers_of_a_model_that_is_to_retire_carry_its_day_faults_too() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[-1].says(whole(200, completion()))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 ") and SUNSET in got
        client.says(ask(chat(stream=True)))
        await settle()
        house.upstreams[-1].says(STREAM_HEAD + piece(chunk({"content": "x"}, "stop") + USAGE + DONE) + END)
        await settle()
        assert SUNSET in client.hears()
        client.says(ask(chat()))
        await settle()
        house.upstreams[-1].says(whole(400, {"error": {"message": "no"}}))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 400 ") and SUNSET in got

    scene(play, RETIRING)


def test_where_nothing_is_exposed_nothing_is_said() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        house.upstreams[-1].says(whole(200, completion()))
        await settle()
        assert b"sunset" not in client.hears()
        client.says(get("/v1/models/fast"))
        assert b"sunset" not in client.hears()

    scene(play, RETIRING, expose="none")


def test_a_retired_model_is_not_found_and_says_since_when_to_those_who_could_use_it() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat("gone")))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 404 ") and b"x-should-retry: false" in got
        assert body_of(got)["error"]["code"] == "model_not_found"
        assert body_of(got)["error"]["message"] == "The model 'gone' was retired on 1970-01-01."
        client.says(ask(chat("hidden")))
        await settle()
        assert body_of(client.hears())["error"]["message"] == "The model 'hidden' does not exist."
        assert house.connected == []

    scene(play, RETIRING)
