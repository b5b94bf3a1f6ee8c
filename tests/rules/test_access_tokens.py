"""What a token endpoint is asked, and what its answer means (LLM 8)."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tidegate.rules.access_tokens import LONGEST_LIFE, UNTOLD_LIFE, Asking, Grant, Token, asking, read_token
from tidegate.wire.base64url import decode

KEY = rsa.generate_private_key(65537, 2048)
URL = "https://tokens.example/token"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def account(**more: object) -> str:
    plain = {"type": "service_account", "client_email": "gw@p.example", "private_key": pem(KEY), "private_key_id": "k1"}
    return json.dumps({**plain, **more})


def form_of(asked: Asking) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(asked.body.decode(), strict_parsing=True).items()}


def test_a_service_account_signs_who_it_is_for_an_hour() -> None:
    asked = asking(Grant("account", URL, SCOPE, account()), 1000.9, "u")
    assert (asked.url, asked.fields["content-type"]) == (URL, "application/x-www-form-urlencoded")
    form = form_of(asked)
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, claims, signature = form["assertion"].split(".")
    assert json.loads(decode(head) or b"") == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert json.loads(decode(claims) or b"") == {
        "iss": "gw@p.example", "scope": SCOPE, "aud": URL, "iat": 1000, "exp": 4600,
    }  # fmt: skip
    KEY.public_key().verify(
        decode(signature) or b"", f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
    )  # raises when it does not hold


def test_an_account_may_name_its_own_endpoint_and_a_user_has_a_token_to_renew() -> None:
    other = "http://127.0.0.1:9/token"
    assert asking(Grant("account", URL, SCOPE, account(token_uri=other)), 0.0, "").url == other
    user = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
    assert form_of(asking(Grant("account", URL, SCOPE, json.dumps(user)), 0.0, "")) == {
        "grant_type": "refresh_token", "client_id": "i", "client_secret": "s", "refresh_token": "r",
    }  # fmt: skip


def test_a_client_names_itself_in_the_form_or_in_authorization() -> None:
    asked = asking(Grant("client", URL, "s/.default", "id:se:cret"), 0.0, "u")
    assert form_of(asked) == {
        "grant_type": "client_credentials", "scope": "s/.default", "client_id": "id", "client_secret": "se:cret",
    }  # fmt: skip
    assert set(asked.fields) == {"content-type", "accept"}
    asked = asking(Grant("client", URL, "S", "id:s/1", basic=True, unique="RqUID"), 0.0, "u-1")
    assert form_of(asked) == {"grant_type": "client_credentials", "scope": "S"}
    assert asked.fields["RqUID"] == "u-1"
    assert base64.b64decode(asked.fields["authorization"].removeprefix("Basic ")) == b"id:s%2F1"
    ready = asking(Grant("client", URL, "", "aWQ6cw==", basic=True), 0.0, "u")
    assert ready.fields["authorization"] == "Basic aWQ6cw=="


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        (Grant("account", URL, "", "not json: SECRET"), "the service account is not a JSON object"),
        (Grant("account", URL, "", "[1]"), "the service account is not a JSON object"),
        (Grant("account", URL, "", account(client_email="")), "the account has no client_email"),
        (Grant("account", URL, "", account(private_key="SECRET")), "private_key of the service account is no PEM key"),
        (Grant("account", URL, "", account(private_key=pem(ec.generate_private_key(ec.SECP256R1())))),
         "private_key of the service account is no RSA key"),
        (Grant("account", URL, "", account(type="external_account")),
         "the account is neither a service_account nor an authorized_user"),
        (Grant("account", URL, "", account(token_uri="http://tokens.example/t")),
         "the token endpoint must be an https address"),
        (Grant("client", "http://10.0.0.1/t", "", "i:s"), "the token endpoint must be an https address"),
        (Grant("client", URL, "", "SECRET"), "client credentials are written id:secret"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_without_a_letter_of_the_secret(grant: Grant, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        asking(grant, 0.0, "u")
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        ({"expires_in": 3599}, 3599.0),
        ({"expires_in": "1200"}, 1200.0),
        ({"expires_at": 1_700_000_600_000}, 600.0),
        ({"expires_at": 1_700_000_600}, 600.0),
        ({}, UNTOLD_LIFE),
        ({"expires_in": True}, UNTOLD_LIFE),
        ({"expires_in": 1e12}, LONGEST_LIFE),
        ({"expires_in": 1}, 10.0),
    ],
)
def test_a_token_lives_as_long_as_its_answer_says_within_bounds(answer: dict[str, object], life: float) -> None:
    body = json.dumps({"access_token": "ya29.a-b_c~/+=", "token_type": "Bearer", **answer}).encode()
    assert read_token(200, body, 1_700_000_000.0) == Token("ya29.a-b_c~/+=", life)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b'{"error":"invalid_grant","error_description":"x"}', "the token endpoint answers 400: invalid_grant"),
        (401, b'{"error":"a b\\r\\n"}', "the token endpoint answers 401"),
        (500, b"<html>", "the token endpoint answers 500"),
        (200, b"[]", "the token endpoint's answer holds no access_token"),
        (200, b'{"access_token":"a\\r\\nx: y"}', "the token endpoint's answer holds no access_token"),
        (200, b'{"access_token":""}', "the token endpoint's answer holds no access_token"),
    ],
)
def test_an_answer_without_a_token_is_told_in_the_vendors_word_alone(status: int, body: bytes, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        read_token(status, body, 0.0)
    assert str(raised.value) == words
