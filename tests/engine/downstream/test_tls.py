"""Contexts toward clients: by name, from 1.2 up, with client certificates when asked for (S3.11, S7.15)."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from tidegate.engine.downstream.tls import names_of, one_context, server_context
from tidegate.ports.plan import CertificatePlan, ListenerTlsPlan


def certificate(folder: Path, *names: str) -> CertificatePlan:
    issued = trustme.CA().issue_cert(*names)
    chain, key = folder / f"{names[0].replace('*', '_')}.pem", folder / f"{names[0].replace('*', '_')}.key"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return CertificatePlan(str(chain), str(key))


def test_a_certificates_names_are_read_lower_case(tmp_path: Path) -> None:
    one = certificate(tmp_path, "A.Example", "*.b.example", "192.0.2.1")
    assert sorted(names_of(one.cert)) == ["*.b.example", "192.0.2.1", "a.example"]


class Greeting:
    """A handshake as the name callback sees it."""

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None


@pytest.mark.parametrize(
    ("name", "default", "found", "alert"),
    [
        ("a.example", False, True, None),
        ("A.EXAMPLE.", False, True, None),
        ("x.b.example", False, True, None),
        ("x.y.b.example", False, False, ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME),
        ("other.example", False, False, ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME),
        ("other.example", True, False, None),
        (None, False, False, ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME),
        (None, True, False, None),
    ],
)
def test_the_name_picks_the_certificate_and_unknown_ones_get_the_default_or_an_alert(
    tmp_path: Path, name: str | None, default: bool, found: bool, alert: int | None
) -> None:
    plans = (certificate(tmp_path, "a.example"), certificate(tmp_path, "*.b.example"))
    context = server_context(ListenerTlsPlan(plans, default=default))
    greeting = Greeting()
    choose = context.sni_callback
    assert choose(greeting, name, context) == alert  # type: ignore[misc, arg-type]
    assert (greeting.context is not None) == found


@pytest.mark.parametrize(("asked", "mode"), [("require", ssl.CERT_REQUIRED), ("optional", ssl.CERT_OPTIONAL)])
def test_client_certificates_are_verified_against_their_own_authority_s7_15(
    tmp_path: Path, asked: str, mode: ssl.VerifyMode
) -> None:
    anchor = tmp_path / "anchor.pem"
    trustme.CA().cert_pem.write_to_path(str(anchor))
    one = certificate(tmp_path, "a.example")
    context = one_context(ListenerTlsPlan((one,), str(anchor), asked), one)
    assert context.verify_mode == mode
    assert len(context.get_ca_certs()) == 1
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    plain = one_context(ListenerTlsPlan((one,)), one)
    assert plain.verify_mode == ssl.CERT_NONE


def test_bad_files_are_an_error_when_they_are_read(tmp_path: Path) -> None:
    one = certificate(tmp_path, "a.example")
    Path(one.key).write_text("not a key")
    with pytest.raises(ssl.SSLError):
        server_context(ListenerTlsPlan((one,)))
    with pytest.raises(OSError):
        server_context(ListenerTlsPlan((CertificatePlan("/nonexistent", "/nonexistent"),)))
