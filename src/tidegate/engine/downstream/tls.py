"""TLS toward clients: contexts by listener, certificate by SNI, reload by swapping a reference (S3.11)."""

from __future__ import annotations

import ssl
from typing import Any

from tidegate.ports.plan import CertificatePlan, ListenerTlsPlan


def server_context(plan: ListenerTlsPlan) -> ssl.SSLContext:
    """A context that picks its certificate by server name. Raises OSError or ssl.SSLError for bad files."""
    contexts = [one_context(plan, certificate) for certificate in plan.certificates]
    by_name: dict[str, ssl.SSLContext] = {}
    for context, certificate in zip(contexts, plan.certificates, strict=True):
        for name in names_of(certificate.cert):
            by_name.setdefault(name, context)
    first = contexts[0]

    def choose(connection: ssl.SSLObject, name: str | None, _: Any) -> int | None:
        if name:
            wanted = name.lower().rstrip(".")
            found = by_name.get(wanted) or by_name.get("*." + wanted.partition(".")[2])
            if found is not None:
                connection.context = found
                return None
        return None if plan.default else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    first.sni_callback = choose
    return first


def one_context(plan: ListenerTlsPlan, certificate: CertificatePlan) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(certificate.cert, certificate.key)
    context.set_alpn_protocols(["http/1.1"])
    if plan.client_ca:
        context.load_verify_locations(cafile=plan.client_ca)
        required = plan.client_certificates != "optional"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        if plan.crl:
            context.load_verify_locations(cafile=plan.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def names_of(path: str) -> list[str]:
    """The DNS names and addresses a certificate is for, lower case."""
    from cryptography import x509

    with open(path, "rb") as file:
        certificate = x509.load_pem_x509_certificate(file.read())
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return found + [str(address) for address in names.get_values_for_type(x509.IPAddress)]
