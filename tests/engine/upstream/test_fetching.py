"""The guarded way out (S16.8, RELIABILITY E2)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conversation import House, Side, Transport, route, settle, upstream

from tidegate.engine.steps import Stepper
from tidegate.engine.upstream.fetching import AT_ONCE, Connect, Fetcher, Resolve
from tidegate.engine.upstream.http1_client import Http1Client
from tidegate.exchange.fault import Fault
from tidegate.rules.egress import Link, link_of

LINK = link_of("https://example.com/a")


class Scene:
    """A fetcher in a house, and what became of each fetch."""

    def __init__(self, house: House, resolve: Resolve, connect: Connect | None) -> None:
        self.house = house
        self.fetcher = Fetcher(house.runtime, resolve, connect)
        self.ends: list[bytes | Fault] = []

    def fetch(self, link: Link = LINK, largest: int = 100) -> Stepper:
        async def go() -> None:
            try:
                self.ends.append(await self.fetcher.fetch(link, self.house.now + 10.0, largest))
            except Fault as fault:
                self.ends.append(fault)

        stepper = Stepper(self.house.runtime.steps, go())
        self.house.runtime.steps.go(stepper)
        return stepper


async def public(host: str, port: int) -> list[str]:
    return ["93.184.216.34", "93.184.216.35"]


def play(
    work: Callable[[Scene], Coroutine[Any, Any, None]], resolve: Resolve = public, connect: Connect | None = None
) -> None:
    async def run() -> None:
        house = await House([route("/", "up")], [upstream("up", "10.0.0.1:80")]).open()
        await work(Scene(house, resolve, connect))
        house.at_rest()

    asyncio.run(run())


def test_the_address_that_was_checked_is_connected_to_with_the_name_for_its_certificate() -> None:
    connected: list[dict[str, Any]] = []

    async def work(scene: Scene) -> None:
        async def create_connection(factory: Callable[[], Any], host: str, port: int, **more: Any) -> None:
            connected.append({"host": host, "port": port, **more})
            protocol = factory()
            transport = Transport()
            transport.protocol = protocol
            protocol.connection_made(transport)
            connected[0]["side"] = Side(transport, protocol)

        scene.house.loop.create_connection = create_connection  # type: ignore[method-assign]
        scene.fetch()
        for _ in range(4):
            await settle()
        (made,) = connected
        assert (made["host"], made["port"], made["server_hostname"]) == ("93.184.216.34", 443, "example.com")
        assert isinstance(made["ssl"], ssl.SSLContext) and made["ssl"].verify_mode == ssl.CERT_REQUIRED
        assert made["ssl"].check_hostname
        made["side"].says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await settle()
        assert scene.ends == [b"hi"]

    play(work)


def test_a_name_is_looked_up_once_so_that_a_second_answer_cannot_lead_elsewhere() -> None:
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    asked: list[str] = []
    reached: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers.pop(0)

    async def connect(connection: Http1Client, address: str, link: Link) -> None:
        reached.append(address)
        raise ConnectionRefusedError

    async def work(scene: Scene) -> None:
        for _ in range(2):
            scene.fetch()
            await settle()
        assert asked == ["example.com"] * 2 and reached == ["93.184.216.34"]
        assert [end.code for end in scene.ends if isinstance(end, Fault)] == ["invalid_field", "egress_denied"]

    play(work, rebinding, connect)


@pytest.mark.parametrize(
    ("error", "code"),
    [(OSError("gaierror of 10.0.0.1"), "invalid_field"), (TimeoutError(), "upstream_timeout")],
)
def test_what_goes_wrong_on_the_way_says_nothing_of_the_place(error: Exception, code: str) -> None:
    async def failing(host: str, port: int) -> list[str]:
        raise error

    async def work(scene: Scene) -> None:
        scene.fetch()
        await settle()
        (end,) = scene.ends
        assert isinstance(end, Fault) and end.code == code and "10.0.0.1" not in end.detail

    play(work, failing)


def test_an_address_is_not_looked_up() -> None:
    reached: list[str] = []

    async def nobody(host: str, port: int) -> list[str]:
        raise AssertionError

    async def connect(connection: Http1Client, address: str, link: Link) -> None:
        reached.append(address)
        raise ConnectionRefusedError

    async def work(scene: Scene) -> None:
        scene.fetch(link_of("http://[2606:2800:220:1::1]/"))
        await settle()
        assert reached == ["2606:2800:220:1::1"] and len(scene.ends) == 1

    play(work, nobody, connect)


def test_so_many_fetches_at_once_and_no_more() -> None:
    async def work(scene: Scene) -> None:
        steppers = [scene.fetch() for _ in range(AT_ONCE + 1)]
        await settle()
        (end,) = scene.ends
        assert isinstance(end, Fault) and (end.code, end.status) == ("overloaded", 503)
        assert scene.fetcher.under_way == AT_ONCE
        for stepper in steppers[:AT_ONCE]:
            stepper.cancel(Fault("client_closed"))
        for _ in range(3):
            await settle()
        assert scene.fetcher.under_way == 0 and scene.fetcher.tasks == set()

    async def waits(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    play(work, waits)
