"""``examples/http.yaml``, unchanged, in front of three nginx; and an nginx that asks who we are (mTLS).

S5 (routing), S7 (keys), S9.9 (429), S10, S12 and S13 (failover and recovery, F26), S18 (tunnels), S16.6 (mTLS).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from real.processes import ROOT, Gateway, Nginx, free_port, until
from real.traffic import Answer, Talk, call

DOOR: Final = 8080
ADMIN: Final = 9080
MOBILE: Final = {"x-api-key": "tg-mobile-key"}
PARTNER: Final = {"x-api-key": "tg-partner-key"}
ECHO: Final = 9013

SERVICE: Final = """
server {{
  listen 127.0.0.1:{port} {options};
  root {root};
  location = /healthz {{ return 200 "well"; }}
  location /orders/kept/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
  location /ws {{
    proxy_pass http://127.0.0.1:{echo};
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
    proxy_set_header Host $http_host;
  }}
  location / {{
    return 200 "$server_port $request_method $request_uri from=$http_x_from length=$http_content_length";
  }}
}}
"""


class House:
    """The gateway of the example and its upstreams, by port."""

    def __init__(self, gateway: Gateway, upstreams: dict[int, Nginx]) -> None:
        self.gateway = gateway
        self.upstreams = upstreams

    def orders(self) -> dict[str, Any]:
        """The upstream as the one worker sees it."""
        shown: dict[str, Any] = self.gateway.status()["upstreams"]["orders"]["0"]
        return shown


@pytest.fixture(scope="module")
def house(nginx_program: str, network: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("example")
    (folder / "www").mkdir()
    upstreams: dict[int, Nginx] = {}
    with contextlib.ExitStack() as stack:
        for port in (9001, 9002, 9003):
            servers = SERVICE.format(port=port, options="", root=folder / "www", echo=ECHO)
            upstreams[port] = Nginx(nginx_program, folder / f"nginx-{port}", servers, port).start()
            stack.callback(upstreams[port].kill)
        gateway = Gateway(ROOT / "examples" / "http.yaml", folder, ADMIN)
        stack.callback(gateway.abandon)
        yield House(gateway.ready(), upstreams)
        assert gateway.stop() == 0
        assert "Traceback" not in gateway.said


@pytest.fixture
def calm(house: House) -> House:
    """All upstreams up, the breaker closed, and the buckets full again: their burst of 200 comes back in 2 s."""
    for upstream in house.upstreams.values():
        if upstream.process is None:
            upstream.start()
    answers: list[Answer] = []

    def well() -> bool:
        answers[:] = [ask("GET", "/orders", key) for key in (MOBILE, PARTNER)]
        orders = house.orders()
        return (
            min(remaining(answer) for answer in answers) >= 198
            and orders["breaker"]["state"] == "closed"
            and all(endpoint["usable"] for endpoint in orders["endpoints"])
        )

    until(well, 20, lambda: f"{answers} {house.orders()}", each=0.5)
    return house


def ask(method: str, path: str, fields: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    return asyncio.run(call(DOOR, method, path, fields, body))


def remaining(answer: Answer) -> int:
    """``r`` of the RateLimit field; -1 without one."""
    for part in answer.fields.get("ratelimit", "").split(";"):
        if part.startswith("r="):
            return int(part[2:])
    return -1


# -- routing and keys -----------------------------------------------------------------------------------------------


def test_orders_go_to_either_nginx_with_what_the_filters_set(calm: House) -> None:
    answers = [ask("GET", f"/orders/{n}?deep=1", MOBILE) for n in range(12)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} <= {
        f"{port} GET /orders/{n}?deep=1 from=tidegate length=".encode() for port in (9001, 9002) for n in range(12)
    }
    assert all("server" not in answer.fields and "x-request-id" in answer.fields for answer in answers)
    length = ask("POST", "/orders", PARTNER, b"x" * 100_000)
    assert length.status == 200 and length.body.endswith(b"POST /orders from=tidegate length=100000")


def test_a_stored_body_comes_back_as_it_was_sent(calm: House) -> None:
    body = bytes(range(256)) * 4096
    assert ask("PUT", "/orders/kept/a.bin", MOBILE, body).status in (201, 204)
    assert ask("GET", "/orders/kept/a.bin", MOBILE).body == body
    head = ask("HEAD", "/orders/kept/a.bin", MOBILE)
    assert (head.status, head.fields["content-length"], head.body) == (200, str(len(body)), b""), "S5.5"
    assert ask("DELETE", "/orders/kept/a.bin", MOBILE).status == 204
    assert ask("GET", "/orders/kept/a.bin", MOBILE).status == 404


def test_a_caller_without_a_good_key_is_refused_alike(calm: House) -> None:
    answers = [ask("GET", "/orders", fields) for fields in ({}, {"x-api-key": "tg-mobile-keY"}, {"x-api-key": ""})]
    assert [answer.status for answer in answers] == [401, 401, 401]
    problems = [json.loads(answer.body) for answer in answers]
    assert {problem["code"] for problem in problems} == {"unauthenticated"}
    assert {answer.fields["content-type"] for answer in answers} == {"application/problem+json"}


def test_routes_match_by_path_method_and_header(calm: House) -> None:
    assert ask("GET", "/hello").body == b'{"hello":"world"}'
    assert ask("GET", "/hello/").status == 404
    assert ask("GET", "/ordersx", MOBILE).status == 404
    wrong = ask("PATCH", "/orders", MOBILE)
    assert wrong.status == 405 and "GET" in wrong.fields["allow"]
    assert ask("GET", "/catalog/books").status == 404, "without x-version there is no such route"
    found = ask("GET", "/catalog/books?page=2", {"x-version": "2", "origin": "https://app.example"})
    assert found.body == b"9003 GET /books?page=2 from= length="
    assert found.fields["access-control-allow-origin"] == "https://app.example"


# -- limits ---------------------------------------------------------------------------------------------------------


def test_a_flood_gets_429_with_the_fields_that_tell_when_to_return(calm: House) -> None:
    async def flood() -> tuple[list[Answer], float]:
        begun = time.monotonic()

        async def caller() -> list[Answer]:
            talk = await Talk.open(DOOR)
            answers = [await talk.call("GET", "/orders", MOBILE) for _ in range(50)]
            talk.close()
            return answers

        found = await asyncio.gather(*(caller() for _ in range(16)))
        return [answer for answers in found for answer in answers], time.monotonic() - begun

    answers, seconds = asyncio.run(flood())
    counts = Counter(answer.status for answer in answers)
    assert set(counts) == {200, 429}
    assert 180 <= counts[200] <= 200 + 100 * seconds + 1
    for refused in (answer for answer in answers if answer.status == 429):
        assert refused.fields["retry-after"] == "1"
        assert refused.fields["ratelimit-policy"].endswith(";q=100;w=1")
        assert remaining(refused) == 0
        assert json.loads(refused.body)["code"] == "rate_limited"
    assert ask("GET", "/orders", PARTNER).status == 200, "another consumer has a bucket of his own"


# -- failover and recovery ------------------------------------------------------------------------------------------


async def paced(seconds: float, chances: list[tuple[str, bytes]]) -> tuple[Counter[str], Counter[str], int]:
    """Idempotent calls of both consumers at two thirds of their rate; outcomes, who served, how many."""
    outcomes: Counter[str] = Counter()
    served: Counter[str] = Counter()
    end = time.monotonic() + seconds

    async def caller(number: int, key: dict[str, str]) -> None:
        talk: Talk | None = None
        due = time.monotonic() + number / 66
        turn = number
        while due < end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += 4 / 66
            method, body = chances[turn % len(chances)]
            turn += 1
            try:
                talk = talk or await Talk.open(DOOR)
                answer = await talk.call(method, "/orders/7", key, body)
            except Exception as error:
                outcomes[f"{method} {error!r}"] += 1
                talk = None
                continue
            outcomes[str(answer.status) if answer.status == 200 else f"{method} {answer.status} {answer.body!r}"] += 1
            served[answer.body[:4].decode()] += 1
            if answer.closes:
                talk.close()
                talk = None
        if talk is not None:
            talk.close()

    await asyncio.gather(*(caller(n, key) for n in range(4) for key in (MOBILE, PARTNER)))
    return outcomes, served, outcomes.total()


def test_no_idempotent_call_fails_when_an_nginx_is_killed_and_it_is_used_again_when_it_is_back(calm: House) -> None:
    async def scenario() -> tuple[Counter[str], Counter[str], int, float]:
        calls = [("GET", b""), ("PUT", b"put"), ("GET", b""), ("DELETE", b"")]
        running = asyncio.create_task(paced(9.0, calls))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(calm.upstreams[9002].kill)
        await asyncio.sleep(4.0)
        await asyncio.to_thread(calm.upstreams[9002].start)
        back = await asyncio.to_thread(until, lambda: usable(calm, "127.0.0.1:9002"), 5)
        outcomes, served, total = await running
        return outcomes, served, total, back

    outcomes, served, total, back = asyncio.run(scenario())
    assert dict(outcomes) == {"200": total}
    assert total > 600
    assert served["9001"] > 0 and served["9002"] > 0
    assert back < 5.0


def usable(house: House, endpoint: str) -> bool:
    return any(each["endpoint"] == endpoint and each["usable"] for each in house.orders()["endpoints"])


def test_after_a_total_outage_calls_succeed_again_within_five_seconds(calm: House) -> None:
    """F26. Both nginx of orders and the one of catalog: with and without active checks."""
    for upstream in calm.upstreams.values():
        upstream.kill()
    end = time.monotonic() + 4.0
    seen: Counter[int] = Counter()
    while time.monotonic() < end:
        for path, fields in (("/orders", MOBILE), ("/catalog/a", {"x-version": "2"})):
            answer = ask("GET", path, fields)
            seen[answer.status] += 1
            if answer.status == 503:
                assert int(answer.fields["retry-after"]) >= 1
    assert set(seen) <= {502, 503}
    for upstream in calm.upstreams.values():
        upstream.start()
    until(lambda: ask("GET", "/orders", MOBILE).status == 200, 5)
    until(lambda: ask("GET", "/catalog/a", {"x-version": "2"}).status == 200, 5)


# -- tunnels --------------------------------------------------------------------------------------------------------


def test_a_websocket_is_tunnelled_through_nginx_both_ways(calm: House) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def talk() -> None:
        async with serve(echo, "127.0.0.1", ECHO, max_size=None):  # noqa: SIM117
            async with connect(f"ws://127.0.0.1:{DOOR}/ws/room", max_size=None) as client:
                for message in ("hello", "", "é" * 1000, b"\x00\xff" * 500_000):
                    await client.send(message)
                    assert await client.recv() == message
                pong = await client.ping()
                await asyncio.wait_for(pong, 5)
                await client.close(1000, "enough")
                assert client.close_code == 1000

    asyncio.run(asyncio.wait_for(talk(), 30))


def test_an_upgrade_that_the_upstream_refuses_is_an_ordinary_answer(calm: House) -> None:
    """Nobody listens behind that nginx: its own 502 passes unchanged (S6.6)."""
    fields = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert ask("GET", "/ws", fields).status == 502


# -- mTLS upstream --------------------------------------------------------------------------------------------------

SECURED: Final = """
listeners: [{{address: "127.0.0.1:{door}"}}]
admin: {{address: "127.0.0.1:{admin}"}}
upstreams:
  - name: vault
    targets: [{{url: "https://127.0.0.1:{port}"}}]
    tls: {{ca: ca.pem, cert: client.pem, key: client.pem, server_name: vault.test}}
  - name: anonymous
    targets: [{{url: "https://127.0.0.1:{port}"}}]
    tls: {{ca: ca.pem, server_name: vault.test}}
  - name: mistaken
    targets: [{{url: "https://127.0.0.1:{port}"}}]
    tls: {{ca: ca.pem, cert: client.pem, key: client.pem, server_name: other.test}}
  - name: distrusted
    targets: [{{url: "https://127.0.0.1:{port}"}}]
    tls: {{ca: stranger.pem, cert: client.pem, key: client.pem, server_name: vault.test}}
routes:
  - {{name: vault, match: {{path: /vault}}, upstream: vault}}
  - {{name: anonymous, match: {{path: /anonymous}}, upstream: anonymous}}
  - {{name: mistaken, match: {{path: /mistaken}}, upstream: mistaken}}
  - {{name: distrusted, match: {{path: /distrusted}}, upstream: distrusted}}
"""

VAULT: Final = """
server {{
  listen 127.0.0.1:{port} ssl;
  ssl_certificate server.pem;
  ssl_certificate_key server.pem;
  ssl_client_certificate ca.pem;
  ssl_verify_client on;
  location / {{ return 200 "$ssl_client_verify $ssl_client_s_dn sni=$ssl_server_name $request_uri"; }}
}}
"""


def test_nginx_sees_our_certificate_and_we_see_to_its_name_and_its_signer(nginx_program: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    ours = authority.issue_cert("client@gateway.test", common_name="the gateway")
    for folder in (tmp_path, tmp_path / "nginx"):
        folder.mkdir(exist_ok=True)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("vault.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "nginx/server.pem"))
    ours.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    port, door, admin = free_port(), free_port(), free_port()
    config = tmp_path / "secured.yaml"
    config.write_text(SECURED.format(port=port, door=door, admin=admin))
    nginx = Nginx(nginx_program, tmp_path / "nginx", VAULT.format(port=port), port).start()
    gateway = Gateway(config, tmp_path, admin)
    try:
        gateway.ready()
        answer = asyncio.run(call(door, "GET", "/vault/door"))
        assert (answer.status, answer.body) == (
            200,
            b"SUCCESS CN=the gateway,OU=Testing cert #" + answer.body.partition(b"#")[2],
        )
        assert answer.body.endswith(b"sni=vault.test /vault/door")
        anonymous = asyncio.run(call(door, "GET", "/anonymous"))
        assert anonymous.status == 400 and b"No required SSL certificate was sent" in anonymous.body
        for wrong in ("/mistaken", "/distrusted"):
            refused = asyncio.run(call(door, "GET", wrong))
            assert (refused.status, json.loads(refused.body)["code"]) == (502, "tls_error")
        with socket.create_connection(("127.0.0.1", port)):
            pass
        assert gateway.stop() == 0
    finally:
        gateway.abandon()
        nginx.kill()
