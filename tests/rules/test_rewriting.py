"""Rewriting pieces (S5.7)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import exchange
from tidegate.exchange.fault import Fault
from tidegate.exchange.identity import Identity
from tidegate.rules.canonical import canonical_path
from tidegate.rules.field_template import compile_template
from tidegate.rules.rewriting import checked_path, query_with, query_without, rendered_host, rendered_path, swap_prefix


@pytest.mark.parametrize(
    ("path", "old", "new", "made"),
    [
        ("/catalog/x", "/catalog", "", "/x"),
        ("/catalog", "/catalog", "", "/"),
        ("/catalog/", "/catalog", "", "/"),
        ("/catalogue", "/catalog", "", None),
        ("/other", "/catalog", "", None),
        ("/a/x", "/a", "/b/c", "/b/c/x"),
        ("/a", "/a", "/b", "/b"),
        ("/a/", "/a", "/b", "/b/"),
        ("/x", "", "/b", "/b/x"),
        ("/", "", "/b", "/b/"),
        ("/", "", "", "/"),
    ],
)
def test_prefixes_are_whole_segments_s5_7(path: str, old: str, new: str, made: str | None) -> None:
    assert swap_prefix(path, old, new) == made


@pytest.mark.parametrize("path", ["", "x", "//x", "/a//b", "/a/../b", "/a/%2e/b", "/a;b", "/a%2Fb", "/a b", "/a\x00"])
def test_a_result_that_is_no_path_is_400_s5_7(path: str) -> None:
    with pytest.raises(Fault) as refused:
        checked_path(path, "/a")
    assert (refused.value.code, refused.value.status, refused.value.close) == ("ambiguous_path", 400, False)


def test_what_the_route_let_in_may_stay() -> None:
    assert checked_path("/b;c/%2F", "/a;c/%2F") == "/b;c/%2F"


def test_captures_keep_their_escapes_and_get_those_they_need() -> None:
    x = exchange(path="/files/a%20b/c")
    x.captures = {"one": "a b?#;", "rest": "a%20b/c"}
    assert rendered_path(compile_template("/v2/{capture.rest}"), x) == "/v2/a%20b/c"
    assert rendered_path(compile_template("/v2/{capture.one}"), x) == "/v2/a%20b%3F%23%3B"


@pytest.mark.parametrize("value", ["../admin", "a/b", "..", ".", "", "%2e%2e", "a%2Fb", "a\\b", "a\r\nb"])
def test_no_client_value_changes_the_shape_of_the_path(value: str) -> None:
    x = exchange(fields=[("x-id", value)])
    with pytest.raises(Fault, match="ambiguous_path"):
        rendered_path(compile_template("/items/{request.header.x-id}/read"), x)


@given(st.text(max_size=20))
def test_a_rendered_path_has_the_segments_that_were_written(value: str) -> None:
    x = exchange()
    x.identity = Identity("ann", "jwt", claims={"v": value})
    try:
        path = rendered_path(compile_template("/items/{claim.v}/read"), x)
    except Fault as fault:
        assert fault.code == "ambiguous_path"
        return
    assert path.count("/") == 3
    assert canonical_path(path) == (path, 0)


def test_a_host_is_read_as_hosts_are() -> None:
    x = exchange(fields=[("x-h", "Shop.Example.:8443"), ("x-bad", "a b")])
    assert rendered_host(compile_template("{request.header.x-h}"), x) == "shop.example:8443"
    for bad in ("{request.header.x-bad}", "{request.header.none}", "{claim.none|required}"):
        with pytest.raises(Fault, match="bad_request"):
            rendered_host(compile_template(bad), x)


def test_a_query_keeps_what_is_not_named_byte_for_byte() -> None:
    assert query_without("a=1&%61=2&b=%zz&&c", frozenset({"a"})) == "b=%zz&&c"
    assert query_without("", frozenset({"a"})) == ""


def test_a_pair_is_escaped() -> None:
    assert query_with("", "a b", "1&2") == "a%20b=1%262"
    assert query_with("x", "a", "\xc3\xbc") == "x&a=%C3%BC"
