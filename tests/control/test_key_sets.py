"""S7.11 in control: each 10 minutes, each second on failure, a life of an hour, one fetch a minute for unknown keys."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tidegate.control.key_sets import KeySetKeeper, read_key_set

URL, OTHER = "https://issuer.example/keys", "https://other.example/keys"
BODY = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "1"}]}).encode()
SET = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "1"}]}


class World:
    def __init__(self, *urls: str) -> None:
        self.now = 1000.0
        self.body: bytes | Exception = BODY
        self.fetched: list[tuple[float, str]] = []
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.keeper = KeySetKeeper(self.fetch, lambda url, keys: self.published.append((url, keys)), lambda: self.now)
        self.keeper.follow(urls)

    async def fetch(self, url: str) -> bytes:
        self.fetched.append((self.now, url))
        if isinstance(self.body, Exception):
            raise self.body
        return self.body

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(int(seconds / step)):
            self.now += step
            asyncio.run(self.keeper.tick())


def test_sets_are_fetched_at_once_published_and_refreshed_each_ten_minutes() -> None:
    world = World(URL)
    assert not world.keeper.ready()
    asyncio.run(world.keeper.tick())
    assert (world.published, world.keeper.ready()) == ([(URL, SET)], True)
    world.pass_time(1801)
    assert [at - 1000 for at, _ in world.fetched] == [0, 600, 1200, 1800]


def test_a_failure_is_tried_again_each_second_and_the_kept_set_serves_an_hour() -> None:
    world = World(URL)
    asyncio.run(world.keeper.tick())
    world.body = ConnectionError("refused")
    world.pass_time(605)
    assert [at - 1000 for at, _ in world.fetched] == [0, 600, 601, 602, 603, 604, 605]
    assert world.keeper.troubles() == {URL: "ConnectionError: refused"}
    assert world.keeper.key_sets() == {URL: (SET, 605)}
    world.now = 1000 + 3600
    assert (world.keeper.key_sets(), world.keeper.ready()) == ({}, False)
    world.body = BODY
    asyncio.run(world.keeper.tick())
    assert (world.keeper.ready(), world.keeper.troubles()) == (True, {})


def test_unknown_kids_cause_one_fetch_a_minute_au_jwks_flood() -> None:
    world = World(URL)
    asyncio.run(world.keeper.tick())
    for _ in range(120):
        for _ in range(10):
            world.keeper.want(URL)
        world.pass_time(1)
    assert [at - 1000 for at, _ in world.fetched] == [0, 0.5, 60.5]


def test_a_scheduled_fetch_does_not_use_up_the_one_for_unknown_kids() -> None:
    world = World(URL)
    world.keeper.want(URL)
    asyncio.run(world.keeper.tick())
    world.pass_time(600)
    world.keeper.want(URL)
    world.pass_time(1)
    assert [at - 1000 for at, _ in world.fetched] == [0, 600, 600.5]


def test_wishes_for_addresses_nobody_configured_are_ignored() -> None:
    world = World(URL)
    asyncio.run(world.keeper.tick())
    world.keeper.want("https://evil.example/keys")
    world.pass_time(1)
    assert [url for _, url in world.fetched] == [URL]


def test_a_new_generation_keeps_what_it_still_names() -> None:
    world = World(URL)
    asyncio.run(world.keeper.tick())
    world.keeper.follow([URL, OTHER])
    asyncio.run(world.keeper.tick())
    assert [url for _, url in world.fetched] == [URL, OTHER]
    world.keeper.follow([OTHER])
    assert list(world.keeper.key_sets()) == [OTHER]


def test_one_slow_issuer_is_asked_once_and_its_answer_is_dropped_when_nobody_wants_it_any_more() -> None:
    async def story() -> tuple[int, list[tuple[str, dict[str, Any]]]]:
        world = World(URL)
        gate = asyncio.Event()

        async def slow(url: str) -> bytes:
            world.fetched.append((world.now, url))
            await gate.wait()
            return BODY

        world.keeper._fetch = slow
        first = asyncio.create_task(world.keeper.tick())
        await asyncio.sleep(0)
        await world.keeper.tick()
        world.keeper.follow([])
        gate.set()
        await first
        return len(world.fetched), world.published

    assert asyncio.run(story()) == (1, [])


def test_run_wakes_when_a_key_is_wanted() -> None:
    async def story() -> list[str]:
        world = World(URL)
        task = asyncio.create_task(world.keeper.run())
        while len(world.fetched) < 1:
            await asyncio.sleep(0)
        world.keeper.want(URL)
        while len(world.fetched) < 2:
            await asyncio.sleep(0)
        task.cancel()
        return [url for _, url in world.fetched]

    assert asyncio.run(story()) == [URL, URL]


def test_only_public_members_of_asymmetric_keys_are_kept() -> None:
    keys = [{"kty": "RSA", "n": "a", "e": "AQAB", "d": "private", "kid": "r", "x5c": ["AA"]},
            {"kty": "oct", "k": "secret"}, "nonsense", {"kid": "none"}]  # fmt: skip
    assert read_key_set(json.dumps({"keys": keys}).encode()) == {
        "keys": [{"kty": "RSA", "n": "a", "e": "AQAB", "kid": "r"}]
    }


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys": {}}', b"<html>", b"[" * 100_000, b" " * (1 << 20) + b"{}",
             json.dumps({"keys": [{}] * 101}).encode(), b"\xff"]
)  # fmt: skip
def test_what_is_no_key_set_is_trouble_and_not_an_empty_set(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_key_set(body)
    world = World(URL)
    asyncio.run(world.keeper.tick())
    world.body = body
    world.pass_time(600)
    assert world.keeper.key_sets() == {URL: (SET, 600)}
