"""LLM 8 in control: one fetch a node, again at 80 % of a token's life, with patience when it fails."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

from tidegate.control.access_tokens import NOTHING, TokenKeeper, grants_of
from tidegate.ports.models import CredentialPlan, ModelsPlan
from tidegate.ports.provider import Bearer, ClientCredentials, ServiceAccount, SigV4
from tidegate.rules.access_tokens import Asking, Grant

URL = "https://tokens.example/token"
GRANT = Grant("client", URL, "s", "id:SECRET")
KEY = "azure|c1"


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.answer: tuple[int, bytes] | Exception = (200, b"")
        self.number = 0
        self.fetched: list[float] = []
        self.published: list[tuple[str, str, float]] = []
        self.said: list[str] = []
        self.keeper = TokenKeeper(
            self.fetch, lambda *told: self.published.append(told), lambda: self.now, lambda: 5e8 + self.now,
            lambda: "unique", self.said.append,
        )  # fmt: skip

    async def fetch(self, asked: Asking) -> tuple[int, bytes]:
        assert asked.url == URL
        self.fetched.append(self.now - 1000.0)
        if isinstance(self.answer, Exception):
            raise self.answer
        status, body = self.answer
        if not body:
            self.number += 1
            body = json.dumps({"access_token": f"t{self.number}", "expires_in": 100}).encode()
        return status, body

    def tick(self) -> None:
        asyncio.run(self.keeper.tick())

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.tick()


def test_a_token_is_fetched_at_once_published_and_fetched_again_at_eighty_percent() -> None:
    world = World()
    world.keeper.follow({KEY: GRANT})
    world.tick()
    assert world.published == [(KEY, "t1", 100.0)]
    world.pass_time(161)
    assert world.fetched == [0.0, 80.0, 160.0]
    assert world.keeper.tokens() == {KEY: ("t3", 99.0)}
    assert world.said == []


def test_failures_are_tried_again_with_patience_and_the_kept_token_serves_to_its_end() -> None:
    world = World()
    world.keeper.follow({KEY: GRANT})
    world.tick()
    world.answer = (400, b'{"error":"invalid_client"}')
    world.pass_time(99)
    assert world.fetched == [0.0, 80.0, 81.0, 83.0, 87.0, 95.0]
    assert world.keeper.tokens() == {KEY: ("t1", 1.0)}
    assert world.keeper.troubles() == {KEY: "the token endpoint answers 400: invalid_client"}
    world.pass_time(200)
    assert world.fetched[5:] == [95.0, 111.0, 143.0, 203.0, 263.0]  # doubled, but never more than a minute
    assert world.keeper.tokens() == {}
    world.answer = (200, b"")
    world.pass_time(30)
    assert world.keeper.tokens()[KEY][0] == "t2" and world.keeper.troubles() == {}
    assert world.said == [
        "provider azure: no access token: the token endpoint answers 400: invalid_client",
        "provider azure: has an access token again",
    ]


def test_what_goes_wrong_on_the_way_is_named_without_its_words() -> None:
    world = World()
    world.answer = ConnectionError("proxy at id:SECRET refused")
    world.keeper.follow({KEY: GRANT})
    world.tick()
    assert world.keeper.troubles() == {KEY: "ConnectionError"}


def test_one_refresh_of_a_token_is_under_way_at_a_time() -> None:
    async def play() -> None:
        world = World()
        gate = asyncio.Event()
        begun = 0

        async def fetch(asked: Asking) -> tuple[int, bytes]:
            nonlocal begun
            begun += 1
            await gate.wait()
            return 200, b'{"access_token":"t","expires_in":100}'

        world.keeper._fetch = fetch
        world.keeper.follow({KEY: GRANT})
        ticks = [asyncio.ensure_future(world.keeper.tick()) for _ in range(3)]
        await asyncio.sleep(0)
        world.keeper.want(KEY, True)
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*ticks)
        assert (begun, world.published) == (1, [(KEY, "t", 100.0)])

    asyncio.run(play())


def test_a_refused_token_is_replaced_at_most_once_a_minute_and_a_missing_one_told_again() -> None:
    world = World()
    world.keeper.follow({KEY: GRANT})
    world.tick()
    world.keeper.want(KEY, True)
    world.keeper.want("nobody|x", True)
    world.tick()
    for _ in range(5):
        world.keeper.want(KEY, True)
        world.pass_time(5)
    assert world.fetched == [0.0, 0.0]
    world.published.clear()
    world.keeper.want(KEY, False)
    assert world.published == [(KEY, "t2", 75.0)]


def test_a_changed_secret_is_asked_for_anew_and_a_forgotten_one_never_published() -> None:
    world = World()
    world.keeper.follow({KEY: GRANT})
    world.tick()
    world.keeper.follow({KEY: GRANT})
    world.tick()
    assert world.fetched == [0.0]
    world.keeper.follow({KEY: GRANT._replace(secret="id:other")})
    world.tick()
    assert world.fetched == [0.0, 0.0]
    world.keeper.follow({})
    assert (world.keeper.tokens(), world.keeper.next_due()) == ({}, NOTHING)


@dataclass
class Provider:
    name: str
    credentials: tuple[CredentialPlan, ...]


@dataclass
class Models:
    providers: dict[str, Any] = field(default_factory=dict)


def test_grants_are_those_of_credentials_that_want_a_token() -> None:
    account = ServiceAccount(token_url=URL, scope="sc")
    client = ClientCredentials(token_url=URL, scope="s", basic=True, unique="RqUID")
    credentials = (
        CredentialPlan("a", signer="gcp", auth=account, secret="{}"),
        CredentialPlan("b", signer="oauth", auth=client, secret="i:s"),
        CredentialPlan("c", signer="sigv4", auth=SigV4(), secret="AK:s"),
        CredentialPlan("d", auth=Bearer(), fields=(("authorization", "Bearer x"),)),
    )
    models = cast(ModelsPlan, Models({"p": Provider("p", credentials)}))
    assert grants_of(models) == {
        "p|a": Grant("account", URL, "sc", "{}"),
        "p|b": Grant("client", URL, "s", "i:s", True, "RqUID"),
    }
    assert grants_of(None) == {}
