"""S7.16: missing cover, stale, replay and bad digest are 401; so is everything else that does not hold."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
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
from tidegate.filters.hmac import Config, Hmac
from tidegate.ports.authority import Verdict
from tidegate.ports.consumers import Consumer
from tidegate.rules.signatures import signature_base
from tidegate.wire.structured_fields import InnerList, parse_dictionary

NOW = 1_700_000_000
SECRET = "a shared secret of some length"
FOUR = '"@method" "@authority" "@path" "@query"'
ED = ed25519.Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def mac(message: bytes) -> bytes:
    return hmac.digest(SECRET.encode(), message, "sha256")


def ecdsa(message: bytes) -> bytes:
    r, s = decode_dss_signature(P256.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def pss(message: bytes) -> bytes:
    return RSA.sign(message, padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512())


def signed(
    method: str = "GET",
    *,
    cover: str = FOUR,
    params: str = f';created={NOW};keyid="partner"',
    body: bytes = b"",
    digest_of: bytes | None = None,
    sign: Callable[[bytes], bytes] = mac,
    fields: list[tuple[str, str]] | None = None,
    label: str = "sig1",
    before_sending: Callable[[Exchange], None] | None = None,
) -> Exchange:
    """A request signed by an honest client; *before_sending* is what somebody changed on the way."""
    lines = list(fields or [])
    if body or digest_of is not None:
        digest = hashlib.sha256(body if digest_of is None else digest_of).digest()
        lines.append(("content-digest", f"sha-256=:{base64.b64encode(digest).decode()}:"))
        cover = cover if "content-digest" in cover else f'{cover} "content-digest"'
    described = f"({cover}){params}"
    x = exchange(method, "/pay", lines, query="a=1", body_length=len(body))
    inner = parse_dictionary(f"s={described}")["s"]
    assert isinstance(inner, InnerList)
    signature = sign(signature_base(x, inner).encode())
    for name, value in (("signature-input", f"{label}={described}"),
                        ("signature", f"{label}=:{base64.b64encode(signature).decode()}:")):  # fmt: skip
        x.head.fields.append((name, value))
        x.head.index[name] = value
    if before_sending is not None:
        before_sending(x)
    return x


@pytest.fixture
def tools() -> FakeTools:
    made = FakeTools()
    made.consumers.add(Consumer("partner", tenant="t1", tags=("gold",)))
    made.consumers.secrets["partner", "hmac"] = SECRET
    return made


def build(tools: FakeTools, **settings: Any) -> Hmac:
    keys = {name: {"consumer": "partner", "public_key": pem(key)} for name, key in
            (("ed", ED), ("p256", P256), ("rsa", RSA))}  # fmt: skip
    return Hmac(Config.model_validate({"keys": keys, **settings}), tools)


def accepted(filter_: Hmac, x: Exchange, body: bytes = b"") -> None:
    assert finish(filter_.on_request_head(x)) is None
    assert filter_.on_request_body(x, body) is None
    assert x.identity is not None
    assert (x.identity.consumer, x.identity.tenant, x.identity.method, x.auth) == ("partner", "t1", "hmac", "hmac")
    assert (x.get("signature"), x.get("signature-input")) == (None, None)


def refused(filter_: Hmac, x: Exchange) -> Fault:
    with pytest.raises(Fault) as caught:
        finish(filter_.on_request_head(x))
    assert x.identity is None
    return caught.value


def is_401(filter_: Hmac, x: Exchange) -> None:
    fault = refused(filter_, x)
    assert (fault.status, fault.fields) == (401, [("www-authenticate", "Signature")])


# -- good signatures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keyid", "sign"), [("partner", mac), ("ed", ED.sign), ("p256", ecdsa), ("rsa", pss)])
def test_each_algorithm_names_its_caller(tools: FakeTools, keyid: str, sign: Callable[[bytes], bytes]) -> None:
    accepted(build(tools), signed(sign=sign, params=f';created={NOW};keyid="{keyid}"'))


def test_an_algorithm_may_be_named_if_it_is_the_keys_own(tools: FakeTools) -> None:
    accepted(build(tools), signed(params=f';created={NOW};keyid="partner";alg="hmac-sha256"'))
    is_401(build(tools), signed(params=f';created={NOW};keyid="partner";alg="ed25519"'))


def test_a_signed_body_with_a_nonce_passes(tools: FakeTools) -> None:
    accepted(build(tools), signed("POST", body=b"{}", params=f';created={NOW};keyid="partner";nonce="n1"'), b"{}")


def test_the_signature_goes_on_when_asked_for(tools: FakeTools) -> None:
    x = signed()
    build(tools, forward_credentials=True).on_request_head(x)
    assert x.get("signature") is not None


# -- bad ones ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cover", [FOUR.replace(f'"{name}"', '"@scheme"') for name in ("@method", "@authority", "@path", "@query")]
)
def test_a_missing_cover_is_401(tools: FakeTools, cover: str) -> None:
    is_401(build(tools), signed(cover=cover))


def test_a_body_without_a_signed_digest_is_401(tools: FakeTools) -> None:
    x = signed("POST", params=f';created={NOW};keyid="partner";nonce="n1"')
    x.head.body_length = 2
    is_401(build(tools), x)


@pytest.mark.parametrize("created", [NOW - 301, NOW + 301])
def test_a_stale_signature_is_401(tools: FakeTools, created: int) -> None:
    is_401(build(tools), signed(params=f';created={created};keyid="partner"'))


def test_an_unsafe_method_needs_a_nonce(tools: FakeTools) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        is_401(build(tools), signed(method))


@pytest.mark.parametrize("wait", [False, True])
def test_a_replay_is_401_on_every_worker(tools: FakeTools, wait: bool) -> None:
    filter_ = build(tools)
    policy = tools.limits.policies["hmac-nonce-600"]
    policy.wait = wait
    assert (policy.spec.amount, policy.spec.per, policy.spec.on_store_error) == (1, 600.0, "deny")
    x = signed("DELETE", params=f';created={NOW};keyid="partner";nonce="n1"')
    accepted(filter_, x)
    policy.verdicts.append(Verdict(False, 0, 600.0, 600.0))
    is_401(filter_, signed("DELETE", params=f';created={NOW};keyid="partner";nonce="n1"'))
    assert policy.taken[0] == policy.taken[1]
    accepted(filter_, signed("DELETE", params=f';created={NOW};keyid="partner";nonce="n2"'))
    assert policy.taken[2] != policy.taken[1]
    assert all(partition.startswith("t1/") and len(partition) == 67 for partition, _ in policy.taken)


def test_a_bad_signature_spends_no_nonce(tools: FakeTools) -> None:
    filter_ = build(tools)
    is_401(filter_, signed("DELETE", sign=lambda m: bytes(32), params=f';created={NOW};keyid="partner";nonce="n"'))
    assert tools.limits.policies["hmac-nonce-600"].taken == []


def test_nonces_that_cannot_be_checked_are_503(tools: FakeTools) -> None:
    filter_ = build(tools)
    tools.limits.policies["hmac-nonce-600"].verdicts.append(Fault("limiter_unavailable"))
    fault = refused(filter_, signed("DELETE", params=f';created={NOW};keyid="partner";nonce="n1"'))
    assert fault.status == 503


def test_a_body_that_is_not_the_signed_one_is_401(tools: FakeTools) -> None:
    filter_ = build(tools)
    x = signed("POST", body=b"{}", params=f';created={NOW};keyid="partner";nonce="n1"')
    finish(filter_.on_request_head(x))
    with pytest.raises(Fault) as caught:
        filter_.on_request_body(x, b"{} ")
    assert caught.value.status == 401


def test_a_digest_of_no_body_is_checked_too(tools: FakeTools) -> None:
    filter_ = build(tools)
    x = signed(digest_of=b"something")
    finish(filter_.on_request_head(x))
    with pytest.raises(Fault):
        filter_.on_request_body(x, b"")


def test_a_coded_body_cannot_be_checked_and_is_415(tools: FakeTools) -> None:
    x = signed("POST", body=b"{}", fields=[("content-encoding", "gzip")])
    assert refused(build(tools), x).status == 415


def _set(name: str, value: str) -> Callable[[Exchange], None]:
    def change(x: Exchange) -> None:
        x.head.index[name] = value

    return change


def _assign(name: str, value: str) -> Callable[[Exchange], None]:
    return lambda x: setattr(x, name, value)


@pytest.mark.parametrize(
    "change",
    [_assign("method", "HEAD"), _assign("path", "/pay2"), _assign("query", "a=2"), _assign("host", "evil.example"),
     _set("signature", "sig1=:AAAA:"), _set("signature", "sig2=:AAAA:"), _set("signature", "sig1=1"),
     _set("signature", ""), _set("signature", "sig1=:AAAA:, sig2=:AAAA:"), _set("signature-input", "sig1=1"),
     _set("signature-input", ""), _set("signature-input", "("), lambda x: x.head.index.pop("signature") and None,
     lambda x: x.head.index.pop("signature-input") and None],
)  # fmt: skip
def test_a_request_changed_on_the_way_is_401(tools: FakeTools, change: Callable[[Exchange], None]) -> None:
    is_401(build(tools), signed(before_sending=change))


@pytest.mark.parametrize("keyid", ['"nobody"', '""', "5", "partner", '"ed"', '"p256"', '"rsa"'])
def test_a_key_that_is_unknown_or_another_kind_is_401(tools: FakeTools, keyid: str) -> None:
    is_401(build(tools), signed(params=f";created={NOW};keyid={keyid}"))


def test_a_signature_without_keyid_is_401(tools: FakeTools) -> None:
    is_401(build(tools), signed(params=f";created={NOW}"))


def test_an_empty_or_short_secret_signs_nothing(tools: FakeTools) -> None:
    for secret in ("", "fifteen bytes.."):
        tools.consumers.secrets["partner", "hmac"] = secret
        is_401(build(tools), signed(sign=lambda m, s=secret: hmac.digest(s.encode(), m, "sha256")))
    assert tools.lines[0][2] == {"consumer": "partner"}


def test_disabled_and_expired_consumers_are_401(tools: FakeTools) -> None:
    for consumer in (Consumer("partner", disabled=True), Consumer("partner", expires=float(NOW))):
        tools.consumers.add(consumer)
        is_401(build(tools), signed())


def test_more_components_can_be_asked_for(tools: FakeTools) -> None:
    date = [("date", "Tue, 20 Apr 2021 02:07:55 GMT")]
    is_401(build(tools, cover=["date"]), signed(fields=date))
    accepted(build(tools, cover=["date"]), signed(fields=date, cover=f'{FOUR} "date"'))


def test_a_label_picks_one_of_several_signatures(tools: FakeTools) -> None:
    def add(x: Exchange) -> None:
        x.head.index["signature-input"] += ', other=("@method");created=1'
        x.head.index["signature"] += ", other=:AAAA:"

    is_401(build(tools), signed(before_sending=add))
    accepted(build(tools, label="sig1"), signed(before_sending=add))
    is_401(build(tools, label="other"), signed(before_sending=add))


def test_failing_tries_are_slowed_down_s7_7(tools: FakeTools) -> None:
    filter_ = build(tools, failed_tries=1)
    bad = f';created={NOW};keyid="nobody"'
    assert [refused(filter_, signed(params=bad)).status for _ in range(2)] == [401, 429]


def test_optional_lets_strangers_pass_but_no_bad_signature(tools: FakeTools) -> None:
    filter_ = build(tools, optional=True)
    x = exchange("POST", body_length=2)
    assert filter_.on_request_head(x) is None
    assert filter_.on_request_body(x, b"{}") is None
    assert x.identity is None
    is_401(filter_, signed(sign=lambda m: bytes(32)))
    is_401(build(tools), exchange())


# -- settings ----------------------------------------------------------------------------------------------------------


def test_unusable_keys_and_settings_are_refused_at_load(tools: FakeTools) -> None:
    with pytest.raises(ValueError, match="'x'"):
        build(tools, keys={"x": {"consumer": "a", "public_key": pem(ec.generate_private_key(ec.SECP384R1()))}})
    with pytest.raises(ValueError):
        build(tools, keys={"x": {"consumer": "a", "public_key": "nonsense"}})
    for settings in ({"window": "0s"}, {"window": "2h"}, {"keys": {"x": {"consumer": ""}}}, {"x": 1}):
        with pytest.raises(ValidationError):
            Config.model_validate(settings)


def test_the_config_survives_the_generation_file_and_describes_itself() -> None:
    config = Config.model_validate({"keys": {"ed": {"consumer": "a", "public_key": pem(ED)}}, "window": "2m"})
    assert Config.model_validate(json.loads(config.model_dump_json())) == config
    assert all(field.description for field in Config.model_fields.values())
