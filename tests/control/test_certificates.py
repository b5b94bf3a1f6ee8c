"""Certificates are proved before workers hear of them, and taken up by a running worker (S3.11)."""

from __future__ import annotations

from pathlib import Path

import trustme

from tidegate.assembly.check import check
from tidegate.control.certificates import trouble
from tidegate.ports.plan import Plan

CONFIG = """
listeners: [{address: 127.0.0.1:8443, tls: {certificates: [{cert: one.pem, key: one.key}]}}]
upstreams: [{name: up, targets: [{url: "https://127.0.0.1:1"}], tls: {ca: ca.pem}}]
"""


def put(folder: Path, ca: trustme.CA) -> None:
    pair = ca.issue_cert("a.example")
    (folder / "one.pem").write_bytes(pair.cert_chain_pems[0].bytes())
    (folder / "one.key").write_bytes(pair.private_key_pem.bytes())
    (folder / "ca.pem").write_bytes(ca.cert_pem.bytes())


def plan_in(folder: Path) -> Plan:
    (folder / "c.yaml").write_text(CONFIG)
    return check(folder / "c.yaml", {}).built.plan


def test_good_files_are_no_trouble(tmp_path: Path) -> None:
    put(tmp_path, trustme.CA())
    assert trouble(plan_in(tmp_path)) == ""


def test_a_certificate_without_its_key_and_an_authority_that_is_none_are_told(tmp_path: Path) -> None:
    put(tmp_path, trustme.CA())
    other = trustme.CA().issue_cert("a.example")
    (tmp_path / "one.key").write_bytes(other.private_key_pem.bytes())
    (tmp_path / "ca.pem").write_text("no certificate")
    assert trouble(plan_in(tmp_path)).splitlines() == [
        "listeners: the certificates of 127.0.0.1:8443 cannot be used: key values mismatch",
        "upstreams: the files under tls of up cannot be used: no certificate or crl found",
    ]


def test_a_file_that_is_gone_is_told_by_what_the_system_says(tmp_path: Path) -> None:
    put(tmp_path, trustme.CA())
    plan = plan_in(tmp_path)
    (tmp_path / "one.pem").unlink()
    assert trouble(plan) == (
        "listeners: the certificates of 127.0.0.1:8443 cannot be used: No such file or directory"
    )  # fmt: skip
