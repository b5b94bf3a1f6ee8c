"""S7.15: identity is the SAN URI, else the SAN DNS name; a forged Client-Cert never counts and never goes on."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fakes import FakeTools, exchange
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import Fault
from tidegate.filters.mtls import Config, Mtls
from tidegate.ports.consumers import Consumer

BEGIN = datetime.fromtimestamp(1_700_000_000, UTC) - timedelta(days=1)
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(*names: x509.GeneralName, days: int = 30, serial: int = 0xC0FFEE) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "common.example")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
        .serial_number(serial).not_valid_before(BEGIN).not_valid_after(BEGIN + timedelta(days=days))
    )  # fmt: skip
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


URI = x509.UniformResourceIdentifier("spiffe://example/orders")
DNS = x509.DNSName("orders.example")


def refused(mtls: Mtls, x: Exchange) -> Fault:
    with pytest.raises(Fault) as caught:
        mtls.on_request_head(x)
    assert x.identity is None
    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")
    assert caught.value.fields == [("www-authenticate", "Client-Certificate")]
    return caught.value


@pytest.mark.parametrize(
    ("names", "expected"),
    [((DNS, URI), "spiffe://example/orders"), ((DNS, x509.DNSName("second.example")), "orders.example")],
)
def test_the_name_is_the_uri_else_the_dns_name(names: tuple[x509.GeneralName, ...], expected: str) -> None:
    x = exchange(certificate=certificate(*names))
    Mtls(Config(), FakeTools()).on_request_head(x)
    assert x.identity is not None
    assert (x.identity.consumer, x.identity.method, x.identity.key_id) == (expected, "mtls", "c0ffee")
    assert x.auth == "mtls"


@pytest.mark.parametrize(
    "der", [certificate(), certificate(x509.RFC822Name("a@example")), b"nonsense", b"",
            certificate(x509.DNSName("a" * 2000))]
)  # fmt: skip
def test_a_certificate_without_a_usable_name_is_401_common_name_or_not(der: bytes) -> None:
    refused(Mtls(Config(), FakeTools()), exchange(certificate=der))


def test_a_name_with_a_control_byte_is_401_s7_6() -> None:
    refused(Mtls(Config(), FakeTools()), exchange(certificate=certificate(x509.DNSName("a\r\nb.example"))))


def test_names_map_to_consumers_and_others_are_refused() -> None:
    tools = FakeTools()
    tools.consumers.add(Consumer("orders", tenant="t1", tags=("internal",), priority=0))
    mtls = Mtls(Config(consumers={"spiffe://example/orders": "orders", "gone.example": "gone"}), tools)
    x = exchange(certificate=certificate(URI))
    mtls.on_request_head(x)
    assert x.identity is not None
    assert (x.identity.consumer, x.identity.tenant, x.identity.tags) == ("orders", "t1", frozenset({"internal"}))
    refused(mtls, exchange(certificate=certificate(DNS)))
    refused(mtls, exchange(certificate=certificate(x509.DNSName("gone.example"))))
    tools.consumers.add(Consumer("orders", disabled=True))
    refused(mtls, exchange(certificate=certificate(URI)))


def test_a_certificate_that_ends_while_its_connection_lives_is_401() -> None:
    tools = FakeTools()
    mtls = Mtls(Config(), tools)
    der = certificate(DNS, days=2)
    mtls.on_request_head(exchange(certificate=der))
    tools.advance(86_400)
    refused(mtls, exchange(certificate=der))


def test_require_false_lets_strangers_pass_and_keeps_an_earlier_identity() -> None:
    mtls = Mtls(Config(require=False), FakeTools())
    x = exchange()
    assert mtls.on_request_head(x) is None and x.identity is None
    refused(mtls, exchange(certificate=b"nonsense"))


def sent(der: bytes, *, trusted: bool) -> Exchange:
    return exchange(fields=[("client-cert", f":{base64.b64encode(der).decode()}:"), ("client-cert-chain", ":AA==:")],
                    trusted=trusted)  # fmt: skip


def test_a_forged_client_cert_is_stripped_and_never_believed() -> None:
    for mtls, x in ((Mtls(Config(), FakeTools()), sent(certificate(DNS), trusted=True)),
                    (Mtls(Config(from_proxy=True), FakeTools()), sent(certificate(DNS), trusted=False))):  # fmt: skip
        refused(mtls, x)
        assert (x.get("client-cert"), x.get("client-cert-chain")) == (None, None)


def test_client_cert_of_a_trusted_proxy_counts_when_asked_for() -> None:
    x = sent(certificate(DNS), trusted=True)
    Mtls(Config(from_proxy=True), FakeTools()).on_request_head(x)
    assert x.identity is not None and x.identity.consumer == "orders.example"
    assert x.get("client-cert") is None


@pytest.mark.parametrize("value", ["", ":", "::", "AA==", ":A:", ":é:"])
def test_a_malformed_client_cert_is_401(value: str) -> None:
    x = exchange(fields=[("client-cert", value)], trusted=True)
    refused(Mtls(Config(from_proxy=True, require=False), FakeTools()), x)


def test_the_certificate_goes_upstream_on_request() -> None:
    der = certificate(DNS)
    x = exchange(certificate=der, fields=[("client-cert", ":AA==:")])
    Mtls(Config(forward_certificate=True), FakeTools()).on_request_head(x)
    assert x.get("client-cert") == f":{base64.b64encode(der).decode()}:"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Config.model_fields.values())
