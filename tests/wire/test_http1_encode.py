"""Heads on their way out: exactly the lines they should have, whatever a filter put in (S2.16)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.exchange.fault import CODES, Fault
from tidegate.exchange.head import CHUNKED, NO_BODY, UNTIL_CLOSE
from tidegate.wire.http1 import HeadLimits, parse_request, parse_response
from tidegate.wire.http1_encode import (
    answer_framing,
    canned,
    encode_request,
    encode_response,
    field_lines,
    has_date,
)

DATE = "Sat, 21 Nov 2026 23:40:57 GMT"


@pytest.mark.parametrize(
    ("method", "length", "framing"),
    [
        ("GET", NO_BODY, b""),
        ("DELETE", NO_BODY, b""),
        ("POST", NO_BODY, b"content-length: 0\r\n"),
        ("PUT", NO_BODY, b"content-length: 0\r\n"),
        ("PATCH", NO_BODY, b"content-length: 0\r\n"),
        ("POST", 62, b"content-length: 62\r\n"),
        ("GET", 5, b"content-length: 5\r\n"),
        ("GET", CHUNKED, b"transfer-encoding: chunked\r\n"),
    ],
)
def test_a_request_is_framed_from_its_length(method: str, length: int, framing: bytes) -> None:
    expected = f"{method} /a?b HTTP/1.1\r\nhost: up\r\nx: \xe9\r\n".encode("latin-1") + framing + b"\r\n"
    assert encode_request(method, "/a?b", field_lines([("host", "up"), ("x", "\xe9")]), length) == expected


def test_a_field_value_cannot_add_a_line() -> None:
    """CR, LF and NUL become spaces."""
    fields = [("host", "up"), ("x", "a\r\nevil: 1"), ("y", "a\nb"), ("z", "a\0b"), ("bad name", "1"), ("", "1")]
    expected = b"GET / HTTP/1.1\r\nhost: up\r\nx: a  evil: 1\r\ny: a b\r\nz: a b\r\n\r\n"
    assert encode_request("GET", "/", field_lines(fields), NO_BODY) == expected
    answer = encode_response(200, "O\r\nK", field_lines(fields), 2, True, 11, "")
    assert answer.startswith(b"HTTP/1.1 200 O  K\r\nhost: up\r\nx: a  evil: 1\r\n")
    assert answer.count(b"\r\n") == 7


def test_text_outside_latin_1_travels_as_utf_8() -> None:
    assert b"x: \xe2\x82\xac\xc3\xa9\r\n" in encode_request("GET", "/", field_lines([("x", "€é")]), NO_BODY)
    assert b"x: \xe9\r\n" in encode_request("GET", "/", field_lines([("x", "é")]), NO_BODY)
    assert b"x: ?\r\n" in encode_request("GET", "/", field_lines([("x", "\ud800")]), NO_BODY)


@pytest.mark.parametrize(("method", "target"), [("GET", "/a\r\nb"), ("GE\nT", "/"), ("GET", "/€"), ("GET", "/\0")])
def test_a_request_line_that_cannot_be_written_is_a_fault(method: str, target: str) -> None:
    with pytest.raises(Fault, match="bad_request"):
        encode_request(method, target, field_lines([("host", "up")]), NO_BODY)


@pytest.mark.parametrize(
    ("status", "length", "keep", "version", "is_head", "lines"),
    [
        (200, 2, True, 11, False, ["content-length: 2"]),
        (200, 0, True, 11, False, ["content-length: 0"]),
        (200, CHUNKED, True, 11, False, ["transfer-encoding: chunked"]),
        (200, UNTIL_CLOSE, True, 11, False, ["transfer-encoding: chunked"]),
        (200, CHUNKED, False, 11, False, ["transfer-encoding: chunked", "connection: close"]),
        (200, CHUNKED, True, 10, False, ["connection: close"]),
        (200, 2, True, 10, False, ["content-length: 2", "connection: keep-alive"]),
        (200, 2, False, 10, False, ["content-length: 2", "connection: close"]),
        (200, 244, True, 11, True, ["content-length: 244"]),
        (200, CHUNKED, True, 11, True, []),
        (200, CHUNKED, True, 10, True, ["connection: keep-alive"]),
        (204, 0, True, 11, False, []),
        (204, 5, False, 11, False, ["connection: close"]),
        (304, 0, True, 11, False, []),
        (304, 244, True, 11, False, ["content-length: 244"]),
        (304, CHUNKED, True, 11, False, []),
    ],
)
def test_an_answer_is_framed_for_its_client(
    status: int, length: int, keep: bool, version: int, is_head: bool, lines: list[str]
) -> None:
    """S2.16"""
    raw = encode_response(status, "X", field_lines([("a", "b")]), length, keep, version, DATE, is_head)
    expected = "".join(f"{line}\r\n" for line in [f"HTTP/1.1 {status} X", "a: b", *lines, f"date: {DATE}"])
    assert raw == (expected + "\r\n").encode()


def test_interim_answers_carry_nothing_of_ours() -> None:
    """S2.16"""
    assert encode_response(100, "Continue", "", NO_BODY, True, 11, DATE) == b"HTTP/1.1 100 Continue\r\n\r\n"
    fields = [("connection", "Upgrade"), ("upgrade", "websocket")]
    raw = encode_response(101, "Switching Protocols", field_lines(fields), NO_BODY, True, 11, DATE)
    assert raw == b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"


def test_a_date_is_added_when_asked_for_and_found_when_there() -> None:
    """S2.16"""
    assert encode_response(200, "OK", "", 2, True, 11, DATE).count(b"\r\ndate: ") == 1
    assert b"date" not in encode_response(200, "OK", "", 2, True, 11, "")
    assert has_date([("a", "b"), ("date", "D")])
    assert not has_date([("x-date", "D")])


@pytest.mark.parametrize(
    ("status", "length", "version", "is_head", "expected"),
    [
        (200, 5, 11, False, 5),
        (200, CHUNKED, 11, False, CHUNKED),
        (200, UNTIL_CLOSE, 11, False, CHUNKED),
        (200, CHUNKED, 10, False, UNTIL_CLOSE),
        (200, 5, 11, True, NO_BODY),
        (204, 5, 11, False, NO_BODY),
        (304, 5, 11, False, NO_BODY),
        (101, CHUNKED, 11, False, NO_BODY),
    ],
)
def test_how_the_body_goes_out_is_told(status: int, length: int, version: int, is_head: bool, expected: int) -> None:
    assert answer_framing(status, length, version, is_head) == expected


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_canned_refusal_is_whole_small_and_closes(code: str) -> None:
    """S2, S6.2"""
    raw = canned(code)
    head, body = raw.split(b"\r\n\r\n")
    answer = parse_response(head + b"\r\n\r\n", "GET", HeadLimits())
    assert len(raw) <= 200
    assert answer.status == CODES[code].status
    assert answer.body_length == len(body)
    assert answer.keep_alive is False
    assert answer.get("content-type") == "application/problem+json"
    assert body.startswith(b'{"type":"urn:tidegate:problem:' + code.encode() + b'"')
    assert (answer.get("retry-after") == "1") is (answer.status == 503)
    assert (answer.get("allow") is not None) is (answer.status == 405)


def test_a_canned_400_to_the_byte() -> None:
    assert canned("bad_request") == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: 77\r\n"
        b'connection: close\r\n\r\n{"type":"urn:tidegate:problem:bad_request","status":400,"code":"bad_request"}'
    )


NAMES = st.text(st.sampled_from("abc-_1"), min_size=1, max_size=8).map(lambda n: "x-" + n)
VALUES = st.text(st.characters(max_codepoint=0xFF, min_codepoint=0x21, blacklist_characters="\x7f"), max_size=20)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=10), st.integers(0, 10**9))
def test_what_is_encoded_is_parsed_back(fields: list[tuple[str, str]], length: int) -> None:
    fields = [("host", "up"), *fields]
    head = parse_request(encode_request("POST", "/a", field_lines(fields), length), HeadLimits(), frozenset({"POST"}))
    assert head.fields == [*fields, ("content-length", str(length))]
    answer = parse_response(encode_response(200, "OK", field_lines(fields), length, True, 11, ""), "GET", HeadLimits())
    assert (answer.fields, answer.body_length) == ([*fields, ("content-length", str(length))], length)


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=12)), max_size=6))
def test_no_field_breaks_the_head(fields: list[tuple[str, str]]) -> None:
    raw = encode_response(200, "OK", field_lines(fields), 3, True, 11, "")
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    assert raw.find(b"\r\n\r\n") == len(raw) - 4
    assert b"\0" not in raw
