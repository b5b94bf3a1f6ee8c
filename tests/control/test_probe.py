"""One probe against a real server that answers by script (S12.4)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from tidegate.control.probe import Probe, probe_context
from tidegate.ports.plan import HealthPlan, UpstreamTlsPlan

PLAN = HealthPlan(path="/healthz", timeout=2.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Scripted:
    """A server that gives each request the next answer; b"" closes. Counts connections, keeps requests."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.connections = 0
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0)
                if not answer:
                    break
                writer.write(answer)
                if answer.endswith(b"CLOSE"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


def talk(
    script: Scripted, plan: HealthPlan, count: int = 1, host: str = "svc.example", pause: float = 0.0
) -> list[str]:
    """The results of *count* probes with one ``Probe``."""

    async def main() -> list[str]:
        server = await asyncio.start_server(script, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        probe = Probe(plan, "127.0.0.1", port, "http", host, None, host)
        results = []
        for _ in range(count):
            results.append(await probe.run())
            await asyncio.sleep(pause)
        probe.close()
        server.close()
        return results

    return asyncio.run(main())


def run(probe: Probe) -> str:
    return asyncio.run(probe.run())


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (OK, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, ""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end CLOSE", ""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n", ""),
        (b"HTTP/1.1 301 Moved\r\nlocation: /ok\r\ncontent-length: 0\r\n\r\n", "status"),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "status"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "answer"),
        (b"HTTP/1.1 2\xb20 OK\r\n\r\n", "answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "answer"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", "answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nCLOSE", "reset"),
        (b"HTTP/1.1 20", "timeout"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 8 + OK, "answer"),
    ],
)
def test_one_word_says_what_an_answer_was(answer: bytes, result: str) -> None:
    plan = replace(PLAN, timeout=0.2) if result == "timeout" else PLAN
    assert talk(Scripted([answer]), plan) == [result]


def test_the_request_is_a_plain_one_of_its_own() -> None:
    script = Scripted([OK])
    talk(script, replace(PLAN, host="checks.example"))
    assert script.requests == [
        b"GET /healthz HTTP/1.1\r\nhost: checks.example\r\nuser-agent: tidegate-probe\r\naccept: */*\r\n\r\n"
    ]


@pytest.mark.parametrize(
    ("scheme", "host", "port", "line"),
    [("http", "a.example", 80, "a.example"), ("https", "a.example", 443, "a.example"),
     ("http", "a.example", 8080, "a.example:8080"), ("http", "::1", 81, "[::1]:81")],
)  # fmt: skip
def test_the_host_field_names_the_target_as_written(scheme: str, host: str, port: int, line: str) -> None:
    probe = Probe(PLAN, host, port, scheme, host, None, host)
    assert f"\r\nhost: {line}\r\n".encode() in probe.request


def test_one_connection_serves_many_probes_s12_3() -> None:
    script = Scripted([OK] * 5)
    assert talk(script, PLAN, 5) == [""] * 5
    assert script.connections == 1


def test_a_connection_closed_while_idle_is_no_failure() -> None:
    script = Scripted([OK, b"", OK])
    assert talk(script, PLAN, 2) == ["", ""]
    assert script.connections == 2


@pytest.mark.parametrize("tail", [b"connection: close\r\n", b"x: y\r\n"])
def test_connection_close_is_obeyed(tail: bytes) -> None:
    script = Scripted([b"HTTP/1.1 200 OK\r\n" + tail + b"content-length: 0\r\n\r\n"] * 2)
    assert talk(script, PLAN, 2) == ["", ""]
    assert script.connections == (2 if b"close" in tail else 1)


@pytest.mark.parametrize(("body", "result"), [(b"status: ready", ""), (b"status: warming", "body"),
                                              (b"x" * 1024 + b"ready", "body")])  # fmt: skip
def test_a_text_is_looked_for_in_the_first_kib_s12_4(body: bytes, result: str) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    assert talk(Scripted([answer]), replace(PLAN, body="ready")) == [result]


def test_expected_statuses_can_be_set_s12_4() -> None:
    plan = replace(PLAN, expect=((200, 200), (401, 403)))
    answers = [b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status for status in (200, 201, 401, 403, 404)]
    assert talk(Scripted(answers), plan, 5) == ["", "status", "", "", "status"]


def test_an_answer_to_head_has_no_body() -> None:
    script = Scripted([b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"] * 2)
    assert talk(script, replace(PLAN, method="HEAD"), 2) == ["", ""]
    assert script.connections == 1


def test_a_huge_body_is_not_read_and_its_connection_is_dropped() -> None:
    big = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 2000
    script = Scripted([big, big])
    assert talk(script, PLAN, 2) == ["", ""]
    assert script.connections == 2


def test_a_tcp_check_only_connects_s12_4() -> None:
    script = Scripted([OK])
    assert talk(script, replace(PLAN, kind="tcp"), 2, pause=0.02) == ["", ""]
    assert (script.requests, script.connections) == ([], 2)


def test_a_refused_connection_is_one_word(unused_port: int) -> None:
    assert run(Probe(PLAN, "127.0.0.1", unused_port, "http", "x", None, "x")) == "refused"


def test_the_port_of_the_check_can_be_another_one() -> None:
    assert Probe(replace(PLAN, port=9999), "127.0.0.1", 80, "http", "x", None, "x").port == 9999


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize(("name", "trusted", "result"), [("good.example", True, ""), ("bad.example", True, "tls"),
                                                         ("good.example", False, "tls")])  # fmt: skip
def test_tls_is_verified_as_on_the_data_path_s16_6(tmp_path: Path, name: str, trusted: bool, result: str) -> None:
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("good.example").configure_cert(server_context)
    ca = tmp_path / "ca.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(ca))
    context = probe_context(UpstreamTlsPlan(ca=str(ca)))

    async def main() -> list[str]:
        server = await asyncio.start_server(Scripted([OK, OK]), "127.0.0.1", 0, ssl=server_context)
        port = server.sockets[0].getsockname()[1]
        probe = Probe(PLAN, "127.0.0.1", port, "https", name, context, name)
        results = [await probe.run(), await probe.run()]
        probe.close()
        server.close()
        return results

    assert asyncio.run(main()) == [result, result]
