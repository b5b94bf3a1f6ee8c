"""Whose key: the client's own, and the one that pays (LLM 2, 8)."""

from __future__ import annotations

import pytest
from conversation import House, Side, settle
from model_house import (
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
from tidegate.ports.models import CredentialPlan, LlmPlan
from tidegate.ports.provider import SigV4
from tidegate.rules.sigv4 import body_hash, presented, verify


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
    states.turn = 1
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


def test_a_way_to_sign_that_is_not_served_is_a_fault_and_not_an_open_door() -> None:
    with pytest.raises(Fault):
        sign(CredentialPlan("c", signer="gcp"))
    assert sign(None) == ((), ())
