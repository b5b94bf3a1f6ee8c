"""One bounded request, over a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tidegate.control import fetch as fetch_module
from tidegate.control.fetch import FetchError, ask, fetch

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(answer)`` gives those bytes to one caller; its address."""
    opened: list[socket.socket] = []

    def start(answer: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def give() -> None:
            connection, _ = listening.accept()
            with connection:
                asked = connection.recv(4096)
                assert asked.startswith(b"GET /keys?a=1 HTTP/1.1\r\n") and b"connection: close" in asked
                connection.sendall(answer)

        threading.Thread(target=give, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/keys?a=1"

    yield start
    for each in opened:
        each.close()


def test_the_body_of_a_200_comes_whole_chunked_or_not(serve: Serve) -> None:
    assert fetch(serve(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys")) == b"keys"
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nkeys\r\n0\r\n\r\n"
    assert fetch(serve(chunked)) == b"keys"


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", "302"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "500"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", "cut short"),
    ],
)
def test_anything_else_is_an_error_without_the_address(serve: Serve, answer: bytes, word: str) -> None:
    with pytest.raises(FetchError, match=word) as error:
        fetch(serve(answer))
    assert "127.0.0.1" not in str(error.value)


def test_an_answer_past_the_bound_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "LARGEST", 3)
    with pytest.raises(FetchError, match="too large"):
        fetch(serve(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys"))


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "http://", "nonsense"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(FetchError, match="not http or https"):
        fetch(url)


def test_a_post_carries_its_fields_and_body_and_any_status_is_an_answer() -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def give() -> None:
            connection, _ = listening.accept()
            with connection:
                while b"\r\n\r\na=1" not in b"".join(heard):
                    heard.append(connection.recv(4096))
                connection.sendall(b"HTTP/1.1 400 No\r\ncontent-length: 2\r\n\r\n{}")

        thread = threading.Thread(target=give, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/token"
        assert ask("POST", url, {"x-a": "1"}, b"a=1") == (400, b"{}")
        thread.join(5)
    said = b"".join(heard)
    assert said.startswith(b"POST /token HTTP/1.1\r\n") and b"x-a: 1\r\n" in said
    assert b"content-length: 3\r\n" in said.lower() and said.endswith(b"\r\n\r\na=1")
