"""Who the client is: the spoof matrix, and the golden fields (S4.4, S4.5)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.exchange import Peer
from tidegate.rules.forwarded import TrustedProxies, client_address, forwarding_fields, plain_address

TRUSTED = TrustedProxies(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[::1]", "::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:c000:201]:80", "192.0.2.1"),
        ("", ""),
        ("unknown", ""),
        ("_hidden", ""),
        ("192.0.2.256", ""),
        ("192.0.2", ""),
        ("010.0.0.1", ""),
        ("0x7f.1", ""),
        ("3221225985", ""),
        ("fe80::1%eth0", ""),
        ("[::1", ""),
        ("192.0.2.1 ", ""),
        ("192.0.2.1:port", ""),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    assert plain_address(text) == address


@pytest.mark.parametrize(
    ("ip", "trusted"),
    [
        ("10.255.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8:ffff::1", True),
        ("2001:db9::1", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_trust_is_a_matter_of_networks(ip: str, trusted: bool) -> None:
    assert TRUSTED.trusts(ip) is trusted
    assert TRUSTED.trusts(ip) is trusted
    assert TrustedProxies().trusts(ip) is False


def test_a_network_may_be_written_with_host_bits() -> None:
    assert TrustedProxies(["10.1.2.3/8"]).trusts("10.200.0.1")


@pytest.mark.parametrize(
    ("peer", "chain", "client"),
    [
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2 ,10.0.0.3", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("10.0.0.1", "198.51.100.1, junk, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.1, junk", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
        ("10.0.0.1", "[2001:db9::1]:443", "2001:db9::1"),
        ("10.0.0.1", "198.51.100.1:1234", "198.51.100.1"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.9", "1.1.1.1", "203.0.113.9"),
    ],
)
def test_the_chain_is_walked_from_the_right_past_trusted_hops(peer: str, chain: str, client: str) -> None:
    """S4.4"""
    index = {"x-forwarded-for": chain} if chain else {}
    assert client_address(peer, index, "x-forwarded-for", TRUSTED) == client


def test_no_more_than_32_hops_are_walked() -> None:
    """S4.4"""
    hops = [f"10.1.0.{i}" for i in range(40)]
    index = {"x-forwarded-for": ", ".join(["198.51.100.1", *hops])}
    assert client_address("10.0.0.1", index, "x-forwarded-for", TRUSTED) == "10.1.0.8"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('For="198.51.100.1:80";proto=https;by=10.0.0.1', "198.51.100.1"),
        ('for=6.6.6.6, for="[2001:db9::1]:443";proto=http, for=10.0.0.2', "2001:db9::1"),
        ('by="a,b;for=6.6.6.6";for=198.51.100.1', "198.51.100.1"),
        ("for=198.51.100.1, for=_hidden", "10.0.0.1"),
        ("for=198.51.100.1, for=unknown, for=10.0.0.2", "10.0.0.2"),
        ("for=198.51.100.1, proto=http", "10.0.0.1"),
        ('for=198.51.100.1, for="', "10.0.0.1"),
        ("for=198.51.100.1, @", "10.0.0.1"),
        ("", "10.0.0.1"),
    ],
)
def test_the_standard_field_is_walked_the_same_way(value: str, client: str) -> None:
    """S4.4, RFC 7239"""
    index = {"forwarded": value, "x-forwarded-for": "7.7.7.7"}
    assert client_address("10.0.0.1", index, "forwarded", TRUSTED) == client


@pytest.mark.parametrize(
    ("source", "client"),
    [
        ("right:1", "10.0.0.3"),
        ("right:2", "198.51.100.2"),
        ("right:3", "198.51.100.1"),
        ("right:4", "10.0.0.1"),
        ("right:0", "10.0.0.1"),
        ("field:CF-Connecting-IP", "203.0.113.5"),
        ("field:x-broken", "10.0.0.1"),
        ("field:x-none", "10.0.0.1"),
    ],
)
def test_other_sources(source: str, client: str) -> None:
    """S4.4"""
    index = {
        "x-forwarded-for": "198.51.100.1, 198.51.100.2, 10.0.0.3",
        "cf-connecting-ip": "203.0.113.5",
        "x-broken": "203.0.113.5, 203.0.113.6",
    }
    assert client_address("10.0.0.1", index, source, TRUSTED) == client
    assert client_address("203.0.113.9", index, source, TRUSTED) == "203.0.113.9"


@pytest.mark.parametrize(
    "value", ["," * 16_000, 'for="' + "\\" * 16_000, 'a="b' * 4000, "for=" * 4000, "for=1.2.3.4;" * 1300]
)
def test_hostile_chains_cost_linear_time(value: str) -> None:
    """RELIABILITY P5"""
    started = time.process_time()
    for source in ("x-forwarded-for", "forwarded"):
        client_address("10.0.0.1", {"x-forwarded-for": value, "forwarded": value}, source, TRUSTED)
    assert time.process_time() - started < 0.25


@given(st.text(max_size=60))
def test_whatever_is_said_the_client_is_an_address(value: str) -> None:
    index = {"x-forwarded-for": value, "forwarded": value}
    for source in ("x-forwarded-for", "forwarded", "right:1", "field:forwarded"):
        client = client_address("10.0.0.1", index, source, TRUSTED)
        assert plain_address(client) == client != ""


def test_an_untrusted_peers_claims_do_not_travel() -> None:
    """S4.5"""
    peer = Peer("l", "203.0.113.9", local_port=8080)
    index = {"x-forwarded-for": "1.1.1.1", "x-forwarded-proto": "https", "x-forwarded-host": "evil",
             "x-forwarded-port": "1", "forwarded": "for=1.1.1.1"}  # fmt: skip
    assert forwarding_fields(peer, index, "gw", 8080, True, "tidegate") == [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "gw:8080"),
        ("x-forwarded-port", "8080"),
        ("forwarded", 'for=203.0.113.9;host="gw:8080";proto=http;by=_tidegate'),
    ]


def test_a_trusted_peers_chain_is_continued() -> None:
    """S4.5"""
    peer = Peer("l", "10.0.0.1", local_port=8080, trusted=True)
    index = {"x-forwarded-for": "1.1.1.1", "x-forwarded-proto": "https", "x-forwarded-host": "www.example",
             "x-forwarded-port": "443", "forwarded": "for=1.1.1.1"}  # fmt: skip
    assert forwarding_fields(peer, index, "gw", 0, True) == [
        ("x-forwarded-for", "1.1.1.1, 10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example"),
        ("x-forwarded-port", "443"),
        ("forwarded", 'for=1.1.1.1, for=10.0.0.1;host="gw";proto=http'),
    ]


def test_what_a_trusted_peer_says_badly_is_replaced() -> None:
    peer = Peer("l", "2001:db8::1", local_port=443, trusted=True, scheme="https")
    index = {"x-forwarded-proto": "gopher", "x-forwarded-port": "x"}
    assert forwarding_fields(peer, index, "gw", 0, True) == [
        ("x-forwarded-for", "2001:db8::1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "gw"),
        ("x-forwarded-port", "443"),
        ("forwarded", 'for="[2001:db8::1]";host="gw";proto=https'),
    ]
