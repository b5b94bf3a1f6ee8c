"""``{use: mtls}``: the caller is who its TLS certificate names (S7.15). The listener has checked chain, validity,
purpose and revocation; this filter reads the name: the first URI among the subject alternative names, else the first
DNS name, never the common name."""

from __future__ import annotations

import base64
import binascii
from typing import Final, NoReturn

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.identity import Identity
from tidegate.ports.tools import Tools
from tidegate.rules.credentials import offer
from tidegate.rules.failed_logins import unauthenticated

REMEMBERED: Final = 1024
LONGEST_NAME: Final = 1024
CHALLENGE: Final = "Client-Certificate"
"""A 401 needs a challenge, and no scheme is registered for TLS client certificates; a person can read this one."""


class Config(BaseModel):
    """Settings of ``mtls``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    require: bool = Field(
        default=True,
        description="Refuse a request without a client certificate. When false it passes as anonymous, or with the "
        "identity an earlier filter found.",
    )
    consumers: dict[str, str] | None = Field(
        default=None,
        min_length=1,
        description="Name in the certificate to consumer. When given, every other name is refused. When not, the "
        "caller is the consumer of that very name, or a new one called so.",
    )
    from_proxy: bool = Field(
        default=False,
        description="Accept the Client-Cert field (RFC 9440) of a trusted proxy that ends TLS before us. The proxy "
        "must remove the field from what clients send.",
    )
    forward_certificate: bool = Field(
        default=False, description="Tell the upstream the certificate in Client-Cert (RFC 9440)."
    )


class Mtls:
    """Names the caller by certificate. ``Client-Cert`` from anybody but a trusted proxy never goes on."""

    stage = "auth"
    stepped = True

    def __init__(self, config: Config, tools: Tools) -> None:
        self._config = config
        self._tools = tools
        self._consumers = tools.consumers
        self._passed = tools.counter("auth_total", method="mtls", outcome="ok")
        self._refused = tools.counter("auth_total", method="mtls", outcome="refused")
        self._epoch = -1
        self._remembered: dict[bytes, tuple[Identity, float]] = {}
        """Certificate → identity and the second since the epoch at which it ends."""

    def on_request_head(self, x: Exchange) -> None:
        index = x.head.index
        sent = index.get("client-cert")
        if sent is not None:
            x.remove_field("client-cert")
        if "client-cert-chain" in index:
            x.remove_field("client-cert-chain")
        if not self._config.require and x.identity is not None:
            return
        certificate = x.peer.certificate
        if not certificate and sent is not None and self._config.from_proxy and x.peer.trusted:
            certificate = _byte_sequence(sent)
            if not certificate:
                self._refuse()
        if not certificate:
            if self._config.require:
                self._refuse()
            offer(x, CHALLENGE)
            return
        if self._epoch != self._consumers.epoch():
            self._remembered.clear()
            self._epoch = self._consumers.epoch()
        known = self._remembered.get(certificate)
        if known is None:
            known = self._read(certificate)
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[certificate] = known
        # A connection may outlive the certificate it began with.
        if self._tools.wall() >= known[1]:
            self._refuse()
        x.identity = known[0]
        x.auth = "mtls"
        if self._config.forward_certificate:
            x.set_field("client-cert", f":{base64.b64encode(certificate).decode()}:")
        self._passed(1)

    def _read(self, certificate: bytes) -> tuple[Identity, float]:
        try:
            parsed = x509.load_der_x509_certificate(certificate)
            ends = parsed.not_valid_after_utc.timestamp()
            name = _name(parsed)
        except ValueError:
            name, ends = "", 0.0
        if name and self._config.consumers is not None:
            name = self._config.consumers.get(name, "")
        consumer = self._consumers.by_name(name) if name else None
        missing = consumer is None and self._config.consumers is not None
        if not name or missing or (consumer is not None and consumer.disabled):
            self._refuse()
        serial = f"{parsed.serial_number:x}"
        if consumer is None:
            return Identity(name, "mtls", key_id=serial), ends
        if consumer.expires:
            ends = min(ends, consumer.expires)
        identity = Identity(
            consumer.name,
            "mtls",
            tenant=consumer.tenant,
            key_id=serial,
            tags=frozenset(consumer.tags),
            scopes=frozenset(consumer.scopes),
            priority=consumer.priority,
        )
        return identity, ends

    def _refuse(self) -> NoReturn:
        self._refused(1)
        raise unauthenticated((CHALLENGE,))


def _name(certificate: x509.Certificate) -> str:
    """The name a certificate gives its holder, or ""."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    found = names.get_values_for_type(x509.UniformResourceIdentifier) or names.get_values_for_type(x509.DNSName)
    name = found[0] if found else ""
    return name if len(name) <= LONGEST_NAME and name.isascii() and name.isprintable() else ""


def _byte_sequence(text: str) -> bytes:
    """The bytes of a structured field ``:base64:`` (RFC 9651 3.3.5), or b""."""
    if len(text) < 2 or text[0] != ":" or text[-1] != ":":
        return b""
    try:
        return base64.b64decode(text[1:-1].encode("latin-1"), validate=True)
    except binascii.Error:
        return b""
