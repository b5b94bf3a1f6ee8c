from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.rules.egress import Link, checked, is_name, is_public, link_of


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://Images.Example.com/a%20b.png?x=1&y=[2]#f", Link("https", "images.example.com", 443,
                                                                  "/a%20b.png?x=1&y=[2]")),
        ("http://example.com", Link("http", "example.com", 80, "/")),
        ("https://example.com:443?", Link("https", "example.com", 443, "/?")),
        ("https://93.184.216.34/x", Link("https", "93.184.216.34", 443, "/x")),
        ("https://[2606:2800:220:1::1]/x", Link("https", "2606:2800:220:1::1", 443, "/x")),
    ],
)  # fmt: skip
def test_a_link_is_taken_apart_as_everybody_reads_it(url: str, link: Link) -> None:
    assert link_of(url) == link


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://0.0.0.0/", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
        "http://0177.0.0.1/", "http://[::]/", "http://[::1]/", "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/", "http://127.0.0.1./", "http://100.64.0.1/", "http://198.18.0.1/",
        "http://224.0.0.1/", "http://255.255.255.255/", "http://169.254.169.254/latest", "http://10.0.0.1/",
        "http://[fd00::1]/", "http://[fe80::1]/", "http://[2002:7f00:1::1]/", "http://[2001:0:7f00:1::]/",
        "http://[ff02::1]/", "http://192.88.99.1/", "http://240.0.0.1/", "http://localhost/", "http://metadata/",
        "http://good.test@127.0.0.1/", "http://user:pw@good.test/", "http://good.test:8080/", "http://good.test:80443/",
        "http:\\\\127.0.0.1", "http://good.test\\@127.0.0.1/", "http://\u24d6ood.test/", "http://good.test./",
        "http://good.test%00.evil/", "//good.test/", "http://good.test\t@127.0.0.1", "http://good.test/\r\nx: y",
        "http://good.test/a b", "file:///etc/passwd", "gopher://good.test/", "ftp://good.test/", "data:text/plain,x",
        "HTTP+unix://x", "https://", "https:///x", "https://-a.test/", "https://a..test/",
        "https://good.test/" + "x" * 4096,
        "https://[::1%25eth0]/", "http://good.test:/",
    ],
)  # fmt: skip
def test_every_other_spelling_and_every_special_place_is_denied(url: str) -> None:
    with pytest.raises(Fault) as caught:
        link_of(url)
    assert (caught.value.code, caught.value.status, caught.value.side) == ("egress_denied", 403, "client")
    assert "127" not in caught.value.detail and "test" not in caught.value.detail


def test_only_the_hosts_of_the_list_are_gone_to_when_there_is_one() -> None:
    hosts = ("images.example.com", "*.cdn.test")
    for url in ("https://images.example.com/", "https://a.cdn.test/", "https://a.b.cdn.test/"):
        assert link_of(url, hosts).scheme == "https"
    for url in ("https://example.com/", "https://cdn.test/", "https://xcdn.test/", "https://93.184.216.34/"):
        with pytest.raises(Fault):
            link_of(url, hosts)


@pytest.mark.parametrize(
    "addresses", [[], ["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["93.184.216.34", "::1"], ["nonsense"]]
)
def test_one_bad_address_refuses_the_name(addresses: list[str]) -> None:
    with pytest.raises(Fault):
        checked(addresses)


def test_the_first_of_good_addresses_is_connected_to() -> None:
    assert checked(["93.184.216.34", "2606:2800:220:1::1"]) == "93.184.216.34"
    assert is_name("example.com") and not is_name("93.184.216.34") and not is_name("::1")


@given(st.text(max_size=60))
def test_nothing_but_a_link_or_a_refusal_comes_out(text: str) -> None:
    for url in (text, "http://" + text, "https://" + text):
        try:
            link = link_of(url)
        except Fault as fault:
            assert fault.code == "egress_denied"
        else:
            assert is_name(link.host) or is_public(link.host)
            assert link.target.isascii() and link.target.isprintable() and " " not in link.target
