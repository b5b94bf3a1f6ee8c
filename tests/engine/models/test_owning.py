"""Files, batches, stored responses and raw doors: they belong to a provider (LLM 7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conversation import House, Side, settle
from model_house import (
    CHAT,
    SPOKEN,
    MemoryBooks,
    ask,
    asked_of,
    body_of,
    caller,
    chat,
    completion,
    model,
    models,
    provider,
    scene,
    target,
    whole,
)

from tidegate.assembly.facts import Facts, FactTable
from tidegate.ports.books import BudgetLevel
from tidegate.ports.models import CatalogueRow, DoorPlan, PriceRow
from tidegate.rules.owner_ids import tag_of


def doors(number: int) -> dict[str, DoorPlan]:
    return {kind: DoorPlan(kind, None, f"provider:p{number}", f"/v1/{kind}") for kind in ("files", "batches")}


P1, P2 = provider(1, doors=doors(1)), provider(2, doors=doors(2))
PLAN = models(model("fast", target(P1), target(P2, "other", 1)))
TAG = tag_of("p2", "default")


def request(method: str, path: str) -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: gw\r\n\r\n"


def test_an_upload_streams_to_the_provider_that_is_named_and_its_id_names_it() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        form = "--b\r\n" + "x" * 100_000 + "\r\n--b--\r\n"
        client.says(
            "POST /v1/files?provider=p2&purpose=batch HTTP/1.1\r\nHost: gw\r\n"
            f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {len(form)}\r\n\r\n" + form[:50_000]
        )
        await settle()
        heard = house.upstreams[0].hears()
        assert house.connected == ["10.0.0.2:80"]
        assert heard.startswith(b"POST /v1/files?purpose=batch HTTP/1.1\r\n")
        client.says(form[50_000:])
        assert house.upstreams[0].hears().endswith(b"--b--\r\n")
        house.upstreams[0].says(whole(200, {"id": "file-abc", "object": "file"}))
        assert body_of(client.hears()) == {"id": f"file-{TAG}-file-abc", "object": "file"}
        assert books.records[0].provider == "p2" and books.records[0].cost == 0

    scene(play, PLAN)


def test_where_tenants_share_an_account_its_objects_are_not_listed_and_strange_ids_are_not_found() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request("GET", "/v1/files?provider=p2"))
        assert b'"code":"forbidden"' in (got := client.hears()) or b" 403 " in got
        client.says(request("DELETE", f"/v1/files/file-{tag_of('p2', 'other')}-file-abc"))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 404 ")
        assert house.connected == []

    scene(play, replace(PLAN, several_tenants=True))


def test_an_id_finds_its_owner_and_is_its_own_again_there() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request("GET", f"/v1/files/file-{TAG}-file-abc/content"))
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        assert house.upstreams[0].hears().startswith(b"GET /v1/files/file-abc/content HTTP/1.1\r\n")
        house.upstreams[0].says("HTTP/1.1 200 OK\r\ncontent-type: application/jsonl\r\ncontent-length: 3\r\n\r\n{}\n")
        got = client.hears()
        assert got.endswith(b"\r\n\r\n{}\n") and b"content-type: application/jsonl\r\n" in got
        client.says(ask({"input_file_id": f"file-{TAG}-file-abc"}, "/v1/batches", content_type="application/json"))
        await settle()
        _, _, sent = asked_of(house.upstreams[0])
        assert sent == {"input_file_id": "file-abc"}
        house.upstreams[0].says(whole(200, {"id": "batch_1", "object": "batch", "input_file_id": "file-abc"}))
        assert body_of(client.hears())["input_file_id"] == f"file-{TAG}-file-abc"

    scene(play, PLAN)


def test_a_call_that_names_a_file_goes_to_its_owner_only() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        part = {"type": "file", "file": {"file_id": f"file-{TAG}-file-abc"}}
        client.says(ask(chat(messages=[{"role": "user", "content": [part]}])))
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        _, _, sent = asked_of(house.upstreams[0])
        assert sent["messages"][0]["content"][0]["file"]["file_id"] == "file-abc"
        house.upstreams[0].says(whole(200, completion()))

    scene(play, PLAN)


def test_what_no_provider_serves_is_404() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request("GET", "/v1/uploads/u1"))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 404 ")

    scene(play, PLAN)


def responses(number: int) -> DoorPlan:
    return DoorPlan("responses", SPOKEN["openai_responses"], f"provider:p{number}", "/v1/responses")


def test_a_stored_response_and_what_builds_on_it_go_to_one_provider_untouched() -> None:
    speaks = replace(provider(2), chat_doors=(provider(2).chat_doors[0], responses(2)))
    plan = models(
        model("fast", target(provider(1)), target(speaks, "other", 1)), dialects={**SPOKEN, "openai_chat": CHAT}
    )

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request("GET", "/v1/responses/resp_1/input_items?limit=2"))
        await settle()
        assert house.connected == ["10.0.0.2:80"]
        assert house.upstreams[0].hears().startswith(b"GET /v1/responses/resp_1/input_items?limit=2 HTTP/1.1\r\n")
        house.upstreams[0].says(whole(200, {"data": []}))
        assert body_of(client.hears()) == {"data": []}
        client.says(ask({"model": "fast", "input": "x", "previous_response_id": "resp_1"}, "/v1/responses"))
        await settle()
        assert house.upstreams[0].hears().startswith(b"POST /v1/responses HTTP/1.1\r\n")
        client.leaves()

    scene(play, plan)


def test_a_raw_door_passes_everything_with_the_providers_key() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(request("GET", "/v1/anything/else?a=1"))
        await settle()
        heard = house.upstreams[0].hears()
        assert heard.startswith(b"GET /v1/anything/else?a=1 HTTP/1.1\r\n") and b"Bearer key-1" in heard
        house.upstreams[0].says("HTTP/1.1 206 X\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok")
        assert client.hears().startswith(b"HTTP/1.1 206 ")
        client.says(ask({"model": "x"}, "/v1/thing", content_type="application/json"))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 403 ")

    scene(play, models(model("fast", target(P1)), facts=Facts(FactTable())), raw="p1")


LEVEL = BudgetLevel("default/consumer/bob/month", 10**9)


@pytest.mark.parametrize(
    ("rights", "path", "body", "answer"),
    [
        ({"budgets": (LEVEL,)}, "/v1/any", {"input": "x"}, b"HTTP/1.1 403 "),
        ({"budgets": (LEVEL,)}, "/v1/any", {"model": ["x"]}, b"HTTP/1.1 403 "),
        ({"budgets": (LEVEL,)}, "/v1beta/models/gem:generateContent", {}, b"HTTP/1.1 403 "),
        ({"models": (("cheap",),)}, "/v1/any", {"model": "dear"}, b"HTTP/1.1 403 "),
        ({"models": (("cheap",),)}, "/v1/any", {"input": "x"}, b"HTTP/1.1 403 "),
        ({"tenant_models": ("cheap",)}, "/v1/any", {"model": "dear"}, b"HTTP/1.1 404 "),
        ({"surfaces": ("chat",)}, "/v1/any", {"input": "x"}, b"HTTP/1.1 403 "),
    ],
)
def test_a_raw_door_is_no_way_around_budgets_and_access(
    rights: dict[str, Any], path: str, body: dict[str, Any], answer: bytes
) -> None:
    plan = models(model("fast", target(P1)), facts=Facts(FactTable()), callers=caller(**rights))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(body, path, content_type="application/json"))
        await settle()
        assert client.hears().startswith(answer) and house.connected == []
        client.says(ask(body, path, content_type="text/plain"))  # bodies that nobody reads are no way around either
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 403 ") and house.connected == []

    scene(play, plan, who="bob", raw="p1")


def test_a_batch_that_nobody_can_book_is_not_for_a_caller_with_a_budget() -> None:
    plan = models(model("fast", target(P1)), callers=caller(budgets=(LEVEL,)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"input_file_id": "file-1", "model": "fast"}, "/v1/batches"))
        await settle()
        assert b"price_unknown" in client.hears() and house.connected == []
        client.says(request("GET", "/v1/batches"))
        await settle()
        assert house.connected == ["10.0.0.1:80"]
        client.leaves()

    scene(play, plan, who="bob")


def test_what_a_raw_door_answers_is_paid_for_as_told_or_by_its_length() -> None:
    price = PriceRow("p", {"input": 10**6, "output": 10**9})

    class Known(Facts):
        def of(self, provider: str, model: str) -> Any:
            return price, CatalogueRow()

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask({"model": "x"}, "/v1/thing", content_type="application/json"))
        await settle()
        house.upstreams[0].says(whole(200, {"text": "y", "usage": {"input_tokens": 7, "output_tokens": 9}}))
        client.hears()
        assert (books.records[0].cost, books.records[0].flags) == (7 + 9 * 1000, ())
        client.says(ask({"model": "x"}, "/v1/thing", content_type="application/json"))
        await settle()
        house.upstreams[0].says(whole(200, {"text": "y" * 4000}))
        client.hears()
        assert books.records[1].cost >= 1000 * 1000 and books.records[1].flags == ("estimated",)

    scene(play, models(model("fast", target(P1)), facts=Known(FactTable())), raw="p1")
