"""Listening sockets: options, IPv6 alone, and errors that name the address."""

from __future__ import annotations

import socket

import pytest

from tidegate.control.listening import ListenError, address_text, bound, listen, loopback


def test_a_socket_listens_without_blocking_and_hands_on_no_delay() -> None:
    with listen("127.0.0.1", 0) as opened:
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
        assert opened.gettimeout() == 0.0
        assert not opened.get_inheritable()
        host, _, port = bound(opened).rpartition(":")
        assert host == "127.0.0.1" and int(port) > 0
        with socket.create_connection(("127.0.0.1", int(port))):
            accepted, _ = opened.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_taken_address_is_named() -> None:
    with listen("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}: another program is using it"):
            listen("127.0.0.1", port)


def test_an_address_that_is_not_here_is_named() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1:80"):
        listen("192.0.2.1", 80)
    with pytest.raises(ListenError, match="not known here"):
        listen("no.such.host.invalid", 0)


def test_an_ipv6_socket_takes_no_ipv4_client() -> None:
    try:
        opened = listen("::", 0)
    except ListenError:
        pytest.skip("no IPv6 here")
    with opened:
        assert opened.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert bound(opened).startswith("[::]:")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.0.2.1", False), ("", False)],
)  # fmt: skip
def test_only_loopback_is_loopback(host: str, expected: bool) -> None:
    assert loopback(host) is expected


def test_addresses_are_written_as_people_do() -> None:
    assert address_text("::1", 80) == "[::1]:80"
    assert address_text("", 80) == "0.0.0.0:80"
