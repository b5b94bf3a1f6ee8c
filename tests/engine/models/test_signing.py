"""Whose key: the client's own, and the one that pays (LLM 2, 8)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from conversation import House, Side, settle
from model_house import (
    ANTHROPIC,
    ONE,
    MemoryBooks,
    ask,
    body_of,
    chat,
    completion,
    model,
    models,
    provider,
    scene,
    target,
    whole,
)

from fakes import FakeConsumers
from tidegate.engine.lanes.llm import present_key
from tidegate.engine.models.signing import pick_credential, sign
from tidegate.engine.models.standing import ModelStates
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.filters.api_key import ApiKey, Config
from tidegate.ports.consumers import Consumer
from tidegate.ports.models import Carried, CredentialPlan, DoorPlan, LlmPlan
from tidegate.ports.provider import ServiceAccount, SigV4
from tidegate.rules.sigv4 import body_hash, presented, verify
from tidegate.rules.sigv4 import sign as sigv4_sign


@pytest.mark.parametrize(
    ("fields", "path", "status"),
    [
        ({"authorization": "Bearer good"}, "/v1/chat/completions", 200),
        ({"x_api_key": "good"}, "/v1/chat/completions", 200),
        ({"api_key": "good"}, "/v1/chat/completions", 200),
        ({"x_goog_api_key": "good"}, "/v1/chat/completions", 200),
        ({}, "/v1/chat/completions?key=good", 200),
        ({}, "/v1/chat/completions", 401),
        ({"x_api_key": "bad"}, "/v1/chat/completions", 401),
        ({"x_api_key": "good", "authorization": "Bearer other"}, "/v1/chat/completions", 400),
    ],
)
def test_an_sdks_key_is_found_wherever_it_is_and_never_travels_on(
    fields: dict[str, str], path: str, status: int
) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        consumers = house.tools.consumers
        assert isinstance(consumers, FakeConsumers)
        consumers.add(Consumer("bob"), "good")
        tools = house.tools.for_part("llm/0")
        key = ApiKey(Config(), tools)
        seen: list[str] = []

        def check(x: Exchange) -> None:
            key.on_request_head(x)
            assert x.identity is not None
            seen.append(x.identity.consumer)
            assert "good" not in x.query

        hooks = house.plan.routes[0].on_request_head
        object.__setattr__(house.plan.routes[0], "on_request_head", (type(hooks[0])(check, "api_key"),))
        client.says(ask(chat(), path, **fields))
        await settle()
        if status != 200:
            got = client.hears()
            assert got.startswith(f"HTTP/1.1 {status} ".encode()) and "message" in body_of(got)["error"]
            assert house.connected == []
            return
        assert seen == ["bob"]
        heard = house.upstreams[0].hears()
        assert b"good" not in heard and b"authorization: Bearer key-1\r\n" in heard
        house.upstreams[0].says(whole(200, completion()))

    scene(play, ONE, query_key=True)


def test_other_requests_of_the_same_field_block_keep_theirs() -> None:
    from fakes import exchange

    x = exchange("POST", "/v1/x", [("api-key", "k")])
    before = x.head.index
    present_key(x, LlmPlan())
    assert x.head.index["x-api-key"] == "k" and "x-api-key" not in before


def test_credentials_take_turns_and_the_one_that_is_back_first_is_named_when_all_rest() -> None:
    keys = tuple(CredentialPlan(f"c{n}") for n in (1, 2))
    one = provider(1, credentials=keys)
    states = ModelStates()
    assert pick_credential(one, "m", states, 0.0) == (keys[0], 0.0)
    states.turns["p1"] = 1
    assert pick_credential(one, "m", states, 0.0) == (keys[1], 0.0)
    states.cooldowns.failed("p1|c2", 0.0, delay=9.0, longest=9.0, at_once=True)
    assert pick_credential(one, "m", states, 0.0) == (keys[0], 0.0)
    states.cooldowns.failed("p1|c1|m", 0.0, delay=5.0, longest=9.0, at_once=True)
    assert pick_credential(one, "m", states, 0.0) == (keys[0], 5.0)
    assert pick_credential(one, "other", states, 0.0) == (keys[0], 0.0)
    assert pick_credential(provider(2, credentials=()), "m", states, 0.0) == (None, 0.0)


def test_a_signature_is_made_over_the_request_as_it_is_sent() -> None:
    keys = (CredentialPlan("c", signer="sigv4", auth=SigV4(), secret="AKID:secret:session", region="eu-west-1"),)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        head, _, body = house.upstreams[0].hears().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = [(name, value) for name, _, value in [line.partition(": ") for line in lines]]
        assert ("x-amz-security-token", "session") in fields
        claim = presented(dict(fields)["authorization"])
        assert claim is not None and (claim.access_key, claim.region) == ("AKID", "eu-west-1")
        path = first.split(" ")[1]
        verify(claim, "POST", path, "", fields, body_hash(body), "secret", house.tools.wall())
        house.upstreams[0].says(whole(200, completion()))

    scene(play, models(model("fast", target(provider(1, credentials=keys)))))


def formatted(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M")


def test_a_clock_that_differs_is_learnt_from_the_refusal_and_the_call_is_signed_anew() -> None:
    keys = (CredentialPlan("c", signer="sigv4", auth=SigV4(), secret="AKID:secret", region="eu-west-1"),)

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        wall = house.tools.wall()
        date = "date: " + formatdate(wall + 900.0, usegmt=True)
        ours, theirs = [f"x-amz-date: {formatted(at)}".encode() for at in (wall, wall + 900.0)]
        client.says(ask(chat()))
        await settle()
        assert ours in house.upstreams[0].hears()
        house.upstreams[0].says(whole(403, {"message": "Signature expired"}, date))
        await settle()
        assert theirs in house.upstreams[0].hears()
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        client.says(ask(chat()))
        await settle()
        assert theirs in house.upstreams[0].hears()
        house.upstreams[0].says(whole(403, {"message": "No"}, date))  # by the same clock: a refusal is a refusal
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 502 ")

    scene(play, models(model("fast", target(provider(1, credentials=keys)))))


# -- access tokens (LLM 8) ---------------------------------------------------------------------------------------------

TOKEN = (CredentialPlan("c", signer="gcp", auth=ServiceAccount(), secret="{}"),)


def test_without_its_token_a_provider_is_out_for_the_next_target_and_control_is_asked() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        asked: list[tuple[str, bool]] = []
        house.tools.access_tokens._send = lambda key, refused: asked.append((key, refused))
        client.says(ask(chat()))
        await settle()
        assert house.connected == ["10.0.0.2:80"] and asked == [("p1|c", False)]
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")
        house.tools.access_tokens.put("p1|c", "ya29.t", 3600.0)
        client.says(ask(chat()))
        await settle()
        assert b"authorization: Bearer ya29.t\r\n" in house.upstreams[1].hears()
        house.upstreams[1].says(whole(200, completion()))

    scene(play, models(model("fast", target(provider(1, credentials=TOKEN)), target(provider(2), index=1))))


def test_a_lone_target_without_its_token_is_503_and_served_as_soon_as_the_token_comes() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat()))
        await settle()
        got = client.hears()
        assert got.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in got
        house.tools.access_tokens.put("p1|c", "t1", 3600.0)
        client.says(ask(chat()))
        await settle()
        assert b"authorization: Bearer t1\r\n" in house.upstreams[0].hears()
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, models(model("fast", target(provider(1, credentials=TOKEN)))))


def test_a_refused_token_rests_until_control_has_another() -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        tokens = house.tools.access_tokens
        asked: list[tuple[str, bool]] = []
        tokens._send = lambda key, refused: asked.append((key, refused))
        tokens.put("p1|c", "t1", 3600.0)
        client.says(ask(chat()))
        await settle()
        house.upstreams[0].says(whole(401, {"error": {"message": "expired"}}))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 502 ") and asked == [("p1|c", True)]
        client.says(ask(chat()))
        await settle()
        assert client.hears().startswith(b"HTTP/1.1 429 ")
        tokens.put("p1|c", "t2", 3600.0)
        client.says(ask(chat()))
        await settle()
        assert b"authorization: Bearer t2\r\n" in house.upstreams[0].hears()
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, models(model("fast", target(provider(1, credentials=TOKEN)))))


def test_a_way_to_sign_without_its_token_is_a_fault_and_not_an_open_door() -> None:
    with pytest.raises(Fault, match="no_token"):
        sign(CredentialPlan("c", signer="gcp"))
    assert sign(CredentialPlan("c", signer="oauth"), "t").fields == (("authorization", "Bearer t"),)
    assert sign(None) == ((), ())


def test_a_door_gets_the_key_where_it_wants_it_and_nowhere_else() -> None:
    elsewhere = (Carried("messages", (("x-api-key", "k"),)), Carried("models", query=(("key", "k"),)))
    key = CredentialPlan("c", (("authorization", "Bearer k"),), elsewhere=elsewhere)
    assert sign(key, "", "chat") == ((("authorization", "Bearer k"),), ())
    assert sign(key, "", "messages") == ((("x-api-key", "k"),), ())
    assert sign(key, "", "models") == ((), (("key", "k"),))
    message = DoorPlan("messages", ANTHROPIC, "provider:p1", "/anthropic/v1/messages")
    both = provider(1, credentials=(key,))
    both = replace(both, doors={**both.doors, "messages": message}, chat_doors=(*both.chat_doors, message))

    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        client.says(ask(chat(max_tokens=3), "/v1/messages", anthropic_version="2023-06-01"))
        await settle()
        heard = house.upstreams[0].hears()
        assert heard.startswith(b"POST /anthropic/v1/messages ")
        assert b"\r\nx-api-key: k\r\n" in heard and b"authorization" not in heard
        client.leaves()

    scene(play, models(model("fast", target(both))))


# -- signed requests of clients (LLM 2) --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "access_key", "more", "status"),
    [
        ("s3cret", "cfg1", "", 200),
        ("s3cret", "cfg1", "x-api-key: good\r\n", 400),
        ("other", "cfg1", "", 401),
        ("s3cret", "cfg2", "", 401),
    ],
)
def test_a_signed_request_is_its_keys_and_its_body_is_under_the_signature(
    secret: str, access_key: str, more: str, status: int
) -> None:
    async def play(house: House, client: Side, books: MemoryBooks) -> None:
        consumers = house.tools.consumers
        assert isinstance(consumers, FakeConsumers)
        consumers.access_keys["cfg1"] = (Consumer("bob", key_id="k1"), "s3cret")
        key = ApiKey(Config(), house.tools.for_part("llm/0"))
        seen: list[str] = []

        def check(x: Exchange) -> None:
            key.on_request_head(x)
            assert x.identity is not None
            seen.append(x.identity.consumer)

        hooks = house.plan.routes[0].on_request_head
        object.__setattr__(house.plan.routes[0], "on_request_head", (type(hooks[0])(check, "api_key"),))
        body = json.dumps(chat())
        path = "/v1/chat/completions"
        added = sigv4_sign("POST", "gw", path, "", [], body_hash(body.encode()), access_key, secret, "", "us-east-1",
                           "bedrock", house.tools.wall())  # fmt: skip
        lines = "".join(f"{name}: {value}\r\n" for name, value in added) + more
        request = f"POST {path} HTTP/1.1\r\nHost: gw\r\n{lines}content-length: {len(body)}\r\n\r\n{body}"
        client.says(request[:-10])
        await settle()
        if status == 200:
            assert seen == [] and house.connected == []  # not before the whole body is there
        client.says(request[-10:])
        await settle()
        if status != 200:
            assert client.hears().startswith(f"HTTP/1.1 {status} ".encode()) and house.connected == []
            return
        heard = house.upstreams[0].hears()
        assert seen == ["bob"] and b"AWS4" not in heard and heard.endswith(body.replace("fast", "up-model").encode())
        house.upstreams[0].says(whole(200, completion()))
        assert client.hears().startswith(b"HTTP/1.1 200 ")

    scene(play, ONE)


def test_a_credential_never_says_its_secret() -> None:
    shown = repr(CredentialPlan("c1", (("authorization", "Bearer hush"),), (("key", "hush"),), secret="hush"))
    assert "c1" in shown and "hush" not in shown
