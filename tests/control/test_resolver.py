"""Names become addresses: changes are told, trouble is outlived, a dead name loses its addresses (S16.7)."""

from __future__ import annotations

import asyncio

import pytest

from tidegate.control.resolver import Addresses, Resolver, Unknown, is_address, look_up

NAME = ("api.example", 80)


class Names:
    """A resolver under test with answers to give and a clock to move."""

    def __init__(self) -> None:
        self.answer: list[str] | Exception = ["192.0.2.1"]
        self.asked = 0
        self.told: list[Addresses] = []
        self.now = 1000.0
        self.resolver = Resolver(lambda found: self.told.append(dict(found)), self._look, lambda: self.now)
        self.resolver.follow([NAME])

    async def _look(self, host: str, port: int) -> list[str]:
        assert (host, port) == NAME
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def turn(self) -> Addresses:
        asyncio.run(self.resolver.turn())
        return self.resolver.addresses()


def test_a_change_is_told_once_and_the_order_of_the_answer_is_none() -> None:
    names = Names()
    names.answer = ["192.0.2.2", "192.0.2.1"]
    assert names.turn() == {NAME: ["192.0.2.1", "192.0.2.2"]}
    names.answer = ["192.0.2.1", "192.0.2.2"]
    names.turn()
    assert names.told == [{NAME: ["192.0.2.1", "192.0.2.2"]}]
    names.answer = ["192.0.2.3"]
    names.turn()
    assert names.told[1:] == [{NAME: ["192.0.2.3"]}]


@pytest.mark.parametrize("trouble", [OSError("no resolver"), TimeoutError()])
def test_the_last_good_addresses_serve_ten_minutes_of_trouble(trouble: Exception) -> None:
    names = Names()
    names.turn()
    names.answer = trouble
    names.now += 600.0
    assert names.turn() == {NAME: ["192.0.2.1"]}
    names.now += 0.1
    assert names.turn() == {}
    assert names.told == [{NAME: ["192.0.2.1"]}, {}]


def test_a_name_must_be_unknown_twice_in_a_row_to_lose_its_addresses() -> None:
    names = Names()
    names.turn()
    for answer, expected in [
        (Unknown(), 1), (["192.0.2.1"], 1), (Unknown(), 1), (Unknown(), 0), (["192.0.2.9"], 1),
    ]:  # fmt: skip
        names.answer = answer
        assert len(names.turn()) == expected


def test_addresses_are_not_asked_about_and_old_names_are_forgotten() -> None:
    names = Names()
    names.turn()
    names.resolver.follow([("192.0.2.7", 80), ("::1", 80)])
    assert names.turn() == {}
    assert names.asked == 1


def test_what_is_an_address() -> None:
    assert [is_address(host) for host in ("10.0.0.1", "::1", "localhost", "10.0.0", "")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_the_systems_resolver_knows_localhost_and_no_invalid_name() -> None:
    assert set(asyncio.run(look_up("localhost", 80))) <= {"127.0.0.1", "::1"}
    with pytest.raises(Unknown):
        asyncio.run(look_up("a..b", 80))
