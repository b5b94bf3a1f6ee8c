"""S7.10, S7.11, S7.12, S7.15 (token binding) and the abuse cases AU-jwt-*, AU-jwks-flood, AU-prefix-collision."""

from __future__ import annotations

import hashlib
import hmac
import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from fakes import FakeTools, exchange, finish
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.filters.jwt import Config, Jwt
from tidegate.ports.consumers import Consumer
from tidegate.wire.base64url import decode, encode

URL = "https://issuer.example/keys"
ISSUER = "https://issuer.example"
NOW = 1_700_000_000
SECRET = "a shared secret of 32 bytes, long"


def number(value: int, size: int) -> str:
    return encode(value.to_bytes(size, "big"))


RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()


def rsa_jwk(key: rsa.RSAPrivateKey = RSA, **extra: Any) -> dict[str, Any]:
    public = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(public.n, key.key_size // 8), "e": number(public.e, 3), **extra}


def ec_jwk(key: ec.EllipticCurvePrivateKey, **extra: Any) -> dict[str, Any]:
    public, size = key.public_key().public_numbers(), key.key_size // 8
    return {"kty": "EC", "crv": f"P-{key.key_size}", "x": number(public.x, size), "y": number(public.y, size), **extra}


ED_JWK = {"kty": "OKP", "crv": "Ed25519", "x": encode(ED.public_key().public_bytes_raw())}
KEYS = [rsa_jwk(kid="rsa"), ec_jwk(P256, kid="p256"), ec_jwk(P384, kid="p384"), {**ED_JWK, "kid": "ed"}]


def raw_ec(key: ec.EllipticCurvePrivateKey, message: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    size = key.key_size // 8
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(algorithm)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
SIGN = {
    "RS256": lambda m: RSA.sign(m, padding.PKCS1v15(), hashes.SHA256()),
    "PS256": lambda m: RSA.sign(m, PSS, hashes.SHA256()),
    "ES256": lambda m: raw_ec(P256, m, hashes.SHA256()),
    "ES384": lambda m: raw_ec(P384, m, hashes.SHA384()),
    "EdDSA": ED.sign,
    "HS256": lambda m: hmac.digest(SECRET.encode(), m, "sha256"),
}
KID = {"RS256": "rsa", "PS256": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed"}
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": "api", "sub": "alice", "exp": NOW + 300}


def token(claims: Any = None, *, alg: str = "EdDSA", header: dict[str, Any] | None = None, raw: str = "",
          without: tuple[str, ...] = (), **more: Any) -> str:  # fmt: skip
    head = {"alg": alg, "kid": KID.get(alg), **(header or {})}
    head = {name: value for name, value in head.items() if value is not None or name in (header or {})}
    body = raw or json.dumps({k: v for k, v in {**CLAIMS, **(claims or {}), **more}.items() if k not in without})
    message = f"{encode(json.dumps(head).encode())}.{encode(body.encode())}"
    return f"{message}.{encode(SIGN[alg](message.encode()))}"


def mac(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, "sha256")


def compact(head: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """Good claims under any head, signed by anybody."""
    message = f"{encode(json.dumps(head).encode())}.{encode(json.dumps(CLAIMS).encode())}"
    return f"{message}.{encode(sign(message.encode()))}"


def ask(text: str, **keywords: Any) -> Exchange:
    return exchange(fields=[("authorization", f"Bearer {text}")], **keywords)


@pytest.fixture
def tools() -> FakeTools:
    made = FakeTools()
    made.key_sets.put(URL, {"keys": KEYS})
    return made


def build(tools: FakeTools, **settings: Any) -> Jwt:
    if not {"keys", "jwks_file", "secret"} & settings.keys():
        settings.setdefault("jwks", URL)
    return Jwt(Config.model_validate({"issuer": ISSUER, "audience": "api", **settings}), tools)


def accepted(jwt: Jwt, x: Exchange) -> Identity:
    assert finish(jwt.on_request_head(x)) is None
    assert x.identity is not None
    return x.identity


def refused(jwt: Jwt, x: Exchange) -> Fault:
    with pytest.raises(Fault) as caught:
        finish(jwt.on_request_head(x))
    assert x.identity is None
    return caught.value


def is_401(jwt: Jwt, text: str) -> None:
    fault = refused(jwt, ask(text))
    assert (fault.status, fault.code, fault.reason) == (401, "unauthenticated", "")
    assert fault.fields == [("www-authenticate", "Bearer")]


# -- good tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "EdDSA"])
def test_a_good_token_gives_its_identity_and_does_not_travel_on(tools: FakeTools, alg: str) -> None:
    x = ask(token(alg=alg, scope="read write", jti="t-1"))
    identity = accepted(build(tools), x)
    assert (identity.consumer, identity.tenant, identity.method, identity.key_id) == ("alice", "default", "jwt", "t-1")
    assert identity.scopes == frozenset({"read", "write"})
    assert identity.claims["iss"] == ISSUER
    assert (x.auth, x.get("authorization")) == ("jwt", None)


def test_keys_may_come_inline_from_a_file_or_be_a_secret(tools: FakeTools, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": KEYS}))
    tools.config_folder = tmp_path
    assert accepted(build(tools, keys=KEYS), ask(token())).consumer == "alice"
    assert accepted(build(tools, jwks_file="keys.json"), ask(token())).consumer == "alice"
    tools.secrets["${JWT_SECRET}"] = SECRET
    assert accepted(build(tools, secret="${JWT_SECRET}"), ask(token(alg="HS256"))).consumer == "alice"


@pytest.mark.parametrize(
    "claims", [{"aud": ["other", "api"]}, {"nbf": NOW + 60}, {"nbf": NOW + 59.5}, {"exp": NOW - 59}, {"iat": NOW},
               {"scp": ["read"]}, {"scope": ""}]
)  # fmt: skip
def test_claims_at_the_edge_of_what_is_right(tools: FakeTools, claims: dict[str, Any]) -> None:
    accepted(build(tools), ask(token(claims)))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_types_of_access_tokens(tools: FakeTools, typ: str) -> None:
    accepted(build(tools), ask(token(header={"typ": typ})))


def test_a_configured_consumer_lends_tags_tenant_and_priority(tools: FakeTools) -> None:
    tools.consumers.add(Consumer("alice", tenant="t1", tags=("gold",), priority=1))
    identity = accepted(build(tools), ask(token()))
    assert (identity.tenant, identity.tags, identity.priority) == ("t1", frozenset({"gold"}), 1)
    identity = accepted(build(tools, tenant_claim="org", consumer_claim="azp"), ask(token(org="t2", azp="alice")))
    assert (identity.consumer, identity.tenant) == ("alice", "t2")


def test_a_token_without_kid_needs_a_set_without_choice(tools: FakeTools) -> None:
    tools.key_sets.put(URL, {"keys": [*KEYS[:3], ED_JWK]})
    accepted(build(tools), ask(_without_kid()))
    tools.key_sets.put(URL, {"keys": [*KEYS, {**ED_JWK, "kid": "second"}]})
    is_401(build(tools), _without_kid())


def _without_kid() -> str:
    return compact({"alg": "EdDSA"}, ED.sign)


# -- bad tokens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", ["", "c2lnbmF0dXJl"])
def test_no_algorithm_is_no_signature_au_jwt_none(tools: FakeTools, alg: str, signature: str) -> None:
    head = encode(json.dumps({"alg": alg, "kid": "ed"}).encode())
    is_401(build(tools), f"{head}.{encode(json.dumps(CLAIMS).encode())}.{signature}")


@pytest.mark.parametrize(
    "kid", ["../../../empty.key", "x' UNION SELECT 'k'--", "k" * 1_048_576, 7, None, ["a"], "", {}]
)
def test_a_kid_is_only_looked_up_au_jwt_kid(tools: FakeTools, kid: Any, tmp_path: Path) -> None:
    (tmp_path / "empty.key").write_bytes(b"")
    for jwt in (build(tools), build(tools, keys=KEYS), build(tools, secret=SECRET)):
        is_401(jwt, compact({"alg": "HS256", "kid": kid}, partial(mac, b"")))
        is_401(jwt, compact({"alg": "EdDSA", "kid": kid}, ED.sign))


@pytest.mark.parametrize(
    ("without", "claims"),
    [(("exp",), {}), (("aud",), {}), ((), {"exp": "1999999999"}), ((), {"exp": -1}), ((), {"nbf": NOW + 3600}),
     ((), {"iss": "https://issuer.example.evil"}), ((), {"iss": "https://issuer"}), ((), {"aud": ["x", "y"]}),
     (("iss",), {}), (("sub",), {}), ((), {"exp": True}), ((), {"exp": None}), ((), {"exp": NOW - 60}),
     ((), {"nbf": NOW + 61}), ((), {"nbf": "0"}), ((), {"iat": "now"}), ((), {"aud": []}), ((), {"aud": {"api": 1}}),
     ((), {"aud": [["api"]]}), ((), {"aud": "API"}), ((), {"iss": [ISSUER]}), ((), {"sub": ""}), ((), {"sub": 7}),
     ((), {"sub": "a\r\nx-admin: 1"}), ((), {"sub": "x" * 257}), ((), {"scope": 7}), ((), {"scp": [1]}),
     ((), {"jti": ["a"]}), ((), {"cnf": "x"}), ((), {"cnf": {"x5t#S256": ""}}), ((), {"exp": 1e300})],
)  # fmt: skip
def test_a_wrong_or_missing_claim_is_401_au_jwt_claims(
    tools: FakeTools, without: tuple[str, ...], claims: dict[str, Any]
) -> None:
    is_401(build(tools), token(claims, without=without))


@pytest.mark.parametrize(
    "raw",
    ['{"iss":"https://issuer.example","aud":"api","sub":"alice","exp":1,"exp":1700000300}', "[]", '"x"', "{", "null",
     '{"iss":"https://issuer.example","aud":"api","sub":"alice","exp":NaN}', "[" * 4000, '{"exp":Infinity}',
     '\ufeff{"iss":"https://issuer.example","aud":"api","sub":"alice","exp":1700000300}'],
)  # fmt: skip
def test_claims_that_are_no_strict_json_object_are_401(tools: FakeTools, raw: str) -> None:
    is_401(build(tools), token(raw=raw))


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"b64": False}, {"typ": "dpop+jwt"},
     {"typ": "JWE"}, {"typ": 7}, {"typ": None}, {"kid": "rsa"}],
)  # fmt: skip
def test_a_header_that_asks_for_something_else_is_401(tools: FakeTools, header: dict[str, Any]) -> None:
    if header == {"typ": None}:
        accepted(build(tools), ask(token(header=header)))  # null says nothing
        is_401(build(tools, types=["at+jwt"]), token(header=header))
    else:
        is_401(build(tools), token(header=header))


def test_keys_in_the_header_are_ignored_and_never_fetched(tools: FakeTools) -> None:
    stranger = ed25519.Ed25519PrivateKey.generate()
    own = {"kty": "OKP", "crv": "Ed25519", "x": encode(stranger.public_key().public_bytes_raw()), "kid": "ed"}
    head = {"alg": "EdDSA", "kid": "ed", "jwk": own, "jku": "https://evil.example/k", "x5u": "https://evil.example/c",
            "x5c": ["AA"]}  # fmt: skip
    is_401(build(tools), compact(head, stranger.sign))
    accepted(build(tools), ask(compact(head, ED.sign)))


def test_a_public_key_is_no_shared_secret_rfc_8725_2_1(tools: FakeTools) -> None:
    for secret in (RSA.public_key(), P256.public_key()):
        pem = secret.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        is_401(build(tools), compact({"alg": "HS256", "kid": "rsa"}, partial(mac, pem)))


def test_an_algorithm_that_is_not_configured_or_not_of_the_key_is_401(tools: FakeTools) -> None:
    is_401(build(tools, algorithms=["RS256"]), token(alg="PS256"))
    tools.key_sets.put(URL, {"keys": [rsa_jwk(kid="rsa", alg="RS256")]})
    is_401(build(tools), token(alg="PS256"))
    accepted(build(tools), ask(token(alg="RS256")))


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"key_ops": ["sign"]}, {"kty": "oct", "k": "AAAA"}, {"n": "AQAB"}, {"kid": 7}]
)
def test_keys_that_are_not_for_signatures_are_not_used(tools: FakeTools, change: dict[str, Any]) -> None:
    tools.key_sets.put(URL, {"keys": [{**rsa_jwk(kid="rsa"), **change}, "nonsense", *KEYS[1:]]})
    jwt = build(tools)
    is_401(jwt, token(alg="RS256"))
    accepted(jwt, ask(token()))


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_short_rsa_key_is_not_used(tools: FakeTools) -> None:
    with pytest.raises(ValueError, match="2048"):
        build(tools, keys=[rsa_jwk(rsa.generate_private_key(65537, 1024))])


def _malleated() -> list[str]:
    good = token(alg="ES256")
    head, body, signature = good.split(".")
    raw = decode(signature)
    assert raw is not None
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    zero = bytes(64)
    big = (r + order).to_bytes(33, "big") if r + order < 1 << 264 else zero
    return [
        f"{head}.{body}.", f"{head}.{body}", f"{good}.", f"{good}.x", f".{body}.{signature}", f"{head}..{signature}",
        f"{head}.{body}.{signature}=", f"{head}.{body}.{signature[:-1]}", f" {good}x", f"{head}\n.{body}.{signature}",
        f"{head}.{body}.{encode(zero)}", f"{head}.{body}.{encode(big + raw[32:])}",
        f"{head}.{body}.{encode(raw + b'x')}",
        f"{head}.{body}.{encode(raw[:32] + (s + 1).to_bytes(33, 'big')[-32:])}", f"{head}.{body}.{encode(raw[:63])}",
        f"{head}.{body}.{encode(order.to_bytes(32, 'big') + raw[32:])}", f"{body}.{head}.{signature}",
        f"{head}.{encode(b'{}')}.{signature}", f"{head}.{body}é.{signature}", good + "A" * 8192,
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(20))
def test_a_token_changed_anywhere_is_401(tools: FakeTools, number: int) -> None:
    is_401(build(tools), _malleated()[number])


def test_every_bit_of_a_signature_counts(tools: FakeTools) -> None:
    head, body, signature = token().split(".")
    raw = decode(signature)
    assert raw is not None
    jwt = build(tools, failed_tries=1000)
    for place in range(0, 512, 37):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        is_401(jwt, f"{head}.{body}.{encode(bytes(changed))}")


# -- time, memory, keys ------------------------------------------------------------------------------------------------


def test_a_good_token_is_remembered_for_a_minute_at_most_s7_12(tools: FakeTools) -> None:
    jwt = build(tools)
    text = token()
    first = accepted(jwt, ask(text))
    assert accepted(jwt, ask(text)) is first
    assert all(len(mark) == 32 for mark in jwt._remembered)
    tools.clock += 60
    assert accepted(jwt, ask(text)) is not first


def test_no_verdict_outlives_the_token_and_a_step_back_revives_nothing_au_expired_clock(tools: FakeTools) -> None:
    jwt = build(tools)
    text = token(exp=NOW + 10)
    accepted(jwt, ask(text))
    tools.epoch_seconds += 3600
    is_401(jwt, text)
    tools.epoch_seconds -= 3600
    is_401(jwt, text)
    accepted(jwt, ask(token(exp=NOW + 11)))


def test_near_equal_tokens_never_share_au_prefix_collision(tools: FakeTools) -> None:
    jwt = build(tools, failed_tries=1000)
    alice, bob = token(), token(sub="bob")
    for _ in range(100):
        assert accepted(jwt, ask(alice)).consumer == "alice"
        assert accepted(jwt, ask(bob)).consumer == "bob"
        is_401(jwt, alice.rpartition(".")[0] + "." + bob.rpartition(".")[2])


def test_a_key_that_leaves_the_set_takes_its_tokens_along(tools: FakeTools) -> None:
    jwt = build(tools)
    text = token()
    accepted(jwt, ask(text))
    tools.key_sets.put(URL, {"keys": [k for k in KEYS if k["kid"] != "ed"]})
    is_401(jwt, text)


def test_a_rotation_fails_no_request_s7_11(tools: FakeTools) -> None:
    tools.key_sets.put(URL, {"keys": KEYS[:1]})
    jwt = build(tools)
    x = ask(token())
    pending = jwt.on_request_head(x)
    assert inspect.iscoroutine(pending)
    assert tools.key_sets.wanted == [(URL, "")]
    tools.key_sets.put(URL, {"keys": KEYS})
    finish(pending)
    assert x.identity is not None


def test_made_up_kids_ask_once_a_minute_and_soon_wait_no_more_au_jwks_flood(tools: FakeTools) -> None:
    jwt = build(tools, failed_tries=100_000)
    started = tools.clock
    is_401(jwt, token(header={"kid": "x0"}))
    assert round(tools.clock - started, 3) == 1.0
    for n in range(200):
        is_401(jwt, token(header={"kid": f"x{n}"}))
    assert len(tools.key_sets.wanted) == 1
    assert round(tools.clock - started, 3) == 1.0
    tools.advance(60)
    is_401(jwt, token(header={"kid": "x1"}))
    assert len(tools.key_sets.wanted) == 2


def test_only_so_many_tokens_wait_for_a_key_at_once(tools: FakeTools) -> None:
    jwt = build(tools, failed_tries=100_000)
    waiting = [jwt.on_request_head(ask(token(header={"kid": "x"}))) for _ in range(1)]
    jwt._waiting = 100
    is_401(jwt, token(header={"kid": "y"}))
    jwt._waiting = 0
    for pending in waiting:
        with pytest.raises(Fault):
            finish(pending)
    assert jwt._waiting == 0


def test_no_key_set_within_its_life_is_503_and_never_401(tools: FakeTools) -> None:
    tools.key_sets.sets.clear()
    fault = refused(build(tools), ask(token()))
    assert (fault.status, fault.code) == (503, "auth_unavailable")
    tools.consumers.trouble = Fault("auth_unavailable")
    tools.key_sets.put(URL, {"keys": KEYS})
    assert refused(build(tools), ask(token())).status == 503


def test_a_disabled_expired_or_unknown_consumer_is_401(tools: FakeTools) -> None:
    tools.consumers.add(Consumer("alice", disabled=True))
    is_401(build(tools), token())
    tools.consumers.add(Consumer("alice", expires=tools.wall()))
    is_401(build(tools), token())
    is_401(build(tools, known_only=True), token(sub="bob"))
    jwt = build(tools)
    tools.consumers.add(Consumer("alice", expires=tools.wall() + 5))
    text = token()
    accepted(jwt, ask(text))
    tools.consumers.add(Consumer("alice", disabled=True))
    is_401(jwt, text)


def test_a_denied_jti_is_401(tools: FakeTools) -> None:
    is_401(build(tools, deny_jti=["stolen"]), token(jti="stolen"))
    accepted(build(tools, deny_jti=["stolen"]), ask(token(jti="other")))


def test_a_bound_token_needs_its_certificate_rfc_8705(tools: FakeTools) -> None:
    jwt = build(tools)
    text = token(cnf={"x5t#S256": encode(hashlib.sha256(b"der").digest())})
    for _ in range(2):  # verified, then remembered
        accepted(jwt, ask(text, certificate=b"der"))
        assert refused(jwt, ask(text, certificate=b"other")).status == 401
        assert refused(jwt, ask(text)).status == 401


def test_failing_tries_are_slowed_down_s7_7(tools: FakeTools) -> None:
    jwt = build(tools, failed_tries=2)
    assert [refused(jwt, ask("eyJ.e30.AA")).status for _ in range(3)] == [401, 401, 429]
    accepted(jwt, ask(token()))


def test_optional_lets_strangers_and_keys_pass_but_no_bad_token_s7_3(tools: FakeTools) -> None:
    jwt = build(tools, optional=True)
    for x in (exchange(), ask("tg-mobile-key"), exchange(fields=[("authorization", "Basic dTpw")])):
        assert jwt.on_request_head(x) is None
        assert x.identity is None
    is_401(jwt, token(exp=1))
    is_401(build(tools), "tg-mobile-key")


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"jwks": URL, "secret": "x" * 32}, {"jwks": URL, "algorithms": ["HS256"]}, {"jwks": URL, "algorithms": []},
     {"secret": "x" * 32, "algorithms": ["RS256"]}, {"jwks": URL, "algorithms": ["none"]}, {"jwks": "file:///etc/x"},
     {"jwks": URL, "skew": "1h"}, {"jwks": URL, "audience": []}, {"jwks": URL, "issuer": ""}, {"jwks": URL, "x": 1}],
)  # fmt: skip
def test_impossible_settings_are_refused_at_load(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"issuer": ISSUER, "audience": "api", **settings})


@pytest.mark.parametrize(
    "settings", [{"secret": "x" * 31}, {"keys": [{"kty": "oct", "k": "AAAA"}]}, {"keys": [rsa_jwk(use="enc")]}]
)
def test_unusable_keys_are_refused_at_load(tools: FakeTools, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="jwt"):
        build(tools, **settings)


def test_the_config_survives_the_generation_file_and_describes_itself() -> None:
    config = Config.model_validate({"issuer": ISSUER, "audience": "api", "jwks": URL, "skew": "30s"})
    assert (config.audience, config.skew) == (("api",), 30.0)
    assert Config.model_validate(json.loads(config.model_dump_json())) == config
    assert all(field.description for field in Config.model_fields.values())
