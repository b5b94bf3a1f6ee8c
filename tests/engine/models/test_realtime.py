"""Realtime sessions (LLM 7)."""

from __future__ import annotations

import json

import pytest
from conversation import House, Side, settle
from model_house import MemoryBooks, ask, body_of, caller, model, models, provider, scene, target, whole

from tidegate.ports.books import BudgetLevel
from tidegate.ports.models import CallerPlan, DoorPlan

DOOR = {"realtime": DoorPlan("realtime", None, "provider:p1", "/v1/realtime")}
LEVEL = BudgetLevel("default/consumer/bob/month", 10**9)
PLAN = models(model("voice", target(provider(1, doors=DOOR))), callers=caller(budgets=(LEVEL,)))
UPGRADE = (
    "GET /v1/realtime?model=voice HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.mine\r\n\r\n"
)
SWITCHED = (
    "HTTP/1.1 101 X\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n"
    "sec-websocket-protocol: realtime\r\nset-cookie: a=b\r\n\r\n"
)


def said(event: dict[str, object], masked: bool = False) -> bytes:
    payload = json.dumps(event).encode()
    size = len(payload)
    flag = 0x80 if masked else 0
    head = bytes([0x81, flag | size]) if size < 126 else bytes([0x81, flag | 126]) + size.to_bytes(2, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


def done(read: int, written: int) -> bytes:
    usage = {"input_tokens": read, "output_tokens": written, "input_token_details": {"audio_tokens": 2}}
    return said({"type": "response.done", "response": {"usage": usage}})


async def opened(house: House, client: Side) -> Side:
    client.says(UPGRADE)
    await settle()
    up = house.upstreams[0]
    asked = up.hears()
    assert asked.startswith(b"GET /v1/realtime?model=up-model HTTP/1.1\r\n")
    assert b"authorization: Bearer key-1\r\n" in asked and b"mine" not in asked
    assert b"sec-websocket-protocol: realtime\r\n" in asked
    up.says(SWITCHED)
    heard = client.hears()
    assert heard.startswith(b"HTTP/1.1 101 ") and b"sec-websocket-protocol: realtime\r\n" in heard
    assert b"set-cookie" not in heard
    return up


def test_each_answer_is_booked_before_the_client_hears_of_its_end() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await opened(house, client)
        client.says(said({"type": "response.create"}, masked=True))
        assert up.hears() == said({"type": "response.create"}, masked=True)
        frame = done(10, 5)
        up.says(frame[:40])
        up.says(frame[40:])
        assert client.hears() == frame
        assert [r.cost for r in books.records] == [20_000]
        assert books.records[0].usage is not None and books.records[0].usage.audio_in == 2
        up.says(done(1, 1))
        client.leaves()
        assert up.closed
        assert [r.cost for r in books.records] == [20_000, 3000] and len(books.released) == 1

    scene(play, PLAN, who="bob")


def test_a_session_ends_with_the_budget() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await opened(house, client)
        books.limit = 20_000
        up.says(done(10, 5))
        heard = client.hears()
        assert heard.startswith(done(10, 5)) and b"budget_exceeded" in heard and heard.endswith(b"\x88\x02\x03\xf0")
        assert up.closed
        client.leaves()

    scene(play, PLAN, who="bob")


def test_the_model_of_a_session_stays() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        up = await opened(house, client)
        client.says(said({"type": "session.update", "session": {"model": "dear"}}, masked=True))
        assert b"dear" not in up.hears()
        assert b"cannot be changed" in client.hears()
        client.leaves()

    scene(play, PLAN, who="bob")


def test_what_is_no_socket_or_not_allowed_is_told_in_json() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says("GET /v1/realtime?model=voice HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 426 ")
        client.says(UPGRADE.replace("model=voice", "model=no"))
        assert client.hears().startswith(b"HTTP/1.1 404 ")

    scene(play, PLAN, who="bob")


def test_a_provider_that_refuses_the_socket_is_a_fault() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(UPGRADE)
        await settle()
        house.upstreams[0].says("HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n")
        assert client.hears().startswith(b"HTTP/1.1 502 ")

    scene(play, PLAN, who="bob")


SECRETS = "/v1/realtime/client_secrets"
SESSION = {"expires_after": {"anchor": "created_at", "seconds": 600}, "session": {"type": "realtime", "model": "voice"}}


def test_a_clients_secret_is_ordered_with_the_providers_key_and_costs_nothing() -> None:
    plan = models(model("voice", target(provider(1, doors=DOOR), price=None)), callers=caller(surfaces=("realtime",)))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(SESSION, SECRETS, authorization="Bearer mine"))
        await settle()
        heard = house.upstreams[0].hears()
        assert heard.startswith(b"POST /v1/realtime/client_secrets HTTP/1.1\r\n")
        assert b"authorization: Bearer key-1\r\n" in heard and b"mine" not in heard
        assert heard.endswith(json.dumps(SESSION).replace('"voice"', '"up-model"').encode())
        house.upstreams[0].says(whole(200, {"value": "ek_1", "expires_at": 5, "session": {}}))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 200 ") and body_of(got)["value"] == "ek_1"
        (record,) = books.records
        assert (record.surface, record.asked, record.model, record.cost) == (
            "realtime_secrets", "voice", "up-model", 0,
        )  # fmt: skip

    scene(play, plan, who="bob")


@pytest.mark.parametrize(
    ("callers", "status", "code"),
    [
        (caller(budgets=(LEVEL,)), 403, "price_unknown"),
        (caller(models=((),)), 403, "model_denied"),
        (caller(tenant_models=()), 404, "model_not_found"),
        (caller(surfaces=("chat",)), 403, "surface_denied"),
        (caller(tokens=(object(),)), 403, "surface_denied"),
    ],
)
def test_a_secret_is_not_for_callers_whose_spending_would_not_be_heard(
    callers: dict[str, CallerPlan], status: int, code: str
) -> None:
    plan = models(model("voice", target(provider(1, doors=DOOR))), callers=callers)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(SESSION, SECRETS))
        await settle()
        got = client.hears()
        assert got.startswith(f"HTTP/1.1 {status} ".encode()) and body_of(got)["error"]["code"] == code
        assert house.connected == []

    scene(play, plan, who="bob")


def test_a_secret_is_not_for_a_spent_budget_and_not_without_a_model() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        books.spent = books.limit
        client.says(ask(SESSION, SECRETS))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 429 ")
        client.says(ask({"model": "voice"}, SECRETS))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 400 ")

    scene(play, PLAN, who="bob")
