"""Names become endpoints (S16.7)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from pydantic import ValidationError

from tidegate.discoveries.dns import MOST, Config, Dns, Unknown, look_up
from tidegate.ports.discovery import Found

Said = list[str] | Exception


class World:
    """A resolver that says what the test wrote, on a clock that the test moves."""

    def __init__(self, *hosts: str, **settings: Any) -> None:
        self.said: dict[str, Said] = {}
        self.clock = 1000.0
        self.asked: list[tuple[str, int]] = []
        targets = [Found(host, host, 80, weight=2.0, zone="a") for host in hosts]
        self.dns = Dns(Config.model_validate(settings), targets, self.look, lambda: self.clock)

    async def look(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        said = self.said[host]
        if isinstance(said, Exception):
            raise said
        return said

    def find(self, said: Said | None = None) -> tuple[list[str], float]:
        """Addresses and seconds; *said* is what the resolver says of ``a.example`` from now on."""
        if said is not None:
            self.said["a.example"] = said
        found, again = asyncio.run(self.dns.find())
        return [each.address for each in found], again


TROUBLE = OSError("no resolver")


def test_every_address_of_a_name_is_an_endpoint_with_the_targets_settings_s16_7() -> None:
    world = World("a.example")
    world.said["a.example"] = ["2001:db8::1", "192.0.2.2", "192.0.2.1", "192.0.2.1"]
    found, again = asyncio.run(world.dns.find())
    assert found == [
        Found("a.example", address, 80, weight=2.0, zone="a") for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1")
    ]
    assert (again, world.asked) == (5.0, [("a.example", 80)])


def test_addresses_need_no_look_up() -> None:
    world = World("192.0.2.9", "2001:db8::9")
    assert world.find() == (["192.0.2.9", "2001:db8::9"], 300.0)
    assert world.asked == []


def test_an_address_found_twice_is_one_endpoint() -> None:
    world = World("192.0.2.1", "a.example")
    assert world.find(["192.0.2.1", "192.0.2.2"])[0] == ["192.0.2.1", "192.0.2.2"]


def test_a_change_is_seen_at_the_next_look() -> None:
    world = World("a.example", ttl="30s")
    assert world.find(["192.0.2.1"]) == (["192.0.2.1"], 30.0)
    assert world.find(["192.0.2.2"]) == (["192.0.2.2"], 30.0)


@pytest.mark.parametrize("trouble", [TROUBLE, TimeoutError(), socket.gaierror(socket.EAI_AGAIN, "later")])
def test_while_the_resolver_fails_the_last_good_answer_serves_ten_minutes_s16_7(trouble: Exception) -> None:
    world = World("a.example")
    world.find(["192.0.2.1"])
    world.clock += 600.0
    assert world.find(trouble) == (["192.0.2.1"], 5.0)
    world.clock += 0.1
    assert world.find() == ([], 1.0)


def test_a_name_unknown_twice_has_no_endpoints_s16_7() -> None:
    world = World("a.example")
    world.find(["192.0.2.1"])
    assert world.find(Unknown("a.example")) == (["192.0.2.1"], 5.0)
    assert world.find() == ([], 1.0)
    assert world.find(["192.0.2.1"]) == (["192.0.2.1"], 5.0)


def test_one_odd_answer_is_forgotten_after_a_good_one() -> None:
    world = World("a.example")
    for said in (["192.0.2.1"], Unknown("a"), ["192.0.2.1"], Unknown("a")):
        assert world.find(said)[0] == ["192.0.2.1"]


def test_one_name_in_trouble_leaves_the_others_alone() -> None:
    world = World("a.example", "b.example")
    world.said["b.example"] = TROUBLE
    assert world.find(["192.0.2.1"]) == (["192.0.2.1"], 1.0)


def test_a_flood_of_addresses_is_bounded() -> None:
    world = World("a.example")
    assert len(world.find([f"10.0.{n >> 8}.{n & 255}" for n in range(MOST + 50)])[0]) == MOST


def test_a_look_up_that_hangs_is_given_up() -> None:
    async def hang(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    dns = Dns(Config(timeout=0.001), [Found("a.example", "a.example", 80)], hang, lambda: 0.0)
    assert asyncio.run(dns.find()) == ([], 1.0)


def test_the_systems_resolver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {
        "good": [(2, 1, 6, "", ("192.0.2.1", 80)), (10, 1, 6, "", ("2001:db8::1", 80, 0, 0))],
        "gone": socket.gaierror(socket.EAI_NONAME, "unknown"),
        "down": socket.gaierror(socket.EAI_AGAIN, "later"),
    }

    def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        if isinstance(answers[host], Exception):
            raise answers[host]
        return answers[host]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert asyncio.run(look_up("good", 80)) == ["192.0.2.1", "2001:db8::1"]
    with pytest.raises(Unknown):
        asyncio.run(look_up("gone", 80))
    with pytest.raises(socket.gaierror):
        asyncio.run(look_up("down", 80))


@pytest.mark.parametrize("settings", [{"ttl": "500ms"}, {"ttl": "6m"}, {"timeout": 0}, {"keep": "2d"}, {"name": "a"}])
def test_impossible_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate(settings)
