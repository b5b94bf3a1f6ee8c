"""One path, one host, one query value (S4.7, S4.9-S4.11)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.rules.canonical import (
    ENCODED_SLASH,
    PATH_PARAMS,
    canonical_host,
    canonical_path,
    query_value,
    split_target,
    unescape,
    without_params,
)

# -- path -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "path", "flags"),
    [
        ("/", "/", 0),
        ("/a/b", "/a/b", 0),
        ("/a/b/", "/a/b/", 0),
        ("/a.b/..c/.d/e..", "/a.b/..c/.d/e..", 0),
        ("/.well-known/x", "/.well-known/x", 0),
        ("/...", "/...", 0),
        ("/%41%7a%2D%2e%5F%7e1", "/Az-._~1", 0),
        ("/caf%c3%a9", "/caf%C3%A9", 0),
        ("/%f0%9f%98%80", "/%F0%9F%98%80", 0),
        ("/a%20b%3f%23%25%3b", "/a%20b%3F%23%25%3B", 0),
        ("/%252e%252e/x", "/%252e%252e/x", 0),
        ("/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b", 0),
        ("/{a}|^`[]", "/{a}|^`[]", 0),
        ("/a%2fb", "/a%2Fb", ENCODED_SLASH),
        ("/a;b=c/d", "/a;b=c/d", PATH_PARAMS),
        ("/a;b%2Fc", "/a;b%2Fc", ENCODED_SLASH | PATH_PARAMS),
    ],
)
def test_a_path_has_one_canonical_form(raw: str, path: str, flags: int) -> None:
    """S4.9"""
    assert canonical_path(raw) == (path, flags)


@pytest.mark.parametrize(
    "raw",
    ["/.", "/..", "/a/..", "/a/../b", "/./a", "/a/.", "/%2e", "/%2E%2e/a", "/.%2e", "/a/%2e/b", "//", "//a", "/a//b",
     "/a//", "/a%5Cb", "/a%5cb", "/%00", "/a%0d%0a", "/%1f", "/%7F", "/%ff", "/%c0%af", "/%c0%ae%c0%ae", "/%e0%80%af",
     "/%ed%a0%80", "/%c3", "/%c3x%a9", "/%f4%90%80%80", "/a/..;x", "/a/.;/b", "/;x", "/a/;/b", "/a%2f..%2fb",
     "/a%2F%2e%2e", "/..%2fb"],
)  # fmt: skip
def test_a_path_with_two_readings_is_ambiguous(raw: str) -> None:
    """S4.9, S4.10"""
    with pytest.raises(Fault) as caught:
        canonical_path(raw)
    assert (caught.value.status, caught.value.code) == (400, "ambiguous_path")


@pytest.mark.parametrize(
    "raw",
    ["", "a", "*", "/a b", "/a\tb", "/a\x00", "/a\x7f", "/a\\b", '/a"', "/<", "/>", "/#", "/a#b", "/\xe9", "/%", "/%4",
     "/%zz", "/%-1", "/%+1", "/a?b", "/%u0041"],
)  # fmt: skip
def test_bytes_that_may_not_be_in_a_path_are_refused(raw: str) -> None:
    """S4.9, HL-path-fragment"""
    with pytest.raises(Fault) as caught:
        canonical_path(raw)
    assert (caught.value.code, caught.value.close) == ("bad_request", True)


@pytest.mark.parametrize(("raw", "path"), [("//a///b//", "/a/b/"), ("/a/b", "/a/b"), ("//", "/"), ("/a//%62", "/a/b")])
def test_slashes_are_merged_where_the_listener_says_so(raw: str, path: str) -> None:
    """S4.9"""
    assert canonical_path(raw, True) == (path, 0)


def test_merging_slashes_does_not_hide_dot_segments() -> None:
    with pytest.raises(Fault, match="ambiguous_path"):
        canonical_path("//..//a", True)


@given(st.text(st.sampled_from("/a.;%2fF5cC0eE\\ #é~"), max_size=20).map(lambda t: "/" + t), st.booleans())
def test_the_canonical_path_is_its_own_canonical_form(raw: str, merge: bool) -> None:
    try:
        path, flags = canonical_path(raw, merge)
    except Fault:
        return
    assert canonical_path(path, merge) == (path, flags)
    assert not any(segment in (".", "..") for segment in path.replace("%2F", "/").split("/"))
    assert "//" not in path


def test_parameters_can_be_cut_out() -> None:
    """S4.10"""
    assert without_params("/admin;/x;a=b;c/y") == "/admin/x/y"
    assert without_params("/admin/x") == "/admin/x"


# -- target -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "method", "parts"),
    [
        ("/a/b?x=1&y=?", "GET", ("", "/a/b", "x=1&y=?")),
        ("/a?", "GET", ("", "/a", "")),
        ("/http://x/", "GET", ("", "/http://x/", "")),
        ("*", "OPTIONS", ("", "*", "")),
        ("http://gw:80/a?b", "GET", ("gw:80", "/a", "b")),
        ("HTTPS://gw", "GET", ("gw", "/", "")),
        ("http://gw?x", "GET", ("gw", "/", "x")),
        ("http://u@gw/a", "GET", ("u@gw", "/a", "")),
    ],
)
def test_a_target_is_split(target: str, method: str, parts: tuple[str, str, str]) -> None:
    """S4.7"""
    assert split_target(target, method) == parts


@pytest.mark.parametrize(
    ("target", "method"),
    [("*", "GET"), ("gw:443", "GET"), ("ftp://gw/", "GET"), ("http:///a", "GET"), ("/a#b", "GET"), ("/a?b#c", "GET"),
     ("http://gw/a#b", "GET"), ("http://gw/?#b", "GET"), ("", "GET")],
)  # fmt: skip
def test_other_targets_are_refused(target: str, method: str) -> None:
    """S2.2, HL-asterisk, HL-path-fragment"""
    with pytest.raises(Fault, match="bad_request"):
        split_target(target, method)


# -- host -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "host", "port"),
    [
        ("gw", "gw", 0),
        ("API.Example.COM", "api.example.com", 0),
        ("example.com.", "example.com", 0),
        ("example.com.:8080", "example.com", 8080),
        ("my_service:80", "my_service", 80),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", 0),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("[::1]:80", "[::1]", 80),
        ("[2001:DB8:0:0::1]", "[2001:db8::1]", 0),
        ("a" * 63 + ".b", "a" * 63 + ".b", 0),
    ],
)
def test_a_host_has_one_canonical_form(value: str, host: str, port: int) -> None:
    """S4.7"""
    assert canonical_host(value) == (host, port)


@pytest.mark.parametrize(
    "value",
    ["", " ", "gw, evil.example", "gw,gw", "u@gw", "u:p@gw", "gw/a", "gw?a", "gw#a", "g w", "gw\t", "g\x00w",
     "g\xe9w", "g%41w",
     "gw:", "gw:0", "gw:080", "gw:65536", "gw:99999", "gw:123456", "gw:a", "gw:-1", "gw:+1", "gw:80:80", "..",
     ".", "a..b", ".a", "a..", "-a", "a-", "::1", "[::1", "::1]", "[]", "[::1]a", "[:::1]", "[::1%25eth0]", "[gw]",
     "[1.2.3.4]", "a" * 64, "a" * 64 + ".b", "a." * 127 + "aa", "http://gw"],
)  # fmt: skip
def test_other_hosts_are_refused(value: str) -> None:
    """S4.7, HL-host-comma"""
    with pytest.raises(Fault) as caught:
        canonical_host(value)
    assert (caught.value.code, caught.value.close) == ("bad_request", True)


@given(st.text(max_size=30))
def test_the_canonical_host_is_its_own_canonical_form(value: str) -> None:
    try:
        host, _ = canonical_host(value)
    except Fault:
        return
    assert canonical_host(host) == (host, 0)


def test_a_long_host_costs_linear_time() -> None:
    with pytest.raises(Fault):
        canonical_host("a-." * 5000 + "!")


# -- query ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("a=1&b=2", "b", "2"),
        ("a=1&a=2", "a", "1"),
        ("a", "a", ""),
        ("a=", "a", ""),
        ("a=b=c", "a", "b=c"),
        ("a=x+y%20z%C3%A9", "a", "x y zé"),
        ("%61b=1", "ab", "1"),
        ("a+b=1", "a b", "1"),
        ("%zz=1&a=2", "a", "2"),
        ("&&a=1", "a", "1"),
        ("a;b=1", "a;b", "1"),
        ("", "a", None),
        ("b=1", "a", None),
        ("A=1", "a", None),
        ("a=%zz", "a", None),
        ("a=%ff", "a", None),
        ("a=%4", "a", None),
    ],
)
def test_the_first_value_of_a_name_is_decoded(query: str, name: str, value: str | None) -> None:
    """S4.11"""
    assert query_value(query, name) == value


@given(st.text(max_size=20))
def test_what_is_escaped_is_unescaped(text: str) -> None:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return
    assert unescape("".join(f"%{b:02x}" for b in raw)) == text
