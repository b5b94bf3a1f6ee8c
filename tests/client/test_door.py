"""The way to a gateway: what is raised, what is compressed, what becomes of a connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tidegate.client.door import Conflict, ContextError, Door
from tidegate.exchange.context_policy import ContextLimits
from tidegate.wire.context_body import decode
from tidegate.wire.context_dictionary import shipped

LONG = {"text": "Could you please confirm the booking for tomorrow? " * 8}


class Gateway(ThreadingHTTPServer):
    """Says what it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.offers = True
        self.answers: list[tuple[int, bytes]] = []
        self.heard: list[tuple[str, dict[str, str], Any]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        offered = {"sha256": sha256(shipped()).hexdigest(), "encoding": "application/json"}
        if self.path == "/base/.well-known/crp":
            self.tell(200, json.dumps({"dictionaries": [offered] if self.server.offers else []}).encode())
        elif self.path == f"/base/v1/context-dictionaries/{offered['sha256']}":
            self.tell(200, shipped())
        else:
            self.tell(404, b"{}")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        fields = {name.lower(): value for name, value in self.headers.items()}
        body = decode("application/json", fields.get("content-encoding", ""), raw, ContextLimits(),
                      {sha256(shipped()).digest(): shipped()})  # fmt: skip
        self.server.heard.append((self.path, fields, body))
        self.tell(*(self.server.answers.pop(0) if self.server.answers else (200, b'{"ok":true}')))

    def tell(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def door(gateway: Gateway, **settings: Any) -> Door:
    return Door(f"http://127.0.0.1:{gateway.server_address[1]}/base/", "a-key", timeout=5, **settings)


def test_a_short_body_goes_plain_with_the_key(gateway: Gateway) -> None:
    assert door(gateway).ask("POST", "/x", {"a": "é"}) == {"ok": True}
    path, fields, body = gateway.heard[0]
    assert (path, fields["authorization"], body) == ("/base/x", "Bearer a-key", {"a": "é"})
    assert "content-encoding" not in fields


def test_a_long_one_goes_with_the_dictionary_that_is_offered(gateway: Gateway) -> None:
    made = door(gateway)
    made.ask("POST", "/x", LONG)
    made.ask("POST", "/x", LONG)
    assert [fields["content-encoding"] for _, fields, _ in gateway.heard] == ["dcz", "dcz"]
    assert [body for _, _, body in gateway.heard] == [LONG, LONG]
    assert made.sent < len(json.dumps(LONG))


@pytest.mark.parametrize("compress", [True, False])
def test_without_an_offer_or_a_wish_it_goes_plain(gateway: Gateway, compress: bool) -> None:
    gateway.offers = not compress
    door(gateway, compress=compress).ask("POST", "/x", LONG)
    assert "content-encoding" not in gateway.heard[0][1]


def test_a_dictionary_that_is_unknown_by_now_is_left_out_and_asked_for_anew_40(gateway: Gateway) -> None:
    made = door(gateway)
    gateway.answers = [(415, b'{"code":"dictionary_unknown"}')]
    assert made.ask("POST", "/x", LONG) == {"ok": True}
    assert [fields.get("content-encoding") for _, fields, _ in gateway.heard] == ["dcz", None]
    made.ask("POST", "/x", LONG)
    assert gateway.heard[2][1]["content-encoding"] == "dcz"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error":{"code":"policy_forbidden","message":"no"}}', "policy_forbidden", "no"),
        (b'{"error":{"type":"x","message":"no"}}', "x", "no"),
        (b'{"code":"context_deleted","detail":"gone"}', "context_deleted", "gone"),
        (b"<html>", "", ""),
        (b"[]", "", ""),
    ],
)
def test_a_refusal_is_raised_with_its_code(gateway: Gateway, body: bytes, code: str, message: str) -> None:
    gateway.answers = [(422, body)]
    with pytest.raises(ContextError) as raised:
        door(gateway).ask("POST", "/x", {})
    assert (raised.value.status, raised.value.code) == (422, code)
    assert str(raised.value) == f"422 {code}: {message}"


@pytest.mark.parametrize("body", [
    b'{"error":{"code":"context_conflict","context":{"head":"cv_2","missing":[{"version":"cv_2"}]}}}',
    b'{"code":"context_conflict","head":"cv_2","missing":[{"version":"cv_2"}]}',
])  # fmt: skip
def test_a_conflict_says_where_to_go_on_from(gateway: Gateway, body: bytes) -> None:
    gateway.answers = [(409, body)]
    with pytest.raises(Conflict) as raised:
        door(gateway).ask("POST", "/x", {})
    assert (raised.value.head, raised.value.missing) == ("cv_2", [{"version": "cv_2"}])


def test_events_are_read_until_done_and_the_next_call_is_whole(gateway: Gateway) -> None:
    made = door(gateway)
    gateway.answers = [(200, b': hello\n\ndata: {"a":1}\n\ndata:{"a":2}\n\ndata: [DONE]\n\ndata: {"a":3}\n\n')]
    assert list(made.stream("/x", {})) == [{"a": 1}, {"a": 2}]
    assert made.ask("POST", "/x", {}) == {"ok": True}
    gateway.answers = [(200, b'data: {"a":1}\n\ndata: {"error":{"code":"commit_failed","message":"lost"}}\n\n')]
    events = made.stream("/x", {})
    assert next(events) == {"a": 1}
    with pytest.raises(ContextError, match="commit_failed"):
        next(events)


def test_nobody_there_is_an_os_error() -> None:
    with pytest.raises(OSError):
        Door("http://127.0.0.1:1", timeout=1).ask("GET", "/x")
