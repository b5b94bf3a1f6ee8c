"""Field lines: two gears, one language (S2.3, S2.8, S2.9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import Fault
from tidegate.wire.field_block import (
    _read_line_by_line,
    build_index,
    check_partial,
    check_underscores,
    forbidden_in_trailers,
    read_fields,
    read_trailer_line,
)


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        ("\r\n", []),
        ("A: 1\r\n\r\n", [("a", "1")]),
        ("A:1\r\nB-C: x y\r\n\r\n", [("a", "1"), ("b-c", "x y")]),
        ("A:\r\nB: \r\n\r\n", [("a", ""), ("b", "")]),
        ("A:  1\r\nB: 2\t\r\n\r\n", [("a", "1"), ("b", "2")]),
        ("A: http://x:80/\r\n\r\n", [("a", "http://x:80/")]),
        ("!#$%&'*+-.^_`|~0: \xff\r\n\r\n", [("!#$%&'*+-.^_`|~0", "\xff")]),
    ],
)
def test_lines_become_pairs(block: str, fields: list[tuple[str, str]]) -> None:
    assert read_fields(block) == fields
    assert _read_line_by_line(block) == fields


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ("A 1\r\n\r\n", "no colon"),
        (": 1\r\n\r\n", "not a token"),
        ("A : 1\r\n\r\n", "not a token"),
        ("A\xe9: 1\r\n\r\n", "not a token"),
        (" A: 1\r\n\r\n", "begins with a blank"),
        ("A: 1\r\n B: 2\r\n\r\n", "begins with a blank"),
        ("A: 1\nB: 2\r\n\r\n", "CRLF"),
        ("A: 1\rB\r\n\r\n", "CRLF"),
        ("A: \x00\r\n\r\n", "control character"),
        ("A: \x7f\r\n\r\n", "control character"),
        ("A: 1\r\n", "empty line"),
        ("", "empty line"),
        ("\r\nA: 1\r\n\r\n", "no colon"),
    ],
)
def test_a_broken_line_is_refused_and_named(block: str, why: str) -> None:
    with pytest.raises(Fault, match=why):
        read_fields(block)


@given(st.text(st.sampled_from("aB1-_: \t\r\n\x00\x7f\xe9,;"), max_size=40))
def test_both_gears_accept_the_same_language(text: str) -> None:
    results = []
    for gear in (read_fields, _read_line_by_line):
        try:
            results.append(gear(text + "\r\n\r\n"))
        except Fault:
            results.append([("refused", "")])
    assert results[0] == results[1]


@given(st.text(st.sampled_from("aB1-_: \t\r\n\x00\xe9"), max_size=40), st.integers(0, 44))
def test_no_beginning_of_a_good_block_is_refused(text: str, cut: int) -> None:
    block = text + "\r\n\r\n"
    try:
        read_fields(block)
    except Fault:
        return
    check_partial(block[: min(cut, len(block) - 3)])


@pytest.mark.parametrize(
    "name",
    ["host", "content-length", "transfer-encoding", "content-type", "authorization", "x-api-key", "expect",
     "max-forwards"],
)  # fmt: skip
def test_a_singleton_comes_once(name: str) -> None:
    """S2.8"""
    assert build_index([(name, "a")]) == {name: "a"}
    with pytest.raises(Fault):
        build_index([(name, "a"), (name, "a")])


def test_other_lines_are_joined_in_order() -> None:
    """S2.8: two ``traceparent`` are no error (S26.9)."""
    fields = [("a", "1"), ("cookie", "x=1"), ("a", "2"), ("cookie", "y=2"), ("traceparent", "p"), ("traceparent", "q")]
    assert build_index(fields) == {"a": "1, 2", "cookie": "x=1; y=2", "traceparent": "p, q"}


@pytest.mark.parametrize(
    "name",
    ["content_length", "transfer_encoding", "x_forwarded_for", "x-forwarded_host", "x_tidegate_debug", "x_real_ip",
     "x_api_key", "x_tenant_id", "x_consumer_name", "x_user_id", "client_cert", "keep_alive"],
)  # fmt: skip
def test_an_underscore_cannot_imitate_a_guarded_name(name: str) -> None:
    """S2.9"""
    with pytest.raises(Fault):
        check_underscores([("a", "b"), (name, "1")])


def test_an_underscore_in_any_other_name_passes() -> None:
    """S2.9"""
    check_underscores([("my_field", "1"), ("x-forwarded-for", "a_b"), ("x_", "1")])


def test_trailers_may_carry_only_harmless_names() -> None:
    """S2.7"""
    assert not forbidden_in_trailers("grpc-status")
    assert not forbidden_in_trailers("x-checksum")
    assert forbidden_in_trailers("host")
    assert forbidden_in_trailers("content_type")


def test_a_trailer_line_is_a_field_line() -> None:
    assert read_trailer_line("X-T: 1 ") == ("x-t", "1")
    with pytest.raises(Fault):
        read_trailer_line("X-T")
