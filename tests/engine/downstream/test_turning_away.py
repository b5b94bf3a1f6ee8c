"""A request at the door of a late worker: its level, its age, the words that turn it away (S22.9, S22.2)."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from conversation import House, route, upstream

from fakes import exchange
from tidegate.engine.downstream.turning_away import age_of, kept_refusal, level_of


@pytest.mark.parametrize(
    ("path", "priority", "level"),
    [
        ("/pay/1", "", 0), ("/bulk", "", 3), ("/other", "", 2), ("/pay/%", "", 2),
        ("/pay/1", "u=5", 1), ("/pay/1", "u=7", 3), ("/bulk", "u=0", 3), ("/other", "u=4, i", 3),
    ],
)  # fmt: skip
def test_the_level_is_the_routes_and_a_client_can_only_lower_it_s22_2(path: str, priority: str, level: int) -> None:
    async def run() -> None:
        routes = [route("/pay", priority=0), route("/bulk", priority=3), route("/other")]
        house = await House(routes, [upstream()]).open()
        head = exchange("GET", path, [("priority", priority)] if priority else []).head
        assert level_of(house.runtime, head, True) == level

    asyncio.run(run())


def test_without_routes_of_another_level_the_route_is_not_looked_for() -> None:
    async def run() -> None:
        house = await House([route("/a")], [upstream()]).open()
        assert not house.runtime.levelled
        house = await House([route("/a", priority=0)], [upstream()]).open()
        assert house.runtime.levelled
        house.runtime.levelled = False
        assert level_of(house.runtime, exchange("GET", "/a").head, True) == 2

    asyncio.run(run())


class Transport:
    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.sock}[name]


def test_the_kernel_tells_how_long_data_has_waited_unread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            client.send(b"GET")
            sent = time.monotonic()
            while time.monotonic() - sent < 0.03:
                pass
            age = age_of(Transport(accepted))
            assert 0.02 <= age <= time.monotonic() - sent + 0.02


def test_where_the_kernel_does_not_tell_nothing_has_waited() -> None:
    sock = socket.socket()
    sock.close()
    assert age_of(Transport(sock)) == 0.0
    left, right = socket.socketpair()
    with left, right:
        assert age_of(Transport(left)) == 0.0


def test_the_refusal_leaves_the_connection_open_and_says_when_to_come_back() -> None:
    head, _, body = kept_refusal(False).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in head and b"connection" not in head
    assert b"content-length: %d\r\n" % len(body) in head and b'"code":"overloaded"' in body
    assert kept_refusal(True) == head + b"\r\n\r\n"
