"""Who pays, over real sockets: several keys of one provider in turn, access tokens from a token endpoint, requests that
clients sign with the pair of their key (LLM 2, 8)."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from real.llm.fake_provider import FakeProvider
from real.llm.house import KEY, PRICE, ModelHouse, model, provider
from real.processes import until
from tidegate.rules.sigv4 import body_hash, sign

pytestmark = pytest.mark.timeout(120)


def post(house: ModelHouse, path: str, body: bytes, fields: dict[str, str]) -> tuple[int, bytes]:
    """One call on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", house.door, timeout=20)
    try:
        connection.request("POST", path, body, {"content-type": "application/json", **fields})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ask(house: ModelHouse, name: str) -> tuple[int, bytes]:
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "hi"}]}).encode()
    return post(house, "/v1/chat/completions", body, {"authorization": f"Bearer {KEY}"})


# -- several keys ------------------------------------------------------------------------------------------------------


def test_several_keys_of_a_provider_take_turns_and_a_refused_one_costs_no_call(tmp_path: Path) -> None:
    with FakeProvider() as fake:
        keys = [fake.key, "sk-revoked-0123456789"]
        one = provider("openai", fake, api_keys=keys)
        del one["api_key"]
        house = ModelHouse(tmp_path, {"providers": [one], "models": [model("m", "openai")]}, workers=1).ready()
        try:
            assert [ask(house, "m")[0] for _ in range(6)] == [200] * 6
            used = [heard.field("authorization").removeprefix("Bearer ") for heard in fake.heard]
            # The second call meets the revoked key, and the good one serves it; after that the revoked one rests.
            assert used == [keys[0], keys[1], *[keys[0]] * 5]
            fake.forget()
            fake.key = keys[1]
            assert ask(house, "m")[0] == 502  # the provider has changed sides: now nobody is left
            assert len(fake.heard) == 1
            assert house.gateway.said.count("credential_refused") == 2
            assert not any(key in house.gateway.said for key in keys)
        finally:
            house.leave()


# -- access tokens -----------------------------------------------------------------------------------------------------


class TokenEndpoint:
    """A token endpoint on a port of this machine. ``tokens``: what it gave; ``broken``: it answers 400."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.broken = False
        self.life = 3600
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                outer.asked.append({name: values[0] for name, values in parse_qs(body).items()})
                if outer.broken:
                    answer, status = b'{"error": "invalid_grant"}', 400
                else:
                    outer.tokens.append(f"ya29.token-{len(outer.tokens) + 1}-0123456789")
                    answer = json.dumps({"access_token": outer.tokens[-1], "expires_in": outer.life}).encode()
                    status = 200
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[TokenEndpoint]:
    made = TokenEndpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


@contextmanager
def vertex(folder: Path, endpoint: TokenEndpoint, fake: FakeProvider, other: FakeProvider) -> Iterator[ModelHouse]:
    """A gateway whose first target wants a service account's token, and whose second wants none."""
    folder.mkdir(exist_ok=True)
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "gw@p.example", "private_key": key.decode(),
               "token_uri": endpoint.url}  # fmt: skip
    (folder / "account.json").write_text(json.dumps(account))
    first = {"name": "google", "use": "vertex", "base_url": f"{fake.url}/v1beta", "api_key": "account.json",
             "price": PRICE}  # fmt: skip
    house = ModelHouse(
        folder,
        {"providers": [first, provider("openai", other)],
         "models": [model("m", "google", "openai"), model("alone", "google")]},
    )  # fmt: skip
    try:
        yield house.ready()
    finally:
        house.leave()


def test_a_service_accounts_token_is_fetched_once_a_node_and_pays_for_calls(
    tmp_path: Path, endpoint: TokenEndpoint
) -> None:
    with FakeProvider() as fake, FakeProvider() as other, vertex(tmp_path, endpoint, fake, other) as house:
        until(lambda: endpoint.tokens, 5.0)
        fake.key = endpoint.tokens[0]
        until(lambda: ask(house, "alone")[0] == 200, 5.0, each=0.1)
        assert [ask(house, "alone")[0] for _ in range(8)] == [200] * 8  # both workers have it
        assert len(endpoint.asked) == 1
        assert endpoint.asked[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        # Revoked at the provider: the call goes to the next target, control fetches another, the first serves again.
        fake.key = "ya29.token-2-0123456789"
        assert ask(house, "m")[0] == 200
        until(lambda: len(endpoint.tokens) == 2, 5.0)
        until(lambda: ask(house, "alone")[0] == 200, 5.0, each=0.1)
        kept = [path for path in house.gateway.data.rglob("*") if path.is_file()]
        for token in endpoint.tokens:
            assert token not in house.gateway.said
            assert [path for path in kept if token.encode() in path.read_bytes()] == []


def test_while_the_token_endpoint_fails_the_next_target_serves_and_the_operator_is_told(
    tmp_path: Path, endpoint: TokenEndpoint
) -> None:
    endpoint.broken = True
    with FakeProvider() as fake, FakeProvider() as other, vertex(tmp_path, endpoint, fake, other) as house:
        assert [ask(house, "m")[0] for _ in range(4)] == [200] * 4
        assert (len(fake.heard), len(other.heard)) == (0, 4)
        status, body = ask(house, "alone")
        assert (status, b"ya29" in body) == (503, False)
        words = "provider google: no access token: the token endpoint answers 400: invalid_grant"
        until(lambda: words in house.gateway.said, 5.0)
        assert len(endpoint.asked) < 8  # with patience
        endpoint.broken = False
        until(lambda: endpoint.tokens, 15.0)
        fake.key = endpoint.tokens[0]
        until(lambda: ask(house, "alone")[0] == 200, 5.0, each=0.1)


# -- clients that sign -------------------------------------------------------------------------------------------------


def test_a_client_signs_with_the_pair_that_keys_show_prints(tmp_path: Path) -> None:
    with FakeProvider() as fake:
        config = {"providers": [provider("openai", fake)], "models": [model("m", "openai")]}
        house = ModelHouse(tmp_path, config).ready()
        try:
            command = [sys.executable, "-m", "tidegate", "keys", "show", "tester", "-c", str(house.gateway.config),
                       "--data", str(house.gateway.data), "--json"]  # fmt: skip
            shown = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=30).stdout)
            (pair,) = shown["items"]
            body = json.dumps({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}).encode()

            def signed(secret: str, sent: bytes, path: str = "/model/m/converse") -> int:
                host = f"127.0.0.1:{house.door}"
                added = sign("POST", host, path, "", [("content-type", "application/json")], body_hash(body),
                             pair["access_key_id"], secret, "", "us-east-1", "bedrock", time.time())  # fmt: skip
                return post(house, path, sent, dict(added))[0]

            assert signed(pair["secret_access_key"], body) == 200
            assert signed("another", body) in (401, 403)
            assert signed(pair["secret_access_key"], body.replace(b"hi", b"ho")) in (401, 403)
            assert len(fake.heard) == 1
            assert fake.heard[0].field("authorization") == f"Bearer {fake.key}"
            (record,) = house.records_after(0, 1)
            assert record["consumer"] == "tester"
            assert pair["secret_access_key"] not in house.gateway.said
        finally:
            house.leave()
