"""S7.16 with the vectors of RFC 9421 appendix B.2.5 and B.2.6 and RFC 9530."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from fakes import exchange
from tidegate.exchange.exchange import Exchange
from tidegate.rules.signatures import (
    ECDSA_P256,
    ED25519,
    RSA_PSS,
    algorithm_of,
    covers_enough,
    digests_hold,
    is_timely,
    mac_holds,
    nonce_of,
    read_digests,
    signature_base,
    signature_holds,
)
from tidegate.wire.structured_fields import InnerList, parse_dictionary

SHA_512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
SHARED = base64.b64decode("uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==")
ED_PUBLIC = load_der_public_key(base64.b64decode("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="))


def request() -> Exchange:
    """The request of the appendix, as far as its vectors look at it."""
    return exchange(
        "POST", "/foo",
        [("date", "Tue, 20 Apr 2021 02:07:55 GMT"), ("content-type", "application/json"), ("content-digest", SHA_512)],
        query="param=Value&Pet=dog", host="example.com", body_length=18,
    )  # fmt: skip


def signed(text: str) -> InnerList:
    member = parse_dictionary(f"s={text}")["s"]
    assert isinstance(member, InnerList)
    return member


B25 = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
B26 = (
    '("date" "@method" "@path" "@authority" "content-type" "content-length")'
    ';created=1618884473;keyid="test-key-ed25519"'
)


def test_rfc_9421_b_2_5_hmac_sha256() -> None:
    base = signature_base(request(), signed(B25))
    assert base == (
        '"date": Tue, 20 Apr 2021 02:07:55 GMT\n'
        '"@authority": example.com\n'
        '"content-type": application/json\n'
        '"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"'
    )
    good = base64.b64decode("pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=")
    assert mac_holds(SHARED, base, good)
    assert not mac_holds(SHARED, base + " ", good)
    assert not mac_holds(SHARED, base, good[:-1])
    assert not mac_holds(b"", base, good)


def test_rfc_9421_b_2_6_ed25519() -> None:
    base = signature_base(request(), signed(B26))
    good = base64.b64decode("wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==")
    assert isinstance(ED_PUBLIC, ed25519.Ed25519PublicKey)
    assert signature_holds(ED_PUBLIC, base, good)
    assert not signature_holds(ED_PUBLIC, base + " ", good)
    assert not signature_holds(ED_PUBLIC, base, bytes(64))


def test_derived_components_come_from_canonical_values() -> None:
    x = exchange("GET", "/a", query="", host="example.com", port=8443)
    base = signature_base(x, signed('("@method" "@authority" "@path" "@query" "@scheme" "@target-uri")'))
    assert base.split("\n")[:-1] == [
        '"@method": GET', '"@authority": example.com:8443', '"@path": /a', '"@query": ?', '"@scheme": https',
        '"@target-uri": https://example.com:8443/a',
    ]  # fmt: skip
    assert signature_base(exchange(port=443), signed('("@authority")')).startswith('"@authority": api.example\n')
    assert signature_base(exchange(port=443, scheme="http"), signed('("@authority")')).startswith(
        '"@authority": api.example:443\n'
    )


def test_lines_of_one_field_are_joined_and_trimmed() -> None:
    x = exchange(fields=[("x-a", "1 "), ("x-b", "b"), ("x-a", "\t2"), ("cookie", "a=1"), ("cookie", "b=2")])
    base = signature_base(x, signed('("x-a" "cookie")'))
    assert base.split("\n")[:2] == ['"x-a": 1, 2', '"cookie": a=1, b=2']


@pytest.mark.parametrize(
    "text",
    ['("absent")', '("@method" "@method")', '("@method";req)', '("content-type";sf)', '("@status")', "(token)", "(1)",
     '("@query-param";name="a")', '("@signature-params")', '("Date")',
     "(" + " ".join(f'"x{n}"' for n in range(33)) + ")"],
)  # fmt: skip
def test_what_cannot_be_a_component_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        signature_base(request(), signed(text))


def test_a_signature_must_cover_the_request_and_the_digest_of_a_body() -> None:
    four = '("@method" "@authority" "@path" "@query")'
    five = '("@method" "@authority" "@path" "@query" "content-digest")'
    assert covers_enough(exchange(), signed(four))
    assert not covers_enough(request(), signed(four))
    assert covers_enough(request(), signed(five))
    assert not covers_enough(exchange(body_length=-1), signed(four))
    assert not covers_enough(exchange(), signed(four), ["date"])
    for name in ("@method", "@authority", "@path", "@query"):
        assert not covers_enough(exchange(), signed(four.replace(f'"{name}"', '"@scheme"')))


@pytest.mark.parametrize(
    ("params", "timely"),
    [(";created=1000", True), (";created=700", True), (";created=1300", True), (";created=699", False),
     (";created=1301", False), ("", False), (';created="1000"', False), (";created", False),
     (";created=1000;expires=1001", True), (";created=1000;expires=1000", False), (";created=1000;expires", False),
     (";created=1000;expires=0", False)],
)  # fmt: skip
def test_created_lies_within_the_window_and_expires_ahead(params: str, timely: bool) -> None:
    assert is_timely(signed("()" + params), 1000.0, 300.0) is timely


@pytest.mark.parametrize(
    ("params", "nonce"), [("", ""), (';nonce="n"', "n"), (';nonce=""', None), (";nonce=1", None), (";nonce", None),
                          (f';nonce="{"n" * 257}"', None)]
)  # fmt: skip
def test_a_nonce_is_a_short_string(params: str, nonce: str | None) -> None:
    assert nonce_of(signed("()" + params)) == nonce


def test_ecdsa_is_r_and_s_of_32_bytes_each() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.sign(b"base", ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert signature_holds(key.public_key(), "base", raw)
    assert not signature_holds(key.public_key(), "other", raw)
    for bad in (der, raw[:-1], bytes(64), b""):
        assert not signature_holds(key.public_key(), "base", bad)


def test_rsa_pss_uses_sha_512_and_a_salt_of_64_bytes() -> None:
    key = rsa.generate_private_key(65537, 2048)
    good = key.sign(b"base", padding.PSS(padding.MGF1(hashes.SHA512()), 64), hashes.SHA512())
    assert signature_holds(key.public_key(), "base", good)
    assert not signature_holds(key.public_key(), "base", good[:-1])
    short_salt = key.sign(b"base", padding.PSS(padding.MGF1(hashes.SHA512()), 20), hashes.SHA512())
    assert not signature_holds(key.public_key(), "base", short_salt)


def test_a_key_has_one_algorithm_or_none() -> None:
    assert algorithm_of(ED_PUBLIC) == ED25519
    assert algorithm_of(ec.generate_private_key(ec.SECP256R1()).public_key()) == ECDSA_P256
    assert algorithm_of(rsa.generate_private_key(65537, 2048).public_key()) == RSA_PSS
    assert algorithm_of(rsa.generate_private_key(65537, 1024).public_key()) is None
    assert algorithm_of(ec.generate_private_key(ec.SECP384R1()).public_key()) is None
    assert algorithm_of(dsa.generate_private_key(1024).public_key()) is None


def test_digests_of_rfc_9530_are_of_the_body() -> None:
    body = b'{"hello": "world"}'
    sha_256 = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert digests_hold(read_digests(SHA_512), body)
    assert digests_hold(read_digests(f"sha-256=:{sha_256}:, md5=:AA==:"), body)
    assert not digests_hold(read_digests(SHA_512), body + b" ")
    assert not digests_hold(read_digests(f"{SHA_512}, sha-256=:AAAA:"), body)


@pytest.mark.parametrize("field", ["", "md5=:AA==:", "sha-256=abc", "sha-256", "sha-256=(1)", "sha-256=:A:"])
def test_a_digest_field_without_a_digest_we_can_check_is_refused(field: str) -> None:
    with pytest.raises(ValueError):
        read_digests(field)
