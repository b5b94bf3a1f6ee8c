"""Key sets and tokens come over real sockets; whoever is silent costs no more than the bound."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from tidegate.control import errands
from tidegate.control.errands import fetch_key_set, fetch_token
from tidegate.rules.access_tokens import Asking


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url_of(peer: socket.socket) -> str:
    return f"http://127.0.0.1:{peer.getsockname()[1]}/x"


def answering(peer: socket.socket, answer: bytes, heard: list[bytes]) -> None:
    def give() -> None:
        connection, _ = peer.accept()
        with connection:
            heard.append(connection.recv(4096))
            connection.sendall(answer)

    threading.Thread(target=give, daemon=True).start()


def test_a_key_set_is_what_its_address_answers(peer: socket.socket) -> None:
    answering(peer, b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n" + b'{"keys":[]}', [])
    assert asyncio.run(fetch_key_set(url_of(peer))) == b'{"keys":[]}'


def test_a_token_is_asked_for_by_post_and_its_status_is_told(peer: socket.socket) -> None:
    heard: list[bytes] = []
    answering(peer, b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}", heard)
    assert asyncio.run(fetch_token(Asking(url_of(peer), {"accept": "application/json"}, b"a=1"))) == (401, b"{}")
    assert heard[0].startswith(b"POST /x HTTP/1.1\r\n")


def test_an_address_that_says_nothing_is_given_up(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errands, "FETCH_TIME", 0.01)

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await fetch_key_set(url_of(peer))
        peer.accept()[0].close()  # so that the thread ends, too

    asyncio.run(ask())
